/*
 * remote_config.h - remote configuration: one JSON file a product, which devices ask for or are told of.
 * One thread.
 */
#ifndef CW_CLOUD_REMOTE_CONFIG_H
#define CW_CLOUD_REMOTE_CONFIG_H

#include "cloud/core/alink/alink.h"
#include "cloud/core/files.h"

#define CLOUD_CONFIG_BYTES   65536u
#define CLOUD_CONFIG_LINK_MS (30ull * 60 * 1000)

struct cloud_remote_config {
	struct cloud_blob *blob; /* NULL: none was set yet */
	char id[33], sha256[65];
	int64_t changed_ms;
	int off; /* the service is switched off for the product */
};

/* The file, JSON. 0; CW_EINVAL, CW_ELIMIT, CW_ENOMEM with a sentence. Devices are not told. */
int cw_cloud_config_set(struct cw_cloud *c, struct cloud_product *p, const char *text, size_t len, struct cw_msg *msg);
/* Switch the service on or off. 0 or CW_ENOMEM. */
int cw_cloud_config_switch(struct cw_cloud *c, struct cloud_product *p, int on);
/*
 * Tell the devices of the product that are online, or one of them; the others ask. Returns how many were told; CW_ENOENT: there
 * is no configuration, or the service is off.
 */
int cw_cloud_config_push(struct cw_cloud *c, struct cloud_product *p, struct cloud_device *only);
/* {on, configId?, size?, sha256?, changed?, content?}: new, or NULL. */
json_t *cw_cloud_config_json(const struct cloud_product *p);
/* What is saved with the product: new, NULL: nothing. */
json_t *cw_cloud_config_save(const struct cloud_product *p);
int cw_cloud_config_load(struct cw_cloud *c, struct cloud_product *p, const json_t *j);
void cw_cloud_config_free(struct cloud_product *p);

/* The device's question; handler of alink.c. */
int cw_cloud_config_get(struct alink_request *r);

#endif
