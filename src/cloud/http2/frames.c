/* frames.c - the border between the wire and nghttp2: frames it must not see, the connection's window; see conn.h. */
#include <stdio.h>
#include <string.h>

#include "cloud/http2/conn.h"

#define HEAD 9u
#define FIRST_WINDOW 65535

enum { FRAME_RST_STREAM = 3, FRAME_WINDOW_UPDATE = 8 };

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

void cw_cloud_h2_frame_head(uint8_t out[9], size_t len, uint8_t type, uint8_t flags, uint32_t stream)
{
	out[0] = (uint8_t)(len >> 16);
	out[1] = (uint8_t)(len >> 8);
	out[2] = (uint8_t)len;
	out[3] = type;
	out[4] = flags;
	put32(out + 5, stream);
}

/* ---- input ---- */

static void feed(struct h2_conn *x, const uint8_t *data, size_t len)
{
	if (len != 0 && x->state < H2_LEAVING)
		cw_cloud_h2_input(x, data, len);
}

/*
 * nghttp2 knows of the connection's first 65,535 bytes and then of what it has used itself, as far as the client's
 * credit goes: the rest belongs to pushes. The frame is made up here, so the input must be between two frames.
 */
int cw_cloud_h2_top_up(struct h2_conn *x)
{
	int64_t owed = (int64_t)(x->h2_sent - x->h2_credited), free_bytes = x->window - FIRST_WINDOW + owed;
	uint8_t frame[HEAD + 4];

	if (owed > free_bytes)
		owed = free_bytes;
	if (owed <= 0 || x->magic_left != 0 || x->pass_left != 0 || x->cloud->conf.switches.bridge_promise)
		return 0;
	cw_cloud_h2_frame_head(frame, 4, FRAME_WINDOW_UPDATE, 0, 0);
	put32(frame + HEAD, (uint32_t)owed);
	x->h2_credited += (uint64_t)owed;
	feed(x, frame, sizeof(frame));
	return 1;
}

/* Credit for the whole connection. */
static void take_credit(struct h2_conn *x, const uint8_t *frame)
{
	uint32_t n = get32(frame + HEAD) & 0x7fffffff;

	x->window += n;
	if (n == 0) { /* nghttp2 knows what to say to that */
		feed(x, frame, HEAD + 4);
		return;
	}
	if (x->window > 0x7fffffff) {
		cw_cloud_h2_goodbye(x, NGHTTP2_FLOW_CONTROL_ERROR, "more credit than there can be");
		return;
	}
	(void)cw_cloud_h2_top_up(x);
	cw_cloud_h2_resume_answers(x);
	if (x->bridge != NULL)
		cw_cloud_h2_pump_soon(x->bridge);
}

/* A whole frame of four bytes that nghttp2 is not to see as it is. */
static void take(struct h2_conn *x, const uint8_t *frame)
{
	uint32_t stream = get32(frame + 5) & 0x7fffffff;

	if (stream == 0)
		take_credit(x, frame);
	else if (frame[3] == FRAME_RST_STREAM)
		cw_cloud_h2_push_refused(x, stream);
	/* a WINDOW_UPDATE on a push: its window was large enough already */
}

/* WINDOW_UPDATE on the connection; RST_STREAM and WINDOW_UPDATE on a stream of ours. A wrong length is nghttp2's to
 * complain of. */
static int is_ours(const struct h2_conn *x, const uint8_t *head, size_t len)
{
	uint32_t stream = get32(head + 5) & 0x7fffffff;

	if (len != 4 || x->cloud->conf.switches.bridge_promise)
		return 0;
	if (head[3] == FRAME_WINDOW_UPDATE && stream == 0)
		return 1;
	return stream % 2 == 0 && stream != 0 && stream < x->next_push &&
	       (head[3] == FRAME_WINDOW_UPDATE || head[3] == FRAME_RST_STREAM);
}

/* Runs of frames go to nghttp2 in one piece. */
size_t cw_cloud_h2_filter(struct h2_conn *x, const uint8_t *data, size_t len)
{
	size_t from = 0, at = 0;

	while (at < len && x->state < H2_LEAVING) {
		size_t n = len - at;

		if (x->magic_left != 0 || x->pass_left != 0) {
			size_t *left = x->magic_left != 0 ? &x->magic_left : &x->pass_left;

			n = n < *left ? n : *left;
			*left -= n;
			at += n;
			continue;
		}
		if (n < HEAD)
			break;
		if (x->h2_sent != x->h2_credited) { /* between two frames: now it can be told */
			feed(x, data + from, at - from);
			from = at;
			(void)cw_cloud_h2_top_up(x);
		}
		n = (size_t)data[at] << 16 | (size_t)data[at + 1] << 8 | data[at + 2];
		if (!is_ours(x, data + at, n)) {
			x->pass_left = HEAD + n;
			continue;
		}
		if (len - at < HEAD + n)
			break;
		feed(x, data + from, at - from);
		if (x->state < H2_LEAVING)
			take(x, data + at);
		at += HEAD + n;
		from = at;
	}
	feed(x, data + from, at - from);
	return x->state < H2_LEAVING ? at : len;
}

/* ---- header block of a push ---- */

/* A length of HPACK with a prefix of seven bits, no Huffman code. */
static uint8_t *put_text(uint8_t *at, const char *text, size_t n)
{
	size_t rest = n;

	if (n < 127) {
		*at++ = (uint8_t)n;
	} else {
		*at++ = 127;
		for (rest -= 127; rest >= 128; rest >>= 7)
			*at++ = (uint8_t)(rest & 127) | 128;
		*at++ = (uint8_t)rest;
	}
	memcpy(at, text, n);
	return at + n;
}

/* Literal without indexing, new name: the tables of both sides stay as nghttp2 knows them. */
static uint8_t *put_field(uint8_t *at, const char *name, const char *value)
{
	*at++ = 0;
	at = put_text(at, name, strlen(name));
	return put_text(at, value, strlen(value));
}

size_t cw_cloud_h2_push_block(uint8_t *out, const char *topic, uint64_t id, unsigned qos, int64_t made_ms)
{
	char number[24];
	uint8_t *at = out;

	*at++ = 0x88; /* :status 200 of the static table */
	at = put_field(at, "x-topic", topic);
	(void)snprintf(number, sizeof(number), "%llu", (unsigned long long)id);
	at = put_field(at, "x-message-id", number);
	at = put_field(at, "x-qos", qos != 0 ? "1" : "0");
	(void)snprintf(number, sizeof(number), "%lld", (long long)made_ms);
	at = put_field(at, "x-generate-time", number);
	return (size_t)(at - out);
}
