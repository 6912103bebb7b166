/*
 * resolver.h - who is this originalIdentity? The sources of `identity.order`, asked one
 * after the other until one knows: the file, the table (SQLite), an HTTP look-up, the
 * provisioning rules. On the control loop.
 *
 * Two questions about one identity at the same time are one. What a source said is kept
 * (so long that a storm of reconnects asks nobody), also that it knows nothing.
 */
#ifndef CW_IDENTITY_RESOLVER_H
#define CW_IDENTITY_RESOLVER_H

#include "base/err.h"
#include "base/list.h"
#include "identity/identity.h"
#include "identity/names.h"
#include "loop/worker.h"

/* What a decoder knows about a device that says who it is; texts are lent for the call, NULL: not given. */
struct cw_claim {
	const char *identity;
	size_t identity_len;
	const char *device_secret; /* burned on the device itself (E21) */
	const char *imei, *mac;    /* for templates of rules */
};

/* One question. Zero-initialise, keep it until `done` has run or cw_resolver_cancel() was called. */
struct cw_question {
	/* CW_OK with an entry (lent for the call); CW_ENOENT: no source knows it; anything else: nobody could say, try later. */
	void (*done)(struct cw_question *q, int rc, const struct cw_identity *id);
	const char *source; /* the name of the source that knew it; filled before `done` */
	/* the resolver's */
	struct cw_list link;
	void *asked;
};

/* One source. Each file that implements one declares its own constructor. */
struct cw_source_ops {
	const char *name; /* in identity.order */
	/* Answers by cw_resolver_answer() with `token`, at once or later, exactly once. */
	void (*ask)(void *source, const struct cw_claim *claim, uint64_t token);
	/* Which identity has this certificate? For downlinks to devices that have not been seen. A source has the first if it
	 * answers from memory, the second (which answers as `ask` does) if it does not, or none. */
	const struct cw_identity *(*find_name)(void *source, const char *product_key, const char *device_name);
	void (*ask_name)(void *source, const char *product_key, const char *device_name, uint64_t token);
	/* The identities that begin with `prefix`, at most `most`; answers by cw_resolver_listed(), at once or later.
	 * May be NULL: cannot be listed. */
	void (*list)(void *source, const char *prefix, size_t len, size_t most, uint64_t token);
	size_t (*count)(void *source); /* entries known without asking; may be NULL */
	void (*free)(void *source);
};

/* Which identities begin with `prefix`? Zero-initialise, keep it until `done` has run or cw_resolver_list_cancel() was
 * called. */
struct cw_listing {
	/* In order, each once, at most `most`; lent. rc < 0: a source could not say; the names are those of the others.
	 */
	void (*done)(struct cw_listing *q, int rc, const struct cw_names *names);
	size_t most;
	/* the resolver's */
	struct cw_map_node by_token;
	struct cw_names names;
	uint64_t token; /* 0: nobody is asked */
	size_t at, len;
	int error, in_list, listed;
	char prefix[132];
};

struct cw_resolver;

int cw_resolver_new(struct cw_worker *control, struct cw_resolver **ret_resolver);
void cw_resolver_free(struct cw_resolver *r);
/* In the order of asking. The resolver owns and frees the source. `keep_ms`: how long its answers are kept (0: not at all,
 * for sources that answer from memory), `keep_unknown_ms`: how long that it knows nothing. */
int cw_resolver_add(struct cw_resolver *r, const struct cw_source_ops *ops, void *source, uint64_t keep_ms,
		    uint64_t keep_unknown_ms);
/* For the source added last: when it fails, what it said last is good for this long after it was said. */
void cw_resolver_keep_stale(struct cw_resolver *r, uint64_t stale_ms);
/* The source of a name, in *ret_source; NULL when there is none. */
const struct cw_source_ops *cw_resolver_source(struct cw_resolver *r, const char *name, void **ret_source);
/* Entries that are known without asking. */
size_t cw_resolver_count(struct cw_resolver *r);
/* `done` may run before this returns. */
void cw_resolver_ask(struct cw_resolver *r, const struct cw_claim *claim, struct cw_question *q);
/* The reverse: the identity of a certificate. */
void cw_resolver_ask_name(struct cw_resolver *r, const char *product_key, const char *device_name, struct cw_question *q);
void cw_resolver_cancel(struct cw_resolver *r, struct cw_question *q);
/* Asks every source that can be listed, one after the other; `done` may run before this returns. */
void cw_resolver_list(struct cw_resolver *r, const char *prefix, size_t len, struct cw_listing *q);
void cw_resolver_list_cancel(struct cw_resolver *r, struct cw_listing *q);
/* By a source: its names (lent), or an error. */
void cw_resolver_listed(struct cw_resolver *r, uint64_t token, int rc, const struct cw_names *names);
/* By a source: what it says to `token`; id is lent. CW_OK, CW_ENOENT, or an error: the next source is asked, and the
 * error is the answer if none knows. */
void cw_resolver_answer(struct cw_resolver *r, uint64_t token, int rc, const struct cw_identity *id);
/* What is kept about an identity (NULL: about all) counts no more; the source is asked again. */
void cw_resolver_forget(struct cw_resolver *r, const char *identity);
/* About all, of one source. */
void cw_resolver_forget_source(struct cw_resolver *r, const char *name);

#endif
