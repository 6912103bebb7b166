/* api_audit.c - the audit log over the API: what happened, and whether somebody changed it; see office.h. On the office's thread. */
#include "factory/office/office.h"
#include "factory/view.h"

#define AUDIT_MOST 500u

static int put_entry(void *arg, const struct cw_audit_entry *e)
{
	cw_view_audit(arg, e);
	return 0;
}

/* {"entries":[..]}, the last first; older ones by `until`. */
int office_audit(struct office_call *c, struct cw_stock *s)
{
	struct cw_audit_filter f = {
		.node = office_text(c, "node"),
		.what = office_text(c, "what"),
		.who = office_text(c, "who"),
		.product_key = office_text(c, "productKey"),
		.device_name = office_text(c, "deviceName"),
		.device_id = office_text(c, "deviceId"),
		.newest = 1,
	};
	int64_t most = 0;
	int rc = office_number(c, "since", 0, &f.since);

	rc = rc < 0 ? rc : office_number(c, "until", 0, &f.until);
	rc = rc < 0 ? rc : office_number(c, "most", 100, &most);
	if (rc < 0)
		return rc;
	f.most = most < 1 ? 1 : most > (int64_t)AUDIT_MOST ? AUDIT_MOST : (size_t)most;
	cw_json_text(&c->json, "entries");
	cw_json_array(&c->json);
	rc = cw_audit_each(s, &f, put_entry, &c->json, &c->job.msg);
	cw_json_end_array(&c->json);
	return rc;
}

static void put_problem(void *arg, const struct cw_audit_problem *p)
{
	cw_view_problem(arg, p);
}

static void put_head(void *arg, const char *line)
{
	cw_json_text(arg, line);
}

/* {"problems":[..],"heads":["NODE NUMBER MAC"],"entries","count"}: heads are what to note elsewhere. */
int office_verify(struct office_call *c, struct cw_stock *s)
{
	uint64_t entries = 0, problems = 0;
	int rc;

	cw_json_text(&c->json, "problems");
	cw_json_array(&c->json);
	rc = cw_audit_verify(s, NULL, put_problem, &c->json, &entries, &problems, &c->job.msg);
	cw_json_end_array(&c->json);
	if (rc < 0)
		return rc;
	cw_json_text(&c->json, "heads");
	cw_json_array(&c->json);
	rc = cw_audit_heads(s, put_head, &c->json, &c->job.msg);
	cw_json_end_array(&c->json);
	office_put_int(&c->json, "entries", (int64_t)entries);
	office_put_int(&c->json, "count", (int64_t)problems);
	return rc;
}
