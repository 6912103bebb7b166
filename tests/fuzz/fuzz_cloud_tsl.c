/* A model, newline, a value: whatever comes, a compiled model judges every value by a code and without harm. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cloud/core/model/tsl.h"
#include "cloud/core/model/tsl_type.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const struct cloud_model *m, const char *id, const json_t *v)
{
	int set = cw_cloud_model_set(m, id, v), got = cw_cloud_model_property(m, id, v);

	if (got != 0 && set == 0)
		abort(); /* what may be set may be posted */
	(void)cw_cloud_model_event(m, id, v);
	(void)cw_cloud_model_input(m, id, v);
	(void)cw_cloud_model_output(m, id, v);
	(void)cw_cloud_model_sync(m, id);
}

static void judge_all(const struct cloud_model *m, const json_t *v)
{
	struct cw_map_node *n;
	unsigned s;

	for (s = 0; s < MODEL_SECTIONS; s++) {
		cw_map_each(n, &m->entries[s])
			judge(m, ((const struct model_entry *)(const void *)n)->identifier, v);
	}
	judge(m, "", v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nl = memchr(data, '\n', size);
	size_t len = nl == NULL ? size : (size_t)(nl - data);
	json_t *tsl = json_loadb((const char *)data, len, 0, NULL), *v = NULL, *shorter, *nodes;
	struct cloud_model *m = NULL;
	struct cw_msg msg = { "" };

	if (nl != NULL)
		v = json_loadb((const char *)nl + 1, size - len - 1, JSON_DECODE_ANY, NULL);
	if (tsl != NULL && cw_cloud_model_new(tsl, &m, &msg) == 0) {
		if (v != NULL)
			judge_all(m, v);
		nodes = json_pack("[s, s]", "identifier", "type");
		shorter = cw_cloud_tsl_reduce(tsl, nodes, 0);
		json_decref(shorter);
		json_decref(nodes);
		cw_cloud_model_free(m);
	}
	json_decref(v);
	json_decref(tsl);
	return 0;
}
