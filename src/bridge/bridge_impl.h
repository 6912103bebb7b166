/* bridge_impl.h - what the files of this module share; nobody else includes it. */
#ifndef CW_BRIDGE_BRIDGE_IMPL_H
#define CW_BRIDGE_BRIDGE_IMPL_H

#include "bridge/bridge.h"
#include "identity/file.h"

#define UPSTREAMS_MOST 64
#define ROUTES_MOST 256
#define REPEATS_KEPT 8

/* One upstream and what is kept about it here. */
struct uplink {
	struct cw_upstream *u;
	struct cw_bridge *bridge;
	struct cw_list link; /* the bridge's retired */
	size_t devices;      /* that have a way over it */
	uint8_t up, fresh, waits; /* waits: connects once the one has gone that is logged in as the same */
	uint8_t stopping;
};

/* A device's way to the platform. It has two while it moves from one upstream to another (move.c). */
struct way {
	struct cw_device *device;
	struct uplink *uplink;
	struct cw_updevice *up;
};

struct cw_device {
	struct cw_map_node node;         /* by identity */
	struct cw_map_node name_node;    /* by product key, NUL, device name */
	struct cw_bridge *bridge;
	struct way ways[2];
	struct way *way;                 /* where its owner submits */
	struct way *parting;             /* the one before: logged in until it is drained; NULL: it does not move */
	struct cw_list move;             /* the bridge's moves */
	void *owner;                     /* NULL: no session */
	struct cw_list elders;           /* other connections that speak for it; owners.c */
	struct cw_timer linger;          /* then it goes offline: its owner has left and may come back */
	struct cw_list waiting;          /* struct cw_attach, oldest first */
	struct cw_list fetching, queued, running; /* struct command */
	uint64_t repeats[REPEATS_KEPT];  /* hashes of request ids seen lately */
	int64_t since_ms;
	uint64_t contest_start_ms;
	unsigned repeat_at, command_count, running_count, max_outstanding;
	unsigned contest, superseded;
	int last_code;
	char *last_text;                 /* owned, may be NULL */
	char *settings;                  /* owned copy of the entry's settings */
	size_t settings_len;
	uint8_t state;                   /* enum cw_updevice_state */
	uint8_t leaving;                 /* leave() was called, left has not come */
	uint8_t removing;                /* goes away when its owner has left and the upstream says removed */
	uint8_t stale;                   /* certificate has changed: made anew once the old one is removed */
	uint8_t asked;                   /* parting: the owner has yet to say that it submits to the new way */
	uint8_t draining, drained, parted; /* parting: steps of it */
	uint8_t own_secret;              /* the secret is the device's own: the sources' does not count */
	uint8_t forget_relation;         /* the entry has gone: removed from the bridge's topology too */
	const char *identity, *product_key, *device_name, *secret;
	char text[];
};

struct route {
	char product_key[32], device_name[68], identity[132]; /* empty: any */
	const char *group;                                    /* of the upstream's configuration */
};

struct routing {
	struct uplink *uplinks[UPSTREAMS_MOST];
	size_t uplink_count;
	struct route routes[ROUTES_MOST];
	size_t route_count;
};

struct cw_bridge {
	struct cw_bridge_conf conf;
	struct cw_resolver *resolver;
	struct cw_file_source *devices_file;
	int devices_added;           /* the resolver has devices_file and frees it */
	struct cw_list rechecks;     /* struct recheck under way */
	struct cw_list reverses;     /* struct reverse under way: downlinks that wait for an identity */
	size_t recheck_count, reverse_count;
	struct cw_list recheck_sets; /* struct recheck_set */
	int going_on;                /* lookup.c is handing out rechecks */
	struct cw_map devices, by_name, commands;
	struct routing routing;
	struct cw_list retired;      /* struct uplink: no route leads there any more */
	struct cw_list moves;        /* struct cw_device under way from one upstream to another */
	struct cw_timer move_timer;  /* then nothing is waited for any more */
	int applying, move_late, stop_waits;
	uint64_t stop_drain_ms;
	void (*applied)(void *arg);
	void *applied_arg;
	size_t stopping;
	uint64_t next_command;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

/* devices.c */
void cw_devices_on_state(void *ctx, void *cookie, enum cw_updevice_state state, int code, const char *text);
void cw_devices_on_removed(void *ctx, void *cookie);
void cw_devices_on_reply(void *ctx, void *cookie, const char *request, int code, struct cw_bytes data);
struct cw_device *cw_devices_find_name(struct cw_bridge *b, const char *product_key, const char *device_name);
void cw_devices_fini(struct cw_bridge *b);
/* Ask for its removal; cw_devices_on_removed() follows. */
void cw_devices_remove(struct cw_device *d);
/* The entry is gone or another: 1 when somebody is disconnected for it. */
int cw_devices_let_go(struct cw_device *d, enum cw_leave why);
/* An entry has gone whose device was never attached: delete the relation that an earlier process made. */
void cw_devices_forget(struct cw_bridge *b, const struct cw_identity *id);
/* Does the device have this certificate and these settings? */
int cw_device_is(const struct cw_device *d, const struct cw_identity *id, const char *own_secret);
struct uplink *cw_bridge_route(const struct cw_bridge *b, const struct cw_device *d);
/* The device becomes known there; it may be held (cw_upstream_device_add_held()). */
int cw_devices_open_way(struct cw_device *d, struct way *w, struct uplink *to, int held);
/* What the platform says of the device is another state now: counted, logged, the owner told. */
void cw_devices_set_state(struct cw_device *d, enum cw_updevice_state state, int code, const char *text);

/* move.c */
/* Every device goes where the routes lead now; how many move. cw_bridge_apply() in its second half. */
size_t cw_move_all(struct cw_bridge *b, uint64_t drain_ms);
void cw_move_hurry(struct cw_bridge *b);        /* nothing is waited for any more */
void cw_devices_on_drained(void *ctx, void *cookie);
void cw_move_owner_gone(struct cw_device *d);   /* it has left, or it never had the device */
void cw_move_command_ended(struct cw_device *d);
void cw_move_removed(struct cw_device *d);      /* the way it parted from is no more */
void cw_move_look(struct cw_bridge *b);         /* a way has gone: go on with what waits for that */
void cw_uplink_free(struct uplink *x);
/* bridge.c */
void cw_bridge_stop_now(struct cw_bridge *b);
/* command.c, lookup.c: end what came over this upstream, which goes. */
void cw_command_upstream_gone(struct cw_bridge *b, const struct cw_upstream *u);
void cw_lookup_upstream_gone(struct cw_bridge *b, const struct cw_upstream *u);
/* command.c: the platform's side of the device's commands goes; the owner is told. */
void cw_command_device_parts(struct cw_device *d);

/* A downlink on its way; see command.c. */
struct command {
	struct cw_map_node node; /* by id */
	struct cw_list link;     /* device's fetching, queued or running */
	struct cw_timer deadline;
	struct cw_device *device;
	void *owner;         /* running: who has it */
	struct cw_downlink *down;
	uint64_t id;
	uint64_t due_ms; /* loop time */
	uint8_t running;
	struct cw_firmware_wish wish; /* of an upgrade */
	struct cw_firmware_file *file;
};

/* owners.c */
int cw_owners_push(struct cw_device *d);                /* the owner becomes an elder; CW_ENOMEM */
int cw_owners_drop(struct cw_device *d, void *owner);   /* 1: it was an elder */
int cw_owners_promote(struct cw_device *d);             /* the youngest elder becomes the owner; 0: there is none */
int cw_owners_has(const struct cw_device *d, const void *owner);
int cw_owners_asked(const struct cw_device *d);         /* some have yet to say that they submit to the new way */
void cw_owners_moved(struct cw_device *d, void *owner); /* this one has */
/* To the owner and every elder. */
void cw_owners_leave(struct cw_device *d, enum cw_leave why);
void cw_owners_state(struct cw_device *d, enum cw_updevice_state state, int code);
void cw_owners_reply(struct cw_device *d, const char *request, int code, struct cw_bytes data);
void cw_owners_tell_moved(struct cw_device *d);

/* upgrade.c */
int cw_upgrade_begin(struct command *c); /* 0: fetching; cw_command_queue() follows, or its end */
void cw_upgrade_drop(struct command *c); /* download and file; safe for any command */

/* command.c */
struct command *cw_command_find(struct cw_bridge *b, uint64_t id);
void cw_command_queue(struct command *c);         /* in its turn, with its deadline from now on */
void cw_command_end(struct command *c, int code); /* without a reply */
void cw_command_for(struct cw_bridge *b, struct cw_device *d, struct cw_downlink *down);
/* lookup.c */
void cw_lookup_init(struct cw_bridge *b);
void cw_lookup_fini(struct cw_bridge *b);
/* The device of a downlink is not in the directory under its names: ask the sources who it is. Takes `down`. */
void cw_lookup_downlink(struct cw_bridge *b, struct cw_downlink *down);

void cw_command_on_downlink(void *ctx, struct cw_downlink *down);
void cw_command_device_idle(struct cw_device *d);  /* hand out what waits */
void cw_command_device_left(struct cw_device *d);  /* end what waits and runs as offline */
void cw_command_owner_left(struct cw_device *d, const void *owner); /* what that one has; the device has others */

#endif
