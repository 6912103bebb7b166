/* policy.c - the settings of one listener, copied and compiled; see inside.h. */
#include <string.h>

#include "base/mem.h"
#include "net/inside.h"

/* *slot becomes a copy of itself. */
static int keep_text(struct cw_arena *arena, const char **slot)
{
	if (*slot == NULL)
		return 0;
	*slot = cw_arena_strndup(arena, *slot, strlen(*slot));
	return *slot == NULL ? CW_ENOMEM : 0;
}

static int keep_texts(struct cw_arena *arena, struct cw_strings *list)
{
	const char **v;
	size_t i;

	if (list->count == 0)
		return 0;
	v = cw_arena_alloc(arena, list->count * sizeof(*v));
	if (v == NULL)
		return CW_ENOMEM;
	for (i = 0; i < list->count; i++) {
		v[i] = list->v[i];
		if (keep_text(arena, &v[i]) < 0)
			return CW_ENOMEM;
	}
	list->v = v;
	return 0;
}

static int keep_conf(struct cw_net_policy *p)
{
	struct cw_listener_conf *c = &p->conf;

	if (keep_text(&p->arena, &c->name) < 0 || keep_text(&p->arena, &c->address) < 0 ||
	    keep_text(&p->arena, &c->tls.certificate) < 0 || keep_text(&p->arena, &c->tls.key) < 0 ||
	    keep_text(&p->arena, &c->tls.client_ca) < 0 || keep_text(&p->arena, &c->tls.key_store) < 0 ||
	    keep_text(&p->arena, &c->tls.key_password) < 0 || keep_texts(&p->arena, &c->proxy_from) < 0 ||
	    keep_texts(&p->arena, &c->allow) < 0 || keep_texts(&p->arena, &c->deny) < 0)
		return CW_ENOMEM;
	return 0;
}

static int parse_list(const struct cw_strings *texts, const char *key, struct cw_cidrs *list, struct cw_msg *msg)
{
	int rc = cw_cidrs_parse(texts->v, texts->count, list, msg);

	if (rc < 0 && msg != NULL)
		cw_msg_wrap(msg, "%s", key);
	return rc;
}

static int make_tls(struct cw_net_policy *p, const struct cw_tls_conf *client, unsigned ports, struct cw_msg *msg)
{
	static const enum cw_tls_verify verify[] = {
		[CW_CLIENT_VERIFY_NONE] = CW_TLS_VERIFY_NONE,
		[CW_CLIENT_VERIFY_OPTIONAL] = CW_TLS_VERIFY_OPTIONAL,
		[CW_CLIENT_VERIFY_REQUIRED] = CW_TLS_VERIFY_REQUIRED,
	};
	struct cw_tls_conf conf = {
		.certificate = p->conf.tls.certificate, .key = p->conf.tls.key, .ca = p->conf.tls.client_ca,
		.verify = verify[p->conf.tls.verify], .key_store = p->conf.tls.key_store, .key_password = p->conf.tls.key_password,
	};
	int rc;

	p->tls = cw_calloc(ports, sizeof(struct cw_tls_ctx *));
	if (p->tls == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	for (; p->ports < ports; p->ports++) {
		rc = client != NULL ? cw_tls_client_new(client, msg, &p->tls[p->ports]) : cw_tls_server_new(&conf, msg, &p->tls[p->ports]);
		if (rc < 0) {
			if (msg != NULL)
				cw_msg_wrap(msg, "tls");
			return rc;
		}
	}
	return 0;
}

int cw_net_policy_new(const struct cw_listener_conf *conf, const struct cw_tls_conf *client, unsigned ports, struct cw_msg *msg,
                      struct cw_net_policy **ret_policy)
{
	struct cw_net_policy *p = cw_zalloc(sizeof(*p));
	int rc;

	if (p == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	atomic_init(&p->refs, 1);
	cw_arena_init(&p->arena, 0);
	p->conf = *conf;
	if (p->conf.limits.bytes_per_connection == 0)
		p->conf.limits.bytes_per_connection = CW_NET_BYTES_DEFAULT;
	rc = keep_conf(p);
	if (rc < 0) {
		(void)cw_fail(msg, rc, "out of memory");
		goto err;
	}
	if ((rc = parse_list(&conf->proxy_from, "proxyFrom", &p->proxy_from, msg)) < 0 ||
	    (rc = parse_list(&conf->allow, "allow", &p->allow, msg)) < 0 ||
	    (rc = parse_list(&conf->deny, "deny", &p->deny, msg)) < 0)
		goto err;
	if (conf->transport == CW_TRANSPORT_TLS && (rc = make_tls(p, client, ports, msg)) < 0)
		goto err;
	*ret_policy = p;
	return 0;
err:
	cw_net_policy_unref(p);
	return rc;
}

struct cw_net_policy *cw_net_policy_ref(struct cw_net_policy *p)
{
	(void)atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

void cw_net_policy_unref(struct cw_net_policy *p)
{
	if (p == NULL || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
		return;
	while (p->ports > 0)
		cw_tls_ctx_free(p->tls[--p->ports]);
	cw_free(p->tls);
	cw_cidrs_fini(&p->proxy_from);
	cw_cidrs_fini(&p->allow);
	cw_cidrs_fini(&p->deny);
	cw_arena_fini(&p->arena);
	cw_free(p);
}
