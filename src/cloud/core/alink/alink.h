/*
 * alink.h - requests of devices that the platform carries out and answers: the table of system
 * topics, and the envelope every one of them shares. topo.c, report.c, desired.c and model.c hold the handlers.
 */
#ifndef CW_CLOUD_ALINK_H
#define CW_CLOUD_ALINK_H

#include <string.h>

#include "cloud/core/cloud.h"

struct alink_request {
	struct cw_cloud *cloud;
	struct cloud_link *link; /* NULL when `raw`: the device may be gone from its link by now */
	const char *channel;
	int raw;                 /* came as bytes through the script, and so goes the reply */
	struct cloud_device *device; /* owner of the topic */
	const struct cloud_topic *topic;
	size_t len;            /* bytes of the message */
	json_t *body, *params; /* lent to handlers */
	json_t *data;          /* of the reply; a handler may set it, NULL: {} */
	struct cloud_device *fresh[CLOUD_BATCH_MAX]; /* logged in by this request: after the reply, what was kept for them */
	unsigned fresh_count;
	int secret; /* a handler says that the reply holds one */
};

/* Whether a parameter is this text. */
static inline int cw_cloud_param_is(const struct alink_request *r, const char *name, const char *text)
{
	const json_t *j = json_object_get(r->params, name);

	return json_is_string(j) && strcmp(json_string_value(j), text) == 0;
}

/* Carries a request out and returns the code of the reply. */
typedef int (*alink_fn)(struct alink_request *r);

struct alink_rule {
	enum cloud_topic_kind kind;
	const char *pattern; /* of the topic's rest */
	enum {
		ALINK_RECORD,  /* taken and shown, nothing is answered */
		ALINK_RAW,        /* bytes for the product's script */
		ALINK_RAW_ANSWER, /* the device's answer, as such or through the script */
		ALINK_ANSWER,  /* the device's answer to a call */
		ALINK_REQUEST, /* answered on the topic with _reply */
		ALINK_SESSION, /* the same without checking the method */
		ALINK_SPECIAL, /* handled whole by `special` */
	} mode;
	alink_fn handle; /* NULL: code 200 */
	void (*special)(struct cw_cloud *c, struct cloud_device *d, const struct cloud_topic *t, const char *payload,
	                size_t len);
	int gateway; /* only a gateway may use it */
};

/* The rule for an uplink topic, or NULL: it may not be published to. */
const struct alink_rule *cw_cloud_alink_rule(const struct cloud_topic *t);
/* Carry out one publish that passed all checks. Topic text is lent. */
void cw_cloud_alink_handle(struct cw_cloud *c, struct cloud_link *l, struct cloud_device *d, const struct alink_rule *rule,
                           const struct cloud_topic *t, const char *topic, size_t topic_len, const char *payload, size_t len);

/* A request that came as bytes and is Alink now; its rule is an ALINK_REQUEST that no gateway is needed for. `body` is consumed. */
void cw_cloud_alink_decoded(struct cw_cloud *c, struct cloud_device *d, const struct alink_rule *rule,
                            const struct cloud_topic *t, const char *channel, json_t *body, size_t len);

/* More than a limit allows: notes it (see violations.h) and returns `code`. */
int cw_cloud_alink_exceeded(struct alink_request *r, const char *limit, int code);

/* topo.c */
int cw_cloud_topo_add(struct alink_request *r);
int cw_cloud_topo_delete(struct alink_request *r);
int cw_cloud_topo_get(struct alink_request *r);
int cw_cloud_sub_register(struct alink_request *r);
int cw_cloud_product_register(struct alink_request *r);
int cw_cloud_sub_unregister(struct alink_request *r);
int cw_cloud_login(struct alink_request *r);
int cw_cloud_batch_login(struct alink_request *r);
int cw_cloud_logout(struct alink_request *r);
int cw_cloud_batch_logout(struct alink_request *r);

/* report.c */
int cw_cloud_property_post(struct alink_request *r);
int cw_cloud_event_post(struct alink_request *r);
int cw_cloud_pack_post(struct alink_request *r);
int cw_cloud_history_post(struct alink_request *r);
int cw_cloud_batch_post(struct alink_request *r);

/* desired.c */
int cw_cloud_desired_get(struct alink_request *r);
int cw_cloud_desired_delete(struct alink_request *r);
int cw_cloud_tags_update(struct alink_request *r);
int cw_cloud_tags_delete(struct alink_request *r);

/* model.c */
int cw_cloud_tsl_get(struct alink_request *r);
int cw_cloud_tsl_get_short(struct alink_request *r);
int cw_cloud_list_found(struct alink_request *r);
void cw_cloud_ntp(struct cw_cloud *c, struct cloud_device *d, const struct cloud_topic *t, const char *payload, size_t len);

#endif
