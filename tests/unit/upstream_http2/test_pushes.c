/*
 * Messages of the platform in every form there is, before a real nghttp2 client session: it must notice none of
 * them, keep its HPACK tables in step, and get its connection window back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/error.h"
#include "upstream/http2/pushes.h"

#define TOPIC "/sys/pk/dn/bridge/push"

struct world {
	struct http2_pushes p;
	nghttp2_session *client;
	nghttp2_hd_deflater *deflater; /* the server's */
	uint8_t wire[1 << 20];
	size_t len;
	int piece; /* bytes fed at once; 0: all */
	/* what came */
	unsigned pushes, refused, answers;
	char topic[256], id[64], body[64], status[8], note[64];
	size_t body_len;
	int qos;
};

static int on_pass(void *ctx, struct cw_bytes bytes)
{
	struct world *w = ctx;

	return nghttp2_session_mem_recv(w->client, bytes.ptr, bytes.len) == (ssize_t)bytes.len ? 0 : CW_EPROTO;
}

static void on_push(void *ctx, const struct http2_push *p)
{
	struct world *w = ctx;

	w->pushes++;
	w->qos = p->qos;
	w->body_len = p->len;
	(void)snprintf(w->topic, sizeof(w->topic), "%s", p->topic);
	(void)snprintf(w->id, sizeof(w->id), "%s", p->message_id);
	(void)snprintf(w->body, sizeof(w->body), "%.*s", (int)p->len, p->len == 0 ? "" : (const char *)p->body);
}

static void on_refuse(void *ctx, uint32_t stream)
{
	struct world *w = ctx;

	w->refused++;
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name, size_t nlen,
		     const uint8_t *value, size_t vlen, uint8_t flags, void *arg)
{
	struct world *w = arg;

	if (nlen == 7 && memcmp(name, ":status", 7) == 0)
		(void)snprintf(w->status, sizeof(w->status), "%.*s", (int)vlen, (const char *)value);
	if (nlen == 6 && memcmp(name, "x-note", 6) == 0)
		(void)snprintf(w->note, sizeof(w->note), "%.*s", (int)vlen, (const char *)value);
	return 0;
}

static int on_close(nghttp2_session *h2, int32_t stream, uint32_t error, void *arg)
{
	struct world *w = arg;

	w->answers += error == 0;
	return 0;
}

static const struct http2_pushes_ops ops = { on_pass, on_push, on_refuse };

static void drain(struct world *w, int *ret_goaway)
{
	const uint8_t *data;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(w->client, &data)) > 0)
		if (n >= 9 && data[3] == NGHTTP2_GOAWAY)
			*ret_goaway = 1;
	assert_int_equal(n, 0);
}

static nghttp2_nv field(const char *name, const char *value)
{
	return (nghttp2_nv){ (uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value), 0 };
}

static int32_t ask(struct world *w)
{
	const nghttp2_nv nv = field(":path", "/");
	int goaway = 0;
	int32_t id = nghttp2_submit_request(w->client, NULL, &nv, 1, NULL, NULL);

	drain(w, &goaway);
	assert_int_equal(goaway, 0);
	return id;
}

static int setup(void **state)
{
	struct world *w = cw_zalloc(sizeof(*w));
	nghttp2_session_callbacks *c;
	nghttp2_option *o;

	assert_non_null(w);
	assert_int_equal(nghttp2_session_callbacks_new(&c), 0);
	assert_int_equal(nghttp2_option_new(&o), 0);
	nghttp2_option_set_no_http_messaging(o, 1);
	nghttp2_session_callbacks_set_on_header_callback(c, on_header);
	nghttp2_session_callbacks_set_on_stream_close_callback(c, on_close);
	assert_int_equal(nghttp2_session_client_new2(&w->client, c, w, o), 0);
	nghttp2_option_del(o);
	nghttp2_session_callbacks_del(c);
	assert_int_equal(nghttp2_hd_deflate_new(&w->deflater, 4096), 0);
	assert_int_equal(http2_pushes_init(&w->p, &ops, w), 0);
	assert_int_equal(nghttp2_submit_settings(w->client, 0, NULL, 0), 0);
	assert_int_equal(nghttp2_session_set_next_stream_id(w->client, HTTP2_FIRST_STREAM), 0);
	assert_int_equal(ask(w), HTTP2_FIRST_STREAM);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	http2_pushes_fini(&w->p);
	nghttp2_session_del(w->client);
	nghttp2_hd_deflate_del(w->deflater);
	cw_free(w);
	return 0;
}

static void frame(struct world *w, uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t n)
{
	const uint8_t head[9] = {
		(uint8_t)(n >> 16),      (uint8_t)(n >> 8),      (uint8_t)n,     type, flags, (uint8_t)(stream >> 24),
		(uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream
	};

	assert_true(w->len + 9 + n <= sizeof(w->wire));
	memcpy(w->wire + w->len, head, 9);
	if (n > 0)
		memcpy(w->wire + w->len + 9, payload, n);
	w->len += 9 + n;
}

static size_t block(struct world *w, uint8_t *out, size_t size, const nghttp2_nv *nv, size_t n)
{
	ssize_t len = nghttp2_hd_deflate_hd(w->deflater, out, size, nv, n);

	assert_true(len > 0);
	return (size_t)len;
}

static size_t push_block(struct world *w, uint8_t *out, size_t size, const char *id)
{
	const nghttp2_nv nv[] = { field(":status", "200"), field("x-topic", TOPIC), field("x-message-id", id),
				  field("x-qos", "1"), field("x-other", "something that goes to the dynamic table") };

	return block(w, out, size, nv, 5);
}

static int feed(struct world *w)
{
	size_t at, n;
	int rc = 0;

	for (at = 0; at < w->len && rc == 0; at += n) {
		n = w->piece == 0 || w->len - at < (size_t)w->piece ? w->len - at : (size_t)w->piece;
		rc = http2_pushes_feed(&w->p, cw_bytes_of(w->wire + at, n));
	}
	w->len = 0;
	return rc;
}

/* The answer to a request of ours, whose fields are in the table that the pushes have changed. */
static void check_in_step(struct world *w, int32_t stream)
{
	const nghttp2_nv nv[] = { field(":status", "200"), field("x-note", "in step"), field("x-topic", TOPIC) };
	uint8_t buf[512];
	size_t n = block(w, buf, sizeof(buf), nv, 3);
	unsigned before = w->answers;
	int goaway = 0;

	memset(w->note, 0, sizeof(w->note));
	frame(w, NGHTTP2_HEADERS, 5, (uint32_t)stream, buf, n);
	assert_int_equal(feed(w), 0);
	assert_int_equal(w->answers, before + 1);
	assert_string_equal(w->note, "in step");
	drain(w, &goaway);
	assert_int_equal(goaway, 0);
}

static void check_push(struct world *w, unsigned count, const char *id, const char *body)
{
	assert_int_equal(w->pushes, count);
	assert_string_equal(w->topic, TOPIC);
	assert_string_equal(w->id, id);
	assert_string_equal(w->body, body);
	assert_int_equal(w->qos, 1);
}

static void all_forms(struct world *w)
{
	uint8_t buf[512], padded[64] = { 9 }, promise[600] = { 0, 0, 0, 10 };
	const nghttp2_nv asked[] = { field(":method", "GET"), field(":path", "/push"), field("x-topic", "/not/this") };
	const nghttp2_nv late[] = { field("x-late", "1"), field("x-topic", "/nor/this") };
	size_t n;

	frame(w, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
	/* bare, the body in two pieces */
	n = push_block(w, buf, sizeof(buf), "1");
	frame(w, NGHTTP2_HEADERS, 4, 2, buf, n);
	frame(w, NGHTTP2_DATA, 0, 2, "he", 2);
	frame(w, NGHTTP2_DATA, 1, 2, "llo", 3);
	assert_int_equal(feed(w), 0);
	check_push(w, 1, "1", "hello");
	/* headers in three frames, with a priority; data padded */
	n = push_block(w, buf, sizeof(buf), "2");
	memmove(buf + 5, buf, n);
	memset(buf, 0, 5);
	frame(w, NGHTTP2_HEADERS, 32, 4, buf, 7);
	frame(w, NGHTTP2_CONTINUATION, 0, 4, buf + 7, 1);
	frame(w, NGHTTP2_CONTINUATION, 4, 4, buf + 8, n - 3);
	memcpy(padded + 1, "hi", 2);
	frame(w, NGHTTP2_DATA, 9, 4, padded, 12);
	assert_int_equal(feed(w), 0);
	check_push(w, 2, "2", "hi");
	/* without a body */
	n = push_block(w, buf, sizeof(buf), "3");
	frame(w, NGHTTP2_HEADERS, 5, 6, buf, n);
	assert_int_equal(feed(w), 0);
	check_push(w, 3, "3", "");
	/* trailers end it */
	n = push_block(w, buf, sizeof(buf), "4");
	frame(w, NGHTTP2_HEADERS, 4, 8, buf, n);
	frame(w, NGHTTP2_DATA, 0, 8, "x", 1);
	n = block(w, buf, sizeof(buf), late, 2);
	frame(w, NGHTTP2_HEADERS, 5, 8, buf, n);
	assert_int_equal(feed(w), 0);
	check_push(w, 4, "4", "x");
	/* promised, on a request that is open or has ended: the same to us */
	n = block(w, promise + 4, sizeof(promise) - 4, asked, 3);
	frame(w, NGHTTP2_PUSH_PROMISE, 4, HTTP2_FIRST_STREAM, promise, n + 4);
	n = push_block(w, buf, sizeof(buf), "5");
	frame(w, NGHTTP2_HEADERS, 4, 10, buf, n);
	frame(w, NGHTTP2_WINDOW_UPDATE, 0, 10, "\0\0\0\1", 4);
	frame(w, NGHTTP2_PRIORITY, 0, 10, "\0\0\0\0\1", 5);
	frame(w, NGHTTP2_DATA, 1, 10, "promised", 8);
	assert_int_equal(feed(w), 0);
	check_push(w, 5, "5", "promised");
	/* taken back in the middle */
	n = push_block(w, buf, sizeof(buf), "6");
	frame(w, NGHTTP2_HEADERS, 4, 12, buf, n);
	frame(w, NGHTTP2_RST_STREAM, 0, 12, "\0\0\0\2", 4);
	frame(w, NGHTTP2_DATA, 1, 12, "late", 4);
	assert_int_equal(feed(w), 0);
	assert_int_equal(w->pushes, 5);
	assert_true(cw_list_empty(&w->p.open));
}

static void test_every_form_is_a_message_and_nghttp2_notices_none(void **state)
{
	struct world *w = *state;

	all_forms(w);
	check_in_step(w, HTTP2_FIRST_STREAM);
}

static void test_torn_at_every_byte(void **state)
{
	struct world *w = *state;

	w->piece = 1;
	all_forms(w);
	check_in_step(w, HTTP2_FIRST_STREAM);
}

static void test_two_pushes_at_once_are_kept_apart(void **state)
{
	struct world *w = *state;
	uint8_t buf[512];
	size_t n;

	frame(w, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
	n = push_block(w, buf, sizeof(buf), "1");
	frame(w, NGHTTP2_HEADERS, 4, 2, buf, n);
	n = push_block(w, buf, sizeof(buf), "2");
	frame(w, NGHTTP2_HEADERS, 4, 4, buf, n);
	frame(w, NGHTTP2_DATA, 0, 2, "a", 1);
	frame(w, NGHTTP2_DATA, 1, 4, "second", 6);
	assert_int_equal(feed(w), 0);
	check_push(w, 1, "2", "second");
	frame(w, NGHTTP2_DATA, 1, 2, "b", 1);
	assert_int_equal(feed(w), 0);
	check_push(w, 2, "1", "ab");
	check_in_step(w, HTTP2_FIRST_STREAM);
}

static void test_fields_are_bounded(void **state)
{
	struct world *w = *state;
	char topic[400], id[100];
	nghttp2_nv nv[3];
	uint8_t buf[1024];
	size_t n;

	memset(topic, 't', sizeof(topic) - 1);
	topic[sizeof(topic) - 1] = '\0';
	memset(id, '1', sizeof(id) - 1);
	id[sizeof(id) - 1] = '\0';
	nv[0] = field(":status", "200");
	nv[1] = field("x-topic", topic);
	nv[2] = field("x-message-id", id);
	frame(w, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
	n = block(w, buf, sizeof(buf), nv, 3);
	frame(w, NGHTTP2_HEADERS, 5, 2, buf, n);
	assert_int_equal(feed(w), 0);
	assert_int_equal(w->pushes, 1);
	assert_string_equal(w->topic, "");
	assert_string_equal(w->id, "");
	assert_int_equal(w->qos, 0);
	check_in_step(w, HTTP2_FIRST_STREAM);
}

static void test_more_than_there_is_room_for_is_refused_and_costs_nothing_else(void **state)
{
	struct world *w = *state;
	static uint8_t zeros[16384];
	uint8_t buf[512];
	uint32_t i;
	size_t n;

	frame(w, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
	for (i = 0; i < HTTP2_PUSHES_MOST + 3; i++) {
		n = push_block(w, buf, sizeof(buf), "1");
		frame(w, NGHTTP2_HEADERS, 4, 2 + 2 * i, buf, n);
	}
	assert_int_equal(feed(w), 0);
	assert_int_equal(w->refused, 3);
	assert_int_equal(w->p.count, HTTP2_PUSHES_MOST);
	for (i = 0; i < HTTP2_PUSH_BYTES / sizeof(zeros) + 1; i++) {
		int goaway = 0;

		frame(w, NGHTTP2_DATA, 0, 2, zeros, sizeof(zeros));
		assert_int_equal(feed(w), 0);
		drain(w, &goaway); /* the connection's window comes back, or this would be too much for it */
		assert_int_equal(goaway, 0);
	}
	assert_int_equal(w->refused, 4);
	assert_int_equal(w->p.count, HTTP2_PUSHES_MOST - 1);
	assert_int_equal(w->p.bytes, 0);
	check_in_step(w, HTTP2_FIRST_STREAM);
}

static void test_header_lists_without_end_end_the_connection(void **state)
{
	struct world *w = *state;
	char value[4000];
	nghttp2_nv nv[20];
	static uint8_t buf[HTTP2_HEADERS_MOST * 2];
	size_t n, at;
	int i, rc = 0;

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (i = 0; i < 20; i++) {
		nv[i] = field("x-long", value);
		nv[i].flags = NGHTTP2_NV_FLAG_NO_INDEX;
	}
	frame(w, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
	n = block(w, buf, sizeof(buf), nv, 20);
	for (at = 0; at < n && rc == 0; at += 8000) {
		frame(w, at == 0 ? NGHTTP2_HEADERS : NGHTTP2_CONTINUATION, 0, 2, buf + at,
		      n - at < 8000 ? n - at : 8000);
		rc = feed(w);
	}
	assert_int_equal(rc, CW_EPROTO);
}

static void test_what_is_not_http2_goes_to_nghttp2_which_says_so(void **state)
{
	static const struct {
		uint8_t type, flags;
		uint32_t stream;
		size_t len;
	} bad[] = {
		{ NGHTTP2_CONTINUATION, 4, 2, 3 }, /* of nothing */
		{ NGHTTP2_HEADERS, 4, 0, 3 },      /* on no stream */
		{ NGHTTP2_DATA, 8, 2, 1 },         /* more padding than data */
		{ NGHTTP2_RST_STREAM, 0, 2, 3 },   /* of a wrong length */
		{ NGHTTP2_DATA, 0, 2, 16385 },     /* too long */
		{ NGHTTP2_HEADERS, 4, 5, 1 },      /* on a stream that we have not opened */
	};
	static uint8_t ones[20000];
	struct world *w;
	int goaway;
	size_t i;

	memset(ones, 0x88, sizeof(ones));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		(void)teardown(state);
		(void)setup(state);
		w = *state;
		goaway = 0;
		frame(w, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
		frame(w, bad[i].type, bad[i].flags, bad[i].stream, ones, bad[i].len);
		(void)feed(w);
		drain(w, &goaway);
		assert_int_equal(goaway, 1);
	}
}

static void test_a_block_that_another_frame_breaks_into_ends_the_connection(void **state)
{
	struct world *w = *state;
	uint8_t buf[512];
	size_t n = push_block(w, buf, sizeof(buf), "1");
	int goaway = 0;

	frame(w, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
	frame(w, NGHTTP2_HEADERS, 0, 2, buf, n - 1);
	frame(w, NGHTTP2_PING, 0, 0, "12345678", 8);
	(void)feed(w);
	drain(w, &goaway);
	assert_int_equal(goaway, 1);
}

static void test_no_memory_is_said(void **state)
{
	int n, failed = 1, rc;

	for (n = 0; failed; n++) {
		struct http2_pushes p;
		struct world *w;
		void *fresh;
		uint8_t buf[512];
		size_t len;

		(void)setup(&fresh);
		w = fresh;
		frame(w, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
		len = push_block(w, buf, sizeof(buf), "1");
		frame(w, NGHTTP2_HEADERS, 4, 2, buf, len);
		frame(w, NGHTTP2_DATA, 0, 2, "he", 2);
		frame(w, NGHTTP2_DATA, 1, 2, "llo", 3);
		cw_mem_fail_at(n);
		rc = http2_pushes_init(&p, &ops, w);
		if (rc == 0)
			rc = http2_pushes_feed(&p, cw_bytes_of(w->wire, w->len));
		failed = cw_mem_failed();
		cw_mem_fail_at(-1);
		/* Where a message finds no room the platform is told, and the connection lives. */
		assert_true(failed ? rc == CW_ENOMEM || (rc == 0 && w->refused == 1 && w->pushes == 0) : rc == 0 && w->pushes == 1);
		http2_pushes_fini(&p);
		(void)teardown(&fresh);
	}
	assert_true(n > 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_every_form_is_a_message_and_nghttp2_notices_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_torn_at_every_byte, setup, teardown),
		cmocka_unit_test_setup_teardown(test_two_pushes_at_once_are_kept_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fields_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_more_than_there_is_room_for_is_refused_and_costs_nothing_else,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_header_lists_without_end_end_the_connection, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_not_http2_goes_to_nghttp2_which_says_so, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_block_that_another_frame_breaks_into_ends_the_connection, setup,
						teardown),
		cmocka_unit_test(test_no_memory_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
