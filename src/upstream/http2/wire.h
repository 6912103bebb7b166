/*
 * wire.h - the texts of the bridge's protocol: authentication forms and their answers,
 * envelopes both ways. No I/O, no state.
 */
#ifndef CW_UPSTREAM_HTTP2_WIRE_H
#define CW_UPSTREAM_HTTP2_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "causeway/bytes.h"

#define HTTP2_ID_SIZE 37 /* of a message, as the text of a UUID with its NUL */
#define HTTP2_NET_ID_SIZE 64
#define HTTP2_FORM_SIZE 1024
#define HTTP2_NO_CODE (-1)

/* Two numbers as the text of a UUID: different numbers make different texts. */
void http2_id(uint64_t a, uint64_t b, char out[HTTP2_ID_SIZE]);

/* A call of authEndpoint. */
struct http2_form {
	const char *product_key, *device_name, *secret;
	const char *client_id;
	const char *net_id; /* of a device; NULL: it is the bridge itself */
	int mode;           /* subDeviceConnectMode of the bridge; 0: not sent */
	int64_t utc_ms;
};
/* The signed body into out. 0, CW_ELIMIT or CW_EINTERNAL. */
int http2_form(const struct http2_form *f, char out[HTTP2_FORM_SIZE]);
/* What it answered: `code` (HTTP2_NO_CODE: none), text, net id (empty: none). 0, CW_EPROTO or CW_ENOMEM. */
struct http2_form_reply {
	int32_t code;
	char message[128];
	char net_id[HTTP2_NET_ID_SIZE];
};
int http2_form_reply(struct cw_bytes body, struct http2_form_reply *ret);

/* Envelope of a message, or of a logout where `topic` is NULL. Owned by the caller (cw_free). 0, CW_ENOMEM, CW_EPROTO.
 */
int http2_envelope(const char id[HTTP2_ID_SIZE], const char *product_key, const char *device_name, const char *topic,
		   struct cw_bytes payload, uint8_t **ret_body, size_t *ret_len);
int http2_offline(const char id[HTTP2_ID_SIZE], const char *product_key, const char *device_name, const char *net_id,
		  uint8_t **ret_body, size_t *ret_len);

/* A message from the platform. */
struct http2_down {
	struct cw_bytes product_key, device_name, topic; /* into `item`; empty: none */
	struct cw_bytes payload;                         /* into `bytes` */
	uint8_t *item, *bytes;                           /* owned */
};
/* 0, CW_EPROTO, CW_ENOMEM. */
int http2_down(struct cw_bytes body, struct http2_down *ret);
void http2_down_drop(struct http2_down *d);

/* The platform's answer to a logout: its id and code. 0, CW_EPROTO or CW_ENOMEM. */
int http2_offline_reply(struct cw_bytes body, char id[HTTP2_ID_SIZE], int32_t *ret_code);

#endif
