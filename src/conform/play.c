/*
 * play.c - see suite.h. Plays a wire script: before each stimulus, all that the decoder said must have been expected.
 *
 * What is said of one kind (replies, records, ends of commands ..) must come in the script's order; kinds among each
 * other may come in any, for an author cannot know whether a reply leaves before or after its record.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conform/suite.h"

struct play {
	struct toy *t;
	const struct session *of;
	const struct cw_wire_step *step;
	int failed;
};

static void wrong(struct play *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void wrong(struct play *p, const char *fmt, ...)
{
	char text[900];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	doing("%s:%u", p->of->script->path, p->step->line);
	fault("%s", text);
	p->failed = 1;
}

/* ---- what was said ---------------------------------------------------------------------- */

/* May it be said without a line in the script? */
static int counts(const struct said *s)
{
	return strchr("SEIDCKWN", s->kind) != NULL || (s->kind == 'R' && (int64_t)s->number < 0);
}

static struct said *next_said(struct play *p, char kind)
{
	size_t i;

	for (i = 0; i < p->t->said_count; i++) {
		struct said *s = &p->t->said[i];

		if (!s->taken && s->kind == kind && counts(s))
			return s;
	}
	return NULL;
}

static void say_rest(struct play *p, char *out, size_t size)
{
	char one[420];
	size_t i, used = 0;

	out[0] = '\0';
	for (i = 0; i < p->t->said_count && used + 8 < size; i++) {
		const struct said *s = &p->t->said[i];

		if (s->taken || !counts(s))
			continue;
		said_text(s->kind, s->number, s->who, cw_bytes_of(s->ptr, s->len), one, sizeof(one));
		used += (size_t)snprintf(out + used, size - used, "%s`%s`", used == 0 ? "" : ", ", one);
	}
}

static void forget_said(struct play *p)
{
	size_t i;

	for (i = 0; i < p->t->said_count; i++)
		p->t->said[i].taken = 1;
}

/* The line as written, for sentences. */
#define LINE(p) (int)((p)->step->text_len > 160 ? 160 : (p)->step->text_len), (p)->step->text

static void missing(struct play *p, const struct said *got)
{
	char text[420];

	if (got != NULL) {
		said_text(got->kind, got->number, got->who, cw_bytes_of(got->ptr, got->len), text, sizeof(text));
		wrong(p, "expected `%.*s`, got `%s`%s%s", LINE(p), text, got->who != NULL ? " of " : "",
		      got->who != NULL ? got->who : "");
		return;
	}
	say_rest(p, text, sizeof(text));
	wrong(p, "expected `%.*s`, got %s%s%s%s", LINE(p), text[0] == '\0' ? "nothing" : "only ", text,
	      p->t->line[0] == '\0' ? "" : "; it logged: ", p->t->line);
}

/* ---- expectations ------------------------------------------------------------------------- */

static int same_who(const struct cw_wire_step *step, const struct said *s)
{
	return step->who == NULL || (s->who != NULL && strcmp(step->who, s->who) == 0);
}

static int body_fits(const struct cw_wire_step *step, struct cw_bytes body)
{
	if (step->body != NULL)
		return cw_wire_within(cw_bytes_of(step->body, step->body_len), body);
	return step->mask == NULL || cw_wire_matches(step, body);
}

static int record_fits(const struct cw_wire_step *step, const struct said *s)
{
	struct cw_record rec;

	return cw_record_read(cw_bytes_of(s->ptr, s->len), &rec) && rec.kind == step->number && same_who(step, s) &&
	       cw_bytes_equal(rec.name, cw_bytes_text(step->name)) && body_fits(step, rec.body);
}

static int fits(const struct cw_wire_step *step, const struct said *s)
{
	struct cw_bytes b = cw_bytes_of(s->ptr, s->len);

	switch (step->kind) {
	case CW_WIRE_SENT: return cw_wire_matches(step, b);
	case CW_WIRE_RECORD: return record_fits(step, s);
	case CW_WIRE_DONE: return (uint32_t)s->number == step->number && body_fits(step, b);
	case CW_WIRE_IDENTIFY: return strcmp(step->who, "*") == 0 || cw_bytes_equal(b, cw_bytes_text(step->who));
	case CW_WIRE_LEFT: return same_who(step, s);
	case CW_WIRE_SKIPPED: return s->number == step->number;
	case CW_WIRE_BLOCK: return s->number == step->number && s->offset == step->offset;
	default: return 1;
	}
}

static char said_kind(enum cw_wire_kind kind)
{
	switch (kind) {
	case CW_WIRE_SENT: return 'S';
	case CW_WIRE_RECORD: return 'E';
	case CW_WIRE_DONE: return 'C';
	case CW_WIRE_IDENTIFY: return 'I';
	case CW_WIRE_LEFT: return 'D';
	case CW_WIRE_SKIPPED: return 'N';
	case CW_WIRE_BLOCK: return 'W';
	case CW_WIRE_CLOSED: return 'K';
	default: return 'R';
	}
}

static void answer_members(struct play *p, const char *prefix)
{
	char names[512], *rest = names, *who;
	struct cw_rdevice *dev;
	int n = 0;

	(void)snprintf(names, sizeof(names), "%s", p->step->name == NULL ? "" : p->step->name);
	while ((who = strsep(&rest, " ")) != NULL) {
		if (who[0] == '\0')
			continue;
		if (cw_conn_identified(p->t->conn, cw_bytes_text(who), "a1Script000", who,
				       cw_bytes_of(p->t->saved, p->t->saved_len), CW_CONN_ATTACHED | CW_CONN_UNASKED,
				       NULL, NULL, &dev) == 0)
			cw_conn_state(p->t->conn, dev, 1, 0);
		n++;
	}
	cw_conn_members(p->t->conn, cw_bytes_text(prefix), n);
}

static void answer_identify(struct play *p)
{
	char who[CW_IDENTITY_MAX + 1];
	struct toy *t = p->t;
	struct cw_rdevice *dev = NULL;
	int64_t flags;

	if (t->asked.count == 0 || t->conn == NULL)
		return;
	flags = cw_asked_take(&t->asked, who);
	if ((flags & CW_IDENTIFY_MEMBERS) != 0) {
		answer_members(p, who);
	} else if (p->step->number <= CW_REFUSED_KEPT) {
		cw_conn_refused(t->conn, cw_bytes_text(who), (int)p->step->number);
	} else {
		(void)cw_conn_identified(t->conn, cw_bytes_text(who), "a1Script000", who,
					 cw_bytes_of(t->saved, t->saved_len),
					 (flags & CW_IDENTIFY_LOOKUP) != 0 ? 0 : CW_CONN_ATTACHED, NULL, NULL, &dev);
		if (p->step->number == CW_WIRE_KNOWN && (flags & CW_IDENTIFY_LOOKUP) == 0 && dev != NULL)
			cw_conn_state(t->conn, dev, 1, 0);
	}
	if (!t->closing)
		(void)cw_conn_resume(t->conn);
}

static void answer(struct play *p, const struct said *s)
{
	struct toy *t = p->t;
	uint64_t id = 0;

	if (p->step->kind == CW_WIRE_IDENTIFY) {
		answer_identify(p);
	} else if (p->step->kind == CW_WIRE_BLOCK && t->conn != NULL) {
		memcpy(&id, s->ptr, sizeof(id));
		cw_conn_block(t->conn, cw_conn_next_device(t->conn, NULL), id, p->step->offset,
			      p->step->len == 0 ? CW_EIO : 0, cw_bytes_of(p->step->ptr, p->step->len));
	} else if (p->step->kind == CW_WIRE_LEFT && t->conn != NULL && toy_device(t, p->step->who) != NULL) {
		cw_conn_detached(t->conn, toy_device(t, p->step->who));
	}
}

static void expect(struct play *p)
{
	struct said *s = next_said(p, said_kind(p->step->kind));

	if (s == NULL || !fits(p->step, s)) {
		missing(p, s);
		return;
	}
	if (p->step->kind == CW_WIRE_REFUSED && p->step->name != NULL && strstr(p->t->line, p->step->name) == NULL) {
		wrong(p, "expected that it logs '%s', it logged '%s'", p->step->name, p->t->line);
		return;
	}
	s->taken = 1;
	answer(p, s);
}

static void settle(struct play *p)
{
	struct toy *t = p->t;
	uint64_t ticket = t->tickets[0];

	if (t->ticket_count == 0 || t->conn == NULL) {
		wrong(p, "no record waits for its ticket to settle");
		return;
	}
	memmove(t->tickets, t->tickets + 1, --t->ticket_count * sizeof(t->tickets[0]));
	cw_conn_settled(t->conn, ticket, (int)p->step->number);
}

/* ---- stimuli --------------------------------------------------------------------------------- */

static int refusal_code(int rc)
{
	switch (rc) {
	case CW_EUNSUPPORTED: return CW_CODE_UNSUPPORTED;
	case CW_EINVAL:
	case CW_EPROTO: return CW_CODE_BAD_INPUT;
	case CW_ECLOSED:
	case CW_EOFFLINE: return CW_CODE_OFFLINE;
	case CW_EBUSY:
	case CW_ELIMIT: return CW_CODE_BUSY;
	default: return CW_CODE_FAILED;
	}
}

/* One that command() refuses has ended, with the code that the gateway would give it. */
static void command(struct play *p)
{
	const struct cw_wire_step *step = p->step;
	size_t size = step->len + step->body_len + 400, n;
	uint8_t *out = malloc(size);
	struct cw_rdevice *dev = toy_device(p->t, step->who);
	struct said *s;
	int rc;

	if (out == NULL)
		abort();
	if (dev == NULL) {
		wrong(p, "there is no device%s%s to give a command to", step->who == NULL ? "" : " ",
		      step->who == NULL ? "" : step->who);
		free(out);
		return;
	}
	n = step_command(step, out, size);
	rc = toy_command(p->t, dev, cw_bytes_of(out, n));
	free(out);
	if (rc == 0)
		return;
	p->t->said = realloc(p->t->said, (p->t->said_count + 1) * sizeof(*s));
	if (p->t->said == NULL)
		abort();
	s = &p->t->said[p->t->said_count++];
	*s = (struct said){ .kind = 'C', .number = (uint64_t)refusal_code(rc), .ptr = calloc(1, 1) };
}

static void added(struct play *p)
{
	struct cw_rdevice *dev;

	if (cw_conn_identified(p->t->conn, cw_bytes_text(p->step->who), "a1Script000", p->step->who,
			       cw_bytes_of(p->t->saved, p->t->saved_len), CW_CONN_ATTACHED | CW_CONN_UNASKED, NULL,
			       NULL, &dev) == 0)
		cw_conn_state(p->t->conn, dev, 1, 0);
}

static void stimulate(struct play *p)
{
	const struct cw_wire_step *step = p->step;
	struct toy *t = p->t;
	char rest[700];

	say_rest(p, rest, sizeof(rest));
	if (rest[0] != '\0') {
		wrong(p, "before this line it also said %s%s%s", rest,
		      t->line[0] == '\0' ? "" : "; it logged: ", t->line);
		return;
	}
	forget_said(p);
	if (step->kind == CW_WIRE_DATA && t->asked.count > 0) {
		wrong(p, "an identify() has no outcome yet, so no frame would be decoded; `identify ID known` before "
			 "this line");
		return;
	}
	if (t->conn == NULL || (t->closing && (step->kind == CW_WIRE_OPEN || step->kind == CW_WIRE_DATA))) {
		toy_close(t, 1);
		forget_said(p);
		(void)toy_open(t);
		if (step->kind == CW_WIRE_OPEN)
			return;
	}
	if (step->kind == CW_WIRE_COMMAND)
		command(p);
	else if (step->kind == CW_WIRE_ADDED)
		added(p);
	else if (step->kind == CW_WIRE_REPLY)
		cw_conn_reply(t->conn, toy_device(t, step->who), cw_bytes_text(step->name), (int)step->number,
			      cw_bytes_of(step->body, step->body_len));
	else
		toy_step(t, step);
	if (step->kind == CW_WIRE_CLOSE)
		forget_said(p); /* last words go nowhere */
}

static void broadcast(struct play *p)
{
	struct cw_wire_step as = *p->step;
	uint8_t *out = malloc(as.len + 400);
	size_t n;

	if (out == NULL)
		abort();
	as.number = CW_KIND_BROADCAST;
	n = step_command(&as, out, as.len + 400);
	if (p->t->conn != NULL)
		cw_conn_broadcast(p->t->conn, cw_bytes_of(out, n));
	free(out);
}

/* ---- all of it ----------------------------------------------------------------------------------- */

static void play(struct toy *t, const struct session *of)
{
	struct play p = { .t = t, .of = of };
	char rest[700];
	size_t i;

	doing("%s", of->script->path);
	toy_renew(t, of, 0);
	t->by_hand = 1;
	for (i = 0; i < of->n && !p.failed; i++) {
		p.step = of->v[i];
		if (p.step->kind == CW_WIRE_ANY)
			forget_said(&p);
		else if (p.step->kind == CW_WIRE_SETTLE)
			settle(&p);
		else if (p.step->kind >= CW_WIRE_SENT)
			expect(&p);
		else
			stimulate(&p);
		if (p.step->kind == CW_WIRE_BROADCAST)
			broadcast(&p);
		toy_pump(t);
	}
	say_rest(&p, rest, sizeof(rest));
	if (!p.failed && rest[0] != '\0')
		wrong(&p, "behind its last line it also said %s%s%s", rest,
		      t->line[0] == '\0' ? "" : "; it logged: ", t->line);
	toy_close(t, 1);
	t->by_hand = 0;
}

void rule_scripts(struct toy *a, struct toy *b)
{
	size_t i, n = 0;

	(void)b;
	for (i = 0; i < suite.session_count; i++) {
		if (!suite.sessions[i].script->strict)
			continue;
		n++;
		play(a, &suite.sessions[i]);
	}
	remark("%zu wire script%s", n, n == 1 ? "" : "s");
}
