/*
 * bench_stations.c - plays hundreds of stations of a production line and prints one line of JSON.
 *
 *   bench_stations --to PORT --product KEY [--mode both|ask|again] [--stations N] [--boards PREFIX]
 *                  [--requests N | --seconds S] [--rate R] [--tls] [--pid PID] [--hold]
 *
 * Each station has one connection, which it keeps, and one request under way. `ask`: a certificate for a new board each time; `both`: the
 * same and then the report that it was written; `again`: always for the station's own board. Without --rate the next request follows the
 * answer; with it R a second are spread over the stations, and latency counts from when a request was due. With --pid the CPU time of that
 * process is read at the beginning and the end. With --hold the connections stay until standard input is closed. Every answer must be 200 and have the Status OK.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES_MOST 4000000u
#define GIVE_UP_NS 120000000000ull

enum mode { ASK, BOTH, AGAIN };

struct station {
	int fd, busy, reporting;
	unsigned index, board;
	SSL *ssl;
	uint64_t due; /* when the request under way should have left */
	size_t len;
	char board_id[64], in[4096];
};

static struct {
	struct sockaddr_in to;
	const char *product, *boards;
	enum mode mode;
	unsigned stations;
	uint64_t requests;
	double seconds, rate;
	int tls, hold;
	long pid;
} conf = { .boards = "b", .mode = BOTH, .stations = 1 };

static struct station *stations;
static uint64_t sent, answered, made, begun, until;
static uint32_t *samples;
static int poll_fd;

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void die(const char *what, const char *text)
{
	(void)fprintf(stderr, "bench_stations: %s: %s\n", what, text);
	exit(1);
}

/* Nanoseconds on a processor of all threads of --pid. */
static uint64_t read_cpu(void)
{
	char path[320];
	struct dirent *e;
	uint64_t sum = 0;
	DIR *d;

	(void)snprintf(path, sizeof(path), "/proc/%ld/task", conf.pid);
	d = conf.pid != 0 ? opendir(path) : NULL;
	while (d != NULL && (e = readdir(d)) != NULL) {
		unsigned long long ns = 0;
		FILE *f;

		(void)snprintf(path, sizeof(path), "/proc/%ld/task/%s/schedstat", conf.pid, e->d_name);
		f = e->d_name[0] != '.' ? fopen(path, "r") : NULL;
		if (f == NULL)
			continue;
		if (fscanf(f, "%llu", &ns) == 1)
			sum += ns;
		(void)fclose(f);
	}
	if (d != NULL)
		(void)closedir(d);
	return sum;
}

/* ---- one station ----------------------------------------------------------------------- */

static long put(struct station *s, const void *data, size_t len)
{
	return s->ssl != NULL ? SSL_write(s->ssl, data, (int)len) : send(s->fd, data, len, MSG_NOSIGNAL);
}

static void ask(struct station *s, uint64_t due)
{
	char body[256], text[512];
	int n, body_len;

	if (conf.mode != BOTH || !s->reporting) {
		if (conf.mode != AGAIN || s->board == 0)
			s->board++;
		(void)snprintf(s->board_id, sizeof(s->board_id), "%s-%04u-%07u", conf.boards, s->index, s->board);
	}
	body_len = snprintf(body, sizeof(body), "{\"ProductKey\":\"%s\",\"DeviceID\":\"%s\",\"Action\":%d}", conf.product, s->board_id, s->reporting);
	n = snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nHost: line\r\nContent-Length: %d\r\n\r\n%s", body_len, body);
	s->due = due;
	s->busy = 1;
	s->len = 0;
	sent++;
	if (put(s, text, (size_t)n) != n)
		die("a request could not be sent", strerror(errno));
}

static int wanted(void)
{
	return conf.requests != 0 ? sent < conf.requests : now_ns() < until;
}

/* The answer is whole: 1. */
static int whole(struct station *s)
{
	char *end, *length;

	s->in[s->len] = '\0';
	end = strstr(s->in, "\r\n\r\n");
	if (end == NULL)
		return 0;
	length = strcasestr(s->in, "Content-Length:");
	if (length == NULL || length > end)
		die("an answer without a length", s->in);
	if (s->len < (size_t)(end + 4 - s->in) + strtoul(length + 15, NULL, 10))
		return 0;
	if (strncmp(s->in, "HTTP/1.1 200", 12) != 0 || strstr(end, "\"Status\":\"OK\"") == NULL)
		die("refused", s->in);
	return 1;
}

static void on_answer(struct station *s)
{
	uint64_t now = now_ns();

	if (made < SAMPLES_MOST)
		samples[made++] = (uint32_t)((now - s->due) / 1000);
	answered++;
	s->busy = 0;
	if (conf.mode == BOTH)
		s->reporting = !s->reporting;
	if (conf.rate == 0 && wanted())
		ask(s, now);
}

static void on_readable(struct station *s)
{
	for (;;) {
		size_t room = sizeof(s->in) - 1 - s->len;
		long n = s->ssl != NULL ? SSL_read(s->ssl, s->in + s->len, (int)room) : recv(s->fd, s->in + s->len, room, 0);

		if (n <= 0) {
			if (s->ssl != NULL ? SSL_get_error(s->ssl, (int)n) == SSL_ERROR_WANT_READ : n < 0 && errno == EAGAIN)
				return;
			die("a connection ended", n == 0 ? "closed" : strerror(errno));
		}
		s->len += (size_t)n;
		if (s->busy && whole(s))
			on_answer(s);
	}
}

static void connect_one(struct station *s, SSL_CTX *tls)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = s };
	int on = 1;

	s->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&conf.to, sizeof(conf.to)) < 0)
		die("cannot connect", strerror(errno));
	(void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (tls != NULL) {
		s->ssl = SSL_new(tls);
		if (s->ssl == NULL || SSL_set_fd(s->ssl, s->fd) != 1 || SSL_connect(s->ssl) != 1)
			die("TLS", "no handshake");
	}
	(void)fcntl(s->fd, F_SETFL, fcntl(s->fd, F_GETFL) | O_NONBLOCK);
	(void)epoll_ctl(poll_fd, EPOLL_CTL_ADD, s->fd, &e);
}

/* ---- all of them -------------------------------------------------------------------------- */

/* Those that are due and idle; a station whose answer is late sends later, and is counted from when it was due. */
static void send_due(void)
{
	static unsigned turn;
	static uint64_t count;
	unsigned looked = 0;

	while (looked < conf.stations && wanted()) {
		uint64_t due = begun + (uint64_t)((double)count / conf.rate * 1e9);
		struct station *s = &stations[turn];

		if (due > now_ns())
			return;
		turn = (turn + 1) % conf.stations;
		looked++;
		if (s->busy)
			continue;
		count++;
		ask(s, due);
	}
}

static void run(void)
{
	struct epoll_event events[256];
	unsigned i;

	begun = now_ns();
	until = begun + (uint64_t)(conf.seconds * 1e9);
	for (i = 0; conf.rate == 0 && i < conf.stations && wanted(); i++)
		ask(&stations[i], now_ns());
	for (;;) {
		int n, k;

		if (conf.rate != 0)
			send_due();
		if (answered == sent && !wanted())
			return;
		n = epoll_wait(poll_fd, events, 256, conf.rate != 0 ? 1 : 1000);
		for (k = 0; k < n; k++)
			on_readable(events[k].data.ptr);
		if (now_ns() > begun + GIVE_UP_NS)
			die("given up", "no answers");
	}
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void read_options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "to", 1, NULL, 't' },       { "product", 1, NULL, 'p' }, { "mode", 1, NULL, 'm' },    { "stations", 1, NULL, 'n' },
		{ "boards", 1, NULL, 'b' },   { "requests", 1, NULL, 'r' }, { "seconds", 1, NULL, 's' }, { "rate", 1, NULL, 'a' },
		{ "tls", 0, NULL, 'l' },      { "pid", 1, NULL, 'i' },     { "hold", 0, NULL, 'h' }, { NULL, 0, NULL, 0 },
	};
	int c;

	conf.to.sin_family = AF_INET;
	conf.to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 't': conf.to.sin_port = htons((uint16_t)atoi(optarg)); break;
		case 'p': conf.product = optarg; break;
		case 'm': conf.mode = strcmp(optarg, "ask") == 0 ? ASK : strcmp(optarg, "again") == 0 ? AGAIN : BOTH; break;
		case 'n': conf.stations = (unsigned)atoi(optarg); break;
		case 'b': conf.boards = optarg; break;
		case 'r': conf.requests = strtoull(optarg, NULL, 10); break;
		case 's': conf.seconds = atof(optarg); break;
		case 'a': conf.rate = atof(optarg); break;
		case 'l': conf.tls = 1; break;
		case 'h': conf.hold = 1; break;
		case 'i': conf.pid = atol(optarg); break;
		default: exit(2);
		}
	}
	if (conf.to.sin_port == 0 || conf.product == NULL || conf.stations == 0 || (conf.requests == 0) == (conf.seconds == 0))
		die("usage", "--to PORT --product KEY (--requests N | --seconds S), see the source");
}

int main(int argc, char **argv)
{
	SSL_CTX *tls = NULL;
	uint64_t cpu, took;
	unsigned i;

	read_options(argc, argv);
	poll_fd = epoll_create1(0);
	stations = calloc(conf.stations, sizeof(*stations));
	samples = malloc(SAMPLES_MOST * sizeof(*samples));
	if (poll_fd < 0 || stations == NULL || samples == NULL || (conf.tls && (tls = SSL_CTX_new(TLS_client_method())) == NULL))
		die("begin", "out of memory");
	for (i = 0; i < conf.stations; i++) {
		stations[i].index = i;
		connect_one(&stations[i], tls);
	}
	cpu = read_cpu();
	run();
	took = now_ns() - begun;
	cpu = read_cpu() - cpu;
	qsort(samples, made, sizeof(*samples), by_size);
	(void)printf("{\"requests\":%llu,\"seconds\":%.6f,\"per_second\":%.1f,\"cpu_us\":%.3f,\"p50_us\":%u,\"p99_us\":%u}\n",
		     (unsigned long long)answered, (double)took / 1e9, (double)answered / ((double)took / 1e9),
		     answered != 0 ? (double)cpu / 1e3 / (double)answered : 0, made != 0 ? samples[made / 2] : 0,
		     made != 0 ? samples[made - 1 - made / 100] : 0);
	(void)fflush(stdout);
	if (conf.hold)
		while (getchar() != EOF)
			;
	return 0;
}
