/* delay.c - see delay.h. */
#include "cloud/core/fault/delay.h"

#include <string.h>

#include "base/mem.h"
#include "cloud/core/model/script.h"

#define DELAYED_MAX 10000u /* a reply more goes at once */

struct delayed {
	struct cw_list link;
	struct cw_timer timer;
	struct cw_cloud *cloud;
	char *device, *topic; /* topic NULL: through the script of a raw product */
	unsigned serial; /* a namesake made anew must not get it */
	json_t *body;
	unsigned flags;
};

static void delayed_free(struct delayed *d)
{
	cw_list_remove(&d->link);
	d->cloud->delayed_count--;
	if (cw_worker_timers(d->cloud->worker) != NULL)
		cw_timer_stop(cw_worker_timers(d->cloud->worker), &d->timer);
	json_decref(d->body);
	cw_free(d->device);
	cw_free(d->topic);
	cw_free(d);
}

static void on_due(struct cw_timer *t)
{
	struct delayed *d = cw_container_of(t, struct delayed, timer);
	const char *slash = strchr(d->device, '/');
	struct cloud_device *to = cw_cloud_device_find(d->cloud, d->device, (size_t)(slash - d->device), slash + 1,
	                                               strlen(slash + 1));

	if (to != NULL && to->serial == d->serial) {
		if (d->topic != NULL)
			cw_cloud_send_json(d->cloud, to, d->topic, d->body, 0, d->flags);
		else
			cw_cloud_raw_reply(d->cloud, to, d->body);
		d->body = NULL;
	}
	delayed_free(d);
}

void cw_cloud_delay(struct cw_cloud *c, struct cloud_device *to, const char *topic, json_t *body, unsigned flags, unsigned ms)
{
	struct delayed *d = c->delayed_count < DELAYED_MAX ? cw_zalloc(sizeof(*d)) : NULL;

	if (d == NULL) {
		cw_cloud_send_json(c, to, topic, body, 0, flags);
		return;
	}
	d->cloud = c;
	d->body = body;
	d->flags = flags;
	d->serial = to->serial;
	d->device = cw_strdup(to->id);
	d->topic = topic != NULL ? cw_strdup(topic) : NULL;
	cw_list_push_back(&c->delayed, &d->link);
	c->delayed_count++;
	if (d->device == NULL || (topic != NULL && d->topic == NULL))
		delayed_free(d);
	else
		cw_timer_set(cw_worker_timers(c->worker), &d->timer, ms, on_due);
}

void cw_cloud_delay_drop(struct cw_cloud *c)
{
	struct cw_list *e, *n;

	cw_list_each_safe(e, n, &c->delayed)
		delayed_free(cw_container_of(e, struct delayed, link));
}
