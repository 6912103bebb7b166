/* What users may ask of devices, and what is refused before anything is sent. covers: D30 D31 D32 K10 K21 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cloud/core/traffic/down.h"

#define PK "a1EmuPk0001"
#define CUSTOM "/" PK "/dev-0001/user/get"

struct run {
	struct cw_worker *worker;
	struct cw_cloud *cloud;
	struct cloud_product *product;
	struct cloud_device *device;
	unsigned ended;
	enum cloud_down_end end;
	int code;
};

static int setup(void **state)
{
	struct run *r = cw_zalloc(sizeof(*r));
	struct cloud_conf conf;
	struct cw_msg msg = { "" };

	*state = r;
	cw_log_set_level(CW_LOG_ERROR);
	cw_cloud_conf_default(&conf);
	if (cw_worker_new("t", 0, &r->worker) < 0 || cw_cloud_new(r->worker, &conf, &r->cloud) < 0 ||
	    cw_cloud_product_add(r->cloud, PK, NULL, CLOUD_NODE_DEVICE, &r->product, &msg) < 0 ||
	    cw_cloud_device_add(r->cloud, r->product, "dev-0001", NULL, &r->device, &msg) < 0)
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

static int pub(struct run *r, const char *topic, size_t len, int any)
{
	struct cloud_publication what = { .topic = topic, .bytes = "x", .len = len, .any_topic = any };
	enum cloud_outcome outcome = CLOUD_DELIVERED;
	struct cw_msg msg = { "" };
	char id[24];
	int rc = cw_cloud_pub(r->cloud, r->product, &what, &outcome, id, &msg);

	if (rc == 0)
		assert_int_equal(outcome, CLOUD_OFFLINE);
	else
		assert_true(msg.text[0] != '\0');
	return rc;
}

static void only_custom_topics_without_wildcards_are_published_to(void **state)
{
	assert_int_equal(pub(*state, CUSTOM, 1, 0), 0);
	assert_int_equal(pub(*state, "/" PK "/dev-0001/user/+", 1, 0), CW_EINVAL);
	assert_int_equal(pub(*state, "/" PK "/dev-0001/user/#", 1, 1), CW_EINVAL);
	assert_int_equal(pub(*state, "/" PK "/dev-0001/user//get", 1, 0), CW_EINVAL);
	assert_int_equal(pub(*state, "/sys/" PK "/dev-0001/thing/service/property/set", 1, 0), CW_EACCESS);
	assert_int_equal(pub(*state, "/sys/" PK "/dev-0001/thing/service/property/set", 1, 1), 0);
	assert_int_equal(pub(*state, "/" PK "/dev-0009/user/get", 1, 0), CW_ENOENT);
	assert_int_equal(pub(*state, "/a1Other0001/dev-0001/user/get", 1, 0), CW_EINVAL);
	assert_int_equal(pub(*state, "nonsense", 1, 0), CW_EINVAL);
	assert_int_equal(pub(*state, CUSTOM, CLOUD_PUB_BYTES + 1, 0), CW_EINVAL);
}

static void broadcasts_keep_their_pace(void **state)
{
	struct run *r = *state;
	struct cw_msg msg = { "" };
	unsigned count = 9;
	char id[24];

	assert_int_equal(cw_cloud_broadcast(r->cloud, r->product, "/broadcast/" PK "/a", "x", 1, &count, id, &msg), 0);
	assert_int_equal(count, 0);
	assert_int_equal(cw_cloud_broadcast(r->cloud, r->product, "/broadcast/" PK "/a", "x", 1, &count, id, &msg), CW_ELIMIT);
	assert_int_equal(cw_cloud_broadcast(r->cloud, r->product, NULL, "x", 1, &count, id, &msg), 0); /* of another kind */
	cw_cloud_skip(r->cloud, 1000);
	assert_int_equal(cw_cloud_broadcast(r->cloud, r->product, "/broadcast/" PK "/a", "x", 1, &count, id, &msg), 0);
	assert_int_equal(cw_cloud_broadcast(r->cloud, r->product, NULL, "x", 1, &count, id, &msg), CW_ELIMIT);
	cw_cloud_skip(r->cloud, 59000);
	assert_int_equal(cw_cloud_broadcast(r->cloud, r->product, NULL, "x", CLOUD_BROADCAST_BYTES + 1, &count, id, &msg), CW_EINVAL);
	assert_int_equal(cw_cloud_broadcast(r->cloud, r->product, NULL, "x", 1, &count, id, &msg), 0);
	assert_int_equal(cw_cloud_broadcast(r->cloud, r->product, "/broadcast/a1Other0001/a", "x", 1, &count, id, &msg), CW_EINVAL);
}

static int desire(struct run *r, const char *name, json_t *value, int version)
{
	json_t *items = json_pack("{s:o}", name, value), *versions = version >= 0 ? json_pack("{s:i}", name, version) : NULL;
	struct cw_msg msg = { "" };
	int code = cw_cloud_set_desired(r->cloud, r->device, items, versions, &msg);

	json_decref(items);
	json_decref(versions);
	return code;
}

static void a_desired_value_has_a_version(void **state)
{
	struct run *r = *state;
	json_t *kept;

	assert_int_equal(desire(r, "a", json_integer(1), 5), 460); /* there is none yet: version 0 */
	assert_int_equal(desire(r, "a", json_integer(1), 0), 200);
	assert_int_equal(desire(r, "a", json_integer(2), 0), 460);
	assert_int_equal(desire(r, "a", json_integer(3), 1), 200);
	assert_int_equal(desire(r, "a", json_null(), -1), 200);
	assert_int_equal(desire(r, "", json_integer(1), -1), 6321);
	kept = json_object_get(cw_cloud_doc(r->device, CLOUD_DOC_DESIRED), "a");
	assert_null(json_object_get(kept, "value"));
	assert_int_equal(json_integer_value(json_object_get(kept, "version")), 2);
}

static void on_done(void *arg, const struct cloud_result *result)
{
	struct run *r = arg;

	assert_non_null(result->message);
	r->ended++;
	r->end = result->end;
	r->code = result->code;
}

static void orders_to_an_offline_device_end_at_once(void **state)
{
	struct run *r = *state;
	struct cloud_ask ask = { .device = r->device, .timeout_ms = 1000, .done = on_done, .arg = r };
	json_t *items = json_pack("{s:i}", "a", 1), *list = json_array();

	assert_null(cw_cloud_set_properties(r->cloud, &ask, items));
	assert_int_equal(r->end, CLOUD_DOWN_OFFLINE);
	assert_string_equal(cw_cloud_rrpc_code(r->end), "OFFLINE");
	assert_null(cw_cloud_rrpc(r->cloud, &ask, NULL, "x", 1));
	assert_null(cw_cloud_rrpc(r->cloud, &ask, "/" PK "/dev-0009/user/get", "x", 1));
	assert_int_equal(r->end, CLOUD_DOWN_REFUSED);
	assert_null(cw_cloud_set_properties(r->cloud, &ask, list));
	assert_int_equal(r->code, 460);
	assert_null(cw_cloud_invoke_service(r->cloud, &ask, "a/b", items, CLOUD_SERVICE_BY_MODEL));
	assert_int_equal(r->code, 6321);
	assert_null(cw_cloud_get_properties(r->cloud, &ask, items));
	r->product->raw = 1;
	assert_null(cw_cloud_set_properties(r->cloud, &ask, items));
	assert_int_equal(r->code, 26001);
	assert_int_equal(r->ended, 7);
	json_decref(items);
	json_decref(list);
}

static void memory_may_run_short(void **state)
{
	struct run *r = *state;
	struct cloud_ask ask = { .device = r->device, .timeout_ms = 1000, .done = on_done, .arg = r };
	json_t *items = json_pack("{s:i}", "a", 1);
	long n;

	for (n = 0;; n++) {
		r->ended = 0;
		cw_mem_fail_at(n);
		assert_null(cw_cloud_invoke_service(r->cloud, &ask, "s", items, CLOUD_SERVICE_SYNC));
		assert_int_equal(r->ended, 1);
		if (!cw_mem_failed())
			break;
		assert_true(r->end == CLOUD_DOWN_NOMEM || r->end == CLOUD_DOWN_OFFLINE);
	}
	assert_true(n >= 2);
	assert_int_equal(r->end, CLOUD_DOWN_OFFLINE);
	json_decref(items);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(only_custom_topics_without_wildcards_are_published_to, setup, teardown),
		cmocka_unit_test_setup_teardown(broadcasts_keep_their_pace, setup, teardown),
		cmocka_unit_test_setup_teardown(a_desired_value_has_a_version, setup, teardown),
		cmocka_unit_test_setup_teardown(orders_to_an_offline_device_end_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(memory_may_run_short, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
