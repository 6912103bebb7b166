/* same.c - do two structs of one table say the same? See schema.h. */
#include <string.h>

#include "base/mem.h"
#include "conf/dump.h"
#include "conf/schema.h"

static int same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static int same_strings(const struct cw_conf_strings *a, const struct cw_conf_strings *b)
{
	size_t i;

	if (a->count != b->count)
		return 0;
	for (i = 0; i < a->count; i++)
		if (!same_text(a->items[i], b->items[i]))
			return 0;
	return 1;
}

static int same_list(const struct cw_conf_table *table, const struct cw_conf_list *a, const struct cw_conf_list *b)
{
	size_t i;

	if (a->count != b->count)
		return 0;
	for (i = 0; i < a->count; i++)
		if (!cw_conf_same(table, (const char *)a->items + i * table->size, (const char *)b->items + i * table->size))
			return 0;
	return 1;
}

int cw_value_same(const struct cw_value *a, const struct cw_value *b)
{
	char *ta = NULL, *tb = NULL;
	size_t na, nb;
	int same = 0;

	if (a == NULL || b == NULL)
		return a == b;
	if (cw_dump_value(a, CW_DUMP_JSON, 0, &ta, &na) == 0 && cw_dump_value(b, CW_DUMP_JSON, 0, &tb, &nb) == 0)
		same = na == nb && memcmp(ta, tb, na) == 0;
	cw_free(ta);
	cw_free(tb);
	return same;
}

/* `chosen`: the table of the ENUM before a VARIANT. */
static int same_setting(const struct cw_conf_setting *s, const struct cw_conf_table *chosen, const void *a, const void *b)
{
	switch (s->type) {
	case CW_CONF_TYPE_STRING:
	case CW_CONF_TYPE_SECRET:
	case CW_CONF_TYPE_NAME:
	case CW_CONF_TYPE_FILE:
		return same_text(*(const char *const *)a, *(const char *const *)b);
	case CW_CONF_TYPE_STRINGS:
		return same_strings(a, b);
	case CW_CONF_TYPE_TABLE:
		return cw_conf_same(s->table, a, b);
	case CW_CONF_TYPE_LIST:
	case CW_CONF_TYPE_MAP:
		return same_list(s->table, a, b);
	case CW_CONF_TYPE_ANY:
		return cw_value_same(*(const struct cw_value *const *)a, *(const struct cw_value *const *)b);
	case CW_CONF_TYPE_VARIANT:
		return chosen == NULL || cw_conf_same(chosen, *(const void *const *)a, *(const void *const *)b);
	case CW_CONF_TYPE_ORIGIN: /* where it stands does not matter */
		return 1;
	case CW_CONF_TYPE_BOOL:
	case CW_CONF_TYPE_INT:
	case CW_CONF_TYPE_DOUBLE:
	case CW_CONF_TYPE_BYTES:
	case CW_CONF_TYPE_DURATION:
	case CW_CONF_TYPE_ENUM:
		return memcmp(a, b, s->member_size) == 0;
	case CW_CONF_TYPE_END:
		break;
	}
	return 1; /* no default above: a new type must say what is the same */
}

int cw_conf_same(const struct cw_conf_table *table, const void *a, const void *b)
{
	const struct cw_conf_setting *s;

	if (a == NULL || b == NULL)
		return a == b;
	for (s = table->settings; s->type != CW_CONF_TYPE_END; s++) {
		const struct cw_conf_table *chosen = NULL;
		int value;

		if (s->type == CW_CONF_TYPE_VARIANT) {
			memcpy(&value, (const char *)a + s[-1].offset, sizeof(value));
			chosen = s->variants[value];
		}
		if (!same_setting(s, chosen, (const char *)a + s->offset, (const char *)b + s->offset))
			return 0;
	}
	return 1;
}
