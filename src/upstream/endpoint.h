/*
 * endpoint.h - `scheme://host[:port][/...]` as it stands in the configuration, for all who speak to the platform. Only the
 * schemes differ, and what each makes of the rest. Plain text, no look-up; any thread.
 */
#ifndef CW_UPSTREAM_ENDPOINT_H
#define CW_UPSTREAM_ENDPOINT_H

#include "base/err.h"

struct cw_endpoint_scheme {
	const char *name; /* as in "ssl" */
	unsigned port;    /* without one in the text; 0: there must be one */
	int tls, udp;     /* it is encrypted; it goes over UDP */
	int rest;         /* something may follow host and port, with / ? or # before it */
	const char *alpn; /* what has to be offered in the TLS handshake; NULL: nothing */
};

struct cw_endpoint_form {
	const struct cw_endpoint_scheme *schemes; /* ends with a NULL name */
	const char *begins;                       /* for the sentence: "tcp:// or ssl://" */
	const char *like;                         /* for the sentence: "ssl://host:1883 or ssl://[2001:db8::1]:1883" */
};

struct cw_endpoint {
	const struct cw_endpoint_scheme *scheme;
	char host[256]; /* a name or an address; IPv6 without its brackets */
	char port[8];
	unsigned number;  /* the same */
	int bracketed;    /* IPv6 in brackets */
	const char *rest; /* behind host and port, lent from the text; "" when nothing is there */
};

/* 0, or CW_ECONF with a sentence. `text` must not be NULL. */
int cw_endpoint_parse(const char *text, const struct cw_endpoint_form *form, struct cw_endpoint *ret, struct cw_msg *msg);

#endif
