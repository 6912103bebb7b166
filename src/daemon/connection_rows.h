/* connection_rows.h - the settings of connections that the gateway opens: their table and their check. */
#ifndef CW_DAEMON_CONNECTION_ROWS_H
#define CW_DAEMON_CONNECTION_ROWS_H

#include "daemon/config.h"

extern const struct cw_conf_table cw_config_connection_table;
/* Used by listeners, too. */
extern const char *const cw_config_acks[], *const cw_config_unknowns[];

/* Names that are taken, serial lines used twice. */
void cw_config_check_connections(const struct cw_config *c, const struct cw_value *object, struct cw_conf_report *report);

#endif
