/* config_check.h - what the rows of the configuration cannot say one by one: does it work together, and on this machine? */
#ifndef CW_DAEMON_CONFIG_CHECK_H
#define CW_DAEMON_CONFIG_CHECK_H

#include "daemon/config.h"

/* Names of listeners and upstreams stand in logs, files and paths of the control socket. 1 when it may. */
int cw_config_name_ok(const char *name);
/* One upstream by itself; `object` is where it stands. */
void cw_config_check_upstream(const struct cw_config_upstream *u, const struct cw_value *object, struct cw_conf_report *report);
/* What upstreams have in common: authorities, two with one identity. */
void cw_config_check_upstreams(const struct cw_config *c, const struct cw_value *object, struct cw_conf_report *report);
/* A look-up over HTTP: identity.`name`. `where`: the settings' own place. */
void cw_config_check_lookup(const char *name, const char *url, const char *token, const struct cw_config_tls *tls, const struct cw_value *where,
			    struct cw_conf_report *report);

#endif
