/* identity_rows.h - the settings of who the bridge is: their tables and their check. */
#ifndef CW_DAEMON_IDENTITY_ROWS_H
#define CW_DAEMON_IDENTITY_ROWS_H

#include "daemon/config.h"

extern const struct cw_conf_table cw_config_certificate_table, cw_config_profile_table, cw_config_registration_table;

/* Every upstream has a whole identity, or what obtains one. */
void cw_config_check_identity(const struct cw_config *c, const struct cw_value *object, struct cw_conf_report *report);

/* Provisioning rules that can never work. */
void cw_config_check_rules(const struct cw_config *c, const struct cw_value *object, struct cw_conf_report *report);

#endif
