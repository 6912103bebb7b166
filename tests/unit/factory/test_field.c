/* What devices in the field say, and how often: names out of ids, proofs, pace. covers: C11 C20 D10 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "factory/field/field_impl.h"
#include "factory/field_name.h"

#define KEY "0123456789abcdefKEY"
#define NOW 1800000000000ll

static long live;

static int begin(void **state)
{
	live = cw_mem_live();
	return 0;
}

static int nothing_is_left(void **state)
{
	assert_int_equal(cw_mem_live(), live);
	return 0;
}

/* ---- names ---------------------------------------------------------------------------------- */

static void a_name_is_the_id_with_what_stands_around_it(void **state)
{
	char out[CW_DEVICE_NAME_MOST + 1];
	struct cw_msg msg = { "" };

	assert_int_equal(factory_field_name(NULL, "AA:BB:CC:00:11:22", out, &msg), 0);
	assert_string_equal(out, "AA:BB:CC:00:11:22");
	assert_int_equal(factory_field_name("dev-${deviceId}", "7", out, &msg), 0);
	assert_string_equal(out, "dev-7");
	assert_int_equal(factory_field_name("${deviceId}@hall-2", "sn_01.x", out, &msg), 0);
	assert_string_equal(out, "sn_01.x@hall-2");
	assert_int_equal(factory_field_name(NULL, "12345678901234567890123456789012", out, &msg), 0);
}

static void what_does_not_fit_is_refused_not_changed(void **state)
{
	static const char *const bad[] = { "abc", "123456789012345678901234567890123", "sn 0001", "sn/0001", "探测器0001", "" };
	char out[CW_DEVICE_NAME_MOST + 1], longest[300];
	struct cw_msg msg;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		msg.text[0] = '\0';
		assert_int_equal(factory_field_name(NULL, bad[i], out, &msg), CW_EINVAL);
		assert_non_null(strstr(msg.text, "DeviceName"));
	}
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(factory_field_name("${deviceId}", longest, out, &msg), CW_EINVAL);
}

static void a_template_that_can_make_no_name_is_told_at_the_start(void **state)
{
	static const char *const bad[] = { "", "device", "a b ${deviceId}", "${deviceId}/x", "${deviceId}${deviceId}",
					   "0123456789012345678901234567890x${deviceId}" };
	static const char *const good[] = { "${deviceId}", "d${deviceId}", "x-${deviceId}:y", "012345678901234567890123456789x${deviceId}" };
	struct cw_msg msg = { "" };
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(factory_field_name_check(bad[i], &msg), CW_ECONF);
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(factory_field_name_check(good[i], &msg), 0);
	assert_int_equal(factory_field_name_check(NULL, &msg), 0);
}

/* ---- proofs ------------------------------------------------------------------------------------ */

static const char *const ids[] = { "AA00*", "one" };
static struct factory_field_token tokens[] = { { .name = "batch-7", .token = "token-of-batch-7", .ids = { ids, 2 } },
					       { .name = "all", .token = "token-of-all-ids" } };

static struct factory_field_conf settings(void)
{
	return (struct factory_field_conf){ .shared_key = KEY, .tokens = { tokens, 2, sizeof(tokens[0]) }, .clock_skew_ms = 300000,
					    .gateway_token = "token-of-gateway" };
}

static int prove(const struct factory_field_conf *c, struct factory_seen *seen, const struct factory_proof *p, char who[FACTORY_WHO],
		 struct cw_msg *msg)
{
	const struct factory_field_token *t;

	msg->text[0] = '\0';
	return factory_field_prove(c, seen, p, NOW, 1000, who, &t, msg);
}

static int is_taken(const struct factory_field_conf *c, struct factory_seen *seen, const char *id, const char *nonce, const char *time,
		    const char *signed_text)
{
	char sign[CW_SIGN_HEX_MAX], who[FACTORY_WHO];
	const struct factory_proof p = { .device_id = id, .nonce = nonce, .time = time, .sign = sign };
	struct cw_msg msg;

	assert_int_equal(cw_sign_hmac(CW_SIGN_SHA256, KEY, signed_text, sign), 0);
	return prove(c, seen, &p, who, &msg);
}

static void a_signature_counts_once_and_near_its_time(void **state)
{
	const struct factory_field_conf c = settings();
	struct factory_seen seen;

	factory_seen_init(&seen, 100);
	assert_int_equal(is_taken(&c, &seen, "sn1", "nonce-01", "1800000000", "sn1\nnonce-01\n1800000000"), 0);
	assert_int_equal(is_taken(&c, &seen, "sn1", "nonce-01", "1800000000", "sn1\nnonce-01\n1800000000"), CW_EAUTH);
	assert_int_equal(is_taken(&c, &seen, "sn1", "nonce-02", "1800000000", "sn1\nnonce-02\n1800000000"), 0);
	assert_int_equal(is_taken(&c, &seen, "sn1", "nonce-03", "1800000300", "sn1\nnonce-03\n1800000300"), 0);
	assert_int_equal(is_taken(&c, &seen, "sn1", "nonce-04", "1800000301", "sn1\nnonce-04\n1800000301"), CW_EAUTH);
	assert_int_equal(is_taken(&c, &seen, "sn1", "nonce-04", "1799999699", "sn1\nnonce-04\n1799999699"), CW_EAUTH);
	/* of another id, another nonce, another time; and what is no nonce or time */
	assert_int_equal(is_taken(&c, &seen, "sn2", "nonce-05", "1800000000", "sn1\nnonce-05\n1800000000"), CW_EAUTH);
	assert_int_equal(is_taken(&c, &seen, "sn1", "nonce-06", "1800000000", "sn1\nnonce-05\n1800000000"), CW_EAUTH);
	assert_int_equal(is_taken(&c, &seen, "sn1", "nonce-05", "1800000001", "sn1\nnonce-05\n1800000000"), CW_EAUTH);
	assert_int_equal(is_taken(&c, &seen, "sn1", "short", "1800000000", "sn1\nshort\n1800000000"), CW_EAUTH);
	assert_int_equal(is_taken(&c, &seen, "sn1", "nonce 05", "1800000000", "sn1\nnonce 05\n1800000000"), CW_EAUTH);
	assert_int_equal(is_taken(&c, &seen, "sn1", "nonce-05", "-1800000000", "sn1\nnonce-05\n-1800000000"), CW_EAUTH);
	assert_int_equal(is_taken(&c, &seen, "sn1", NULL, "1800000000", "sn1\n\n1800000000"), CW_EAUTH);
	factory_seen_fini(&seen);
}

/* The vector of the documentation; made with Python's hmac. */
static void the_documented_signature_is_taken_in_either_case(void **state)
{
	static const char sign[] = "05a76ddd8735b26ec9866ed402d326780fbfe5dbaa55a077e509b3f4d389ea6b";
	char right[CW_SIGN_HEX_MAX], upper[CW_SIGN_HEX_MAX], who[FACTORY_WHO];
	struct factory_proof p = { .device_id = "AA00BB11", .nonce = "f3a1c07be2d94466", .time = "1800000000", .sign = upper };
	struct factory_field_conf c = settings();
	struct factory_seen seen;
	struct cw_msg msg;
	size_t i;

	assert_int_equal(cw_sign_hmac(CW_SIGN_SHA256, KEY, "AA00BB11\nf3a1c07be2d94466\n1800000000", right), 0);
	assert_string_equal(right, sign);
	for (i = 0; i < sizeof(upper); i++)
		upper[i] = sign[i] >= 'a' && sign[i] <= 'f' ? (char)(sign[i] - 'a' + 'A') : sign[i];
	factory_seen_init(&seen, 100);
	assert_int_equal(prove(&c, &seen, &p, who, &msg), 0);
	assert_string_equal(who, "field:key");
	p.sign = right; /* the same, spelled otherwise: it was used */
	assert_int_equal(prove(&c, &seen, &p, who, &msg), CW_EAUTH);
	assert_non_null(strstr(msg.text, "used already"));
	c.shared_key = NULL;
	p.nonce = "f3a1c07be2d94467";
	assert_int_equal(prove(&c, &seen, &p, who, &msg), CW_EAUTH);
	factory_seen_fini(&seen);
}

static void remembered_signatures_are_bounded_and_forgotten(void **state)
{
	struct factory_seen seen;
	char text[16];
	int i;

	factory_seen_init(&seen, 3);
	for (i = 0; i < 3; i++) {
		(void)snprintf(text, sizeof(text), "s%d", i);
		assert_int_equal(factory_seen_add(&seen, text, 1000, 500), 0);
	}
	assert_int_equal(factory_seen_add(&seen, "s3", 1000, 500), CW_ELIMIT);
	assert_int_equal(factory_seen_add(&seen, "s1", 1499, 500), CW_EEXIST);
	assert_int_equal(factory_seen_add(&seen, "s3", 1500, 500), 0);
	assert_int_equal(seen.count, 1);
	factory_seen_fini(&seen);
}

static void a_token_is_for_its_ids(void **state)
{
	const struct factory_field_conf c = settings();
	const struct factory_field_token *t;
	struct factory_proof p = { .device_id = "AA0017", .bearer = "token-of-batch-7" };
	struct factory_seen seen;
	char who[FACTORY_WHO];
	struct cw_msg msg;

	factory_seen_init(&seen, 1);
	assert_int_equal(factory_field_prove(&c, &seen, &p, NOW, 1, who, &t, &msg), 0);
	assert_string_equal(who, "field:token batch-7");
	assert_ptr_equal(t, &tokens[0]);
	p.device_id = "one";
	assert_int_equal(prove(&c, &seen, &p, who, &msg), 0);
	p.device_id = "one-more";
	assert_int_equal(prove(&c, &seen, &p, who, &msg), CW_EAUTH);
	p.device_id = "aa0017";
	assert_int_equal(prove(&c, &seen, &p, who, &msg), CW_EAUTH);
	p.bearer = "token-of-all-ids";
	assert_int_equal(prove(&c, &seen, &p, who, &msg), 0);
	p.bearer = "token-of-all-idz";
	assert_int_equal(prove(&c, &seen, &p, who, &msg), CW_EAUTH);
	p.bearer = "";
	assert_int_equal(prove(&c, &seen, &p, who, &msg), CW_EAUTH);
	p.bearer = c.gateway_token; /* is no device's */
	assert_int_equal(prove(&c, &seen, &p, who, &msg), CW_EAUTH);
}

static void a_certificate_proves_any_id_or_its_own(void **state)
{
	struct factory_field_conf c = settings();
	struct factory_proof p = { .device_id = "sn1", .common_name = "sn2" };
	struct factory_seen seen;
	char who[FACTORY_WHO];
	struct cw_msg msg;

	factory_seen_init(&seen, 1);
	assert_int_equal(prove(&c, &seen, &p, who, &msg), 0);
	assert_string_equal(who, "field:certificate sn2");
	p.bearer = "wrong"; /* whatever is given must be right */
	assert_int_equal(prove(&c, &seen, &p, who, &msg), CW_EAUTH);
	p.bearer = NULL;
	c.own_certificate = true;
	assert_int_equal(prove(&c, &seen, &p, who, &msg), CW_EAUTH);
	p.device_id = "sn2";
	assert_int_equal(prove(&c, &seen, &p, who, &msg), 0);
}

static void without_proof_nobody_but_anybody(void **state)
{
	struct factory_field_conf c = settings();
	const struct factory_proof p = { .device_id = "sn1" };
	struct factory_seen seen;
	char who[FACTORY_WHO];
	struct cw_msg msg;

	factory_seen_init(&seen, 1);
	assert_int_equal(prove(&c, &seen, &p, who, &msg), CW_EAUTH);
	c.anybody = true;
	assert_int_equal(prove(&c, &seen, &p, who, &msg), 0);
	assert_string_equal(who, "field:anybody");
}

static void gateways_have_a_token_or_a_name_of_their_own(void **state)
{
	static const char *const names[] = { "gw-1" };
	struct factory_field_conf c = settings();

	c.gateways = (struct cw_conf_strings){ names, 1 };
	assert_true(factory_field_is_gateway(&c, "token-of-gateway", NULL));
	assert_true(factory_field_is_gateway(&c, NULL, "gw-1"));
	assert_false(factory_field_is_gateway(&c, NULL, "sn1"));
	assert_false(factory_field_is_gateway(&c, NULL, NULL));
	assert_false(factory_field_is_gateway(&c, "token-of-all-ids", "gw-1"));
	c.gateway_token = NULL;
	assert_false(factory_field_is_gateway(&c, "", NULL));
	assert_false(factory_field_is_gateway(&c, "token-of-gateway", NULL));
}

/* ---- pace ---------------------------------------------------------------------------------------- */

static void so_many_a_minute_and_no_more(void **state)
{
	struct factory_paces p;
	unsigned i;

	factory_paces_init(&p, 10);
	for (i = 0; i < 6; i++)
		assert_int_equal(factory_pace(&p, "a", 1, 6, 5000), 0);
	assert_int_equal(factory_pace(&p, "a", 1, 6, 5000), 11); /* one each ten seconds: then, at the latest */
	assert_int_equal(factory_pace(&p, "b", 1, 6, 5000), 0);
	assert_int_equal(factory_pace(&p, "a", 1, 6, 14999), 1);
	assert_int_equal(factory_pace(&p, "a", 1, 6, 15000), 0);
	assert_int_not_equal(factory_pace(&p, "a", 1, 6, 15000), 0);
	for (i = 0; i < 6; i++)
		assert_int_equal(factory_pace(&p, "a", 1, 6, 10000000), 0);
	assert_int_not_equal(factory_pace(&p, "a", 1, 6, 10000000), 0);
	assert_int_equal(factory_pace(&p, "a", 1, 0, 10000000), 0); /* 0: any number */
	factory_paces_fini(&p);
}

static void keys_are_bounded_the_longest_silent_goes(void **state)
{
	struct factory_paces p;
	unsigned i;

	factory_paces_init(&p, 3);
	for (i = 0; i < 3; i++)
		assert_int_equal(factory_pace(&p, &i, sizeof(i), 1, 1000), 0);
	i = 0;
	assert_int_not_equal(factory_pace(&p, &i, sizeof(i), 1, 1000), 0); /* now 1 is the oldest */
	i = 3;
	assert_int_equal(factory_pace(&p, &i, sizeof(i), 1, 1000), 0);
	assert_int_equal(p.count, 3);
	i = 0;
	assert_int_not_equal(factory_pace(&p, &i, sizeof(i), 1, 1000), 0);
	i = 1;
	assert_int_equal(factory_pace(&p, &i, sizeof(i), 1, 1000), 0);
	factory_paces_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_the_id_with_what_stands_around_it),
		cmocka_unit_test(what_does_not_fit_is_refused_not_changed),
		cmocka_unit_test(a_template_that_can_make_no_name_is_told_at_the_start),
		cmocka_unit_test(a_signature_counts_once_and_near_its_time),
		cmocka_unit_test(the_documented_signature_is_taken_in_either_case),
		cmocka_unit_test(remembered_signatures_are_bounded_and_forgotten),
		cmocka_unit_test(a_token_is_for_its_ids),
		cmocka_unit_test(a_certificate_proves_any_id_or_its_own),
		cmocka_unit_test(without_proof_nobody_but_anybody),
		cmocka_unit_test(gateways_have_a_token_or_a_name_of_their_own),
		cmocka_unit_test(so_many_a_minute_and_no_more),
		cmocka_unit_test(keys_are_bounded_the_longest_silent_goes),
	};

	return cmocka_run_group_tests(tests, begin, nothing_is_left);
}
