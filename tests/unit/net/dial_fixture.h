/* dial_fixture.h - connections that the gateway opens, beside fixture.h; their fate is watched through cw_dial_status(). */
#ifndef CW_TEST_NET_DIAL_FIXTURE_H
#define CW_TEST_NET_DIAL_FIXTURE_H

#include "fixture.h"
#include "net/dial.h"

static struct cw_dial *dials[4];

static inline struct cw_dial_conf dial_conf(const char *to)
{
	return (struct cw_dial_conf){ .name = "plc7", .to = to, .retry_min_ms = 10, .retry_max_ms = 40, .connect_ms = 2000 };
}

static inline struct cw_dial *dial(const struct cw_dial_conf *conf)
{
	struct cw_listener_env env = fx_env();
	struct cw_dial *d = NULL;
	struct cw_msg msg = { "" };
	int i;

	if (cw_dial_new(conf, &env, &msg, &d) < 0)
		fail_msg("%s", msg.text);
	for (i = 0; dials[i] != NULL; i++)
		;
	dials[i] = d;
	return d;
}

static inline struct cw_dial_status dial_status(struct cw_dial *d)
{
	struct cw_dial_status st;

	cw_dial_status(d, &st);
	return st;
}

/* Asked for again and again, for a connection has nobody to tell. */
#define dial_wait(d, st, cond)                                                                              \
	do {                                                                                                \
		struct timespec dial_step = { 0, 2000000 };                                                 \
		int dial_n = 0;                                                                             \
		while (st = dial_status(d), !(cond)) {                                                      \
			if (++dial_n > FX_PATIENCE_S * 500)                                                 \
				fail_msg("waited in vain for: %s; %s, %s", #cond, cw_dial_state_name(st.state), st.last_error); \
			nanosleep(&dial_step, NULL);                                                        \
		}                                                                                           \
	} while (0)

static inline void dial_close(struct cw_dial *d)
{
	int before = fx.gone, i;

	for (i = 0; i < 4; i++)
		if (dials[i] == d)
			dials[i] = NULL;
	cw_dial_close(d, CW_ECLOSED, "the test is over", fx_on_gone, NULL);
	fx_wait(fx.gone == before + 1);
}

static inline int dial_teardown(void **state)
{
	int i;

	for (i = 0; i < 4; i++)
		if (dials[i] != NULL)
			dial_close(dials[i]);
	return fx_teardown(state);
}

#endif
