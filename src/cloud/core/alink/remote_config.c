/* remote_config.c - see remote_config.h. */
#include "cloud/core/alink/remote_config.h"
#include "cloud/core/traffic/violations.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "base/digits.h"
#include "base/mem.h"
#include "cloud/core/parse.h"

static struct cloud_remote_config *config_of(struct cloud_product *p)
{
	if (p->config == NULL)
		p->config = cw_zalloc(sizeof(*p->config));
	return p->config;
}

static int put(struct cw_cloud *c, struct cloud_product *p, const char *text, size_t len, struct cw_msg *msg)
{
	struct cloud_remote_config *r = config_of(p);
	struct cloud_blob *b = r != NULL ? cw_cloud_blob_new("config.json", "application/json", text, len) : NULL;
	unsigned char random[16];

	if (b == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	if (RAND_bytes(random, sizeof(random)) != 1) {
		cw_cloud_blob_unref(b);
		return cw_fail(msg, CW_EINTERNAL, "no random numbers");
	}
	/* Links to the older file stay good for their time. */
	cw_cloud_blob_unref(r->blob);
	r->blob = b;
	cw_hex(r->id, cw_bytes_of(random, sizeof(random)));
	cw_cloud_blob_sha256(b, r->sha256);
	r->changed_ms = cw_cloud_wall_ms(c);
	return 0;
}

int cw_cloud_config_set(struct cw_cloud *c, struct cloud_product *p, const char *text, size_t len, struct cw_msg *msg)
{
	json_error_t where;
	json_t *j;
	int rc;

	if (len > c->conf.limits.config_bytes) {
		cw_cloud_violation(c, NULL, "configBytes", "not stored");
		return cw_fail(msg, CW_ELIMIT, "a configuration has at most %llu bytes (limits.configBytes)",
		               (unsigned long long)c->conf.limits.config_bytes);
	}
	j = cw_cloud_json(text, len, 0, &where);
	if (j == NULL)
		return cw_fail(msg, CW_EINVAL, "not JSON: line %d, column %d: %s", where.line, where.column, where.text);
	json_decref(j);
	rc = put(c, p, text, len, msg);
	if (rc == 0)
		cw_cloud_product_changed(c, p);
	return rc;
}

int cw_cloud_config_switch(struct cw_cloud *c, struct cloud_product *p, int on)
{
	if (config_of(p) == NULL)
		return CW_ENOMEM;
	p->config->off = !on;
	cw_cloud_product_changed(c, p);
	return 0;
}

void cw_cloud_config_free(struct cloud_product *p)
{
	if (p->config == NULL)
		return;
	cw_cloud_blob_unref(p->config->blob);
	cw_free(p->config);
	p->config = NULL;
}

/* What devices are told: new, or NULL. */
static json_t *offer(struct cw_cloud *c, const struct cloud_remote_config *r)
{
	char url[CLOUD_URL_MAX];

	if (cw_cloud_link_file(c, r->blob, CLOUD_CONFIG_LINK_MS, url) < 0)
		return NULL;
	return json_pack("{s:s, s:I, s:s, s:s, s:s, s:s}", "configId", r->id, "configSize", (json_int_t)r->blob->len, "sign",
	                 r->sha256, "signMethod", "Sha256", "url", url, "getType", "file");
}

int cw_cloud_config_get(struct alink_request *r)
{
	const struct cloud_remote_config *config = r->device->product->config;

	if (!cw_cloud_param_is(r, "configScope", "product") ||
	    !cw_cloud_param_is(r, "getType", "file"))
		return 460;
	if (config != NULL && config->off)
		return 6713;
	if (config == NULL || config->blob == NULL)
		return 6710;
	r->data = offer(r->cloud, config);
	return r->data != NULL ? 200 : 500;
}

/* Nothing is stored for who is away: the link would be over. */
int cw_cloud_config_push(struct cw_cloud *c, struct cloud_product *p, struct cloud_device *only)
{
	struct cw_list *e;
	int told = 0;

	if (p->config == NULL || p->config->blob == NULL || p->config->off)
		return CW_ENOENT;
	cw_list_each(e, &c->device_list) {
		struct cloud_device *d = cw_container_of(e, struct cloud_device, all);
		json_t *params = NULL;

		if (d->product == p && (only == NULL || d == only) && cw_cloud_device_linked(d))
			params = offer(c, p->config);
		if (params != NULL)
			told += cw_cloud_request_now(c, d, "thing/config/push", "thing.config.push", params) == CLOUD_DELIVERED;
	}
	return told;
}

json_t *cw_cloud_config_json(const struct cloud_product *p)
{
	const struct cloud_remote_config *r = p->config;
	json_t *j = json_pack("{s:b}", "on", r == NULL || !r->off);

	if (r != NULL && r->blob != NULL)
		json_object_update_new(j, json_pack("{s:s, s:I, s:s, s:I, s:s%}", "configId", r->id, "size", (json_int_t)r->blob->len,
		                       "sha256", r->sha256, "changed", (json_int_t)r->changed_ms, "content",
		                       (const char *)r->blob->data, r->blob->len));
	return j;
}

/* ---- kept over a restart ---- */

json_t *cw_cloud_config_save(const struct cloud_product *p)
{
	return p->config != NULL ? cw_cloud_config_json(p) : NULL;
}

int cw_cloud_config_load(struct cw_cloud *c, struct cloud_product *p, const json_t *j)
{
	const json_t *content = json_object_get(j, "content");
	const char *id = json_string_value(json_object_get(j, "configId"));
	struct cw_msg msg;
	int rc = 0;

	if (json_is_string(content) && json_string_length(content) <= CLOUD_CONFIG_BYTES && id != NULL)
		rc = put(c, p, json_string_value(content), json_string_length(content), &msg);
	if (rc < 0 || config_of(p) == NULL)
		return rc < 0 ? rc : CW_ENOMEM;
	if (id != NULL)
		(void)snprintf(p->config->id, sizeof(p->config->id), "%s", id);
	p->config->changed_ms = json_integer_value(json_object_get(j, "changed"));
	p->config->off = json_is_false(json_object_get(j, "on"));
	return 0;
}
