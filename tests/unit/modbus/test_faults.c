/* No memory: each allocation of the decoder fails in turn through a DTU's whole life. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "fake_host.h"
#include "faults.h"

static struct fake f;

#define PROFILE                                                                                                              \
	"\"profile\":\"m\",\"profiles\":{\"m\":{\"interval\":1000,\"points\":["                                              \
	"{\"property\":\"a\",\"area\":\"holding\",\"address\":0,\"type\":\"uint16\",\"access\":\"rw\",\"map\":{\"0\":\"off\"}}," \
	"{\"property\":\"b\",\"area\":\"holding\",\"address\":1,\"type\":\"string\",\"length\":4,\"event\":{\"id\":\"e\",\"data\":[\"a\"]}}]," \
	"\"services\":{\"s\":{\"steps\":[{\"write\":\"a\",\"value\":\"1\"},{\"wait\":100}]}}}}"
#define SETTINGS                                                                                                             \
	"{\"framing\":\"rtu\",\"registration\":{\"mode\":\"every\",\"length\":3,\"accept\":[\"D01\"],\"pattern\":\"D..\"},\"settle\":0,\"gap\":0,"  \
	"\"spreadStart\":false,\"localEcho\":true,\"lateGuard\":0,\"heartbeats\":[{\"text\":\"hb\"}]," PROFILE "}"

/* Whatever fails inside, the DTU goes on talking and everything is given back. */
static void a_life(void)
{
	f.auto_identify = 0;
	fake_open(&f);
	fake_feed_hex(&f, "443031");
	if (f.asked.count > 0) {
		fake_member(&f, "D01/1");
		fake_members_done(&f);
	}
	fake_feed_hex(&f, "01030000000305CB"); /* the echo */
	fake_feed_hex(&f, "018302C0F1");       /* refused: the block is halved */
	fake_advance(&f, 20000);
	if (f.attached && f.device_count > 0) {
		fake_command(&f, CW_KIND_PROPERTY_SET, NULL, "{\"a\": 5}", 5, 7500);
		fake_command(&f, CW_KIND_SERVICE, "s", "{}", 6, 7500);
		fake_command(&f, CW_KIND_PROPERTY_GET, NULL, "{\"identifiers\":[\"a\",\"b\"]}", 7, 7500);
		fake_advance(&f, 30000);
	}
	fake_close(&f);
	fake_forget(&f);
}

static void every_allocation_may_fail_once(void **state)
{
	(void)state;
	fake_init(&f, cw_plugin_entry(), SETTINGS);
	assert_true(faults_each_allocation(a_life) > 6);
	a_life();
	assert_int_equal(f.charged, 0);
	fake_fini(&f);
	assert_int_equal(cw_mem_live(), 0);
}

static void settings_and_instances_too(void **state)
{
	(void)state;
	faults_create(3);
	assert_true(faults_settings(SETTINGS) > 2);
}

/* What cannot be is refused with a sentence that names the point. covers the checks at load time */
static void register_maps_that_cannot_be_are_named(void **state)
{
	static const struct { const char *point, *said; } bad[] = {
		{ "{\"property\":\"v\",\"area\":\"holding\",\"address\":65535,\"type\":\"uint32\"}", "beyond address 65535" },
		{ "{\"property\":\"v\",\"area\":\"coil\",\"address\":1,\"type\":\"uint16\"}", "coils and discrete inputs have type bool" },
		{ "{\"property\":\"v\",\"area\":\"holding\",\"address\":1,\"type\":\"bool\"}", "type bool is for coils" },
		{ "{\"property\":\"v\",\"area\":\"input\",\"address\":1,\"type\":\"uint16\",\"access\":\"rw\"}", "cannot be written" },
		{ "{\"property\":\"v\",\"area\":\"holding\",\"address\":1,\"type\":\"string\"}", "needs length, 1 to 250" },
		{ "{\"property\":\"v\",\"ref\":\"40000\",\"type\":\"uint16\"}", "out of range" },
		{ "{\"property\":\"v\",\"area\":\"holding\",\"address\":1,\"ref\":\"40001\"}", "either address" },
		{ "{\"property\":\"v\",\"area\":\"holding\",\"address\":1,\"access\":\"rw\",\"writeFc\":5}", "5 and 15 write coils" },
		{ "{\"property\":\"v\",\"area\":\"holding\",\"address\":1,\"order\":\"ACBD\"}", "order must be" },
		{ "{\"property\":\"v\",\"area\":\"holding\",\"address\":1,\"scale\":0}", "scale must be" },
		{ "{\"property\":\"v\",\"area\":\"holding\",\"address\":1},{\"property\":\"v\",\"area\":\"holding\",\"address\":2}", "has this property already" },
		{ "{\"property\":\"v.\",\"area\":\"holding\",\"address\":1}", "property must be a name" },
		{ "{\"area\":\"holding\",\"address\":1}", "needs a property or an event" },
	};
	char json[600];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(json, sizeof(json), "{\"profiles\":{\"meter\":{\"points\":[%s]}}}", bad[i].point);
		faults_refused(json, bad[i].said);
		faults_refused(json, "profile \"meter\", point ");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_allocation_may_fail_once),
		cmocka_unit_test(settings_and_instances_too),
		cmocka_unit_test(register_maps_that_cannot_be_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
