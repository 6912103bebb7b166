/* worker.c - see worker.h. */
#include "loop/worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/mem.h"
#include "loop/thread.h"

struct cw_worker {
	uv_loop_t loop;
	struct cw_mailbox box;
	struct cw_timers *timers;
	struct cw_thread thread;
	struct cw_mail stop_mail;
	void (*stopping)(void *arg);
	void *stopping_arg;
	_Atomic(pthread_t) here;
	atomic_int runs;
	int released;
	unsigned index;
	char name[16];
};

int cw_err_from_uv(int rc)
{
	if (rc >= 0)
		return 0;
	switch (rc) {
	case UV_EOF: return CW_ECLOSED;
	case UV_EAI_AGAIN: case UV_EAI_FAIL: case UV_EAI_NODATA: case UV_EAI_NONAME: return CW_EUNREACH;
	default: return cw_err_from_errno(-rc);
	}
}

int cw_worker_new(const char *name, unsigned index, struct cw_worker **ret_worker)
{
	struct cw_worker *w = cw_zalloc(sizeof(*w));
	int rc;

	if (w == NULL)
		return CW_ENOMEM;
	(void)snprintf(w->name, sizeof(w->name), "%s", name);
	w->index = index;
	rc = cw_err_from_uv(uv_loop_init(&w->loop));
	if (rc < 0)
		goto err_worker;
	rc = cw_mailbox_open(&w->box, &w->loop);
	if (rc < 0)
		goto err_loop;
	rc = cw_timers_new(&w->loop, &w->timers);
	if (rc < 0)
		goto err_box;
	*ret_worker = w;
	return 0;
err_box:
	cw_mailbox_close(&w->box, NULL);
	uv_run(&w->loop, UV_RUN_DEFAULT);
err_loop:
	uv_loop_close(&w->loop);
err_worker:
	cw_free(w);
	return rc;
}

void cw_worker_run(struct cw_worker *w)
{
	atomic_store(&w->here, pthread_self());
	atomic_store(&w->runs, 1);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	atomic_store(&w->runs, 0);
}

static void thread_run(void *arg)
{
	cw_worker_run(arg);
}

int cw_worker_start(struct cw_worker *w)
{
	return cw_thread_start(&w->thread, w->name, thread_run, w);
}

static void on_stop(struct cw_mail *mail)
{
	struct cw_worker *w = cw_container_of(mail, struct cw_worker, stop_mail);

	if (w->stopping != NULL)
		w->stopping(w->stopping_arg);
	else
		cw_worker_release(w);
}

void cw_worker_stop(struct cw_worker *w, void (*stopping)(void *arg), void *arg)
{
	w->stopping = stopping;
	w->stopping_arg = arg;
	cw_post(w, &w->stop_mail, on_stop);
}

void cw_worker_release(struct cw_worker *w)
{
	if (w->released)
		return;
	w->released = 1;
	cw_mailbox_close(&w->box, NULL);
	cw_timers_close(w->timers);
	w->timers = NULL;
}

void cw_worker_join(struct cw_worker *w)
{
	cw_thread_join(&w->thread);
}

void cw_worker_free(struct cw_worker *w)
{
	if (w == NULL)
		return;
	cw_worker_release(w);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	cw_invariant(uv_loop_close(&w->loop) == 0);
	cw_free(w);
}

uv_loop_t *cw_worker_loop(struct cw_worker *w)
{
	return &w->loop;
}

struct cw_timers *cw_worker_timers(struct cw_worker *w)
{
	return w->timers;
}

unsigned cw_worker_index(const struct cw_worker *w)
{
	return w->index;
}

uint64_t cw_worker_now(struct cw_worker *w)
{
	return uv_now(&w->loop);
}

int cw_worker_here(const struct cw_worker *w)
{
	/* Before the loop runs its owner may touch it freely. */
	return !atomic_load(&((struct cw_worker *)(uintptr_t)w)->runs) ||
	       pthread_equal(atomic_load(&((struct cw_worker *)(uintptr_t)w)->here), pthread_self());
}

void cw_post(struct cw_worker *to, struct cw_mail *mail, void (*deliver)(struct cw_mail *mail))
{
	mail->deliver = deliver;
	cw_mailbox_post(&to->box, mail);
}
