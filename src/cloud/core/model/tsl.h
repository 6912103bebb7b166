/*
 * tsl.h - a product's thing model (the platform's TSL JSON) in compiled form, and values checked against it.
 *
 * The JSON is read once; a check finds the identifier in a map and walks a small tree. A model's entries come from its
 * "properties", "events" and "services"; "functionBlocks", a list of further such objects with functionBlockId, adds
 * entries named block:identifier. The platform's own entries (set, get, post) are accepted and not used. One thread.
 */
#ifndef CW_CLOUD_TSL_H
#define CW_CLOUD_TSL_H

#include "cloud/core/cloud.h"

struct cloud_model;

struct cloud_model_size {
	size_t properties, events, services;
};

/* Compile. CW_EINVAL and a sentence that says where, or CW_ENOMEM. */
int cw_cloud_model_new(const json_t *tsl, struct cloud_model **ret_model, struct cw_msg *msg);
void cw_cloud_model_free(struct cloud_model *m);
struct cloud_model_size cw_cloud_model_size(const struct cloud_model *m);

/* All of these: 0, or the platform's code of the first thing that does not fit. */
int cw_cloud_model_property(const struct cloud_model *m, const char *identifier, const json_t *value);
/* The same for a value that is about to be set: the property must be writable as well (6320). */
int cw_cloud_model_set(const struct cloud_model *m, const char *identifier, const json_t *value);
/* `outputs`: an event's or a service's data, an object (6312). 5160 and 5161: no such event, no such service. */
int cw_cloud_model_event(const struct cloud_model *m, const char *identifier, const json_t *outputs);
int cw_cloud_model_input(const struct cloud_model *m, const char *identifier, const json_t *inputs);
int cw_cloud_model_output(const struct cloud_model *m, const char *identifier, const json_t *outputs);
/* 1 synchronous, 0 asynchronous, -1 not known. */
int cw_cloud_model_sync(const struct cloud_model *m, const char *identifier);

/* Load a product's model; NULL or an empty object takes it away. 0, or CW_EINVAL with a sentence and the old one stays. */
int cw_cloud_tsl_set(struct cw_cloud *c, struct cloud_product *p, json_t *tsl, struct cw_msg *msg);
/* What dynamicTsl/get answers: only members named in `nodes` (a list of texts), without the platform's own entries
 * unless `defaults`. A new value, or NULL out of memory. */
json_t *cw_cloud_tsl_reduce(const json_t *tsl, const json_t *nodes, int defaults);

#endif
