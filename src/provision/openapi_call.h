/*
 * openapi_call.h - one signed call of the management API, and what its answer means.
 *
 * HTTPS POST with everything in the form, signature version 1.0, JSON. Nothing is tried again here: whether that is
 * harmless only the caller knows. On a worker's loop.
 */
#ifndef CW_PROVISION_OPENAPI_CALL_H
#define CW_PROVISION_OPENAPI_CALL_H

#include "fetch/fetch.h"
#include "platform/pop.h"

/* Who calls, and where. Texts are lent as long as the calls run. */
struct cw_openapi_account {
	const char *endpoint; /* host as in iot.cn-shanghai.aliyuncs.com, or https://host[:port] */
	const char *region, *access_key, *access_secret;
	const char *instance_id; /* may be NULL */
	struct cw_fetch_tls tls;
};

struct cw_openapi_answer {
	/* 0; CW_EREFUSED the platform said no; CW_EBUSY it said later (throttled, or trouble of its own); CW_EUNREACH, CW_EACCESS (TLS),
	 * CW_EINVAL as fetch.h; CW_EPROTO not understood. But for 0, CW_EREFUSED and CW_EACCESS it may have been done all the same. */
	int rc;
	const char *code;     /* the platform's, "" when none */
	struct cw_bytes body; /* with 0 and CW_EREFUSED: the whole answer as a map of record.h; lent, wiped afterwards */
	const char *text;     /* a sentence with action, code, request id and what to do; never with a key or a secret */
};

struct cw_openapi_call {
	const struct cw_openapi_account *account;
	const char *action;
	const struct cw_pop_param *params; /* the action's own; lent until cw_openapi_call() returns */
	size_t count;
	size_t most;                       /* bytes of the answer; 0: 64 KiB */
	/* Exactly once unless cancelled; what `c` lies in may go meanwhile. */
	void (*done)(struct cw_openapi_call *c, const struct cw_openapi_answer *answer);
	void *ctx;              /* the caller's */
	struct cw_fetch *fetch; /* the module's; NULL: none under way */
};

/* An endpoint in the clear, or none: CW_ECONF with a sentence. */
int cw_openapi_check(const struct cw_openapi_account *a, struct cw_msg *msg);
/* 0, or an error (then `done` never runs). */
int cw_openapi_call(struct cw_fetch_pool *pool, struct cw_openapi_call *c);
void cw_openapi_call_cancel(struct cw_openapi_call *c); /* harmless when none is under way */
/* How long to wait before the next try after that many failures in a row: 500, 1000, 2000; then 0, enough. */
unsigned cw_openapi_wait_ms(unsigned failures);
/* A text member of an answer that is one plain word (no blanks, ASCII) into out; anything else becomes "". */
void cw_openapi_word(struct cw_bytes map, const char *key, char *out, size_t size);

#endif
