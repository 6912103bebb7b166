/*
 * obtain.h - the bridge's own certificate, where the configuration does not give one: from the state directory, or
 * asked for once (registration) or found or created (popClientProfile), kept, and only then handed out. On the control
 * loop; files are written on it (once in a life, before anything is connected).
 *
 * A crash leaves the file in the state it had reached:
 *   before the request          nothing: asked at the next start
 *   request made, no answer     `asked`: the next start refuses, for the platform may have given the secret out
 *   answer came, not stored     the same
 *   stored                      `obtained`: used, never asked again
 * The way out of `asked` is in the sentence: look at the device in the console, then delete the file.
 */
#ifndef CW_PROVISION_OBTAIN_H
#define CW_PROVISION_OBTAIN_H

#include "provision/keep.h"
#include "provision/openapi.h"

/* What the configuration says; texts are lent as long as the obtain lives. */
struct cw_obtain_conf {
	const char *state_dir;
	const char *product_key;
	/* Either these: registration */
	const char *device_name, *product_secret;
	enum cw_register_via via;
	int no_whitelist;
	const char *endpoint; /* NULL: made from region */
	const char *region;
	const char *instance_id;
	/* or an account: the device is named after the MAC address of `interface` (NULL: chosen). */
	const struct cw_openapi_account *account;
	const char *interface;
	struct cw_fetch_tls tls; /* of the registration */
	uint64_t retry_min_ms, retry_max_ms;
	const char *label; /* for logs: the upstream's name, or "bridge" */
};

/* What is there and what would be done; nothing is asked and nothing written. */
struct cw_obtain_plan {
	struct cw_keep keep;
	char path[1200];
	char device_name[64];
	char interface[16]; /* with an account: whose MAC address it is; empty when the certificate is there */
};
/* CW_EEXIST: asked for and never stored; msg has the way out. Other errors: settings, or the file. Wipe the plan. */
int cw_obtain_plan(const struct cw_obtain_conf *conf, struct cw_obtain_plan *ret_plan, struct cw_msg *msg);

struct cw_obtain;
/*
 * Ask, and retry with back-off as long as nothing was given away. `done` runs once, with the certificate on disk. The
 * plan's state must be NONE. `conf` is copied, its texts are not.
 */
int cw_obtain_start(struct cw_worker *w, struct cw_fetch_pool *pool, const struct cw_obtain_conf *conf,
		    void (*done)(void *ctx, const struct cw_certificate *got), void *ctx, struct cw_obtain **ret_obtain,
		    struct cw_msg *msg);
/* What it waits for, for people. Lent until the loop's next turn. */
const char *cw_obtain_says(const struct cw_obtain *o);
/* Accepts NULL. `gone` runs when nothing refers to it any more: before this returns, or later. */
void cw_obtain_free(struct cw_obtain *o, void (*gone)(void *arg), void *arg);

#endif
