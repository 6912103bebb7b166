/* thread.c - see thread.h. */
#include "loop/thread.h"

#include <signal.h>
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/stat.h"

static void *thread_main(void *arg)
{
	struct cw_thread *t = arg;
	struct cw_stat_block *block = cw_zalloc(sizeof(*block));

	pthread_setname_np(pthread_self(), t->name);
	if (block != NULL) /* without one the thread counts into the shared block */
		cw_stat_thread(block);
	t->run(t->arg);
	cw_stat_thread_gone();
	cw_free(block);
	return NULL;
}

int cw_thread_start(struct cw_thread *t, const char *name, void (*run)(void *arg), void *arg)
{
	sigset_t all, before;
	int rc;

	(void)snprintf(t->name, sizeof(t->name), "%s", name);
	t->run = run;
	t->arg = arg;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&t->id, NULL, thread_main, t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	t->started = rc == 0;
	return cw_err_from_errno(rc);
}

void cw_thread_join(struct cw_thread *t)
{
	if (!t->started)
		return;
	pthread_join(t->id, NULL);
	t->started = 0;
}
