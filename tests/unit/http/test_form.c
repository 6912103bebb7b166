/* Forms: what clients write between ampersands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "http/form.h"

static struct cw_form parse(const char *text, size_t len)
{
	struct cw_form form;

	assert_int_equal(cw_form_parse(text, len, &form), 0);
	return form;
}

static void pair_is(const struct cw_form *form, size_t i, const char *name, const char *value)
{
	assert_true(i < form->count);
	assert_string_equal(form->pairs[i].name, name);
	assert_string_equal(form->pairs[i].value, value);
}

static void test_decodes(void **state)
{
	static const char text[] = "a=1&name=x+y%2Bz%26&&=only&bare&half=%4&bad=%zz%c3%A9&last=";
	struct cw_form form = parse(text, sizeof(text) - 1);

	assert_int_equal(form.count, 7);
	pair_is(&form, 0, "a", "1");
	pair_is(&form, 1, "name", "x y+z&");
	pair_is(&form, 2, "", "only");
	pair_is(&form, 3, "bare", "");
	pair_is(&form, 4, "half", "%4");
	pair_is(&form, 5, "bad", "%zz\xc3\xa9");
	pair_is(&form, 6, "last", "");
	cw_form_fini(&form);
}

static void test_nothing(void **state)
{
	struct cw_form form = parse("", 0);

	assert_int_equal(form.count, 0);
	cw_form_fini(&form);
	form = parse("&&&&", 4);
	assert_int_equal(form.count, 0);
	cw_form_fini(&form);
}

static void test_no_hidden_tail(void **state)
{
	static const char text[] = "a=1%00&b%00=2&c=3\0&d=4";
	struct cw_form form = parse(text, sizeof(text) - 1);

	assert_int_equal(form.count, 1);
	pair_is(&form, 0, "d", "4");
	cw_form_fini(&form);
}

static void test_bounded(void **state)
{
	char text[4 * CW_FORM_PAIRS_MAX];
	struct cw_form form;
	size_t i;

	for (i = 0; i < sizeof(text); i++)
		text[i] = i % 2 == 0 ? 'a' : '&';
	form = parse(text, sizeof(text));
	assert_int_equal(form.count, CW_FORM_PAIRS_MAX);
	cw_form_fini(&form);
}

static void test_no_memory(void **state)
{
	struct cw_form form;
	long before = cw_mem_live();

	cw_mem_fail_at(0);
	assert_int_equal(cw_form_parse("a=b", 3, &form), CW_ENOMEM);
	cw_mem_fail_at(1);
	assert_int_equal(cw_form_parse("a=b", 3, &form), CW_ENOMEM);
	cw_mem_fail_at(-1);
	assert_int_equal(cw_mem_live(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decodes),	       cmocka_unit_test(test_nothing), cmocka_unit_test(test_no_hidden_tail),
		cmocka_unit_test(test_bounded), cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
