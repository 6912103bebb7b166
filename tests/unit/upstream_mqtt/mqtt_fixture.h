/*
 * mqtt_fixture.h - an upstream of type mqtt, a home worker for its parcels, and the
 * scripted peer of tests/lib/mini_platform.py: real sockets, real Paho. Included by
 * one test program at a time.
 */
#ifndef CW_TESTS_MQTT_FIXTURE_H
#define CW_TESTS_MQTT_FIXTURE_H

#include <fcntl.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "causeway/command.h"
#include "causeway/decoder.h"
#include "causeway/record.h"
#include "peer.h"
#include "upstream/mqtt/mqtt.h"
#include "upstream/upstream.h"

#define PK "a1Product01"
#define DEVICES 40

struct device {
	struct cw_updevice *d;
	char name[16];
	enum cw_updevice_state state;
	int code, told, removed;
};

static struct {
	struct cw_worker *control, *home;
	struct cw_upstream *u;
	struct peer peer;
	struct device devices[DEVICES];
	int up, ups, done;
	char reason[300];
	struct cw_downlink *command;
	int replies, reply_code;
	char reply_request[64];
	atomic_int settled[4], settled_code;
	atomic_int home_settled;
} t;

static void on_state(void *ctx, struct cw_upstream *u, int up, const char *reason)
{
	t.up = up;
	t.ups += up;
	snprintf(t.reason, sizeof(t.reason), "%s", reason);
}

static void on_device(void *ctx, void *cookie, enum cw_updevice_state state, int code, const char *text)
{
	struct device *d = cookie;

	d->state = state;
	d->code = code;
	d->told++;
}

static void on_command(void *ctx, struct cw_downlink *d)
{
	assert_null(t.command);
	t.command = d;
}

static void on_reply(void *ctx, void *cookie, const char *request, int code, struct cw_bytes data)
{
	t.replies++;
	t.reply_code = code;
	snprintf(t.reply_request, sizeof(t.reply_request), "%s", request);
}

static void on_removed(void *ctx, void *cookie)
{
	((struct device *)cookie)->removed = 1;
}

static const struct cw_upstream_events events = { on_state, on_device, on_command, on_reply, on_removed };

static struct cw_upstream_conf conf_of(const char *endpoint)
{
	return (struct cw_upstream_conf){
		.name = "cloud",
		.kind = &cw_connector_mqtt,
		.endpoint = endpoint,
		.product_key = "a1Gateway01",
		.device_name = "gw-1",
		.device_secret = "gwsecret",
		.keep_alive_s = 300,
		.ack_timeout_ms = 8000,
		.queue_bytes = 1 << 20,
		.queue_bytes_device = 1 << 18,
		.in_flight = 100,
		.login_batch = 5,
		.max_devices = 1500,
		.retry_min_ms = 50,
		.retry_max_ms = 400,
		.qos = 1,
		.post_version = 1,
		.dedup_window_s = 60,
	};
}

static char endpoint[64];
static struct cw_upstream_conf conf;
static long live_before;

/* Start the scripted platform and point the settings to it. */
static void open_peer(const char *where, const char *certificate, const char *key, const char *client_ca)
{
	const char *line;

	peer_start(&t.peer, cw_worker_loop(t.control), certificate, key, client_ca);
	line = peer_expect(&t.peer, "\"ev\":\"port\"", "");
	assert_non_null(line);
	snprintf(endpoint, sizeof(endpoint), "%s:%d", where, atoi(strrchr(line, ':') + 1));
	conf = conf_of(endpoint);
}

static int setup(void **state)
{
	memset(&t, 0, sizeof(t));
	live_before = cw_mem_live();
	assert_int_equal(cw_worker_new("control", 0, &t.control), 0);
	assert_int_equal(cw_worker_new("home", 1, &t.home), 0);
	assert_int_equal(cw_worker_start(t.home), 0);
	open_peer("tcp://127.0.0.1", NULL, NULL, NULL);
	return 0;
}

static void start(void)
{
	struct cw_msg msg = { "" };

	assert_int_equal(cw_upstream_new(&conf, t.control, &events, NULL, &t.u, &msg), 0);
	assert_int_equal(cw_upstream_start(t.u), 0);
}

static void on_done(void *arg)
{
	t.done = 1;
}

static int teardown(void **state)
{
	if (t.u != NULL) {
		cw_upstream_stop(t.u, 0, on_done, NULL);
		WAIT(t.done);
		cw_upstream_free(t.u);
	}
	cw_worker_stop(t.home, NULL, NULL);
	cw_worker_join(t.home);
	cw_worker_free(t.home);
	cw_worker_free(t.control);
	peer_stop(&t.peer);
	return cw_mem_live() == live_before ? 0 : -1;
}

__attribute__((unused)) static struct device *add(int i)
{
	struct device *d = &t.devices[i];
	char line[160];

	snprintf(d->name, sizeof(d->name), "dev-%03d", i);
	snprintf(line, sizeof(line), "{\"do\":\"device\",\"key\":\"" PK "/%s\",\"secret\":\"secret-%d\"}", d->name, i);
	peer_do(&t.peer, line);
	snprintf(line, sizeof(line), "secret-%d", i);
	assert_int_equal(cw_upstream_device_add(t.u, PK, d->name, line, d, &d->d), 0);
	return d;
}

__attribute__((unused)) static struct device *add_online(int i)
{
	struct device *d = add(i);

	cw_upstream_device_want(d->d, 1);
	WAIT(d->state == CW_UPDEVICE_ONLINE);
	return d;
}

/* On the home worker. */
static void on_settled(struct cw_parcel *p)
{
	t.settled[p->result]++;
	if (p->code != 0)
		t.settled_code = p->code;
	cw_parcel_unref(p);
	atomic_fetch_add(&t.home_settled, 1);
}

static struct cw_parcel *parcel(struct device *d, struct cw_writer *w)
{
	struct cw_parcel *p;

	cw_record_end(w);
	assert_false(w->overflow);
	p = cw_parcel_new(w->len);
	memcpy(p->bytes, w->ptr, w->len);
	p->home = t.home;
	p->device = d->d;
	p->settled = on_settled;
	p->want_answer = 1;
	return p;
}

__attribute__((unused)) static struct cw_parcel *reading(struct device *d, int n, const char *dedup, const char *request)
{
	uint8_t buf[400];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));

	cw_record_begin(&w, CW_KIND_PROPERTIES);
	cw_record_time(&w, 1700000000000 + n);
	if (dedup != NULL)
		cw_record_dedup(&w, cw_bytes_text(dedup));
	if (request != NULL)
		cw_record_request(&w, request);
	cw_record_body(&w);
	cw_field_int(&w, "n", n);
	cw_field_decimal(&w, "temperature", 1230, -2);
	cw_put_end(&w);
	return parcel(d, &w);
}

__attribute__((unused)) static void submit(struct cw_parcel *p)
{
	assert_int_equal(cw_upstream_submit(p), 0);
}

__attribute__((unused)) static int violations(void)
{
	return peer_count(&t.peer, "\"ev\":\"violation\"", "");
}

__attribute__((unused)) static void push(const char *topic, const char *json_payload)
{
	char line[1500];

	snprintf(line, sizeof(line), "{\"do\":\"push\",\"topic\":\"%s\",\"payload\":\"%s\"}", topic, json_payload);
	peer_do(&t.peer, line);
}

#endif
