/*
 * files.h - what devices and people fetch by a link: firmware packages, configurations, certificate packages.
 *
 * A *blob* is the bytes, counted by references. A *link* makes one reachable for a time: a path nobody can guess, and a
 * signature over path and end in the query, as the platform's storage has it. A link holds its blob until its end. The
 * HTTPS listener serves links (c->download_url says where it is), and the API's listener may, over plain HTTP.
 * One thread. The key of the signatures is made at the start: links do not survive a restart.
 */
#ifndef CW_CLOUD_FILES_H
#define CW_CLOUD_FILES_H

#include "cloud/core/cloud.h"

#define CLOUD_FILES_PATH "/files/" /* every link begins with it */
#define CLOUD_URL_MAX 384u         /* bytes of any link, with its NUL */

struct cloud_blob {
	unsigned refs;
	struct cw_map_node node; /* in the core's table of files while `until_ms` is not 0 */
	char path[96];           /* "/files/{digits}/{name}"; empty until first linked */
	int64_t until_ms;        /* end of the last link, wall clock */
	char *name;              /* last part of the path: letters, digits, - _ . */
	const char *type;        /* media type, static */
	size_t len;
	uint8_t data[];
};

/* The bytes are copied; other characters of the name become _, and it is cut to 48. NULL: out of memory. */
struct cloud_blob *cw_cloud_blob_new(const char *name, const char *type, const void *data, size_t len);
void cw_cloud_blob_unref(struct cloud_blob *b);
/* Digest of the bytes as lower-case hex: 32 or 64 digits and a NUL. */
void cw_cloud_blob_md5(const struct cloud_blob *b, char out[33]);
void cw_cloud_blob_sha256(const struct cloud_blob *b, char out[65]);

/*
 * A link to `b` valid so long by the platform's clock: an absolute URL into out. The core holds a reference to the blob
 * till then. 0, CW_ENOMEM, or CW_EINTERNAL without random numbers.
 */
int cw_cloud_link_file(struct cw_cloud *c, struct cloud_blob *b, uint64_t valid_ms, char out[CLOUD_URL_MAX]);
/* All links to `b` are void from now on: not found. */
void cw_cloud_unlink_file(struct cw_cloud *c, struct cloud_blob *b);

/* A link as it comes back: path and the three parts of the query, decoded; NULL where one is missing. */
struct cloud_file_ask {
	const char *path;
	const char *expires;   /* Expires */
	const char *key_id;    /* OSSAccessKeyId */
	const char *signature; /* Signature */
};

/*
 * The blob, lent. NULL, with the HTTP status and the storage's word for it (static) otherwise: 403
 * SignatureDoesNotMatch (wrong or cut), 403 AccessDenied (later than its end), 404 NoSuchKey (withdrawn).
 */
const struct cloud_blob *cw_cloud_find_file(struct cw_cloud *c, const struct cloud_file_ask *ask, unsigned *ret_status,
					    const char **ret_code);

/* Part of making and unmaking the core. */
int cw_cloud_files_new(struct cloud_files **ret_files);
void cw_cloud_files_free(struct cloud_files *f);

#endif
