/*
 * map.h - an intrusive hash map keyed by bytes.
 *
 * The owner embeds a cw_map_node; the map never allocates nodes and never copies
 * keys: a key must stay valid and unchanged while its node is in the map. Keyed
 * SipHash is used, so that a peer who chooses keys cannot choose collisions.
 */
#ifndef CW_BASE_MAP_H
#define CW_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

struct cw_map_node {
	struct cw_map_node *next;
	const void *key;
	uint32_t key_len;
	uint32_t hash;
};

struct cw_map {
	struct cw_map_node **slots; /* size is a power of two; NULL while empty */
	size_t size;
	size_t count;
};

void cw_map_init(struct cw_map *m);
/* Frees the table, not the nodes. */
void cw_map_fini(struct cw_map *m);
/* Make room for `count` nodes. 0 or CW_ENOMEM. */
int cw_map_reserve(struct cw_map *m, size_t count);
struct cw_map_node *cw_map_find(const struct cw_map *m, const void *key, size_t len);
/* Add; the key must not be in the map. 0 or CW_ENOMEM (only when the very first table cannot be made; later growth may fail silently). */
int cw_map_add(struct cw_map *m, struct cw_map_node *node, const void *key, size_t len);
void cw_map_remove(struct cw_map *m, struct cw_map_node *node);
/* Iteration: first with prev NULL; NULL at the end. Removing the node just returned is allowed only through cw_map_each_safe. */
struct cw_map_node *cw_map_next(const struct cw_map *m, const struct cw_map_node *prev);
#define cw_map_each(n, m) for ((n) = cw_map_next((m), NULL); (n) != NULL; (n) = cw_map_next((m), (n)))
#define cw_map_each_safe(n, nn, m)                                                              \
	for ((n) = cw_map_next((m), NULL); (n) != NULL && ((nn) = cw_map_next((m), (n)), 1); (n) = (nn))

/* The hash itself (process-random key), and one that is the same in every process and run (for stable device spreading). */
uint64_t cw_hash(const void *ptr, size_t len);
uint64_t cw_hash_stable(const void *ptr, size_t len);

#endif
