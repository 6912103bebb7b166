/* upkeep.c - the API's shadows, remote configurations, device logs, jobs; see api.h. */
#include <stdint.h>
#include <string.h>

#include "cloud/api/api.h"
#include "cloud/core/alink/device_log.h"
#include "cloud/core/alink/job.h"
#include "cloud/core/alink/remote_config.h"
#include "cloud/core/alink/shadow.h"

/* ---- shadow ---- */

void cw_cloud_api_shadow(struct api_call *a)
{
	json_t *j = cw_cloud_shadow_json(a->device);

	cw_cloud_api_json(a->req, 200, j != NULL ? json_incref(j) : json_object());
}

/* {desired: {..} or null, version?} */
void cw_cloud_api_shadow_put(struct api_call *a)
{
	json_t *desired = json_object_get(a->body, "desired"), *version = json_object_get(a->body, "version");
	struct cw_msg msg = { "" };
	int rc;

	if (desired == NULL || (version != NULL && !json_is_integer(version))) {
		cw_cloud_api_error(a->req, 400, "desired: an object of attributes, or null; if wanted version, a number");
		return;
	}
	rc = cw_cloud_shadow_set_desired(a->cloud, a->device, desired,
	                                 version != NULL ? json_integer_value(version) : CLOUD_SHADOW_NEXT, &msg);
	if (rc < 0)
		cw_cloud_api_fail(a->req, rc, msg.text);
	else
		cw_cloud_api_shadow(a);
}

/* ---- remote configuration ---- */

void cw_cloud_api_config(struct api_call *a)
{
	struct cloud_product *p = cw_cloud_api_product(a, a->tail);

	if (p != NULL)
		cw_cloud_api_json(a->req, 200, cw_cloud_config_json(p));
}

/* The body is the file; ?on=0 or 1 switches the service, with or without a body. */
void cw_cloud_api_config_put(struct api_call *a)
{
	struct cloud_product *p = cw_cloud_api_product(a, a->tail);
	const char *on = cw_http_query(a->req, "on"), *text;
	struct cw_msg msg = { "out of memory" };
	size_t len;
	int rc = 0;

	if (p == NULL)
		return;
	text = cw_http_body(a->req, &len);
	if (on != NULL && strcmp(on, "0") != 0 && strcmp(on, "1") != 0)
		rc = cw_fail(&msg, CW_EINVAL, "on: 0 or 1");
	if (rc == 0 && (len != 0 || on == NULL))
		rc = cw_cloud_config_set(a->cloud, p, text, len, &msg);
	if (rc == 0 && on != NULL)
		rc = cw_cloud_config_switch(a->cloud, p, on[0] == '1');
	if (rc < 0)
		cw_cloud_api_fail(a->req, rc, msg.text);
	else
		cw_cloud_api_json(a->req, 200, cw_cloud_config_json(p));
}

/* {deviceName?} */
void cw_cloud_api_config_push(struct api_call *a)
{
	struct cloud_product *p = cw_cloud_api_product(a, a->tail);
	const char *dn = json_string_value(json_object_get(a->body, "deviceName"));
	struct cloud_device *d = NULL;
	int told;

	if (p == NULL)
		return;
	if (dn != NULL) {
		d = cw_cloud_device_find(a->cloud, p->key, strlen(p->key), dn, strlen(dn));
		if (d == NULL) {
			cw_cloud_api_error(a->req, 404, "no such device");
			return;
		}
	}
	told = cw_cloud_config_push(a->cloud, p, d);
	if (told < 0)
		cw_cloud_api_error(a->req, 409, "the product has no configuration, or the service is switched off: PUT it, with on=1");
	else
		cw_cloud_api_json(a->req, 200, json_pack("{s:i}", "told", told));
}

/* ---- logs and jobs ---- */

void cw_cloud_api_logs(struct api_call *a)
{
	cw_cloud_api_json(a->req, 200, cw_cloud_device_log_json(a->device));
}

/* {report: true or false} */
void cw_cloud_api_logs_switch(struct api_call *a)
{
	json_t *report = json_object_get(a->body, "report");

	if (!json_is_boolean(report))
		cw_cloud_api_error(a->req, 400, "report: true or false");
	else
		cw_cloud_api_json(a->req, 202, json_pack("{s:s}", "result", cw_cloud_outcome_name(
		                  cw_cloud_log_switch(a->cloud, a->device, json_is_true(report)))));
}

void cw_cloud_api_jobs(struct api_call *a)
{
	cw_cloud_api_json(a->req, 200, json_pack("{s:O}", "jobs", cw_cloud_doc(a->device, CLOUD_DOC_JOBS)));
}

/* The body is the job's document. */
void cw_cloud_api_job_add(struct api_call *a)
{
	struct cw_msg msg = { "" };
	char id[24];
	int rc = cw_cloud_job_add(a->cloud, a->device, a->body, id, &msg);

	if (rc < 0)
		cw_cloud_api_fail(a->req, rc, msg.text);
	else
		cw_cloud_api_json(a->req, 201, json_pack("{s:s}", "taskId", id));
}

void cw_cloud_api_job_remove(struct api_call *a)
{
	if (cw_cloud_job_remove(a->cloud, a->device, a->tail) < 0)
		cw_cloud_api_error(a->req, 404, "no such job");
	else
		cw_http_reply(a->req, 204, NULL, NULL, 0);
}

/* {cmd?} */
void cw_cloud_api_bootstrap(struct api_call *a)
{
	enum cloud_outcome outcome = cw_cloud_bootstrap_notify(a->cloud, a->device,
	                                                       (int)json_integer_value(json_object_get(a->body, "cmd")));

	cw_cloud_api_json(a->req, outcome == CLOUD_DELIVERED ? 202 : 409,
	                  json_pack("{s:s}", "result", cw_cloud_outcome_name(outcome)));
}
