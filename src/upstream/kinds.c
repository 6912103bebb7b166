/* kinds.c - see kinds.h. */
#include "upstream/kinds.h"

#define NAME(name) #name,
#define TABLE(name) &cw_upstream_##name##_table,
#define TABLE_DECLARE(name) extern const struct cw_conf_table cw_upstream_##name##_table;
#define OPS(name) &cw_connector_##name,

CW_UPSTREAM_KINDS(TABLE_DECLARE)

const char *const cw_upstream_kind_names[] = { CW_UPSTREAM_KINDS(NAME) NULL };
const struct cw_conf_table *const cw_upstream_kind_tables[] = { CW_UPSTREAM_KINDS(TABLE) NULL };

static const struct cw_connector_ops *const kinds[] = { CW_UPSTREAM_KINDS(OPS) NULL };

const struct cw_connector_ops *cw_upstream_kind(size_t i)
{
	return i < sizeof(kinds) / sizeof(kinds[0]) ? kinds[i] : NULL;
}
