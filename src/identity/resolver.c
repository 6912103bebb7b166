/*
 * resolver.c - see resolver.h.
 *
 * One `asked` stands for all questions about one identity (or one certificate, when the
 * question is the reverse): it walks the sources, one at a time. What a source said is
 * kept per source, so that an entry that appears in an earlier source is found at once,
 * whatever a later one said before.
 */
#include "identity/resolver.h"

#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/stat.h"

#define SOURCES_MOST 8
/* A source that has not answered by then counts as failed. */
#define SOURCE_DEADLINE_MS 30000u
/* Answers kept of one source; the oldest goes. A peer can make up identities, so the unknown ones are fewer. */
#define KNOWN_MOST 262144u
#define UNKNOWN_MOST 65536u
/* While an old answer stands in for a source that fails, that source is left alone for so long. */
#define STALE_PAUSE_MS 5000u
/* Of an asked key: an identity, or NUL, product key, NUL, device name. */
#define KEY_MOST 256u

struct kept {
	struct cw_map_node node;
	struct cw_list link;      /* oldest first */
	struct cw_identity *id;   /* NULL: the source does not know it */
	uint64_t until_ms, stale_until_ms;
	uint32_t len;
	char key[];
};

struct source {
	const struct cw_source_ops *ops;
	void *self;
	uint64_t keep_ms, keep_unknown_ms, stale_ms;
	struct cw_map kept;
	struct cw_list known, unknown;
	size_t known_count, unknown_count;
};

struct asked {
	struct cw_map_node by_key, by_token;
	struct cw_resolver *r;
	struct cw_list questions;
	struct cw_timer deadline;
	uint64_t token;
	size_t at;         /* the source that is asked */
	int error;         /* the first of a source */
	int in_ask;        /* its ask() is running */
	int answer;        /* what it said meanwhile: CW_OK: all is over; 1: nothing yet */
	int *over;         /* set when this object goes while advance() runs */
	char *device_secret, *imei, *mac;
	uint32_t len;
	char key[];
};

struct cw_resolver {
	struct cw_worker *control;
	struct source sources[SOURCES_MOST];
	size_t count;
	struct cw_map by_key, by_token, listings;
	uint64_t next_token;
	unsigned busy;       /* callbacks running: what is kept is lent to them */
	struct cw_list dead; /* kept that went meanwhile */
};

/* ---- what is kept ------------------------------------------------------------------ */

static void bury(struct cw_resolver *r)
{
	struct cw_list *e;

	while (r->busy == 0 && (e = cw_list_pop(&r->dead)) != NULL) {
		struct kept *k = cw_container_of(e, struct kept, link);

		cw_identity_free(k->id);
		cw_free(k);
	}
}

static void drop_kept(struct cw_resolver *r, struct source *s, struct kept *k)
{
	if (k->id != NULL)
		s->known_count--;
	else
		s->unknown_count--;
	cw_map_remove(&s->kept, &k->node);
	cw_list_remove(&k->link);
	cw_list_push_back(&r->dead, &k->link);
	bury(r);
}

static struct kept *find_kept(struct source *s, const char *key, uint32_t len)
{
	struct cw_map_node *n = cw_map_find(&s->kept, key, len);

	return n == NULL ? NULL : cw_container_of(n, struct kept, node);
}

static void make_room(struct cw_resolver *r, struct source *s, int known)
{
	struct cw_list *oldest = cw_list_first(known ? &s->known : &s->unknown);

	if (oldest != NULL && (known ? s->known_count >= KNOWN_MOST : s->unknown_count >= UNKNOWN_MOST))
		drop_kept(r, s, cw_container_of(oldest, struct kept, link));
}

/* Without memory nothing is kept: the source is asked once more. */
static void keep(struct cw_resolver *r, struct source *s, const struct asked *a, const struct cw_identity *id)
{
	uint64_t ms = id != NULL ? s->keep_ms : s->keep_unknown_ms, now = cw_worker_now(r->control);
	struct kept *k = find_kept(s, a->key, a->len);

	if (k != NULL)
		drop_kept(r, s, k);
	if (ms == 0)
		return;
	make_room(r, s, id != NULL);
	k = cw_zalloc(sizeof(*k) + a->len);
	if (k == NULL)
		return;
	memcpy(k->key, a->key, a->len);
	k->len = a->len;
	k->until_ms = now + ms;
	if (id != NULL) {
		k->id = cw_identity_new(id->identity, id->product_key, id->device_name, id->device_secret, id->settings);
		k->stale_until_ms = now + s->stale_ms;
	}
	if ((id != NULL && k->id == NULL) || cw_map_add(&s->kept, &k->node, k->key, k->len) < 0) {
		cw_identity_free(k->id);
		cw_free(k);
		return;
	}
	cw_list_push_back(id != NULL ? &s->known : &s->unknown, &k->link);
	if (id != NULL)
		s->known_count++;
	else
		s->unknown_count++;
}

static void expire(struct source *s, const char *key, size_t len)
{
	struct kept *k = find_kept(s, key, (uint32_t)len);

	if (k != NULL)
		k->until_ms = 0;
}

static size_t name_key(char out[KEY_MOST], const char *product_key, const char *device_name)
{
	size_t np = strlen(product_key), nn = strlen(device_name);

	if (np + nn + 2 > KEY_MOST)
		return 0;
	out[0] = '\0';
	memcpy(out + 1, product_key, np + 1);
	memcpy(out + np + 2, device_name, nn);
	return np + nn + 2;
}

static void expire_list(struct cw_list *list)
{
	struct cw_list *e;

	cw_list_each(e, list)
		cw_container_of(e, struct kept, link)->until_ms = 0;
}

/* Reverse answers that say nobody has a certificate, and the one about this entry. */
static void expire_names(struct source *s, const struct cw_identity *id)
{
	char key[KEY_MOST];
	struct cw_list *e;

	if (id != NULL)
		expire(s, key, name_key(key, id->product_key, id->device_name));
	cw_list_each(e, &s->unknown) {
		struct kept *k = cw_container_of(e, struct kept, link);

		if (k->key[0] == '\0')
			k->until_ms = 0;
	}
}

void cw_resolver_forget(struct cw_resolver *r, const char *identity)
{
	size_t i;

	for (i = 0; i < r->count; i++) {
		struct source *s = &r->sources[i];
		struct kept *k;

		if (identity == NULL) {
			expire_list(&s->known);
			expire_list(&s->unknown);
			continue;
		}
		k = find_kept(s, identity, (uint32_t)strlen(identity));
		expire_names(s, k == NULL ? NULL : k->id);
		expire(s, identity, strlen(identity));
	}
}

void cw_resolver_forget_source(struct cw_resolver *r, const char *name)
{
	size_t i;

	for (i = 0; i < r->count; i++) {
		if (strcmp(r->sources[i].ops->name, name) != 0)
			continue;
		expire_list(&r->sources[i].known);
		expire_list(&r->sources[i].unknown);
	}
}

/* ---- asking ------------------------------------------------------------------------- */

static void free_text(char *text)
{
	if (text != NULL)
		explicit_bzero(text, strlen(text));
	cw_free(text);
}

static void free_asked(struct asked *a)
{
	free_text(a->device_secret);
	cw_free(a->imei);
	cw_free(a->mac);
	cw_free(a);
}

static void finish(struct asked *a, int rc, const struct cw_identity *id)
{
	struct cw_resolver *r = a->r;
	const char *source = rc == CW_OK ? r->sources[a->at].ops->name : NULL;
	struct cw_list *e;

	cw_map_remove(&r->by_key, &a->by_key);
	if (a->token != 0)
		cw_map_remove(&r->by_token, &a->by_token);
	cw_timer_stop(cw_worker_timers(r->control), &a->deadline);
	if (a->over != NULL)
		*a->over = 1;
	r->busy++;
	while ((e = cw_list_pop(&a->questions)) != NULL) {
		struct cw_question *q = cw_container_of(e, struct cw_question, link);

		q->asked = NULL;
		q->source = source;
		q->done(q, rc, id);
	}
	r->busy--;
	bury(r);
	free_asked(a);
}

static void on_deadline(struct cw_timer *t)
{
	struct asked *a = cw_container_of(t, struct asked, deadline);

	cw_resolver_answer(a->r, a->token, CW_ETIMEDOUT, NULL);
}

static int is_name(const struct asked *a)
{
	return a->key[0] == '\0';
}

static void ask_source(struct asked *a, struct source *s)
{
	struct cw_claim claim = { .identity = a->key, .identity_len = a->len, .device_secret = a->device_secret, .imei = a->imei,
		                  .mac = a->mac };
	const char *pk = a->key + 1, *dn;
	const struct cw_identity *id;

	if (!is_name(a)) {
		s->ops->ask(s->self, &claim, a->token);
		return;
	}
	dn = pk + strlen(pk) + 1;
	if (s->ops->ask_name != NULL) {
		s->ops->ask_name(s->self, pk, dn, a->token);
		return;
	}
	id = s->ops->find_name == NULL ? NULL : s->ops->find_name(s->self, pk, dn);
	cw_resolver_answer(a->r, a->token, id == NULL ? CW_ENOENT : CW_OK, id);
}

/* 1: the question is over or waits; 0: the next source. */
static int try_source(struct asked *a)
{
	struct cw_resolver *r = a->r;
	struct source *s = &r->sources[a->at];
	struct kept *k = find_kept(s, a->key, a->len);
	int over = 0;

	if (k != NULL && cw_worker_now(r->control) < k->until_ms) {
		if (k->id == NULL)
			return 0;
		finish(a, CW_OK, k->id);
		return 1;
	}
	a->token = ++r->next_token;
	if (cw_map_add(&r->by_token, &a->by_token, &a->token, sizeof(a->token)) < 0) {
		a->token = 0;
		a->error = CW_ENOMEM;
		return 0;
	}
	a->in_ask = 1;
	a->answer = 1;
	a->over = &over;
	ask_source(a, s);
	if (over)
		return 1;
	a->over = NULL;
	a->in_ask = 0;
	if (a->answer == 1) {
		cw_timer_set(cw_worker_timers(r->control), &a->deadline, SOURCE_DEADLINE_MS, on_deadline);
		return 1;
	}
	return 0;
}

static void advance(struct asked *a)
{
	for (; a->at < a->r->count; a->at++)
		if (try_source(a))
			return;
	finish(a, a->error != 0 ? a->error : CW_ENOENT, NULL);
}

/* A source failed: what it said before may do for now. 1: it did. */
static int use_stale(struct asked *a, struct source *s)
{
	struct kept *k = find_kept(s, a->key, a->len);
	uint64_t now = cw_worker_now(a->r->control);

	if (k == NULL || k->id == NULL || now >= k->stale_until_ms)
		return 0;
	k->until_ms = now + STALE_PAUSE_MS < k->stale_until_ms ? now + STALE_PAUSE_MS : k->stale_until_ms;
	cw_count(identity, stale);
	finish(a, CW_OK, k->id);
	return 1;
}

void cw_resolver_answer(struct cw_resolver *r, uint64_t token, int rc, const struct cw_identity *id)
{
	struct cw_map_node *n = cw_map_find(&r->by_token, &token, sizeof(token));
	struct asked *a = n == NULL ? NULL : cw_container_of(n, struct asked, by_token);
	struct source *s;

	if (a == NULL) /* its deadline was faster */
		return;
	s = &r->sources[a->at];
	cw_map_remove(&r->by_token, &a->by_token);
	a->token = 0;
	cw_timer_stop(cw_worker_timers(r->control), &a->deadline);
	if (rc == CW_OK || rc == CW_ENOENT) {
		keep(r, s, a, rc == CW_OK ? id : NULL);
	} else {
		cw_count(identity, source_failed);
		if (use_stale(a, s))
			return;
		a->error = a->error != 0 ? a->error : rc;
	}
	if (rc == CW_OK) {
		finish(a, CW_OK, id);
		return;
	}
	a->answer = rc;
	if (a->in_ask)
		return; /* try_source() goes on */
	a->at++;
	advance(a);
}

static int copy_text(const char *text, char **ret)
{
	if (text == NULL)
		return 0;
	*ret = cw_strdup(text);
	return *ret == NULL ? CW_ENOMEM : 0;
}

static struct asked *new_asked(struct cw_resolver *r, const char *key, size_t len, const struct cw_claim *claim)
{
	struct asked *a = cw_zalloc(sizeof(*a) + len + 1);
	int rc = 0;

	if (a == NULL)
		return NULL;
	a->r = r;
	cw_list_init(&a->questions);
	memcpy(a->key, key, len);
	a->len = (uint32_t)len;
	if (claim != NULL) {
		rc = copy_text(claim->device_secret, &a->device_secret);
		if (rc == 0)
			rc = copy_text(claim->imei, &a->imei);
		if (rc == 0)
			rc = copy_text(claim->mac, &a->mac);
	}
	if (rc == 0)
		rc = cw_map_add(&r->by_key, &a->by_key, a->key, a->len);
	if (rc == 0)
		return a;
	free_asked(a);
	return NULL;
}

static void ask(struct cw_resolver *r, const char *key, size_t len, const struct cw_claim *claim, struct cw_question *q)
{
	struct cw_map_node *n = cw_map_find(&r->by_key, key, len);
	struct asked *a;

	q->source = NULL;
	q->asked = NULL;
	if (n != NULL) {
		a = cw_container_of(n, struct asked, by_key);
		q->asked = a;
		cw_list_push_back(&a->questions, &q->link);
		return;
	}
	a = new_asked(r, key, len, claim);
	if (a == NULL) {
		q->done(q, CW_ENOMEM, NULL);
		return;
	}
	q->asked = a;
	cw_list_push_back(&a->questions, &q->link);
	advance(a);
}

void cw_resolver_ask(struct cw_resolver *r, const struct cw_claim *claim, struct cw_question *q)
{
	if (claim->identity_len == 0 || claim->identity_len > KEY_MOST || claim->identity[0] == '\0') {
		q->asked = NULL;
		q->done(q, CW_ENOENT, NULL);
		return;
	}
	ask(r, claim->identity, claim->identity_len, claim, q);
}

void cw_resolver_ask_name(struct cw_resolver *r, const char *product_key, const char *device_name, struct cw_question *q)
{
	char key[KEY_MOST];
	size_t len = name_key(key, product_key, device_name);

	if (len == 0) {
		q->asked = NULL;
		q->done(q, CW_ENOENT, NULL);
		return;
	}
	ask(r, key, len, NULL, q);
}

void cw_resolver_cancel(struct cw_resolver *r, struct cw_question *q)
{
	(void)r;
	if (q->asked == NULL)
		return;
	/* The source is left to answer: the device may come back, and then the answer is there. */
	cw_list_remove(&q->link);
	q->asked = NULL;
}

/* ---- lists --------------------------------------------------------------------------- */

static void end_list(struct cw_listing *q)
{
	struct cw_names names = q->names;

	memset(&q->names, 0, sizeof(q->names));
	cw_names_sort(&names, q->most);
	q->done(q, q->error, &names); /* q may be gone now */
	cw_names_fini(&names);
}

static void list_on(struct cw_resolver *r, struct cw_listing *q)
{
	for (; q->at < r->count; q->at++) {
		struct source *s = &r->sources[q->at];

		if (s->ops->list == NULL)
			continue;
		q->token = ++r->next_token;
		if (cw_map_add(&r->listings, &q->by_token, &q->token, sizeof(q->token)) < 0) {
			q->token = 0;
			q->error = CW_ENOMEM;
			continue;
		}
		q->in_list = 1;
		q->listed = 0;
		s->ops->list(s->self, q->prefix, q->len, q->most, q->token);
		q->in_list = 0;
		if (!q->listed)
			return; /* cw_resolver_listed() goes on */
	}
	end_list(q);
}

void cw_resolver_list(struct cw_resolver *r, const char *prefix, size_t len, struct cw_listing *q)
{
	q->token = 0;
	q->at = 0;
	q->error = len >= sizeof(q->prefix) ? CW_EINVAL : 0;
	q->len = q->error != 0 ? 0 : len;
	memcpy(q->prefix, prefix, q->len);
	q->prefix[q->len] = '\0';
	if (q->error != 0)
		end_list(q);
	else
		list_on(r, q);
}

void cw_resolver_listed(struct cw_resolver *r, uint64_t token, int rc, const struct cw_names *names)
{
	struct cw_map_node *n = cw_map_find(&r->listings, &token, sizeof(token));
	struct cw_listing *q = n == NULL ? NULL : cw_container_of(n, struct cw_listing, by_token);
	size_t i;

	if (q == NULL) /* nobody waits any more */
		return;
	cw_map_remove(&r->listings, &q->by_token);
	q->token = 0;
	for (i = 0; rc == 0 && i < names->count; i++)
		rc = cw_names_add(&q->names, names->items[i], strlen(names->items[i]));
	q->names.more |= rc == 0 && names->more;
	if (rc < 0) {
		cw_count(identity, source_failed);
		q->error = q->error != 0 ? q->error : rc;
	}
	q->listed = 1;
	if (q->in_list)
		return; /* list_on() goes on */
	q->at++;
	list_on(r, q);
}

void cw_resolver_list_cancel(struct cw_resolver *r, struct cw_listing *q)
{
	if (q->token != 0)
		cw_map_remove(&r->listings, &q->by_token);
	q->token = 0;
	cw_names_fini(&q->names);
}

/* ---- sources ---------------------------------------------------------------------------- */

int cw_resolver_add(struct cw_resolver *r, const struct cw_source_ops *ops, void *source, uint64_t keep_ms, uint64_t keep_unknown_ms)
{
	struct source *s = &r->sources[r->count];

	if (r->count == SOURCES_MOST)
		return CW_ELIMIT;
	*s = (struct source){ .ops = ops, .self = source, .keep_ms = keep_ms, .keep_unknown_ms = keep_unknown_ms };
	cw_map_init(&s->kept);
	cw_list_init(&s->known);
	cw_list_init(&s->unknown);
	r->count++;
	return 0;
}

void cw_resolver_keep_stale(struct cw_resolver *r, uint64_t stale_ms)
{
	cw_invariant(r->count > 0);
	r->sources[r->count - 1].stale_ms = stale_ms;
}

const struct cw_source_ops *cw_resolver_source(struct cw_resolver *r, const char *name, void **ret_source)
{
	size_t i;

	for (i = 0; i < r->count; i++) {
		if (strcmp(r->sources[i].ops->name, name) != 0)
			continue;
		*ret_source = r->sources[i].self;
		return r->sources[i].ops;
	}
	return NULL;
}

size_t cw_resolver_count(struct cw_resolver *r)
{
	size_t i, n = 0;

	for (i = 0; i < r->count; i++)
		n += r->sources[i].ops->count == NULL ? 0 : r->sources[i].ops->count(r->sources[i].self);
	return n;
}

int cw_resolver_new(struct cw_worker *control, struct cw_resolver **ret_resolver)
{
	struct cw_resolver *r = cw_zalloc(sizeof(*r));

	if (r == NULL)
		return CW_ENOMEM;
	r->control = control;
	cw_map_init(&r->by_key);
	cw_map_init(&r->by_token);
	cw_map_init(&r->listings);
	cw_list_init(&r->dead);
	*ret_resolver = r;
	return 0;
}

static void free_source(struct cw_resolver *r, struct source *s)
{
	struct cw_map_node *n, *next;

	cw_map_each_safe(n, next, &s->kept)
		drop_kept(r, s, cw_container_of(n, struct kept, node));
	cw_map_fini(&s->kept);
	if (s->ops->free != NULL)
		s->ops->free(s->self);
}

void cw_resolver_free(struct cw_resolver *r)
{
	struct cw_map_node *n, *next;
	size_t i;

	if (r == NULL)
		return;
	cw_map_each_safe(n, next, &r->by_key) {
		struct asked *a = cw_container_of(n, struct asked, by_key);

		cw_timer_stop(cw_worker_timers(r->control), &a->deadline);
		cw_map_remove(&r->by_key, n);
		free_asked(a);
	}
	for (i = 0; i < r->count; i++)
		free_source(r, &r->sources[i]);
	cw_map_fini(&r->by_key);
	cw_map_fini(&r->by_token);
	cw_map_fini(&r->listings);
	cw_free(r);
}
