/*
 * thread.h - every thread of ours starts here: named, signals blocked, counters registered.
 */
#ifndef CW_LOOP_THREAD_H
#define CW_LOOP_THREAD_H

#include <pthread.h>

struct cw_thread {
	pthread_t id;
	char name[16];
	void (*run)(void *arg);
	void *arg;
	int started;
};

/* Start `run(arg)` on a thread of its own. `t` must live until cw_thread_join(). 0 or an error. */
int cw_thread_start(struct cw_thread *t, const char *name, void (*run)(void *arg), void *arg);
/* Wait for its end; harmless when it was never started. */
void cw_thread_join(struct cw_thread *t);

#endif
