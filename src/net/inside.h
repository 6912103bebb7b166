/*
 * inside.h - what the files of net/ share and nobody else includes.
 *
 * The cast: a *listener* is one entry of the configuration; it has a *port* on each
 * worker (UDP: on one), which owns the socket there and the sessions accepted from
 * it. A *policy* is the settings compiled: made by the thread that reloads, shared
 * by reference, never changed. A *gate* counts over all workers who is in.
 *
 * Normal end: cw_listener_close() mails each port; the port closes its socket and
 * sessions; the last closed session of the last port mails home; home frees the listener.
 */
#ifndef CW_NET_INSIDE_H
#define CW_NET_INSIDE_H

#include <stdatomic.h>
#include <uv.h>

#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"
#include "base/stat.h"
#include "loop/closing.h"
#include "loop/worker.h"
#include "net/listener.h"
#include "net/proxy.h"
#include "net/session.h"
#include "tls/tls.h"

#define CW_NET_READ_SIZE (64u * 1024u)
#define CW_NET_BYTES_DEFAULT (64u * 1024u)

/* ---- policy.c: the settings compiled ---------------------------------------- */

struct cw_net_policy {
	atomic_uint refs;
	struct cw_listener_conf conf; /* its texts live in the arena */
	struct cw_arena arena;
	struct cw_cidrs proxy_from, allow, deny;
	struct cw_tls_ctx **tls; /* one for each port: a context belongs to one thread */
	unsigned ports;
};

/* `client`: TLS as the side that connects, instead of conf->tls; NULL for a listener. */
int cw_net_policy_new(const struct cw_listener_conf *conf, const struct cw_tls_conf *client, unsigned ports, struct cw_msg *msg,
                      struct cw_net_policy **ret_policy);
struct cw_net_policy *cw_net_policy_ref(struct cw_net_policy *p);
/* The last one out frees; any thread. */
void cw_net_policy_unref(struct cw_net_policy *p);

/* ---- dial_to.c: where a connection leads ------------------------------------- */

struct cw_net_target {
	enum cw_transport transport;
	char host[256];      /* TCP, TLS: as written, without brackets */
	char port[6];
	int numeric;         /* the host is an address: `addr` */
	struct cw_addr addr;
	const char *path;    /* serial: lent from the text */
};

/* 0 or CW_ECONF with a sentence that begins with `to`. */
int cw_net_target_parse(const char *to, struct cw_net_target *ret_target, struct cw_msg *msg);

/* ---- gate.c: who is let in ---------------------------------------------------- */

/* What is counted for each listener beside the statistics of the process: member of cw_listener_counts, statistic. */
#define CW_NET_COUNTS(X)                                                                                    \
	X(accepted) X(refused_connections) X(refused_source) X(refused_rate) X(refused_list) X(refused_descriptors) \
	X(accept_failed) X(proxy_bad) X(tls_failed) X(closed_identify) X(closed_idle) X(closed_bytes) X(datagrams_dropped)

enum cw_net_count {
#define CW_NET_COUNT_ENUM(name) CW_NET_COUNT_##name,
	CW_NET_COUNTS(CW_NET_COUNT_ENUM)
#undef CW_NET_COUNT_ENUM
	CW_NET_COUNT_COUNT
};

struct cw_net_gate {
	_Atomic(uint64_t) open;
	_Atomic(uint64_t) rate_ns; /* when the next one would be due at an even rate */
	_Atomic(uint64_t) counts[CW_NET_COUNT_COUNT];
	uv_mutex_t lock; /* admission only, and only while a limit per source is set */
	struct cw_map sources;
};

int cw_net_gate_init(struct cw_net_gate *g);
void cw_net_gate_fini(struct cw_net_gate *g);
/* Allow and deny list. 0, or the count to add to. */
int cw_net_gate_lists(const struct cw_net_policy *p, const struct cw_addr *source, enum cw_net_count *ret_refused);
/* Room and rate. After 0 cw_net_gate_leave() is due. */
int cw_net_gate_enter(struct cw_net_gate *g, const struct cw_net_policy *p, enum cw_net_count *ret_refused);
void cw_net_gate_leave(struct cw_net_gate *g, const struct cw_net_policy *p);
/* Limit per source. 1: counted, cw_net_gate_source_leave() is due; 0: there is no such limit; else CW_ELIMIT or CW_ENOMEM. */
int cw_net_gate_source(struct cw_net_gate *g, const struct cw_net_policy *p, const struct cw_addr *source);
void cw_net_gate_source_leave(struct cw_net_gate *g, const struct cw_addr *source);

/* Add to the listener's count and to the statistic of the same name. */
#define cw_net_count(gate, name)                                                                            \
	do {                                                                                                \
		cw_count(net, name);                                                                        \
		(void)atomic_fetch_add_explicit(&(gate)->counts[CW_NET_COUNT_##name], 1, memory_order_relaxed); \
	} while (0)
void cw_net_count_refused(struct cw_net_gate *g, enum cw_net_count what);
const char *cw_net_refused_text(enum cw_net_count what);

/* ---- listener.c, port.c, udp.c ------------------------------------------------- */

struct cw_net_port;

/* What a port without a listening socket (dial.c) wants to know of its session. */
struct cw_net_dialler {
	void (*up)(struct cw_net_port *p, const struct cw_session *s);    /* opened() has taken it */
	void (*ended)(struct cw_net_port *p, const struct cw_session *s); /* its last handle is gone; it is freed after this */
	void (*step)(struct cw_net_port *p);                              /* in place of cw_net_port_step() */
};

struct cw_net_port {
	struct cw_listener *listener;
	struct cw_net_gate *gate; /* the listener's */
	const struct cw_session_ops *ops;
	void *arg;
	struct cw_worker *worker;
	struct cw_net_policy *policy; /* a reference */
	unsigned index;
	struct cw_closing closing; /* the socket's handle */
	union {
		uv_poll_t poll; /* TCP and TLS: accept() is called here, not by libuv */
		uv_udp_t udp;
	} u;
	int fd;      /* bound by the thread that made the listener; libuv's once udp is open */
	int reserve; /* given up for a moment to refuse with, when descriptors have run out */
	struct cw_list sessions;
	size_t session_count;
	struct cw_map sources; /* UDP: sessions by source address */
	struct cw_timer pause; /* accepting rests after an error */
	uint8_t family; /* of the socket: 4, or 6, which may take IPv4 too */
	uint8_t opened, stopped, finishing, done;
	int why;
	const char *reason;
	struct cw_mail open_mail, stop_mail, close_mail;
	void (*gone)(struct cw_net_port *p); /* the last handle and session are gone */
	const struct cw_net_dialler *dialler; /* NULL: a listener's */
	const char *server_name;              /* dialled TLS: what the certificate must say */
};

/* All on the port's worker. */
void cw_net_port_open(struct cw_net_port *p);
void cw_net_port_stop(struct cw_net_port *p);
void cw_net_port_finish(struct cw_net_port *p, int why, const char *reason);
/* A session or a handle of the port has gone: go on with the end, if it is under way. */
void cw_net_port_step(struct cw_net_port *p);
/* New settings; takes over the reference. */
void cw_net_port_set_policy(struct cw_net_port *p, struct cw_net_policy *policy);
void cw_net_refused(struct cw_net_port *p, const struct cw_addr *source, enum cw_net_count what);

int cw_net_udp_open(struct cw_net_port *p);
/* Take a session out of the table of sources; harmless when it is not in it. */
void cw_net_udp_unlist(struct cw_session *s);
/* Where its datagrams go, as the socket's family wants it. */
void cw_net_udp_sockaddr(const struct cw_session *s, struct sockaddr_storage *ss);

/* ---- session.c, write.c ---------------------------------------------------------- */

/*
 * PROXY -> SHAKING -> OPEN -> FLUSHING -> CLOSED      each of the first two only where the listener asks for it;
 * PROXY waits for the header, SHAKING for the TLS handshake (both: SETUP_MS), OPEN for bytes (identifyTime, idleTime),
 * FLUSHING for the last write (FLUSH_MS), CLOSED for libuv's close callback. From everywhere: -> CLOSED on abort.
 */
enum cw_net_state { CW_NET_PROXY, CW_NET_SHAKING, CW_NET_OPEN, CW_NET_FLUSHING, CW_NET_CLOSED };

enum {
	CW_NET_HAS_CTX = 1,       /* opened() returned 0: closed() is due */
	CW_NET_PAUSED = 2,
	CW_NET_IDENTIFIED = 4,
	CW_NET_HIGH = 8,          /* the queue went over its high mark: writable() is due */
	CW_NET_SOURCE_COUNTED = 16,
	CW_NET_LISTED = 32,       /* UDP: found by its source address */
	CW_NET_PEER_BUSY = 64,    /* it went on sending while we were flushing */
	CW_NET_LINGERING = 128    /* all is written and our side is shut; what comes is dropped */
};

struct cw_net_out {
	uv_write_t req;
	struct cw_net_out *next;
	uint32_t len, size;
	uint8_t data[];
};

struct cw_net_partial {
	uint32_t len;
	uint8_t data[];
};

/* Mind its size: there may be 200,000. What only few need hangs off a pointer. */
struct cw_session {
	union {
		uv_stream_t stream; /* tcp or pipe */
		uv_tcp_t tcp;
		uv_pipe_t pipe; /* a serial line: to libuv any descriptor that is read and written */
		struct {
			struct cw_map_node node; /* key: `to` */
			struct cw_addr to;       /* where datagrams come from and go to; behind a proxy not the source */
			struct cw_mail gone;     /* there is no handle whose close callback would come later */
		} udp;
	} u;
	struct cw_closing closing; /* UDP: 1 and one for each datagram being sent */
	struct cw_list link;
	struct cw_timer timer;
	struct cw_net_port *port;
	struct cw_net_policy *policy; /* a reference */
	void *ctx;
	struct cw_tls *tls;                /* TLS only */
	struct cw_net_out *first, *last;   /* kept to be written; `first` is libuv's */
	struct cw_net_partial *head;       /* a PROXY header that came in pieces */
	char *reason;
	uint64_t id;
	uint64_t accepted_ms, seen_ms;
	size_t queued;
	struct cw_addr source;
	int why;
	uint8_t state, flags, transport, direction;
};

/* A connection that accept() gave; the descriptor is taken over. */
void cw_net_session_accept(struct cw_net_port *p, int fd, const struct cw_addr *peer);
/* A connection that was made, or a serial line that was opened, for a port with a dialler; the descriptor is taken over. */
void cw_net_session_dialled(struct cw_net_port *p, int fd, const struct cw_addr *peer);
/* The first datagram of a source has passed the gate. NULL when it ended at once; what the gate counted is then given back. */
struct cw_session *cw_net_session_udp(struct cw_net_port *p, const struct cw_addr *to, const struct cw_addr *source,
                                      int source_counted);
/* Bytes for the owner. */
void cw_net_session_deliver(struct cw_session *s, struct cw_bytes in);
/* Go on with closing when nothing is left to be written. */
void cw_net_session_flushed(struct cw_session *s);
void cw_net_session_on_gone(struct cw_closing *c);

/* Write raw bytes to the stream, or keep them. Errors end the session. */
int cw_net_write(struct cw_session *s, struct cw_bytes out);
int cw_net_write_datagram(struct cw_session *s, struct cw_bytes out);
void cw_net_write_free(struct cw_session *s);
/* Between the two, writes to `s` are collected and leave as one. Not nested. */
void cw_net_collect(struct cw_session *s);
void cw_net_collect_end(struct cw_session *s);
/* Write what is collected for `s` now; collecting goes on. */
int cw_net_collect_flush(struct cw_session *s);

/* This thread's buffer for reading; valid until the next read. */
uv_buf_t cw_net_read_buffer(void);

#endif
