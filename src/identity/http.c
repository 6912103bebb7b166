/* http.c - see http.h. */
#include "identity/http.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/digits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "causeway/record.h"
#include "identity/import.h"
#include "json/json.h"

#define ANSWER_MOST (256u * 1024)
#define URL_MOST 4096u
/* While it fails, one line as often as this. */
#define LOG_AGAIN_MS 60000u

struct cw_http_source {
	struct cw_resolver *resolver;
	struct cw_fetch_pool *pool;
	const char *name;
	char *url, *header, *ca, *certificate, *key;
	struct cw_fetch_tls tls;
	unsigned timeout_ms;
	struct cw_list calls;
	int failing;
	uint64_t logged_ms;
};

struct call {
	struct cw_list link;
	struct cw_http_source *source;
	struct cw_fetch *fetch;
	uint64_t token;
	int reverse;
	char identity[]; /* empty when reverse */
};

/* ---- the answer ------------------------------------------------------------------------ */

static int make(struct cw_bytes map, const char *asked, struct cw_identity **ret_id, struct cw_msg *msg)
{
	char identity[160], pk[64], dn[96], ds[160], *settings = NULL;
	struct cw_bytes own = cw_map_get(map, "settings");
	const char *wrong;
	size_t len = 0;
	int rc = 0;

	if (cw_identity_member(map, "identity", identity, sizeof(identity)) < 0 || cw_identity_member(map, "productKey", pk, sizeof(pk)) < 0 ||
	    cw_identity_member(map, "deviceName", dn, sizeof(dn)) < 0 || cw_identity_member(map, "deviceSecret", ds, sizeof(ds)) < 0)
		return cw_fail(msg, CW_EPROTO, "a text of the answer is too long or no text");
	if (asked != NULL && identity[0] != '\0' && strcmp(identity, asked) != 0)
		return cw_fail(msg, CW_EPROTO, "the answer is about another identity than the one asked for");
	/* Without a secret it is for devices that bring their own. */
	wrong = cw_identity_wrong(asked != NULL ? asked : identity, pk, dn, ds[0] == '\0' ? "-" : ds);
	if (wrong != NULL)
		return cw_fail(msg, CW_EPROTO, "the answer is of no use: %s", wrong);
	if (own.len > 0)
		rc = cw_json_from_item(own, ANSWER_MOST, &settings, &len);
	if (rc == 0)
		*ret_id = cw_identity_new(asked != NULL ? asked : identity, pk, dn, ds, cw_bytes_of(settings, len));
	cw_free(settings);
	explicit_bzero(ds, sizeof(ds));
	return rc < 0 || *ret_id == NULL ? cw_fail(msg, CW_ENOMEM, "out of memory") : 0;
}

int cw_http_source_read(int status, struct cw_bytes body, const char *asked, struct cw_identity **ret_id, struct cw_msg *msg)
{
	uint8_t *item;
	size_t len;
	int rc;

	*ret_id = NULL;
	if (status == 404)
		return CW_ENOENT;
	if (status != 200)
		return cw_fail(msg, CW_EREFUSED, "the answer has status %d; accepted are 200 and 404", status);
	rc = cw_json_to_item(body, &item, &len);
	if (rc < 0)
		return cw_fail(msg, CW_EPROTO, "the answer is not JSON");
	rc = make(cw_bytes_of(item, len), asked, ret_id, msg);
	explicit_bzero(item, len);
	cw_free(item);
	return rc;
}

static void note(struct cw_http_source *s, int ok, const char *why)
{
	uint64_t now;

	if (ok && s->failing)
		cw_log(identity_source, "the look-up answers again", CW_LS("source", s->name));
	if (ok) {
		s->failing = 0;
		return;
	}
	cw_count(identity, http_failed);
	now = cw_clock_ms();
	if (!s->failing || now - s->logged_ms >= LOG_AGAIN_MS) {
		cw_log(identity_source, why, CW_LS("source", s->name), CW_LS("then", "older answers are used as long as staleIfError allows; other devices are asked to come again"));
		s->logged_ms = now;
	}
	s->failing = 1;
}

static void on_answer(void *ctx, const struct cw_fetch_reply *reply)
{
	struct call *c = ctx;
	struct cw_http_source *s = c->source;
	struct cw_identity *id = NULL;
	struct cw_msg msg = { "" };
	uint64_t token = c->token;
	int rc = reply->rc;

	if (rc < 0)
		cw_msg_set(&msg, "%s", reply->text == NULL ? cw_error_text(rc) : reply->text);
	else
		rc = cw_http_source_read(reply->status, reply->body, c->reverse ? NULL : c->identity, &id, &msg);
	cw_list_remove(&c->link);
	cw_free(c);
	note(s, rc == CW_OK || rc == CW_ENOENT, msg.text);
	cw_resolver_answer(s->resolver, token, rc, id);
	cw_identity_free(id);
}

/* ---- the question ----------------------------------------------------------------------- */

/* Append name=VALUE, percent-encoded; 0 when it found room. */
static int add_query(char *url, size_t size, const char *name, const char *value, size_t len)
{
	size_t at = strlen(url);
	int n = snprintf(url + at, size - at, "%s%s=", strchr(url, '?') == NULL ? "?" : "&", name);

	if (n < 0 || (size_t)n >= size - at)
		return CW_ELIMIT;
	at += (size_t)n;
	return cw_percent(url + at, size - at, cw_bytes_of(value, len)) == NULL ? CW_ELIMIT : 0;
}

static void start(struct cw_http_source *s, const char *url, const char *identity, size_t len, uint64_t token)
{
	const char *headers[] = { "Accept: application/json", s->header, NULL };
	struct cw_fetch_request r = { .url = url, .headers = headers, .tls = s->tls, .connect_timeout_ms = s->timeout_ms,
		                      .timeout_ms = s->timeout_ms, .most = ANSWER_MOST, .done = on_answer };
	struct call *c = cw_zalloc(sizeof(*c) + len + 1);
	int rc = CW_ENOMEM;

	if (c != NULL) {
		c->source = s;
		c->token = token;
		c->reverse = identity == NULL;
		if (identity != NULL)
			memcpy(c->identity, identity, len);
		cw_list_push_back(&s->calls, &c->link);
		r.ctx = c;
		rc = cw_fetch_start(s->pool, &r, &c->fetch);
	}
	if (rc == 0) {
		cw_count(identity, http_asked);
		return;
	}
	if (c != NULL)
		cw_list_remove(&c->link);
	cw_free(c);
	note(s, 0, cw_error_text(rc));
	cw_resolver_answer(s->resolver, token, rc, NULL);
}

static void ask(void *source, const struct cw_claim *claim, uint64_t token)
{
	struct cw_http_source *s = source;
	char url[URL_MOST];
	int rc = 0;

	(void)snprintf(url, sizeof(url), "%s", s->url);
	rc = add_query(url, sizeof(url), "identity", claim->identity, claim->identity_len);
	if (rc == 0 && claim->imei != NULL)
		rc = add_query(url, sizeof(url), "imei", claim->imei, strlen(claim->imei));
	if (rc == 0 && claim->mac != NULL)
		rc = add_query(url, sizeof(url), "mac", claim->mac, strlen(claim->mac));
	if (rc < 0)
		cw_resolver_answer(s->resolver, token, rc, NULL);
	else
		start(s, url, claim->identity, claim->identity_len, token);
}

static void ask_name(void *source, const char *product_key, const char *device_name, uint64_t token)
{
	struct cw_http_source *s = source;
	char url[URL_MOST];
	int rc;

	(void)snprintf(url, sizeof(url), "%s", s->url);
	rc = add_query(url, sizeof(url), "productKey", product_key, strlen(product_key));
	if (rc == 0)
		rc = add_query(url, sizeof(url), "deviceName", device_name, strlen(device_name));
	if (rc < 0)
		cw_resolver_answer(s->resolver, token, rc, NULL);
	else
		start(s, url, NULL, 0, token);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void free_secret(char *secret)
{
	if (secret != NULL)
		explicit_bzero(secret, strlen(secret));
	cw_free(secret);
}

static void free_source(void *source)
{
	struct cw_http_source *s = source;
	struct cw_list *e;

	while ((e = cw_list_pop(&s->calls)) != NULL) {
		struct call *c = cw_container_of(e, struct call, link);

		cw_fetch_cancel(c->fetch);
		cw_free(c);
	}
	cw_free(s->url);
	free_secret(s->header);
	cw_free(s->ca);
	cw_free(s->certificate);
	cw_free(s->key);
	cw_free(s);
}

const struct cw_source_ops cw_http_source_ops = { .name = "http", .ask = ask, .ask_name = ask_name, .free = free_source };
const struct cw_source_ops cw_http_factory_ops = { .name = "factory", .ask = ask, .ask_name = ask_name, .free = free_source };

static int copy(const char *from, char **to)
{
	*to = from == NULL ? NULL : cw_strdup(from);
	return from != NULL && *to == NULL ? CW_ENOMEM : 0;
}

static int make_header(const char *token, char **ret)
{
	static const char head[] = "Authorization: Bearer ";
	size_t n = sizeof(head) + (token == NULL ? 0 : strlen(token));

	if (token == NULL)
		return 0;
	*ret = cw_alloc(n);
	if (*ret == NULL)
		return CW_ENOMEM;
	(void)snprintf(*ret, n, "%s%s", head, token);
	return 0;
}

int cw_http_source_new(struct cw_resolver *r, struct cw_fetch_pool *pool, const struct cw_http_source_conf *conf,
                       struct cw_http_source **ret_source)
{
	struct cw_http_source *s = cw_zalloc(sizeof(*s));
	int rc;

	if (s == NULL)
		return CW_ENOMEM;
	s->resolver = r;
	s->pool = pool;
	s->name = conf->name == NULL ? cw_http_source_ops.name : conf->name;
	s->timeout_ms = conf->timeout_ms;
	cw_list_init(&s->calls);
	rc = copy(conf->url, &s->url);
	if (rc == 0)
		rc = make_header(conf->token, &s->header);
	if (rc == 0)
		rc = copy(conf->tls.ca, &s->ca);
	if (rc == 0)
		rc = copy(conf->tls.certificate, &s->certificate);
	if (rc == 0)
		rc = copy(conf->tls.key, &s->key);
	if (rc < 0) {
		free_source(s);
		return rc;
	}
	s->tls = (struct cw_fetch_tls){ .ca = s->ca, .certificate = s->certificate, .key = s->key, .verify = conf->tls.verify };
	*ret_source = s;
	return 0;
}
