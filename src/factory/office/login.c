/*
 * login.c - who may use the office: sessions of the page, tokens of programs, client certificates; see office.h.
 *
 * A session ends after IDLE_MS without a request, an operator's who may change things after WHOLE_MS in any case, and when the
 * operator is no more or has another token. A screen that only shows may stay. Wrong tokens are answered late and counted for
 * each address: after FAILURES of them it gets no answer but "slow" until some time has passed. Sessions that are there already go on.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/stat.h"
#include "factory/office/office.h"
#include "http/secret.h"

#define IDLE_MS  (30u * 60000u)
#define WHOLE_MS (12u * 3600000u)
#define LATE_MS  1000u  /* a wrong token's answer comes so much later */
#define FAILURES 8u     /* from one address, .. */
#define FORGET_MS 15000u /* .. and one is forgotten after this time */

/* ---- guessing ---------------------------------------------------------------------------------- */

static unsigned failures_left(const struct office_guesser *g, uint64_t now)
{
	uint64_t forgotten = (now - g->last) / FORGET_MS;

	return forgotten >= g->failures ? 0 : g->failures - (unsigned)forgotten;
}

static struct office_guesser *find_guesser(struct office_door *d, const char *address)
{
	size_t i;

	for (i = 0; i < OFFICE_GUESSERS; i++) {
		if (d->guessers[i].failures != 0 && strcmp(d->guessers[i].address, address) == 0)
			return &d->guessers[i];
	}
	return NULL;
}

static int is_slow(struct office_door *d, const struct cw_http_req *req)
{
	char address[CW_ADDR_TEXT];
	const struct office_guesser *g;

	(void)cw_addr_limited(cw_http_peer(req), address);
	g = find_guesser(d, address);
	return g != NULL && failures_left(g, cw_clock_ms()) >= FAILURES;
}

static void note_failure(struct office_door *d, const struct cw_http_req *req)
{
	uint64_t now = cw_clock_ms();
	struct office_guesser *g;
	char address[CW_ADDR_TEXT];
	size_t i;

	(void)cw_addr_limited(cw_http_peer(req), address);
	g = find_guesser(d, address);
	if (g == NULL) {
		g = &d->guessers[0]; /* an unused one, or the one that is forgotten most */
		for (i = 1; i < OFFICE_GUESSERS; i++) {
			if (d->guessers[i].last < g->last)
				g = &d->guessers[i];
		}
		(void)snprintf(g->address, sizeof(g->address), "%s", address);
		g->failures = 0;
	}
	g->failures = failures_left(g, now) + 1;
	g->last = now;
	cw_count(factory, logins_refused);
	cw_log(factory_login_refused, "no operator has this name and token", CW_LS("address", address));
}

/* ---- who it is ------------------------------------------------------------------------------- */

static const struct factory_operator *operator_named(const struct office *o, const char *name)
{
	const struct cw_conf_list *list = &o->factory->conf->operators;
	size_t i;

	for (i = 0; i < list->count; i++) {
		const struct factory_operator *op = cw_conf_item(list, struct factory_operator, i);

		if (strcmp(op->name, name) == 0)
			return op;
	}
	return NULL;
}

static const struct factory_operator *operator_with(const struct office *o, const char *token)
{
	const struct cw_conf_list *list = &o->factory->conf->operators;
	const struct factory_operator *found = NULL;
	size_t i;

	for (i = 0; i < list->count; i++) {
		const struct factory_operator *op = cw_conf_item(list, struct factory_operator, i);

		if (op->token != NULL && op->token[0] != '\0' && cw_http_secret_same(token, op->token))
			found = op;
	}
	return found;
}

static uint64_t token_mark(const struct factory_operator *op)
{
	return op->token != NULL ? cw_hash(op->token, strlen(op->token)) : 0;
}

/* The value of our cookie in the request, or NULL. */
static const char *cookie_of(const struct office *o, const struct cw_http_req *req)
{
	const char *at = cw_http_header(req, "Cookie");
	size_t n = strlen(o->door.cookie);

	while (at != NULL) {
		at += strspn(at, "; ");
		if (strncmp(at, o->door.cookie, n) == 0 && at[n] == '=')
			return strcspn(at + n + 1, "; ") == OFFICE_SESSION_ID ? at + n + 1 : NULL;
		at = strchr(at, ';');
	}
	return NULL;
}

static struct office_session *session_of(struct office *o, const struct cw_http_req *req)
{
	const char *cookie = cookie_of(o, req);
	char id[OFFICE_SESSION_ID + 1];
	struct office_session *found = NULL;
	size_t i;

	if (cookie == NULL)
		return NULL;
	(void)snprintf(id, sizeof(id), "%s", cookie);
	for (i = 0; i < OFFICE_SESSIONS; i++) {
		if (o->door.sessions[i].id[0] != '\0' && cw_http_secret_same(id, o->door.sessions[i].id))
			found = &o->door.sessions[i];
	}
	return found;
}

static void session_end(struct office_session *s)
{
	explicit_bzero(s, sizeof(*s));
}

/* The operator of a session that is still good, or NULL. */
static const struct factory_operator *session_operator(struct office *o, struct office_session *s)
{
	uint64_t now = cw_clock_ms();
	const struct factory_operator *op = operator_named(o, s->name);

	if (op == NULL || token_mark(op) != s->token || now - s->used > IDLE_MS || (!op->view_only && now - s->began > WHOLE_MS)) {
		session_end(s);
		return NULL;
	}
	s->used = now;
	return op;
}

static enum office_entry enter_as(const struct factory_operator *op, const char *how, struct office_who *ret)
{
	*ret = (struct office_who){ op->name, how, op->view_only };
	return OFFICE_IN;
}

enum office_entry office_enter(struct office *o, const struct cw_http_req *req, int peek, struct office_who *ret)
{
	const char *bearer = cw_http_bearer(cw_http_header(req, "Authorization")), *certificate = cw_http_client(req);
	struct office_session *s;
	const struct factory_operator *op;

	if (o->factory->conf->operators.count == 0) { /* the configuration has seen to it that this is loopback, or asks for certificates */
		*ret = (struct office_who){ o->door.certificates && certificate != NULL ? certificate : "local",
					    o->door.certificates ? "certificate" : "open", 0 };
		return o->door.certificates && certificate == NULL ? OFFICE_NOBODY : OFFICE_IN;
	}
	if (bearer != NULL) {
		if (is_slow(&o->door, req))
			return OFFICE_SLOW;
		op = operator_with(o, bearer);
		if (op != NULL)
			return enter_as(op, "token", ret);
		if (!peek)
			note_failure(&o->door, req);
		return OFFICE_WRONG;
	}
	s = session_of(o, req);
	op = s != NULL ? session_operator(o, s) : NULL;
	if (op != NULL)
		return enter_as(op, "session", ret);
	op = certificate != NULL ? operator_named(o, certificate) : NULL;
	return op != NULL ? enter_as(op, "certificate", ret) : OFFICE_NOBODY;
}

/* ---- refusals that come late -------------------------------------------------------------------- */

struct late {
	struct cw_list link;
	struct cw_timer timer;
	struct office *office;
	struct cw_http_req *req;
};

static void late_free(struct late *l)
{
	cw_timer_stop(cw_worker_timers(l->office->factory->loop), &l->timer);
	cw_list_remove(&l->link);
	l->office->door.late_count--;
	cw_free(l);
}

static void late_gone(void *arg)
{
	late_free(arg);
}

static void refuse_login(struct cw_http_req *req)
{
	office_refuse(req, 401, "LOGIN", "no operator has this name and token");
}

static void late_due(struct cw_timer *t)
{
	struct late *l = cw_container_of(t, struct late, timer);
	struct cw_http_req *req = l->req;

	late_free(l);
	refuse_login(req);
}

static void refuse_late(struct office *o, struct cw_http_req *req)
{
	struct late *l = o->door.late_count < OFFICE_LATE ? cw_zalloc(sizeof(*l)) : NULL;

	if (l == NULL) {
		office_refuse(req, 429, "SLOW", "too many log-ins fail at once; wait a minute");
		return;
	}
	l->office = o;
	l->req = req;
	o->door.late_count++;
	cw_list_push_back(&o->door.late, &l->link);
	cw_http_on_gone(req, late_gone, l);
	cw_timer_set(cw_worker_timers(o->factory->loop), &l->timer, LATE_MS, late_due);
}

/* ---- the session's resource ------------------------------------------------------------------------ */

static void reply_session(struct office *o, struct cw_http_req *req, const struct office_who *who, const char *cookie)
{
	struct cw_json j;

	cw_json_begin(&j, 4096);
	cw_json_map(&j);
	office_put_bool(&j, "operators", o->factory->conf->operators.count != 0 || o->door.certificates);
	cw_json_text(&j, "name");
	if (who != NULL)
		cw_json_text(&j, who->name);
	else
		cw_json_null(&j);
	cw_json_field(&j, "how", who != NULL ? who->how : "");
	office_put_bool(&j, "viewOnly", who == NULL || who->view_only);
	cw_json_field(&j, "version", CW_VERSION);
	cw_json_end_map(&j);
	office_reply_cookie(req, 200, &j, cookie);
}

void office_session_get(struct office *o, struct cw_http_req *req)
{
	struct office_who who;
	enum office_entry entry = office_enter(o, req, 0, &who);

	reply_session(o, req, entry == OFFICE_IN ? &who : NULL, NULL);
}

static struct office_session *session_make(struct office *o, const struct factory_operator *op)
{
	struct office_session *s = &o->door.sessions[0];
	uint8_t random[OFFICE_SESSION_ID / 2];
	size_t i;

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return NULL;
	for (i = 1; i < OFFICE_SESSIONS; i++) {
		if (o->door.sessions[i].used < s->used)
			s = &o->door.sessions[i];
	}
	session_end(s);
	for (i = 0; i < sizeof(random); i++)
		(void)snprintf(s->id + 2 * i, 3, "%02x", random[i]);
	explicit_bzero(random, sizeof(random));
	(void)snprintf(s->name, sizeof(s->name), "%s", op->name);
	s->token = token_mark(op);
	s->began = s->used = cw_clock_ms();
	return s;
}

/* {"name","token"}; the name may be left out. 0 or CW_EPROTO; *ret_body is the caller's either way. */
static int read_login(const struct cw_http_req *req, json_t **ret_body, const char **ret_name, const char **ret_token)
{
	size_t len;
	const char *text = cw_http_body(req, &len), *type = cw_http_header(req, "Content-Type");

	*ret_name = "";
	*ret_body = type != NULL && strncasecmp(type, "application/json", 16) == 0 ? json_loadb(text, len, 0, NULL) : NULL;
	return json_unpack(*ret_body, "{s?s, s:s}", "name", ret_name, "token", ret_token) == 0 ? 0 : CW_EPROTO;
}

void office_session_post(struct office *o, struct cw_http_req *req)
{
	const struct factory_operator *op = NULL;
	const char *name, *token;
	struct office_session *s;
	json_t *body;
	char cookie[OFFICE_SESSION_ID + 160];

	if (is_slow(&o->door, req)) {
		office_refuse(req, 429, "SLOW", "too many wrong tokens came from this address; wait a minute");
		return;
	}
	if (read_login(req, &body, &name, &token) < 0) {
		json_decref(body);
		office_refuse(req, 400, "BAD_REQUEST", "a log-in is {\"name\":\"..\",\"token\":\"..\"} with Content-Type: application/json");
		return;
	}
	op = operator_with(o, token);
	if (op != NULL && name[0] != '\0' && strcmp(op->name, name) != 0)
		op = NULL;
	explicit_bzero((void *)(uintptr_t)token, strlen(token));
	json_decref(body);
	s = op != NULL ? session_make(o, op) : NULL;
	if (op == NULL) {
		note_failure(&o->door, req);
		refuse_late(o, req);
		return;
	}
	if (s == NULL) {
		office_refuse(req, 503, "UNAVAILABLE", "the system gives no random numbers");
		return;
	}
	cw_count(factory, logins);
	cw_log(factory_login, "", CW_LS("operator", op->name), CW_LS("address", cw_http_peer(req)));
	(void)snprintf(cookie, sizeof(cookie), "%s=%s; Path=/; HttpOnly; SameSite=Strict%s", o->door.cookie, s->id,
		       o->door.secure ? "; Secure" : "");
	reply_session(o, req, &(struct office_who){ op->name, "session", op->view_only }, cookie);
	explicit_bzero(cookie, sizeof(cookie));
}

void office_session_delete(struct office *o, struct cw_http_req *req)
{
	struct office_session *s = session_of(o, req);
	char cookie[160];

	if (s != NULL)
		session_end(s);
	(void)snprintf(cookie, sizeof(cookie), "%s=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0%s", o->door.cookie,
		       o->door.secure ? "; Secure" : "");
	reply_session(o, req, NULL, cookie);
}

/* ---- life ------------------------------------------------------------------------------------------ */

void office_door_open(struct office *o, const struct factory_tls *tls)
{
	cw_list_init(&o->door.late);
	o->door.secure = tls->certificate != NULL;
	o->door.certificates = tls->client_ca != NULL;
}

void office_door_name(struct office *o)
{
	const char *port = strrchr(cw_http_address(o->http), ':');

	(void)snprintf(o->door.cookie, sizeof(o->door.cookie), "causeway_%s", port != NULL ? port + 1 : "0");
}

void office_door_close(struct office *o)
{
	struct cw_list *e;

	while ((e = cw_list_first(&o->door.late)) != NULL) {
		struct late *l = cw_container_of(e, struct late, link);

		cw_http_on_gone(l->req, NULL, NULL); /* the listener ends it */
		late_free(l);
	}
}
