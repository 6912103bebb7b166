/* What others have written, before it goes to a person's terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

static void what_commands_a_terminal_is_tamed(void **state)
{
	static const char *const cases[][2] = {
		{ "", "" },
		{ "SN01 \"\\ \xc3\xa9 \xe4\xb8\xad \xf0\x9f\x98\x80", "SN01 \"\\ \xc3\xa9 \xe4\xb8\xad \xf0\x9f\x98\x80" },
		{ "\x1b]0;x\x07\r\n\t\x7f", "?]0;x?????" },
		{ "a\xc2\x9b" "2Jb\xc2\xa0", "a??2Jb\xc2\xa0" },         /* C1; a hard blank is none */
		{ "a\xe2\x80\xae" "b\xe2\x81\xa6" "c\xe2\x80\xa8", "a???b???c???" }, /* the rest from right to left; a line of its own */
		{ "\xe2\x80\xa6\xe2\x82\xac", "\xe2\x80\xa6\xe2\x82\xac" }, /* an ellipsis and a euro beside them */
		{ "a\x9b" "2J\xc3\xa9", "a?2J??" },                     /* no UTF-8: a terminal may read bytes */
		{ "\xc2", "?" },
		{ "\xe2\x80", "??" },
	};
	char text[64];
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		(void)snprintf(text, sizeof(text), "%s", cases[i][0]);
		cw_utf8_tame(text);
		assert_string_equal(text, cases[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_commands_a_terminal_is_tamed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
