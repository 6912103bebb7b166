/*
 * pcap.c - packets out of pcap and pcapng files, TCP segments and datagrams out of packets.
 *
 * pcap: draft-ietf-opsawg-pcap. pcapng: draft-ietf-opsawg-pcapng. Link types: the LINKTYPE_ registry of tcpdump.org.
 */
#include <string.h>

#include "base/mem.h"
#include "capture/capture_impl.h"

#define LINK_NULL 0
#define LINK_ETHERNET 1
#define LINK_RAW 101
#define LINK_RAW_BSD 12
#define LINK_RAW_OPENBSD 14
#define LINK_LOOP 108
#define LINK_SLL 113
#define LINK_IPV4 228
#define LINK_IPV6 229
#define LINK_SLL2 276

#define BLOCK_SECTION 0x0a0d0d0au
#define BLOCK_INTERFACE 1u
#define BLOCK_PACKET_OLD 2u
#define BLOCK_SIMPLE 3u
#define BLOCK_ENHANCED 6u
#define INTERFACES_MOST 64
#define BOM 0x1a2b3c4du

struct interface {
	uint16_t link;
	uint64_t ticks; /* a second */
	int64_t offset_s;
};

struct file {
	struct cw_capture *c;
	struct streams *streams;
	struct interface v[INTERFACES_MOST];
	unsigned count;
	int64_t last_ms;
	uint8_t swap; /* the file's numbers begin with their low byte */
};

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)be16(p) << 16 | be16(p + 2);
}

static uint16_t f16(const struct file *f, const uint8_t *p)
{
	uint8_t turned[2] = { p[1], p[0] };

	return be16(f->swap ? turned : p);
}

static uint32_t f32(const struct file *f, const uint8_t *p)
{
	return f->swap ? (uint32_t)f16(f, p + 2) << 16 | f16(f, p) : be32(p);
}

/* ---- packets ------------------------------------------------------------------------- */

/* `wire`: how long the transport's part was on the wire; p[len] is what the capture has of it. */
static int take_tcp(struct file *f, struct segment *s, const uint8_t *p, size_t len, size_t wire)
{
	size_t head;

	if (len < 20) {
		f->c->damaged++;
		return 0;
	}
	head = (size_t)(p[12] >> 4) * 4;
	if (head < 20 || head > len || head > wire) {
		f->c->damaged++;
		return 0;
	}
	s->from_port = be16(p);
	s->to_port = be16(p + 2);
	s->seq = be32(p + 4);
	s->ack = be32(p + 8);
	s->flags = p[13];
	s->data = cw_bytes_of(p + head, len - head);
	s->cut = wire - len;
	return streams_take(f->streams, s);
}

static int take_udp(struct file *f, struct segment *s, const uint8_t *p, size_t len, size_t wire)
{
	if (len < 8 || len < wire) { /* a part of a datagram says nothing */
		f->c->damaged++;
		return 0;
	}
	s->udp = 1;
	s->from_port = be16(p);
	s->to_port = be16(p + 2);
	if (be16(p + 4) >= 8 && be16(p + 4) < len)
		len = be16(p + 4);
	s->data = cw_bytes_of(p + 8, len - 8);
	return streams_take(f->streams, s);
}

static int take_transport(struct file *f, struct segment *s, unsigned protocol, const uint8_t *p, size_t len, size_t wire)
{
	if (len > wire)
		len = wire; /* padding of short Ethernet frames */
	if (protocol == 6)
		return take_tcp(f, s, p, len, wire);
	if (protocol == 17)
		return take_udp(f, s, p, len, wire);
	f->c->other++;
	return 0;
}

static int take_ipv4(struct file *f, int64_t time_ms, const uint8_t *p, size_t len, size_t wire)
{
	struct segment s = { .time_ms = time_ms };
	size_t head, total;

	if (len < 20 || p[0] >> 4 != 4 || (head = (size_t)(p[0] & 15) * 4) < 20 || head > len) {
		f->c->damaged++;
		return 0;
	}
	total = be16(p + 2);
	if (total == 0) /* segmentation was left to the network card */
		total = wire;
	if (total < head) {
		f->c->damaged++;
		return 0;
	}
	if ((be16(p + 6) & 0x3fff) != 0) {
		f->c->fragments++;
		return 0;
	}
	memcpy(s.from, p + 12, 4);
	memcpy(s.to, p + 16, 4);
	return take_transport(f, &s, p[9], p + head, len - head, total - head);
}

static int take_ipv6(struct file *f, int64_t time_ms, const uint8_t *p, size_t len, size_t wire)
{
	struct segment s = { .time_ms = time_ms, .v6 = 1 };
	size_t rest, n;
	unsigned next;

	if (len < 40 || p[0] >> 4 != 6) {
		f->c->damaged++;
		return 0;
	}
	rest = be16(p + 4) != 0 ? be16(p + 4) : wire - 40;
	next = p[6];
	memcpy(s.from, p + 8, 16);
	memcpy(s.to, p + 24, 16);
	p += 40;
	len -= 40;
	/* Hop-by-hop, routing, fragment, authentication, destination options (RFC 8200, 4). */
	while (next == 0 || next == 43 || next == 44 || next == 51 || next == 60) {
		if (len < 8 || rest < 8) {
			f->c->damaged++;
			return 0;
		}
		if (next == 44 && (be16(p + 2) & 0xfff9) != 0) {
			f->c->fragments++;
			return 0;
		}
		n = next == 44 ? 8 : next == 51 ? ((size_t)p[1] + 2) * 4 : ((size_t)p[1] + 1) * 8;
		if (n > len || n > rest) {
			f->c->damaged++;
			return 0;
		}
		next = p[0];
		p += n;
		len -= n;
		rest -= n;
	}
	return take_transport(f, &s, next, p, len, rest);
}

static int take_ip(struct file *f, int64_t time_ms, unsigned ethertype, const uint8_t *p, size_t len, size_t wire)
{
	if (ethertype == 0x0800)
		return take_ipv4(f, time_ms, p, len, wire);
	if (ethertype == 0x86dd)
		return take_ipv6(f, time_ms, p, len, wire);
	f->c->other++;
	return 0;
}

static int take_ethernet(struct file *f, int64_t time_ms, const uint8_t *p, size_t len, size_t wire)
{
	unsigned type;
	size_t at = 12;

	while (at + 2 <= len && ((type = be16(p + at)) == 0x8100 || type == 0x88a8 || type == 0x9100))
		at += 4; /* 802.1Q and 802.1ad tags */
	if (at + 2 > len) {
		f->c->damaged++;
		return 0;
	}
	return take_ip(f, time_ms, be16(p + at), p + at + 2, len - at - 2, wire - at - 2);
}

/* p[len] of a packet that was `wire` bytes long. */
static int take_packet(struct file *f, unsigned link, int64_t time_ms, const uint8_t *p, size_t len, size_t wire)
{
	uint32_t family;

	f->c->packets++;
	f->last_ms = time_ms;
	if (wire < len)
		wire = len;
	switch (link) {
	case LINK_ETHERNET:
		return take_ethernet(f, time_ms, p, len, wire);
	case LINK_RAW:
	case LINK_RAW_BSD:
	case LINK_RAW_OPENBSD:
	case LINK_IPV4:
	case LINK_IPV6:
		return take_ip(f, time_ms, len > 0 && p[0] >> 4 == 6 ? 0x86dd : 0x0800, p, len, wire);
	case LINK_NULL:
	case LINK_LOOP:
		if (len < 4)
			break;
		/* The family in the order of the machine that wrote the file, in network order for LOOP; 24, 28 and 30: IPv6 of the BSDs. */
		family = p[0] == 0 && p[1] == 0 ? be32(p) : (uint32_t)p[1] << 8 | p[0];
		return take_ip(f, time_ms, family == 2 ? 0x0800 : family == 10 || family == 24 || family == 28 || family == 30 ? 0x86dd : 0, p + 4,
		               len - 4, wire - 4);
	case LINK_SLL:
		if (len < 16)
			break;
		return take_ip(f, time_ms, be16(p + 14), p + 16, len - 16, wire - 16);
	case LINK_SLL2:
		if (len < 20)
			break;
		return take_ip(f, time_ms, be16(p), p + 20, len - 20, wire - 20);
	default:
		f->c->other++;
		return 0;
	}
	f->c->damaged++;
	return 0;
}

/* ---- pcap ------------------------------------------------------------------------------ */

static int read_pcap(struct file *f, struct cw_bytes b, int nano)
{
	unsigned link = f32(f, b.ptr + 20) & 0x0fffffffu;
	size_t at = 24;
	int rc = 0;

	f->c->format = "pcap";
	while (rc == 0 && b.len - at >= 16) {
		uint32_t len = f32(f, b.ptr + at + 8), wire = f32(f, b.ptr + at + 12);
		int64_t ms = (int64_t)f32(f, b.ptr + at) * 1000 + f32(f, b.ptr + at + 4) / (nano ? 1000000u : 1000u);

		at += 16;
		if (len > b.len - at) { /* the writer was stopped in the middle */
			f->c->damaged++;
			break;
		}
		rc = take_packet(f, link, ms, b.ptr + at, len, wire);
		at += len;
	}
	return rc;
}

/* ---- pcapng ------------------------------------------------------------------------------ */

static int64_t ticks_to_ms(const struct interface *i, uint64_t ticks)
{
	uint64_t s = ticks / i->ticks, rest = ticks % i->ticks;
	/* A resolution finer than 2^-40 s is divided first: milliseconds are all that is asked for. */
	uint64_t ms = i->ticks > 1ull << 40 ? rest / (i->ticks / 1000) : rest * 1000 / i->ticks;

	if (s > 1ull << 40) /* year 36000: nobody's clock */
		s = 1ull << 40;
	return ((int64_t)s + i->offset_s) * 1000 + (int64_t)ms;
}

static void read_options(struct file *f, struct interface *i, const uint8_t *p, size_t len)
{
	uint64_t offset;
	unsigned n;

	while (len >= 4) {
		unsigned code = f16(f, p), size = f16(f, p + 2);
		size_t padded = ((size_t)size + 3) & ~(size_t)3;

		p += 4;
		len -= 4;
		if (code == 0 || padded > len)
			return;
		if (code == 9 && size == 1) { /* if_tsresol */
			n = p[0] & 0x7f;
			if (p[0] & 0x80 && n < 63)
				i->ticks = 1ull << n;
			for (i->ticks = p[0] & 0x80 ? i->ticks : 1; !(p[0] & 0x80) && n > 0 && n < 19; n--)
				i->ticks *= 10;
		} else if (code == 14 && size == 8) { /* if_tsoffset */
			offset = f->swap ? (uint64_t)f32(f, p + 4) << 32 | f32(f, p) : (uint64_t)f32(f, p) << 32 | f32(f, p + 4);
			i->offset_s = offset < 1ull << 40 ? (int64_t)offset : 0;
		}
		p += padded;
		len -= padded;
	}
}

static int read_enhanced(struct file *f, const uint8_t *p, size_t len, int old)
{
	unsigned id;
	uint32_t caplen;

	if (len < 20) {
		f->c->damaged++;
		return 0;
	}
	id = old ? f16(f, p) : f32(f, p);
	caplen = f32(f, p + 12);
	if (id >= f->count || caplen > len - 20) {
		f->c->damaged++;
		return 0;
	}
	return take_packet(f, f->v[id].link, ticks_to_ms(&f->v[id], (uint64_t)f32(f, p + 4) << 32 | f32(f, p + 8)),
			   p + 20, caplen, f32(f, p + 16));
}

static int read_block(struct file *f, uint32_t type, const uint8_t *p, size_t len)
{
	uint32_t wire;

	switch (type) {
	case BLOCK_SECTION:
		f->count = 0;
		return 0;
	case BLOCK_INTERFACE:
		if (len < 8 || f->count == INTERFACES_MOST) {
			f->c->damaged++;
			return 0;
		}
		f->v[f->count].link = f16(f, p);
		f->v[f->count].ticks = 1000000;
		f->v[f->count].offset_s = 0;
		read_options(f, &f->v[f->count], p + 8, len - 8);
		f->count++;
		return 0;
	case BLOCK_PACKET_OLD:
	case BLOCK_ENHANCED:
		return read_enhanced(f, p, len, type == BLOCK_PACKET_OLD);
	case BLOCK_SIMPLE: /* has no time */
		if (len < 4 || f->count == 0) {
			f->c->damaged++;
			return 0;
		}
		wire = f32(f, p);
		return take_packet(f, f->v[0].link, f->last_ms, p + 4, wire < len - 4 ? wire : len - 4, wire);
	default: /* names, statistics, custom */
		return 0;
	}
}

static int read_pcapng(struct file *f, struct cw_bytes b, struct cw_msg *msg)
{
	size_t at = 0;
	int rc = 0;

	f->c->format = "pcapng";
	while (rc == 0 && b.len - at >= 12) {
		const uint8_t *p = b.ptr + at;
		uint32_t len;

		if (be32(p) == BLOCK_SECTION) { /* the same in both orders */
			f->swap = be32(p + 8) != BOM;
			if (f->swap && f32(f, p + 8) != BOM)
				return cw_fail(msg, CW_EPROTO, "the pcapng section at byte %zu has no byte-order magic", at);
		}
		len = f32(f, p + 4);
		if (len < 12 || len % 4 != 0 || len > b.len - at) {
			f->c->damaged++;
			break;
		}
		rc = read_block(f, f32(f, p), p + 8, len - 12);
		at += len;
	}
	return rc;
}

int pcap_read(struct cw_capture *c, struct cw_bytes file, const struct cw_capture_how *how, struct cw_msg *msg)
{
	struct file *f;
	uint32_t magic = file.len < 24 ? 0 : be32(file.ptr);
	int rc, swap = magic == 0xd4c3b2a1u || magic == 0x4d3cb2a1u, nano = magic == 0xa1b23c4du || magic == 0x4d3cb2a1u;

	if (!swap && !nano && magic != 0xa1b2c3d4u && magic != BLOCK_SECTION)
		return CW_EPROTO;
	f = cw_zalloc(sizeof(*f));
	if (f == NULL)
		return CW_ENOMEM;
	f->c = c;
	f->swap = (uint8_t)swap;
	rc = streams_new(c, how, &f->streams);
	if (rc == 0)
		rc = magic == BLOCK_SECTION ? read_pcapng(f, file, msg) : read_pcap(f, file, nano);
	if (rc == 0)
		rc = streams_end(f->streams);
	streams_free(f->streams);
	cw_free(f);
	return rc;
}
