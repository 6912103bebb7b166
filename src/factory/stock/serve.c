/* serve.c - the line: many requests, one transaction, answers in order. The statements are in serve_sql.c. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/crash.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "factory/stock/serve_impl.h"

/* ---- a group ------------------------------------------------------------------------------------- */

/* Forget one try; the next one begins anew. */
static void forget(struct serve_group *g)
{
	size_t i;

	for (i = 0; i < g->product_count; i++) {
		struct serve_product *p = &g->products[i];

		if (p->picks != NULL)
			explicit_bzero(p->picks, p->need * sizeof(*p->picks));
		cw_free(p->picks);
	}
	explicit_bzero(g->boards, g->board_count * sizeof(*g->boards));
	memset(g->products, 0, g->product_count * sizeof(*g->products));
	memset(g->quotas, 0, g->quota_count * sizeof(*g->quotas));
	g->product_count = g->board_count = g->quota_count = g->entry_count = 0;
	g->damaged.text[0] = '\0';
	cw_map_fini(&g->product_map);
	cw_map_fini(&g->board_map);
	cw_map_fini(&g->quota_map);
	cw_arena_fini(&g->arena);
	cw_map_init(&g->product_map);
	cw_map_init(&g->board_map);
	cw_map_init(&g->quota_map);
	cw_arena_init(&g->arena, 0);
}

static void free_group(struct serve_group *g)
{
	if (g->boards != NULL && g->products != NULL && g->quotas != NULL)
		forget(g);
	cw_free(g->products);
	cw_free(g->boards);
	cw_free(g->quotas);
	cw_free(g->of_ask);
	cw_free(g->sorted);
	cw_free(g->quota_of);
	cw_free(g->entries);
	cw_free(g->values);
}

static int make_group(struct serve_group *g, struct cw_stock *s, struct cw_stock_ask *const *asks, size_t count, struct cw_msg *msg)
{
	memset(g, 0, sizeof(*g));
	g->s = s;
	g->asks = asks;
	g->count = count;
	cw_map_init(&g->product_map);
	cw_map_init(&g->board_map);
	cw_map_init(&g->quota_map);
	cw_arena_init(&g->arena, 0);
	g->products = cw_calloc(count, sizeof(*g->products));
	g->boards = cw_calloc(count, sizeof(*g->boards));
	g->quotas = cw_calloc(count, sizeof(*g->quotas));
	g->of_ask = cw_calloc(count, sizeof(struct serve_board *));
	g->sorted = cw_calloc(count, sizeof(struct serve_board *));
	g->quota_of = cw_calloc(count, sizeof(struct serve_quota *));
	g->entries = cw_calloc(count, sizeof(*g->entries));
	g->values = cw_calloc(count * SERVE_VALUES, sizeof(*g->values));
	if (g->products != NULL && g->boards != NULL && g->quotas != NULL && g->of_ask != NULL && g->sorted != NULL && g->quota_of != NULL &&
	    g->entries != NULL && g->values != NULL)
		return 0;
	free_group(g);
	return cw_fail(msg, CW_ENOMEM, "stock: out of memory");
}

/* ---- gathering: what the group is about ----------------------------------------------------------- */

static void answer(struct cw_stock_ask *a, enum cw_stock_answer with)
{
	a->answer = with;
	a->fresh = a->anonymous = 0;
	explicit_bzero(&a->cert, sizeof(a->cert));
}

static struct serve_product *product_of(struct serve_group *g, const char *key)
{
	size_t len = strlen(key);
	struct cw_map_node *n = cw_map_find(&g->product_map, key, len);
	struct serve_product *p;

	if (n != NULL)
		return cw_container_of(n, struct serve_product, node);
	p = &g->products[g->product_count];
	p->key = key;
	if (cw_map_add(&g->product_map, &p->node, key, len) < 0)
		return NULL;
	g->product_count++;
	return p;
}

static int gather_products(struct serve_group *g)
{
	size_t i;

	for (i = 0; i < g->count; i++) {
		struct cw_stock_ask *a = g->asks[i];

		/* Not even asked for: the database may hold any bytes to be no text. */
		if (stock_word(a->product_key, CW_STOCK_PRODUCT_KEY) && product_of(g, a->product_key) == NULL)
			return CW_ENOMEM;
	}
	return 0;
}

/* Text without control characters, and not too long, as the front has made sure (factory.md C.3). */
static int is_device_id(struct cw_bytes id)
{
	size_t i;

	for (i = 0; i < id.len; i++)
		if (id.ptr[i] < 0x20 || id.ptr[i] == 0x7f || (id.ptr[i] == 0xc2 && i + 1 < id.len && id.ptr[i + 1] < 0xa0)) /* C0, DEL, C1 */
			return 0;
	return id.len <= CW_STOCK_DEVICE_ID && cw_utf8_valid(id);
}

/* CW and 16 digits (C.1): 64 bits, so that nobody guesses one and none comes twice. */
static int make_up(char *out)
{
	uint64_t random;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return CW_EIO;
	(void)snprintf(out, CW_STOCK_DEVICE_ID + 1, "CW%016llX", (unsigned long long)random);
	return 0;
}

/* The board of one request, new or known; NULL with rc 0: it is answered already. */
static int board_of(struct serve_group *g, struct cw_stock_ask *a, struct serve_product *p, struct serve_board **ret)
{
	struct serve_board *b = &g->boards[g->board_count];
	size_t len = strlen(p->key);
	struct cw_map_node *n;
	char *id;

	*ret = NULL;
	if (!is_device_id(a->device_id)) {
		answer(a, CW_STOCK_BAD_REQUEST);
		return 0;
	}
	if (a->device_id.len == 0 && a->action == CW_STOCK_REPORT) {
		answer(a, CW_STOCK_UNKNOWN_DEVICE);
		return 0;
	}
	memcpy(b->key, p->key, len + 1);
	id = b->key + len + 1;
	if (a->device_id.len > 0)
		cw_stock_device_id(&p->p, a->device_id, id);
	else if (make_up(id) < 0)
		return CW_EIO;
	b->key_len = len + 1 + strlen(id);
	n = cw_map_find(&g->board_map, b->key, b->key_len);
	if (n != NULL) {
		*ret = cw_container_of(n, struct serve_board, node);
		return 0;
	}
	if (cw_map_add(&g->board_map, &b->node, b->key, b->key_len) < 0)
		return CW_ENOMEM;
	b->product = p;
	b->device_id = id;
	b->anonymous = b->made_up = a->device_id.len == 0;
	b->state = CW_STOCK_FREE;
	g->board_count++;
	*ret = b;
	return 0;
}

static int gather_boards(struct serve_group *g)
{
	size_t i;

	for (i = 0; i < g->count; i++) {
		struct cw_stock_ask *a = g->asks[i];
		struct serve_product *p = NULL;
		int rc;

		g->of_ask[i] = NULL;
		if (stock_word(a->product_key, CW_STOCK_PRODUCT_KEY))
			p = product_of(g, a->product_key);
		if (p == NULL || !p->known) {
			answer(a, CW_STOCK_UNKNOWN_PRODUCT);
			continue;
		}
		rc = board_of(g, a, p, &g->of_ask[i]);
		if (rc < 0)
			return rc;
		if (g->of_ask[i] != NULL && a->action == CW_STOCK_ALLOCATE)
			g->of_ask[i]->wants = 1;
	}
	return 0;
}

/* One for each station and the time it counts from. */
static int gather_quotas(struct serve_group *g)
{
	size_t i;

	for (i = 0; i < g->count; i++) {
		const struct cw_stock_ask *a = g->asks[i];
		struct serve_quota *q = &g->quotas[g->quota_count];
		struct cw_map_node *n;
		int len;

		g->quota_of[i] = NULL;
		if (a->quota == 0 || a->action != CW_STOCK_ALLOCATE || g->of_ask[i] == NULL || g->of_ask[i]->state != CW_STOCK_FREE)
			continue;
		len = snprintf(q->key, sizeof(q->key), "%lld %s", (long long)a->quota_since, a->who.name);
		if ((size_t)len >= sizeof(q->key))
			len = (int)sizeof(q->key) - 1;
		n = cw_map_find(&g->quota_map, q->key, (size_t)len);
		if (n == NULL) {
			if (cw_map_add(&g->quota_map, &q->node, q->key, (size_t)len) < 0)
				return CW_ENOMEM;
			q->station = a->who.name;
			q->since = a->quota_since;
			q->used = 0;
			g->quota_count++;
			n = &q->node;
		}
		g->quota_of[i] = cw_container_of(n, struct serve_quota, node);
	}
	return 0;
}

/* ---- deciding, in order ------------------------------------------------------------------------------ */

static size_t enter(struct serve_group *g, const struct cw_stock_ask *a, const struct serve_board *b, enum cw_audit_kind kind)
{
	struct cw_audit_entry *e = &g->entries[g->entry_count];

	memset(e, 0, sizeof(*e));
	e->what = stock_audit_name(kind);
	e->who = a->who.name;
	e->address = a->who.address;
	e->product_key = b->product->key;
	e->device_name = b->cert.device_name;
	e->device_id = b->device_id;
	return g->entry_count++;
}

/* Those of the further columns (a JSON object) that replies of this product carry, as many as there is room for. */
static void further_columns(const struct cw_stock_product *p, const char *extra, char *out, size_t size)
{
	char names[sizeof(p->reply_columns)], *name, *rest = names;
	json_t *all, *some;
	size_t len = 0;

	out[0] = '\0';
	if (p->reply_columns[0] == '\0' || extra[0] == '\0')
		return;
	all = json_loads(extra, 0, NULL);
	some = json_object();
	(void)snprintf(names, sizeof(names), "%s", p->reply_columns);
	while (json_is_object(all) && some != NULL && (name = strsep(&rest, ",")) != NULL) {
		json_t *value;

		name += strspn(name, " ");
		name[strcspn(name, " ")] = '\0';
		value = json_object_get(all, name);
		if (value == NULL || stock_reply_member(name) || json_object_set(some, name, value) != 0)
			continue;
		if (json_dumpb(some, NULL, 0, JSON_COMPACT) >= size)
			(void)json_object_del(some, name);
	}
	if (json_object_size(some) > 0)
		len = json_dumpb(some, out, size - 1, JSON_COMPACT);
	out[len < size ? len : 0] = '\0';
	json_decref(all);
	json_decref(some);
}

static void fill(const struct serve_board *b, struct cw_stock_cert *cert)
{
	const struct cw_stock_product *p = &b->product->p;

	memcpy(cert->product_key, p->product_key, sizeof(cert->product_key));
	memcpy(cert->device_id, b->device_id, strlen(b->device_id) + 1);
	memcpy(cert->device_name, b->cert.device_name, sizeof(cert->device_name));
	memcpy(cert->device_secret, b->cert.device_secret, sizeof(cert->device_secret));
	memcpy(cert->product_secret, b->cert.product_secret, sizeof(cert->product_secret));
	memcpy(cert->product_id, b->cert.product_id[0] != '\0' ? b->cert.product_id : p->product_id, sizeof(cert->product_id));
	cert->crc = cw_stock_crc(p, cert);
	cert->crc_form = p->crc_form;
	further_columns(p, b->cert.extra, cert->extra, sizeof(cert->extra));
}

/* Why there is none. */
static enum cw_stock_answer none_left(const struct serve_product *p)
{
	const struct serve_lot *lot;

	if (p->damaged > 0)
		return CW_STOCK_BUSY;
	for (lot = p->lots; lot != NULL; lot = lot->next)
		if (lot->closed)
			return CW_STOCK_BATCH_CLOSED;
	return CW_STOCK_OUT_OF_STOCK;
}

/* For all requests behind this one, whatever period they count from. */
static void count_use(struct serve_group *g, const struct cw_stock_ask *a)
{
	size_t i;

	for (i = 0; i < g->quota_count; i++)
		g->quotas[i].used += strcmp(g->quotas[i].station, a->who.name) == 0;
}

static void allocate(struct serve_group *g, struct cw_stock_ask *a, struct serve_board *b, struct serve_quota *q)
{
	struct serve_product *p = b->product;
	int fresh = b->state == CW_STOCK_FREE;

	if (fresh) {
		if (q != NULL && q->used >= a->quota) {
			answer(a, CW_STOCK_QUOTA_EXCEEDED);
			return;
		}
		if (p->used == p->have) {
			answer(a, none_left(p));
			return;
		}
		b->cert = p->picks[p->used++];
		b->state = CW_STOCK_ALLOCATED;
		b->taken = 1;
		count_use(g, a);
	} else if (serve_open(g, p, &b->cert) < 0) {
		answer(a, CW_STOCK_BUSY);
		return;
	}
	answer(a, CW_STOCK_OK);
	a->fresh = fresh;
	a->anonymous = b->anonymous;
	fill(b, &a->cert);
	if (fresh)
		b->entry_taken = enter(g, a, b, CW_AUDIT_ALLOCATE);
	else
		(void)enter(g, a, b, CW_AUDIT_AGAIN);
}

static void report(struct serve_group *g, struct cw_stock_ask *a, struct serve_board *b)
{
	if (b->state == CW_STOCK_FREE) {
		answer(a, CW_STOCK_UNKNOWN_DEVICE);
		return;
	}
	answer(a, CW_STOCK_OK);
	a->anonymous = b->anonymous;
	memcpy(a->cert.product_key, b->product->p.product_key, sizeof(a->cert.product_key));
	memcpy(a->cert.device_id, b->device_id, strlen(b->device_id) + 1);
	if (b->state == CW_STOCK_WRITTEN)
		return;
	a->fresh = 1;
	b->state = CW_STOCK_WRITTEN;
	b->reported = 1;
	b->entry_reported = enter(g, a, b, CW_AUDIT_WRITE);
}

static void decide(struct serve_group *g)
{
	size_t i;

	for (i = 0; i < g->count; i++) {
		struct serve_board *b = g->of_ask[i];

		if (b == NULL)
			continue;
		if (b->hidden)
			answer(g->asks[i], CW_STOCK_BUSY);
		else if (g->asks[i]->action == CW_STOCK_REPORT)
			report(g, g->asks[i], b);
		else
			allocate(g, g->asks[i], b, g->quota_of[i]);
	}
}

/* ---- one try ------------------------------------------------------------------------------------------ */

static int serve(struct cw_stock *s, void *arg, struct cw_msg *msg)
{
	struct serve_group *g = arg;
	size_t i;
	int rc;

	forget(g);
	rc = gather_products(g);
	if (rc == 0 && g->product_count > 0)
		rc = serve_load_products(g, msg);
	if (rc == 0)
		rc = gather_boards(g);
	if (rc == 0)
		rc = serve_load_boards(g, msg);
	if (rc == 0)
		rc = gather_quotas(g);
	if (rc == 0)
		rc = serve_load_quotas(g, msg);
	for (i = 0; rc == 0 && i < g->board_count; i++)
		g->boards[i].product->need += g->boards[i].wants && g->boards[i].state == CW_STOCK_FREE;
	if (rc == 0)
		rc = serve_pick(g, msg);
	if (rc == 0) {
		decide(g);
		rc = serve_store(g, msg);
	}
	if (rc == CW_ENOMEM || rc == CW_EIO)
		return msg != NULL && msg->text[0] == '\0' ? cw_fail(msg, rc, "stock: %s", cw_error_text(rc)) : rc;
	if (rc == 0)
		cw_crash_point("stock.serve");
	return rc;
}

static void all_busy(struct cw_stock_ask *const *asks, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		answer(asks[i], CW_STOCK_BUSY);
}

/* In a transaction of its own, which changes answers only when it was committed. */
static int serve_group(struct cw_stock *s, struct cw_stock_ask *const *asks, size_t count, struct cw_msg *msg)
{
	struct serve_group g;
	int rc = make_group(&g, s, asks, count, msg);

	if (rc == 0) {
		rc = stock_transact(s, serve, &g, msg);
		if (rc == 0 && msg != NULL)
			*msg = g.damaged;
		free_group(&g);
	}
	if (rc != 0)
		all_busy(asks, count);
	else
		cw_crash_point("stock.served");
	return rc;
}

/* ---- leases -------------------------------------------------------------------------------------------- */

struct over {
	struct cw_stock_ask **asks; /* those that got none */
	size_t count, reclaimed;
};

static int reclaim(struct cw_stock *s, void *arg, struct cw_msg *msg)
{
	struct over *o = arg;
	size_t i, j, n;
	int rc = 0;

	o->reclaimed = 0;
	for (i = 0; i < o->count && rc == 0; i++) {
		for (j = 0; j < i && strcmp(o->asks[j]->product_key, o->asks[i]->product_key) != 0; j++)
			;
		if (j < i)
			continue; /* did that product */
		rc = stock_leases_over(s, o->asks[i]->product_key, o->count, &n, msg);
		o->reclaimed += n;
	}
	return rc;
}

/*
 * After the others are answered: what is given back is for those only for whom there was nothing. A board of this group whose
 * own lease is over has thus been told its certificate before, and keeps it.
 */
static void serve_from_leases(struct cw_stock *s, struct cw_stock_ask *const *asks, size_t count, struct cw_msg *msg)
{
	struct over o = { NULL, 0, 0 };
	struct cw_msg own = { "" };
	size_t i;

	for (i = 0; i < count; i++)
		o.count += asks[i]->answer == CW_STOCK_OUT_OF_STOCK || asks[i]->answer == CW_STOCK_BATCH_CLOSED;
	if (o.count == 0)
		return;
	o.asks = cw_calloc(o.count, sizeof(*o.asks));
	if (o.asks == NULL)
		return;
	for (i = 0, o.count = 0; i < count; i++)
		if (asks[i]->answer == CW_STOCK_OUT_OF_STOCK || asks[i]->answer == CW_STOCK_BATCH_CLOSED)
			o.asks[o.count++] = asks[i];
	/* When the storage fails now, there is nothing left all the same. */
	if (stock_transact(s, reclaim, &o, &own) == 0) {
		own.text[0] = '\0'; /* of a try that met another */
		if (o.reclaimed > 0)
			(void)serve_group(s, o.asks, o.count, &own);
	}
	if (msg != NULL && msg->text[0] == '\0')
		*msg = own;
	cw_free(o.asks);
}

int cw_stock_serve(struct cw_stock *s, struct cw_stock_ask *const *asks, size_t count, struct cw_msg *msg)
{
	int rc;

	if (count == 0)
		return 0;
	rc = serve_group(s, asks, count, msg);
	if (rc == 0)
		serve_from_leases(s, asks, count, msg);
	return rc;
}
