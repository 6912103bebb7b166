/* Substitutions: what they become, in which order, and which circles are errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conf_help.h"

static void a_substitution_takes_the_value_of_its_path(void **state)
{
	static const struct help_doc docs[] = {
		{ "a=${b}\nb=1", "{\"a\":1,\"b\":1}" },
		{ "a=${ b . c }\nb . c=1", "{\"a\":1,\"b \":{\" c\":1}}" },
		{ "a=${b.\"c.d\"}\nb.\"c.d\"=1", "{\"a\":1,\"b\":{\"c.d\":1}}" },
		{ "a=x${b}y\nb=1.50", "{\"a\":\"x1.50y\",\"b\":1.50}" },
		{ "a=[x ${b} y]\nb=null", "{\"a\":[\"x null y\"],\"b\":null}" },
		{ "a=${b}{c:2}\nb{c:1,d:3}", "{\"a\":{\"c\":2,\"d\":3},\"b\":{\"c\":1,\"d\":3}}" },
		{ "x=[1],y=[2],a=${x} ${y}", "{\"a\":[1,2],\"x\":[1],\"y\":[2]}" },
		{ "x{p:1},y{q:2},a=${x} ${y}", "{\"a\":{\"p\":1,\"q\":2},\"x\":{\"p\":1},\"y\":{\"q\":2}}" },
		{ "a.0=x\na.1=y\nb=${a}[z]", "{\"a\":{\"0\":\"x\",\"1\":\"y\"},\"b\":[\"x\",\"y\",\"z\"]}" },
		{ "a=${b}", "!1:3" },
		{ "x=[1],a=${x} foo", "!1:9" },
		{ "x{p:1},a=${x} \"foo\"", "!1:10" },
		{ "a=${b", "!1:3" },
		{ "a=${}", "!1:3" },
		{ "a=${?}", "!1:3" },
		{ "a=${b.}", "!1:3" },
		{ "a=${${b}}", "!1:5" },
		{ "a=$", "!1:3" },
	};

	(void)state;
	HELP_CHECK(docs, CW_CONF_HOCON);
}

static void an_optional_one_that_finds_nothing_leaves_no_trace(void **state)
{
	static const struct help_doc docs[] = {
		{ "a=${?b}", "{}" },
		{ "a=1\na=${?b}", "{\"a\":1}" },
		{ "a=[${?b},1]", "{\"a\":[1]}" },
		{ "a=${?b}foo${?c}", "{\"a\":\"foo\"}" },
		{ "a=${?b}${?c}", "{}" },
		{ "a{b:${?c},d:1}", "{\"a\":{\"d\":1}}" },
		{ "a{c:1}\na=${?n}\na{d:2}", "{\"a\":{\"c\":1,\"d\":2}}" },
	};

	(void)state;
	HELP_CHECK(docs, CW_CONF_HOCON);
}

static void a_value_may_refer_to_its_older_self(void **state)
{
	static const struct help_doc docs[] = {
		{ "p=\"/a\"\np=${p}\":/b\"\np=${p}\":/c\"", "{\"p\":\"/a:/b:/c\"}" },
		{ "a=[1]\na=${a}[2]", "{\"a\":[1,2]}" },
		{ "a=1\na=${?a}2\na=${?a}3", "{\"a\":\"123\"}" },
		{ "a=${?a}foo", "{\"a\":\"foo\"}" },
		{ "a+=1", "{\"a\":[1]}" },
		{ "a=[1]\na+=2\na+=[3]", "{\"a\":[1,2,[3]]}" },
		{ "b.a=[1]\nb.a+=2\nb{a+=3}", "{\"b\":{\"a\":[1,2,3]}}" },
		{ "a{x:1}\na=${a}{y:2}", "{\"a\":{\"x\":1,\"y\":2}}" },
		{ "b{c{e:1}}\nb=${b.c}", "{\"b\":{\"c\":{\"e\":1},\"e\":1}}" },
		{ "a=1\na+=2", "!2:4" },
		{ "a+={b+=1}", "!1:6" },
		{ "a=[{b+=1}]", "!1:6" },
	};

	(void)state;
	HELP_CHECK(docs, CW_CONF_HOCON);
}

static void look_ups_see_the_final_tree_not_the_moment(void **state)
{
	static const struct help_doc docs[] = {
		{ "bar{foo:42,baz:${bar.foo}}\nbar{foo:43}", "{\"bar\":{\"baz\":43,\"foo\":43}}" },
		{ "bar{a:${foo.d},b:1}\nbar.b=3\nfoo{c:${bar.b},d:2}\nfoo.d=4", "{\"bar\":{\"a\":4,\"b\":3},\"foo\":{\"c\":3,\"d\":4}}" },
		{ "foo{a{c:1}}\nfoo=${foo.a}\nfoo{a:2}", "{\"foo\":{\"a\":2,\"c\":1}}" },
		{ "c{q:1}\na=${c.d.f}\nc=${g}\ng{d=${e}}\ne{f:1}",
		  "{\"a\":1,\"c\":{\"d\":{\"f\":1},\"q\":1},\"e\":{\"f\":1},\"g\":{\"d\":{\"f\":1}}}" },
		{ "q{z:1}\na{b={y:1},b=${q}}\nc=${a.b.z}", "{\"a\":{\"b\":{\"y\":1,\"z\":1}},\"c\":1,\"q\":{\"z\":1}}" },
		{ "a=5\nb=${a}\nb{c:1}", "{\"a\":5,\"b\":{\"c\":1}}" },
		{ "a=5\nb{c:1}\nb=${a}", "{\"a\":5,\"b\":5}" },
	};

	(void)state;
	HELP_CHECK(docs, CW_CONF_HOCON);
}

static void circles_end_in_an_error_or_in_nothing(void **state)
{
	static const struct help_doc docs[] = {
		{ "a=${a}", "!1:3" },
		{ "a=${a}foo", "!1:3" },
		{ "a=${b}\nb=${a}", "!2:3" },
		{ "a{b:${a}}", "!1:5" },
		{ "a=${b.c}\nb=${a}", "!2:3" },
		{ "a=${?a}", "{}" },
		{ "a=${?b}\nb=${?a}", "{}" },
		{ "a=1,b=2,a=${b},b=${a}", "{\"a\":1,\"b\":1}" },
	};

	(void)state;
	HELP_CHECK(docs, CW_CONF_HOCON);
}

static void the_environment_answers_last(void **state)
{
	static const struct help_doc docs[] = {
		{ "a=${HOME}/x", "{\"a\":\"/home/op/x\"}" },
		{ "HOME=null\na=${HOME}", "{\"HOME\":null,\"a\":null}" },
		{ "a=${EMPTY}", "{\"a\":\"\"}" },
		{ "x=1\nx=${?NOT_SET}\ny=${?HOME}", "{\"x\":1,\"y\":\"/home/op\"}" },
		{ "h=${HOSTS[]}", "{\"h\":[\"a\",\"b\"]}" },
		{ "h=[x] ${HOSTS[]}", "{\"h\":[\"x\",\"a\",\"b\"]}" },
		{ "h=[x]\nh=${?NONE[]}", "{\"h\":[\"x\"]}" },
		{ "HOSTS=[1]\nh=${HOSTS[]}", "{\"HOSTS\":[1],\"h\":[1]}" },
		{ "h=${NONE[]}", "!1:3" },
		{ "h=${HOSTS[0]}", "!1:10" },
		{ "x=${a.b}", "{\"x\":\"dotted\"}" },
	};

	(void)state;
	HELP_CHECK(docs, CW_CONF_HOCON);
}

static void growth_without_end_meets_the_memory_limit(void **state)
{
	struct cw_conf_options opt = { .memory_limit = 8u * 1024 * 1024 };
	struct cw_conf_tree *tree = NULL;
	struct cw_msg msg = { "" };
	char text[4096] = "a0=[x,x,x,x]\n";

	(void)state;
	for (int i = 1; i < 60; i++)
		snprintf(text + strlen(text), 64, "a%d=${a%d}${a%d}\n", i, i - 1, i - 1);
	assert_int_equal(cw_conf_parse_text("t", text, strlen(text), &opt, &tree, &msg), CW_ELIMIT);
	assert_null(tree);
	assert_int_equal(cw_mem_live(), 0);
}

static char dir[] = "/tmp/cw-conf-test-XXXXXX";

static char *include_json(const char *text)
{
	struct cw_conf_options opt = { .env = help_env };
	struct cw_conf_tree *tree = NULL;
	struct cw_msg msg = { "" };
	char path[300], *out = NULL;

	help_file(dir, "main.conf", text);
	snprintf(path, sizeof(path), "%s/main.conf", dir);
	if (cw_conf_parse_file(path, &opt, &tree, &msg) < 0) {
		out = cw_strdup(strrchr(msg.text, '/') == NULL ? msg.text : msg.text + strlen(dir));
		return out;
	}
	assert_int_equal(cw_dump_value(cw_conf_root(tree), CW_DUMP_JSON, 0, &out, NULL), 0);
	help_squeeze(out);
	cw_conf_tree_unref(tree);
	return out;
}

static void includes_bring_files_in(void **state)
{
	static const struct help_doc docs[] = {
		{ "include \"one\"", "{\"p\":1,\"q\":{\"r\":2}}" },
		{ "include \"one.conf\", p=5", "{\"p\":5,\"q\":{\"r\":2}}" },
		{ "p=0\ninclude \"one\"", "{\"p\":1,\"q\":{\"r\":2}}" },
		{ "q.s=3\ninclude \"one\"", "{\"p\":1,\"q\":{\"r\":2,\"s\":3}}" },
		{ "a{include \"one\"}", "{\"a\":{\"p\":1,\"q\":{\"r\":2}}}" },
		{ "a=[{include \"one\"}]", "{\"a\":[{\"p\":1,\"q\":{\"r\":2}}]}" },
		{ "include \"missing\"\na=1", "{\"a\":1}" },
		{ "include file(\"one\")", "{\"p\":1,\"q\":{\"r\":2}}" },
		{ "include required( file( \"one.conf\" ) )", "{\"p\":1,\"q\":{\"r\":2}}" },
		{ "include required(\"one\")", "{\"p\":1,\"q\":{\"r\":2}}" },
		{ "include \"many\"", "{\"j\":1,\"m\":\"conf\",\"o\":{\"c\":1,\"j\":1,\"p\":\"2\"},\"p\":\"1\"}" },
		{ "include \"many.properties\"", "{\"m\":\"props\",\"o\":{\"p\":2},\"p\":1}" },
		{ "include file(\"many.properties\")", "{\"m\":\"props\",\"o\":{\"p\":\"2\"},\"p\":\"1\"}" },
		{ "x=7\na{include \"subst\"}", "{\"a\":{\"x\":5,\"y\":5,\"z\":\"/home/op\"},\"x\":7}" },
		{ "a{include \"subst\", x=8}", "{\"a\":{\"x\":8,\"y\":8,\"z\":\"/home/op\"}}" },
		{ "a.b{include \"subst\"}", "{\"a\":{\"b\":{\"x\":5,\"y\":5,\"z\":\"/home/op\"}}}" },
	};
	int wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(docs) / sizeof(docs[0]); i++) {
		char *got = include_json(docs[i].text);

		if (strcmp(got, docs[i].want) != 0) {
			print_error("document: %s\n  expected %s\n  got      %s\n", docs[i].text, docs[i].want, got);
			wrong++;
		}
		cw_free(got);
	}
	assert_int_equal(wrong, 0);
}

static void wrong_includes_say_so(void **state)
{
	static const struct help_doc docs[] = {
		{ "include required(\"missing\")", "/main.conf:1:18: the required file \"missing\" was not found, neither as .conf nor as .json nor as .properties" },
		{ "include required(\"missing.conf\")", "/main.conf:1:18: the required file \"missing.conf\" was not found" },
		{ "include url(\"http://x/y\")", "/main.conf:1:13: include url() is not supported; include a local file by its name or with file(\"...\")" },
		{ "include classpath(\"y\")", "/main.conf:1:19: include classpath() is not supported; include a local file by its name or with file(\"...\")" },
		{ "include \"https://x/y\"", "/y\" is" }, /* see below */
		{ "include one", "/main.conf:1:9: found 'one', but include wants a name in double quotes, file(\"...\"), required(\"...\") or required(file(\"...\"))" },
		{ "include file(\"one\" x", "/main.conf:1:20: found 'x', but ) is expected after the name of an include" },
		{ "a=[{include \"subst\"}]", "/main.conf:1:13: a file that is included inside a list cannot use substitutions, because elements of lists have no path" },
		{ "include \"broken\"", "/broken.conf:1:3: '@' is reserved and not allowed outside quotes; put the whole key or value into double quotes" },
		{ "include \"main\"", "/main.conf:1:9: includes more than 50 deep; \"main\" probably includes itself" },
		{ "include \"list\"", "/list.json:1:1: the document is a list, but settings are an object: key and value" },
	};
	char *got;

	(void)state;
	for (size_t i = 0; i < sizeof(docs) / sizeof(docs[0]); i++) {
		got = include_json(docs[i].text);
		if (i == 4)
			assert_non_null(strstr(got, "including a URL is not supported"));
		else
			assert_string_equal(got, docs[i].want);
		cw_free(got);
	}
}

static void a_missing_file_is_told_from_a_wrong_one(void **state)
{
	struct cw_conf_tree *tree = NULL;
	struct cw_msg msg = { "" };

	(void)state;
	assert_int_equal(cw_conf_parse_file("/nonexistent/x.conf", NULL, &tree, &msg), CW_ENOENT);
	assert_string_equal(msg.text, "/nonexistent/x.conf: there is no such file");
	assert_int_equal(cw_conf_parse_file("/tmp", NULL, &tree, &msg), CW_ENOENT);
	assert_int_equal(cw_conf_parse_file("/nonexistent/x.conf", NULL, &tree, NULL), CW_ENOENT);
	assert_null(tree);
}

static const struct {
	const char *name, *text;
} files[] = {
	{ "one.conf", "p=1\nq={r:2}\n" },
	{ "many.conf", "m=conf\no={c:1}\n" },
	{ "many.json", "{\"m\":\"json\",\"j\":1,\"o\":{\"j\":1}}" },
	{ "many.properties", "m=props\np=1\no.p=2\n" },
	{ "subst.conf", "x=5\ny=${x}\nz=${HOME}\n" },
	{ "broken.conf", "a=@" },
	{ "list.json", "[1]" },
	{ "main.conf", "" },
};

static int make_files(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		help_file(dir, files[i].name, files[i].text);
	return 0;
}

static int remove_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		help_remove(dir, files[i].name);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_substitution_takes_the_value_of_its_path),
		cmocka_unit_test(an_optional_one_that_finds_nothing_leaves_no_trace),
		cmocka_unit_test(a_value_may_refer_to_its_older_self),
		cmocka_unit_test(look_ups_see_the_final_tree_not_the_moment),
		cmocka_unit_test(circles_end_in_an_error_or_in_nothing),
		cmocka_unit_test(the_environment_answers_last),
		cmocka_unit_test(growth_without_end_meets_the_memory_limit),
		cmocka_unit_test(includes_bring_files_in),
		cmocka_unit_test(wrong_includes_say_so),
		cmocka_unit_test(a_missing_file_is_told_from_a_wrong_one),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
