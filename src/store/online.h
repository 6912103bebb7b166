/*
 * online.h - which devices of a large bridge are online at the platform, in SQLite: the
 * platform keeps them so without us, and after a crash somebody has to report those that
 * do not come back.
 *
 * Changes are written by a thread of its own, all that have come to one transaction, with
 * fsync: a put is answered when it is on the disk. All calls on the owner's loop.
 */
#ifndef CW_STORE_ONLINE_H
#define CW_STORE_ONLINE_H

#include "base/err.h"
#include "loop/worker.h"

#define CW_ONLINE_KEY 112 /* "productKey/deviceName" with its NUL */

struct cw_online;

/* Zero-initialise, keep it until `done`, which runs exactly once on the owner's loop. */
struct cw_online_put {
	void (*done)(struct cw_online_put *p);
	int rc; /* not 0: it could not be written; logged */
	/* the store's */
	struct cw_mail mail;
	struct cw_online *o;
	struct cw_list link;
	char key[CW_ONLINE_KEY];
};

/*
 * Open (or make) `dir`/online-BRIDGE.db. `known` is told each device that is in it, before this returns; an error of it
 * ends the opening. Errors carry a sentence.
 */
int cw_online_open(const char *dir, const char *bridge, struct cw_worker *owner,
		   int (*known)(void *ctx, const char *key), void *ctx, struct cw_online **ret_online,
		   struct cw_msg *msg);
/* The device comes online. CW_ELIMIT when the key is too long; then `done` does not run. */
int cw_online_put(struct cw_online *o, const char *key, struct cw_online_put *p);
/* It is offline. Without memory it stays in the file: it is reported once more after a restart. */
void cw_online_drop(struct cw_online *o, const char *key);
/* Write what is left and close; every put has been posted its answer. Accepts NULL. */
void cw_online_close(struct cw_online *o);

#endif
