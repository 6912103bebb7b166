/*
 * batch.h - devices made by the hundred: names made up, names that were checked first, or names from a file.
 *
 * A batch is ordered by one call and carried out later (limits.batchDelay): whoever ordered it asks for its state.
 * Its number, the ApplyId, stays the same from the check to the creation. A batch of an X.509 product is done when
 * every device has its certificate. The last CLOUD_BATCHES_MAX batches are known; an older one is forgotten, its
 * devices stay.
 */
#ifndef CW_CLOUD_BATCH_H
#define CW_CLOUD_BATCH_H

#include "cloud/core/files.h"

#define CLOUD_BATCH_DEVICES 1000u      /* devices of one batch, lines of one file */
#define CLOUD_BATCH_FILE    (2u << 20) /* bytes of one file */
#define CLOUD_BATCHES_MAX   200u

#define CLOUD_BATCH_STATES(X)                                                                                 \
	X(CHECK)         /* names are being looked at */                                                      \
	X(CHECK_SUCCESS) /* may be created */                                                                 \
	X(CHECK_FAILED)  /* some names are taken, or occur twice */                                           \
	X(CREATE)                                                                                             \
	X(CREATE_SUCCESS)                                                                                     \
	X(CREATE_FAILED) /* names that were free are taken, or the product is full */
enum cloud_batch_state {
#define CLOUD_BATCH_ENUM(name) CLOUD_BATCH_##name,
	CLOUD_BATCH_STATES(CLOUD_BATCH_ENUM)
#undef CLOUD_BATCH_ENUM
};

#define CLOUD_BATCH_PROBLEMS(X)                                                                               \
	X(NONE, "")                                                                                           \
	X(TWICE, "the name occurs twice")                                                                     \
	X(EXISTS, "the name exists already")                                                                  \
	X(ILLEGAL, "the name is illegal")                                                                     \
	X(FULL, "the product is full")                                                                        \
	X(MEMORY, "out of memory")                                                                            \
	X(CERTIFICATE, "its certificate could not be made")
enum cloud_batch_problem {
#define CLOUD_BATCH_PROBLEM_ENUM(sym, text) CLOUD_BATCH_PROBLEM_##sym,
	CLOUD_BATCH_PROBLEMS(CLOUD_BATCH_PROBLEM_ENUM)
#undef CLOUD_BATCH_PROBLEM_ENUM
	CLOUD_BATCH_PROBLEM_COUNT
};

struct cloud_batch_member {
	char *dn, *nickname; /* nickname or NULL */
	char iot_id[32]; /* of its device, empty: not made */
	enum cloud_batch_problem problem;
};

struct cloud_batch {
	struct cw_list link; /* in cw_cloud.batches */
	struct cw_cloud *cloud;
	uint64_t id; /* ApplyId */
	struct cloud_product *product;
	enum cloud_batch_state state;
	int64_t created_ms; /* wall clock */
	struct cw_timer timer;
	unsigned count, certified; /* certified: members whose certificate was made or tried */
	struct cloud_batch_member *member;
	char url[CLOUD_URL_MAX]; /* of the package of certificates; empty: not made yet */
	int64_t url_until_ms;
};

/* Order devices with made-up names. 0; CW_ELIMIT: none or more than 1,000; CW_EBUSY; CW_ENOMEM. */
int cw_cloud_batch_generate(struct cw_cloud *c, struct cloud_product *p, unsigned count, struct cloud_batch **ret_batch,
                            struct cw_msg *msg);
/*
 * Order the check of names; `nicknames` NULL, or with NULL for those without. 0; CW_ELIMIT and CW_EBUSY as above;
 * CW_EINVAL and {"names": [...], "nicknames": [...]} of the malformed ones in *ret_invalid, if that is not NULL.
 */
int cw_cloud_batch_check(struct cw_cloud *c, struct cloud_product *p, const char *const *names, const char *const *nicknames,
                         size_t n, struct cloud_batch **ret_batch, json_t **ret_invalid, struct cw_msg *msg);
/* Order the devices of a batch that was checked. CW_EBUSY: the check or the creation is under way; CW_EREFUSED: it
   failed, or it was done. */
int cw_cloud_batch_create(struct cw_cloud *c, struct cloud_batch *b, struct cw_msg *msg);
/*
 * Order the devices of a file: lines DeviceName,Nickname below a header of that form, UTF-8. CW_ELIMIT: no line,
 * more than 1,000, or above 2 MB; CW_EINVAL: nothing is created, and *ret_bad is [{line, deviceName, nickname?,
 * problem}] of the illegal lines.
 */
int cw_cloud_batch_upload(struct cw_cloud *c, struct cloud_product *p, const char *text, size_t len,
                          struct cloud_batch **ret_batch, json_t **ret_bad, struct cw_msg *msg);
/*
 * The certificates of a batch as a file: header DeviceName,DeviceSecret,ProductKey and with_product_secret also
 * ProductSecret; of an X.509 product DeviceName,ProductKey,CertUrl, the link to a package of PEM pairs that is
 * valid for 30 days. The text is the caller's, to be freed with cw_free(). CW_EBUSY: not created yet.
 */
int cw_cloud_batch_csv(struct cw_cloud *c, struct cloud_batch *b, int with_product_secret, char **ret_text, size_t *ret_len,
                       struct cw_msg *msg);

struct cloud_batch *cw_cloud_batch_find(struct cw_cloud *c, uint64_t id);
const char *cw_cloud_batch_problem_text(enum cloud_batch_problem problem);
const char *cw_cloud_batch_state_name(enum cloud_batch_state state);
/* {applyId, productKey, status, count, created}, of one, and of all (`p` NULL) or those of a product, oldest first. */
json_t *cw_cloud_batch_view(const struct cloud_batch *b);
json_t *cw_cloud_batch_list(const struct cw_cloud *c, const struct cloud_product *p);
/* Names as an array, those refused or the others; empty unless a check or a creation failed. */
json_t *cw_cloud_batch_names(const struct cloud_batch *b, int valid);
/* Made devices that still exist: [{deviceName, nickname, deviceSecret, iotId}], `count` from `first` (0), and how
   many in all. */
json_t *cw_cloud_batch_members(struct cw_cloud *c, const struct cloud_batch *b, unsigned first, unsigned count,
                               unsigned *ret_total);
/* The device of a member, or NULL: not made, or deleted since. */
struct cloud_device *cw_cloud_batch_device(struct cw_cloud *c, const struct cloud_batch *b, const struct cloud_batch_member *m);
/* They are a chapter of what survives a restart, all but the links to packages. Part of making the core. */
int cw_cloud_batches_new(struct cw_cloud *c);
void cw_cloud_batches_free(struct cw_cloud *c);
/* Forget the batches of a product, or all with NULL. */
void cw_cloud_batches_forget(struct cw_cloud *c, const struct cloud_product *p);

#endif
