/*
 * The bytes of up to four connections to a listener of causeway-factory: the real fronts on the real HTTP server, behind them the
 * desk with its threads and a real stock.
 *
 * First byte: which front (0 the line, 1 the field, 2 the office, 3 an office with operators), in its upper half how the clients
 * end: reading all they are sent, or breaking off. Second byte: where the bytes are cut. Then what the connections send, each
 * ended by 0xff 0xfe.
 *
 * Every request of the line is answered once; what is written is HTTP whose JSON is JSON; a client that reads to the end gets all
 * its answers. What a request leaves behind is the leak checker's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stat.h"
#include "factory/factory.h"
#include "factory/report.h"
#include "factory/sheet.h"
#include "factory/stations.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CLIENTS 4u
#define PATIENCE_MS 8000u /* the slowest answer takes no tenth of it */
#define SILENCE_MS  50u

struct client {
	int fd; /* -1: none */
	int ended, broken; /* the server closed; it did so with bytes of ours unread */
	const uint8_t *bytes;
	size_t len, at;
	char *in; /* what the server sent, NUL-terminated */
	size_t in_len;
};

static const struct factory_front *const fronts[] = { &cw_factory_line, &cw_factory_field, &cw_factory_office, &cw_factory_office };
static struct factory factories[4];
static struct sockaddr_in addresses[4];
static struct cw_worker *loop;
static char dir[64];

/* ---- a factory of each kind ------------------------------------------------------------------ */

static void remove_dir(void)
{
	char command[100];

	(void)snprintf(command, sizeof(command), "rm -r %s", dir);
	(void)!system(command); /* NOLINT */
}

static void load(struct factory *f, const char *name, const char *text)
{
	char path[100];
	struct cw_msg msg = { "" };
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s.conf", dir, name);
	file = fopen(path, "w");
	if (file == NULL || fprintf(file, "db = stock.db\n%s", text) < 0 || fclose(file) != 0 ||
	    cw_factory_config_load(path, &(const struct factory_overrides){ .db = NULL }, &f->conf, &msg) < 0) {
		(void)fprintf(stderr, "%s: %s\n", path, msg.text);
		abort();
	}
}

static void fill(const char *db)
{
	const struct cw_stock_conf conf = { .db = db, .node = "fuzz" };
	static char text[64 * 80];
	struct cw_sheet sheet = { .name = "fuzz.csv", .batch = "b", .who = { "fuzz", "" } };
	struct cw_sheet_result told;
	struct cw_stock *stock;
	struct cw_msg msg = { "" };
	size_t n = 0;
	int i;

	n += (size_t)snprintf(text, sizeof(text), "DeviceName,DeviceSecret,ProductKey,ProductSecret\n");
	for (i = 0; i < 60; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "dev-%02d,%032d,a1EmuPk0001,EmuPs0123456789A\n", i, i);
	sheet.text = cw_bytes_of(text, n);
	if (cw_stock_open(&conf, &stock, &msg) < 0 || cw_sheet_import(stock, &sheet, &told, &msg) < 0) {
		(void)fprintf(stderr, "%s: %s\n", db, msg.text);
		abort();
	}
	cw_stock_close(stock);
}

static void open_factory(struct factory *f, const struct factory_front *front, const char *db, struct sockaddr_in *ret)
{
	const struct factory_listen listen = { .listen = "127.0.0.1:0" };
	const struct cw_stock_conf stock = { .db = db, .node = "fuzz", .wait_ms = 2000 };
	struct cw_msg msg = { "" };
	const char *address;
	void *opened;

	f->loop = loop;
	f->started = cw_clock_wall_ms();
	if (cw_fetch_pool_new(loop, &f->fetch) < 0 || cw_factory_stations_new(f->conf, &f->stations, &msg) < 0 ||
	    cw_desk_open(loop, &stock, &f->desk, &msg) < 0 || cw_factory_upkeep_open(f, &msg) < 0 ||
	    front->open(f, &listen, &opened, &msg) < 0) {
		(void)fprintf(stderr, "%s\n", msg.text);
		abort();
	}
	address = front->address(opened);
	*ret = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1)) };
	ret->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

/* The stock lies in memory where there is a file system of that kind: a commit costs no disk there. */
static void set_up(void)
{
	static struct cw_stat_block stats;
	static const char *const confs[] = {
		"stations = [ { name = s1, token = tokentokentokentoken, products = [ a1EmuPk0001 ], quota = 9 }"
		" { name = here, addresses = [ \"127.0.0.0/8\" ] } ]\n",
		"field { sharedKey = keykeykeykeykeykey, clockSkew = 1d, perAddress = 0, perId = 0, gatewayToken = gatewaygatewaygateway\n"
		" tokens = [ { name = lot, token = fieldfieldfieldfield, ids = [ \"SN*\" ] } ] }\n",
		"",
		"operators = [ { name = maria, token = mariamariamariamaria }, { name = wall, token = wallwallwallwallwall, viewOnly = true } ]\n",
	};
	char db[100];
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	size_t i;

	cw_stat_thread(&stats);
	cw_log_setup(CW_LOG_DEBUG, 0, null); /* every text of a request is written somewhere */
	(void)snprintf(dir, sizeof(dir), "%s/cw-fuzz-front-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (null < 0 || mkdtemp(dir) == NULL || cw_worker_new("fuzz", 0, &loop) < 0)
		abort();
	(void)atexit(remove_dir);
	(void)snprintf(db, sizeof(db), "%s/stock.db", dir);
	fill(db);
	for (i = 0; i < 4; i++) {
		char name[8];

		(void)snprintf(name, sizeof(name), "%zu", i);
		load(&factories[i], name, confs[i]);
		open_factory(&factories[i], fronts[i], db, &addresses[i]);
	}
}

/* ---- clients ----------------------------------------------------------------------------------- */

static void start_client(struct client *c, const struct sockaddr_in *to)
{
	struct timespec nap = { .tv_nsec = 1000000 };
	unsigned tries = 0;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	while (c->fd >= 0 && connect(c->fd, (const struct sockaddr *)to, sizeof(*to)) < 0) {
		if (errno != EADDRNOTAVAIL || ++tries > PATIENCE_MS) /* ports rest a second after use */
			abort();
		(void)nanosleep(&nap, NULL);
	}
	if (c->fd < 0 || fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0)
		abort();
}

/* What has come. 1: something. */
static int receive(struct client *c)
{
	char buf[16384];
	ssize_t n;

	if (c->fd < 0 || c->ended)
		return 0;
	n = recv(c->fd, buf, sizeof(buf), 0);
	if (n > 0) {
		c->in = realloc(c->in, c->in_len + (size_t)n + 1);
		if (c->in == NULL)
			abort();
		memcpy(c->in + c->in_len, buf, (size_t)n);
		c->in_len += (size_t)n;
		c->in[c->in_len] = '\0';
		return 1;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	c->ended = 1;
	c->broken = n < 0;
	return 1;
}

static int receive_all(struct client *c)
{
	int some = 0;
	size_t i;

	for (i = 0; i < CLIENTS; i++)
		some |= receive(&c[i]);
	return some;
}

/* Is something of somebody's under way: at the counter, at the office, or on a thread of its own? */
static int waiting(struct factory *f)
{
	struct cw_desk_figures figures;

	cw_desk_figures(f->desk, &figures);
	return figures.waiting > 0 || figures.office_since != 0 || cw_worker_loop(loop)->active_reqs.count > 0;
}

/* A while of the server's: what it can do now, it does, and what its threads do is waited for. */
static void settle(struct factory *f, struct client *c)
{
	struct pollfd fd = { .fd = uv_backend_fd(cw_worker_loop(loop)), .events = POLLIN };
	unsigned quiet = 0;

	while (quiet < 2) {
		(void)uv_run(cw_worker_loop(loop), UV_RUN_NOWAIT);
		if (receive_all(c) || poll(&fd, 1, waiting(f) ? 1 : 0) > 0 || waiting(f))
			quiet = 0;
		else
			quiet++;
	}
}

/*
 * All say that they send no more, and hear what is left. The library may miss an end that comes with the last bytes (it is told once of
 * both); such a connection idles with its answers given, and is left after a while of silence.
 */
static void hear_out(struct factory *f, struct client *c)
{
	uint64_t heard = cw_clock_ms();
	size_t i, open = 1;

	for (i = 0; i < CLIENTS; i++)
		if (c[i].fd >= 0)
			(void)shutdown(c[i].fd, SHUT_WR);
	while (open > 0) {
		struct pollfd fds[CLIENTS + 1] = { { .fd = uv_backend_fd(cw_worker_loop(loop)), .events = POLLIN } };

		(void)uv_run(cw_worker_loop(loop), UV_RUN_NOWAIT);
		if (receive_all(c))
			heard = cw_clock_ms();
		else if (cw_clock_ms() > heard + (waiting(f) ? PATIENCE_MS : SILENCE_MS))
			break;
		for (i = 0, open = 0; i < CLIENTS; i++)
			if (c[i].fd >= 0 && !c[i].ended)
				fds[++open] = (struct pollfd){ .fd = c[i].fd, .events = POLLIN };
		if (open > 0)
			(void)poll(fds, open + 1, uv_backend_timeout(cw_worker_loop(loop)) == 0 ? 0 : 5);
	}
	if (waiting(f))
		abort(); /* not answered */
}

/* ---- what was sent ------------------------------------------------------------------------------- */

/* The value of a header field between `head` and `end`, or NULL. */
static const char *field_of(const char *head, const char *end, const char *name)
{
	const char *at;
	size_t len = strlen(name);

	for (at = head; at != NULL && at < end; at = strstr(at, "\r\n")) {
		at += at != head ? 2 : 0;
		if (strncasecmp(at, name, len) == 0 && at[len] == ':')
			return at + len + 1 + strspn(at + len + 1, " ");
	}
	return NULL;
}

/* One answer off the front of what came: how long it is; *ret_json is 1 when it has a body of JSON, or would have one but for HEAD. */
static size_t read_answer(const char *in, size_t len, int *ret_json)
{
	const char *end = strstr(in, "\r\n\r\n"), *length, *type;
	json_t *body;
	size_t head, n;

	*ret_json = 0;
	if (strncmp(in, "HTTP/1.", 7) != 0 || end == NULL)
		abort();
	head = (size_t)(end - in) + 4;
	if (strncmp(in + 8, " 100 ", 5) == 0)
		return head;
	length = field_of(in, end, "Content-Length");
	if (length == NULL)
		abort();
	n = (size_t)strtoul(length, NULL, 10);
	type = field_of(in, end, "Content-Type");
	*ret_json = type != NULL && strncmp(type, "application/json", 16) == 0;
	if (n > 0 && (len == head || strncmp(in + head, "HTTP/1.", 7) == 0))
		return head; /* of HEAD */
	if (n > len - head)
		abort();
	if (*ret_json) {
		body = json_loadb(in + head, n, JSON_REJECT_DUPLICATES, NULL);
		if (!json_is_object(body))
			abort();
		json_decref(body);
	}
	return head + n;
}

/* Counts answers in JSON: the library's own, to what is not HTTP, are not. */
static uint64_t read_answers(const struct client *c)
{
	uint64_t count = 0;
	size_t at = 0;
	int json;

	while (at < c->in_len) {
		at += read_answer(c->in + at, c->in_len - at, &json);
		count += (uint64_t)json;
	}
	return count;
}

/* ---- one input -------------------------------------------------------------------------------------- */

static int64_t answered(void)
{
	return cw_stat_read(CW_STAT_factory_answer_ok) + cw_stat_read(CW_STAT_factory_answer_unknown_product) +
	       cw_stat_read(CW_STAT_factory_answer_out_of_stock) + cw_stat_read(CW_STAT_factory_answer_unknown_device) +
	       cw_stat_read(CW_STAT_factory_answer_batch_closed) + cw_stat_read(CW_STAT_factory_answer_quota_exceeded) +
	       cw_stat_read(CW_STAT_factory_answer_bad_request) + cw_stat_read(CW_STAT_factory_answer_unauthorized) +
	       cw_stat_read(CW_STAT_factory_answer_busy);
}

/* The cookie of operators is named after the port, which always has five digits here; inputs say 00000. */
static void name_cookies(uint8_t *data, size_t size, unsigned port)
{
	static const char cookie[] = "causeway_00000";
	size_t from = 0;
	uint8_t *at;
	char digits[8];

	(void)snprintf(digits, sizeof(digits), "%05u", port);
	while ((at = memmem(data + from, size - from, cookie, sizeof(cookie) - 1)) != NULL) {
		memcpy(at + 9, digits, 5);
		from = (size_t)(at - data);
	}
}

/* Shares the bytes out. Returns how many connections there are. */
static size_t share(struct client *c, const uint8_t *data, size_t size)
{
	size_t n = 0, i, from = 0;

	for (i = 0; i <= size && n < CLIENTS; i++) {
		if (i < size && (data[i] != 0xff || i + 1 == size || data[i + 1] != 0xfe))
			continue;
		c[n].bytes = data + from;
		c[n++].len = i - from;
		from = i + 2;
	}
	return n;
}

static void send_all(struct factory *f, struct client *c, size_t count, unsigned cuts)
{
	size_t left = count, i;

	while (left > 0) {
		for (i = 0, left = 0; i < count; i++) {
			size_t rest = c[i].len - c[i].at, n;
			ssize_t sent;

			cuts = cuts * 1103515245u + 12345u;
			n = cuts < 0x40000000u ? 1 + (cuts >> 8) % 16 : cuts < 0x80000000u ? 1 + (cuts >> 8) % 300 : rest;
			n = n < rest ? n : rest;
			sent = c[i].ended || n == 0 ? 0 : send(c[i].fd, c[i].bytes + c[i].at, n, MSG_NOSIGNAL);
			if (sent <= 0 && (sent == 0 || errno != EAGAIN))
				c[i].at = c[i].len; /* nobody listens any more */
			else if (sent > 0)
				c[i].at += (size_t)sent;
			left += c[i].at < c[i].len;
		}
		settle(f, c);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct client c[CLIENTS] = { { .fd = -1 }, { .fd = -1 }, { .fd = -1 }, { .fd = -1 } };
	struct linger at_once = { .l_onoff = 1 };
	struct factory *f;
	uint8_t *bytes;
	int64_t asked, told;
	uint64_t heard = 0;
	size_t count, i;
	int which, breaks_off, expects, broken = 0;

	if (size < 3)
		return 0;
	if (loop == NULL)
		set_up();
	which = data[0] % 4;
	breaks_off = data[0] >= 0x80 || which == 3; /* wrong tokens are answered late there */
	f = &factories[which];
	asked = cw_stat_read(CW_STAT_factory_requests);
	told = answered();
	bytes = malloc(size - 2);
	if (bytes == NULL)
		abort();
	memcpy(bytes, data + 2, size - 2);
	name_cookies(bytes, size - 2, ntohs(addresses[which].sin_port));
	count = share(c, bytes, size - 2);
	for (i = 0; i < count; i++)
		start_client(&c[i], &addresses[which]);
	send_all(f, c, count, data[1]);
	if (!breaks_off)
		hear_out(f, c);
	for (i = 0; i < count; i++) {
		if (breaks_off && data[1] & 1)
			(void)setsockopt(c[i].fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
		(void)close(c[i].fd);
		c[i].fd = -1;
		if (!breaks_off && !c[i].broken)
			heard += read_answers(&c[i]);
		broken |= c[i].broken;
		free(c[i].in);
		c[i].in = NULL;
	}
	/* Without a body, and with bytes behind it, such a request has its connection closed by the library whatever is answered. */
	expects = memmem(bytes, size - 2, "xpect", 5) != NULL || memmem(bytes, size - 2, "XPECT", 5) != NULL;
	free(bytes);
	settle(f, c);
	asked = cw_stat_read(CW_STAT_factory_requests) - asked;
	told = answered() - told;
	if (which == 0 && (asked != told || (!breaks_off && !broken && (heard > (uint64_t)asked || (heard < (uint64_t)asked && !expects)))))
		abort();
	return 0;
}
