/*
 * register.c - certificates that the platform must make, one registration a DeviceName at a time.
 *
 * look (office: is the name free? has somebody else registered it meanwhile?) -> ask (loop: QueryDeviceDetail, RegisterDevice only when the
 * platform has no such device) -> store (office, on the disk) -> everybody who waits looks again. A crash anywhere between ask and store leaves
 * a device at the platform that the next request finds there instead of registering another.
 */
#include <stdio.h>
#include <string.h>

#include "base/crash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "factory/field/field_impl.h"
#include "factory/stock/devices.h"
#include "factory/stock/shelf.h"

#define RUNNING_MOST 16u  /* calls at once; the platform takes some hundred a second from one account */
#define WAITING_MOST 4096u

struct enrolment {
	struct cw_map_node node;
	struct cw_list waits, in_queue;
	struct factory_enrolments *all;
	struct cw_openapi_find find;
	struct cw_openapi_account account;
	struct cw_desk_job job;
	int asking;           /* `find` is under way */
	int created;          /* by RegisterDevice; 0: it was there */
	int rc;               /* of the job */
	struct cw_certificate got;
	char device_id[CW_STOCK_DEVICE_ID + 1], product_key[CW_STOCK_PRODUCT_KEY + 1], name[CW_STOCK_DEVICE_NAME + 1];
	char who[FACTORY_WHO], address[64];
	size_t key_len;
	char key[CW_STOCK_PRODUCT_KEY + CW_STOCK_DEVICE_NAME + 2];
};

static void begin_next(struct factory_enrolments *all);

void factory_enrolments_init(struct factory_enrolments *e, struct factory *f)
{
	memset(e, 0, sizeof(*e));
	e->f = f;
	cw_map_init(&e->all);
	cw_list_init(&e->queue);
}

static void free_text(const char *text)
{
	union {
		const char *from;
		void *to;
	} owned = { text }; /* the account's texts are const for those it is lent to */

	if (text != NULL)
		explicit_bzero(owned.to, strlen(text));
	cw_free(owned.to);
}

static void free_enrolment(struct enrolment *x)
{
	free_text(x->account.endpoint);
	free_text(x->account.region);
	free_text(x->account.access_key);
	free_text(x->account.access_secret);
	free_text(x->account.instance_id);
	free_text(x->account.tls.ca);
	explicit_bzero(&x->got, sizeof(x->got));
	cw_free(x);
}

static void forget(struct enrolment *x)
{
	cw_list_remove(&x->in_queue);
	cw_map_remove(&x->all->all, &x->node);
}

/* The last thing of a close; `all` may be gone afterwards. */
static void end(struct factory_enrolments *all)
{
	cw_map_fini(&all->all);
	all->idle(all->idle_arg);
}

/* Over: everybody who waits is told, and the next may begin. */
static void finish(struct enrolment *x, int rc, const char *code, const char *text)
{
	struct factory_enrolments *all = x->all;
	struct cw_list *e;

	forget(x);
	all->running--;
	cw_gauge_add(field, registering, -1);
	if (rc < 0)
		cw_log(field_failed, text, CW_LS("deviceId", x->device_id), CW_LS("product", x->product_key), CW_LS("name", x->name));
	while ((e = cw_list_pop(&x->waits)) != NULL) {
		struct factory_wait *w = cw_container_of(e, struct factory_wait, link);

		w->done(w, rc, code, text);
	}
	free_enrolment(x);
	begin_next(all);
	if (all->idle != NULL && all->running == 0)
		end(all);
}

/* ---- store ------------------------------------------------------------------------------------ */

static void store_work(struct cw_desk_job *j, struct cw_stock *s)
{
	struct enrolment *x = cw_container_of(j, struct enrolment, job);
	const struct cw_stock_actor who = { x->who, x->address };

	x->rc = s == NULL ? CW_EUNREACH
			  : cw_field_store(s, x->device_id, x->got.device_name, x->got.device_secret, x->find.iot_id, &who, &j->msg);
}

static void store_done(struct cw_desk_job *j)
{
	struct enrolment *x = cw_container_of(j, struct enrolment, job);

	explicit_bzero(&x->got, sizeof(x->got));
	if (x->rc == 0) {
		cw_count(field, registered);
		cw_log(field_registered, x->created ? "" : "it existed at the platform already, and its certificate was taken from there",
		       CW_LS("deviceId", x->device_id), CW_LS("product", x->product_key), CW_LS("name", x->name));
	}
	/* CW_EEXIST: another server was quicker, with the same answer of the platform. */
	finish(x, x->rc == CW_EEXIST ? 0 : x->rc, "", j->msg.text);
}

/* ---- ask --------------------------------------------------------------------------------------- */

static void on_found(struct cw_openapi_find *f, int rc, int created, const char *code, const struct cw_certificate *got, const char *text)
{
	struct enrolment *x = f->ctx;

	x->asking = 0;
	if (rc < 0) {
		finish(x, rc, code, text);
		return;
	}
	cw_crash_point("field.registered");
	x->created = created;
	x->got = *got;
	x->job.work = store_work;
	x->job.done = store_done;
	cw_desk_do(x->all->f->desk, &x->job);
}

static void ask(struct enrolment *x)
{
	struct cw_msg msg = { "" };
	int rc;

	x->find = (struct cw_openapi_find){ .account = &x->account, .product_key = x->product_key, .device_name = x->name, .done = on_found, .ctx = x };
	x->asking = 1;
	rc = cw_openapi_find(x->all->f->loop, x->all->f->fetch, &x->find, &msg);
	if (rc == 0)
		return;
	x->asking = 0;
	finish(x, rc, "", msg.text);
}

/* ---- look ----------------------------------------------------------------------------------------- */

struct holder {
	char device_id[CW_STOCK_DEVICE_ID + 1];
	int has_secret;
};

static int take_holder(void *arg, const struct cw_field_device *d)
{
	struct holder *h = arg;

	(void)snprintf(h->device_id, sizeof(h->device_id), "%s", d->device_id);
	h->has_secret = d->device_secret[0] != '\0';
	return 0;
}

/* 0: may be registered; CW_EEXIST: the name is another's; 1: has its certificate meanwhile; or an error. */
static int look(struct enrolment *x, struct cw_stock *s, struct cw_msg *msg)
{
	struct cw_stock_cert cert = { .product_key = "" };
	struct holder h = { .device_id = "" };
	int rc = cw_field_find(s, x->device_id, take_holder, &h, msg);

	if (rc < 0)
		return rc;
	if (h.has_secret)
		return 1;
	rc = cw_field_find_name(s, x->product_key, x->name, take_holder, &h, msg);
	if (rc == 0 && strcmp(h.device_id, x->device_id) != 0)
		return cw_fail(msg, CW_EEXIST, "the DeviceName %s would be deviceId %.128s's too; import one of them again with a DeviceName of its own", x->name,
			       h.device_id);
	if (rc != 0 && rc != CW_ENOENT)
		return rc;
	rc = cw_stock_find(s, x->product_key, NULL, x->name, &cert, msg);
	explicit_bzero(&cert, sizeof(cert));
	if (rc == 0)
		return cw_fail(msg, CW_EEXIST, "the DeviceName %s is that of a board of the line; import the deviceId again with a DeviceName of its own", x->name);
	return rc == CW_ENOENT ? 0 : rc;
}

static void look_work(struct cw_desk_job *j, struct cw_stock *s)
{
	struct enrolment *x = cw_container_of(j, struct enrolment, job);

	x->rc = s == NULL ? CW_EUNREACH : look(x, s, &j->msg);
}

static void look_done(struct cw_desk_job *j)
{
	struct enrolment *x = cw_container_of(j, struct enrolment, job);

	if (x->rc == 0 && x->all->idle == NULL)
		ask(x);
	else
		finish(x, x->rc == 0 ? CW_ECLOSED : x->rc == 1 ? 0 : x->rc, "", x->rc == 0 ? "the server stops" : j->msg.text);
}

static void begin_next(struct factory_enrolments *all)
{
	struct cw_list *e;

	while (all->idle == NULL && all->running < RUNNING_MOST && (e = cw_list_pop(&all->queue)) != NULL) {
		struct enrolment *x = cw_container_of(e, struct enrolment, in_queue);

		all->running++;
		cw_gauge_add(field, registering, 1);
		x->job.work = look_work;
		x->job.done = look_done;
		cw_desk_do(all->f->desk, &x->job);
	}
}

/* ---- begin and end ---------------------------------------------------------------------------------- */

static int copy(const char *from, const char **to)
{
	*to = from == NULL ? NULL : cw_strdup(from);
	return from != NULL && *to == NULL ? CW_ENOMEM : 0;
}

/* A reload may take the configuration away while a call is under way. */
static int copy_account(const struct factory_conf *c, struct cw_openapi_account *a)
{
	char host[128];
	int rc;

	(void)snprintf(host, sizeof(host), "iot.%.100s.aliyuncs.com", c->openapi.region);
	rc = copy(c->openapi.endpoint == NULL ? host : c->openapi.endpoint, &a->endpoint);
	if (rc == 0)
		rc = copy(c->openapi.region, &a->region);
	if (rc == 0)
		rc = copy(c->openapi.access_key, &a->access_key);
	if (rc == 0)
		rc = copy(c->openapi.access_secret, &a->access_secret);
	if (rc == 0)
		rc = copy(c->openapi.instance_id, &a->instance_id);
	if (rc == 0)
		rc = copy(c->openapi.ca, &a->tls.ca);
	a->tls.verify = 1;
	return rc;
}

static struct enrolment *make(struct factory_enrolments *all, const char *key, size_t key_len)
{
	struct enrolment *x = cw_zalloc(sizeof(*x));

	if (x == NULL)
		return NULL;
	x->all = all;
	cw_list_init(&x->waits);
	cw_list_init(&x->in_queue);
	memcpy(x->key, key, key_len);
	x->key_len = key_len;
	if (copy_account(all->f->conf, &x->account) < 0 || cw_map_add(&all->all, &x->node, x->key, x->key_len) < 0) {
		free_enrolment(x);
		return NULL;
	}
	return x;
}

int factory_enrol(struct factory_enrolments *e, const char *device_id, const char *product_key, const char *name, const struct cw_stock_actor *who,
		  struct factory_wait *w, struct cw_msg *msg)
{
	const struct factory_conf *c = e->f->conf;
	char key[CW_STOCK_PRODUCT_KEY + CW_STOCK_DEVICE_NAME + 2];
	int n = snprintf(key, sizeof(key), "%s\n%s", product_key, name);
	struct cw_map_node *there;
	struct enrolment *x;

	if (c->openapi.access_key == NULL || c->openapi.access_secret == NULL)
		return cw_fail(msg, CW_ECONF, "this device is not registered yet, and openapi has no account to register it with");
	if (n < 0 || (size_t)n >= sizeof(key))
		return cw_fail(msg, CW_EINVAL, "ProductKey or DeviceName of this device are too long");
	there = cw_map_find(&e->all, key, (size_t)n);
	if (there == NULL && e->all.count >= WAITING_MOST)
		return cw_fail(msg, CW_ELIMIT, "too many devices wait for their registration");
	x = there != NULL ? cw_container_of(there, struct enrolment, node) : make(e, key, (size_t)n);
	if (x == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	cw_list_push_back(&x->waits, &w->link);
	if (there != NULL)
		return 0;
	(void)snprintf(x->device_id, sizeof(x->device_id), "%s", device_id);
	(void)snprintf(x->product_key, sizeof(x->product_key), "%s", product_key);
	(void)snprintf(x->name, sizeof(x->name), "%s", name);
	(void)snprintf(x->who, sizeof(x->who), "%s", who->name);
	(void)snprintf(x->address, sizeof(x->address), "%s", who->address);
	cw_list_push_back(&e->queue, &x->in_queue);
	begin_next(e);
	return 0;
}

void factory_enrol_cancel(struct factory_wait *w)
{
	cw_list_remove(&w->link);
}

void factory_enrolments_close(struct factory_enrolments *e, void (*idle)(void *arg), void *arg)
{
	struct cw_map_node *n, *next;

	e->idle = idle;
	e->idle_arg = arg;
	cw_map_each_safe(n, next, &e->all) {
		struct enrolment *x = cw_container_of(n, struct enrolment, node);
		int queued = !cw_list_empty(&x->in_queue);

		if (!queued && !x->asking)
			continue; /* the office has it */
		if (x->asking) {
			cw_openapi_cancel(&x->find);
			e->running--;
			cw_gauge_add(field, registering, -1);
		}
		forget(x);
		free_enrolment(x);
	}
	if (e->running == 0)
		end(e);
}
