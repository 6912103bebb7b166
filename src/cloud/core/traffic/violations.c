/* violations.c - see violations.h. */
#include "cloud/core/traffic/violations.h"

#include <string.h>

#include "base/mem.h"
#include "cloud/core/stock/clients.h"

/* Names are string literals; a second copy of one in another file is found by its text. */
static void count(struct cw_cloud *c, const char *limit)
{
	size_t i;

	for (i = 0; i < CLOUD_VIOLATION_KINDS && c->violation[i].limit != NULL; i++) {
		if (c->violation[i].limit == limit || strcmp(c->violation[i].limit, limit) == 0)
			break;
	}
	if (i == CLOUD_VIOLATION_KINDS)
		return;
	c->violation[i].limit = limit;
	c->violation[i].count++;
}

void cw_cloud_violation(struct cw_cloud *c, struct cloud_device *d, const char *limit, const char *done)
{
	struct cloud_violations *v;
	unsigned at;

	count(c, limit);
	d = d != NULL ? cw_cloud_name_of(d) : NULL;
	if (d == NULL || (d->violations == NULL && (d->violations = cw_zalloc(sizeof(*v))) == NULL))
		return;
	v = d->violations;
	at = v->count++ % CLOUD_VIOLATIONS_KEPT;
	v->last[at].ms = cw_cloud_wall_ms(c);
	v->last[at].limit = limit;
	v->last[at].done = done;
}

static json_t *of_device(const struct cloud_violations *v)
{
	json_t *list = json_array();
	unsigned i, n = v->count < CLOUD_VIOLATIONS_KEPT ? v->count : CLOUD_VIOLATIONS_KEPT;

	for (i = 1; i <= n; i++) {
		unsigned at = (v->count - i) % CLOUD_VIOLATIONS_KEPT;

		json_array_append_new(list, json_pack("{s:I, s:s, s:s}", "time", (json_int_t)v->last[at].ms, "limit",
		                                      v->last[at].limit, "done", v->last[at].done));
	}
	return list;
}

json_t *cw_cloud_violations_list(const struct cw_cloud *c, const char *id)
{
	json_t *totals = json_object(), *devices = json_object();
	struct cw_list *e;
	size_t i;

	for (i = 0; i < CLOUD_VIOLATION_KINDS && c->violation[i].limit != NULL; i++)
		json_object_set_new(totals, c->violation[i].limit, json_integer((json_int_t)c->violation[i].count));
	cw_list_each(e, &c->device_list) {
		const struct cloud_device *d = cw_container_of(e, struct cloud_device, all);

		if (d->violations != NULL && (id == NULL || strcmp(d->id, id) == 0))
			json_object_set_new(devices, d->id, of_device(d->violations));
	}
	return json_pack("{s:o, s:o}", "totals", totals, "devices", devices);
}

void cw_cloud_violations_clear(struct cw_cloud *c)
{
	struct cw_list *e;

	memset(c->violation, 0, sizeof(c->violation));
	cw_list_each(e, &c->device_list) {
		struct cloud_device *d = cw_container_of(e, struct cloud_device, all);

		cw_free(d->violations);
		d->violations = NULL;
	}
}
