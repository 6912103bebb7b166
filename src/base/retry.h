/*
 * retry.h - how long to wait before trying again: doubling between two bounds, with
 * jitter so that a thousand gateways do not come back in the same second.
 */
#ifndef CW_BASE_RETRY_H
#define CW_BASE_RETRY_H

#include <stdint.h>

/* A connection that ends sooner than this after its login did not work, whatever the CONNACK said. */
#define CW_RETRY_STABLE_MS 20000u
/* That often in a row and it is taken for a twin with the same identity. */
#define CW_RETRY_TWIN 3u

struct cw_retry {
	uint64_t min_ms, max_ms;
	uint64_t next_ms; /* the delay before jitter */
	unsigned failures;
	unsigned short_lived; /* connections in a row that were closed right after their login */
	uint64_t up_since_ms; /* 0: not up */
	uint64_t stable_ms; /* a connection that lasted so long did work; CW_RETRY_STABLE_MS unless changed after init */
	uint32_t seed;
};

void cw_retry_init(struct cw_retry *r, uint64_t min_ms, uint64_t max_ms, uint32_t seed);
/* A login was accepted. The delay is forgotten only once the connection has lasted. */
void cw_retry_up(struct cw_retry *r, uint64_t now_ms);
/* An attempt failed or a connection ended: the delay until the next attempt. */
uint64_t cw_retry_down(struct cw_retry *r, uint64_t now_ms);
/* Everything works: start from the least delay. */
void cw_retry_reset(struct cw_retry *r);
/* 1 when connections keep being closed right after their login. */
int cw_retry_is_twin(const struct cw_retry *r);

#endif
