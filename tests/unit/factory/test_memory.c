/*
 * No memory at any one place: each request of each front gets an answer or a closed connection, nobody waits for ever, nothing is kept
 * that should be gone, and what was answered stays true. covers: B07 B16
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "factory/factory.h"
#include "factory/report.h"
#include "factory/stations.h"
#include "factory/stock/devices.h"
#include "factory/stock/lots.h"

#define PK "a1EmuPk0001"
#define TOKEN "gateway-token-0123456789"
#define MOST 2000 /* allocations of one request; there are some dozens */
#define FRONTS 3

enum where { LOOP, OFFICE };

static const struct factory_front *const fronts[FRONTS] = { &cw_factory_line, &cw_factory_field, &cw_factory_office };
static struct factory f;
static void *opened[FRONTS];
static unsigned closing;
static char folder[64], file[96];

/* ---- the server: everything on one loop, in a thread of its own ---- */

static void fill(void)
{
	const struct cw_stock_conf conf = { .db = file };
	const struct cw_lot_conf lot_conf = { .batch = "lot", .file = "test", .who = { "test", "" } };
	const struct cw_field_device devices[] = {
		{ .device_id = "AA0001", .product_key = PK, .device_name = "AA0001", .device_secret = "0123456789abcdef0123456789abcdef", .iot_id = "" },
		{ .device_id = "AA0002", .product_key = PK, .device_name = "", .device_secret = "", .iot_id = "" },
	};
	struct cw_lot_result result;
	struct cw_msg msg = { "" };
	struct cw_stock *s;
	size_t fresh;
	struct cw_lot *lot;
	char name[32];
	unsigned i;

	assert_int_equal(cw_stock_open(&conf, &s, &msg), 0);
	assert_int_equal(cw_lot_begin(s, &lot_conf, &lot, &msg), 0);
	for (i = 0; i < 3000; i++) {
		(void)snprintf(name, sizeof(name), "dev-%05u", i);
		assert_int_equal(cw_lot_add(lot, &(struct cw_lot_row){ .product_key = PK, .device_name = name,
		                                                       .device_secret = "0123456789abcdef0123456789abcdef",
		                                                       .product_secret = "EmuPs0123456789A" }, &msg), 0);
	}
	assert_int_equal(cw_lot_finish(lot, &result, &msg), 0);
	/* one in the field that has its certificate, one that the platform would have to be asked for */
	assert_int_equal(cw_field_import(s, devices, 2, &lot_conf.who, &fresh, &msg), 0);
	cw_stock_close(s);
}

static void configure(void)
{
	static const struct factory_overrides over;
	struct cw_msg msg = { "" };
	char path[96];
	FILE *out;

	(void)snprintf(path, sizeof(path), "%s/factory.conf", folder);
	out = fopen(path, "w");
	assert_non_null(out);
	(void)fprintf(out, "db = \"%s\", line = [ { listen = \"127.0.0.1:0\" } ], office = [ { listen = \"127.0.0.1:0\" } ]\n"
	                   "field { listeners = [ { listen = \"127.0.0.1:0\" } ], gatewayToken = \"" TOKEN "\", anybody = true, perAddress = 0, perId = 0 }\n"
	                   "leaseCheck = 1h, log { level = error }\n", file);
	(void)fclose(out);
	if (cw_factory_config_load(path, &over, &f.conf, &msg) < 0)
		fail_msg("%s", msg.text);
}

static void on_desk_closed(void *arg)
{
	cw_fetch_pool_free(f.fetch);
	cw_worker_release(f.loop);
}

static void on_closed(void *arg)
{
	if (--closing == 0)
		cw_desk_close(f.desk, on_desk_closed, NULL);
}

static void on_end(struct cw_mail *mail)
{
	size_t i;

	cw_factory_upkeep_stop(f.upkeep);
	closing = FRONTS;
	for (i = 0; i < FRONTS; i++)
		fronts[i]->close(opened[i], on_closed, NULL);
}

static void start(void)
{
	const struct cw_stock_conf stock = { .db = file };
	struct cw_msg msg = { "" };
	size_t i;
	int rc;

	assert_int_equal(cw_worker_new("test", 0, &f.loop), 0);
	assert_int_equal(cw_fetch_pool_new(f.loop, &f.fetch), 0);
	rc = cw_factory_stations_new(f.conf, &f.stations, &msg);
	if (rc == 0)
		rc = cw_desk_open(f.loop, &stock, &f.desk, &msg);
	if (rc == 0)
		rc = cw_factory_upkeep_open(&f, &msg);
	for (i = 0; rc == 0 && i < FRONTS; i++) {
		const struct cw_conf_list *lists[] = { &f.conf->line, &f.conf->field.listeners, &f.conf->office };

		rc = fronts[i]->open(&f, cw_conf_item(lists[i], struct factory_listen, 0), &opened[i], &msg);
	}
	if (rc < 0)
		fail_msg("%s", msg.text);
}

/* ---- on the threads where memory fails ---- */

static struct {
	struct cw_mail mail;
	struct cw_desk_job job;
	long nth;
	int failed;
	sem_t done;
} order;

static void carry_out(void)
{
	if (order.nth < 0)
		order.failed = cw_mem_failed();
	cw_mem_fail_at(order.nth);
}

static void on_order(struct cw_mail *mail)
{
	carry_out();
	(void)sem_post(&order.done);
}

static void work(struct cw_desk_job *j, struct cw_stock *s)
{
	carry_out();
}

static void on_job(struct cw_desk_job *j)
{
	(void)sem_post(&order.done);
}

static void on_job_order(struct cw_mail *mail)
{
	order.job = (struct cw_desk_job){ .work = work, .done = on_job };
	cw_desk_do(f.desk, &order.job);
}

/* Let the nth allocation there fail; negative: none any more. Returns whether the last one that was ordered did. */
static int fail_at(enum where where, long nth)
{
	order.nth = nth;
	cw_post(f.loop, &order.mail, where == LOOP ? on_order : on_job_order);
	(void)sem_wait(&order.done);
	return order.failed;
}

/* ---- a client ---- */

static char answer[1 << 16];

/* Until the server closes. The length; 0: closed without an answer. */
static size_t ask(const char *address, const char *request)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		                  .sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1)) };
	struct timeval patience = { .tv_sec = 30 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t len = 0;
	ssize_t n;

	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	while ((n = recv(fd, answer + len, sizeof(answer) - 1 - len, 0)) > 0)
		len += (size_t)n;
	if (n < 0)
		assert_int_equal(errno, ECONNRESET);
	answer[len] = '\0';
	close(fd);
	return len;
}

static const struct {
	size_t front;
	const char *head, *body;
} requests[] = {
	{ 0, "POST /", "{\"ProductKey\":\"" PK "\",\"DeviceID\":\"SN#\",\"Action\":0}" },
	{ 0, "POST /", "{\"ProductKey\":\"" PK "\",\"DeviceID\":\"SN-again\",\"Action\":0}" },
	{ 0, "POST /", "{\"ProductKey\":\"" PK "\",\"DeviceID\":\"SN-again\",\"Action\":1}" },
	{ 0, "POST /", "{\"ProductKey\":\"" PK "\",\"Action\":0}" },
	{ 0, "POST /", "{\"ProductKey\":\"a1Nobody\",\"DeviceID\":\"SN#\",\"Action\":0}" },
	{ 0, "POST /", "no JSON" },
	{ 0, "GET /", NULL },
	{ 1, "GET /api/v1/certificate?deviceId=AA0001", NULL },
	{ 1, "GET /api/v1/certificate?deviceId=AA0002", NULL },
	{ 1, "GET /api/v1/certificate?deviceId=nobody", NULL },
	{ 1, "POST /api/v1/certificate", "{\"deviceId\": \"AA0001\"}" },
	{ 1, "GET /api/v1/identity?identity=AA0001", NULL },
	{ 1, "GET /api/v1/identity?productKey=" PK "&deviceName=dev-00000", NULL },
	{ 1, "GET /api/v1/other", NULL },
	{ 2, "GET /", NULL },
	{ 2, "GET /health", NULL },
	{ 2, "GET /metrics", NULL },
	{ 2, "GET /api/v1/session", NULL },
	{ 2, "GET /api/v1/line", NULL },
	{ 2, "GET /api/v1/devices?status=allocated", NULL },
	{ 2, "GET /api/v1/board?deviceId=SN-again", NULL },
	{ 2, "GET /api/v1/batches", NULL },
	{ 2, "GET /api/v1/products", NULL },
	{ 2, "GET /api/v1/audit", NULL },
	{ 2, "GET /api/v1/audit/verify", NULL },
	{ 2, "POST /api/v1/import?batch=more", "DeviceName,DeviceSecret,ProductKey,ProductSecret\nmore-#,0123456789abcdef0123456789abcdef," PK
	                                       ",EmuPs0123456789A\n" },
	{ 2, "POST /api/v1/batch", "{\"name\":\"lot\",\"low\":7}" },
	{ 2, "POST /api/v1/void", "{\"productKey\":\"" PK "\",\"deviceName\":\"dev-02999\",\"reason\":\"broken\"}" },
	{ 2, "POST /api/v1/reclaim", "{\"batch\":\"more\",\"older\":\"1h\"}" },
};

static char told[sizeof(requests) / sizeof(requests[0])][40]; /* the name that SN-again got, for each that says it */

static unsigned imported; /* certificates, so it was said */

/* What has one certificate has it for good. */
static void note(size_t i)
{
	static const char key[] = "\"DeviceName\":\"";
	static char name[40];
	const char *at = strstr(answer, key);

	imported += strstr(requests[i].head, "/import") != NULL && strstr(answer, " 200 OK") != NULL;
	if (at == NULL || requests[i].body == NULL || strstr(requests[i].body, "SN-again") == NULL)
		return;
	(void)snprintf(told[i], sizeof(told[i]), "%.*s", (int)strcspn(at + sizeof(key) - 1, "\""), at + sizeof(key) - 1);
	if (name[0] == '\0')
		strcpy(name, told[i]);
	assert_string_equal(told[i], name);
}

/* `turn` where there is a #. */
static void fill_in(const char *text, unsigned turn, char *out, size_t size)
{
	size_t n = strcspn(text, "#");

	if (text[n] == '\0')
		(void)snprintf(out, size, "%s", text);
	else
		(void)snprintf(out, size, "%.*s%u%s", (int)n, text, turn, text + n + 1);
}

/* One after another: each allocation of a request fails once. Returns how many there were. */
static unsigned each_allocation(enum where where, size_t i, unsigned *turn)
{
	char body[512] = "", request[1024];
	unsigned n, silent = 0;
	int failed = 1;

	for (n = 0; failed; n++) {
		size_t len;

		assert_true(n < MOST);
		if (requests[i].body != NULL)
			fill_in(requests[i].body, ++*turn, body, sizeof(body));
		(void)snprintf(request, sizeof(request), "%s HTTP/1.0\r\nHost: localhost\r\n%sContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s",
		               requests[i].head, strstr(requests[i].head, "identity") != NULL ? "Authorization: Bearer " TOKEN "\r\n" : "",
		               body[0] == '{' ? "application/json" : "text/csv", strlen(body), body);
		(void)fail_at(where, n);
		len = ask(fronts[requests[i].front]->address(opened[requests[i].front]), request);
		failed = fail_at(where, -1);
		if (len > 0)
			assert_memory_equal(answer, "HTTP/1.", 7);
		else
			silent++;
		note(i);
		assert_true(failed || len > 0); /* with memory there is an answer */
	}
	assert_true(silent < n);
	return n - 1;
}

static int on_count(void *arg, size_t set, const struct cw_db_value *columns, size_t count)
{
	*(int64_t *)arg = columns[0].number;
	return 0;
}

/* What was said to be in stock is there, and no board has two. */
static void check_stock(void)
{
	struct cw_msg msg = { "" };
	struct cw_db *db = NULL;
	int64_t more = 0, again = 0;

	assert_int_equal(cw_db_open(&(struct cw_db_conf){ .where = file, .read_only = 1 }, &db, &msg), 0);
	assert_int_equal(cw_db_run(db, "SELECT COUNT(*) FROM cert c JOIN lot l ON l.id = c.lot AND l.visible = 1 WHERE c.device_name LIKE 'more-%'",
				   NULL, 0, on_count, &more, NULL, &msg), 0);
	assert_int_equal(cw_db_run(db, "SELECT COUNT(*) FROM cert WHERE device_id = 'SN-again' AND state = 2", NULL, 0, on_count, &again, NULL, &msg), 0);
	cw_db_close(db);
	assert_true(imported > 0 && more >= imported);
	assert_int_equal(again, 1);
}

static void *client_main(void *arg)
{
	unsigned *counts = arg, turn = 0;
	size_t i;

	for (i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		counts[LOOP] += each_allocation(LOOP, i, &turn);
		counts[OFFICE] += each_allocation(OFFICE, i, &turn);
	}
	order.mail.deliver = NULL;
	cw_post(f.loop, &order.mail, on_end);
	return NULL;
}

static void test_no_memory(void **state)
{
	unsigned counts[2] = { 0, 0 };
	long live = cw_mem_live();
	pthread_t client;

	configure();
	start();
	assert_int_equal(sem_init(&order.done, 0, 0), 0);
	assert_int_equal(pthread_create(&client, NULL, client_main, counts), 0);
	cw_worker_run(f.loop);
	assert_int_equal(pthread_join(client, NULL), 0);
	cw_factory_upkeep_free(f.upkeep);
	cw_factory_stations_free(f.stations);
	cw_worker_free(f.loop);
	cw_factory_config_free(f.conf);
	check_stock();
	assert_int_equal(cw_mem_live(), live);
	assert_true(counts[LOOP] > 150 && counts[OFFICE] > 20);
}

static int setup(void **state)
{
	(void)snprintf(folder, sizeof(folder), "/tmp/cw-fronts-XXXXXX");
	assert_non_null(mkdtemp(folder));
	(void)snprintf(file, sizeof(file), "%s/factory.db", folder);
	fill();
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
