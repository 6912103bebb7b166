/* names.c - see names.h. */
#include "identity/names.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/error.h"

int cw_names_add(struct cw_names *n, const char *name, size_t len)
{
	char *copy;

	if (n->count == n->size) {
		size_t size = n->size == 0 ? 16 : n->size * 2;
		char **grown = cw_realloc(n->items, size * sizeof(char *));

		if (grown == NULL)
			return CW_ENOMEM;
		n->items = grown;
		n->size = size;
	}
	copy = cw_strndup(name, len);
	if (copy == NULL)
		return CW_ENOMEM;
	n->items[n->count++] = copy;
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void cw_names_sort(struct cw_names *n, size_t most)
{
	size_t i, kept = 0;

	if (n->count > 1)
		qsort(n->items, n->count, sizeof(char *), by_text);
	for (i = 0; i < n->count; i++) {
		int twice = kept > 0 && strcmp(n->items[kept - 1], n->items[i]) == 0;

		if (!twice && kept < most) {
			n->items[kept++] = n->items[i];
			continue;
		}
		n->more |= !twice;
		cw_free(n->items[i]);
	}
	n->count = kept;
}

void cw_names_fini(struct cw_names *n)
{
	size_t i;

	for (i = 0; i < n->count; i++)
		cw_free(n->items[i]);
	cw_free(n->items);
	memset(n, 0, sizeof(*n));
}
