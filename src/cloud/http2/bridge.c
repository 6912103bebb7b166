/* bridge.c - the identity behind connections: its devices, net id, mode, subscriptions; see conn.h. */
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "base/digits.h"
#include "base/log.h"
#include "cloud/core/stock/stock.h"
#include "cloud/http2/conn.h"

#define PRESUME_MS 5000u /* from a login without any subscription to taking it to have both */
#define SEARCH_MS 1000u  /* all devices are looked through for a net id this often at most */

static struct h2_bridge *bridge_of(struct cloud_link *l)
{
	return cw_container_of(l, struct h2_bridge, link);
}

static void net_id_of(const struct cloud_device *d, char out[H2_NET_ID + 1])
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	char text[128];
	int n = snprintf(text, sizeof(text), "%s&%s", d->product->key, d->dn);

	(void)SHA256((const unsigned char *)text, (size_t)n, digest);
	cw_hex(out, cw_bytes_of(digest, H2_NET_ID / 2));
}

int cw_cloud_h2_is_large(const struct h2_bridge *b)
{
	return b->device->bridge_mode == CLOUD_BRIDGE_LARGE;
}

/* ---- the core's side ---- */

/* A broadcast reaches the bridge once for each of its devices; it goes out once. */
static int is_repeated_cast(struct h2_bridge *b, const struct cloud_msg *msg)
{
	uint64_t now = cw_worker_now(b->front->cloud->worker), hash = 1469598103934665603u;
	size_t n = msg->topic_len + 1 + msg->len, i;
	int repeated;

	for (i = 0; i < n; i++)
		hash = (hash ^ (uint8_t)msg->topic[i]) * 1099511628211u;
	repeated = b->cast_ms == now && b->cast_hash == hash;
	b->cast_ms = now;
	b->cast_hash = hash;
	return repeated;
}

static void on_push(struct cloud_link *l, struct cloud_device *to, struct cloud_msg *msg, int dup)
{
	struct h2_bridge *b = bridge_of(l);
	int cast = strncmp(msg->topic, "/broadcast/", 11) == 0;
	struct cloud_bytes body = { NULL, 0, 0 };
	char id[24];

	if (cast && is_repeated_cast(b, msg))
		return;
	cw_cloud_next_id(b->front->cloud, id);
	if (cw_cloud_envelope_write(&body, id, cast ? NULL : to->product->key, to->dn, msg->topic,
				    cw_cloud_msg_payload(msg), msg->len) == 0)
		cw_cloud_h2_queue(b, msg->qos != 0 ? H2_QUEUE_QOS1 : H2_QUEUE_QOS0, body.data, body.len,
				  cast ? 0 : to->serial, dup);
	else
		b->front->cloud->stats.undeliverable++;
	cw_cloud_bytes_free(&body);
}

/* The platform is not known to tell a bridge; by a switch it does. */
static void on_tell(struct cloud_link *l, const struct cloud_device *about, int code)
{
	struct h2_bridge *b = bridge_of(l);
	struct cw_cloud *c = b->front->cloud;
	struct cloud_bytes body = { NULL, 0, 0 };
	char id[24], topic[128], payload[320];
	int n;

	if (!c->conf.switches.bridge_kicks || code == 520) /* 520 was the publish's own answer */
		return;
	cw_cloud_next_id(c, id);
	(void)snprintf(topic, sizeof(topic), "/ext/error/%s", b->device->id);
	n = snprintf(payload, sizeof(payload),
		     "{\"id\":\"%s\",\"code\":%d,\"message\":\"%s\",\"data\":{\"productKey\":\"%s\","
		     "\"deviceName\":\"%s\"}}",
		     id, code, cw_cloud_code_text(code), about->product->key, about->dn);
	if (cw_cloud_envelope_write(&body, id, about->product->key, about->dn, topic, payload, (size_t)n) == 0)
		cw_cloud_h2_queue(b, H2_QUEUE_QOS0, body.data, body.len, 0, 0);
	cw_cloud_bytes_free(&body);
}

static void on_forget(struct cloud_link *l, struct cloud_device *member, int store)
{
	struct h2_bridge *b = bridge_of(l);

	if (!b->front->stopping)
		member->bridged = 0;
	/* What a lost connection left unacknowledged is repeated after the next login. */
	if (!b->losing && !b->front->stopping)
		cw_cloud_h2_forget(b, member->serial);
}

static void on_recheck(struct cloud_link *l)
{
	struct cw_list *e, *n;

	cw_list_each_safe (e, n, &bridge_of(l)->conns)
		cw_cloud_stream_recheck(&cw_container_of(e, struct h2_conn, in_bridge)->stream);
}

static void on_cut(struct cloud_link *l, const char *reason)
{
	struct h2_bridge *b = bridge_of(l);
	struct cw_list *e;

	while ((e = cw_list_first(&b->conns)) != NULL)
		cw_cloud_stream_drop(&cw_container_of(e, struct h2_conn, in_bridge)->stream, reason);
}

/* The core has let go: the identity was disabled, deleted, kicked, or is online in another way. */
static void on_close(struct cloud_link *l, const char *reason)
{
	on_cut(l, reason);
	cw_cloud_h2_bridge_free(bridge_of(l));
}

const struct cloud_link_ops cw_cloud_h2_link_ops = {
	.channel = "http2",
	.push = on_push,
	.close = on_close,
	.recheck = on_recheck,
	.forget = on_forget,
	.tell = on_tell,
	.cut = on_cut,
};

/* ---- envelope ids that were taken ---- */

struct h2_seen {
	struct cw_map_node node;
	struct cw_list link;
	uint64_t at_ms;
	char id[];
};

/* Oldest first, until those kept are not older than `age_ms` and not more than `most`. */
static void forget_seen(struct h2_bridge *b, uint64_t age_ms, unsigned most)
{
	uint64_t now = cw_cloud_now_ms(b->front->cloud);
	struct cw_list *e;

	while ((e = cw_list_first(&b->seen_order)) != NULL) {
		struct h2_seen *s = cw_container_of(e, struct h2_seen, link);

		if (b->seen_count <= most && now - s->at_ms <= age_ms)
			return;
		cw_list_remove(e);
		cw_map_remove(&b->seen, &s->node);
		b->seen_count--;
		cw_free(s);
	}
}

int cw_cloud_h2_seen(struct h2_bridge *b, const char *id)
{
	if (!b->front->cloud->conf.switches.bridge_drop_repeats)
		return 0;
	forget_seen(b, H2_SEEN_MS, H2_SEEN_MAX);
	return cw_map_find(&b->seen, id, strlen(id)) != NULL;
}

/* Short of memory it is not noted, and a repetition taken twice: what the switch's default does. */
void cw_cloud_h2_note(struct h2_bridge *b, const char *id)
{
	size_t len = strlen(id);
	struct h2_seen *s;

	if (!b->front->cloud->conf.switches.bridge_drop_repeats || len > 64)
		return;
	s = cw_alloc(sizeof(*s) + len + 1);
	if (s == NULL)
		return;
	*s = (struct h2_seen){ .at_ms = cw_cloud_now_ms(b->front->cloud) };
	memcpy(s->id, id, len + 1);
	if (cw_map_add(&b->seen, &s->node, s->id, len) < 0) {
		cw_free(s);
		return;
	}
	cw_list_push_back(&b->seen_order, &s->link);
	b->seen_count++;
}

/* ---- making and unmaking ---- */

static int topics(struct h2_bridge *b, const char *topic, int **ret_flag)
{
	char own[96];
	int n = snprintf(own, sizeof(own), "/sys/%s/bridge/", b->device->id);

	if (strncmp(topic, own, (size_t)n) != 0)
		return CW_EINVAL;
	if (strcmp(topic + n, "push") == 0)
		*ret_flag = &b->sub_push;
	else if (strcmp(topic + n, "offline_reply") == 0)
		*ret_flag = &b->sub_offline;
	else
		return CW_EINVAL;
	return 0;
}

/* Devices that were online through it when the emulator ended; only a large bridge has such. */
static void restore_members(struct h2_bridge *b)
{
	struct cw_list *e, *n;

	cw_list_each_safe (e, n, &b->device->children) {
		struct cloud_device *d = cw_container_of(e, struct cloud_device, sibling);
		char client_id[256];

		if (!d->bridged)
			continue;
		(void)snprintf(client_id, sizeof(client_id), "%s", d->client_id != NULL ? d->client_id : "");
		if (d->link == NULL && !d->disabled) {
			int marked = d->changed.next != NULL && !cw_list_empty(&d->changed);

			cw_cloud_h2_member_up(b, d, client_id);
			/* It is as the file has it: 200,000 of them written at once would hold everybody up. */
			if (!marked)
				cw_list_remove(&d->changed);
		} else if (d->link != &b->link)
			d->bridged = 0;
	}
}

struct h2_bridge *cw_cloud_h2_bridge(struct h2_front *f, struct cloud_device *d)
{
	struct h2_bridge *b;
	int *flag;
	unsigned i;

	if (d->link != NULL && d->link->ops == &cw_cloud_h2_link_ops && d->link->owner == d)
		return bridge_of(d->link);
	b = cw_zalloc(sizeof(*b));
	if (b == NULL)
		return NULL;
	b->front = f;
	b->device = d;
	net_id_of(d, b->net_id);
	cw_list_init(&b->conns);
	cw_list_init(&b->seen_order);
	cw_map_init(&b->seen);
	for (i = 0; i < H2_QUEUE_COUNT; i++)
		cw_list_init(&b->queue[i]);
	if (cw_map_add(&f->nets, &b->node, b->net_id, H2_NET_ID) < 0) {
		cw_free(b);
		return NULL;
	}
	cw_list_push_back(&f->bridges, &b->all);
	cw_cloud_link_init(f->cloud, &b->link, &cw_cloud_h2_link_ops, 1);
	b->link.bridge = 1;
	b->link.keep_alive_ms = H2_IDLE_MS;
	cw_cloud_link_adopt(f->cloud, &b->link, d);
	for (i = 0; i < d->sub_count; i++) {
		if (topics(b, d->subs[i].filter, &flag) == 0)
			*flag = 1;
	}
	cw_cloud_h2_set_mode(b, d->bridge_mode);
	if (cw_cloud_h2_is_large(b))
		restore_members(b);
	return b;
}

void cw_cloud_h2_bridge_free(struct h2_bridge *b)
{
	if (cw_cloud_h2_timers(b->front->cloud) != NULL)
		cw_timer_stop(cw_cloud_h2_timers(b->front->cloud), &b->presume);
	cw_cloud_h2_clear(b);
	forget_seen(b, 0, 0);
	cw_map_fini(&b->seen);
	cw_map_remove(&b->front->nets, &b->node);
	cw_list_remove(&b->all);
	cw_list_remove(&b->due);
	cw_cloud_link_fini(&b->link);
	cw_free(b);
}

void cw_cloud_h2_restore(struct h2_front *f)
{
	struct cw_list *e;

	cw_list_each (e, &f->cloud->device_list) {
		struct cloud_device *d = cw_container_of(e, struct cloud_device, all);

		if (d->bridge_mode == CLOUD_BRIDGE_LARGE && d->link == NULL && !d->disabled)
			(void)cw_cloud_h2_bridge(f, d);
	}
}

/* The library keeps the net id for ever, so a bridge that has not come back to a restarted emulator is looked for. */
struct h2_bridge *cw_cloud_h2_bridge_by_net(struct h2_front *f, const char *net_id)
{
	struct cw_map_node *n = cw_map_find(&f->nets, net_id, strlen(net_id));
	uint64_t now = cw_worker_now(f->cloud->worker);
	char one[H2_NET_ID + 1];
	struct cw_list *e;

	if (n != NULL)
		return cw_container_of(n, struct h2_bridge, node);
	if (strlen(net_id) != H2_NET_ID || (f->searched_ms != 0 && now - f->searched_ms < SEARCH_MS))
		return NULL;
	f->searched_ms = now != 0 ? now : 1;
	cw_list_each (e, &f->cloud->device_list) {
		struct cloud_device *d = cw_container_of(e, struct cloud_device, all);

		if (d->product->type == CLOUD_NODE_SUBDEVICE || d->disabled || d->link != NULL)
			continue;
		net_id_of(d, one);
		if (strcmp(one, net_id) == 0)
			return cw_cloud_h2_bridge(f, d);
	}
	return NULL;
}

/* ---- connections ---- */

static void on_presume(struct cw_timer *t)
{
	struct h2_bridge *b = cw_container_of(t, struct h2_bridge, presume);
	char topic[96];

	if (b->sub_push || b->sub_offline)
		return;
	(void)snprintf(topic, sizeof(topic), "/sys/%s/bridge/push", b->device->id);
	(void)cw_cloud_h2_subscribe(b, topic);
	(void)snprintf(topic, sizeof(topic), "/sys/%s/bridge/offline_reply", b->device->id);
	(void)cw_cloud_h2_subscribe(b, topic);
}

void cw_cloud_h2_join(struct h2_bridge *b, struct h2_conn *x, const char *client_id, int clear)
{
	struct cw_cloud *c = b->front->cloud;
	struct cloud_login login = { .client_id = client_id, .client_id_len = strlen(client_id) };

	if (b->conn_count == H2_CONNS_MAX)
		cw_cloud_h2_goodbye(cw_container_of(cw_list_first(&b->conns), struct h2_conn, in_bridge),
				    NGHTTP2_NO_ERROR, "replaced");
	cw_list_push_back(&b->conns, &x->in_bridge);
	b->conn_count++;
	x->bridge = b;
	x->state = H2_UP;
	memcpy(b->link.peer, x->stream.peer, sizeof(b->link.peer));
	if (b->link.resting)
		cw_cloud_link_wake(c, &b->link, &login);
	if (clear)
		cw_cloud_h2_clear(b);
	if (!b->sub_push && !b->sub_offline)
		cw_timer_set(cw_cloud_h2_timers(c), &b->presume, PRESUME_MS, on_presume);
	cw_cloud_stream_recheck(&x->stream);
	cw_cloud_h2_pump_soon(b);
}

void cw_cloud_h2_part(struct h2_conn *x, const char *reason)
{
	struct h2_bridge *b = x->bridge;
	uint64_t half_ms;
	struct cw_list *e;

	if (b == NULL)
		return;
	x->bridge = NULL;
	cw_list_remove(&x->in_bridge);
	b->conn_count--;
	x->bridge = b; /* its pushes go back there */
	cw_cloud_h2_pushes_back(x);
	x->bridge = NULL;
	if (b->conn_count != 0) {
		cw_cloud_h2_pump_soon(b);
		return;
	}
	if (b->link.owner == NULL || b->link.resting) /* the core has let go already */
		return;
	b->losing = 1;
	half_ms = x->farewell ? 0 : cw_cloud_now_ms(b->front->cloud) + b->link.keep_alive_ms;
	while (!cw_cloud_h2_is_large(b) && (e = cw_list_first(&b->link.members)) != NULL) {
		struct cloud_device *d = cw_container_of(e, struct cloud_device, member);

		cw_cloud_member_down(b->front->cloud, d, 0);
		d->half_until_ms = half_ms;
	}
	b->losing = 0;
	b->link.goodbye = x->farewell;
	cw_cloud_link_rest(b->front->cloud, &b->link, reason);
}

/* ---- what it asks for ---- */

int cw_cloud_h2_subscribe(struct h2_bridge *b, const char *topic)
{
	int *flag = NULL, rc = topics(b, topic, &flag);

	if (rc < 0)
		return rc;
	*flag = 1;
	(void)cw_cloud_subscribe(b->front->cloud, &b->link, topic, strlen(topic), 1);
	cw_cloud_h2_pump_soon(b);
	return 0;
}

void cw_cloud_h2_set_mode(struct h2_bridge *b, int mode)
{
	const struct cloud_limits *limits = &b->front->cloud->conf.limits;
	struct cw_list *e;

	if (b->device->bridge_mode != mode) {
		b->device->bridge_mode = mode;
		cw_cloud_changed(b->front->cloud, b->device);
		cw_list_each (e, &b->link.members) {
			struct cloud_device *d = cw_container_of(e, struct cloud_device, member);

			d->bridged = cw_cloud_h2_is_large(b);
			cw_cloud_changed(b->front->cloud, d);
		}
	}
	b->link.members_max = cw_cloud_h2_is_large(b) ? limits->members_large : limits->members_small;
}

void cw_cloud_h2_member_up(struct h2_bridge *b, struct cloud_device *d, const char *client_id)
{
	struct cw_cloud *c = b->front->cloud;
	struct cloud_login login = { .client_id = client_id, .client_id_len = strlen(client_id), .clean = 1 };

	if (d->link == &b->link)
		return;
	if (d->link != NULL)
		cw_cloud_device_kick(c, d, 427, "logged in through a bridge");
	if (d->gateway != b->device)
		cw_cloud_relate(b->device, d);
	d->bridged = cw_cloud_h2_is_large(b);
	cw_cloud_member_up(c, &b->link, d, &login);
	cw_cloud_link_ready(c, d);
}
