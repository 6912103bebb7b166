/* mqtt_codec.c - see mqtt_codec.h. */
#include "cloud/mqtt/codec.h"

#include <string.h>

#include "causeway/error.h"

struct reader {
	const uint8_t *at, *end;
	int bad; /* ran past the end, or a text was not UTF-8; asked once */
};

static uint8_t read_u8(struct reader *r)
{
	if (r->at >= r->end) {
		r->bad = 1;
		return 0;
	}
	return *r->at++;
}

static uint16_t read_u16(struct reader *r)
{
	uint16_t high = read_u8(r);

	return (uint16_t)(high << 8 | read_u8(r));
}

static struct cloud_text read_bytes(struct reader *r)
{
	size_t len = read_u16(r);
	struct cloud_text t = { (const char *)r->at, len };

	if ((size_t)(r->end - r->at) < len) {
		r->bad = 1;
		t.len = 0;
		return t;
	}
	r->at += len;
	return t;
}

/* Length of the UTF-8 sequence at s, 0 when it is none MQTT allows (NUL, surrogates, overlong forms). */
static size_t utf8_step(const uint8_t *s, size_t left)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0, i;

	if (n == 0 || n > left || s[0] == 0)
		return 0;
	for (i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

static struct cloud_text read_text(struct reader *r)
{
	struct cloud_text t = read_bytes(r);
	size_t i = 0;

	while (i < t.len) {
		size_t n = utf8_step((const uint8_t *)t.s + i, t.len - i);

		if (n == 0) {
			r->bad = 1;
			return t;
		}
		i += n;
	}
	return t;
}

/* 0 and the header's length; CW_EBUSY when it is not whole; CW_EPROTO for a length in five bytes. */
static int read_length(const uint8_t *in, size_t len, size_t *ret_head, size_t *ret_body)
{
	size_t body = 0, i;

	for (i = 0; i < 4; i++) {
		if (1 + i >= len)
			return CW_EBUSY;
		body |= (size_t)(in[1 + i] & 0x7f) << (7 * i);
		if ((in[1 + i] & 0x80) == 0) {
			*ret_head = 2 + i;
			*ret_body = body;
			return 0;
		}
	}
	return CW_EPROTO;
}

static int connect_flags_valid(uint8_t flags)
{
	unsigned will_qos = flags >> 3 & 3;

	if ((flags & 0x01) != 0 || will_qos == 3)
		return 0;
	if ((flags & 0x04) == 0 && (flags & 0x38) != 0)
		return 0;
	return (flags & 0x80) != 0 || (flags & 0x40) == 0;
}

static int decode_connect(struct reader *r, struct cloud_mqtt_connect *c)
{
	struct cloud_text name = read_bytes(r);
	uint8_t level = read_u8(r), flags;
	int old = cw_cloud_text_is(&name, "MQIsdp");

	memset(c, 0, sizeof(*c));
	if (r->bad || (!old && !cw_cloud_text_is(&name, "MQTT")))
		return CW_EPROTO;
	c->level = level;
	if (level != (old ? 3 : 4)) {
		/* A name with another edition's level is no level we speak. */
		c->level = level == 3 || level == 4 ? 0 : level;
		return 0;
	}
	flags = read_u8(r);
	c->keep_alive_s = read_u16(r);
	if (r->bad || !connect_flags_valid(flags))
		return CW_EPROTO;
	c->clean = flags >> 1 & 1;
	c->will = flags >> 2 & 1;
	c->has_user = flags >> 7 & 1;
	c->has_password = flags >> 6 & 1;
	c->client_id = read_text(r);
	if (c->will) {
		(void)read_text(r);
		(void)read_bytes(r);
	}
	if (c->has_user)
		c->user = read_text(r);
	if (c->has_password)
		c->password = read_bytes(r);
	return r->bad || r->at != r->end ? CW_EPROTO : 0;
}

static int decode_publish(struct reader *r, uint8_t flags, struct cloud_mqtt_publish *p)
{
	memset(p, 0, sizeof(*p));
	p->retain = flags & 1;
	p->qos = flags >> 1 & 3;
	p->dup = flags >> 3 & 1;
	if (p->qos == 3 || (p->qos == 0 && p->dup))
		return CW_EPROTO;
	p->topic = read_text(r);
	if (p->qos != 0)
		p->id = read_u16(r);
	if (r->bad || p->topic.len == 0 || (p->qos != 0 && p->id == 0) || memchr(p->topic.s, '+', p->topic.len) != NULL ||
	    memchr(p->topic.s, '#', p->topic.len) != NULL)
		return CW_EPROTO;
	p->payload = r->at;
	p->len = (size_t)(r->end - r->at);
	return p->len > MQTT_PAYLOAD_MAX ? CW_ELIMIT : 0;
}

static int decode_filters(struct reader *r, int with_qos, struct cloud_mqtt_packet *p)
{
	p->id = read_u16(r);
	p->u.filters.at = r->at;
	p->u.filters.end = r->end;
	p->u.filters.count = 0;
	while (!r->bad && r->at < r->end) {
		struct cloud_text filter = read_text(r);

		if (filter.len == 0 || (with_qos && read_u8(r) > 2))
			return CW_EPROTO;
		p->u.filters.count++;
	}
	return r->bad || p->id == 0 || p->u.filters.count == 0 ? CW_EPROTO : 0;
}

static int flags_valid(uint8_t type, uint8_t flags, unsigned level)
{
	switch (type) {
	case MQTT_PUBLISH: return 1;
	/* MQTT 3.1 lets a client repeat these with DUP set. */
	case MQTT_SUBSCRIBE:
	case MQTT_UNSUBSCRIBE: return flags == 2 || (level == 3 && flags == 10);
	default: return flags == 0;
	}
}

static int decode_body(struct reader *r, uint8_t flags, struct cloud_mqtt_packet *p)
{
	switch (p->type) {
	case MQTT_CONNECT: return decode_connect(r, &p->u.connect);
	case MQTT_PUBLISH: return decode_publish(r, flags, &p->u.publish);
	case MQTT_PUBACK:
		p->id = read_u16(r);
		return r->bad || r->at != r->end || p->id == 0 ? CW_EPROTO : 0;
	case MQTT_SUBSCRIBE: return decode_filters(r, 1, p);
	case MQTT_UNSUBSCRIBE: return decode_filters(r, 0, p);
	case MQTT_PINGREQ:
	case MQTT_DISCONNECT: return r->at != r->end ? CW_EPROTO : 0;
	default: return CW_EPROTO;
	}
}

int cw_cloud_mqtt_decode(const uint8_t *in, size_t len, unsigned level, struct cloud_mqtt_packet *ret_packet)
{
	struct reader r = { NULL, NULL, 0 };
	size_t head = 0, body = 0;
	uint8_t flags;
	int rc;

	ret_packet->size = 2;
	if (len == 0)
		return CW_EBUSY;
	ret_packet->type = in[0] >> 4;
	flags = in[0] & 15;
	if (!flags_valid(ret_packet->type, flags, level))
		return CW_EPROTO;
	rc = read_length(in, len, &head, &body);
	if (rc < 0)
		return rc;
	ret_packet->size = head + body;
	if (ret_packet->size > MQTT_PACKET_MAX)
		return CW_ELIMIT;
	if (len < ret_packet->size)
		return CW_EBUSY;
	r.at = in + head;
	r.end = r.at + body;
	return decode_body(&r, flags, ret_packet);
}

int cw_cloud_mqtt_filter(struct cloud_mqtt_packet *p, struct cloud_text *ret_filter, uint8_t *ret_qos)
{
	struct reader r = { p->u.filters.at, p->u.filters.end, 0 };

	if (r.at >= r.end)
		return 0;
	*ret_filter = read_bytes(&r);
	*ret_qos = p->type == MQTT_SUBSCRIBE ? read_u8(&r) : 0;
	p->u.filters.at = r.at;
	return !r.bad;
}

size_t cw_cloud_mqtt_connack(uint8_t out[4], int session_present, uint8_t code)
{
	out[0] = MQTT_CONNACK << 4;
	out[1] = 2;
	out[2] = session_present && code == 0;
	out[3] = code;
	return 4;
}

size_t cw_cloud_mqtt_connack5(uint8_t out[5], uint8_t reason)
{
	out[0] = MQTT_CONNACK << 4;
	out[1] = 3;
	out[2] = 0;
	out[3] = reason;
	out[4] = 0; /* no properties */
	return 5;
}

size_t cw_cloud_mqtt_ack(uint8_t out[4], enum cloud_mqtt_type type, uint16_t id)
{
	out[0] = (uint8_t)(type << 4);
	out[1] = 2;
	out[2] = (uint8_t)(id >> 8);
	out[3] = (uint8_t)id;
	return 4;
}

size_t cw_cloud_mqtt_suback(uint8_t out[MQTT_TOPICS_MAX + 4], uint16_t id, const uint8_t *codes, size_t count)
{
	out[0] = MQTT_SUBACK << 4;
	out[1] = (uint8_t)(2 + count);
	out[2] = (uint8_t)(id >> 8);
	out[3] = (uint8_t)id;
	memcpy(out + 4, codes, count);
	return 4 + count;
}

size_t cw_cloud_mqtt_pingresp(uint8_t out[2])
{
	out[0] = MQTT_PINGRESP << 4;
	out[1] = 0;
	return 2;
}

size_t cw_cloud_mqtt_publish_head(uint8_t *out, const char *topic, size_t topic_len, size_t payload_len, uint8_t qos,
                                  int dup, uint16_t id)
{
	size_t body = 2 + topic_len + (qos != 0 ? 2 : 0) + payload_len, n = 0;

	out[n++] = (uint8_t)(MQTT_PUBLISH << 4 | (dup ? 8 : 0) | qos << 1);
	do {
		out[n] = body & 0x7f;
		body >>= 7;
		if (body != 0)
			out[n] |= 0x80;
		n++;
	} while (body != 0);
	out[n++] = (uint8_t)(topic_len >> 8);
	out[n++] = (uint8_t)topic_len;
	memcpy(out + n, topic, topic_len);
	n += topic_len;
	if (qos != 0) {
		out[n++] = (uint8_t)(id >> 8);
		out[n++] = (uint8_t)id;
	}
	return n;
}
