/*
 * request.h - what the platform does with one CoAP request, decrypted and answered; no socket, no library of the wire. Fuzzed.
 *
 * Both listeners share one *service*, so that a device has one token whichever port it uses. One thread.
 */
#ifndef CW_CLOUD_COAP_REQUEST_H
#define CW_CLOUD_COAP_REQUEST_H

#include "cloud/coap/body.h"
#include "cloud/coap/tokens.h"

#define COAP_ANSWER_BYTES 1008u /* of a payload: the whole message stays below the 1,024 that clients have room for */

struct coap_service;

/* Made by the first who asks for it with this core, freed by the last who lets go. NULL: out of memory. */
struct coap_service *cw_cloud_coap_service_get(struct cw_cloud *c);
void cw_cloud_coap_service_put(struct coap_service *s);

/* All is lent. */
struct coap_request {
	int post;                 /* the method is POST */
	int secure;               /* came by DTLS */
	int confirmable;
	struct cloud_text path;   /* segments with / between them, none in front */
	int format, accept;       /* numbers of the options, -1: absent */
	struct cloud_text token;  /* s NULL: absent */
	struct cloud_text seq;    /* bytes as encrypted; s NULL: absent */
	const uint8_t *payload;
	size_t len;
	const char *peer;
};

struct coap_answer {
	int code;       /* 205, 401, ... */
	int silent;     /* nothing is sent at all: a fault */
	int separate;   /* acknowledged first, then sent by itself */
	unsigned delay_ms; /* of a separate one: so much later, a fault */
	int format;     /* -1: no option */
	char id[24];    /* the platform's number of the message, decimal; empty: no option */
	uint8_t payload[COAP_ANSWER_BYTES];
	size_t len;
};

void cw_cloud_coap_handle(struct coap_service *s, const struct coap_request *r, struct coap_answer *ret);
/* Whether the answer to a request that is repeated is withheld once more (a fault). */
int cw_cloud_coap_withheld(struct coap_service *s, const struct coap_request *r);

#endif
