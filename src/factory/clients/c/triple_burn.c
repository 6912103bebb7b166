/* triple_burn.c - see triple_burn.h. One file although it is long: that is how firmwares take it in. */
#if !defined(_POSIX_C_SOURCE) && !defined(TRIPLE_BURN_NO_SOCKETS)
#define _POSIX_C_SOURCE 200809L
#endif

#include "triple_burn.h"

#include <string.h>

#ifndef TRIPLE_BURN_NO_HEAP
#include <stdlib.h>
#endif

#define CONNECT_MS 5000u
#define ANSWER_MS 10000u
#define HOST_MAX 255
#define HEADER_MAX 8192u /* bytes of a reply's header, and of what stands between its chunks */
#define NESTED_MAX 8     /* objects and arrays in each other */

struct triple_burn_conf triple_burn_defaults;

static void wipe(void *data, size_t len)
{
	volatile unsigned char *p = (volatile unsigned char *)data;

	while (len-- != 0)
		*p++ = 0;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static int hex(char c)
{
	c = lower(c);
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* ---- CRC-32 ------------------------------------------------------------------------------ */

static uint32_t crc_add(uint32_t crc, const char *text)
{
	int bit;

	for (; *text != '\0'; text++) {
		crc ^= (unsigned char)*text;
		for (bit = 0; bit < 8; bit++)
			crc = (crc & 1u) != 0 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
	}
	return crc;
}

uint32_t calc_crc32(const char *text)
{
	return ~crc_add(0xFFFFFFFFu, text);
}

/* ---- reading JSON ------------------------------------------------------------------------ */

/* Everything below takes *at forward and returns 0, or an error. */

static void skip_blanks(const char **at)
{
	while (**at == ' ' || **at == '\t' || **at == '\r' || **at == '\n')
		(*at)++;
}

/* Room for a text: out NULL passes over it. */
struct text {
	char *out;
	size_t size, len;
	int too_long;
};

static void text_add(struct text *t, unsigned byte)
{
	if (t->len + 1 >= t->size)
		t->too_long = 1;
	else
		t->out[t->len++] = (char)byte;
}

static void text_add_code(struct text *t, uint32_t code)
{
	if (code < 0x80) {
		text_add(t, code);
		return;
	}
	if (code < 0x800) {
		text_add(t, 0xC0 | code >> 6);
	} else {
		if (code < 0x10000) {
			text_add(t, 0xE0 | code >> 12);
		} else {
			text_add(t, 0xF0 | code >> 18);
			text_add(t, 0x80 | (code >> 12 & 0x3F));
		}
		text_add(t, 0x80 | (code >> 6 & 0x3F));
	}
	text_add(t, 0x80 | (code & 0x3F));
}

static int read_u(const char **at, uint32_t *ret)
{
	int i, digit;

	*ret = 0;
	for (i = 0; i < 4; i++) {
		digit = hex(**at);
		if (digit < 0)
			return TRIPLE_BURN_INVALID;
		*ret = *ret << 4 | (uint32_t)digit;
		(*at)++;
	}
	return 0;
}

/* Behind the backslash. A NUL is refused: the texts here end with one. */
static int read_escape(const char **at, struct text *t)
{
	static const char names[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
	const char *found;
	uint32_t code, low;
	char c = **at;

	if (c == '\0')
		return TRIPLE_BURN_INVALID;
	(*at)++;
	if (c != 'u') {
		found = strchr(names, c);
		if (found == NULL)
			return TRIPLE_BURN_INVALID;
		text_add(t, (unsigned char)means[found - names]);
		return 0;
	}
	if (read_u(at, &code) < 0 || code == 0 || (code >= 0xDC00 && code < 0xE000))
		return TRIPLE_BURN_INVALID;
	if (code >= 0xD800 && code < 0xDC00) {
		if ((*at)[0] != '\\' || (*at)[1] != 'u')
			return TRIPLE_BURN_INVALID;
		*at += 2;
		if (read_u(at, &low) < 0 || low < 0xDC00 || low >= 0xE000)
			return TRIPLE_BURN_INVALID;
		code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
	}
	text_add_code(t, code);
	return 0;
}

static int read_string(const char **at, struct text *t)
{
	if (**at != '"')
		return TRIPLE_BURN_INVALID;
	for ((*at)++; **at != '"';) {
		unsigned char c = (unsigned char)**at;

		if (c < 0x20)
			return TRIPLE_BURN_INVALID; /* the end of the text, too */
		(*at)++;
		if (c == '\\') {
			if (read_escape(at, t) < 0)
				return TRIPLE_BURN_INVALID;
		} else {
			text_add(t, c);
		}
	}
	(*at)++;
	if (t->size != 0)
		t->out[t->len] = '\0';
	return 0;
}

static int skip_digits(const char **at)
{
	if (!is_digit(**at))
		return TRIPLE_BURN_INVALID;
	while (is_digit(**at))
		(*at)++;
	return 0;
}

static int skip_number(const char **at)
{
	if (**at == '-')
		(*at)++;
	if (**at == '0' && is_digit((*at)[1]))
		return TRIPLE_BURN_INVALID;
	if (skip_digits(at) < 0)
		return TRIPLE_BURN_INVALID;
	if (**at == '.') {
		(*at)++;
		if (skip_digits(at) < 0)
			return TRIPLE_BURN_INVALID;
	}
	if (**at == 'e' || **at == 'E') {
		(*at)++;
		if (**at == '+' || **at == '-')
			(*at)++;
		return skip_digits(at);
	}
	return 0;
}

static int skip_word(const char **at, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(*at, word, len) != 0)
		return TRIPLE_BURN_INVALID;
	*at += len;
	return 0;
}

static int skip_value(const char **at, int depth)
{
	struct text none = { NULL, 0, 0, 0 };
	char open = **at, close = open == '{' ? '}' : ']';

	if (open == '"')
		return read_string(at, &none);
	if (open == 't')
		return skip_word(at, "true");
	if (open == 'f')
		return skip_word(at, "false");
	if (open == 'n')
		return skip_word(at, "null");
	if (open != '{' && open != '[')
		return skip_number(at);
	if (depth == 0)
		return TRIPLE_BURN_INVALID;
	(*at)++;
	skip_blanks(at);
	if (**at == close) {
		(*at)++;
		return 0;
	}
	for (;;) {
		skip_blanks(at);
		if (open == '{') {
			if (read_string(at, &none) < 0)
				return TRIPLE_BURN_INVALID;
			skip_blanks(at);
			if (*(*at)++ != ':') /* past the text's end only to be refused */
				return TRIPLE_BURN_INVALID;
			skip_blanks(at);
		}
		if (skip_value(at, depth - 1) < 0)
			return TRIPLE_BURN_INVALID;
		skip_blanks(at);
		if (**at == close) {
			(*at)++;
			return 0;
		}
		if (*(*at)++ != ',')
			return TRIPLE_BURN_INVALID;
	}
}

/* ---- replies ----------------------------------------------------------------------------- */

struct reply {
	struct triple_burn_cert cert;
	char product_id[33], status[33], crc[17];
	int crc_is_number;
	unsigned seen; /* bits by the row of `fields` */
};

enum { STRING, STRING_OR_NULL, STRING_OR_NUMBER };

/* The members that are read; each may be there once. Add those of your own server here, and a place for them in struct reply. */
static const struct field {
	const char *name;
	size_t offset, size;
	int type;
} fields[] = {
#define FIELD(name, member, type) { name, offsetof(struct reply, member), sizeof(((struct reply *)0)->member), type }
	FIELD("ProductKey", cert.product_key, STRING),
	FIELD("DeviceName", cert.device_name, STRING),
	FIELD("ProductSecret", cert.product_secret, STRING),
	FIELD("DeviceSecret", cert.device_secret, STRING),
	FIELD("DeviceID", cert.device_id, STRING_OR_NULL),
	FIELD("CRC32", crc, STRING_OR_NUMBER),
	FIELD("Status", status, STRING),
	FIELD("ProductID", product_id, STRING_OR_NUMBER),
#undef FIELD
};

enum { CERT_FIELDS = 0x6F /* all but DeviceID and ProductID */, STATUS_FIELD = 0x40, CRC_ROW = 5, FIELDS = 8 };

/* An integer's digits, as they stand. */
static int read_digits(const char **at, struct text *t)
{
	const char *from = *at;

	if (skip_number(at) < 0)
		return TRIPLE_BURN_INVALID;
	for (; from < *at; from++) {
		if (!is_digit(*from))
			return TRIPLE_BURN_INVALID;
		text_add(t, (unsigned char)*from);
	}
	t->out[t->len] = '\0';
	return 0;
}

static int read_field(const char **at, const struct field *f, struct reply *r)
{
	struct text t = { NULL, 0, 0, 0 };
	unsigned bit = 1u << (f - fields);

	if ((r->seen & bit) != 0)
		return TRIPLE_BURN_INVALID;
	if (**at == 'n' && f->type != STRING)
		return skip_word(at, "null"); /* as if it were not there */
	r->seen |= bit;
	t.out = (char *)r + f->offset;
	t.size = f->size;
	if (**at == '"') {
		if (read_string(at, &t) < 0)
			return TRIPLE_BURN_INVALID;
	} else {
		if (f->type != STRING_OR_NUMBER || read_digits(at, &t) < 0)
			return TRIPLE_BURN_INVALID;
		if (f - fields == CRC_ROW)
			r->crc_is_number = 1;
	}
	return t.too_long ? TRIPLE_BURN_INVALID : 0;
}

static int read_member(const char **at, struct reply *r)
{
	char name[16];
	struct text t = { NULL, sizeof(name), 0, 0 };
	size_t i;

	t.out = name;
	skip_blanks(at);
	if (read_string(at, &t) < 0)
		return TRIPLE_BURN_INVALID;
	skip_blanks(at);
	if (**at != ':')
		return TRIPLE_BURN_INVALID;
	(*at)++;
	skip_blanks(at);
	for (i = 0; i < FIELDS && !t.too_long; i++)
		if (strcmp(name, fields[i].name) == 0)
			return read_field(at, &fields[i], r);
	return skip_value(at, NESTED_MAX);
}

static int read_reply(const char *data, struct reply *r)
{
	const char *at = data;

	memset(r, 0, sizeof(*r));
	if (data == NULL)
		return TRIPLE_BURN_INVALID;
	skip_blanks(&at);
	if (*at++ != '{')
		return TRIPLE_BURN_INVALID;
	skip_blanks(&at);
	if (*at == '}') {
		at++;
	} else {
		for (;;) {
			if (read_member(&at, r) < 0)
				return TRIPLE_BURN_INVALID;
			skip_blanks(&at);
			if (*at == '}')
				break;
			if (*at++ != ',')
				return TRIPLE_BURN_INVALID;
		}
		at++;
	}
	skip_blanks(&at);
	return *at == '\0' ? 0 : TRIPLE_BURN_INVALID;
}

/* Hex digits of any case, with or without leading zeros, in a string; or a decimal number. Servers send both. */
static int crc_value(const struct reply *r, uint32_t *ret)
{
	const char *c = r->crc;
	uint64_t value = 0;
	size_t len = strlen(c);

	if (len == 0 || len > (r->crc_is_number ? 10u : 8u))
		return TRIPLE_BURN_INVALID;
	for (; *c != '\0'; c++) {
		int digit = hex(*c);

		if (digit < 0)
			return TRIPLE_BURN_INVALID;
		value = value * (r->crc_is_number ? 10u : 16u) + (unsigned)digit;
	}
	*ret = (uint32_t)value;
	return value > 0xFFFFFFFFu ? TRIPLE_BURN_INVALID : 0;
}

/* With ProductID when one is known: the reply's, or the conf's. Without it, too: a column of that name says nothing about the product's kind. */
static int crc_fits(const struct triple_burn_conf *conf, const struct reply *r, uint32_t sent)
{
	const struct triple_burn_cert *c = &r->cert;
	const char *product_id = r->product_id[0] != '\0' ? r->product_id : conf->product_id;
	uint32_t crc = crc_add(0xFFFFFFFFu, c->product_key);

	if (conf->crc_order == TRIPLE_BURN_PK_PS_DN_DS)
		crc = crc_add(crc_add(crc_add(crc, c->product_secret), c->device_name), c->device_secret);
	else
		crc = crc_add(crc_add(crc_add(crc, c->device_name), c->device_secret), c->product_secret);
	return sent == ~crc || (product_id != NULL && sent == ~crc_add(crc, product_id));
}

static int check_cert(const struct triple_burn_conf *conf, const char *data, struct reply *r)
{
	uint32_t crc;

	if (read_reply(data, r) < 0)
		return TRIPLE_BURN_INVALID;
	if ((r->seen & STATUS_FIELD) != 0 && strcmp(r->status, "OK") != 0)
		return TRIPLE_BURN_REFUSED;
	if ((r->seen & CERT_FIELDS) != CERT_FIELDS || crc_value(r, &crc) < 0 || r->cert.product_key[0] == '\0' ||
	    r->cert.device_name[0] == '\0' || r->cert.device_secret[0] == '\0')
		return TRIPLE_BURN_INVALID;
	return crc_fits(conf, r, crc) ? 0 : TRIPLE_BURN_CRC;
}

int parse_cert(const struct triple_burn_conf *conf, const char *data, struct triple_burn_cert *ret)
{
	struct reply r;
	int rc = check_cert(conf != NULL ? conf : &triple_burn_defaults, data, &r);

	if (rc == 0)
		*ret = r.cert;
	wipe(&r, sizeof(r));
	return rc;
}

int parse_data_n(const struct triple_burn_conf *conf, const char *data, char *pk, size_t pk_size, char *dn, size_t dn_size, char *ps,
		 size_t ps_size, char *ds, size_t ds_size, char *did, size_t did_size)
{
	struct triple_burn_cert c;
	int rc;

	memset(&c, 0, sizeof(c));
	rc = parse_cert(conf, data, &c);
	if (rc == 0 && (strlen(c.product_key) >= pk_size || strlen(c.device_name) >= dn_size || strlen(c.product_secret) >= ps_size ||
			strlen(c.device_secret) >= ds_size || strlen(c.device_id) >= did_size))
		rc = TRIPLE_BURN_TOO_LONG;
	if (rc == 0) {
		memcpy(pk, c.product_key, strlen(c.product_key) + 1);
		memcpy(dn, c.device_name, strlen(c.device_name) + 1);
		memcpy(ps, c.product_secret, strlen(c.product_secret) + 1);
		memcpy(ds, c.device_secret, strlen(c.device_secret) + 1);
		if (c.device_id[0] != '\0')
			memcpy(did, c.device_id, strlen(c.device_id) + 1);
	}
	wipe(&c, sizeof(c));
	return rc;
}

int parse_data(const char *data, char *pk, char *dn, char *ps, char *ds, char *did)
{
	return parse_data_n(NULL, data, pk, PRODUCT_KEY_LEN + 1, dn, DEVICE_NAME_LEN + 1, ps, PRODUCT_SECRET_LEN + 1, ds,
			    DEVICE_SECRET_LEN + 1, did, DEVICE_ID_LEN + 1);
}

int parse_status(const char *data, char *status, size_t size)
{
	struct reply r;
	int rc = read_reply(data, &r);

	if (rc == 0 && (r.seen & STATUS_FIELD) == 0)
		rc = TRIPLE_BURN_INVALID;
	if (rc == 0 && strcmp(r.status, "OK") != 0)
		rc = TRIPLE_BURN_REFUSED;
	if (rc != TRIPLE_BURN_INVALID && status != NULL && size != 0) {
		size_t len = strlen(r.status);

		len = len < size ? len : size - 1;
		memcpy(status, r.status, len);
		status[len] = '\0';
	}
	wipe(&r, sizeof(r));
	return rc;
}

/* ---- a reply's HTTP ---------------------------------------------------------------------- */

enum part { STATUS_LINE, HEADER, BODY_COUNTED, BODY_TO_END, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, COMPLETE };

struct http {
	enum part part;
	char line[96]; /* of one line what is worth reading */
	size_t line_len, header_len;
	char *body;
	size_t size, len;
	uint32_t left; /* bytes of the body, or of the chunk */
	int line_cut, interim, no_body, chunked, counted;
};

/* "NAME: VALUE" of that name in any case? The value, or NULL. */
static const char *header_value(const char *line, const char *name)
{
	for (; *name != '\0'; name++, line++)
		if (lower(*line) != *name)
			return NULL;
	if (*line++ != ':')
		return NULL;
	while (*line == ' ' || *line == '\t')
		line++;
	return line;
}

static int at_end(const char *text)
{
	while (*text == ' ' || *text == '\t')
		text++;
	return *text == '\0';
}

static int on_status_line(struct http *h)
{
	const char *l = h->line;

	if (strncmp(l, "HTTP/1.", 7) != 0 || !is_digit(l[7]) || l[8] != ' ' || !is_digit(l[9]) || !is_digit(l[10]) || !is_digit(l[11]))
		return TRIPLE_BURN_INVALID;
	h->interim = l[9] == '1';
	h->no_body = strncmp(l + 9, "204", 3) == 0 || strncmp(l + 9, "304", 3) == 0;
	h->part = HEADER;
	return 0;
}

static int on_length(struct http *h, const char *value)
{
	uint32_t length = 0;

	if (!is_digit(*value))
		return TRIPLE_BURN_INVALID;
	for (; is_digit(*value); value++) {
		if (length > 0xFFFFFFu)
			return TRIPLE_BURN_TOO_LONG;
		length = length * 10 + (uint32_t)(*value - '0');
	}
	if (!at_end(value) || (h->counted && h->left != length))
		return TRIPLE_BURN_INVALID;
	h->counted = 1;
	h->left = length;
	return 0;
}

static int on_encoding(struct http *h, const char *value)
{
	static const char chunked[] = "chunked";
	size_t i;

	for (i = 0; i < sizeof(chunked) - 1; i++)
		if (lower(value[i]) != chunked[i])
			return TRIPLE_BURN_INVALID;
	h->chunked = 1;
	return at_end(value + i) ? 0 : TRIPLE_BURN_INVALID;
}

static int on_header_end(struct http *h)
{
	if (h->interim) {
		h->part = STATUS_LINE;
		h->chunked = h->counted = 0;
		h->left = 0;
	} else if (h->no_body) {
		h->part = COMPLETE;
	} else if (h->chunked) {
		h->part = CHUNK_SIZE;
	} else if (h->counted) {
		h->part = h->left == 0 ? COMPLETE : BODY_COUNTED;
		if (h->left >= h->size)
			return TRIPLE_BURN_TOO_LONG;
	} else {
		h->part = BODY_TO_END;
	}
	return 0;
}

static int on_header(struct http *h)
{
	const char *value;

	if (h->line_len == 0)
		return on_header_end(h);
	value = header_value(h->line, "content-length");
	if (value != NULL)
		return h->line_cut ? TRIPLE_BURN_INVALID : on_length(h, value);
	value = header_value(h->line, "transfer-encoding");
	if (value != NULL)
		return h->line_cut ? TRIPLE_BURN_INVALID : on_encoding(h, value);
	return 0;
}

static int on_chunk_size(struct http *h)
{
	const char *c = h->line;

	if (hex(*c) < 0)
		return TRIPLE_BURN_INVALID;
	for (h->left = 0; hex(*c) >= 0; c++) {
		if (h->left > 0xFFFFFFu)
			return TRIPLE_BURN_TOO_LONG;
		h->left = h->left << 4 | (uint32_t)hex(*c);
	}
	if (*c != ';' && !at_end(c))
		return TRIPLE_BURN_INVALID;
	h->part = h->left == 0 ? TRAILER : CHUNK_DATA;
	return 0;
}

static int on_line(struct http *h)
{
	if (h->line_len > 0 && !h->line_cut && h->line[h->line_len - 1] == '\r')
		h->line_len--;
	h->line[h->line_len] = '\0';
	switch (h->part) {
	case STATUS_LINE:
		return on_status_line(h);
	case HEADER:
		return on_header(h);
	case CHUNK_SIZE:
		return on_chunk_size(h);
	case CHUNK_END:
		h->part = CHUNK_SIZE;
		return h->line_len == 0 ? 0 : TRIPLE_BURN_INVALID;
	default: /* TRAILER */
		if (h->line_len == 0)
			h->part = COMPLETE;
		return 0;
	}
}

static int on_line_byte(struct http *h, char c)
{
	int rc;

	if (++h->header_len > HEADER_MAX)
		return TRIPLE_BURN_TOO_LONG;
	if (c != '\n') {
		if (h->line_len + 1 < sizeof(h->line))
			h->line[h->line_len++] = c;
		else
			h->line_cut = 1;
		return 0;
	}
	rc = on_line(h);
	h->line_len = 0;
	h->line_cut = 0;
	return rc;
}

static int http_feed(struct http *h, const char *data, size_t len)
{
	while (len != 0 && h->part != COMPLETE) {
		size_t n = len;
		int rc;

		if (h->part != BODY_COUNTED && h->part != BODY_TO_END && h->part != CHUNK_DATA) {
			rc = on_line_byte(h, *data++);
			if (rc < 0)
				return rc;
			len--;
			continue;
		}
		if (h->part != BODY_TO_END && n > h->left)
			n = h->left;
		if (n > h->size - 1 - h->len)
			return TRIPLE_BURN_TOO_LONG;
		if (memchr(data, '\0', n) != NULL)
			return TRIPLE_BURN_INVALID; /* the text would end there */
		memcpy(h->body + h->len, data, n);
		h->len += n;
		data += n;
		len -= n;
		if (h->part == BODY_TO_END)
			continue;
		h->left -= (uint32_t)n;
		if (h->left == 0)
			h->part = h->part == CHUNK_DATA ? CHUNK_END : COMPLETE;
	}
	return 0;
}

/* ---- requests ---------------------------------------------------------------------------- */

struct writer {
	char *out;
	size_t size, len;
	int bad;
};

static void put(struct writer *w, const char *text)
{
	size_t len = strlen(text);

	if (len > w->size - w->len) {
		w->bad = 1;
		return;
	}
	memcpy(w->out + w->len, text, len);
	w->len += len;
}

static void put_number(struct writer *w, unsigned long n)
{
	char digits[24];
	size_t i = sizeof(digits) - 1;

	digits[i] = '\0';
	do {
		digits[--i] = (char)('0' + n % 10);
		n /= 10;
	} while (n != 0);
	put(w, digits + i);
}

/* Control characters have no place in any of our texts, and would end a header's line. */
static int is_clean(const char *text, size_t most)
{
	size_t i;

	for (i = 0; text[i] != '\0'; i++)
		if (i >= most || (unsigned char)text[i] < 0x20 || text[i] == 0x7F)
			return 0;
	return 1;
}

static void put_string(struct writer *w, const char *text)
{
	char one[3];

	put(w, "\"");
	for (; *text != '\0'; text++) {
		one[0] = '\\';
		one[1] = *text;
		one[2] = '\0';
		put(w, *text == '"' || *text == '\\' ? one : one + 1);
	}
	put(w, "\"");
}

struct server {
	char host[HOST_MAX + 1];
	unsigned port;
};

static int read_server(const char *text, struct server *s)
{
	const char *colon, *end;
	unsigned long port = TRIPLE_BURN_PORT;

	if (text == NULL || *text == '\0' || !is_clean(text, HOST_MAX) || strchr(text, ' ') != NULL)
		return TRIPLE_BURN_ARGUMENT;
	colon = strchr(text, ':');
	if (*text == '[') {
		text++;
		end = strchr(text, ']');
		if (end == NULL || (end[1] != '\0' && end[1] != ':'))
			return TRIPLE_BURN_ARGUMENT;
		colon = end[1] == ':' ? end + 1 : NULL;
	} else {
		if (colon != NULL && strchr(colon + 1, ':') != NULL)
			colon = NULL; /* an IPv6 address */
		end = colon != NULL ? colon : text + strlen(text);
	}
	if (end == text)
		return TRIPLE_BURN_ARGUMENT;
	if (colon != NULL) {
		if (!is_digit(colon[1]))
			return TRIPLE_BURN_ARGUMENT;
		for (port = 0, colon++; is_digit(*colon) && port < 100000; colon++)
			port = port * 10 + (unsigned long)(*colon - '0');
		if (*colon != '\0' || port == 0 || port > 65535)
			return TRIPLE_BURN_ARGUMENT;
	}
	memcpy(s->host, text, (size_t)(end - text));
	s->host[end - text] = '\0';
	s->port = (unsigned)port;
	return 0;
}

static void put_body(struct writer *w, int act, const char *pk, const char *did)
{
	put(w, "{\"ProductKey\":");
	put_string(w, pk);
	if (did != NULL && *did != '\0') {
		put(w, ",\"DeviceID\":");
		put_string(w, did);
	}
	put(w, act == TRIPLE_BURN_ASK ? ",\"Action\":0}" : ",\"Action\":1}");
}

static int write_request(const struct triple_burn_conf *conf, int act, const char *pk, const char *did, const struct server *s,
			 struct writer *w)
{
	char body[2 * (PRODUCT_KEY_LEN + DEVICE_ID_LEN) + 64];
	struct writer b = { NULL, sizeof(body) - 1, 0, 0 };
	size_t zone = strcspn(s->host, "%");
	char host[HOST_MAX + 1];
	int is_ipv6 = strchr(s->host, ':') != NULL;

	if ((act != TRIPLE_BURN_ASK && act != TRIPLE_BURN_WRITTEN) || pk == NULL || *pk == '\0' || !is_clean(pk, PRODUCT_KEY_LEN) ||
	    (did != NULL && !is_clean(did, DEVICE_ID_LEN)) || (conf->token != NULL && !is_clean(conf->token, TRIPLE_BURN_REQUEST_MAX)))
		return TRIPLE_BURN_ARGUMENT;
	b.out = body;
	put_body(&b, act, pk, did);
	body[b.len] = '\0';
	memcpy(host, s->host, zone);
	host[zone] = '\0';
	put(w, "POST / HTTP/1.1\r\nHost: ");
	put(w, is_ipv6 ? "[" : "");
	put(w, host);
	put(w, is_ipv6 ? "]:" : ":");
	put_number(w, s->port);
	put(w, "\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ");
	put_number(w, (unsigned long)b.len);
	if (conf->token != NULL) {
		put(w, "\r\nAuthorization: Bearer ");
		put(w, conf->token);
	}
	put(w, "\r\n\r\n");
	put(w, body);
	return b.bad || w->bad ? TRIPLE_BURN_ARGUMENT : 0;
}

/* ---- sockets ----------------------------------------------------------------------------- */

#ifndef TRIPLE_BURN_NO_SOCKETS

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint32_t socket_now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint32_t)t.tv_sec * 1000u + (uint32_t)(t.tv_nsec / 1000000);
}

static int wait_for(int fd, short events, unsigned timeout_ms)
{
	uint32_t from = socket_now_ms();
	struct pollfd p;
	int rc;

	p.fd = fd;
	p.events = events;
	do {
		uint32_t gone = socket_now_ms() - from;

		p.revents = 0;
		rc = poll(&p, 1, gone < timeout_ms ? (int)(timeout_ms - gone) : 0);
	} while (rc < 0 && errno == EINTR);
	return rc == 1 ? 0 : -1;
}

static int connect_to(const struct sockaddr *address, socklen_t len, unsigned timeout_ms)
{
	int fd = socket(address->sa_family, SOCK_STREAM, 0), error = 0;
	socklen_t size = sizeof(error);

	if (fd < 0)
		return -1;
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0 &&
	    (connect(fd, address, len) == 0 || ((errno == EINPROGRESS || errno == EINTR) && wait_for(fd, POLLOUT, timeout_ms) == 0)) &&
	    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0)
		return fd;
	(void)close(fd);
	return -1;
}

#ifdef TRIPLE_BURN_NO_HEAP
static int connect_host(const char *host, unsigned port, unsigned timeout_ms)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	memset(&in, 0, sizeof(in));
	memset(&in6, 0, sizeof(in6));
	if (inet_pton(AF_INET, host, &in.sin_addr) == 1) {
		in.sin_family = AF_INET;
		in.sin_port = htons((uint16_t)port);
		return connect_to((const struct sockaddr *)&in, sizeof(in), timeout_ms);
	}
	if (inet_pton(AF_INET6, host, &in6.sin6_addr) != 1)
		return -1;
	in6.sin6_family = AF_INET6;
	in6.sin6_port = htons((uint16_t)port);
	return connect_to((const struct sockaddr *)&in6, sizeof(in6), timeout_ms);
}
#else
static int connect_host(const char *host, unsigned port, unsigned timeout_ms)
{
	struct addrinfo hints, *found = NULL, *a;
	char digits[8];
	struct writer w = { NULL, sizeof(digits) - 1, 0, 0 };
	int fd = -1;

	w.out = digits;
	put_number(&w, port);
	digits[w.len] = '\0';
	memset(&hints, 0, sizeof(hints));
	hints.ai_socktype = SOCK_STREAM;
	if (getaddrinfo(host, digits, &hints, &found) != 0)
		return -1;
	for (a = found; a != NULL && fd < 0; a = a->ai_next)
		fd = connect_to(a->ai_addr, a->ai_addrlen, timeout_ms);
	freeaddrinfo(found);
	return fd;
}
#endif

/* A descriptor as a pointer, which is never NULL. */
static void *socket_open(void *arg, const char *host, unsigned port, unsigned timeout_ms)
{
	(void)arg;
	return (void *)(intptr_t)(connect_host(host, port, timeout_ms) + 1);
}

static long socket_send(void *conn, const void *data, size_t len, unsigned timeout_ms)
{
	int fd = (int)((intptr_t)conn - 1);
	ssize_t n;

	for (;;) {
		n = send(fd, data, len, MSG_NOSIGNAL);
		if (n >= 0)
			return (long)n;
		if (errno != EINTR && (errno != EAGAIN || wait_for(fd, POLLOUT, timeout_ms) < 0))
			return -1;
	}
}

static long socket_recv(void *conn, void *data, size_t size, unsigned timeout_ms)
{
	int fd = (int)((intptr_t)conn - 1);
	ssize_t n;

	for (;;) {
		n = recv(fd, data, size, 0);
		if (n >= 0)
			return (long)n;
		if (errno != EINTR && (errno != EAGAIN || wait_for(fd, POLLIN, timeout_ms) < 0))
			return -1;
	}
}

static void socket_close(void *conn)
{
	(void)close((int)((intptr_t)conn - 1));
}

static const struct triple_burn_transport sockets = { socket_open, socket_send, socket_recv, socket_close, socket_now_ms };
#define SOCKETS (&sockets)
#else
#define SOCKETS NULL
#endif

/* ---- an exchange ------------------------------------------------------------------------- */

struct deadline {
	uint32_t from;
	unsigned most_ms;
	uint32_t (*now_ms)(void);
};

static unsigned left(const struct deadline *d)
{
	uint32_t gone = d->now_ms != NULL ? d->now_ms() - d->from : 0;

	return gone < d->most_ms ? d->most_ms - gone : 0;
}

static int send_all(const struct triple_burn_transport *t, void *conn, const char *data, size_t len, const struct deadline *d)
{
	while (len != 0) {
		unsigned ms = left(d);
		long n = ms == 0 ? -1 : t->send(conn, data, len, ms);

		if (n <= 0 || (size_t)n > len)
			return TRIPLE_BURN_NO_DATA;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int recv_all(const struct triple_burn_transport *t, void *conn, struct http *h, const struct deadline *d)
{
	char piece[256];
	int rc = 0;

	while (rc == 0 && h->part != COMPLETE) {
		unsigned ms = left(d);
		long n = ms == 0 ? -1 : t->recv(conn, piece, sizeof(piece), ms);

		if (n > 0 && (size_t)n <= sizeof(piece)) {
			rc = http_feed(h, piece, (size_t)n);
		} else if (n == 0 && h->part == BODY_TO_END) {
			h->part = COMPLETE;
		} else {
			rc = TRIPLE_BURN_NO_DATA;
		}
	}
	wipe(piece, sizeof(piece));
	return rc;
}

static int exchange(const struct triple_burn_conf *conf, const struct server *s, const struct writer *request, struct http *h)
{
	const struct triple_burn_transport *t = conf->transport != NULL ? conf->transport : SOCKETS;
	struct deadline d;
	void *conn;
	int rc;

	if (t == NULL)
		return TRIPLE_BURN_ARGUMENT;
	conn = t->open(conf->arg, s->host, s->port, conf->connect_ms != 0 ? conf->connect_ms : CONNECT_MS);
	if (conn == NULL)
		return TRIPLE_BURN_UNREACHED;
	d.now_ms = t->now_ms;
	d.from = d.now_ms != NULL ? d.now_ms() : 0;
	d.most_ms = conf->answer_ms != 0 ? conf->answer_ms : ANSWER_MS;
	rc = send_all(t, conn, request->out, request->len, &d);
	if (rc == 0)
		rc = recv_all(t, conn, h, &d);
	t->close(conn);
	return rc;
}

long send_req_n(const struct triple_burn_conf *conf, int act, const char *pk, const char *did, const char *server_ip, char *reply,
		size_t size)
{
	char request[TRIPLE_BURN_REQUEST_MAX];
	struct writer w = { NULL, sizeof(request), 0, 0 };
	struct server s;
	struct http h;
	int rc;

	if (conf == NULL)
		conf = &triple_burn_defaults;
	if (reply == NULL || size == 0)
		return TRIPLE_BURN_ARGUMENT;
	reply[0] = '\0';
	memset(&h, 0, sizeof(h));
	h.body = reply;
	h.size = size;
	w.out = request;
	rc = read_server(server_ip, &s);
	if (rc == 0)
		rc = write_request(conf, act, pk, did, &s, &w);
	if (rc == 0)
		rc = exchange(conf, &s, &w, &h);
	wipe(request, sizeof(request));
	if (rc < 0)
		wipe(reply, h.len);
	else
		reply[h.len] = '\0';
	return rc < 0 ? rc : (long)h.len;
}

#ifndef TRIPLE_BURN_NO_HEAP
char *send_req(int act, char *pk, char *did, const char *server_ip)
{
	char *reply = (char *)malloc(TRIPLE_BURN_REPLY_MAX + 1);

	if (reply != NULL && send_req_n(NULL, act, pk, did, server_ip, reply, TRIPLE_BURN_REPLY_MAX + 1) < 0) {
		free(reply);
		reply = NULL;
	}
	return reply;
}
#endif

/* ---- all of it ----------------------------------------------------------------------------- */

/* Once more when nothing came; an empty reply is nothing. */
static int ask_twice(const struct triple_burn_conf *conf, int act, const char *pk, const char *did, const char *server_ip, char *reply,
		     size_t size)
{
	long n = send_req_n(conf, act, pk, did, server_ip, reply, size);

	if (n == 0 || n == TRIPLE_BURN_UNREACHED || n == TRIPLE_BURN_NO_DATA)
		n = send_req_n(conf, act, pk, did, server_ip, reply, size);
	return n > 0 ? 0 : n == 0 ? TRIPLE_BURN_NO_DATA : (int)n;
}

static int get_into(const struct triple_burn_conf *conf, const char *server_ip, const char *product_key, const char *device_id, char *reply,
		    size_t size, struct triple_burn_cert *cert)
{
	int rc = ask_twice(conf, TRIPLE_BURN_ASK, product_key, device_id, server_ip, reply, size);

	if (rc == 0)
		rc = parse_cert(conf, reply, cert);
	if (rc == 0 && strcmp(cert->product_key, product_key) != 0)
		rc = TRIPLE_BURN_INVALID; /* a good certificate, of another product */
	if (rc == 0 && cert->device_id[0] == '\0' && device_id != NULL)
		memcpy(cert->device_id, device_id, strlen(device_id) + 1); /* no longer than DEVICE_ID_LEN: it was sent */
	return rc;
}

int get_triple_n(const struct triple_burn_conf *conf, const char *server_ip, const char *product_key, const char *device_id,
		 triple_burn_store store, void *arg)
{
	char reply[TRIPLE_BURN_REPLY_MAX + 1];
	struct triple_burn_cert cert;
	int rc;

	memset(&cert, 0, sizeof(cert));
	rc = get_into(conf, server_ip, product_key, device_id, reply, sizeof(reply), &cert);
	if (rc == 0 && store(arg, &cert) != 0)
		rc = TRIPLE_BURN_NOT_STORED;
	if (rc == 0 && (ask_twice(conf, TRIPLE_BURN_WRITTEN, product_key, cert.device_id, server_ip, reply, sizeof(reply)) < 0 ||
			parse_status(reply, NULL, 0) != 0))
		rc = TRIPLE_BURN_NOT_REPORTED;
	wipe(reply, sizeof(reply));
	wipe(&cert, sizeof(cert));
	return rc;
}

int get_triple(const char *server_ip, const char *product_key, const char *device_id, triple_burn_store store, void *arg)
{
	return get_triple_n(NULL, server_ip, product_key, device_id, store, arg);
}

const char *triple_burn_error(int error)
{
	switch (error) {
	case TRIPLE_BURN_OK:
		return "done";
	case TRIPLE_BURN_ARGUMENT:
		return "an argument is missing or cannot be sent";
	case TRIPLE_BURN_UNREACHED:
		return "no connection to the server";
	case TRIPLE_BURN_NO_DATA:
		return "no whole reply came";
	case TRIPLE_BURN_TOO_LONG:
		return "the reply is too long";
	case TRIPLE_BURN_INVALID:
		return "the reply is none of a distribution server";
	case TRIPLE_BURN_CRC:
		return "the reply's CRC32 is wrong";
	case TRIPLE_BURN_REFUSED:
		return "the server refused";
	case TRIPLE_BURN_NOT_STORED:
		return "the certificate could not be stored; nothing was reported";
	case TRIPLE_BURN_NOT_REPORTED:
		return "the certificate is stored, but the server does not know; report it later";
	default:
		return "no error of these";
	}
}
