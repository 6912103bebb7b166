/* config_field.h - the settings of what devices in the field ask: their table, which config.c includes. */
#ifndef CW_FACTORY_CONFIG_FIELD_H
#define CW_FACTORY_CONFIG_FIELD_H

#include "factory/config.h"

/* struct factory_field_conf; checks itself. */
extern const struct cw_conf_table factory_field_table;
/* struct factory_listen; in config.c. */
extern const struct cw_conf_table factory_listen_table;

#endif
