/*
 * codes.h - the response codes of the platform's CoAP access: what each means in a sentence, and what it asks of us. A
 * code is its class times 100 and its detail: 401 is 4.01.
 */
#ifndef CW_UPSTREAM_COAP_CODES_H
#define CW_UPSTREAM_COAP_CODES_H

enum coap_action {
	COAP_DONE,    /* taken */
	COAP_RELOGIN, /* the token is not valid (any more): authenticate, then the same request */
	COAP_LATER,   /* the same request may succeed later */
	COAP_REFUSED  /* for good, as long as nobody changes something */
};

/* Never NULL; what happened and what is done about it. */
const char *cw_coap_code_text(int code);
/* To a request with a token. */
enum coap_action cw_coap_code_action(int code);
/* The same of an answer to /auth, where nothing is to be gained from authenticating once more at once. */
const char *cw_coap_auth_text(int code);
enum coap_action cw_coap_auth_action(int code);

#endif
