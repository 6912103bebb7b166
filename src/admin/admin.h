/*
 * admin.h - the control socket: an HTTP API for operators on a unix socket, on the control loop.
 *
 * Reads statistics, devices and upstreams; acts only through bridge, gateway and
 * daemon. The CLI's verbs are its first users.
 */
#ifndef CW_ADMIN_ADMIN_H
#define CW_ADMIN_ADMIN_H

#include "base/err.h"

struct cw_daemon;
struct cw_admin;

/* Listen where the configuration says; *ret_admin is NULL when it says nowhere. Errors carry a sentence. */
int cw_admin_open(struct cw_daemon *d, struct cw_admin **ret_admin, struct cw_msg *msg);
/* Close the socket and remove it; requests under way are cut. Accepts NULL. */
void cw_admin_close(struct cw_admin *a);

#endif
