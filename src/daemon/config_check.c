/* config_check.c - see config_check.h. Files are read here, nothing is written. */
#include "daemon/config_check.h"

#include <string.h>

#include "fetch/fetch.h"
#include "tls/tls.h"
#include "upstream/connector.h"
#include "upstream/kinds.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define NAME_MOST 64

int cw_config_name_ok(const char *name)
{
	size_t n = strspn(name, LETTERS "-_.");

	return n > 0 && n <= NAME_MOST && name[n] == '\0';
}

void cw_config_check_upstream(const struct cw_config_upstream *u, const struct cw_value *object, struct cw_conf_report *report)
{
	const struct cw_connector_ops *kind = cw_upstream_kind((size_t)u->type);
	struct cw_msg msg;

	if (!cw_config_name_ok(u->name))
		cw_conf_error_at(report, object, "upstream \"%.64s\": a name is 1 to %d of letters, digits and - _ .", u->name, NAME_MOST);
	if (u->region != NULL && (u->region[0] == '\0' || u->region[strspn(u->region, LETTERS "-")] != '\0' || strlen(u->region) > 40))
		cw_conf_error_at(report, object, "upstream \"%s\": region is \"%.60s\"; it looks like cn-shanghai", u->name, u->region);
	if (u->large && strcmp(kind->type, "http2") != 0)
		cw_conf_error_at(report, object, "upstream \"%s\": large: the large bridge exists over HTTP/2 only, this is type = %s", u->name, kind->type);
	if (u->bridges.count > 0 && kind->without_bridge)
		cw_conf_error_at(report, object, "upstream \"%s\": bridges: with type = %s there is no bridge, every device is there for itself", u->name,
		                 kind->type);
	if (cw_tls_check_files(u->tls.ca, u->tls.certificate, u->tls.key, &msg) < 0)
		cw_conf_error_at(report, object, "upstream \"%s\": tls.%s", u->name, msg.text);
}

static int same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* The second login of an identity at one place ends the first, which comes back and ends the second, and so on. */
static int are_twins(const struct cw_config *c, const struct cw_config_upstream *a, size_t i, const struct cw_config_upstream *b, size_t k)
{
	const struct cw_config_bridge *x = cw_config_bridge_of(c, a, i), *y = cw_config_bridge_of(c, b, k);

	return a->type == b->type && same(a->endpoint, b->endpoint) && same(a->region, b->region) && x->product_key != NULL &&
	       x->device_name != NULL && same(x->product_key, y->product_key) && same(x->device_name, y->device_name);
}

static size_t members(const struct cw_config_upstream *u)
{
	return u->bridges.count == 0 ? 1 : u->bridges.count;
}

static void check_twins(const struct cw_config *c, const struct cw_config_upstream *a, size_t from, const struct cw_value *object,
                        struct cw_conf_report *report)
{
	size_t n, i, k;

	for (n = from; n < c->upstreams.count; n++) {
		const struct cw_config_upstream *b = cw_conf_item(&c->upstreams, struct cw_config_upstream, n);

		for (i = 0; i < members(a); i++)
			for (k = n == from ? i + 1 : 0; k < members(b); k++)
				if (are_twins(c, a, i, b, k)) {
					cw_conf_error_at(report, object,
					                 "upstreams \"%s\" and \"%s\" log in at one place as the same device, %s/%s; each would end the other's connection", a->name,
					                 b->name, cw_config_bridge_of(c, a, i)->product_key, cw_config_bridge_of(c, a, i)->device_name);
					return;
				}
	}
}

void cw_config_check_upstreams(const struct cw_config *c, const struct cw_value *object, struct cw_conf_report *report)
{
	struct cw_msg msg;
	size_t i;

	if (cw_tls_check_files(c->ca, NULL, NULL, &msg) < 0)
		cw_conf_error_at(report, cw_value_get(object, "ca"), "%s", msg.text);
	for (i = 0; i < c->upstreams.count; i++) {
		const struct cw_config_upstream *u = cw_conf_item(&c->upstreams, struct cw_config_upstream, i);

		if (!cw_upstream_kind((size_t)u->type)->without_bridge)
			check_twins(c, u, i, object, report);
	}
}

void cw_config_check_lookup(const char *name, const char *url, const char *token, const struct cw_config_tls *tls, const struct cw_value *where,
			    struct cw_conf_report *report)
{
	struct cw_msg msg;

	if (url == NULL)
		return;
	if (cw_fetch_check_url(url) < 0 || strchr(url, '#') != NULL)
		cw_conf_error_at(report, where, "identity.%s.url: \"%.100s\" is not like https://host:port/path (no user name and no # in it)", name, url);
	if (token != NULL && token[strcspn(token, "\r\n")] != '\0')
		cw_conf_error_at(report, where, "identity.%s.token has a line break in it", name);
	if (cw_tls_check_files(tls->ca, tls->certificate, tls->key, &msg) < 0)
		cw_conf_error_at(report, where, "identity.%s.tls.%s", name, msg.text);
}
