/* Requests and answers over a transport of the firmware's own: a script of what comes. covers: B32 B51 B52 B53 B56 B57 B58 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "factory/clients/c/triple_burn.h"

#define CERT \
	"{\"ProductKey\":\"a1B2c3D4e5F\",\"ProductSecret\":\"PSfedcba9876543210\",\"DeviceSecret\":\"0123456789abcdef0123456789abcdef\"," \
	"\"CRC32\":\"D78BA0C6\",\"DeviceName\":\"board-0001\",\"DeviceID\":\"AABB\",\"Status\":\"OK\"}"
#define CLOSED "HTTP/1.0 200 OK\r\nServer: x\r\n\r\n"

static struct {
	const char *answers[6]; /* a connection each; NULL: it cannot be made */
	int connections, open;
	size_t at, piece; /* bytes at once */
	uint32_t clock, step; /* ms a call takes */
	char host[300], sent[6][2000];
	unsigned port;
	int events[8], count; /* 'a'sked, 's'tored, 'r'eported */
} line;

static void *line_open(void *arg, const char *host, unsigned port, unsigned timeout_ms)
{
	int i = line.connections++;

	assert_true(timeout_ms > 0);
	assert_int_equal(line.open, 0);
	(void)snprintf(line.host, sizeof(line.host), "%s", host);
	line.port = port;
	line.at = 0;
	if (i >= 6 || line.answers[i] == NULL)
		return NULL;
	line.open = 1;
	return &line;
}

static long line_send(void *conn, const void *data, size_t len, unsigned timeout_ms)
{
	char *sent = line.sent[line.connections - 1];
	size_t n = len < line.piece ? len : line.piece;

	line.clock += line.step;
	memcpy(sent + strlen(sent), data, n);
	if (n == len)
		line.events[line.count++] = strstr(sent, "\"Action\":1") != NULL ? 'r' : 'a';
	return (long)n;
}

static long line_recv(void *conn, void *data, size_t size, unsigned timeout_ms)
{
	const char *answer = line.answers[line.connections - 1] + line.at;
	size_t n = strcspn(answer, "!"); /* there it breaks */

	line.clock += line.step;
	if (*answer == '!')
		return -1;
	n = n < line.piece ? n : line.piece;
	n = n < size ? n : size;
	memcpy(data, answer, n);
	line.at += n;
	return (long)n;
}

static void line_close(void *conn)
{
	assert_int_equal(line.open, 1);
	line.open = 0;
}

static uint32_t line_now(void)
{
	return line.clock;
}

static const struct triple_burn_transport transport = { line_open, line_send, line_recv, line_close, line_now };
static struct triple_burn_conf conf;

static int reset(void **state)
{
	memset(&line, 0, sizeof(line));
	line.piece = 1000;
	memset(&conf, 0, sizeof(conf));
	conf.transport = &transport;
	triple_burn_defaults = conf;
	return 0;
}

static long ask(const char *answer, char *reply, size_t size)
{
	(void)reset(NULL);
	line.answers[0] = answer;
	return send_req_n(&conf, 0, "pk", "id", "server", reply, size);
}

static void answers(void **state)
{
	static const struct {
		const char *text, *reply;
		long rc;
	} rows[] = {
		{ CLOSED "{}", "{}", 2 },
		{ CLOSED, "", 0 },
		{ "HTTP/1.1 200 OK\r\ncontent-length:  2 \r\n\r\n{}", "{}", 2 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}and more", "{}", 2 },
		{ "HTTP/1.1 200\nContent-Length: 2\n\n{}", "{}", 2 }, /* no reason phrase at all */
		{ "HTTP/1.1 200 \nContent-Length: 2\n\n{}", "{}", 2 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", 0 },
		{ "HTTP/1.1 204 No Content\r\n\r\n", "", 0 },
		{ "HTTP/1.1 100 Continue\r\nContent-Length: 7\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "{}", 2 },
		{ "HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}", "{}", 2 },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=\"y\"\r\n}\r\n0\r\nTrailer: 1\r\n\r\n", "{}", 2 },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 99\r\n\r\n00002 \r\n{}\r\n0\r\n\r\n", "{}", 2 },
		{ "", NULL, TRIPLE_BURN_NO_DATA },
		{ "!", NULL, TRIPLE_BURN_NO_DATA },
		{ "HTTP/1.1 200 OK\r\n", NULL, TRIPLE_BURN_NO_DATA },
		{ CLOSED "{!", NULL, TRIPLE_BURN_NO_DATA },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", NULL, TRIPLE_BURN_NO_DATA },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", NULL, TRIPLE_BURN_NO_DATA },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", NULL, TRIPLE_BURN_NO_DATA },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n", NULL, TRIPLE_BURN_INVALID },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", NULL, TRIPLE_BURN_INVALID },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2x\r\n", NULL, TRIPLE_BURN_INVALID },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFF\r\n", NULL, TRIPLE_BURN_TOO_LONG },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", NULL, TRIPLE_BURN_INVALID },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", NULL, TRIPLE_BURN_INVALID },
		{ "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}", NULL, TRIPLE_BURN_INVALID },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2,2\r\n\r\n{}", NULL, TRIPLE_BURN_INVALID },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}", NULL, TRIPLE_BURN_TOO_LONG },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n0123456789abcdef", NULL, TRIPLE_BURN_TOO_LONG },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n0123456789abcde", "0123456789abcde", 15 },
		{ CLOSED "0123456789abcdef", NULL, TRIPLE_BURN_TOO_LONG },
		{ "HTTP/2 200\r\n\r\n{}", NULL, TRIPLE_BURN_INVALID },
		{ "{\"Status\":\"OK\"}\n", NULL, TRIPLE_BURN_INVALID },
	};
	static const size_t pieces[] = { 1, 2, 3, 7, 1000 };
	char reply[16];
	size_t i, k;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (k = 0; k < sizeof(pieces) / sizeof(pieces[0]); k++) {
			long rc = rows[i].rc, got;

			(void)reset(NULL);
			line.piece = pieces[k];
			line.answers[0] = rows[i].text;
			memset(reply, 'x', sizeof(reply));
			got = send_req_n(&conf, 0, "pk", "id", "server", reply, sizeof(reply));
			if (got != rc)
				fail_msg("%ld instead of %ld, pieces of %zu: %s", got, rc, pieces[k], rows[i].text);
			if (rows[i].reply != NULL)
				assert_string_equal(reply, rows[i].reply);
			assert_int_equal(line.open, 0);
		}
	}
}

/* However much a peer sends: its header ends somewhere. */
static void endless_header(void **state)
{
	static char text[20000] = "HTTP/1.1 200 OK\r\nX: ";
	char reply[16];

	memset(text + strlen(text), 'x', sizeof(text) - 1 - strlen(text));
	assert_int_equal(ask(text, reply, sizeof(reply)), TRIPLE_BURN_TOO_LONG);
	assert_true(line.at < 10000);
	/* A long line is passed over, but not one that counts. */
	(void)snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nX: %0500d\r\nContent-Length: 2\r\n\r\n{}", 0);
	assert_int_equal(ask(text, reply, sizeof(reply)), 2);
	(void)snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %0500d\r\n\r\n{}", 2);
	assert_int_equal(ask(text, reply, sizeof(reply)), TRIPLE_BURN_INVALID);
}

/* A byte now and then does not hold a firmware for ever. */
static void slow_bytes(void **state)
{
	char reply[64];

	line.piece = 1;
	line.step = 100;
	line.answers[0] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
	conf.answer_ms = 10000;
	assert_int_equal(send_req_n(&conf, 0, "pk", "id", "server", reply, sizeof(reply)), TRIPLE_BURN_NO_DATA);
	assert_true(line.clock <= 10100);
	assert_int_equal(line.open, 0);
}

static void request_text(void **state)
{
	char reply[64];

	conf.token = "t0k3n";
	line.answers[0] = line.answers[1] = line.answers[2] = CLOSED "{}";
	assert_int_equal(send_req_n(&conf, 0, "pk", "a\"\\b", "[fe80::1%eth0]:50000", reply, sizeof(reply)), 2);
	assert_string_equal(line.host, "fe80::1%eth0");
	assert_int_equal(line.port, 50000);
	assert_string_equal(line.sent[0],
			    "POST / HTTP/1.1\r\nHost: [fe80::1]:50000\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 50"
			    "\r\nAuthorization: Bearer t0k3n\r\n\r\n{\"ProductKey\":\"pk\",\"DeviceID\":\"a\\\"\\\\b\",\"Action\":0}");
	conf.token = NULL;
	assert_int_equal(send_req_n(&conf, 1, "pk", "", "line.example", reply, sizeof(reply)), 2);
	assert_string_equal(line.host, "line.example");
	assert_int_equal(line.port, 8000);
	assert_non_null(strstr(line.sent[1], "\r\nHost: line.example:8000\r\n"));
	assert_non_null(strstr(line.sent[1], "\r\n\r\n{\"ProductKey\":\"pk\",\"Action\":1}"));
	assert_int_equal(send_req_n(&conf, 0, "pk", NULL, "::1", reply, sizeof(reply)), 2);
	assert_string_equal(line.host, "::1");
	assert_int_equal(line.port, 8000);
}

static void wrong_arguments(void **state)
{
	static const char *const servers[] = { "", ":8000", "a:", "a:0", "a:65536", "a:8000x", "[::1", "[::1]x", "[]", "[::1]:", "a b", "a\r\nX: y" };
	char reply[64], lots[400], token[1400];
	size_t i;

	memset(lots, 'x', sizeof(lots) - 1);
	lots[sizeof(lots) - 1] = '\0';
	memset(token, 'x', sizeof(token) - 1);
	token[sizeof(token) - 1] = '\0';
	for (i = 0; i < sizeof(servers) / sizeof(servers[0]); i++)
		assert_int_equal(send_req_n(&conf, 0, "pk", "id", servers[i], reply, sizeof(reply)), TRIPLE_BURN_ARGUMENT);
	assert_int_equal(send_req_n(&conf, 0, "pk", "id", NULL, reply, sizeof(reply)), TRIPLE_BURN_ARGUMENT);
	assert_int_equal(send_req_n(&conf, 0, "pk", "id", lots, reply, sizeof(reply)), TRIPLE_BURN_ARGUMENT);
	assert_int_equal(send_req_n(&conf, 0, "pk", lots, "a", reply, sizeof(reply)), TRIPLE_BURN_ARGUMENT);
	assert_int_equal(send_req_n(&conf, 0, lots, "id", "a", reply, sizeof(reply)), TRIPLE_BURN_ARGUMENT);
	assert_int_equal(send_req_n(&conf, 0, "", "id", "a", reply, sizeof(reply)), TRIPLE_BURN_ARGUMENT);
	assert_int_equal(send_req_n(&conf, 0, "pk\n", "id", "a", reply, sizeof(reply)), TRIPLE_BURN_ARGUMENT);
	assert_int_equal(send_req_n(&conf, 0, "pk", "i\td", "a", reply, sizeof(reply)), TRIPLE_BURN_ARGUMENT);
	assert_int_equal(send_req_n(&conf, 2, "pk", "id", "a", reply, sizeof(reply)), TRIPLE_BURN_ARGUMENT);
	assert_int_equal(send_req_n(&conf, 0, "pk", "id", "a", reply, 0), TRIPLE_BURN_ARGUMENT);
	conf.token = "t\r\nX: y";
	assert_int_equal(send_req_n(&conf, 0, "pk", "id", "a", reply, sizeof(reply)), TRIPLE_BURN_ARGUMENT);
	conf.token = token;
	assert_int_equal(send_req_n(&conf, 0, "pk", "id", "a", reply, sizeof(reply)), TRIPLE_BURN_ARGUMENT);
	assert_int_equal(line.connections, 0);
}

static void classic_request(void **state)
{
	char pk[] = "pk", did[] = "", *reply;

	line.answers[0] = CLOSED "{\"Status\":\"OK\"}";
	reply = send_req(0, pk, did, "192.0.2.1");
	assert_string_equal(reply, "{\"Status\":\"OK\"}");
	free(reply);
	assert_null(send_req(0, pk, did, "192.0.2.1"));
}

static int store(void *arg, const struct triple_burn_cert *cert)
{
	line.events[line.count++] = 's';
	if (arg != NULL)
		*(struct triple_burn_cert *)arg = *cert;
	return arg == NULL;
}

static void expect_order(const char *events)
{
	int i;

	assert_int_equal(line.count, strlen(events));
	for (i = 0; i < line.count; i++)
		assert_int_equal(line.events[i], events[i]);
}

static void asked_stored_reported(void **state)
{
	struct triple_burn_cert got;

	line.answers[0] = CLOSED CERT;
	line.answers[1] = CLOSED "{\"ProductKey\":\"a1B2c3D4e5F\",\"DeviceID\":\"AABB\",\"Status\":\"OK\"}";
	assert_int_equal(get_triple("server", "a1B2c3D4e5F", "", store, &got), 0);
	expect_order("asr");
	assert_string_equal(got.device_name, "board-0001");
	assert_non_null(strstr(line.sent[1], "\"DeviceID\":\"AABB\"")); /* of the reply, for none was asked for */
}

static void once_more(void **state)
{
	struct triple_burn_cert got;

	line.answers[0] = ""; /* closed without a word */
	line.answers[1] = CLOSED CERT;
	line.answers[2] = CLOSED; /* an empty reply to the report */
	line.answers[3] = CLOSED "{\"Status\":\"OK\"}";
	assert_int_equal(get_triple("server", "a1B2c3D4e5F", "AABB", store, &got), 0);
	expect_order("aasrr");
	(void)reset(NULL);
	line.answers[0] = line.answers[1] = line.answers[2] = CLOSED;
	assert_int_equal(get_triple("server", "a1B2c3D4e5F", "AABB", store, &got), TRIPLE_BURN_NO_DATA);
	expect_order("aa");
	(void)reset(NULL);
	assert_int_equal(get_triple("server", "a1B2c3D4e5F", "AABB", store, &got), TRIPLE_BURN_UNREACHED);
	assert_int_equal(line.connections, 2);
}

static void not_stored_not_reported(void **state)
{
	struct triple_burn_cert got;

	line.answers[0] = CLOSED CERT;
	assert_int_equal(get_triple("server", "a1B2c3D4e5F", "AABB", store, NULL), TRIPLE_BURN_NOT_STORED);
	expect_order("as");
	(void)reset(NULL);
	line.answers[0] = CLOSED CERT;
	line.answers[1] = CLOSED "{\"Status\":\"UNKNOWN_DEVICE\"}";
	assert_int_equal(get_triple("server", "a1B2c3D4e5F", "AABB", store, &got), TRIPLE_BURN_NOT_REPORTED);
	expect_order("asr");
}

static void not_good_not_stored(void **state)
{
	struct triple_burn_cert got;

	line.answers[0] = CLOSED "{\"Status\":\"OUT_OF_STOCK\"}";
	assert_int_equal(get_triple("server", "a1B2c3D4e5F", "AABB", store, &got), TRIPLE_BURN_REFUSED);
	expect_order("a");
	(void)reset(NULL);
	line.answers[0] = CLOSED CERT;
	assert_int_equal(get_triple("server", "a1B2c3D4e5G", "AABB", store, &got), TRIPLE_BURN_INVALID); /* another product's */
	expect_order("a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(answers, reset),
		cmocka_unit_test_setup(endless_header, reset),
		cmocka_unit_test_setup(slow_bytes, reset),
		cmocka_unit_test_setup(request_text, reset),
		cmocka_unit_test_setup(wrong_arguments, reset),
		cmocka_unit_test_setup(classic_request, reset),
		cmocka_unit_test_setup(asked_stored_reported, reset),
		cmocka_unit_test_setup(once_more, reset),
		cmocka_unit_test_setup(not_stored_not_reported, reset),
		cmocka_unit_test_setup(not_good_not_stored, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
