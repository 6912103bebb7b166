/* view.c - what the API shows: devices, messages, the stream of them, counters. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cloud/api/api.h"
#include "cloud/core/stock/clients.h"
#include "cloud/core/traffic/msglog.h"

#define LIMIT_DEFAULT 1000u

/* ---- devices ---- */

static json_t *summary(const struct cw_cloud *c, const struct cloud_device *d)
{
	const struct cloud_link *l = d->link;
	json_t *j = json_pack("{s:s, s:s, s:s, s:s?, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "productKey", d->product->key,
	                      "deviceName", d->dn, "iotId", d->iot_id, "nickname", d->nickname, "nodeType",
	                      cw_cloud_node_name(d->product->type), "status",
	                      cw_cloud_device_status(c, d), "created", (json_int_t)d->created_ms, "active",
	                      (json_int_t)d->active_ms, "lastOnline", (json_int_t)d->online_ms, "lastOffline",
	                      (json_int_t)d->offline_ms, "up", (json_int_t)d->up, "down", (json_int_t)d->down, "dropped",
	                      (json_int_t)d->dropped);

	if (d->gateway != NULL)
		json_object_set_new(j, "gateway", json_string(d->gateway->id));
	if (cw_cloud_is_online(d))
		json_object_set_new(j, "session", json_pack("{s:s, s:s, s:b, s:b, s:s?, s:s?, s:I}", "channel", l->ops->channel,
		                    "address", l->peer, "tls", l->tls, "websocket", l->websocket, "clientId", d->client_id, "gateway",
		                    l->owner != d ? l->owner->id : NULL, "duration",
		                    (json_int_t)(cw_cloud_wall_ms(c) - d->online_ms)));
	return j;
}

#define DEVICES_DEFAULT 1000u

static int device_passes(struct api_call *a, const struct cloud_device *d)
{
	const char *search = cw_http_query(a->req, "search"), *product = cw_http_query(a->req, "product");
	const char *status = cw_http_query(a->req, "status");

	return (search == NULL || strcasestr(d->id, search) != NULL) && (product == NULL || strcmp(d->product->key, product) == 0) &&
	       (status == NULL || strcmp(cw_cloud_device_status(a->cloud, d), status) == 0);
}

/* In the order of their creation, a page at a time: `offset` of those that pass, at most `limit`. */
void cw_cloud_api_devices(struct api_call *a)
{
	const char *offset = cw_http_query(a->req, "offset"), *limit = cw_http_query(a->req, "limit");
	size_t skip = offset != NULL ? strtoul(offset, NULL, 10) : 0, room = limit != NULL ? strtoul(limit, NULL, 10) : DEVICES_DEFAULT;
	json_t *list = json_array();
	size_t total = 0;
	struct cw_list *e;

	cw_list_each(e, &a->cloud->device_list) {
		const struct cloud_device *d = cw_container_of(e, struct cloud_device, all);

		if (!device_passes(a, d))
			continue;
		if (total >= skip && json_array_size(list) < room)
			json_array_append_new(list, summary(a->cloud, d));
		total++;
	}
	cw_cloud_api_json(a->req, 200, json_pack("{s:o, s:I}", "devices", list, "total", (json_int_t)total));
}

static json_t *refusals(const struct cloud_device *d)
{
	unsigned n = d->refusal_count < CLOUD_REFUSALS ? d->refusal_count : CLOUD_REFUSALS, i;
	json_t *list = json_array();

	for (i = d->refusal_count - n; i < d->refusal_count; i++)
		json_array_append_new(list, json_pack("{s:I, s:i, s:s}", "time", (json_int_t)d->refusal[i % CLOUD_REFUSALS].ms,
		                      "code", d->refusal[i % CLOUD_REFUSALS].code, "reason",
		                      d->refusal[i % CLOUD_REFUSALS].reason));
	return list;
}

static const char *const doc_names[] = {
#define CLOUD_DOC_NAME(sym, name) #name,
	CLOUD_DOCS(CLOUD_DOC_NAME)
#undef CLOUD_DOC_NAME
};

void cw_cloud_api_device(struct api_call *a)
{
	struct cloud_device *d = a->device;
	json_t *j = summary(a->cloud, d), *children = json_array(), *subs = json_array();
	struct cw_list *e;
	unsigned i;

	cw_list_each(e, &d->children)
		json_array_append_new(children, json_string(cw_container_of(e, struct cloud_device, sibling)->id));
	for (i = 0; i < d->sub_count; i++)
		json_array_append_new(subs, json_string(d->subs[i].filter));
	json_object_set_new(j, "subDevices", children);
	json_object_set_new(j, "subscriptions", subs);
	json_object_set_new(j, "systemTopics", json_boolean(d->ss));
	json_object_set_new(j, "stored", json_integer(d->stored_count));
	json_object_set_new(j, "refused", refusals(d));
	json_object_set_new(j, "clients", cw_cloud_clients_list(d));
	for (i = 0; i < CLOUD_DOC_COUNT; i++)
		json_object_set(j, doc_names[i], cw_cloud_doc(d, (enum cloud_doc)i));
	cw_cloud_api_json(a->req, 200, j);
}

static json_t *classes_of(const struct cloud_product *p)
{
	json_t *list = json_array();
	struct cw_list *e;

	cw_list_each(e, &p->classes) {
		const struct cloud_class *k = cw_container_of(e, struct cloud_class, link);

		json_array_append_new(list, json_pack("{s:s, s:s}", "topic", k->pattern, "permission",
		                      k->publish && k->subscribe ? "both" : k->publish ? "publish" : "subscribe"));
	}
	return list;
}

void cw_cloud_api_products(struct api_call *a)
{
	json_t *list = json_array();
	struct cw_map_node *n;

	cw_map_each(n, &a->cloud->products) {
		const struct cloud_product *p = cw_container_of(n, struct cloud_product, node);

		json_array_append_new(list, json_pack("{s:s, s:s?, s:s, s:s, s:s, s:I, s:b, s:o}", "productKey", p->key, "name",
		                      p->name, "nodeType", cw_cloud_node_name(p->type), "format", p->raw ? "raw" : "alink",
		                      "authentication", p->x509 ? "x509" : "secret", "devices", (json_int_t)p->device_count,
		                      "registration", p->registration, "topics", classes_of(p)));
	}
	cw_cloud_api_json(a->req, 200, json_pack("{s:o}", "products", list));
}

/* ---- messages ---- */

static struct cloud_log_filter filter_of(struct cw_http_req *req)
{
	const char *since = cw_http_query(req, "since"), *direction = cw_http_query(req, "direction");
	struct cloud_log_filter f = { .device = cw_http_query(req, "device"), .topic = cw_http_query(req, "topic") };

	f.since = since != NULL ? strtoull(since, NULL, 10) : 0;
	f.direction = direction == NULL ? 0 : strcmp(direction, "up") == 0 ? 1 : 2;
	return f;
}

static int direction_valid(struct cw_http_req *req)
{
	const char *direction = cw_http_query(req, "direction");

	return direction == NULL || strcmp(direction, "up") == 0 || strcmp(direction, "down") == 0;
}

void cw_cloud_api_messages(struct api_call *a)
{
	struct cloud_log_filter f = filter_of(a->req);
	const char *limit = cw_http_query(a->req, "limit");

	if (!direction_valid(a->req)) {
		cw_cloud_api_error(a->req, 400, "direction: up or down");
		return;
	}
	cw_cloud_api_json(a->req, 200, json_pack("{s:I, s:o}", "newest", (json_int_t)cw_cloud_log_newest(a->cloud->log),
	                  "messages", cw_cloud_log_list(a->cloud->log, &f,
	                                                limit != NULL ? strtoul(limit, NULL, 10) : LIMIT_DEFAULT)));
}

/* A follower: one line of server-sent events a message. */
struct follower {
	struct cloud_log_listener listener;
	struct cw_http_req *req;
	struct cw_cloud *cloud;
	struct cw_timer beat; /* a comment now and then, so that a client that left is noticed */
	char *device, *topic;
	struct cloud_log_filter filter;
};

#define BEAT_MS 15000u

static void follower_free(struct follower *f)
{
	cw_list_remove(&f->listener.link);
	if (cw_worker_timers(f->cloud->worker) != NULL)
		cw_timer_stop(cw_worker_timers(f->cloud->worker), &f->beat);
	cw_free(f->device);
	cw_free(f->topic);
	cw_free(f);
}

static void on_follower_gone(void *arg)
{
	follower_free(arg);
}

static void write_event(struct follower *f, const struct cloud_log_entry *e)
{
	json_t *j = cw_cloud_log_json(e);
	char *text = json_dumps(j, JSON_COMPACT);
	int rc = text == NULL ? CW_ENOMEM : 0;

	json_decref(j);
	if (rc == 0)
		rc = cw_http_stream_write(f->req, "data: ", 6);
	if (rc == 0)
		rc = cw_http_stream_write(f->req, text, strlen(text));
	if (rc == 0)
		rc = cw_http_stream_write(f->req, "\n\n", 2);
	free(text);
	if (rc < 0) { /* reads too slowly: better ended than with holes */
		cw_http_stream_end(f->req);
		follower_free(f);
	}
}

static void on_added(struct cloud_log_listener *l, const struct cloud_log_entry *e)
{
	struct follower *f = cw_container_of(l, struct follower, listener);

	if (cw_cloud_log_passes(e, &f->filter))
		write_event(f, e);
}

static void on_beat(struct cw_timer *t)
{
	struct follower *f = cw_container_of(t, struct follower, beat);

	(void)cw_http_stream_write(f->req, ":\n\n", 3);
	cw_timer_set(cw_worker_timers(f->cloud->worker), &f->beat, BEAT_MS, on_beat);
}

void cw_cloud_api_stream(struct api_call *a)
{
	struct follower *f = direction_valid(a->req) ? cw_zalloc(sizeof(*f)) : NULL;

	if (f == NULL) {
		cw_cloud_api_error(a->req, 400, "direction: up or down");
		return;
	}
	f->req = a->req;
	f->cloud = a->cloud;
	f->filter = filter_of(a->req);
	f->filter.since = 0;
	f->device = f->filter.device != NULL ? cw_strdup(f->filter.device) : NULL;
	f->topic = f->filter.topic != NULL ? cw_strdup(f->filter.topic) : NULL;
	f->filter.device = f->device;
	f->filter.topic = f->topic;
	f->listener.added = on_added;
	cw_cloud_log_listen(a->cloud->log, &f->listener);
	cw_http_on_gone(a->req, on_follower_gone, f);
	cw_http_stream(a->req, "text/event-stream");
	on_beat(&f->beat); /* the first bytes: now every message is seen */
}

/* ---- counters ---- */

void cw_cloud_api_stats(struct api_call *a)
{
	const struct cloud_stats *s = &a->cloud->stats;
	const struct {
		const char *name;
		uint64_t value;
	} list[] = {
#define STAT_ROW(field, name) { name, s->field },
		CLOUD_STATS(STAT_ROW)
#undef STAT_ROW
	};
	json_t *j = json_object();
	unsigned online = 0, links = 0;
	struct cw_list *e;
	size_t i;

	for (i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		json_object_set_new(j, list[i].name, json_integer((json_int_t)list[i].value));
	cw_list_each(e, &a->cloud->device_list)
		online += cw_cloud_device_online(a->cloud, cw_container_of(e, struct cloud_device, all)) != 0;
	cw_list_each(e, &a->cloud->links)
		links++;
	json_object_set_new(j, "online", json_integer(online));
	json_object_set_new(j, "connections", json_integer(links));
	json_object_set_new(j, "products", json_integer((json_int_t)a->cloud->products.count));
	json_object_set_new(j, "devices", json_integer((json_int_t)a->cloud->devices.count));
	json_object_set_new(j, "limits", json_string(a->cloud->conf.limits.documented ? "documented" : "off"));
	json_object_set_new(j, "uptime", json_integer((json_int_t)(cw_cloud_wall_ms(a->cloud) - a->cloud->started_ms)));
	cw_cloud_api_json(a->req, 200, j);
}
