/*
 * violations.h - which limits of the platform were exceeded, by whom, and what was done about it; connections that a fault
 * ended beside them. The last ones of each device and the number of each kind. One thread.
 */
#ifndef CW_CLOUD_VIOLATIONS_H
#define CW_CLOUD_VIOLATIONS_H

#include "cloud/core/cloud.h"

#define CLOUD_VIOLATIONS_KEPT 16u /* of one device */
#define CLOUD_VIOLATION_KINDS (sizeof(((struct cw_cloud *)0)->violation) / sizeof(((struct cw_cloud *)0)->violation[0]))

struct cloud_violations {
	unsigned count; /* ever */
	struct {
		int64_t ms;
		const char *limit, *done;
	} last[CLOUD_VIOLATIONS_KEPT];
};

/* `limit`: the setting's name without "limits.", or "fault"; `done`: what became of it. Both static. d NULL: of nobody known. */
void cw_cloud_violation(struct cw_cloud *c, struct cloud_device *d, const char *limit, const char *done);
/* {totals: {limit: number}, devices: {"pk/dn": [{time, limit, done}]}}, newest first; id NULL: of all devices that have some. */
json_t *cw_cloud_violations_list(const struct cw_cloud *c, const char *id);
void cw_cloud_violations_clear(struct cw_cloud *c);

#endif
