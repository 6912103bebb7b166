/* device_log.c - see device_log.h. */
#include "cloud/core/alink/device_log.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

struct kept {
	json_t *entries;
	size_t bytes;
};

struct cloud_device_log {
	struct kept lines, diagnosis;
};

static json_t *mode_json(const struct cloud_device *d)
{
	return json_pack("{s:s, s:{s:i}}", "getType", "content", "content", "mode", d->log_report ? 1 : 0);
}

int cw_cloud_log_config_get(struct alink_request *r)
{
	if (!json_is_object(r->params))
		return 460;
	if (!cw_cloud_param_is(r, "getType", "content"))
		return 6717;
	if (!cw_cloud_param_is(r, "configScope", "device"))
		return 6718;
	r->data = mode_json(r->device);
	return 200;
}

/* The document's sample has no method, and no answer comes. */
enum cloud_outcome cw_cloud_log_switch(struct cw_cloud *c, struct cloud_device *d, int on)
{
	char topic[256], id[24];

	d->log_report = on;
	cw_cloud_changed(c, d);
	cw_cloud_next_id(c, id);
	(void)snprintf(topic, sizeof(topic), "/sys/%s/thing/config/log/push", d->id);
	return cw_cloud_send_json(c, d, topic, json_pack("{s:s, s:s, s:o}", "id", id, "version", "1.0", "params", mode_json(d)),
	                          1, 0);
}

/* ---- what is posted ---- */

static struct cloud_device_log *log_of(struct cloud_device *d)
{
	if (d->local_log == NULL)
		d->local_log = cw_zalloc(sizeof(*d->local_log));
	return d->local_log;
}

static size_t size_of(const json_t *j)
{
	return json_dumpb(j, NULL, 0, JSON_COMPACT);
}

static void keep(struct kept *k, json_t *entry, size_t max_entries, size_t max_bytes)
{
	if (k->entries == NULL)
		k->entries = json_array();
	if (json_array_append_new(k->entries, entry) != 0)
		return;
	k->bytes += size_of(entry);
	while (json_array_size(k->entries) > max_entries || k->bytes > max_bytes) {
		k->bytes -= size_of(json_array_get(k->entries, 0));
		json_array_remove(k->entries, 0);
	}
}

static int line_valid(const json_t *line)
{
	static const char *const must[] = { "utcTime", "logLevel", "module", "code", "logContent" };
	size_t i;

	for (i = 0; i < sizeof(must) / sizeof(must[0]); i++) {
		if (!json_is_string(json_object_get(line, must[i])))
			return 0;
	}
	return 1;
}

/* All of them or none. */
int cw_cloud_log_post(struct alink_request *r)
{
	struct cloud_device_log *log;
	size_t n = json_array_size(r->params), i;

	if (n > r->cloud->conf.limits.log_lines)
		return cw_cloud_alink_exceeded(r, "logLines", 460);
	if (n == 0)
		return 460;
	for (i = 0; i < n; i++) {
		if (!line_valid(json_array_get(r->params, i)))
			return 460;
	}
	log = log_of(r->device);
	if (log == NULL)
		return 500;
	for (i = 0; i < n; i++) {
		json_t *line = json_copy(json_array_get(r->params, i));

		json_object_set_new(line, "received", json_integer((json_int_t)cw_cloud_wall_ms(r->cloud)));
		keep(&log->lines, line, CLOUD_LOG_LINES, CLOUD_LOG_BYTES);
	}
	return 200;
}

/* p: an object (single) or an array of them (batch). */
int cw_cloud_diag_post(struct alink_request *r)
{
	const json_t *p = json_object_get(r->params, "p"), *model = json_object_get(r->params, "model");
	struct cloud_device_log *log;

	if (!json_is_string(model) || !(json_is_object(p) || (json_is_array(p) && json_array_size(p) != 0)))
		return 460;
	log = log_of(r->device);
	if (log == NULL)
		return 500;
	keep(&log->diagnosis, json_pack("{s:O, s:O, s:I}", "model", model, "p", p, "received",
	     (json_int_t)cw_cloud_wall_ms(r->cloud)), CLOUD_DIAG_ENTRIES, CLOUD_DIAG_BYTES);
	return 200;
}

static json_t *entries_of(const struct kept *k)
{
	return k != NULL && k->entries != NULL ? json_copy(k->entries) : json_array();
}

json_t *cw_cloud_device_log_json(const struct cloud_device *d)
{
	const struct cloud_device_log *log = d->local_log;

	return json_pack("{s:b, s:o, s:o}", "report", d->log_report, "lines", entries_of(log != NULL ? &log->lines : NULL),
	                 "diagnosis", entries_of(log != NULL ? &log->diagnosis : NULL));
}

void cw_cloud_device_log_free(struct cloud_device *d)
{
	if (d->local_log == NULL)
		return;
	json_decref(d->local_log->lines.entries);
	json_decref(d->local_log->diagnosis.entries);
	cw_free(d->local_log);
	d->local_log = NULL;
}

json_t *cw_cloud_device_log_save(struct cw_cloud *c, const struct cloud_device *d)
{
	return d->log_report ? json_pack("{s:b}", "report", 1) : NULL;
}

int cw_cloud_device_log_load(struct cw_cloud *c, struct cloud_device *d, const json_t *j)
{
	d->log_report = json_is_true(json_object_get(j, "report"));
	return 0;
}
