/* ota.c - the API's firmware packages, batches, and how far each device has come; see api.h. */
#include <stdlib.h>
#include <string.h>

#include "cloud/api/api.h"
#include "cloud/core/ota/ota.h"
#include "cloud/core/parse.h"

/* The number a path names, or 0. */
static uint32_t number_of(const struct api_call *a)
{
	char *end;
	unsigned long n = strtoul(a->tail, &end, 10);

	return *end == '\0' && n <= UINT32_MAX ? (uint32_t)n : 0;
}

static struct cloud_package *package_of(struct api_call *a)
{
	struct cloud_package *k = cw_cloud_package_find(a->cloud, number_of(a));

	if (k == NULL)
		cw_cloud_api_error(a->req, 404, "no such package");
	return k;
}

static struct cloud_ota_batch *batch_of(struct api_call *a)
{
	struct cloud_ota_batch *b = cw_cloud_ota_find(a->cloud, number_of(a));

	if (b == NULL)
		cw_cloud_api_error(a->req, 404, "no such batch");
	return b;
}

/* ---- packages ---- */

void cw_cloud_api_packages(struct api_call *a)
{
	struct cloud_product *p = cw_cloud_api_product(a, a->tail);

	if (p != NULL)
		cw_cloud_api_json(a->req, 200, json_pack("{s:o}", "packages", cw_cloud_packages_json(a->cloud, p)));
}

/* The body is the file; what it is, is in the query. */
void cw_cloud_api_package_add(struct api_call *a)
{
	struct cloud_product *p = cw_cloud_api_product(a, a->tail);
	const char *ext = cw_http_query(a->req, "extData");
	json_t *texts = ext != NULL ? cw_cloud_json(ext, strlen(ext), 0, NULL) : NULL;
	struct cloud_package_spec spec = { .module = cw_http_query(a->req, "module"), .version = cw_http_query(a->req, "version"),
		                           .source_version = cw_http_query(a->req, "sourceVersion"),
		                           .sign_method = cw_http_query(a->req, "signMethod"),
		                           .protocol = cw_http_query(a->req, "protocol"), .ext = texts };
	struct cloud_package *k = NULL;
	struct cw_msg msg = { "" }, ignored;
	const char *data;
	size_t len;
	int rc;

	if (p == NULL || (ext != NULL && texts == NULL)) {
		if (p != NULL)
			cw_cloud_api_error(a->req, 400, "extData: a JSON object of texts");
		return;
	}
	data = cw_http_body(a->req, &len);
	rc = cw_cloud_package_add(a->cloud, p, &spec, &k, &msg);
	json_decref(texts);
	if (rc == 0) {
		rc = cw_cloud_package_file(a->cloud, k, cw_http_query(a->req, "name"), data, len, &msg);
		if (rc < 0)
			(void)cw_cloud_package_delete(a->cloud, k, &ignored);
	}
	if (rc < 0)
		cw_cloud_api_fail(a->req, rc, msg.text);
	else
		cw_cloud_api_json(a->req, 201, cw_cloud_package_json(k));
}

void cw_cloud_api_package(struct api_call *a)
{
	struct cloud_package *k = package_of(a);

	if (k != NULL)
		cw_cloud_api_json(a->req, 200, cw_cloud_package_json(k));
}

void cw_cloud_api_package_file(struct api_call *a)
{
	struct cloud_package *k = package_of(a);
	struct cw_msg msg = { "" };
	const char *data;
	size_t len;
	int rc;

	if (k == NULL)
		return;
	data = cw_http_body(a->req, &len);
	rc = cw_cloud_package_file(a->cloud, k, cw_http_query(a->req, "name"), data, len, &msg);
	if (rc < 0)
		cw_cloud_api_fail(a->req, rc, msg.text);
	else
		cw_cloud_api_json(a->req, 201, cw_cloud_package_json(k));
}

void cw_cloud_api_package_delete(struct api_call *a)
{
	struct cloud_package *k = package_of(a);
	struct cw_msg msg = { "" };
	int rc = k != NULL ? cw_cloud_package_delete(a->cloud, k, &msg) : 0;

	if (rc < 0)
		cw_cloud_api_fail(a->req, rc, msg.text);
	else if (k != NULL)
		cw_http_reply(a->req, 204, NULL, NULL, 0);
}

/* ---- batches ---- */

void cw_cloud_api_package_batches(struct api_call *a)
{
	struct cloud_package *k = package_of(a);
	json_t *list;
	struct cw_list *e;

	if (k == NULL)
		return;
	list = json_array();
	cw_list_each(e, &k->batches)
		json_array_append_new(list, cw_cloud_ota_batch_json(a->cloud, cw_container_of(e, struct cloud_ota_batch, link)));
	cw_cloud_api_json(a->req, 200, json_pack("{s:o}", "batches", list));
}

void cw_cloud_api_upgrade_start(struct api_call *a)
{
	struct cloud_package *k = package_of(a);
	json_t *timeout = json_object_get(a->body, "timeoutMinutes");
	struct cloud_batch_spec spec = { .devices = json_object_get(a->body, "devices"),
		                         .source_versions = json_object_get(a->body, "sourceVersions"),
		                         .tags = json_object_get(a->body, "tags") };
	struct cloud_ota_batch *b = NULL;
	struct cw_msg msg = { "" };
	int rc;

	if (k == NULL)
		return;
	if (!json_is_object(a->body) ||
	    (timeout != NULL && (!json_is_integer(timeout) || json_integer_value(timeout) < 0 || json_integer_value(timeout) > 1440))) {
		cw_cloud_api_error(a->req, 400, "if wanted devices, sourceVersions, tags, timeoutMinutes (0 to 1440)");
		return;
	}
	spec.timeout_minutes = (unsigned)json_integer_value(timeout);
	rc = cw_cloud_ota_start(a->cloud, k, &spec, &b, &msg);
	if (rc < 0)
		cw_cloud_api_fail(a->req, rc, msg.text);
	else
		cw_cloud_api_json(a->req, 201, cw_cloud_ota_batch_json(a->cloud, b));
}

void cw_cloud_api_upgrade(struct api_call *a)
{
	struct cloud_ota_batch *b = batch_of(a);
	json_t *j;

	if (b == NULL)
		return;
	j = cw_cloud_ota_batch_json(a->cloud, b);
	json_object_set_new(j, "devices", cw_cloud_ota_tasks_json(a->cloud, b));
	cw_cloud_api_json(a->req, 200, j);
}

/* {deviceName?}: one of its devices, or all. */
void cw_cloud_api_upgrade_cancel(struct api_call *a)
{
	struct cloud_ota_batch *b = batch_of(a);
	const char *dn = json_string_value(json_object_get(a->body, "deviceName"));
	struct cloud_device *d = NULL;

	if (b == NULL)
		return;
	if (dn != NULL) {
		d = cw_cloud_device_find(a->cloud, b->package->product, strlen(b->package->product), dn, strlen(dn));
		if (d == NULL) {
			cw_cloud_api_error(a->req, 404, "no such device");
			return;
		}
	}
	if (cw_cloud_ota_cancel(a->cloud, b, d) < 0)
		cw_cloud_api_error(a->req, 409, "nothing of it is unfinished");
	else
		cw_cloud_api_json(a->req, 200, cw_cloud_ota_batch_json(a->cloud, b));
}

void cw_cloud_api_upgrades(struct api_call *a)
{
	cw_cloud_api_json(a->req, 200, json_pack("{s:o}", "upgrades", cw_cloud_ota_device_json(a->cloud, a->device)));
}
