/* Shadow, remote configuration, the device's log, jobs: each rule once. */
#include "cloud/core/alink/device_log.h"
#include "cloud/core/alink/job.h"
#include "cloud/core/alink/remote_config.h"
#include "cloud/core/alink/shadow.h"
#include "ota_fixture.h"

#define UPDATE "/shadow/update/" PK "/dev-0001"
#define SYS    "/sys/" PK "/dev-0001/"

/* Says it, and compares the code of the answer; NULL: success. */
static void shadow_says(const char *payload, const char *code)
{
	json_t *j, *inner;

	say(UPDATE, payload);
	assert_string_equal(last_topic, "/shadow/get/" PK "/dev-0001");
	j = said();
	assert_string_equal(json_string_value(json_object_get(j, "method")), "reply");
	inner = json_object_get(j, "payload");
	assert_string_equal(json_string_value(json_object_get(inner, "status")), code == NULL ? "success" : "error");
	if (code != NULL)
		assert_string_equal(json_string_value(json_object_get(json_object_get(inner, "content"), "errorcode")), code);
	json_decref(j);
}

static int set_desired(const char *text, int64_t version)
{
	json_t *desired = json_loads(text, JSON_DECODE_ANY, NULL);
	struct cw_msg msg = { "" };
	int rc = cw_cloud_shadow_set_desired(cloud, dev, desired, version, &msg);

	json_decref(desired);
	return rc;
}

/* The half of a shadow as text; valid till the next call. */
static const char *part(const char *half, const char *which)
{
	static char text[20000];
	json_t *j = json_object_get(json_object_get(cw_cloud_shadow_json(dev), half), which);
	size_t n = json_dumpb(j, text, sizeof(text) - 1, JSON_COMPACT);

	text[n] = '\0';
	return text;
}

static void every_wrong_request_has_its_code(void **arg)
{
	char many[8192], big[18000];
	size_t n, i;

	go_online(1);
	shadow_says("nonsense", "400");
	shadow_says("[]", "400");
	shadow_says("{\"state\":{}}", "401");
	shadow_says("{\"method\":\"update\",\"version\":1}", "402");
	shadow_says("{\"method\":\"update\",\"state\":{\"reported\":{\"a\":1}},\"version\":\"1\"}", "403");
	shadow_says("{\"method\":\"update\",\"state\":{},\"version\":1}", "404");
	shadow_says("{\"method\":\"update\",\"state\":{\"reported\":{}},\"version\":1}", "405");
	shadow_says("{\"method\":\"upgrade\",\"state\":{}}", "406");
	shadow_says("{\"method\":\"get\"}", "407");
	shadow_says("{\"method\":\"delete\",\"state\":{\"reported\":\"null\"},\"version\":1}", "407");
	n = (size_t)snprintf(many, sizeof(many), "{\"method\":\"update\",\"version\":1,\"state\":{\"reported\":{");
	for (i = 0; i < 129; i++)
		n += (size_t)snprintf(many + n, sizeof(many) - n, "%s\"a%zu\":%zu", i != 0 ? "," : "", i, i);
	(void)snprintf(many + n, sizeof(many) - n, "}}}");
	shadow_says(many, "408");
	shadow_says("{\"method\":\"update\",\"version\":1,\"state\":{\"reported\":{\"1\":{\"2\":{\"3\":{\"4\":{\"5\":{\"6\":1}}}}}}}}", "400");
	n = (size_t)snprintf(big, sizeof(big), "{\"method\":\"update\",\"version\":1,\"state\":{\"reported\":{\"a\":\"");
	memset(big + n, 'x', 16384);
	(void)snprintf(big + n + 16384, sizeof(big) - n - 16384, "\"}}}");
	shadow_says(big, "400");
	assert_null(cw_cloud_shadow_json(dev)); /* nothing of it was taken */
	shadow_says("{\"method\":\"update\",\"state\":{\"reported\":{\"1\":{\"2\":{\"3\":{\"4\":{\"5\":1}}}}}},\"version\":3}", NULL);
	shadow_says("{\"method\":\"update\",\"state\":{\"reported\":{\"a\":1}},\"version\":3}", "409");
	shadow_says("{\"method\":\"update\",\"state\":{\"reported\":{\"a\":1}},\"version\":-1}", NULL);
	shadow_says("{\"method\":\"update\",\"state\":{\"reported\":{\"a\":1}},\"version\":1}", NULL);
}

static void reports_are_merged_arrays_replaced_attributes_deleted(void **arg)
{
	json_t *j;

	go_online(1);
	shadow_says("{\"method\":\"update\",\"state\":{\"reported\":{\"a\":{\"x\":1,\"y\":2},\"l\":[1,2,3]}},\"version\":1}", NULL);
	shadow_says("{\"method\":\"update\",\"state\":{\"reported\":{\"a\":{\"y\":3},\"l\":[4]}},\"version\":2}", NULL);
	assert_string_equal(part("state", "reported"), "{\"a\":{\"x\":1,\"y\":3},\"l\":[4]}");
	shadow_says("{\"method\":\"delete\",\"state\":{\"reported\":{\"a\":{\"x\":\"null\"},\"l\":\"null\"}},\"version\":3}", NULL);
	assert_string_equal(part("state", "reported"), "{\"a\":{\"y\":3}}");
	assert_non_null(strstr(part("metadata", "reported"), "{\"a\":{\"y\":{\"timestamp\":"));
	say(UPDATE, "{\"method\":\"get\"}");
	j = said();
	assert_int_equal(json_integer_value(json_object_get(j, "version")), 3);
	assert_true(json_integer_value(json_object_get(j, "timestamp")) < 100000000000); /* seconds */
	assert_non_null(json_object_get(json_object_get(j, "payload"), "metadata"));
	json_decref(j);
	shadow_says("{\"method\":\"delete\",\"state\":{\"reported\":\"null\"}}", NULL); /* without a version */
	assert_string_equal(part("state", "reported"), "{}");
	assert_string_equal(part("metadata", "reported"), "{}");
}

static void what_is_desired_is_told_and_cleared(void **arg)
{
	json_t *j;

	assert_int_equal(set_desired("{\"on\":true,\"color\":\"red\"}", CLOUD_SHADOW_NEXT), 0);
	assert_int_equal(pushed, 0); /* it is away: it asks */
	go_online(1);
	assert_int_equal(set_desired("{\"color\":\"null\",\"n\":1}", CLOUD_SHADOW_NEXT), 0);
	assert_string_equal(part("state", "desired"), "{\"on\":true,\"n\":1}");
	j = said();
	assert_string_equal(json_string_value(json_object_get(j, "method")), "control");
	assert_int_equal(json_integer_value(json_object_get(j, "version")), 2);
	json_decref(j);
	assert_int_equal(set_desired("{\"n\":2}", 2), CW_EEXIST);
	assert_int_equal(set_desired("[1]", CLOUD_SHADOW_NEXT), CW_EINVAL);
	assert_int_equal(set_desired("{\"1\":{\"2\":{\"3\":{\"4\":{\"5\":{\"6\":1}}}}}}", CLOUD_SHADOW_NEXT), CW_ELIMIT);
	shadow_says("{\"method\":\"update\",\"state\":{\"desired\":\"null\"},\"version\":3}", NULL);
	assert_string_equal(part("state", "desired"), "{}");
	assert_int_equal(set_desired("{\"n\":2}", -1), 0);
	assert_int_equal(json_integer_value(json_object_get(cw_cloud_shadow_json(dev), "version")), 0);
	assert_int_equal(set_desired("null", CLOUD_SHADOW_NEXT), 0);
	assert_string_equal(part("state", "desired"), "{}");
}

static void the_rate_of_shadows_is_bounded(void **arg)
{
	unsigned i;

	cloud->conf.limits.documented = 1;
	cloud->conf.limits.publish_qos0 = 1000;
	go_online(1);
	for (i = 0; i < 25; i++)
		say(UPDATE, "{\"method\":\"get\"}");
	assert_int_equal(pushed, 20);
	cw_cloud_skip(cloud, 1000);
	say(UPDATE, "{\"method\":\"get\"}");
	assert_int_equal(pushed, 21);
}

/* Code of the last reply. */
static int code(void)
{
	json_t *j = said();
	int n = (int)json_integer_value(json_object_get(j, "code"));

	json_decref(j);
	return n;
}

static void a_configuration_is_asked_for_and_pushed(void **arg)
{
	static const char get[] = "{\"id\":\"1\",\"params\":{\"configScope\":\"product\",\"getType\":\"file\"}}";
	struct cw_msg msg = { "" };
	json_t *j;

	go_online(1);
	say(SYS "thing/config/get", get);
	assert_int_equal(code(), 6710);
	assert_int_equal(cw_cloud_config_push(cloud, product, NULL), CW_ENOENT);
	assert_int_equal(cw_cloud_config_set(cloud, product, "{", 1, &msg), CW_EINVAL);
	assert_int_equal(cw_cloud_config_set(cloud, product, "{\"a\":1}", 7, &msg), 0);
	say(SYS "thing/config/get", "{\"id\":\"1\",\"params\":{\"configScope\":\"device\",\"getType\":\"file\"}}");
	assert_int_equal(code(), 460);
	say(SYS "thing/config/get", get);
	j = said();
	assert_int_equal(json_integer_value(json_object_get(j, "code")), 200);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "data"), "configSize")), 7);
	assert_string_equal(json_string_value(json_object_get(json_object_get(j, "data"), "signMethod")), "Sha256");
	assert_int_equal(json_string_length(json_object_get(json_object_get(j, "data"), "sign")), 64);
	json_decref(j);
	assert_int_equal(cw_cloud_config_push(cloud, product, NULL), 1);
	assert_string_equal(last_topic, SYS "thing/config/push");
	assert_int_equal(cw_cloud_config_push(cloud, product, other), 0);
	assert_int_equal(cw_cloud_config_switch(cloud, product, 0), 0);
	say(SYS "thing/config/get", get);
	assert_int_equal(code(), 6713);
}

static void lines_are_kept_within_bounds(void **arg)
{
	static char post[20000];
	size_t n, i;
	json_t *j;

	go_online(1);
	n = (size_t)snprintf(post, sizeof(post), "{\"id\":\"1\",\"params\":[");
	for (i = 0; i < 40; i++)
		n += (size_t)snprintf(post + n, sizeof(post) - n, "%s{\"utcTime\":\"2020-03-06T15:15:27.464+0800\",\"logLevel\":\"ERROR\","
		                      "\"module\":\"m\",\"code\":\"%zu\",\"traceContext\":\"t\",\"logContent\":\"c\"}", i != 0 ? "," : "", i);
	(void)snprintf(post + n, sizeof(post) - n, "]}");
	for (i = 0; i < 20; i++)
		say(SYS "thing/log/post", post);
	assert_int_equal(code(), 200);
	j = cw_cloud_device_log_json(dev);
	assert_int_equal(json_array_size(json_object_get(j, "lines")), CLOUD_LOG_LINES);
	json_decref(j);
	(void)snprintf(post + n, sizeof(post) - n, ",{}]}");
	say(SYS "thing/log/post", post);
	assert_int_equal(code(), 460); /* 41 */
	say(SYS "thing/log/post", "{\"id\":\"1\",\"params\":[{\"logLevel\":\"ERROR\"}]}");
	assert_int_equal(code(), 460);
	say(SYS "_thing/diag/post", "{\"id\":\"1\",\"params\":{\"p\":{\"wifi\":{\"rssi\":-1}},\"model\":\"quantity=single|format=simple|time=now\"}}");
	assert_int_equal(code(), 200);
	say(SYS "_thing/diag/post", "{\"id\":\"1\",\"params\":{\"p\":[{},{}],\"model\":\"quantity=batch|time=history\"}}");
	assert_int_equal(code(), 200);
	say(SYS "_thing/diag/post", "{\"id\":\"1\",\"params\":{\"p\":3,\"model\":\"\"}}");
	assert_int_equal(code(), 460);
	j = cw_cloud_device_log_json(dev);
	assert_int_equal(json_array_size(json_object_get(j, "diagnosis")), 2);
	json_decref(j);
}

static void the_switch_of_the_log_is_asked_for_and_told(void **arg)
{
	go_online(1);
	say(SYS "thing/config/log/get", "{\"id\":\"1\",\"params\":{\"configScope\":\"device\",\"getType\":\"content\"}}");
	assert_non_null(strstr(last, "\"mode\":0"));
	assert_int_equal(cw_cloud_log_switch(cloud, dev, 1), CLOUD_DELIVERED);
	assert_string_equal(last_topic, SYS "thing/config/log/push");
	assert_non_null(strstr(last, "\"mode\":1"));
	assert_null(strstr(last, "\"method\""));
	say(SYS "thing/config/log/get", "{\"id\":\"1\",\"params\":{\"configScope\":\"device\",\"getType\":\"file\"}}");
	assert_int_equal(code(), 6717);
	say(SYS "thing/config/log/get", "{\"id\":\"1\",\"params\":{\"configScope\":\"product\",\"getType\":\"content\"}}");
	assert_int_equal(code(), 6718);
}

static void jobs_are_told_listed_and_reported(void **arg)
{
	json_t *document = json_pack("{s:s}", "do", "it"), *j;
	struct cw_msg msg = { "" };
	char id[24], text[200];

	assert_int_equal(cw_cloud_job_add(cloud, dev, document, id, &msg), 0);
	go_online(1);
	say(SYS "thing/job/get", "{\"id\":\"1\",\"params\":{\"taskId\":\"$list\"}}");
	assert_non_null(strstr(last, "\"tasks\":[{\"taskId\":"));
	assert_non_null(strstr(last, "QUEUED"));
	say(SYS "thing/job/get", "{\"id\":\"1\",\"params\":{\"taskId\":\"$next\"}}");
	assert_non_null(strstr(last, "\"jobDocument\":{\"do\":\"it\"}"));
	say(SYS "thing/job/get", "{\"id\":\"1\",\"params\":{\"taskId\":\"nobody\"}}");
	assert_non_null(strstr(last, "\"data\":{\"taskId\":\"nobody\"}"));
	(void)snprintf(text, sizeof(text), "{\"id\":\"1\",\"params\":{\"taskId\":\"%s\",\"status\":\"SUCCEEDED\",\"progress\":100}}", id);
	say(SYS "thing/job/update", text);
	assert_int_equal(code(), 200);
	say(SYS "thing/job/update", text);
	assert_int_equal(code(), 460); /* it has ended */
	j = json_object_get(cw_cloud_doc(dev, CLOUD_DOC_JOBS), id);
	assert_string_equal(json_string_value(json_object_get(j, "status")), "SUCCEEDED");
	assert_int_equal(cw_cloud_job_remove(cloud, dev, id), 0);
	assert_int_equal(cw_cloud_job_remove(cloud, dev, id), CW_ENOENT);
	assert_int_equal(cw_cloud_job_add(cloud, dev, document, id, &msg), 0);
	assert_string_equal(last_topic, SYS "thing/job/notify");
	assert_int_equal(cw_cloud_job_remove(cloud, dev, id), 0);
	assert_non_null(strstr(last, "CANCELLED"));
	assert_int_equal(cw_cloud_bootstrap_notify(cloud, dev, 0), CLOUD_DELIVERED);
	assert_int_equal(cw_cloud_bootstrap_notify(cloud, other, 0), CLOUD_OFFLINE);
	json_decref(document);
}

static void every_failed_allocation_is_survived(void **arg)
{
	struct cw_msg msg = { "" };
	long n;
	int rc = CW_ENOMEM;

	for (n = 0; rc != 0; n++) {
		assert_true(n < 20);
		cw_mem_fail_at(n);
		rc = cw_cloud_config_set(cloud, product, "{}", 2, &msg);
		cw_mem_fail_at(-1);
	}
	assert_true(n > 2);
	go_online(1);
	cw_mem_fail_at(0); /* the log of messages does without */
	say(SYS "thing/log/post", "{\"id\":\"1\",\"params\":[{\"utcTime\":\"\",\"logLevel\":\"\",\"module\":\"\",\"code\":\"\",\"logContent\":\"\"}]}");
	cw_mem_fail_at(1);
	say(SYS "thing/log/post", "{\"id\":\"1\",\"params\":[{\"utcTime\":\"\",\"logLevel\":\"\",\"module\":\"\",\"code\":\"\",\"logContent\":\"\"}]}");
	cw_mem_fail_at(-1);
	say(SYS "thing/log/post", "{\"id\":\"1\",\"params\":[{\"utcTime\":\"\",\"logLevel\":\"\",\"module\":\"\",\"code\":\"\",\"logContent\":\"\"}]}");
	assert_int_equal(code(), 200);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(every_wrong_request_has_its_code),
		T(reports_are_merged_arrays_replaced_attributes_deleted),
		T(what_is_desired_is_told_and_cleared),
		T(the_rate_of_shadows_is_bounded),
		T(a_configuration_is_asked_for_and_pushed),
		T(lines_are_kept_within_bounds),
		T(the_switch_of_the_log_is_asked_for_and_told),
		T(jobs_are_told_listed_and_reported),
		T(every_failed_allocation_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
