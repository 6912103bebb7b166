/* addr.c - see addr.h. */
#include "net/addr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static const uint8_t mapped_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

void cw_addr_from_sockaddr(struct cw_addr *addr, const struct sockaddr *sa)
{
	memset(addr, 0, sizeof(*addr)); /* padding too: addresses are compared and hashed as bytes */
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;

		addr->family = 4;
		addr->port = ntohs(in->sin_port);
		memcpy(addr->ip, &in->sin_addr, 4);
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;

		addr->port = ntohs(in6->sin6_port);
		if (memcmp(&in6->sin6_addr, mapped_prefix, 12) == 0) {
			addr->family = 4;
			memcpy(addr->ip, (const uint8_t *)&in6->sin6_addr + 12, 4);
		} else {
			addr->family = 6;
			addr->scope = in6->sin6_scope_id;
			memcpy(addr->ip, &in6->sin6_addr, 16);
		}
	}
}

socklen_t cw_addr_to_sockaddr(const struct cw_addr *addr, struct sockaddr_storage *ss)
{
	memset(ss, 0, sizeof(*ss));
	if (addr->family == 4) {
		struct sockaddr_in *in = (struct sockaddr_in *)(void *)ss;

		in->sin_family = AF_INET;
		in->sin_port = htons(addr->port);
		memcpy(&in->sin_addr, addr->ip, 4);
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)ss;

	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(addr->port);
	in6->sin6_scope_id = addr->scope;
	memcpy(&in6->sin6_addr, addr->ip, 16);
	return sizeof(*in6);
}

const char *cw_addr_format(const struct cw_addr *addr, char out[CW_ADDR_TEXT])
{
	char ip[INET6_ADDRSTRLEN];

	if (addr->family == 0 || inet_ntop(addr->family == 4 ? AF_INET : AF_INET6, addr->ip, ip, sizeof(ip)) == NULL)
		(void)snprintf(out, CW_ADDR_TEXT, "unknown");
	else
		(void)snprintf(out, CW_ADDR_TEXT, addr->family == 4 ? "%s:%u" : "[%s]:%u", ip, (unsigned)addr->port);
	return out;
}

static int parse_port(const char *text, uint16_t *ret_port)
{
	unsigned long v = 0;
	const char *p;

	for (p = text; *p >= '0' && *p <= '9' && p - text < 5; p++)
		v = v * 10 + (unsigned long)(*p - '0');
	if (p == text || *p != '\0' || v > 65535)
		return CW_ECONF;
	*ret_port = (uint16_t)v;
	return 0;
}

/* The host alone, without brackets. */
static int parse_host(const char *host, struct cw_addr *addr)
{
	char plain[INET6_ADDRSTRLEN];
	const char *zone = strchr(host, '%');
	size_t len = zone == NULL ? strlen(host) : (size_t)(zone - host);

	if (len >= sizeof(plain))
		return CW_ECONF;
	memcpy(plain, host, len);
	plain[len] = '\0';
	if (zone == NULL && strcmp(plain, "*") == 0) {
		addr->family = 4;
		return 0;
	}
	if (zone == NULL && inet_pton(AF_INET, strcmp(plain, "localhost") == 0 ? "127.0.0.1" : plain, addr->ip) == 1) {
		addr->family = 4;
		return 0;
	}
	if (inet_pton(AF_INET6, plain, addr->ip) != 1)
		return CW_ECONF;
	addr->family = 6;
	if (zone == NULL)
		return 0;
	addr->scope = if_nametoindex(zone + 1);
	if (addr->scope == 0)
		addr->scope = (uint32_t)strtoul(zone + 1, NULL, 10);
	return addr->scope == 0 ? CW_ECONF : 0;
}

int cw_addr_parse(const char *text, struct cw_addr *ret_addr, struct cw_msg *msg)
{
	struct cw_addr addr = { 0 };
	char host[80];
	const char *colon = strrchr(text, ':');
	size_t len;

	if (colon == NULL || parse_port(colon + 1, &addr.port) < 0)
		return cw_fail(msg, CW_ECONF, "\"%s\" has no port from 0 to 65535 at its end: write host:port or [v6]:port", text);
	len = (size_t)(colon - text);
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	} else if (memchr(text, ':', len) != NULL) {
		return cw_fail(msg, CW_ECONF, "\"%s\": an IPv6 address needs brackets, as in [::1]:7611", text);
	}
	if (len >= sizeof(host))
		return cw_fail(msg, CW_ECONF, "\"%s\" is too long for an address", text);
	memcpy(host, text, len);
	host[len] = '\0';
	if (parse_host(host, &addr) < 0)
		return cw_fail(msg, CW_ECONF, "\"%s\" is no address: a number such as 192.0.2.7 or 2001:db8::1, localhost, or *", host);
	*ret_addr = addr;
	return 0;
}

int cw_addr_same_host(const struct cw_addr *a, const struct cw_addr *b)
{
	return a->family == b->family && a->scope == b->scope && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

const char *cw_addr_limited(const char *peer, char out[CW_ADDR_TEXT])
{
	struct sockaddr_storage ss;
	struct cw_addr addr;
	char *port;

	if (cw_addr_parse(peer, &addr, NULL) < 0) {
		(void)snprintf(out, CW_ADDR_TEXT, "%.*s", CW_ADDR_TEXT - 1, peer);
		return out;
	}
	(void)cw_addr_to_sockaddr(&addr, &ss);
	cw_addr_from_sockaddr(&addr, (const struct sockaddr *)&ss); /* IPv4 in IPv6's clothes is many networks */
	if (addr.family == 6)
		memset(addr.ip + 8, 0, 8);
	(void)cw_addr_format(&addr, out);
	port = strrchr(out, ':');
	if (port != NULL)
		*port = '\0';
	return out;
}

static int parse_cidr(const char *text, struct cw_cidr *c, struct cw_msg *msg)
{
	struct cw_addr addr = { 0 };
	const char *slash = strchr(text, '/');
	size_t len = slash == NULL ? strlen(text) : (size_t)(slash - text);
	uint16_t bits = 0;
	unsigned most;
	char host[80];

	if (len >= sizeof(host))
		return cw_fail(msg, CW_ECONF, "\"%s\" is too long for a network", text);
	memcpy(host, text, len);
	host[len] = '\0';
	if (strcmp(host, "*") == 0 || strcmp(host, "localhost") == 0 || parse_host(host, &addr) < 0)
		return cw_fail(msg, CW_ECONF, "\"%s\" is no network: write 10.0.0.0/8, 2001:db8::/32 or one address", text);
	most = addr.family == 4 ? 32 : 128;
	if (slash == NULL)
		bits = (uint16_t)most;
	else if (parse_port(slash + 1, &bits) < 0 || bits > most)
		return cw_fail(msg, CW_ECONF, "\"%s\": the prefix length is a number from 0 to %u", text, most);
	c->family = addr.family;
	c->bits = (uint8_t)bits;
	memcpy(c->ip, addr.ip, sizeof(c->ip));
	return 0;
}

int cw_cidrs_parse(const char *const *texts, size_t count, struct cw_cidrs *ret_list, struct cw_msg *msg)
{
	struct cw_cidrs list = { NULL, 0 };
	int rc;

	if (count > 0) {
		list.v = cw_calloc(count, sizeof(*list.v));
		if (list.v == NULL)
			return cw_fail(msg, CW_ENOMEM, "out of memory");
	}
	for (; list.count < count; list.count++) {
		rc = parse_cidr(texts[list.count], &list.v[list.count], msg);
		if (rc < 0) {
			cw_cidrs_fini(&list);
			return rc;
		}
	}
	*ret_list = list;
	return 0;
}

void cw_cidrs_fini(struct cw_cidrs *list)
{
	cw_free(list->v);
	list->v = NULL;
	list->count = 0;
}

static int within(const struct cw_cidr *c, const struct cw_addr *addr)
{
	unsigned whole = c->bits / 8u, rest = c->bits % 8u;

	if (c->family != addr->family || memcmp(c->ip, addr->ip, whole) != 0)
		return 0;
	return rest == 0 || ((c->ip[whole] ^ addr->ip[whole]) >> (8 - rest)) == 0;
}

int cw_cidrs_match(const struct cw_cidrs *list, const struct cw_addr *addr)
{
	size_t i;

	for (i = 0; i < list->count; i++)
		if (within(&list->v[i], addr))
			return 1;
	return 0;
}
