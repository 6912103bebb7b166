/* lines.c - captures that are text: lines of hex, and the gateway's recording, a JSON object a line. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/digits.h"
#include "base/mem.h"
#include "capture/capture_impl.h"

/* Connections found by name. */
struct named {
	struct cw_map_node node;
	uint32_t conn;
	uint8_t open, raw;
	char name[];
};

struct names {
	struct cw_capture *c;
	struct cw_map map;
};

static void names_fini(struct names *n)
{
	struct cw_map_node *e, *next;

	cw_map_each_safe(e, next, &n->map) {
		cw_map_remove(&n->map, e);
		cw_free(cw_container_of(e, struct named, node));
	}
	cw_map_fini(&n->map);
}

/* The connection of that name, opened when it is not. */
static int open_named(struct names *n, const char *name, const char *peer, int64_t time_ms, struct named **ret_named)
{
	struct cw_map_node *e = cw_map_find(&n->map, name, strlen(name));
	struct named *d = e == NULL ? NULL : cw_container_of(e, struct named, node);
	int rc;

	*ret_named = d;
	if (d != NULL && d->open)
		return 0;
	if (d == NULL) {
		d = cw_zalloc(sizeof(*d) + strlen(name) + 1);
		if (d == NULL)
			return CW_ENOMEM;
		strcpy(d->name, name);
		if (cw_map_add(&n->map, &d->node, d->name, strlen(name)) < 0) {
			cw_free(d);
			return CW_ENOMEM;
		}
		*ret_named = d;
	}
	rc = capture_conn(n->c, peer, &d->conn);
	if (rc < 0)
		return rc;
	d->open = 1;
	d->raw = 0;
	return capture_event(n->c, d->conn, CW_SEEN_OPEN, time_ms, cw_bytes_of(NULL, 0));
}

static int close_named(struct names *n, struct named *d, int64_t time_ms)
{
	d->open = 0;
	return capture_event(n->c, d->conn, CW_SEEN_CLOSE, time_ms, cw_bytes_of(NULL, 0));
}

/* ---- hex --------------------------------------------------------------------------------- */

long cw_capture_hex(const char *line, size_t len, uint8_t *out)
{
	size_t i, n = 0;
	int high = -1;

	for (i = 0; i < len && line[i] != '#'; i++) {
		int v = cw_hex_value(line[i]);

		if (line[i] == '0' && i + 1 < len && (line[i + 1] == 'x' || line[i + 1] == 'X') && high < 0) {
			i++;
			continue;
		}
		if (v < 0 && high < 0 && line[i] != '\0' && strchr(" \t\r,:;-", line[i]) != NULL)
			continue;
		if (v < 0)
			return -1;
		if (high < 0) {
			high = v;
		} else {
			out[n++] = (uint8_t)(high << 4 | v);
			high = -1;
		}
	}
	return high >= 0 ? -1 : (long)n;
}

/* 2026-11-21T08:00:00.123Z, the fraction of any length; 0 when it is none. */
static int parse_utc(const char *t, size_t len, int64_t *ret_ms)
{
	char text[40], *end;
	struct tm tm = { 0 };
	int ms = 0, scale = 100;

	if (len < 20 || len >= sizeof(text) || t[4] != '-' || t[len - 1] != 'Z')
		return 0;
	memcpy(text, t, len);
	text[len - 1] = '\0';
	end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (end == NULL)
		return 0;
	if (*end == '.')
		for (end++; *end >= '0' && *end <= '9'; end++, scale /= 10)
			ms += (*end - '0') * scale;
	if (*end != '\0' || tm.tm_year < 70)
		return 0;
	*ret_ms = (int64_t)timegm(&tm) * 1000 + ms;
	return 1;
}

#define LINE_MS 100 /* from line to line of a device, where no time is given */

struct line {
	char name[64];
	int64_t time_ms;
	int down, timed;
};

/* What stands before the bytes; how many characters that is, or -1. */
static long parse_front(const char *s, size_t len, struct line *l)
{
	size_t i = 0, n;
	unsigned long plus;
	char *end;

	for (;;) {
		while (i < len && (s[i] == ' ' || s[i] == '\t'))
			i++;
		for (n = 0; i + n < len && s[i + n] != ' ' && s[i + n] != '\t' && s[i + n] != '#' && s[i + n] != '\r'; n++)
			;
		if (n == 0)
			return (long)i;
		if (s[i] == '>' || s[i] == '<') {
			l->down = s[i] == '<';
			i++;
			continue;
		}
		if (s[i] == '@') {
			if (n < 2 || n > sizeof(l->name))
				return -1;
			memcpy(l->name, s + i + 1, n - 1);
			l->name[n - 1] = '\0';
		} else if (s[i] == '+') {
			plus = strtoul(s + i + 1, &end, 10);
			if (end != s + i + n || n < 2 || n > 11)
				return -1;
			l->time_ms += (int64_t)plus;
			l->timed = 1;
		} else if (parse_utc(s + i, n, &l->time_ms)) {
			l->timed = 1;
		} else {
			return (long)i;
		}
		i += n;
	}
}

static int is_word(const char *s, size_t len, const char *word)
{
	size_t n = strlen(word);

	while (len > 0 && strchr(" \t\r", s[len - 1]) != NULL)
		len--;
	return len == n && memcmp(s, word, n) == 0;
}

static int take_line(struct names *names, struct line *l, const char *s, size_t len, size_t number, struct cw_msg *msg)
{
	struct named *d;
	const char *hash = memchr(s, '#', len);
	size_t body = hash == NULL ? len : (size_t)(hash - s);
	long at, n;
	uint8_t *bytes;
	int rc;

	l->down = l->timed = 0;
	at = parse_front(s, body, l);
	if (at < 0)
		return cw_fail(msg, CW_EPROTO, "line %zu: `@` wants a name of up to 63 characters, `+` a number of milliseconds", number);
	if ((size_t)at == body || is_word(s + at, body - (size_t)at, ""))
		return 0;
	if (!l->timed && !l->down && names->c->count > 0)
		l->time_ms += LINE_MS;
	rc = open_named(names, l->name, l->name, l->time_ms, &d);
	if (rc < 0)
		return rc;
	if (is_word(s + at, body - (size_t)at, "close"))
		return close_named(names, d, l->time_ms);
	bytes = cw_alloc(len / 2 + 1);
	if (bytes == NULL)
		return CW_ENOMEM;
	n = cw_capture_hex(s + at, body - (size_t)at, bytes);
	if (n < 0)
		rc = cw_fail(msg, CW_EPROTO, "line %zu is no hex; text protocols too are given in hex, and # begins a comment", number);
	else if (n > 0)
		rc = capture_event(names->c, d->conn, l->down ? CW_SEEN_DOWN : CW_SEEN_UP, l->time_ms, cw_bytes_of(bytes, (size_t)n));
	cw_free(bytes);
	return rc;
}

int lines_read(struct cw_capture *c, struct cw_bytes file, const struct cw_capture_how *how, struct cw_msg *msg)
{
	struct names names = { .c = c };
	struct line l = { .name = "lines", .time_ms = how->start_ms };
	size_t start = 0, number = 0;
	int rc = 0;

	c->format = "lines of hex";
	cw_map_init(&names.map);
	while (start < file.len && rc == 0) {
		const uint8_t *nl = memchr(file.ptr + start, '\n', file.len - start);
		size_t n = nl == NULL ? file.len - start : (size_t)(nl - (file.ptr + start));

		rc = take_line(&names, &l, (const char *)file.ptr + start, n, ++number, msg);
		start += n + 1;
	}
	names_fini(&names);
	return rc;
}

/* ---- the gateway's recording ------------------------------------------------------------------ */

static const char *text_of(const json_t *o, const char *key)
{
	const char *t = json_string_value(json_object_get(o, key));

	return t == NULL ? "" : t;
}

static int add_hex(struct cw_capture *c, struct named *d, int kind, int64_t time_ms, const char *hex)
{
	size_t len = strlen(hex);
	uint8_t *bytes = cw_alloc(len / 2 + 1);
	long n;
	int rc = 0;

	if (bytes == NULL)
		return CW_ENOMEM;
	n = cw_capture_hex(hex, len, bytes);
	if (n < 0)
		rc = CW_EPROTO;
	else if (n > 0)
		rc = capture_event(c, d->conn, kind, time_ms, cw_bytes_of(bytes, (size_t)n));
	cw_free(bytes);
	return rc;
}

static int add_note(struct cw_capture *c, struct named *d, int64_t time_ms, const char *what, const json_t *o)
{
	char text[400];

	(void)snprintf(text, sizeof(text), "%s %.300s", what, text_of(o, "text"));
	return capture_event(c, d->conn, CW_SEEN_NOTE, time_ms, cw_bytes_text(text));
}

/* What is said of a connection behind its `closed` opens no other one. */
static int is_over(const struct names *n, const char *name, const char *what)
{
	static const char *const begins[] = { "open", "midway", "data", "in", "refused", "noise" };
	struct cw_map_node *e = cw_map_find(&n->map, name, strlen(name));
	size_t i;

	if (e == NULL || cw_container_of(e, struct named, node)->open)
		return 0;
	for (i = 0; i < sizeof(begins) / sizeof(begins[0]); i++)
		if (strcmp(what, begins[i]) == 0)
			return 0;
	return 1;
}

/* A recording of a device has whole frames, one of a listener the bytes as they were read (`data`); where those are, frames are theirs. */
static int take_entry(struct names *names, const json_t *o)
{
	static const char *const notes[] = { "command", "answered", "attached", "leave", "online", "offline" };
	const char *what = text_of(o, "what");
	int64_t time_ms = (int64_t)json_integer_value(json_object_get(o, "time"));
	struct cw_capture *c = names->c;
	const char *peer = text_of(o, "peer"), *hex = text_of(o, "hex");
	char name[32], label[104];
	struct named *d;
	size_t i;
	int rc;

	(void)snprintf(name, sizeof(name), "%lld", (long long)json_integer_value(json_object_get(o, "conn")));
	(void)snprintf(label, sizeof(label), "%.100s", peer[0] != '\0' ? peer : name);
	if (is_over(names, name, what))
		return 0;
	rc = open_named(names, name, label, time_ms, &d);
	if (rc < 0)
		return rc;
	if (json_integer_value(json_object_get(o, "missed")) > 0)
		rc = capture_gap(c, d->conn, 0, time_ms, 0);
	if (rc < 0)
		return rc;
	if (strcmp(what, "open") == 0 || strcmp(what, "midway") == 0) {
		c->conns[d->conn].begun = strcmp(what, "open") == 0;
		c->conns[d->conn].datagram = (uint8_t)json_is_true(json_object_get(o, "datagram"));
		c->conns[d->conn].dialled = (uint8_t)json_is_true(json_object_get(o, "dialled"));
		c->conns[d->conn].serial = (uint8_t)json_is_true(json_object_get(o, "serial"));
		(void)snprintf(c->conns[d->conn].listener, sizeof(c->conns[0].listener), "%.60s", text_of(o, "listener"));
	} else if (strcmp(what, "data") == 0) {
		d->raw = 1;
		rc = add_hex(c, d, CW_SEEN_UP, time_ms, hex);
	} else if (strcmp(what, "in") == 0 || strcmp(what, "refused") == 0 || strcmp(what, "noise") == 0) {
		rc = d->raw ? 0 : add_hex(c, d, CW_SEEN_UP, time_ms, hex);
	} else if (strcmp(what, "out") == 0) {
		rc = add_hex(c, d, CW_SEEN_DOWN, time_ms, hex);
	} else if (strcmp(what, "closed") == 0) {
		rc = close_named(names, d, time_ms);
	}
	for (i = 0; rc == 0 && i < sizeof(notes) / sizeof(notes[0]); i++)
		if (strcmp(what, notes[i]) == 0)
			rc = add_note(c, d, time_ms, what, o);
	return rc;
}

int recording_read(struct cw_capture *c, struct cw_bytes file, struct cw_msg *msg)
{
	struct names names = { .c = c };
	size_t start = 0, number = 0;
	int rc = 0;

	c->format = "a recording of the gateway";
	cw_map_init(&names.map);
	while (start < file.len && rc == 0) {
		const uint8_t *nl = memchr(file.ptr + start, '\n', file.len - start);
		size_t n = nl == NULL ? file.len - start : (size_t)(nl - (file.ptr + start));
		json_t *o = json_loadb((const char *)file.ptr + start, n, JSON_REJECT_DUPLICATES, NULL);

		number++;
		if (json_is_object(o))
			rc = take_entry(&names, o);
		else if (!is_word((const char *)file.ptr + start, n, "") && nl != NULL) /* the last line may have been cut off */
			rc = CW_EPROTO;
		if (rc == CW_EPROTO)
			(void)cw_fail(msg, rc, "line %zu is no line of a recording: each is a JSON object, its bytes are hex", number);
		json_decref(o);
		start += n + 1;
	}
	names_fini(&names);
	return rc;
}
