/* sessions.c - see suite.h. Rules about whole sessions: what is expected, what comes late, what nobody expects. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conform/suite.h"

static void run(struct toy *t, const struct session *of, int timers)
{
	(void)toy_open(t);
	toy_session(t, timers);
	toy_close(t, 1);
	(void)of;
}

void rule_session(struct toy *a, struct toy *b)
{
	size_t i, k, records = 0, sends = 0, ok = 0, bad = 0, done = 0, data = 0;
	unsigned long long commands = 0;

	(void)b;
	for (i = 0; i < suite.session_count; i++) {
		const struct session *of = &suite.sessions[i];

		doing("the session of %s", of->name);
		toy_renew(a, of, 0);
		run(a, of, 0);
		if (a->noise > 0 && !of->script->strict)
			fault("%zu bytes of noise in it", a->noise);
		records += a->records;
		sends += a->sends;
		ok += a->frames_ok;
		bad += a->frames_bad;
		done += a->commands_done;
		commands += a->last_command;
		for (k = 0; k < of->n; k++)
			data += of->v[k]->kind == CW_WIRE_DATA;
	}
	doing("all sessions together");
	if (data > 0 && ok == 0)
		fault("none of %zu frames was taken; the scripts do not exercise it", data);
	if (data > 0 && records == 0)
		fault("no record was ever emitted; the scripts do not exercise it");
	remark("%zu frames taken, %zu refused, %zu records, %zu sends, %llu commands of which %zu ended by themselves",
	       ok, bad, records, sends, commands, done);
}

/* ---- identities ------------------------------------------------------------------------------ */

static int asks_nothing(const struct cw_wire_step *s)
{
	return s->kind == CW_WIRE_DATA;
}

/* The outcome of identify() comes only when more bytes wait already. */
void rule_later(struct toy *a, struct toy *b)
{
	char how[700];
	size_t i, k;

	for (i = 0; i < suite.session_count; i++) {
		const struct session *of = &suite.sessions[i];

		doing("the session of %s, identities answered late", of->name);
		toy_renew(a, of, 0);
		run(a, of, 0);
		toy_renew(b, of, 0);
		b->late = 1;
		(void)toy_open(b);
		for (k = 0; k < of->n; k++) {
			const struct cw_wire_step *s = of->v[k];

			if (!asks_nothing(s))
				toy_answer(b);
			toy_step(b, s);
			if (k + 1 == of->n || !asks_nothing(of->v[k + 1]) ||
			    (k + 2 < of->n && !asks_nothing(of->v[k + 2])))
				toy_answer(b);
			else if (b->asked.count > 0) { /* one frame more, then the outcome */
				toy_step(b, of->v[++k]);
				toy_answer(b);
			}
		}
		toy_close(b, 1);
		b->late = 0;
		if (!a->waited && !(of->flags & CW_EVF_DATAGRAM) && !toy_same(a, b)) {
			toy_difference(a, b, how, sizeof(how));
			fault("other than when it is answered at once (\"in one piece\"): %s", how);
		}
		doing("the session of %s, closed while identities wait", of->name);
		toy_renew(b, of, 0);
		b->late = 1;
		(void)toy_open(b);
		for (k = 0; k < of->n && b->asked.count == 0; k++)
			toy_step(b, of->v[k]);
		toy_close(b, 1);
		b->late = 0;
	}
}

static const char *const outcomes[] = { "known",
					"CW_REFUSED_UNKNOWN",
					"CW_REFUSED_INVALID",
					"CW_REFUSED_OLDER",
					"CW_REFUSED_LATER",
					"CW_REFUSED_PLATFORM",
					"CW_REFUSED_KEPT" };

/* Kept: its frames go to a connection of their own; about the one that asked this one says nothing, and does not close.
 */
static void judge_kept(struct toy *t, const struct session *of)
{
	size_t i, asks;

	for (i = 0; i < of->n && !t->closing; i++) {
		if (of->v[i]->kind != CW_WIRE_DATA)
			continue;
		toy_forget(t);
		asks = t->asks;
		toy_step(t, of->v[i]);
		if (t->asks == asks)
			continue;
		if (t->sends > 0)
			fault("%s line %u: it answered the device after CW_REFUSED_KEPT", of->name, of->v[i]->line);
		if (t->closing)
			fault("%s line %u: it closed after CW_REFUSED_KEPT", of->name, of->v[i]->line);
	}
}

void rule_identities(struct toy *a, struct toy *b)
{
	static const unsigned counts[] = { 0, 1, 3 };
	size_t i, k;
	int code;

	(void)b;
	for (i = 0; i < suite.session_count; i++) {
		const struct session *of = &suite.sessions[i];

		for (code = -1; code <= CW_REFUSED_KEPT; code++) {
			doing("the session of %s, identities: %s", of->name,
			      code < 0 ? "some known, some refused" : outcomes[code]);
			toy_renew(a, of, 0);
			a->refuse = code;
			a->settle_with = code == 0 ? -1 : code % 4;
			run(a, of, 1);
		}
		a->settle_with = 0;
		a->refuse = CW_REFUSED_KEPT;
		doing("the session of %s, its identity kept for later", of->name);
		toy_renew(a, of, 0);
		(void)toy_open(a);
		judge_kept(a, of);
		toy_close(a, 1);
		a->refuse = 0;
		for (k = 0; k < sizeof(counts) / sizeof(counts[0]) && (suite.real->caps & CW_CAP_MULTI_DEVICE); k++) {
			doing("the session of %s with %u members", of->name, counts[k]);
			a->members = counts[k];
			toy_renew(a, of, 0);
			run(a, of, 1);
		}
		a->members = 0;
	}
}

void rule_outcomes(struct toy *a, struct toy *b)
{
	static const char *const how[] = { "done", "pending", "refused", "lost", "in turn" };
	size_t i;
	int k;

	(void)b;
	for (i = 0; i < suite.session_count; i++) {
		const struct session *of = &suite.sessions[i];

		for (k = 0; k <= 4; k++) {
			doing("the session of %s, tickets settle as %s", of->name, how[k]);
			toy_renew(a, of, 0);
			a->settle_with = k == 4 ? -1 : k;
			run(a, of, k % 2);
		}
		a->settle_with = 0;
		doing("the session of %s with tickets that nobody settles", of->name);
		toy_renew(a, of, 0);
		a->hold_tickets = 1;
		run(a, of, 0);
		a->hold_tickets = 0;
	}
}

void rule_saved(struct toy *a, struct toy *b)
{
	size_t i;
	int k;

	(void)b;
	for (i = 0; i < suite.session_count; i++) {
		const struct session *of = &suite.sessions[i];

		doing("the session of %s again, with what it had saved", of->name);
		toy_renew(a, of, 0);
		run(a, of, 0);
		toy_renew(a, of, 1);
		run(a, of, 1);
		for (k = 0; k < MANY(30, 4); k++) {
			doing("the session of %s with saved bytes that are damaged, try %d", of->name, k);
			toy_renew(a, of, 1);
			if (k == 0)
				a->saved_len = CW_SAVE_MAX;
			else if (k == 1)
				a->saved_len = 1;
			if (a->saved_len > 0)
				a->saved[suite_random((uint32_t)a->saved_len)] = (uint8_t)suite_random(256);
			run(a, of, 0);
		}
	}
}

/* ---- odd moments -------------------------------------------------------------------------------- */

/* Each kind of event, about things that never were, at this moment. */
static void odd_events(struct toy *t)
{
	static const uint32_t kinds[] = { CW_EV_IDENTIFIED,
					  CW_EV_REFUSED,
					  CW_EV_ONLINE,
					  CW_EV_OFFLINE,
					  CW_EV_TIMER,
					  CW_EV_SETTLED,
					  CW_EV_COMMAND_CANCELLED,
					  CW_EV_BLOCK,
					  CW_EV_BROADCAST,
					  CW_EV_REPLY,
					  CW_EV_SCANNED,
					  CW_EV_MEMBERS,
					  99 };
	static const uint64_t numbers[] = { 0, 1, 2, 3, 5, 0x7fffffffu, 0x123456789abcdef0u, UINT64_MAX };
	static const uint8_t junk[] = { 0xbf, 0x00, 0x18, 0x21, 0xff };
	size_t i, k;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		for (k = 0; k < sizeof(numbers) / sizeof(numbers[0]) && !t->closing && t->conn != NULL; k++)
			toy_event(t, kinds[i], numbers[k],
				  k % 2 ? cw_bytes_of(junk, sizeof(junk)) : cw_bytes_of(NULL, 0));
	for (i = 0; i <= sizeof(junk) && !t->closing && t->conn != NULL; i++) /* commands cut off anywhere */
		(void)toy_command(t, cw_conn_next_device(t->conn, NULL), cw_bytes_of(junk, i));
}

static void odd_before(struct toy *a, const struct session *of, size_t i)
{
	struct cw_rdevice *dev;
	size_t k;

	doing("odd events before %s line %u", of->name, of->v[i]->line);
	toy_renew(a, of, 0);
	(void)toy_open(a);
	for (k = 0; k < i; k++)
		toy_step(a, of->v[k]);
	if (a->conn != NULL)
		odd_events(a);
	toy_step(a, of->v[i]);
	dev = a->conn == NULL ? NULL : cw_conn_next_device(a->conn, NULL);
	if (dev != NULL && !a->closing) { /* detached in the middle, and the device goes on talking */
		cw_conn_detached(a->conn, dev);
		memset(a->commands, 0, sizeof(a->commands)); /* what it has not ended now, the host has */
		toy_step(a, of->v[i]);
		if (a->conn != NULL)
			odd_events(a);
	}
	toy_close(a, 1);
}

void rule_moments(struct toy *a, struct toy *b)
{
	size_t s, i;

	(void)b;
	for (s = 0; s < suite.session_count; s++) {
		const struct session *of = &suite.sessions[s];

		for (i = 0; i < of->n; i += (size_t)MANY(1, 1 + of->n / 5))
			odd_before(a, of, i);
		doing("the commands of %s before anything else", of->name);
		toy_renew(a, of, 0);
		(void)toy_open(a);
		for (i = 0; i < of->n; i++)
			if (of->v[i]->kind == CW_WIRE_COMMAND)
				toy_step(a, of->v[i]);
		if (a->conn != NULL)
			odd_events(a);
		toy_close(a, 1);
	}
}

/* ---- resumed and kept ------------------------------------------------------------------------------ */

/* A plugin host died: a new instance, the same connections, their devices known already; partial input is gone. */
void rule_resumed(struct toy *a, struct toy *b)
{
	struct cw_rdevice *dev;
	size_t s, i, at;

	(void)b;
	for (s = 0; s < suite.session_count; s++) {
		const struct session *of = &suite.sessions[s];
		size_t stride = 1 + of->n / (size_t)MANY(20, 5);

		for (at = 0; at < of->n; at += stride) {
			doing("the session of %s, resumed by a new instance before line %u", of->name, of->v[at]->line);
			toy_renew(a, of, 0);
			a->identity[0] = '\0';
			(void)toy_open(a);
			for (i = 0; i < at; i++)
				toy_step(a, of->v[i]);
			toy_close(a, 1);
			toy_renew(a, of, 1);
			a->flags |= CW_EVF_RESUMED;
			(void)toy_open(a);
			if (a->identity[0] != '\0' && !a->closing &&
			    cw_conn_identified(a->conn, cw_bytes_text(a->identity), "a1Conform00", "device",
					       cw_bytes_of(a->saved, a->saved_len), CW_CONN_ATTACHED | CW_CONN_UNASKED,
					       NULL, NULL, &dev) == 0)
				cw_conn_state(a->conn, dev, 1, 0);
			for (i = at; i < of->n; i++)
				toy_step(a, of->v[i]);
			toy_fire_timers(a);
			toy_close(a, 1);
			a->flags &= ~CW_EVF_RESUMED;
		}
	}
}

/* Frames of a device that was unknown are decoded later, on a connection that leads nowhere. */
void rule_kept(struct toy *a, struct toy *b)
{
	size_t s, i, before;

	(void)b;
	for (s = 0; s < suite.session_count; s++) {
		const struct session *of = &suite.sessions[s];

		doing("the session of %s", of->name);
		toy_renew(a, of, 0);
		a->identity[0] = '\0';
		run(a, of, 0);
		before = a->records;
		if (a->identity[0] == '\0')
			continue; /* nobody was identified: nothing can be kept */
		doing("the frames of %s as kept ones (CW_EVF_KEPT)", of->name);
		toy_renew(a, of, 0);
		a->flags |= CW_EVF_KEPT;
		(void)toy_open(a);
		for (i = 0; i < of->n && !a->closing; i++)
			if (of->v[i]->kind == CW_WIRE_DATA)
				toy_step(a, of->v[i]);
		if (before > 0 && a->records == 0)
			fault("they made %zu records on a live connection and none here; decoder.h: accept them "
			      "without the log-in of the protocol",
			      before);
		toy_fire_timers(a);
		toy_close(a, 1);
		a->flags &= ~CW_EVF_KEPT;
	}
}
