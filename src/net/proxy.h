/*
 * proxy.h - the PROXY protocol header, versions 1 and 2, as a function over bytes.
 */
#ifndef CW_NET_PROXY_H
#define CW_NET_PROXY_H

#include "causeway/bytes.h"
#include "net/addr.h"

/* Longest header taken. Version 2 may announce 64 KiB of extensions; what proxies add in practice is below 1 KiB. */
#define CW_PROXY_MOST 4096

struct cw_proxy {
	int known;             /* 0: LOCAL or UNKNOWN, the connection speaks for the proxy itself */
	struct cw_addr source; /* when known */
};

/*
 * How long the header at the start of `in` is; 0: more bytes are needed to say;
 * CW_EPROTO: these bytes cannot be or become one. *ret_proxy is set when the result is above 0.
 */
int cw_proxy_parse(struct cw_bytes in, struct cw_proxy *ret_proxy);
/* The same, version 2 only, as it stands in front of a datagram: a header that is cut off is CW_EPROTO. */
int cw_proxy_parse_datagram(struct cw_bytes in, struct cw_proxy *ret_proxy);
/* 1 when the bytes start with the signature of version 2. */
int cw_proxy_is_v2(struct cw_bytes in);

#endif
