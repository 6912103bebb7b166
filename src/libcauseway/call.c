/* call.c - the life of one public call, from any thread to its one outcome. See lib.h. */
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "libcauseway/lib.h"
#include "upstream/parcel.h"

int lib_enter(struct cw_bridge *b, struct lib **ret_lib)
{
	struct lib *l = cw_bridge_ctx(b);

	atomic_fetch_add(&l->inside, 1);
	if (atomic_load(&l->closing)) {
		atomic_fetch_sub(&l->inside, 1);
		return CW_ECLOSED;
	}
	*ret_lib = l;
	return 0;
}

void lib_leave(struct lib *l)
{
	atomic_fetch_sub(&l->inside, 1);
}

/* UTF-8 is checked by who reads the sources; here only what no text may have. */
static int identity_ok(const char *identity)
{
	size_t i;

	for (i = 0; identity[i] != '\0'; i++)
		if ((unsigned char)identity[i] < 0x20 || identity[i] == 0x7f || i == CW_BRIDGE_IDENTITY_MAX)
			return 0;
	return i > 0;
}

int lib_call(struct lib *l, const char *identity, const struct cw_bridge_wait *wait, struct call **ret_call)
{
	struct call *c;

	if (identity == NULL || !identity_ok(identity))
		return CW_EINVAL;
	if (atomic_fetch_add(&l->open, 1) >= CW_BRIDGE_CALLS_MAX) {
		atomic_fetch_sub(&l->open, 1);
		return CW_EBUSY;
	}
	c = cw_zalloc(sizeof(*c));
	if (c == NULL) {
		atomic_fetch_sub(&l->open, 1);
		return CW_ENOMEM;
	}
	c->lib = l;
	if (wait != NULL)
		c->wait = *wait;
	cw_list_init(&c->link);
	(void)snprintf(c->identity, sizeof(c->identity), "%s", identity);
	*ret_call = c;
	return 0;
}

void lib_call_drop(struct call *c)
{
	if (c->parcel != NULL)
		cw_parcel_unref(c->parcel);
	cw_free(c->topic);
	atomic_fetch_sub(&c->lib->open, 1);
	cw_free(c);
}

void lib_call_arm(struct call *c, unsigned timeout_ms, void (*late)(struct cw_timer *t))
{
	if (timeout_ms > 0)
		cw_timer_set(cw_worker_timers(c->lib->control), &c->deadline, timeout_ms, late);
}

void lib_call_tell(struct call *c, int rc, int32_t code, const char *text)
{
	struct cw_bridge_outcome outcome = { rc, code, text != NULL && text[0] != '\0' ? text : cw_error_text(rc) };

	if (!c->told) {
		c->told = 1;
		cw_list_remove(&c->link);
		cw_timer_stop(cw_worker_timers(c->lib->control), &c->deadline);
		if (c->wait.done != NULL)
			c->wait.done(c->wait.arg, &outcome);
	}
	if (!c->flying)
		lib_call_drop(c);
}
