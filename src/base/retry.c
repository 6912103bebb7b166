/* retry.c - see retry.h. */
#include "base/retry.h"

void cw_retry_init(struct cw_retry *r, uint64_t min_ms, uint64_t max_ms, uint32_t seed)
{
	r->min_ms = min_ms == 0 ? 1 : min_ms;
	r->max_ms = max_ms < r->min_ms ? r->min_ms : max_ms;
	r->stable_ms = CW_RETRY_STABLE_MS;
	r->seed = seed | 1u;
	r->up_since_ms = 0;
	cw_retry_reset(r);
}

void cw_retry_reset(struct cw_retry *r)
{
	r->next_ms = r->min_ms;
	r->failures = 0;
	r->short_lived = 0;
}

void cw_retry_up(struct cw_retry *r, uint64_t now_ms)
{
	r->up_since_ms = now_ms == 0 ? 1 : now_ms;
}

/* Between three quarters and five quarters of `ms`. */
static uint64_t jitter(struct cw_retry *r, uint64_t ms)
{
	r->seed ^= r->seed << 13;
	r->seed ^= r->seed >> 17;
	r->seed ^= r->seed << 5;
	return ms - ms / 4 + (ms / 2) * (r->seed % 1024) / 1024;
}

uint64_t cw_retry_down(struct cw_retry *r, uint64_t now_ms)
{
	uint64_t delay;

	if (r->up_since_ms != 0 && now_ms - r->up_since_ms >= r->stable_ms)
		cw_retry_reset(r);
	else if (r->up_since_ms != 0)
		r->short_lived++;
	r->up_since_ms = 0;
	r->failures++;
	delay = jitter(r, r->next_ms);
	r->next_ms = r->next_ms * 2 < r->max_ms ? r->next_ms * 2 : r->max_ms;
	return delay;
}

int cw_retry_is_twin(const struct cw_retry *r)
{
	return r->short_lived >= CW_RETRY_TWIN;
}
