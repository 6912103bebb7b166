/*
 * dial.h - connections that the gateway opens: TCP, TLS and serial lines, kept open.
 *
 * A connection lives on one worker, chosen by a hash of its name that stays the same.
 * Its sessions are those of session.h, with the same operations:
 *
 *   wait -> [look the name up] -> each address in turn -> [TLS handshake] -> opened() ... closed() -> wait
 *
 * The wait doubles from retryMin to retryMax, with jitter; it starts anew once a session
 * has lasted for retryMax or 20 s, whichever is shorter, so a device that accepts and
 * closes at once is not asked in a circle. A serial device that is absent, in use or was
 * unplugged is waited for in the same way. A name is looked up before every attempt and
 * never blocks the loop; not more than two look-ups run at a time in the process.
 *
 * All calls except cw_dial_status() are made by one thread, the one of `home`.
 */
#ifndef CW_NET_DIAL_H
#define CW_NET_DIAL_H

#include "net/listener.h"
#include "net/serial.h"

/* Settings of one connection, lent to every call here: all is copied. Zero-initialise it. */
struct cw_dial_conf {
	const char *name;
	const char *to; /* `tcp://host:port`, `tls://[v6]:port`, `serial:///dev/ttyS1` */
	struct {
		const char *ca;               /* PEM file; NULL: the system's authorities */
		const char *certificate, *key; /* PEM files, or NULL */
		const char *key_store, *key_password;
		const char *server_name;      /* NULL: the host of `to` */
		int no_verify;                /* take any certificate */
	} tls;
	struct cw_serial_conf serial;
	uint64_t connect_ms;                 /* for each address; 0: 10 s */
	uint64_t retry_min_ms, retry_max_ms; /* 0: 1 s, 60 s */
	uint32_t keep_alive_s, keep_interval_s, keep_probes; /* of TCP; keep_alive_s 0: none */
	struct cw_listener_limits limits;    /* bytes_per_connection, identify_ms and idle_ms */
};

struct cw_dial;

/* 0 or CW_ECONF with a sentence: `to`, serial settings, TLS files. */
int cw_dial_check(const struct cw_dial_conf *conf, struct cw_msg *msg);
/* The path of a serial line, lent from `to`; NULL when it is none. */
const char *cw_dial_serial_path(const char *to);
/* Which of `count` workers a connection of this name lives on. */
unsigned cw_dial_worker(const char *name, unsigned count);
/* Check, and begin to dial. `env` as for a listener. */
int cw_dial_new(const struct cw_dial_conf *conf, const struct cw_listener_env *env, struct cw_msg *msg, struct cw_dial **ret_dial);
/*
 * After a reload. 0: nothing has changed; files of TLS are read again for the next session. CW_EINVAL: something has; close it
 * and make it anew. Another error: the files are wrong, and nothing changes.
 */
int cw_dial_update(struct cw_dial *d, const struct cw_dial_conf *conf, struct cw_msg *msg);
/* No further attempts; a session that is there stays. Safe twice. */
void cw_dial_stop(struct cw_dial *d);
/* As cw_listener_close(): end everything, then gone(arg) on home's loop; it frees itself before `gone`. */
void cw_dial_close(struct cw_dial *d, int why, const char *reason, void (*gone)(void *arg), void *arg);

const char *cw_dial_name(const struct cw_dial *d);
const char *cw_dial_to(const struct cw_dial *d);

enum cw_dial_state {
	CW_DIAL_WAITING,    /* for the next attempt */
	CW_DIAL_LOOKING_UP, /* its name */
	CW_DIAL_CONNECTING, /* TLS handshake included */
	CW_DIAL_UP,
	CW_DIAL_STOPPED
};

struct cw_dial_status {
	enum cw_dial_state state;
	int64_t since_ms;     /* UTC, when it took this state */
	uint64_t attempts;    /* since the start */
	uint64_t successes;
	int64_t next_ms;      /* WAITING: UTC of the next attempt */
	char address[CW_ADDR_TEXT]; /* the last one tried */
	char last_error[240]; /* why the last attempt or session ended; empty: none has */
};
/* Any thread, as long as it is not closed. */
void cw_dial_status(struct cw_dial *d, struct cw_dial_status *ret_status);
/* `waiting`, `up` ... */
const char *cw_dial_state_name(enum cw_dial_state state);

#endif
