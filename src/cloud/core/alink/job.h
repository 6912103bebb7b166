/*
 * job.h - jobs: something a device shall do that is no call, such as running an update of its own; and the order to
 * connect to another instance.
 *
 * A job is told when it is made and can be asked for; the device reports its status. Jobs are one of the device's documents
 * (CLOUD_DOC_JOBS), by their id. One thread.
 */
#ifndef CW_CLOUD_JOB_H
#define CW_CLOUD_JOB_H

#include "cloud/core/alink/alink.h"

#define CLOUD_JOBS_MAX  50u /* of a device */
#define CLOUD_JOB_BYTES 8192u

/* `document`: any JSON. The id of the job into out. 0; CW_ELIMIT, CW_ENOMEM with a sentence. */
int cw_cloud_job_add(struct cw_cloud *c, struct cloud_device *d, const json_t *document, char out[24], struct cw_msg *msg);
/* Told as CANCELLED if it was not ended, and forgotten. CW_ENOENT. */
int cw_cloud_job_remove(struct cw_cloud *c, struct cloud_device *d, const char *id);
/* thing/bootstrap/notify: connect anew, wherever the bootstrap service then says. */
enum cloud_outcome cw_cloud_bootstrap_notify(struct cw_cloud *c, struct cloud_device *d, int cmd);

/* Handlers of alink.c. */
int cw_cloud_job_get(struct alink_request *r);
int cw_cloud_job_update(struct alink_request *r);

#endif
