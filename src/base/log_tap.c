/* log_tap.c - see log_tap.h. */
#include "base/log_tap.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"

struct cw_log_tap {
	struct cw_list link;
	size_t size, first, count;
	uint64_t dropped;
	struct cw_log_line lines[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* all below, and every tap */
static struct cw_list taps = { &taps, &taps };
static atomic_int tap_count;

int cw_log_tap_new(size_t lines, struct cw_log_tap **ret_tap)
{
	struct cw_log_tap *tap = cw_zalloc(sizeof(*tap) + lines * sizeof(tap->lines[0]));

	if (tap == NULL)
		return CW_ENOMEM;
	tap->size = lines;
	pthread_mutex_lock(&lock);
	cw_list_push_back(&taps, &tap->link);
	pthread_mutex_unlock(&lock);
	atomic_fetch_add(&tap_count, 1);
	*ret_tap = tap;
	return 0;
}

void cw_log_tap_free(struct cw_log_tap *tap)
{
	if (tap == NULL)
		return;
	pthread_mutex_lock(&lock);
	cw_list_remove(&tap->link);
	pthread_mutex_unlock(&lock);
	atomic_fetch_sub(&tap_count, 1);
	cw_free(tap);
}

size_t cw_log_tap_take(struct cw_log_tap *tap, struct cw_log_line *out, size_t most, uint64_t *ret_dropped)
{
	size_t n = 0;

	pthread_mutex_lock(&lock);
	while (n < most && tap->count > 0) {
		out[n++] = tap->lines[tap->first];
		tap->first = (tap->first + 1) % tap->size;
		tap->count--;
	}
	*ret_dropped = tap->dropped;
	tap->dropped = 0;
	pthread_mutex_unlock(&lock);
	return n;
}

int cw_log_tapped(void)
{
	return atomic_load_explicit(&tap_count, memory_order_relaxed) > 0;
}

static void put(struct cw_log_tap *tap, enum cw_log_id id, int64_t utc_ms, const char *text, size_t len)
{
	struct cw_log_line *l;
	size_t i;

	if (tap->count == tap->size) {
		tap->dropped++;
		return;
	}
	l = &tap->lines[(tap->first + tap->count++) % tap->size];
	l->id = id;
	l->utc_ms = utc_ms;
	for (i = 0; i < len && i < sizeof(l->text) - 1; i++)
		l->text[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?'; /* a cut character would be no text any more */
	l->text[i] = '\0';
}

void cw_log_tap_write(enum cw_log_id id, int64_t utc_ms, const char *text, size_t len)
{
	struct cw_list *e;

	pthread_mutex_lock(&lock);
	cw_list_each (e, &taps)
		put(cw_container_of(e, struct cw_log_tap, link), id, utc_ms, text, len);
	pthread_mutex_unlock(&lock);
}
