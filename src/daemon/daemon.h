/*
 * daemon.h - the gateway as one process: what starts and stops in which order.
 *
 * start: configuration -> state directory (locked) -> plugins -> state -> certificates of
 * the bridges (the first start may have to wait for the platform: then the control socket
 * comes first) -> bridge with upstreams and identities -> workers -> listeners, connections -> control
 * socket -> ready.
 * stop: no new connections, nothing more is read -> lanes drain, devices are logged
 * out -> sessions close -> workers end. A second signal ends the process at once.
 */
#ifndef CW_DAEMON_DAEMON_H
#define CW_DAEMON_DAEMON_H

#include "bridge/bridge.h"
#include "daemon/bridges.h"
#include "daemon/config.h"
#include "loop/notify.h"
#include "fetch/fetch.h"
#include "gateway/gateway.h"
#include "provision/rules.h"
#include "store/state.h"

#define CW_WORKERS_MOST 64
#define CW_PROTOCOLS_MOST 32

struct cw_admin;
struct cw_watchdog;

/* An upstream that runs, and what it was made of. */
#define CW_MADE_MOST 64
struct cw_made {
	char name[128];
	const struct cw_config *config;
	const struct cw_config_upstream *from; /* in it */
	uint64_t print;                        /* of what is not in `from`: its bridge, and the contents of certificates */
};
struct cw_made_list {
	struct cw_made items[CW_MADE_MOST];
	size_t count;
};

/* Not the newest, but an upstream was made of it. */
struct cw_kept_config {
	struct cw_kept_config *next;
	struct cw_config *config;
	struct cw_conf_tree *tree;
};

struct cw_daemon {
	const char *config_file;
	const char *ready_file;
	struct cw_config *config; /* as read last */
	struct cw_config *started; /* as started with: what only a restart changes stays that */
	struct cw_conf_tree *tree, *started_tree;
	char state_dir[1024]; /* absolute or beside the configuration file */
	struct cw_worker *control;
	struct cw_worker *workers[CW_WORKERS_MOST];
	unsigned worker_count, worker_started;
	const struct cw_plugin_desc *protocols[CW_PROTOCOLS_MOST];
	size_t protocol_count;
	char plugin_dir[1024];
	char attach_dir[1100], poison_dir[1100];
	struct cw_isolation isolation; /* of plugin hosts */
	int lock_fd;
	struct cw_state *state;
	struct cw_fetch_pool *fetch; /* HTTP calls of the control loop */
	struct cw_firmware *firmware;
	struct cw_table_source *table; /* the sources of identities that others need, too; the resolver owns them */
	struct cw_rules *rules;
	struct cw_openapi_account account; /* of the rules */
	struct cw_bridges *bridges; /* their certificates */
	struct cw_bridge *bridge;   /* NULL while certificates are waited for */
	struct cw_gateway *gateway;
	struct cw_admin *admin;
	struct cw_watchdog *watchdog;
	struct cw_notify notify;
	uv_signal_t on_hup, on_term, on_int;
	int64_t started_ms;
	struct cw_made_list made;
	struct cw_kept_config *kept;
	int moving; /* devices are on their way between upstreams, after a reload */
	int signals_open, stopping, reloading;
	int reload_again; /* a SIGHUP came during a reload */
	int finish_waits; /* the stop waits for a reload's thread */
	unsigned barrier; /* pongs that are missing */
	void (*after_barrier)(struct cw_daemon *d);
};

/* Run until stopped; the process's exit status. */
int cw_daemon_run(const char *config_file, const char *ready_file);
/* Begin an orderly stop; safe twice. On the control loop. */
void cw_daemon_stop(struct cw_daemon *d);
/* The last step of a stop; reload.c calls it when its thread has ended. */
void cw_daemon_finish(struct cw_daemon *d);
/*
 * Read the files again on a thread of its own and apply the difference; `done` runs on the control loop with a
 * sentence. CW_EBUSY while one is under way.
 */
typedef void (*cw_reload_fn)(void *arg, int rc, const char *sentence);
int cw_daemon_reload(struct cw_daemon *d, cw_reload_fn done, void *arg);

/*
 * swap.c. The upstreams that `config` makes: reads their certificates, on any thread. Then, on the control loop, a plan of
 * what a reload changes: NULL where nothing does; `list` is then ready to be applied with it. `moving` until that is through.
 */
int cw_daemon_look_at_upstreams(struct cw_daemon *d, const struct cw_config *config, struct cw_made_list *list, struct cw_msg *msg);
struct cw_swap_result {
	size_t added, removed, changed, moved;
};
int cw_daemon_plan_upstreams(struct cw_daemon *d, const struct cw_config *config, struct cw_made_list *list,
                             struct cw_bridge_plan **ret_plan, struct cw_swap_result *ret_result, struct cw_msg *msg);
void cw_daemon_swap_upstreams(struct cw_daemon *d, struct cw_bridge_plan *plan, const struct cw_made_list *list, struct cw_swap_result *result);
/* Free the kept configurations that nothing is made of any more; all of them. */
void cw_daemon_sweep_configs(struct cw_daemon *d);
void cw_daemon_free_configs(struct cw_daemon *d);

/* start.c: pieces of the start; each reports by msg. The two readers run on any thread and log what deserves a look. */
int cw_daemon_read_config(const char *config_file, struct cw_config **ret_config, struct cw_conf_tree **ret_tree, struct cw_msg *msg);
int cw_daemon_read_identities(const char *config_file, const struct cw_config *config, struct cw_identities **ret_set,
                              struct cw_msg *msg);
int cw_daemon_open_state_dir(struct cw_daemon *d, struct cw_msg *msg);
struct cw_pending_limits cw_daemon_pending_limits(const struct cw_config *config);
int cw_daemon_load_protocols(struct cw_daemon *d, const struct cw_config *config, struct cw_msg *msg);
/* A protocol's settings for a listener or connection (`what`, `name`) of these own ones; *ret_bytes is owned (cw_free). */
int cw_daemon_encode(struct cw_daemon *d, const char *what, const char *name, const char *protocol, const struct cw_value *own,
                     uint8_t **ret_bytes, size_t *ret_len, struct cw_msg *msg);
void cw_daemon_listener(const struct cw_daemon *d, const struct cw_config_listener *from, struct cw_gateway_listener *l);
/* How long, in seconds, duplicates are to be remembered: the longest that a loaded protocol asks for. */
unsigned cw_daemon_dedup_window(const struct cw_daemon *d);
/* Call `fn` for each upstream that the configuration makes, one for each of its bridges; ends with the first error. */
int cw_daemon_each_upstream(struct cw_daemon *d, int (*fn)(struct cw_daemon *d, const struct cw_upstream_conf *conf, struct cw_msg *msg),
                            struct cw_msg *msg);
int cw_daemon_add_upstreams(struct cw_daemon *d, struct cw_msg *msg);
/* Once the upstreams are there. */
int cw_daemon_add_routes(struct cw_daemon *d, struct cw_msg *msg);
/* sources.c: make the sources of identity.order and give them to the bridge. */
int cw_daemon_add_sources(struct cw_daemon *d, struct cw_msg *msg);
/* The key file: as it is when absolute, else in `state_dir`. Into out[size]. */
const char *cw_daemon_key_file(const struct cw_config *config, const char *state_dir, char *out, size_t size);
/* Add, change and leave listeners as d->config says; those that are gone are closed by the caller. */
int cw_daemon_apply_listeners(struct cw_daemon *d, struct cw_msg *msg);
/* connections.c. Add, change and close connections as d->config says. */
int cw_daemon_apply_connections(struct cw_daemon *d, struct cw_msg *msg);
/* All but the settings; lent from `from`. */
void cw_daemon_connection(const struct cw_config_connection *from, struct cw_gateway_connection *c);
/* Warn when everybody can read a file with secrets. 1 when it warned. */
int cw_daemon_warn_file_mode(const char *path);
/* The sentences of everything that is wrong, to stderr; 0 when the configuration is fine. */
int cw_daemon_check(const char *config_file);

#endif
