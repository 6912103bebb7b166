/*
 * notify.h - tells the service manager how far we are (sd_notify(3): datagrams of KEY=value
 * to the socket named by NOTIFY_SOCKET). Without that variable nothing happens. On the
 * control loop of a program, whose life the watchdog's messages prove.
 */
#ifndef CW_LOOP_NOTIFY_H
#define CW_LOOP_NOTIFY_H

#include "loop/worker.h"

struct cw_notify {
	struct cw_worker *control;
	struct cw_timer timer;
	uint64_t every_ms; /* half of WATCHDOG_USEC; 0: nobody watches */
	int fd;            /* -1: nobody listens */
};

/* Take the variables from the environment, so that no child has them, and begin to keep the watchdog quiet. */
void cw_notify_open(struct cw_notify *n, struct cw_worker *control);
void cw_notify_close(struct cw_notify *n);
/* "READY=1\nSTATUS=.." and the like. */
void cw_notify_say(struct cw_notify *n, const char *what);

#endif
