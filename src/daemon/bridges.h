/*
 * bridges.h - the certificates of the configuration's bridges that are not given in it: kept ones are read, missing
 * ones obtained before the upstreams are made. On the control loop.
 */
#ifndef CW_DAEMON_BRIDGES_H
#define CW_DAEMON_BRIDGES_H

#include "daemon/config.h"
#include "provision/obtain.h"

struct cw_bridges;

/*
 * Look which bridges need something and what is kept of it; asks nothing, writes nothing. `config` must live as long.
 * CW_EEXIST: asked for and never stored, msg has the way out. Errors carry a sentence.
 */
int cw_bridges_new(const struct cw_config *config, const char *state_dir, struct cw_bridges **ret_bridges, struct cw_msg *msg);
void cw_bridges_free(struct cw_bridges *b); /* accepts NULL; after cw_bridges_stop() when it obtains */
/* How many are missing. */
size_t cw_bridges_missing(const struct cw_bridges *b);
/* Obtain them, trying until they are there; `ready` runs then. */
int cw_bridges_obtain(struct cw_bridges *b, struct cw_worker *control, void (*ready)(void *ctx), void *ctx, struct cw_msg *msg);
/* End that; `gone` runs when nothing is under way any more, maybe before this returns. */
void cw_bridges_stop(struct cw_bridges *b, void (*gone)(void *arg), void *arg);
/* What the n-th missing one waits for; NULL past the last. */
const char *cw_bridges_says(const struct cw_bridges *b, size_t n);
/* The certificate obtained for bridge `i` of an upstream; NULL: it is given, or not there yet. */
const struct cw_certificate *cw_bridges_certificate(const struct cw_bridges *b, const struct cw_config *c, const struct cw_config_upstream *u, size_t i);
/* What will be or was done for the n-th, for people: `config check`. NULL past the last. `devices`: entries that become its
 * sub-devices. */
const char *cw_bridges_plan(struct cw_bridges *b, size_t n, size_t devices);
/* The devices that popClientProfile names, with how many are tied to them, into the log. */
void cw_bridges_warn(const struct cw_bridges *b, size_t devices);

#endif
