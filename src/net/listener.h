/*
 * listener.h - where devices arrive: sockets on every worker, and who is let in.
 *
 * A TCP or TLS listener has one socket with SO_REUSEPORT on each worker; a UDP
 * listener has one socket on one worker (the kernel's hash would move a device
 * after its address changed), with a session for each source address.
 *
 * All calls except cw_listener_counts() are made by one thread, the one of `home`
 * (or before any worker runs). Sockets are bound by cw_listener_new() itself, so
 * that an address in use is known at once; the workers learn of them by mail and may
 * be running already or start later.
 *
 * Limits hold over all workers together. Whoever is refused is counted with the
 * reason, per listener and in the statistics, and logged with a rate limit.
 * In all limits 0 means: none.
 *
 * PROXY protocol: a connection from an address in `proxyFrom` must begin with a
 * version 1 or 2 header, or it is closed and counted; others are taken as they are
 * and such bytes are the device's. The address in the header counts for lists,
 * limits and logs; LOCAL and UNKNOWN keep the proxy's own and pass the lists. On UDP
 * the first datagram of a source carries a version 2 header, later ones may.
 */
#ifndef CW_NET_LISTENER_H
#define CW_NET_LISTENER_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "loop/worker.h"
#include "net/addr.h"
#include "net/session.h"

struct cw_strings {
	const char *const *v;
	size_t count;
};

enum cw_client_verify {
	CW_CLIENT_VERIFY_NONE,     /* no certificate is asked for */
	CW_CLIENT_VERIFY_OPTIONAL, /* may be absent; a bad one is refused */
	CW_CLIENT_VERIFY_REQUIRED
};

struct cw_listener_limits {
	uint32_t connections;           /* open at once */
	uint32_t connections_per_source; /* open at once from one address */
	uint32_t accept_rate;           /* new ones a second; as many may come at once after a quiet second */
	uint64_t bytes_per_connection;  /* kept to be written; 0: 64 KiB */
	uint64_t identify_ms;           /* from accept to cw_session_identified() */
	uint64_t idle_ms;               /* from one cw_session_touch() to the next */
};

/* Settings of one listener, lent to every call here: all is copied. Zero-initialise it. */
struct cw_listener_conf {
	const char *name;
	enum cw_transport transport;
	const char *address; /* `host:port`, `[v6]:port`; port 0: any. `[::]` takes IPv4 too */
	int backlog;         /* 0: 4096 */
	struct cw_strings proxy_from, allow, deny; /* networks; deny counts before allow, an empty allow lets all in */
	struct {
		const char *certificate, *key; /* PEM files */
		const char *client_ca;         /* PEM file or NULL */
		enum cw_client_verify verify;
		const char *key_store, *key_password; /* instead of certificate and key: a PKCS#12 file */
	} tls;
	struct cw_listener_limits limits;
};

struct cw_listener_env {
	struct cw_worker *home;     /* where `gone` is called */
	struct cw_worker **workers; /* lent during cw_listener_new(); the workers outlive the listener */
	unsigned count;
	const struct cw_session_ops *ops; /* lent until `gone` */
	void *arg;                        /* handed to ops->opened */
};

struct cw_listener;

/* Check, bind and announce. 0; CW_ECONF, CW_EEXIST (address in use), CW_EACCESS, CW_ENOMEM ... with a sentence in msg. */
int cw_listener_new(const struct cw_listener_conf *conf, const struct cw_listener_env *env, struct cw_msg *msg,
                    struct cw_listener **ret_listener);
/* All of that but the binding: address, lists, certificates. 0 or an error with a sentence. */
int cw_listener_check(const struct cw_listener_conf *conf, struct cw_msg *msg);
/*
 * New limits, lists, backlog and certificates (files are read again) for new connections. Name, transport and address
 * must be the old ones (CW_EINVAL): such a listener is closed and made anew. On error nothing changes.
 */
int cw_listener_update(struct cw_listener *l, const struct cw_listener_conf *conf, struct cw_msg *msg);
/* No new connections from now on; the sockets are closed. Sessions stay. Safe twice. */
void cw_listener_stop(struct cw_listener *l);
/*
 * Stop, close every session with `why` and `reason` (static text), and call gone(arg) on home's loop when the last
 * handle is gone. The listener must not be used after this call; it frees itself before `gone`.
 */
void cw_listener_close(struct cw_listener *l, int why, const char *reason, void (*gone)(void *arg), void *arg);

const char *cw_listener_name(const struct cw_listener *l);
/* The address it is bound to, with the real port. */
const struct cw_addr *cw_listener_address(const struct cw_listener *l);

/* Since the start, except `open`. Any thread, as long as the listener is not closed. */
struct cw_listener_counts {
	uint64_t open, accepted;
	uint64_t refused_connections, refused_source, refused_rate, refused_list, refused_descriptors;
	uint64_t accept_failed, proxy_bad, tls_failed;
	uint64_t closed_identify, closed_idle, closed_bytes, datagrams_dropped;
};
void cw_listener_counts(const struct cw_listener *l, struct cw_listener_counts *ret_counts);

/*
 * Raise the soft limit of open files to the hard one; returns how many connections fit: the limit less 1,000 (of less
 * than 2,000: half), and keeps the listeners of this process within it. *ret_limit is the limit itself. Call once, before
 * the first listener.
 */
uint64_t cw_net_descriptor_limit(uint64_t *ret_limit);

#endif
