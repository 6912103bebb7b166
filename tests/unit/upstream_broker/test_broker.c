/* Topics of the broker upstream, and what its commands are made of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/command.h"
#include "upstream/broker/broker.h"

#define COMMAND "site/${productKey}/${deviceName}/command/${name}"
#define REPLY "site/${productKey}/${deviceName}/reply/${name}"
#define KNOWN (BROKER_DEVICE | BROKER_VAR(NAME))

static const struct broker_vars vars = { .of = {
						 [BROKER_PRODUCT_KEY] = { (const uint8_t *)"pk", 2 },
						 [BROKER_DEVICE_NAME] = { (const uint8_t *)"dn", 2 },
						 [BROKER_NAME] = { (const uint8_t *)"user/up", 7 },
					 } };

static void templates_are_filled(void **state)
{
	struct broker_vars v = vars;
	char out[64], tight[12];

	assert_int_equal(broker_template_fill("a/${productKey}/b-${deviceName}", &v, out, sizeof(out)), 0);
	assert_string_equal(out, "a/pk/b-dn");
	assert_int_equal(broker_template_fill("${deviceName}/${name}", &v, out, sizeof(out)), 0);
	assert_string_equal(out, "dn/user/up"); /* a name may have levels */
	assert_int_equal(broker_template_fill("${deviceName}/${name}", &v, tight, 10), CW_ELIMIT);
	assert_int_equal(broker_template_fill("${deviceName}/${name}", &v, tight, 11), 0);
	assert_int_equal(broker_template_fill("a$b/$", &v, out, sizeof(out)), 0);
	assert_string_equal(out, "a$b/$");
}

static void values_that_would_change_the_topic_are_refused(void **state)
{
	static const char *const bad[] = { "", "+", "a#", "/a", "a/", "a//b", "a\n", "\x7f" };
	struct broker_vars v = vars;
	char out[64];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		v.of[BROKER_NAME] = cw_bytes_text(bad[i]);
		assert_int_equal(broker_template_fill("x/${name}", &v, out, sizeof(out)), CW_EINVAL);
	}
	v.of[BROKER_DEVICE_NAME] = cw_bytes_text("a/b"); /* everything but a name is one level */
	assert_int_equal(broker_template_fill("x/${deviceName}", &v, out, sizeof(out)), CW_EINVAL);
	v.of[BROKER_DEVICE_NAME] = cw_bytes_text("$SYS");
	assert_int_equal(broker_template_fill("${deviceName}/x", &v, out, sizeof(out)), CW_EINVAL);
}

static void topics_are_taken_apart(void **state)
{
	static const char *const others[] = { "site/pk/dn/command", "site/pk/dn/command/", "site//dn/command/set", "site/pk/dn/command/a/b",
					      "site/pk/dn/commandx/set", "site/p+k/dn/command/set", "", "other" };
	struct broker_vars got;
	char filter[64];
	size_t i;

	assert_int_equal(broker_template_filter(COMMAND, filter, sizeof(filter)), 0);
	assert_string_equal(filter, "site/+/+/command/+");
	assert_int_equal(broker_template_filter(COMMAND, filter, 18), CW_ELIMIT);
	assert_true(broker_template_match(COMMAND, cw_bytes_text("site/pk/dn/command/set"), &got));
	assert_true(cw_topic_is(got.of[BROKER_PRODUCT_KEY], "pk") && cw_topic_is(got.of[BROKER_DEVICE_NAME], "dn") &&
		    cw_topic_is(got.of[BROKER_NAME], "set"));
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(broker_template_match(COMMAND, cw_bytes_text(others[i]), &got));
}

static void settings_that_are_no_topics_are_named(void **state)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{ "", "empty" }, { "a/+/${deviceName}", "wildcard" }, { "a//${deviceName}", "empty level" }, { "$x/${deviceName}", "broker's own" },
		{ "a/${devicename}", "not known here" }, { "a/${deviceName", "not known here" }, { "a/${request}", "not known here" },
		{ "a/x${deviceName}", "whole level" }, { "a/b", "must have ${deviceName}" },
	};
	struct cw_msg msg = { "" };
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(broker_template_check("command", bad[i].text, KNOWN, BROKER_VAR(DEVICE_NAME), 1, &msg), CW_ECONF);
		assert_non_null(strstr(msg.text, bad[i].says));
		assert_non_null(strstr(msg.text, "command"));
	}
	assert_int_equal(broker_template_check("command", COMMAND, KNOWN, KNOWN, 1, &msg), 0);
	assert_int_equal(broker_template_check("topic", "a/x-${deviceName}", KNOWN, BROKER_VAR(DEVICE_NAME), 0, &msg), 0);
	assert_int_equal(broker_template_vars("${name}/${name}/${request}"), BROKER_VAR(NAME) | BROKER_VAR(REQUEST));
}

/* ---- commands ------------------------------------------------------------------------ */

static struct cw_downlink *down;
static struct cw_record record;

/* A message for pk/dn: what broker_command() says. */
static int receive(const char *reply, const char *name, const char *payload)
{
	struct broker_settings own = { .command = COMMAND, .reply = reply };
	struct broker_vars v = vars;
	struct cw_upstream u = { 0 };
	struct broker b = { .u = &u, .own = &own };
	int rc;

	cw_await_init(&b.ids, NULL, 0, NULL);
	v.of[BROKER_NAME] = cw_bytes_text(name);
	rc = broker_command(&b, &v, cw_bytes_text(payload), &down);
	cw_await_fini(&b.ids);
	if (rc == 0)
		assert_true(cw_record_read(cw_bytes_of(down->bytes, down->len), &record));
	return rc;
}

static void drop(void)
{
	cw_downlink_free(down);
	down = NULL;
}

static void commands_carry_what_was_said(void **state)
{
	assert_int_equal(receive(REPLY, "set", "{\"id\":7,\"params\":{\"a\":1.50}}"), 0);
	assert_int_equal(down->kind, CW_KIND_PROPERTY_SET);
	assert_string_equal(down->request, "7");
	assert_string_equal(down->answer_topic, "site/pk/dn/reply/set");
	assert_true(down->wants_answer);
	assert_int_equal(cw_map_item(record.body, "a").type, CW_ITEM_DECIMAL);
	drop();
	assert_int_equal(receive(REPLY, "set", "{\"a\":1}"), 0); /* the parameters alone */
	assert_string_equal(down->request, "");
	assert_int_equal(cw_map_int(record.body, "a", 0), 1);
	drop();
	assert_int_equal(receive("", "get", "{\"id\":\"x\",\"params\":[\"a\"]}"), 0);
	assert_int_equal(down->kind, CW_KIND_PROPERTY_GET);
	assert_string_equal(down->request, "x");
	assert_false(down->wants_answer);
	drop();
	assert_int_equal(receive(REPLY, "Beep", ""), 0); /* a service without input */
	assert_int_equal(down->kind, CW_KIND_SERVICE);
	assert_true(cw_topic_is(record.name, "Beep"));
	drop();
	assert_int_equal(receive("r/${request}", "raw", "\x01{"), 0);
	assert_int_equal(down->kind, CW_KIND_RAW_DOWN);
	assert_true(cw_topic_is(record.body, "\x01{"));
	assert_int_equal(strncmp(down->answer_topic, "r/", 2), 0);
	assert_true(strlen(down->answer_topic) > 2); /* a number was made for it */
	drop();
}

static void what_is_malformed_can_still_be_answered(void **state)
{
	static const char *const bad[][2] = {
		{ "set", "{\"a\":" }, { "set", "[1]" }, { "set", "" }, { "get", "{}" }, { "get", "7" }, { "Beep", "7" }, { "set", "{\"id\":\"i\",\"params\":1}" },
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(receive(REPLY, bad[i][0], bad[i][1]), CW_EPROTO);
		assert_non_null(down);
		assert_int_equal(strncmp(down->answer_topic, "site/pk/dn/reply/", 17), 0);
		drop();
	}
	assert_int_equal(receive(REPLY, "set", "{\"id\":\"0123456789012345678901234567890123456789012345678901234567890123\",\"params\":{}}"),
			 CW_ELIMIT); /* an id that long cannot come back */
	assert_null(down);
	assert_true(receive("r/${request}", "set", "{\"id\":\"a/b\",\"params\":{}}") < 0); /* nor can one that is two levels */
	drop();
}

static int clean(void **state)
{
	return cw_mem_live() == 0 ? 0 : -1;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, clean)
	const struct CMUnitTest tests[] = {
		TEST(templates_are_filled),
		TEST(values_that_would_change_the_topic_are_refused),
		TEST(topics_are_taken_apart),
		TEST(settings_that_are_no_topics_are_named),
		TEST(commands_carry_what_was_said),
		TEST(what_is_malformed_can_still_be_answered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
