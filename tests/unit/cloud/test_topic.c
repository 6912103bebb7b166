/* Topics: owner and kind of each form the platform has, and the matching of filters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cloud/core/traffic/topic.h"

static void each_form_names_its_owner_and_the_rest(void **state)
{
	static const struct {
		const char *topic;
		enum cloud_topic_kind kind;
		const char *rest;
	} good[] = {
		{ "/sys/pk/dn/thing/event/property/post", CLOUD_TOPIC_SYS, "thing/event/property/post" },
		{ "/ext/session/pk/dn/combine/login", CLOUD_TOPIC_SESSION, "combine/login" },
		{ "/ext/ntp/pk/dn/request", CLOUD_TOPIC_NTP, "request" },
		{ "/ext/error/pk/dn", CLOUD_TOPIC_ERROR, "" },
		{ "/ota/device/inform/pk/dn", CLOUD_TOPIC_OTA, "inform" },
		{ "/shadow/update/pk/dn", CLOUD_TOPIC_SHADOW, "update" },
		{ "/pk/dn/user/get", CLOUD_TOPIC_CUSTOM, "user/get" },
		{ "/pk/dn/update", CLOUD_TOPIC_CUSTOM, "update" },
		{ "/ext/rrpc/17/pk/dn/user/get", CLOUD_TOPIC_RRPC, "/pk/dn/user/get" },
		{ "/ext/rrpc/+/sys/pk/dn/thing/service/x", CLOUD_TOPIC_RRPC, "/sys/pk/dn/thing/service/x" },
	};
	struct cloud_topic t;
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		cw_cloud_topic_parse(good[i].topic, strlen(good[i].topic), &t);
		assert_int_equal(t.kind, good[i].kind);
		assert_true(cw_cloud_text_is(&t.pk, "pk"));
		assert_true(cw_cloud_text_is(&t.dn, "dn"));
		assert_true(cw_cloud_text_is(&t.rest, good[i].rest));
	}
}

static void what_names_no_device_is_bad(void **state)
{
	static const char *const bad[] = { "", "/", "//", "pk/dn/user", "/pk", "/pk/dn", "/pk/dn/", "/+/dn/user", "/pk/+/user", "/#",
		                           "/sys/pk", "/sys//dn/x", "/ext/session/pk", "/ext/error/pk/dn/more", "/ext/other/pk/dn",
		                           "/ota/device/inform/pk", "/ota/other/inform/pk/dn", "/ota/device/inform/pk/dn/more",
		                           "/shadow/update/pk", "/broadcast/pk", "/ext/rrpc/1", "/ext/rrpc//pk/dn/user",
		                           "/ext/rrpc/1/ext/rrpc/2/pk/dn/user" };
	struct cloud_topic t;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cw_cloud_topic_parse(bad[i], strlen(bad[i]), &t);
		if (t.kind != CLOUD_TOPIC_BAD)
			fail_msg("%s", bad[i]);
	}
}

static void filters_match_as_mqtt_says(void **state)
{
	static const struct {
		const char *filter, *topic;
		int matches;
	} cases[] = {
		{ "/a/b", "/a/b", 1 }, { "/a/b", "/a/bc", 0 }, { "/a/+", "/a/b", 1 }, { "/a/+", "/a/b/c", 0 },
		{ "/a/+", "/a/", 1 }, { "/a/#", "/a/b/c", 1 }, { "/a/#", "/a", 1 }, { "#", "/a", 1 }, { "+", "/a", 0 },
		{ "/+/b", "/a/b", 1 }, { "/a", "/a/b", 0 }, { "/a/b", "/a", 0 },
		/* one level covers no second */
		{ "/s/thing/service/+", "/s/thing/service/property/set", 0 },
		{ "/s/thing/event/+/post_reply", "/s/thing/event/property/pack/post_reply", 0 },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (cw_cloud_topic_matches(cases[i].filter, strlen(cases[i].filter), cases[i].topic, strlen(cases[i].topic)) !=
		    cases[i].matches)
			fail_msg("%s on %s", cases[i].filter, cases[i].topic);
	}
}

static void wildcards_stand_only_where_mqtt_allows(void **state)
{
	assert_true(cw_cloud_filter_valid("/a/+/b/#", 8));
	assert_false(cw_cloud_filter_valid("/a/#/b", 6));
	assert_false(cw_cloud_filter_valid("/a/b#", 5));
	assert_false(cw_cloud_filter_valid("/a/b+", 5));
	assert_false(cw_cloud_filter_valid("", 0));
}

static void custom_levels_are_letters_digits_and_underscore(void **state)
{
	assert_true(cw_cloud_custom_valid("user/get_1", 10, 0));
	assert_false(cw_cloud_custom_valid("user/a-b", 8, 0));
	assert_false(cw_cloud_custom_valid("user//a", 7, 0));
	assert_false(cw_cloud_custom_valid("user/+", 6, 0));
	assert_true(cw_cloud_custom_valid("user/+/error", 12, 1));
	assert_true(cw_cloud_custom_valid("user/#", 6, 1));
	assert_false(cw_cloud_custom_valid("#/user", 6, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_form_names_its_owner_and_the_rest),
		cmocka_unit_test(what_names_no_device_is_bad),
		cmocka_unit_test(filters_match_as_mqtt_says),
		cmocka_unit_test(wildcards_stand_only_where_mqtt_allows),
		cmocka_unit_test(custom_levels_are_letters_digits_and_underscore),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
