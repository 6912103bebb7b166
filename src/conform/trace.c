/* trace.c - see suite.h. What a toy wrote down: kept, compared, and told in words. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digits.h"
#include "base/mem.h"
#include "conform/suite.h"
#include "json/json.h"

void toy_tell(struct toy *t, char kind, uint64_t number, uint64_t offset, const char *who, struct cw_bytes b)
{
	struct said *s;

	t->said = realloc(t->said, (t->said_count + 1) * sizeof(*s));
	if (t->said == NULL)
		abort();
	s = &t->said[t->said_count++];
	*s = (struct said){
		.kind = kind, .number = number, .offset = offset, .who = who == NULL ? NULL : strdup(who), .len = b.len
	};
	s->ptr = malloc(b.len + 1);
	if (s->ptr == NULL)
		abort();
	if (b.len > 0)
		memcpy(s->ptr, b.ptr, b.len);
	s->ptr[b.len] = 0;
}

/* One letter says what: S sent, E record, I identify, D left, C command done, Q command taken or refused, V saved, R
 * frame, K close, .. */
void toy_note(struct toy *t, char kind, uint64_t number, const void *ptr, size_t len)
{
	size_t need = t->len + 1 + sizeof(number) + sizeof(len) + len;

	if (need > t->size) {
		t->size = need * 2;
		t->trace = realloc(t->trace, t->size);
		if (t->trace == NULL)
			abort();
	}
	t->trace[t->len++] = (uint8_t)kind;
	memcpy(t->trace + t->len, &number, sizeof(number));
	memcpy(t->trace + t->len + sizeof(number), &len, sizeof(len));
	if (len > 0)
		memcpy(t->trace + t->len + sizeof(number) + sizeof(len), ptr, len);
	t->len = need;
}

void toy_note_of(struct toy *t, char kind, uint64_t number, const char *who, struct cw_bytes b)
{
	toy_note(t, kind, number, b.ptr, b.len);
	if (t->by_hand)
		toy_tell(t, kind, number, 0, who, b);
}

void toy_forget(struct toy *t)
{
	size_t i;

	for (i = 0; i < t->said_count; i++) {
		free(t->said[i].who);
		free(t->said[i].ptr);
	}
	t->said_count = 0;
	t->len = t->noise = t->frames_ok = t->frames_bad = t->records = t->sends = t->fields = 0;
	t->settled = t->commands_done = 0;
	t->many = 0;
}


static size_t trace_next(const struct toy *t, size_t at, char *kind, uint64_t *number, struct cw_bytes *b)
{
	size_t len;

	if (at >= t->len)
		return 0;
	*kind = (char)t->trace[at];
	memcpy(number, t->trace + at + 1, sizeof(*number));
	memcpy(&len, t->trace + at + 1 + sizeof(*number), sizeof(len));
	*b = cw_bytes_of(t->trace + at + 1 + sizeof(*number) + sizeof(len), len);
	return at + 1 + sizeof(*number) + sizeof(len) + len;
}

/* How often something of this kind was said, and all of it, with its length, as one number. */
static uint64_t sum_of(const struct toy *t, char wanted, int bytes, size_t *ret_count)
{
	uint64_t sum = 0xcbf29ce484222325u, number;
	struct cw_bytes b;
	size_t at = 0, i;
	char kind;

	*ret_count = 0;
	while ((at = trace_next(t, at, &kind, &number, &b)) != 0) {
		if (kind != wanted)
			continue;
		++*ret_count;
		sum = (sum ^ b.len) * 0x100000001b3u;
		for (i = 0; i < b.len && bytes; i++)
			sum = (sum ^ b.ptr[i]) * 0x100000001b3u;
	}
	return bytes ? sum : 0;
}

/* What is sent and saved counts only: serial numbers in it depend on the order. */
static int same_of_each_kind(const struct toy *a, const struct toy *b)
{
	static const char kinds[] = "EIRDCXWAaZOQKSV";
	size_t i, of_a, of_b;

	for (i = 0; kinds[i] != '\0'; i++)
		if (sum_of(a, kinds[i], i < 13, &of_a) != sum_of(b, kinds[i], i < 13, &of_b) || of_a != of_b)
			return 0;
	return 1;
}

int toy_same(const struct toy *a, const struct toy *b)
{
	if (a->noise != b->noise)
		return 0;
	if (a->len == b->len && (a->len == 0 || memcmp(a->trace, b->trace, a->len) == 0))
		return 1;
	return a->isolated != b->isolated && (a->many || b->many) && same_of_each_kind(a, b);
}

/* Printable text in quotes, else hex; at most `most` bytes of it. */
static void bytes_text(struct cw_bytes b, size_t most, char *out, size_t size)
{
	size_t i, used = 0, n = b.len < most ? b.len : most;
	int plain = n > 0;

	for (i = 0; i < n; i++)
		plain &= (b.ptr[i] >= 0x20 && b.ptr[i] < 0x7f && b.ptr[i] != '"' && b.ptr[i] != '\\') ||
			 b.ptr[i] == '\n' || b.ptr[i] == '\r';
	if (plain) {
		out[used++] = '"';
		for (i = 0; i < n && used + 8 < size; i++) {
			if (b.ptr[i] == '\n' || b.ptr[i] == '\r')
				out[used++] = '\\';
			out[used++] = (char)(b.ptr[i] == '\n' ? 'n' : b.ptr[i] == '\r' ? 'r' : b.ptr[i]);
		}
		out[used++] = '"';
	} else {
		for (i = 0; i < n && used + 8 < size; i++)
			used += (size_t)snprintf(out + used, size - used, "%02x", b.ptr[i]);
	}
	(void)snprintf(out + used, size - used, "%s", n < b.len || i < n ? ".." : "");
}

static void item_text(struct cw_bytes item, char *out, size_t size)
{
	char *text;
	size_t len;

	out[0] = '\0';
	if (item.len == 0 || cw_json_from_item(item, 1 << 20, &text, &len) < 0)
		return;
	(void)snprintf(out, size, " %s%s", text, "");
	if (len + 1 >= size && size > 4)
		memcpy(out + size - 3, "..", 3);
	cw_free(text);
}

static void record_text(struct cw_bytes bytes, char *out, size_t size)
{
	struct cw_record rec;
	char body[300];

	if (!cw_record_read(bytes, &rec)) {
		(void)snprintf(out, size, "a malformed record");
		return;
	}
	if (rec.kind == CW_KIND_RAW)
		bytes_text(rec.body, 100, body + 1, sizeof(body) - 1), body[0] = ' ';
	else
		item_text(rec.body, body, sizeof(body));
	(void)snprintf(out, size, "record %s %.*s%s", cw_wire_kind_word(rec.kind),
		       rec.name.len == 0 ? 1 : (int)rec.name.len, rec.name.len == 0 ? "-" : (const char *)rec.name.ptr,
		       body);
}

void said_text(char kind, uint64_t number, const char *who, struct cw_bytes b, char *out, size_t size)
{
	char some[400];

	(void)who;
	bytes_text(b, 120, some, sizeof(some));
	switch (kind) {
	case 'S': (void)snprintf(out, size, "< %s", some); break;
	case 'E': record_text(b, out, size); break;
	case 'I': (void)snprintf(out, size, "identify %.*s", (int)b.len, (const char *)b.ptr); break;
	case 'D': (void)snprintf(out, size, "left %s", who == NULL ? "" : who); break;
	case 'C':
		if (cw_flat_valid(b))
			item_text(b, some, sizeof(some));
		(void)snprintf(out, size, "done %d%s%s", (int)(uint32_t)number, b.len > 0 && some[0] != ' ' ? " " : "",
			       b.len > 0 ? some : "");
		break;
	case 'W': (void)snprintf(out, size, "block of a file (%llu bytes)", (unsigned long long)number); break;
	case 'K': (void)snprintf(out, size, "closed (%.*s)", (int)b.len, (const char *)b.ptr); break;
	case 'N': (void)snprintf(out, size, "skipped %llu", (unsigned long long)number); break;
	case 'R':
		if (number == 0)
			(void)snprintf(out, size, "taken: the frame %s", some);
		else
			(void)snprintf(out, size, "refused: the frame %s (%s)", some,
				       cw_error_text((int)(int64_t)number));
		break;
	case 'V': (void)snprintf(out, size, "%zu bytes to keep", b.len); break;
	case 'X': (void)snprintf(out, size, "more time for a command"); break;
	case 'F': (void)snprintf(out, size, "field %.*s", (int)b.len, (const char *)b.ptr); break;
	case 'f':
		item_text(b, some, sizeof(some));
		(void)snprintf(out, size, "field%s", some);
		break;
	case 'O': (void)snprintf(out, size, "a foreign identity %s", some); break;
	case 'Q': (void)snprintf(out, size, number == 0 ? "a command taken" : "a command refused"); break;
	default: (void)snprintf(out, size, "attachment"); break;
	}
}

static void entry_text(const struct toy *t, size_t at, char *out, size_t size)
{
	struct cw_bytes b;
	uint64_t number;
	char kind;

	if (trace_next(t, at, &kind, &number, &b) == 0)
		(void)snprintf(out, size, "nothing");
	else
		said_text(kind, number, NULL, b, out, size);
}

void toy_difference(const struct toy *whole, const struct toy *other, char *out, size_t size)
{
	char one[300], two[300], kind;
	size_t at = 0, next;
	struct cw_bytes b;
	uint64_t number;

	/* Both are walked by the lengths of the first, which hold as long as they are the same. */
	while ((next = trace_next(whole, at, &kind, &number, &b)) != 0 && next <= other->len &&
	       memcmp(whole->trace + at, other->trace + at, next - at) == 0)
		at = next;
	if (at >= whole->len && at >= other->len) {
		(void)snprintf(out, size, "%zu bytes of noise, in one piece %zu", other->noise, whole->noise);
		return;
	}
	entry_text(whole, at, one, sizeof(one));
	entry_text(other, at, two, sizeof(two));
	(void)snprintf(out, size, "it says `%s`, in one piece `%s`", two, one);
}
