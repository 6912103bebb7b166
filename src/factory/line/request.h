/*
 * request.h - the JSON of the distribution protocol (factory.md C.1 and C.3), without I/O: what a station sent, and what it gets.
 */
#ifndef CW_FACTORY_REQUEST_H
#define CW_FACTORY_REQUEST_H

#include <jansson.h>

#include "factory/stock/stock.h"

#define CW_FACTORY_BODY_MOST (64u << 10)

struct factory_request {
	enum cw_stock_action action;
	const char *product_key;   /* in `body`, as device_id */
	struct cw_bytes device_id; /* exact bytes; empty: absent, null or empty text, which are the same */
	int deviation;             /* Action was no integer, yet clear */
	json_t *body;              /* what was sent, NULL when it was no JSON */
};

/*
 * Fill from a body of any bytes. 0, or CW_EINVAL with a sentence that names the field. Unknown members are left out; a member that is there twice is an
 * error, for nobody can say which counts. In every case end with cw_factory_request_fini().
 */
int cw_factory_request_parse(const char *text, size_t len, struct factory_request *r, struct cw_msg *msg);
void cw_factory_request_fini(struct factory_request *r);

const char *cw_factory_answer_status(enum cw_stock_answer answer);
unsigned cw_factory_answer_http(enum cw_stock_answer answer);
/* What C.3 says to do. */
const char *cw_factory_answer_text(enum cw_stock_answer answer);

/* The replies; *ret_text is owned, wipe it with its length before it is freed. 0 or CW_ENOMEM. */
int cw_factory_reply_refusal(const struct factory_request *r, enum cw_stock_answer answer, const char *text, char **ret_text, size_t *ret_len);
/* To Action 0. The DeviceID is the one that was sent, if one was. */
int cw_factory_reply_cert(const struct cw_stock_cert *cert, struct cw_bytes sent, char **ret_text, size_t *ret_len);
/* To Action 1. */
int cw_factory_reply_report(const char *product_key, struct cw_bytes device_id, char **ret_text, size_t *ret_len);

#endif
