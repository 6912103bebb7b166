/*
 * probe.h - one connection to a server, step by step, for `causeway doctor`: name, TCP, TLS, and for MQTT one CONNECT.
 * Blocking, with limits; no thread, no loop.
 */
#ifndef CW_CLI_PROBE_H
#define CW_CLI_PROBE_H

#include "base/err.h"
#include "upstream/endpoint.h"

struct cw_probe;

struct cw_probe_tls {
	const char *ca, *certificate, *key; /* PEM files; may be NULL */
	int verify;
	const char *alpn;                   /* NULL: none offered */
};

/* Each step returns 0 or an error; `text` says what was found, or what failed and what to do. */
int cw_probe_name(const struct cw_endpoint *at, struct cw_probe **ret_probe, struct cw_msg *text);
int cw_probe_tcp(struct cw_probe *p, struct cw_msg *text);
int cw_probe_tls(struct cw_probe *p, const struct cw_probe_tls *tls, struct cw_msg *text);
/* One CONNECT, keeping the session; nothing that waits for the bridge is taken. *ret_code: of CONNACK, -1 when none came. */
int cw_probe_mqtt(struct cw_probe *p, const char *client_id, const char *user, const char *password, int *ret_code, struct cw_msg *text);
void cw_probe_free(struct cw_probe *p); /* accepts NULL */

#endif
