/*
 * gateway.h - joins the two sides: sessions and decoders on the workers, the bridge on the control loop.
 *
 * The only module that knows both. What crosses is mail: questions who a session is,
 * parcels, commands, settles. Between threads a session is a number (cw_session_id),
 * never a pointer.
 *
 * Life: new -> start (before the workers run) -> add_listener, add_connection, any time -> stop -> free.
 * All calls on the control loop.
 */
#ifndef CW_GATEWAY_GATEWAY_H
#define CW_GATEWAY_GATEWAY_H

#include "base/err.h"
#include "bridge/bridge.h"
#include "causeway/plugin.h"
#include "net/dial.h"
#include "net/listener.h"
#include "plugin/isolate.h"

struct cw_gateway;

/* When a device is answered; the decoder never knows. */
enum cw_ack { CW_ACK_RECEIVED, CW_ACK_DELIVERED };

/* Keeps what decoders save for a device beyond a connection; a module below implements it. Called on the control loop. */
struct cw_saver {
	void *ctx;
	/* The saved bytes of an identity, lent until the next call; empty when none. */
	struct cw_bytes (*get)(void *ctx, const char *identity, size_t len);
	void (*put)(void *ctx, const char *identity, size_t len, struct cw_bytes state);
};

/* Turns the settings {} of a product and of a devices.conf entry into encoded settings on top of the listener's. */
struct cw_device_settings {
	void *ctx;
	/*
	 * 0 and bytes to be freed with cw_free(), NULL when neither product nor device has settings of its own; or an
	 * error with a sentence.
	 */
	int (*encode)(void *ctx, const struct cw_plugin_desc *protocol, const char *listener, const char *product_key,
	              struct cw_bytes device_settings, uint8_t **ret_bytes, size_t *ret_len, struct cw_msg *msg);
};

/* How much is kept of devices that no source knows, on listeners that keep it. */
struct cw_pending_limits {
	size_t frames, bytes_each; /* of one identity */
	size_t bytes;              /* of all, with what keeping them costs */
	int64_t time_ms;
};

struct cw_gateway_conf {
	struct cw_worker *control;
	struct cw_worker **workers;
	unsigned worker_count;
	struct cw_bridge *bridge;
	struct cw_saver saver;
	struct cw_device_settings device_settings;
	const struct cw_plugin_desc **protocols; /* all that are loaded; lent */
	size_t protocol_count;
	const char *attach_dir;    /* where attachments go; NULL: refused */
	uint64_t attach_most;      /* bytes of one attachment */
	struct cw_pending_limits pending;
	const struct cw_isolation *isolation;   /* how plugin hosts are run; lent */
	int (*isolated)(void *ctx, size_t protocol); /* does it run in one? NULL: none does */
	void *isolated_ctx;
};

/* What holds for the sessions of a listener or connection. */
struct cw_gateway_rules {
	const char *protocol;
	struct cw_bytes settings;   /* encoded, checked */
	enum cw_ack ack;
	int require_online;
	int close_unknown;          /* close an unknown device after 5 s */
	uint64_t max_noise, bytes_kept; /* limits of one connection */
};

struct cw_gateway_listener {
	struct cw_listener_conf net;
	struct cw_gateway_rules rules;
};

/* A connection that the gateway opens. */
struct cw_gateway_connection {
	struct cw_dial_conf net;
	struct cw_gateway_rules rules;
	const char *identity;       /* bound: who is at the other end; NULL: the decoder finds out */
};

int cw_gateway_new(const struct cw_gateway_conf *conf, struct cw_gateway **ret_gateway, struct cw_msg *msg);
/* Make the decoders of every worker; before the workers run. */
int cw_gateway_start(struct cw_gateway *g, struct cw_msg *msg);
/* An upstream that comes later: the workers are to know when it has room, before anything is submitted to it. */
int cw_gateway_watch(struct cw_gateway *g, struct cw_upstream *u, struct cw_msg *msg);
/* Bind and serve. Errors name the listener. */
int cw_gateway_add_listener(struct cw_gateway *g, const struct cw_gateway_listener *l, struct cw_msg *msg);
/* Apply what a reload changed: new connections see it. CW_ENOENT: no such listener; CW_EINVAL: needs to be closed and made anew. */
int cw_gateway_update_listener(struct cw_gateway *g, const struct cw_gateway_listener *l, struct cw_msg *msg);
void cw_gateway_close_listener(struct cw_gateway *g, const char *name);
/*
 * Connections are dialled from now on. Update: CW_ENOENT: there is none of this name; CW_EINVAL: something has changed, it needs
 * to be closed and made anew.
 */
int cw_gateway_add_connection(struct cw_gateway *g, const struct cw_gateway_connection *c, struct cw_msg *msg);
int cw_gateway_update_connection(struct cw_gateway *g, const struct cw_gateway_connection *c, struct cw_msg *msg);
void cw_gateway_close_connection(struct cw_gateway *g, const char *name);
size_t cw_gateway_connection_count(const struct cw_gateway *g);
/* i-th connection, for status. */
struct cw_dial *cw_gateway_connection(const struct cw_gateway *g, size_t i, const char **ret_protocol);
size_t cw_gateway_listener_count(const struct cw_gateway *g);
/* i-th listener, for status; *ret_protocol is its protocol's name. */
const struct cw_listener *cw_gateway_listener(const struct cw_gateway *g, size_t i, const char **ret_protocol);
/* Counter number `counter` of protocol number `protocol` (as in the configuration's order), summed over the workers. */
uint64_t cw_gateway_plugin_counter(const struct cw_gateway *g, size_t protocol, size_t counter);
/*
 * From any thread: 1 when a decoder has not come back for `limit_ms`, with who and which frame in out[size]. The
 * worker is lost then: a plugin in this process cannot be interrupted.
 */
int cw_gateway_stuck(struct cw_gateway *g, uint64_t limit_ms, char *out, size_t size);
/* The plugin host of a protocol on a worker. 0: it has none. On the control loop. */
int cw_gateway_host(const struct cw_gateway *g, size_t protocol, unsigned worker, struct cw_host_info *ret);
/* Protocols that were taken out of service are tried again. */
void cw_gateway_revive(struct cw_gateway *g);
/* No new connections, accepted or dialled; those that are there go on. */
void cw_gateway_stop_accepting(struct cw_gateway *g);
/* Read and decode nothing more; what was taken still goes up and is answered. Takes effect with the workers' next mails. */
void cw_gateway_hold(struct cw_gateway *g);
/* Close everything; `done` runs on the control loop when the last session is gone. */
void cw_gateway_stop(struct cw_gateway *g, void (*done)(void *arg), void *arg);
/* After `done`, when the workers' last mails have been taken: drop what still waits for the bridge. */
void cw_gateway_drop_ties(struct cw_gateway *g);
/* On worker `index`, from its stopping callback: let go what lives on that loop. */
void cw_gateway_worker_fini(struct cw_gateway *g, unsigned index);
/* After the workers have been joined. */
void cw_gateway_free(struct cw_gateway *g);

/* The operations to hand to cw_bridge_new(). */
extern const struct cw_owner_ops cw_gateway_owner_ops;

/* The session that is the way to a device, for status: worker, session id; 0 when none. */
int cw_gateway_session_of(const struct cw_device *d, unsigned *ret_worker, uint64_t *ret_session);
/* The listener or connection of that session; NULL when none. */
const char *cw_gateway_via(const struct cw_device *d);

/*
 * Follow one identity, now and on its later connections, until cw_gateway_trace_stop(). Lines arrive on the
 * control loop; when they come faster than they are taken, some are left out and `missed` says how many.
 */
struct cw_trace;
struct cw_trace_line {
	int64_t utc_ms;
	uint64_t conn;          /* number of the connection */
	const char *protocol;
	/* in, out, refused, noise, settled, command, answered, line, online, offline, leave, closed, attached; of a listener: open
	 * (text: the peer, number: CW_EVF_DATAGRAM, _DIALLED, _SERIAL), midway (the same, open before), data (bytes as they were read), but no in, refused, noise, settled, line */
	const char *what;
	const char *text;       /* may be empty */
	int64_t number;
	struct cw_bytes bytes;  /* of in, out, refused, noise, data */
	unsigned missed;
};
typedef void (*cw_trace_fn)(void *arg, const struct cw_trace_line *line);
int cw_gateway_trace(struct cw_gateway *g, const char *identity, cw_trace_fn on_line, void *arg, struct cw_trace **ret_trace);
/* The same of all connections of a listener, or of one the gateway opens. CW_ENOENT: there is none of that name. */
int cw_gateway_trace_listener(struct cw_gateway *g, const char *listener, cw_trace_fn on_line, void *arg, struct cw_trace **ret_trace);
void cw_gateway_trace_stop(struct cw_trace *t);

/* Frames of unknown devices that are kept; texts are lent for the call. */
struct cw_pending_info {
	const char *identity, *listener, *protocol, *peer; /* of the latest frame */
	size_t frames, bytes;                              /* that wait for the identity */
	size_t delivering;                                 /* frames whose records are on their way to the platform */
	uint64_t dropped;
	int64_t first_ms, last_ms; /* UTC */
};
typedef void (*cw_pending_fn)(void *arg, const struct cw_pending_info *info);
typedef void (*cw_pending_frame_fn)(void *arg, int64_t arrived_ms, const char *listener, const char *protocol,
				    const char *peer, struct cw_bytes frame);
void cw_gateway_pending_each(struct cw_gateway *g, cw_pending_fn fn, void *arg);
/* Those that wait, oldest first; CW_ENOENT: nothing is kept of this identity. */
int cw_gateway_pending_frames(struct cw_gateway *g, const char *identity, cw_pending_frame_fn fn, void *arg);
/* Drop what waits of one identity, or (NULL) of all. How many frames; CW_ENOENT. */
int64_t cw_gateway_pending_drop(struct cw_gateway *g, const char *identity);
void cw_gateway_pending_limits(struct cw_gateway *g, const struct cw_pending_limits *limits);

#endif
