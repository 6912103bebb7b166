/* product.c - products and their topic classes; see cloud.h. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cloud/core/alink/remote_config.h"
#include "cloud/core/model/script.h"
#include "cloud/core/model/tsl.h"
#include "cloud/core/ota/ota.h"
#include "cloud/core/stock/batch.h"
#include "cloud/core/stock/naming.h"
#include "cloud/core/stock/stock.h"
#include "cloud/core/traffic/violations.h"

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

void cw_cloud_product_free(struct cloud_product *p)
{
	struct cw_list *e;

	if (p == NULL)
		return;
	while ((e = cw_list_pop(&p->classes)) != NULL)
		cw_free(cw_container_of(e, struct cloud_class, link));
	cw_list_remove(&p->changed);
	json_decref(p->tsl);
	cw_cloud_model_free(p->model);
	cw_cloud_script_free(p);
	cw_cloud_config_free(p);
	cw_free(p->key);
	cw_free(p->secret);
	cw_free(p->name);
	cw_free(p);
}

/* The classes every product has (emulator's choice; the manual's samples use all of them). */
static int add_default_classes(struct cloud_product *p, struct cw_msg *msg)
{
	static const char *const patterns[] = { "user/#", "update", "update/error", "get", "pub" };
	struct cw_list *e;
	size_t i;
	int rc;

	for (i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		rc = cw_cloud_class_add(p, patterns[i], 1, 1, msg);
		if (rc < 0)
			return rc;
		p->class_count = 0; /* these are not counted */
	}
	cw_list_each(e, &p->classes)
		cw_container_of(e, struct cloud_class, link)->standard = 1;
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
		cw_cloud_product_free(p);
		return rc;
	}
	cw_cloud_product_changed(c, p);
	*ret_product = p;
	return 0;
}

/* A product's name is unique in the account. NULL: none. */
static int check_name(struct cw_cloud *c, const struct cloud_product *self, const char *name, struct cw_msg *msg)
{
	struct cw_map_node *n;
	int rc = name != NULL ? cw_cloud_check_product_name(name, msg) : 0;

	if (rc < 0 || name == NULL)
		return rc;
	cw_map_each(n, &c->products) {
		const struct cloud_product *p = cw_container_of(n, struct cloud_product, node);

		if (p != self && p->name != NULL && strcmp(p->name, name) == 0)
			return cw_fail(msg, CW_EEXIST, "product name \"%s\" is that of product \"%s\" already", name, p->key);
	}
	return 0;
}

int cw_cloud_product_set_name(struct cw_cloud *c, struct cloud_product *p, const char *name, struct cw_msg *msg)
{
	char *copy;
	int rc = check_name(c, p, name, msg);

	if (rc < 0)
		return rc;
	copy = name != NULL ? cw_strdup(name) : NULL;
	if (name != NULL && copy == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	cw_free(p->name);
	p->name = copy;
	cw_cloud_product_changed(c, p);
	return 0;
}

void cw_cloud_product_set_registration(struct cw_cloud *c, struct cloud_product *p, int on)
{
	p->registration = on;
	cw_cloud_product_changed(c, p);
}

/* A key of the form the platform gives out. */
static int make_key(struct cw_cloud *c, char out[12])
{
	int rc;

	do {
		rc = cw_cloud_make_text(out, 11);
		out[0] = 'a';
		out[1] = '1';
	} while (rc == 0 && cw_cloud_product_find(c, out, 11) != NULL);
	return rc;
}

int cw_cloud_product_create(struct cw_cloud *c, const struct cloud_product_spec *spec, struct cloud_product **ret_product,
                            struct cw_msg *msg)
{
	struct cloud_product *p = NULL;
	char made[12];
	int rc = check_name(c, NULL, spec->name, msg);

	if (rc == 0 && spec->x509 && spec->type == CLOUD_NODE_SUBDEVICE)
		rc = cw_fail(msg, CW_EINVAL, "certificates are for devices that connect themselves; a subdevice comes through its "
		                             "gateway and signs with a secret");
	if (rc == 0 && spec->key == NULL && make_key(c, made) < 0)
		rc = cw_fail(msg, CW_EINTERNAL, "no random numbers");
	if (rc == 0)
		rc = cw_cloud_product_add(c, spec->key != NULL ? spec->key : made, spec->secret, spec->type, &p, msg);
	if (rc < 0)
		return rc;
	p->raw = spec->raw;
	p->x509 = spec->x509;
	p->registration = spec->registration;
	rc = cw_cloud_product_set_name(c, p, spec->name, msg);
	if (rc < 0) {
		cw_map_remove(&c->products, &p->node);
		cw_cloud_product_free(p);
		return rc;
	}
	*ret_product = p;
	return 0;
}

int cw_cloud_product_delete(struct cw_cloud *c, struct cloud_product *p, struct cw_msg *msg)
{
	if (p->device_count != 0)
		return cw_fail(msg, CW_EREFUSED, "product \"%s\" has %u devices; delete them first", p->key, p->device_count);
	cw_cloud_batches_forget(c, p);
	cw_cloud_ota_product_gone(c, p);
	cw_cloud_bury(c, p->key);
	if (c->saver != NULL)
		c->saver->product_gone(c->saver, p->key);
	cw_map_remove(&c->products, &p->node);
	cw_cloud_product_free(p);
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
	if (p->class_count >= p->cloud->conf.limits.classes) {
		cw_cloud_violation(p->cloud, NULL, "topicClasses", "not created");
		return cw_fail(msg, CW_ELIMIT, "product \"%s\" has %u topic classes already (limits.topicClasses)", p->key,
		               p->class_count);
	}
	k = cw_alloc(sizeof(*k) + len + 1);
	if (k == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	k->standard = 0;
	k->publish = publish;
	k->subscribe = subscribe;
	memcpy(k->pattern, pattern, len + 1);
	cw_list_push_back(&p->classes, &k->link);
	p->class_count++;
	cw_cloud_product_changed(p->cloud, p);
	return 0;
}

int cw_cloud_class_remove(struct cloud_product *p, struct cloud_class *k)
{
	if (k->standard)
		return CW_EREFUSED;
	cw_list_remove(&k->link);
	cw_free(k);
	p->class_count--;
	cw_cloud_product_changed(p->cloud, p);
	return 0;
}

/* An exact class counts before one with wildcards, so that user/get can be closed while user/# is open. */
static int class_allows(const struct cloud_product *p, const char *rest, size_t len, int publish)
{
	int open = 0;
	struct cw_list *e;

	cw_list_each(e, &p->classes) {
		const struct cloud_class *k = cw_container_of(e, struct cloud_class, link);
		int allowed = publish ? k->publish : k->subscribe;
		size_t n = strlen(k->pattern);

		if (n == len && memcmp(k->pattern, rest, n) == 0)
			return allowed;
		if (allowed && cw_cloud_topic_matches(k->pattern, n, rest, len))
			open = 1;
	}
	return open;
}

int cw_cloud_class_publishable(const struct cloud_product *p, const char *rest, size_t len)
{
	return class_allows(p, rest, len, 1);
}

int cw_cloud_class_subscribable(const struct cloud_product *p, const char *rest, size_t len)
{
	return class_allows(p, rest, len, 0);
}

