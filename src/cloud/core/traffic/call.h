/*
 * call.h - down calls that wait for the device's answer: property set, services, raw, RRPC.
 *
 * A call is embedded in its owner and ends exactly once, by done(): answered, timed out, or gone (device
 * deleted, emulator stopping). The answer is recognised by its topic and, where it is Alink
 * JSON, by its id. One thread.
 */
#ifndef CW_CLOUD_CALL_H
#define CW_CLOUD_CALL_H

#include "base/list.h"
#include "cloud/core/cloud.h"
#include "loop/timer.h"

enum cloud_call_end { CLOUD_CALL_ANSWERED, CLOUD_CALL_TIMEOUT, CLOUD_CALL_GONE };

struct cloud_call {
	struct cw_list link;
	struct cw_cloud *cloud;
	struct cloud_device *device;
	struct cw_timer timer;
	char *topic;  /* of the answer; ours */
	char id[24];  /* empty: any answer on the topic counts */
	/* payload is lent and NULL unless answered. The call is out of all lists; its owner may be freed here. */
	void (*done)(struct cloud_call *call, enum cloud_call_end end, const char *payload, size_t len);
};

/* Wait. cloud, device, id and done are filled by the caller; the topic is copied. 0 or CW_ENOMEM. */
int cw_cloud_call_wait(struct cloud_call *call, const char *topic, uint64_t timeout_ms);
/* Stop waiting without done(). */
void cw_cloud_call_cancel(struct cloud_call *call);
/* An uplink of `d`: 1 if a call was waiting for it. */
int cw_cloud_call_answer(struct cw_cloud *c, struct cloud_device *d, const char *topic, size_t topic_len, const char *payload,
                         size_t len);
/* End all calls of a device, or of all (NULL), as gone. */
void cw_cloud_calls_abandon(struct cw_cloud *c, struct cloud_device *d);

#endif
