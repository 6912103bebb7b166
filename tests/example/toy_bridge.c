/*
 * toy_bridge.c - a TCP server that bridges a toy protocol to the platform with libcauseway.
 *
 *   cc toy_bridge.c $(pkg-config --cflags --libs causeway) -o toy_bridge
 *   ./toy_bridge application.conf 7000
 *
 * The protocol, one line each:  HELLO <serial>  comes first,  temp=21.5  reports a property;  OK and ERROR are the
 * answers, and the platform's property settings arrive as  SET <json>. One loop does it all: poll() watches
 * the connections and the bridge's own descriptor, so nothing here needs a lock.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <causeway/bridge.h>

#define METERS 64

struct meter { /* one connection; its address is the user pointer of its device */
	int fd, gone, waits; /* waits: outcomes still to come, each with this pointer */
	char serial[64], line[256];
	size_t have;
};

static struct cw_bridge *bridge;
static struct meter *meters[METERS];
static volatile sig_atomic_t stopping;

static void on_signal(int number) { (void)number; stopping = 1; }
static void say(struct meter *m, const char *text) { if (!m->gone) dprintf(m->fd, "%s\n", text); }

static void on_outcome(void *arg, const struct cw_bridge_outcome *o)
{
	struct meter *m = arg;

	m->waits--;
	say(m, o->rc == 0 ? "OK" : "ERROR");
	if (o->rc != 0)
		fprintf(stderr, "%s: %s (%d)\n", m->serial, o->text, (int)o->code);
}

static int on_command(void *ctx, void *user, const struct cw_bridge_command *c)
{
	struct meter *m = user;

	(void)ctx;
	if (c->kind != CW_KIND_PROPERTY_SET)
		return CW_EUNSUPPORTED;
	if (!m->gone)
		dprintf(m->fd, "SET %s\n", c->json);
	return cw_bridge_answer(bridge, c->id, 200, cw_bytes_text(NULL));
}

/* Another connection said HELLO with this serial: this one is no longer the way to the device. */
static void on_device(void *ctx, void *user, const struct cw_bridge_device *d)
{
	struct meter *m = user;

	(void)ctx;
	if (d->what >= CW_DEVICE_LEFT_SUPERSEDED) {
		m->serial[0] = '\0';
		say(m, "BYE");
	}
}

static void on_line(struct meter *m, const char *line)
{
	struct cw_bridge_wait wait = { 5000, on_outcome, m };
	char json[300], name[32];
	double value;
	int rc = CW_EPROTO;

	if (m->serial[0] == '\0' && sscanf(line, "HELLO %63s", m->serial) == 1) {
		rc = cw_bridge_online(bridge, m->serial, m, 0, &wait);
	} else if (sscanf(line, "%31[a-z]=%lf", name, &value) == 2) {
		snprintf(json, sizeof(json), "{\"%s\": %s}", name, strchr(line, '=') + 1);
		rc = cw_bridge_report_properties(bridge, m->serial, NULL, cw_bytes_text(json), &wait);
	}
	if (rc == 0)
		m->waits++;
	else
		say(m, "ERROR");
}

static void on_offline(void *arg, const struct cw_bridge_outcome *o) { (void)o; ((struct meter *)arg)->waits--; }

static void on_bytes(struct meter *m)
{
	struct cw_bridge_wait wait = { 5000, on_offline, m };
	ssize_t n = read(m->fd, m->line + m->have, sizeof(m->line) - 1 - m->have);
	char *end;

	if (n <= 0) { /* hung up, or a line too long: it may be freed once nobody hands it back any more */
		m->gone = 1;
		if (m->serial[0] != '\0' && cw_bridge_offline(bridge, m->serial, &wait) == 0)
			m->waits++;
		return;
	}
	m->have += (size_t)n;
	m->line[m->have] = '\0';
	while ((end = strchr(m->line, '\n')) != NULL) {
		*end = '\0';
		on_line(m, m->line);
		m->have -= (size_t)(end + 1 - m->line);
		memmove(m->line, end + 1, m->have + 1);
	}
}

static void on_connection(int listener)
{
	int i, fd = accept(listener, NULL, NULL);

	for (i = 0; i < METERS && fd >= 0 && meters[i] != NULL; i++)
		;
	if (fd < 0 || i == METERS || (meters[i] = calloc(1, sizeof(*meters[i]))) == NULL)
		close(fd);
	else
		meters[i]->fd = fd;
}

static int listen_on(const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port)), .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 16) < 0 || getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return -1;
	printf("listening on 127.0.0.1:%d\n", ntohs(a.sin_port));
	fflush(stdout);
	return fd;
}

int main(int argc, char **argv)
{
	static const struct cw_bridge_handler handler = { .size = sizeof(handler), .command = on_command, .device = on_device };
	struct cw_bridge_setup setup = { .size = sizeof(setup), .file = argc > 1 ? argv[1] : NULL, .handler = &handler };
	int listener = listen_on(argc > 2 ? argv[2] : "0");
	char why[256];

	signal(SIGTERM, on_signal);
	signal(SIGPIPE, SIG_IGN);
	if (listener < 0 || cw_bridge_open(&setup, &bridge, why, sizeof(why)) < 0) {
		fprintf(stderr, "toy_bridge: %s\n", listener < 0 ? "cannot listen" : why);
		return 1;
	}
	while (!stopping) {
		struct pollfd fds[METERS + 2] = { { .fd = listener, .events = POLLIN }, { .fd = cw_bridge_fd(bridge), .events = POLLIN } };
		int i;

		for (i = 0; i < METERS; i++)
			fds[i + 2] = (struct pollfd){ .fd = meters[i] != NULL && !meters[i]->gone ? meters[i]->fd : -1, .events = POLLIN };
		if (poll(fds, METERS + 2, cw_bridge_timeout(bridge)) < 0)
			continue;
		if (fds[0].revents)
			on_connection(listener);
		for (i = 0; i < METERS; i++)
			if (fds[i + 2].revents)
				on_bytes(meters[i]);
		cw_bridge_step(bridge);
		for (i = 0; i < METERS; i++)
			if (meters[i] != NULL && meters[i]->gone && meters[i]->waits == 0) {
				close(meters[i]->fd);
				free(meters[i]);
				meters[i] = NULL;
			}
	}
	return cw_bridge_close(bridge, 2000) < 0; /* what is still open is told and logged out before this returns */
}
