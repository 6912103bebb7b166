/* conn.c - one HTTP/2 connection: nghttp2's callbacks, answers, goodbye; see conn.h. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cloud/http2/conn.h"

#define GOODBYE_MS 1000u

static void nv_set(nghttp2_nv *nv, const char *name, const char *value, uint8_t flags)
{
	*nv = (nghttp2_nv){ (uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value),
			    flags };
}

/* ---- headers of a request ---- */

static int is(const uint8_t *name, size_t len, const char *text)
{
	return len == strlen(text) && memcmp(name, text, len) == 0;
}

static void take_number(struct h2_req *r, const uint8_t *value, size_t len, uint64_t *ret_number)
{
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < len && value[i] >= '0' && value[i] <= '9' && i < 19; i++)
		n = 10 * n + (uint64_t)(value[i] - '0');
	if (len == 0 || i != len)
		r->bad = "a header that must be a number is none";
	else
		*ret_number = n;
}

static void take_auth(struct h2_req *r, const uint8_t *name, size_t len, const uint8_t *value, size_t value_len)
{
	struct h2_auth *a = r->auth;
	const struct {
		const char *name;
		char *at;
		size_t size;
	} fields[] = {
		{ "x-auth-name", a->name, sizeof(a->name) },
		{ "x-auth-param-product-key", a->pk, sizeof(a->pk) },
		{ "x-auth-param-device-name", a->dn, sizeof(a->dn) },
		{ "x-auth-param-client-id", a->client_id, sizeof(a->client_id) },
		{ "x-auth-param-signmethod", a->method, sizeof(a->method) },
		{ "x-auth-param-timestamp", a->timestamp, sizeof(a->timestamp) },
		{ "x-auth-param-sign", a->sign, sizeof(a->sign) },
	};
	size_t i;

	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (!is(name, len, fields[i].name))
			continue;
		if (value_len >= fields[i].size || memchr(value, '\0', value_len) != NULL) {
			r->bad = "a login header is too long";
			return;
		}
		memcpy(fields[i].at, value, value_len);
		fields[i].at[value_len] = '\0';
		a->has_timestamp |= fields[i].at == a->timestamp;
		a->has_method |= fields[i].at == a->method;
	}
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name, size_t len,
		     const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct h2_req *r = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
	uint64_t number = 0;
	int n;

	if (r == NULL || frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	if (is(name, len, ":path")) {
		n = cw_cloud_h2_path((const char *)value, value_len, r->path, sizeof(r->path));
		if (n < 0)
			r->bad = "the path is too long or wrongly encoded";
		r->path_len = n < 0 ? 0 : (size_t)n;
	} else if (is(name, len, "x-qos")) {
		take_number(r, value, value_len, &number);
		r->qos = number != 0;
	} else if (is(name, len, "x-message-id")) {
		r->message_id = 0;
		if (value_len <= 19)
			take_number(r, value, value_len, &r->message_id);
	} else if (is(name, len, "x-clear-session")) {
		r->clear_session = is(value, value_len, "1");
	} else if (len > 7 && memcmp(name, "x-auth-", 7) == 0) {
		if (r->auth == NULL)
			r->auth = cw_zalloc(sizeof(*r->auth));
		if (r->auth == NULL)
			return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
		take_auth(r, name, len, value, value_len);
	}
	return 0;
}

static int on_begin_headers(nghttp2_session *h2, const nghttp2_frame *frame, void *arg)
{
	struct h2_conn *x = arg;
	struct h2_req *r;

	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	r = cw_zalloc(sizeof(*r));
	if (r == NULL)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	r->conn = x;
	r->id = frame->hd.stream_id;
	cw_list_push_back(&x->reqs, &r->all);
	(void)nghttp2_session_set_stream_user_data(h2, r->id, r);
	/* The official C SDK does not wait for our SETTINGS before it uses a window of this size. */
	if (!x->settled)
		(void)nghttp2_session_set_local_window_size(h2, NGHTTP2_FLAG_NONE, r->id, H2_WINDOW);
	return 0;
}

/* ---- bodies ---- */

static void drop_body(struct h2_req *r)
{
	r->conn->held -= r->body.len;
	cw_cloud_bytes_free(&r->body);
}

static int on_data_chunk(nghttp2_session *h2, uint8_t flags, int32_t stream, const uint8_t *data, size_t len, void *arg)
{
	struct h2_conn *x = arg;
	struct h2_req *r = nghttp2_session_get_stream_user_data(h2, stream);

	if (r == NULL || stream % 2 == 0 || (x->state != H2_UP && r->auth == NULL) || r->too_large)
		return 0;
	if (r->body.len + len > H2_BODY_MAX || x->held + len > H2_HELD_MAX ||
	    cw_cloud_bytes_add(&r->body, data, len) < 0) {
		r->too_large = 1;
		drop_body(r);
		return 0;
	}
	x->held += len;
	return 0;
}

/* ---- frames ---- */

static void take_settings(struct h2_conn *x, const nghttp2_settings *settings)
{
	size_t i;

	if ((settings->hd.flags & NGHTTP2_FLAG_ACK) != 0) {
		x->settled = 1;
		return;
	}
	for (i = 0; i < settings->niv; i++) {
		if (settings->iv[i].settings_id == NGHTTP2_SETTINGS_HEADER_TABLE_SIZE && x->state == H2_UP)
			x->table_changed = 1;
	}
	if (x->bridge != NULL)
		cw_cloud_h2_pump_soon(x->bridge);
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *arg)
{
	struct h2_conn *x = arg;
	struct h2_req *r;

	if (frame->hd.type == NGHTTP2_SETTINGS)
		take_settings(x, &frame->settings);
	if (frame->hd.type == NGHTTP2_GOAWAY)
		x->farewell = 1;
	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	r = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
	if (r == NULL || frame->hd.stream_id % 2 == 0)
		return 0;
	if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) {
		x->carrier = r->id;
		if (x->bridge != NULL)
			cw_cloud_h2_promise(x, r->id);
		return 0;
	}
	if (!r->answered)
		cw_cloud_h2_handle(r);
	if (x->carrier == r->id)
		x->carrier = 0;
	drop_body(r);
	return 0;
}

static int on_frame_sent(nghttp2_session *h2, const nghttp2_frame *frame, void *arg)
{
	struct h2_conn *x = arg;

	if (frame->hd.type == NGHTTP2_DATA) {
		x->window -= (int64_t)frame->hd.length;
		x->h2_sent += frame->hd.length;
	} else if (frame->hd.type == NGHTTP2_HEADERS) {
		x->table_changed = 0;
	}
	return 0;
}

static void req_free(struct h2_req *r)
{
	drop_body(r);
	cw_list_remove(&r->all);
	cw_list_remove(&r->deferred);
	cw_free(r->auth);
	cw_free(r);
}

static int on_stream_close(nghttp2_session *h2, int32_t stream, uint32_t code, void *arg)
{
	struct h2_conn *x = arg;
	void *data = nghttp2_session_get_stream_user_data(h2, stream);

	if (x->carrier == stream)
		x->carrier = 0;
	if (data != NULL && stream % 2 == 0)
		cw_cloud_h2_promised_free(data);
	else if (data != NULL)
		req_free(data);
	return 0;
}

static int on_invalid_frame(nghttp2_session *h2, const nghttp2_frame *frame, int code, void *arg)
{
	struct h2_conn *x = arg;

	x->cloud->stats.malformed++;
	return 0;
}

int cw_cloud_h2_callbacks(struct h2_front *f)
{
	if (nghttp2_session_callbacks_new(&f->callbacks) != 0 || nghttp2_option_new(&f->option) != 0)
		return CW_ENOMEM;
	nghttp2_session_callbacks_set_on_begin_headers_callback(f->callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(f->callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(f->callbacks, on_data_chunk);
	nghttp2_session_callbacks_set_on_frame_recv_callback(f->callbacks, on_frame);
	nghttp2_session_callbacks_set_on_frame_send_callback(f->callbacks, on_frame_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(f->callbacks, on_stream_close);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(f->callbacks, on_invalid_frame);
	/* Requests of the Java library have :path and nothing else that HTTP asks for. */
	nghttp2_option_set_no_http_messaging(f->option, 1);
	return 0;
}

/* ---- in and out ---- */

int cw_cloud_h2_begin(struct h2_conn *x)
{
	static const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, H2_MAX_STREAMS },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_WINDOW },
	};

	x->magic_left = NGHTTP2_CLIENT_MAGIC_LEN;
	x->window = 65535;
	x->next_push = 2;
	if (nghttp2_session_server_new2(&x->h2, x->front->callbacks, x, x->front->option) != 0)
		return CW_ENOMEM;
	if (nghttp2_submit_settings(x->h2, NGHTTP2_FLAG_NONE, settings, sizeof(settings) / sizeof(settings[0])) != 0 ||
	    nghttp2_session_set_local_window_size(x->h2, NGHTTP2_FLAG_NONE, 0, H2_WINDOW) != 0)
		return CW_ENOMEM;
	return 0;
}

void cw_cloud_h2_end(struct h2_conn *x)
{
	struct cw_list *e;

	while ((e = cw_list_first(&x->reqs)) != NULL)
		req_free(cw_container_of(e, struct h2_req, all));
	cw_cloud_h2_promised_clear(x);
	nghttp2_session_del(x->h2);
}

void cw_cloud_h2_input(struct h2_conn *x, const uint8_t *data, size_t len)
{
	ssize_t n = nghttp2_session_mem_recv(x->h2, data, len);

	if (n >= 0 || x->state == H2_CLOSED)
		return;
	x->cloud->stats.malformed++;
	cw_cloud_stream_drop(&x->stream, n == NGHTTP2_ERR_BAD_CLIENT_MAGIC ? "not HTTP/2" : nghttp2_strerror((int)n));
}

static void on_gone(struct cw_timer *t)
{
	cw_cloud_stream_drop(&cw_container_of(t, struct h2_conn, deadline)->stream, "GOAWAY");
}

static void leave(struct h2_conn *x, const char *reason)
{
	x->state = H2_LEAVING;
	cw_cloud_h2_part(x, reason);
	cw_cloud_stream_half_close(&x->stream);
	if (x->state == H2_LEAVING)
		cw_timer_set(cw_cloud_h2_timers(x->cloud), &x->deadline, GOODBYE_MS, on_gone);
}

static void write_out(struct h2_conn *x)
{
	const uint8_t *data;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(x->h2, &data)) > 0)
		cw_cloud_stream_put(&x->stream, data, (size_t)n);
	if (n < 0)
		cw_cloud_stream_drop(&x->stream, nghttp2_strerror((int)n));
}

void cw_cloud_h2_drain(struct h2_conn *x)
{
	if (x->state >= H2_LEAVING)
		return;
	do {
		write_out(x);
	} while (x->state < H2_LEAVING && cw_cloud_h2_top_up(x));
	/* It has said goodbye itself. */
	if (x->state < H2_LEAVING && !nghttp2_session_want_read(x->h2) && !nghttp2_session_want_write(x->h2))
		leave(x, "the client broke the rules of HTTP/2");
}

void cw_cloud_h2_goodbye(struct h2_conn *x, uint32_t code, const char *text)
{
	if (x->state >= H2_LEAVING)
		return;
	(void)nghttp2_submit_goaway(x->h2, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(x->h2), code,
				    (const uint8_t *)text, strlen(text));
	write_out(x);
	if (x->state < H2_LEAVING)
		leave(x, text);
}

/* ---- answers ---- */

static void fail(struct h2_req *r)
{
	(void)nghttp2_submit_rst_stream(r->conn->h2, NGHTTP2_FLAG_NONE, r->id, NGHTTP2_INTERNAL_ERROR);
}

void cw_cloud_h2_accept(struct h2_req *r, uint64_t message_id)
{
	nghttp2_nv nv[3];
	char request[24], message[24];

	cw_cloud_next_id(r->conn->cloud, request);
	(void)snprintf(message, sizeof(message), "%llu", (unsigned long long)message_id);
	nv_set(&nv[0], ":status", "200", NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE);
	nv_set(&nv[1], "x-request-id", request, NGHTTP2_NV_FLAG_NO_COPY_NAME);
	nv_set(&nv[2], "x-message-id", message, NGHTTP2_NV_FLAG_NO_COPY_NAME);
	r->answered = 1;
	if (nghttp2_submit_response(r->conn->h2, r->id, nv, message_id != 0 ? 3 : 2, NULL) != 0)
		fail(r);
}

/* The text of a refusal; it waits when pushes have used up the connection's window. */
static ssize_t on_read_answer(nghttp2_session *h2, int32_t stream, uint8_t *buf, size_t size, uint32_t *flags,
			      nghttp2_data_source *source, void *arg)
{
	struct h2_conn *x = arg;
	struct h2_req *r = source->ptr;
	size_t n = r->text_len - r->text_at;

	n = n < size ? n : size;
	if (x->window < (int64_t)n && !x->cloud->conf.switches.bridge_promise) {
		cw_list_remove(&r->deferred);
		cw_list_push_back(&x->deferred, &r->deferred);
		return NGHTTP2_ERR_DEFERRED;
	}
	memcpy(buf, r->text + r->text_at, n);
	r->text_at += n;
	if (r->text_at == r->text_len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

void cw_cloud_h2_resume_answers(struct h2_conn *x)
{
	struct cw_list *e;

	while ((e = cw_list_pop(&x->deferred)) != NULL)
		(void)nghttp2_session_resume_data(x->h2, cw_container_of(e, struct h2_req, deferred)->id);
}

void cw_cloud_h2_refuse(struct h2_req *r, unsigned status, const char *text)
{
	nghttp2_data_provider body = { { .ptr = r }, on_read_answer };
	char number[16], request[24];
	nghttp2_nv nv[4];

	cw_cloud_next_id(r->conn->cloud, request);
	(void)snprintf(number, sizeof(number), "%u", status);
	r->text_len = (size_t)snprintf(r->text, sizeof(r->text), "{\"code\":%u,\"message\":\"%.140s\"}", status, text);
	r->text_at = 0;
	nv_set(&nv[0], ":status", number, NGHTTP2_NV_FLAG_NO_COPY_NAME);
	nv_set(&nv[1], "x-request-id", request, NGHTTP2_NV_FLAG_NO_COPY_NAME);
	nv_set(&nv[2], "x-response-status", number, NGHTTP2_NV_FLAG_NO_COPY_NAME);
	nv_set(&nv[3], "content-type", "application/json",
	       NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE);
	r->answered = 1;
	if (nghttp2_submit_response(r->conn->h2, r->id, nv, 4, &body) != 0)
		fail(r);
}
