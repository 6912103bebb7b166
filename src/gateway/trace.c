/*
 * trace.c - follow one identity, or all connections of a listener: taps on the workers, lines to the control loop.
 *
 * cw_gateway_trace() mails a tap to every worker. A link whose device has that
 * identity points at the first such tap, now or when it is attached later, and all
 * of that identity get its lines; the same with the taps of its listener (`wide`), from its beginning and with the
 * bytes as they were read. A link without a tap pays one comparison. Lines in flight are bounded; what does not fit is counted.
 */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/gateway_impl.h"

#define LINES_IN_FLIGHT 512

struct cw_trace {
	struct cw_list link; /* gateway's traces */
	struct cw_gateway *gateway;
	uint64_t id;
	cw_trace_fn on_line;
	void *arg;
	int wide;
	char identity[CW_IDENTITY_MAX + 1];
};

/* One worker's side of a trace. */
struct tap {
	struct cw_mail mail;
	struct cw_list link; /* worker's taps */
	struct gw_worker *gw;
	uint64_t id;
	unsigned missed;
	int stop;            /* this mail ends the tap of that id */
	int wide;            /* `identity` is the name of a listener */
	char identity[CW_IDENTITY_MAX + 1];
};

struct line_mail {
	struct cw_mail mail;
	struct cw_gateway *gateway;
	uint64_t id, conn;
	int64_t utc_ms, number;
	unsigned missed;
	const char *protocol; /* of a descriptor: lives as long as the process */
	char what[12];
	size_t text_len, len;
	uint8_t bytes[]; /* text, NUL, bytes */
};

/* ---- on the worker --------------------------------------------------------------- */

static void post_line_to(struct tap *t, const struct link *l, const char *what, const char *text, struct cw_bytes bytes, int64_t number);

static void attach_existing(struct tap *t)
{
	struct cw_map_node *n;

	cw_map_each(n, &t->gw->links) {
		struct link *l = cw_container_of(n, struct link, node);
		struct attachee *a;

		if (t->wide && strcmp(l->binding->name, t->identity) == 0) {
			char peer[CW_ADDR_TEXT];

			l->wide = 1;
			post_line_to(t, l, "midway", cw_session_peer(l->net, peer), cw_bytes_of(NULL, 0), (int64_t)gw_link_flags(l));
		}
		if (t->wide)
			continue;
		for (a = l->attached; a != NULL; a = a->next)
			if (l->tap == NULL && strcmp(cw_rdevice_identity(a->rdev), t->identity) == 0)
				l->tap = t;
	}
}

/* A tap of the same identity or listener, `t` itself left out; NULL: none. */
static struct tap *find_tap(struct gw_worker *gw, const char *identity, int wide, const struct tap *t)
{
	struct cw_list *e;

	cw_list_each(e, &gw->taps) {
		struct tap *other = cw_container_of(e, struct tap, link);

		if (other != t && other->wide == wide && strcmp(other->identity, identity) == 0)
			return other;
	}
	return NULL;
}

static void drop_tap(struct tap *t)
{
	struct tap *other = find_tap(t->gw, t->identity, t->wide, t);
	struct cw_map_node *n;

	cw_map_each(n, &t->gw->links) {
		struct link *l = cw_container_of(n, struct link, node);

		if (l->tap == t)
			l->tap = other;
		if (t->wide && other == NULL && strcmp(l->binding->name, t->identity) == 0)
			l->wide = 0;
	}
	cw_list_remove(&t->link);
	cw_free(t);
}

static void on_tap(struct cw_mail *mail)
{
	struct tap *t = cw_container_of(mail, struct tap, mail);
	struct cw_list *e, *next;

	if (!t->stop) {
		cw_list_push_back(&t->gw->taps, &t->link);
		attach_existing(t);
		return;
	}
	cw_list_each_safe(e, next, &t->gw->taps) {
		struct tap *old = cw_container_of(e, struct tap, link);

		if (old->id == t->id)
			drop_tap(old);
	}
	cw_free(t);
}

void gw_trace_fini(struct gw_worker *gw)
{
	struct cw_list *e;

	while ((e = cw_list_first(&gw->taps)) != NULL)
		drop_tap(cw_container_of(e, struct tap, link));
}

void gw_trace_attach(struct link *l, const char *identity)
{
	if (cw_list_empty(&l->gw->taps))
		return;
	if (l->wide)
		gw_trace_text(l, "attached", identity, 0);
	if (l->tap != NULL)
		return;
	l->tap = find_tap(l->gw, identity, 0, NULL);
	if (l->tap != NULL && !l->wide)
		gw_trace_text(l, "attached", identity, 0);
}

void gw_trace_open(struct link *l)
{
	char peer[CW_ADDR_TEXT];

	if (cw_list_empty(&l->gw->taps) || find_tap(l->gw, l->binding->name, 1, NULL) == NULL)
		return;
	l->wide = 1;
	gw_trace_text(l, "open", cw_session_peer(l->net, peer), (int64_t)gw_link_flags(l));
}

void gw_trace_detach(struct link *l)
{
	l->tap = NULL;
	l->wide = 0;
}

static void on_line(struct cw_mail *mail);

static void post_line_to(struct tap *t, const struct link *l, const char *what, const char *text, struct cw_bytes bytes, int64_t number)
{
	struct cw_gateway *g = t->gw->gateway;
	size_t text_len = strlen(text);
	struct line_mail *m;

	m = atomic_fetch_add_explicit(&g->trace_lines, 1, memory_order_relaxed) < LINES_IN_FLIGHT
	            ? cw_zalloc(sizeof(*m) + text_len + 1 + bytes.len) : NULL;
	if (m == NULL) {
		atomic_fetch_sub_explicit(&g->trace_lines, 1, memory_order_relaxed);
		t->missed++;
		return;
	}
	m->gateway = g;
	m->id = t->id;
	m->conn = l->id;
	m->utc_ms = cw_clock_wall_ms();
	m->protocol = l->binding->protocol->name;
	m->number = number;
	m->missed = t->missed;
	t->missed = 0;
	strncpy(m->what, what, sizeof(m->what) - 1);
	m->text_len = text_len;
	m->len = bytes.len;
	memcpy(m->bytes, text, text_len + 1);
	if (bytes.len > 0)
		memcpy(m->bytes + text_len + 1, bytes.ptr, bytes.len);
	cw_post(g->conf.control, &m->mail, on_line);
}

/* Who follows the listener gets the bytes as they came and nothing that is made of them; the decoder makes it again. */
static int is_for(const struct tap *t, const char *what)
{
	static const char *const made[] = { "in", "refused", "noise", "settled", "line" };
	static const char *const raw[] = { "open", "data" };
	const char *const *words = t->wide ? made : raw;
	size_t i, n = t->wide ? sizeof(made) / sizeof(made[0]) : sizeof(raw) / sizeof(raw[0]);

	for (i = 0; i < n; i++)
		if (strcmp(words[i], what) == 0)
			return 0;
	return 1;
}

/* To everybody who follows this identity, as they share the link's tap by its name, or its listener. */
static void post_line(struct link *l, const char *what, const char *text, struct cw_bytes bytes, int64_t number)
{
	struct cw_list *e;

	cw_list_each(e, &l->gw->taps) {
		struct tap *t = cw_container_of(e, struct tap, link);

		if ((t->wide ? strcmp(t->identity, l->binding->name) == 0 : l->tap != NULL && strcmp(t->identity, l->tap->identity) == 0) &&
		    is_for(t, what))
			post_line_to(t, l, what, text, bytes, number);
	}
}

void gw_trace_bytes(struct link *l, const char *what, struct cw_bytes bytes)
{
	post_line(l, what, "", bytes, 0);
}

void gw_trace_text(struct link *l, const char *what, const char *text, int64_t number)
{
	post_line(l, what, text, cw_bytes_of(NULL, 0), number);
}

/* ---- on the control loop ------------------------------------------------------------ */

static void on_line(struct cw_mail *mail)
{
	struct line_mail *m = cw_container_of(mail, struct line_mail, mail);
	struct cw_list *e, *next;
	struct cw_trace_line line = {
		.utc_ms = m->utc_ms,
		.conn = m->conn,
		.protocol = m->protocol,
		.what = m->what,
		.text = (const char *)m->bytes,
		.number = m->number,
		.bytes = cw_bytes_of(m->bytes + m->text_len + 1, m->len),
		.missed = m->missed,
	};

	cw_list_each_safe(e, next, &m->gateway->traces) {
		struct cw_trace *t = cw_container_of(e, struct cw_trace, link);

		if (t->id == m->id) {
			t->on_line(t->arg, &line);
			break;
		}
	}
	atomic_fetch_sub_explicit(&m->gateway->trace_lines, 1, memory_order_relaxed);
	cw_free(m);
}

/* Tell every worker; 0 or CW_ENOMEM, in which case some know and some do not. */
static int tell_workers(struct cw_trace *t, int stop)
{
	unsigned i;

	for (i = 0; i < t->gateway->conf.worker_count; i++) {
		struct tap *tap = cw_zalloc(sizeof(*tap));

		if (tap == NULL)
			return CW_ENOMEM;
		tap->gw = &t->gateway->workers[i];
		tap->id = t->id;
		tap->stop = stop;
		tap->wide = t->wide;
		cw_list_init(&tap->link);
		memcpy(tap->identity, t->identity, sizeof(tap->identity));
		cw_post(tap->gw->worker, &tap->mail, on_tap);
	}
	return 0;
}

static int trace(struct cw_gateway *g, const char *identity, int wide, cw_trace_fn on_line_fn, void *arg, struct cw_trace **ret_trace)
{
	struct cw_trace *t;
	int rc;

	if (strlen(identity) > CW_IDENTITY_MAX)
		return CW_EINVAL;
	t = cw_zalloc(sizeof(*t));
	if (t == NULL)
		return CW_ENOMEM;
	t->gateway = g;
	t->id = ++g->next_trace;
	t->on_line = on_line_fn;
	t->arg = arg;
	t->wide = wide;
	strcpy(t->identity, identity);
	cw_list_push_back(&g->traces, &t->link);
	rc = tell_workers(t, 0);
	if (rc < 0) {
		cw_gateway_trace_stop(t);
		return rc;
	}
	*ret_trace = t;
	return 0;
}

int cw_gateway_trace(struct cw_gateway *g, const char *identity, cw_trace_fn on_line_fn, void *arg, struct cw_trace **ret_trace)
{
	return trace(g, identity, 0, on_line_fn, arg, ret_trace);
}

int cw_gateway_trace_listener(struct cw_gateway *g, const char *listener, cw_trace_fn on_line_fn, void *arg, struct cw_trace **ret_trace)
{
	if (gw_bound_find(&g->listeners, listener, NULL) != NULL || gw_bound_find(&g->connections, listener, NULL) != NULL)
		return trace(g, listener, 1, on_line_fn, arg, ret_trace);
	return CW_ENOENT;
}

void cw_gateway_trace_stop(struct cw_trace *t)
{
	if (t == NULL)
		return;
	(void)tell_workers(t, 1);
	cw_list_remove(&t->link);
	cw_free(t);
}
