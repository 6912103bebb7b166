/*
 * streams.c - connections out of TCP segments and datagrams.
 *
 * Each direction of a TCP connection knows the next byte it wants. What is ahead of
 * it waits, sorted; what is behind was sent twice and is dropped; of an overlap the
 * first copy counts. A hole is a gap once nobody can fill it: the other side has
 * acknowledged what lies behind it, so it had the bytes and the capture has not; or
 * too much waits; or the connection is over.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "capture/capture_impl.h"

/* A peer that moves further than any window ahead at once is another connection's segment, or damaged. */
#define WINDOW_MOST (1u << 30)

struct waiting {
	struct waiting *next;
	uint32_t seq;
	size_t len;
	uint8_t bytes[];
};

struct half {
	struct waiting *waiting;
	size_t waits;
	uint32_t next;   /* wanted, when `known` */
	uint32_t fin_at; /* the byte behind the last, when `fin` */
	uint8_t known, fin, over;
};

struct key {
	uint8_t a[16], b[16];
	uint16_t a_port, b_port;
	uint8_t v6, udp;
	uint8_t zero[2];
};

struct stream {
	struct cw_map_node node;
	struct key key;
	uint32_t conn;
	uint32_t syn_seq;
	uint8_t device_is_a, closed, syn;
	struct half half[2]; /* from the device, to it */
	struct stream *next;
};

struct streams {
	struct cw_capture *c;
	struct cw_capture_how how;
	struct cw_map map;
	struct stream *all, **last;
	size_t waits;
};

int streams_new(struct cw_capture *c, const struct cw_capture_how *how, struct streams **ret_streams)
{
	struct streams *s = cw_zalloc(sizeof(*s));

	if (s == NULL)
		return CW_ENOMEM;
	s->c = c;
	s->how = *how;
	s->last = &s->all;
	cw_map_init(&s->map);
	*ret_streams = s;
	return 0;
}

static void drop_waiting(struct streams *s, struct half *h)
{
	struct waiting *w;

	while ((w = h->waiting) != NULL) {
		h->waiting = w->next;
		s->waits -= w->len;
		cw_free(w);
	}
	h->waits = 0;
}

void streams_free(struct streams *s)
{
	struct stream *st;

	if (s == NULL)
		return;
	cw_map_fini(&s->map);
	while ((st = s->all) != NULL) {
		s->all = st->next;
		drop_waiting(s, &st->half[0]);
		drop_waiting(s, &st->half[1]);
		cw_free(st);
	}
	cw_free(s);
}

/* ---- one direction --------------------------------------------------------------------- */

static int ahead(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) > 0;
}

static int tell(struct streams *s, struct stream *st, int down, int64_t time_ms, const uint8_t *p, size_t len)
{
	if (len == 0)
		return 0;
	st->half[down].next += (uint32_t)len;
	return capture_event(s->c, st->conn, down ? CW_SEEN_DOWN : CW_SEEN_UP, time_ms, cw_bytes_of(p, len));
}

/* What waited and is wanted now. */
static int drain(struct streams *s, struct stream *st, int down, int64_t time_ms)
{
	struct half *h = &st->half[down];
	struct waiting *w;
	int rc = 0;

	while (rc == 0 && (w = h->waiting) != NULL && !ahead(w->seq, h->next)) {
		uint32_t old = h->next - w->seq;

		if (old < w->len)
			rc = tell(s, st, down, time_ms, w->bytes + old, w->len - old);
		h->waiting = w->next;
		h->waits -= w->len;
		s->waits -= w->len;
		cw_free(w);
	}
	if (h->fin && !ahead(h->fin_at, h->next))
		h->over = 1;
	return rc;
}

/* The first hole will not be filled. */
static int give_up_hole(struct streams *s, struct stream *st, int down, int64_t time_ms)
{
	struct half *h = &st->half[down];
	int rc;

	if (h->waiting == NULL)
		return 0;
	rc = capture_gap(s->c, st->conn, down, time_ms, h->waiting->seq - h->next);
	h->next = h->waiting->seq;
	return rc < 0 ? rc : drain(s, st, down, time_ms);
}

static int wait(struct streams *s, struct half *h, uint32_t seq, struct cw_bytes data)
{
	struct waiting **at, *w = cw_alloc(sizeof(*w) + data.len);

	if (w == NULL)
		return CW_ENOMEM;
	w->seq = seq;
	w->len = data.len;
	memcpy(w->bytes, data.ptr, data.len);
	for (at = &h->waiting; *at != NULL && !ahead((*at)->seq, seq); at = &(*at)->next)
		;
	w->next = *at;
	*at = w;
	h->waits += data.len;
	s->waits += data.len;
	return 0;
}

static int take_data(struct streams *s, struct stream *st, int down, const struct segment *seg, uint32_t seq)
{
	struct half *h = &st->half[down];
	struct cw_bytes data = seg->data;
	int rc;

	if (!h->known) { /* no SYN: what is seen first is the beginning */
		h->known = 1;
		h->next = seq;
	}
	if (data.len == 0)
		return 0;
	if (h->over || (ahead(seq, h->next) && seq - h->next > WINDOW_MOST)) {
		s->c->damaged++;
		return 0;
	}
	if (!ahead(seq, h->next)) {
		uint32_t old = h->next - seq;

		if (old >= data.len) {
			s->c->retransmitted++;
			return 0;
		}
		rc = tell(s, st, down, seg->time_ms, data.ptr + old, data.len - old);
		return rc < 0 ? rc : drain(s, st, down, seg->time_ms);
	}
	rc = wait(s, h, seq, data);
	while (rc == 0 && h->waiting != NULL && (h->waits > WAIT_MOST || s->waits > WAIT_MOST_ALL))
		rc = give_up_hole(s, st, down, seg->time_ms);
	return rc;
}

/* The one who sent this had everything of the other direction up to seg->ack. */
static int take_ack(struct streams *s, struct stream *st, int of_down, const struct segment *seg)
{
	struct half *h = &st->half[of_down];
	int rc = 0;

	if ((seg->flags & TCP_ACK) == 0 || !h->known || h->over)
		return 0;
	while (rc == 0 && h->waiting != NULL && ahead(seg->ack, h->waiting->seq))
		rc = give_up_hole(s, st, of_down, seg->time_ms);
	if (rc == 0 && ahead(seg->ack, h->next) && seg->ack - h->next < WINDOW_MOST &&
	    (!h->fin || seg->ack != h->fin_at + 1)) { /* a FIN counts as one */
		rc = capture_gap(s->c, st->conn, of_down, seg->time_ms, seg->ack - h->next);
		h->next = seg->ack;
	}
	return rc;
}

/* ---- connections ---------------------------------------------------------------------------- */

static void name_of(char *out, size_t size, const uint8_t *address, uint16_t port, int v6)
{
	char text[INET6_ADDRSTRLEN];

	if (inet_ntop(v6 ? AF_INET6 : AF_INET, address, text, sizeof(text)) == NULL)
		text[0] = '\0';
	(void)snprintf(out, size, v6 ? "[%s]:%u" : "%s:%u", text, port);
}

/* 1: who sent this is the device; 0: who receives it; -1: neither port is the one asked for. */
static int sender_is_device(const struct streams *s, const struct segment *seg)
{
	if (s->how.port != 0 || s->how.device_port != 0) {
		if (s->how.port != 0 && (seg->to_port == s->how.port || seg->from_port == s->how.port))
			return seg->to_port == s->how.port;
		if (s->how.device_port != 0 && (seg->to_port == s->how.device_port || seg->from_port == s->how.device_port))
			return seg->from_port == s->how.device_port;
		return -1;
	}
	if (!seg->udp && seg->flags & TCP_SYN)
		return (seg->flags & TCP_ACK) == 0;
	/* Devices speak first. Of TCP who began is not in the capture: servers have the lower ports. */
	return seg->udp || seg->from_port >= seg->to_port;
}

static int start(struct streams *s, struct stream *st, const struct segment *seg, int from_device)
{
	const uint8_t *device = from_device ? seg->from : seg->to;
	uint16_t port = from_device ? seg->from_port : seg->to_port;
	struct cw_seen_conn *conn;
	char name[80];
	int rc;

	drop_waiting(s, &st->half[0]);
	drop_waiting(s, &st->half[1]);
	memset(st->half, 0, sizeof(st->half));
	name_of(name, sizeof(name), device, port, seg->v6);
	rc = capture_conn(s->c, name, &st->conn);
	if (rc < 0)
		return rc;
	conn = &s->c->conns[st->conn];
	conn->datagram = seg->udp;
	conn->begun = seg->udp || (seg->flags & TCP_SYN) != 0;
	conn->dialled = s->how.device_port != 0 && port == s->how.device_port;
	st->closed = 0;
	st->syn = 0;
	st->device_is_a = memcmp(device, st->key.a, 16) == 0 && port == st->key.a_port;
	return capture_event(s->c, st->conn, CW_SEEN_OPEN, seg->time_ms, cw_bytes_of(NULL, 0));
}

static void make_key(struct key *k, const struct segment *seg, int *from_a)
{
	int order = memcmp(seg->from, seg->to, 16);

	*from_a = order < 0 || (order == 0 && seg->from_port <= seg->to_port);
	memset(k, 0, sizeof(*k));
	memcpy(k->a, *from_a ? seg->from : seg->to, 16);
	memcpy(k->b, *from_a ? seg->to : seg->from, 16);
	k->a_port = *from_a ? seg->from_port : seg->to_port;
	k->b_port = *from_a ? seg->to_port : seg->from_port;
	k->v6 = seg->v6;
	k->udp = seg->udp;
}

static int find(struct streams *s, const struct segment *seg, int from_device, struct stream **ret_stream, int *from_a)
{
	struct cw_map_node *n;
	struct stream *st;
	struct key key;

	make_key(&key, seg, from_a);
	n = cw_map_find(&s->map, &key, sizeof(key));
	if (n != NULL) {
		*ret_stream = cw_container_of(n, struct stream, node);
		return 0;
	}
	if (!seg->udp && (seg->flags & TCP_RST || (seg->data.len == 0 && (seg->flags & TCP_SYN) == 0))) {
		*ret_stream = NULL; /* the last words of a connection that said nothing here */
		return 0;
	}
	st = cw_zalloc(sizeof(*st));
	if (st == NULL)
		return CW_ENOMEM;
	st->key = key;
	*s->last = st;
	s->last = &st->next;
	*ret_stream = st;
	if (cw_map_add(&s->map, &st->node, &st->key, sizeof(st->key)) < 0)
		return CW_ENOMEM;
	return start(s, st, seg, from_device);
}

static int close_stream(struct streams *s, struct stream *st, int64_t time_ms)
{
	int rc = 0, down;

	for (down = 0; down < 2; down++)
		while (rc == 0 && st->half[down].waiting != NULL)
			rc = give_up_hole(s, st, down, time_ms);
	if (st->closed || rc < 0)
		return rc;
	st->closed = 1;
	return capture_event(s->c, st->conn, CW_SEEN_CLOSE, time_ms, cw_bytes_of(NULL, 0));
}

static int take_tcp(struct streams *s, struct stream *st, int down, const struct segment *seg)
{
	struct half *h = &st->half[down];
	uint32_t seq = seg->seq;
	int rc;

	if (seg->flags & TCP_SYN) {
		h->known = 1;
		h->next = seq + 1;
		seq++;
	}
	rc = take_ack(s, st, !down, seg);
	if (rc == 0)
		rc = take_data(s, st, down, seg, seq);
	if (rc == 0 && seg->flags & TCP_FIN) {
		h->fin = 1;
		h->fin_at = seq + (uint32_t)(seg->data.len + seg->cut);
		rc = drain(s, st, down, seg->time_ms);
	}
	if (rc == 0 && (seg->flags & TCP_RST || (st->half[0].over && st->half[1].over)))
		rc = close_stream(s, st, seg->time_ms);
	return rc;
}

int streams_take(struct streams *s, const struct segment *seg)
{
	int from_device = sender_is_device(s, seg), from_a = 0, down, rc;
	struct stream *st;

	if (from_device < 0 || (seg->udp && !s->how.udp)) {
		s->c->filtered++;
		return 0;
	}
	rc = find(s, seg, from_device, &st, &from_a);
	if (rc < 0 || st == NULL)
		return rc;
	if (!seg->udp && (seg->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
		/* The same four numbers again: a new connection, unless the SYN was sent twice. */
		if (st->syn && st->syn_seq == seg->seq)
			return 0;
		if (st->syn || st->half[0].known || st->half[1].known) {
			rc = close_stream(s, st, seg->time_ms);
			if (rc == 0)
				rc = start(s, st, seg, from_device);
		}
		st->syn = 1;
		st->syn_seq = seg->seq;
	}
	if (rc < 0 || st->closed)
		return rc;
	down = from_a != st->device_is_a;
	if (seg->udp)
		return seg->data.len == 0 ? 0 : capture_event(s->c, st->conn, down ? CW_SEEN_DOWN : CW_SEEN_UP, seg->time_ms, seg->data);
	return take_tcp(s, st, down, seg);
}

int streams_end(struct streams *s)
{
	struct stream *st;
	int64_t now = s->c->count == 0 ? 0 : s->c->events[s->c->count - 1].time_ms;
	int rc = 0, down;

	for (st = s->all; st != NULL; st = st->next)
		for (down = 0; down < 2; down++)
			while (rc == 0 && !st->closed && st->half[down].waiting != NULL)
				rc = give_up_hole(s, st, down, now);
	return rc;
}
