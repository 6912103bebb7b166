/*
 * answer.h - the platform's answers over HTTPS, taken apart, and paths as it wants them. No I/O, no state; any thread.
 */
#ifndef CW_UPSTREAM_HTTPS_ANSWER_H
#define CW_UPSTREAM_HTTPS_ANSWER_H

#include <stddef.h>
#include <stdint.h>

#include "causeway/bytes.h"

#define HTTPS_TOKEN_MOST 512 /* with its NUL; the platform's have up to 192 characters */

/* The platform's codes, of /auth and /topic together. */
enum {
	HTTPS_CODE_OK = 0,
	HTTPS_CODE_COMMON = 10000,
	HTTPS_CODE_PARAM = 10001,
	HTTPS_CODE_AUTH = 20000,
	HTTPS_CODE_TOKEN_OVER = 20001,
	HTTPS_CODE_TOKEN_NULL = 20002,
	HTTPS_CODE_TOKEN_WRONG = 20003,
	HTTPS_CODE_SESSION = 20004,
	HTTPS_CODE_PUBLISH = 30001,
	HTTPS_CODE_MANY = 40000
};

/* What a code of /auth or /topic asks for. */
enum https_action {
	HTTPS_DONE,
	HTTPS_LATER,   /* the same may succeed later */
	HTTPS_RELOGIN, /* the token is of no use (any more) */
	HTTPS_AFEW,    /* later, but not for ever: it may be for good */
	HTTPS_REFUSED
};
enum https_action https_auth_action(int32_t code);
enum https_action https_topic_action(int32_t code);
const char *https_code_text(int32_t code);

struct https_answer {
	int32_t code;
	char message[160];            /* the platform's text, or ours for the code */
	char token[HTTPS_TOKEN_MOST]; /* empty: none, or one that cannot stand in a header */
	char message_id[24];          /* its digits, exact; empty: none */
	struct cw_bytes data;         /* info.data, the reply of Alink; empty: none. Points into item */
	uint8_t *item;                /* owned */
	size_t item_len;
};

/* 0, CW_ENOMEM, or CW_EPROTO: not a JSON object with a code. */
int https_answer_read(struct cw_bytes body, struct https_answer *ret);
void https_answer_drop(struct https_answer *a);

/* `topic` as the rest of an address, with %XX for what may not stand there. 0 or CW_ELIMIT. */
int https_encode_path(const char *topic, char *out, size_t size);

#endif
