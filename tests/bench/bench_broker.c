/*
 * bench_broker.c - the ceiling for the gateway's way to a broker: a bare libuv server with libmosquitto on the same
 * loop. It decodes nothing and makes no JSON.
 *
 *   bench_broker --broker PORT --payload FILE [--login CLIENT_ID USER PASSWORD TOPIC]
 *
 * With a login everything is published on that one topic. A registration or authentication gets a constant answer at once. For each position the bytes of FILE are published
 * at QoS 1 on the topic of one of 200 devices in turn, and a constant answer goes to the terminal when the broker has
 * acknowledged. What a pass of the loop publishes is written at its end, in as few segments as it fits. Prints
 * {"port": N} when it listens; ends with its standard input.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include <mosquitto.h>

#include "frame.h"

#define READ_SIZE (64u * 1024u)
#define KEEP_MOST 128u
#define DEVICES 200u

struct conn {
	uv_tcp_t tcp;
	uint8_t kept[KEEP_MOST]; /* the start of a frame whose rest has not come */
	size_t kept_len;
	unsigned under_way; /* positions that are not acknowledged */
	int gone;
};

static uint8_t read_buffer[KEEP_MOST + READ_SIZE];
static uint8_t general[FRAME_MOST], registered[FRAME_MOST];
static size_t general_len, registered_len;
static uv_tcp_t listener;
static uv_pipe_t input;
static uv_poll_t poller;
static uv_prepare_t flush;
static uv_timer_t misc;
static struct mosquitto *lib;
static struct conn *waiting[65536]; /* by message id */
static char payload[65536], topics[DEVICES][80];
static int payload_len, connected;
static unsigned turn;

static void die(const char *what)
{
	(void)fprintf(stderr, "bench_broker: %s\n", what);
	exit(1);
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
	*buf = uv_buf_init((char *)read_buffer + KEEP_MOST, READ_SIZE);
}

static void release(struct conn *c)
{
	if (c->gone && c->under_way == 0)
		free(c);
}

static void on_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;

	c->gone = 1;
	release(c);
}

static void answer(struct conn *c, const uint8_t *text, size_t len)
{
	uv_buf_t buf = uv_buf_init((char *)(uintptr_t)text, (unsigned)len);

	if (!uv_is_closing((uv_handle_t *)&c->tcp))
		(void)uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
}

static void publish(struct conn *c)
{
	int mid;

	if (mosquitto_publish(lib, &mid, topics[turn++ % DEVICES], payload_len, payload, 1, false) != MOSQ_ERR_SUCCESS)
		die("publish");
	waiting[mid] = c;
	c->under_way++;
}

static void on_acknowledged(struct mosquitto *m, void *ctx, int mid)
{
	struct conn *c = waiting[mid];

	waiting[mid] = NULL;
	if (c == NULL)
		return;
	c->under_way--;
	answer(c, general, general_len);
	release(c);
	errno = 0;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct conn *c = stream->data;
	uint8_t *in = (uint8_t *)buf->base;
	const uint8_t *content;
	size_t len, used, frame_len;

	if (n < 0)
		uv_close((uv_handle_t *)&c->tcp, on_closed);
	if (n <= 0)
		return;
	in -= c->kept_len;
	memcpy(in, c->kept, c->kept_len);
	len = (size_t)n + c->kept_len;
	for (; (used = find_frame(in, len, &content, &frame_len)) > 0; in += used, len -= used) {
		unsigned id = frame_len > 2 ? get_u16(content) : 0;

		if (id == MSG_POSITION)
			publish(c);
		else if (id == MSG_REGISTER)
			answer(c, registered, registered_len);
		else
			answer(c, general, general_len);
	}
	c->kept_len = len <= KEEP_MOST ? len : 0;
	memcpy(c->kept, in, c->kept_len);
}

static void on_connection(uv_stream_t *server, int status)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (c == NULL || status < 0)
		die("accept");
	(void)uv_tcp_init(server->loop, &c->tcp);
	c->tcp.data = c;
	if (uv_accept(server, (uv_stream_t *)&c->tcp) < 0 ||
	    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) < 0)
		die("accept");
	(void)uv_tcp_nodelay(&c->tcp, 1);
}

/* ---- the broker's side ---- */

static void on_connect(struct mosquitto *m, void *ctx, int code)
{
	if (code != 0)
		die("refused by the broker");
	connected = 1;
}

static void on_poll(uv_poll_t *h, int status, int events);

static void watch(void)
{
	(void)uv_poll_start(&poller, UV_READABLE | (mosquitto_want_write(lib) ? UV_WRITABLE : 0), on_poll);
}

static void write_out(void)
{
	int on = 1, off = 0, fd = mosquitto_socket(lib);

	(void)setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
	errno = 0;
	if (mosquitto_loop_write(lib, 1) != MOSQ_ERR_SUCCESS)
		die("the broker closed the connection");
	(void)setsockopt(fd, IPPROTO_TCP, TCP_CORK, &off, sizeof(off));
}

static void on_poll(uv_poll_t *h, int status, int events)
{
	errno = 0;
	if (status < 0 || ((events & UV_READABLE) != 0 && mosquitto_loop_read(lib, 1) != MOSQ_ERR_SUCCESS))
		die("the broker closed the connection");
	if ((events & UV_WRITABLE) != 0) {
		write_out();
		watch();
	}
}

static void on_flush(uv_prepare_t *h)
{
	if (!connected || !mosquitto_want_write(lib))
		return;
	write_out();
	if (mosquitto_want_write(lib))
		watch();
}

static void on_misc(uv_timer_t *t)
{
	(void)mosquitto_loop_misc(lib);
}

static void open_broker(uv_loop_t *loop, int port, char **login)
{
	(void)mosquitto_lib_init();
	lib = mosquitto_new(login != NULL ? login[0] : "bench-broker", true, NULL);
	if (lib == NULL || (login != NULL && mosquitto_username_pw_set(lib, login[1], login[2]) != MOSQ_ERR_SUCCESS))
		die("mosquitto_new");
	(void)mosquitto_int_option(lib, MOSQ_OPT_TCP_NODELAY, 1);
	(void)mosquitto_threaded_set(lib, true); /* no writing from within publish */
	(void)mosquitto_max_inflight_messages_set(lib, 0);
	mosquitto_connect_callback_set(lib, on_connect);
	mosquitto_publish_callback_set(lib, on_acknowledged);
	if (mosquitto_connect_async(lib, "127.0.0.1", port, 60) != MOSQ_ERR_SUCCESS)
		die("connect");
	(void)uv_poll_init(loop, &poller, mosquitto_socket(lib));
	watch();
	(void)uv_prepare_init(loop, &flush);
	(void)uv_prepare_start(&flush, on_flush);
	(void)uv_timer_init(loop, &misc);
	(void)uv_timer_start(&misc, on_misc, 1000, 1000);
	while (!connected)
		(void)uv_run(loop, UV_RUN_ONCE);
}

static void on_input(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	if (n < 0)
		_exit(0);
}

static void make_constants(const char *file, const char *topic)
{
	static const uint8_t phone[6] = { 0x01, 0x38, 0, 0, 0, 0 };
	static const uint8_t ok[5] = { 0, 0, 0, 2, 0 };
	static const uint8_t code[] = { 0, 0, 0, 'B', 'A', 'R', 'E' };
	FILE *f = fopen(file, "r");
	unsigned i;

	if (f == NULL)
		die(file);
	payload_len = (int)fread(payload, 1, sizeof(payload), f);
	(void)fclose(f);
	general_len = build_frame(general, MSG_GENERAL, phone, 0, ok, sizeof(ok));
	registered_len = build_frame(registered, MSG_REGISTERED, phone, 0, code, sizeof(code));
	for (i = 0; i < DEVICES; i++)
		if (topic != NULL)
			(void)snprintf(topics[i], sizeof(topics[i]), "%s", topic);
		else
			(void)snprintf(topics[i], sizeof(topics[i]), "site/a1EmuSub001/sub-%04u/property", i + 1);
}

int main(int argc, char **argv)
{
	uv_loop_t *loop = uv_default_loop();
	struct sockaddr_in addr;
	int len = sizeof(addr), has_login = argc == 10 && strcmp(argv[5], "--login") == 0;

	if ((argc != 5 && !has_login) || strcmp(argv[1], "--broker") != 0 || strcmp(argv[3], "--payload") != 0) {
		(void)fputs("usage: bench_broker --broker PORT --payload FILE [--login CLIENT_ID USER PASSWORD TOPIC]\n", stderr);
		return 2;
	}
	make_constants(argv[4], has_login ? argv[9] : NULL);
	open_broker(loop, atoi(argv[2]), has_login ? argv + 6 : NULL);
	(void)uv_tcp_init(loop, &listener);
	(void)uv_ip4_addr("127.0.0.1", 0, &addr);
	if (uv_tcp_bind(&listener, (struct sockaddr *)&addr, 0) < 0 ||
	    uv_listen((uv_stream_t *)&listener, 4096, on_connection) < 0 ||
	    uv_tcp_getsockname(&listener, (struct sockaddr *)&addr, &len) < 0)
		die("cannot listen");
	(void)uv_pipe_init(loop, &input, 0);
	(void)uv_pipe_open(&input, 0);
	(void)uv_read_start((uv_stream_t *)&input, on_alloc, on_input);
	(void)printf("{\"port\": %d}\n", ntohs(addr.sin_port));
	(void)fflush(stdout);
	(void)uv_run(loop, UV_RUN_DEFAULT);
	return 0;
}
