/*
 * worker.h - one worker is one thread with one loop, a mailbox and deadlines.
 *
 * The control loop is a worker too; it runs on the main thread by cw_worker_run().
 * Life: new -> (register handles) -> start or run -> stop -> join -> free.
 */
#ifndef CW_LOOP_WORKER_H
#define CW_LOOP_WORKER_H

#include <uv.h>

#include "base/err.h"
#include "loop/mailbox.h"
#include "loop/timer.h"

struct cw_worker;

int cw_worker_new(const char *name, unsigned index, struct cw_worker **ret_worker);
/* Run the loop on a thread of its own. */
int cw_worker_start(struct cw_worker *w);
/* Run the loop on the calling thread until stopped and all handles are closed. */
void cw_worker_run(struct cw_worker *w);
/*
 * From any thread, once: `stopping(arg)` runs on the worker to close what it owns; the loop
 * ends when its last handle is gone. After `stopping` returned, mails still arrive until
 * the owner calls cw_worker_release() on the worker's thread.
 */
void cw_worker_stop(struct cw_worker *w, void (*stopping)(void *arg), void *arg);
/* On the worker's own thread: nothing more will be posted; closes mailbox and deadlines. */
void cw_worker_release(struct cw_worker *w);
void cw_worker_join(struct cw_worker *w);
void cw_worker_free(struct cw_worker *w);

uv_loop_t *cw_worker_loop(struct cw_worker *w);
struct cw_timers *cw_worker_timers(struct cw_worker *w);
unsigned cw_worker_index(const struct cw_worker *w);
/* Loop time in milliseconds, monotonic, cached once per pass. */
uint64_t cw_worker_now(struct cw_worker *w);
/* 1 when called on the worker's own thread. */
int cw_worker_here(const struct cw_worker *w);

/* From any thread: hand a mail over; see mailbox.h. */
void cw_post(struct cw_worker *to, struct cw_mail *mail, void (*deliver)(struct cw_mail *mail));

/* A libuv error (negative) as one of ours. */
int cw_err_from_uv(int rc);

#endif
