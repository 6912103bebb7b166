/* The same over TLS: whom we believe, and what we show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "mqtt_fixture.h"

static struct peer_pems pems;

static int setup_tls(void **state)
{
	assert_int_equal(peer_pems_make(&pems, "bridge"), 0);
	return setup(state);
}

static int teardown_tls(void **state)
{
	int rc = teardown(state);

	return peer_pems_remove(&pems) != 0 ? -1 : rc;
}

static void reopen(const char *where, const char *client_ca)
{
	peer_stop(&t.peer);
	open_peer(where, pems.certificate, pems.key, client_ca);
}

static void over_tls_the_certificate_and_the_name_are_checked(void **state)
{
	const char *line;

	reopen("ssl://localhost", NULL);
	conf.ca = pems.certificate;
	conf.verify = 1;
	start();
	line = peer_expect(&t.peer, "\"ev\":\"tls\"", "");
	assert_non_null(line);
	assert_true(strstr(line, "TLSv1.2") != NULL || strstr(line, "TLSv1.3") != NULL);
	assert_non_null(strstr(peer_expect(&t.peer, "\"ev\":\"connect\"", "securemode=2"), "\"code\":0"));
	WAIT(t.up);
	submit(reading(add_online(1), 1, NULL, NULL));
	WAIT(t.settled[CW_SETTLED_DONE] == 1);
}

static void a_certificate_of_somebody_else_is_refused(void **state)
{
	reopen("ssl://localhost", NULL);
	conf.ca = pems.other;
	conf.verify = 1;
	start();
	WAIT(t.reason[0] != '\0');
	assert_false(t.up);
	assert_non_null(strstr(t.reason, "certificate verify failed"));
	assert_int_equal(peer_count(&t.peer, "\"ev\":\"connect\"", ""), 0);
}

static void a_name_that_is_not_in_the_certificate_is_refused(void **state)
{
	reopen("ssl://127.0.0.1", NULL);
	conf.ca = pems.certificate;
	conf.verify = 1;
	start();
	WAIT(t.reason[0] != '\0');
	assert_false(t.up);
	assert_int_equal(peer_count(&t.peer, "\"ev\":\"connect\"", ""), 0);
}

static void without_verify_any_certificate_will_do(void **state)
{
	reopen("ssl://127.0.0.1", NULL);
	conf.verify = 0;
	start();
	WAIT(t.up);
}

static void our_own_certificate_is_shown_when_asked_for(void **state)
{
	reopen("ssl://localhost", pems.other);
	conf.ca = pems.certificate;
	conf.verify = 1;
	conf.certificate = pems.other;
	conf.key = pems.other_key;
	start();
	assert_non_null(strstr(peer_expect(&t.peer, "\"ev\":\"tls\"", ""), "\"client\":true"));
	WAIT(t.up);
}

static void with_only_a_certificate_the_platform_tells_the_names(void **state)
{
	reopen("ssl://localhost", pems.other);
	conf.ca = pems.certificate;
	conf.verify = 1;
	conf.certificate = pems.other;
	conf.key = pems.other_key;
	conf.product_key = conf.device_name = conf.device_secret = NULL;
	start();
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"connect\"", "causeway|securemode=2|"));
	WAIT(t.up);
	add_online(1);
	peer_do(&t.peer, "{\"do\":\"drop\"}");
	assert_non_null(strstr(peer_expect(&t.peer, "\"ev\":\"connect\"", "a1Gateway01.gw-1|"), "\"code\":0"));
	WAIT(t.ups == 2 && t.devices[1].state == CW_UPDEVICE_ONLINE);
}

static char state_dir[220], names[260];

static void only_a_certificate(void)
{
	reopen("ssl://localhost", pems.other);
	conf.ca = pems.certificate;
	conf.verify = 1;
	conf.certificate = pems.other;
	conf.key = pems.other_key;
	conf.product_key = conf.device_name = conf.device_secret = NULL;
	conf.state_dir = state_dir;
}

static int is_named(const char *text)
{
	char got[100] = "";
	FILE *f = fopen(names, "r");
	int ok = f != NULL && fgets(got, sizeof(got), f) != NULL && strcmp(got, text) == 0;

	if (f != NULL)
		fclose(f);
	return ok;
}

static void restart(void)
{
	t.done = t.up = 0;
	cw_upstream_stop(t.u, 0, on_done, NULL);
	WAIT(t.done);
	cw_upstream_free(t.u);
	t.done = 0;
	start();
}

/* covers: F06 F08 F09 */
static void names_that_were_told_are_kept_and_used(void **state)
{
	snprintf(state_dir, sizeof(state_dir), "%s/state", pems.dir);
	snprintf(names, sizeof(names), "%s/names-cloud", state_dir);
	assert_int_equal(mkdir(state_dir, 0700), 0);
	only_a_certificate();
	start();
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"connect\"", "causeway|securemode=2|"));
	WAIT(t.up);
	assert_true(is_named("causeway-names 1 a1Gateway01 gw-1\n"));
	restart();
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"connect\"", "a1Gateway01.gw-1|securemode=2,signmethod=hmacsha1,timestamp="));
	WAIT(t.up);
	assert_int_equal(unlink(names), 0);
	restart();
	assert_non_null(peer_expect(&t.peer, "\"ev\":\"connect\"", "causeway|securemode=2|"));
	WAIT(t.up);
	unlink(names);
	rmdir(state_dir);
}

/* covers: H23 */
static void a_token_logs_in_as_it_was_issued(void **state)
{
	reopen("ssl://localhost", NULL);
	conf.ca = pems.certificate;
	conf.verify = 1;
	conf.device_secret = NULL;
	conf.client_id = "issued-id";
	conf.device_token = "issued-token";
	start();
	assert_non_null(strstr(peer_expect(&t.peer, "\"ev\":\"connect\"", "issued-id|securemode=-2,authType=connwl|"), "\"code\":0"));
	WAIT(t.up);
}

static void a_token_never_goes_out_in_the_clear(void **state)
{
	struct cw_msg msg = { "" };
	struct cw_upstream *u;

	conf.device_secret = NULL;
	conf.client_id = "issued-id";
	conf.device_token = "issued-token";
	assert_int_equal(cw_upstream_new(&conf, t.control, &events, NULL, &u, &msg), CW_ECONF);
	assert_non_null(strstr(msg.text, "without TLS"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_tls, teardown_tls)
		TEST(over_tls_the_certificate_and_the_name_are_checked),
		TEST(a_certificate_of_somebody_else_is_refused),
		TEST(a_name_that_is_not_in_the_certificate_is_refused),
		TEST(without_verify_any_certificate_will_do),
		TEST(our_own_certificate_is_shown_when_asked_for),
		TEST(with_only_a_certificate_the_platform_tells_the_names),
		TEST(names_that_were_told_are_kept_and_used),
		TEST(a_token_logs_in_as_it_was_issued),
		TEST(a_token_never_goes_out_in_the_clear),
	};

	cw_log_setup(getenv("CW_TEST_LOG") != NULL ? CW_LOG_DEBUG : CW_LOG_ERROR, 0, 2);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
