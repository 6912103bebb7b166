/* faults.c - what makes the emulator misbehave or travel in time; see api.h. */
#include <stdlib.h>
#include <string.h>

#include "cloud/api/api.h"
#include "cloud/core/fault/fault.h"
#include "cloud/core/traffic/violations.h"

#define AHEAD_MAX_MS (100LL * 365 * 24 * 3600 * 1000) /* the platform's clock before the machine's */

void cw_cloud_api_faults(struct api_call *a)
{
	cw_cloud_api_json(a->req, 200,
			  json_pack("{s:o, s:o}", "faults", cw_cloud_faults_list(a->cloud->faults), "kinds",
				    cw_cloud_fault_kinds()));
}

void cw_cloud_api_fault_add(struct api_call *a)
{
	struct cw_msg msg = { "" };
	json_t *made = NULL;
	int rc = cw_cloud_faults_add(a->cloud, a->body, &made, &msg);

	if (rc < 0)
		cw_cloud_api_error(a->req, cw_cloud_api_status(rc), msg.text);
	else
		cw_cloud_api_json(a->req, 201, made);
}

void cw_cloud_api_fault_remove(struct api_call *a)
{
	uint64_t id = a->tail != NULL ? strtoull(a->tail, NULL, 10) : 0;

	if (cw_cloud_faults_remove(a->cloud, a->tail != NULL && id == 0 ? UINT64_MAX : id) < 0)
		cw_cloud_api_error(a->req, 404, "no such fault");
	else
		cw_http_reply(a->req, 204, NULL, NULL, 0);
}

/* What exceeded the platform's limits; ?device=PK/DN for one. */
void cw_cloud_api_violations(struct api_call *a)
{
	cw_cloud_api_json(a->req, 200, cw_cloud_violations_list(a->cloud, cw_http_query(a->req, "device")));
}

/* ---- the clock ---- */

static void reply_clock(struct api_call *a)
{
	cw_cloud_api_json(a->req, 200,
			  json_pack("{s:I, s:I}", "now", (json_int_t)cw_cloud_wall_ms(a->cloud), "aheadMs",
				    (json_int_t)a->cloud->skipped_ms));
}

void cw_cloud_api_clock(struct api_call *a)
{
	reply_clock(a);
}

/* "90s", "15m", "7d", a number of seconds: milliseconds, or -1. */
static int64_t read_advance(const json_t *j)
{
	static const struct {
		const char *unit;
		int64_t ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 } };
	const char *text = json_string_value(j);
	char *end;
	long long n;
	size_t i;

	if (json_is_integer(j))
		return json_integer_value(j) >= 0 && json_integer_value(j) <= AHEAD_MAX_MS / 1000
			       ? json_integer_value(j) * 1000
			       : -1;
	if (text == NULL || text[0] < '0' || text[0] > '9')
		return -1;
	n = strtoll(text, &end, 10);
	for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].unit) == 0)
			return n <= AHEAD_MAX_MS / units[i].ms ? n * units[i].ms : -1;
	}
	return -1;
}

void cw_cloud_api_clock_advance(struct api_call *a)
{
	int64_t ms = read_advance(json_object_get(a->body, "advance"));

	if (ms < 0 || ms > AHEAD_MAX_MS - a->cloud->skipped_ms) {
		cw_cloud_api_error(
			a->req, 400,
			"advance: a number of seconds, or a text such as 500ms, 90s, 15m, 12h, 31d; at most 100 "
			"years ahead together");
		return;
	}
	cw_cloud_skip(a->cloud, (uint64_t)ms);
	reply_clock(a);
}
