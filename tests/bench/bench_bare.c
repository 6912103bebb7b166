/*
 * bench_bare.c - what libuv alone reaches: a server that cuts frames at their delimiters, counts them and answers
 * with constants. It decodes nothing and knows nobody, so it is the ceiling for the gateway in the same run.
 *
 *   bench_bare each   one constant 0x8001 for every frame, those of one read in one write
 *   bench_bare read   one constant 0x8001 for every read, however many frames it held: reading and counting only
 *
 * A registration gets a constant 0x8100. Prints {"port": N} when it listens and {"frames": N} at its end, which
 * comes when its standard input is closed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <uv.h>

#include "frame.h"

#define READ_SIZE (64u * 1024u)
#define KEEP_MOST 128u

struct conn {
	uv_tcp_t tcp;
	uint8_t *kept; /* the start of a frame whose rest has not come */
	size_t kept_len;
};

struct pending {
	uv_write_t req;
	uint8_t data[];
};

static uint8_t read_buffer[KEEP_MOST + READ_SIZE];
static uint8_t answers[READ_SIZE];
static uint8_t general[FRAME_MOST], registered[FRAME_MOST];
static size_t general_len, registered_len;
static int each;
static unsigned long long frames;
static uv_tcp_t listener;
static uv_pipe_t input;

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
	*buf = uv_buf_init((char *)read_buffer + KEEP_MOST, READ_SIZE);
}

static void on_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;

	free(c->kept);
	free(c);
}

static void on_written(uv_write_t *req, int status)
{
	free(req->data);
}

static void answer(struct conn *c, size_t len)
{
	uv_buf_t buf = uv_buf_init((char *)answers, (unsigned)len);
	int n = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
	size_t done = n > 0 ? (size_t)n : 0;
	struct pending *p;

	if (done == len || (n < 0 && n != UV_EAGAIN))
		return;
	p = malloc(sizeof(*p) + len - done);
	if (p == NULL)
		return;
	p->req.data = p;
	memcpy(p->data, answers + done, len - done);
	buf = uv_buf_init((char *)p->data, (unsigned)(len - done));
	if (uv_write(&p->req, (uv_stream_t *)&c->tcp, &buf, 1, on_written) < 0)
		free(p);
}

static void take(struct conn *c, const uint8_t *in, size_t len)
{
	const uint8_t *content;
	size_t n, frame_len, out = 0;

	while ((n = find_frame(in, len, &content, &frame_len)) > 0) {
		int is_register = frame_len > 2 && get_u16(content) == MSG_REGISTER;
		const uint8_t *text = is_register ? registered : general;
		size_t text_len = is_register ? registered_len : general_len;

		frames++;
		if ((each || out == 0) && out + text_len <= sizeof(answers)) {
			memcpy(answers + out, text, text_len);
			out += text_len;
		}
		in += n;
		len -= n;
	}
	if (out > 0)
		answer(c, out);
	if (len > 0 && len <= KEEP_MOST) {
		if (c->kept == NULL)
			c->kept = malloc(KEEP_MOST);
		if (c->kept != NULL)
			memcpy(c->kept, in, len);
		c->kept_len = c->kept != NULL ? len : 0;
	} else {
		free(c->kept);
		c->kept = NULL;
		c->kept_len = 0;
	}
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct conn *c = stream->data;
	uint8_t *in = (uint8_t *)buf->base;

	if (n < 0) {
		uv_close((uv_handle_t *)&c->tcp, on_closed);
		return;
	}
	if (n == 0)
		return;
	if (c->kept_len > 0) { /* there is room for it in front of what was read */
		in -= c->kept_len;
		memcpy(in, c->kept, c->kept_len);
	}
	take(c, in, (size_t)n + c->kept_len);
}

static void on_connection(uv_stream_t *server, int status)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (c == NULL || status < 0) {
		free(c);
		return;
	}
	(void)uv_tcp_init(server->loop, &c->tcp);
	c->tcp.data = c;
	if (uv_accept(server, (uv_stream_t *)&c->tcp) < 0 ||
	    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) < 0)
		uv_close((uv_handle_t *)&c->tcp, on_closed);
	else
		(void)uv_tcp_nodelay(&c->tcp, 1);
}

static void on_input(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	if (n >= 0)
		return;
	(void)printf("{\"frames\": %llu}\n", frames);
	(void)fflush(stdout);
	_exit(0); /* thousands of sockets: the system closes them faster than we */
}

static void make_answers(void)
{
	static const uint8_t phone[6] = { 0x01, 0x38, 0, 0, 0, 0 };
	static const uint8_t ok[5] = { 0, 0, 0, 2, 0 };
	static const uint8_t code[] = { 0, 0, 0, 'B', 'A', 'R', 'E' };

	general_len = build_frame(general, MSG_GENERAL, phone, 0, ok, sizeof(ok));
	registered_len = build_frame(registered, MSG_REGISTERED, phone, 0, code, sizeof(code));
}

int main(int argc, char **argv)
{
	struct rlimit limit;
	struct sockaddr_in addr;
	int len = sizeof(addr);
	uv_loop_t *loop = uv_default_loop();

	if (argc != 2 || (strcmp(argv[1], "each") != 0 && strcmp(argv[1], "read") != 0)) {
		(void)fputs("usage: bench_bare each|read\n", stderr);
		return 2;
	}
	each = strcmp(argv[1], "each") == 0;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	make_answers();
	(void)uv_tcp_init(loop, &listener);
	(void)uv_ip4_addr("127.0.0.1", 0, &addr);
	if (uv_tcp_bind(&listener, (struct sockaddr *)&addr, 0) < 0 ||
	    uv_listen((uv_stream_t *)&listener, 4096, on_connection) < 0 ||
	    uv_tcp_getsockname(&listener, (struct sockaddr *)&addr, &len) < 0) {
		(void)fputs("bench_bare: cannot listen\n", stderr);
		return 1;
	}
	(void)uv_pipe_init(loop, &input, 0);
	(void)uv_pipe_open(&input, 0);
	(void)uv_read_start((uv_stream_t *)&input, on_alloc, on_input);
	(void)printf("{\"port\": %d}\n", ntohs(addr.sin_port));
	(void)fflush(stdout);
	(void)uv_run(loop, UV_RUN_DEFAULT);
	return 0;
}
