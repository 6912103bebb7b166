/* call.c - see call.h. */
#include "cloud/core/traffic/call.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cloud/core/model/script.h"
#include "cloud/core/parse.h"

void cw_cloud_call_cancel(struct cloud_call *call)
{
	cw_list_remove(&call->link);
	if (cw_worker_timers(call->cloud->worker) != NULL)
		cw_timer_stop(cw_worker_timers(call->cloud->worker), &call->timer);
	cw_free(call->topic);
	call->topic = NULL;
}

static void finish(struct cloud_call *call, enum cloud_call_end end, const char *payload, size_t len)
{
	cw_cloud_call_cancel(call);
	call->done(call, end, payload, len);
}

static void on_timeout(struct cw_timer *t)
{
	finish(cw_container_of(t, struct cloud_call, timer), CLOUD_CALL_TIMEOUT, NULL, 0);
}

int cw_cloud_call_wait(struct cloud_call *call, const char *topic, uint64_t timeout_ms)
{
	call->topic = cw_strdup(topic);
	if (call->topic == NULL)
		return CW_ENOMEM;
	cw_list_push_back(&call->cloud->calls, &call->link);
	cw_timer_set(cw_worker_timers(call->cloud->worker), &call->timer, timeout_ms, on_timeout);
	return 0;
}

/* Does the answer carry this id, as text or as a number? */
static int id_matches(const json_t *body, const char *id)
{
	const json_t *got = json_object_get(body, "id");
	char number[24];

	if (json_is_string(got))
		return strcmp(json_string_value(got), id) == 0;
	if (!json_is_integer(got))
		return 0;
	(void)snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(got));
	return strcmp(number, id) == 0;
}

int cw_cloud_call_answer(struct cw_cloud *c, struct cloud_device *d, const char *topic, size_t topic_len, const char *payload,
                         size_t len)
{
	json_t *body = NULL;
	struct cw_list *e, *n;
	int found = 0;

	cw_list_each_safe(e, n, &c->calls) {
		struct cloud_call *call = cw_container_of(e, struct cloud_call, link);

		if (call->device != d || strlen(call->topic) != topic_len || memcmp(call->topic, topic, topic_len) != 0)
			continue;
		if (call->id[0] != '\0') {
			if (body == NULL)
				body = cw_cloud_json(payload, len, JSON_DECODE_ANY, NULL);
			if (!id_matches(body, call->id))
				continue;
		}
		finish(call, CLOUD_CALL_ANSWERED, payload, len);
		found = 1;
		break;
	}
	json_decref(body);
	return found;
}

void cw_cloud_calls_abandon(struct cw_cloud *c, struct cloud_device *d)
{
	struct cw_list *e, *n;

	cw_cloud_scripts_abandon(c, d);
	cw_list_each_safe(e, n, &c->calls) {
		struct cloud_call *call = cw_container_of(e, struct cloud_call, link);

		if (d == NULL || call->device == d)
			finish(call, CLOUD_CALL_GONE, NULL, 0);
	}
}
