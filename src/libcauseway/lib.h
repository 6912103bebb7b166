/*
 * lib.h - inside of libcauseway: what its files share. See causeway/bridge.h for what it promises.
 *
 * The handle that users have is the bridge of src/bridge itself; what the library adds
 * hangs on its context. A call of the public interface is one `call`: made on the caller's
 * thread with everything copied into it, posted to the control loop, and freed there when its
 * outcome was told and nothing refers to it any more. An `owner` is one cw_bridge_online()
 * on the control loop; a `seat` gathers what goes on about one identity.
 */
#ifndef CW_LIBCAUSEWAY_LIB_H
#define CW_LIBCAUSEWAY_LIB_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/map.h"
#include "bridge/bridge.h"
#include "causeway/bridge.h"
#include "conf/schema.h"
#include "daemon/bridges.h"
#include "daemon/config.h"
#include "loop/thread.h"
#include "loop/worker.h"

#define LIB_OFFLINE_MS 10000u /* cw_bridge_offline() without a timeout */

enum lib_mode { LIB_IDLE, LIB_THREAD, LIB_DRIVEN };

struct lib {
	struct cw_bridge *bridge;
	struct cw_bridges *bridges; /* their certificates that the settings do not give */
	struct cw_worker *control;
	struct cw_thread thread;
	struct cw_bridge_handler handler;
	void *ctx;
	struct cw_config *config;
	struct cw_conf_tree *tree;
	char *state_dir; /* owned, may be NULL */
	int lock_fd;
	/* Any thread. */
	atomic_int mode;         /* enum lib_mode */
	atomic_int closing;      /* no new calls */
	atomic_int inside;       /* calls under way on other threads, see lib_enter() */
	atomic_ulong open;       /* calls not yet completed */
	_Atomic(pthread_t) here; /* the loop's own thread, once it runs */
	atomic_int runs;
	/* Control loop. */
	struct cw_mail begin_mail, end_mail, last_mail;
	struct cw_map seats;   /* by identity */
	struct cw_map asked;   /* lookup.c's */
	struct cw_list owners; /* those who have a device */
	unsigned drain_ms;
	uint8_t connected; /* the upstreams run: what is handed to them comes back */
	uint8_t obtaining; /* the bridge's certificate is awaited: who wants to be online waits, too */
	uint8_t ended, stepping;
};

/* One public call. */
struct call {
	struct cw_mail mail;
	struct lib *lib;
	struct cw_bridge_wait wait;
	struct cw_timer deadline;
	struct cw_list link;      /* a seat's `leaving` */
	struct owner *owner;      /* of an online */
	struct cw_parcel *parcel; /* not yet submitted */
	void *user;
	unsigned flags;
	uint8_t told;   /* the caller knows */
	uint8_t flying; /* its parcel is at a lane: freed by its settling */
	char *topic;    /* owned; a publish's, as it was given */
	char identity[CW_BRIDGE_IDENTITY_MAX + 1];
};

struct owner {
	struct cw_list link; /* seat->pending, then lib->owners */
	struct cw_list held; /* lib_pending_go() */
	struct lib *lib;
	struct seat *seat; /* while pending */
	struct call *call; /* while pending */
	struct cw_attach attach;
	struct cw_device *device; /* set once the caller was told that it is online */
	void *user;
	uint8_t attaching;
	char identity[CW_BRIDGE_IDENTITY_MAX + 1];
};

/* What goes on about one identity; exists only while something does. */
struct seat {
	struct cw_map_node node;
	struct cw_list pending; /* struct owner, oldest first */
	struct cw_list leaving; /* struct call of offline: wait for the platform */
	char identity[CW_BRIDGE_IDENTITY_MAX + 1];
};

/* 1 when `member` of the user's table is within its size and set. */
#define LIB_HAS(lib, member) ((lib)->handler.member != NULL)

/* call.c: any thread, unless noted */
/* Between the two nothing is torn down. 0 or CW_ECLOSED. */
int lib_enter(struct cw_bridge *b, struct lib **ret_lib);
void lib_leave(struct lib *l);
/* A new call; the caller is inside. CW_EINVAL, CW_EBUSY, CW_ENOMEM. */
int lib_call(struct lib *l, const char *identity, const struct cw_bridge_wait *wait, struct call **ret_call);
/* Undo: it was never posted. */
void lib_call_drop(struct call *c);
/* Control loop: arm its deadline (0: none). */
void lib_call_arm(struct call *c, unsigned timeout_ms, void (*late)(struct cw_timer *t));
/* Control loop: tell the outcome, once; frees it unless it flies. */
void lib_call_tell(struct call *c, int rc, int32_t code, const char *text);

/* open.c */
/* 1 on the loop's thread, as far as it is the library's own. */
int lib_on_loop(struct lib *l);

/* device.c: control loop */
extern const struct cw_owner_ops lib_owner_ops;
void lib_on_online(struct cw_mail *mail);
void lib_on_offline(struct cw_mail *mail);
struct owner *lib_owner_of(struct lib *l, const char *identity);
void lib_pending_drop(struct lib *l); /* the bridge is being closed: those who are not online yet never will be */
void lib_pending_go(struct lib *l);   /* or the upstreams are there at last */
void lib_owners_drop(struct lib *l);

/* lookup.c: the program's callback as the last source of identities, if it has one */
int lib_add_lookup(struct lib *l);
/* The program may still be thinking, but nobody waits any more. */
void lib_lookup_drop(struct lib *l);

/* up.c */
/* Post a record that is made here, without anybody who waits; on the control loop. */
int lib_report_progress(struct lib *l, const char *identity, const char *module, int step, const char *desc);
/* `text` as an encoded map: copied where it is one, converted where it is JSON. Owned by the caller (cw_free). */
int lib_params(struct cw_bytes text, uint8_t **ret_item, size_t *ret_len);

/* down.c: control loop */
int lib_on_command(void *owner, struct cw_device *d, uint64_t id, struct cw_bytes bytes, uint64_t deadline_ms);
void lib_on_cancel(void *owner, struct cw_device *d, uint64_t id);
void lib_on_reply(void *owner, struct cw_device *d, const char *request, int code, struct cw_bytes data);
int lib_on_broadcast(struct cw_bridge *b, const char *product_key, struct cw_bytes bytes);

/* settings.c: from a setup to lib->config */
int lib_settings(struct lib *l, const struct cw_bridge_setup *setup, struct cw_msg *msg);
/* The identities of the files, or an empty set. */
int lib_identities(struct lib *l, const struct cw_bridge_setup *setup, struct cw_identities **ret_set,
		   struct cw_msg *msg);

#endif
