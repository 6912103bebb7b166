/* fuzz_cases.c - seeds out of what an author has, and mutations of them; see fuzz.h and fuzz/drive.h. */
#include <dirent.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "capture/capture.h"
#include "cli/plugin/fuzz.h"
#include "conform/script.h"
#include "fuzz/drive.h"
#include "json/json.h"

#define SEEDS_MOST 4096
#define TOKENS_MOST 2000
#define TOKEN_MOST 40

int fuzz_add(struct fuzz_cases *c, const void *ptr, size_t len)
{
	uint8_t *copy;

	if (c->n == c->size) {
		struct cw_bytes *grown = cw_realloc(c->v, (c->size * 2 + 64) * sizeof(*grown));

		if (grown == NULL)
			return CW_ENOMEM;
		c->v = grown;
		c->size = c->size * 2 + 64;
	}
	copy = cw_memdup(ptr, len);
	if (copy == NULL)
		return CW_ENOMEM;
	c->v[c->n++] = cw_bytes_of(copy, len);
	return 0;
}

void fuzz_drop(struct fuzz_cases *c)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		cw_free((void *)(uintptr_t)c->v[i].ptr);
	cw_free(c->v);
	memset(c, 0, sizeof(*c));
}

uint32_t fuzz_random(struct fuzzer *f, uint32_t below)
{
	f->random ^= f->random << 13;
	f->random ^= f->random >> 7;
	f->random ^= f->random << 17;
	return below == 0 ? 0 : (uint32_t)(f->random >> 32) % below;
}

void fuzz_put_part(uint8_t *out, size_t *len, unsigned what, struct cw_bytes b)
{
	if (b.len > 0xffff || *len + 3 + b.len > CW_FUZZ_CASE_MOST)
		return;
	out[(*len)++] = (uint8_t)what;
	out[(*len)++] = (uint8_t)b.len;
	out[(*len)++] = (uint8_t)(b.len >> 8);
	if (b.len > 0)
		memcpy(out + *len, b.ptr, b.len);
	*len += b.len;
}

static int add_seed(struct fuzzer *f, const uint8_t *one, size_t len)
{
	return len < 2 || f->seeds.n >= SEEDS_MOST ? 0 : fuzz_add(&f->seeds, one, len);
}

/* ---- seeds --------------------------------------------------------------------------------- */

static void put_command(uint8_t *out, size_t *len, unsigned kind, const char *name, struct cw_bytes body)
{
	size_t size = body.len + 300;
	uint8_t *buf = cw_alloc(size);
	struct cw_writer w;

	if (buf == NULL)
		return;
	w = cw_writer_of(buf, size);
	cw_record_begin(&w, kind);
	if (name != NULL && strcmp(name, "-") != 0)
		cw_record_name(&w, name);
	if (body.len > 0) {
		cw_put_uint(&w, 7); /* the body, which is an item already */
		cw_write_bytes(&w, body);
	}
	cw_record_end(&w);
	if (!w.overflow)
		fuzz_put_part(out, len, CW_FUZZ_COMMAND, cw_written(&w));
	cw_free(buf);
}

static void put_step(uint8_t *out, size_t *len, const struct cw_wire_step *s)
{
	uint8_t b[2];

	switch (s->kind) {
	case CW_WIRE_DATA: fuzz_put_part(out, len, CW_FUZZ_DATA, cw_bytes_of(s->ptr, s->len)); break;
	case CW_WIRE_COMMAND: put_command(out, len, s->number, s->name, cw_bytes_of(s->body, s->body_len)); break;
	case CW_WIRE_CANCEL: fuzz_put_part(out, len, CW_FUZZ_CANCEL, cw_bytes_of(NULL, 0)); break;
	case CW_WIRE_WAIT:
		b[0] = (uint8_t)((s->ms + 99) / 100);
		b[1] = (uint8_t)((s->ms + 99) / 100 >> 8);
		fuzz_put_part(out, len, CW_FUZZ_WAIT, cw_bytes_of(b, 2));
		break;
	case CW_WIRE_CLOSE: fuzz_put_part(out, len, CW_FUZZ_REOPEN, cw_bytes_of(NULL, 0)); break;
	case CW_WIRE_ONLINE:
	case CW_WIRE_OFFLINE:
		b[0] = s->kind == CW_WIRE_ONLINE;
		fuzz_put_part(out, len, CW_FUZZ_ONLINE, cw_bytes_of(b, 1));
		break;
	case CW_WIRE_DETACH: fuzz_put_part(out, len, CW_FUZZ_DETACH, cw_bytes_of(NULL, 0)); break;
	case CW_WIRE_BLOCK: fuzz_put_part(out, len, CW_FUZZ_BLOCK, cw_bytes_of(s->ptr, s->len)); break;
	default: break; /* expectations, and what the driver answers by itself */
	}
}

static int seeds_of_script(struct fuzzer *f, const char *path, uint8_t *buf, struct cw_msg *msg)
{
	struct cw_wire_script s;
	size_t i, len = 1, one;
	int rc = cw_wire_read(path, &s, msg);

	if (rc < 0)
		return rc;
	buf[0] = 0;
	for (i = 0; i < s.n && rc == 0; i++) {
		if (s.v[i].kind == CW_WIRE_SAMPLE) {
			one = 1;
			fuzz_put_part(buf + CW_FUZZ_CASE_MOST, &one, CW_FUZZ_DATA, cw_bytes_of(s.v[i].ptr, s.v[i].len));
			buf[CW_FUZZ_CASE_MOST] = CW_FUZZ_INSPECT;
			rc = add_seed(f, buf + CW_FUZZ_CASE_MOST, one);
		} else {
			put_step(buf, &len, &s.v[i]);
		}
	}
	cw_wire_free(&s);
	return rc < 0 ? rc : add_seed(f, buf, len);
}

/* Each connection of a capture is a case. */
static int seeds_of_capture(struct fuzzer *f, const struct cw_capture *c, uint8_t *buf)
{
	size_t i, k;
	int rc = 0;

	for (k = 0; k < c->conn_count && k < 256 && rc == 0; k++) {
		int64_t last = 0;
		size_t len = 1;

		buf[0] = c->conns[k].datagram ? CW_FUZZ_DATAGRAM : 0;
		for (i = 0; i < c->count; i++) {
			const struct cw_seen *e = &c->events[i];
			uint64_t tenths = e->time_ms > last && last > 0 ? (uint64_t)(e->time_ms - last) / 100 : 0;
			uint8_t wait[2] = { (uint8_t)tenths, (uint8_t)(tenths >> 8) };

			if (e->conn != k)
				continue;
			last = e->time_ms;
			if (e->kind == CW_SEEN_UP && tenths > 0 && tenths < 65536)
				fuzz_put_part(buf, &len, CW_FUZZ_WAIT, cw_bytes_of(wait, 2));
			if (e->kind == CW_SEEN_UP)
				fuzz_put_part(buf, &len, CW_FUZZ_DATA, cw_seen_bytes(c, e));
		}
		rc = add_seed(f, buf, len);
	}
	return rc;
}

static int seeds_of_file(struct fuzzer *f, const char *path, struct cw_msg *msg)
{
	static const char *const captures[] = { ".hex", ".txt", ".pcap", ".pcapng", ".cap", ".rec", ".jsonl" };
	struct cw_capture_how how = { .udp = 1, .start_ms = 1767225600000 };
	const char *dot = strrchr(path, '.');
	uint8_t *buf = cw_alloc(2 * CW_FUZZ_CASE_MOST);
	struct cw_capture *c;
	char *text = NULL;
	size_t i, len;
	int rc, is_capture = 0;

	if (buf == NULL)
		return CW_ENOMEM;
	for (i = 0; dot != NULL && i < sizeof(captures) / sizeof(captures[0]); i++)
		is_capture |= strcmp(dot, captures[i]) == 0;
	if (dot != NULL && strcmp(dot, ".wire") == 0) {
		rc = seeds_of_script(f, path, buf, msg);
	} else {
		rc = cw_file_read(path, CW_CAPTURE_FILE_MOST, &text, &len, msg);
		if (rc == 0 && !is_capture) {
			rc = len <= CW_FUZZ_CASE_MOST ? add_seed(f, (const uint8_t *)text, len) : 0;
		} else if (rc == 0) {
			rc = cw_capture_read(cw_bytes_of(text, len), &how, &c, msg);
			if (rc == 0) {
				rc = seeds_of_capture(f, c, buf);
				cw_capture_free(c);
			} else {
				cw_msg_wrap(msg, "%s", path);
			}
		}
		cw_free(text);
	}
	cw_free(buf);
	return rc;
}

int fuzz_read_seeds(struct fuzzer *f, const char *path, struct cw_msg *msg)
{
	struct dirent *e;
	struct stat st;
	char name[1200];
	DIR *dir;
	int rc = 0;

	if (stat(path, &st) < 0)
		return cw_fail(msg, CW_ENOENT, "cannot read %s", path);
	if (!S_ISDIR(st.st_mode))
		return seeds_of_file(f, path, msg);
	dir = opendir(path);
	while (dir != NULL && rc == 0 && (e = readdir(dir)) != NULL) {
		if (snprintf(name, sizeof(name), "%s/%s", path, e->d_name) < (int)sizeof(name) && stat(name, &st) == 0 && S_ISREG(st.st_mode))
			rc = seeds_of_file(f, name, msg);
	}
	if (dir != NULL)
		closedir(dir);
	return rc;
}

/* ---- words in the plugin ------------------------------------------------------------------------ */

static int is_wordy(uint8_t c)
{
	return c > 0x20 && c < 0x7f && c != '%';
}

static int take_words(struct fuzzer *f, struct cw_bytes b)
{
	size_t i = 0, n;
	int rc = 0;

	while (i < b.len && rc == 0 && f->tokens.n < TOKENS_MOST) {
		for (n = 0; i + n < b.len && is_wordy(b.ptr[i + n]); n++)
			;
		if (n >= 2 && n <= TOKEN_MOST)
			rc = fuzz_add(&f->tokens, b.ptr + i, n);
		i += n + 1;
	}
	return rc;
}

/* The words in .rodata of the shared object: names of commands, of properties, of the wire's own. */
static int tokens_of_plugin(struct fuzzer *f)
{
	struct cw_msg msg;
	const Elf64_Ehdr *h;
	const Elf64_Shdr *s;
	char *text;
	size_t len, i;
	int rc = 0;

	if (cw_file_read(f->path, 256u << 20, &text, &len, &msg) < 0)
		return 0;
	h = (const void *)text;
	if (len > sizeof(*h) && memcmp(h->e_ident, ELFMAG, SELFMAG) == 0 && h->e_ident[EI_CLASS] == ELFCLASS64 && h->e_shoff < len &&
	    h->e_shentsize == sizeof(*s) && h->e_shnum <= (len - h->e_shoff) / sizeof(*s) && h->e_shstrndx < h->e_shnum && h->e_shoff % 8 == 0) {
		s = (const void *)(text + h->e_shoff);
		for (i = 0; i < h->e_shnum && rc == 0; i++) {
			size_t name = s[h->e_shstrndx].sh_offset + s[i].sh_name;

			if (name < len && strncmp(text + name, ".rodata", len - name) == 0 && s[i].sh_offset < len && s[i].sh_size <= len - s[i].sh_offset)
				rc = take_words(f, cw_bytes_of(text + s[i].sh_offset, s[i].sh_size));
		}
	}
	cw_free(text);
	return rc;
}

/* A command of each kind, behind whatever the first seed says. */
static void basic_commands(struct fuzzer *f, uint8_t *buf, size_t *len)
{
	static const unsigned kinds[] = { CW_KIND_PROPERTY_SET, CW_KIND_SERVICE, CW_KIND_PROPERTY_GET, CW_KIND_RAW_DOWN, CW_KIND_OTA_NOTICE,
		                          CW_KIND_SHADOW, CW_KIND_TIME, CW_KIND_DISABLE };
	static const char *const bodies[] = { "{\"a\":1}", "{\"text\":\"a\",\"value\":2.5}", "{\"identifiers\":[\"a\"]}", "\"\"",
		                              "{\"version\":\"2\",\"size\":1000}", "{}", "{\"now\":1767225600000}", "{}" };
	size_t i, n;
	uint8_t *item;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (cw_json_to_item(cw_bytes_text(bodies[i]), &item, &n) < 0)
			continue;
		put_command(buf, len, kinds[i], "a", cw_bytes_of(item, n));
		cw_free(item);
	}
}

int fuzz_basic_seeds(struct fuzzer *f)
{
	static const uint8_t some[] = "\x01\x02hello\r\n";
	uint8_t *buf = cw_alloc(CW_FUZZ_CASE_MOST);
	size_t len = 1;
	int rc;

	if (buf == NULL)
		return CW_ENOMEM;
	buf[0] = 0;
	if (f->seeds.n > 0) {
		len = f->seeds.v[0].len;
		memcpy(buf, f->seeds.v[0].ptr, len);
		buf[0] = 0;
	} else {
		fuzz_put_part(buf, &len, CW_FUZZ_DATA, cw_bytes_of(some, sizeof(some) - 1));
	}
	basic_commands(f, buf, &len);
	rc = fuzz_add(&f->seeds, buf, len);
	cw_free(buf);
	return rc < 0 ? rc : tokens_of_plugin(f);
}

/* ---- mutations -------------------------------------------------------------------------------------- */

struct part {
	size_t at, len; /* of its bytes, behind its head of 3 */
};

#define PARTS_MOST 256

static size_t parts_of(const uint8_t *one, size_t len, struct part *v)
{
	size_t at = 1, n = 0;

	while (len - at >= 3 && at < len && n < PARTS_MOST) {
		size_t size = (size_t)one[at + 1] | (size_t)one[at + 2] << 8;

		at += 3;
		if (size > len - at)
			size = len - at;
		v[n].at = at;
		v[n++].len = size;
		at += size;
	}
	return n;
}

static void set_len(uint8_t *one, const struct part *p, size_t len)
{
	one[p->at - 2] = (uint8_t)len;
	one[p->at - 1] = (uint8_t)(len >> 8);
}

/* Put n bytes in at p->at + off. */
static void grow_part(uint8_t *one, size_t *len, const struct part *p, size_t off, const uint8_t *bytes, size_t n)
{
	if (*len + n > CW_FUZZ_CASE_MOST || p->len + n > 0xffff)
		return;
	memmove(one + p->at + off + n, one + p->at + off, *len - p->at - off);
	memcpy(one + p->at + off, bytes, n);
	set_len(one, p, p->len + n);
	*len += n;
}

static void shrink_part(uint8_t *one, size_t *len, const struct part *p, size_t off, size_t n)
{
	memmove(one + p->at + off, one + p->at + off + n, *len - p->at - off - n);
	set_len(one, p, p->len - n);
	*len -= n;
}

static void change_bytes(struct fuzzer *f, const struct fuzz_cases *all, uint8_t *one, size_t *len, const struct part *p)
{
	static const uint8_t odd[] = { 0, 1, 0x7e, 0x7f, 0x80, 0xfe, 0xff, '0', '9', '\n', ',', 0x68 };
	size_t off = fuzz_random(f, (uint32_t)p->len), rest = p->len - off, n;
	uint8_t *at = one + p->at + off, copy[64];
	const struct cw_bytes *other;
	unsigned v;

	switch (fuzz_random(f, 10)) {
	case 0: *at ^= (uint8_t)(1u << fuzz_random(f, 8)); break;
	case 1: *at = (uint8_t)fuzz_random(f, 256); break;
	case 2: *at = odd[fuzz_random(f, sizeof(odd))]; break;
	case 3: *at = (uint8_t)(*at + 1 - 2 * fuzz_random(f, 2)); break;
	case 4: /* two bytes, as a length would stand, of either order */
		if (rest < 2)
			break;
		v = fuzz_random(f, 2) ? fuzz_random(f, 4) == 0 ? 0xffff : fuzz_random(f, 2048) : (unsigned)(at[0] << 8 | at[1]) + fuzz_random(f, 9) - 4;
		at[fuzz_random(f, 2)] = (uint8_t)(v >> 8);
		at[1] = (uint8_t)v;
		break;
	case 5:
		n = 1 + fuzz_random(f, (uint32_t)(rest < 16 ? rest : 16));
		shrink_part(one, len, p, off, n > rest ? rest : n);
		break;
	case 6: /* a piece twice */
		n = 1 + fuzz_random(f, (uint32_t)(rest < sizeof(copy) ? rest : sizeof(copy)));
		n = n > rest ? rest : n;
		n = n > sizeof(copy) ? sizeof(copy) : n;
		memcpy(copy, at, n);
		grow_part(one, len, p, off, copy, n);
		break;
	case 7: shrink_part(one, len, p, off, rest); break; /* cut off */
	case 8: /* a word of the plugin, put in or over what is there */
		if (f->tokens.n == 0)
			break;
		other = &f->tokens.v[fuzz_random(f, (uint32_t)f->tokens.n)];
		if (fuzz_random(f, 2) && other->len <= rest)
			memcpy(at, other->ptr, other->len);
		else
			grow_part(one, len, p, off, other->ptr, other->len);
		break;
	default: /* a piece of another case */
		other = &all->v[fuzz_random(f, (uint32_t)all->n)];
		n = 1 + fuzz_random(f, 64);
		v = fuzz_random(f, (uint32_t)other->len);
		n = n > other->len - v ? other->len - v : n;
		grow_part(one, len, p, off, other->ptr + v, n);
		break;
	}
}

/* Among the parts: twice, gone, elsewhere, from another case, or a new one. */
static void change_parts(struct fuzzer *f, const struct fuzz_cases *all, uint8_t *one, size_t *len, const struct part *v, size_t n)
{
	const struct part *p = &v[fuzz_random(f, (uint32_t)n)];
	size_t head = p->at - 3, size = p->len + 3;
	const struct cw_bytes *other = &all->v[fuzz_random(f, (uint32_t)all->n)];
	struct part theirs[PARTS_MOST];
	uint8_t small[5];
	size_t k;

	switch (fuzz_random(f, 5)) {
	case 0:
		if (*len + size > CW_FUZZ_CASE_MOST)
			break;
		memmove(one + head + size, one + head, *len - head);
		*len += size;
		break;
	case 1:
		memmove(one + head, one + head + size, *len - head - size);
		*len -= size;
		break;
	case 2: *len = head + size; break;
	case 3:
		k = parts_of(other->ptr, other->len, theirs);
		if (k == 0)
			break;
		p = &theirs[fuzz_random(f, (uint32_t)k)];
		if (*len + p->len + 3 > CW_FUZZ_CASE_MOST)
			break;
		memmove(one + head + p->len + 3, one + head, *len - head);
		memcpy(one + head, other->ptr + p->at - 3, p->len + 3);
		set_len(one, &(struct part){ head + 3, 0 }, p->len);
		*len += p->len + 3;
		break;
	default:
		k = fuzz_random(f, 3);
		small[0] = (uint8_t)fuzz_random(f, CW_FUZZ_PARTS);
		small[1] = (uint8_t)k;
		small[2] = 0;
		small[3] = (uint8_t)fuzz_random(f, 256);
		small[4] = (uint8_t)fuzz_random(f, 4);
		if (*len + 3 + k > CW_FUZZ_CASE_MOST)
			break;
		memmove(one + head + 3 + k, one + head, *len - head);
		memcpy(one + head, small, 3 + k);
		*len += 3 + k;
		break;
	}
}

size_t fuzz_mutate(struct fuzzer *f, const struct fuzz_cases *all, uint8_t *out)
{
	const struct cw_bytes *from = &all->v[fuzz_random(f, (uint32_t)all->n)];
	unsigned times = 1u << fuzz_random(f, 5);
	struct part v[PARTS_MOST];
	size_t len = from->len, n;

	memcpy(out, from->ptr, len);
	if (fuzz_random(f, 8) == 0)
		out[0] ^= (uint8_t)(1u << fuzz_random(f, 8));
	while (times-- > 0) {
		const struct part *p;

		n = parts_of(out, len, v);
		if (n == 0)
			break;
		p = &v[fuzz_random(f, (uint32_t)n)];
		if (p->len == 0 || fuzz_random(f, 4) == 0)
			change_parts(f, all, out, &len, v, n);
		else
			change_bytes(f, all, out, &len, p);
	}
	return len;
}
