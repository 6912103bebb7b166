/* ws.c - see ws.h. Frames are taken apart by wslay; what they mean is here. */
#include "cloud/wire/ws.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <strings.h>
#include <wslay/wslay.h>

#define CONTROL_MAX 125u

enum { CODE_PROTOCOL = 1002, CODE_TEXT = 1003, CODE_SIZE = 1009 };

struct cloud_ws {
	wslay_frame_context_ptr frames;
	const char *protocols;
	int upgraded, over;
	const char *reason;
	struct cloud_bytes head; /* the request until it is whole */
	/* lent during a call */
	const uint8_t *at, *end;
	struct cloud_bytes *in, *out;
	/* the frame being read; `left` bytes of it have not come yet */
	uint64_t left;
	uint8_t opcode, fin;
	/* the message it belongs to */
	int in_message;
	uint64_t message_len;
	uint8_t control[CONTROL_MAX];
	size_t control_len;
};

static ssize_t on_recv(uint8_t *buf, size_t len, int flags, void *user)
{
	struct cloud_ws *ws = user;
	size_t n = (size_t)(ws->end - ws->at);

	if (n > len)
		n = len;
	memcpy(buf, ws->at, n);
	ws->at += n;
	return (ssize_t)n;
}

static ssize_t on_send(const uint8_t *data, size_t len, int flags, void *user)
{
	struct cloud_ws *ws = user;

	return cw_cloud_bytes_add(ws->out, data, len) == 0 ? (ssize_t)len : -1;
}

int cw_cloud_ws_new(const char *protocols, struct cloud_ws **ret_ws)
{
	static const struct wslay_frame_callbacks callbacks = { .send_callback = on_send, .recv_callback = on_recv };
	struct cloud_ws *ws = cw_zalloc(sizeof(*ws));

	if (ws == NULL)
		return CW_ENOMEM;
	ws->protocols = protocols;
	if (wslay_frame_context_init(&ws->frames, &callbacks, ws) != 0) {
		cw_free(ws);
		return CW_ENOMEM;
	}
	*ret_ws = ws;
	return 0;
}

void cw_cloud_ws_free(struct cloud_ws *ws)
{
	if (ws == NULL)
		return;
	wslay_frame_context_free(ws->frames);
	cw_cloud_bytes_free(&ws->head);
	cw_free(ws);
}

const char *cw_cloud_ws_reason(const struct cloud_ws *ws)
{
	return ws->reason;
}

static int over(struct cloud_ws *ws, const char *reason)
{
	ws->over = 1;
	ws->reason = reason;
	return CW_ECLOSED;
}

/* ---- the upgrade ---- */

struct text {
	const char *s;
	size_t len;
};

struct request {
	int websocket, upgrade, version_13, keys;
	struct text key, protocol; /* protocol: the first one asked for that we know */
};

static int text_is(struct text t, const char *word)
{
	return t.len == strlen(word) && strncasecmp(t.s, word, t.len) == 0;
}

static struct text trim(struct text t)
{
	while (t.len != 0 && (t.s[0] == ' ' || t.s[0] == '\t')) {
		t.s++;
		t.len--;
	}
	while (t.len != 0 && (t.s[t.len - 1] == ' ' || t.s[t.len - 1] == '\t'))
		t.len--;
	return t;
}

/* The text up to `mark`, blanks removed; *rest goes behind it, and is NULL at the end. */
static struct text split(struct text *rest, char mark)
{
	const char *at = memchr(rest->s, mark, rest->len);
	struct text first = { rest->s, at != NULL ? (size_t)(at - rest->s) : rest->len };

	rest->len -= at != NULL ? first.len + 1 : rest->len;
	rest->s = at != NULL ? at + 1 : NULL;
	return trim(first);
}

static int has_token(struct text list, const char *token)
{
	while (list.s != NULL) {
		if (text_is(split(&list, ','), token))
			return 1;
	}
	return 0;
}

/* Names of sub-protocols are compared with their case. */
static int is_known_protocol(const struct cloud_ws *ws, struct text t)
{
	struct text known = { ws->protocols, strlen(ws->protocols) };

	while (t.len != 0 && known.s != NULL) {
		struct text one = split(&known, ' ');

		if (one.len == t.len && memcmp(one.s, t.s, t.len) == 0)
			return 1;
	}
	return 0;
}

static void take_header(const struct cloud_ws *ws, struct request *r, struct text name, struct text value)
{
	if (text_is(name, "Upgrade")) {
		r->websocket |= has_token(value, "websocket");
	} else if (text_is(name, "Connection")) {
		r->upgrade |= has_token(value, "upgrade");
	} else if (text_is(name, "Sec-WebSocket-Version")) {
		r->version_13 = text_is(value, "13");
	} else if (text_is(name, "Sec-WebSocket-Key")) {
		r->key = value;
		r->keys++;
	} else if (text_is(name, "Sec-WebSocket-Protocol")) {
		while (value.s != NULL && r->protocol.len == 0) {
			struct text one = split(&value, ',');

			if (is_known_protocol(ws, one))
				r->protocol = one;
		}
	}
}

/* Whether it is a request for a web page or an upgrade at all. */
static int parse_request(const struct cloud_ws *ws, struct text head, struct request *r)
{
	struct text line = split(&head, '\n');

	if (line.len < 15 || memcmp(line.s, "GET ", 4) != 0 || memcmp(line.s + line.len - 10, " HTTP/1.1\r", 10) != 0)
		return 0;
	while (head.s != NULL && head.len > 2) {
		struct text name, value = split(&head, '\n');

		if (value.len == 0 || value.s[value.len - 1] != '\r')
			return 0;
		value.len--;
		name = split(&value, ':');
		if (value.s == NULL || name.len == 0)
			return 0;
		take_header(ws, r, name, trim(value));
	}
	return 1;
}

/* 16 bytes in Base64. */
static int is_key(struct text key)
{
	uint8_t raw[24];

	return key.len == 24 && key.s[21] != '=' && key.s[22] == '=' && key.s[23] == '=' &&
	       EVP_DecodeBlock(raw, (const uint8_t *)key.s, 24) == 18;
}

static int refuse(struct cloud_ws *ws, const char *status, const char *header, const char *why)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "HTTP/1.1 %s\r\n%sContent-Type: text/plain\r\nContent-Length: %zu\r\n"
	                 "Connection: close\r\n\r\n%s\n", status, header, strlen(why) + 1, why);

	return cw_cloud_bytes_add(ws->out, text, (size_t)n) < 0 ? CW_ENOMEM : over(ws, "WebSocket: the upgrade was refused");
}

static int accept_upgrade(struct cloud_ws *ws, const struct request *r)
{
	static const char magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	char text[256], accept[32];
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned digest_len = 0;
	int n;

	n = snprintf(text, sizeof(text), "%.*s%s", (int)r->key.len, r->key.s, magic);
	if (EVP_Digest(text, (size_t)n, digest, &digest_len, EVP_sha1(), NULL) != 1)
		return CW_ENOMEM;
	(void)EVP_EncodeBlock((uint8_t *)accept, digest, (int)digest_len);
	n = snprintf(text, sizeof(text), "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	             "Sec-WebSocket-Accept: %s\r\n%s%.*s%s\r\n", accept, r->protocol.len != 0 ? "Sec-WebSocket-Protocol: " : "",
	             (int)r->protocol.len, r->protocol.s != NULL ? r->protocol.s : "", r->protocol.len != 0 ? "\r\n" : "");
	ws->upgraded = 1;
	return cw_cloud_bytes_add(ws->out, text, (size_t)n);
}

static int take_request(struct cloud_ws *ws, size_t head_len)
{
	struct text head = { (const char *)ws->head.data, head_len };
	struct request r = { .websocket = 0 };

	if (!parse_request(ws, head, &r))
		return refuse(ws, "400 Bad Request", "", "This is no request of HTTP/1.1 for a WebSocket.");
	if (!r.websocket || !r.upgrade)
		return refuse(ws, "400 Bad Request", "", "This port speaks MQTT: plain, over TLS, and in a WebSocket. There are no pages here.");
	if (!r.version_13)
		return refuse(ws, "426 Upgrade Required", "Sec-WebSocket-Version: 13\r\n", "WebSocket version 13 is spoken here.");
	if (r.keys != 1 || !is_key(r.key))
		return refuse(ws, "400 Bad Request", "", "Sec-WebSocket-Key must be given once, 16 bytes in Base64.");
	return accept_upgrade(ws, &r);
}

/* Collect the request; what follows it in `data` is frames. Returns 0 or an error; *ret_used bytes belong to the request. */
static int feed_request(struct cloud_ws *ws, const uint8_t *data, size_t len, size_t *ret_used)
{
	size_t before = ws->head.len, n = len < CLOUD_WS_HEAD_MAX - before ? len : CLOUD_WS_HEAD_MAX - before, whole;
	size_t from = before < 3 ? 0 : before - 3;
	const uint8_t *end;
	int rc;

	*ret_used = n;
	if (cw_cloud_bytes_add(&ws->head, data, n) < 0)
		return CW_ENOMEM;
	end = memmem(ws->head.data + from, ws->head.len - from, "\r\n\r\n", 4);
	if (end == NULL)
		return ws->head.len < CLOUD_WS_HEAD_MAX ? 0
		                                        : refuse(ws, "431 Request Header Fields Too Large", "", "Above 8 KiB.");
	whole = (size_t)(end - ws->head.data) + 4;
	*ret_used = whole - before;
	rc = take_request(ws, whole);
	cw_cloud_bytes_free(&ws->head);
	return rc;
}

/* ---- frames ---- */

static int put_frame(struct cloud_ws *ws, uint8_t opcode, const void *data, size_t len)
{
	struct wslay_frame_iocb io = { .fin = 1, .opcode = opcode, .payload_length = len, .data = data, .data_length = len };

	/* All of it goes out at once, as on_send() takes all it is given; an empty payload is none sent. */
	return wslay_frame_send(ws->frames, &io) == (ssize_t)len ? 0 : CW_ENOMEM;
}

static int close_with(struct cloud_ws *ws, unsigned code, const char *reason)
{
	const uint8_t body[2] = { (uint8_t)(code >> 8), (uint8_t)code };

	return put_frame(ws, WSLAY_CONNECTION_CLOSE, body, code != 0 ? 2 : 0) < 0 ? CW_ENOMEM : over(ws, reason);
}

/* The client says goodbye: it gets its code back. */
static int take_close(struct cloud_ws *ws)
{
	unsigned code = ws->control_len >= 2 ? (unsigned)(ws->control[0] << 8 | ws->control[1]) : 0;

	if (ws->control_len == 1 || (code != 0 && (code < 1000 || code > 4999 || (code >= 1004 && code <= 1006) ||
	                                           (code >= 1015 && code <= 2999))))
		return close_with(ws, CODE_PROTOCOL, "WebSocket: a close frame is malformed");
	return close_with(ws, code, "closed by the client");
}

static int begin_frame(struct cloud_ws *ws, const struct wslay_frame_iocb *io)
{
	ws->opcode = io->opcode;
	ws->fin = io->fin;
	ws->left = io->payload_length;
	ws->control_len = 0;
	if (!io->mask || io->rsv != 0)
		return close_with(ws, CODE_PROTOCOL, "WebSocket: a frame is not masked, or uses an extension");
	switch (io->opcode) {
	case WSLAY_TEXT_FRAME: return close_with(ws, CODE_TEXT, "WebSocket: text frames carry no MQTT");
	case WSLAY_BINARY_FRAME:
	case WSLAY_CONTINUATION_FRAME:
		if (ws->in_message != (io->opcode == WSLAY_CONTINUATION_FRAME))
			return close_with(ws, CODE_PROTOCOL, "WebSocket: fragments out of order");
		ws->message_len = ws->in_message ? ws->message_len : 0;
		ws->in_message = 1;
		if (io->payload_length > CLOUD_WS_MESSAGE_MAX - ws->message_len)
			return close_with(ws, CODE_SIZE, "WebSocket: a message is above 1 MiB");
		ws->message_len += io->payload_length;
		return 0;
	case WSLAY_CONNECTION_CLOSE:
	case WSLAY_PING:
	case WSLAY_PONG: return 0;
	default: return close_with(ws, CODE_PROTOCOL, "WebSocket: unknown opcode");
	}
}

static int end_frame(struct cloud_ws *ws)
{
	switch (ws->opcode) {
	case WSLAY_CONNECTION_CLOSE: return take_close(ws);
	case WSLAY_PING: return put_frame(ws, WSLAY_PONG, ws->control, ws->control_len);
	case WSLAY_PONG: return 0;
	default: ws->in_message = !ws->fin; return 0;
	}
}

/* A piece of a frame: at least its beginning. */
static int take_piece(struct cloud_ws *ws, const struct wslay_frame_iocb *io)
{
	int rc = ws->left == 0 ? begin_frame(ws, io) : 0;

	if (rc < 0)
		return rc;
	if (wslay_is_ctrl_frame(ws->opcode) && io->data_length != 0) { /* at most 125 bytes: wslay sees to it */
		memcpy(ws->control + ws->control_len, io->data, io->data_length);
		ws->control_len += io->data_length;
	} else if (cw_cloud_bytes_add(ws->in, io->data, io->data_length) < 0) {
		return CW_ENOMEM;
	}
	ws->left -= io->data_length;
	return ws->left == 0 ? end_frame(ws) : 0;
}

static int feed_frames(struct cloud_ws *ws)
{
	struct wslay_frame_iocb io;
	ssize_t n;
	int rc = 0;

	while (rc == 0) {
		memset(&io, 0, sizeof(io));
		n = wslay_frame_recv(ws->frames, &io);
		if (n == WSLAY_ERR_WANT_READ)
			return 0;
		rc = n < 0 ? close_with(ws, CODE_PROTOCOL, "WebSocket: a frame is malformed") : take_piece(ws, &io);
	}
	return rc;
}

int cw_cloud_ws_feed(struct cloud_ws *ws, const void *data, size_t len, struct cloud_bytes *in, struct cloud_bytes *out)
{
	size_t used = 0;
	int rc = 0;

	if (ws->over)
		return 0;
	ws->in = in;
	ws->out = out;
	if (!ws->upgraded)
		rc = feed_request(ws, data, len, &used);
	ws->at = (const uint8_t *)data + used;
	ws->end = (const uint8_t *)data + len;
	return rc == 0 && ws->upgraded ? feed_frames(ws) : rc;
}

int cw_cloud_ws_wrap(struct cloud_ws *ws, struct cloud_bytes *plain, struct cloud_bytes *out)
{
	int rc = 0;

	ws->out = out;
	if (plain->len != 0 && !ws->over)
		rc = put_frame(ws, WSLAY_BINARY_FRAME, plain->data, plain->len);
	cw_cloud_bytes_reset(plain);
	return rc;
}
