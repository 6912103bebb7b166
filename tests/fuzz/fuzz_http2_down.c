/*
 * Whatever the platform sends over HTTP/2: the bytes go through the filter of pushes to a real nghttp2 client, in
 * pieces of a size that the first byte chooses; each message and the whole input are read as the JSON that they should
 * be.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "upstream/http2/pushes.h"
#include "upstream/http2/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(struct cw_bytes body)
{
	struct http2_form_reply r;
	struct http2_down d;
	char id[HTTP2_ID_SIZE];
	int32_t code;

	if (http2_down(body, &d) == 0)
		http2_down_drop(&d);
	(void)http2_offline_reply(body, id, &code);
	(void)http2_form_reply(body, &r);
}

static int on_pass(void *ctx, struct cw_bytes bytes)
{
	return nghttp2_session_mem_recv(ctx, bytes.ptr, bytes.len) < 0 ? -1 : 0;
}

static void on_push(void *ctx, const struct http2_push *p)
{
	(void)ctx;
	read_all(cw_bytes_of(p->body, p->len));
}

static void on_refuse(void *ctx, uint32_t stream)
{
	(void)nghttp2_submit_rst_stream(ctx, NGHTTP2_FLAG_NONE, (int32_t)stream, NGHTTP2_REFUSED_STREAM);
}

static const struct http2_pushes_ops ops = { on_pass, on_push, on_refuse };

static nghttp2_session *client(void)
{
	nghttp2_nv nv = { NULL, NULL, 5, 1, 0 };
	uint8_t path[] = ":path", slash[] = "/";
	nghttp2_session_callbacks *callbacks;
	nghttp2_session *h2 = NULL;
	nghttp2_option *option;

	nv.name = path;
	nv.value = slash;
	if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&option) != 0)
		abort();
	nghttp2_option_set_no_http_messaging(option, 1);
	if (nghttp2_session_client_new2(&h2, callbacks, NULL, option) != 0 ||
	    nghttp2_submit_settings(h2, NGHTTP2_FLAG_NONE, NULL, 0) != 0 ||
	    nghttp2_session_set_next_stream_id(h2, HTTP2_FIRST_STREAM) != 0 ||
	    nghttp2_submit_request(h2, NULL, &nv, 1, NULL, NULL) < 0)
		abort();
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	return h2;
}

static void drain(nghttp2_session *h2)
{
	const uint8_t *out;

	while (nghttp2_session_mem_send(h2, &out) > 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	nghttp2_session *h2;
	struct http2_pushes p;
	size_t at, n, piece;
	int rc = 0;

	if (size < 2)
		return 0;
	read_all(cw_bytes_of(data + 1, size - 1));
	h2 = client();
	if (http2_pushes_init(&p, &ops, h2) < 0)
		abort();
	drain(h2);
	piece = (size_t)data[0] + 1;
	for (at = 1; at < size && rc == 0; at += n) {
		n = size - at < piece ? size - at : piece;
		rc = http2_pushes_feed(&p, cw_bytes_of(data + at, n));
		drain(h2);
	}
	if (p.bytes > HTTP2_PUSHES_BYTES || p.count > HTTP2_PUSHES_MOST)
		abort();
	http2_pushes_fini(&p);
	nghttp2_session_del(h2);
	return 0;
}
