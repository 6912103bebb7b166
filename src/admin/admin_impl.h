/* admin_impl.h - what the files of this module share; nobody else includes it. */
#ifndef CW_ADMIN_ADMIN_IMPL_H
#define CW_ADMIN_ADMIN_IMPL_H

#include "admin/admin.h"
#include "http/http.h"
#include "json/json.h"

struct cw_admin {
	struct cw_admin_conf conf;
	struct cw_http *http;
	struct cw_timer stop_timer; /* the stop begins when the answer had its turn */
};

void cw_admin_reply_json(struct cw_http_req *req, unsigned status, struct cw_json *j);
/* {KEY: TEXT} */
void cw_admin_reply_text(struct cw_http_req *req, unsigned status, const char *key, const char *text);

/*
 * Which entry do the sources have for an identity? `known` runs once with it (lent) or without (after the answer 404 or
 * 503 was sent), unless the client leaves first.
 */
void cw_admin_ask(struct cw_admin *a, struct cw_http_req *req, const char *identity,
		  void (*known)(struct cw_admin *a, struct cw_http_req *req, const struct cw_identity *id));

/* identities.c: the table. */
void cw_admin_identities(struct cw_admin *a, struct cw_http_req *req, const char *rest);
void cw_admin_identities_import(struct cw_admin *a, struct cw_http_req *req, const char *rest);
void cw_admin_identities_remove(struct cw_admin *a, struct cw_http_req *req, const char *identity);
void cw_admin_identities_rekey(struct cw_admin *a, struct cw_http_req *req, const char *rest);

/* pending.c: frames of unknown devices. */
void cw_admin_pending(struct cw_admin *a, struct cw_http_req *req, const char *rest);
void cw_admin_pending_show(struct cw_admin *a, struct cw_http_req *req, const char *identity);
void cw_admin_pending_drop(struct cw_admin *a, struct cw_http_req *req, const char *identity); /* empty: all */

#endif
