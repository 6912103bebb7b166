/*
 * session.h - one device connection, from accept (or from when the gateway opened it, dial.h) to its last closed handle.
 *
 * A session lives on one worker's loop; every call here is made on that worker's
 * thread. It is owned by this module: the owner given in the listener (the gateway)
 * gets a pointer in `opened` and may use it until `closed` returned. Between
 * threads only cw_session_id() travels.
 *
 *   accept -> [PROXY header] -> [TLS handshake] -> opened() -> bytes()* -> closed()
 *
 * A connection that ends before `opened` returned 0 calls nothing. After
 * cw_session_close() or cw_session_abort() only `closed` follows, never from inside
 * the call itself, so both are safe twice and from every callback.
 *
 * Backpressure: cw_session_pause() stops reading from the socket (a datagram for a
 * paused UDP session is dropped and counted). What was read before still comes: over TLS
 * up to one read of 64 KiB after the call. While paused the idle deadline rests, and the end
 * of the peer is not noticed.
 *
 * Output: what cannot be written at once is copied and kept, at most
 * `bytesPerConnection`; beyond that the session is closed with CW_ELIMIT, for the
 * peer does not read. Sends made inside `bytes` leave in one write after it.
 */
#ifndef CW_NET_SESSION_H
#define CW_NET_SESSION_H

#include <stddef.h>
#include <stdint.h>

#include "causeway/bytes.h"
#include "loop/worker.h"
#include "net/addr.h"

struct cw_session;
struct cw_listener;
struct cw_listener_conf;

enum cw_transport { CW_TRANSPORT_TCP, CW_TRANSPORT_UDP, CW_TRANSPORT_TLS, CW_TRANSPORT_SERIAL };
enum cw_direction { CW_DIRECTION_ACCEPTED, CW_DIRECTION_DIALLED };

/* Given by the owner with the listener; must outlive it. All run on the session's loop. */
struct cw_session_ops {
	/*
	 * Accepted; PROXY header and TLS handshake are done. Return 0 and a context, or
	 * an error to close at once (`closed` is then not called). `arg` is the listener's.
	 */
	int (*opened)(struct cw_session *s, void *arg, void **ret_ctx);
	/* Bytes of the device, lent. TCP and TLS: any amount from 1; UDP: exactly one datagram, possibly empty. */
	void (*bytes)(void *ctx, struct cw_bytes in);
	/* What is kept to be written was above half of bytesPerConnection and is now below a quarter. May be NULL. */
	void (*writable)(void *ctx);
	/* The last handle is gone; the session is dead when this returns. `why` is a CW_E*, `reason` is lent. */
	void (*closed)(void *ctx, int why, const char *reason);
};

/*
 * Write, or keep a copy to be written. `out` is lent. 0; CW_ECLOSED: the session is closing; CW_ELIMIT: above
 * bytesPerConnection, the session is closed; CW_ENOMEM: likewise. UDP: one call is one datagram.
 */
int cw_session_send(struct cw_session *s, struct cw_bytes out);
/* Bytes kept because the peer has not taken them yet. */
size_t cw_session_queued(const struct cw_session *s);

/* Flags, not counters: pausing twice and resuming once reads again. */
void cw_session_pause(struct cw_session *s);
void cw_session_resume(struct cw_session *s);
int cw_session_paused(const struct cw_session *s);

/* Write what is kept (within 5 s), then close. `why` is a CW_E* or 0; `reason` is copied. The first why and reason count. */
void cw_session_close(struct cw_session *s, int why, const char *reason);
/* Close at once; what is kept is dropped. Also shortens a close under way. */
void cw_session_abort(struct cw_session *s, int why, const char *reason);

/* The device is known: ends the deadline `identifyTime`. */
void cw_session_identified(struct cw_session *s);
/* A valid frame came: `idleTime` counts from now. Costs one store. */
void cw_session_touch(struct cw_session *s);

/* Unique in the process and never reused: worker index in the upper 16 bits, then a counter from 1. Never 0. */
uint64_t cw_session_id(const struct cw_session *s);
struct cw_worker *cw_session_worker(const struct cw_session *s);
/* The settings this session was accepted under; a reload does not change them. Lent until `closed`. */
const struct cw_listener_conf *cw_session_conf(const struct cw_session *s);
enum cw_transport cw_session_transport(const struct cw_session *s);
enum cw_direction cw_session_direction(const struct cw_session *s);
/* The other side as text: an address, or of a serial line the path (its end, when it is long). Returns `out`. */
const char *cw_session_peer(const struct cw_session *s, char out[CW_ADDR_TEXT]);
/* Subject of the verified TLS client certificate as text; NULL when there is none. Returns `out`. */
const char *cw_session_client_subject(const struct cw_session *s, char *out, size_t size);

#endif
