/*
 * kinds.h - the kinds of upstreams there are: one line each in CW_UPSTREAM_KINDS, and
 * its module beside `upstreams` in CMakeLists.txt. Nothing else knows them by name, but for `causeway doctor`, which
 * logs in by hand where that disturbs less (mqtt).
 */
#ifndef CW_UPSTREAM_KINDS_H
#define CW_UPSTREAM_KINDS_H

#include "upstream/connector.h"

/* X(name): `type = name` in the configuration, its operations are cw_connector_name. */
#define CW_UPSTREAM_KINDS(X)                                                                                           \
	X(mqtt)                                                                                                        \
	X(http2)                                                                                                       \
	X(https)                                                                                                       \
	X(coap)                                                                                                        \
	X(broker)

#define CW_UPSTREAM_KIND_DECLARE(name) extern const struct cw_connector_ops cw_connector_##name;
CW_UPSTREAM_KINDS(CW_UPSTREAM_KIND_DECLARE)
#undef CW_UPSTREAM_KIND_DECLARE

/* Names, ending with NULL, and in the same order their tables of settings. */
extern const char *const cw_upstream_kind_names[];
extern const struct cw_conf_table *const cw_upstream_kind_tables[];
/* The operations of number `i` of that order; NULL when there is none. */
const struct cw_connector_ops *cw_upstream_kind(size_t i);

#endif
