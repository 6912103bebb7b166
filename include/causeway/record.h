/*
 * record.h - the flat encoding of records (device to platform), commands
 * (platform to device), settings and saved values: a subset of CBOR (RFC 8949).
 *
 * The subset: integers of 64 bits, byte and text strings of definite length (text
 * is UTF-8), arrays and maps of definite or indefinite length, decimal fractions
 * (tag 4: [exponent, mantissa], so that 12.30 stays 12.30), floats of 64 bits,
 * true, false, null. Nesting is at most CW_RECORD_DEPTH. Map keys are text, save
 * on the outermost level of a record, where they are the small integers below.
 *
 * A record is a map:
 *
 *   key           value                                             needed
 *   0 kind        CW_KIND_*                                         always
 *   1 name        event, service, topic or module (text)            by kind
 *   2 time        UTC milliseconds; absent: the host stamps it
 *   3 flags       CW_RECORD_* bits
 *   4 event type  CW_EVENT_INFO, _ALERT or _ERROR
 *   5 dedup       1 to 32 bytes that two copies of one message share
 *   6 request     the caller's id (text), comes back with the platform's reply
 *   7 body        map of identifier to value; a byte string for CW_KIND_RAW
 *   8 qos         0 or 1, for CW_KIND_RAW
 *
 * Writing never fails in the middle: a writer that is too small sets `overflow`.
 */
#ifndef CAUSEWAY_RECORD_H
#define CAUSEWAY_RECORD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bytes.h"

#define CW_RECORD_DEPTH 12
#define CW_RECORD_DEDUP_MAX 32

/* Kinds of records, device to platform. */
#define CW_KIND_PROPERTIES 1   /* body: identifier to value */
#define CW_KIND_EVENT 2        /* name: event identifier; body: output parameters */
#define CW_KIND_TAGS 3         /* body: tag key to text */
#define CW_KIND_RAW 4          /* name: topic below the device (`user/up`, `thing/model/up_raw`); body: bytes */
#define CW_KIND_OTA_VERSION 5  /* name: module or empty; body: {version} */
#define CW_KIND_OTA_PROGRESS 6 /* name: module or empty; body: {step int, desc text} */
#define CW_KIND_SHADOW_REPORT 7 /* body: what the device reports to its shadow; empty: asks for it, CW_KIND_SHADOW follows */

/* Kinds of commands, platform to device. */
#define CW_KIND_PROPERTY_SET 33 /* body: identifier to value */
#define CW_KIND_PROPERTY_GET 34 /* body: {identifiers: array of text} */
#define CW_KIND_SERVICE 35      /* name: service; body: input parameters */
#define CW_KIND_RAW_DOWN 36     /* name: topic below the device; body: bytes; nothing is answered */
#define CW_KIND_RRPC 37         /* name: topic or empty; body: bytes; answered with bytes */
#define CW_KIND_OTA_NOTICE 38   /* name: module or empty; body: {version, size, digest, method, extra} */
#define CW_KIND_CONFIG 39       /* body: {configId, configSize, sign, signMethod, url}: pushed, or asked for by `thing/config/get` */
#define CW_KIND_SHADOW 40       /* body: desired state */
#define CW_KIND_TIME 41         /* body: {now: UTC ms} */
#define CW_KIND_ENABLE 42
#define CW_KIND_DISABLE 43
#define CW_KIND_DELETE 44
#define CW_KIND_BROADCAST 45 /* name: topic; body: bytes; nothing is answered */

/* Flags. */
#define CW_RECORD_URGENT 1u   /* overtakes telemetry on its way up */
#define CW_RECORD_REPLAY 2u   /* stored by the device and sent late: history, not live state */
#define CW_RECORD_TIME_BAD 4u /* set by the host: the device's time was out of range, body has `rawTime` beside it */

#define CW_EVENT_INFO 1
#define CW_EVENT_ALERT 2
#define CW_EVENT_ERROR 3

/* ---- writing ---------------------------------------------------------------- */

static inline void cw_put_head(struct cw_writer *w, unsigned major, uint64_t value)
{
	uint8_t m = (uint8_t)(major << 5);

	if (value < 24) {
		cw_write_u8(w, (uint8_t)(m | value));
	} else if (value <= 0xff) {
		uint8_t b[2];

		b[0] = (uint8_t)(m | 24);
		b[1] = (uint8_t)value;
		cw_write_raw(w, b, 2);
	} else {
		uint8_t b[9];
		unsigned n = value <= 0xffff ? 2 : value <= 0xffffffffu ? 4 : 8;
		unsigned i;

		b[0] = (uint8_t)(m | (n == 2 ? 25 : n == 4 ? 26 : 27));
		for (i = 0; i < n; i++)
			b[n - i] = (uint8_t)(value >> (8 * i));
		cw_write_raw(w, b, n + 1);
	}
}

static inline void cw_put_uint(struct cw_writer *w, uint64_t v) { cw_put_head(w, 0, v); }

static inline void cw_put_int(struct cw_writer *w, int64_t v)
{
	if (v >= 0)
		cw_put_head(w, 0, (uint64_t)v);
	else
		cw_put_head(w, 1, (uint64_t)(-1 - v));
}

static inline void cw_put_bytes(struct cw_writer *w, struct cw_bytes b)
{
	cw_put_head(w, 2, b.len);
	cw_write_bytes(w, b);
}

/* `text` must be UTF-8; the host refuses a record with anything else. */
static inline void cw_put_textn(struct cw_writer *w, const char *text, size_t len)
{
	cw_put_head(w, 3, len);
	cw_write_raw(w, text, len);
}

static inline void cw_put_text(struct cw_writer *w, const char *text) { cw_put_textn(w, text, strlen(text)); }
static inline void cw_put_array(struct cw_writer *w) { cw_write_u8(w, 0x9f); } /* until cw_put_end() */
static inline void cw_put_map(struct cw_writer *w) { cw_write_u8(w, 0xbf); }   /* until cw_put_end() */
static inline void cw_put_end(struct cw_writer *w) { cw_write_u8(w, 0xff); }
static inline void cw_put_bool(struct cw_writer *w, int v) { cw_write_u8(w, v ? 0xf5 : 0xf4); }
static inline void cw_put_null(struct cw_writer *w) { cw_write_u8(w, 0xf6); }

/* mantissa x 10^exponent, exponent -18..18: cw_put_decimal(w, 1230, -2) is 12.30. */
static inline void cw_put_decimal(struct cw_writer *w, int64_t mantissa, int exponent)
{
	cw_write_u8(w, 0xc4);
	cw_write_u8(w, 0x82);
	cw_put_int(w, exponent);
	cw_put_int(w, mantissa);
}

/* For values that are floats on the wire; anything scaled is a decimal instead. Must be finite. */
static inline void cw_put_double(struct cw_writer *w, double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	if (w->size - w->len < 9) {
		w->overflow = 1;
		return;
	}
	cw_write_u8(w, 0xfb);
	cw_write_u64be(w, bits);
}

/* A member of a map: key and value in one call. */
static inline void cw_field_uint(struct cw_writer *w, const char *key, uint64_t v) { cw_put_text(w, key); cw_put_uint(w, v); }
static inline void cw_field_int(struct cw_writer *w, const char *key, int64_t v) { cw_put_text(w, key); cw_put_int(w, v); }
static inline void cw_field_text(struct cw_writer *w, const char *key, const char *v) { cw_put_text(w, key); cw_put_text(w, v); }
static inline void cw_field_textn(struct cw_writer *w, const char *key, const char *v, size_t n) { cw_put_text(w, key); cw_put_textn(w, v, n); }
static inline void cw_field_bytes(struct cw_writer *w, const char *key, struct cw_bytes v) { cw_put_text(w, key); cw_put_bytes(w, v); }
static inline void cw_field_bool(struct cw_writer *w, const char *key, int v) { cw_put_text(w, key); cw_put_bool(w, v); }
static inline void cw_field_decimal(struct cw_writer *w, const char *key, int64_t mantissa, int exponent) { cw_put_text(w, key); cw_put_decimal(w, mantissa, exponent); }
static inline void cw_field_double(struct cw_writer *w, const char *key, double v) { cw_put_text(w, key); cw_put_double(w, v); }
static inline void cw_field_map(struct cw_writer *w, const char *key) { cw_put_text(w, key); cw_put_map(w); }
static inline void cw_field_array(struct cw_writer *w, const char *key) { cw_put_text(w, key); cw_put_array(w); }

/* The outermost level of a record: begin, what applies of the middle ones, body .. end of body, end. */
static inline void cw_record_begin(struct cw_writer *w, unsigned kind) { cw_put_map(w); cw_put_uint(w, 0); cw_put_uint(w, kind); }
static inline void cw_record_name(struct cw_writer *w, const char *name) { cw_put_uint(w, 1); cw_put_text(w, name); }
static inline void cw_record_time(struct cw_writer *w, int64_t utc_ms) { cw_put_uint(w, 2); cw_put_int(w, utc_ms); }
static inline void cw_record_flags(struct cw_writer *w, unsigned flags) { cw_put_uint(w, 3); cw_put_uint(w, flags); }
static inline void cw_record_event_type(struct cw_writer *w, unsigned type) { cw_put_uint(w, 4); cw_put_uint(w, type); }
static inline void cw_record_dedup(struct cw_writer *w, struct cw_bytes key) { cw_put_uint(w, 5); cw_put_bytes(w, key); }
static inline void cw_record_request(struct cw_writer *w, const char *id) { cw_put_uint(w, 6); cw_put_text(w, id); }
static inline void cw_record_body(struct cw_writer *w) { cw_put_uint(w, 7); cw_put_map(w); } /* close with cw_put_end() */
static inline void cw_record_body_bytes(struct cw_writer *w, struct cw_bytes b) { cw_put_uint(w, 7); cw_put_bytes(w, b); }
static inline void cw_record_qos(struct cw_writer *w, unsigned qos) { cw_put_uint(w, 8); cw_put_uint(w, qos); }
static inline void cw_record_end(struct cw_writer *w) { cw_put_end(w); }

/* ---- reading ---------------------------------------------------------------- */

enum cw_item_type {
	CW_ITEM_BAD,     /* not of the subset, or cut off */
	CW_ITEM_INT,     /* .i; numbers above INT64_MAX are CW_ITEM_UINT */
	CW_ITEM_UINT,    /* .u, only above INT64_MAX */
	CW_ITEM_BYTES,   /* .s */
	CW_ITEM_TEXT,    /* .s, not NUL-terminated */
	CW_ITEM_ARRAY,   /* members follow; see cw_item_more() */
	CW_ITEM_MAP,     /* key, value, key, value .. follow; see cw_item_more() */
	CW_ITEM_DECIMAL, /* .i x 10 ^ .exponent */
	CW_ITEM_DOUBLE,  /* .d */
	CW_ITEM_BOOL,    /* .i 0 or 1 */
	CW_ITEM_NULL
};

struct cw_item {
	int type; /* enum cw_item_type */
	int exponent;
	int64_t i;
	uint64_t u;   /* also: members left of an array or map, UINT64_MAX: until the end mark */
	double d;
	struct cw_bytes s;
};

static inline int cw_read_head(struct cw_reader *r, unsigned *ret_major, unsigned *ret_info, uint64_t *ret_value)
{
	uint8_t b = cw_read_u8(r);
	unsigned info = b & 31u;

	*ret_major = b >> 5;
	*ret_info = info;
	if (info < 24)
		*ret_value = info;
	else if (info <= 27)
		*ret_value = cw_read_be(r, 1u << (info - 24));
	else if (info == 31)
		*ret_value = UINT64_MAX;
	else
		return 0;
	return !r->short_read;
}

static inline int cw_head_to_int(unsigned major, unsigned info, uint64_t v, int64_t *ret)
{
	if (major > 1 || info == 31 || v > INT64_MAX)
		return 0;
	*ret = major == 0 ? (int64_t)v : -1 - (int64_t)v;
	return 1;
}

/*
 * The next item. Strings are views into the reader's bytes. After an array or map
 * its members follow; ask cw_item_more() before each. On bad bytes the type is
 * CW_ITEM_BAD and the reader stands at its end.
 */
static inline struct cw_item cw_read_item(struct cw_reader *r)
{
	struct cw_item it;
	unsigned major, info;
	uint64_t v;

	memset(&it, 0, sizeof(it));
	if (!cw_read_head(r, &major, &info, &v))
		goto bad;
	if (info == 31 && major != 4 && major != 5)
		goto bad;
	switch (major) {
	case 0:
	case 1:
		if (cw_head_to_int(major, info, v, &it.i)) {
			it.type = CW_ITEM_INT;
		} else if (major == 0) {
			it.type = CW_ITEM_UINT;
			it.u = v;
		} else {
			goto bad;
		}
		return it;
	case 2:
	case 3:
		if (v > cw_read_left(r))
			goto bad;
		it.s = cw_read_bytes(r, (size_t)v);
		it.type = major == 2 ? CW_ITEM_BYTES : CW_ITEM_TEXT;
		return it;
	case 4:
	case 5:
		if (info != 31 && v > cw_read_left(r))
			goto bad;
		it.u = info == 31 ? UINT64_MAX : major == 5 ? v * 2 : v;
		it.type = major == 4 ? CW_ITEM_ARRAY : CW_ITEM_MAP;
		return it;
	case 6: {
		int64_t e;

		if (v != 4 || cw_read_u8(r) != 0x82 || !cw_read_head(r, &major, &info, &v) || !cw_head_to_int(major, info, v, &e) ||
		    e < -18 || e > 18 || !cw_read_head(r, &major, &info, &v) || !cw_head_to_int(major, info, v, &it.i))
			goto bad;
		it.exponent = (int)e;
		it.type = CW_ITEM_DECIMAL;
		return it;
	}
	default:
		if (info == 20 || info == 21) {
			it.type = CW_ITEM_BOOL;
			it.i = info == 21;
			return it;
		}
		if (info == 22) {
			it.type = CW_ITEM_NULL;
			return it;
		}
		if (info == 27) {
			memcpy(&it.d, &v, sizeof(it.d));
			it.type = CW_ITEM_DOUBLE;
			return it;
		}
		break;
	}
bad:
	r->short_read = 1;
	r->pos = r->len;
	it.type = CW_ITEM_BAD;
	return it;
}

/* 1 when another member (of a map: key or value) of this container follows; consumes the end mark. */
static inline int cw_item_more(struct cw_reader *r, struct cw_item *container)
{
	if (r->short_read || (container->type != CW_ITEM_ARRAY && container->type != CW_ITEM_MAP))
		return 0;
	if (container->u == UINT64_MAX) {
		if (r->pos >= r->len) {
			r->short_read = 1;
			return 0;
		}
		if (r->ptr[r->pos] != 0xff)
			return 1;
		r->pos++;
		return 0;
	}
	if (container->u == 0)
		return 0;
	container->u--;
	return 1;
}

/* Let the reader stand at its end, marked as short. */
static inline int cw_read_bad(struct cw_reader *r)
{
	r->short_read = 1;
	r->pos = r->len;
	return 0;
}

static inline int cw_skip_item(struct cw_reader *r, int depth);

/* Skip the members of `it` if it is a container. `depth` is how deep it may still nest. 0 when malformed or too deep. */
static inline int cw_skip_members(struct cw_reader *r, struct cw_item *it, int depth)
{
	if (it->type == CW_ITEM_BAD)
		return 0;
	if (it->type != CW_ITEM_ARRAY && it->type != CW_ITEM_MAP)
		return 1;
	if (depth <= 0)
		return 0;
	while (cw_item_more(r, it))
		if (!cw_skip_item(r, depth - 1))
			return 0;
	return !r->short_read;
}

/*
 * Skip the next item, with what is in it. It accepts what cw_read_item() and cw_skip_members() accept; records are
 * walked several times on their way, so it makes no items of what nobody looks at.
 */
static inline int cw_skip_item(struct cw_reader *r, int depth)
{
	struct cw_item it;
	unsigned major, info;
	uint64_t v;
	int64_t n;

	if (!cw_read_head(r, &major, &info, &v) || (info == 31 && major != 4 && major != 5))
		return cw_read_bad(r);
	switch (major) {
	case 0: return 1;
	case 1: return v <= INT64_MAX ? 1 : cw_read_bad(r);
	case 2:
	case 3:
		if (v > cw_read_left(r))
			return cw_read_bad(r);
		r->pos += (size_t)v;
		return 1;
	case 4:
	case 5:
		if (info != 31 && v > cw_read_left(r))
			return cw_read_bad(r);
		it.type = major == 4 ? CW_ITEM_ARRAY : CW_ITEM_MAP;
		it.u = info == 31 ? UINT64_MAX : major == 5 ? v * 2 : v;
		return cw_skip_members(r, &it, depth);
	case 6:
		if (v != 4 || cw_read_u8(r) != 0x82 || !cw_read_head(r, &major, &info, &v) || !cw_head_to_int(major, info, v, &n) ||
		    n < -18 || n > 18 || !cw_read_head(r, &major, &info, &v) || !cw_head_to_int(major, info, v, &n))
			return cw_read_bad(r);
		return 1;
	default: return (info >= 20 && info <= 22) || info == 27 ? 1 : cw_read_bad(r);
	}
}

/* The bytes of the next whole item; empty when malformed. */
static inline struct cw_bytes cw_read_whole_item(struct cw_reader *r)
{
	size_t start = r->pos;

	if (!cw_skip_item(r, CW_RECORD_DEPTH))
		return cw_bytes_of(NULL, 0);
	return cw_bytes_of(r->ptr + start, r->pos - start);
}

/* The value of a key in an encoded map, as the bytes of that item; empty when absent or malformed. */
static inline struct cw_bytes cw_map_get(struct cw_bytes map, const char *key)
{
	struct cw_reader r = cw_reader_of(map);
	struct cw_item m = cw_read_item(&r);
	size_t n = strlen(key);

	if (m.type != CW_ITEM_MAP)
		return cw_bytes_of(NULL, 0);
	while (cw_item_more(&r, &m)) {
		struct cw_item k = cw_read_item(&r);
		struct cw_bytes v;

		(void)cw_item_more(&r, &m);
		v = cw_read_whole_item(&r);
		if (v.len == 0)
			break;
		if (k.type == CW_ITEM_TEXT && k.s.len == n && memcmp(k.s.ptr, key, n) == 0)
			return v;
	}
	return cw_bytes_of(NULL, 0);
}

/* The same, read as one item; type CW_ITEM_BAD when absent. Of a container only the head. */
static inline struct cw_item cw_map_item(struct cw_bytes map, const char *key)
{
	struct cw_bytes v = cw_map_get(map, key);
	struct cw_reader r = cw_reader_of(v);

	return cw_read_item(&r);
}

static inline int64_t cw_map_int(struct cw_bytes map, const char *key, int64_t absent)
{
	struct cw_item it = cw_map_item(map, key);

	return it.type == CW_ITEM_INT || it.type == CW_ITEM_BOOL ? it.i : absent;
}

/* Text or bytes; empty when absent. */
static inline struct cw_bytes cw_map_text(struct cw_bytes map, const char *key)
{
	struct cw_item it = cw_map_item(map, key);

	return it.type == CW_ITEM_TEXT || it.type == CW_ITEM_BYTES ? it.s : cw_bytes_of(NULL, 0);
}

/* The outermost level of a record or command, taken apart. */
struct cw_record {
	unsigned kind;
	unsigned flags;
	unsigned event_type; /* 0: not given */
	unsigned qos;
	int has_time;
	int64_t time_ms;
	struct cw_bytes name, dedup, request;
	struct cw_bytes body; /* an encoded map, or for raw kinds the bytes themselves */
};

static inline int cw_record_member(struct cw_reader *r, int64_t key, struct cw_record *rec)
{
	size_t start = r->pos;
	struct cw_item v = cw_read_item(r);

	switch (key) {
	case 0: rec->kind = (unsigned)v.i; return v.type == CW_ITEM_INT && v.i > 0 && v.i < 256;
	case 1: rec->name = v.s; return v.type == CW_ITEM_TEXT;
	case 2: rec->time_ms = v.i; rec->has_time = 1; return v.type == CW_ITEM_INT;
	case 3: rec->flags = (unsigned)v.i; return v.type == CW_ITEM_INT && v.i >= 0;
	case 4: rec->event_type = (unsigned)v.i; return v.type == CW_ITEM_INT && v.i >= CW_EVENT_INFO && v.i <= CW_EVENT_ERROR;
	case 5: rec->dedup = v.s; return v.type == CW_ITEM_BYTES && v.s.len <= CW_RECORD_DEDUP_MAX;
	case 6: rec->request = v.s; return v.type == CW_ITEM_TEXT;
	case 7:
		if (v.type == CW_ITEM_BYTES) {
			rec->body = v.s;
			return 1;
		}
		if (v.type != CW_ITEM_MAP || !cw_skip_members(r, &v, CW_RECORD_DEPTH))
			return 0;
		rec->body = cw_bytes_of(r->ptr + start, r->pos - start);
		return 1;
	case 8: rec->qos = (unsigned)v.i; return v.type == CW_ITEM_INT && (v.i == 0 || v.i == 1);
	default: return cw_skip_members(r, &v, CW_RECORD_DEPTH); /* from a younger writer */
	}
}

/* Take a record apart. 1, or 0 when it is malformed. Views point into `bytes`. */
static inline int cw_record_read(struct cw_bytes bytes, struct cw_record *ret)
{
	struct cw_reader r = cw_reader_of(bytes);
	struct cw_item m = cw_read_item(&r);

	memset(ret, 0, sizeof(*ret));
	if (m.type != CW_ITEM_MAP)
		return 0;
	while (cw_item_more(&r, &m)) {
		struct cw_item k = cw_read_item(&r);

		(void)cw_item_more(&r, &m);
		if (k.type != CW_ITEM_INT || !cw_record_member(&r, k.i, ret))
			return 0;
	}
	return !r.short_read && r.pos == r.len && ret->kind != 0;
}

#endif
