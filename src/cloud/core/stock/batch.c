/* batch.c - see batch.h. Files are in batch_file.c. */
#include "cloud/core/stock/batch.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cloud/core/save.h"
#include "cloud/core/stock/naming.h"
#include "cloud/core/stock/stock.h"
#include "cloud/core/stock/x509.h"

#define FIRST_ID     1000000u
#define NAME_LEN     20u /* of made-up names */
#define KEY_POLL_MS  10u /* how often to look whether a key is ready */

static void batch_free(struct cloud_batch *b)
{
	unsigned i;

	if (b == NULL)
		return;
	cw_list_remove(&b->link);
	if (cw_worker_timers(b->cloud->worker) != NULL)
		cw_timer_stop(cw_worker_timers(b->cloud->worker), &b->timer);
	for (i = 0; i < b->count; i++) {
		cw_free(b->member[i].dn);
		cw_free(b->member[i].nickname);
	}
	cw_free(b->member);
	cw_free(b);
}

static int is_running(const struct cloud_batch *b)
{
	return b->state == CLOUD_BATCH_CHECK || b->state == CLOUD_BATCH_CREATE;
}

/* Make room for one more: the oldest that nobody waits for is forgotten. */
static int make_room(struct cw_cloud *c, struct cw_msg *msg)
{
	struct cw_list *e;
	unsigned n = 0;

	cw_list_each(e, &c->batches)
		n++;
	if (n < CLOUD_BATCHES_MAX)
		return 0;
	cw_list_each(e, &c->batches) {
		struct cloud_batch *b = cw_container_of(e, struct cloud_batch, link);

		if (!is_running(b)) {
			batch_free(b);
			return 0;
		}
	}
	return cw_fail(msg, CW_EBUSY, "%u batches are under way; wait until one is done", CLOUD_BATCHES_MAX);
}

/* Empty, not in the list yet. */
static int batch_new(struct cw_cloud *c, struct cloud_product *p, size_t count, struct cloud_batch **ret_batch,
                     struct cw_msg *msg)
{
	struct cloud_batch *b;
	int rc;

	if (count == 0 || count > CLOUD_BATCH_DEVICES)
		return cw_fail(msg, CW_ELIMIT, "%zu devices: a batch has 1 to %u", count, CLOUD_BATCH_DEVICES);
	rc = make_room(c, msg);
	if (rc < 0)
		return rc;
	b = cw_zalloc(sizeof(*b));
	if (b == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	b->cloud = c;
	b->product = p;
	b->created_ms = cw_cloud_wall_ms(c);
	b->member = cw_calloc(count, sizeof(*b->member));
	if (b->member == NULL) {
		batch_free(b);
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	}
	*ret_batch = b;
	return 0;
}

static int add_member(struct cloud_batch *b, const char *dn, const char *nickname)
{
	struct cloud_batch_member *m = &b->member[b->count++];

	m->dn = cw_strdup(dn);
	m->nickname = nickname != NULL && nickname[0] != '\0' ? cw_strdup(nickname) : NULL;
	return m->dn == NULL || (m->nickname == NULL && nickname != NULL && nickname[0] != '\0') ? CW_ENOMEM : 0;
}

/* ---- carrying out ---- */

static struct cloud_device *named(const struct cloud_batch *b, const struct cloud_batch_member *m)
{
	return cw_cloud_device_find(b->cloud, b->product->key, strlen(b->product->key), m->dn, strlen(m->dn));
}

static void finish(struct cloud_batch *b, enum cloud_batch_state state)
{
	b->state = state;
	cw_cloud_chapter_changed(b->cloud, b->cloud->batch_chapter);
	cw_log(cloud_batch, cw_cloud_batch_state_name(state), CW_LU("batch", b->id), CW_LS("product", b->product->key),
	       CW_LU("devices", b->count));
}

static int compare_members(const void *a, const void *b)
{
	const struct cloud_batch_member *const *x = a, *const *y = b;

	return strcmp((*x)->dn, (*y)->dn);
}

/* Names that occur twice; the first of them stays good. */
static int mark_twins(struct cloud_batch *b)
{
	struct cloud_batch_member **sorted = cw_calloc(b->count, sizeof(struct cloud_batch_member *));
	unsigned i;

	if (sorted == NULL)
		return CW_ENOMEM;
	for (i = 0; i < b->count; i++)
		sorted[i] = &b->member[i];
	qsort(sorted, b->count, sizeof(struct cloud_batch_member *), compare_members);
	for (i = 1; i < b->count; i++) {
		if (strcmp(sorted[i - 1]->dn, sorted[i]->dn) == 0)
			sorted[i]->problem = CLOUD_BATCH_PROBLEM_TWICE;
	}
	cw_free(sorted);
	return 0;
}

/* How many names cannot be used, each with its problem. */
static unsigned check_names(struct cloud_batch *b)
{
	unsigned bad = 0, i;

	for (i = 0; i < b->count; i++)
		b->member[i].problem = CLOUD_BATCH_PROBLEM_NONE;
	if (mark_twins(b) < 0) {
		for (i = 0; i < b->count; i++)
			b->member[i].problem = CLOUD_BATCH_PROBLEM_MEMORY;
	}
	for (i = 0; i < b->count; i++) {
		struct cloud_batch_member *m = &b->member[i];

		if (m->problem == CLOUD_BATCH_PROBLEM_NONE && named(b, m) != NULL)
			m->problem = CLOUD_BATCH_PROBLEM_EXISTS;
		bad += m->problem != CLOUD_BATCH_PROBLEM_NONE;
	}
	return bad;
}

static void create_one(struct cloud_batch *b, struct cloud_batch_member *m)
{
	struct cloud_device *d = NULL;
	int rc = cw_cloud_device_add(b->cloud, b->product, m->dn, NULL, &d, NULL);

	if (rc == 0 && cw_cloud_device_set_nickname(b->cloud, d, m->nickname, NULL) < 0) {
		cw_cloud_device_delete(b->cloud, d);
		rc = CW_ENOMEM;
	}
	if (rc < 0)
		m->problem = rc == CW_ELIMIT ? CLOUD_BATCH_PROBLEM_FULL : rc == CW_EINVAL ? CLOUD_BATCH_PROBLEM_ILLEGAL : CLOUD_BATCH_PROBLEM_MEMORY;
	else
		memcpy(m->iot_id, d->iot_id, sizeof(m->iot_id));
}

static void create_all(struct cloud_batch *b)
{
	unsigned bad = check_names(b), i;

	for (i = 0; i < b->count && bad == 0; i++) {
		create_one(b, &b->member[i]);
		bad = b->member[i].problem != CLOUD_BATCH_PROBLEM_NONE;
	}
	if (bad != 0)
		finish(b, CLOUD_BATCH_CREATE_FAILED);
	else if (!b->product->x509)
		finish(b, CLOUD_BATCH_CREATE_SUCCESS);
}

/* One certificate for every key that is ready; 1 when all are through. Those made before a restart need none. */
static int certify(struct cloud_batch *b)
{
	const struct cloud_cert *cert;
	int rc = 1;

	while (b->certified < b->count) {
		struct cloud_batch_member *m = &b->member[b->certified];
		struct cloud_device *d = cw_cloud_batch_device(b->cloud, b, m);

		if (d != NULL && d->cert == NULL && (rc = cw_cloud_x509_prepare(b->cloud)) == 0)
			break;
		b->certified++;
		if (d != NULL && (rc < 0 || cw_cloud_x509_issue(b->cloud, d, &cert, NULL) < 0))
			m->problem = CLOUD_BATCH_PROBLEM_CERTIFICATE;
	}
	return b->certified == b->count;
}

static void on_due(struct cw_timer *t)
{
	struct cloud_batch *b = cw_container_of(t, struct cloud_batch, timer);

	if (b->state == CLOUD_BATCH_CHECK) {
		finish(b, check_names(b) == 0 ? CLOUD_BATCH_CHECK_SUCCESS : CLOUD_BATCH_CHECK_FAILED);
		return;
	}
	if (b->member[0].iot_id[0] == '\0')
		create_all(b);
	if (b->state != CLOUD_BATCH_CREATE)
		return;
	if (certify(b))
		finish(b, CLOUD_BATCH_CREATE_SUCCESS);
	else
		cw_timer_set(cw_worker_timers(b->cloud->worker), &b->timer, KEY_POLL_MS, on_due);
}

static void start(struct cloud_batch *b, enum cloud_batch_state state)
{
	struct cw_cloud *c = b->cloud;

	b->state = state;
	if (b->id == 0) {
		b->id = FIRST_ID + c->next_batch++;
		cw_list_push_back(&c->batches, &b->link);
	}
	cw_cloud_chapter_changed(c, c->batch_chapter);
	cw_timer_set(cw_worker_timers(c->worker), &b->timer, c->conf.limits.batch_ms, on_due);
}

/* ---- orders ---- */

int cw_cloud_batch_generate(struct cw_cloud *c, struct cloud_product *p, unsigned count, struct cloud_batch **ret_batch,
                            struct cw_msg *msg)
{
	struct cloud_batch *b = NULL;
	char dn[NAME_LEN + 1];
	unsigned i;
	int rc = batch_new(c, p, count, &b, msg);

	for (i = 0; i < count && rc == 0; i++) {
		rc = cw_cloud_make_text(dn, NAME_LEN);
		if (rc == 0)
			rc = add_member(b, dn, NULL);
		if (rc < 0)
			(void)cw_fail(msg, rc, "cannot make names up");
	}
	if (rc < 0) {
		batch_free(b);
		return rc;
	}
	start(b, CLOUD_BATCH_CREATE);
	*ret_batch = b;
	return 0;
}

/* Of what may be any bytes. */
static json_t *shown(const char *text)
{
	json_t *j = json_string(text);

	return j != NULL ? j : json_string("(not UTF-8)");
}

/* The malformed ones as {names, nicknames}; NULL when there is none. */
static json_t *malformed(const char *const *names, const char *const *nicknames, size_t n)
{
	json_t *bad = json_array(), *bad_nick = json_array();
	size_t i;

	for (i = 0; i < n; i++) {
		if (cw_cloud_check_device_name(names[i], NULL) < 0)
			json_array_append_new(bad, shown(names[i]));
		if (nicknames != NULL && nicknames[i] != NULL && nicknames[i][0] != '\0' &&
		    cw_cloud_check_nickname(nicknames[i], NULL) < 0)
			json_array_append_new(bad_nick, shown(nicknames[i]));
	}
	if (json_array_size(bad) + json_array_size(bad_nick) != 0)
		return json_pack("{s:o, s:o}", "names", bad, "nicknames", bad_nick);
	json_decref(bad);
	json_decref(bad_nick);
	return NULL;
}

static int from_names(struct cw_cloud *c, struct cloud_product *p, const char *const *names, const char *const *nicknames,
                      size_t n, struct cloud_batch **ret_batch, struct cw_msg *msg)
{
	struct cloud_batch *b = NULL;
	int rc = batch_new(c, p, n, &b, msg);
	size_t i;

	for (i = 0; i < n && rc == 0; i++) {
		rc = add_member(b, names[i], nicknames != NULL ? nicknames[i] : NULL);
		if (rc < 0)
			(void)cw_fail(msg, rc, "out of memory");
	}
	if (rc < 0)
		batch_free(b);
	else
		*ret_batch = b;
	return rc;
}

int cw_cloud_batch_check(struct cw_cloud *c, struct cloud_product *p, const char *const *names, const char *const *nicknames,
                         size_t n, struct cloud_batch **ret_batch, json_t **ret_invalid, struct cw_msg *msg)
{
	json_t *bad = n <= CLOUD_BATCH_DEVICES ? malformed(names, nicknames, n) : NULL;
	int rc;

	if (bad != NULL) {
		if (ret_invalid != NULL)
			*ret_invalid = bad;
		else
			json_decref(bad);
		return cw_fail(msg, CW_EINVAL, "some names are malformed");
	}
	rc = from_names(c, p, names, nicknames, n, ret_batch, msg);
	if (rc == 0)
		start(*ret_batch, CLOUD_BATCH_CHECK);
	return rc;
}

int cw_cloud_batch_create(struct cw_cloud *c, struct cloud_batch *b, struct cw_msg *msg)
{
	if (is_running(b))
		return cw_fail(msg, CW_EBUSY, "batch %llu: wait until its state is no longer %s", (unsigned long long)b->id,
		               cw_cloud_batch_state_name(b->state));
	if (b->state != CLOUD_BATCH_CHECK_SUCCESS)
		return cw_fail(msg, CW_EREFUSED, "batch %llu: its state is %s; only CHECK_SUCCESS can be created",
		               (unsigned long long)b->id, cw_cloud_batch_state_name(b->state));
	start(b, CLOUD_BATCH_CREATE);
	return 0;
}

int cw_cloud_batch_order(struct cw_cloud *c, struct cloud_product *p, const char *const *names,
                              const char *const *nicknames, size_t n, struct cloud_batch **ret_batch, struct cw_msg *msg)
{
	int rc = from_names(c, p, names, nicknames, n, ret_batch, msg);

	if (rc == 0)
		start(*ret_batch, CLOUD_BATCH_CREATE);
	return rc;
}

/* ---- looking ---- */

struct cloud_batch *cw_cloud_batch_find(struct cw_cloud *c, uint64_t id)
{
	struct cw_list *e;

	cw_list_each(e, &c->batches) {
		struct cloud_batch *b = cw_container_of(e, struct cloud_batch, link);

		if (b->id == id)
			return b;
	}
	return NULL;
}

const char *cw_cloud_batch_state_name(enum cloud_batch_state state)
{
	static const char *const names[] = {
#define CLOUD_BATCH_NAME(name) #name,
		CLOUD_BATCH_STATES(CLOUD_BATCH_NAME)
#undef CLOUD_BATCH_NAME
	};

	return names[state];
}

json_t *cw_cloud_batch_view(const struct cloud_batch *b)
{
	return json_pack("{s:I, s:s, s:s, s:I, s:I}", "applyId", (json_int_t)b->id, "productKey", b->product->key, "status",
	                 cw_cloud_batch_state_name(b->state), "count", (json_int_t)b->count, "created", (json_int_t)b->created_ms);
}

json_t *cw_cloud_batch_list(const struct cw_cloud *c, const struct cloud_product *p)
{
	json_t *list = json_array();
	struct cw_list *e;

	cw_list_each(e, &c->batches) {
		const struct cloud_batch *b = cw_container_of(e, struct cloud_batch, link);

		if (p == NULL || b->product == p)
			json_array_append_new(list, cw_cloud_batch_view(b));
	}
	return list;
}

json_t *cw_cloud_batch_names(const struct cloud_batch *b, int valid)
{
	json_t *list = json_array();
	unsigned i;

	if (b->state != CLOUD_BATCH_CHECK_FAILED && b->state != CLOUD_BATCH_CREATE_FAILED)
		return list;
	for (i = 0; i < b->count; i++) {
		if ((b->member[i].problem == CLOUD_BATCH_PROBLEM_NONE) == (valid != 0))
			json_array_append_new(list, json_string(b->member[i].dn));
	}
	return list;
}

struct cloud_device *cw_cloud_batch_device(struct cw_cloud *c, const struct cloud_batch *b, const struct cloud_batch_member *m)
{
	struct cloud_device *d = m->iot_id[0] != '\0' ? cw_cloud_device_by_iot_id(c, m->iot_id, strlen(m->iot_id)) : NULL;

	return d != NULL && d->product == b->product ? d : NULL;
}

json_t *cw_cloud_batch_members(struct cw_cloud *c, const struct cloud_batch *b, unsigned first, unsigned count,
                               unsigned *ret_total)
{
	json_t *list = json_array();
	unsigned i, n = 0;

	for (i = 0; i < b->count; i++) {
		const struct cloud_device *d = cw_cloud_batch_device(c, b, &b->member[i]);

		if (d == NULL)
			continue;
		if (n >= first && n - first < count)
			json_array_append_new(list, json_pack("{s:s, s:s?, s:s, s:s}", "deviceName", d->dn, "nickname", d->nickname,
			                      "deviceSecret", d->secret, "iotId", d->iot_id));
		n++;
	}
	*ret_total = n;
	return list;
}

/* ---- over a restart ---- */

static json_t *save_one(const struct cloud_batch *b)
{
	json_t *members = json_array();
	unsigned i;

	for (i = 0; i < b->count; i++) {
		const struct cloud_batch_member *m = &b->member[i];

		json_array_append_new(members, json_pack("{s:s, s:s*, s:s, s:i}", "dn", m->dn, "nickname", m->nickname, "iotId",
		                      m->iot_id, "problem", (int)m->problem));
	}
	return json_pack("{s:I, s:s, s:i, s:I, s:o}", "id", (json_int_t)b->id, "productKey", b->product->key, "state",
	                 (int)b->state, "created", (json_int_t)b->created_ms, "members", members);
}

static json_t *save_all(struct cw_cloud *c, void *arg)
{
	json_t *list = json_array();
	struct cw_list *e;

	cw_list_each(e, &c->batches)
		json_array_append_new(list, save_one(cw_container_of(e, struct cloud_batch, link)));
	return json_pack("{s:I, s:o}", "next", (json_int_t)c->next_batch, "batches", list);
}

static int load_member(struct cloud_batch *b, const json_t *j)
{
	const char *dn = json_string_value(json_object_get(j, "dn")), *iot_id = json_string_value(json_object_get(j, "iotId"));
	json_int_t problem = json_integer_value(json_object_get(j, "problem"));
	struct cloud_batch_member *m = &b->member[b->count];

	if (dn == NULL || iot_id == NULL || strlen(iot_id) >= sizeof(m->iot_id) || problem < 0 ||
	    problem >= CLOUD_BATCH_PROBLEM_COUNT)
		return CW_EINVAL;
	memcpy(m->iot_id, iot_id, strlen(iot_id) + 1);
	m->problem = (enum cloud_batch_problem)problem;
	return add_member(b, dn, json_string_value(json_object_get(j, "nickname")));
}

static int load_one(struct cw_cloud *c, const json_t *j)
{
	const char *pk = json_string_value(json_object_get(j, "productKey"));
	struct cloud_product *p = pk != NULL ? cw_cloud_product_find(c, pk, strlen(pk)) : NULL;
	json_t *members = json_object_get(j, "members"), *one;
	json_int_t id = json_integer_value(json_object_get(j, "id")), state = json_integer_value(json_object_get(j, "state"));
	struct cloud_batch *b = NULL;
	size_t i;
	int rc;

	if (p == NULL || id <= 0 || state < 0 || state > CLOUD_BATCH_CREATE_FAILED)
		return CW_EINVAL;
	rc = batch_new(c, p, json_array_size(members), &b, NULL);
	json_array_foreach(members, i, one)
		rc = rc == 0 ? load_member(b, one) : rc;
	if (rc < 0) {
		batch_free(b);
		return rc;
	}
	b->id = (uint64_t)id;
	b->created_ms = json_integer_value(json_object_get(j, "created"));
	b->state = (enum cloud_batch_state)state;
	cw_list_push_back(&c->batches, &b->link);
	if (is_running(b)) /* it goes on */
		start(b, b->state);
	return 0;
}

static int load_all(struct cw_cloud *c, void *arg, const json_t *j)
{
	json_t *one;
	size_t i;
	int rc = 0;

	c->next_batch = (uint64_t)json_integer_value(json_object_get(j, "next"));
	json_array_foreach(json_object_get(j, "batches"), i, one)
		rc = rc == 0 ? load_one(c, one) : rc;
	return rc;
}

int cw_cloud_batches_new(struct cw_cloud *c)
{
	c->batch_chapter = cw_alloc(sizeof(*c->batch_chapter));
	if (c->batch_chapter == NULL)
		return CW_ENOMEM;
	*c->batch_chapter = (struct cloud_chapter){ .name = "device_batches", .save = save_all, .load = load_all };
	cw_cloud_chapter_add(c, c->batch_chapter);
	return 0;
}

void cw_cloud_batches_free(struct cw_cloud *c)
{
	cw_cloud_batches_forget(c, NULL);
	cw_free(c->batch_chapter);
}

const char *cw_cloud_batch_problem_text(enum cloud_batch_problem problem)
{
	static const char *const texts[] = {
#define CLOUD_BATCH_PROBLEM_TEXT(sym, text) text,
		CLOUD_BATCH_PROBLEMS(CLOUD_BATCH_PROBLEM_TEXT)
#undef CLOUD_BATCH_PROBLEM_TEXT
	};

	return texts[problem];
}

void cw_cloud_batches_forget(struct cw_cloud *c, const struct cloud_product *p)
{
	struct cw_list *e, *n;

	cw_list_each_safe(e, n, &c->batches) {
		struct cloud_batch *b = cw_container_of(e, struct cloud_batch, link);

		if (p == NULL || b->product == p)
			batch_free(b);
	}
}
