/* replay_say.c - what a replay prints: beats, as lines for people or as JSON. */
#include "cli/plugin/replay_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/show.h"

static const char *const verdicts[] = { "", "same", "other" };

/* ---- bags ------------------------------------------------------------------------------ */

void bag_add(struct replay *r, struct bag *b, unsigned tag, struct cw_bytes name, struct cw_bytes value)
{
	size_t head[3] = { tag, name.len, value.len }, need = b->len + sizeof(head) + name.len + value.len;

	if (need > b->size) {
		uint8_t *grown = need > TEXT_MOST ? NULL : cw_realloc(b->bytes, need * 2);

		if (grown == NULL) {
			r->out_of_memory = 1;
			return;
		}
		b->bytes = grown;
		b->size = need * 2;
	}
	memcpy(b->bytes + b->len, head, sizeof(head));
	if (name.len > 0)
		memcpy(b->bytes + b->len + sizeof(head), name.ptr, name.len);
	if (value.len > 0)
		memcpy(b->bytes + b->len + sizeof(head) + name.len, value.ptr, value.len);
	b->len = need;
}

size_t bag_next(const struct bag *b, size_t at, struct entry *e)
{
	size_t head[3];

	if (at >= b->len)
		return 0;
	memcpy(head, b->bytes + at, sizeof(head));
	at += sizeof(head);
	e->tag = (unsigned)head[0];
	e->name = cw_bytes_of(b->bytes + at, head[1]);
	e->value = cw_bytes_of(b->bytes + at + head[1], head[2]);
	return at + head[1] + head[2];
}

void bag_clear(struct bag *b)
{
	b->len = 0;
}

static void bag_free(struct bag *b)
{
	cw_free(b->bytes);
	memset(b, 0, sizeof(*b));
}

void say_note(struct rconn *c, const char *fmt, ...)
{
	char text[700];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	bag_add(c->r, &c->beat.notes, 0, cw_bytes_of(NULL, 0), cw_bytes_text(text));
}

char *say_members(const struct bag *b)
{
	struct cw_json j;
	struct entry e;
	size_t at = 0, len;
	char *text;

	cw_json_begin(&j, TEXT_MOST);
	cw_json_map(&j);
	while ((at = bag_next(b, at, &e)) != 0) {
		cw_json_textn(&j, e.name);
		cw_json_encoded(&j, e.value);
	}
	cw_json_end_map(&j);
	return cw_json_finish(&j, &text, &len) < 0 ? NULL : text;
}

/* ---- rendering ---------------------------------------------------------------------------- */

static void put_hex(FILE *f, struct cw_bytes b)
{
	size_t i;

	for (i = 0; i < b.len; i++)
		fprintf(f, "%02x", b.ptr[i]);
}

/* What a device or decoder wrote goes to a terminal: no control characters. */
static void put_plain(FILE *f, struct cw_bytes b)
{
	size_t i;

	for (i = 0; i < b.len; i++)
		fputc(b.ptr[i] < 0x20 || b.ptr[i] == 0x7f ? '.' : b.ptr[i], f);
}

static const char *refusal_text(const struct beat *b)
{
	return b->line[0] != '\0' ? b->line : "the decoder refused this frame";
}

static void put_record_line(FILE *f, struct cw_bytes record)
{
	struct cw_json j;
	char *text;
	size_t len;

	cw_json_begin(&j, TEXT_MOST);
	cw_show_record(&j, record);
	if (cw_json_finish(&j, &text, &len) < 0)
		return;
	fprintf(f, "    record  %s\n", text);
	cw_free(text);
}

static void print_lines(const struct rconn *c, FILE *f)
{
	const struct beat *b = &c->beat;
	struct entry e;
	char when[25];
	size_t at;

	cw_clock_format(b->time_ms, when);
	fprintf(f, "%s %s %s ", when, c->r->capture->conns[c->index].name, b->what);
	if (bag_next(&b->frame, 0, &e) != 0)
		put_hex(f, e.value);
	fputc('\n', f);
	if (b->refused) {
		fprintf(f, "    %s: ", cw_show_refusal(b->rc));
		put_plain(f, cw_bytes_text(refusal_text(b)));
		fputc('\n', f);
	}
	for (at = 0; (at = bag_next(&b->header, at, &e)) != 0;)
		fprintf(f, "    header  %.*s\n", (int)e.value.len, (const char *)e.value.ptr);
	for (at = 0; (at = bag_next(&b->fields, at, &e)) != 0;)
		fprintf(f, "    fields  %.*s\n", (int)e.value.len, (const char *)e.value.ptr);
	for (at = 0; (at = bag_next(&b->records, at, &e)) != 0;)
		put_record_line(f, e.value);
	for (at = 0; (at = bag_next(&b->answers, at, &e)) != 0;) {
		fputs("    answer  ", f);
		put_hex(f, e.value);
		fprintf(f, "%s%s\n", e.tag == VERDICT_NONE ? "" : " ", verdicts[e.tag]);
	}
	for (at = 0; (at = bag_next(&b->notes, at, &e)) != 0;) {
		fputs("    note    ", f);
		put_plain(f, e.value);
		fputc('\n', f);
	}
}

/* Text of unknown origin: as hex when it is not UTF-8. */
static void put_plain_json(struct cw_json *j, struct cw_bytes text)
{
	uint8_t item[1024];
	struct cw_writer w = cw_writer_of(item, sizeof(item));

	cw_put_textn(&w, (const char *)text.ptr, text.len);
	if (!w.overflow && cw_flat_valid(cw_written(&w)))
		cw_json_textn(j, text);
	else
		cw_json_hex(j, text);
}

static void put_part(struct cw_json *j, const char *key, const struct bag *b)
{
	struct entry e;

	if (bag_next(b, 0, &e) == 0)
		return;
	cw_json_text(j, key);
	cw_json_digits(j, (const char *)e.value.ptr, e.value.len);
}

static void print_object(const struct rconn *c, FILE *f)
{
	const struct beat *b = &c->beat;
	struct cw_json j;
	struct entry e;
	size_t at, len;
	char when[25], *text;

	cw_clock_format(b->time_ms, when);
	cw_json_begin(&j, TEXT_MOST);
	cw_json_map(&j);
	cw_json_field(&j, "time", when);
	cw_json_text(&j, "connection");
	put_plain_json(&j, cw_bytes_text(c->r->capture->conns[c->index].name));
	cw_json_field(&j, "what", b->what);
	if (bag_next(&b->frame, 0, &e) != 0) {
		cw_json_text(&j, "hex");
		cw_json_hex(&j, e.value);
	}
	if (b->refused) {
		cw_json_text(&j, "error");
		cw_json_map(&j);
		cw_json_field(&j, "code", cw_show_refusal(b->rc));
		cw_json_text(&j, "text");
		put_plain_json(&j, cw_bytes_text(refusal_text(b)));
		cw_json_end_map(&j);
	}
	put_part(&j, "header", &b->header);
	put_part(&j, "fields", &b->fields);
	cw_json_text(&j, "records");
	cw_json_array(&j);
	for (at = 0; (at = bag_next(&b->records, at, &e)) != 0;)
		cw_show_record(&j, e.value);
	cw_json_end_array(&j);
	cw_json_text(&j, "answers");
	cw_json_array(&j);
	for (at = 0; (at = bag_next(&b->answers, at, &e)) != 0;) {
		cw_json_map(&j);
		cw_json_text(&j, "hex");
		cw_json_hex(&j, e.value);
		if (e.tag != VERDICT_NONE)
			cw_json_field(&j, "verdict", verdicts[e.tag]);
		cw_json_end_map(&j);
	}
	cw_json_end_array(&j);
	cw_json_text(&j, "notes");
	cw_json_array(&j);
	for (at = 0; (at = bag_next(&b->notes, at, &e)) != 0;)
		put_plain_json(&j, e.value);
	cw_json_end_array(&j);
	cw_json_end_map(&j);
	if (cw_json_finish(&j, &text, &len) < 0) {
		c->r->out_of_memory = 1;
		return;
	}
	fprintf(f, "%s\n", text);
	cw_free(text);
}

/* ---- beats ---------------------------------------------------------------------------------- */

static int is_empty(const struct beat *b)
{
	return b->what == NULL && b->records.len == 0 && b->answers.len == 0 && b->notes.len == 0;
}

static void say(struct rconn *c)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (f == NULL) {
		c->r->out_of_memory = 1;
		return;
	}
	if (c->r->how->json)
		print_object(c, f);
	else
		print_lines(c, f);
	if (fclose(f) == 0)
		c->r->fn(c->r->arg, c->r->step, text, len);
	else
		c->r->out_of_memory = 1;
	free(text);
}

void say_beat(struct rconn *c)
{
	struct beat *b = &c->beat;

	if (is_empty(b)) {
		b->line[0] = '\0';
		return;
	}
	if (b->what == NULL)
		b->what = c->r->cause;
	if (b->time_ms == 0)
		b->time_ms = cw_clock_wall_ms();
	say(c);
	b->what = NULL;
	b->time_ms = 0;
	b->refused = 0;
	b->line[0] = '\0';
	bag_clear(&b->frame);
	bag_clear(&b->records);
	bag_clear(&b->answers);
	bag_clear(&b->notes);
	bag_clear(&b->header);
	bag_clear(&b->fields);
}

void say_bytes(struct rconn *c, const char *what, struct cw_bytes bytes)
{
	if (c->beat.what != NULL)
		say_beat(c);
	c->beat.what = what;
	bag_add(c->r, &c->beat.frame, 0, cw_bytes_of(NULL, 0), bytes);
	say_beat(c);
}

void say_free(struct rconn *c)
{
	struct beat *b = &c->beat;

	bag_free(&b->frame);
	bag_free(&b->records);
	bag_free(&b->answers);
	bag_free(&b->notes);
	bag_free(&b->header);
	bag_free(&b->fields);
	bag_free(&c->looked);
	bag_free(&c->look_header);
	bag_free(&c->look_fields);
}
