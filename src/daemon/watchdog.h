/*
 * watchdog.h - a thread that looks whether a decoder has come back.
 *
 * A plugin in this process cannot be interrupted: when one does not return for
 * `limit_ms`, its protocol, device, peer and frame are logged and the process aborts,
 * so that a supervisor starts it again. 0 switches it off.
 */
#ifndef CW_DAEMON_WATCHDOG_H
#define CW_DAEMON_WATCHDOG_H

#include "gateway/gateway.h"

struct cw_watchdog;

int cw_watchdog_start(struct cw_gateway *g, uint64_t limit_ms, struct cw_watchdog **ret_watchdog);
/* Before the workers end. Accepts NULL. */
void cw_watchdog_stop(struct cw_watchdog *w);

#endif
