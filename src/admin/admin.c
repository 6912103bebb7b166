/* admin.c - see admin.h: routes of the control socket. */
#include "admin/admin_impl.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"

#define ANSWER_MOST (64u << 20)
#define LIST_MOST 100000u
/* An import is one body: 200,000 entries take some 30 MB. The socket is the operators' alone. */
#define BODY_MOST (256u << 20)

/* ---- answers ------------------------------------------------------------------------ */

void cw_admin_reply_json(struct cw_http_req *req, unsigned status, struct cw_json *j)
{
	char *text;
	size_t len;

	if (cw_json_finish(j, &text, &len) < 0) {
		cw_http_reply(req, 503, "application/json", "{\"error\":\"out of memory\"}", 25);
		return;
	}
	cw_http_reply(req, status, "application/json", text, len);
	cw_free(text);
}

void cw_admin_reply_text(struct cw_http_req *req, unsigned status, const char *key, const char *text)
{
	struct cw_json j;

	cw_json_begin(&j, 8192);
	cw_json_map(&j);
	cw_json_field(&j, key, text);
	cw_json_end_map(&j);
	cw_admin_reply_json(req, status, &j);
}

static void put_int(struct cw_json *j, const char *key, int64_t v)
{
	cw_json_text(j, key);
	cw_json_int(j, v);
}

static void put_bool(struct cw_json *j, const char *key, int v)
{
	cw_json_text(j, key);
	cw_json_bool(j, v);
}

/* ---- status and stats ----------------------------------------------------------------- */

/* What the platform holds for the bridge as its remote configuration. */
static void put_config(struct cw_json *j, const struct cw_upstream_offer *c)
{
	if (c->id[0] == '\0')
		return;
	cw_json_text(j, "remoteConfig");
	cw_json_map(j);
	cw_json_field(j, "configId", c->id);
	put_int(j, "size", c->size);
	cw_json_field(j, "sha256", c->sha256);
	put_int(j, "toldMs", c->told_ms);
	cw_json_end_map(j);
}

static void put_upstreams(struct cw_json *j, const struct cw_admin_conf *d)
{
	size_t i;

	cw_json_text(j, "upstreams");
	cw_json_array(j);
	for (i = 0; i < cw_bridge_upstream_count(d->bridge); i++) {
		struct cw_upstream *u = cw_bridge_upstream(d->bridge, i);
		struct cw_upstream_status s;

		cw_upstream_status(u, &s);
		cw_json_map(j);
		cw_json_field(j, "name", cw_upstream_name(u));
		put_bool(j, "up", s.up);
		put_bool(j, "downlink", cw_upstream_has_downlink(u));
		put_int(j, "devicesOnline", (int64_t)s.devices_online);
		put_int(j, "queuedRecords", (int64_t)s.queued_records);
		put_int(j, "queuedBytes", (int64_t)s.queued_bytes);
		put_int(j, "inFlight", (int64_t)s.in_flight);
		if (s.clock_known)
			put_int(j, "clockOffsetMs", s.clock_offset_ms);
		put_config(j, &s.config);
		cw_json_field(j, "lastError", s.last_error);
		cw_json_end_map(j);
	}
	cw_json_end_array(j);
}

static void put_listeners(struct cw_json *j, const struct cw_admin_conf *d)
{
	char address[CW_ADDR_TEXT];
	const char *protocol;
	size_t i;

	cw_json_text(j, "listeners");
	cw_json_array(j);
	for (i = 0; i < cw_gateway_listener_count(d->gateway); i++) {
		const struct cw_listener *l = cw_gateway_listener(d->gateway, i, &protocol);
		struct cw_listener_counts c;

		cw_listener_counts(l, &c);
		cw_json_map(j);
		cw_json_field(j, "name", cw_listener_name(l));
		cw_json_field(j, "protocol", protocol);
		cw_json_field(j, "address", cw_addr_format(cw_listener_address(l), address));
		put_int(j, "open", (int64_t)c.open);
		put_int(j, "accepted", (int64_t)c.accepted);
		put_int(j, "refused", (int64_t)(c.refused_connections + c.refused_source + c.refused_rate + c.refused_list +
		                                c.refused_descriptors));
		cw_json_end_map(j);
	}
	cw_json_end_array(j);
}

static void put_connections(struct cw_json *j, const struct cw_admin_conf *d)
{
	struct cw_dial_status st;
	const char *protocol;
	size_t i;

	cw_json_text(j, "connections");
	cw_json_array(j);
	for (i = 0; i < cw_gateway_connection_count(d->gateway); i++) {
		struct cw_dial *c = cw_gateway_connection(d->gateway, i, &protocol);

		cw_dial_status(c, &st);
		cw_json_map(j);
		cw_json_field(j, "name", cw_dial_name(c));
		cw_json_field(j, "protocol", protocol);
		cw_json_field(j, "to", cw_dial_to(c));
		cw_json_field(j, "state", cw_dial_state_name(st.state));
		put_int(j, "sinceMs", st.since_ms);
		cw_json_field(j, "address", st.address);
		put_int(j, "attempts", (int64_t)st.attempts);
		put_int(j, "successes", (int64_t)st.successes);
		if (st.state == CW_DIAL_WAITING)
			put_int(j, "nextMs", st.next_ms);
		cw_json_field(j, "lastError", st.last_error);
		cw_json_end_map(j);
	}
	cw_json_end_array(j);
}

/* Processes of isolated protocols. */
static void put_hosts(struct cw_json *j, const struct cw_admin_conf *d)
{
	struct cw_host_info h;
	unsigned w;
	size_t p;

	cw_json_text(j, "pluginHosts");
	cw_json_array(j);
	for (p = 0; p < d->protocol_count; p++) {
		for (w = 0; w < d->worker_count && cw_gateway_host(d->gateway, p, w, &h); w++) {
			cw_json_map(j);
			cw_json_field(j, "protocol", d->protocols[p]->name);
			put_int(j, "worker", w);
			cw_json_field(j, "state", cw_host_state_name(h.state));
			put_int(j, "pid", h.pid);
			put_int(j, "restarts", h.starts == 0 ? 0 : (int64_t)h.starts - 1);
			put_int(j, "deaths", (int64_t)h.deaths);
			put_bool(j, "seccomp", h.sandboxed);
			cw_json_end_map(j);
		}
	}
	cw_json_end_array(j);
}

/* What the start waits for; empty once it is complete. */
static void put_waits(struct cw_json *j, const struct cw_admin_conf *d)
{
	const char *text;
	size_t n;

	cw_json_text(j, "waitingFor");
	cw_json_array(j);
	for (n = 0; d->bridge == NULL && (text = d->waits(d->ctx, n)) != NULL; n++)
		cw_json_text(j, text);
	cw_json_end_array(j);
}

static void on_status(struct cw_admin *a, struct cw_http_req *req, const char *rest)
{
	const struct cw_admin_conf *d = &a->conf;
	struct cw_json j;

	(void)rest;
	cw_json_begin(&j, ANSWER_MOST);
	cw_json_map(&j);
	cw_json_field(&j, "version", CW_VERSION);
	put_int(&j, "pid", getpid());
	put_int(&j, "uptimeMs", cw_clock_wall_ms() - d->started_ms);
	put_int(&j, "workers", d->worker_count);
	put_bool(&j, "up", d->bridge != NULL && cw_bridge_up(d->bridge));
	put_waits(&j, d);
	cw_json_text(&j, "devices");
	cw_json_map(&j);
	put_int(&j, "known", cw_stat_read(CW_STAT_bridge_devices_known));
	put_int(&j, "attached", cw_stat_read(CW_STAT_bridge_devices_attached));
	put_int(&j, "online", cw_stat_read(CW_STAT_bridge_devices_online));
	cw_json_end_map(&j);
	if (d->bridge != NULL) {
		put_upstreams(&j, d);
		put_listeners(&j, d);
		put_connections(&j, d);
		put_hosts(&j, d);
	}
	cw_json_end_map(&j);
	cw_admin_reply_json(req, 200, &j);
}

static void on_stats(struct cw_admin *a, struct cw_http_req *req, const char *rest)
{
	const struct cw_admin_conf *d = &a->conf;
	struct cw_json j;
	char name[160];
	size_t p, k;
	int i;

	(void)rest;
	cw_json_begin(&j, ANSWER_MOST);
	cw_json_map(&j);
	for (i = 0; i < CW_STAT_COUNT; i++) {
		const struct cw_stat_entry *e = cw_stat_entry((enum cw_stat_id)i);

		(void)snprintf(name, sizeof(name), "%s.%s", e->module, e->name);
		put_int(&j, name, cw_stat_read((enum cw_stat_id)i));
	}
	for (p = 0; p < d->protocol_count; p++) {
		for (k = 0; d->protocols[p]->counters != NULL && d->protocols[p]->counters[k].name != NULL; k++) {
			(void)snprintf(name, sizeof(name), "plugin.%s.%s", d->protocols[p]->name, d->protocols[p]->counters[k].name);
			put_int(&j, name, (int64_t)cw_gateway_plugin_counter(d->gateway, p, k));
		}
	}
	cw_json_end_map(&j);
	cw_admin_reply_json(req, 200, &j);
}

/* ---- devices ------------------------------------------------------------------------------ */

static const char *state_name(const struct cw_device *d)
{
	switch (cw_device_state(d)) {
	case CW_UPDEVICE_ONLINE: return "online";
	case CW_UPDEVICE_REFUSED: return "refused";
	default: return cw_device_owner(d) != NULL ? "waiting" : "offline";
	}
}

static void put_device(struct cw_json *j, const struct cw_device *d)
{
	unsigned worker;
	uint64_t session;

	cw_json_map(j);
	cw_json_field(j, "identity", cw_device_identity(d));
	cw_json_field(j, "productKey", cw_device_product_key(d));
	cw_json_field(j, "deviceName", cw_device_name(d));
	cw_json_field(j, "state", state_name(d));
	put_int(j, "sinceMs", cw_device_since_ms(d));
	cw_json_field(j, "upstream", cw_upstream_name(cw_device_upstream(d)));
	put_bool(j, "downlink", cw_upstream_has_downlink(cw_device_upstream(d))); /* no: commands end as refused */
	put_bool(j, "connected", cw_gateway_session_of(d, &worker, &session));
	if (cw_gateway_via(d) != NULL)
		cw_json_field(j, "via", cw_gateway_via(d));
	put_int(j, "commands", cw_device_commands(d));
	put_int(j, "connections", cw_device_connections(d));
	put_int(j, "superseded", cw_device_superseded(d));
	if (cw_device_last_code(d) != 0) {
		put_int(j, "lastCode", cw_device_last_code(d));
		cw_json_field(j, "lastText", cw_device_last_text(d) == NULL ? "" : cw_device_last_text(d));
	}
	cw_json_end_map(j);
}

static void on_devices(struct cw_admin *a, struct cw_http_req *req, const char *rest)
{
	const char *state = cw_http_query(req, "state");
	struct cw_device *d = NULL;
	struct cw_json j;
	unsigned n = 0;

	(void)rest;
	cw_json_begin(&j, ANSWER_MOST);
	cw_json_array(&j);
	while ((d = cw_bridge_next(a->conf.bridge, d)) != NULL && n < LIST_MOST) {
		if (state != NULL && strcmp(state, state_name(d)) != 0)
			continue;
		put_device(&j, d);
		n++;
	}
	cw_json_end_array(&j);
	cw_admin_reply_json(req, 200, &j);
}

static void put_never_seen(struct cw_admin *a, struct cw_http_req *req, const struct cw_identity *id)
{
	struct cw_json j;

	cw_json_begin(&j, ANSWER_MOST);
	cw_json_map(&j);
	cw_json_field(&j, "identity", id->identity);
	cw_json_field(&j, "productKey", id->product_key);
	cw_json_field(&j, "deviceName", id->device_name);
	cw_json_field(&j, "state", "never seen");
	put_bool(&j, "connected", 0);
	cw_json_end_map(&j);
	cw_admin_reply_json(req, 200, &j);
}

static void on_device(struct cw_admin *a, struct cw_http_req *req, const char *identity)
{
	struct cw_device *d = cw_bridge_find(a->conf.bridge, identity, strlen(identity));
	struct cw_json j;

	if (d == NULL) {
		cw_admin_ask(a, req, identity, put_never_seen);
		return;
	}
	cw_json_begin(&j, ANSWER_MOST);
	put_device(&j, d);
	cw_admin_reply_json(req, 200, &j);
}

static void on_kick(struct cw_admin *a, struct cw_http_req *req, const char *identity)
{
	if (cw_bridge_kick(a->conf.bridge, identity) < 0)
		cw_admin_reply_text(req, 404, "error", "no device of this identity is connected");
	else
		cw_admin_reply_text(req, 200, "done", "asked to leave; its connection is closed");
}

/* ---- reload, stop ---------------------------------------------------------------------------- */

struct reload_wait {
	struct cw_http_req *req; /* NULL: the client has gone */
};

static void on_client_gone(void *arg)
{
	((struct reload_wait *)arg)->req = NULL;
}

static void on_reloaded(void *arg, int rc, const char *sentence)
{
	struct reload_wait *w = arg;

	if (w->req != NULL)
		cw_admin_reply_text(w->req, rc < 0 ? 409 : 200, rc < 0 ? "error" : "done", sentence);
	cw_free(w);
}

static void on_reload(struct cw_admin *a, struct cw_http_req *req, const char *rest)
{
	struct reload_wait *w = cw_zalloc(sizeof(*w));
	int rc = CW_ENOMEM;

	(void)rest;
	if (w != NULL) {
		w->req = req;
		cw_http_on_gone(req, on_client_gone, w);
		rc = a->conf.reload(a->conf.ctx, on_reloaded, w);
	}
	if (rc < 0) {
		cw_http_on_gone(req, NULL, NULL);
		cw_free(w);
		cw_admin_reply_text(req, 409, "error", rc == CW_EBUSY ? "a reload is under way already" : cw_error_text(rc));
	}
}

static void on_stop_due(struct cw_timer *t)
{
	struct cw_admin *a = cw_container_of(t, struct cw_admin, stop_timer);

	a->conf.stop(a->conf.ctx);
}

static void on_stop(struct cw_admin *a, struct cw_http_req *req, const char *rest)
{
	(void)rest;
	cw_admin_reply_text(req, 200, "done", "stopping: queues are drained first");
	cw_timer_set(cw_worker_timers(a->conf.control), &a->stop_timer, 50, on_stop_due);
}

/* ---- trace -------------------------------------------------------------------------------------- */

struct follow {
	struct cw_http_req *req;
	struct cw_trace *trace;
	unsigned missed;
};

static void on_follower_gone(void *arg)
{
	struct follow *f = arg;

	cw_gateway_trace_stop(f->trace);
	cw_free(f);
}

static void on_trace_line(void *arg, const struct cw_trace_line *line)
{
	struct follow *f = arg;
	struct cw_json j;
	char *text;
	size_t len;
	int begins = strcmp(line->what, "open") == 0 || strcmp(line->what, "midway") == 0;

	cw_json_begin(&j, ANSWER_MOST);
	cw_json_map(&j);
	put_int(&j, "time", line->utc_ms);
	cw_json_field(&j, "protocol", line->protocol);
	put_int(&j, "conn", (int64_t)line->conn);
	cw_json_field(&j, "what", line->what);
	if (line->text[0] != '\0')
		cw_json_field(&j, begins ? "peer" : "text", line->text);
	if (begins) {
		put_bool(&j, "datagram", (line->number & CW_EVF_DATAGRAM) != 0);
		put_bool(&j, "dialled", (line->number & CW_EVF_DIALLED) != 0);
		put_bool(&j, "serial", (line->number & CW_EVF_SERIAL) != 0);
	} else if (line->number != 0)
		put_int(&j, "number", line->number);
	if (line->bytes.len > 0) {
		cw_json_text(&j, "hex");
		cw_json_hex(&j, line->bytes);
	}
	if (line->missed + f->missed > 0)
		put_int(&j, "missed", line->missed + f->missed);
	cw_json_end_map(&j);
	if (cw_json_finish(&j, &text, &len) < 0) {
		f->missed++;
		return;
	}
	text[len] = '\n'; /* in the place of the NUL */
	if (cw_http_stream_write(f->req, text, len + 1) < 0)
		f->missed++;
	else
		f->missed = 0;
	cw_free(text);
}

static void follow_any(struct cw_admin *a, struct cw_http_req *req, const char *name,
                       int (*trace)(struct cw_gateway *, const char *, cw_trace_fn, void *, struct cw_trace **))
{
	struct follow *f = cw_zalloc(sizeof(*f));
	int rc = f == NULL ? CW_ENOMEM : trace(a->conf.gateway, name, on_trace_line, f, &f->trace);

	if (rc < 0) {
		cw_free(f);
		cw_admin_reply_text(req, rc == CW_ENOENT ? 404 : 503, "error", rc == CW_ENOENT ? "there is no listener or connection of that name; causeway status has them" : "out of memory");
		return;
	}
	f->req = req;
	cw_http_stream(req, "application/x-ndjson");
	cw_http_on_gone(req, on_follower_gone, f);
}

static void follow(struct cw_admin *a, struct cw_http_req *req, const struct cw_identity *id)
{
	follow_any(a, req, id->identity, cw_gateway_trace);
}

static void on_trace(struct cw_admin *a, struct cw_http_req *req, const char *identity)
{
	cw_admin_ask(a, req, identity, follow);
}

static void on_trace_listener(struct cw_admin *a, struct cw_http_req *req, const char *listener)
{
	follow_any(a, req, listener, cw_gateway_trace_listener);
}

/* ---- routes ---------------------------------------------------------------------------------------- */

static const struct {
	const char *method, *prefix, *suffix; /* suffix NULL: the path is the prefix */
	void (*handle)(struct cw_admin *a, struct cw_http_req *req, const char *rest);
} routes[] = {
	{ "GET", "/api/v1/status", NULL, on_status },
	{ "GET", "/api/v1/stats", NULL, on_stats },
	{ "GET", "/api/v1/devices", NULL, on_devices },
	{ "POST", "/api/v1/devices/", "/kick", on_kick },
	{ "GET", "/api/v1/devices/", "", on_device },
	{ "POST", "/api/v1/reload", NULL, on_reload },
	{ "POST", "/api/v1/stop", NULL, on_stop },
	{ "GET", "/api/v1/trace/", "", on_trace },
	{ "GET", "/api/v1/traceListener/", "", on_trace_listener },
	{ "GET", "/api/v1/identities", NULL, cw_admin_identities },
	{ "POST", "/api/v1/identities", NULL, cw_admin_identities_import },
	{ "POST", "/api/v1/identities/rekey", NULL, cw_admin_identities_rekey },
	{ "DELETE", "/api/v1/identities/", "", cw_admin_identities_remove },
	{ "GET", "/api/v1/pending", NULL, cw_admin_pending },
	{ "DELETE", "/api/v1/pending", NULL, cw_admin_pending_drop },
	{ "GET", "/api/v1/pending/", "", cw_admin_pending_show },
	{ "DELETE", "/api/v1/pending/", "", cw_admin_pending_drop },
};

/* What stands between prefix and suffix into out[size]; 0 when the path is another. */
static int match(const char *path, const char *prefix, const char *suffix, char *out, size_t size)
{
	size_t n = strlen(path), np = strlen(prefix), ns = suffix == NULL ? 0 : strlen(suffix);

	if (suffix == NULL)
		return strcmp(path, prefix) == 0;
	if (n <= np + ns || n - np - ns >= size || strncmp(path, prefix, np) != 0 || strcmp(path + n - ns, suffix) != 0)
		return 0;
	memcpy(out, path + np, n - np - ns);
	out[n - np - ns] = '\0';
	return 1;
}

static void on_request(void *arg, struct cw_http_req *req)
{
	struct cw_admin *a = arg;
	char rest[CW_IDENTITY_MAX + 1] = "";
	size_t i;

	for (i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		if (strcmp(cw_http_method(req), routes[i].method) != 0 ||
		    !match(cw_http_path(req), routes[i].prefix, routes[i].suffix, rest, sizeof(rest)))
			continue;
		if (a->conf.bridge == NULL && routes[i].handle != on_status && routes[i].handle != on_stop) {
			const char *waits = a->conf.waits(a->conf.ctx, 0);

			cw_admin_reply_text(req, 503, "error", waits == NULL ? "the gateway starts" : waits);
			return;
		}
		routes[i].handle(a, req, rest);
		return;
	}
	cw_admin_reply_text(req, 404, "error", "there is no such path");
}

int cw_admin_open(const struct cw_admin_conf *admin, struct cw_admin **ret_admin, struct cw_msg *msg)
{
	struct cw_http_conf conf = { .address = admin->address, .max_body = BODY_MOST, .handle = on_request };
	struct cw_admin *a = cw_zalloc(sizeof(*a));
	int rc;

	if (a == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	a->conf = *admin;
	conf.arg = a;
	rc = cw_http_open(a->conf.control, &conf, &a->http, msg);
	if (rc < 0) {
		cw_msg_wrap(msg, "control");
		cw_free(a);
		return rc;
	}
	*ret_admin = a;
	return 0;
}

static void on_http_closed(void *arg)
{
	cw_free(arg);
}

void cw_admin_update(struct cw_admin *a, const struct cw_admin_conf *conf)
{
	a->conf = *conf;
}

void cw_admin_close(struct cw_admin *a)
{
	if (a == NULL)
		return;
	cw_timer_stop(cw_worker_timers(a->conf.control), &a->stop_timer);
	cw_http_close(a->http, on_http_closed, a);
}
