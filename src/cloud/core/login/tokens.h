/*
 * tokens.h - what a device shows instead of signing again on channels without a standing connection.
 *
 * A token is good for a time by the platform's clock and for the channel it was given out on. A new one leaves the
 * older ones as they are, up to CLOUD_TOKENS_MAX of a device; beyond, the oldest goes. One that is over stays known as
 * such until then, so that its bearer is told so. Tokens are secrets: they appear in no log. They do not outlive the
 * process: a bearer is told that his token is unknown and signs again. One thread.
 */
#ifndef CW_CLOUD_TOKENS_H
#define CW_CLOUD_TOKENS_H

#include "cloud/core/cloud.h"

#define CLOUD_TOKEN_SIZE 33u /* 32 lower-case hex digits and a NUL */
#define CLOUD_TOKENS_MAX 8u  /* of one device */

struct cloud_token {
	struct cw_map_node node; /* by text */
	struct cw_list of;       /* in device->tokens, oldest first */
	struct cloud_device *device;
	const char *channel; /* static */
	int64_t until_ms;    /* wall clock */
	char text[CLOUD_TOKEN_SIZE];
	char client_id[]; /* it was asked for with */
};

/* A new one, lent; NULL: no memory or no random numbers. */
const struct cloud_token *cw_cloud_token_issue(struct cw_cloud *c, struct cloud_device *d, const char *channel,
					       const struct cloud_text *client_id, uint64_t valid_ms);
/* The token of that text and channel, valid or over (cw_cloud_token_over()); NULL: there is none. */
const struct cloud_token *cw_cloud_token_find(struct cw_cloud *c, const char *channel, const char *text, size_t len);
int cw_cloud_token_over(const struct cw_cloud *c, const struct cloud_token *t);
/* All of a device's: it is deleted, or reset. */
void cw_cloud_tokens_drop(struct cw_cloud *c, struct cloud_device *d);

#endif
