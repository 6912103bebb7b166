/*
 * bench_h2.c - the ceiling for the gateway's way to the platform over HTTP/2: the same requests on one connection to
 * the same emulator, from nghttp2 and OpenSSL with a program around them that does nothing else.
 *
 *   bench_h2 --to PORT --login FILE --path PATH --bodies FILE [--window N] [--seconds S]
 *
 * FILE of --login has the header fields of the login, one "name: value" a line; FILE of --bodies one body a line, sent
 * in turn by POST to PATH at QoS 1, at most `--window` of them unanswered. Prints one line of JSON.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>

#include "meter.h"

#define OUT_MOST 65536u
#define FIELDS_MOST 24u

static struct {
	const char *path;
	char **login, **bodies;
	unsigned login_count, body_count, window;
	int port;
} conf = { .window = 200 };

struct request {
	const char *body;
	size_t len, sent;
	int status;
};

static struct meter meter = { .seconds = 2 };
static struct request *requests;
static unsigned *idle, idle_count, turn; /* requests that are not under way */
static int logged_in, sock;
static SSL *tls;
static nghttp2_session *h2;
static char authority[32];

static void die(const char *what)
{
	(void)fprintf(stderr, "bench_h2: %s\n", what);
	exit(1);
}

static nghttp2_nv field(const char *name, size_t name_len, const char *value)
{
	return (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)name,
			     .value = (uint8_t *)(uintptr_t)value,
			     .namelen = name_len,
			     .valuelen = strlen(value) };
}

static ssize_t read_body(nghttp2_session *s, int32_t stream, uint8_t *buf, size_t len, uint32_t *flags,
			 nghttp2_data_source *source, void *arg)
{
	struct request *r = source->ptr;
	size_t n = r->len - r->sent < len ? r->len - r->sent : len;

	memcpy(buf, r->body + r->sent, n);
	r->sent += n;
	if (r->sent == r->len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static void ask(struct request *r, const char *method, const char *path, char **fields, unsigned count)
{
	nghttp2_data_provider body = { .source.ptr = r, .read_callback = read_body };
	nghttp2_nv all[FIELDS_MOST];
	char length[24];
	unsigned i, n = 0;

	(void)snprintf(length, sizeof(length), "%zu", r->len);
	all[n++] = field(":method", 7, method);
	all[n++] = field(":scheme", 7, "https");
	all[n++] = field(":authority", 10, authority);
	all[n++] = field(":path", 5, path);
	for (i = 0; i < count && n + 1 < FIELDS_MOST; i++) {
		const char *colon = strstr(fields[i], ": ");

		if (colon != NULL)
			all[n++] = field(fields[i], (size_t)(colon - fields[i]), colon + 2);
	}
	all[n++] = field("content-length", 14, length);
	if (nghttp2_submit_request(h2, NULL, all, n, r->len > 0 ? &body : NULL, r) < 0)
		die("nghttp2_submit_request");
}

static void fill(void)
{
	static char qos[] = "x-qos: 1";
	char *fields[] = { qos };

	while (idle_count > 0) {
		struct request *r = &requests[idle[--idle_count]];

		r->body = conf.bodies[turn++ % conf.body_count];
		r->len = strlen(r->body);
		r->sent = 0;
		r->status = 0;
		ask(r, "POST", conf.path, fields, 1);
	}
}

static int on_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
		     const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct request *r = nghttp2_session_get_stream_user_data(s, frame->hd.stream_id);

	if (r != NULL && name_len == 7 && memcmp(name, ":status", 7) == 0)
		r->status = value_len == 3 && memcmp(value, "200", 3) == 0 ? 200 : -1;
	return 0;
}

static int on_close(nghttp2_session *s, int32_t stream, uint32_t error, void *arg)
{
	struct request *r = nghttp2_session_get_stream_user_data(s, stream);

	if (r == NULL)
		return 0;
	if (!logged_in) {
		if (r->status != 200)
			die("the login was refused");
		logged_in = 1;
		return 0;
	}
	if (r->status == 200)
		meter.confirmed++;
	else
		meter.failed++;
	idle[idle_count++] = (unsigned)(r - requests);
	return 0;
}

static void open_connection(void)
{
	static const unsigned char alpn[] = { 2, 'h', '2' };
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)conf.port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	int on = 1;

	sock = socket(AF_INET, SOCK_STREAM, 0);
	if (ctx == NULL || connect(sock, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("connect");
	(void)setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	tls = SSL_new(ctx);
	if (tls == NULL || SSL_set_alpn_protos(tls, alpn, sizeof(alpn)) != 0 || SSL_set_fd(tls, sock) != 1 ||
	    SSL_connect(tls) != 1)
		die("TLS");
	(void)SSL_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	(void)fcntl(sock, F_SETFL, O_NONBLOCK);
	(void)snprintf(authority, sizeof(authority), "127.0.0.1:%d", conf.port);
}

static void open_session(void)
{
	static const nghttp2_settings_entry settings[] = { { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1u << 20 } };
	nghttp2_session_callbacks *callbacks;

	if (nghttp2_session_callbacks_new(&callbacks) != 0)
		die("nghttp2");
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
	if (nghttp2_session_client_new(&h2, callbacks, NULL) != 0 ||
	    nghttp2_submit_settings(h2, NGHTTP2_FLAG_NONE, settings, 1) != 0 ||
	    nghttp2_session_set_local_window_size(h2, NGHTTP2_FLAG_NONE, 0, 1 << 24) != 0)
		die("nghttp2");
	nghttp2_session_callbacks_del(callbacks);
}

/* What nghttp2 wants to say; returns how much of it still waits for the socket. */
static size_t write_out(void)
{
	static uint8_t out[OUT_MOST + 32768];
	static size_t len;
	const uint8_t *data;
	ssize_t n;

	for (;;) {
		while (len < OUT_MOST && (n = nghttp2_session_mem_send(h2, &data)) > 0) {
			memcpy(out + len, data, (size_t)n);
			len += (size_t)n;
		}
		if (len == 0)
			return 0;
		n = SSL_write(tls, out, (int)len);
		if (n <= 0) {
			if (SSL_get_error(tls, (int)n) != SSL_ERROR_WANT_WRITE)
				die("the connection broke");
			return len;
		}
		memmove(out, out + n, len - (size_t)n);
		len -= (size_t)n;
	}
}

static void read_in(void)
{
	static uint8_t in[65536];
	int n;

	while ((n = SSL_read(tls, in, sizeof(in))) > 0)
		if (nghttp2_session_mem_recv(h2, in, (size_t)n) < 0)
			die("HTTP/2 was not understood");
	if (SSL_get_error(tls, n) != SSL_ERROR_WANT_READ)
		die("the platform closed the connection");
}

static int parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "to", 1, NULL, 't' },     { "login", 1, NULL, 'l' },   { "path", 1, NULL, 'p' }, { "bodies", 1, NULL, 'b' },
		{ "window", 1, NULL, 'w' }, { "seconds", 1, NULL, 's' }, { NULL, 0, NULL, 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 't': conf.port = atoi(optarg); break;
		case 'l': conf.login = read_lines(optarg, &conf.login_count); break;
		case 'p': conf.path = optarg; break;
		case 'b': conf.bodies = read_lines(optarg, &conf.body_count); break;
		case 'w': conf.window = (unsigned)atoi(optarg); break;
		case 's': meter.seconds = atof(optarg); break;
		default: return -1;
		}
	}
	return conf.port != 0 && conf.login != NULL && conf.path != NULL && conf.bodies != NULL && conf.window > 0 ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct pollfd watch = { .events = POLLIN };
	struct request login = { .body = "" };

	if (parse(argc, argv) < 0) {
		(void)fputs("usage: bench_h2 --to PORT --login FILE --path PATH --bodies FILE [--window N] [--seconds S]\n", stderr);
		return 2;
	}
	requests = calloc(conf.window, sizeof(*requests));
	idle = calloc(conf.window, sizeof(*idle));
	if (requests == NULL || idle == NULL)
		die("out of memory");
	open_connection();
	open_session();
	watch.fd = sock;
	ask(&login, "GET", "/message/echo/success", conf.login, conf.login_count);
	for (idle_count = 0; idle_count < conf.window; idle_count++)
		idle[idle_count] = idle_count;
	for (;;) {
		if (logged_in && meter_over(&meter))
			return 0;
		if (logged_in)
			fill();
		watch.events = POLLIN | (write_out() > 0 ? POLLOUT : 0);
		(void)poll(&watch, 1, 100);
		read_in();
	}
}
