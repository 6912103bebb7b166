/*
 * bench_mqtt.c - how many publishes the emulator takes: bytes of MQTT made once and written as fast as they are
 * acknowledged, so that the load costs as little as it can.
 *
 * `--to PORT --stock FILE [--qos 1] [--ack 1] [--window 100] [--seconds 2]`. The stock is lines
 * "ProductKey DeviceName clientId userName password", one connection each. A publish is a property post; with `--ack 0` it asks the
 * platform not to reply. QoS 1 keeps `--window` of them unacknowledged on each connection; QoS 0 is written until
 * the socket is full, and a PINGREQ at the end is answered when all of it was read. Prints one line of JSON.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CONNS_MAX 64u
#define BATCH     16u /* publishes in one write */

struct conn {
	int fd;
	uint8_t *batch; /* BATCH publishes */
	size_t size, off;
	unsigned long sent, acked;
	int pinged, done;
	/* place in the packet being read */
	enum { PHASE_TYPE, PHASE_LENGTH, PHASE_BODY } phase;
	unsigned shift;
	uint8_t type;
	size_t body;
};

static struct {
	int port, qos, ack;
	unsigned window;
	double seconds;
	const char *stock;
} conf = { .qos = 1, .ack = 1, .window = 100, .seconds = 2 };

static struct conn conns[CONNS_MAX];
static unsigned count;
static int over;

static double now_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	(void)fprintf(stderr, "bench_mqtt: %s: %s\n", what, strerror(errno));
	exit(1);
}

static size_t put_text(uint8_t *at, const char *text)
{
	size_t n = strlen(text);

	at[0] = (uint8_t)(n >> 8);
	at[1] = (uint8_t)n;
	memcpy(at + 2, text, n);
	return n + 2;
}

/* Fixed header, length in as many bytes as it takes, body. */
static size_t put_packet(uint8_t *at, uint8_t first, const uint8_t *body, size_t len)
{
	size_t n = 1, left = len;

	at[0] = first;
	do {
		at[n] = (uint8_t)(left & 127);
		left >>= 7;
		if (left != 0)
			at[n] |= 128;
		n++;
	} while (left != 0);
	memcpy(at + n, body, len);
	return n + len;
}

static void log_in(struct conn *c, const char *client_id, const char *user, const char *password)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)conf.port),
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	uint8_t body[2048], packet[2048], answer[4];
	size_t n = 0;
	int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("connect");
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	n += put_text(body, "MQTT");
	memcpy(body + n, "\4\xc2\1\x2c", 4);
	n += 4;
	n += put_text(body + n, client_id);
	n += put_text(body + n, user);
	n += put_text(body + n, password);
	n = put_packet(packet, 0x10, body, n);
	if (write(c->fd, packet, n) != (ssize_t)n || recv(c->fd, answer, 4, MSG_WAITALL) != 4 || answer[3] != 0) {
		(void)fprintf(stderr, "bench_mqtt: %s was refused with %d\n", user, answer[3]);
		exit(1);
	}
	(void)fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

static void make_batch(struct conn *c, const char *pk, const char *dn, const char *payload)
{
	char topic[256];
	uint8_t *body = malloc(strlen(payload) + 300);
	unsigned i;

	c->batch = malloc(BATCH * (strlen(payload) + 300));
	if (body == NULL || c->batch == NULL)
		die("malloc");
	(void)snprintf(topic, sizeof(topic), "/sys/%s/%s/thing/event/property/post", pk, dn);
	for (i = 0; i < BATCH; i++) {
		size_t n = put_text(body, topic);

		if (conf.qos != 0) {
			body[n++] = 0;
			body[n++] = (uint8_t)(i + 1);
		}
		memcpy(body + n, payload, strlen(payload));
		c->size += put_packet(c->batch + c->size, conf.qos != 0 ? 0x32 : 0x30, body, n + strlen(payload));
	}
	free(body);
}

static void read_stock(const char *payload)
{
	FILE *f = fopen(conf.stock, "r");
	char pk[64], dn[64], client_id[300], user[128], password[300];

	if (f == NULL)
		die(conf.stock);
	while (count < CONNS_MAX && fscanf(f, "%63s %63s %299s %127s %299s", pk, dn, client_id, user, password) == 5) {
		log_in(&conns[count], client_id, user, password);
		make_batch(&conns[count++], pk, dn, payload);
	}
	(void)fclose(f);
}

/* As much as the window and the socket take. */
static void on_writable(struct conn *c)
{
	while (!over || c->off != 0) {
		ssize_t n;

		if (c->off == 0 && conf.qos != 0 && c->sent - c->acked + BATCH > conf.window)
			return;
		n = write(c->fd, c->batch + c->off, c->size - c->off);
		if (n < 0)
			return;
		c->off += (size_t)n;
		if (c->off == c->size) {
			c->off = 0;
			c->sent += BATCH;
		}
	}
	if (!c->pinged)
		c->pinged = write(c->fd, "\xc0\0", 2) == 2;
}

/* Count PUBACKs and wait for the PINGRESP; everything else is stepped over. */
static void take(struct conn *c, const uint8_t *in, size_t len)
{
	size_t i = 0;

	while (i < len) {
		size_t n = len - i < c->body ? len - i : c->body;

		switch (c->phase) {
		case PHASE_TYPE:
			c->type = in[i++] >> 4;
			c->acked += c->type == 4;
			c->done |= c->type == 13;
			c->shift = 0;
			c->body = 0;
			c->phase = PHASE_LENGTH;
			break;
		case PHASE_LENGTH:
			c->body |= (size_t)(in[i] & 127) << c->shift;
			c->shift += 7;
			if ((in[i++] & 128) == 0)
				c->phase = c->body != 0 ? PHASE_BODY : PHASE_TYPE;
			break;
		default:
			c->body -= n;
			i += n;
			if (c->body == 0)
				c->phase = PHASE_TYPE;
		}
	}
}

static void on_readable(struct conn *c)
{
	static uint8_t in[65536];
	ssize_t n = read(c->fd, in, sizeof(in));

	if (n == 0 || (n < 0 && errno != EAGAIN))
		die("the emulator closed a connection");
	if (n > 0)
		take(c, in, (size_t)n);
}

static void run(void)
{
	struct pollfd fds[CONNS_MAX];
	double began = now_s(), end;
	unsigned long sent = 0;
	unsigned done = 0, i;

	while (done < count) {
		over = now_s() - began >= conf.seconds;
		for (i = 0, done = 0; i < count; i++) {
			struct conn *c = &conns[i];
			int full = conf.qos != 0 && c->off == 0 && c->sent - c->acked + BATCH > conf.window;

			fds[i] = (struct pollfd){ .fd = c->fd, .events = POLLIN | (c->pinged || (full && !over) ? 0 : POLLOUT) };
			done += (unsigned)c->done;
		}
		if (poll(fds, count, 100) < 0)
			die("poll");
		for (i = 0; i < count; i++) {
			if ((fds[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
				on_readable(&conns[i]);
			if ((fds[i].revents & POLLOUT) != 0)
				on_writable(&conns[i]);
		}
	}
	end = now_s() - began;
	for (i = 0; i < count; i++)
		sent += conns[i].sent;
	(void)printf("{\"connections\": %u, \"sent\": %lu, \"seconds\": %.3f, \"per_second\": %.0f}\n", count, sent, end,
	             (double)sent / end);
}

static void read_options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "to", 1, NULL, 't' }, { "stock", 1, NULL, 's' }, { "qos", 1, NULL, 'q' }, { "ack", 1, NULL, 'a' },
		{ "window", 1, NULL, 'w' }, { "seconds", 1, NULL, 'S' }, { NULL, 0, NULL, 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 't': conf.port = atoi(optarg); break;
		case 's': conf.stock = optarg; break;
		case 'q': conf.qos = atoi(optarg); break;
		case 'a': conf.ack = atoi(optarg); break;
		case 'w': conf.window = (unsigned)atoi(optarg); break;
		case 'S': conf.seconds = atof(optarg); break;
		default: exit(2);
		}
	}
	if (conf.port == 0 || conf.stock == NULL || conf.window < BATCH) {
		(void)fprintf(stderr, "bench_mqtt: --to PORT and --stock FILE are needed, and a window of %u or more\n", BATCH);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	char payload[512];
	unsigned i;

	read_options(argc, argv);
	(void)snprintf(payload, sizeof(payload), "{\"id\":\"1\",\"version\":\"1.0\",%s\"method\":\"thing.event.property.post\","
	               "\"params\":{\"speed\":57.3,\"lat\":30.274151,\"lon\":120.155151,\"mileage\":120034.5,\"acc\":1}}",
	               conf.ack ? "" : "\"sys\":{\"ack\":0},");
	read_stock(payload);
	run();
	for (i = 0; i < count; i++) {
		(void)close(conns[i].fd);
		free(conns[i].batch);
	}
	return 0;
}
