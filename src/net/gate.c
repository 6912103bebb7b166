/*
 * gate.c - who is let in, over all workers together.
 *
 * Room and rate are relaxed atomics. The limit per source needs a table, and a
 * table needs a lock; it is taken at admission and at the end of a session, never
 * for a byte, and only while such a limit is set.
 */
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/inside.h"

#define SECOND_NS 1000000000ULL

/* Connections of all listeners, and how many the descriptor limit leaves room for (0: not asked). */
static _Atomic(uint64_t) process_open;
static _Atomic(uint64_t) process_most;

struct source {
	struct cw_map_node node;
	uint8_t key[17]; /* family and address: the port does not count */
	uint32_t count;
};

uint64_t cw_net_descriptor_limit(uint64_t *ret_limit)
{
	struct rlimit lim;
	uint64_t most;

	if (getrlimit(RLIMIT_NOFILE, &lim) != 0)
		lim.rlim_cur = lim.rlim_max = 1024;
	if (lim.rlim_cur < lim.rlim_max) {
		struct rlimit raised = { lim.rlim_max, lim.rlim_max };

		if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
			lim = raised;
	}
	/* The thousand is for upstreams, the journal, logs and the control socket. */
	most = lim.rlim_cur < 2000 ? lim.rlim_cur / 2 : lim.rlim_cur - 1000;
	atomic_store(&process_most, most);
	*ret_limit = lim.rlim_cur;
	return most;
}

static void free_sources(struct cw_map *m)
{
	struct cw_map_node *n, *next;

	cw_map_each_safe(n, next, m)
		cw_free(cw_container_of(n, struct source, node));
	cw_map_fini(m);
}

int cw_net_gate_init(struct cw_net_gate *g)
{
	memset(g, 0, sizeof(*g));
	cw_map_init(&g->sources);
	return cw_err_from_uv(uv_mutex_init(&g->lock));
}

void cw_net_gate_fini(struct cw_net_gate *g)
{
	free_sources(&g->sources);
	uv_mutex_destroy(&g->lock);
}

int cw_net_gate_lists(const struct cw_net_policy *p, const struct cw_addr *source, enum cw_net_count *ret_refused)
{
	*ret_refused = CW_NET_COUNT_refused_list;
	if (cw_cidrs_match(&p->deny, source))
		return CW_EREFUSED;
	return p->allow.count == 0 || cw_cidrs_match(&p->allow, source) ? 0 : CW_EREFUSED;
}

/* One more, unless that makes more than `most` (0: no limit). */
static int take_room(_Atomic(uint64_t) *open, uint64_t most)
{
	uint64_t n = atomic_fetch_add_explicit(open, 1, memory_order_relaxed);

	if (most == 0 || n < most)
		return 1;
	(void)atomic_fetch_sub_explicit(open, 1, memory_order_relaxed);
	return 0;
}

/* Each takes 1/rate of a second; a quiet second saves up at most one second's worth. */
static int take_rate(_Atomic(uint64_t) *rate_ns, uint32_t rate)
{
	uint64_t now, due, next;

	if (rate == 0)
		return 1;
	now = cw_clock_ns();
	due = atomic_load_explicit(rate_ns, memory_order_relaxed);
	do {
		next = (due > now ? due : now) + SECOND_NS / rate;
		if (next - now > SECOND_NS)
			return 0;
	} while (!atomic_compare_exchange_weak_explicit(rate_ns, &due, next, memory_order_relaxed, memory_order_relaxed));
	return 1;
}

int cw_net_gate_enter(struct cw_net_gate *g, const struct cw_net_policy *p, enum cw_net_count *ret_refused)
{
	*ret_refused = CW_NET_COUNT_refused_connections;
	if (!take_room(&g->open, p->conf.limits.connections))
		return CW_ELIMIT;
	if (p->conf.transport != CW_TRANSPORT_UDP && !take_room(&process_open, atomic_load(&process_most))) {
		*ret_refused = CW_NET_COUNT_refused_descriptors;
		goto err_open;
	}
	if (take_rate(&g->rate_ns, p->conf.limits.accept_rate))
		return 0;
	*ret_refused = CW_NET_COUNT_refused_rate;
	if (p->conf.transport != CW_TRANSPORT_UDP)
		(void)atomic_fetch_sub_explicit(&process_open, 1, memory_order_relaxed);
err_open:
	(void)atomic_fetch_sub_explicit(&g->open, 1, memory_order_relaxed);
	return CW_ELIMIT;
}

void cw_net_gate_leave(struct cw_net_gate *g, const struct cw_net_policy *p)
{
	if (p->conf.transport != CW_TRANSPORT_UDP)
		(void)atomic_fetch_sub_explicit(&process_open, 1, memory_order_relaxed);
	(void)atomic_fetch_sub_explicit(&g->open, 1, memory_order_relaxed);
}

static void make_key(const struct cw_addr *source, uint8_t key[17])
{
	key[0] = source->family;
	memcpy(key + 1, source->ip, 16);
}

static struct source *find_source(struct cw_net_gate *g, const struct cw_addr *source)
{
	struct cw_map_node *n;
	uint8_t key[17];

	make_key(source, key);
	n = cw_map_find(&g->sources, key, sizeof(key));
	return n == NULL ? NULL : cw_container_of(n, struct source, node);
}

static struct source *add_source(struct cw_net_gate *g, const struct cw_addr *source)
{
	struct source *src = cw_zalloc(sizeof(*src));

	if (src == NULL)
		return NULL;
	make_key(source, src->key);
	if (cw_map_add(&g->sources, &src->node, src->key, sizeof(src->key)) < 0) {
		cw_free(src);
		return NULL;
	}
	return src;
}

int cw_net_gate_source(struct cw_net_gate *g, const struct cw_net_policy *p, const struct cw_addr *source)
{
	struct source *src;
	int rc = CW_ENOMEM;

	if (p->conf.limits.connections_per_source == 0)
		return 0;
	uv_mutex_lock(&g->lock);
	src = find_source(g, source);
	if (src == NULL)
		src = add_source(g, source);
	if (src != NULL && src->count >= p->conf.limits.connections_per_source) {
		rc = CW_ELIMIT;
	} else if (src != NULL) {
		src->count++;
		rc = 1;
	}
	uv_mutex_unlock(&g->lock);
	return rc;
}

void cw_net_gate_source_leave(struct cw_net_gate *g, const struct cw_addr *source)
{
	struct source *src;

	uv_mutex_lock(&g->lock);
	src = find_source(g, source);
	if (src != NULL && --src->count == 0) {
		cw_map_remove(&g->sources, &src->node);
		cw_free(src);
	}
	uv_mutex_unlock(&g->lock);
}

void cw_net_count_refused(struct cw_net_gate *g, enum cw_net_count what)
{
	static const enum cw_stat_id stats[] = {
#define CW_NET_COUNT_STAT(name) [CW_NET_COUNT_##name] = CW_STAT_net_##name,
		CW_NET_COUNTS(CW_NET_COUNT_STAT)
#undef CW_NET_COUNT_STAT
	};

	cw_stat_add(stats[what], 1);
	(void)atomic_fetch_add_explicit(&g->counts[what], 1, memory_order_relaxed);
}

const char *cw_net_refused_text(enum cw_net_count what)
{
	switch (what) {
	case CW_NET_COUNT_refused_connections: return "limits.connections reached";
	case CW_NET_COUNT_refused_source: return "limits.connectionsPerSource reached";
	case CW_NET_COUNT_refused_rate: return "limits.acceptRate reached";
	case CW_NET_COUNT_refused_list: return "not allowed by allow and deny";
	case CW_NET_COUNT_refused_descriptors: return "no descriptors left";
	default: return "out of memory";
	}
}
