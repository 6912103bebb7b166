/*
 * wire.h - libcoap on the upstream's loop: sessions (links) to servers, one request at a time on each.
 *
 * libcoap walks all sessions of a context in every call, so a context (shard) has WIRE_SHARD of them and there are as
 * many as are needed. Each is polled through its one descriptor. Nothing here is called back from inside a call of the
 * owner's: what happens meanwhile is told in the same pass of the loop, before it waits. One thread.
 */
#ifndef CW_UPSTREAM_COAP_WIRE_H
#define CW_UPSTREAM_COAP_WIRE_H

#include <sys/socket.h>

#include "base/err.h"
#include "causeway/bytes.h"
#include "loop/worker.h"
#include "upstream/coap/crypt.h"

#define WIRE_SHARD 300u
#define WIRE_ID_BYTES 48u

struct coap_wire;
struct coap_link;

struct coap_response {
	int code; /* 205, 401, ... */
	struct cw_bytes payload;
	char id[WIRE_ID_BYTES]; /* the platform's number of the message, empty: none */
};

struct coap_wire_ops {
	/* Requests may be sent: the handshake is done (at once where there is none). */
	void (*ready)(void *owner);
	void (*answer)(void *owner, uint32_t token, const struct coap_response *r);
	/* The link is of no use any more and must be closed. `refused`: the other side said no in the handshake. */
	void (*broken)(void *owner, int refused, const char *text);
};

enum coap_dtls { COAP_DTLS_PSK, COAP_DTLS_CERTIFICATE, COAP_DTLS_OFF };

struct coap_wire_conf {
	enum coap_dtls dtls;
	const char *ca, *certificate, *key; /* PEM files; lent */
	int verify;
	unsigned retransmit_ms; /* the first repetition of what is not acknowledged; doubles */
	unsigned payload_most;
};

/* On the control loop; the files are checked here. 0 or an error with a sentence. */
int cw_coap_wire_new(const struct coap_wire_conf *conf, const struct coap_wire_ops *ops, struct coap_wire **ret_wire,
		     struct cw_msg *msg);
/* After `closed`, or when it was never started. Accepts NULL. */
void cw_coap_wire_free(struct coap_wire *wire);
/* On the loop from here on. */
int cw_coap_wire_start(struct coap_wire *wire, struct cw_worker *w);
/* Closes links that are left, without telling. `closed` runs when the handles are gone. */
void cw_coap_wire_close(struct coap_wire *wire, void (*closed)(void *arg), void *arg);

/*
 * `host` (lent while the link lives) is the name in the server's certificate; `psk` may go afterwards. 0; CW_ENOMEM;
 * CW_EUNREACH: no socket, errno says why.
 */
int cw_coap_link_open(struct coap_wire *wire, void *owner, const struct sockaddr *to, socklen_t len, const char *host,
		      const struct coap_psk *psk, struct coap_link **ret_link);
/*
 * 1 when the handshake hangs behind our proof of the key: a server drops that without a word when its own key is
 * another one.
 */
int cw_coap_link_is_key_ignored(const struct coap_link *link);
/* Nothing is told about it any more. Accepts NULL. */
void cw_coap_link_close(struct coap_link *link);

struct coap_post {
	uint32_t token;
	const char *path;   /* segments with / between them */
	int format, accept; /* numbers of content formats, -1: not said */
	const char *pass;   /* option 2088; NULL: none */
	const uint8_t *seq; /* option 2089, COAP_BLOCK bytes; NULL: none */
	struct cw_bytes payload;
};
/* A confirmable POST; ends with answer() or broken(), or never. 0, CW_ENOMEM, CW_ELIMIT (does not fit), CW_ECLOSED. */
int cw_coap_link_send(struct coap_link *link, const struct coap_post *post);

#endif
