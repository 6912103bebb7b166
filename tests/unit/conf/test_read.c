/* The grammar: documents and what they read as; "!LINE:COLUMN" is an error at that place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conf_help.h"

static void an_object_may_leave_out_braces_commas_and_quotes(void **state)
{
	static const struct help_doc docs[] = {
		{ "", "{}" },
		{ " \n # nothing\n // here", "{}" },
		{ "{}", "{}" },
		{ "a=1", "{\"a\":1}" },
		{ "a:1", "{\"a\":1}" },
		{ "a{b:1}", "{\"a\":{\"b\":1}}" },
		{ "a = {b:1}", "{\"a\":{\"b\":1}}" },
		{ "a\n=\n1", "{\"a\":1}" },
		{ "a=1,", "{\"a\":1}" },
		{ "a=1\n,\nb=2", "{\"a\":1,\"b\":2}" },
		{ "{a=1}\n# end", "{\"a\":1}" },
		{ "a=1 // one\nb=2 # two", "{\"a\":1,\"b\":2}" },
		{ "a=b//c", "{\"a\":\"b\"}" },
		{ "a=1\r\nb=x\r\n", "{\"a\":1,\"b\":\"x\"}" },
		{ "\xef\xbb\xbf" "a=1", "{\"a\":1}" },
		{ "a\xc2\xa0=\xc2\xa0" "1", "{\"a\":1}" },
		{ "a=\xe3\x80\x80x\xe3\x80\x80", "{\"a\":\"x\"}" },
		{ "a=x\xff", "{\"a\":\"x\xef\xbf\xbd\"}" },
		{ "a=x\xe4\xb8" "y\xf0\x9f", "{\"a\":\"x\xef\xbf\xbdy\xef\xbf\xbd\"}" },
	};

	(void)state;
	HELP_CHECK(docs, CW_CONF_HOCON);
}

static void keys_are_paths(void **state)
{
	static const struct help_doc docs[] = {
		{ "a.b.c=1", "{\"a\":{\"b\":{\"c\":1}}}" },
		{ "a.\"b.c\".d=1", "{\"a\":{\"b.c\":{\"d\":1}}}" },
		{ "a b c=1", "{\"a b c\":1}" },
		{ "1.2=3", "{\"1\":{\"2\":3}}" },
		{ "3=1", "{\"3\":1}" },
		{ "-x=1", "{\"-x\":1}" },
		{ "true.null=1", "{\"true\":{\"null\":1}}" },
		{ "\"\"=1", "{\"\":1}" },
		{ "a.\"\".b=1", "{\"a\":{\"\":{\"b\":1}}}" },
		{ "a.\"b\"c=1", "{\"a\":{\"bc\":1}}" },
		{ "10.0foo=1", "{\"10\":{\"0foo\":1}}" },
		{ "includes=1", "{\"includes\":1}" },
		{ "\"include\"=1", "{\"include\":1}" },
		{ "a include=1", "{\"a include\":1}" },
		{ "a..b=1", "!1:1" },
		{ ".a=1", "!1:1" },
		{ "a.=1", "!1:1" },
		{ "include=1", "!1:8" },
		{ "${a}=1", "!1:1" },
		{ "a${b}=1", "!1:2" },
		{ "[a]=1", "!1:1" },
	};

	(void)state;
	HELP_CHECK(docs, CW_CONF_HOCON);
}

static void values_side_by_side_are_joined(void **state)
{
	static const struct help_doc docs[] = {
		{ "a = foo bar  baz  ", "{\"a\":\"foo bar  baz\"}" },
		{ "a = x\"  \"y", "{\"a\":\"x  y\"}" },
		{ "a = \"x\" \"y\"", "{\"a\":\"x y\"}" },
		{ "a = 1 2", "{\"a\":\"1 2\"}" },
		{ "a = 1e5 x", "{\"a\":\"1e5 x\"}" },
		{ "a = truefoo", "{\"a\":\"truefoo\"}" },
		{ "a = null foo", "{\"a\":\"null foo\"}" },
		{ "a = 10kilobytes", "{\"a\":\"10kilobytes\"}" },
		{ "a = 3f0a", "{\"a\":\"3f0a\"}" },
		{ "a = [1] [2]", "{\"a\":[1,2]}" },
		{ "a = [1][2][3]", "{\"a\":[1,2,3]}" },
		{ "a = {b:1} {c:2}", "{\"a\":{\"b\":1,\"c\":2}}" },
		{ "a = {0:x} [y]", "{\"a\":[\"x\",\"y\"]}" },
		{ "a = {1:x,0:w,n:z} [y]", "{\"a\":[\"w\",\"x\",\"y\"]}" },
		{ "a = [foo bar\n baz]", "{\"a\":[\"foo bar\",\"baz\"]}" },
		{ "a = [1] {b:1}", "!1:5" },
		{ "a = foo {b:1}", "!1:5" },
		{ "a = foo [1]", "!1:5" },
		{ "a = {b:1} \"foo\"", "!1:5" },
		{ "a = 1 b = 2", "!1:9" },
		{ "a {b:1} c {d:2}", "!1:9" },
	};

	(void)state;
	HELP_CHECK(docs, CW_CONF_HOCON);
}

static void numbers_keep_their_spelling_and_what_is_none_is_text(void **state)
{
	static const struct help_doc docs[] = {
		{ "a=1.50", "{\"a\":1.50}" },
		{ "a=-3e2", "{\"a\":-3e2}" },
		{ "a=01", "{\"a\":1}" },
		{ "a=1.", "{\"a\":1}" },
		{ "a=-.5", "{\"a\":-0.5}" },
		{ "a=.5", "{\"a\":\".5\"}" },
		{ "a=-", "{\"a\":\"-\"}" },
		{ "a=1-2", "{\"a\":\"1-2\"}" },
		{ "a=1e", "{\"a\":\"1e\"}" },
		{ "a=9223372036854775807", "{\"a\":9223372036854775807}" },
		{ "a=9223372036854775808", "{\"a\":\"9223372036854775808\"}" },
		{ "a=1e+", "!1:5" },
		{ "a=1+2", "!1:4" },
	};

	(void)state;
	HELP_CHECK(docs, CW_CONF_HOCON);
}

static void strings_have_escapes_and_three_quotes(void **state)
{
	static const struct help_doc docs[] = {
		{ "a=\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "{\"a\":\"\\\"\\\\/\\b\\f\\n\\r\\t\"}" },
		{ "a=\"\\u00e9\\u4e2d\"", "{\"a\":\"\xc3\xa9\xe4\xb8\xad\"}" },
		{ "a=\"\\ud83d\\ude00\"", "{\"a\":\"\xf0\x9f\x98\x80\"}" },
		{ "a=\"\\ud83d\"", "{\"a\":\"\xef\xbf\xbd\"}" },
		{ "a=\"\\u0000x\"", "{\"a\":\"\\u0000x\"}" },
		{ "a=\"\"", "{\"a\":\"\"}" },
		{ "a=\"\"\"x\ny\\n\"\"\"", "{\"a\":\"x\\ny\\\\n\"}" },
		{ "a=\"\"\"\"x\"\"\"\"", "{\"a\":\"\\\"x\\\"\"}" },
		{ "a=\"\"\"\"\"\"", "{\"a\":\"\"}" },
		{ "a=\"\"\"x\ny\"\"\"\nb=@", "!3:3" },
		{ "a=\"b", "!1:3" },
		{ "a=\"b\nc\"", "!1:5" },
		{ "a=\"\\q\"", "!1:4" },
		{ "a=\"\\u12\"", "!1:4" },
		{ "a=\"\t\"", "!1:4" },
		{ "a=\"\"\"x", "!1:3" },
	};

	(void)state;
	HELP_CHECK(docs, CW_CONF_HOCON);
}

static void lists_take_newlines_for_commas_but_no_holes(void **state)
{
	static const struct help_doc docs[] = {
		{ "a=[]", "{\"a\":[]}" },
		{ "a=[1,2,]", "{\"a\":[1,2]}" },
		{ "a=[\n1\n2\n,3\n]", "{\"a\":[1,2,3]}" },
		{ "a=[1 # c\n2]", "{\"a\":[1,2]}" },
		{ "a=[{b:1}{c:2}\n{d:3}]", "{\"a\":[{\"b\":1,\"c\":2},{\"d\":3}]}" },
		{ "a=[,1]", "!1:4" },
		{ "a=[1,,2]", "!1:6" },
		{ "a=[1,2,,]", "!1:8" },
		{ "a=[1", "!1:5" },
		{ "a=[1}", "!1:5" },
	};

	(void)state;
	HELP_CHECK(docs, CW_CONF_HOCON);
}

static void a_key_given_twice_merges_objects_and_replaces_the_rest(void **state)
{
	static const struct help_doc docs[] = {
		{ "a=1\na=2", "{\"a\":2}" },
		{ "a{b:1}\na{c:2}", "{\"a\":{\"b\":1,\"c\":2}}" },
		{ "a.b=1\na.c=2", "{\"a\":{\"b\":1,\"c\":2}}" },
		{ "a{b:1}\na=null\na{c:2}", "{\"a\":{\"c\":2}}" },
		{ "a{b:1}\na=5\na.c=2", "{\"a\":{\"c\":2}}" },
		{ "a{b{c:1}}\na{b{d:2}}\na.b.e=3", "{\"a\":{\"b\":{\"c\":1,\"d\":2,\"e\":3}}}" },
		{ "a=[1]\na=[2]", "{\"a\":[2]}" },
	};

	(void)state;
	HELP_CHECK(docs, CW_CONF_HOCON);
}

static void reserved_characters_and_unbalanced_braces_are_errors(void **state)
{
	static const struct help_doc docs[] = {
		{ "a=@b", "!1:3" },   { "a=b@c", "!1:4" },  { "a=b?c", "!1:4" },  { "a=b!c", "!1:4" },   { "a=b*c", "!1:4" },
		{ "a=b&c", "!1:4" },  { "a=b\\c", "!1:4" }, { "a=b`c", "!1:4" },  { "a=b^c", "!1:4" },   { "a=b:c", "!1:4" },
		{ "a=b=c", "!1:4" },  { "a=$b", "!1:3" },   { "a=b]c", "!1:4" },  { "a}", "!1:2" },      { "{a=1", "!1:5" },
		{ "{a=1}}", "!1:6" }, { "{a=1} b=2", "!1:7" }, { "a", "!1:2" },   { "a=", "!1:3" },      { "a=,", "!1:3" },
		{ "a==1", "!1:3" },   { "a [1]", "!1:3" },  { ",a=1", "!1:1" },   { "a=1,,b=2", "!1:5" }, { "{,}", "!1:2" },
		{ "[1]", "!1:1" },    { "a=1\n\n  \xc3\xa9=@", "!3:5" },
		{ "a=http://x", "!1:7" },
	};

	(void)state;
	HELP_CHECK(docs, CW_CONF_HOCON);
}

static void json_files_are_strict(void **state)
{
	static const struct help_doc docs[] = {
		{ "{\"a\":[1,true,null,\"x\"]}", "{\"a\":[1,true,null,\"x\"]}" },
		{ "{\"a.b\":1}", "{\"a.b\":1}" },
		{ " \n{\"a\"\n:\n1}\n ", "{\"a\":1}" },
		{ "", "!1:1" },
		{ "[1]", "!1:1" },
		{ "{a:1}", "!1:2" },
		{ "{\"a\"=1}", "!1:5" },
		{ "{\"a\":1,}", "!1:8" },
		{ "{\"a\":[1,]}", "!1:9" },
		{ "{\"a\":[1\n2]}", "!2:1" },
		{ "{\"a\":1\n\"b\":2}", "!2:1" },
		{ "{\"a\":x}", "!1:6" },
		{ "{\"a\":\"x\" \"y\"}", "!1:10" },
		{ "{\"a\":${b}}", "!1:6" },
		{ "{\"a\":1,\"a\":2}", "!1:8" },
		{ "{\"a\":1} # c", "!1:9" },
		{ "{\"a\":1 // c\n}", "!1:8" },
		{ "\"a\":1", "!1:1" },
	};

	(void)state;
	HELP_CHECK(docs, CW_CONF_JSON);
}

static void properties_split_keys_at_dots_and_hold_texts(void **state)
{
	static const struct help_doc docs[] = {
		{ "", "{}" },
		{ "# c\n! d\na=1\nb : 2\nc 3\nd", "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\",\"d\":\"\"}" },
		{ "a.b=1\na=lost\na.c=2", "{\"a\":{\"b\":\"1\",\"c\":\"2\"}}" },
		{ "a=lost\na.b=1", "{\"a\":{\"b\":\"1\"}}" },
		{ "..=x", "{\"\":{\"\":{\"\":\"x\"}}}" },
		{ "a=x\\\n   y", "{\"a\":\"xy\"}" },
		{ "a=\\u00e9\\t\\=\\q", "{\"a\":\"\xc3\xa9\\t=q\"}" },
		{ "g\\ h=1\\\\", "{\"g h\":\"1\\\\\"}" },
		{ "a=b=c  ", "{\"a\":\"b=c  \"}" },
		{ "a=1\r\nb=2\rc=3", "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}" },
		{ "a=\\u12", "!1:1" },
	};

	(void)state;
	HELP_CHECK(docs, CW_CONF_PROPERTIES);
}

static void nesting_without_end_is_refused(void **state)
{
	enum { DEEP = 100000 };
	char *text = malloc(DEEP * 2 + 3), *got;

	(void)state;
	assert_non_null(text);
	text[0] = 'a';
	text[1] = '=';
	memset(text + 2, '[', DEEP);
	got = help_json(text, DEEP + 2, CW_CONF_HOCON);
	assert_int_equal(got[0], '!');
	cw_free(got);
	for (int i = 0; i < DEEP; i++)
		memcpy(text + i * 2, "a.", 2);
	memcpy(text + DEEP * 2, "a=", 2);
	got = help_json(text, DEEP * 2 + 2, CW_CONF_HOCON);
	assert_int_equal(got[0], '!');
	cw_free(got);
	for (int i = 0; i < DEEP; i++)
		memcpy(text + i * 2, "a{", 2);
	got = help_json(text, DEEP * 2, CW_CONF_HOCON);
	assert_int_equal(got[0], '!');
	cw_free(got);
	free(text);
}

static void messages_do_not_show_what_belongs_to_a_secret(void **state)
{
	static const char *const docs[] = { "deviceSecret = s3cr3t : x", "deviceSecret = [ s3cr3t } ]", "a { accessToken = \"s3cr3t\" \"s3cr3t\" : 1 }",
		                            "keyPassword = s3cr3t\n  { s3cr3t", "password = ${s3cr3t \"s3cr3t\" [s3cr3t]}",
		                            "client.secret = { x = s3cr3t = s3cr3t }" };

	(void)state;
	for (size_t i = 0; i < sizeof(docs) / sizeof(docs[0]); i++) {
		struct cw_conf_tree *tree = NULL;
		struct cw_msg msg = { "" };

		assert_int_equal(cw_conf_parse_text("t", docs[i], strlen(docs[i]), NULL, &tree, &msg), CW_ECONF);
		assert_null(tree);
		if (strstr(msg.text, "s3cr3t") != NULL)
			fail_msg("%s", msg.text);
	}
}

static void a_message_names_place_found_and_accepted(void **state)
{
	struct cw_conf_tree *tree = NULL;
	struct cw_msg msg = { "" };

	(void)state;
	assert_int_equal(cw_conf_parse_text("app.conf", "a = 1\nb = foo : bar", 19, NULL, &tree, &msg), CW_ECONF);
	assert_string_equal(msg.text, "app.conf:2:9: found ':', but a comma, a newline or the end of the text is expected after a value");
}

static void values_know_where_they_were_written(void **state)
{
	const char *text = "a = 1\nb {\n  c = \xc3\xa9 x\n  d = [ 1,\n 2 ]\n}";
	struct cw_conf_tree *tree = NULL;
	const struct cw_value *v;
	struct cw_member m;

	(void)state;
	assert_int_equal(cw_conf_parse_text("app.conf", text, strlen(text), NULL, &tree, NULL), 0);
	assert_int_equal(cw_value_find(cw_conf_root(tree), "b.c", &v, NULL), 0);
	assert_string_equal(cw_value_origin(v).file, "app.conf");
	assert_int_equal(cw_value_origin(v).line, 3);
	assert_int_equal(cw_value_origin(v).column, 7);
	assert_int_equal(cw_value_find(cw_conf_root(tree), "b.d", &v, NULL), 0);
	assert_int_equal(cw_value_origin(cw_value_at(v, 1)).line, 5);
	assert_int_equal(cw_value_origin(cw_value_at(v, 1)).column, 2);
	assert_int_equal(cw_value_member(cw_conf_root(tree), 0, &m), 1);
	assert_string_equal(m.key, "a");
	assert_int_equal(cw_value_member(cw_conf_root(tree), 2, &m), 0);
	cw_conf_tree_unref(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_object_may_leave_out_braces_commas_and_quotes),
		cmocka_unit_test(keys_are_paths),
		cmocka_unit_test(values_side_by_side_are_joined),
		cmocka_unit_test(numbers_keep_their_spelling_and_what_is_none_is_text),
		cmocka_unit_test(strings_have_escapes_and_three_quotes),
		cmocka_unit_test(lists_take_newlines_for_commas_but_no_holes),
		cmocka_unit_test(a_key_given_twice_merges_objects_and_replaces_the_rest),
		cmocka_unit_test(reserved_characters_and_unbalanced_braces_are_errors),
		cmocka_unit_test(json_files_are_strict),
		cmocka_unit_test(properties_split_keys_at_dots_and_hold_texts),
		cmocka_unit_test(nesting_without_end_is_refused),
		cmocka_unit_test(messages_do_not_show_what_belongs_to_a_secret),
		cmocka_unit_test(a_message_names_place_found_and_accepted),
		cmocka_unit_test(values_know_where_they_were_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
