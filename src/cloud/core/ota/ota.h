/*
 * ota.h - upgrades over the air: packages, batches, and how far each device has come.
 *
 * A *package* is a version of a module (the whole firmware: module "") in one or several files. A *batch* sends it to the
 * devices chosen when it was made; each of them has a *task*. A task is pushed when the batch starts, again whenever its
 * device comes online or subscribes, and handed out when the device asks; nothing is stored for one that is away. Progress is
 * only noted: what ends a task well is the device's report of the new version, and nothing else.
 *
 * A device has at most one unfinished task a module: a newer batch takes the place of an older one. Time that passed
 * is found out when somebody looks. One thread.
 */
#ifndef CW_CLOUD_OTA_H
#define CW_CLOUD_OTA_H

#include "cloud/core/alink/alink.h"
#include "cloud/core/files.h"
#include "cloud/core/save.h"
#include "loop/timer.h"

#define CLOUD_PACKAGES_MAX      500u /* of all products, as documented for an account */
#define CLOUD_PACKAGE_FILES     20u
#define CLOUD_OTA_BATCHES_MAX   100u        /* of a package */
#define CLOUD_MQTT_FILE_MAX     (16u << 20) /* bytes of a file that is fetched by MQTT */
#define CLOUD_DOWNLOAD_BLOCK    131072u     /* largest block of such a download */
#define CLOUD_OTA_LINK_MS       (24ull * 3600 * 1000)

#define CLOUD_TASK_STATES(X)                                                                                  \
	X(QUEUED) /* to be pushed */                                                                          \
	X(NOTIFIED)                                                                                           \
	X(IN_PROGRESS)                                                                                        \
	X(SUCCEEDED)                                                                                          \
	X(FAILED)                                                                                             \
	X(CANCELED)
enum cloud_task_state {
#define CLOUD_TASK_ENUM(name) CLOUD_TASK_##name,
	CLOUD_TASK_STATES(CLOUD_TASK_ENUM)
#undef CLOUD_TASK_ENUM
	CLOUD_TASK_STATE_COUNT
};

struct cloud_package_file {
	struct cloud_blob *blob;
	char md5[33], sha256[65];
};

struct cloud_package {
	struct cw_list link;
	uint32_t id; /* also the stream's number when fetched by MQTT; a file's is its place, from 1 */
	char product[24];
	char module[65];  /* empty: the whole firmware */
	char version[65];
	char source[65];  /* the version a differential package starts from; empty: a full one */
	int sha256;       /* signMethod SHA256 instead of Md5 */
	int mqtt;         /* fetched by MQTT instead of HTTPS */
	json_t *ext;      /* object of texts, or NULL */
	struct cloud_package_file files[CLOUD_PACKAGE_FILES];
	unsigned file_count;
	int64_t created_ms;
	struct cw_list batches;
	unsigned batch_count;
};

struct cloud_ota_batch {
	struct cw_list link; /* of its package */
	uint32_t id;
	struct cloud_package *package;
	json_t *tags;             /* object of texts, or NULL */
	unsigned timeout_minutes; /* of a task, from its push; 0: none */
	int canceled;
	int64_t created_ms;
	struct cw_list tasks;
};

struct cloud_task {
	struct cw_list of_batch, of_device;
	struct cloud_ota_batch *batch;
	struct cloud_device *device;
	enum cloud_task_state state;
	int step; /* the last reported, 0 at first */
	int told; /* pushed since the device came online */
	int64_t pushed_ms, changed_ms;
	char text[128]; /* why it failed, or what the device said of its progress */
};

struct cloud_ota {
	struct cw_list packages;
	unsigned package_count;
	size_t bytes; /* of all packages */
	uint32_t next_id;
	struct cw_list due; /* devices to be pushed to at the end of `timer` */
	struct cw_timer timer;
	struct cw_cloud *cloud;
	struct cloud_chapter kept_packages, kept_tasks;
};

/* ---- packages: ota_package.c ---- */

struct cloud_package_spec {
	const char *module, *version, *source_version; /* NULL or empty: as above */
	const char *sign_method;                       /* Md5 (NULL) or SHA256, letters without case */
	const char *protocol;                          /* https (NULL) or mqtt */
	const json_t *ext;                             /* NULL, or an object of texts */
};

/* Without files as yet. 0; CW_EINVAL, CW_EEXIST (same product, module and versions), CW_ELIMIT, CW_ENOMEM with a sentence. */
int cw_cloud_package_add(struct cw_cloud *c, struct cloud_product *p, const struct cloud_package_spec *spec,
                         struct cloud_package **ret_package, struct cw_msg *msg);
/* The bytes are copied. CW_EBUSY once a batch was made. */
int cw_cloud_package_file(struct cw_cloud *c, struct cloud_package *k, const char *name, const void *data, size_t len,
                          struct cw_msg *msg);
struct cloud_package *cw_cloud_package_find(struct cw_cloud *c, uint32_t id);
/* With its batches. CW_EBUSY while a task of it is unfinished. */
int cw_cloud_package_delete(struct cw_cloud *c, struct cloud_package *k, struct cw_msg *msg);
/* New, or NULL. */
json_t *cw_cloud_package_json(const struct cloud_package *k);
/* Those of a product, or all (NULL): a new array. */
json_t *cw_cloud_packages_json(struct cw_cloud *c, const struct cloud_product *p);
/* What is pushed of it for a device: the fields of `data`. New, or NULL; links to its files are made. */
json_t *cw_cloud_package_data(struct cw_cloud *c, struct cloud_package *k, const json_t *tags);

/* ---- batches and tasks: ota.c ---- */

struct cloud_batch_spec {
	const json_t *devices;         /* array of names; NULL: all of the product */
	const json_t *source_versions; /* array of versions they must have reported; NULL: any */
	const json_t *tags;            /* NULL, or an object of texts, which go into extData */
	unsigned timeout_minutes;
};

/* Make tasks and push to those who are online. 0; CW_EINVAL, CW_ENOENT, CW_ELIMIT, CW_ENOMEM with a sentence. */
int cw_cloud_ota_start(struct cw_cloud *c, struct cloud_package *k, const struct cloud_batch_spec *spec,
                       struct cloud_ota_batch **ret_batch, struct cw_msg *msg);
struct cloud_ota_batch *cw_cloud_ota_find(struct cw_cloud *c, uint32_t id);
/* Every unfinished task of it, or only that of a device. CW_ENOENT: there is none. */
int cw_cloud_ota_cancel(struct cw_cloud *c, struct cloud_ota_batch *b, const struct cloud_device *only);
/* With counts of its tasks by state. New, or NULL. */
json_t *cw_cloud_ota_batch_json(struct cw_cloud *c, struct cloud_ota_batch *b);
/* Its tasks; those of one device; new arrays. */
json_t *cw_cloud_ota_tasks_json(struct cw_cloud *c, struct cloud_ota_batch *b);
json_t *cw_cloud_ota_device_json(struct cw_cloud *c, struct cloud_device *d);
const char *cw_cloud_task_name(enum cloud_task_state state);
/* Its unfinished task for a module (name as the device has it, NULL: default), or NULL. */
struct cloud_task *cw_cloud_ota_task(struct cw_cloud *c, struct cloud_device *d, const char *module);
void cw_cloud_ota_task_set(struct cw_cloud *c, struct cloud_task *t, enum cloud_task_state state, const char *text);
/* The device knows of it from now on. */
void cw_cloud_ota_told(struct cw_cloud *c, struct cloud_task *t);
void cw_cloud_ota_batch_free(struct cloud_ota_batch *b);
/* A device came online (any channel that can be pushed to), or subscribed: what it has not been told yet. */
void cw_cloud_ota_online(struct cw_cloud *c, struct cloud_device *d);
void cw_cloud_ota_subscribed(struct cw_cloud *c, struct cloud_device *d);
void cw_cloud_ota_device_gone(struct cloud_device *d);
/* It had no devices any more. */
void cw_cloud_ota_product_gone(struct cw_cloud *c, const struct cloud_product *p);
extern const struct cloud_chapter cw_cloud_ota_tasks_chapter;
int cw_cloud_ota_new(struct cw_cloud *c, struct cloud_ota **ret_ota);
void cw_cloud_ota_free(struct cloud_ota *o);

/* ---- what devices say: ota_device.c; handlers of alink.c ---- */
int cw_cloud_ota_get(struct alink_request *r);
void cw_cloud_ota_inform(struct cw_cloud *c, struct cloud_device *d, const struct cloud_topic *t, const char *payload,
                         size_t len);
void cw_cloud_ota_progress(struct cw_cloud *c, struct cloud_device *d, const struct cloud_topic *t, const char *payload,
                           size_t len);
void cw_cloud_ota_request(struct cw_cloud *c, struct cloud_device *d, const struct cloud_topic *t, const char *payload,
                          size_t len);
void cw_cloud_ota_download(struct cw_cloud *c, struct cloud_device *d, const struct cloud_topic *t, const char *payload,
                           size_t len);
/* CRC-16/ARC over the data. */
uint16_t cw_cloud_crc16(const uint8_t *data, size_t len);

#endif
