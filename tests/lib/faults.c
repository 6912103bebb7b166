/* faults.c - see faults.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/mem.h"
#include "fake_host.h"
#include "faults.h"

static long countdown = -1; /* allocations until one fails; -1: none does */
static int failed;

static int fails(void)
{
	if (countdown < 0 || countdown-- > 0)
		return 0;
	failed = 1;
	return 1;
}

void *plugin_malloc(size_t n);
void *plugin_calloc(size_t count, size_t n);
void *plugin_realloc(void *p, size_t n);

void *plugin_malloc(size_t n)
{
	return fails() ? NULL : realloc(NULL, n > 0 ? n : 1);
}

void *plugin_calloc(size_t count, size_t n)
{
	void *p = fails() ? NULL : realloc(NULL, count * n + 1);

	if (p != NULL)
		memset(p, 0, count * n);
	return p;
}

void *plugin_realloc(void *p, size_t n)
{
	return fails() ? NULL : realloc(p, n);
}

int faults_each_allocation(void (*a_life)(void))
{
	int nth;

	for (nth = 0;; nth++) {
		failed = 0;
		countdown = nth;
		a_life();
		countdown = -1;
		if (!failed)
			return nth;
	}
}

static struct cw_decoder *make(void)
{
	static const struct cw_host host = { .size = sizeof(host), .abi = CW_ABI };
	struct cw_decoder *d = NULL;

	assert_int_equal(cw_plugin_entry()->decoder->create(&host, NULL, &d), 0);
	return d;
}

void faults_create(int allocations)
{
	static const struct cw_host host = { .size = sizeof(host), .abi = CW_ABI };
	struct cw_decoder *d = NULL;
	void *conf = NULL;
	char why[64];
	int nth, rc;

	for (nth = 0; nth < allocations; nth++) {
		countdown = nth;
		rc = cw_plugin_entry()->decoder->create(&host, NULL, &d);
		countdown = -1;
		assert_int_equal(rc, CW_ENOMEM);
		assert_null(d);
	}
	d = make();
	countdown = 0;
	assert_int_equal(cw_plugin_entry()->decoder->settings(d, cw_bytes_of("\xa0", 1), why, sizeof(why), &conf), CW_ENOMEM);
	countdown = -1;
	cw_plugin_entry()->decoder->destroy(d);
}

int faults_settings(const char *json)
{
	struct cw_decoder *d = make();
	void *conf = NULL;
	char why[200];
	size_t n;
	uint8_t *s = fake_settings(cw_plugin_entry()->conf, json, &n);
	int nth, rc = -1;

	for (nth = 0; rc != 0; nth++) {
		countdown = nth;
		rc = cw_plugin_entry()->decoder->settings(d, cw_bytes_of(s, n), why, sizeof(why), &conf);
		countdown = -1;
		assert_true(rc == 0 || rc == CW_ENOMEM);
	}
	cw_plugin_entry()->decoder->settings_free(d, conf);
	cw_plugin_entry()->decoder->destroy(d);
	cw_free(s);
	return nth - 1;
}

void faults_refused(const char *json, const char *said)
{
	struct cw_decoder *d = make();
	char why[300] = "";
	void *conf = NULL;
	size_t n;
	uint8_t *s = fake_settings(cw_plugin_entry()->conf, json, &n);

	if (cw_plugin_entry()->decoder->settings(d, cw_bytes_of(s, n), why, sizeof(why), &conf) != CW_ECONF)
		fail_msg("accepted: %s", json);
	assert_null(conf);
	if (strlen(why) <= 10 || (said != NULL && strstr(why, said) == NULL))
		fail_msg("%s: %s", json, why);
	cw_free(s);
	cw_plugin_entry()->decoder->destroy(d);
}

void faults_defaults(size_t size)
{
	struct cw_decoder *d = make();
	void *empty = NULL, *full = NULL;
	char why[64];
	size_t n;
	uint8_t *s = fake_settings(cw_plugin_entry()->conf, NULL, &n);

	assert_int_equal(cw_plugin_entry()->decoder->settings(d, cw_bytes_of("\xa0", 1), why, sizeof(why), &empty), 0);
	assert_int_equal(cw_plugin_entry()->decoder->settings(d, cw_bytes_of(s, n), why, sizeof(why), &full), 0);
	assert_memory_equal(empty, full, size);
	cw_free(s);
	cw_plugin_entry()->decoder->settings_free(d, empty);
	cw_plugin_entry()->decoder->settings_free(d, full);
	cw_plugin_entry()->decoder->destroy(d);
}
