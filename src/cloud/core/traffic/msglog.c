/* msglog.c - see msglog.h. */
#include "cloud/core/traffic/msglog.h"

#include <string.h>

#include "base/clock.h"
#include "base/digits.h"
#include "base/mem.h"
#include "causeway/error.h"
#include "cloud/core/traffic/topic.h"

struct cloud_log {
	struct cloud_log_entry **ring;
	unsigned keep, first, count;
	size_t bytes, max_bytes;
	uint64_t seq;
	struct cw_list listeners;
};

int cw_cloud_log_new(unsigned keep, size_t bytes, struct cloud_log **ret_log)
{
	struct cloud_log *log = cw_zalloc(sizeof(*log));

	if (log == NULL)
		return CW_ENOMEM;
	log->keep = keep != 0 ? keep : 1;
	log->max_bytes = bytes;
	cw_list_init(&log->listeners);
	log->ring = cw_calloc(log->keep, sizeof(*log->ring));
	if (log->ring == NULL) {
		cw_free(log);
		return CW_ENOMEM;
	}
	*ret_log = log;
	return 0;
}

static void drop_oldest(struct cloud_log *log)
{
	struct cloud_log_entry *e = log->ring[log->first];

	log->bytes -= e->size;
	log->first = (log->first + 1) % log->keep;
	log->count--;
	cw_free(e);
}

void cw_cloud_log_clear(struct cloud_log *log)
{
	while (log->count > 0)
		drop_oldest(log);
}

void cw_cloud_log_free(struct cloud_log *log)
{
	if (log == NULL)
		return;
	cw_cloud_log_clear(log);
	cw_free(log->ring);
	cw_free(log);
}

static char *put(char *at, const void *data, size_t len)
{
	if (len != 0)
		memcpy(at, data, len);
	at[len] = '\0';
	return at + len + 1;
}

void cw_cloud_log_add(struct cloud_log *log, const struct cloud_log_note *note)
{
	size_t device_len = strlen(note->device);
	size_t size = sizeof(struct cloud_log_entry) + device_len + note->topic_len + note->len + 3;
	struct cloud_log_entry *e;
	struct cw_list *at, *next;

	log->seq++;
	while (log->count == log->keep || (log->count > 0 && log->bytes + size > log->max_bytes))
		drop_oldest(log);
	e = cw_alloc(size);
	if (e == NULL)
		return;
	*e = (struct cloud_log_entry){ .seq = log->seq, .ms = cw_clock_wall_ms(), .outcome = note->outcome,
		.reason = note->reason, .device_len = device_len, .topic_len = note->topic_len, .len = note->len,
		.size = size, .down = (uint8_t)note->down, .qos = note->qos };
	(void)put(put(put(e->data, note->device, device_len), note->topic, note->topic_len), note->payload, note->len);
	log->ring[(log->first + log->count) % log->keep] = e;
	log->count++;
	log->bytes += size;
	cw_list_each_safe(at, next, &log->listeners) {
		struct cloud_log_listener *l = cw_container_of(at, struct cloud_log_listener, link);

		l->added(l, e);
	}
}

void cw_cloud_log_listen(struct cloud_log *log, struct cloud_log_listener *l)
{
	cw_list_push_back(&log->listeners, &l->link);
}

uint64_t cw_cloud_log_newest(const struct cloud_log *log)
{
	return log->seq;
}

int cw_cloud_log_passes(const struct cloud_log_entry *e, const struct cloud_log_filter *filter)
{
	if (e->seq <= filter->since || (filter->direction != 0 && (filter->direction == 2) != e->down))
		return 0;
	if (filter->device != NULL && strcmp(filter->device, e->data) != 0)
		return 0;
	return filter->topic == NULL || cw_cloud_topic_matches(filter->topic, strlen(filter->topic),
	                                                       e->data + e->device_len + 1, e->topic_len);
}

json_t *cw_cloud_log_list(const struct cloud_log *log, const struct cloud_log_filter *filter, size_t limit)
{
	json_t *list = json_array();
	unsigned i = log->count;

	/* From the newest backwards until the limit is reached; then turned round. */
	while (i > 0 && json_array_size(list) < limit) {
		const struct cloud_log_entry *e = log->ring[(log->first + --i) % log->keep];

		if (e->seq <= filter->since)
			break;
		if (cw_cloud_log_passes(e, filter))
			json_array_append_new(list, cw_cloud_log_json(e));
	}
	if (list != NULL) {
		json_t *turned = json_array();
		size_t n = json_array_size(list);

		while (n > 0)
			json_array_append(turned, json_array_get(list, --n));
		json_decref(list);
		list = turned;
	}
	return list;
}

json_t *cw_cloud_log_hex(const char *data, size_t len)
{
	char *text = cw_alloc(2 * len + 1);
	json_t *j;

	if (text == NULL)
		return NULL;
	cw_hex(text, cw_bytes_of(data, len));
	j = json_stringn(text, 2 * len);
	cw_free(text);
	return j;
}

json_t *cw_cloud_log_json(const struct cloud_log_entry *e)
{
	const char *topic = e->data + e->device_len + 1, *payload = topic + e->topic_len + 1;
	json_t *text = json_stringn(payload, e->len), *name = json_stringn(topic, e->topic_len);
	/* Not every channel sees to it that a topic is UTF-8. */
	json_t *j = json_pack("{s:I, s:I, s:s, s:s, s:o, s:i, s:s}", "seq", (json_int_t)e->seq, "time", (json_int_t)e->ms,
	                      "direction", e->down ? "down" : "up", "device", e->data, "topic",
	                      name != NULL ? name : cw_cloud_log_hex(topic, e->topic_len), "qos", (int)e->qos, "outcome",
	                      e->outcome);

	if (e->reason != NULL)
		json_object_set_new(j, "reason", json_string(e->reason));
	if (text != NULL)
		json_object_set_new(j, "payload", text);
	else
		json_object_set_new(j, "payloadHex", cw_cloud_log_hex(payload, e->len));
	return j;
}
