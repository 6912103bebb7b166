/*
 * login.h - POST /auth: the body, signed, and the platform's answer, each in JSON or CBOR; and the page that POST /pull
 * returns. No socket, no state; fuzzed.
 */
#ifndef CW_UPSTREAM_COAP_LOGIN_H
#define CW_UPSTREAM_COAP_LOGIN_H

#include "causeway/bytes.h"
#include "platform/sign.h"

#define COAP_BODY_BYTES 768u
#define COAP_TOKEN_BYTES 512u /* with its NUL; the platform's SDKs have room for 192 */
#define COAP_RANDOM_BYTES 64u

enum coap_format { COAP_FORMAT_NONE = -1, COAP_FORMAT_OCTETS = 42, COAP_FORMAT_JSON = 50, COAP_FORMAT_CBOR = 60 };

struct coap_login {
	const char *product_key, *device_name, *secret;
	enum cw_sign_method method;
	const char *seq; /* NULL: by DTLS, which needs none */
	int separate;    /* ackMode 1: an answer is a message of its own */
	enum coap_format format;
};

/* `out` has COAP_BODY_BYTES. 0, CW_ELIMIT (names too long) or CW_EINTERNAL. */
int cw_coap_login_body(const struct coap_login *l, uint8_t *out, size_t *ret_len);
/* The text that is signed: names and values in ascending order. CW_ELIMIT when it does not fit. */
int cw_coap_login_content(const struct coap_login *l, char *out, size_t size);

struct coap_pass {
	char token[COAP_TOKEN_BYTES];
	char random[COAP_RANDOM_BYTES]; /* empty: there was none */
	uint64_t seq_offset;
};
/* CBOR is told from JSON by its first byte. 0, or CW_EPROTO: not such an object, without token, or longer than there is
 * room. */
int cw_coap_login_answer(struct cw_bytes body, struct coap_pass *ret);

/*
 * A page of POST /pull: `each` for every message; views are lent. What is not a message is skipped and counted in
 * *ret_odd. Returns how many messages there were, or CW_EPROTO (not an array), CW_ENOMEM.
 */
int cw_coap_page(struct cw_bytes body, void (*each)(void *ctx, struct cw_bytes topic, struct cw_bytes payload),
		 void *ctx, unsigned *ret_odd);

#endif
