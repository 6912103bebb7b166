/*
 * files.h - what devices and people fetch by a link: firmware packages, configurations, certificate packages.
 *
 * A *blob* is the bytes, counted by references. A *link* makes one reachable for a time under a path nobody can guess; the
 * HTTPS listener serves it, and the API's listener over plain HTTP. One thread.
 */
#ifndef CW_CLOUD_FILES_H
#define CW_CLOUD_FILES_H

#include "cloud/core/cloud.h"

#define CLOUD_FILES_PATH "/files/" /* every link begins with it */

struct cloud_blob {
	unsigned refs;
	char *name; /* last part of the path: letters, digits, - _ . */
	const char *type; /* media type, static */
	size_t len;
	uint8_t data[];
};

/* The bytes are copied. NULL: out of memory. */
struct cloud_blob *cw_cloud_blob_new(const char *name, const char *type, const void *data, size_t len);
void cw_cloud_blob_unref(struct cloud_blob *b);
/* A link to `b` (takes a reference) valid so long by the platform's clock: an absolute URL into out. 0 or CW_ENOMEM. */
int cw_cloud_link_file(struct cw_cloud *c, struct cloud_blob *b, uint64_t valid_ms, char *out, size_t size);
/* `path` with its query as in the URL. The blob, lent; NULL and the HTTP status (403 wrong or expired, 404) otherwise. */
const struct cloud_blob *cw_cloud_find_file(struct cw_cloud *c, const char *path, unsigned *ret_status, const char **ret_reason);

#endif
