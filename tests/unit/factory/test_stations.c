/* Who asks, and what each may have; and what is remembered of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "factory/stations.h"

static const char text[] =
	"stations = [\n"
	"  { name = prog-1, token = \"0123456789abcdef01\", products = [ PA, PB ], quota = 5, quotaPeriod = 24h }\n"
	"  { name = prog-2, certificate = \"prog-2.line\", quota = 7, quotaPeriod = 8h }\n"
	"  { name = prog-3, addresses = [ \"192.168.7.0/24\", \"2001:db8::5\" ] }\n"
	"]\n";

static struct factory_conf *conf;
static struct factory_stations *stations;
static struct factory_caller caller;
static const char *why;

static struct factory_conf *load(const char *more)
{
	static const struct factory_overrides none = { .db = NULL };
	char path[] = "/tmp/cw-stations-XXXXXX";
	struct factory_conf *c = NULL;
	struct cw_msg msg = { "" };
	int fd = mkstemp(path);
	FILE *f = fdopen(fd, "w");

	(void)fputs(text, f);
	(void)fputs(more, f);
	(void)fclose(f);
	if (cw_factory_config_load(path, &none, &c, &msg) < 0)
		fail_msg("%s", msg.text);
	(void)unlink(path);
	return c;
}

static int setup(void **state)
{
	struct cw_msg msg = { "" };

	conf = load("");
	return cw_factory_stations_new(conf, &stations, &msg);
}

static int teardown(void **state)
{
	cw_factory_stations_free(stations);
	cw_factory_config_free(conf);
	return 0;
}

static int find(const char *authorization, const char *certificate, const char *peer)
{
	const struct factory_sign sign = { authorization, certificate, 0, peer };

	return cw_factory_station_find(stations, &sign, 100000000, &caller, &why);
}

static void test_by_token(void **state)
{
	assert_int_equal(find("Bearer 0123456789abcdef01", NULL, "10.0.0.1:5"), 0);
	assert_string_equal(caller.name, "prog-1");
	assert_string_equal(caller.address, "10.0.0.1");
	assert_int_equal(caller.quota, 5);
	assert_int_equal(caller.quota_since, 86400000); /* midnight UTC before 100,000 s */
	assert_int_equal(find("bearer   0123456789abcdef01", NULL, "10.0.0.1:5"), 0);
	assert_string_equal(caller.name, "prog-1");
	assert_int_equal(find("Bearer 0123456789abcdef02", NULL, "192.168.7.9:5"), CW_EAUTH);
	assert_int_equal(find("Bearer ", NULL, "192.168.7.9:5"), CW_EAUTH);
	assert_int_equal(find("Bearer 0123456789abcdef010", NULL, "192.168.7.9:5"), CW_EAUTH);
	assert_int_equal(find("Basic eHg6eHg=", NULL, "10.0.0.1:5"), 0); /* no token at all */
}

static void test_by_certificate_and_address(void **state)
{
	assert_int_equal(find(NULL, "prog-2.line", "192.168.7.9:5"), 0);
	assert_string_equal(caller.name, "prog-2");
	assert_int_equal(caller.quota_since, 86400000); /* the shift that began at midnight */
	assert_int_equal(find(NULL, NULL, "192.168.7.9:5"), 0);
	assert_string_equal(caller.name, "prog-3");
	assert_int_equal(caller.quota, 0);
	assert_int_equal(find(NULL, NULL, "[2001:db8::5]:5"), 0);
	assert_string_equal(caller.name, "prog-3");
	assert_string_equal(caller.address, "2001:db8::5");
}

static void test_not_listed(void **state)
{
	const struct factory_sign bare = { NULL, NULL, 1, "10.0.0.1:5" };
	struct factory_conf *strict = load("stationsRequired = true\n");
	struct cw_msg msg = { "" };

	assert_int_equal(find(NULL, NULL, "10.0.0.1:5"), 0);
	assert_string_equal(caller.name, "10.0.0.1");
	assert_int_equal(caller.quota, 0);
	assert_int_equal(cw_factory_station_may(&caller, "PX"), 1);
	assert_int_equal(find(NULL, "prog-1", "10.0.0.1:5"), 0);
	assert_string_equal(caller.name, "cert:prog-1"); /* not the listed one's name */
	assert_int_equal(find(NULL, "a b\n", "10.0.0.1:5"), 0);
	assert_string_equal(caller.name, "cert:a?b?");
	assert_int_equal(cw_factory_station_find(stations, &bare, 0, &caller, &why), CW_EAUTH);
	assert_non_null(strstr(why, "client certificate"));
	assert_int_equal(cw_factory_stations_reload(stations, strict, &msg), 0);
	assert_int_equal(find(NULL, NULL, "10.0.0.1:5"), CW_EAUTH);
	assert_int_equal(find(NULL, "nobody", "10.0.0.1:5"), CW_EAUTH);
	assert_int_equal(find(NULL, NULL, "192.168.7.9:5"), 0);
	assert_int_equal(cw_factory_stations_reload(stations, conf, &msg), 0);
	cw_factory_config_free(strict);
}

static void test_products(void **state)
{
	assert_int_equal(find("Bearer 0123456789abcdef01", NULL, "10.0.0.1:5"), 0);
	assert_int_equal(cw_factory_station_may(&caller, "PA"), 1);
	assert_int_equal(cw_factory_station_may(&caller, "PB"), 1);
	assert_int_equal(cw_factory_station_may(&caller, "PC"), 0);
	assert_int_equal(cw_factory_station_may(&caller, "P"), 0);
}

static int count_one(void *arg, const struct factory_station *st)
{
	(*(size_t *)arg)++;
	return 0;
}

static int keep_first(void *arg, const struct factory_station *st)
{
	*(struct factory_station *)arg = *st;
	return 1;
}

static void test_who_was_busy(void **state)
{
	struct cw_stock_ask ask = { .action = CW_STOCK_ALLOCATE, .fresh = 1 };
	struct factory_station st = { .name = NULL };
	size_t i, n = 0;
	char peer[32];

	assert_int_equal(find("Bearer 0123456789abcdef01", NULL, "10.0.0.1:5"), 0);
	cw_factory_station_asks(stations, &caller, "PA", "SN01", 1000);
	(void)cw_factory_stations_each(stations, keep_first, &st);
	assert_string_equal(st.name, "prog-1");
	assert_int_equal(st.waiting, 1);
	cw_factory_station_answered(stations, "prog-1", CW_STOCK_OK, &ask);
	cw_factory_station_asks(stations, &caller, "PA", "SN01", 2000);
	ask.fresh = 0;
	cw_factory_station_answered(stations, "prog-1", CW_STOCK_OK, &ask);
	cw_factory_station_asks(stations, &caller, "PA", "SN02", 3000);
	cw_factory_station_answered(stations, "prog-1", CW_STOCK_OUT_OF_STOCK, &ask);
	(void)cw_factory_stations_each(stations, keep_first, &st);
	assert_int_equal(st.requests, 3);
	assert_int_equal(st.allocated, 1);
	assert_int_equal(st.again, 1);
	assert_int_equal(st.refused, 1);
	assert_int_equal(st.waiting, 0);
	assert_int_equal(st.first, 1000);
	assert_int_equal(st.last, 3000);
	assert_int_equal(st.answer, CW_STOCK_OUT_OF_STOCK);
	assert_string_equal(st.device_id, "SN02");
	for (i = 0; i < 3 * CW_FACTORY_RECENT; i++) { /* any number may come: it stays bounded */
		(void)snprintf(peer, sizeof(peer), "10.%zu.%zu.1:5", i / 250, i % 250);
		assert_int_equal(find(NULL, NULL, peer), 0);
		cw_factory_station_asks(stations, &caller, "PA", "", 4000);
	}
	(void)cw_factory_stations_each(stations, count_one, &n);
	assert_int_equal(n, CW_FACTORY_RECENT);
	cw_factory_station_answered(stations, "prog-1", CW_STOCK_OK, &ask); /* forgotten: nothing */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_token), cmocka_unit_test(test_by_certificate_and_address), cmocka_unit_test(test_not_listed),
		cmocka_unit_test(test_products), cmocka_unit_test(test_who_was_busy),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
