/* tell.c - tables, times and JSON of the verbs; see tool.h. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "cli/factory/tool.h"

#define WAITING 500u /* rows that are looked at before widths are fixed */

const char *factory_time(int64_t ms, char out[24])
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;

	if (ms == 0)
		(void)snprintf(out, 24, "-");
	else if (gmtime_r(&s, &tm) == NULL || strftime(out, 24, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		(void)snprintf(out, 24, "%lld", (long long)ms);
	return out;
}

const char *factory_span(int64_t ms, char out[32])
{
	static const struct {
		int64_t ms;
		const char *unit;
	} units[] = { { 86400000, "d" }, { 3600000, "h" }, { 60000, "min" }, { 1000, "s" }, { 1, "ms" } };
	size_t i = 0;

	while (i < 4 && (ms < units[i].ms || (ms % units[i].ms != 0 && ms < 10 * units[i].ms)))
		i++;
	(void)snprintf(out, 32, "%lld %s", (long long)(ms / units[i].ms), units[i].unit);
	return out;
}

const char *factory_state(enum cw_stock_state state)
{
	static const char *const words[CW_STOCK_STATE_COUNT] = { "Free", "Allocated", "Written", "Void" };

	return words[state];
}

/* ---- tables --------------------------------------------------------------------------- */

/* Places on a terminal: Chinese signs take two. */
static size_t width_of(const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		n += (c & 0xc0) == 0x80 ? 0 : c >= 0xe3 && c <= 0xef ? 2 : 1;
	}
	return n;
}

static void print_row(const struct factory_table *tb, const char *cells)
{
	size_t i, k, room;

	for (i = 0; i < tb->columns; i++, cells += strlen(cells) + 1) {
		room = width_of(cells) < tb->width[i] ? tb->width[i] - width_of(cells) : 0;
		if (i > 0)
			fputs("  ", stdout);
		for (k = 0; k < room && tb->right[i]; k++)
			putchar(' ');
		fputs(cells, stdout);
		for (k = 0; k < room && !tb->right[i] && i + 1 < tb->columns; k++)
			putchar(' ');
	}
	putchar('\n');
}

static void flow(struct factory_table *tb)
{
	const char *at = tb->text, *end = tb->text + tb->used;
	size_t i;

	while (at < end) {
		print_row(tb, at);
		for (i = 0; i < tb->columns; i++)
			at += strlen(at) + 1;
	}
	tb->used = 0;
	tb->rows = 0;
	tb->flowing = 1;
}

static void add_cell(struct factory_table *tb, const char *text, size_t column)
{
	size_t len = strlen(text) + 1;

	if (tb->used + len > tb->size) {
		char *grown = cw_realloc(tb->text, tb->size * 2 + len + 4096);

		if (grown == NULL) {
			fputs("causeway: out of memory\n", stderr);
			exit(1);
		}
		tb->text = grown;
		tb->size = tb->size * 2 + len + 4096;
	}
	memcpy(tb->text + tb->used, text, len);
	cw_utf8_tame(tb->text + tb->used); /* what a station sent is not to command a terminal */
	if (!tb->flowing && width_of(tb->text + tb->used) > tb->width[column])
		tb->width[column] = width_of(tb->text + tb->used);
	tb->used += len;
}

void factory_table_begin(struct factory_table *tb, const char *heads)
{
	char head[64];

	*tb = (struct factory_table){ 0 };
	for (;;) {
		size_t n = strcspn(heads, "|");

		tb->right[tb->columns] = heads[0] == '>';
		(void)snprintf(head, sizeof(head), "%.*s", (int)n - tb->right[tb->columns], heads + tb->right[tb->columns]);
		add_cell(tb, head, tb->columns++);
		if (heads[n] == '\0')
			break;
		heads += n + 1;
	}
	tb->rows = tb->columns; /* counted in cells */
}

void factory_cell(struct factory_table *tb, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	add_cell(tb, text[0] == '\0' ? "-" : text, tb->rows % tb->columns);
	tb->rows++;
	if (tb->rows % tb->columns == 0 && (tb->flowing || tb->rows > WAITING * tb->columns))
		flow(tb);
}

void factory_table_end(struct factory_table *tb)
{
	flow(tb);
	cw_free(tb->text);
	tb->text = NULL;
}

/* ---- JSON --------------------------------------------------------------------------------- */

static int put(struct factory_tool *t, struct cw_json *j, const char *before)
{
	char *text;
	size_t len;
	int rc = cw_json_finish(j, &text, &len);

	if (rc < 0)
		return factory_complain(t, "cannot be said as JSON: %s", cw_error_text(rc));
	fputs(before, stdout);
	(void)fwrite(text, 1, len, stdout);
	cw_free(text);
	return 0;
}

void factory_list_begin(struct factory_tool *t)
{
	t->listed = 0;
	putchar('[');
}

int factory_list_item(struct factory_tool *t, struct cw_json *j)
{
	return put(t, j, t->listed++ == 0 ? "\n  " : ",\n  ");
}

void factory_list_end(struct factory_tool *t)
{
	fputs(t->listed == 0 ? "]\n" : "\n]\n", stdout);
}

int factory_json(struct factory_tool *t, struct cw_json *j)
{
	int rc = put(t, j, "");

	if (rc == 0)
		putchar('\n');
	return rc;
}
