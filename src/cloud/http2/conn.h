/*
 * conn.h - the bridge channel's structures, shared by the files of this folder.
 *
 * A *connection* is a stream of bytes with an nghttp2 session on it. A *bridge* is an identity: the device named in the
 * login, its net id, its link of the core (so its online devices), and the pushes on their way to it. It outlives its
 * connections and is freed when the core takes the link from it (kick, deletion) or the front closes.
 *
 * Pushes are HEADERS and DATA on even streams that were never promised. nghttp2 neither sends nor understands that, so
 * those frames are written by hand between its own (push.c), the client's answers on even streams are taken out of its
 * input, and the window of the connection is counted here (frames.c).
 *
 * Bounds: bodies not yet whole HELD_MAX per connection, requests MAX_STREAMS, pushes waiting QUEUE_MAX and QUEUE_BYTES
 * per bridge, OUTSTANDING_MAX unacknowledged per connection, CONNS_MAX connections per bridge, what a client does not
 * read limits.outQueue.
 */
#ifndef CW_CLOUD_HTTP2_CONN_H
#define CW_CLOUD_HTTP2_CONN_H

#include <nghttp2/nghttp2.h>

#include "cloud/core/cloud.h"
#include "cloud/core/login/sign.h"
#include "cloud/http2/envelope.h"
#include "cloud/web/routes.h"
#include "cloud/wire/stream.h"

#define H2_MAX_STREAMS 16384u
#define H2_WINDOW 16777215 /* what the official C SDK takes for granted */
#define H2_BODY_MAX 16777216u
#define H2_HELD_MAX (2 * H2_BODY_MAX)
#define H2_CONNS_MAX 8u
#define H2_OUTSTANDING_MAX 100u
#define H2_QUEUE_MAX 10000u
#define H2_QUEUE_BYTES (64u << 20)
#define H2_REPEAT_MS 30000u
#define H2_SEEN_MAX 100000u /* envelope ids remembered for one bridge */
#define H2_SEEN_MS 600000u
#define H2_NET_ID 24u

struct h2_front {
	struct cw_cloud *cloud;
	struct cloud_port *port;
	struct cw_map nets; /* bridges by net id */
	struct cw_list bridges;
	struct cw_list due; /* bridges with pushes to be sent once `busy` input is through */
	int busy, stopping;
	void (*closed)(void *arg);
	void *closed_arg;
	struct cw_timer restore;
	uint64_t searched_ms; /* last time all devices were looked through for a net id */
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;
};

struct h2_conn;
struct h2_bridge;

/* One message to a bridge, owned by a queue or a connection's list; a promised stream holds a reference of its own. */
struct h2_push {
	struct cw_list link;
	unsigned refs;
	uint64_t id;
	unsigned serial;  /* of the device it is for, 0: nobody's */
	int64_t made_ms;  /* wall clock */
	uint64_t sent_ms; /* the platform's, 0: never */
	uint8_t qos;
	int offline_reply; /* on that topic, else on the push topic */
	int32_t stream;
	size_t len;
	char body[];
};

/* In the order of their right of way: answers that nobody acknowledges must not wait behind messages that wait for
 * that. */
enum h2_queue { H2_QUEUE_OFFLINE, H2_QUEUE_QOS0, H2_QUEUE_QOS1, H2_QUEUE_COUNT };

struct h2_bridge {
	struct h2_front *front;
	struct cloud_link link;
	struct cloud_device *device;
	struct cw_list all, due;
	struct cw_map_node node;
	char net_id[H2_NET_ID + 1];
	struct cw_list conns; /* by login; pushes go to the last */
	unsigned conn_count;
	int sub_push, sub_offline;
	int losing; /* its last connection is gone and its members go with it */
	struct cw_timer presume;
	uint64_t login_second;
	unsigned logins;
	struct cw_list queue[H2_QUEUE_COUNT]; /* struct h2_push */
	unsigned queued;
	size_t queued_bytes;
	uint64_t cast_ms, cast_hash; /* the last broadcast: it goes out once, not once per device */
	struct cw_map seen;          /* struct h2_seen by envelope id; switches.bridgeDropRepeats */
	struct cw_list seen_order;
	unsigned seen_count;
};

#define H2_IDLE_MS 90000u /* without any frame of the client; then it is gone */

/* LOGIN -> UP -> LEAVING (GOAWAY sent, input ignored) -> CLOSED; each may go to LEAVING or CLOSED. */
enum h2_state { H2_LOGIN, H2_UP, H2_LEAVING, H2_CLOSED };

struct h2_conn {
	struct cloud_stream stream; /* first */
	struct h2_front *front;
	struct cw_cloud *cloud;
	enum h2_state state;
	nghttp2_session *h2;
	struct h2_bridge *bridge; /* UP only */
	struct cw_list in_bridge;
	struct cw_timer deadline, repeat, resume;
	uint64_t heard_ms;       /* the machine's clock */
	size_t held;             /* bytes of bodies that are not whole */
	const char *leave;       /* say goodbye with this text once the answer is out */
	int farewell;            /* the client has sent GOAWAY, or we ended it on purpose: not cut */
	int settled;             /* the client has acknowledged our SETTINGS */
	struct cw_list reqs;     /* struct h2_req */
	struct cw_list promised; /* struct h2_promised of push.c */

	/* input: what of a frame is still to be passed on */
	size_t magic_left, pass_left;

	/* output: windows of the connection as the client sees them */
	int64_t window;
	uint64_t h2_sent, h2_credited; /* DATA bytes of nghttp2's, and what of the client's credit it was told */
	int table_changed;             /* the client resized its HPACK table: nghttp2 must send the next header block */
	struct cw_list deferred;       /* requests whose answer waits for window */

	/* pushes */
	uint32_t next_push;
	struct h2_push *current; /* half sent */
	size_t current_at;
	struct cw_list outstanding; /* struct h2_push, by sent_ms */
	unsigned outstanding_count;
	int32_t carrier; /* a request that is open, for promises; 0: none */
};

/* Login headers, allocated when the first of them arrives. */
struct h2_auth {
	char name[32], pk[64], dn[64], client_id[256], method[32], sign[80], timestamp[32];
	int has_timestamp, has_method;
};

struct h2_req {
	struct h2_conn *conn;
	int32_t id;
	struct cw_list all, deferred;
	const char *bad; /* static text: a header is malformed */
	char path[320];
	size_t path_len; /* 0: no :path */
	int qos;
	uint64_t message_id;
	int clear_session, answered;
	struct h2_auth *auth;
	struct cloud_bytes body;
	int too_large;
	char text[192]; /* body of a refusal */
	size_t text_len, text_at;
};

extern const struct cloud_link_ops cw_cloud_h2_link_ops;

/* ---- conn.c: the session ---- */
int cw_cloud_h2_callbacks(struct h2_front *f);
/* Let go of what the connection owns. */
void cw_cloud_h2_end(struct h2_conn *x);
/* 0 or an error; the session is set up and its SETTINGS are on their way. */
int cw_cloud_h2_begin(struct h2_conn *x);
void cw_cloud_h2_input(struct h2_conn *x, const uint8_t *data, size_t len);
/* Hand out whatever nghttp2 has to say. */
void cw_cloud_h2_drain(struct h2_conn *x);
/* GOAWAY with `text` (static), then the end within a second. Not from within nghttp2: there set x->leave. */
void cw_cloud_h2_goodbye(struct h2_conn *x, uint32_t code, const char *text);
/* 200; message_id 0: none. */
void cw_cloud_h2_accept(struct h2_req *r, uint64_t message_id);
/* Another status with a sentence (static). */
void cw_cloud_h2_refuse(struct h2_req *r, unsigned status, const char *text);
/* Let go of answers that waited for window. */
void cw_cloud_h2_resume_answers(struct h2_conn *x);

/* ---- frames.c: the border between the wire and nghttp2 ---- */
/* Bytes used; the rest is an unfinished frame that must be looked at whole. */
size_t cw_cloud_h2_filter(struct h2_conn *x, const uint8_t *data, size_t len);
/* Tell nghttp2 of credit it may use. 1: it was told more. */
int cw_cloud_h2_top_up(struct h2_conn *x);
/* Header block of a push into out[512]: its length. */
size_t cw_cloud_h2_push_block(uint8_t *out, const char *topic, uint64_t id, unsigned qos, int64_t made_ms);
/* The nine bytes before a frame's payload. */
void cw_cloud_h2_frame_head(uint8_t out[9], size_t len, uint8_t type, uint8_t flags, uint32_t stream);

/* ---- request.c ---- */
void cw_cloud_h2_handle(struct h2_req *r);
/* Percent-decode and collapse slashes: length in out[size], or -1. */
int cw_cloud_h2_path(const char *in, size_t len, char *out, size_t size);

/* ---- bridge.c ---- */
/* The bridge of an identity, made if need be; NULL: out of memory. */
struct h2_bridge *cw_cloud_h2_bridge(struct h2_front *f, struct cloud_device *d);
/* The bridge with a net id, or NULL. */
struct h2_bridge *cw_cloud_h2_bridge_by_net(struct h2_front *f, const char *net_id);
void cw_cloud_h2_join(struct h2_bridge *b, struct h2_conn *x, const char *client_id, int clear);
/* The connection is gone or leaving. Harmless when repeated. */
void cw_cloud_h2_part(struct h2_conn *x, const char *reason);
void cw_cloud_h2_bridge_free(struct h2_bridge *b);
/* 0: it is one of the two topics. */
int cw_cloud_h2_subscribe(struct h2_bridge *b, const char *topic);
void cw_cloud_h2_set_mode(struct h2_bridge *b, int mode);
int cw_cloud_h2_is_large(const struct h2_bridge *b);
void cw_cloud_h2_member_up(struct h2_bridge *b, struct cloud_device *d, const char *client_id);
/* Was a publish with this id taken in the last ten minutes? Only asked, and only noted, when the switch is on. */
int cw_cloud_h2_seen(struct h2_bridge *b, const char *id);
void cw_cloud_h2_note(struct h2_bridge *b, const char *id);
/* Large bridges whose devices were online when the emulator ended. */
void cw_cloud_h2_restore(struct h2_front *f);

/* ---- push.c ---- */
/* Queue a body; takes a copy. */
void cw_cloud_h2_queue(struct h2_bridge *b, enum h2_queue q, const void *body, size_t len, unsigned serial, int dup);
/* Send what may be sent: at once, or after the input that is being worked on. */
void cw_cloud_h2_pump_soon(struct h2_bridge *b);
void cw_cloud_h2_pump_due(struct h2_front *f);
/* Promise mode: hang pushes on this open request. */
void cw_cloud_h2_promise(struct h2_conn *x, int32_t stream);
void cw_cloud_h2_ack(struct h2_bridge *b, uint64_t id);
/* The client does not want the push on `stream`. */
void cw_cloud_h2_push_refused(struct h2_conn *x, uint32_t stream);
/* What was under way on a connection waits again, first in its queue. */
void cw_cloud_h2_pushes_back(struct h2_conn *x);
void cw_cloud_h2_forget(struct h2_bridge *b, unsigned serial);
void cw_cloud_h2_clear(struct h2_bridge *b);
/* A promised stream has ended (stream data given to nghttp2), or all of them with the connection. */
void cw_cloud_h2_promised_free(void *promised);
void cw_cloud_h2_promised_clear(struct h2_conn *x);

/* ---- auth.c ---- */
void cw_cloud_h2_auth(void *arg, struct cw_http_req *req);

static inline struct cw_timers *cw_cloud_h2_timers(const struct cw_cloud *c)
{
	return cw_worker_timers(c->worker);
}

#endif
