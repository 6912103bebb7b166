/*
 * A bridge on one thread: the upstream is real but never started, so what it would say the test says; owners are structs
 * that note what they are told.
 */
#ifndef CW_TEST_BRIDGE_FIXTURE_H
#define CW_TEST_BRIDGE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "bridge/bridge_impl.h"
#include "causeway/command.h"
#include "causeway/decoder.h"
#include "upstream/device.h"
#include "upstream/kinds.h"

static struct {
	struct cw_worker *control;
	struct cw_bridge *bridge;
	int leaves, why;
	void *left_by;
	int commands, cancels, refuse;
	uint64_t last_command;
	int appeared;
	char last_appeared[64];
	long live;
} t;

/* An owner as the gateway has them: its attach, and what came of it. */
struct owner {
	struct cw_attach attach;
	struct cw_device *device;
	int told, refused;
};

static inline void on_leave(void *owner, struct cw_device *d, enum cw_leave why)
{
	t.leaves++;
	t.left_by = owner;
	t.why = (int)why;
}

static inline void on_state(void *owner, struct cw_device *d, enum cw_updevice_state state, int code)
{
}

static inline int on_command(void *owner, struct cw_device *d, uint64_t id, struct cw_bytes bytes, uint64_t deadline_ms)
{
	if (t.refuse < 0)
		return t.refuse;
	t.commands++;
	t.last_command = id;
	return 0;
}

static inline void on_cancel(void *owner, struct cw_device *d, uint64_t id)
{
	t.cancels++;
}

static inline void on_reply(void *owner, struct cw_device *d, const char *request, int code, struct cw_bytes data)
{
}

static inline void on_appeared(struct cw_bridge *b, const char *identity)
{
	t.appeared++;
	(void)snprintf(t.last_appeared, sizeof(t.last_appeared), "%s", identity);
}

static const struct cw_owner_ops owner_ops = {
	.leave = on_leave, .state = on_state, .command = on_command, .cancel = on_cancel, .reply = on_reply, .appeared = on_appeared
};

static inline void on_done(struct cw_attach *a, struct cw_device *d, int refused)
{
	struct owner *o = cw_container_of(a, struct owner, attach);

	o->told++;
	o->device = d;
	o->refused = refused;
}

static inline void on_skip(void *arg, const char *sentence)
{
	fail_msg("%s", sentence);
}

static inline struct cw_reload_result load(const char *text)
{
	char path[] = "/tmp/cw-devices-XXXXXX";
	struct cw_identities *set = NULL;
	struct cw_reload_result result;
	struct cw_msg msg = { "" };
	int fd = mkstemp(path);

	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	if (cw_identities_load(path, on_skip, NULL, &set, &msg) < 0)
		fail_msg("%s", msg.text);
	unlink(path);
	cw_bridge_swap_identities(t.bridge, set, &result);
	return result;
}

#define ENTRY(id, secret) #id " { productKey : a1Product01, deviceName : dev-" #id ", deviceSecret : " secret " }\n"

static inline int open_bridge(void **state)
{
	struct cw_bridge_conf conf = { .owner_ops = &owner_ops, .command_queue = 4, .command_timeout_ms = 30000, .contest_window_ms = 60000 };
	struct cw_upstream_conf up = {
		.name = "cloud", .kind = &cw_connector_mqtt, .endpoint = "tcp://127.0.0.1:9", .product_key = "a1Gateway01", .device_name = "gw-1",
		.device_secret = "s", .keep_alive_s = 300, .queue_bytes = 1 << 20, .queue_bytes_device = 1 << 18, .in_flight = 100,
		.login_batch = 5, .retry_min_ms = 50, .retry_max_ms = 400, .qos = 1,
	};
	struct cw_msg msg = { "" };

	memset(&t, 0, sizeof(t));
	t.live = cw_mem_live();
	assert_int_equal(cw_worker_new("control", 0, &t.control), 0);
	conf.control = t.control;
	assert_int_equal(cw_bridge_new(&conf, &t.bridge), 0);
	if (cw_bridge_add_upstream(t.bridge, &up, &msg) < 0)
		fail_msg("%s", msg.text);
	(void)load(ENTRY(1, "aa") ENTRY(2, "bb"));
	return 0;
}

static inline int close_bridge(void **state)
{
	cw_bridge_free(t.bridge);
	cw_worker_free(t.control);
	assert_int_equal(cw_mem_live(), t.live);
	return 0;
}

static inline void attach(struct owner *o, const char *identity)
{
	memset(o, 0, sizeof(*o));
	o->attach.identity = identity;
	o->attach.identity_len = strlen(identity);
	o->attach.owner = o;
	o->attach.max_outstanding = 1;
	o->attach.done = on_done;
	cw_bridge_attach(t.bridge, &o->attach);
}

static inline void left(struct owner *o)
{
	cw_bridge_left(t.bridge, cw_bridge_find(t.bridge, o->attach.identity, o->attach.identity_len), o);
}

/* A command from the platform for a device of its one product. */
static inline void arrive_for(const char *device_name, const char *request, uint64_t deadline_ms)
{
	struct cw_downlink *down = cw_downlink_new(t.bridge->routing.uplinks[0]->u, 0);

	assert_non_null(down);
	strcpy(down->product_key, "a1Product01");
	(void)snprintf(down->device_name, sizeof(down->device_name), "%s", device_name);
	strcpy(down->request, request);
	down->deadline_ms = deadline_ms;
	cw_command_on_downlink(t.bridge, down);
}

#endif
