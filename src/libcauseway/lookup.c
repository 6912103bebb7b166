/*
 * lookup.c - the program as a source of identities: a question goes to its callback with
 * a token, and comes back by cw_bridge_found() from any thread. Control loop, but for that.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "libcauseway/lib.h"

/* Questions that the program has not answered; more are not asked. */
#define ASKED_MOST 65536u

/* Until the program has answered, also when nobody waits for it any more. */
struct asked {
	struct cw_map_node node;
	uint64_t token; /* the resolver's */
	char identity[CW_BRIDGE_IDENTITY_MAX + 1];
};

static void ask(void *source, const struct cw_claim *claim, uint64_t token)
{
	struct lib *l = source;
	struct asked *a;

	if (claim->identity_len > CW_BRIDGE_IDENTITY_MAX || l->asked.count >= ASKED_MOST) {
		cw_resolver_answer(cw_bridge_resolver(l->bridge), token, CW_EBUSY, NULL);
		return;
	}
	a = cw_zalloc(sizeof(*a));
	if (a != NULL) {
		a->token = token;
		memcpy(a->identity, claim->identity, claim->identity_len);
		if (cw_map_add(&l->asked, &a->node, &a->token, sizeof(a->token)) < 0) {
			cw_free(a);
			a = NULL;
		}
	}
	if (a == NULL)
		cw_resolver_answer(cw_bridge_resolver(l->bridge), token, CW_ENOMEM, NULL);
	else
		l->handler.lookup(l->ctx, token, a->identity);
}

void lib_lookup_drop(struct lib *l)
{
	struct cw_map_node *n;

	while ((n = cw_map_next(&l->asked, NULL)) != NULL) {
		struct asked *a = cw_container_of(n, struct asked, node);

		cw_map_remove(&l->asked, n);
		cw_resolver_answer(cw_bridge_resolver(l->bridge), a->token, CW_ECLOSED, NULL);
		cw_free(a);
	}
}

static void free_source(void *source)
{
	cw_map_fini(&((struct lib *)source)->asked);
}

static const struct cw_source_ops source_ops = { .name = "lookup", .ask = ask, .free = free_source };

int lib_add_lookup(struct lib *l)
{
	cw_map_init(&l->asked);
	/* Never kept: what the program knows may change between two questions, and asking it costs nothing. */
	return LIB_HAS(l, lookup) ? cw_resolver_add(cw_bridge_resolver(l->bridge), &source_ops, l, 0, 0) : 0;
}

/* ---- the answer: any thread ------------------------------------------------------------ */

struct found {
	struct cw_mail mail;
	struct lib *lib;
	uint64_t token;
	int rc;
	const char *product_key, *device_name, *device_secret; /* in text, with their NULs */
	size_t len;
	char text[];
};

static void on_found(struct cw_mail *mail)
{
	struct found *f = cw_container_of(mail, struct found, mail);
	struct cw_map_node *n = cw_map_find(&f->lib->asked, &f->token, sizeof(f->token));

	if (n != NULL) {
		struct asked *a = cw_container_of(n, struct asked, node);
		struct cw_identity *id = NULL;
		int rc = f->rc;

		cw_map_remove(&f->lib->asked, n);
		if (rc == 0) {
			id = cw_identity_new(a->identity, f->product_key, f->device_name, f->device_secret,
					     cw_bytes_of(NULL, 0));
			rc = id == NULL ? CW_ENOMEM : 0;
		}
		cw_free(a);
		cw_resolver_answer(cw_bridge_resolver(f->lib->bridge), f->token, rc, id);
		cw_identity_free(id);
	}
	explicit_bzero(f->text, f->len);
	cw_free(f);
}

static char *put_text(char *at, const char **ret, const char *text)
{
	size_t n = strlen(text) + 1;

	memcpy(at, text, n);
	*ret = at;
	return at + n;
}

static struct found *new_found(struct lib *l, uint64_t token, int rc, const struct cw_bridge_certificate *c)
{
	size_t len = rc == 0 ? strlen(c->product_key) + strlen(c->device_name) + strlen(c->device_secret) + 3 : 0;
	struct found *f = cw_zalloc(sizeof(*f) + len);
	char *at;

	if (f == NULL)
		return NULL;
	f->lib = l;
	f->token = token;
	f->rc = rc;
	f->len = len;
	if (rc == 0) {
		at = put_text(f->text, &f->product_key, c->product_key);
		at = put_text(at, &f->device_name, c->device_name);
		(void)put_text(at, &f->device_secret, c->device_secret);
	}
	return f;
}

int cw_bridge_found(struct cw_bridge *b, uint64_t token, int rc, const struct cw_bridge_certificate *c)
{
	struct found *f;
	struct lib *l;

	if (rc > 0 || (rc == 0 && (c == NULL || cw_identity_wrong("device", c->product_key, c->device_name,
								  c->device_secret) != NULL)))
		return CW_EINVAL;
	if (lib_enter(b, &l) < 0)
		return CW_ECLOSED;
	f = new_found(l, token, rc, c);
	if (f != NULL)
		cw_post(l->control, &f->mail, on_found);
	lib_leave(l);
	return f == NULL ? CW_ENOMEM : 0;
}
