/* watchdog.c - see watchdog.h. */
#include "daemon/watchdog.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "loop/thread.h"

struct cw_watchdog {
	struct cw_thread thread;
	struct cw_gateway *gateway;
	uint64_t limit_ms;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	int stop;
};

static void look(struct cw_watchdog *w)
{
	char who[1200];

	if (!cw_gateway_stuck(w->gateway, w->limit_ms, who, sizeof(who)))
		return;
	cw_log(plugin_stuck, who, CW_LU("limitMs", w->limit_ms));
	abort();
}

static void run(void *arg)
{
	struct cw_watchdog *w = arg;

	pthread_mutex_lock(&w->lock);
	while (!w->stop) {
		struct timespec until;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += 1;
		if (pthread_cond_timedwait(&w->wake, &w->lock, &until) != 0 && !w->stop)
			look(w);
	}
	pthread_mutex_unlock(&w->lock);
}

int cw_watchdog_start(struct cw_gateway *g, uint64_t limit_ms, struct cw_watchdog **ret_watchdog)
{
	struct cw_watchdog *w;
	int rc;

	*ret_watchdog = NULL;
	if (limit_ms == 0)
		return 0;
	w = cw_zalloc(sizeof(*w));
	if (w == NULL)
		return CW_ENOMEM;
	w->gateway = g;
	w->limit_ms = limit_ms;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	rc = cw_thread_start(&w->thread, "watchdog", run, w);
	if (rc < 0) {
		cw_free(w);
		return rc;
	}
	*ret_watchdog = w;
	return 0;
}

void cw_watchdog_stop(struct cw_watchdog *w)
{
	if (w == NULL)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = 1;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	cw_thread_join(&w->thread);
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->wake);
	cw_free(w);
}
