/*
 * cloud.h - the core of the emulator: what the platform knows and what it allows, for every channel.
 *
 * The cast. The *stock* holds products and devices. A *link* is one client connection of some
 * channel; a front (mqtt/, http2/ and so on) owns it, authenticates its client and hands
 * up what arrives. A device is online while it has a link: its own, or as a *member* the one of
 * its gateway. Rules of the platform (who may log in, publish where, how often, what is
 * answered) live here once, and a front only knows bytes.
 *
 * A normal run: the front parses a CONNECT and asks cw_cloud_link_up(); a publish goes to
 * cw_cloud_publish(), which checks owner, session, limits and topic, notes it in the message
 * log, and lets alink.c answer; answers and commands go through cw_cloud_send(), which finds the
 * link and calls its push(). When the connection ends the front calls cw_cloud_link_down(), which takes
 * every member offline.
 *
 * A *bridge* (HTTP/2) is a link too, of an identity rather than of a connection: it rests while none is up, and the devices of
 * a large one stay online meanwhile.
 *
 * Channels without a standing connection (HTTPS, CoAP) have a link with `uplink_only` for the time of one request:
 * the platform's reply to it comes back through push() before cw_cloud_publish() returns, and nothing else does;
 * cw_cloud_visit() says how long the device counts as online for it.
 *
 * One thread, one loop. All pointers are owned by the core unless a comment says otherwise. Time is the
 * platform's: cw_cloud_wall_ms() and cw_cloud_now_ms(), which the API can put forward. Whoever changes what must survive a
 * restart says so with cw_cloud_changed() or cw_cloud_product_changed().
 */
#ifndef CW_CLOUD_CLOUD_H
#define CW_CLOUD_CLOUD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "cloud/core/traffic/topic.h"
#include "loop/worker.h"

#define CLOUD_BATCH_MAX    5u    /* sub-devices in one batch login */
#define CLOUD_TOPO_MAX     30u   /* sub-devices in one topology request */
#define CLOUD_STORED_MAX   1000u /* QoS 1 messages kept for one absent device */
#define CLOUD_RATE_SLOTS   16u   /* largest value of a per-minute limit */
#define CLOUD_REFUSALS     16u   /* refused attempts remembered for one device */

enum cloud_node { CLOUD_NODE_DEVICE, CLOUD_NODE_GATEWAY, CLOUD_NODE_SUBDEVICE };

/* A topic class of a product: levels behind pk and dn. */
struct cloud_class {
	struct cw_list link;
	int publish, subscribe;
	int standard; /* every product has it */
	char pattern[];
};

struct cloud_model;
struct cloud_remote_config;
struct cloud_script;

struct cloud_product {
	struct cw_map_node node; /* by key */
	struct cw_cloud *cloud;
	char *key, *secret, *name;
	enum cloud_node type;
	int raw;              /* payloads are bytes, not Alink JSON */
	int x509;             /* devices log in with certificates, not with secrets */
	int registration;     /* sub-devices and devices may fetch their secret */
	struct cw_list classes;
	unsigned class_count; /* beside those every product has */
	unsigned device_count;
	json_t *tsl; /* or NULL; cw_cloud_tsl_set() */
	struct cloud_model *model; /* the same compiled, or NULL */
	struct cloud_script *script; /* or NULL; cw_cloud_script_set() */
	uint64_t broadcast_next_ms, broadcast_all_next_ms; /* no earlier; cw_cloud_now_ms() */
	struct cloud_remote_config *config; /* or NULL; remote_config.h */
	int64_t created_ms;
	struct cw_list changed; /* in cw_cloud.changed_products while its state is newer than the file's */
};

/* Times of the last attempts, for limits per minute. */
struct cloud_rate {
	uint64_t at_ms[CLOUD_RATE_SLOTS];
	unsigned next;
};

/* What happened in one second, for limits of the whole account. */
struct cloud_window {
	uint64_t second;
	unsigned count;
};

struct cloud_msg;
struct cloud_link;
struct cloud_cert;    /* x509.h */
struct cloud_clients; /* clients.h */
struct cloud_violations; /* violations.h */
struct cloud_device_log;

/* What is kept of a device's reports, as the API names it. */
#define CLOUD_DOCS(X)                                                                                         \
	X(REPORTED, reported) /* identifier to {value, time} */                                               \
	X(DESIRED, desired)   /* identifier to {value, version, time} */                                      \
	X(EVENTS, events)     /* identifier to the last one, {value, time} */                                 \
	X(TAGS, tags)         /* key to value */                                                              \
	X(MODULES, modules)   /* firmware module to version */                                                \
	X(CALLS, calls)       /* a list: the last orders with their answers, newest last; down.c */           \
	X(EVENT_LOG, eventLog) /* a list: the last events, newest last */                                     \
	X(FOUND, found)       /* a gateway's discoveries: "pk/dn" to {time} */                            \
	X(SHADOW, shadow)     /* {state, metadata, version, timestamp}: shadow.h */                           \
	X(JOBS, jobs)         /* id to {status, jobDocument, ..}: job.h */
enum cloud_doc {
#define CLOUD_DOC_ENUM(sym, name) CLOUD_DOC_##sym,
	CLOUD_DOCS(CLOUD_DOC_ENUM)
#undef CLOUD_DOC_ENUM
	CLOUD_DOC_COUNT
};

struct cloud_sub {
	char *filter;
	uint64_t from_ms; /* loop time it takes effect at */
};

struct cloud_device {
	struct cw_map_node node; /* by "pk/dn" */
	struct cw_list all;
	struct cloud_product *product;
	char *id;       /* "pk/dn" */
	const char *dn; /* behind the slash of id */
	char *secret;
	struct cw_map_node iot_node; /* by iot_id */
	char iot_id[32];             /* 30 letters and digits, made with the device: names it everywhere */
	unsigned serial; /* tells a device from its namesake created after its deletion */
	int disabled;
	struct cw_list changed; /* in cw_cloud.changed_devices while its state is newer than the file's */
	char *nickname;         /* or NULL */
	int64_t created_ms, active_ms, online_ms, offline_ms; /* wall clock, 0: never */

	struct cloud_cert *cert;       /* of an X.509 product, once it was needed */
	struct cloud_clients *clients; /* registered without pre-registration, or NULL */
	struct cloud_device *name_of;  /* this is a further client's session of that device; NULL: a device. See clients.h */

	/* topology */
	struct cloud_device *gateway;
	struct cw_list children, sibling;
	unsigned child_count;
	int bridge_mode; /* subDeviceConnectMode it asked for as a bridge, CLOUD_BRIDGE_LARGE or another; 0: none */
	int bridged;     /* online through its gateway, a large bridge: so it stays over a restart */

	/* session */
	struct cloud_link *link;  /* the way to it now, NULL: offline */
	struct cw_list member;    /* in link->members when it is a gateway's sub-device */
	char *client_id;          /* of the present or last session */
	uint64_t half_until_ms;   /* cut without a goodbye: till then it counts as half connected; cw_cloud_now_ms() */
	int ss;                   /* system topics need no SUBSCRIBE */
	int ext;                  /* bit 0: custom RRPC */
	int persistent;           /* clean session 0: state below outlives the session */
	int64_t visit_until_ms;   /* online till then by a channel without connections; wall clock */
	const char *visit_channel;
	int64_t pull_until_ms;    /* till then it may fetch QoS 1 messages, which are kept without a subscription; wall clock */
	struct cloud_sub *subs;
	unsigned sub_count, sub_room;
	struct cw_list stored; /* struct cloud_stored */
	int stored_gone;       /* the state file still has messages that were sent or dropped */
	unsigned stored_count;

	struct cw_list tokens; /* struct cloud_token, tokens.h */
	unsigned token_count;

	/* limits */
	struct cloud_rate connects, logins;
	uint64_t window_s; /* second that the counts below belong to */
	unsigned window_qos[2];
	unsigned window_down;
	uint64_t error520_s; /* last second a 520 was sent about it */

	struct cw_list ota_tasks; /* struct cloud_task, newest first */
	struct cw_list ota_due;   /* in cloud_ota.due while a push is due at ota_due_ms */
	uint64_t ota_due_ms;

	/* what it reported */
	json_t *doc[CLOUD_DOC_COUNT]; /* NULL until first used: cw_cloud_doc() */
	struct cloud_device_log *local_log; /* its own log, or NULL; device_log.h */
	int log_report;                     /* it shall post its log */
	uint64_t shadow_second;             /* that the count below belongs to */
	unsigned shadow_count;
	struct {
		int64_t ms;
		int code;
		const char *reason; /* static */
	} refusal[CLOUD_REFUSALS];
	unsigned refusal_count; /* ever */
	uint64_t up, down, dropped;
	struct cloud_violations *violations; /* NULL: none yet */
};

/* One message to devices; shared, counted by refs. */
struct cloud_msg {
	unsigned refs;
	uint8_t qos;
	size_t topic_len, len;
	char topic[]; /* then NUL, then the payload */
};

struct cloud_stored {
	struct cw_list link;
	struct cloud_msg *msg;
	int64_t until_ms; /* wall clock: seven days */
	int sent;         /* was under way when the session ended: repeat with DUP */
	int saved;        /* in the state file */
};

struct cloud_link_ops {
	const char *channel;
	/* Send msg for `to` (the owner or a member). Takes its own reference. `dup`: it was sent before. */
	void (*push)(struct cloud_link *l, struct cloud_device *to, struct cloud_msg *msg, int dup);
	/* End the connection without a packet, now. The core has let go of the link already. */
	void (*close)(struct cloud_link *l, const char *reason);
	/* Faults changed: look again whether to read. */
	void (*recheck)(struct cloud_link *l);
	/* A member leaves: QoS 1 messages under way for it are forgotten, or given to cw_cloud_store() first. */
	void (*forget)(struct cloud_link *l, struct cloud_device *member, int store);
	/* NULL: cannot be. Say nothing more on the connection, but read on. */
	void (*half_close)(struct cloud_link *l);
	/* The gateway is told that something is wrong with a device (a kick, 520) in the channel's own way; NULL: /ext/error. */
	void (*tell)(struct cloud_link *l, const struct cloud_device *about, int code);
	/* The connections break, and what that means for the devices is the channel's affair; NULL: the link goes. */
	void (*cut)(struct cloud_link *l, const char *reason);
};

#define CLOUD_BRIDGE_LARGE 3 /* subDeviceConnectMode: the devices stay online while the bridge is away */

/* Embedded in a front's connection. */
struct cloud_link {
	const struct cloud_link_ops *ops;
	struct cw_list all;
	struct cloud_device *owner; /* NULL before login and after cw_cloud_link_down() */
	struct cw_list members;
	unsigned member_count;
	struct cloud_device *last; /* most recently resolved owner of a topic; a cache, good while last_of is c->deletions */
	uint64_t last_of;
	int64_t since_ms;
	int tls, websocket; /* what it is wrapped in */
	int bridge;  /* carries everything for its devices without their subscribing; lives as long as the identity is known */
	int resting; /* a bridge none of whose connections is up: the owner is offline, members need not be */
	int uplink_only; /* lives for one request; push() sees the platform's reply to it and nothing else */
	int doomed;        /* a fault ends it; nothing passes any more. A front of uplink_only links gives no answer then */
	unsigned delay_ms; /* of an uplink_only link: a fault wants the answer that much later */
	uint64_t keep_alive_ms; /* of the client, 0: none; set by the front after link_init */
	int goodbye;            /* it takes its leave (DISCONNECT), or we end it: not cut */
	uint64_t cast; /* the last broadcast that went out on it: one subscription of a gateway is for all its devices */
	unsigned members_max; /* online through it, counted by who calls cw_cloud_member_up() */
	char peer[64];
};

struct cloud_limits {
	int documented; /* 0: profile off, none of the rates below is looked at */
	unsigned connect_per_minute, login_per_minute, login_per_second;
	unsigned publish_qos0, publish_qos1, down_per_second; /* per device and second */
	unsigned account_connects, account_up, account_down;  /* of all devices, per second */
	uint64_t throughput;                                  /* bytes a second that are read from one connection */
	unsigned inflight_in, inflight_out;                   /* unacknowledged on a connection, 0: no limit */
	uint64_t broadcast_ms, broadcast_all_ms; /* between two broadcasts of a product: to subscribers, to all online */
	uint64_t script_ms;                      /* one call of a product's script */
	size_t out_queue_bytes;                               /* a client that does not read is closed above this */
	/* Of the messages themselves; profile off does not lift these. */
	uint64_t payload_bytes;                     /* of one MQTT publish */
	unsigned topic_bytes, topic_slashes;        /* of custom topics; the platform's own are longer and deeper */
	unsigned topics_per_subscribe, subscriptions; /* in one packet; of one device */
	unsigned classes;                           /* custom topic classes of a product */
	unsigned members;                      /* sub-devices of one gateway, related or online */
	unsigned members_small, members_large; /* the same of the two kinds of bridges */
	unsigned bridge_logins; /* of devices of one bridge a second, 0: no limit */
	unsigned devices_per_product;
	uint64_t coap_token_ms;       /* life of a token of CoAP */
	unsigned coap_sessions;       /* DTLS sessions, and addresses of plain CoAP that are remembered */
	uint64_t coap_idle_ms;        /* a DTLS session without traffic ends after it */
	size_t package_bytes;                                 /* of all firmware packages together, and the largest upload */
	unsigned properties, events, pack, history; /* of one post, of its members: properties, events; members; entries */
	unsigned log_lines;           /* of one post of a device's log */
	unsigned shadow_requests;     /* of one device a second; profile off lifts it */
	unsigned shadow_attributes;   /* of each half of a shadow */
	uint64_t shadow_bytes;        /* of its state */
	uint64_t config_bytes;        /* of a product's remote configuration */
	uint64_t coap_body;           /* of one request over CoAP, decrypted */
	uint64_t https_body;     /* of one publish over HTTPS */
	uint64_t https_token_ms; /* how long a token of /auth is good */
	uint64_t batch_ms;       /* from the order of a batch to its end */
	unsigned openapi_per_second; /* management calls of one action without a documented rate */
};

struct cloud_switches {
	bool strict_securemode;
	int keepalive_clamp; /* above 1200: 0 refuse, 1 treat as 1200 */
	bool strict_model;   /* a value that breaks the model is answered with its code; false: left out, code 200 */
	bool topo_move;      /* false: 6619 instead of moving a relation */
	int kick_logout_reply; /* kicks on combine/logout_reply instead of /ext/error */
	bool allow_reregister; /* a device that was online once may register again */
	bool coap_pull;      /* CoAP devices may fetch what was sent to them, POST /pull */
	int psk_manual;      /* text that is signed for a pre-shared key: 0 as the SDKs do, 1 as the manual prints it */
	bool bridge_kicks;   /* a bridge is told by a push when one of its devices is taken from it */
	bool bridge_promise; /* pushes by PUSH_PROMISE on a client's request, instead of streams of the platform's own */
	int downloads; /* links to files: 0 by https, 1 by plain http at the API's address */
	const char *downloads_url; /* where they point instead, such as a name only clients know; NULL: those addresses. Lent */
	bool bridge_drop_repeats; /* an envelope id a bridge used in the last ten minutes is answered and not taken again */
	uint64_t subscribe_delay_ms; /* before a subscription takes effect */
	int regnwl_topic; /* 0: /ext/regnwl, 1: /ext/register, 2: both */
	const char *instance_id;     /* what a registration's instanceId must be when it sends one; NULL: anything. Lent */
	int ota_later; /* pushes of upgrades as in later documents: id a number, signMethod MD5 */
};

/* Of the management API; texts are lent. The secret is never logged. */
struct cloud_access_key {
	const char *id, *secret;
	bool active;
};

struct cloud_conf {
	struct cloud_limits limits;
	struct cloud_switches switches;
	unsigned keep_messages;
	size_t keep_bytes;
	const struct cloud_access_key *keys; /* lent */
	size_t key_count;
	uint64_t fault_seed; /* of what faults leave to chance */
};

struct cloud_log;
struct cloud_faults;
struct cloud_x509;
struct cloud_files;
struct cloud_ota;

/* Counters, and their names in GET /api/v1/stats. */
#define CLOUD_STATS(X) \
	X(connects, "connects") \
	X(connects_refused, "connectsRefused") \
	X(kicks, "kicks") \
	X(registrations, "registrations") \
	X(logins, "logins") \
	X(logins_refused, "loginsRefused") \
	X(published, "published") \
	X(published_bytes, "publishedBytes") \
	X(dropped_limit, "droppedLimit") \
	X(dropped_permission, "droppedPermission") \
	X(dropped_session, "droppedSession") \
	X(replies, "replies") \
	X(replies_failed, "repliesFailed") \
	X(pushed, "pushed") \
	X(stored, "stored") \
	X(undeliverable, "undeliverable") \
	X(malformed, "malformed") \
	X(slow_closed, "slowClosed") \
	X(keepalive_closed, "keepAliveClosed") \
	X(faults_applied, "faultsApplied") \
	X(subscribes_refused, "subscribesRefused") \
	X(throttled, "throttled") \
	X(model_dropped, "modelDropped") \
	X(script_errors, "scriptErrors") \
	X(auths, "auths") \
	X(auths_refused, "authsRefused") \
	X(downloads, "downloads") \
	X(push_acks, "pushAcks") \
	X(push_repeats, "pushRepeats") \
	X(openapi_calls, "openapiCalls")     /* that a service saw, and of them those that failed */ \
	X(openapi_failed, "openapiFailed") \
	X(openapi_refused, "openapiRefused") /* by the gateway: key, signature, rate, unknown action */

struct cloud_stats {
#define CLOUD_STAT_FIELD(field, name) uint64_t field;
	CLOUD_STATS(CLOUD_STAT_FIELD)
#undef CLOUD_STAT_FIELD
};

struct cw_cloud {
	struct cw_worker *worker;
	struct cloud_conf conf;
	struct cw_map products, devices, deleted; /* deleted: ids of devices that were, for 521 */
	struct cw_map iot_ids;                    /* the devices again */
	struct cw_map tokens;                     /* tokens.h */
	struct cw_list client_names;              /* struct cloud_clients */
	struct cw_list batches;                   /* struct cloud_batch, oldest first */
	uint64_t next_batch;
	struct cloud_chapter *batch_chapter; /* save.h */
	struct cloud_x509 *x509; /* NULL until the first certificate */
	struct cw_list device_list;
	struct cw_list links;
	struct cloud_log *log;
	struct cloud_faults *faults;
	struct cloud_files *files; /* links to what can be fetched */
	struct cw_list held; /* messages that a fault holds back; disturb.c */
	unsigned held_count;
	struct cloud_ota *ota;     /* packages, batches, tasks */
	struct cw_list delayed; /* replies a fault holds back; delay.c */
	unsigned delayed_count;
	struct cw_timer scripts_timer; /* script.c */
	int scripts_stopped;
	struct cw_list calls; /* down calls waiting for the device; call.c */
	struct cloud_stats stats;
	uint64_t deletions; /* of devices: what pointed at one may not be followed any more */
	int64_t skipped_ms;           /* by which the platform's clock is ahead of the machine's */
	struct cloud_link *answering; /* link whose publish is being carried out */
	struct cw_list changed_devices, changed_products; /* to be saved; save.h */
	struct cw_list chapters;                          /* struct cloud_chapter */
	int chapters_changed;
	struct cloud_saver *saver; /* NULL: nothing is kept */
	uint64_t next_id; /* of messages the platform starts */
	unsigned next_serial;
	char download_url[80]; /* "https://host:port", without a slash: where links to files point */
	char mqtt_address[80]; /* "host:port" of the MQTT listener, for who asks where it is; empty: there is none */
	int64_t started_ms;
	uint64_t login_second;
	unsigned login_count;
	struct cloud_window account_connects, account_up, account_down;
	struct {
		const char *limit;
		uint64_t count;
	} violation[48]; /* by limit, in the order of their first time; violations.c */
};

/* What holds without a file; the rows of options.c say the same to those who write one. */
void cw_cloud_conf_default(struct cloud_conf *conf);
/* The core on `worker`'s loop; `conf` is copied. 0 or CW_ENOMEM. */
int cw_cloud_new(struct cw_worker *worker, const struct cloud_conf *conf, struct cw_cloud **ret_cloud);
/* All links must be down. */
void cw_cloud_free(struct cw_cloud *c);
/* The platform's clocks: UTC since 1970, and one that never goes back. Milliseconds. */
int64_t cw_cloud_wall_ms(const struct cw_cloud *c);
uint64_t cw_cloud_now_ms(const struct cw_cloud *c);
/* Put both forward; deadlines that are passed by it come now. */
void cw_cloud_skip(struct cw_cloud *c, uint64_t ms);
/* Next message id of the platform, decimal, into out[24]. */
void cw_cloud_next_id(struct cw_cloud *c, char out[24]);

/* ---- product.c ---- */
const char *cw_cloud_node_name(enum cloud_node type);
int cw_cloud_node_parse(const char *name, enum cloud_node *ret_type);
/* Secret NULL: made up. 0; CW_EEXIST; CW_EINVAL with a sentence; CW_ENOMEM. */
int cw_cloud_product_add(struct cw_cloud *c, const char *key, const char *secret, enum cloud_node type,
                         struct cloud_product **ret_product, struct cw_msg *msg);
/* The same with all that the platform's rules say; key NULL: made up, of 11 letters and digits. Key, format (raw), type and
   authentication (x509) stay as they are from then on. */
struct cloud_product_spec {
	const char *key, *secret, *name; /* NULL: made up, made up, none; a name is 4 to 30 characters and unique */
	enum cloud_node type;
	int raw, x509, registration;
};
int cw_cloud_product_create(struct cw_cloud *c, const struct cloud_product_spec *spec, struct cloud_product **ret_product,
                            struct cw_msg *msg);
int cw_cloud_product_set_name(struct cw_cloud *c, struct cloud_product *p, const char *name, struct cw_msg *msg);
void cw_cloud_product_set_registration(struct cw_cloud *c, struct cloud_product *p, int on);
/* CW_EREFUSED while it has devices. */
int cw_cloud_product_delete(struct cw_cloud *c, struct cloud_product *p, struct cw_msg *msg);
struct cloud_product *cw_cloud_product_find(struct cw_cloud *c, const char *key, size_t len);
/* Declare (or change) a topic class, such as user/update or user/#. */
int cw_cloud_class_add(struct cloud_product *p, const char *pattern, int publish, int subscribe, struct cw_msg *msg);
/* CW_EREFUSED: every product has it. */
int cw_cloud_class_remove(struct cloud_product *p, struct cloud_class *k);
/* Whether `rest` (a topic's levels behind pk and dn) may be published to. */
int cw_cloud_class_publishable(const struct cloud_product *p, const char *rest, size_t len);
/* Whether the platform sends there; devices may subscribe to more. */
int cw_cloud_class_subscribable(const struct cloud_product *p, const char *rest, size_t len);

/* ---- stock.c ---- */
/* Name or secret NULL: made up. CW_EINVAL, CW_EEXIST, CW_ELIMIT (the product is full), CW_ENOMEM. */
int cw_cloud_device_add(struct cw_cloud *c, struct cloud_product *p, const char *dn, const char *secret,
                        struct cloud_device **ret_device, struct cw_msg *msg);
struct cloud_device *cw_cloud_device_find(struct cw_cloud *c, const char *pk, size_t pk_len, const char *dn, size_t dn_len);
/* NULL or empty: none. CW_EINVAL with a sentence; CW_ENOMEM. */
int cw_cloud_device_set_nickname(struct cw_cloud *c, struct cloud_device *d, const char *nickname, struct cw_msg *msg);
/* Another iotId than the one made up, such as that of before a restart. CW_EINVAL: too long, or another device's. */
int cw_cloud_device_set_iot_id(struct cw_cloud *c, struct cloud_device *d, const char *iot_id);
struct cloud_device *cw_cloud_device_by_iot_id(struct cw_cloud *c, const char *iot_id, size_t len);
/* Ends its sessions and relations, tells its gateway, forgets it. */
void cw_cloud_device_delete(struct cw_cloud *c, struct cloud_device *d);
/* Bar it from messages: told, then logged off. */
void cw_cloud_device_disable(struct cw_cloud *c, struct cloud_device *d);
void cw_cloud_device_enable(struct cw_cloud *c, struct cloud_device *d);
/* A device, or with dn NULL a product, that was deleted. */
int cw_cloud_was_deleted(struct cw_cloud *c, const char *pk, const char *dn);
/* One of the device's documents, made at its first use. NULL: out of memory (jansson's setters accept that). */
json_t *cw_cloud_doc(struct cloud_device *d, enum cloud_doc which);
/* A connection leads to it, its own or that of a further client of its name (clients.h): ask this, not `link`, before sending. */
int cw_cloud_device_linked(const struct cloud_device *d);
/* That, or a visit that is not over. */
int cw_cloud_device_online(const struct cw_cloud *c, const struct cloud_device *d);
/* As if it had never been online: it may register again, with the secret it has; clients of its name are forgotten. */
void cw_cloud_device_reset(struct cw_cloud *c, struct cloud_device *d);
/* ONLINE, OFFLINE, UNACTIVE or DISABLED. */
const char *cw_cloud_device_status(const struct cw_cloud *c, const struct cloud_device *d);
/* What must survive a restart is different from now on. */
void cw_cloud_changed(struct cw_cloud *c, struct cloud_device *d);
void cw_cloud_product_changed(struct cw_cloud *c, struct cloud_product *p);
void cw_cloud_device_refused(struct cw_cloud *c, struct cloud_device *d, int code, const char *reason);

/* ---- session.c ---- */
/* What a login of any channel asked for, already authenticated. */
struct cloud_login {
	const char *client_id;
	size_t client_id_len;
	int clean, ss, ext;
};
/* A front begins and ends a connection. */
void cw_cloud_link_init(struct cw_cloud *c, struct cloud_link *l, const struct cloud_link_ops *ops, int tls);
/* The connection is gone or going: every device on it goes offline. Harmless when repeated. */
void cw_cloud_link_down(struct cw_cloud *c, struct cloud_link *l, const char *reason);
void cw_cloud_link_fini(struct cloud_link *l);
/*
 * A bridge: its identity is known, be it connected or not. `d` has this link from now on (an older one is closed) and is
 * offline; then awake with the first connection, and at rest again with the last one. Members are the front's business.
 */
void cw_cloud_link_adopt(struct cw_cloud *c, struct cloud_link *l, struct cloud_device *d);
void cw_cloud_link_wake(struct cw_cloud *c, struct cloud_link *l, const struct cloud_login *login);
void cw_cloud_link_rest(struct cw_cloud *c, struct cloud_link *l, const char *reason);
/* Has the device a way of its own or its gateway's? Not so a bridge at rest. */
static inline int cw_cloud_is_online(const struct cloud_device *d)
{
	return d->link != NULL && !(d->link->resting && d->link->owner == d);
}
/* Log `d` in on its own connection; closes an older one. Returns 1 when state of an earlier session exists. */
int cw_cloud_link_up(struct cw_cloud *c, struct cloud_link *l, struct cloud_device *d, const struct cloud_login *login);
/* After the front's acceptance is on its way: what was stored for the device, then upgrades that wait for it. */
void cw_cloud_link_ready(struct cw_cloud *c, struct cloud_device *d);
/* A request by a channel without connections: the device counts as online for so long. `channel` is static. */
void cw_cloud_visit(struct cw_cloud *c, struct cloud_device *d, const char *channel, const struct cloud_text *client_id,
                    uint64_t for_ms);
/* Attach or detach a sub-device. `code` 0: silently; otherwise its gateway is told (427, 521, 522, 6401). */
void cw_cloud_member_up(struct cw_cloud *c, struct cloud_link *l, struct cloud_device *d, const struct cloud_login *login);
void cw_cloud_member_down(struct cw_cloud *c, struct cloud_device *d, int code);
/* Whatever way it is online: end its session, and those of further clients under its name. */
void cw_cloud_device_kick(struct cw_cloud *c, struct cloud_device *d, int code, const char *reason);
/* 1 when one more attempt is within `limit` a minute; notes it. */
int cw_cloud_rate_ok(struct cw_cloud *c, struct cloud_rate *r, unsigned limit);
/* NULL when one more CONNECT of this session is within the limits, which it then counts in; otherwise why not. */
const char *cw_cloud_connect_limit(struct cw_cloud *c, struct cloud_device *session);
/* 1 when one more is within `limit` a second of the account; counts it. */
int cw_cloud_window_ok(struct cw_cloud *c, struct cloud_window *w, unsigned limit);
/* SUBSCRIBE and UNSUBSCRIBE of one filter: granted QoS or 0x80. */
uint8_t cw_cloud_subscribe(struct cw_cloud *c, struct cloud_link *l, const char *filter, size_t len, uint8_t qos);
void cw_cloud_unsubscribe(struct cw_cloud *c, struct cloud_link *l, const char *filter, size_t len);
/* Subscribe without asking whether it may be: 0, CW_ELIMIT, CW_ENOMEM. */
int cw_cloud_sub_add(struct cw_cloud *c, struct cloud_device *d, const char *filter, size_t len);
/* What the state file kept for it. */
void cw_cloud_stored_load(struct cw_cloud *c, struct cloud_device *d, const char *topic, const void *payload, size_t len,
                          uint8_t qos, int64_t until_ms, int sent);
/* Keep a QoS 1 message, behind those kept already, for a device whose state outlives its session; `sent`: repeat with DUP. */
void cw_cloud_store(struct cw_cloud *c, struct cloud_device *d, struct cloud_msg *msg, int sent);

/* Whether no more is kept for it; what has expired is dropped first. */
int cw_cloud_stored_full(struct cw_cloud *c, struct cloud_device *d);
/* The oldest message kept for it that has not expired, lent; NULL: none. Then let go of it: it was sent, or never can be. */
struct cloud_msg *cw_cloud_stored_next(struct cw_cloud *c, struct cloud_device *d);
void cw_cloud_stored_drop(struct cw_cloud *c, struct cloud_device *d, int sent);

/* ---- registration.c ---- */
/* What a device asks with; texts are lent. The sign is over deviceName, productKey and random, by the product's secret. */
struct cloud_registration {
	struct cloud_text pk, dn, random, method, sign;
};
/* 200 and the device, or the platform's code of the refusal. A device that was online once is refused (allowReregister). */
int cw_cloud_register(struct cw_cloud *c, const struct cloud_registration *r, struct cloud_device **ret_device);
/* The part that every kind of registration shares: fields, product, sign, switch. 200 and the product. */
int cw_cloud_registration_check(struct cw_cloud *c, const struct cloud_registration *r, struct cloud_product **ret_product);
/* cw_cloud_code_text() in words that fit a registration. */
const char *cw_cloud_registration_text(int code);

/* ---- send.c ---- */
enum cloud_outcome { CLOUD_DELIVERED, CLOUD_STORED, CLOUD_OFFLINE, CLOUD_UNSUBSCRIBED, CLOUD_LIMITED, CLOUD_NOMEM };
const char *cw_cloud_outcome_name(enum cloud_outcome o);
#define CLOUD_ALWAYS 1u /* delivered without a subscription */
#define CLOUD_REPLY  2u /* answers the publish under way: an uplink_only link gets it without a subscription too */
#define CLOUD_SECRET 4u /* holds a secret: the log of messages does not show it */
#define CLOUD_NOW    8u /* not kept for who is away */
enum cloud_outcome cw_cloud_send(struct cw_cloud *c, struct cloud_device *to, const char *topic, const void *payload,
                                 size_t len, uint8_t qos, unsigned flags);
/* The same for JSON; `body` is consumed. */
enum cloud_outcome cw_cloud_send_json(struct cw_cloud *c, struct cloud_device *to, const char *topic, json_t *body,
                                      uint8_t qos, unsigned flags);
/* A request of the platform: {id, version, method, params}; `params` is consumed. */
enum cloud_outcome cw_cloud_request(struct cw_cloud *c, struct cloud_device *to, const char *path, const char *method,
                                    json_t *params);
/* The same, not kept for who is away: those ask for it. */
enum cloud_outcome cw_cloud_request_now(struct cw_cloud *c, struct cloud_device *to, const char *path, const char *method,
                                        json_t *params);
/* /ext/error to the gateway of a link about `about`; id NULL: "0". */
void cw_cloud_send_error(struct cw_cloud *c, struct cloud_device *gateway, const struct cloud_device *about, int code,
                         const char *id);
const char *cw_cloud_code_text(int code);
int cw_cloud_device_subscribed(struct cw_cloud *c, const struct cloud_device *d, const char *topic, size_t len);
/* One reference, yours; NULL: out of memory. */
struct cloud_msg *cw_cloud_msg_new(const char *topic, size_t topic_len, const void *payload, size_t len, uint8_t qos);
void cw_cloud_msg_unref(struct cloud_msg *msg);
static inline const char *cw_cloud_msg_payload(const struct cloud_msg *msg)
{
	return msg->topic + msg->topic_len + 1;
}

/* ---- publish.c ---- */
enum cloud_verdict {
	CLOUD_TAKEN,
	CLOUD_DROP_TOPIC,   /* foreign or undeclared */
	CLOUD_DROP_SESSION, /* sub-device without session here */
	CLOUD_DROP_LIMIT,   /* over its rate */
};
/* Note a message that its channel does not let through at all; `reason` is static. */
void cw_cloud_publish_refused(struct cw_cloud *c, struct cloud_link *l, const char *topic, size_t topic_len, uint8_t qos,
                              const char *reason);
/* One message from a client; texts are lent. */
enum cloud_verdict cw_cloud_publish(struct cw_cloud *c, struct cloud_link *l, const char *topic, size_t topic_len,
                                    const void *payload, size_t len, uint8_t qos);

#endif
