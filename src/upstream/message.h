/*
 * message.h - what every kind that speaks Alink does alike: a parcel becomes a message,
 * a message from the platform a command, an answer a text. On the upstream's loop.
 */
#ifndef CW_UPSTREAM_MESSAGE_H
#define CW_UPSTREAM_MESSAGE_H

#include "platform/alink.h"
#include "platform/split.h"
#include "platform/topic.h"
#include "upstream/await.h"
#include "upstream/device.h"

#define CW_REQUEST_MOST 64 /* a caller's request id with its NUL */

struct cw_message {
	struct cw_alink_post post; /* post.payload is owned (cw_free) */
	uint32_t id;
	char request[CW_REQUEST_MOST]; /* empty: the caller gave none */
	int want_reply;                /* the platform was asked to reply, and does to this kind of message */
};

/*
 * The message of a parcel. It keeps its id in every attempt (p->number), the caller's own where that is a number not in
 * use. 0 or what cw_alink_record() says.
 */
int cw_message_of_parcel(struct cw_upstream *u, struct cw_await_set *ids, struct cw_updevice *d, struct cw_parcel *p,
			 struct cw_message *ret);

/* The same where a message has a size that the platform does not take more than: as several, to be sent in order. */
struct cw_messages {
	struct cw_split split; /* end with cw_split_drop() */
	uint32_t id;           /* of the first; cw_split_id() has the others */
	char request[CW_REQUEST_MOST];
	int want_reply;
};

/* None is longer than `most` bytes. 0 or what cw_split_record() says; counts what was split and what is too long. */
int cw_messages_of_parcel(struct cw_upstream *u, struct cw_await_set *ids, struct cw_updevice *d, struct cw_parcel *p,
			  size_t most, struct cw_messages *ret);

/*
 * A message for a device: a command for the bridge. `ack` (not 0): taken() of the connector is called with it once the
 * command was accepted or refused for good. 0: handed on, or nothing to do; CW_EPROTO, CW_EUNSUPPORTED, CW_ENOENT (no
 * such device here), CW_ENOMEM: counted and logged here; the caller acknowledges then.
 */
int cw_message_take(struct cw_upstream *u, const struct cw_topic *t, struct cw_bytes topic, struct cw_bytes payload,
		    uint64_t ack);
/* Count and log a message that is of no use. */
void cw_message_odd(struct cw_upstream *u, const char *why, struct cw_bytes topic);

/* The text of an answer, for d->answer_topic; owned by the caller (cw_free). 0 or an error. */
int cw_message_answer(const struct cw_downlink *d, char **ret_text, size_t *ret_len);

/* What the platform's code for a message means for its parcel; settles it or queues it again. */
void cw_message_settle(struct cw_upstream *u, struct cw_parcel *p, const struct cw_alink_reply *r);

/*
 * A reply came: counted. `d` is the device of the post it belongs to, NULL when nobody waited for it; a failure is logged
 * under its name, and a caller's request (empty: none) gets the reply.
 */
void cw_message_note_reply(struct cw_updevice *d, const char *request, const struct cw_alink_reply *r);

#endif
