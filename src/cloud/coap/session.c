/* session.c - see session.h. */
#include "cloud/coap/session.h"

#include <string.h>

#include "base/mem.h"

void cw_cloud_coap_peers_init(struct coap_peers *p, unsigned max)
{
	cw_map_init(&p->map);
	cw_list_init(&p->all);
	p->max = max;
}

static void drop(struct coap_peers *all, struct coap_peer *p)
{
	unsigned i;

	cw_map_remove(&all->map, &p->node);
	cw_list_remove(&p->link);
	for (i = 0; i < COAP_RECENT; i++)
		cw_free(p->recent[i].answer);
	cw_free(p);
}

void cw_cloud_coap_peers_fini(struct coap_peers *p)
{
	struct cw_list *e;

	while ((e = cw_list_first(&p->all)) != NULL)
		drop(p, cw_container_of(e, struct coap_peer, link));
	cw_map_fini(&p->map);
}

struct coap_peer *cw_cloud_coap_peer(struct coap_peers *all, const char *name)
{
	size_t len = strlen(name);
	struct cw_map_node *node = cw_map_find(&all->map, name, len);
	struct coap_peer *p;

	if (node != NULL) {
		p = cw_container_of(node, struct coap_peer, node);
		cw_list_remove(&p->link);
		cw_list_push_front(&all->all, &p->link);
		return p;
	}
	if (all->map.count >= all->max)
		drop(all, cw_container_of(all->all.prev, struct coap_peer, link));
	p = cw_zalloc(sizeof(*p) + len + 1);
	if (p == NULL)
		return NULL;
	memcpy(p->name, name, len + 1);
	if (cw_map_add(&all->map, &p->node, p->name, len) < 0) {
		cw_free(p);
		return NULL;
	}
	cw_list_push_front(&all->all, &p->link);
	return p;
}

const struct coap_answer *cw_cloud_coap_recall(const struct coap_peer *p, uint64_t hash, uint64_t now_ms)
{
	unsigned i;

	for (i = 0; i < COAP_RECENT; i++) {
		if (p->recent[i].until_ms > now_ms && p->recent[i].hash == hash)
			return p->recent[i].answer;
	}
	return NULL;
}

void cw_cloud_coap_remember(struct coap_peer *p, uint64_t hash, const struct coap_answer *a, uint64_t now_ms)
{
	struct coap_recent *r = &p->recent[p->next % COAP_RECENT];

	r->until_ms = 0;
	if (r->answer == NULL)
		r->answer = cw_alloc(sizeof(*r->answer));
	if (r->answer == NULL)
		return;
	*r->answer = *a;
	r->hash = hash;
	r->until_ms = now_ms + COAP_RECENT_MS;
	p->next++;
}
