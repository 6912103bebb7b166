/* ota.c - batches and tasks: who gets a package, when it is pushed, what became of it; see ota.h. */
#include "cloud/core/ota/ota.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define LIMITED_MS 1000u /* until a device over its rate of downlinks is tried again */

static const char *const state_names[] = {
#define TASK_NAME(name) #name,
	CLOUD_TASK_STATES(TASK_NAME)
#undef TASK_NAME
};

const char *cw_cloud_task_name(enum cloud_task_state state)
{
	return state_names[state];
}

static int is_unfinished(const struct cloud_task *t)
{
	return t->state <= CLOUD_TASK_IN_PROGRESS;
}

void cw_cloud_ota_task_set(struct cw_cloud *c, struct cloud_task *t, enum cloud_task_state state, const char *text)
{
	t->state = state;
	t->changed_ms = cw_cloud_wall_ms(c);
	(void)snprintf(t->text, sizeof(t->text), "%s", text);
	cw_cloud_chapter_changed(c, &c->ota->kept_tasks);
}

/* A task that was pushed and not ended in time has failed. */
static void expire(struct cw_cloud *c, struct cloud_task *t)
{
	int64_t ms = (int64_t)t->batch->timeout_minutes * 60000;

	if (ms == 0 || !is_unfinished(t) || t->pushed_ms == 0 || t->pushed_ms + ms > cw_cloud_wall_ms(c))
		return;
	cw_cloud_ota_task_set(c, t, CLOUD_TASK_FAILED, t->step == 100 ? "timed out: the new version was not reported"
	                                                              : "timed out");
}

/* ---- pushing ---- */

/* The newest first, as one ends the older ones. */
struct cloud_task *cw_cloud_ota_task(struct cw_cloud *c, struct cloud_device *d, const char *module)
{
	struct cw_list *e;

	if (module == NULL || strcmp(module, "default") == 0)
		module = "";
	cw_list_each(e, &d->ota_tasks) {
		struct cloud_task *t = cw_container_of(e, struct cloud_task, of_device);

		expire(c, t);
		if (is_unfinished(t) && strcmp(t->batch->package->module, module) == 0)
			return t;
	}
	return NULL;
}

void cw_cloud_ota_told(struct cw_cloud *c, struct cloud_task *t)
{
	t->told = 1;
	if (t->pushed_ms == 0)
		t->pushed_ms = cw_cloud_wall_ms(c);
	if (t->state == CLOUD_TASK_QUEUED)
		cw_cloud_ota_task_set(c, t, CLOUD_TASK_NOTIFIED, "");
	else
		cw_cloud_chapter_changed(c, &c->ota->kept_tasks);
}

/* Only to who is there: nothing is stored. */
static enum cloud_outcome push(struct cw_cloud *c, struct cloud_task *t)
{
	int there = cw_cloud_device_linked(t->device);
	json_t *data = there ? cw_cloud_package_data(c, t->batch->package, t->batch->tags) : NULL, *body;
	enum cloud_outcome outcome;
	char topic[256], id[24];

	if (data == NULL)
		return there ? CLOUD_NOMEM : CLOUD_OFFLINE;
	cw_cloud_next_id(c, id);
	body = json_pack("{s:s, s:s, s:s, s:o}", "id", id, "code", "1000", "message", "success", "data", data);
	if (c->conf.switches.ota_later)
		json_object_set_new(body, "id", json_integer((json_int_t)c->next_id));
	(void)snprintf(topic, sizeof(topic), "/ota/device/upgrade/%s", t->device->id);
	outcome = cw_cloud_send_json(c, t->device, topic, body, 1, CLOUD_NOW);
	if (outcome == CLOUD_DELIVERED)
		cw_cloud_ota_told(c, t);
	return outcome;
}

static void schedule(struct cw_cloud *c, struct cloud_device *d, uint64_t ms);

/* What the device has not been told since it came online. A device that has said 100 is about to report its version. */
static void push_all(struct cw_cloud *c, struct cloud_device *d)
{
	struct cw_list *e;
	int later = 0;

	cw_list_each(e, &d->ota_tasks) {
		struct cloud_task *t = cw_container_of(e, struct cloud_task, of_device);

		expire(c, t);
		if (is_unfinished(t) && !t->told && t->step < 100)
			later |= push(c, t) == CLOUD_LIMITED;
	}
	if (later)
		schedule(c, d, LIMITED_MS);
}

static void arm(struct cw_cloud *c, uint64_t at_ms);

static void on_due(struct cw_timer *timer)
{
	struct cloud_ota *o = cw_container_of(timer, struct cloud_ota, timer);
	uint64_t now = cw_cloud_now_ms(o->cloud);
	struct cw_list waiting, *e;

	/* Who is over its rate is put in again. */
	cw_list_init(&waiting);
	while ((e = cw_list_pop(&o->due)) != NULL)
		cw_list_push_back(&waiting, e);
	while ((e = cw_list_pop(&waiting)) != NULL) {
		struct cloud_device *d = cw_container_of(e, struct cloud_device, ota_due);

		if (d->ota_due_ms <= now) {
			push_all(o->cloud, d);
		} else {
			cw_list_push_back(&o->due, e);
			arm(o->cloud, d->ota_due_ms);
		}
	}
}

/* One timer for all: for the earliest of them. */
static void arm(struct cw_cloud *c, uint64_t at_ms)
{
	uint64_t now = cw_cloud_now_ms(c), ms = at_ms > now ? at_ms - now : 0;
	struct cw_timer *t = &c->ota->timer;

	if (!cw_timer_armed(t) || t->due_ms > cw_worker_now(c->worker) + ms)
		cw_timer_set(cw_worker_timers(c->worker), t, ms, on_due);
}

static void schedule(struct cw_cloud *c, struct cloud_device *d, uint64_t ms)
{
	cw_list_remove(&d->ota_due);
	cw_list_push_back(&c->ota->due, &d->ota_due);
	d->ota_due_ms = cw_cloud_now_ms(c) + ms;
	arm(c, d->ota_due_ms);
}

/* In the next pass: what the client is told about its login or subscription comes first. */
void cw_cloud_ota_subscribed(struct cw_cloud *c, struct cloud_device *d)
{
	if (!cw_list_empty(&d->ota_tasks))
		schedule(c, d, c->conf.switches.subscribe_delay_ms + 1);
}

void cw_cloud_ota_online(struct cw_cloud *c, struct cloud_device *d)
{
	struct cw_list *e;

	cw_list_each(e, &d->ota_tasks)
		cw_container_of(e, struct cloud_task, of_device)->told = 0;
	cw_cloud_ota_subscribed(c, d);
}

static void task_free(struct cloud_task *t)
{
	cw_list_remove(&t->of_batch);
	cw_list_remove(&t->of_device);
	cw_free(t);
}

void cw_cloud_ota_device_gone(struct cloud_device *d)
{
	struct cw_list *e;

	cw_list_remove(&d->ota_due);
	while ((e = cw_list_first(&d->ota_tasks)) != NULL)
		task_free(cw_container_of(e, struct cloud_task, of_device));
}

/* ---- batches ---- */

void cw_cloud_ota_batch_free(struct cloud_ota_batch *b)
{
	struct cw_list *e;

	while ((e = cw_list_first(&b->tasks)) != NULL)
		task_free(cw_container_of(e, struct cloud_task, of_batch));
	cw_list_remove(&b->link);
	json_decref(b->tags);
	cw_free(b);
}

static struct cloud_ota_batch *batch_new(struct cloud_package *k, const json_t *tags, unsigned timeout_minutes)
{
	struct cloud_ota_batch *b = cw_zalloc(sizeof(*b));

	if (b == NULL)
		return NULL;
	cw_list_init(&b->tasks);
	b->package = k;
	b->timeout_minutes = timeout_minutes;
	if (json_object_size(tags) != 0)
		b->tags = json_deep_copy(tags);
	return b;
}

static struct cloud_task *task_new(struct cw_cloud *c, struct cloud_ota_batch *b, struct cloud_device *d)
{
	struct cloud_task *t = cw_zalloc(sizeof(*t));

	if (t == NULL)
		return NULL;
	t->batch = b;
	t->device = d;
	t->changed_ms = cw_cloud_wall_ms(c);
	cw_list_push_back(&b->tasks, &t->of_batch);
	cw_list_push_front(&d->ota_tasks, &t->of_device);
	return t;
}

static const char *reported(struct cloud_device *d, const struct cloud_package *k)
{
	return json_string_value(json_object_get(d->doc[CLOUD_DOC_MODULES], k->module[0] != '\0' ? k->module : "default"));
}

static int among(const json_t *list, const char *text)
{
	const json_t *one;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i, one) {
		if (text != NULL && json_is_string(one) && strcmp(json_string_value(one), text) == 0)
			return 1;
	}
	return 0;
}

/* Why a device cannot take the package, or NULL. Its version is known only if it reported one. */
static const char *obstacle(struct cloud_device *d, const struct cloud_package *k, const json_t *source_versions)
{
	const char *version = reported(d, k);

	if (version != NULL && strcmp(version, k->version) == 0)
		return "has this version already";
	if (k->source[0] != '\0' && (version == NULL || strcmp(version, k->source) != 0))
		return "has not reported the version the package starts from";
	if (source_versions != NULL && !among(source_versions, version))
		return "has not reported one of the source versions";
	return NULL;
}

/* `named`: an obstacle is shown as a failed task; otherwise the device is left out. */
static int add_task(struct cw_cloud *c, struct cloud_ota_batch *b, struct cloud_device *d, const json_t *source_versions,
                    int named)
{
	const char *why = obstacle(d, b->package, source_versions);
	struct cloud_task *t;
	struct cw_list *e;

	if (why != NULL && !named)
		return 0;
	cw_list_each(e, &d->ota_tasks) {
		if (cw_container_of(e, struct cloud_task, of_device)->batch == b)
			return 0; /* named twice */
	}
	t = task_new(c, b, d);
	if (t == NULL)
		return CW_ENOMEM;
	if (why != NULL)
		cw_cloud_ota_task_set(c, t, CLOUD_TASK_FAILED, why);
	return 0;
}

static int spec_check(struct cw_cloud *c, const struct cloud_package *k, const struct cloud_batch_spec *s, struct cw_msg *msg)
{
	const char *key;
	json_t *one;
	size_t i;

	if (k->file_count == 0)
		return cw_fail(msg, CW_EINVAL, "package %u has no file", k->id);
	if (k->batch_count >= CLOUD_OTA_BATCHES_MAX)
		return cw_fail(msg, CW_ELIMIT, "package %u has %u batches already", k->id, CLOUD_OTA_BATCHES_MAX);
	if ((s->devices != NULL && !json_is_array(s->devices)) || (s->source_versions != NULL && !json_is_array(s->source_versions)) ||
	    (s->tags != NULL && (!json_is_object(s->tags) || json_object_size(s->tags) > 10)))
		return cw_fail(msg, CW_EINVAL, "devices and sourceVersions: arrays of texts; tags: an object of at most ten texts");
	json_object_foreach((json_t *)(uintptr_t)s->tags, key, one) {
		if (!json_is_string(one) || json_string_length(one) > 1024)
			return cw_fail(msg, CW_EINVAL, "tag \"%s\": a text of at most 1024 bytes", key);
	}
	json_array_foreach((json_t *)(uintptr_t)s->devices, i, one) {
		const char *dn = json_is_string(one) ? json_string_value(one) : "";

		if (cw_cloud_device_find(c, k->product, strlen(k->product), dn, strlen(dn)) == NULL)
			return cw_fail(msg, CW_ENOENT, "product \"%s\" has no device \"%s\"", k->product, dn);
	}
	return 0;
}

static int choose(struct cw_cloud *c, struct cloud_ota_batch *b, const struct cloud_batch_spec *s)
{
	const struct cloud_package *k = b->package;
	struct cw_list *e;
	const json_t *one;
	size_t i;
	int rc = 0;

	if (s->devices == NULL) {
		for (e = c->device_list.next; e != &c->device_list && rc == 0; e = e->next) {
			struct cloud_device *d = cw_container_of(e, struct cloud_device, all);

			if (strcmp(d->product->key, k->product) == 0)
				rc = add_task(c, b, d, s->source_versions, 0);
		}
	}
	json_array_foreach((json_t *)(uintptr_t)s->devices, i, one) {
		const char *dn = json_string_value(one);

		if (rc == 0)
			rc = add_task(c, b, cw_cloud_device_find(c, k->product, strlen(k->product), dn, strlen(dn)),
			              s->source_versions, 1);
	}
	return rc;
}

/* Now that nothing can fail any more: older tasks for the same module give way, and who is online is told. */
static void begin(struct cw_cloud *c, struct cloud_task *t)
{
	struct cw_list *e;

	if (!is_unfinished(t))
		return;
	cw_list_each(e, &t->device->ota_tasks) {
		struct cloud_task *o = cw_container_of(e, struct cloud_task, of_device);

		expire(c, o);
		if (o != t && is_unfinished(o) && strcmp(o->batch->package->module, t->batch->package->module) == 0)
			cw_cloud_ota_task_set(c, o, CLOUD_TASK_CANCELED, "a newer batch took its place");
	}
	if (push(c, t) == CLOUD_LIMITED)
		schedule(c, t->device, LIMITED_MS);
}

int cw_cloud_ota_start(struct cw_cloud *c, struct cloud_package *k, const struct cloud_batch_spec *spec,
                       struct cloud_ota_batch **ret_batch, struct cw_msg *msg)
{
	int rc = spec_check(c, k, spec, msg);
	struct cloud_ota_batch *b;
	struct cw_list *e;

	if (rc < 0)
		return rc;
	b = batch_new(k, spec->tags, spec->timeout_minutes);
	if (b == NULL || choose(c, b, spec) < 0) {
		if (b != NULL)
			cw_cloud_ota_batch_free(b);
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	}
	b->id = ++c->ota->next_id;
	b->created_ms = cw_cloud_wall_ms(c);
	cw_list_push_back(&k->batches, &b->link);
	k->batch_count++;
	cw_cloud_chapter_changed(c, &c->ota->kept_packages); /* the number taken */
	cw_cloud_chapter_changed(c, &c->ota->kept_tasks);
	cw_list_each(e, &b->tasks)
		begin(c, cw_container_of(e, struct cloud_task, of_batch));
	*ret_batch = b;
	return 0;
}

struct cloud_ota_batch *cw_cloud_ota_find(struct cw_cloud *c, uint32_t id)
{
	struct cw_list *e, *f;

	cw_list_each(e, &c->ota->packages) {
		cw_list_each(f, &cw_container_of(e, struct cloud_package, link)->batches) {
			struct cloud_ota_batch *b = cw_container_of(f, struct cloud_ota_batch, link);

			if (b->id == id)
				return b;
		}
	}
	return NULL;
}

int cw_cloud_ota_cancel(struct cw_cloud *c, struct cloud_ota_batch *b, const struct cloud_device *only)
{
	struct cw_list *e;
	int rc = CW_ENOENT;

	cw_list_each(e, &b->tasks) {
		struct cloud_task *t = cw_container_of(e, struct cloud_task, of_batch);

		expire(c, t);
		if (!is_unfinished(t) || (only != NULL && t->device != only))
			continue;
		cw_cloud_ota_task_set(c, t, CLOUD_TASK_CANCELED, "canceled");
		rc = 0;
	}
	if (rc == 0 && only == NULL)
		b->canceled = 1;
	return rc;
}

/* ---- shown ---- */

json_t *cw_cloud_ota_batch_json(struct cw_cloud *c, struct cloud_ota_batch *b)
{
	unsigned counts[CLOUD_TASK_STATE_COUNT] = { 0 }, total = 0, i;
	const struct cloud_package *k = b->package;
	json_t *states = json_object();
	const char *status;
	struct cw_list *e;

	cw_list_each(e, &b->tasks) {
		struct cloud_task *t = cw_container_of(e, struct cloud_task, of_batch);

		expire(c, t);
		counts[t->state]++;
		total++;
	}
	for (i = 0; i < CLOUD_TASK_STATE_COUNT; i++)
		json_object_set_new(states, state_names[i], json_integer((json_int_t)counts[i]));
	status = counts[CLOUD_TASK_QUEUED] + counts[CLOUD_TASK_NOTIFIED] + counts[CLOUD_TASK_IN_PROGRESS] != 0 ? "IN_PROGRESS"
	         : b->canceled ? "CANCELED" : "COMPLETED";
	return json_pack("{s:I, s:I, s:s, s:s, s:s, s:s, s:I, s:I, s:O*, s:I, s:o}", "id", (json_int_t)b->id, "package",
	                 (json_int_t)k->id, "productKey", k->product, "module", k->module[0] != '\0' ? k->module : "default",
	                 "version", k->version, "status", status, "created", (json_int_t)b->created_ms, "timeoutMinutes",
	                 (json_int_t)b->timeout_minutes, "tags", b->tags, "total", (json_int_t)total, "states", states);
}

static json_t *task_json(struct cw_cloud *c, struct cloud_task *t)
{
	const struct cloud_package *k = t->batch->package;

	expire(c, t);
	return json_pack("{s:s, s:I, s:s, s:s, s:s, s:i, s:s, s:I, s:I}", "deviceName", t->device->dn, "batch",
	                 (json_int_t)t->batch->id, "module", k->module[0] != '\0' ? k->module : "default", "version",
	                 k->version, "state", state_names[t->state], "step", t->step, "text", t->text, "pushed",
	                 (json_int_t)t->pushed_ms, "changed", (json_int_t)t->changed_ms);
}

json_t *cw_cloud_ota_tasks_json(struct cw_cloud *c, struct cloud_ota_batch *b)
{
	json_t *list = json_array();
	struct cw_list *e;

	cw_list_each(e, &b->tasks)
		json_array_append_new(list, task_json(c, cw_container_of(e, struct cloud_task, of_batch)));
	return list;
}

json_t *cw_cloud_ota_device_json(struct cw_cloud *c, struct cloud_device *d)
{
	json_t *list = json_array();
	struct cw_list *e;

	cw_list_each(e, &d->ota_tasks)
		json_array_append_new(list, task_json(c, cw_container_of(e, struct cloud_task, of_device)));
	return list;
}

/* ---- kept over a restart ---- */

static json_t *save_batch(struct cw_cloud *c, struct cloud_ota_batch *b)
{
	json_t *j = cw_cloud_ota_batch_json(c, b), *tasks = cw_cloud_ota_tasks_json(c, b);

	json_object_set_new(j, "canceled", json_boolean(b->canceled));
	json_object_set_new(j, "tasks", tasks);
	return j;
}

static json_t *save_tasks(struct cw_cloud *c, void *arg)
{
	json_t *list = json_array();
	struct cw_list *e, *f;

	cw_list_each(e, &c->ota->packages) {
		cw_list_each(f, &cw_container_of(e, struct cloud_package, link)->batches)
			json_array_append_new(list, save_batch(c, cw_container_of(f, struct cloud_ota_batch, link)));
	}
	return list;
}

/* A device that is gone has no task any more. */
static int load_task(struct cw_cloud *c, struct cloud_ota_batch *b, const json_t *j)
{
	const char *dn = json_string_value(json_object_get(j, "deviceName")), *pk = b->package->product;
	const char *state = json_string_value(json_object_get(j, "state")), *text = json_string_value(json_object_get(j, "text"));
	struct cloud_device *d = dn != NULL ? cw_cloud_device_find(c, pk, strlen(pk), dn, strlen(dn)) : NULL;
	struct cloud_task *t;
	unsigned i;

	if (d == NULL || state == NULL || text == NULL)
		return dn != NULL && state != NULL && text != NULL ? 0 : CW_EINVAL;
	t = task_new(c, b, d);
	if (t == NULL)
		return CW_ENOMEM;
	for (i = 0; i < CLOUD_TASK_STATE_COUNT; i++) {
		if (strcmp(state, state_names[i]) == 0)
			t->state = (enum cloud_task_state)i;
	}
	t->step = (int)json_integer_value(json_object_get(j, "step"));
	t->pushed_ms = json_integer_value(json_object_get(j, "pushed"));
	t->changed_ms = json_integer_value(json_object_get(j, "changed"));
	(void)snprintf(t->text, sizeof(t->text), "%s", text);
	return 0;
}

static int load_batch(struct cw_cloud *c, const json_t *j)
{
	struct cloud_package *k = cw_cloud_package_find(c, (uint32_t)json_integer_value(json_object_get(j, "package")));
	struct cloud_ota_batch *b;
	const json_t *one;
	size_t i;
	int rc = 0;

	if (k == NULL)
		return CW_EINVAL;
	b = batch_new(k, json_object_get(j, "tags"), (unsigned)json_integer_value(json_object_get(j, "timeoutMinutes")));
	if (b == NULL)
		return CW_ENOMEM;
	b->id = (uint32_t)json_integer_value(json_object_get(j, "id"));
	b->created_ms = json_integer_value(json_object_get(j, "created"));
	b->canceled = json_is_true(json_object_get(j, "canceled"));
	cw_list_push_back(&k->batches, &b->link);
	k->batch_count++;
	json_array_foreach(json_object_get(j, "tasks"), i, one) {
		if (rc == 0)
			rc = load_task(c, b, one);
	}
	return rc;
}

static int load_tasks(struct cw_cloud *c, void *arg, const json_t *j)
{
	const json_t *one;
	size_t i;
	int rc = 0;

	json_array_foreach((json_t *)(uintptr_t)j, i, one) {
		if (rc == 0)
			rc = load_batch(c, one);
	}
	return rc;
}

const struct cloud_chapter cw_cloud_ota_tasks_chapter = { .name = "ota.tasks", .save = save_tasks, .load = load_tasks };
