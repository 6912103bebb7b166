/*
 * state.h - what decoders keep for their devices (authentication codes, alarm bits), in SQLite.
 *
 * Read once at start; from then on answers come from memory and changes are written
 * by a thread of their own, many to a transaction. Losing the last 50 ms in a power
 * cut costs a device a new registration, nothing more. All calls on the control loop.
 */
#ifndef CW_STORE_STATE_H
#define CW_STORE_STATE_H

#include "base/err.h"
#include "causeway/bytes.h"
#include "loop/worker.h"

struct cw_state;

/* Open (or make) `dir`/devices.db and read it. Errors carry a sentence. */
int cw_state_open(const char *dir, struct cw_state **ret_state, struct cw_msg *msg);
/* What is kept for an identity, lent until the next put or close; empty when nothing is. */
struct cw_bytes cw_state_get(void *state, const char *identity, size_t len);
/* Keep `bytes` instead; none: forget. */
void cw_state_put(void *state, const char *identity, size_t len, struct cw_bytes bytes);
/* The store thread, for whatever else is kept in SQLite; it ends with cw_state_close(). */
struct cw_worker *cw_state_thread(struct cw_state *s);
/* Write what is left and close. Accepts NULL. */
void cw_state_close(struct cw_state *s);

#endif
