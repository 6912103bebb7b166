/*
 * broker.c - the connection to the broker, and the devices on it.
 *
 * One normal run: start -> connect, with the bridge's offline as last will -> CONNACK 0
 * -> subscribe to commands, say that the bridge is online, then each device that is
 * wanted -> records go (up.c). One failing run: as in mqtt.c; devices are offline with
 * the connection, the lane takes back what was unconfirmed and sends it again over the
 * next one, in order.
 */
#include "upstream/broker/broker.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "causeway/command.h"

#define CONNECT_TIMEOUT_S 15
#define SAYING_MOST 200u     /* states under way at once */
#define UNSAID_MOST 1000u    /* answers kept for the next connection */
#define ROOM_AT_CLIENT 2000u /* messages beside the window: states and answers */
#define STOP_MS 2000u        /* for the last states */

static void connect_now(struct broker *b);
static void tell_states(struct broker *b);

static struct cw_timers *timers(struct broker *b)
{
	return cw_worker_timers(b->u->w);
}

static uint64_t now_of(struct broker *b)
{
	return cw_worker_now(b->u->w);
}

/* ---- messages of our own --------------------------------------------------------- */

struct said {
	struct cw_mqtt_token token;
	struct cw_list link; /* in `unsaid` */
	struct broker *b;
	int keep, retain;
	size_t len;
	char *topic; /* behind the text */
	char text[];
};

static void drop_said(struct said *s)
{
	if (s->keep)
		cw_count(upstream, answers_lost);
	cw_free(s);
}

static void keep_unsaid(struct said *s)
{
	struct broker *b = s->b;

	if (!s->keep || b->stopping || b->unsaid_count >= UNSAID_MOST) {
		drop_said(s);
		return;
	}
	cw_list_push_back(&b->unsaid, &s->link);
	b->unsaid_count++;
}

static void on_said(struct cw_mqtt_token *t)
{
	struct said *s = cw_container_of(t, struct said, token);
	struct broker *b = s->b;

	b->saying--;
	if (t->rc == 0) {
		if (s->keep)
			cw_count(upstream, answers);
		cw_free(s);
	} else if (t->rc == CW_EREFUSED) {
		cw_log(upstream_odd, "the broker refused a state or an answer", CW_LS("upstream", b->u->conf.name),
		       CW_LS("topic", s->topic), CW_LI("code", t->code));
		drop_said(s);
	} else {
		keep_unsaid(s);
	}
	tell_states(b);
}

static int say(struct said *s)
{
	struct broker *b = s->b;
	int rc;

	if (b->link != LINK_UP && b->link != LINK_LEAVING)
		return CW_ECLOSED;
	rc = b->ops->publish(b->client, s->topic, cw_bytes_of(s->text, s->len), 1, s->retain, &s->token);
	if (rc == 0)
		b->saying++;
	return rc;
}

int broker_say(struct broker *b, const char *topic, struct cw_bytes text, int retain, int keep)
{
	size_t n = strlen(topic) + 1;
	struct said *s = cw_zalloc(sizeof(*s) + text.len + n);
	int rc;

	if (s == NULL)
		return CW_ENOMEM;
	cw_list_init(&s->link);
	s->b = b;
	s->keep = keep;
	s->retain = retain;
	s->len = text.len;
	s->topic = s->text + text.len;
	s->token.done = on_said;
	if (text.len > 0)
		memcpy(s->text, text.ptr, text.len);
	memcpy(s->topic, topic, n);
	rc = say(s);
	if (rc == 0)
		return 0;
	if (keep && (rc == CW_ECLOSED || rc == CW_EBUSY)) {
		keep_unsaid(s);
		return 0;
	}
	cw_free(s);
	return rc;
}

static void say_unsaid(struct broker *b)
{
	struct cw_list *e;

	while ((e = cw_list_pop(&b->unsaid)) != NULL) {
		struct said *s = cw_container_of(e, struct said, link);
		int rc = say(s);

		b->unsaid_count--;
		if (rc == CW_EBUSY || rc == CW_ECLOSED) {
			cw_list_push_front(&b->unsaid, &s->link);
			b->unsaid_count++;
			return;
		}
		if (rc < 0)
			drop_said(s);
	}
}

static int say_bridge(struct broker *b, const char *state)
{
	return b->bridge_topic[0] == '\0' ? 0 : broker_say(b, b->bridge_topic, cw_bytes_text(state), 1, 0);
}

/* ---- devices ------------------------------------------------------------------------ */

/* A device's name that is not fit for a topic costs its state message, not the device. */
static int say_device(struct broker *b, struct cw_updevice *d, const char *state)
{
	struct broker_vars vars = { 0 };
	char topic[BROKER_TOPIC_MOST];
	int rc;

	if (b->own->state[0] == '\0')
		return 0;
	if (b->saying >= SAYING_MOST)
		return CW_EBUSY;
	vars.of[BROKER_PRODUCT_KEY] = cw_bytes_text(d->product_key);
	vars.of[BROKER_DEVICE_NAME] = cw_bytes_text(d->device_name);
	rc = broker_template_fill(b->own->state, &vars, topic, sizeof(topic));
	return rc < 0 ? 0 : broker_say(b, topic, cw_bytes_text(state), 1, 0);
}

static int needed(const struct cw_updevice *d)
{
	return (d->wanted || d->lane.records > 0) && !d->removing;
}

static unsigned online_count(const struct broker *b)
{
	return (unsigned)atomic_load_explicit(&b->u->devices_online, memory_order_relaxed);
}

/* States that waited for room, the departed first: a device may be in both turns one after the other. */
static void tell_states(struct broker *b)
{
	struct cw_list *e;

	while ((b->link == LINK_UP || b->link == LINK_LEAVING) && (e = cw_list_first(&b->leaving)) != NULL) {
		struct broker_device *bd = cw_container_of(e, struct broker_device, link);

		if (say_device(b, bd->d, "offline") == CW_EBUSY)
			return;
		cw_list_remove(&bd->link);
	}
	if (b->link == LINK_LEAVING && b->saying == 0 && cw_timer_armed(&b->stop_timer))
		cw_timer_set(timers(b), &b->stop_timer, 0, b->stop_timer.fire);
	while (b->link == LINK_UP && (e = cw_list_first(&b->coming)) != NULL) {
		struct broker_device *bd = cw_container_of(e, struct broker_device, link);

		if (say_device(b, bd->d, "online") == CW_EBUSY)
			return;
		cw_list_remove(&bd->link);
		bd->online = bd->was_online = 1;
		cw_updevice_report(bd->d, CW_UPDEVICE_ONLINE, CW_CODE_OK, "online");
	}
}

static void first_seen(struct cw_updevice *d)
{
	struct broker_device *bd = broker_device_of(d);

	if (bd->d == NULL)
		cw_list_init(&bd->link);
	bd->d = d;
}

static void come(struct broker *b, struct cw_updevice *d)
{
	struct broker_device *bd = broker_device_of(d);

	if (b->link != LINK_UP || bd->online || !needed(d))
		return;
	if (online_count(b) >= b->u->conf.max_devices) {
		cw_updevice_report(d, CW_UPDEVICE_REFUSED, CW_CODE_BUSY,
				   "maxDevices of this upstream are online already");
		return;
	}
	cw_list_remove(&bd->link);
	cw_list_push_back(&b->coming, &bd->link);
	tell_states(b);
}

static void go(struct broker *b, struct cw_updevice *d, const char *why)
{
	struct broker_device *bd = broker_device_of(d);

	cw_list_remove(&bd->link);
	if (!bd->online)
		return;
	bd->online = 0;
	cw_updevice_report(d, CW_UPDEVICE_OFFLINE, CW_CODE_OK, why);
	cw_list_push_back(&b->leaving, &bd->link);
	tell_states(b);
}

static void device_drained(void *connector, struct cw_updevice *d)
{
	if (!needed(d) && !d->removing)
		go(connector, d, "gone");
}

static void device_changed(void *connector, struct cw_updevice *d)
{
	struct broker *b = connector;

	first_seen(d);
	if (d->removing) {
		go(b, d, "removed");
		cw_list_remove(&broker_device_of(d)->link); /* if its state found no room, it stays as it is */
		cw_updevice_gone(d);
	} else if (needed(d)) {
		come(b, d);
	} else {
		device_drained(b, d);
	}
}

/* The connection is new: what the broker keeps about a device that left meanwhile is wrong. */
static void show(struct broker *b, struct cw_updevice *d)
{
	struct broker_device *bd = broker_device_of(d);

	first_seen(d);
	if (needed(d))
		come(b, d);
	else if (bd->was_online)
		cw_list_push_back(&b->leaving, &bd->link);
}

static void all_devices_down(struct broker *b, const char *why)
{
	struct cw_map_node *n;

	cw_map_each (n, &b->u->devices) {
		struct cw_updevice *d = cw_container_of(n, struct cw_updevice, node);
		struct broker_device *bd = broker_device_of(d);

		if (bd->d == NULL)
			continue;
		cw_list_remove(&bd->link);
		if (bd->online || d->state == CW_UPDEVICE_ONLINE)
			cw_updevice_report(d, CW_UPDEVICE_OFFLINE, 0, why);
		bd->online = 0;
	}
}

/* ---- connection ------------------------------------------------------------------------ */

static void on_retry(struct cw_timer *t)
{
	connect_now(cw_container_of(t, struct broker, retry_timer));
}

void broker_link_lost(struct broker *b, const char *why)
{
	int was_up = b->link == LINK_UP;

	if (b->link == LINK_CLOSING)
		return;
	b->link = LINK_CLOSING;
	b->retry_ms = cw_retry_down(&b->retry, now_of(b));
	if (was_up) {
		cw_count(upstream, disconnects);
		all_devices_down(b, why);
	} else {
		cw_count(upstream, connect_failed);
	}
	if (!b->stopping) {
		cw_log(upstream_down, why, CW_LS("upstream", b->u->conf.name), CW_LU("retry_ms", b->retry_ms));
		if (cw_retry_is_twin(&b->retry))
			cw_log(upstream_twin, "closed right after each login: does another client have the same clientId? Waiting longer each time",
			       CW_LS("upstream", b->u->conf.name), CW_LU("times", b->retry.short_lived));
		cw_upstream_report(b->u, 0, why);
	}
	if (b->client != NULL)
		b->ops->close(b->client, 0);
}

static void wait_and_retry(struct broker *b)
{
	b->link = LINK_WAITING;
	cw_timer_set(timers(b), &b->retry_timer, b->retry_ms, on_retry);
}

static void on_gone(void *ctx)
{
	struct broker *b = ctx;

	b->client = NULL;
	if (b->stopping) {
		cw_timer_stop(timers(b), &b->stop_timer);
		cw_upstream_stopped(b->u);
	} else {
		wait_and_retry(b);
	}
}

static void on_connected(void *ctx, int code, const char *text)
{
	struct broker *b = ctx;
	struct cw_map_node *n;

	if (code != 0) {
		(void)snprintf(b->reason, sizeof(b->reason), "%s:%d: %s%s", b->host, b->port,
			       code > 0 ? "the broker refused the connection: " : "", text);
		broker_link_lost(b, b->reason);
		return;
	}
	b->link = LINK_UP;
	cw_retry_up(&b->retry, now_of(b));
	cw_count(upstream, connects);
	cw_log(upstream_up, "connected", CW_LS("upstream", b->u->conf.name), CW_LS("client", b->client_id));
	cw_upstream_report(b->u, 1, "connected");
	broker_subscribe(b);
	(void)say_bridge(b, "online");
	say_unsaid(b);
	cw_map_each (n, &b->u->devices)
		show(b, cw_container_of(n, struct cw_updevice, node));
	tell_states(b);
}

static void on_down(void *ctx, const char *text)
{
	broker_link_lost(ctx, text);
}

static void on_message(void *ctx, struct cw_bytes topic, struct cw_bytes payload, int qos, int retained)
{
	broker_message(ctx, topic, payload, retained);
}

static void on_subscribed(void *ctx, void *arg, int refused)
{
	struct broker *b = ctx;

	if (refused == 0)
		return;
	cw_log(upstream_odd,
	       refused < 0 ? "a SUBSCRIBE was not answered" : "the broker refused the subscription to commands",
	       CW_LS("upstream", b->u->conf.name));
	cw_upstream_note_error(b->u, "the broker refused the subscription to commands: none will come");
}

static const struct cw_mqtt_events client_events = { on_connected, on_down, on_message, on_subscribed, on_gone };

static void connect_now(struct broker *b)
{
	const struct cw_upstream_conf *c = &b->u->conf;
	struct cw_mqtt_conf conf = { .host = b->host,
				     .port = b->port,
				     .tls = b->tls,
				     .verify = c->verify,
				     .ca = c->ca,
				     .certificate = c->certificate,
				     .key = c->key,
				     .client_id = b->client_id,
				     .user = b->own->user,
				     .password = b->own->password,
				     .keep_alive_s = c->keep_alive_s,
				     .connect_timeout_s = CONNECT_TIMEOUT_S,
				     .attempt = b->retry.failures,
				     .outstanding = c->in_flight + ROOM_AT_CLIENT,
				     .mqtt5 = b->own->version == 1,
				     .clean_session = b->own->clean_session,
				     .will_topic = b->bridge_topic[0] != '\0' ? b->bridge_topic : NULL,
				     .will = cw_bytes_text("offline"),
				     .will_qos = 1,
				     .will_retain = 1 };
	char text[200];

	b->link = LINK_CONNECTING;
	cw_log(upstream_connecting, "connecting", CW_LS("upstream", c->name), CW_LS("host", b->host),
	       CW_LI("port", b->port));
	if (b->ops->connect(&conf, b->u->w, &client_events, b, text, sizeof(text), &b->client) == 0)
		return;
	b->client = NULL;
	broker_link_lost(b, text);
	wait_and_retry(b);
}

static void start(void *connector)
{
	struct broker *b = connector;

	if (!b->stopping)
		connect_now(b);
}

/* All states are told, or there was time enough for it. */
static void on_last_state(struct cw_timer *t)
{
	struct broker *b = cw_container_of(t, struct broker, stop_timer);

	(void)say_bridge(b, "offline");
	b->link = LINK_CLOSING;
	b->ops->close(b->client, 1);
}

static void stop(void *connector)
{
	struct broker *b = connector;
	struct cw_map_node *n;

	if (b->stopping)
		return;
	cw_timer_stop(timers(b), &b->retry_timer);
	b->stopping = 1;
	if (b->client == NULL) {
		b->link = LINK_CLOSING;
		cw_upstream_stopped(b->u);
		return;
	}
	if (b->link != LINK_UP) {
		b->link = LINK_CLOSING;
		b->ops->close(b->client, 0);
		return;
	}
	b->link = LINK_LEAVING;
	cw_timer_set(timers(b), &b->stop_timer, STOP_MS, on_last_state);
	cw_map_each (n, &b->u->devices) {
		struct cw_updevice *d = cw_container_of(n, struct cw_updevice, node);

		first_seen(d);
		go(b, d, "the gateway stops");
	}
	cw_upstream_report(b->u, 0, "the gateway stops");
	tell_states(b);
}

static int create(struct cw_upstream *u, void **ret_connector, struct cw_msg *msg)
{
	struct broker *b;
	int rc;

	if (u->conf.own == NULL)
		return cw_fail(msg, CW_ECONF, "the settings of an upstream of type broker are missing");
	b = cw_zalloc(sizeof(*b));
	if (b == NULL)
		return CW_ENOMEM;
	b->u = u;
	b->own = u->conf.own;
	b->ops = cw_mqtt_client(b->own->client);
	cw_list_init(&b->coming);
	cw_list_init(&b->leaving);
	cw_list_init(&b->unsaid);
	rc = broker_settings_take(b, msg);
	if (rc < 0) {
		cw_free(b);
		return rc;
	}
	cw_retry_init(&b->retry, u->conf.retry_min_ms, u->conf.retry_max_ms,
		      (uint32_t)cw_hash_stable(b->client_id, strlen(b->client_id)));
	cw_await_init(&b->ids, u->w, 0, NULL);
	*ret_connector = b;
	return 0;
}

static void destroy(void *connector)
{
	struct broker *b = connector;
	struct cw_list *e;

	while ((e = cw_list_pop(&b->unsaid)) != NULL)
		drop_said(cw_container_of(e, struct said, link));
	cw_await_fini(&b->ids);
	cw_free(b);
}

const struct cw_connector_ops cw_connector_broker = {
	.type = "broker",
	.endpoint = &broker_endpoint_form,
	.device_size = sizeof(struct broker_device),
	.can = CW_CAN_DOWNLINK,
	.without_bridge = 1,
	.configure = broker_configure,
	.create = create,
	.destroy = destroy,
	.start = start,
	.stop = stop,
	.device_changed = device_changed,
	.send = broker_send,
	.recall = broker_recall,
	.drained = device_drained,
	.answer = broker_answer,
};
