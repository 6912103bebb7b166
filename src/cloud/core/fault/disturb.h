/*
 * disturb.h - what faults do to messages on their way, in both directions, and to the connections that carry them.
 *
 * cw_cloud_publish() and cw_cloud_push() go through here while there is a fault that a message could meet, or a message held
 * back by one. A held message belongs to a link (up) or to a device's session (down) and is forgotten with it, but for
 * what the session keeps anyway. A connection that is to end does so in a pass of the loop of its own: until then nothing passes
 * it any more. Requests without a standing connection cannot be overtaken: a delay is noted in their link, and so is
 * a cut, for the front to carry out. One thread.
 */
#ifndef CW_CLOUD_DISTURB_H
#define CW_CLOUD_DISTURB_H

#include "cloud/core/cloud.h"
#include "cloud/core/fault/fault.h"

/* cw_cloud_publish() behind all faults; publish.c. */
enum cloud_verdict cw_cloud_publish_now(struct cw_cloud *c, struct cloud_link *l, const char *topic, size_t topic_len,
                                        const void *payload, size_t len, uint8_t qos);
/* Whether messages must go through the calls below. */
int cw_cloud_disturbed(const struct cw_cloud *c);
enum cloud_verdict cw_cloud_disturb_up(struct cw_cloud *c, struct cloud_link *l, const char *topic, size_t topic_len,
                                       const void *payload, size_t len, uint8_t qos);
/* Hand a message to a link. NULL, or what a fault made of it (static text), for the log. */
const char *cw_cloud_push(struct cw_cloud *c, struct cloud_link *l, struct cloud_device *to, struct cloud_msg *msg, int dup);

/* The link's connection ends, or the device's session: what is held for it is let go. */
void cw_cloud_disturb_link_gone(struct cw_cloud *c, const struct cloud_link *l);
void cw_cloud_disturb_session_gone(struct cw_cloud *c, struct cloud_device *d);
/* All of it: a reset, or the end. */
void cw_cloud_disturb_drop(struct cw_cloud *c);

/* End a connection, or a session, because of a fault, now. l NULL: whatever connections d has. */
void cw_cloud_fault_end(struct cw_cloud *c, struct cloud_link *l, struct cloud_device *d, enum cloud_fault_kind kind, int code);

#endif
