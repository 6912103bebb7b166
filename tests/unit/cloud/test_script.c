/* Calls of scripts, with the real process: results, order, abandonment, memory that runs short. covers: D06 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cloud/core/model/script.h"

static const char script[] =
	"function rawDataToProtocol(b) { if (b[0] == 1) for (;;); return {n: b.length, d: new Date(0).getTime()}; }\n"
	"function protocolToRawData(o) { return [o.a, -1, 300]; }";

struct run {
	struct cw_worker *worker;
	struct cw_cloud *cloud;
	struct cloud_product *product;
	struct cloud_device *device, *other;
	unsigned expected, ended;
	char order[64], last[128];
	int codes[8];
	size_t last_len;
};

struct ask {
	struct cloud_script_job job;
	struct run *run;
	char name;
};

static int setup(void **state)
{
	struct run *r = cw_zalloc(sizeof(*r));
	struct cloud_conf conf;
	struct cw_msg msg = { "" };

	*state = r;
	cw_log_set_level(CW_LOG_ERROR);
	cw_cloud_conf_default(&conf);
	conf.limits.script_ms = 1000; /* also of calls that should succeed, on a busy machine */
	if (cw_worker_new("t", 0, &r->worker) < 0 || cw_cloud_new(r->worker, &conf, &r->cloud) < 0 ||
	    cw_cloud_product_add(r->cloud, "a1RawPk0001", NULL, CLOUD_NODE_DEVICE, &r->product, &msg) < 0 ||
	    cw_cloud_device_add(r->cloud, r->product, "raw-0001", NULL, &r->device, &msg) < 0 ||
	    cw_cloud_device_add(r->cloud, r->product, "raw-0002", NULL, &r->other, &msg) < 0 ||
	    cw_cloud_script_set(r->cloud, r->product, script, &msg) < 0)
		return -1;
	return 0;
}

static int teardown(void **state)
{
	struct run *r = *state;

	cw_mem_fail_at(-1);
	cw_cloud_free(r->cloud);
	cw_worker_free(r->worker);
	cw_free(r);
	return cw_mem_live() == 0 ? 0 : -1;
}

static void stop(struct run *r)
{
	cw_cloud_scripts_stop(r->cloud);
	cw_worker_release(r->worker);
}

static void on_done(struct cloud_script_job *job, const struct cloud_script_result *result)
{
	struct ask *a = cw_container_of(job, struct ask, job);
	struct run *r = a->run;

	r->codes[r->ended] = result->code;
	r->order[r->ended++] = a->name;
	r->last_len = result->output != NULL && result->len < sizeof(r->last) ? result->len : 0;
	if (r->last_len != 0)
		memcpy(r->last, result->output, r->last_len);
	if (r->ended == r->expected)
		stop(r);
}

static int ask(struct run *r, struct ask *a, char name, enum script_frame kind, const char *data, size_t len)
{
	*a = (struct ask){ .run = r, .name = name, .job = { .device = r->device, .kind = kind, .done = on_done } };
	return cw_cloud_script_submit(r->cloud, &a->job, NULL, data, len);
}

static void calls_end_in_order_and_a_slow_one_alone_fails(void **state)
{
	struct run *r = *state;
	struct ask a[3];
	json_t *errors;

	r->expected = 3;
	assert_int_equal(ask(r, &a[0], 'a', SCRIPT_UP, "\0\0", 2), 0);
	assert_int_equal(ask(r, &a[1], 'b', SCRIPT_UP, "\1", 1), 0);
	assert_int_equal(ask(r, &a[2], 'c', SCRIPT_DOWN, "{\"a\":7}", 7), 0);
	assert_int_equal(r->ended, 0); /* never from within */
	cw_worker_run(r->worker);
	assert_string_equal(r->order, "abc");
	assert_int_equal(r->codes[0], 0);
	assert_int_equal(r->codes[1], 26002);
	assert_int_equal(r->codes[2], 0);
	assert_int_equal(r->last_len, 3);
	assert_memory_equal(r->last, "\7\377\54", 3);
	errors = cw_cloud_script_errors(r->product);
	assert_int_equal(json_array_size(errors), 1);
	json_decref(errors);
}

static void a_cancelled_call_never_ends_and_the_next_one_does(void **state)
{
	struct run *r = *state;
	struct ask a[3];

	r->expected = 2;
	assert_int_equal(ask(r, &a[0], 'a', SCRIPT_UP, "\1", 1), 0);
	assert_int_equal(ask(r, &a[1], 'b', SCRIPT_UP, "\0\0\0", 3), 0);
	assert_int_equal(ask(r, &a[2], 'c', SCRIPT_UP, "\0", 1), 0);
	cw_cloud_script_cancel(&a[0].job);
	cw_worker_run(r->worker);
	assert_string_equal(r->order, "bc");
	assert_memory_equal(r->last, "{\"n\":1,\"d\":0}", r->last_len);
}

static void a_deleted_device_takes_its_calls_along(void **state)
{
	struct run *r = *state;
	struct ask a[2];

	r->expected = 2;
	assert_int_equal(ask(r, &a[0], 'a', SCRIPT_UP, "\0", 1), 0);
	a[1] = (struct ask){ .run = r, .name = 'b', .job = { .device = r->other, .kind = SCRIPT_UP, .done = on_done } };
	assert_int_equal(cw_cloud_script_submit(r->cloud, &a[1].job, NULL, "\0", 1), 0);
	cw_cloud_device_delete(r->cloud, r->other);
	assert_string_equal(r->order, "b");
	assert_int_equal(r->codes[0], 500);
	cw_worker_run(r->worker);
	assert_string_equal(r->order, "ba");
}

static void memory_may_run_short(void **state)
{
	struct run *r = *state;
	struct cw_msg msg = { "" };
	struct ask a;
	long n;

	for (n = 0;; n++) {
		int rc;

		cw_mem_fail_at(n);
		rc = cw_cloud_script_set(r->cloud, r->product, script, &msg);
		if (!cw_mem_failed())
			break;
		assert_int_equal(rc, CW_ENOMEM);
		assert_string_equal(cw_cloud_script_text(r->product), script); /* the old one stays */
	}
	assert_true(n >= 2);
	cw_mem_fail_at(0);
	assert_int_equal(ask(r, &a, 'a', SCRIPT_UP, "x", 1), 500);
	cw_mem_fail_at(-1);
	r->expected = 1;
	assert_int_equal(ask(r, &a, 'b', SCRIPT_UP, "x", 1), 0);
	cw_mem_fail_at(0); /* the process cannot be started: the call fails, nothing else */
	cw_worker_run(r->worker);
	cw_mem_fail_at(-1);
	assert_string_equal(r->order, "b");
	assert_int_equal(r->codes[0], 26002);
}

static void bounds_are_kept(void **state)
{
	static char big[SCRIPT_TEXT_MAX + 2];
	struct run *r = *state;
	struct cw_msg msg = { "" };
	struct ask a;

	memset(big, ' ', sizeof(big) - 1);
	assert_int_equal(cw_cloud_script_set(r->cloud, r->product, big, &msg), CW_EINVAL);
	assert_int_equal(cw_cloud_script_set(r->cloud, r->product, NULL, &msg), 0);
	assert_int_equal(ask(r, &a, 'a', SCRIPT_UP, "x", 1), 26001);
	stop(r);
	cw_worker_run(r->worker);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(calls_end_in_order_and_a_slow_one_alone_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(a_cancelled_call_never_ends_and_the_next_one_does, setup, teardown),
		cmocka_unit_test_setup_teardown(a_deleted_device_takes_its_calls_along, setup, teardown),
		cmocka_unit_test_setup_teardown(memory_may_run_short, setup, teardown),
		cmocka_unit_test_setup_teardown(bounds_are_kept, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
