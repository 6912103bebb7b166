/*
 * modbus_write.c - commands: property sets as writes, services as sequences of them, gets as reads.
 *
 * A command is checked as a whole and turned into steps before anything is sent; the steps of one command go out one
 * after the other, those of commands in the order they came.
 */
#include "modbus.h"

#include <stdio.h>
#include <stdlib.h>

#define BYTES_MAX 16384 /* of all steps of one command */

/* What a command becomes, before it is known to be good. */
struct build {
	struct cw_decoder *d;
	struct mb_unit *u;
	struct mb_step steps[MB_STEPS_MAX];
	unsigned count;
	uint8_t bytes[BYTES_MAX];
	size_t len;
	enum mb_refused refused; /* why not, and of which property */
	const char *error;
	char property[80];
};

/* ---- requests -------------------------------------------------------------------------------------------------- */

static uint8_t *put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	return p + 2;
}

size_t mb_write_pdu(const struct mb_point *p, int shift, const uint8_t *wire, size_t len, uint8_t *out)
{
	unsigned address = (unsigned)((int)p->address + shift) & 0xffffu;
	uint8_t *w = out;

	if (p->area == MB_COIL && p->write_fc != MB_WRITE_COILS) {
		*w++ = MB_WRITE_COIL;
		w = put16(w, address);
		w = put16(w, wire[0] ? 0xff00 : 0);
	} else if (p->area == MB_COIL) {
		*w++ = MB_WRITE_COILS;
		w = put16(w, address);
		w = put16(w, 1);
		*w++ = 1;
		*w++ = wire[0] != 0;
	} else if (p->count == 1 && p->write_fc != MB_WRITE_REGISTERS) {
		*w++ = MB_WRITE_REGISTER;
		w = put16(w, address);
		memcpy(w, wire, 2);
		w += 2;
	} else {
		*w++ = MB_WRITE_REGISTERS;
		w = put16(w, address);
		w = put16(w, p->count);
		*w++ = (uint8_t)len;
		memcpy(w, wire, len);
		w += len;
	}
	return (size_t)(w - out);
}

static size_t mask_pdu(unsigned address, unsigned bit, int on, uint8_t *out)
{
	uint8_t *w = out;

	*w++ = MB_MASK_WRITE;
	w = put16(w, address);
	w = put16(w, 0xffffu & ~(1u << bit));
	w = put16(w, (unsigned)on << bit);
	return (size_t)(w - out);
}

/* ---- building ----------------------------------------------------------------------------------------------------- */

static int refuse(struct build *b, enum mb_refused why, const char *property, size_t len)
{
	b->error = mb_refused_name(why);
	(void)snprintf(b->property, sizeof(b->property), "%.*s", (int)(len > 70 ? 70 : len), property);
	/* Cut inside a character it would be no text any more. */
	for (len = strlen(b->property); len > 0 && ((uint8_t)b->property[len - 1] & 0x80); len--)
		b->property[len - 1] = 0;
	return -1;
}

static struct mb_step *add_step(struct build *b, enum mb_step_kind kind, unsigned point)
{
	struct mb_step *s;

	if (b->count >= MB_STEPS_MAX)
		return NULL;
	s = &b->steps[b->count++];
	memset(s, 0, sizeof(*s));
	s->kind = (uint8_t)kind;
	s->point = (uint16_t)point;
	return s;
}

static int add_bytes(struct build *b, struct mb_step *s, const uint8_t *p, size_t n)
{
	if (s == NULL || n > BYTES_MAX - b->len)
		return refuse(b, MB_NOT_RANGE, "", 0);
	s->at = (uint32_t)b->len;
	s->len = (uint32_t)n;
	memcpy(b->bytes + b->len, p, n);
	b->len += n;
	return 0;
}

/* The registers of one more point behind or before those of an earlier 0x10 of the same set: one request for both. */
static int merge(struct build *b, const struct mb_point *p, const uint8_t *wire, size_t len)
{
	unsigned i, address = (unsigned)((int)p->address + b->u->conf->address_shift) & 0xffffu;

	for (i = 0; i < b->count; i++) {
		struct mb_step *s = &b->steps[i];
		unsigned start, quantity;
		uint8_t *pdu;
		size_t old;

		if (s->kind != MB_S_WRITE || b->u->profile->points[s->point].area != MB_HOLDING || b->bytes[s->at] == MB_MASK_WRITE)
			continue;
		pdu = b->bytes + s->at;
		start = (unsigned)(pdu[1] << 8 | pdu[2]);
		quantity = pdu[0] == MB_WRITE_REGISTER ? 1 : (unsigned)(pdu[3] << 8 | pdu[4]);
		if ((start + quantity != address && address + p->count != start) || quantity + p->count > MB_REGS_WRITE || s->at + s->len != b->len ||
		    b->len + len + 3 > BYTES_MAX)
			continue;
		if (pdu[0] == MB_WRITE_REGISTER) { /* make room for quantity and count */
			memmove(pdu + 6, pdu + 3, 2);
			pdu[0] = MB_WRITE_REGISTERS;
			b->len += 3;
		}
		old = quantity * 2u;
		if (start + quantity == address) {
			memcpy(pdu + 6 + old, wire, len);
		} else {
			memmove(pdu + 6 + len, pdu + 6, old);
			memcpy(pdu + 6, wire, len);
			(void)put16(pdu + 1, address);
		}
		(void)put16(pdu + 3, quantity + p->count);
		pdu[5] = (uint8_t)(old + len);
		b->len += len;
		s->len = (uint32_t)(b->len - s->at);
		return 1;
	}
	return 0;
}

static int add_bit(struct build *b, const struct mb_point *p, unsigned point, int on)
{
	unsigned address = (unsigned)((int)p->address + b->u->conf->address_shift) & 0xffffu;
	unsigned bit = p->bit;
	uint8_t pdu[8];
	struct mb_step *s;

	if (p->order != MB_ABCD && p->order != MB_CDAB) /* `bit` counts after the bytes were swapped */
		bit ^= 8;
	if (p->mask_write)
		return add_bytes(b, add_step(b, MB_S_WRITE, point), pdu, mask_pdu(address, bit, on, pdu));
	s = add_step(b, MB_S_MODIFY, point);
	if (s == NULL || !p->modify)
		return refuse(b, p->modify ? MB_NOT_RANGE : MB_NOT_WRITABLE, p->name, strlen(p->name));
	s->address = (uint16_t)address;
	s->bit = (uint8_t)bit;
	s->on = (uint8_t)on;
	return 0;
}

static int add_write(struct build *b, unsigned point, const struct cw_item *value, int may_merge)
{
	const struct mb_point *p = &b->u->profile->points[point];
	uint8_t wire[MB_STRING_MAX + 6], pdu[MB_PDU_MAX + 8];
	enum mb_refused why;
	struct mb_step *s;
	size_t len = 0;

	why = mb_point_write(&b->d->cs, p, value, wire, &len);
	if (why != MB_TAKEN)
		return refuse(b, why, p->name, strlen(p->name));
	if (p->type == MB_BIT) {
		if (add_bit(b, p, point, wire[0]) < 0)
			return -1;
	} else if (!(may_merge && p->area == MB_HOLDING && merge(b, p, wire, len))) {
		if (add_bytes(b, add_step(b, MB_S_WRITE, point), pdu, mb_write_pdu(p, b->u->conf->address_shift, wire, len, pdu)) < 0)
			return -1;
	}
	if (!p->read_back || !p->readable || b->u->number == 0)
		return 0;
	s = add_step(b, MB_S_READ_BACK, point);
	if (s != NULL)
		s->on = wire[0];
	return add_bytes(b, s, wire, len);
}

static int find_point(const struct mb_profile *p, struct cw_bytes name)
{
	unsigned i;

	for (i = 0; i < p->point_count; i++)
		if (p->points[i].property[0] != '\0' && cw_bytes_equal(name, cw_bytes_text(p->points[i].property)))
			return (int)i;
	return -1;
}

/* A value that is a map or an array: its members are properties `name.member` and `name[i]`. */
static int add_value(struct build *b, const char *path, size_t path_len, struct cw_bytes encoded, int depth)
{
	struct cw_reader r = cw_reader_of(encoded);
	struct cw_item it = cw_read_item(&r);
	char name[200];
	unsigned i = 0;
	int at, n;

	if (it.type != CW_ITEM_MAP && it.type != CW_ITEM_ARRAY) {
		at = find_point(b->u->profile, cw_bytes_of(path, path_len));
		if (at < 0)
			return refuse(b, MB_NOT_WRITABLE, path, path_len);
		return add_write(b, (unsigned)at, &it, b->u->profile->merge_writes);
	}
	if (depth > 4)
		return refuse(b, MB_NOT_TYPE, path, path_len);
	for (; cw_item_more(&r, &it); i++) {
		struct cw_bytes v;

		if (it.type == CW_ITEM_MAP) {
			struct cw_item key = cw_read_item(&r);

			(void)cw_item_more(&r, &it);
			n = snprintf(name, sizeof(name), "%.*s.%.*s", (int)path_len, path, (int)(key.s.len > 64 ? 64 : key.s.len), (const char *)key.s.ptr);
		} else {
			n = snprintf(name, sizeof(name), "%.*s[%u]", (int)path_len, path, i);
		}
		v = cw_read_whole_item(&r);
		if (v.len == 0 || n >= (int)sizeof(name))
			return refuse(b, MB_NOT_TYPE, path, path_len);
		if (add_value(b, name, (size_t)n, v, depth + 1) < 0)
			return -1;
	}
	return 0;
}

/* Read-backs of merged writes must come after all of it was written. */
static void read_backs_last(struct build *b)
{
	struct mb_step tail[MB_STEPS_MAX];
	unsigned i, n = 0, k = 0;

	for (i = 0; i < b->count; i++) {
		if (b->steps[i].kind == MB_S_READ_BACK)
			tail[k++] = b->steps[i];
		else
			b->steps[n++] = b->steps[i];
	}
	memcpy(b->steps + n, tail, k * sizeof(*tail));
}

static int build_set(struct build *b, struct cw_bytes body)
{
	struct cw_reader r = cw_reader_of(body);
	struct cw_item m = cw_read_item(&r);

	if (m.type != CW_ITEM_MAP)
		return refuse(b, MB_NOT_TYPE, "", 0);
	while (cw_item_more(&r, &m)) {
		struct cw_item key = cw_read_item(&r);
		struct cw_bytes v;

		(void)cw_item_more(&r, &m);
		v = cw_read_whole_item(&r);
		if (key.type != CW_ITEM_TEXT || key.s.len > 128 || v.len == 0)
			return refuse(b, MB_NOT_TYPE, "", 0);
		if (add_value(b, (const char *)key.s.ptr, key.s.len, v, 0) < 0)
			return -1;
	}
	read_backs_last(b);
	return 0;
}

static int build_get(struct build *b, struct cw_bytes body)
{
	struct cw_bytes list = cw_map_get(body, "identifiers");
	struct cw_reader r = cw_reader_of(list);
	struct cw_item it = cw_read_item(&r);

	while (it.type == CW_ITEM_ARRAY && cw_item_more(&r, &it)) {
		struct cw_item name = cw_read_item(&r);
		int at = name.type == CW_ITEM_TEXT ? find_point(b->u->profile, name.s) : -1;

		if (at < 0 || !b->u->profile->points[at].readable)
			return refuse(b, MB_NOT_WRITABLE, (const char *)name.s.ptr, name.type == CW_ITEM_TEXT ? name.s.len : 0), b->error = "unknown", -1;
		if (add_step(b, MB_S_GET, (unsigned)at) == NULL)
			return refuse(b, MB_NOT_RANGE, "", 0);
	}
	return 0;
}

/* Values of steps stand in the settings as text: true, 21.5, auto. */
static struct cw_item item_of_text(const struct mb_point *p, struct cw_bytes text)
{
	struct cw_item it;
	struct mb_dec d;

	memset(&it, 0, sizeof(it));
	it.type = CW_ITEM_TEXT;
	it.s = text;
	if (p->type == MB_STRING || p->type == MB_BYTES)
		return it;
	if (cw_bytes_equal(text, cw_bytes_text("true")) || cw_bytes_equal(text, cw_bytes_text("false"))) {
		it.type = CW_ITEM_BOOL;
		it.i = text.ptr[0] == 't';
	} else if (mb_dec_of_text(text, &d)) {
		it.type = d.e == 0 ? CW_ITEM_INT : CW_ITEM_DECIMAL;
		it.i = d.m;
		it.exponent = d.e;
	}
	return it;
}

static int build_service(struct build *b, const struct mb_service *s)
{
	unsigned i;

	for (i = 0; i < s->count; i++) {
		const struct mb_service_step *from = &s->steps[i];

		if (from->point >= 0) {
			struct cw_item it = item_of_text(&b->u->profile->points[from->point], from->value);

			if (add_write(b, (unsigned)from->point, &it, 0) < 0)
				return -1;
		}
		if (from->wait_ms > 0) {
			struct mb_step *st = add_step(b, MB_S_WAIT, 0);

			if (st == NULL)
				return refuse(b, MB_NOT_RANGE, "", 0);
			st->wait_ms = from->wait_ms;
		}
	}
	return 0;
}

/* ---- taking commands ------------------------------------------------------------------------------------------------- */

/* A reply that says what was wrong with which property. */
static int refuse_command(struct cw_decoder *d, const struct cw_event *ev, const struct build *b, int code)
{
	uint8_t buf[256];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));

	cw_put_map(&w);
	cw_field_text(&w, "error", b->error);
	if (b->property[0] != '\0')
		cw_field_text(&w, "property", b->property);
	cw_put_end(&w);
	mb_count(d, MB_N_WRITES_REFUSED);
	return d->host->command_done(d->hx, ev->conn, ev->id, code, cw_written(&w));
}

static int enqueue(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, const struct build *b, int get)
{
	size_t reply = get ? 16384 : 0, size = sizeof(struct mb_job) + b->count * sizeof(struct mb_step) + b->len, charged = 0;
	struct mb_job *j;

	if (mb_keep(d, ev, &charged, size + reply) < 0)
		return CW_EBUSY;
	j = calloc(1, size + reply);
	if (j == NULL) {
		mb_unkeep(d, ev, &charged);
		return CW_ENOMEM;
	}
	j->charged = charged;
	j->id = ev->id;
	j->unit = b->u;
	j->count = b->count;
	j->ready_ms = ev->mono_ms;
	j->deadline_ms = ev->mono_ms + c->conf->write_deadline_ms;
	memcpy(j->steps, b->steps, b->count * sizeof(struct mb_step));
	j->bytes = (uint8_t *)&j->steps[b->count];
	memcpy(j->bytes, b->bytes, b->len);
	j->reply = get ? j->bytes + b->len : NULL;
	j->reply_size = reply;
	if (c->jobs_last != NULL)
		c->jobs_last->next = j;
	else
		c->jobs = j;
	c->jobs_last = j;
	for (; j->at < j->count && j->steps[j->at].kind == MB_S_WAIT; j->at++)
		j->ready_ms += j->steps[j->at].wait_ms;
	j->deadline_ms += j->ready_ms - ev->mono_ms;
	if (j->at == j->count)
		mb_job_end(d, ev, c, j, CW_CODE_OK);
	return 0;
}

static const struct mb_service *service_of(const struct mb_profile *p, struct cw_bytes name)
{
	unsigned i;

	for (i = 0; i < p->service_count; i++)
		if (cw_bytes_equal(name, cw_bytes_text(p->services[i].name)))
			return &p->services[i];
	return NULL;
}

static int take(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_unit *u, const struct cw_record *cmd)
{
	const struct mb_service *s = NULL;
	struct build *b;
	int rc;

	if (cmd->kind == CW_KIND_SERVICE)
		s = service_of(u->profile, cmd->name);
	if (cmd->kind != CW_KIND_PROPERTY_SET && cmd->kind != CW_KIND_PROPERTY_GET && s == NULL)
		return CW_EUNSUPPORTED;
	b = malloc(sizeof(*b));
	if (b == NULL)
		return CW_ENOMEM;
	b->d = d;
	b->u = u;
	b->count = 0;
	b->len = 0;
	b->error = "";
	b->property[0] = '\0';
	rc = s != NULL ? build_service(b, s) : cmd->kind == CW_KIND_PROPERTY_SET ? build_set(b, cmd->body) : build_get(b, cmd->body);
	if (rc < 0)
		rc = refuse_command(d, ev, b, CW_CODE_BAD_INPUT);
	else if (b->count == 0)
		rc = d->host->command_done(d->hx, ev->conn, ev->id, CW_CODE_OK, cw_bytes_of(NULL, 0));
	else
		rc = enqueue(d, ev, c, b, cmd->kind == CW_KIND_PROPERTY_GET);
	free(b);
	return rc;
}

int mb_command(struct cw_decoder *d, const struct cw_event *ev)
{
	struct mb_conn *c = *ev->conn_ctx;
	struct mb_unit *u = ev->device_ctx == NULL ? NULL : *ev->device_ctx;
	struct cw_record cmd;
	int rc;

	if (c == NULL || (ev->flags & (CW_EVF_INSPECT | CW_EVF_KEPT)) != 0)
		return CW_EOFFLINE;
	if (!cw_record_read(ev->data, &cmd))
		return CW_EINVAL;
	if (u == NULL || u->state != MB_U_ON || u->device == 0)
		return d->host->command_done(d->hx, ev->conn, ev->id, MB_CODE_OFFLINE, cw_bytes_of(NULL, 0));
	if (u->profile == NULL)
		return CW_EUNSUPPORTED;
	rc = take(d, ev, c, u, &cmd);
	if (rc == 0)
		mb_run(d, ev, c);
	return rc;
}

/* ---- the end of a command ------------------------------------------------------------------------------------------------ */

static void unlink_job(struct mb_conn *c, const struct mb_job *j)
{
	struct mb_job **at, *last = NULL;

	for (at = &c->jobs; *at != NULL; at = &(*at)->next) {
		if (*at == j) {
			*at = j->next;
			break;
		}
		last = *at;
	}
	if (c->jobs_last == j)
		c->jobs_last = last;
}

/* The values written are read soon, so that they are reported as the device has them. */
static void read_soon(const struct cw_event *ev, struct mb_job *j)
{
	struct mb_unit *u = j->unit;
	unsigned i, g;

	for (i = 0; i < j->count && u->polled; i++) {
		if (j->steps[i].kind != MB_S_WRITE && j->steps[i].kind != MB_S_MODIFY)
			continue;
		for (g = 0; g < u->profile->group_count; g++)
			if (u->groups[g].interval_ms == u->profile->points[j->steps[i].point].interval_ms && u->state_of[g].due_ms > ev->mono_ms)
				u->state_of[g].due_ms = ev->mono_ms;
	}
}

static void forget_job(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_job *j)
{
	unlink_job(c, j);
	mb_out_forget(c, NULL, j);
	if (j->started && j->reply == NULL)
		read_soon(ev, j);
	mb_unkeep(d, ev, &j->charged);
	free(j);
}

void mb_job_end(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_job *j, int code)
{
	struct cw_bytes reply = cw_bytes_of(NULL, 0);
	struct cw_writer w;

	if (j->reply != NULL && code == CW_CODE_OK) {
		w = cw_writer_of(j->reply, j->reply_size);
		w.len = j->reply_len;
		cw_put_end(&w);
		if (!w.overflow)
			reply = cw_written(&w);
	}
	(void)d->host->command_done(d->hx, ev->conn, j->id, code, reply);
	forget_job(d, ev, c, j);
}

void mb_jobs_of(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, const struct mb_unit *u, int code)
{
	struct mb_job *j, *next;

	for (j = c->jobs; j != NULL; j = next) {
		next = j->next;
		if (j->unit == u)
			mb_job_end(d, ev, c, j, code);
	}
}

void mb_cancelled(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c)
{
	struct mb_job *j;

	for (j = c->jobs; j != NULL && j->id != ev->id; j = j->next)
		;
	if (j != NULL)
		forget_job(d, ev, c, j);
}

/* ---- steps ------------------------------------------------------------------------------------------------------------------ */

static size_t read_pdu(const struct mb_job *j, const struct mb_step *s, struct mb_request *q, uint8_t *out)
{
	const struct mb_point *p = &j->unit->profile->points[s->point];
	uint8_t *w = out;

	q->fc = *w++ = mb_area_fc(p->area);
	q->address = s->kind == MB_S_MODIFY ? s->address : (uint16_t)((int)p->address + j->unit->conf->address_shift);
	q->quantity = p->count;
	w = put16(w, q->address);
	w = put16(w, q->quantity);
	return (size_t)(w - out);
}

/* 0x06 as 0x10 and the reverse: for devices that lack one (writeFallback). */
static size_t swapped(const uint8_t *pdu, size_t len, uint8_t *out)
{
	switch (pdu[0]) {
	case MB_WRITE_REGISTER:
	case MB_WRITE_COIL:
		out[0] = pdu[0] == MB_WRITE_COIL ? MB_WRITE_COILS : MB_WRITE_REGISTERS;
		memcpy(out + 1, pdu + 1, 2);
		(void)put16(out + 3, 1);
		if (pdu[0] == MB_WRITE_COIL) {
			out[5] = 1;
			out[6] = pdu[3] != 0;
			return 7;
		}
		out[5] = 2;
		memcpy(out + 6, pdu + 3, 2);
		return 8;
	case MB_WRITE_COILS:
	case MB_WRITE_REGISTERS:
		if (len < 7 || pdu[3] != 0 || pdu[4] != 1)
			return 0;
		out[0] = pdu[0] == MB_WRITE_COILS ? MB_WRITE_COIL : MB_WRITE_REGISTER;
		memcpy(out + 1, pdu + 1, 2);
		if (pdu[0] == MB_WRITE_COILS)
			(void)put16(out + 3, pdu[6] & 1 ? 0xff00 : 0);
		else
			memcpy(out + 3, pdu + 6, 2);
		return 5;
	default: return 0;
	}
}

static void request_of(const uint8_t *pdu, struct mb_request *q)
{
	q->fc = pdu[0];
	q->address = (uint16_t)(pdu[1] << 8 | pdu[2]);
	q->quantity = (uint16_t)(pdu[3] << 8 | pdu[4]);
	q->or_mask = pdu[0] == MB_MASK_WRITE ? (uint16_t)((unsigned)pdu[5] << 8 | pdu[6]) : 0;
}

size_t mb_job_request(struct cw_decoder *d, struct mb_job *j, struct mb_request *q, uint8_t *out)
{
	const struct mb_step *s = &j->steps[j->at];
	size_t n = s->len;

	memset(q, 0, sizeof(*q));
	j->started = 1;
	if (s->kind == MB_S_READ_BACK || s->kind == MB_S_GET || (s->kind == MB_S_MODIFY && !j->second))
		return read_pdu(j, s, q, out);
	mb_count(d, MB_N_WRITES);
	if (s->kind == MB_S_MODIFY) {
		unsigned v = j->old_value;

		v = s->on ? v | 1u << s->bit : v & ~(1u << s->bit);
		out[0] = MB_WRITE_REGISTER;
		(void)put16(put16(out + 1, s->address), v);
		n = 5;
	} else {
		memcpy(out, j->bytes + s->at, n);
		if (j->swapped)
			n = swapped(j->bytes + s->at, s->len, out);
	}
	request_of(out, q);
	return n;
}

/* On to the next step; waits are done here. */
static void advance(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_job *j)
{
	j->tries = j->busy = 0;
	j->second = j->swapped = 0;
	j->ready_ms = ev->mono_ms;
	for (j->at++; j->at < j->count && j->steps[j->at].kind == MB_S_WAIT; j->at++) {
		j->ready_ms += j->steps[j->at].wait_ms;
		(void)d->host->command_extend(d->hx, ev->conn, j->id, j->steps[j->at].wait_ms + 30000);
	}
	if (j->at >= j->count)
		mb_job_end(d, ev, c, j, CW_CODE_OK);
}

void mb_job_sent(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_job *j)
{
	advance(d, ev, c, j);
}

static void got_value(struct cw_decoder *d, struct mb_job *j, const struct mb_step *s, const struct mb_pdu *p)
{
	const struct mb_point *pt = &j->unit->profile->points[s->point];
	struct cw_writer w = cw_writer_of(j->reply, j->reply_size - 1);
	struct mb_value v;
	uint8_t bit;

	mb_point_read(&d->cs, pt, mb_point_wire(pt, 0, p->data, &bit), d->texts, MB_TEXTS_MAX, &v);
	w.len = j->reply_len;
	if (w.len == 0)
		cw_put_map(&w);
	if (v.kind != MB_V_NONE) {
		cw_put_text(&w, pt->property);
		mb_put_value(&w, &v);
	}
	if (!w.overflow)
		j->reply_len = w.len;
}

/* 1: the device has what was written. */
static int same_as_written(const struct mb_job *j, const struct mb_step *s, const struct mb_pdu *p)
{
	const struct mb_point *pt = &j->unit->profile->points[s->point];
	struct cw_bytes wire, wrote = cw_bytes_of(j->bytes + s->at, s->len);
	uint8_t bit;

	wire = mb_point_wire(pt, 0, p->data, &bit);
	if (pt->type == MB_BIT) {
		unsigned at = pt->order != MB_ABCD && pt->order != MB_CDAB ? pt->bit ^ 8u : pt->bit;

		return (mb_register(p->data, 0) >> at & 1) == (s->on & 1);
	}
	return cw_bytes_equal(wire, wrote);
}

static void job_exception(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_job *j, uint8_t code)
{
	const struct mb_step *s = &j->steps[j->at];
	uint8_t other[8];

	if (code == 5 && s->kind == MB_S_WRITE) { /* accepted, the result comes later */
		advance(d, ev, c, j);
		return;
	}
	if (code == 6 && j->busy < j->unit->conf->busy_retries) {
		j->busy++;
		j->ready_ms = ev->mono_ms + j->unit->conf->busy_wait_ms;
		return;
	}
	if (code == 1 && s->kind == MB_S_WRITE && j->unit->profile->write_fallback && !j->swapped && s->len <= sizeof(other) &&
	    swapped(j->bytes + s->at, s->len, other) > 0) {
		j->swapped = 1;
		return;
	}
	mb_job_end(d, ev, c, j, MB_CODE_EXCEPTION + code);
}

void mb_job_answer(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_job *j, const struct mb_request *q, struct cw_bytes pdu)
{
	const struct mb_step *s = &j->steps[j->at];
	struct mb_pdu p;

	(void)q;
	if (mb_pdu_read(pdu, MB_RESPONSE, &p) != MB_OK)
		return;
	if (p.exception != 0) {
		job_exception(d, ev, c, j, p.exception);
		return;
	}
	if (s->kind == MB_S_MODIFY && !j->second) {
		j->old_value = mb_register(p.data, 0);
		j->second = 1;
		j->ready_ms = ev->mono_ms;
		return;
	}
	if (s->kind == MB_S_READ_BACK && !same_as_written(j, s, &p)) {
		mb_count(d, MB_N_READ_BACK);
		mb_say(d, ev, CW_LEVEL_WARN, "unit %u has another value than was written to %s", j->unit->number, j->unit->profile->points[s->point].name);
		mb_job_end(d, ev, c, j, CW_CODE_FAILED);
		return;
	}
	if (s->kind == MB_S_GET)
		got_value(d, j, s, &p);
	advance(d, ev, c, j);
}

void mb_job_timeout(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_job *j, int damaged)
{
	const struct mb_step *s = &j->steps[j->at];
	int reads = s->kind == MB_S_READ_BACK || s->kind == MB_S_GET || (s->kind == MB_S_MODIFY && !j->second);
	unsigned most = reads ? j->unit->conf->retries : j->unit->conf->write_retries;

	if (j->tries < most) {
		j->tries++;
		j->ready_ms = ev->mono_ms + c->conf->late_guard_ms;
		mb_count(d, MB_N_RETRIES);
		return;
	}
	mb_job_end(d, ev, c, j, damaged ? MB_CODE_DAMAGED : MB_CODE_TIMEOUT);
}
