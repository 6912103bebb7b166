/* map.c - see map.h. Chained, grows at load 1, never shrinks. Hash: SipHash-1-3. */
#include "base/map.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>

#include "base/mem.h"
#include "causeway/error.h"

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define SIPROUND                                                                   \
	do {                                                                       \
		v0 += v1; v1 = ROTL(v1, 13); v1 ^= v0; v0 = ROTL(v0, 32);          \
		v2 += v3; v3 = ROTL(v3, 16); v3 ^= v2;                             \
		v0 += v3; v3 = ROTL(v3, 21); v3 ^= v0;                             \
		v2 += v1; v1 = ROTL(v1, 17); v1 ^= v2; v2 = ROTL(v2, 32);          \
	} while (0)

static uint64_t siphash(uint64_t k0, uint64_t k1, const unsigned char *in, size_t len)
{
	uint64_t v0 = 0x736f6d6570736575ULL ^ k0, v1 = 0x646f72616e646f6dULL ^ k1;
	uint64_t v2 = 0x6c7967656e657261ULL ^ k0, v3 = 0x7465646279746573ULL ^ k1;
	uint64_t last = (uint64_t)len << 56, m;
	size_t i;

	for (; len >= 8; len -= 8, in += 8) {
		memcpy(&m, in, 8);
		v3 ^= m;
		SIPROUND;
		v0 ^= m;
	}
	for (i = 0; i < len; i++)
		last |= (uint64_t)in[i] << (8 * i);
	v3 ^= last;
	SIPROUND;
	v0 ^= last;
	v2 ^= 0xff;
	SIPROUND;
	SIPROUND;
	SIPROUND;
	return v0 ^ v1 ^ v2 ^ v3;
}

uint64_t cw_hash(const void *ptr, size_t len)
{
	static _Atomic(uint64_t) key;
	uint64_t k = atomic_load_explicit(&key, memory_order_relaxed);

	if (k == 0) {
		uint64_t fresh = 0, expected = 0;

		if (getrandom(&fresh, sizeof(fresh), 0) != (ssize_t)sizeof(fresh) || fresh == 0)
			fresh = (uint64_t)(uintptr_t)&key | 1;
		if (!atomic_compare_exchange_strong(&key, &expected, fresh))
			fresh = expected;
		k = fresh;
	}
	return siphash(k, ~k, ptr, len);
}

uint64_t cw_hash_stable(const void *ptr, size_t len)
{
	return siphash(0x6361757365776179ULL, 0x7374617469630001ULL, ptr, len);
}

void cw_map_init(struct cw_map *m)
{
	memset(m, 0, sizeof(*m));
}

void cw_map_fini(struct cw_map *m)
{
	cw_free(m->slots);
	cw_map_init(m);
}

static int resize(struct cw_map *m, size_t size)
{
	struct cw_map_node **slots = cw_calloc(size, sizeof(struct cw_map_node *));
	size_t i;

	if (slots == NULL)
		return CW_ENOMEM;
	for (i = 0; i < m->size; i++) {
		struct cw_map_node *n = m->slots[i], *next;

		for (; n != NULL; n = next) {
			struct cw_map_node **slot = &slots[n->hash & (size - 1)];

			next = n->next;
			n->next = *slot;
			*slot = n;
		}
	}
	cw_free(m->slots);
	m->slots = slots;
	m->size = size;
	return 0;
}

int cw_map_reserve(struct cw_map *m, size_t count)
{
	size_t size = m->size == 0 ? 4 : m->size; /* many maps of few: one a device */

	while (size < count)
		size *= 2;
	return size > m->size ? resize(m, size) : 0;
}

struct cw_map_node *cw_map_find(const struct cw_map *m, const void *key, size_t len)
{
	uint32_t hash;
	struct cw_map_node *n;

	if (m->count == 0)
		return NULL;
	hash = (uint32_t)cw_hash(key, len);
	for (n = m->slots[hash & (m->size - 1)]; n != NULL; n = n->next)
		if (n->hash == hash && n->key_len == len && memcmp(n->key, key, len) == 0)
			return n;
	return NULL;
}

int cw_map_add(struct cw_map *m, struct cw_map_node *node, const void *key, size_t len)
{
	struct cw_map_node **slot;

	if (m->count >= m->size && cw_map_reserve(m, m->count + 1) != 0 && m->size == 0)
		return CW_ENOMEM;
	node->key = key;
	node->key_len = (uint32_t)len;
	node->hash = (uint32_t)cw_hash(key, len);
	slot = &m->slots[node->hash & (m->size - 1)];
	node->next = *slot;
	*slot = node;
	m->count++;
	return 0;
}

void cw_map_remove(struct cw_map *m, struct cw_map_node *node)
{
	struct cw_map_node **p;

	if (m->size == 0)
		return;
	for (p = &m->slots[node->hash & (m->size - 1)]; *p != NULL; p = &(*p)->next) {
		if (*p == node) {
			*p = node->next;
			node->next = NULL;
			m->count--;
			return;
		}
	}
}

struct cw_map_node *cw_map_next(const struct cw_map *m, const struct cw_map_node *prev)
{
	size_t i = 0;

	if (prev != NULL) {
		if (prev->next != NULL)
			return prev->next;
		i = (prev->hash & (m->size - 1)) + 1;
	}
	for (; i < m->size; i++)
		if (m->slots[i] != NULL)
			return m->slots[i];
	return NULL;
}
