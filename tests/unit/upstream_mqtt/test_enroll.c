/* Certificates of sub-devices over the bridge's own connection. covers: E04 L04 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "upstream/device.h"

#include "mqtt_fixture.h"

static int answered;

static void on_enrolled(struct cw_enroll *e)
{
	answered++;
}

static void enroll(struct cw_enroll *e, const char *dn, const char *product_secret)
{
	*e = (struct cw_enroll){ .product_key = PK, .device_name = dn, .product_secret = product_secret, .done = on_enrolled };
	cw_upstream_enroll(t.u, e);
}

static int setup_enroll(void **state)
{
	answered = 0;
	return setup(state);
}

static void know(const char *dn)
{
	char line[256];

	snprintf(line, sizeof(line), "{\"do\":\"device\",\"key\":\"" PK "/%.60s\",\"secret\":\"given-%.60s\"}", dn, dn);
	peer_do(&t.peer, line);
}

static void a_registered_device_gets_its_secret(void **state)
{
	struct cw_enroll e;
	const char *line;

	start();
	know("dev-100");
	WAIT(t.up);
	enroll(&e, "dev-100", NULL);
	WAIT(answered == 1);
	assert_int_equal(e.rc, 0);
	assert_int_equal(e.code, 200);
	assert_string_equal(e.secret, "given-dev-100");
	line = peer_expect(&t.peer, "\"ev\":\"publish\"", "thing/sub/register");
	assert_non_null(line);
	assert_non_null(strstr(line, "\\\"params\\\":[{\\\"productKey\\\":\\\"" PK "\\\",\\\"deviceName\\\":\\\"dev-100\\\"}]"));
}

static void with_the_products_secret_the_request_is_signed(void **state)
{
	struct cw_enroll e, bad;

	start();
	know("dev-100");
	WAIT(t.up);
	enroll(&e, "dev-100", "productsecret");
	enroll(&bad, "dev-100", "somebody else's");
	WAIT(answered == 2);
	assert_int_equal(e.rc, 0);
	assert_string_equal(e.secret, "given-dev-100");
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"publish\"", "thing/proxy/provisioning/product_register"));
	assert_int_equal(bad.rc, CW_EREFUSED);
	assert_int_equal(bad.code, 6600);
	assert_string_equal(bad.secret, "");
	assert_true(bad.text[0] != '\0');
}

static void a_refusal_is_told_with_its_code(void **state)
{
	struct cw_enroll e;

	start();
	WAIT(t.up);
	peer_do(&t.peer, "{\"do\":\"refuse\",\"what\":\"register\",\"dn\":\"dev-100\",\"code\":6288}");
	enroll(&e, "dev-100", NULL);
	WAIT(answered == 1);
	assert_int_equal(e.rc, CW_EREFUSED);
	assert_int_equal(e.code, 6288);
	assert_true(e.text[0] != '\0');
}

static void an_answer_without_a_secret_is_no_success(void **state)
{
	struct cw_enroll e;

	start();
	WAIT(t.up);
	enroll(&e, "dev-unknown-there", NULL);
	WAIT(answered == 1);
	assert_int_equal(e.rc, CW_EPROTO);
	assert_string_equal(e.secret, "");
}

static void without_a_connection_nothing_is_asked(void **state)
{
	struct cw_enroll e;

	peer_do(&t.peer, "{\"do\":\"connack\",\"value\":4}");
	conf.retry_min_ms = conf.retry_max_ms = 60000;
	start();
	WAIT(t.reason[0] != '\0');
	enroll(&e, "dev-100", NULL);
	WAIT(answered == 1);
	assert_int_equal(e.rc, CW_ECLOSED);
	assert_int_equal(peer_count(&t.peer, "\"ev\":\"publish\"", "register"), 0);
}

static void asked_and_not_answered_is_told_apart(void **state)
{
	struct cw_enroll e;

	start();
	WAIT(t.up);
	peer_do(&t.peer, "{\"do\":\"mute\",\"value\":1}");
	enroll(&e, "dev-100", NULL);
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"publish\"", "thing/sub/register"));
	peer_do(&t.peer, "{\"do\":\"drop\"}");
	WAIT(answered == 1);
	assert_int_equal(e.rc, CW_ETIMEDOUT);
}

static void more_than_the_gateways_rate_wait_their_turn(void **state)
{
	static struct cw_enroll e[40];
	static char names[40][16];
	int i;

	conf.rate_device_qos0 = 30;
	start();
	WAIT(t.up);
	for (i = 0; i < 40; i++) {
		snprintf(names[i], sizeof(names[i]), "dev-%d", i);
		know(names[i]);
	}
	for (i = 0; i < 40; i++)
		enroll(&e[i], names[i], NULL);
	WAIT(answered == 40);
	for (i = 0; i < 40; i++)
		assert_int_equal(e[i].rc, 0);
	assert_int_equal(peer_count(&t.peer, "\"ev\":\"violation\"", ""), 0);
}

static void stopping_answers_everybody(void **state)
{
	struct cw_enroll e[2];

	conf.rate_device_qos0 = 1;
	start();
	WAIT(t.up);
	peer_do(&t.peer, "{\"do\":\"mute\",\"value\":1}");
	enroll(&e[0], "dev-1", NULL);
	enroll(&e[1], "dev-2", NULL);
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"publish\"", "thing/sub/register"));
	cw_upstream_stop(t.u, 0, on_done, NULL);
	WAIT(t.done);
	assert_int_equal(answered, 2);
	assert_int_equal(e[0].rc, CW_ETIMEDOUT);
	assert_int_equal(e[1].rc, CW_ECLOSED);
	cw_upstream_free(t.u);
	t.u = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_enroll, teardown)
		TEST(a_registered_device_gets_its_secret),
		TEST(with_the_products_secret_the_request_is_signed),
		TEST(a_refusal_is_told_with_its_code),
		TEST(an_answer_without_a_secret_is_no_success),
		TEST(without_a_connection_nothing_is_asked),
		TEST(asked_and_not_answered_is_told_apart),
		TEST(more_than_the_gateways_rate_wait_their_turn),
		TEST(stopping_answers_everybody),
	};

	cw_log_setup(getenv("CW_TEST_LOG") != NULL ? CW_LOG_DEBUG : CW_LOG_ERROR, 0, 2);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
