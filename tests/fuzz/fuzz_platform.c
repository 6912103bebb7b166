/* Messages from the platform: topic, newline, payload. Whatever comes, a command is a well-formed record, and replies (of
 * posts, packs, registrations, the time) are read as what they are. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "platform/alink.h"
#include "platform/split.h"
#include "json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is an object goes as properties, in messages of 200 bytes. */
static void as_parts(struct cw_bytes item)
{
	struct cw_alink_options options = { .version = 1 };
	struct cw_record rec = { .kind = CW_KIND_PROPERTIES, .body = item };
	struct cw_split s;
	size_t i;

	if (cw_split_record(&rec, "pk", "dn", 1, &options, 200, &s) != 0)
		return;
	for (i = 0; i < s.count; i++)
		if (s.parts[i].len > 200)
			abort();
	cw_split_drop(&s);
}

static void as_json(struct cw_bytes text)
{
	uint8_t *item;
	char *back;
	size_t len, back_len;

	if (cw_json_to_item(text, &item, &len) != 0)
		return;
	if (cw_json_from_item(cw_bytes_of(item, len), 16 * text.len + 4096, &back, &back_len) != 0)
		abort(); /* what was read can be written */
	as_parts(cw_bytes_of(item, len));
	cw_free(back);
	cw_free(item);
}

static void as_reply(struct cw_bytes text)
{
	int64_t sent, received, answered;
	struct cw_alink_reply r;
	struct cw_bytes secret;
	int32_t code;

	(void)cw_alink_time(text, &sent, &received, &answered);
	if (cw_alink_reply(text, &r) != 0)
		return;
	if (cw_alink_registered(&r, "a1Product01", "device-1", &secret, &code) == 0 && secret.len == 0)
		abort();
	cw_alink_reply_drop(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nl = memchr(data, '\n', size);
	struct cw_bytes topic = cw_bytes_of(data, nl == NULL ? size : (size_t)(nl - data));
	struct cw_bytes payload = nl == NULL ? cw_bytes_of(NULL, 0) : cw_bytes_of(nl + 1, size - topic.len - 1);
	struct cw_alink_command c;
	struct cw_record rec;
	struct cw_topic t;

	cw_topic_parse(topic, &t);
	if (cw_alink_command(&t, topic, payload, &c) == 0) {
		if (!cw_record_read(cw_bytes_of(c.record, c.len), &rec) || rec.kind != c.kind)
			abort();
		cw_free(c.record);
	}
	as_reply(payload);
	as_json(payload);
	return 0;
}
