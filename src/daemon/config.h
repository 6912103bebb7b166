/*
 * config.h - the gateway's own settings: tables, checks, and the struct the daemon starts from.
 *
 * One table says it all: parsing, `causeway config check`, the reference and the
 * example in conf/ come from it. The keys of the Java libraries' application.conf
 * stand in the same table and mean what they mean there.
 */
#ifndef CW_DAEMON_CONFIG_H
#define CW_DAEMON_CONFIG_H

#include "bridge/bridge.h"
#include "causeway/plugin.h"
#include "conf/schema.h"

enum { CW_CONFIG_TCP, CW_CONFIG_UDP, CW_CONFIG_TLS };

struct cw_bridges;

struct cw_config_tls {
	const char *ca, *certificate, *key, *client_ca, *key_store, *key_password;
	const char *server_name; /* of connections */
	bool verify;
	int min_version;
	int client_verify;
};

struct cw_config_limits {
	uint32_t connections, connections_per_source, accept_rate;
	uint64_t bytes_per_connection, max_noise;
	int64_t identify_ms, idle_ms;
};

struct cw_config_listener {
	struct cw_origin origin;
	const char *name, *protocol, *address;
	int transport, ack, unknown;
	int backlog;
	bool require_online;
	struct cw_conf_strings proxy_from, allow, deny;
	const struct cw_value *settings;
	struct cw_config_limits limits;
	struct cw_config_tls tls;
};

struct cw_config_serial {
	uint32_t baud, stop_bits, data_bits;
	int parity;
	bool rs485, rts_on_send;
	int64_t before_ms, after_ms;
};

/* One that the gateway opens. */
struct cw_config_connection {
	struct cw_origin origin;
	const char *name, *protocol, *to, *identity;
	int ack, unknown;
	bool require_online;
	int64_t connect_ms, retry_min_ms, retry_max_ms;
	int64_t keep_alive_ms, keep_interval_ms;
	uint32_t keep_probes;
	const struct cw_value *settings;
	struct cw_config_limits limits; /* without those of accepting */
	struct cw_config_serial serial;
	struct cw_config_tls tls;
};

/* A bridge certificate, or what it takes to obtain one; a part that is absent is NULL. */
struct cw_config_bridge {
	const char *product_key, *device_name, *device_secret;
	const char *product_secret;
	const char *interface; /* with popClientProfile: whose MAC address names the device */
};

/* How a bridge gets its certificate. */
enum cw_config_way {
	CW_WAY_NONE,     /* no part is given: a client certificate of TLS may stand for it */
	CW_WAY_GIVEN,
	CW_WAY_REGISTER, /* with the product's secret */
	CW_WAY_PROFILE   /* popClientProfile */
};

struct cw_config_profile {
	const char *access_key, *access_secret, *name, *region, *product, *endpoint, *interface;
};

enum { CW_CONFIG_REGISTER, CW_CONFIG_REGNWL };
enum { CW_CONFIG_VIA_AUTO, CW_CONFIG_VIA_HTTPS, CW_CONFIG_VIA_MQTT };
struct cw_config_registration {
	int type, via;
	const char *endpoint, *region, *instance_id;
};

struct cw_config_upstream {
	struct cw_origin origin;
	const char *name, *endpoint, *region;
	int type; /* number in kinds.h */
	const void *own; /* the kind's settings */
	int confirm;
	bool large;
	int64_t ack_timeout_ms, retry_min_ms, retry_max_ms;
	uint64_t queue_bytes, queue_bytes_device;
	uint32_t rate_bridge;
	struct cw_conf_list bridges; /* none: the top-level certificate */
	struct cw_config_tls tls;
};

struct cw_config_route {
	struct cw_origin origin;
	const char *product_key, *device_name, *identity, *upstream;
};

struct cw_config_product {
	const char *name; /* its productKey */
	const struct cw_value *settings;
};

struct cw_config {
	/* the bridge */
	struct cw_config_bridge bridge; /* of upstreams without `bridges` */
	struct cw_config_profile profile;
	struct cw_config_registration registration;
	const struct cw_bridges *obtained; /* no setting: certificates that are not in the file (bridges.h), by whoever has them; may be NULL */
	const char *http2_endpoint, *auth_endpoint;
	int sub_device_connect_mode;
	const struct cw_value *socket_server; /* its listeners stand among `listeners` */
	/* ours */
	const char *ca, *state_dir, *plugin_dir, *control;
	uint32_t workers;
	int64_t stop_timeout_ms, decoder_timeout_ms;
	struct cw_conf_list listeners, connections, upstreams, routes, products;
	const struct cw_value *protocols;
	struct {
		const char *devices, *key_file;
		struct cw_conf_list rules; /* of struct cw_rule */
		int64_t rule_retry_min_ms, rule_retry_max_ms;
		struct cw_conf_strings order; /* empty: all, in the order of the documentation */
		int64_t contest_window_ms;
		bool remove_topology;
		struct {
			const char *url, *token;
			int64_t timeout_ms, keep_ms, keep_unknown_ms, stale_ms;
			struct cw_config_tls tls;
		} http;
		struct {
			const char *db, *key_file; /* or */
			const char *url, *token;
			int64_t timeout_ms, keep_ms, keep_unknown_ms, stale_ms;
			struct cw_config_tls tls;
		} factory;
	} identity;
	struct {
		uint32_t queue;
		int64_t timeout_ms;
	} commands;
	struct {
		struct cw_conf_strings protocols; /* `*`: all */
		uint64_t memory;
		int64_t timeout_ms, window_ms, retry_ms;
		uint32_t crashes, poison_files;
		int sandbox;
	} isolation;
	struct {
		const char *directory;
		uint64_t max_bytes;
	} attachments;
	struct {
		uint32_t frames;
		uint64_t bytes_each, bytes;
		int64_t time_ms;
	} pending;
	struct {
		const char *directory;
		uint64_t max_bytes, keep_bytes;
		uint32_t attempts;
		int64_t retry_ms, stall_ms;
	} firmware;
	struct {
		int format, level;
	} log;
};

extern const struct cw_conf_table cw_config_table;
/* The same rows for libcauseway: what concerns listeners may be absent. */
extern const struct cw_conf_table cw_config_bridge_table;

/* The names of identity.order, in their own order; ends with NULL. */
extern const char *const cw_config_sources[];
/* Name i of the order in force, NULL behind the last. A source that is not configured is left out by whoever makes it. */
const char *cw_config_source(const struct cw_config *config, size_t i);
/* Is it in the order? */
int cw_config_has_source(const struct cw_config *config, const char *name);

/* The protocol of a socketServer that names none (--protocol); lent for good. Before the first load. */
void cw_config_set_protocol(const char *name);
/*
 * Read and check FILE without doing anything. *ret_config is owned: cw_conf_free(). Complaints go to
 * report; CW_ECONF when there are errors, with the first in msg.
 */
int cw_config_load(const char *path, struct cw_config **ret_config, struct cw_conf_tree **ret_tree, struct cw_conf_report *report,
                   struct cw_msg *msg);
/*
 * How this bridge gets its certificate; *ret_missing (NULL: nothing) names the key without which its identity is only half given.
 * A given device counts before a productSecret, and that before popClientProfile.
 */
enum cw_config_way cw_config_way(const struct cw_config *c, const struct cw_config_bridge *b, const char **ret_missing);
/* Number `i` of an upstream's bridges, or the gateway's own. */
const struct cw_config_bridge *cw_config_bridge_of(const struct cw_config *c, const struct cw_config_upstream *u, size_t i);
/* Put where a listener, connection or upstream was written before the message of a failure. Returns rc. */
int cw_config_placed(const struct cw_origin *at, int rc, struct cw_msg *msg);
/*
 * Call `fn` for each upstream that the configuration makes, one for each of its bridges; ends with the first error.
 * `state_dir` may be NULL; `dedup_window_s` is the longest that a protocol asks for.
 */
typedef int (*cw_config_upstream_fn)(void *ctx, const struct cw_upstream_conf *conf, struct cw_msg *msg);
int cw_config_each_upstream(const struct cw_config *c, const char *state_dir, unsigned dedup_window_s, cw_config_upstream_fn fn,
                            void *ctx, struct cw_msg *msg);
/* After its upstreams were added: to the bridge, or to a plan of it. */
int cw_config_add_routes(const struct cw_config *c, struct cw_bridge *bridge, struct cw_msg *msg);
int cw_config_plan_routes(const struct cw_config *c, struct cw_bridge_plan *plan, struct cw_msg *msg);
/* Are they set up the same? Texts of files (`file:`) count, contents of certificates do not. */
int cw_config_same_upstream(const struct cw_config_upstream *a, const struct cw_config_upstream *b);
int cw_config_same_routes(const struct cw_config *a, const struct cw_config *b);
/* A file named in the configuration: as it is when absolute, else beside the configuration file. Into out[size]. */
const char *cw_config_path(const char *config_file, const char *name, char *out, size_t size);

/*
 * Encode a protocol's settings (an encoded map with every field) from what the configuration says:
 * protocols.<name>, then the settings of the listener or connection, the product's, and those of a device (JSON text); later ones win.
 * *ret_bytes is owned (cw_free).
 */
int cw_config_settings(const struct cw_plugin_desc *protocol, const struct cw_config *config, const struct cw_value *listener,
                       const struct cw_value *product, struct cw_bytes device, uint8_t **ret_bytes, size_t *ret_len, struct cw_conf_report *report);

#endif
