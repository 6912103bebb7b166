/*
 * bench_factory.c - what causeway-factory stands on, alone; each prints one line of JSON.
 *
 *   bench_factory commits FILE ROWS SECONDS   SQLite as the stock has it (WAL, synchronous=FULL): transactions with so many inserted rows
 *   bench_factory http LENGTH                 libmicrohttpd that reads a request and answers LENGTH constant bytes; ends with standard input
 *   bench_factory fill DB KEY PRODUCT PREFIX COUNT GROUP   the stock without a network: COUNT boards ask and report, GROUP in a transaction
 */
#include <microhttpd.h>
#include <netinet/in.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "factory/stock/stock.h"

static double now_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int fail(const char *what, const char *text)
{
	(void)fprintf(stderr, "bench_factory: %s: %s\n", what, text);
	return 1;
}

/* ---- commits ------------------------------------------------------------------------------ */

/* A row is as long as an entry of the audit log. */
static int insert_rows(sqlite3 *db, sqlite3_stmt *insert, unsigned rows)
{
	char text[128];
	unsigned i;

	if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
		return -1;
	memset(text, 'x', sizeof(text));
	for (i = 0; i < rows; i++) {
		(void)sqlite3_bind_text(insert, 1, text, (int)sizeof(text), SQLITE_STATIC);
		if (sqlite3_step(insert) != SQLITE_DONE || sqlite3_reset(insert) != SQLITE_OK)
			return -1;
	}
	return sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK ? 0 : -1;
}

static int commits(const char *file, unsigned rows, double seconds)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *insert = NULL;
	unsigned long count = 0;
	double begun, cpu;
	int rc = 0;

	if (rows == 0 || sqlite3_open(file, &db) != SQLITE_OK ||
	    sqlite3_exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)", NULL, NULL, NULL) !=
		    SQLITE_OK ||
	    sqlite3_prepare_v2(db, "INSERT INTO t (text) VALUES (?)", -1, &insert, NULL) != SQLITE_OK)
		return fail(file, sqlite3_errmsg(db));
	begun = now_s();
	cpu = cpu_s();
	do {
		rc = insert_rows(db, insert, rows);
		count++;
	} while (rc == 0 && now_s() - begun < seconds);
	if (rc < 0)
		return fail(file, sqlite3_errmsg(db));
	(void)printf("{\"commits_per_second\":%.1f,\"per_second\":%.1f,\"cpu_us\":%.3f}\n", (double)count / (now_s() - begun),
		     (double)count * rows / (now_s() - begun), (cpu_s() - cpu) * 1e6 / ((double)count * rows));
	(void)sqlite3_finalize(insert);
	(void)sqlite3_close(db);
	return 0;
}

/* ---- http ----------------------------------------------------------------------------------- */

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method, const char *version,
				  const char *data, size_t *size, void **state)
{
	static int seen;
	struct MHD_Response *response = cls;

	if (*state == NULL) {
		*state = &seen;
		return MHD_YES;
	}
	if (*size != 0) {
		*size = 0;
		return MHD_YES;
	}
	return MHD_queue_response(conn, 200, response);
}

/* The bytes of an answer that bench_stations takes for one. */
static int http(size_t len)
{
	static const char ok[] = "{\"Status\":\"OK\"}";
	char *text = calloc(1, len + sizeof(ok));
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct MHD_Response *response;
	struct MHD_Daemon *daemon;

	if (text == NULL)
		return fail("http", "out of memory");
	memset(text, ' ', len + sizeof(ok) - 1);
	memcpy(text, ok, sizeof(ok) - 1);
	response = MHD_create_response_from_buffer(len > sizeof(ok) ? len : sizeof(ok) - 1, text, MHD_RESPMEM_PERSISTENT);
	(void)MHD_add_response_header(response, "Content-Type", "application/json");
	(void)MHD_add_response_header(response, "Cache-Control", "no-store");
	daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, on_request, response, MHD_OPTION_SOCK_ADDR, &any,
				  MHD_OPTION_CONNECTION_LIMIT, 2000u, MHD_OPTION_END);
	if (daemon == NULL)
		return fail("http", "libmicrohttpd does not start");
	(void)printf("{\"port\":%u}\n", (unsigned)MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
	(void)fflush(stdout);
	while (getchar() != EOF)
		;
	MHD_stop_daemon(daemon);
	MHD_destroy_response(response);
	free(text);
	return 0;
}

/* ---- the stock ------------------------------------------------------------------------------- */

struct board {
	struct cw_stock_ask ask, report;
	char id[64];
};

/* `n` boards from number `from` on. */
static int serve(struct cw_stock *s, struct board *boards, struct cw_stock_ask **asks, const char *const *names, unsigned long from, unsigned n)
{
	struct cw_msg msg = { "" };
	unsigned i;

	for (i = 0; i < n; i++) {
		struct board *b = &boards[i];
		int len = snprintf(b->id, sizeof(b->id), "%s-%08lu", names[1], from + i);

		b->ask = (struct cw_stock_ask){ .action = CW_STOCK_ALLOCATE, .product_key = names[0], .device_id = cw_bytes_of(b->id, (size_t)len),
						.who = { "station-1", "127.0.0.1" } };
		b->report = b->ask;
		b->report.action = CW_STOCK_REPORT;
		asks[2 * i] = &b->ask;
		asks[2 * i + 1] = &b->report;
	}
	if (cw_stock_serve(s, asks, 2ul * n, &msg) < 0)
		return fail("fill", msg.text);
	for (i = 0; i < n; i++)
		if (boards[i].ask.answer != CW_STOCK_OK || boards[i].report.answer != CW_STOCK_OK)
			return fail("fill", "a board was refused");
	return 0;
}

static int fill(const char *db, const char *key, const char *const *names, unsigned long count, unsigned group)
{
	const struct cw_stock_conf conf = { .db = db, .key_file = key, .node = "bench", .wait_ms = 60000 };
	struct board *boards = calloc(group, sizeof(*boards));
	struct cw_stock_ask **asks = calloc(2ul * group, sizeof(struct cw_stock_ask *));
	struct cw_stock *s;
	struct cw_msg msg = { "" };
	double begun, cpu;
	unsigned long done;
	int rc = 0;

	if (group == 0 || boards == NULL || asks == NULL || cw_stock_open(&conf, &s, &msg) < 0)
		return fail("fill", msg.text);
	begun = now_s();
	cpu = cpu_s();
	for (done = 0; done < count && rc == 0; done += group)
		rc = serve(s, boards, asks, names, done, count - done < group ? (unsigned)(count - done) : group);
	if (rc == 0)
		(void)printf("{\"per_second\":%.1f,\"cpu_us\":%.3f}\n", 2.0 * (double)count / (now_s() - begun),
			     (cpu_s() - cpu) * 1e6 / (2.0 * (double)count));
	cw_stock_close(s);
	free(boards);
	free(asks);
	return rc;
}

int main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "commits") == 0)
		return commits(argv[2], (unsigned)atoi(argv[3]), atof(argv[4]));
	if (argc == 3 && strcmp(argv[1], "http") == 0)
		return http(strtoul(argv[2], NULL, 10));
	if (argc == 8 && strcmp(argv[1], "fill") == 0)
		return fill(argv[2], argv[3], (const char *const[]){ argv[4], argv[5] }, strtoul(argv[6], NULL, 10), (unsigned)atoi(argv[7]));
	return fail("usage", "commits FILE ROWS SECONDS | http LENGTH | fill DB KEY PRODUCT PREFIX COUNT GROUP");
}
