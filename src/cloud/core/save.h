/*
 * save.h - what of the platform's memory survives a restart, as JSON; state/ puts it into a file.
 *
 * Three grains. A device and a product are saved whole, each as one object, after cw_cloud_changed() or
 * cw_cloud_product_changed(); an aspect of devices that lives in a file of its own adds a *part* (a row of the table in save.c).
 * What belongs to no device - packages, batches, tokens, bridges - is a *chapter*: small, saved whole, registered by its
 * owner before the file is opened. Kept messages are rows of their own.
 *
 * Without a state file all marks are no-ops. One thread.
 */
#ifndef CW_CLOUD_SAVE_H
#define CW_CLOUD_SAVE_H

#include "cloud/core/cloud.h"

struct cloud_part {
	const char *name;
	/* New object or array; NULL: nothing to keep (or out of memory: tried again at the next change). */
	json_t *(*save)(struct cw_cloud *c, const struct cloud_device *d);
	/* 0 or an error: the file was written by another version, or edited. */
	int (*load)(struct cw_cloud *c, struct cloud_device *d, const json_t *j);
};

struct cloud_chapter {
	struct cw_list link;
	const char *name; /* static */
	void *arg;
	json_t *(*save)(struct cw_cloud *c, void *arg);
	int (*load)(struct cw_cloud *c, void *arg, const json_t *j);
	int changed;
};

/* Who writes; set while a state file is open. */
struct cloud_saver {
	void (*device_gone)(struct cloud_saver *s, const char *id);
	void (*product_gone)(struct cloud_saver *s, const char *key);
	/* All marks are written when it returns. */
	void (*commit)(struct cloud_saver *s);
};

/* `ch` is the owner's and stays until the core is freed. */
void cw_cloud_chapter_add(struct cw_cloud *c, struct cloud_chapter *ch);
void cw_cloud_chapter_changed(struct cw_cloud *c, struct cloud_chapter *ch);
/* Write what is marked now: before an answer that gives out a secret leaves. Nothing without a state file. */
void cw_cloud_commit(struct cw_cloud *c);

/* New, or NULL: out of memory. */
json_t *cw_cloud_device_save(struct cw_cloud *c, const struct cloud_device *d);
json_t *cw_cloud_product_save(const struct cloud_product *p);
/* Make it from what was saved; its product must be there. 0 or an error with a sentence. */
int cw_cloud_product_load(struct cw_cloud *c, const json_t *j, struct cw_msg *msg);
int cw_cloud_device_load(struct cw_cloud *c, const json_t *j, struct cw_msg *msg);
/* Second pass, when all devices are there: whose child it is. */
void cw_cloud_device_load_gateway(struct cw_cloud *c, const json_t *j);

#endif
