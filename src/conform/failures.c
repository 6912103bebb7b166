/* failures.c - see suite.h. Rules about what fails: a memory cap, host calls, allocations, each in its turn. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conform/suite.h"

#define FAULTS_MOST (SUITE_SLOW ? 1000 : 4000)

void rule_cap(struct toy *a, struct toy *b)
{
	static const size_t caps[] = { 0, 1, 100, 1000, 4096, 20000 };
	size_t i, s;

	(void)b;
	for (s = 0; s < suite.session_count; s++) {
		for (i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
			doing("the session of %s with %zu bytes it may charge", suite.sessions[s].name, caps[i]);
			toy_renew(a, &suite.sessions[s], 0);
			a->cap = caps[i];
			(void)toy_open(a);
			toy_session(a, 1);
			toy_close(a, 0);
		}
	}
	a->cap = 64u << 20;
}

static void refuse_each(struct toy *a, const struct session *of, int code, long step)
{
	long n;

	for (n = 0; n < FAULTS_MOST; n += step) {
		doing("host call %ld of the session of %s fails: %s", n, of->name, cw_error_text(code));
		toy_renew(a, of, 0);
		host_fail_at(n, code);
		(void)toy_open(a);
		toy_session(a, n % 2 == 1);
		host_fail_at(-1, 0);
		toy_close(a, 0);
		if (!host_failed())
			return;
	}
}

void rule_refusals(struct toy *a, struct toy *b)
{
	static const int codes[] = { CW_ELIMIT, CW_EBUSY, CW_EINVAL };
	size_t s, k;

	(void)b;
	for (s = 0; s < suite.session_count; s++)
		for (k = 0; k < sizeof(codes) / sizeof(codes[0]); k++)
			refuse_each(a, &suite.sessions[s], codes[k],
				    k == 0 ? 1 : 3); /* the first code was tried at every place */
}

/* One run in which an allocation fails. 1: none was left to fail. */
static int starve(const struct session *of, long n)
{
	struct toy t;
	int done = 0;

	heap_fail_at(n);
	if (toy_start(&t, &suite, of, 0, 0) < 0) {
		heap_fail_at(-1);
		toy_forget(&t);
		free(t.trace);
		return 0;
	}
	(void)toy_open(&t);
	toy_session(&t, 0);
	done = !heap_failed();
	heap_fail_at(-1);
	toy_close(&t, 0);
	toy_stop(&t);
	return done;
}

void rule_memory(struct toy *a, struct toy *b)
{
	char left[160], where[100] = "";
	size_t s;
	long n, places = 0;
	int done;

	(void)a;
	(void)b;
	for (s = 0; s < suite.session_count; s++) {
		for (n = 0, done = 0; n < FAULTS_MOST && !done; n++) {
			doing("allocation %ld of the session of %s fails", n, suite.sessions[s].name);
			done = starve(&suite.sessions[s], n);
			if (!done)
				(void)snprintf(where, sizeof(where), "%s", heap_failed_place());
			if (heap_live() > 0) {
				heap_describe(left, sizeof(left));
				fault("the failure is in %s; afterwards %ld blocks are left after destroy(), the first "
				      "%s",
				      where, heap_live(), left);
				heap_forget();
			}
		}
		places += n - 1;
	}
	if (places <= 0)
		remark("it never allocates: nothing could fail");
	else
		remark("%ld places", places);
}
