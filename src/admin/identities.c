/*
 * identities.c - what the sources know of an identity, and the table of identities: list,
 * add and change, remove, new key. An edit is on disk when it is answered, and the devices
 * it concerns have been asked for again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/admin_impl.h"
#include "base/mem.h"
#include "identity/table.h"

#define LIST_MOST 10000u

/* ---- one identity -------------------------------------------------------------------- */

struct question {
	struct cw_question question;
	struct cw_admin *admin;
	struct cw_http_req *req;
	void (*known)(struct cw_admin *a, struct cw_http_req *req, const struct cw_identity *id);
	char identity[];
};

static void on_asker_gone(void *arg)
{
	struct question *q = arg;

	cw_resolver_cancel(cw_bridge_resolver(q->admin->conf.bridge), &q->question);
	cw_free(q);
}

static void on_known(struct cw_question *question, int rc, const struct cw_identity *id)
{
	struct question *q = cw_container_of(question, struct question, question);
	struct cw_http_req *req = q->req;

	cw_http_on_gone(req, NULL, NULL);
	if (rc == CW_OK)
		q->known(q->admin, req, id);
	else if (rc == CW_ENOENT)
		cw_admin_reply_text(req, 404, "error",
		                    "no identity source knows this identity; make it known to one of those in identity.order (devices.conf and a "
		                    "reload, causeway identity add, a board burned under it); if a rule should have registered it, the log says why not");
	else
		cw_admin_reply_text(req, 503, "error", "an identity source cannot answer now; the log says why");
	cw_free(q);
}

void cw_admin_ask(struct cw_admin *a, struct cw_http_req *req, const char *identity,
		  void (*known)(struct cw_admin *a, struct cw_http_req *req, const struct cw_identity *id))
{
	size_t len = strlen(identity);
	struct question *q = cw_zalloc(sizeof(*q) + len + 1);
	struct cw_claim claim;

	if (q == NULL) {
		cw_admin_reply_text(req, 503, "error", "out of memory");
		return;
	}
	memcpy(q->identity, identity, len);
	q->admin = a;
	q->req = req;
	q->known = known;
	q->question.done = on_known;
	cw_http_on_gone(req, on_asker_gone, q);
	claim = (struct cw_claim){ .identity = q->identity, .identity_len = len };
	cw_resolver_ask(cw_bridge_resolver(a->conf.bridge), &claim, &q->question);
}

/* ---- the table -------------------------------------------------------------------------- */

struct edit {
	struct cw_edit edit;
	struct cw_bridge *bridge;
	struct cw_http_req *req; /* NULL: the client has gone */
};

static void on_editor_gone(void *arg)
{
	((struct edit *)arg)->req = NULL;
}

static unsigned status_of(int rc)
{
	switch (rc) {
	case 0: return 200;
	case CW_ENOENT: return 404;
	case CW_EPROTO:
	case CW_ELIMIT: return 400;
	default: return 409;
	}
}

static void say_done(const struct edit *x, char *out, size_t size)
{
	const struct cw_edit_result *r = &x->edit.result;

	switch (x->edit.kind) {
	case CW_EDIT_REMOVE: (void)snprintf(out, size, "removed"); break;
	case CW_EDIT_REKEY: (void)snprintf(out, size, "%zu entries are encrypted with a new key", r->rows); break;
	default: (void)snprintf(out, size, "%zu added, %zu changed, %zu unchanged", r->added, r->changed, r->same); break;
	}
}

/* The sources say something else now: of what was touched the devices are looked at. */
static void take_effect(struct edit *x)
{
	if (x->edit.touched == NULL)
		return;
	cw_resolver_forget_source(cw_bridge_resolver(x->bridge), cw_table_source_ops.name);
	cw_bridge_recheck_set(x->bridge, x->edit.touched);
	x->edit.touched = NULL;
}

static void on_edited(struct cw_edit *e)
{
	struct edit *x = cw_container_of(e, struct edit, edit);
	char sentence[200];

	if (e->rc == 0 && !e->closed)
		take_effect(x);
	if (x->req != NULL)
		cw_http_on_gone(x->req, NULL, NULL);
	if (x->req != NULL && e->rc < 0)
		cw_admin_reply_text(x->req, status_of(e->rc), "error", e->msg.text);
	else if (x->req != NULL && e->kind == CW_EDIT_LIST)
		cw_http_reply(x->req, 200, "application/json", e->list, e->list_len);
	else if (x->req != NULL) {
		say_done(x, sentence, sizeof(sentence));
		cw_admin_reply_text(x->req, 200, "done", sentence);
	}
	cw_identities_free(e->touched);
	cw_free(e->list);
	cw_free(x);
}

static void edit(struct cw_admin *a, struct cw_http_req *req, enum cw_edit_kind kind, const char *text, size_t len, size_t most)
{
	struct edit *x;
	void *table;

	if (cw_resolver_source(cw_bridge_resolver(a->conf.bridge), cw_table_source_ops.name, &table) == NULL) {
		cw_admin_reply_text(req, 409, "error", "identity.order leaves the table out: add sqlite to it and restart");
		return;
	}
	x = cw_zalloc(sizeof(*x));
	if (x != NULL) {
		x->edit = (struct cw_edit){ .kind = kind, .text = cw_strndup(text, len), .len = len, .most = most, .done = on_edited };
		x->bridge = a->conf.bridge;
		x->req = req;
	}
	if (x == NULL || x->edit.text == NULL) {
		cw_free(x);
		cw_admin_reply_text(req, 503, "error", "out of memory");
		return;
	}
	cw_http_on_gone(req, on_editor_gone, x);
	cw_table_source_edit(table, &x->edit);
}

void cw_admin_identities(struct cw_admin *a, struct cw_http_req *req, const char *rest)
{
	const char *after = cw_http_query(req, "after"), *most = cw_http_query(req, "most");
	unsigned long n = most == NULL ? LIST_MOST : strtoul(most, NULL, 10);

	(void)rest;
	after = after == NULL ? "" : after;
	edit(a, req, CW_EDIT_LIST, after, strlen(after), n == 0 || n > LIST_MOST ? LIST_MOST : n);
}

void cw_admin_identities_import(struct cw_admin *a, struct cw_http_req *req, const char *rest)
{
	size_t len;
	const char *body = cw_http_body(req, &len);

	(void)rest;
	edit(a, req, CW_EDIT_IMPORT, body == NULL ? "" : body, len, 0);
}

void cw_admin_identities_remove(struct cw_admin *a, struct cw_http_req *req, const char *identity)
{
	edit(a, req, CW_EDIT_REMOVE, identity, strlen(identity), 0);
}

void cw_admin_identities_rekey(struct cw_admin *a, struct cw_http_req *req, const char *rest)
{
	(void)rest;
	edit(a, req, CW_EDIT_REKEY, "", 0, 0);
}
