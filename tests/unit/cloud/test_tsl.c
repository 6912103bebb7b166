/* Thing models: what is read, what is refused with which sentence, memory that runs short. covers: M43 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cloud/core/model/tsl.h"

static json_t *json(const char *text)
{
	char quoted[2048];
	size_t i;
	json_t *j;

	assert_true(strlen(text) < sizeof(quoted));
	for (i = 0; text[i] != '\0'; i++)
		quoted[i] = text[i] == '\'' ? '"' : text[i];
	quoted[i] = '\0';
	j = json_loads(quoted, JSON_DECODE_ANY, NULL);
	assert_non_null(j);
	return j;
}

#define MODEL                                                                                                       \
	"{'properties':[{'identifier':'I','accessMode':'r','dataType':{'type':'int','specs':{'min':'-5','max':5}}},"  \
	"{'identifier':'A','dataType':{'type':'array','specs':{'size':'2','item':{'type':'struct','specs':["          \
	"{'identifier':'t','dataType':{'type':'text','specs':{'length':'3'}}}]}}}},"                                  \
	"{'identifier':'E','dataType':{'type':'enum','specs':{'-1':'a','7':'b'}}}],"                                  \
	"'events':[{'identifier':'Ev','type':'error','outputData':[{'identifier':'x','dataType':{'type':'bool'}}]}]," \
	"'services':[{'identifier':'S','callType':'sync','inputData':[{'identifier':'x','required':true,"             \
	"'dataType':{'type':'date'}}],'outputData':[{'identifier':'y','dataType':{'type':'float'}}]}],"               \
	"'functionBlocks':[{'functionBlockId':'b','properties':[{'identifier':'I','dataType':{'type':'bool'}}]}]}"

static struct cloud_model *model(const char *text)
{
	struct cloud_model *m = NULL;
	struct cw_msg msg = { "" };
	json_t *j = json(text);

	assert_int_equal(cw_cloud_model_new(j, &m, &msg), 0);
	json_decref(j);
	return m;
}

static int code(int (*judge)(const struct cloud_model *m, const char *id, const json_t *v), const struct cloud_model *m,
                const char *id, const char *text)
{
	json_t *v = json(text);
	int rc = judge(m, id, v);

	json_decref(v);
	return rc;
}

static void values_are_judged(void **state)
{
	struct cloud_model *m = model(MODEL);

	assert_int_equal(code(cw_cloud_model_property, m, "I", "-5"), 0);
	assert_int_equal(code(cw_cloud_model_property, m, "I", "-6"), 6306);
	assert_int_equal(code(cw_cloud_model_property, m, "I", "1.0"), 6306);
	assert_int_equal(code(cw_cloud_model_property, m, "", "1"), 6321);
	assert_int_equal(code(cw_cloud_model_property, m, "i", "1"), 6320);
	assert_int_equal(code(cw_cloud_model_property, m, "b:I", "1"), 0);
	assert_int_equal(code(cw_cloud_model_property, m, "b:I", "2"), 6308);
	assert_int_equal(code(cw_cloud_model_property, m, "E", "-1"), 0);
	assert_int_equal(code(cw_cloud_model_property, m, "E", "'7'"), 6309);
	assert_int_equal(code(cw_cloud_model_property, m, "A", "[{'t':'abc'},{}]"), 0);
	assert_int_equal(code(cw_cloud_model_property, m, "A", "[{},{},{}]"), 6324);
	assert_int_equal(code(cw_cloud_model_property, m, "A", "[{'t':'abcd'}]"), 6310);
	assert_int_equal(code(cw_cloud_model_property, m, "A", "[{'u':1}]"), 6304);
	assert_int_equal(code(cw_cloud_model_property, m, "A", "[5]"), 6325);
	assert_int_equal(code(cw_cloud_model_property, m, "A", "null"), 6328);
	assert_int_equal(code(cw_cloud_model_set, m, "I", "1"), 6320); /* read only */
	assert_int_equal(code(cw_cloud_model_set, m, "E", "7"), 0);
	assert_int_equal(code(cw_cloud_model_event, m, "Ev", "{'x':1}"), 0);
	assert_int_equal(code(cw_cloud_model_event, m, "Ev", "{'x':2}"), 6308);
	assert_int_equal(code(cw_cloud_model_event, m, "Ev", "5"), 6312);
	assert_int_equal(code(cw_cloud_model_event, m, "Ew", "{}"), 5160);
	assert_int_equal(code(cw_cloud_model_input, m, "S", "{}"), 6302);
	assert_int_equal(code(cw_cloud_model_input, m, "S", "{'x':'12'}"), 0);
	assert_int_equal(code(cw_cloud_model_input, m, "S", "{'x':'-12'}"), 6311);
	assert_int_equal(code(cw_cloud_model_output, m, "S", "{'y':1}"), 0);
	assert_int_equal(code(cw_cloud_model_output, m, "S", "{'y':1e39}"), 6307);
	assert_int_equal(code(cw_cloud_model_output, m, "T", "{}"), 5161);
	assert_int_equal(cw_cloud_model_sync(m, "S"), 1);
	assert_int_equal(cw_cloud_model_sync(m, "T"), -1);
	cw_cloud_model_free(m);
}

static void wrong_models_say_where(void **state)
{
	static const struct {
		const char *text, *word;
	} bad[] = {
		{ "[]", "object" },
		{ "{'events':{}}", "events" },
		{ "{'properties':[5]}", "properties[0]: identifier" },
		{ "{'properties':[{'identifier':'a b'}]}", "identifier" },
		{ "{'properties':[{'identifier':'a','accessMode':'x'}]}", "\"a\": accessMode" },
		{ "{'properties':[{'identifier':'a','accessMode':5}]}", "accessMode" },
		{ "{'properties':[{'identifier':'a','dataType':{'type':'text','specs':{'length':'0'}}}]}", "length" },
		{ "{'properties':[{'identifier':'a','dataType':{'type':'text','specs':{'length':'x'}}}]}", "length" },
		{ "{'properties':[{'identifier':'a','dataType':{'type':'array','specs':{'size':'1'}}}]}", "dataType.type" },
		{ "{'properties':[{'identifier':'a','dataType':{'type':'struct','specs':{}}}]}", "struct" },
		{ "{'properties':[{'identifier':'a','dataType':{'type':'enum','specs':{'x':'y'}}}]}", "whole" },
		{ "{'properties':[{'identifier':'a','dataType':{'type':'enum'}}]}", "enum" },
		{ "{'properties':[{'identifier':'a','dataType':{'type':'int','specs':{'step':-1}}}]}", "step" },
		{ "{'properties':[{'identifier':'a','dataType':{'type':'int','specs':{'max':'inf'}}}]}", "max" },
		{ "{'events':[{'identifier':'a','type':'nice'}]}", "info" },
		{ "{'events':[{'identifier':'a','outputData':{}}]}", "list" },
		{ "{'services':[{'identifier':'a','callType':5}]}", "callType" },
		{ "{'functionBlocks':[{'functionBlockId':'a:b'}]}", "functionBlockId" },
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct cloud_model *m = NULL;
		struct cw_msg msg = { "" };
		json_t *j = json(bad[i].text);

		assert_int_equal(cw_cloud_model_new(j, &m, &msg), CW_EINVAL);
		if (strstr(msg.text, bad[i].word) == NULL)
			fail_msg("%s: %s", bad[i].text, msg.text);
		json_decref(j);
	}
}

/* array in array in ... is refused before it is deep */
static void nesting_is_bounded(void **state)
{
	json_t *type = json("{'type':'int'}"), *tsl;
	struct cloud_model *m = NULL;
	struct cw_msg msg = { "" };
	unsigned i;

	for (i = 0; i < 1000; i++)
		type = json_pack("{s:s, s:{s:s, s:o}}", "type", "array", "specs", "size", "1", "item", type);
	tsl = json_pack("{s:[{s:s, s:o}]}", "properties", "identifier", "deep", "dataType", type);
	assert_int_equal(cw_cloud_model_new(tsl, &m, &msg), CW_EINVAL);
	assert_non_null(strstr(msg.text, "deeply"));
	json_decref(tsl);
}

static void memory_may_run_short_anywhere(void **state)
{
	long before = cw_mem_live(), n;
	struct cloud_model *m = NULL;
	json_t *j = json(MODEL);

	for (n = 0;; n++) {
		struct cw_msg msg = { "" };
		int rc;

		cw_mem_fail_at(n);
		rc = cw_cloud_model_new(j, &m, &msg);
		if (!cw_mem_failed())
			break;
		assert_int_equal(rc, CW_ENOMEM);
		assert_int_equal(cw_mem_live(), before);
	}
	cw_mem_fail_at(-1);
	assert_true(n >= 4);
	cw_cloud_model_free(m);
	assert_int_equal(cw_mem_live(), before);
	json_decref(j);
}

static void the_short_form_keeps_what_is_named(void **state)
{
	json_t *tsl = json("{'schema':'s','properties':[{'identifier':'I','name':'n','dataType':{'type':'int','specs':{'min':'1'}}}],"
	                   "'services':[{'identifier':'set','method':'m'}]}");
	json_t *nodes = json("['identifier','type',5]"), *got = cw_cloud_tsl_reduce(tsl, nodes, 0);
	json_t *want = json("{'properties':[{'identifier':'I','dataType':{'type':'int'}}]}");

	assert_true(json_equal(got, want));
	json_decref(got);
	json_decref(want);
	got = cw_cloud_tsl_reduce(tsl, nodes, 1);
	assert_int_equal(json_array_size(json_object_get(got, "services")), 1);
	json_decref(got);
	json_decref(tsl);
	json_decref(nodes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_judged),
		cmocka_unit_test(wrong_models_say_where),
		cmocka_unit_test(nesting_is_bounded),
		cmocka_unit_test(memory_may_run_short_anywhere),
		cmocka_unit_test(the_short_form_keeps_what_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
