/* Files over HTTP: whole, by ranges, heads, tags, errors; and a client that leaves in the middle. A server and a socket on one loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cloud/core/fault/fault.h"
#include "cloud/web/files.h"

#define SIZE (16u << 20)

static struct cw_worker *worker;
static struct cw_cloud *cloud;
static struct cw_http *http;
static struct cloud_blob *blob;
static char url[CLOUD_URL_MAX];
static char answer[SIZE + 4096];
static size_t answered;
static int closed;

static void on_closed(void *arg)
{
	closed = 1;
}

static int setup(void **state)
{
	struct cw_http_conf conf = { .address = "127.0.0.1:0", .max_body = 1000, .handle = NULL };
	struct cloud_conf core;
	struct cw_msg msg = { "" };
	char *bytes = malloc(SIZE);
	size_t i;

	cw_log_set_level(CW_LOG_ERROR);
	cw_cloud_conf_default(&core);
	for (i = 0; i < SIZE; i++)
		bytes[i] = (char)(i % 251);
	if (cw_worker_new("t", 0, &worker) < 0 || cw_cloud_new(worker, &core, &cloud) < 0)
		return -1;
	conf.handle = cw_cloud_web_file;
	conf.arg = cloud;
	if (cw_http_open(worker, &conf, &http, &msg) < 0)
		return -1;
	(void)snprintf(cloud->download_url, sizeof(cloud->download_url), "http://%s", cw_http_address(http));
	blob = cw_cloud_blob_new("firmware.bin", "application/octet-stream", bytes, SIZE);
	free(bytes);
	return blob != NULL ? cw_cloud_link_file(cloud, blob, 3600000, url) : -1;
}

static int teardown(void **state)
{
	closed = 0;
	cw_http_close(http, on_closed, NULL);
	while (!closed)
		(void)uv_run(cw_worker_loop(worker), UV_RUN_NOWAIT);
	cw_cloud_blob_unref(blob);
	cw_cloud_free(cloud);
	cw_worker_free(worker);
	return cw_mem_live() == 0 ? 0 : -1;
}

static int dial(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to.sin_port = htons((uint16_t)atoi(strrchr(cw_http_address(http), ':') + 1));
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static void ask(int fd, const char *method, const char *target, const char *fields)
{
	char text[1024];
	int n = snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n", method, target, fields);

	assert_int_equal(send(fd, text, (size_t)n, 0), n);
}

/* Everything up to the end of the connection. Returns the status. */
static int fetch(const char *method, const char *target, const char *fields)
{
	int fd = dial();
	ssize_t n = -1;

	ask(fd, method, target, fields);
	answered = 0;
	while (n != 0) {
		(void)uv_run(cw_worker_loop(worker), UV_RUN_NOWAIT);
		n = recv(fd, answer + answered, sizeof(answer) - 1 - answered, MSG_DONTWAIT);
		answered += n > 0 ? (size_t)n : 0;
	}
	answer[answered] = '\0';
	close(fd);
	return atoi(answer + 9);
}

static const char *target_of(const char *link)
{
	return strstr(link, "/files/");
}

static const char *body(size_t *ret_len)
{
	const char *at = strstr(answer, "\r\n\r\n") + 4;

	*ret_len = answered - (size_t)(at - answer);
	return at;
}

static void assert_bytes(size_t from, size_t count)
{
	size_t len;
	const char *at = body(&len);

	assert_int_equal(len, count);
	assert_memory_equal(at, blob->data + from, count);
}

static void test_whole(void **state)
{
	assert_int_equal(fetch("GET", target_of(url), ""), 200);
	assert_non_null(strstr(answer, "Content-Length: 16777216\r\n"));
	assert_non_null(strstr(answer, "Content-Type: application/octet-stream\r\n"));
	assert_non_null(strstr(answer, "Accept-Ranges: bytes\r\n"));
	assert_bytes(0, SIZE);
	assert_int_equal(blob->refs, 2); /* ours and the link's */
}

static void test_ranges(void **state)
{
	assert_int_equal(fetch("GET", target_of(url), "Range: bytes=100-199\r\n"), 206);
	assert_non_null(strstr(answer, "Content-Range: bytes 100-199/16777216\r\n"));
	assert_bytes(100, 100);
	assert_int_equal(fetch("GET", target_of(url), "Range: bytes=16776488-\r\n"), 206);
	assert_bytes(16776488, 728);
	assert_int_equal(fetch("GET", target_of(url), "Range: bytes=-5\r\n"), 206);
	assert_bytes(SIZE - 5, 5);
	assert_int_equal(fetch("GET", target_of(url), "Range: bytes=16777215-99999999999999999999999\r\n"), 206);
	assert_bytes(SIZE - 1, 1);
	assert_int_equal(fetch("GET", target_of(url), "Range: bytes=16777216-\r\n"), 416);
	assert_non_null(strstr(answer, "Content-Range: bytes */16777216\r\n"));
	assert_non_null(strstr(answer, "<Code>InvalidRange</Code>"));
	assert_int_equal(fetch("GET", target_of(url), "Range: bytes=-0\r\n"), 416);
}

static void test_ranges_that_are_none(void **state)
{
	static const char *const fields[] = { "bytes=", "bytes=-", "bytes=a-5", "bytes=5-1", "bytes=0-1,5-6", "lines=1-2", "bytes=1-2x" };
	size_t from, count, i;

	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		assert_int_equal(cw_cloud_web_range(fields[i], 10, &from, &count), WEB_RANGE_ALL);
		assert_int_equal(count, 10);
	}
	assert_int_equal(cw_cloud_web_range("bytes=0-0", 0, &from, &count), WEB_RANGE_NONE);
	assert_int_equal(cw_cloud_web_range("bytes=-1", 0, &from, &count), WEB_RANGE_NONE);
	assert_int_equal(cw_cloud_web_range(NULL, 10, &from, &count), WEB_RANGE_ALL);
}

static void test_head_and_tags(void **state)
{
	char tag[64], field[128];
	size_t len;
	const char *at;

	assert_int_equal(fetch("HEAD", target_of(url), ""), 200);
	assert_non_null(strstr(answer, "Content-Length: 16777216\r\n"));
	(void)body(&len);
	assert_int_equal(len, 0);
	at = strstr(answer, "ETag: ") + 6;
	(void)snprintf(tag, sizeof(tag), "%.*s", (int)strcspn(at, "\r"), at);
	(void)snprintf(field, sizeof(field), "If-None-Match: %s\r\n", tag);
	assert_int_equal(fetch("GET", target_of(url), field), 304);
	(void)snprintf(field, sizeof(field), "If-Range: %s\r\nRange: bytes=0-0\r\n", tag);
	assert_int_equal(fetch("GET", target_of(url), field), 206);
	assert_int_equal(fetch("GET", target_of(url), "If-Range: \"other\"\r\nRange: bytes=0-0\r\n"), 200);
}

static void test_errors(void **state)
{
	char cut[CLOUD_URL_MAX];

	(void)snprintf(cut, sizeof(cut), "%.*s", (int)strlen(url) - 6, url);
	assert_int_equal(fetch("GET", target_of(cut), ""), 403);
	assert_non_null(strstr(answer, "<Code>SignatureDoesNotMatch</Code>"));
	assert_non_null(strstr(answer, "Content-Type: application/xml\r\n"));
	assert_int_equal(fetch("POST", target_of(url), "Content-Length: 0\r\n"), 405);
	cw_cloud_skip(cloud, 3602000);
	assert_int_equal(fetch("GET", target_of(url), ""), 403);
	assert_non_null(strstr(answer, "<Code>AccessDenied</Code>"));
}

static void test_fault(void **state)
{
	struct cw_msg msg = { "" };
	json_t *made = NULL, *spec = json_pack("{s:s, s:s, s:i, s:i}", "kind", "status", "topic", "/files/#", "code", 503, "count", 1);

	assert_int_equal(cw_cloud_faults_add(cloud, spec, &made, &msg), 0);
	json_decref(spec);
	json_decref(made);
	assert_int_equal(fetch("GET", target_of(url), ""), 503);
	assert_int_equal(fetch("GET", target_of(url), ""), 200);
}

/* It does not read, and leaves; another is served meanwhile, and the bytes are let go of. */
static void test_client_that_leaves(void **state)
{
	int fd = dial();
	unsigned refs;

	ask(fd, "GET", target_of(url), "");
	do
		(void)uv_run(cw_worker_loop(worker), UV_RUN_NOWAIT);
	while (blob->refs == 2);
	refs = blob->refs;
	assert_int_equal(refs, 3);
	assert_int_equal(fetch("GET", target_of(url), "Range: bytes=0-9\r\n"), 206);
	close(fd);
	while (blob->refs == 3)
		(void)uv_run(cw_worker_loop(worker), UV_RUN_NOWAIT);
	assert_int_equal(blob->refs, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ranges, setup, teardown),
		cmocka_unit_test(test_ranges_that_are_none),
		cmocka_unit_test_setup_teardown(test_head_and_tags, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fault, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_that_leaves, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
