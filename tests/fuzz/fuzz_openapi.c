/*
 * A management call as a hostile client would send it, a form text: taken apart, sorted, checked at the gate - as it
 * is, and once more signed rightly - and shown back as XML and JSON.
 */
#include <jansson.h>
#include <stdlib.h>

#include "cloud/openapi/answer.h"
#include "cloud/openapi/gate.h"
#include "http/form.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct cloud_access_key key = { "testid", "testsecret", true };

static void check(struct pop_gate *g, const struct pop_params *p)
{
	const struct cloud_access_key *found = NULL;
	struct pop_refusal why = { .status = 0 };
	int rc = cw_cloud_gate_check(g, "POST", p, &found, &why);

	if (rc == CW_EREFUSED && (why.status < 400 || why.message.data[why.message.len - 1] != '\0'))
		abort();
	cw_cloud_bytes_free(&why.message);
}

static void show(const struct pop_params *p)
{
	struct cloud_bytes out = { NULL, 0, 0 };
	json_t *body = json_object(), *list = json_array();
	unsigned i;

	for (i = 0; i < p->count; i++)
		json_array_append_new(list, json_string(p->list[i].value));
	json_object_set_new(body, "Value", list);
	if (cw_cloud_pop_xml(body, "Response", &out) < 0 || cw_cloud_pop_json(body, &out) < 0)
		abort();
	cw_cloud_bytes_free(&out);
	json_decref(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cw_cloud cloud = { .conf = { .keys = &key, .key_count = 1 } };
	struct pop_params p = { NULL, 0, 0 };
	struct cloud_bytes text = { NULL, 0, 0 };
	struct cw_form form;
	struct pop_gate *g = NULL;
	char signature[POP_SIGNATURE_SIZE];
	size_t i;

	if (cw_form_parse((const char *)data, size, &form) < 0 || cw_cloud_gate_new(&cloud, &g) < 0)
		abort();
	for (i = 0; i < form.count; i++)
		(void)cw_cloud_pop_add(&p, form.pairs[i].name, form.pairs[i].value);
	cw_form_fini(&form);
	cw_cloud_pop_sort(&p);
	check(g, &p);
	if (cw_cloud_pop_find(&p, "Signature") == NULL) {
		if (cw_cloud_pop_string_to_sign(&p, "POST", &text) < 0 ||
		    cw_cloud_pop_sign(key.secret, text.data, text.len, signature) < 0)
			abort();
		(void)cw_cloud_pop_add(&p, "Signature", signature);
		cw_cloud_pop_sort(&p);
		check(g, &p);
		check(g, &p);
	}
	show(&p);
	cw_cloud_bytes_free(&text);
	cw_cloud_pop_fini(&p);
	cw_cloud_gate_free(g);
	return 0;
}
