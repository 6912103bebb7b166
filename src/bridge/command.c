/*
 * command.c - the life of a downlink: accept, hand to the device's owner, await, end exactly once.
 *
 * queued -> running -> ended; or refused at the door (repeat, no session, queue full).
 * Every accepted command ends by one of: answered by the owner, refused by it, its
 * deadline, or the owner's leaving; end() is the only place and takes it off all
 * lists first, so a second ending finds nothing.
 */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "bridge/bridge_impl.h"
#include "causeway/command.h"
#include "causeway/record.h"

/* A command may be stretched by its decoder up to this. */
#define EXTEND_MOST_MS 600000u
/* Taken off the platform's own waiting time, so that our answer is the one that arrives. */
#define ANSWER_MARGIN_MS 500u

static const char *result_name(int code)
{
	return code == CW_CODE_OK ? "answered" : code == CW_CODE_OFFLINE ? "offline" : code == CW_CODE_TIMED_OUT ? "timed_out" : "refused";
}

/* `why`: for the log, beside what the code says; empty: nothing. */
static void answer_why(struct cw_downlink *down, int code, struct cw_bytes reply, const char *why)
{
	switch (code) {
	case CW_CODE_OK: cw_count(bridge, commands_answered); break;
	case CW_CODE_OFFLINE: cw_count(bridge, commands_offline); break;
	case CW_CODE_TIMED_OUT: cw_count(bridge, commands_timed_out); break;
	default: cw_count(bridge, commands_refused); break;
	}
	cw_log(command_settled, why, CW_LS("productKey", down->product_key), CW_LS("deviceName", down->device_name),
	       CW_LS("request", down->request), CW_LS("result", result_name(code)), CW_LI("code", code));
	cw_upstream_taken(down);
	down->code = code;
	if (reply.len > 0) {
		down->reply = cw_memdup(reply.ptr, reply.len);
		if (down->reply == NULL)
			down->code = CW_CODE_FAILED;
		else
			down->reply_len = reply.len;
	}
	cw_upstream_answer(down);
}

static void answer(struct cw_downlink *down, int code, struct cw_bytes reply)
{
	answer_why(down, code, reply, "");
}

static void end(struct command *c, int code, struct cw_bytes reply)
{
	struct cw_device *d = c->device;

	cw_map_remove(&d->bridge->commands, &c->node);
	cw_list_remove(&c->link);
	cw_timer_stop(cw_worker_timers(d->bridge->conf.control), &c->deadline);
	d->command_count--;
	if (c->running)
		d->running_count--;
	cw_upgrade_drop(c);
	answer(c->down, code, reply);
	cw_free(c);
	cw_move_command_ended(d);
}

static void on_deadline(struct cw_timer *t)
{
	struct command *c = cw_container_of(t, struct command, deadline);
	struct cw_device *d = c->device;
	void *owner = c->owner;
	uint64_t id = c->id;
	int running = c->running;

	end(c, CW_CODE_TIMED_OUT, cw_bytes_of(NULL, 0));
	if (running)
		d->bridge->conf.owner_ops->cancel(owner, d, id);
	cw_command_device_idle(d);
}

/* 1 when the platform has sent this request of this device before (QoS 1 repeats after a reconnect). */
static int is_repeat(struct cw_device *d, const char *request)
{
	uint64_t h;
	unsigned i;

	if (request[0] == '\0')
		return 0;
	h = cw_hash(request, strlen(request)) | 1;
	for (i = 0; i < REPEATS_KEPT; i++)
		if (d->repeats[i] == h)
			return 1;
	d->repeats[d->repeat_at++ % REPEATS_KEPT] = h;
	return 0;
}

static uint64_t time_to_live(struct cw_bridge *b, const struct cw_downlink *down)
{
	uint64_t ms = down->deadline_ms;

	if (ms == 0)
		return b->conf.command_timeout_ms;
	return ms > 2 * ANSWER_MARGIN_MS ? ms - ANSWER_MARGIN_MS : ms;
}

static void refuse(struct cw_downlink *down, int code)
{
	answer(down, code, cw_bytes_of(NULL, 0));
}

/* Behind which upstream is it logged in? One that moves: still behind the one before. */
static const struct cw_upstream *upstream_of(const struct cw_device *d)
{
	const struct way *way = d->parting != NULL ? d->parting : d->way;

	return way->uplink->u;
}

/* To whoever is here of the product and behind this upstream: another one's connection has a copy of its own. */
static int broadcast_to_each(struct cw_bridge *b, const struct cw_downlink *down)
{
	struct cw_bytes bytes = cw_bytes_of(down->bytes, down->len);
	struct cw_map_node *n, *next;
	int told = 0;

	cw_map_each_safe (n, next, &b->devices) {
		struct cw_device *d = cw_container_of(n, struct cw_device, node);

		if (d->owner != NULL && !d->leaving && upstream_of(d) == down->from &&
		    strcmp(d->product_key, down->product_key) == 0 &&
		    b->conf.owner_ops->command(d->owner, d, 0, bytes, b->conf.command_timeout_ms) == 0)
			told++; /* number 0 is no command's: nobody waits for its end */
	}
	return told > 0 ? 0 : CW_EOFFLINE;
}

/* For all devices of a product: taken over or refused at once, never answered. */
static void broadcast(struct cw_bridge *b, struct cw_downlink *down)
{
	int rc = b->conf.owner_ops->broadcast == NULL
			 ? broadcast_to_each(b, down)
			 : b->conf.owner_ops->broadcast(b, down->product_key, cw_bytes_of(down->bytes, down->len));

	refuse(down, rc < 0 ? cw_bridge_refusal_code(rc) : CW_CODE_OK);
}

void cw_command_on_downlink(void *ctx, struct cw_downlink *down)
{
	struct cw_bridge *b = ctx;
	struct cw_device *d;

	if (down->kind == CW_KIND_BROADCAST && down->device_name[0] == '\0') {
		broadcast(b, down);
		return;
	}
	d = cw_devices_find_name(b, down->product_key, down->device_name);
	if (d == NULL)
		cw_lookup_downlink(b, down);
	else
		cw_command_for(b, d, down);
}

void cw_command_for(struct cw_bridge *b, struct cw_device *d, struct cw_downlink *down)
{
	struct command *c;

	if (d == NULL || d->owner == NULL || d->leaving || d->parting != NULL) {
		refuse(down, CW_CODE_OFFLINE);
		return;
	}
	if (!cw_upstream_has_downlink(d->way->uplink->u)) { /* it came some other way: its answer could not go back */
		answer_why(down, CW_CODE_UNSUPPORTED, cw_bytes_of(NULL, 0), "this upstream has no downlink");
		return;
	}
	if (is_repeat(d, down->request)) {
		cw_count(bridge, commands_repeated);
		cw_upstream_taken(down);
		cw_downlink_free(down);
		return;
	}
	if (d->command_count >= b->conf.command_queue) {
		refuse(down, CW_CODE_BUSY);
		return;
	}
	c = cw_zalloc(sizeof(*c));
	if (c == NULL) {
		refuse(down, CW_CODE_FAILED);
		return;
	}
	c->device = d;
	c->down = down;
	c->id = ++b->next_command;
	if (cw_map_add(&b->commands, &c->node, &c->id, sizeof(c->id)) < 0) {
		cw_free(c);
		refuse(down, CW_CODE_FAILED);
		return;
	}
	cw_count(bridge, commands_accepted);
	cw_upstream_taken(down);
	d->command_count++;
	if (down->kind == CW_KIND_OTA_NOTICE && b->conf.firmware != NULL) {
		cw_list_push_back(&d->fetching, &c->link);
		if (cw_upgrade_begin(c) < 0)
			cw_command_end(c, CW_CODE_FAILED);
		return;
	}
	cw_command_queue(c);
	cw_command_device_idle(d);
}

void cw_command_queue(struct command *c)
{
	struct cw_bridge *b = c->device->bridge;

	cw_list_push_back(&c->device->queued, &c->link);
	c->due_ms = cw_worker_now(b->conf.control) + time_to_live(b, c->down);
	cw_timer_set(cw_worker_timers(b->conf.control), &c->deadline, time_to_live(b, c->down), on_deadline);
}

void cw_command_end(struct command *c, int code)
{
	end(c, code, cw_bytes_of(NULL, 0));
}

int cw_bridge_refusal_code(int rc)
{
	switch (rc) {
	case CW_EUNSUPPORTED: return CW_CODE_UNSUPPORTED;
	case CW_EINVAL: case CW_EPROTO: return CW_CODE_BAD_INPUT;
	case CW_ECLOSED: case CW_EOFFLINE: return CW_CODE_OFFLINE;
	case CW_EBUSY: case CW_ELIMIT: return CW_CODE_BUSY;
	default: return CW_CODE_FAILED;
	}
}

void cw_command_device_idle(struct cw_device *d)
{
	struct cw_bridge *b = d->bridge;
	uint64_t now = cw_worker_now(b->conf.control);
	struct cw_list *e;

	while (d->owner != NULL && !d->leaving && d->running_count < d->max_outstanding && (e = cw_list_pop(&d->queued)) != NULL) {
		struct command *c = cw_container_of(e, struct command, link);
		uint64_t left = c->due_ms > now ? c->due_ms - now : 1;
		int rc;

		cw_list_push_back(&d->running, &c->link);
		c->running = 1;
		c->owner = d->owner;
		d->running_count++;
		rc = b->conf.owner_ops->command(d->owner, d, c->id, cw_bytes_of(c->down->bytes, c->down->len), left);
		if (rc < 0)
			end(c, cw_bridge_refusal_code(rc), cw_bytes_of(NULL, 0));
	}
}

void cw_command_device_left(struct cw_device *d)
{
	struct cw_list *e;

	while ((e = cw_list_first(&d->running)) != NULL || (e = cw_list_first(&d->queued)) != NULL ||
	       (e = cw_list_first(&d->fetching)) != NULL)
		end(cw_container_of(e, struct command, link), CW_CODE_OFFLINE, cw_bytes_of(NULL, 0));
}

void cw_command_owner_left(struct cw_device *d, const void *owner)
{
	struct cw_list *e, *next;

	cw_list_each_safe(e, next, &d->running)
		if (cw_container_of(e, struct command, link)->owner == owner)
			end(cw_container_of(e, struct command, link), CW_CODE_OFFLINE, cw_bytes_of(NULL, 0));
}

void cw_command_device_parts(struct cw_device *d)
{
	struct cw_list *e;

	while ((e = cw_list_first(&d->running)) != NULL) {
		struct command *c = cw_container_of(e, struct command, link);
		void *owner = c->owner;
		uint64_t id = c->id;

		cw_command_end(c, CW_CODE_OFFLINE);
		d->bridge->conf.owner_ops->cancel(owner, d, id);
	}
	cw_command_device_left(d);
}

/* Those of devices that have moved on: they came after that, over what was left of the old way. */
void cw_command_upstream_gone(struct cw_bridge *b, const struct cw_upstream *u)
{
	struct cw_map_node *n = cw_map_next(&b->commands, NULL);

	while (n != NULL) {
		struct command *c = cw_container_of(n, struct command, node);
		struct cw_device *d = c->device;
		void *owner = c->owner;
		uint64_t id = c->id;
		int running = c->running;

		if (c->down->from != u) {
			n = cw_map_next(&b->commands, n);
			continue;
		}
		cw_command_end(c, CW_CODE_OFFLINE);
		if (running)
			b->conf.owner_ops->cancel(owner, d, id);
		cw_command_device_idle(d);
		n = cw_map_next(&b->commands, NULL); /* more than this one may have ended */
	}
}

struct command *cw_command_find(struct cw_bridge *b, uint64_t id)
{
	struct cw_map_node *n = cw_map_find(&b->commands, &id, sizeof(id));

	return n == NULL ? NULL : cw_container_of(n, struct command, node);
}

void cw_bridge_command_done(struct cw_bridge *b, uint64_t id, int code, struct cw_bytes reply)
{
	struct command *c = cw_command_find(b, id);
	struct cw_device *d;

	if (c == NULL) /* its deadline was faster */
		return;
	d = c->device;
	end(c, code, reply);
	cw_command_device_idle(d);
}

uint32_t cw_bridge_command_kind(struct cw_bridge *b, uint64_t id)
{
	struct command *c = cw_command_find(b, id);

	return c == NULL ? 0 : c->down->kind;
}

void cw_bridge_command_extend(struct cw_bridge *b, uint64_t id, uint64_t delay_ms)
{
	struct command *c = cw_command_find(b, id);

	if (c == NULL)
		return;
	if (delay_ms > EXTEND_MOST_MS)
		delay_ms = EXTEND_MOST_MS;
	c->due_ms = cw_worker_now(b->conf.control) + delay_ms;
	cw_timer_set(cw_worker_timers(b->conf.control), &c->deadline, delay_ms, on_deadline);
}
