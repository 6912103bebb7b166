/* Links to files: what opens one, what does not, how long, and whose bytes it holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cloud/core/files.h"

static struct cw_worker *worker;
static struct cw_cloud *cloud;

static int setup(void **state)
{
	struct cloud_conf conf;

	cw_log_set_level(CW_LOG_ERROR);
	cw_cloud_conf_default(&conf);
	if (cw_worker_new("t", 0, &worker) < 0 || cw_cloud_new(worker, &conf, &cloud) < 0)
		return -1;
	(void)snprintf(cloud->download_url, sizeof(cloud->download_url), "https://127.0.0.1:8443");
	return 0;
}

static int teardown(void **state)
{
	cw_mem_fail_at(-1);
	cw_cloud_free(cloud);
	cw_worker_free(worker);
	return cw_mem_live() == 0 ? 0 : -1;
}

static int hex_digit(char c)
{
	return c >= 'A' ? c - 'A' + 10 : c - '0';
}

/* A URL taken apart as an HTTP server does. */
struct parts {
	char text[CLOUD_URL_MAX];
	struct cloud_file_ask ask;
};

static void take_apart(const char *url, struct parts *p)
{
	char *from, *to;

	(void)snprintf(p->text, sizeof(p->text), "%s", strstr(url, "/files/"));
	for (from = to = p->text; *from != '\0'; to++) {
		int coded = *from == '%';

		*to = coded ? (char)(hex_digit(from[1]) * 16 + hex_digit(from[2])) : *from;
		from += coded ? 3 : 1;
	}
	*to = '\0';
	p->ask.path = strtok(p->text, "?");
	p->ask.expires = strtok(NULL, "&") + strlen("Expires=");
	p->ask.key_id = strtok(NULL, "&") + strlen("OSSAccessKeyId=");
	p->ask.signature = strtok(NULL, "&") + strlen("Signature=");
}

static unsigned fetch(const struct cloud_file_ask *ask, const char **ret_code, const struct cloud_blob **ret_blob)
{
	unsigned status = 0;

	*ret_blob = cw_cloud_find_file(cloud, ask, &status, ret_code);
	assert_int_equal(status == 200, *ret_blob != NULL);
	return status;
}

static void a_link_opens_until_its_end(void **state)
{
	struct cloud_blob *b = cw_cloud_blob_new("app v1/2.bin", "application/octet-stream", "123456789", 9);
	const struct cloud_blob *got;
	char url[CLOUD_URL_MAX];
	const char *code;
	struct parts p;

	assert_string_equal(b->name, "app_v1_2.bin");
	assert_int_equal(cw_cloud_link_file(cloud, b, 1000, url), 0);
	assert_ptr_equal(strstr(url, "https://127.0.0.1:8443/files/"), url);
	assert_non_null(strstr(url, "/app_v1_2.bin?Expires="));
	cw_cloud_blob_unref(b); /* the link holds it */
	take_apart(url, &p);
	assert_int_equal(fetch(&p.ask, &code, &got), 200);
	assert_memory_equal(got->data, "123456789", 9);
	cw_cloud_skip(cloud, 3000);
	assert_int_equal(fetch(&p.ask, &code, &got), 403);
	assert_string_equal(code, "AccessDenied");
}

static void every_change_of_a_link_breaks_its_signature(void **state)
{
	struct cloud_blob *b = cw_cloud_blob_new("a", "text/plain", "", 0);
	const struct cloud_blob *got;
	char url[CLOUD_URL_MAX], changed[CLOUD_URL_MAX];
	const char *code;
	struct parts p, q;

	assert_int_equal(cw_cloud_link_file(cloud, b, 60000, url), 0);
	take_apart(url, &p);
	q.ask = p.ask;
	(void)snprintf(changed, sizeof(changed), "%lld", atoll(p.ask.expires) + 1);
	q.ask.expires = changed; /* longer than signed */
	assert_int_equal(fetch(&q.ask, &code, &got), 403);
	assert_string_equal(code, "SignatureDoesNotMatch");
	q.ask = p.ask;
	(void)snprintf(changed, sizeof(changed), "%sx", p.ask.path);
	q.ask.path = changed;
	assert_int_equal(fetch(&q.ask, &code, &got), 403);
	q.ask = p.ask;
	(void)snprintf(changed, sizeof(changed), "%.*s", (int)strlen(p.ask.signature) - 1, p.ask.signature);
	q.ask.signature = changed; /* cut */
	assert_int_equal(fetch(&q.ask, &code, &got), 403);
	q.ask.signature = "";
	assert_int_equal(fetch(&q.ask, &code, &got), 403);
	q.ask.signature = NULL;
	assert_int_equal(fetch(&q.ask, &code, &got), 403);
	q.ask = p.ask;
	q.ask.key_id = "LTAIother";
	assert_int_equal(fetch(&q.ask, &code, &got), 403);
	assert_int_equal(fetch(&p.ask, &code, &got), 200);
	cw_cloud_unlink_file(cloud, b);
	assert_int_equal(fetch(&p.ask, &code, &got), 404);
	assert_string_equal(code, "NoSuchKey");
	cw_cloud_blob_unref(b);
}

static void many_links_to_one_file_are_one_entry(void **state)
{
	struct cloud_blob *b = cw_cloud_blob_new("a", "text/plain", "x", 1), *other;
	const struct cloud_blob *got;
	char first[CLOUD_URL_MAX], last[CLOUD_URL_MAX];
	const char *code;
	struct parts p;
	int i;

	assert_int_equal(cw_cloud_link_file(cloud, b, 1000, first), 0);
	for (i = 0; i < 100; i++)
		assert_int_equal(cw_cloud_link_file(cloud, b, 60000, last), 0);
	assert_int_equal(b->refs, 2);
	cw_cloud_skip(cloud, 5000);
	take_apart(first, &p);
	assert_int_equal(fetch(&p.ask, &code, &got), 403);
	take_apart(last, &p);
	assert_int_equal(fetch(&p.ask, &code, &got), 200);
	cw_cloud_skip(cloud, 120000);
	other = cw_cloud_blob_new("b", "text/plain", "x", 1);
	assert_int_equal(cw_cloud_link_file(cloud, other, 1000, first), 0); /* sweeps */
	assert_int_equal(b->refs, 1);
	cw_cloud_blob_unref(other);
	cw_cloud_blob_unref(b);
}

static void digests_are_those_of_the_bytes(void **state)
{
	struct cloud_blob *b = cw_cloud_blob_new("a", "text/plain", "123456789", 9);
	char md5[33], sha[65];

	cw_cloud_blob_md5(b, md5);
	cw_cloud_blob_sha256(b, sha);
	assert_string_equal(md5, "25f9e794323b453885f5181f1b624d0b");
	assert_string_equal(sha, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225");
	cw_cloud_blob_unref(b);
}

static void every_failed_allocation_is_survived(void **state)
{
	struct cloud_blob *b = NULL;
	char url[CLOUD_URL_MAX];
	long n;
	int rc = CW_ENOMEM;

	for (n = 0; rc != 0; n++) {
		assert_true(n < 10);
		cw_mem_fail_at(n);
		b = cw_cloud_blob_new("a", "text/plain", "x", 1);
		rc = b != NULL ? cw_cloud_link_file(cloud, b, 1000, url) : CW_ENOMEM;
		cw_mem_fail_at(-1);
		cw_cloud_blob_unref(b);
	}
	assert_int_equal(n, 4); /* blob, name, table of files, and all well */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_link_opens_until_its_end, setup, teardown),
		cmocka_unit_test_setup_teardown(every_change_of_a_link_breaks_its_signature, setup, teardown),
		cmocka_unit_test_setup_teardown(many_links_to_one_file_are_one_entry, setup, teardown),
		cmocka_unit_test_setup_teardown(digests_are_those_of_the_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(every_failed_allocation_is_survived, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
