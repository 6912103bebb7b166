/* The core with a channel that only notes what it is given: no MQTT, no socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cloud/core/cloud.h"
#include "cloud/core/login/sign.h"
#include "cloud/core/traffic/msglog.h"

#define PK "a1EmuGw0001"
#define SUB_PK "a1EmuSub001"

struct fixture {
	struct cw_worker *worker;
	struct cw_cloud *cloud;
	struct cloud_product *product, *subs;
	struct cloud_device *gw, *sub;
	struct cloud_link link, other;
	unsigned pushed, forgotten, stored_back, closed;
	char topic[256], payload[1024];
};

static struct fixture *fix;

static void on_push(struct cloud_link *l, struct cloud_device *to, struct cloud_msg *msg, int dup)
{
	fix->pushed++;
	(void)snprintf(fix->topic, sizeof(fix->topic), "%s", msg->topic);
	(void)snprintf(fix->payload, sizeof(fix->payload), "%s", cw_cloud_msg_payload(msg));
}

static void on_close(struct cloud_link *l, const char *reason)
{
	assert_null(l->owner); /* the core has let go already */
	fix->closed++;
}

static void on_recheck(struct cloud_link *l)
{
}

static void on_forget(struct cloud_link *l, struct cloud_device *member, int store)
{
	fix->forgotten++;
	fix->stored_back += store != 0;
}

static const struct cloud_link_ops ops = {
	.channel = "test", .push = on_push, .close = on_close, .recheck = on_recheck, .forget = on_forget,
};

static int stock(struct fixture *f, struct cw_msg *msg)
{
	int rc = cw_cloud_product_add(f->cloud, PK, NULL, CLOUD_NODE_GATEWAY, &f->product, msg);

	if (rc == 0)
		rc = cw_cloud_product_add(f->cloud, SUB_PK, NULL, CLOUD_NODE_SUBDEVICE, &f->subs, msg);
	if (rc == 0)
		rc = cw_cloud_device_add(f->cloud, f->product, "gw-0001", "gwsecret", &f->gw, msg);
	if (rc == 0)
		rc = cw_cloud_device_add(f->cloud, f->subs, "sub-0001", "subsecret", &f->sub, msg);
	return rc;
}

static int setup(void **state)
{
	struct cloud_conf conf;
	struct cw_msg msg = { "" };

	fix = cw_zalloc(sizeof(*fix));
	*state = fix;
	cw_log_set_level(CW_LOG_ERROR);
	cw_cloud_conf_default(&conf);
	if (cw_worker_new("t", 0, &fix->worker) < 0 || cw_cloud_new(fix->worker, &conf, &fix->cloud) < 0 || stock(fix, &msg) < 0)
		return -1;
	cw_cloud_link_init(fix->cloud, &fix->link, &ops, 0);
	cw_cloud_link_init(fix->cloud, &fix->other, &ops, 0);
	return 0;
}

static int teardown(void **state)
{
	cw_mem_fail_at(-1);
	cw_cloud_link_down(fix->cloud, &fix->link, "over");
	cw_cloud_link_down(fix->cloud, &fix->other, "over");
	cw_cloud_link_fini(&fix->link);
	cw_cloud_link_fini(&fix->other);
	cw_cloud_free(fix->cloud);
	cw_worker_free(fix->worker);
	cw_free(fix);
	return cw_mem_live() == 0 ? 0 : -1;
}

static int up(struct cloud_link *l, int clean)
{
	struct cloud_login login = { .client_id = "id", .client_id_len = 2, .clean = clean, .ss = 1 };

	return cw_cloud_link_up(fix->cloud, l, fix->gw, &login);
}

static enum cloud_verdict publish(const char *topic, const char *payload)
{
	return cw_cloud_publish(fix->cloud, &fix->link, topic, strlen(topic), payload, strlen(payload), 0);
}

/* Topology add and login of the sub-device, as its gateway would send them. */
static void bring_sub_online(void)
{
	static const char content[] = "clientIdcdeviceNamesub-0001productKey" SUB_PK "timestamp1";
	char sign[65], text[512];

	cw_cloud_hmac_hex(CLOUD_HMAC_SHA256, "subsecret", content, sizeof(content) - 1, sign);
	(void)snprintf(text, sizeof(text), "{\"id\":\"1\",\"params\":[{\"productKey\":\"" SUB_PK "\",\"deviceName\":\"sub-0001\","
	               "\"clientId\":\"c\",\"timestamp\":\"1\",\"signmethod\":\"hmacSha256\",\"sign\":\"%s\"}]}", sign);
	assert_int_equal(publish("/sys/" PK "/gw-0001/thing/topo/add", text), CLOUD_TAKEN);
	(void)snprintf(text, sizeof(text), "{\"id\":\"2\",\"params\":{\"productKey\":\"" SUB_PK "\",\"deviceName\":\"sub-0001\","
	               "\"clientId\":\"c\",\"timestamp\":\"1\",\"signMethod\":\"hmacSha256\",\"sign\":\"%s\"}}", sign);
	assert_int_equal(publish("/ext/session/" PK "/gw-0001/combine/login", text), CLOUD_TAKEN);
	assert_non_null(strstr(fix->payload, "\"code\":200"));
	assert_ptr_equal(fix->sub->link, &fix->link);
}

static void a_second_link_of_one_identity_closes_the_first(void **state)
{
	assert_int_equal(up(&fix->link, 1), 0);
	assert_int_equal(up(&fix->other, 1), 0);
	assert_int_equal(fix->closed, 1);
	assert_ptr_equal(fix->gw->link, &fix->other);
	assert_null(fix->link.owner);
}

static void members_go_with_their_link(void **state)
{
	up(&fix->link, 1);
	bring_sub_online();
	assert_string_equal(cw_cloud_device_status(fix->cloud, fix->sub), "ONLINE");
	cw_cloud_link_down(fix->cloud, &fix->link, "gone");
	assert_string_equal(cw_cloud_device_status(fix->cloud, fix->sub), "OFFLINE");
	assert_int_equal(fix->link.member_count, 0);
	assert_int_equal(fix->forgotten, 2);
	assert_int_equal(fix->stored_back, 0); /* both were clean */
}

static void what_is_stored_comes_once_and_not_after_seven_days(void **state)
{
	static const char topic[] = "/sys/" PK "/gw-0001/thing/service/x";
	const int64_t wall = 1700000000000;

	cw_clock_fake(1000, wall);
	up(&fix->link, 0);
	cw_cloud_link_down(fix->cloud, &fix->link, "away");
	assert_int_equal(cw_cloud_send(fix->cloud, fix->gw, topic, "1", 1, 1, 0), CLOUD_STORED);
	assert_int_equal(cw_cloud_send(fix->cloud, fix->gw, topic, "0", 1, 0, 0), CLOUD_OFFLINE);
	assert_int_equal(up(&fix->link, 0), 1);
	cw_cloud_link_ready(fix->cloud, fix->gw);
	assert_int_equal(fix->pushed, 1);
	cw_cloud_link_down(fix->cloud, &fix->link, "away");
	assert_int_equal(cw_cloud_send(fix->cloud, fix->gw, topic, "2", 1, 1, 0), CLOUD_STORED);
	cw_clock_fake(2000, wall + 7LL * 24 * 3600 * 1000 + 1);
	up(&fix->link, 0);
	cw_cloud_link_ready(fix->cloud, fix->gw);
	assert_int_equal(fix->pushed, 1);
	cw_clock_fake(0, 0);
}

static void stored_messages_are_bounded(void **state)
{
	static const char topic[] = "/sys/" PK "/gw-0001/thing/service/x";
	unsigned i;

	up(&fix->link, 0);
	cw_cloud_link_down(fix->cloud, &fix->link, "away");
	for (i = 0; i < CLOUD_STORED_MAX + 10; i++)
		cw_cloud_send(fix->cloud, fix->gw, topic, "x", 1, 1, 0);
	assert_int_equal(fix->gw->stored_count, CLOUD_STORED_MAX);
}

static void the_log_keeps_the_newest_within_its_bytes(void **state)
{
	struct cloud_log_note note = { .device = "d", .topic = "/t", .topic_len = 2, .outcome = "taken" };
	struct cloud_log_filter all = { .since = 0 };
	struct cloud_log *log = NULL;
	char big[400] = "";
	json_t *list;
	int i;

	assert_int_equal(cw_cloud_log_new(100, 4096, &log), 0);
	note.payload = big;
	note.len = sizeof(big);
	for (i = 0; i < 50; i++)
		cw_cloud_log_add(log, &note);
	list = cw_cloud_log_list(log, &all, 1000);
	assert_in_range(json_array_size(list), 5, 10);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(list, json_array_size(list) - 1), "seq")), 50);
	json_decref(list);
	cw_cloud_log_free(log);
}

static void every_failed_allocation_is_survived(void **state)
{
	static const char topic[] = "/sys/" PK "/gw-0001/thing/service/x", filter[] = "/" PK "/gw-0001/user/get";
	int nth;

	for (nth = 0;; nth++) {
		struct cloud_conf conf;
		struct cw_msg msg = { "" };
		struct fixture f = { .worker = fix->worker };
		struct cloud_link link;
		struct cloud_login login = { .client_id = "id", .client_id_len = 2 };
		long before = cw_mem_live();
		int failed, rc;

		cw_cloud_conf_default(&conf);
		conf.keep_messages = 4;
		cw_mem_fail_at(nth);
		rc = cw_cloud_new(fix->worker, &conf, &f.cloud);
		if (rc == 0)
			rc = stock(&f, &msg);
		if (rc == 0) {
			cw_cloud_link_init(f.cloud, &link, &ops, 0);
			(void)cw_cloud_link_up(f.cloud, &link, f.gw, &login);
			(void)cw_cloud_subscribe(f.cloud, &link, filter, sizeof(filter) - 1, 1);
			(void)cw_cloud_send(f.cloud, f.gw, topic, "x", 1, 1, CLOUD_ALWAYS);
			cw_cloud_link_down(f.cloud, &link, "over");
			(void)cw_cloud_send(f.cloud, f.gw, topic, "x", 1, 1, CLOUD_ALWAYS);
			cw_cloud_device_delete(f.cloud, f.sub);
			cw_cloud_link_fini(&link);
		} else {
			assert_int_equal(rc, CW_ENOMEM);
		}
		failed = cw_mem_failed();
		cw_mem_fail_at(-1);
		cw_cloud_free(f.cloud);
		assert_int_equal(cw_mem_live(), before);
		if (!failed)
			break;
	}
	assert_true(nth > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_second_link_of_one_identity_closes_the_first, setup, teardown),
		cmocka_unit_test_setup_teardown(members_go_with_their_link, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_stored_comes_once_and_not_after_seven_days, setup, teardown),
		cmocka_unit_test_setup_teardown(stored_messages_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(the_log_keeps_the_newest_within_its_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(every_failed_allocation_is_survived, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
