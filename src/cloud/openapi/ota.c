/*
 * ota.c - actions on upgrades over the air, and on device shadows.
 *
 * A FirmwareId is a package's number and a JobId a batch's. Packages come by the emulator's own API: the platform's
 * way, an upload to another service, has none here.
 */
#include "cloud/core/ota/ota.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cloud/core/alink/shadow.h"
#include "cloud/openapi/pop.h"

#define TARGETS_MAX 200u /* devices of one batch by name */

static json_t *id_text(uint32_t id)
{
	char text[16];

	(void)snprintf(text, sizeof(text), "%u", (unsigned)id);
	return json_string(text);
}

/* The number behind FirmwareId or JobId; 0: none. */
static uint32_t id_of(const struct pop_call *call, const char *name)
{
	int64_t id;

	return cw_cloud_pop_number(call, name, 0, &id) == 0 && id > 0 && id <= UINT32_MAX ? (uint32_t)id : 0;
}

/* NULL: the call was failed. */
static struct cloud_package *package_of(struct pop_call *call)
{
	struct cloud_package *k = cw_cloud_package_find(call->cloud, id_of(call, "FirmwareId"));

	if (k == NULL)
		cw_cloud_pop_fail(call, POP_NO_FIRMWARE, NULL);
	return k;
}

static struct cloud_ota_batch *job_of(struct pop_call *call)
{
	struct cloud_ota_batch *b = cw_cloud_ota_find(call->cloud, id_of(call, "JobId"));

	if (b == NULL)
		cw_cloud_pop_fail(call, POP_NO_JOB, NULL);
	return b;
}

static const char *product_name(const struct pop_call *call, const char *pk)
{
	const struct cloud_product *p = cw_cloud_product_find(call->cloud, pk, strlen(pk));

	return p != NULL && p->name != NULL ? p->name : "";
}

/* CurrentPage, PageSize, PageCount and Total beside the list. */
static json_t *paged(const struct pop_page *page, unsigned total)
{
	return json_pack("{s:i, s:i, s:i, s:i}", "CurrentPage", (int)page->current, "PageSize", (int)page->size,
			 "PageCount", (int)cw_cloud_pop_pages(page, total), "Total", (int)total);
}

/* ---- packages ---- */

static json_t *firmware_json(const struct pop_call *call, const struct cloud_package *k)
{
	json_t *j = json_pack("{s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:o, s:o}", "FirmwareId", id_text(k->id),
			      "ProductKey", k->product, "ProductName", product_name(call, k->product), "ModuleName",
			      k->module[0] != '\0' ? k->module : "default", "DestVersion", k->version, "SrcVersion",
			      k->source, "SignMethod", k->sha256 ? "SHA256" : "MD5", "Type", k->source[0] != '\0',
			      "Status", 1, "UtcCreate", cw_cloud_pop_utc(k->created_ms), "UtcModified",
			      cw_cloud_pop_utc(k->created_ms));

	if (k->file_count != 0) {
		json_object_set_new(j, "FirmwareName", json_string(k->files[0].blob->name));
		json_object_set_new(j, "FirmwareSize", json_integer((json_int_t)k->files[0].blob->len));
		json_object_set_new(j, "FirmwareSign", json_string(k->sha256 ? k->files[0].sha256 : k->files[0].md5));
	}
	return j;
}

static void on_query_firmware(struct pop_call *call)
{
	const struct cloud_package *k = package_of(call);

	if (k != NULL)
		cw_cloud_pop_ok(call, json_pack("{s:o}", "FirmwareInfo", firmware_json(call, k)));
}

static void on_list_firmware(struct pop_call *call)
{
	const char *pk = cw_cloud_pop_text(call, "ProductKey"), *version = cw_cloud_pop_text(call, "DestVersion");
	struct pop_page page;
	json_t *list, *body;
	struct cw_list *e;
	unsigned n = 0;

	if (cw_cloud_pop_page(call, "CurrentPage", 10, &page) < 0)
		return;
	list = json_array();
	cw_list_each (e, &call->cloud->ota->packages) {
		const struct cloud_package *k = cw_container_of(e, struct cloud_package, link);

		if ((pk == NULL || strcmp(pk, k->product) == 0) &&
		    (version == NULL || strcmp(version, k->version) == 0) && cw_cloud_pop_on_page(&page, n++))
			json_array_append_new(list, firmware_json(call, k));
	}
	body = paged(&page, n);
	json_object_set_new(body, "FirmwareInfo", json_pack("{s:o}", "SimpleFirmwareInfo", list));
	cw_cloud_pop_ok(call, body);
}

static void on_delete_firmware(struct pop_call *call)
{
	struct cloud_package *k = package_of(call);
	struct cw_msg msg = { "" };

	if (k == NULL)
		return;
	if (cw_cloud_package_delete(call->cloud, k, &msg) < 0)
		cw_cloud_pop_fail(call, POP_OTA_FAILED, msg.text);
	else
		cw_cloud_pop_ok(call, NULL);
}

/* ---- batches ---- */

/* name.1, name.2, ... as an array; NULL when there is none. */
static json_t *list_of(const struct pop_call *call, const char *name, unsigned max)
{
	unsigned n = cw_cloud_pop_count(call, name, NULL, max), i;
	json_t *list = n != 0 ? json_array() : NULL;

	for (i = 1; i <= n; i++)
		json_array_append_new(list, json_string(cw_cloud_pop_item(call, name, i, NULL)));
	return list;
}

static json_t *tags_of(const struct pop_call *call)
{
	unsigned n = cw_cloud_pop_count(call, "Tag", "Key", 10), i;
	json_t *tags = n != 0 ? json_object() : NULL;

	for (i = 1; i <= n; i++) {
		const char *value = cw_cloud_pop_item(call, "Tag", i, "Value");

		json_object_set_new(tags, cw_cloud_pop_item(call, "Tag", i, "Key"),
				    json_string(value != NULL ? value : ""));
	}
	return tags;
}

static void start_job(struct pop_call *call, struct cloud_package *k, const struct cloud_batch_spec *spec)
{
	struct cloud_ota_batch *b = NULL;
	struct cw_msg msg = { "" };
	int rc = cw_cloud_ota_start(call->cloud, k, spec, &b, &msg);

	if (rc < 0)
		cw_cloud_pop_fail(call,
				  rc == CW_ENOENT   ? POP_NO_DEVICE
				  : rc == CW_ENOMEM ? POP_SYSTEM
						    : POP_OTA_FAILED,
				  msg.text);
	else
		cw_cloud_pop_data(call, json_pack("{s:o, s:o}", "JobId", id_text(b->id), "UtcCreate",
						  cw_cloud_pop_utc(b->created_ms)));
}

static void on_start_job(struct pop_call *call)
{
	const char *selection = cw_cloud_pop_text(call, "TargetSelection");
	struct cloud_package *k = package_of(call);
	json_t *devices = NULL, *versions, *tags;
	struct cloud_batch_spec spec = { .devices = NULL };
	int64_t minutes;

	if (k == NULL)
		return;
	if (strcmp(k->product, call->product->key) != 0) {
		cw_cloud_pop_fail(call, POP_NO_FIRMWARE, "The package is of another product.");
		return;
	}
	if (strcmp(selection, "ALL") != 0 && strcmp(selection, "SPECIFIC") != 0) {
		cw_cloud_pop_refuse(call, 400, "InvalidParameter.TargetSelection",
				    "TargetSelection is ALL or SPECIFIC here.");
		return;
	}
	if (cw_cloud_pop_number(call, "TimeoutInMinutes", 0, &minutes) < 0 || minutes < 0 || minutes > 1440) {
		cw_cloud_pop_refuse(call, 400, "InvalidParameter.TimeoutInMinutes", "TimeoutInMinutes is 1 to 1440.");
		return;
	}
	if (selection[0] == 'S') {
		devices = list_of(call, "TargetDeviceName", TARGETS_MAX);
		if (devices == NULL || json_array_size(devices) > TARGETS_MAX) {
			cw_cloud_pop_fail(call, devices == NULL ? POP_NO_NAMES : POP_TOO_MANY, NULL);
			json_decref(devices);
			return;
		}
	}
	versions = list_of(call, "SrcVersion", TARGETS_MAX);
	tags = tags_of(call);
	spec = (struct cloud_batch_spec){ devices, versions, tags, (unsigned)minutes };
	start_job(call, k, &spec);
	json_decref(devices);
	json_decref(versions);
	json_decref(tags);
}

/* New. The view finds out whose time has passed. */
static json_t *job_status(const struct pop_call *call, struct cloud_ota_batch *b)
{
	json_t *view = cw_cloud_ota_batch_json(call->cloud, b), *status = json_incref(json_object_get(view, "status"));

	json_decref(view);
	return status;
}

static json_t *job_json(const struct pop_call *call, struct cloud_ota_batch *b)
{
	return json_pack("{s:o, s:o, s:s, s:s, s:o, s:s, s:i, s:o, s:o}", "JobId", id_text(b->id), "FirmwareId",
			 id_text(b->package->id), "ProductKey", b->package->product, "DestVersion", b->package->version,
			 "JobStatus", job_status(call, b), "JobType", "UPGRADE_FIRMWARE", "TimeoutInMinutes",
			 (int)b->timeout_minutes, "UtcCreate", cw_cloud_pop_utc(b->created_ms), "UtcStartTime",
			 cw_cloud_pop_utc(b->created_ms));
}

static void on_query_job(struct pop_call *call)
{
	struct cloud_ota_batch *b = job_of(call);

	if (b != NULL)
		cw_cloud_pop_data(call, job_json(call, b));
}

static void on_jobs_of_firmware(struct pop_call *call)
{
	struct cloud_package *k = package_of(call);
	struct pop_page page;
	json_t *list, *body;
	struct cw_list *e;
	unsigned n = 0;

	if (k == NULL || cw_cloud_pop_page(call, "CurrentPage", 10, &page) < 0)
		return;
	list = json_array();
	cw_list_each (e, &k->batches) {
		if (cw_cloud_pop_on_page(&page, n++))
			json_array_append_new(list, job_json(call, cw_container_of(e, struct cloud_ota_batch, link)));
	}
	body = paged(&page, n);
	json_object_set_new(body, "Data", json_pack("{s:o}", "SimpleOTAJobInfo", list));
	cw_cloud_pop_ok(call, body);
}

static json_t *task_json(const struct pop_call *call, const struct cloud_task *t)
{
	const struct cloud_package *k = t->batch->package;
	char step[16];

	(void)snprintf(step, sizeof(step), "%d", t->step);
	return json_pack("{s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "JobId", id_text(t->batch->id),
			 "FirmwareId", id_text(k->id), "ProductKey", k->product, "ProductName",
			 product_name(call, k->product), "DeviceName", t->device->dn, "IotId", t->device->iot_id,
			 "DestVersion", k->version, "TaskStatus", cw_cloud_task_name(t->state), "TaskDesc", t->text,
			 "Progress", step, "UtcCreate", cw_cloud_pop_utc(t->batch->created_ms), "UtcModified",
			 cw_cloud_pop_utc(t->changed_ms));
}

static void on_tasks_of_job(struct pop_call *call)
{
	const char *wanted = cw_cloud_pop_text(call, "TaskStatus");
	struct cloud_ota_batch *b = job_of(call);
	struct pop_page page;
	json_t *list, *body;
	struct cw_list *e;
	unsigned n = 0;

	if (b == NULL || cw_cloud_pop_page(call, "CurrentPage", 10, &page) < 0)
		return;
	json_decref(job_status(call, b)); /* tasks whose time has passed are known afterwards */
	list = json_array();
	cw_list_each (e, &b->tasks) {
		const struct cloud_task *t = cw_container_of(e, struct cloud_task, of_batch);

		if ((wanted == NULL || strcmp(wanted, cw_cloud_task_name(t->state)) == 0) &&
		    cw_cloud_pop_on_page(&page, n++))
			json_array_append_new(list, task_json(call, t));
	}
	body = paged(&page, n);
	json_object_set_new(body, "Data", json_pack("{s:o}", "SimpleOTATaskInfo", list));
	cw_cloud_pop_ok(call, body);
}

static void on_cancel_job(struct pop_call *call)
{
	struct cloud_ota_batch *b = job_of(call);

	if (b == NULL)
		return;
	(void)cw_cloud_ota_cancel(call->cloud, b, NULL);
	cw_cloud_pop_ok(call, NULL);
}

static void on_cancel_devices(struct pop_call *call)
{
	unsigned n = cw_cloud_pop_count(call, "DeviceName", NULL, TARGETS_MAX), i;
	struct cloud_ota_batch *b = job_of(call);

	if (b == NULL)
		return;
	if (n == 0 || n > TARGETS_MAX) {
		cw_cloud_pop_fail(call, n == 0 ? POP_NO_NAMES : POP_TOO_MANY, NULL);
		return;
	}
	for (i = 1; i <= n; i++) {
		struct cloud_device *d = cw_cloud_pop_device(call, NULL, b->package->product,
							     cw_cloud_pop_item(call, "DeviceName", i, NULL));

		if (d == NULL)
			return;
		(void)cw_cloud_ota_cancel(call->cloud, b, d);
	}
	cw_cloud_pop_ok(call, NULL);
}

/* ---- shadows ---- */

static void on_get_shadow(struct pop_call *call)
{
	json_t *shadow = cw_cloud_shadow_json(call->device);

	cw_cloud_pop_ok(call, json_pack("{s:o}", "ShadowMessage",
					shadow != NULL ? cw_cloud_pop_value_text(shadow) : json_string("{}")));
}

/* {"method": "update", "state": {"desired": {...}}, "version": n}; without a version, or with -1: one more than it is.
 */
static void on_update_shadow(struct pop_call *call)
{
	json_t *message = cw_cloud_pop_json_param(call, "ShadowMessage", JSON_OBJECT);
	const json_t *state, *desired, *version;
	struct cw_msg msg = { "" };
	int64_t number = CLOUD_SHADOW_NEXT;
	int rc;

	if (message == NULL)
		return;
	state = json_object_get(message, "state");
	desired = json_is_object(state) ? json_object_get(state, "desired") : NULL;
	version = json_object_get(message, "version");
	if (json_is_integer(version) && json_integer_value(version) != -1)
		number = (int64_t)json_integer_value(version);
	if (desired == NULL) {
		cw_cloud_pop_refuse(call, 400, "InvalidParameter.ShadowMessage", "ShadowMessage has no state.desired.");
		json_decref(message);
		return;
	}
	rc = cw_cloud_shadow_set_desired(call->cloud, call->device, desired, number, &msg);
	json_decref(message);
	if (rc < 0)
		cw_cloud_pop_fail(call, rc == CW_ENOMEM ? POP_SYSTEM : POP_SHADOW, msg.text);
	else
		cw_cloud_pop_ok(call, NULL);
}

const struct pop_action cw_cloud_pop_ota_actions[] = {
	{ "QueryOTAFirmware", POP_ACCOUNT, "FirmwareId", 0, on_query_firmware },
	{ "ListOTAFirmware", POP_ACCOUNT, "CurrentPage PageSize", 0, on_list_firmware },
	{ "DeleteOTAFirmware", POP_ACCOUNT, "FirmwareId", 0, on_delete_firmware },
	{ "CreateOTAStaticUpgradeJob", POP_PRODUCT, "FirmwareId TargetSelection", 0, on_start_job },
	{ "QueryOTAJob", POP_ACCOUNT, "JobId", 0, on_query_job },
	{ "ListOTAJobByFirmware", POP_ACCOUNT, "FirmwareId CurrentPage PageSize", 0, on_jobs_of_firmware },
	{ "ListOTATaskByJob", POP_ACCOUNT, "JobId CurrentPage PageSize", 0, on_tasks_of_job },
	{ "CancelOTATaskByJob", POP_ACCOUNT, "JobId", 0, on_cancel_job },
	{ "CancelOTATaskByDevice", POP_ACCOUNT, "JobId", 0, on_cancel_devices },
	{ "GetDeviceShadow", POP_DEVICE, NULL, 0, on_get_shadow },
	{ "UpdateDeviceShadow", POP_DEVICE, NULL, 0, on_update_shadow },
	{ .name = NULL },
};
