/*
 * addr.h - source addresses and lists of networks, plain values without a socket.
 *
 * An IPv4 address that arrived on an IPv6 socket (::ffff:a.b.c.d) is kept as IPv4,
 * so that lists and limits mean the same on either. Any thread.
 */
#ifndef CW_NET_ADDR_H
#define CW_NET_ADDR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

#define CW_ADDR_TEXT 64 /* longest text of an address with its port, NUL included */

struct cw_addr {
	uint8_t ip[16]; /* IPv4: the first four bytes, the others zero */
	uint16_t port;  /* host order */
	uint8_t family; /* 4, 6, or 0: unknown */
	uint8_t pad;
	uint32_t scope; /* IPv6 link-local: interface index */
};

/* Family 0 when `sa` is neither IPv4 nor IPv6. */
void cw_addr_from_sockaddr(struct cw_addr *addr, const struct sockaddr *sa);
/* The length of what was written to `ss`. */
socklen_t cw_addr_to_sockaddr(const struct cw_addr *addr, struct sockaddr_storage *ss);
/* `192.0.2.7:7611`, `[2001:db8::1]:7611`, `unknown`. Returns `out`. */
const char *cw_addr_format(const struct cw_addr *addr, char out[CW_ADDR_TEXT]);
/* `host:port` or `[v6]:port`; host is numeric, `localhost`, or `*` for every IPv4 address. 0 or CW_ECONF with a sentence. */
int cw_addr_parse(const char *text, struct cw_addr *ret_addr, struct cw_msg *msg);
/* 1 when both are the same host; ports do not count. */
int cw_addr_same_host(const struct cw_addr *a, const struct cw_addr *b);

/*
 * Whom limits count for the peer "host:port": the host without its port; of IPv6 the first 64 bits, for who has one address there has all of
 * them. What is no address stays as it is, cut to fit; "" stays "".
 */
const char *cw_addr_limited(const char *peer, char out[CW_ADDR_TEXT]);

struct cw_cidr {
	uint8_t ip[16];
	uint8_t family; /* 4 or 6 */
	uint8_t bits;
};

struct cw_cidrs {
	struct cw_cidr *v; /* owned */
	size_t count;
};

/* Texts such as `10.0.0.0/8`, `2001:db8::/32`, or an address alone. 0, CW_ENOMEM, or CW_ECONF with a sentence. */
int cw_cidrs_parse(const char *const *texts, size_t count, struct cw_cidrs *ret_list, struct cw_msg *msg);
void cw_cidrs_fini(struct cw_cidrs *list);
int cw_cidrs_match(const struct cw_cidrs *list, const struct cw_addr *addr);

#endif
