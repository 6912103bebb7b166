/*
 * proxy.c - see proxy.h.
 *
 * Version 1 is one line of text, at most 107 bytes, ended by CR LF:
 *   PROXY TCP4 <source> <destination> <source port> <destination port>
 *   PROXY TCP6 ...        PROXY UNKNOWN <anything>
 * Version 2 is binary: 12 bytes of signature, version and command (4 bits each),
 * family and transport (4 bits each), length (16 bits), addresses, extensions.
 */
#include "net/proxy.h"

#include <arpa/inet.h>
#include <string.h>

#define V1_MOST 107u
#define V2_HEAD 16u

static const uint8_t v2_signature[12] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a };
static const uint8_t v1_prefix[6] = { 'P', 'R', 'O', 'X', 'Y', ' ' };

static int starts_like(struct cw_bytes in, const uint8_t *prefix, size_t len)
{
	return memcmp(in.ptr, prefix, in.len < len ? in.len : len) == 0;
}

/* The next word up to one blank or the end; empty when there is none. */
static struct cw_bytes next_word(struct cw_bytes *line)
{
	const uint8_t *blank = line->len == 0 ? NULL : memchr(line->ptr, ' ', line->len);
	size_t len = blank == NULL ? line->len : (size_t)(blank - line->ptr);
	struct cw_bytes word = cw_bytes_of(line->ptr, len);

	if (blank != NULL && len + 1 < line->len) /* one at the very end stays, to be found wrong */
		len++;
	*line = cw_bytes_of(line->ptr + len, line->len - len);
	return word;
}

static int word_to_ip(struct cw_bytes word, int family, uint8_t *ip)
{
	char text[INET6_ADDRSTRLEN];

	if (word.len == 0 || word.len >= sizeof(text))
		return 0;
	memcpy(text, word.ptr, word.len);
	text[word.len] = '\0';
	return inet_pton(family, text, ip) == 1;
}

static int word_to_port(struct cw_bytes word, uint16_t *ret_port)
{
	unsigned v = 0;
	size_t i;

	if (word.len == 0 || word.len > 5)
		return 0;
	for (i = 0; i < word.len; i++) {
		if (word.ptr[i] < '0' || word.ptr[i] > '9')
			return 0;
		v = v * 10 + (unsigned)(word.ptr[i] - '0');
	}
	*ret_port = (uint16_t)v;
	return v <= 65535;
}

static int parse_v1_line(struct cw_bytes line, struct cw_proxy *p)
{
	uint8_t ip[16] = { 0 }, to[16];
	struct cw_bytes proto, from_word, to_word;
	uint16_t port, to_port;
	int family;

	(void)next_word(&line); /* PROXY */
	proto = next_word(&line);
	if (cw_bytes_equal(proto, cw_bytes_text("UNKNOWN")))
		return 1;
	if (cw_bytes_equal(proto, cw_bytes_text("TCP4")))
		family = AF_INET;
	else if (cw_bytes_equal(proto, cw_bytes_text("TCP6")))
		family = AF_INET6;
	else
		return 0;
	from_word = next_word(&line);
	to_word = next_word(&line);
	if (!word_to_ip(from_word, family, ip) || !word_to_ip(to_word, family, to) ||
	    !word_to_port(next_word(&line), &port) || !word_to_port(next_word(&line), &to_port) || line.len != 0)
		return 0;
	p->known = 1;
	p->source.family = family == AF_INET ? 4 : 6;
	p->source.port = port;
	memcpy(p->source.ip, ip, sizeof(ip));
	return 1;
}

static int parse_v1(struct cw_bytes in, struct cw_proxy *p)
{
	size_t most = in.len < V1_MOST ? in.len : V1_MOST;
	const uint8_t *cr = memchr(in.ptr, '\r', most);
	size_t len;

	if (cr == NULL)
		return in.len >= V1_MOST ? CW_EPROTO : 0;
	len = (size_t)(cr - in.ptr);
	if (len + 1 == in.len)
		return len + 2 > V1_MOST ? CW_EPROTO : 0;
	if (cr[1] != '\n' || !parse_v1_line(cw_bytes_of(in.ptr, len), p))
		return CW_EPROTO;
	return (int)(len + 2);
}

static int read_v2_source(struct cw_reader *r, unsigned family, struct cw_addr *addr)
{
	struct cw_bytes ip;
	uint16_t port;

	ip = cw_read_bytes(r, family == 1 ? 4 : 16);
	(void)cw_read_bytes(r, family == 1 ? 4 : 16);
	port = cw_read_u16be(r);
	(void)cw_read_u16be(r);
	if (r->short_read)
		return 0;
	addr->family = family == 1 ? 4 : 6;
	addr->port = port;
	memcpy(addr->ip, ip.ptr, ip.len);
	return 1;
}

static int parse_v2(struct cw_bytes in, struct cw_proxy *p)
{
	struct cw_reader r = cw_reader_of(in);
	unsigned command, family;
	size_t len;

	(void)cw_read_bytes(&r, sizeof(v2_signature));
	command = cw_read_u8(&r);
	if (!r.short_read && (command >> 4 != 2 || (command & 15u) > 1))
		return CW_EPROTO;
	family = cw_read_u8(&r);
	if (!r.short_read && (family >> 4 > 3 || (family & 15u) > 2))
		return CW_EPROTO;
	len = cw_read_u16be(&r);
	if (r.short_read)
		return 0;
	if (V2_HEAD + len > CW_PROXY_MOST)
		return CW_EPROTO;
	if (in.len < V2_HEAD + len)
		return 0;
	r.len = V2_HEAD + len;
	/* LOCAL, or a family that is no address of the net (unspecified, Unix): the connection is the proxy's own. */
	if ((command & 15u) == 1 && (family >> 4 == 1 || family >> 4 == 2) && (family & 15u) != 0) {
		if (!read_v2_source(&r, family >> 4, &p->source))
			return CW_EPROTO;
		p->known = 1;
	}
	return (int)(V2_HEAD + len);
}

int cw_proxy_parse(struct cw_bytes in, struct cw_proxy *ret_proxy)
{
	struct cw_proxy p;
	int rc;

	memset(&p, 0, sizeof(p));
	if (in.len == 0)
		return 0;
	if (starts_like(in, v2_signature, sizeof(v2_signature)))
		rc = in.len < sizeof(v2_signature) ? 0 : parse_v2(in, &p);
	else if (starts_like(in, v1_prefix, sizeof(v1_prefix)))
		rc = in.len < sizeof(v1_prefix) ? 0 : parse_v1(in, &p);
	else
		rc = CW_EPROTO;
	if (rc > 0)
		*ret_proxy = p;
	return rc;
}

int cw_proxy_is_v2(struct cw_bytes in)
{
	return in.len >= sizeof(v2_signature) && memcmp(in.ptr, v2_signature, sizeof(v2_signature)) == 0;
}

int cw_proxy_parse_datagram(struct cw_bytes in, struct cw_proxy *ret_proxy)
{
	int rc = cw_proxy_is_v2(in) ? cw_proxy_parse(in, ret_proxy) : CW_EPROTO;

	return rc == 0 ? CW_EPROTO : rc;
}
