/* stations.c - see stations.h. */
#include "factory/stations.h"

#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "http/secret.h"
#include "net/addr.h"

/* One that was busy. The texts of `st` are the arrays behind it. */
struct recent {
	struct cw_map_node node;
	struct cw_list link; /* latest first */
	struct factory_station st;
	char name[CW_STOCK_STATION + 1], address[64];
	char product_key[CW_STOCK_PRODUCT_KEY + 1], device_id[CW_STOCK_DEVICE_ID + 1];
};

struct factory_stations {
	const struct factory_conf *conf;
	struct cw_cidrs *addresses; /* one for each station of the configuration */
	size_t count;               /* of these */
	int tokens;                 /* some station has one */
	struct cw_map by_name;
	struct cw_list recent;
	size_t recent_count;
};

/* ---- rights ------------------------------------------------------------------------------ */

static void free_addresses(struct cw_cidrs *list, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		cw_cidrs_fini(&list[i]);
	cw_free(list);
}

int cw_factory_stations_reload(struct factory_stations *s, const struct factory_conf *conf, struct cw_msg *msg)
{
	struct cw_cidrs *made = cw_calloc(conf->stations.count, sizeof(*made));
	int tokens = 0, rc = made != NULL ? 0 : cw_fail(msg, CW_ENOMEM, "out of memory");
	size_t i;

	for (i = 0; rc == 0 && i < conf->stations.count; i++) {
		const struct factory_station_conf *st = cw_conf_item(&conf->stations, struct factory_station_conf, i);

		rc = cw_cidrs_parse(st->addresses.items, st->addresses.count, &made[i], msg);
		tokens = tokens || st->token != NULL;
	}
	if (rc < 0) {
		free_addresses(made, made != NULL ? conf->stations.count : 0);
		return rc;
	}
	free_addresses(s->addresses, s->count);
	s->addresses = made;
	s->count = conf->stations.count;
	s->tokens = tokens;
	s->conf = conf;
	return 0;
}

int cw_factory_stations_new(const struct factory_conf *conf, struct factory_stations **ret_stations, struct cw_msg *msg)
{
	struct factory_stations *s = cw_zalloc(sizeof(*s));
	int rc;

	if (s == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	cw_list_init(&s->recent);
	rc = cw_factory_stations_reload(s, conf, msg);
	if (rc < 0) {
		cw_free(s);
		return rc;
	}
	*ret_stations = s;
	return 0;
}

static void forget(struct factory_stations *s, struct recent *r)
{
	cw_map_remove(&s->by_name, &r->node);
	cw_list_remove(&r->link);
	s->recent_count--;
	cw_free(r);
}

void cw_factory_stations_free(struct factory_stations *s)
{
	struct cw_list *e, *n;

	if (s == NULL)
		return;
	cw_list_each_safe (e, n, &s->recent)
		forget(s, cw_container_of(e, struct recent, link));
	cw_map_fini(&s->by_name);
	free_addresses(s->addresses, s->count);
	cw_free(s);
}

/* All tokens are looked at, so that the time does not tell which one it was. */
static const struct factory_station_conf *by_token(const struct factory_stations *s, const char *token)
{
	const struct factory_station_conf *found = NULL;
	size_t i;

	for (i = 0; i < s->count; i++) {
		const struct factory_station_conf *st = cw_conf_item(&s->conf->stations, struct factory_station_conf, i);

		if (st->token != NULL && cw_http_secret_same(token, st->token))
			found = st;
	}
	return found;
}

static const struct factory_station_conf *by_certificate(const struct factory_stations *s, const char *name)
{
	size_t i;

	for (i = 0; i < s->count; i++) {
		const struct factory_station_conf *st = cw_conf_item(&s->conf->stations, struct factory_station_conf, i);

		if (st->certificate != NULL && strcmp(st->certificate, name) == 0)
			return st;
	}
	return NULL;
}

static const struct factory_station_conf *by_address(const struct factory_stations *s, const char *peer)
{
	struct cw_addr addr;
	size_t i;

	if (cw_addr_parse(peer, &addr, NULL) < 0)
		return NULL;
	for (i = 0; i < s->count; i++) {
		if (s->addresses[i].count != 0 && cw_cidrs_match(&s->addresses[i], &addr))
			return cw_conf_item(&s->conf->stations, struct factory_station_conf, i);
	}
	return NULL;
}

/* "192.0.2.7:1234" and "[2001:db8::1]:1234" without the port and brackets. */
static void strip_port(char *out, size_t size, const char *peer)
{
	const char *colon = strrchr(peer, ':');
	size_t n = colon != NULL ? (size_t)(colon - peer) : strlen(peer);

	if (n > 2 && peer[0] == '[' && peer[n - 1] == ']') {
		peer++;
		n -= 2;
	}
	(void)snprintf(out, size, "%.*s", (int)n, peer);
}

/* Who is not listed: never the name of one who is. As much of it as a station's name may have; what no name has is a question mark. */
static void make_name(struct factory_caller *c, const char *certificate)
{
	const char *kind = certificate != NULL ? "cert:" : "", *p;
	char *out = c->name + snprintf(c->name, sizeof(c->name), "%s", kind);

	for (p = certificate != NULL ? certificate : c->address; *p != '\0' && out < c->name + sizeof(c->name) - 1; p++)
		*out++ = *p > ' ' && *p < 0x7f ? *p : '?';
	*out = '\0';
}

int cw_factory_station_find(const struct factory_stations *s, const struct factory_sign *sign, int64_t now, struct factory_caller *ret,
			    const char **ret_why)
{
	const char *token = s->tokens ? cw_http_bearer(sign->authorization) : NULL;
	const struct factory_station_conf *st = token != NULL ? by_token(s, token) : NULL;

	memset(ret, 0, sizeof(*ret));
	*ret_why = NULL;
	strip_port(ret->address, sizeof(ret->address), sign->peer);
	make_name(ret, sign->certificate);
	if (sign->certificate_needed && sign->certificate == NULL) {
		*ret_why = "this port serves stations with a client certificate of its authority only; set one up, and see that it has not run out";
		return CW_EAUTH;
	}
	if (token != NULL && st == NULL)
		return CW_EAUTH; /* whoever comes with a token means it */
	if (st == NULL && sign->certificate != NULL)
		st = by_certificate(s, sign->certificate);
	if (st == NULL)
		st = by_address(s, sign->peer);
	if (st == NULL)
		return s->conf->stations_required ? CW_EAUTH : 0;
	ret->station = st;
	(void)snprintf(ret->name, sizeof(ret->name), "%s", st->name);
	ret->quota = st->quota;
	ret->quota_since = now - now % st->quota_ms;
	return 0;
}

int cw_factory_station_may(const struct factory_caller *c, const char *product_key)
{
	size_t i;

	if (c->station == NULL || c->station->products.count == 0)
		return 1;
	for (i = 0; i < c->station->products.count; i++)
		if (strcmp(c->station->products.items[i], product_key) == 0)
			return 1;
	return 0;
}

/* ---- who was busy lately --------------------------------------------------------------------- */

static struct recent *find_recent(const struct factory_stations *s, const char *name)
{
	struct cw_map_node *n = cw_map_find(&s->by_name, name, strlen(name));

	return n != NULL ? cw_container_of(n, struct recent, node) : NULL;
}

static struct recent *remember(struct factory_stations *s, const char *name, int64_t now)
{
	struct recent *r;

	if (s->recent_count >= CW_FACTORY_RECENT)
		forget(s, cw_container_of(s->recent.prev, struct recent, link));
	r = cw_zalloc(sizeof(*r));
	if (r == NULL)
		return NULL;
	(void)snprintf(r->name, sizeof(r->name), "%s", name);
	r->st = (struct factory_station){ .name = r->name, .address = r->address, .product_key = r->product_key,
		                          .device_id = r->device_id, .first = now };
	cw_list_push_front(&s->recent, &r->link);
	if (cw_map_add(&s->by_name, &r->node, r->name, strlen(r->name)) < 0) {
		cw_list_remove(&r->link);
		cw_free(r);
		return NULL;
	}
	s->recent_count++;
	return r;
}

void cw_factory_station_asks(struct factory_stations *s, const struct factory_caller *c, const char *product_key, const char *device_id, int64_t now)
{
	struct recent *r = find_recent(s, c->name);

	if (r == NULL)
		r = remember(s, c->name, now);
	if (r == NULL)
		return; /* no memory: the page does without */
	cw_list_remove(&r->link);
	cw_list_push_front(&s->recent, &r->link);
	r->st.last = now;
	r->st.requests++;
	r->st.waiting++;
	(void)snprintf(r->address, sizeof(r->address), "%s", c->address);
	(void)snprintf(r->product_key, sizeof(r->product_key), "%s", product_key);
	(void)snprintf(r->device_id, sizeof(r->device_id), "%s", device_id);
}

void cw_factory_station_answered(struct factory_stations *s, const char *name, enum cw_stock_answer answer, const struct cw_stock_ask *ask)
{
	struct recent *r = find_recent(s, name);

	if (r == NULL)
		return;
	if (r->st.waiting > 0) /* it may have been forgotten meanwhile and come again */
		r->st.waiting--;
	r->st.answer = answer;
	if (answer != CW_STOCK_OK || ask == NULL)
		r->st.refused++;
	else if (ask->action == CW_STOCK_REPORT)
		r->st.written += ask->fresh != 0;
	else if (ask->fresh)
		r->st.allocated++;
	else
		r->st.again++;
}

int cw_factory_stations_each(const struct factory_stations *s, int (*fn)(void *arg, const struct factory_station *st), void *arg)
{
	struct cw_list *e;
	int rc = 0;

	cw_list_each (e, &s->recent) {
		rc = fn(arg, &cw_container_of(e, struct recent, link)->st);
		if (rc != 0)
			break;
	}
	return rc;
}
