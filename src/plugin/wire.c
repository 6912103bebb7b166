/* wire.c - see wire.h. */
#include "plugin/wire.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"

#define READ_AT_ONCE 65536u

struct head {
	uint32_t size; /* of the whole message */
	uint16_t kind, parts;
	uint64_t conn, dev, a, b, c;
};

/* ---- out ------------------------------------------------------------------------ */

static void set_aside(struct cw_outlet *o, const uint8_t *bytes, size_t len)
{
	size_t need;

	if (o->wait_at > o->wait_len / 2) {
		memmove(o->wait, o->wait + o->wait_at, o->wait_len - o->wait_at);
		o->wait_len -= o->wait_at;
		o->wait_at = 0;
	}
	need = o->wait_len + len;
	if (need > o->wait_size) {
		size_t size = o->wait_size * 2 > need ? o->wait_size * 2 : need;
		uint8_t *grown = cw_realloc(o->wait, size);

		if (grown == NULL) {
			o->failed = CW_ENOMEM;
			return;
		}
		o->wait = grown;
		o->wait_size = size;
	}
	memcpy(o->wait + o->wait_len, bytes, len);
	o->wait_len = need;
}

static void put_bytes(struct cw_outlet *o, const void *bytes, size_t len)
{
	int64_t n;

	if (len == 0 || o->failed)
		return;
	n = o->wait_len > 0 ? 0 : cw_ring_write(&o->ring, bytes, len);
	if (n < 0)
		o->failed = (int)n;
	else if ((size_t)n < len)
		set_aside(o, (const uint8_t *)bytes + n, len - (size_t)n);
}

void cw_outlet_put(struct cw_outlet *o, const struct cw_wire *m)
{
	uint8_t front[sizeof(struct head) + CW_WIRE_PARTS * sizeof(uint32_t)];
	struct head h = { 0, m->kind, m->parts, m->conn, m->dev, m->a, m->b, m->c };
	size_t size = sizeof(h) + m->parts * sizeof(uint32_t), at = sizeof(h);
	unsigned i;

	for (i = 0; i < m->parts; i++) {
		uint32_t len = (uint32_t)m->part[i].len;

		memcpy(front + at, &len, sizeof(len));
		at += sizeof(len);
		size += m->part[i].len;
	}
	if (size > CW_WIRE_MOST) { /* longer than anything a device or the platform may send */
		o->failed = CW_ELIMIT;
		return;
	}
	h.size = (uint32_t)size;
	memcpy(front, &h, sizeof(h));
	put_bytes(o, front, at);
	for (i = 0; i < m->parts; i++)
		put_bytes(o, m->part[i].ptr, m->part[i].len);
}

int cw_outlet_flush(struct cw_outlet *o)
{
	int64_t n;

	if (o->wait_len == 0)
		return 1;
	n = cw_ring_write(&o->ring, o->wait + o->wait_at, o->wait_len - o->wait_at);
	if (n < 0)
		o->failed = (int)n;
	if (n <= 0)
		return 0;
	o->wait_at += (size_t)n;
	if (o->wait_at < o->wait_len)
		return 0;
	cw_free(o->wait);
	o->wait = NULL;
	o->wait_at = o->wait_len = o->wait_size = 0;
	return 1;
}

void cw_outlet_fini(struct cw_outlet *o)
{
	cw_free(o->wait);
	memset(o, 0, sizeof(*o));
}

/* ---- in ------------------------------------------------------------------------- */

static int take_apart(const uint8_t *bytes, const struct head *h, struct cw_wire *ret)
{
	size_t at = sizeof(*h), body = sizeof(*h) + h->parts * sizeof(uint32_t);
	unsigned i;

	if (h->parts > CW_WIRE_PARTS || body > h->size)
		return CW_EPROTO;
	memset(ret, 0, sizeof(*ret));
	ret->kind = h->kind;
	ret->parts = h->parts;
	ret->conn = h->conn;
	ret->dev = h->dev;
	ret->a = h->a;
	ret->b = h->b;
	ret->c = h->c;
	for (i = 0; i < h->parts; i++) {
		uint32_t len;

		memcpy(&len, bytes + at, sizeof(len));
		at += sizeof(len);
		if (len > h->size - body)
			return CW_EPROTO;
		ret->part[i] = cw_bytes_of(bytes + body, len);
		body += len;
	}
	return body == h->size ? 1 : CW_EPROTO;
}

/* Room for a message of `size` behind what is held. */
static int make_room(struct cw_intake *in, size_t size)
{
	size_t want = size > READ_AT_ONCE ? size : READ_AT_ONCE;
	uint8_t *buf;

	if (in->at > 0) {
		memmove(in->buf, in->buf + in->at, in->len - in->at);
		in->len -= in->at;
		in->at = 0;
	}
	if (want <= in->size && (in->size == READ_AT_ONCE || size > READ_AT_ONCE || in->len > READ_AT_ONCE))
		return 0;
	buf = cw_realloc(in->buf, want); /* also smaller again, after a long one */
	if (buf == NULL)
		return CW_ENOMEM;
	in->buf = buf;
	in->size = want;
	return 0;
}

int cw_intake_next(struct cw_intake *in, struct cw_wire *ret, int *ret_wake)
{
	for (;;) {
		size_t have = in->len - in->at, need = sizeof(struct head);
		struct head h;
		int64_t n;

		if (have >= sizeof(h)) {
			memcpy(&h, in->buf + in->at, sizeof(h));
			if (h.size < sizeof(h) || h.size > CW_WIRE_MOST)
				return CW_EPROTO;
			if (have >= h.size) {
				int rc = take_apart(in->buf + in->at, &h, ret);

				in->at += h.size;
				return rc;
			}
			need = h.size;
		}
		if (make_room(in, need) < 0)
			return CW_ENOMEM;
		n = cw_ring_read(&in->ring, in->buf + in->len, in->size - in->len, ret_wake);
		if (n <= 0)
			return (int)n;
		in->len += (size_t)n;
	}
}

void cw_intake_fini(struct cw_intake *in)
{
	cw_free(in->buf);
	memset(in, 0, sizeof(*in));
}
