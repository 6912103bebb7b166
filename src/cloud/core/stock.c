/* stock.c - products, devices, topic classes; see cloud.h. */
#include "cloud/core/save.h"
#include "cloud/core/stock.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cloud/core/call.h"
#include "cloud/core/clients.h"
#include "cloud/core/naming.h"
#include "cloud/core/tokens.h"
#include "cloud/core/violations.h"
#include "cloud/core/x509.h"

/* An id of a device that was deleted: a login of it is told 521, not 6100. */
struct tombstone {
	struct cw_map_node node;
	char id[];
};

#define IOT_ID_LEN 30u

static const char *const node_names[] = { "device", "gateway", "subdevice" };

const char *cw_cloud_node_name(enum cloud_node type)
{
	return node_names[type];
}

int cw_cloud_node_parse(const char *name, enum cloud_node *ret_type)
{
	size_t i;

	for (i = 0; i < 3; i++) {
		if (strcmp(name, node_names[i]) == 0) {
			*ret_type = (enum cloud_node)i;
			return 0;
		}
	}
	return CW_EINVAL;
}

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

static void product_free(struct cloud_product *p)
{
	struct cw_list *e;

	if (p == NULL)
		return;
	while ((e = cw_list_pop(&p->classes)) != NULL)
		cw_free(cw_container_of(e, struct cloud_class, link));
	cw_list_remove(&p->changed);
	json_decref(p->tsl);
	cw_free(p->key);
	cw_free(p->secret);
	cw_free(p->name);
	cw_free(p);
}

/* The classes every product has (emulator's choice; the manual's samples use all of them). */
static int add_default_classes(struct cloud_product *p, struct cw_msg *msg)
{
	static const char *const patterns[] = { "user/#", "update", "update/error", "get", "pub" };
	size_t i;
	int rc;

	for (i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		rc = cw_cloud_class_add(p, patterns[i], 1, 1, msg);
		if (rc < 0)
			return rc;
	}
	p->class_count = 0;
	return 0;
}

int cw_cloud_product_add(struct cw_cloud *c, const char *key, const char *secret, enum cloud_node type,
                         struct cloud_product **ret_product, struct cw_msg *msg)
{
	struct cloud_product *p;
	char made[33];
	int rc;

	rc = cw_cloud_check_product_key(key, msg);
	if (rc < 0)
		return rc;
	if (cw_cloud_product_find(c, key, strlen(key)) != NULL)
		return cw_fail(msg, CW_EEXIST, "productKey \"%s\" exists already", key);
	rc = cw_cloud_make_text(made, 16);
	if (rc < 0)
		return cw_fail(msg, rc, "no random numbers");
	p = cw_zalloc(sizeof(*p));
	if (p == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	cw_list_init(&p->classes);
	p->cloud = c;
	p->type = type;
	p->registration = 1;
	p->created_ms = cw_cloud_wall_ms(c);
	p->key = cw_strdup(key);
	p->secret = cw_strdup(secret != NULL ? secret : made);
	rc = p->key == NULL || p->secret == NULL ? cw_fail(msg, CW_ENOMEM, "out of memory") : add_default_classes(p, msg);
	if (rc == 0)
		rc = cw_map_add(&c->products, &p->node, p->key, strlen(p->key));
	if (rc < 0) {
		product_free(p);
		return rc;
	}
	p->class_limit = c->conf.limits.classes;
	cw_cloud_product_changed(c, p);
	*ret_product = p;
	return 0;
}

struct cloud_product *cw_cloud_product_find(struct cw_cloud *c, const char *key, size_t len)
{
	struct cw_map_node *n = cw_map_find(&c->products, key, len);

	return n != NULL ? cw_container_of(n, struct cloud_product, node) : NULL;
}

int cw_cloud_class_add(struct cloud_product *p, const char *pattern, int publish, int subscribe, struct cw_msg *msg)
{
	size_t len = strlen(pattern);
	struct cloud_class *k;
	struct cw_list *e;

	if (!cw_cloud_custom_valid(pattern, len, 1))
		return cw_fail(msg, CW_EINVAL, "topic class \"%s\": levels are of letters, digits and _, none empty", pattern);
	/* user/# stands for the platform's own rule that all below user may be used both ways. */
	if (publish && strpbrk(pattern, "+#") != NULL && strcmp(pattern, "user/#") != 0)
		return cw_fail(msg, CW_EINVAL, "topic class \"%s\": wildcards only with permission subscribe", pattern);
	cw_list_each(e, &p->classes) {
		k = cw_container_of(e, struct cloud_class, link);
		if (strcmp(k->pattern, pattern) == 0) {
			k->publish = publish;
			k->subscribe = subscribe;
			cw_cloud_product_changed(p->cloud, p);
			return 0;
		}
	}
	if (p->class_limit != 0 && p->class_count >= p->class_limit)
		return cw_fail(msg, CW_ELIMIT, "product \"%s\" has %u topic classes already (limits.topicClasses)", p->key,
		               p->class_limit);
	k = cw_alloc(sizeof(*k) + len + 1);
	if (k == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	k->publish = publish;
	k->subscribe = subscribe;
	memcpy(k->pattern, pattern, len + 1);
	cw_list_push_back(&p->classes, &k->link);
	p->class_count++;
	cw_cloud_product_changed(p->cloud, p);
	return 0;
}

/* An exact class counts before one with wildcards, so that user/get can be closed while user/# is open. */
int cw_cloud_class_publishable(const struct cloud_product *p, const char *rest, size_t len)
{
	int open = 0;
	struct cw_list *e;

	cw_list_each(e, &p->classes) {
		const struct cloud_class *k = cw_container_of(e, struct cloud_class, link);
		size_t n = strlen(k->pattern);

		if (n == len && memcmp(k->pattern, rest, n) == 0)
			return k->publish;
		if (k->publish && cw_cloud_topic_matches(k->pattern, n, rest, len))
			open = 1;
	}
	return open;
}

json_t *cw_cloud_doc(struct cloud_device *d, enum cloud_doc which)
{
	if (d->doc[which] == NULL)
		d->doc[which] = json_object();
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
	s->disabled = d->disabled;
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
	char made[33], iot_id[sizeof(d->iot_id)];

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
	json_t *params = json_pack("{s:i, s:[{s:s, s:s}]}", "status", status, "subList", "productKey", d->product->key,
	                           "deviceName", d->dn);

	cw_cloud_request(c, gateway, "thing/topo/change", "thing.topo.change", params);
}

static void set_disabled(struct cw_cloud *c, struct cloud_device *d, int disabled)
{
	struct cloud_device *s;
	unsigned at = 0;

	d->disabled = disabled;
	while ((s = cw_cloud_next_session(d, &at)) != NULL)
		s->disabled = disabled;
	cw_cloud_changed(c, d);
}

void cw_cloud_device_disable(struct cw_cloud *c, struct cloud_device *d)
{
	if (d->disabled)
		return;
	/* The message first, then the end of the session. */
	if (d->link != NULL && d->link->owner != d)
		cw_cloud_request(c, d, "thing/disable", "thing.disable", json_object());
	set_disabled(c, d, 1);
	cw_cloud_device_kick(c, d, 522, "disabled");
	if (d->gateway != NULL)
		cw_cloud_topo_changed(c, d->gateway, d, 8);
}

void cw_cloud_device_enable(struct cw_cloud *c, struct cloud_device *d)
{
	if (!d->disabled)
		return;
	set_disabled(c, d, 0);
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

int cw_cloud_device_online(const struct cw_cloud *c, const struct cloud_device *d)
{
	const struct cloud_device *s;
	unsigned at = 0;

	while ((s = cw_cloud_next_session(d, &at)) != NULL) {
		if (s->link != NULL)
			return 1;
	}
	return d->link != NULL || d->visit_until_ms > cw_cloud_wall_ms(c);
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
		struct cloud_device *d = cw_container_of(e, struct cloud_device, all);

		drop_docs(d);
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
		product_free(cw_container_of(n, struct cloud_product, node));
	cw_map_fini(&c->products);
	cw_map_each_safe(n, next, &c->deleted)
		cw_free(cw_container_of(n, struct tombstone, node));
	cw_map_fini(&c->deleted);
}
