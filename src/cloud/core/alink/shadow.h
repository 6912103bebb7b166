/*
 * shadow.h - the device's shadow: what it reported and what is wanted of it, with a version and times in seconds.
 *
 * The shadow is one of the device's documents (CLOUD_DOC_SHADOW), {state, metadata, version, timestamp}, and so saved
 * and shown with the others. One thread.
 */
#ifndef CW_CLOUD_SHADOW_H
#define CW_CLOUD_SHADOW_H

#include "cloud/core/alink/alink.h"

#define CLOUD_SHADOW_DEPTH      5u
#define CLOUD_SHADOW_BYTES      16384u /* the most that the setting allows */
#define CLOUD_SHADOW_NEXT       INT64_MIN /* as a version: one more than it is */

/* The device's requests on /shadow/update; handler of alink.c. */
void cw_cloud_shadow(struct cw_cloud *c, struct cloud_device *d, const struct cloud_topic *t, const char *payload, size_t len);
/*
 * An application wants something: attributes to merge into `desired` (one that is null or "null" goes), or null or "null":
 * nothing more. Told to the device if it is online; otherwise it asks. 0; CW_EEXIST: the version is not larger than the
 * stored one; CW_EINVAL, CW_ELIMIT, CW_ENOMEM; with a sentence.
 */
int cw_cloud_shadow_set_desired(struct cw_cloud *c, struct cloud_device *d, const json_t *desired, int64_t version,
                                struct cw_msg *msg);
/* {state, metadata, version, timestamp}, lent; NULL while nothing was ever written. */
json_t *cw_cloud_shadow_json(const struct cloud_device *d);

#endif
