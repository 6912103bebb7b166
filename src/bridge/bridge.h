/*
 * bridge.h - the platform's side as one thing: devices, routes, upstreams, commands.
 *
 * Lives on the control loop; every call and callback below runs there. A device has
 * an owner, an opaque pointer of whoever is the way to it (the gateway's session, or
 * a user of libcauseway). The bridge knows no socket and no decoder.
 */
#ifndef CW_BRIDGE_BRIDGE_H
#define CW_BRIDGE_BRIDGE_H

#include "base/err.h"
#include "base/list.h"
#include "firmware/firmware.h"
#include "identity/identity.h"
#include "identity/resolver.h"
#include "causeway/bytes.h"
#include "loop/worker.h"
#include "upstream/upstream.h"

struct cw_bridge;
struct cw_device; /* a device that has been attached since the start */

/* Why an owner has to let a device go. */
enum cw_leave { CW_LEAVE_SUPERSEDED, CW_LEAVE_REMOVED, CW_LEAVE_CHANGED, CW_LEAVE_KICKED };

/* What a newer connection does to an older one that is the way to the same device. */
enum cw_sharing {
	CW_ATTACH_SUPERSEDE, /* it takes the device */
	CW_ATTACH_YIELD,     /* it is refused (CW_REFUSED_OLDER) */
	CW_ATTACH_SHARE      /* both are listened to; commands go to the newer */
};

struct cw_owner_ops {
	/* Let go; cw_bridge_left() must follow, after the owner's last record was submitted. */
	void (*leave)(void *owner, struct cw_device *d, enum cw_leave why);
	void (*state)(void *owner, struct cw_device *d, enum cw_updevice_state state, int code);
	/* A command; cw_bridge_command_done(id) or a deadline ends it. 0, or an error that ends it at once. `bytes` is lent. */
	int (*command)(void *owner, struct cw_device *d, uint64_t id, struct cw_bytes bytes, uint64_t deadline_ms);
	/* The command has ended without the owner. */
	void (*cancel)(void *owner, struct cw_device *d, uint64_t id);
	/*
	 * What cw_bridge_command_block() asked for: bytes of the file (lent; fewer at its end), or rc. May be NULL without
	 * firmware in the configuration.
	 */
	void (*block)(void *owner, struct cw_device *d, uint64_t id, uint64_t offset, int rc, struct cw_bytes bytes);
	/* The platform's reply to a record with a request id. */
	void (*reply)(void *owner, struct cw_device *d, const char *request, int code, struct cw_bytes data);
	/*
	 * cw_device_updevice() is another one from now on: what the owner still holds goes there; cw_bridge_moved() must
	 * follow when nothing is on its way to the one before. May be NULL where cw_bridge_apply() is not used.
	 */
	void (*moved)(void *owner, struct cw_device *d);
	/* May be NULL. The platform has logged out, or lost, a device that nobody owns. */
	void (*logged_out)(struct cw_bridge *b, struct cw_device *d);
	/*
	 * May be NULL: command() is called with number 0 for each device that is here, and nobody waits. A command record
	 * that is for all devices of a product; 0 or an error. `bytes` is lent.
	 */
	int (*broadcast)(struct cw_bridge *b, const char *product_key, struct cw_bytes bytes);
	/*
	 * May be NULL. A source may have an entry of this identity now that it had not, or had as another: who waits
	 * for the device may attach it. Also said of some whose entry has gone.
	 */
	void (*appeared)(struct cw_bridge *b, const char *identity);
	/* May be NULL. An upstream is logged in, or lost, with a sentence. */
	void (*upstream)(struct cw_bridge *b, const struct cw_upstream *u, int up, const char *reason);
};

/*
 * Ask for a device. Zero-initialise, fill the first block, keep it alive until `done` has run or
 * cw_bridge_attach_cancel() was called. `done` may run before cw_bridge_attach() returns.
 */
struct cw_attach {
	const char *identity;
	size_t identity_len;
	const char *device_secret, *imei, *mac; /* see struct cw_claim; lent until cw_bridge_attach() has returned; may be NULL */
	void *owner;
	unsigned max_outstanding; /* commands the owner takes at once */
	enum cw_sharing sharing;  /* when the device has an owner already */
	int optional;             /* that no source knows it is normal: counted apart */
	int require_online;       /* done only when the platform accepted the login (or refused it) */
	void (*done)(struct cw_attach *a, struct cw_device *d, int refused); /* refused: 0 or CW_REFUSED_* */
	/* the bridge's */
	struct cw_question question;
	struct cw_list link;
	struct cw_timer delay;
	struct cw_device *device;
	struct cw_bridge *bridge;
	char *own_secret; /* copy of the claim's; owned */
};

struct cw_bridge_conf {
	struct cw_worker *control;
	const struct cw_owner_ops *owner_ops;
	struct cw_firmware *firmware; /* fetches the files of upgrades; NULL: notices go to the owner as they come. Lent */
	unsigned command_queue;      /* commands that may wait per device, 16 */
	unsigned command_timeout_ms; /* 30000 */
	unsigned sync_timeout_ms;    /* services the platform waits for: 8000 less a margin */
	unsigned contest_window_ms;  /* supersedes within this time count as a contest */
	int remove_topology;         /* a device whose entry has gone also loses its relation to the bridge at the platform */
	void *ctx;                   /* the owner's; cw_bridge_ctx() */
};

int cw_bridge_new(const struct cw_bridge_conf *conf, struct cw_bridge **ret_bridge);
/* For an owner that is made after its bridge. */
void cw_bridge_set_ctx(struct cw_bridge *b, void *ctx);
/* What the configuration had as `ctx`. Any thread. */
void *cw_bridge_ctx(const struct cw_bridge *b);
/* Nothing may be attached any more and all upstreams must be stopped. */
void cw_bridge_free(struct cw_bridge *b);

/* Upstreams and routes, before anything is attached. The bridge owns and frees upstreams added here. */
int cw_bridge_add_upstream(struct cw_bridge *b, const struct cw_upstream_conf *conf, struct cw_msg *msg);
/*
 * Which devices take which upstream; the first route that fits. Each part is NULL (any) or must fit: the product key
 * exactly, the others as a pattern with * and ? (fnmatch). `upstream` names a group; of its members each device takes
 * one by a stable hash of its names, so that adding one moves only its share.
 */
struct cw_route {
	const char *product_key, *device_name, *identity;
	const char *upstream;
};
int cw_bridge_add_route(struct cw_bridge *b, const struct cw_route *route, struct cw_msg *msg);
int cw_bridge_connect(struct cw_bridge *b);
/*
 * Other upstreams and routes while it runs. The plan names all upstreams there shall be: those that stay as they are, and
 * those that are made (anew, where there is one of that name already); then the routes. Nothing changes before
 * cw_bridge_apply(). CW_EBUSY while one is being applied.
 */
struct cw_bridge_plan;
int cw_bridge_plan_new(struct cw_bridge *b, struct cw_bridge_plan **ret_plan);
int cw_bridge_plan_keep(struct cw_bridge_plan *p, const char *name, struct cw_msg *msg);
int cw_bridge_plan_upstream(struct cw_bridge_plan *p, const struct cw_upstream_conf *conf, struct cw_msg *msg);
int cw_bridge_plan_route(struct cw_bridge_plan *p, const struct cw_route *route, struct cw_msg *msg);
/* Number `n` of those that are made, or NULL: every worker that submits must watch it before the plan is applied. */
struct cw_upstream *cw_bridge_plan_fresh(struct cw_bridge_plan *p, size_t n);
void cw_bridge_plan_free(struct cw_bridge_plan *p);
/*
 * Devices whose way leads elsewhere now move: the upstream before delivers what it has, for up to `drain_ms`, and their
 * commands end; what is left then is carried over, in order; they are logged out there and logged in here. Then upstreams
 * that are not in the plan are stopped and freed. Consumes the plan; `done` runs when all that is through, perhaps before
 * this returns. How many devices move.
 */
size_t cw_bridge_apply(struct cw_bridge_plan *p, uint64_t drain_ms, void (*done)(void *arg), void *arg);
/* The owner's word, see struct cw_owner_ops. */
void cw_bridge_moved(struct cw_bridge *b, struct cw_device *d, void *owner);
/* Stop all upstreams; `done` runs when the last has ended. */
void cw_bridge_stop(struct cw_bridge *b, uint64_t drain_ms, void (*done)(void *arg), void *arg);
/* 1 when every upstream is logged in. */
int cw_bridge_up(struct cw_bridge *b);
/* Those that routes may lead to. Every worker that submits watches each of them (cw_upstream_watch()). */
size_t cw_bridge_upstream_count(const struct cw_bridge *b);
struct cw_upstream *cw_bridge_upstream(struct cw_bridge *b, size_t i);

/*
 * The sources of identities; whoever fills them does so before anything is attached. The file's is the bridge's own:
 * its place in the order is where cw_bridge_add_devices() is called, or behind all others at the first swap.
 */
struct cw_resolver *cw_bridge_resolver(struct cw_bridge *b);
int cw_bridge_add_devices(struct cw_bridge *b);
/*
 * The entries of the file; swapping takes ownership and lets go devices whose entry is gone or changed, unless another
 * source has the same.
 */
const struct cw_identities *cw_bridge_identities(const struct cw_bridge *b);
struct cw_reload_result {
	size_t added, removed, changed, unchanged, skipped, disconnected;
};
void cw_bridge_swap_identities(struct cw_bridge *b, struct cw_identities *fresh, struct cw_reload_result *ret_result);
/*
 * What a source says of these identities may have changed: ask again, a few hundred at a time, and let the devices go that
 * are gone or changed. The set has them as they are or were in that source; it is taken over and freed.
 */
void cw_bridge_recheck_set(struct cw_bridge *b, struct cw_identities *set);

/* Devices. */
void cw_bridge_attach(struct cw_bridge *b, struct cw_attach *a);
void cw_bridge_attach_cancel(struct cw_attach *a);
/* The owner is no longer the way to the device. */
void cw_bridge_left(struct cw_bridge *b, struct cw_device *d, void *owner);
/* The same, but it is expected back: it stays online for `linger_ms`, unless it had to let go. Without another owner by then it goes offline. */
void cw_bridge_left_for(struct cw_bridge *b, struct cw_device *d, void *owner, uint64_t linger_ms);
/* Ask the owner to let go (operator's kick). CW_ENOENT when it has no session. */
int cw_bridge_kick(struct cw_bridge *b, const char *identity);
/* End a command that was handed to an owner. Unknown ids (ended before) are ignored. */
void cw_bridge_command_done(struct cw_bridge *b, uint64_t id, int code, struct cw_bytes reply);
/* What a command that has not ended is (CW_KIND_*); 0: it has ended. */
uint32_t cw_bridge_command_kind(struct cw_bridge *b, uint64_t id);
/* The code with which a command ends that was refused with error `rc`. Any thread. */
int cw_bridge_refusal_code(int rc);
/* Read from the file of an upgrade that was handed to an owner; owner_ops->block follows, now or later. */
void cw_bridge_command_block(struct cw_bridge *b, uint64_t id, uint64_t offset, size_t length);
void cw_bridge_command_extend(struct cw_bridge *b, uint64_t id, uint64_t delay_ms);

/* Looking at devices, for status. */
struct cw_device *cw_bridge_find(struct cw_bridge *b, const char *identity, size_t len);
struct cw_device *cw_bridge_next(struct cw_bridge *b, struct cw_device *prev);
const char *cw_device_identity(const struct cw_device *d);
const char *cw_device_product_key(const struct cw_device *d);
const char *cw_device_name(const struct cw_device *d);
struct cw_updevice *cw_device_updevice(const struct cw_device *d);
const struct cw_upstream *cw_device_upstream(const struct cw_device *d);
void *cw_device_owner(const struct cw_device *d);
int cw_device_leaves(const struct cw_device *d); /* its owner has to let go, or its certificate goes */
enum cw_updevice_state cw_device_state(const struct cw_device *d);
int64_t cw_device_since_ms(const struct cw_device *d);     /* UTC of the last change of state */
int cw_device_last_code(const struct cw_device *d);        /* the platform's last refusal, 0: none */
const char *cw_device_last_text(const struct cw_device *d);
unsigned cw_device_commands(const struct cw_device *d);    /* waiting or running */
unsigned cw_device_superseded(const struct cw_device *d);
unsigned cw_device_connections(const struct cw_device *d); /* that speak for it */
struct cw_bytes cw_device_settings(const struct cw_device *d);

#endif
