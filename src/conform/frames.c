/* frames.c - see suite.h. Rules about bytes: whole, in pieces, cut off, glued, with noise between, damaged. */
#include <stdlib.h>
#include <string.h>

#include "conform/suite.h"

#define MUTATIONS (SUITE_SLOW ? 6 : 40)
#define SPLIT_STEP (SUITE_SLOW ? 4 : 1)
/* Steps that the sessions may take while they are split and cut off; longer ones are tried at every n-th byte. */
#define STEPS_MOST (size_t)MANY(SUITE_SLOW ? 100000 : 600000, SUITE_SLOW ? 500 : 3000)

static int is_input(const struct entry *e, const struct toy *t)
{
	return e->kind == 'f' || e->kind == 'r' || e->kind == 's' || e->kind == 'b' ||
	       (e->kind == 'w' && (t->flags & CW_EVF_INSPECT) == 0);
}

static void fresh(struct toy *t, const struct entry *e)
{
	toy_renew(t, e->of, 0);
	(void)toy_open(t);
}

static void once(struct toy *t, const struct entry *e)
{
	fresh(t, e);
	toy_feed(t, e->ptr, e->len);
	toy_close(t, 1);
}

static void in_pieces(struct toy *t, const struct entry *e, size_t at, size_t step)
{
	size_t i;

	fresh(t, e);
	if (step == 0) {
		toy_feed(t, e->ptr, at);
		toy_feed(t, e->ptr + at, e->len - at);
	}
	for (i = 0; step > 0 && i < e->len; i += step)
		toy_feed(t, e->ptr + i, e->len - i < step ? e->len - i : step);
	toy_close(t, 1);
}

static void all_splits(struct toy *a, struct toy *b, const struct entry *e, int every)
{
	char how[700];
	size_t k;

	once(a, e);
	for (k = 1; k < e->len && every; k += SPLIT_STEP) {
		in_pieces(b, e, k, 0);
		if (!toy_same(a, b)) {
			toy_difference(a, b, how, sizeof(how));
			fault("split after byte %zu of %zu: %s", k, e->len, how);
		}
	}
	for (k = 1; k <= 7; k += 2) {
		in_pieces(b, e, 0, k);
		if (!toy_same(a, b)) {
			toy_difference(a, b, how, sizeof(how));
			fault("in pieces of %zu bytes: %s", k, how);
		}
	}
}

void rule_frames(struct toy *a, struct toy *b)
{
	size_t i;

	(void)b;
	for (i = 0; i < suite.entry_count; i++) {
		const struct entry *e = &suite.entries[i];

		if (e->kind != 'f' && e->kind != 'r')
			continue;
		doing("%s", e->name);
		once(a, e);
		if (e->kind == 'f' && (a->frames_ok != 1 || a->frames_bad != 0 || a->noise != 0))
			fault("%zu good frames, %zu refused ones and %zu bytes of noise where one good frame is",
			      a->frames_ok, a->frames_bad, a->noise);
		if (e->kind == 'r' && (a->frames_ok > 0 || a->records > 0))
			fault("a frame to be refused was taken, with %zu records", a->records);
	}
}

/* ---- sessions in pieces ------------------------------------------------------------------- */

/* The session, its step number `only` (SIZE_MAX: each) in two pieces, the first of `at` bytes. */
static void split_session(struct toy *t, const struct session *of, size_t only, size_t at)
{
	size_t i;

	toy_renew(t, of, 0);
	(void)toy_open(t);
	for (i = 0; i < of->n; i++) {
		const struct cw_wire_step *s = of->v[i];

		if (s->kind == CW_WIRE_DATA && (only == SIZE_MAX || only == i) && at < s->len && !t->closing &&
		    t->conn != NULL) {
			toy_feed(t, s->ptr, at);
			toy_feed(t, s->ptr + at, s->len - at);
		} else {
			toy_step(t, s);
		}
	}
	toy_close(t, 1);
}

static void blame_step(struct toy *a, struct toy *b, const struct session *of, size_t at)
{
	char how[700];
	size_t i, frame = 0;

	for (i = 0; i < of->n; i++) {
		if (of->v[i]->kind != CW_WIRE_DATA)
			continue;
		frame++;
		if (at >= of->v[i]->len)
			continue;
		split_session(b, of, i, at);
		if (toy_same(a, b))
			continue;
		toy_difference(a, b, how, sizeof(how));
		fault("split after byte %zu of frame %zu (%s line %u): %s", at, frame, of->name, of->v[i]->line, how);
		return;
	}
	split_session(b, of, SIZE_MAX, at);
	toy_difference(a, b, how, sizeof(how));
	fault("each frame split after byte %zu: %s", at, how);
}

static size_t longest(const struct session *of, size_t *ret_bytes)
{
	size_t i, most = 0;

	*ret_bytes = 0;
	for (i = 0; i < of->n; i++) {
		if (of->v[i]->kind != CW_WIRE_DATA)
			continue;
		*ret_bytes += of->v[i]->len;
		if (of->v[i]->len > most)
			most = of->v[i]->len;
	}
	return most;
}

static void split_sessions(struct toy *a, struct toy *b)
{
	size_t i, k, most, all, stride;

	for (i = 0; i < suite.session_count; i++) {
		const struct session *of = &suite.sessions[i];

		if (of->flags & CW_EVF_DATAGRAM)
			continue;
		doing("the session of %s", of->name);
		split_session(a, of, SIZE_MAX, SIZE_MAX);
		most = longest(of, &all);
		stride = 1 + most * of->n / STEPS_MOST;
		for (k = 1; k < most; k += stride) {
			split_session(b, of, SIZE_MAX, k);
			if (!toy_same(a, b))
				blame_step(a, b, of, k);
		}
		if (stride > 1)
			remark("%s is long: split after every %zuth byte", of->name, stride);
	}
}

void rule_split(struct toy *a, struct toy *b)
{
	size_t i;

	for (i = 0; i < suite.entry_count; i++) {
		if (!is_input(&suite.entries[i], a))
			continue;
		doing("%s", suite.entries[i].name);
		all_splits(a, b, &suite.entries[i], MANY(1, 0));
	}
	if ((a->flags & CW_EVF_INSPECT) == 0)
		split_sessions(a, b);
}

/* ---- cut off ------------------------------------------------------------------------------------- */

/* A session whose connection ends in the middle of a frame: it cannot have said more than up to there. */
static void cut_sessions(struct toy *a, struct toy *b)
{
	size_t s, i, k, j, all, stride, before, frame;

	for (s = 0; s < suite.session_count; s++) {
		const struct session *of = &suite.sessions[s];

		(void)longest(of, &all);
		stride = 1 + all * of->n / 2 / STEPS_MOST;
		for (i = 0, frame = 0; i < of->n; i++) {
			if (of->v[i]->kind != CW_WIRE_DATA)
				continue;
			frame++;
			for (k = 1 + suite_random((uint32_t)stride); k < of->v[i]->len; k += stride) {
				doing("frame %zu (%s line %u) ends after %zu bytes", frame, of->name, of->v[i]->line,
				      k);
				toy_renew(b, of, 0);
				(void)toy_open(b);
				for (j = 0; j < i; j++)
					toy_step(b, of->v[j]);
				before = b->records;
				toy_feed(b, of->v[i]->ptr, k);
				if (b->records > before && b->frames_ok == 0)
					fault("%zu records of no whole frame", b->records - before);
				toy_close(b, 1);
			}
		}
	}
	(void)a;
}

/* A part of a frame makes no record; and two whole frames later the decoder has found its way back. */
void rule_truncate(struct toy *a, struct toy *b)
{
	const struct entry *good = NULL;
	size_t i, k;

	if ((a->flags & CW_EVF_INSPECT) == 0) {
		cut_sessions(a, b);
		return;
	}
	for (i = 0; i < suite.entry_count; i++) {
		const struct entry *e = &suite.entries[i];

		if (e->kind != 'f')
			continue;
		if (good == NULL || good->of != e->of)
			good = e;
		for (k = 1; k < e->len; k++) {
			doing("%s cut off after byte %zu of %zu", e->name, k, e->len);
			fresh(a, e);
			toy_feed(a, e->ptr, k);
			if (a->records > 0 || a->fields > 0 || a->frames_ok > 0)
				fault("the part made %zu records and %zu good frames", a->records, a->frames_ok);
			toy_forget(a);
			toy_feed(a, good->ptr, good->len);
			toy_feed(a, good->ptr, good->len);
			if (a->frames_ok == 0 && !a->closing)
				fault("two whole frames that follow it (%s) are not recognised", good->name);
			toy_close(a, 1);
		}
	}
}

/* ---- next to each other ---------------------------------------------------------------------------- */

static uint8_t *join(const struct entry *a, const struct entry *b)
{
	uint8_t *both = malloc(a->len + b->len);

	if (both == NULL)
		abort();
	memcpy(both, a->ptr, a->len);
	memcpy(both + a->len, b->ptr, b->len);
	return both;
}

static void noise_around(struct toy *a, const struct entry *noise, const struct entry *e)
{
	uint8_t *both = join(noise, e);

	doing("%s before %s", noise->name, e->name);
	fresh(a, e);
	toy_feed(a, noise->ptr, noise->len);
	toy_feed(a, e->ptr, e->len);
	toy_feed(a, both, noise->len + e->len);
	if (a->frames_ok != 2 && !a->closing)
		fault("%zu of two good frames were found", a->frames_ok);
	toy_close(a, 1);
	free(both);
}

void rule_noise(struct toy *a, struct toy *b)
{
	size_t i, n;

	(void)b;
	for (n = 0; n < suite.entry_count; n++)
		for (i = 0; i < suite.entry_count && suite.entries[n].kind == 'n'; i++)
			if (suite.entries[i].kind == 'f' && suite.entries[i].of == suite.entries[n].of)
				noise_around(a, &suite.entries[n], &suite.entries[i]);
}

void rule_glue(struct toy *a, struct toy *b)
{
	const struct entry *last = NULL;
	char how[700];
	uint8_t *both;
	size_t i;

	for (i = 0; i < suite.entry_count; i++) {
		const struct entry *e = &suite.entries[i];

		if (e->kind != 'f')
			continue;
		if (last != NULL && last->of == e->of) {
			doing("%s and %s in one read", last->name, e->name);
			both = join(last, e);
			fresh(a, e);
			toy_feed(a, both, last->len + e->len);
			toy_close(a, 1);
			free(both);
			fresh(b, e);
			toy_feed(b, last->ptr, last->len);
			toy_feed(b, e->ptr, e->len);
			toy_close(b, 1);
			if (!toy_same(a, b)) {
				toy_difference(b, a, how, sizeof(how));
				fault("other than one by one: %s", how);
			}
		}
		last = e;
	}
}

/* ---- damaged -------------------------------------------------------------------------------------------- */

static size_t mutate(const struct entry *e, uint8_t *out)
{
	size_t n = e->len, k, at, cut;
	unsigned times = 1 + suite_random(4);

	memcpy(out, e->ptr, n);
	while (times-- > 0) {
		at = suite_random((uint32_t)n);
		switch (suite_random(6)) {
		case 0: out[at] ^= (uint8_t)(1u << suite_random(8)); break;
		case 1: out[at] = (uint8_t)suite_random(256); break;
		case 2: out[at] = suite_random(2) ? 0xff : 0; break;
		case 3: out[at] = e->ptr[suite_random((uint32_t)e->len)]; break;
		case 4: /* take bytes away */
			cut = 1 + suite_random(8);
			if (n - at > cut && n > cut + 1) {
				memmove(out + at, out + at + cut, n - at - cut);
				n -= cut;
			}
			break;
		default: /* say bytes twice */
			k = 1 + suite_random(16);
			if (at + k <= n) {
				memmove(out + at + k, out + at, n - at);
				n += k;
			}
			break;
		}
	}
	return n;
}

/* The session with one of its frames damaged. */
static void mutate_sessions(struct toy *a)
{
	struct entry e = { .kind = 'm' };
	uint8_t *out;
	size_t s, i, j, n, k;

	for (s = 0; s < suite.session_count; s++) {
		const struct session *of = &suite.sessions[s];
		size_t tries = 1 + 400 * (size_t)MANY(MUTATIONS, 0) / (of->n * of->n + 40);

		for (i = 0; i < of->n; i++) {
			for (k = 0; k < tries && of->v[i]->kind == CW_WIRE_DATA; k++) {
				doing("damage %zu to the frame of %s line %u", k, of->name, of->v[i]->line);
				toy_renew(a, of, 0);
				(void)toy_open(a);
				for (j = 0; j < i; j++)
					toy_step(a, of->v[j]);
				e.ptr = of->v[i]->ptr;
				e.len = of->v[i]->len;
				out = malloc(e.len + 128);
				if (out == NULL)
					abort();
				n = mutate(&e, out);
				toy_feed(a, out, n);
				free(out);
				for (j = i + 1; j < of->n && j < i + 5; j++)
					toy_step(a, of->v[j]);
				toy_close(a, 1);
			}
		}
	}
}

void rule_mutate(struct toy *a, struct toy *b)
{
	struct entry m;
	uint8_t *out;
	size_t i, k;

	for (i = 0; i < suite.entry_count; i++) {
		const struct entry *e = &suite.entries[i];

		if (!is_input(e, a))
			continue;
		m = *e;
		m.kind = 'm';
		out = malloc(e->len + 128);
		if (out == NULL)
			abort();
		m.ptr = out;
		for (k = 0; k < (size_t)MANY(MUTATIONS, 2); k++) {
			m.len = mutate(e, out);
			doing("damage %zu to %s", k, e->name);
			all_splits(a, b, &m, 0);
		}
		free(out);
	}
	if ((a->flags & CW_EVF_INSPECT) == 0)
		mutate_sessions(b);
}
