/* log.c - see log.h. A line is built on the stack and leaves with one write(2). */
#include "base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log_tap.h"

#define LINE_MAX_BYTES 4096u
#define RATE_WINDOW_MS 10000u

static const struct cw_log_entry entries[CW_LOG_ID_COUNT] = {
#define CW_LOG_ROW(sym, lvl, name, lines, text) [CW_LOG_ID_##sym] = { name, CW_LOG_##lvl, lines, text },
	CW_LOGS(CW_LOG_ROW)
#undef CW_LOG_ROW
};
static const char *const level_names[] = { "debug", "info", "note", "warn", "error" };
static const char *const level_tags[] = { "DEBUG", "INFO", "NOTE", "WARN", "ERROR" };

static atomic_int lowest_level = CW_LOG_INFO;
static atomic_int as_json;
static atomic_int log_fd = 2;
static void (*forward)(enum cw_log_id id, const char *text, const struct cw_log_kv *fields, size_t count);
/* Per id: window start and lines in it. Races only blur the count by a line. */
static struct {
	_Atomic(uint64_t) window;
	atomic_uint lines;
	atomic_uint suppressed;
} rates[CW_LOG_ID_COUNT];

struct line {
	char text[LINE_MAX_BYTES];
	size_t len;
};

static void put(struct line *l, const char *text, size_t n)
{
	size_t room = sizeof(l->text) - 2 - l->len;

	if (n > room)
		n = room;
	memcpy(l->text + l->len, text, n);
	l->len += n;
}

static void puts_line(struct line *l, const char *text)
{
	put(l, text, strlen(text));
}

/* Escape control characters, quotes and backslash; anything not UTF-8 clean stays as \u00xx. */
static void put_escaped(struct line *l, const char *text, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];
		char esc[8];

		if (c == '"' || c == '\\') {
			esc[0] = '\\';
			esc[1] = (char)c;
			put(l, esc, 2);
		} else if (c < 0x20 || c == 0x7f) {
			(void)snprintf(esc, sizeof(esc), "\\u%04x", c);
			puts_line(l, esc);
		} else if (c == 0xc2 && i + 1 < n && (unsigned char)text[i + 1] >= 0x80 && (unsigned char)text[i + 1] < 0xa0) { /* C1 */
			(void)snprintf(esc, sizeof(esc), "\\u%04x", (unsigned char)text[++i]);
			puts_line(l, esc);
		} else {
			put(l, (const char *)&c, 1);
		}
	}
}

static int needs_quotes(const char *text, size_t n)
{
	size_t i;

	if (n == 0)
		return 1;
	for (i = 0; i < n; i++)
		if ((unsigned char)text[i] <= 0x20 || text[i] == '"' || text[i] == '\\' || text[i] == '=' || text[i] == 0x7f)
			return 1;
	return 0;
}

static void put_text_value(struct line *l, const char *text, size_t n, int json)
{
	int quote = json || needs_quotes(text, n);

	if (quote)
		put(l, "\"", 1);
	put_escaped(l, text, n);
	if (quote)
		put(l, "\"", 1);
}

static void put_value(struct line *l, const struct cw_log_kv *kv, int json)
{
	char num[32];

	switch (kv->kind) {
	case CW_KV_STR:
		if (kv->v.s == NULL)
			put_text_value(l, "-", 1, json);
		else
			put_text_value(l, kv->v.s, strlen(kv->v.s), json);
		break;
	case CW_KV_BYTES:
		put_text_value(l, kv->v.s, kv->len, json);
		break;
	case CW_KV_U64:
		(void)snprintf(num, sizeof(num), "%llu", (unsigned long long)kv->v.u);
		puts_line(l, num);
		break;
	case CW_KV_I64:
		(void)snprintf(num, sizeof(num), "%lld", (long long)kv->v.i);
		puts_line(l, num);
		break;
	}
}

/* 1: write it; *ret_suppressed lines were left out before. */
static int rate_allows(enum cw_log_id id, unsigned *ret_suppressed)
{
	unsigned limit = entries[id].rate;
	uint64_t now, start;

	*ret_suppressed = 0;
	if (limit == 0)
		return 1;
	now = cw_clock_ms();
	start = atomic_load_explicit(&rates[id].window, memory_order_relaxed);
	if (start == 0 || now - start >= RATE_WINDOW_MS) {
		atomic_store_explicit(&rates[id].window, now == 0 ? 1 : now, memory_order_relaxed);
		atomic_store_explicit(&rates[id].lines, 0, memory_order_relaxed);
	}
	if (atomic_fetch_add_explicit(&rates[id].lines, 1, memory_order_relaxed) >= limit) {
		atomic_fetch_add_explicit(&rates[id].suppressed, 1, memory_order_relaxed);
		return 0;
	}
	*ret_suppressed = atomic_exchange_explicit(&rates[id].suppressed, 0, memory_order_relaxed);
	return 1;
}

/* The fields, and the sentence behind them; each with a space before it. */
static void put_fields(struct line *l, const char *text, const struct cw_log_kv *kv, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		put(l, " ", 1);
		puts_line(l, kv[i].key);
		put(l, "=", 1);
		put_value(l, &kv[i], 0);
	}
	if (text != NULL && text[0] != '\0') {
		puts_line(l, " msg=");
		put_text_value(l, text, strlen(text), 1);
	}
}

static void build_text(struct line *l, const struct cw_log_entry *e, const char *text, const struct cw_log_kv *kv, size_t n,
                       const char *when)
{
	puts_line(l, when);
	put(l, " ", 1);
	puts_line(l, level_tags[e->level]);
	put(l, " ", 1);
	puts_line(l, e->id);
	put_fields(l, text, kv, n);
}

static void build_json(struct line *l, const struct cw_log_entry *e, const char *text, const struct cw_log_kv *kv, size_t n,
                       const char *when)
{
	size_t i;

	puts_line(l, "{\"time\":\"");
	puts_line(l, when);
	puts_line(l, "\",\"level\":\"");
	puts_line(l, level_names[e->level]);
	puts_line(l, "\",\"id\":\"");
	puts_line(l, e->id);
	put(l, "\"", 1);
	for (i = 0; i < n; i++) {
		/* Leave room for the end, so that a cut line is still one JSON object. */
		if (l->len > sizeof(l->text) - 1200)
			break;
		puts_line(l, ",\"");
		puts_line(l, kv[i].key);
		puts_line(l, "\":");
		if (kv[i].kind == CW_KV_BYTES && kv[i].len > 500) {
			struct cw_log_kv cut = kv[i];

			cut.len = 150;
			put_value(l, &cut, 1);
		} else if (kv[i].kind == CW_KV_STR && kv[i].v.s != NULL && strlen(kv[i].v.s) > 500) {
			put_text_value(l, kv[i].v.s, 150, 1);
		} else {
			put_value(l, &kv[i], 1);
		}
	}
	if (text != NULL && text[0] != '\0') {
		size_t len = strlen(text);

		puts_line(l, ",\"msg\":");
		put_text_value(l, text, len > 150 && l->len > sizeof(l->text) - 1000 ? 150 : (len > 1500 ? 1500 : len), 1);
	}
	put(l, "}", 1);
}

void cw_log_write(enum cw_log_id id, const char *text, const struct cw_log_kv *fields, size_t count)
{
	const struct cw_log_entry *e = &entries[id];
	struct cw_log_kv with[18];
	size_t n = count - 1;
	unsigned suppressed;
	struct line l;
	char when[25];
	int64_t utc_ms = cw_clock_wall_ms();
	ssize_t done;

	if ((int)e->level < atomic_load_explicit(&lowest_level, memory_order_relaxed) || !rate_allows(id, &suppressed))
		return;
	if (forward != NULL) {
		forward(id, text, fields, count);
		return;
	}
	if (n > 16)
		n = 16;
	memcpy(with, fields + 1, n * sizeof(with[0]));
	if (suppressed > 0)
		with[n++] = CW_LU("suppressed", suppressed);
	l.len = 0;
	cw_clock_format(utc_ms, when);
	if (atomic_load_explicit(&as_json, memory_order_relaxed))
		build_json(&l, e, text, with, n, when);
	else
		build_text(&l, e, text, with, n, when);
	l.text[l.len++] = '\n';
	do {
		done = write(atomic_load_explicit(&log_fd, memory_order_relaxed), l.text, l.len);
	} while (done < 0 && errno == EINTR);
	if (!cw_log_tapped())
		return;
	l.len = 0;
	put_fields(&l, text, with, n);
	cw_log_tap_write(id, utc_ms, l.text + (l.len > 0), l.len - (l.len > 0));
}

void cw_log_setup(enum cw_log_level lowest, int json, int fd)
{
	atomic_store(&lowest_level, (int)lowest);
	atomic_store(&as_json, json);
	atomic_store(&log_fd, fd);
}

void cw_log_set_level(enum cw_log_level lowest)
{
	atomic_store(&lowest_level, (int)lowest);
}

enum cw_log_level cw_log_lowest(void)
{
	return (enum cw_log_level)atomic_load(&lowest_level);
}

void cw_log_forward(void (*fn)(enum cw_log_id id, const char *text, const struct cw_log_kv *fields, size_t count))
{
	forward = fn;
}

int cw_log_enabled(enum cw_log_id id)
{
	return (int)entries[id].level >= atomic_load_explicit(&lowest_level, memory_order_relaxed);
}

const char *cw_log_level_name(enum cw_log_level level)
{
	return level_names[level];
}

const struct cw_log_entry *cw_log_entry(enum cw_log_id id)
{
	return &entries[id];
}
