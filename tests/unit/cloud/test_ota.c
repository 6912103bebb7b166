/* Packages, batches and tasks: what is pushed when, and what ends a task how. */
#include "cloud/core/ota/ota.h"
#include "ota_fixture.h"

#define INFORM   "/ota/device/inform/" PK "/dev-0001"
#define PROGRESS "/ota/device/progress/" PK "/dev-0001"
#define UPGRADE  "/ota/device/upgrade/" PK "/dev-0001"
#define GET      "/sys/" PK "/dev-0001/thing/ota/firmware/get"
#define DOWNLOAD "/sys/" PK "/dev-0001/thing/file/download"

static struct cloud_package *package(const struct cloud_package_spec *spec, const char *bytes)
{
	struct cloud_package *k = NULL;
	struct cw_msg msg = { "" };

	assert_int_equal(cw_cloud_package_add(cloud, product, spec, &k, &msg), 0);
	assert_int_equal(cw_cloud_package_file(cloud, k, "app.bin", bytes, strlen(bytes), &msg), 0);
	return k;
}

static struct cloud_package *version2(void)
{
	return package(&(struct cloud_package_spec){ .version = "2.0.0" }, "123456789");
}

/* All devices, or those of a JSON list. */
static struct cloud_ota_batch *start(struct cloud_package *k, const char *devices, unsigned timeout_minutes)
{
	json_t *list = devices != NULL ? json_loads(devices, 0, NULL) : NULL;
	struct cloud_batch_spec spec = { .devices = list, .timeout_minutes = timeout_minutes };
	struct cloud_ota_batch *b = NULL;
	struct cw_msg msg = { "" };

	assert_int_equal(cw_cloud_ota_start(cloud, k, &spec, &b, &msg), 0);
	json_decref(list);
	return b;
}

/* State of the first device's newest task. */
static const char *state(void)
{
	struct cw_list *e = cw_list_first(&dev->ota_tasks);
	json_t *list = cw_cloud_ota_device_json(cloud, dev); /* looks at the clock */

	json_decref(list);
	return e != NULL ? cw_cloud_task_name(cw_container_of(e, struct cloud_task, of_device)->state) : "none";
}

static void the_push_says_what_the_documents_say(void **arg)
{
	json_t *j, *data, *url;

	go_online(1);
	start(version2(), NULL, 0);
	assert_int_equal(pushed, 1); /* the other device is not there */
	assert_string_equal(last_topic, UPGRADE);
	j = said();
	data = json_object_get(j, "data");
	assert_true(json_is_string(json_object_get(j, "id")));
	assert_string_equal(json_string_value(json_object_get(j, "code")), "1000");
	assert_string_equal(json_string_value(json_object_get(j, "message")), "success");
	assert_int_equal(json_integer_value(json_object_get(data, "size")), 9);
	assert_string_equal(json_string_value(json_object_get(data, "version")), "2.0.0");
	assert_string_equal(json_string_value(json_object_get(data, "signMethod")), "Md5");
	assert_string_equal(json_string_value(json_object_get(data, "sign")), "25f9e794323b453885f5181f1b624d0b");
	assert_string_equal(json_string_value(json_object_get(data, "md5")), "25f9e794323b453885f5181f1b624d0b");
	url = json_object_get(data, "url");
	assert_ptr_equal(strstr(json_string_value(url), "https://127.0.0.1:8443/files/"), json_string_value(url));
	assert_null(json_object_get(data, "module"));
	assert_null(json_object_get(data, "isDiff"));
	assert_null(json_object_get(data, "extData"));
	assert_int_equal(json_object_size(data), 6);
	json_decref(j);
	assert_string_equal(state(), "NOTIFIED");
}

static void modules_signs_tags_and_differences_are_named(void **arg)
{
	json_t *ext = json_pack("{s:s}", "a", "1"), *tags = json_pack("{s:s}", "b", "2"), *j, *data;
	struct cloud_package_spec spec = { .module = "MCU", .version = "2", .source_version = "1", .sign_method = "sha256",
		                           .ext = ext };
	struct cloud_batch_spec batch = { .tags = tags };
	struct cloud_ota_batch *b = NULL;
	struct cw_msg msg = { "" };

	go_online(1);
	say(INFORM, "{\"id\":\"1\",\"params\":{\"version\":\"1\",\"module\":\"MCU\"}}");
	cloud->conf.switches.ota_later = 1;
	assert_int_equal(cw_cloud_ota_start(cloud, package(&spec, "x"), &batch, &b, &msg), 0);
	j = said();
	data = json_object_get(j, "data");
	assert_true(json_is_integer(json_object_get(j, "id")));
	assert_string_equal(json_string_value(json_object_get(data, "signMethod")), "SHA256");
	assert_int_equal(json_string_length(json_object_get(data, "sign")), 64);
	assert_null(json_object_get(data, "md5"));
	assert_int_equal(json_integer_value(json_object_get(data, "isDiff")), 1);
	assert_string_equal(json_string_value(json_object_get(data, "module")), "MCU");
	assert_string_equal(json_string_value(json_object_get(json_object_get(data, "extData"), "a")), "1");
	assert_string_equal(json_string_value(json_object_get(json_object_get(data, "extData"), "b")), "2");
	json_decref(j);
	json_decref(ext);
	json_decref(tags);
	j = cw_cloud_ota_batch_json(cloud, b);
	assert_int_equal(json_integer_value(json_object_get(j, "total")), 1); /* the other never reported */
	json_decref(j);
}

static void only_the_version_is_success(void **arg)
{
	go_online(1);
	start(version2(), NULL, 0);
	say(PROGRESS, "{\"id\":\"1\",\"params\":{\"step\":\"50\",\"desc\":\"half\",\"module\":\"MCU\"}}");
	assert_string_equal(state(), "NOTIFIED"); /* another module */
	say(PROGRESS, "{\"id\":\"1\",\"params\":{\"step\":\"101\"}}");
	say(PROGRESS, "{\"id\":\"1\",\"params\":{\"step\":\"x\"}}");
	assert_string_equal(state(), "NOTIFIED");
	say(PROGRESS, "{\"id\":\"1\",\"params\":{\"step\":\"50\",\"desc\":\"half\"}}");
	assert_string_equal(state(), "IN_PROGRESS");
	say(INFORM, "{\"id\":\"1\",\"params\":{\"version\":\"1.0.0\"}}");
	assert_string_equal(state(), "IN_PROGRESS"); /* it started again half-way */
	say(PROGRESS, "{\"id\":\"1\",\"params\":{\"step\":\"100\",\"desc\":\"ota success\"}}");
	assert_string_equal(state(), "IN_PROGRESS");
	say(INFORM, "{\"id\":\"1\",\"params\":{\"version\":\"2.0.0\",\"module\":\"default\"}}");
	assert_string_equal(state(), "SUCCEEDED");
}

static void another_version_after_the_last_step_is_failure(void **arg)
{
	go_online(1);
	start(version2(), NULL, 0);
	say(PROGRESS, "{\"id\":\"1\",\"params\":{\"step\":\"100\"}}");
	say(INFORM, "{\"id\":\"1\",\"params\":{\"version\":\"1.0.0\"}}");
	assert_string_equal(state(), "FAILED");
	say(INFORM, "{\"id\":\"1\",\"params\":{\"version\":\"2.0.0\"}}");
	assert_string_equal(state(), "FAILED"); /* it has ended */
}

static void negative_steps_and_time_are_failures(void **arg)
{
	struct cloud_package *k = version2();
	const char *const steps[] = { "-1", "-2", "-3", "-4" };
	char text[80];
	size_t i;

	go_online(1);
	for (i = 0; i < 4; i++) {
		start(k, NULL, 0);
		(void)snprintf(text, sizeof(text), "{\"id\":\"1\",\"params\":{\"step\":\"%s\",\"desc\":\"why\"}}", steps[i]);
		say(PROGRESS, text);
		assert_string_equal(state(), "FAILED");
	}
	start(k, NULL, 5);
	say(PROGRESS, "{\"id\":\"1\",\"params\":{\"step\":\"100\"}}");
	cw_cloud_skip(cloud, 4 * 60000);
	assert_string_equal(state(), "IN_PROGRESS");
	cw_cloud_skip(cloud, 61000);
	assert_string_equal(state(), "FAILED");
}

static void who_was_away_is_told_when_online_and_again_each_time(void **arg)
{
	start(version2(), NULL, 0);
	assert_int_equal(pushed, 0);
	assert_string_equal(state(), "QUEUED");
	go_online(1);
	wait_push(0);
	assert_string_equal(last_topic, UPGRADE);
	say(PROGRESS, "{\"id\":\"1\",\"params\":{\"step\":\"10\"}}");
	cw_cloud_link_down(cloud, &link_of_dev, "gone");
	go_online(1);
	wait_push(1);
	say(PROGRESS, "{\"id\":\"1\",\"params\":{\"step\":\"100\"}}");
	cw_cloud_link_down(cloud, &link_of_dev, "gone");
	go_online(1); /* about to report its version: not told a third time */
	say(GET, "{\"id\":\"7\",\"version\":\"1.0\",\"params\":{\"module\":\"MCU\"},\"method\":\"thing.ota.firmware.get\"}");
	assert_int_equal(pushed, 3);
	assert_string_equal(last, "{\"id\":\"7\",\"code\":200,\"data\":{},\"message\":\"success\",\"method\":\"thing.ota.firmware.get\","
	                          "\"version\":\"1.0\"}");
}

static void who_subscribes_late_is_told_then(void **arg)
{
	start(version2(), NULL, 0);
	go_online(0);
	assert_int_equal(cw_cloud_subscribe(cloud, &link_of_dev, UPGRADE, strlen(UPGRADE), 1), 1);
	assert_int_equal(pushed, 0); /* SUBACK first */
	wait_push(0);
	assert_string_equal(last_topic, UPGRADE);
	assert_string_equal(state(), "NOTIFIED");
}

static void a_question_is_answered_with_the_fields_of_the_push(void **arg)
{
	json_t *j;

	go_online(1);
	start(version2(), NULL, 0);
	say(GET, "{\"id\":\"8\",\"params\":{}}");
	j = said();
	assert_int_equal(json_integer_value(json_object_get(j, "code")), 200);
	assert_string_equal(json_string_value(json_object_get(json_object_get(j, "data"), "version")), "2.0.0");
	json_decref(j);
	say("/ota/device/request/" PK "/dev-0001", "{\"id\":9,\"params\":{}}");
	assert_string_equal(last_topic, "/ota/device/request/" PK "/dev-0001");
	j = said();
	assert_int_equal(json_integer_value(json_object_get(j, "id")), 9);
	assert_string_equal(json_string_value(json_object_get(j, "code")), "1000");
	json_decref(j);
}

static void a_newer_batch_takes_the_place_of_an_older(void **arg)
{
	struct cloud_ota_batch *first = start(version2(), "[\"dev-0001\",\"dev-0001\"]", 0);
	struct cw_msg msg = { "" };
	json_t *j;

	start(package(&(struct cloud_package_spec){ .version = "3.0.0" }, "x"), NULL, 0);
	j = cw_cloud_ota_batch_json(cloud, first);
	assert_int_equal(json_integer_value(json_object_get(j, "total")), 1);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "states"), "CANCELED")), 1);
	assert_string_equal(json_string_value(json_object_get(j, "status")), "COMPLETED");
	json_decref(j);
	assert_int_equal(cw_cloud_ota_cancel(cloud, first, NULL), CW_ENOENT);
	assert_int_equal(cw_cloud_package_delete(cloud, first->package, &msg), 0);
	assert_string_equal(state(), "QUEUED"); /* the newer one's */
}

static void what_is_unfinished_holds_its_package(void **arg)
{
	struct cloud_ota_batch *b = start(version2(), NULL, 0);
	struct cloud_package *k = b->package;
	struct cw_msg msg = { "" };
	json_t *j;

	assert_int_equal(cw_cloud_package_delete(cloud, k, &msg), CW_EBUSY);
	assert_int_equal(cw_cloud_package_file(cloud, k, "more", "x", 1, &msg), CW_EBUSY);
	assert_int_equal(cw_cloud_ota_cancel(cloud, b, other), 0);
	assert_int_equal(cw_cloud_ota_cancel(cloud, b, other), CW_ENOENT);
	assert_int_equal(cw_cloud_ota_cancel(cloud, b, NULL), 0);
	j = cw_cloud_ota_batch_json(cloud, b);
	assert_string_equal(json_string_value(json_object_get(j, "status")), "CANCELED");
	json_decref(j);
	cw_cloud_device_delete(cloud, other);
	j = cw_cloud_ota_tasks_json(cloud, b);
	assert_int_equal(json_array_size(j), 1);
	json_decref(j);
	assert_int_equal(cw_cloud_package_delete(cloud, k, &msg), 0);
	assert_int_equal(cloud->ota->bytes, 0);
}

static void impossible_packages_are_refused(void **arg)
{
	struct cloud_package *k = NULL;
	struct cw_msg msg = { "" };
	const struct cloud_package_spec bad[] = {
		{ .version = NULL }, { .version = "" }, { .version = "a b" }, { .version = "1", .module = "a/b" },
		{ .version = "1", .sign_method = "crc" }, { .version = "1", .protocol = "ftp" },
	};
	json_t *names = json_loads("[\"dev-9999\"]", 0, NULL);
	struct cloud_batch_spec spec = { .devices = names };
	struct cloud_ota_batch *b;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(cw_cloud_package_add(cloud, product, &bad[i], &k, &msg), CW_EINVAL);
	k = version2();
	assert_int_equal(cw_cloud_package_add(cloud, product, &(struct cloud_package_spec){ .version = "2.0.0" }, &k, &msg),
	                 CW_EEXIST);
	cloud->conf.limits.package_bytes = 10;
	assert_int_equal(cw_cloud_package_file(cloud, k, "b", "xx", 2, &msg), CW_ELIMIT);
	assert_int_equal(cw_cloud_package_file(cloud, k, "b", "", 0, &msg), CW_EINVAL);
	assert_int_equal(cw_cloud_ota_start(cloud, k, &spec, &b, &msg), CW_ENOENT);
	json_decref(names);
}

static void several_files_are_listed(void **arg)
{
	struct cloud_package *k = version2();
	struct cw_msg msg = { "" };
	json_t *j, *files;

	assert_int_equal(cw_cloud_package_file(cloud, k, "second.bin", "xy", 2, &msg), 0);
	go_online(1);
	start(k, NULL, 0);
	j = said();
	files = json_object_get(json_object_get(j, "data"), "files");
	assert_int_equal(json_array_size(files), 2);
	assert_string_equal(json_string_value(json_object_get(json_array_get(files, 1), "fileName")), "second.bin");
	assert_int_equal(json_integer_value(json_object_get(json_array_get(files, 1), "fileSize")), 2);
	assert_non_null(json_object_get(json_array_get(files, 1), "fileUrl"));
	assert_non_null(json_object_get(json_array_get(files, 1), "fileMd5"));
	assert_null(json_object_get(json_object_get(j, "data"), "url"));
	json_decref(j);
}

/* Bytes as hex digits. */
static const char *hex(void)
{
	static char text[2048];
	size_t i;

	for (i = 0; i < last_len && 2 * i + 2 < sizeof(text); i++)
		(void)snprintf(text + 2 * i, 3, "%02x", (unsigned char)last[i]);
	return text;
}

static void blocks_come_as_in_the_vectors(void **arg)
{
	json_t *vectors = json_load_file("tests/vectors/platform-mqtt.json", 0, NULL);
	json_t *frame = json_object_get(json_object_get(vectors, "file_download"), "reply_frame");
	struct cloud_package *k = package(&(struct cloud_package_spec){ .version = "2", .protocol = "mqtt" }, "123456789");
	char ask[200];

	assert_int_equal(cw_cloud_crc16((const uint8_t *)"123456789", 9), 0xBB3D);
	go_online(1);
	start(k, NULL, 0);
	assert_non_null(strstr(last, "\"dProtocol\":\"mqtt\""));
	assert_non_null(strstr(last, "\"streamFileId\":1"));
	assert_null(strstr(last, "\"url\""));
	(void)snprintf(ask, sizeof(ask), "{\"id\":\"3\",\"params\":{\"fileInfo\":{\"streamId\":%u,\"fileId\":1},"
	               "\"fileBlock\":{\"size\":5120,\"offset\":0}}}", k->id);
	say(DOWNLOAD, ask);
	assert_string_equal(last_topic, DOWNLOAD "_reply");
	assert_string_equal(hex(), json_string_value(json_object_get(frame, "frame_hex")));
	(void)snprintf(ask, sizeof(ask), "{\"id\":\"4\",\"params\":{\"fileToken\":\"t\",\"fileInfo\":{\"streamId\":%u,\"fileId\":1},"
	               "\"fileBlock\":{\"size\":4,\"offset\":8}}}", k->id);
	say(DOWNLOAD, ask);
	assert_non_null(strstr(last + 2, "\"fileToken\":\"t\""));
	assert_non_null(strstr(last + 2, "\"bSize\":1,\"bOffset\":8"));
	assert_int_equal(last[last_len - 3], '9');
	json_decref(vectors);
}

static void a_block_that_is_not_there_is_a_header_only(void **arg)
{
	struct cloud_package *k = package(&(struct cloud_package_spec){ .version = "2", .protocol = "mqtt" }, "123456789");
	const char *const block[] = { "\"size\":1,\"offset\":9", "\"size\":0,\"offset\":0", "\"size\":1,\"offset\":-1",
		                      "\"size\":9000000,\"offset\":0", "\"size\":\"1\",\"offset\":0" };
	char ask[200];
	size_t i;

	go_online(1);
	start(k, "[\"dev-0001\"]", 0);
	for (i = 0; i < sizeof(block) / sizeof(block[0]); i++) {
		(void)snprintf(ask, sizeof(ask), "{\"id\":\"3\",\"params\":{\"fileInfo\":{\"streamId\":%u,\"fileId\":1},"
		               "\"fileBlock\":{%s}}}", k->id, block[i]);
		say(DOWNLOAD, ask);
		assert_int_equal((size_t)(unsigned char)last[0] << 8 | (unsigned char)last[1], last_len - 2);
		assert_non_null(strstr(last + 2, "\"code\":460"));
	}
	(void)snprintf(ask, sizeof(ask), "{\"id\":\"3\",\"params\":{\"fileInfo\":{\"streamId\":%u,\"fileId\":2},"
	               "\"fileBlock\":{\"size\":1,\"offset\":0}}}", k->id);
	say(DOWNLOAD, ask);
	assert_non_null(strstr(last + 2, "\"code\":460"));
	say(DOWNLOAD, "nonsense");
	assert_non_null(strstr(last + 2, "\"code\":6207"));
}

static void every_failed_allocation_is_survived(void **arg)
{
	struct cloud_ota_batch *b = NULL;
	struct cloud_batch_spec spec = { .timeout_minutes = 0 };
	struct cw_msg msg = { "" };
	long n;
	int rc = CW_ENOMEM;

	go_online(1);
	for (n = 0; rc != 0; n++) {
		struct cloud_package *k = NULL;

		assert_true(n < 50);
		cw_mem_fail_at(n);
		rc = cw_cloud_package_add(cloud, product, &(struct cloud_package_spec){ .version = "2" }, &k, &msg);
		if (rc == 0)
			rc = cw_cloud_package_file(cloud, k, "f", "123456789", 9, &msg);
		if (rc == 0)
			rc = cw_cloud_ota_start(cloud, k, &spec, &b, &msg);
		cw_mem_fail_at(-1);
		if (rc < 0 && k != NULL)
			assert_int_equal(cw_cloud_package_delete(cloud, k, &msg), 0);
	}
	assert_true(n > 5);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_push_says_what_the_documents_say),
		T(modules_signs_tags_and_differences_are_named),
		T(only_the_version_is_success),
		T(another_version_after_the_last_step_is_failure),
		T(negative_steps_and_time_are_failures),
		T(who_was_away_is_told_when_online_and_again_each_time),
		T(who_subscribes_late_is_told_then),
		T(a_question_is_answered_with_the_fields_of_the_push),
		T(a_newer_batch_takes_the_place_of_an_older),
		T(what_is_unfinished_holds_its_package),
		T(impossible_packages_are_refused),
		T(several_files_are_listed),
		T(blocks_come_as_in_the_vectors),
		T(a_block_that_is_not_there_is_a_header_only),
		T(every_failed_allocation_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
