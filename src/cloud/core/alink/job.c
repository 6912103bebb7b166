/* job.c - see job.h. */
#include "cloud/core/alink/job.h"

#include <stdio.h>
#include <string.h>

static size_t size_of(const json_t *j)
{
	return json_dumpb(j, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY);
}

static int status_ends(const char *status)
{
	return status != NULL && (strcmp(status, "SUCCEEDED") == 0 || strcmp(status, "FAILED") == 0 ||
	                          strcmp(status, "REJECTED") == 0 || strcmp(status, "TIMED_OUT") == 0);
}

static const char *status_of(const json_t *job)
{
	return json_string_value(json_object_get(job, "status"));
}

/* A job as devices see it: {taskId, status, jobDocument}. New. */
static json_t *task_json(const char *id, const json_t *job)
{
	return json_pack("{s:s, s:O, s:O}", "taskId", id, "status", json_object_get(job, "status"), "jobDocument",
	                 json_object_get(job, "jobDocument"));
}

static void notify(struct cw_cloud *c, struct cloud_device *d, const char *id, json_t *job)
{
	enum cloud_outcome outcome;

	outcome = cw_cloud_request_now(c, d, "thing/job/notify", "thing.job.notify",
	                               json_pack("{s:o}", "task", task_json(id, job)));
	if (outcome == CLOUD_DELIVERED && strcmp(status_of(job), "QUEUED") == 0)
		json_object_set_new(job, "status", json_string("SENT"));
}

int cw_cloud_job_add(struct cw_cloud *c, struct cloud_device *d, const json_t *document, char out[24], struct cw_msg *msg)
{
	json_t *jobs = cw_cloud_doc(d, CLOUD_DOC_JOBS), *job;

	if (json_object_size(jobs) >= CLOUD_JOBS_MAX)
		return cw_fail(msg, CW_ELIMIT, "device \"%s\" has %u jobs already; remove some", d->id, CLOUD_JOBS_MAX);
	if (size_of(document) > CLOUD_JOB_BYTES)
		return cw_fail(msg, CW_ELIMIT, "a job's document has at most %u bytes", CLOUD_JOB_BYTES);
	job = json_pack("{s:s, s:o, s:I, s:I}", "status", "QUEUED", "jobDocument", json_deep_copy(document), "created",
	                (json_int_t)cw_cloud_wall_ms(c), "changed", (json_int_t)cw_cloud_wall_ms(c));
	cw_cloud_next_id(c, out);
	if (json_object_set_new(jobs, out, job) != 0)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	notify(c, d, out, job);
	cw_cloud_changed(c, d);
	return 0;
}

int cw_cloud_job_remove(struct cw_cloud *c, struct cloud_device *d, const char *id)
{
	json_t *job = json_object_get(d->doc[CLOUD_DOC_JOBS], id);

	if (job == NULL)
		return CW_ENOENT;
	if (!status_ends(status_of(job))) {
		json_object_set_new(job, "status", json_string("CANCELLED"));
		notify(c, d, id, job);
	}
	json_object_del(d->doc[CLOUD_DOC_JOBS], id);
	cw_cloud_changed(c, d);
	return 0;
}

enum cloud_outcome cw_cloud_bootstrap_notify(struct cw_cloud *c, struct cloud_device *d, int cmd)
{
	return cw_cloud_request_now(c, d, "thing/bootstrap/notify", "thing.bootstrap.notify", json_pack("{s:i}", "cmd", cmd));
}

/* ---- the device's side ---- */

/* taskId "$list": ids and states of all; "$next": the first that is not ended; otherwise one. Without `task`: there is none. */
int cw_cloud_job_get(struct alink_request *r)
{
	json_t *jobs = r->device->doc[CLOUD_DOC_JOBS], *job, *found = NULL, *list;
	const char *want = json_string_value(json_object_get(r->params, "taskId")), *id, *found_id = NULL;

	if (want == NULL)
		return 460;
	r->data = json_pack("{s:s}", "taskId", want);
	if (strcmp(want, "$list") == 0) {
		list = json_array();
		json_object_foreach(jobs, id, job)
			json_array_append_new(list, json_pack("{s:s, s:O}", "taskId", id, "status", json_object_get(job, "status")));
		json_object_set_new(r->data, "tasks", list);
		return 200;
	}
	json_object_foreach(jobs, id, job) {
		if (found == NULL && (strcmp(want, "$next") == 0 ? !status_ends(status_of(job)) : strcmp(want, id) == 0)) {
			found = job;
			found_id = id;
		}
	}
	if (found == NULL)
		return 200;
	if (strcmp(status_of(found), "QUEUED") == 0) {
		json_object_set_new(found, "status", json_string("SENT"));
		cw_cloud_changed(r->cloud, r->device);
	}
	json_object_set_new(r->data, "task", task_json(found_id, found));
	return 200;
}

/* A job that has ended stays as it is. */
int cw_cloud_job_update(struct alink_request *r)
{
	const char *id = json_string_value(json_object_get(r->params, "taskId"));
	const char *status = json_string_value(json_object_get(r->params, "status"));
	json_t *progress = json_object_get(r->params, "progress"), *details = json_object_get(r->params, "statusDetails");
	json_t *job = id != NULL ? json_object_get(r->device->doc[CLOUD_DOC_JOBS], id) : NULL;

	if (job == NULL || status == NULL || (strcmp(status, "IN_PROGRESS") != 0 && !status_ends(status)) ||
	    (progress != NULL && !json_is_integer(progress)) || (details != NULL && size_of(details) > CLOUD_JOB_BYTES))
		return 460;
	if (status_ends(status_of(job)))
		return 460;
	json_object_set_new(job, "status", json_string(status));
	if (progress != NULL)
		json_object_set(job, "progress", progress);
	if (details != NULL)
		json_object_set_new(job, "statusDetails", json_deep_copy(details));
	json_object_set_new(job, "changed", json_integer((json_int_t)cw_cloud_wall_ms(r->cloud)));
	r->data = json_pack("{s:s}", "taskId", id);
	cw_cloud_changed(r->cloud, r->device);
	return 200;
}
