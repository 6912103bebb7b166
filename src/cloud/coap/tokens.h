/*
 * tokens.h - logins of devices over CoAP: a token, in symmetric mode a key and which sequence numbers were used.
 *
 * A device has one at most, the newest, on both listeners together; it ends by the platform's clock. Not kept over a restart: a
 * client whose token is unknown authenticates again. One thread.
 */
#ifndef CW_CLOUD_COAP_TOKENS_H
#define CW_CLOUD_COAP_TOKENS_H

#include "cloud/coap/cipher.h"
#include "cloud/core/cloud.h"

#define COAP_SEQ_RANGES 1024u /* gaps in the sequence numbers of one login before it must authenticate again */

/* Numbers used so far, as ranges in ascending order: counting up is one range. */
struct coap_seqs {
	struct coap_range {
		uint64_t first, last;
	} *at;
	unsigned count, room;
};

/* 0; CW_EEXIST: used before; CW_ELIMIT: too many gaps; CW_ENOMEM. */
int cw_cloud_coap_seq_use(struct coap_seqs *s, uint64_t seq);
void cw_cloud_coap_seq_fini(struct coap_seqs *s);

struct coap_token {
	struct cw_map_node by_text, by_device;
	struct cw_list link; /* oldest first */
	char text[40], random[20];
	char *device; /* "pk/dn" */
	unsigned serial;
	int secure;   /* of DTLS: no sequence numbers, no cipher */
	int separate; /* ackMode 1 */
	unsigned seq_offset;
	uint8_t key[COAP_KEY_BYTES];
	struct coap_seqs seqs;
	int64_t until_ms; /* wall clock */
	char client_id[68];
};

struct coap_tokens {
	struct cw_cloud *cloud;
	struct cw_map by_text, by_device;
	struct cw_list all;
};

void cw_cloud_coap_tokens_init(struct coap_tokens *t, struct cw_cloud *c);
void cw_cloud_coap_tokens_fini(struct coap_tokens *t);
/* A new login of the device in place of an older one. NULL: out of memory. */
struct coap_token *cw_cloud_coap_token_new(struct coap_tokens *t, const struct cloud_device *d, int secure);
/* NULL: unknown, expired, or its device is gone. */
struct coap_token *cw_cloud_coap_token_find(struct coap_tokens *t, const struct cloud_text *text,
                                            struct cloud_device **ret_device);

#endif
