/* push.c - messages to a bridge: queues, frames on streams nobody promised, acknowledgements, repetition; see conn.h.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cloud/http2/conn.h"

#define FRAME_MAX 16384u
#define RESUME_MS 10u

/* A push on its way on a promised stream. */
struct h2_promised {
	struct cw_list link;
	struct h2_push *push;
	size_t at;
};

static void pump(struct h2_bridge *b);

static enum h2_queue queue_of(const struct h2_push *p)
{
	return p->offline_reply ? H2_QUEUE_OFFLINE : p->qos != 0 ? H2_QUEUE_QOS1 : H2_QUEUE_QOS0;
}

static void push_unref(struct h2_push *p)
{
	if (--p->refs == 0)
		cw_free(p);
}

static const char *push_topic(const struct h2_bridge *b, const struct h2_push *p, char out[128])
{
	(void)snprintf(out, 128, "/sys/%s/bridge/%s", b->device->id, p->offline_reply ? "offline_reply" : "push");
	return out;
}

/* ---- the queues ---- */

static void take_from_queue(struct h2_bridge *b, struct h2_push *p)
{
	cw_list_remove(&p->link);
	b->queued--;
	b->queued_bytes -= p->len;
}

static void put_back(struct h2_bridge *b, struct h2_push *p)
{
	cw_list_push_front(&b->queue[queue_of(p)], &p->link);
	b->queued++;
	b->queued_bytes += p->len;
}

void cw_cloud_h2_queue(struct h2_bridge *b, enum h2_queue q, const void *body, size_t len, unsigned serial, int dup)
{
	struct cw_cloud *c = b->front->cloud;
	struct h2_push *p = NULL;
	char id[24];

	if (b->queued < H2_QUEUE_MAX && b->queued_bytes + len <= H2_QUEUE_BYTES)
		p = cw_alloc(sizeof(*p) + len);
	if (p == NULL) {
		c->stats.undeliverable++;
		return;
	}
	cw_cloud_next_id(c, id);
	*p = (struct h2_push){ .refs = 1,
			       .id = c->next_id,
			       .serial = serial,
			       .made_ms = cw_cloud_wall_ms(c),
			       .qos = q == H2_QUEUE_QOS1,
			       .offline_reply = q == H2_QUEUE_OFFLINE,
			       .len = len };
	memcpy(p->body, body, len);
	cw_list_push_back(&b->queue[q], &p->link);
	b->queued++;
	b->queued_bytes += len;
	cw_cloud_h2_pump_soon(b);
}

static void forget_in(struct h2_bridge *b, struct cw_list *list, unsigned serial, struct h2_conn *x)
{
	struct cw_list *e, *n;

	cw_list_each_safe (e, n, list) {
		struct h2_push *p = cw_container_of(e, struct h2_push, link);

		if (serial != 0 && p->serial != serial)
			continue;
		if (x == NULL) {
			take_from_queue(b, p);
		} else {
			cw_list_remove(e);
			x->outstanding_count--;
		}
		push_unref(p);
	}
}

void cw_cloud_h2_forget(struct h2_bridge *b, unsigned serial)
{
	struct cw_list *e;

	forget_in(b, &b->queue[H2_QUEUE_QOS0], serial, NULL);
	forget_in(b, &b->queue[H2_QUEUE_QOS1], serial, NULL);
	cw_list_each (e, &b->conns) {
		struct h2_conn *x = cw_container_of(e, struct h2_conn, in_bridge);

		forget_in(b, &x->outstanding, serial, x);
	}
}

void cw_cloud_h2_clear(struct h2_bridge *b)
{
	cw_cloud_h2_forget(b, 0);
	forget_in(b, &b->queue[H2_QUEUE_OFFLINE], 0, NULL);
}

/* ---- acknowledgements and repetition ---- */

static int ack_in(struct h2_bridge *b, struct cw_list *list, uint64_t id, struct h2_conn *x)
{
	struct cw_list *e;

	cw_list_each (e, list) {
		struct h2_push *p = cw_container_of(e, struct h2_push, link);

		if (p->id != id || p->sent_ms == 0)
			continue;
		if (x == NULL) {
			take_from_queue(b, p);
		} else {
			cw_list_remove(e);
			x->outstanding_count--;
		}
		push_unref(p);
		b->front->cloud->stats.push_acks++;
		return 1;
	}
	return 0;
}

void cw_cloud_h2_ack(struct h2_bridge *b, uint64_t id)
{
	struct cw_list *e;

	cw_list_each (e, &b->conns) {
		struct h2_conn *x = cw_container_of(e, struct h2_conn, in_bridge);

		if (ack_in(b, &x->outstanding, id, x)) {
			cw_cloud_h2_pump_soon(b);
			return;
		}
	}
	(void)ack_in(b, &b->queue[H2_QUEUE_QOS1], id, NULL);
}

static void arm_repeat(struct h2_conn *x);

/* What is due goes to the front of its queue, oldest first. */
static void on_repeat(struct cw_timer *t)
{
	struct h2_conn *x = cw_container_of(t, struct h2_conn, repeat);
	uint64_t now = cw_cloud_now_ms(x->cloud);
	struct cw_list *e = &x->outstanding, *last = NULL;

	while (e->next != &x->outstanding &&
	       cw_container_of(e->next, struct h2_push, link)->sent_ms + H2_REPEAT_MS <= now)
		last = e = e->next;
	while (last != NULL) {
		struct h2_push *p = cw_container_of(last, struct h2_push, link);

		e = last->prev;
		cw_list_remove(last);
		x->outstanding_count--;
		put_back(x->bridge, p);
		x->cloud->stats.push_repeats++;
		last = e != &x->outstanding ? e : NULL;
	}
	arm_repeat(x);
	cw_cloud_h2_pump_soon(x->bridge);
}

static void arm_repeat(struct h2_conn *x)
{
	struct cw_list *e = cw_list_first(&x->outstanding);
	uint64_t now = cw_cloud_now_ms(x->cloud), due;

	if (e == NULL || cw_timer_armed(&x->repeat))
		return;
	due = cw_container_of(e, struct h2_push, link)->sent_ms + H2_REPEAT_MS;
	cw_timer_set(cw_cloud_h2_timers(x->cloud), &x->repeat, due > now ? due - now : 1, on_repeat);
}

void cw_cloud_h2_push_refused(struct h2_conn *x, uint32_t stream)
{
	struct cw_list *e;

	cw_list_each (e, &x->outstanding) {
		if (cw_container_of(e, struct h2_push, link)->stream == (int32_t)stream)
			x->cloud->stats.undeliverable++; /* still unacknowledged: it comes again */
	}
}

void cw_cloud_h2_pushes_back(struct h2_conn *x)
{
	struct h2_bridge *b = x->bridge;

	if (x->current != NULL) {
		if (x->current->qos != 0 || x->current->offline_reply)
			put_back(b, x->current);
		else
			push_unref(x->current);
		x->current = NULL;
	}
	while (!cw_list_empty(&x->outstanding)) {
		struct cw_list *e = x->outstanding.prev;

		cw_list_remove(e);
		x->outstanding_count--;
		put_back(b, cw_container_of(e, struct h2_push, link));
	}
}

/* ---- frames ---- */

static void on_resume(struct cw_timer *t)
{
	struct h2_conn *x = cw_container_of(t, struct h2_conn, resume);

	if (x->bridge != NULL)
		pump(x->bridge);
}

/* Does the socket keep up? If not, come back in a moment. */
static int out_full(struct h2_conn *x)
{
	const struct cloud_stream *s = &x->stream;

	if (s->out.len + s->wire.len + s->writing.len < x->cloud->conf.limits.out_queue_bytes / 4)
		return 0;
	cw_timer_set(cw_cloud_h2_timers(x->cloud), &x->resume, RESUME_MS, on_resume);
	return 1;
}

static void finish(struct h2_conn *x, struct h2_push *p)
{
	p->sent_ms = cw_cloud_now_ms(x->cloud);
	if (p->qos == 0) {
		push_unref(p);
		return;
	}
	cw_list_push_back(&x->outstanding, &p->link);
	x->outstanding_count++;
	arm_repeat(x);
}

/* As much of the current one as window and socket take. Returns 1 when it is through. */
static int send_current(struct h2_conn *x)
{
	struct h2_push *p = x->current;
	uint8_t head[9];

	while (x->current_at < p->len) {
		size_t n = p->len - x->current_at;

		if (n > FRAME_MAX)
			n = FRAME_MAX;
		if (x->window <= 0 || out_full(x))
			return 0;
		if ((int64_t)n > x->window)
			n = (size_t)x->window;
		cw_cloud_h2_frame_head(head, n, NGHTTP2_DATA,
				       x->current_at + n == p->len ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE,
				       (uint32_t)p->stream);
		cw_cloud_stream_put(&x->stream, head, sizeof(head));
		cw_cloud_stream_put(&x->stream, p->body + x->current_at, n);
		x->current_at += n;
		x->window -= (int64_t)n;
	}
	x->current = NULL;
	finish(x, p);
	return 1;
}

static void start(struct h2_conn *x, struct h2_push *p)
{
	uint8_t head[9], block[512];
	char topic[128];
	size_t n =
		cw_cloud_h2_push_block(block, push_topic(x->bridge, p, topic), p->id, p->qos, p->made_ms);

	p->stream = (int32_t)x->next_push;
	x->next_push += 2;
	cw_cloud_h2_frame_head(head, n, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, (uint32_t)p->stream);
	cw_cloud_stream_put(&x->stream, head, sizeof(head));
	cw_cloud_stream_put(&x->stream, block, n);
	x->current = p;
	x->current_at = 0;
}

static struct h2_push *first_of(struct h2_bridge *b, enum h2_queue q)
{
	struct cw_list *e = cw_list_first(&b->queue[q]);

	return e != NULL ? cw_container_of(e, struct h2_push, link) : NULL;
}

/* The next that may go out on `x`, taken from its queue; NULL: none. */
static struct h2_push *next_push(struct h2_bridge *b, struct h2_conn *x)
{
	struct h2_push *p = b->sub_offline ? first_of(b, H2_QUEUE_OFFLINE) : NULL;

	if (p == NULL && b->sub_push)
		p = first_of(b, H2_QUEUE_QOS0);
	if (p == NULL && b->sub_push && x->outstanding_count < H2_OUTSTANDING_MAX)
		p = first_of(b, H2_QUEUE_QOS1);
	if (p != NULL)
		take_from_queue(b, p);
	return p;
}

/* A window of one stream is not refilled: a larger message can never pass. */
static int fits_window(struct h2_conn *x, struct h2_push *p)
{
	if (p->len <= nghttp2_session_get_remote_settings(x->h2, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE))
		return 1;
	x->cloud->stats.undeliverable++;
	cw_log(cloud_dropped, "larger than the client's INITIAL_WINDOW_SIZE", CW_LS("device", x->bridge->device->id),
	       CW_LU("bytes", p->len));
	push_unref(p);
	return 0;
}

static void pump(struct h2_bridge *b)
{
	struct h2_conn *x = b->conn_count != 0 ? cw_container_of(b->conns.prev, struct h2_conn, in_bridge) : NULL;
	struct h2_push *p;

	if (x == NULL || x->table_changed)
		return;
	if (x->cloud->conf.switches.bridge_promise) {
		if (x->carrier != 0)
			cw_cloud_h2_promise(x, x->carrier);
		return;
	}
	while (x->bridge == b) {
		if (x->current != NULL) {
			if (!send_current(x))
				return;
			continue;
		}
		p = next_push(b, x);
		if (p == NULL)
			return;
		if (!fits_window(x, p))
			continue;
		if (x->next_push > 0x7ffffffe) {
			put_back(b, p);
			cw_cloud_h2_goodbye(x, NGHTTP2_NO_ERROR, "no stream numbers left");
			return;
		}
		start(x, p);
	}
}

void cw_cloud_h2_pump_soon(struct h2_bridge *b)
{
	if (!b->front->busy)
		pump(b);
	else if (b->due.next == NULL || cw_list_empty(&b->due))
		cw_list_push_back(&b->front->due, &b->due);
}

void cw_cloud_h2_pump_due(struct h2_front *f)
{
	struct cw_list *e;

	while ((e = cw_list_pop(&f->due)) != NULL)
		pump(cw_container_of(e, struct h2_bridge, due));
}

/* ---- promises ---- */

void cw_cloud_h2_promised_free(void *promised)
{
	struct h2_promised *m = promised;

	cw_list_remove(&m->link);
	push_unref(m->push);
	cw_free(m);
}

void cw_cloud_h2_promised_clear(struct h2_conn *x)
{
	struct cw_list *e;

	while ((e = cw_list_first(&x->promised)) != NULL)
		cw_cloud_h2_promised_free(cw_container_of(e, struct h2_promised, link));
}

static ssize_t on_read_push(nghttp2_session *h2, int32_t stream, uint8_t *buf, size_t size, uint32_t *flags,
			    nghttp2_data_source *source, void *arg)
{
	struct h2_promised *m = source->ptr;
	size_t n = m->push->len - m->at;

	n = n < size ? n : size;
	memcpy(buf, m->push->body + m->at, n);
	m->at += n;
	if (m->at == m->push->len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

#define NV(name, value)                                                                                                \
	{                                                                                                              \
		(uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), strlen(name), strlen(value), 0            \
	}

/* 0, or nothing was sent. */
static int promise_one(struct h2_conn *x, int32_t stream, struct h2_push *p)
{
	char topic[128], id[24], made[24];
	nghttp2_nv request[] = { NV(":method", "GET"), NV(":scheme", "https"), NV(":authority", "bridge"),
				 NV(":path", push_topic(x->bridge, p, topic)) };
	struct h2_promised *m = cw_zalloc(sizeof(*m));
	nghttp2_data_provider body = { { .ptr = m }, on_read_push };

	if (m == NULL)
		return CW_ENOMEM;
	m->push = p;
	p->refs++;
	cw_list_push_back(&x->promised, &m->link);
	p->stream = nghttp2_submit_push_promise(x->h2, NGHTTP2_FLAG_NONE, stream, request, 4, m);
	if (p->stream < 0) {
		cw_cloud_h2_promised_free(m);
		return CW_EPROTO;
	}
	(void)snprintf(id, sizeof(id), "%llu", (unsigned long long)p->id);
	(void)snprintf(made, sizeof(made), "%lld", (long long)p->made_ms);
	{
		nghttp2_nv nv[] = { NV(":status", "200"), NV("x-topic", topic), NV("x-message-id", id),
				    NV("x-qos", p->qos != 0 ? "1" : "0"), NV("x-generate-time", made) };

		/* Never fails but for memory; the stream is then reset by the client in the end. */
		(void)nghttp2_submit_response(x->h2, p->stream, nv, sizeof(nv) / sizeof(nv[0]), &body);
	}
	return 0;
}

void cw_cloud_h2_promise(struct h2_conn *x, int32_t stream)
{
	struct h2_bridge *b = x->bridge;
	struct h2_push *p;

	if (!x->cloud->conf.switches.bridge_promise || x->state != H2_UP ||
	    nghttp2_session_get_remote_settings(x->h2, NGHTTP2_SETTINGS_ENABLE_PUSH) == 0)
		return;
	while ((p = next_push(b, x)) != NULL) {
		if (promise_one(x, stream, p) < 0) {
			put_back(b, p);
			break;
		}
		finish(x, p);
	}
	if (!b->front->busy)
		cw_cloud_h2_drain(x);
}
