/*
 * products.c - what is said to all devices of a product at once. Its topic names no device, so one
 * subscription a connection is enough, made when the first device of the product is logged in on it.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "upstream/mqtt/mqtt.h"

struct product {
	struct cw_map_node node;
	char key[];
};

void mqtt_product_up(struct mqtt *m, const char *pk)
{
	size_t len = strlen(pk);
	char topic[CW_TOPIC_MAX];
	const char *list[] = { topic };
	struct product *p;
	int rc;

	if (cw_map_find(&m->products, pk, len) != NULL || cw_topic_broadcast(pk, topic) < 0)
		return;
	p = cw_zalloc(sizeof(*p) + len + 1);
	if (p == NULL)
		return; /* the next device of the product tries again */
	memcpy(p->key, pk, len);
	rc = cw_map_add(&m->products, &p->node, p->key, len);
	if (rc == 0)
		rc = m->ops->subscribe(m->client, list, 1, NULL);
	if (rc == 0)
		return;
	cw_map_remove(&m->products, &p->node);
	cw_free(p);
}

void mqtt_products_down(struct mqtt *m)
{
	struct cw_map_node *n, *next;

	cw_map_each_safe (n, next, &m->products) {
		cw_map_remove(&m->products, n);
		cw_free(cw_container_of(n, struct product, node));
	}
}
