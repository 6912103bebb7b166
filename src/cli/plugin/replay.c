/*
 * replay.c - see replay.h: the clock, the events in their order, and answers held against the capture's.
 *
 * The clock is virtual: it stands at the time of the event under way, and between
 * two events it visits every timer that runs out. The wall clock is the capture's;
 * the monotonic one goes on with it, but never back, and over a silence of more
 * than an hour it jumps.
 */
#include "cli/plugin/replay_impl.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/show.h"

#define SILENCE_MOST_MS 3600000
/* An answer may be this much later in the capture than the decoder gives it, in time and bytes; and earlier by the first. */
#define AHEAD_MS 60000
#define AHEAD_BYTES 65536u
#define LATE_MS 1000

/* ---- the clock -------------------------------------------------------------------------- */

static void set_clock(struct replay *r, uint64_t mono_ms)
{
	r->wall_ms += (int64_t)(mono_ms - r->mono_ms);
	r->mono_ms = mono_ms;
	cw_clock_fake(r->mono_ms, r->wall_ms);
}

static void sweep(struct replay *r);

/* Timers up to that moment. */
static void live_until(struct replay *r, uint64_t mono_ms)
{
	struct cw_timers *ts = cw_worker_timers(r->worker);
	uint64_t due;
	struct rconn *c;

	r->cause = "timer";
	while ((due = cw_timers_due(ts)) != 0 && due <= mono_ms && !r->out_of_memory) {
		for (c = r->open; c != NULL; c = c->next)
			c->rounds = 0;
		set_clock(r, due);
		cw_timers_run(ts, due);
		for (c = r->open; c != NULL; c = c->next) {
			if (c->real.conn != NULL) /* what waited for an outcome */
				(void)cw_conn_resume(c->real.conn);
			say_beat(c);
		}
		sweep(r);
	}
	set_clock(r, mono_ms);
	cw_timers_run(ts, mono_ms);
}

static void move_clock(struct replay *r, int64_t wall_ms)
{
	int64_t ahead = wall_ms - r->wall_ms;

	if (ahead > 0)
		live_until(r, r->mono_ms + (uint64_t)(ahead > SILENCE_MOST_MS ? SILENCE_MOST_MS : ahead));
	r->wall_ms = wall_ms;
	cw_clock_fake(r->mono_ms, r->wall_ms);
}

/* ---- what went to the device ------------------------------------------------------------------ */

static int down_open(struct rconn *c, const uint32_t *next, uint32_t first)
{
	const struct cw_capture *cap = c->r->capture;
	struct down *d = &c->down;
	size_t len = 0, count = 0;
	uint32_t i;

	for (i = first; i != UINT32_MAX; i = next[i]) {
		len += cap->events[i].len;
		count++;
	}
	d->bytes = cw_alloc(len);
	d->said = cw_zalloc(len);
	d->segs = cw_calloc(count, sizeof(*d->segs));
	if (d->bytes == NULL || d->said == NULL || d->segs == NULL)
		return CW_ENOMEM;
	for (i = first; i != UINT32_MAX; i = next[i]) {
		struct cw_bytes b = cw_seen_bytes(cap, &cap->events[i]);

		memcpy(d->bytes + d->len, b.ptr, b.len);
		d->len += b.len;
		d->segs[d->count].end = d->len;
		d->segs[d->count++].time_ms = cap->events[i].time_ms;
	}
	return 0;
}

static void down_free(struct down *d)
{
	cw_free(d->bytes);
	cw_free(d->said);
	cw_free(d->segs);
}

/* How far the capture may be looked ahead. */
static size_t down_window(const struct rconn *c)
{
	const struct down *d = &c->down;
	size_t end = d->at, i;

	for (i = d->told; i < d->count && d->segs[i].time_ms <= c->r->wall_ms + AHEAD_MS && end < d->at + AHEAD_BYTES; i++)
		end = d->segs[i].end;
	return end;
}

int down_judge(struct rconn *c, struct cw_bytes out)
{
	struct down *d = &c->down;
	struct cw_replay_totals *t = c->r->totals;
	size_t end, at = d->at;
	uint8_t *hit;

	if (d->len == 0 || out.len == 0) {
		t->unjudged++;
		return VERDICT_NONE;
	}
	end = down_window(c);
	while (at < end && (hit = memmem(d->bytes + at, end - at, out.ptr, out.len)) != NULL) {
		at = (size_t)(hit - d->bytes);
		if (memchr(d->said + at, 1, out.len) == NULL) {
			memset(d->said + at, 1, out.len);
			t->same++;
			return VERDICT_SAME;
		}
		at++;
	}
	t->other++;
	return VERDICT_OTHER;
}

static void tell_missing(struct rconn *c, size_t from, size_t to)
{
	struct down *d = &c->down;
	size_t i;

	while (from < to) {
		for (i = from; i < to && !d->said[i]; i++)
			;
		if (i > from) {
			c->r->totals->missing++;
			say_bytes(c, "missing", cw_bytes_of(d->bytes + from, i - from));
		}
		for (from = i; from < to && d->said[from]; from++)
			;
	}
}

/* Segments of the capture that the decoder has not sent although it is `late_ms` after them. */
static void down_missing(struct rconn *c, int64_t late_ms)
{
	struct down *d = &c->down;

	while (d->told < d->count && (late_ms < 0 || d->segs[d->told].time_ms + late_ms < c->r->wall_ms)) {
		tell_missing(c, d->at, d->segs[d->told].end);
		memset(d->said + d->at, 1, d->segs[d->told].end - d->at); /* told: no later answer is this one */
		d->at = d->segs[d->told++].end;
	}
}

/* ---- connections ------------------------------------------------------------------------------- */

static void close_rconn(struct replay *r, struct rconn *c)
{
	struct rconn **p;

	r->cause = "close";
	conn_close(c);
	down_missing(c, -1);
	if (c->unheard > 0) {
		say_note(c, "%llu bytes of the capture came after the decoder had closed the connection; it did not get them",
		         (unsigned long long)c->unheard);
		say_beat(c);
	}
	for (p = &r->open; *p != NULL; p = &(*p)->next) {
		if (*p == c) {
			*p = c->next;
			break;
		}
	}
	r->conns[c->index] = NULL;
	down_free(&c->down);
	say_free(c);
	cw_free(c);
}

/* Connections that the decoder has closed: their slot stays until the capture closes them, too. */
static void sweep(struct replay *r)
{
	struct rconn *c;

	if (!r->any_closing)
		return;
	r->any_closing = 0;
	for (c = r->open; c != NULL; c = c->next) {
		if (!c->closing || c->stopped)
			continue;
		c->stopped = 1;
		r->cause = "close";
		say_beat(c);
		conn_close(c);
	}
}

static int open_rconn(struct replay *r, uint32_t index, const uint32_t *next, uint32_t first)
{
	const struct cw_seen_conn *seen = &r->capture->conns[index];
	struct rconn *c = cw_zalloc(sizeof(*c));

	if (c == NULL)
		return CW_ENOMEM;
	c->r = r;
	c->index = index;
	c->next = r->open;
	r->open = c;
	r->conns[index] = c;
	r->totals->connections++;
	if (down_open(c, next, first) < 0)
		return CW_ENOMEM;
	r->cause = "open";
	c->beat.what = "open";
	if (!seen->begun && strncmp(r->capture->format, "pcap", 4) == 0)
		say_note(c, "the capture begins in the middle of this connection");
	if (conn_open(c, seen) < 0)
		return CW_ENOMEM;
	say_beat(c);
	return 0;
}

static void on_gap(struct rconn *c, const struct cw_seen *e)
{
	c->r->totals->gaps++;
	if (e->len == 0)
		say_note(c, "something is missing in the capture here");
	else
		say_note(c, "%llu bytes %s the device are missing in the capture", (unsigned long long)e->len, e->down ? "to" : "from");
	c->beat.what = "gap";
	say_beat(c);
}

static void on_note(struct rconn *c, struct cw_bytes text)
{
	int command = text.len >= 8 && memcmp(text.ptr, "command ", 8) == 0;

	c->r->totals->not_replayed += (uint64_t)command;
	say_note(c, "the gateway: %.*s%s", (int)text.len, (const char *)text.ptr, command ? "(commands are not replayed)" : "");
	c->beat.what = "recorded";
	say_beat(c);
}

static int take_event(struct replay *r, const struct cw_seen *e, const uint32_t *next, const uint32_t *first)
{
	struct rconn *c = r->conns[e->conn];
	struct cw_bytes bytes = cw_seen_bytes(r->capture, e);

	r->cause = "timer";
	if (e->kind == CW_SEEN_OPEN)
		return open_rconn(r, e->conn, next, first[e->conn]);
	if (c == NULL)
		return 0;
	down_missing(c, LATE_MS);
	switch (e->kind) {
	case CW_SEEN_UP:
		r->totals->up_bytes += bytes.len;
		if (c->real.conn != NULL) {
			r->cause = "more";
			conn_feed(c, bytes);
		} else {
			c->unheard += bytes.len;
			r->totals->after_close += bytes.len;
		}
		break;
	case CW_SEEN_GAP: on_gap(c, e); break;
	case CW_SEEN_NOTE: on_note(c, bytes); break;
	case CW_SEEN_CLOSE:
		c->beat.what = c->real.conn == NULL ? NULL : "close";
		close_rconn(r, c);
		break;
	default: break; /* to the device: known since the opening */
	}
	sweep(r);
	return r->out_of_memory ? CW_ENOMEM : 0;
}

/* ---- the whole -------------------------------------------------------------------------------------- */

/* For each connection the first event to the device, and for each of those the next. */
static int chain_down(const struct cw_capture *cap, uint32_t **ret_next, uint32_t **ret_first)
{
	uint32_t *next = cw_alloc(cap->count * sizeof(*next)), *first = cw_alloc(cap->conn_count * sizeof(*first));
	size_t i;

	*ret_next = next;
	*ret_first = first;
	if (next == NULL || first == NULL)
		return CW_ENOMEM;
	memset(first, 0xff, cap->conn_count * sizeof(*first));
	for (i = cap->count; i-- > 0;) {
		const struct cw_seen *e = &cap->events[i];

		if (e->kind != CW_SEEN_DOWN)
			continue;
		next[i] = first[e->conn];
		first[e->conn] = (uint32_t)i;
	}
	return 0;
}

static int play(struct replay *r, volatile uint32_t *at)
{
	const struct cw_capture *cap = r->capture;
	uint32_t *next, *first;
	size_t i;
	int rc = chain_down(cap, &next, &first);

	for (i = 0; rc == 0 && i < cap->count; i++) {
		move_clock(r, cap->events[i].time_ms);
		r->step = (uint32_t)i;
		if (at != NULL)
			*at = (uint32_t)i;
		rc = take_event(r, &cap->events[i], next, first);
	}
	if (rc == 0)
		live_until(r, r->mono_ms + r->how->linger_ms);
	r->cause = "end";
	while (r->open != NULL)
		close_rconn(r, r->open);
	cw_free(next);
	cw_free(first);
	return rc < 0 || !r->out_of_memory ? rc : CW_ENOMEM;
}

static void on_skip(void *arg, const char *sentence)
{
	fprintf(stderr, "%s\n", sentence);
}

static int prepare(struct replay *r, struct cw_msg *msg)
{
	int rc = cw_worker_new("replay", 0, &r->worker);

	if (rc < 0)
		return cw_fail(msg, rc, "%s", cw_error_text(rc));
	r->mono_ms = 1000000;
	r->wall_ms = r->capture->count > 0 ? r->capture->events[0].time_ms : 0;
	cw_clock_fake(r->mono_ms, r->wall_ms);
	cw_timers_manual(cw_worker_timers(r->worker), r->mono_ms);
	r->conns = cw_calloc(r->capture->conn_count, sizeof(*r->conns));
	if (r->conns == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	if (r->how->identities != NULL)
		rc = cw_identities_load(r->how->identities, on_skip, NULL, &r->known, msg);
	if (rc == 0)
		rc = cw_runner_new(r->desc, r->worker, &r->runner, msg);
	if (rc == 0)
		rc = cw_show_settings(r->runner, r->desc, r->how->sets, &r->conf, msg);
	if (rc == 0 && r->how->fields)
		rc = cw_runner_new(r->desc, r->worker, &r->looker, msg);
	if (rc == 0 && r->how->fields)
		rc = cw_show_settings(r->looker, r->desc, r->how->sets, &r->looker_conf, msg);
	return rc;
}

static void clean_up(struct replay *r)
{
	struct cw_map_node *n, *next;

	if (r->runner != NULL) {
		conn_free_confs(r);
		cw_runner_settings_free(r->runner, r->conf);
	}
	if (r->looker != NULL)
		cw_runner_settings_free(r->looker, r->looker_conf);
	cw_runner_free(r->looker);
	cw_runner_free(r->runner);
	cw_map_each_safe(n, next, &r->saved) {
		cw_map_remove(&r->saved, n);
		conn_free_saved(n);
	}
	cw_map_fini(&r->saved);
	cw_identities_free(r->known);
	cw_free(r->conns);
	cw_worker_free(r->worker);
	cw_clock_fake(0, 0);
}

int cw_replay_run(const struct cw_plugin_desc *desc, const struct cw_capture *capture, const struct cw_replay_how *how,
                  cw_replay_fn fn, void *arg, volatile uint32_t *at, struct cw_replay_totals *ret_totals, struct cw_msg *msg)
{
	struct replay r = { .desc = desc, .capture = capture, .how = how, .fn = fn, .arg = arg, .totals = ret_totals };
	int rc;

	memset(ret_totals, 0, sizeof(*ret_totals));
	cw_map_init(&r.saved);
	rc = prepare(&r, msg);
	if (rc == 0) {
		rc = play(&r, at);
		if (rc < 0)
			(void)cw_fail(msg, rc, "%s", cw_error_text(rc));
	}
	clean_up(&r);
	return rc;
}
