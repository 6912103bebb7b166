/*
 * What comes from a broker: a first byte that chooses the templates, the topic, a newline, the payload. A topic that is one
 * of the template's is made again of its parts; a command is a well-formed record, and its answer has a topic.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "upstream/broker/broker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const templates[][2] = {
	{ "site/${productKey}/${deviceName}/command/${name}", "site/${productKey}/${deviceName}/reply/${name}" },
	{ "${productKey}/${deviceName}/${name}/${request}", "a/${deviceName}/${request}" },
	{ "do/${name}/${deviceName}/of/${productKey}", "" },
};

static void take(struct broker *b, const struct broker_vars *vars, struct cw_bytes payload)
{
	struct cw_downlink *down;
	struct cw_record rec;

	if (broker_command(b, vars, payload, &down) == 0) {
		if (!cw_record_read(cw_bytes_of(down->bytes, down->len), &rec) || rec.kind != down->kind)
			abort();
		if (down->wants_answer != (down->answer_topic[0] != '\0'))
			abort();
	}
	cw_downlink_free(down);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *const *t = templates[size == 0 ? 0 : data[0] % 3];
	const uint8_t *at = size == 0 ? data : data + 1, *end = data + size;
	const uint8_t *nl = at == end ? NULL : memchr(at, '\n', (size_t)(end - at));
	struct cw_bytes topic = cw_bytes_of(at, (size_t)((nl == NULL ? end : nl) - at));
	struct cw_bytes payload = nl == NULL ? cw_bytes_of(NULL, 0) : cw_bytes_of(nl + 1, (size_t)(end - nl - 1));
	struct broker_settings own = { .command = t[0], .reply = t[1] };
	char again[BROKER_TOPIC_MOST];
	struct cw_upstream u = { 0 };
	struct broker b = { .u = &u, .own = &own };
	struct broker_vars vars;

	if (!broker_template_match(own.command, topic, &vars))
		return 0;
	if (broker_template_fill(own.command, &vars, again, sizeof(again)) == 0 &&
	    !cw_bytes_equal(cw_bytes_text(again), topic))
		abort();
	cw_await_init(&b.ids, NULL, 0, NULL);
	take(&b, &vars, payload);
	cw_await_fini(&b.ids);
	return 0;
}
