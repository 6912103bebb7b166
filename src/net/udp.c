/*
 * udp.c - a UDP port: one socket, a session for each source address.
 *
 * A session ends by idleTime or by its owner; a datagram that comes after that
 * begins a new one. A device whose address changed (NAT) is a new session, too:
 * who it is, its decoder says.
 */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/inside.h"

#define RECEIVE_BUFFER (1024 * 1024) /* asked for; the system may give less */

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
	(void)handle;
	(void)size;
	*buf = cw_net_read_buffer();
}

void cw_net_udp_unlist(struct cw_session *s)
{
	if (!(s->flags & CW_NET_LISTED))
		return;
	s->flags &= (uint8_t)~CW_NET_LISTED;
	cw_map_remove(&s->port->sources, &s->u.udp.node);
}

void cw_net_udp_sockaddr(const struct cw_session *s, struct sockaddr_storage *ss)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)ss;
	const struct cw_addr *to = &s->u.udp.to;

	(void)cw_addr_to_sockaddr(to, ss);
	if (to->family == 6 || s->port->family == 4)
		return;
	memset(ss, 0, sizeof(*ss)); /* an IPv6 socket speaks to IPv4 by mapped addresses */
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(to->port);
	in6->sin6_addr.s6_addr[10] = in6->sin6_addr.s6_addr[11] = 0xff;
	memcpy(&in6->sin6_addr.s6_addr[12], to->ip, 4);
}

static struct cw_session *find(struct cw_net_port *p, const struct cw_addr *from)
{
	struct cw_map_node *n = cw_map_find(&p->sources, from, sizeof(*from));

	return n == NULL ? NULL : cw_container_of(n, struct cw_session, u.udp.node);
}

static void drop(struct cw_net_port *p)
{
	cw_net_count(p->gate, datagrams_dropped);
}

/* The same questions as at accept(); the header, if one is due, has been read. */
static struct cw_session *admit(struct cw_net_port *p, const struct cw_addr *from, const struct cw_addr *source, int listed)
{
	enum cw_net_count refused;
	int counted;

	if (listed && cw_net_gate_lists(p->policy, source, &refused) < 0)
		goto refused;
	if (cw_net_gate_enter(p->gate, p->policy, &refused) < 0)
		goto refused;
	refused = CW_NET_COUNT_refused_source;
	counted = cw_net_gate_source(p->gate, p->policy, source);
	if (counted < 0)
		goto err_entered;
	return cw_net_session_udp(p, from, source, counted);
err_entered:
	cw_net_gate_leave(p->gate, p->policy);
refused:
	cw_net_refused(p, source, refused);
	return NULL;
}

/* Skip the header in front of a datagram. 0, or CW_EPROTO. */
static int take_header(struct cw_net_port *p, struct cw_bytes *in, int must, struct cw_proxy *proxy)
{
	int n;

	if (!must && !cw_proxy_is_v2(*in))
		return 0;
	n = cw_proxy_parse_datagram(*in, proxy);
	if (n < 0) {
		cw_net_count(p->gate, proxy_bad);
		return n;
	}
	*in = cw_bytes_of(in->ptr + n, in->len - (size_t)n);
	return 0;
}

static void take_datagram(struct cw_net_port *p, struct cw_bytes in, const struct cw_addr *from)
{
	int proxied = cw_cidrs_match(&p->policy->proxy_from, from);
	struct cw_session *s = find(p, from);
	struct cw_proxy proxy = { 0 };

	if (proxied && take_header(p, &in, s == NULL, &proxy) < 0) {
		drop(p);
		return;
	}
	if (s == NULL && !p->stopped)
		s = admit(p, from, proxy.known ? &proxy.source : from, proxy.known || !proxied);
	if (s == NULL || s->flags & CW_NET_PAUSED) {
		drop(p);
		return;
	}
	cw_net_session_deliver(s, in);
}

static void on_datagram(uv_udp_t *udp, ssize_t nread, const uv_buf_t *buf, const struct sockaddr *sa, unsigned flags)
{
	struct cw_net_port *p = cw_container_of(udp->data, struct cw_net_port, closing);
	struct cw_addr from;

	if (nread < 0 || sa == NULL) /* an ICMP message about an earlier datagram, or nothing more to read */
		return;
	cw_count(net, datagrams_in);
	cw_count_n(net, bytes_in, nread);
	cw_addr_from_sockaddr(&from, sa);
	if (flags & UV_UDP_PARTIAL)
		drop(p);
	else
		take_datagram(p, cw_bytes_of(buf->base, (size_t)nread), &from);
}

int cw_net_udp_open(struct cw_net_port *p)
{
	int size = RECEIVE_BUFFER, rc;

	rc = uv_udp_init(cw_worker_loop(p->worker), &p->u.udp);
	if (rc < 0)
		return rc;
	cw_closing_add(&p->closing, (uv_handle_t *)&p->u.udp);
	rc = uv_udp_open(&p->u.udp, p->fd);
	if (rc < 0)
		return rc;
	p->fd = -1; /* libuv's from here on */
	(void)uv_recv_buffer_size((uv_handle_t *)&p->u.udp, &size);
	return uv_udp_recv_start(&p->u.udp, on_alloc, on_datagram);
}
