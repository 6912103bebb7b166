/* ota_device.c - what devices say about upgrades: versions, progress, questions, blocks of a file; see ota.h. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cloud/core/fault/fault.h"
#include "cloud/core/ota/ota.h"
#include "cloud/core/parse.h"

#define MODULES_MAX 64u /* versions kept of one device */

/* {params: {module, ...}}: the module, NULL for the whole firmware. */
static const char *module_in(const json_t *params)
{
	return json_string_value(json_object_get(params, "module"));
}

/*
 * The new version is success. Another one after step 100 is failure; before that it is a device that started again
 * half-way, or was asked.
 */
static void judge_version(struct cw_cloud *c, struct cloud_task *t, const char *version)
{
	char text[128];

	if (strcmp(version, t->batch->package->version) == 0) {
		cw_cloud_ota_task_set(c, t, CLOUD_TASK_SUCCEEDED, "");
	} else if (t->step == 100) {
		(void)snprintf(text, sizeof(text), "reported version %.64s after the upgrade", version);
		cw_cloud_ota_task_set(c, t, CLOUD_TASK_FAILED, text);
	}
}

void cw_cloud_ota_inform(struct cw_cloud *c, struct cloud_device *d, const struct cloud_topic *t, const char *payload,
                         size_t len)
{
	json_t *body = cw_cloud_json(payload, len, 0, NULL), *params = json_object_get(body, "params");
	json_t *version = json_object_get(params, "version"), *modules = cw_cloud_doc(d, CLOUD_DOC_MODULES);
	const char *module = module_in(params);
	struct cloud_task *task;

	if (module == NULL)
		module = "default";
	if (json_is_string(version) && json_string_length(version) <= 64 && strlen(module) <= 64 &&
	    (json_object_size(modules) < MODULES_MAX || json_object_get(modules, module) != NULL)) {
		json_object_set(modules, module, version);
		cw_cloud_changed(c, d);
		task = cw_cloud_ota_task(c, d, module);
		if (task != NULL)
			judge_version(c, task, json_string_value(version));
	}
	json_decref(body);
}

/* "1" to "100" and "0", or "-1" to "-4"; numbers occur. 0 or CW_EPROTO. */
static int read_step(const json_t *step, int *ret_step)
{
	const char *text = json_string_value(step);
	char *end;
	long n;

	if (text != NULL && (isdigit((unsigned char)text[0]) || text[0] == '-')) {
		n = strtol(text, &end, 10);
		if (*end != '\0')
			return CW_EPROTO;
	} else if (json_is_integer(step)) {
		n = json_integer_value(step) < 1000 && json_integer_value(step) > -1000 ? (long)json_integer_value(step) : 1000;
	} else {
		return CW_EPROTO;
	}
	if (n < -4 || n > 100)
		return CW_EPROTO;
	*ret_step = (int)n;
	return 0;
}

void cw_cloud_ota_progress(struct cw_cloud *c, struct cloud_device *d, const struct cloud_topic *t, const char *payload,
                           size_t len)
{
	static const char *const failures[] = { "upgrade failed", "download failed", "verification failed", "burning failed" };
	json_t *body = cw_cloud_json(payload, len, 0, NULL), *params = json_object_get(body, "params");
	const char *desc = json_string_value(json_object_get(params, "desc"));
	struct cloud_task *task = NULL;
	char text[128];
	int step = 0;

	if (read_step(json_object_get(params, "step"), &step) == 0)
		task = cw_cloud_ota_task(c, d, module_in(params));
	if (task != NULL) {
		task->step = step;
		(void)snprintf(text, sizeof(text), "%s%s%s", step < 0 ? failures[-step - 1] : "",
		               step < 0 && desc != NULL && desc[0] != '\0' ? ": " : "", desc != NULL ? desc : "");
		cw_cloud_ota_task_set(c, task, step < 0 ? CLOUD_TASK_FAILED : CLOUD_TASK_IN_PROGRESS, text);
	}
	json_decref(body);
}

/* ---- asked for ---- */

/* New `data`; an empty object when there is nothing to do. */
static json_t *offer(struct cw_cloud *c, struct cloud_device *d, const json_t *params)
{
	struct cloud_task *task = cw_cloud_ota_task(c, d, module_in(params));
	json_t *data = task != NULL ? cw_cloud_package_data(c, task->batch->package, task->batch->tags) : NULL;

	if (data == NULL)
		return json_object();
	cw_cloud_ota_told(c, task);
	return data;
}

int cw_cloud_ota_get(struct alink_request *r)
{
	if (!json_is_object(r->params))
		return 460;
	r->data = offer(r->cloud, r->device, r->params);
	return 200;
}

/* The id as it came, for an answer without the Alink envelope. */
static json_t *id_of(const json_t *body)
{
	json_t *id = json_object_get(body, "id");

	return json_is_string(id) || json_is_integer(id) ? json_incref(id) : json_string("0");
}

static int reply_dropped(struct cw_cloud *c, const struct cloud_device *d, const char *topic)
{
	struct cloud_strike at = { .device = d->id, .topic = topic, .topic_len = strlen(topic),
		                   .channel = d->link != NULL ? d->link->ops->channel : NULL };

	c->stats.replies++;
	return cw_cloud_fault(c, CLOUD_FAULT_REPLY, &at);
}

/* The old way to ask: the answer comes on the same topic and looks like a push. */
void cw_cloud_ota_request(struct cw_cloud *c, struct cloud_device *d, const struct cloud_topic *t, const char *payload,
                          size_t len)
{
	json_t *body = cw_cloud_json(payload, len, 0, NULL);
	char topic[256];

	(void)snprintf(topic, sizeof(topic), "/ota/device/request/%s", d->id);
	if (json_is_object(body) && !reply_dropped(c, d, topic))
		cw_cloud_send_json(c, d, topic, json_pack("{s:o, s:s, s:s, s:o}", "id", id_of(body), "code", "1000", "message",
		                   "success", "data", offer(c, d, json_object_get(body, "params"))), 0, CLOUD_REPLY);
	json_decref(body);
}

/* ---- blocks by MQTT ---- */

uint16_t cw_cloud_crc16(const uint8_t *data, size_t len)
{
	unsigned crc = 0, bit;
	size_t i;

	for (i = 0; i < len; i++) {
		crc ^= data[i];
		for (bit = 0; bit < 8; bit++)
			crc = (crc & 1) != 0 ? crc >> 1 ^ 0xA001u : crc >> 1;
	}
	return (uint16_t)crc;
}

struct block {
	const struct cloud_blob *blob;
	size_t offset, size;
	json_t *token; /* echoed, or NULL */
};

/* Only a package the device has a task of, finished or not, may be read. */
static const struct cloud_blob *blob_for(const struct cloud_device *d, json_int_t stream, json_int_t file)
{
	struct cw_list *e;

	cw_list_each(e, &d->ota_tasks) {
		const struct cloud_package *k = cw_container_of(e, struct cloud_task, of_device)->batch->package;

		if (k->mqtt && (json_int_t)k->id == stream && file >= 1 && file <= (json_int_t)k->file_count)
			return k->files[file - 1].blob;
	}
	return NULL;
}

/* 200 or a code. */
static int read_block(const struct cloud_device *d, const json_t *params, struct block *ret)
{
	const json_t *info = json_object_get(params, "fileInfo"), *block = json_object_get(params, "fileBlock");
	const json_t *size = json_object_get(block, "size"), *offset = json_object_get(block, "offset");

	ret->token = json_object_get(params, "fileToken");
	if (!json_is_integer(size) || !json_is_integer(offset) || json_integer_value(size) < 1 || json_integer_value(offset) < 0 ||
	    json_integer_value(size) > (json_int_t)CLOUD_DOWNLOAD_BLOCK || (ret->token != NULL && !json_is_string(ret->token)))
		return 460;
	ret->blob = blob_for(d, json_integer_value(json_object_get(info, "streamId")),
	                     json_integer_value(json_object_get(info, "fileId")));
	if (ret->blob == NULL || (uint64_t)json_integer_value(offset) >= ret->blob->len)
		return 460;
	ret->offset = (size_t)json_integer_value(offset);
	ret->size = (size_t)json_integer_value(size);
	if (ret->size > ret->blob->len - ret->offset)
		ret->size = ret->blob->len - ret->offset;
	return 200;
}

/* Two bytes of length, the header, the data, two bytes of CRC; without data no CRC. */
static void send_frame(struct cw_cloud *c, struct cloud_device *d, const char *topic, json_t *header, const struct block *b)
{
	char *text = json_dumps(header, JSON_COMPACT);
	size_t n = text != NULL ? strlen(text) : 0, len = 2 + n + (b != NULL ? b->size + 2 : 0);
	uint8_t *frame = text != NULL && n <= 0xFFFF ? cw_alloc(len) : NULL;

	if (frame != NULL) {
		frame[0] = (uint8_t)(n >> 8);
		frame[1] = (uint8_t)n;
		memcpy(frame + 2, text, n);
		if (b != NULL) {
			uint16_t crc = cw_cloud_crc16(b->blob->data + b->offset, b->size);

			memcpy(frame + 2 + n, b->blob->data + b->offset, b->size);
			frame[len - 2] = (uint8_t)crc;
			frame[len - 1] = (uint8_t)(crc >> 8);
		}
		cw_cloud_send(c, d, topic, frame, len, 0, CLOUD_REPLY);
	}
	cw_free(frame);
	free(text);
}

void cw_cloud_ota_download(struct cw_cloud *c, struct cloud_device *d, const struct cloud_topic *t, const char *payload,
                           size_t len)
{
	json_t *body = cw_cloud_json(payload, len, 0, NULL), *header, *data;
	struct block b = { .blob = NULL };
	int code = json_is_object(body) ? read_block(d, json_object_get(body, "params"), &b) : 6207;
	char topic[256];

	(void)snprintf(topic, sizeof(topic), "/sys/%s/thing/file/download_reply", d->id);
	if (!reply_dropped(c, d, topic)) {
		header = json_pack("{s:o, s:i}", "id", id_of(body), "code", code);
		if (code == 200) {
			data = json_pack("{s:O*, s:I, s:I, s:I}", "fileToken", b.token, "fileLength", (json_int_t)b.blob->len,
			                 "bSize", (json_int_t)b.size, "bOffset", (json_int_t)b.offset);
			json_object_set_new(header, "data", data);
		} else {
			c->stats.replies_failed++;
			json_object_set_new(header, "message", json_string(cw_cloud_code_text(code)));
		}
		send_frame(c, d, topic, header, code == 200 ? &b : NULL);
		json_decref(header);
	}
	json_decref(body);
}
