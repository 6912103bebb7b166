/* stock.c - devices: made, found, disabled, reset, deleted; see cloud.h. */
#include "cloud/core/stock/stock.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cloud/core/alink/device_log.h"
#include "cloud/core/login/tokens.h"
#include "cloud/core/ota/ota.h"
#include "cloud/core/stock/clients.h"
#include "cloud/core/stock/naming.h"
#include "cloud/core/stock/x509.h"
#include "cloud/core/traffic/call.h"
#include "cloud/core/traffic/violations.h"

/* An id of a device that was deleted: a login of it is told 521, not 6100. */
struct tombstone {
	struct cw_map_node node;
	char id[];
};

#define IOT_ID_LEN    30u
#define MADE_NAME_LEN 20u

int cw_cloud_make_text(char *out, size_t digits)
{
	static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	unsigned char random[64];
	size_t i;

	if (RAND_bytes(random, (int)digits) != 1)
		return CW_EINTERNAL;
	for (i = 0; i < digits; i++)
		out[i] = alphabet[random[i] % (sizeof(alphabet) - 1)];
	out[digits] = '\0';
	return 0;
}

json_t *cw_cloud_doc(struct cloud_device *d, enum cloud_doc which)
{
	if (d->doc[which] == NULL)
		d->doc[which] = which == CLOUD_DOC_CALLS || which == CLOUD_DOC_EVENT_LOG ? json_array() : json_object();
	return d->doc[which];
}

static void drop_docs(struct cloud_device *d)
{
	size_t i;

	for (i = 0; i < CLOUD_DOC_COUNT; i++) {
		json_decref(d->doc[i]);
		d->doc[i] = NULL;
	}
}

static void device_free(struct cloud_device *d)
{
	unsigned i;

	if (d == NULL)
		return;
	for (i = 0; i < d->sub_count; i++)
		cw_free(d->subs[i].filter);
	cw_free(d->subs);
	while (!cw_list_empty(&d->stored)) {
		struct cloud_stored *s = cw_container_of(cw_list_pop(&d->stored), struct cloud_stored, link);

		cw_cloud_msg_unref(s->msg);
		cw_free(s);
	}
	drop_docs(d);
	cw_free(d->violations);
	cw_cloud_device_log_free(d);
	cw_free(d->id);
	cw_free(d->secret);
	cw_list_remove(&d->changed);
	cw_free(d->client_id);
	cw_free(d->nickname);
	cw_free(d);
}

static struct cloud_device *device_new(struct cloud_product *p, const char *dn, const char *secret)
{
	struct cloud_device *d = cw_zalloc(sizeof(*d));
	size_t pk_len = strlen(p->key), dn_len = strlen(dn);

	if (d == NULL)
		return NULL;
	cw_list_init(&d->children);
	cw_list_init(&d->stored);
	cw_list_init(&d->ota_tasks);
	cw_list_init(&d->tokens);
	d->product = p;
	d->id = cw_alloc(pk_len + dn_len + 2);
	d->secret = cw_strdup(secret);
	if (d->id == NULL || d->secret == NULL) {
		device_free(d);
		return NULL;
	}
	(void)snprintf(d->id, pk_len + dn_len + 2, "%s/%s", p->key, dn);
	d->dn = d->id + pk_len + 1;
	return d;
}

struct cloud_device *cw_cloud_session_new(struct cloud_device *d)
{
	struct cloud_device *s = device_new(d->product, d->dn, d->secret);

	if (s == NULL)
		return NULL;
	s->name_of = d;
	s->serial = d->serial;
	return s;
}

void cw_cloud_session_free(struct cloud_device *session)
{
	cw_invariant(session->link == NULL && session->name_of != NULL);
	device_free(session);
}

int cw_cloud_device_add(struct cw_cloud *c, struct cloud_product *p, const char *dn, const char *secret,
                        struct cloud_device **ret_device, struct cw_msg *msg)
{
	struct cloud_device *d;
	char made[33], iot_id[sizeof(d->iot_id)], name[MADE_NAME_LEN + 1];

	if (dn == NULL && cw_cloud_make_text(name, MADE_NAME_LEN) < 0)
		return cw_fail(msg, CW_EINTERNAL, "no random numbers");
	dn = dn != NULL ? dn : name;
	if (cw_cloud_check_device_name(dn, msg) < 0)
		return CW_EINVAL;
	if (cw_cloud_device_find(c, p->key, strlen(p->key), dn, strlen(dn)) != NULL)
		return cw_fail(msg, CW_EEXIST, "device \"%s/%s\" exists already", p->key, dn);
	if (p->device_count >= c->conf.limits.devices_per_product) {
		cw_cloud_violation(c, NULL, "devicesPerProduct", "not created");
		return cw_fail(msg, CW_ELIMIT, "product \"%s\" has %u devices already (limits.devicesPerProduct)", p->key,
		               p->device_count);
	}
	if (cw_cloud_make_text(iot_id, IOT_ID_LEN) < 0 || (secret == NULL && cw_cloud_make_text(made, 32) < 0))
		return cw_fail(msg, CW_EINTERNAL, "no random numbers");
	d = device_new(p, dn, secret != NULL ? secret : made);
	if (d == NULL || cw_map_add(&c->devices, &d->node, d->id, strlen(d->id)) < 0) {
		device_free(d);
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	}
	if (cw_cloud_device_set_iot_id(c, d, iot_id) < 0) {
		cw_map_remove(&c->devices, &d->node);
		device_free(d);
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	}
	d->created_ms = cw_cloud_wall_ms(c);
	d->serial = ++c->next_serial;
	p->device_count++;
	cw_list_push_back(&c->device_list, &d->all);
	cw_cloud_changed(c, d);
	*ret_device = d;
	return 0;
}

int cw_cloud_device_set_nickname(struct cw_cloud *c, struct cloud_device *d, const char *nickname, struct cw_msg *msg)
{
	char *copy = NULL;

	if (nickname != NULL && nickname[0] != '\0') {
		int rc = cw_cloud_check_nickname(nickname, msg);

		if (rc < 0)
			return rc;
		copy = cw_strdup(nickname);
		if (copy == NULL)
			return cw_fail(msg, CW_ENOMEM, "out of memory");
	}
	cw_free(d->nickname);
	d->nickname = copy;
	cw_cloud_changed(c, d);
	return 0;
}

int cw_cloud_device_set_iot_id(struct cw_cloud *c, struct cloud_device *d, const char *iot_id)
{
	size_t len = strlen(iot_id);

	if (len == 0 || len >= sizeof(d->iot_id) || cw_map_find(&c->iot_ids, iot_id, len) != NULL)
		return CW_EINVAL;
	if (d->iot_id[0] != '\0')
		cw_map_remove(&c->iot_ids, &d->iot_node);
	memcpy(d->iot_id, iot_id, len + 1);
	if (cw_map_add(&c->iot_ids, &d->iot_node, d->iot_id, len) == 0)
		return 0;
	d->iot_id[0] = '\0';
	return CW_ENOMEM;
}

struct cloud_device *cw_cloud_device_by_iot_id(struct cw_cloud *c, const char *iot_id, size_t len)
{
	struct cw_map_node *n = cw_map_find(&c->iot_ids, iot_id, len);

	return n != NULL ? cw_container_of(n, struct cloud_device, iot_node) : NULL;
}

struct cloud_device *cw_cloud_device_find(struct cw_cloud *c, const char *pk, size_t pk_len, const char *dn, size_t dn_len)
{
	char id[128];
	struct cw_map_node *n;

	if (pk_len + dn_len + 1 > sizeof(id))
		return NULL;
	memcpy(id, pk, pk_len);
	id[pk_len] = '/';
	memcpy(id + pk_len + 1, dn, dn_len);
	n = cw_map_find(&c->devices, id, pk_len + dn_len + 1);
	return n != NULL ? cw_container_of(n, struct cloud_device, node) : NULL;
}

void cw_cloud_device_reset(struct cw_cloud *c, struct cloud_device *d)
{
	cw_cloud_device_kick(c, d, 521, "reset");
	cw_cloud_clients_forget(c, d);
	cw_cloud_tokens_drop(c, d);
	d->active_ms = 0;
	d->visit_until_ms = 0;
	cw_cloud_changed(c, d);
}

int cw_cloud_was_deleted(struct cw_cloud *c, const char *pk, const char *dn)
{
	char id[128];
	int n = snprintf(id, sizeof(id), "%s%s%s", pk, dn != NULL ? "/" : "", dn != NULL ? dn : "");

	return n > 0 && (size_t)n < sizeof(id) && cw_map_find(&c->deleted, id, (size_t)n) != NULL;
}

void cw_cloud_bury(struct cw_cloud *c, const char *id)
{
	size_t len = strlen(id);
	struct tombstone *t;

	if (cw_map_find(&c->deleted, id, len) != NULL)
		return;
	t = cw_alloc(sizeof(*t) + len + 1);
	if (t == NULL)
		return; /* a later login is told 6100 instead of 521 */
	memcpy(t->id, id, len + 1);
	if (cw_map_add(&c->deleted, &t->node, t->id, len) < 0)
		cw_free(t);
}

void cw_cloud_relate(struct cloud_device *gateway, struct cloud_device *child)
{
	cw_cloud_unrelate(child);
	child->gateway = gateway;
	cw_list_push_back(&gateway->children, &child->sibling);
	gateway->child_count++;
	cw_cloud_changed(child->product->cloud, child);
}

void cw_cloud_unrelate(struct cloud_device *child)
{
	if (child->gateway == NULL)
		return;
	cw_list_remove(&child->sibling);
	child->gateway->child_count--;
	child->gateway = NULL;
	cw_cloud_changed(child->product->cloud, child);
}

void cw_cloud_topo_changed(struct cw_cloud *c, struct cloud_device *gateway, const struct cloud_device *d, int status)
{
	json_t *params;

	if (gateway->link != NULL && gateway->link->bridge) /* its devices are told themselves, it has no such topic */
		return;
	params = json_pack("{s:i, s:[{s:s, s:s}]}", "status", status, "subList", "productKey", d->product->key, "deviceName",
	                   d->dn);

	cw_cloud_request(c, gateway, "thing/topo/change", "thing.topo.change", params);
}

void cw_cloud_device_disable(struct cw_cloud *c, struct cloud_device *d)
{
	if (d->disabled)
		return;
	/* The message first, then the end of the session. */
	if (d->link != NULL && d->link->owner != d)
		cw_cloud_request(c, d, "thing/disable", "thing.disable", json_object());
	d->disabled = 1;
	cw_cloud_changed(c, d);
	cw_cloud_device_kick(c, d, 522, "disabled");
	if (d->gateway != NULL)
		cw_cloud_topo_changed(c, d->gateway, d, 8);
}

void cw_cloud_device_enable(struct cw_cloud *c, struct cloud_device *d)
{
	if (!d->disabled)
		return;
	d->disabled = 0;
	cw_cloud_changed(c, d);
	if (d->gateway != NULL)
		cw_cloud_topo_changed(c, d->gateway, d, 2);
}

void cw_cloud_device_delete(struct cw_cloud *c, struct cloud_device *d)
{
	struct cw_list *e, *n;
	struct cloud_device *gateway = d->gateway;

	if (d->link != NULL && d->link->owner != d)
		cw_cloud_request(c, d, "thing/delete", "thing.delete", json_object());
	cw_cloud_device_kick(c, d, 521, "deleted");
	cw_cloud_unrelate(d);
	if (gateway != NULL)
		cw_cloud_topo_changed(c, gateway, d, 1);
	cw_list_each_safe(e, n, &d->children)
		cw_cloud_unrelate(cw_container_of(e, struct cloud_device, sibling));
	cw_cloud_calls_abandon(c, d);
	cw_cloud_tokens_drop(c, d);
	cw_cloud_clients_forget(c, d);
	cw_cloud_x509_drop(c, d);
	cw_cloud_ota_device_gone(d);
	cw_cloud_bury(c, d->id);
	if (c->saver != NULL)
		c->saver->device_gone(c->saver, d->id);
	cw_map_remove(&c->devices, &d->node);
	cw_map_remove(&c->iot_ids, &d->iot_node);
	d->product->device_count--;
	cw_list_remove(&d->all);
	for (e = c->links.next; e != &c->links; e = e->next)
		cw_container_of(e, struct cloud_link, all)->last = NULL;
	device_free(d);
}

int cw_cloud_device_linked(const struct cloud_device *d)
{
	const struct cloud_device *s;
	unsigned at = 0;

	while ((s = cw_cloud_next_session(d, &at)) != NULL) {
		if (cw_cloud_is_online(s))
			return 1;
	}
	return cw_cloud_is_online(d);
}

int cw_cloud_device_online(const struct cw_cloud *c, const struct cloud_device *d)
{
	return cw_cloud_device_linked(d) || d->visit_until_ms > cw_cloud_wall_ms(c);
}

const char *cw_cloud_device_status(const struct cw_cloud *c, const struct cloud_device *d)
{
	if (d->disabled)
		return "DISABLED";
	if (cw_cloud_device_online(c, d))
		return "ONLINE";
	return d->active_ms != 0 ? "OFFLINE" : "UNACTIVE";
}

void cw_cloud_device_refused(struct cw_cloud *c, struct cloud_device *d, int code, const char *reason)
{
	unsigned at = d->refusal_count++ % CLOUD_REFUSALS;

	d->refusal[at].ms = cw_cloud_wall_ms(c);
	d->refusal[at].code = code;
	d->refusal[at].reason = reason;
}

void cw_cloud_stock_reset(struct cw_cloud *c)
{
	struct cw_list *e;

	cw_list_each(e, &c->device_list) {
		struct cloud_device *d = cw_container_of(e, struct cloud_device, all), *s;
		unsigned at = 0;

		cw_cloud_session_forget(c, d);
		while ((s = cw_cloud_next_session(d, &at)) != NULL)
			cw_cloud_session_forget(c, s);
		drop_docs(d);
		cw_cloud_device_log_free(d);
		d->log_report = 0;
		d->refusal_count = 0;
		d->up = d->down = d->dropped = 0;
		memset(&d->connects, 0, sizeof(d->connects));
		memset(&d->logins, 0, sizeof(d->logins));
	}
}

void cw_cloud_stock_free(struct cw_cloud *c)
{
	struct cw_map_node *n, *next;

	cw_map_fini(&c->iot_ids);
	cw_map_each_safe(n, next, &c->devices) {
		struct cloud_device *d = cw_container_of(n, struct cloud_device, node);

		cw_cloud_clients_forget(c, d);
		cw_cloud_x509_drop(c, d);
		cw_cloud_tokens_drop(c, d);
		device_free(d);
	}
	cw_map_fini(&c->tokens);
	cw_map_fini(&c->devices);
	cw_map_each_safe(n, next, &c->products)
		cw_cloud_product_free(cw_container_of(n, struct cloud_product, node));
	cw_map_fini(&c->products);
	cw_map_each_safe(n, next, &c->deleted)
		cw_free(cw_container_of(n, struct tombstone, node));
	cw_map_fini(&c->deleted);
}
