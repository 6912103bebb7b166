/* order.c - see order.h. */
#include "factory/order.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/crash.h"
#include "base/mem.h"
#include "causeway/record.h"
#include "json/json.h"

#define PAGE 50u             /* QueryPageByApplyId gives no more (platform-openapi 5.6) */
#define PAGES_MOST (2 * CW_ORDER_MOST / PAGE) /* further ones, and those behind an empty one, are not looked at, however many it says */
#define NAME_LEN 20u         /* as long as the platform's own */
#define NAMES_MOST (32u * CW_ORDER_MOST)
#define ANSWER_MOST (256u << 10) /* the longest: a status with a thousand names */
#define POLL_FIRST_MS 500u
#define POLL_MOST_MS 5000u
#define POLL_FOR_MS (15u * 60 * 1000) /* so long without an end: leave it to another run */

struct got {
	char device_name[CW_STOCK_DEVICE_NAME + 1], device_secret[CW_STOCK_DEVICE_SECRET + 1];
};

struct run {
	struct cw_order_run *r;
	struct cw_openapi_call call;
	void (*answered)(struct run *x, const struct cw_openapi_answer *answer);
	struct cw_timer timer;
	unsigned failures, creates; /* `creates`: it was told to */
	int refused; /* to create; the text says why */
	uint64_t poll_ms, polled_since;
	char product_key[CW_STOCK_PRODUCT_KEY + 1], batch[CW_STOCK_BATCH + 1], step[CW_ORDER_STEP], apply_id[40], text[256];
	char *names;
	struct cw_order order; /* its texts are those above */
	struct got *got;       /* of the pages read so far */
	size_t got_count;
	unsigned page;
};

typedef void (*answer_fn)(struct run *x, const struct cw_openapi_answer *answer);

static void go_on(struct run *x);

/* ---- the end ------------------------------------------------------------------------------ */

static void drop(struct run *x)
{
	cw_timer_stop(cw_worker_timers(x->r->worker), &x->timer);
	cw_openapi_call_cancel(&x->call);
	if (x->got != NULL)
		explicit_bzero(x->got, (CW_ORDER_MOST + 1) * sizeof(*x->got));
	cw_free(x->got);
	cw_free(x->names);
	cw_free(x);
}

static void finish(struct run *x, int rc, const struct cw_lot_result *got, const char *text)
{
	static const struct cw_lot_result nothing = { 0 };
	struct cw_order_run *r = x->r;
	char copy[800];

	(void)snprintf(copy, sizeof(copy), "%s", text);
	drop(x);
	r->done(r, rc, got == NULL ? &nothing : got, copy);
}

/* To the next step, on the disk. 0, or it has ended. */
static int move(struct run *x, const char *step)
{
	char before[CW_ORDER_STEP];
	struct cw_msg msg = { "" };

	memcpy(before, x->step, sizeof(before));
	(void)snprintf(x->step, sizeof(x->step), "%s", step);
	if (cw_order_put(x->r->stock, &x->order, before, &x->r->who, &msg) == 0)
		return 0;
	finish(x, CW_EIO, NULL, msg.text);
	return -1;
}

static void fail(struct run *x, const char *text)
{
	if (text != x->text)
		(void)snprintf(x->text, sizeof(x->text), "%s", text);
	if (move(x, "failed") == 0)
		finish(x, CW_EREFUSED, NULL, x->text);
}

static void tell(struct run *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void tell(struct run *x, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	if (x->r->tell == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	x->r->tell(x->r, text);
}

/* ---- calls ---------------------------------------------------------------------------------- */

static void on_answer(struct cw_openapi_call *c, const struct cw_openapi_answer *answer)
{
	struct run *x = cw_container_of(c, struct run, call);

	if (answer->rc == 0)
		x->failures = 0;
	x->answered(x, answer);
}

static void call(struct run *x, const char *action, const struct cw_pop_param *params, size_t count, answer_fn fn)
{
	int rc;

	x->answered = fn;
	x->call = (struct cw_openapi_call){ .account = x->r->account, .action = action, .params = params, .count = count, .most = ANSWER_MOST,
					    .done = on_answer };
	rc = cw_openapi_call(x->r->pool, &x->call);
	if (rc < 0)
		finish(x, rc, NULL, cw_error_text(rc));
}

static void on_timer(struct cw_timer *t)
{
	go_on(cw_container_of(t, struct run, timer));
}

/* A call that may be made again did not bring an answer that counts: later, or the end of this run. */
static void again(struct run *x, const struct cw_openapi_answer *answer)
{
	unsigned wait = answer->rc == CW_EBUSY || answer->rc == CW_EUNREACH ? cw_openapi_wait_ms(++x->failures) : 0;

	if (wait > 0)
		cw_timer_set(cw_worker_timers(x->r->worker), &x->timer, wait, on_timer);
	else
		finish(x, answer->rc == CW_EREFUSED ? CW_EBUSY : answer->rc, NULL, answer->text);
}

/* ApplyId of an answer, whose type is a number, as text. */
static int take_apply_id(struct run *x, struct cw_bytes body)
{
	struct cw_item id = cw_map_item(cw_map_get(body, "Data"), "ApplyId");

	if (id.type != CW_ITEM_INT || id.i < 0) {
		finish(x, CW_EPROTO, NULL, "the management API's answer holds no ApplyId; is the endpoint right?");
		return -1;
	}
	(void)snprintf(x->apply_id, sizeof(x->apply_id), "%" PRId64, id.i);
	return 0;
}

/* ---- checking the names ------------------------------------------------------------------------ */

static void on_checked(struct run *x, const struct cw_openapi_answer *answer)
{
	if (answer->rc == CW_EREFUSED) {
		fail(x, answer->text);
	} else if (answer->rc < 0) {
		again(x, answer);
	} else if (take_apply_id(x, answer->body) == 0) {
		cw_crash_point("order.checked");
		if (move(x, "checking") < 0)
			return;
		tell(x, "the platform looks at %" PRIu64 " names (ApplyId %s)", x->order.count, x->apply_id);
		go_on(x);
	}
}

/* A check may be made any number of times. */
static void check_names(struct run *x)
{
	struct cw_pop_param *params = cw_calloc(CW_ORDER_MOST + 1, sizeof(*params));
	char(*keys)[24] = cw_calloc(CW_ORDER_MOST, sizeof(*keys)), (*names)[CW_STOCK_DEVICE_NAME + 1] = cw_calloc(CW_ORDER_MOST, sizeof(*names));
	uint8_t *item = NULL;
	size_t len = 0, n = 0;

	if (params != NULL && keys != NULL && names != NULL && cw_json_to_item(cw_bytes_text(x->names), &item, &len) == 0) {
		struct cw_reader r = cw_reader_of(cw_bytes_of(item, len));
		struct cw_item list = cw_read_item(&r);

		while (n < CW_ORDER_MOST && cw_item_more(&r, &list)) {
			struct cw_item name = cw_read_item(&r);

			(void)snprintf(keys[n], sizeof(keys[n]), "DeviceName.%zu", n + 1);
			(void)snprintf(names[n], sizeof(names[n]), "%.*s", (int)name.s.len, (const char *)name.s.ptr);
			params[n] = (struct cw_pop_param){ keys[n], names[n] };
			n++;
		}
		params[n++] = (struct cw_pop_param){ "ProductKey", x->product_key };
		call(x, "BatchCheckDeviceNames", params, n, on_checked);
	} else {
		finish(x, CW_ENOMEM, NULL, cw_error_text(CW_ENOMEM));
	}
	cw_free(item);
	cw_free(names);
	cw_free(keys);
	cw_free(params);
}

/* ---- names of the platform ----------------------------------------------------------------------- */

static void on_asked(struct run *x, const struct cw_openapi_answer *answer)
{
	char text[700];

	if (answer->rc == CW_EREFUSED || answer->rc == CW_EACCESS) {
		fail(x, answer->text);
	} else if (answer->rc == CW_EBUSY && strncmp(answer->code, "Throttling", 10) == 0) {
		if (move(x, "ordered") == 0)
			again(x, answer);
	} else if (answer->rc < 0) {
		(void)snprintf(text, sizeof(text),
			       "%.400s. Nobody can say whether the platform took the order: look in the console for a batch of %" PRIu64
			       " devices made now, and give its number (--apply-id), or --forget this order",
			       answer->text, x->order.count);
		finish(x, answer->rc, NULL, text);
	} else {
		cw_crash_point("order.asked");
		if (take_apply_id(x, answer->body) < 0 || move(x, "creating") < 0)
			return;
		tell(x, "the platform makes %" PRIu64 " devices (ApplyId %s)", x->order.count, x->apply_id);
		go_on(x);
	}
}

static void ask(struct run *x)
{
	char count[24];
	const struct cw_pop_param params[] = { { "ProductKey", x->product_key }, { "Count", count } };

	(void)snprintf(count, sizeof(count), "%" PRIu64, x->order.count);
	if (move(x, "asked") == 0)
		call(x, "BatchRegisterDevice", params, 2, on_asked);
}

/* ---- creating -------------------------------------------------------------------------------------- */

static void poll_later(struct run *x)
{
	uint64_t now = cw_worker_now(x->r->worker);

	if (x->polled_since == 0)
		x->polled_since = now;
	if (now - x->polled_since > POLL_FOR_MS) {
		finish(x, CW_ETIMEDOUT, NULL, "the platform has not come to an end with this order; go on with it later (order --resume)");
		return;
	}
	x->poll_ms = x->poll_ms == 0 ? POLL_FIRST_MS : x->poll_ms * 2 > POLL_MOST_MS ? POLL_MOST_MS : x->poll_ms * 2;
	cw_timer_set(cw_worker_timers(x->r->worker), &x->timer, x->poll_ms, on_timer);
}

static void on_created(struct run *x, const struct cw_openapi_answer *answer)
{
	if (answer->rc < 0 && answer->rc != CW_EREFUSED) {
		again(x, answer);
		return;
	}
	cw_crash_point("order.making");
	/* Refused, perhaps because it is at it already, or has done it: the status says. */
	x->refused = answer->rc == CW_EREFUSED;
	if (x->refused)
		(void)snprintf(x->text, sizeof(x->text), "%s", answer->text);
	if (x->creates++ == 0)
		cw_timer_set(cw_worker_timers(x->r->worker), &x->timer, POLL_FIRST_MS / 5, on_timer);
	else
		poll_later(x); /* it takes that and does nothing */
}

static void create(struct run *x)
{
	const struct cw_pop_param params[] = { { "ProductKey", x->product_key }, { "ApplyId", x->apply_id } };

	call(x, "BatchRegisterDeviceWithApplyId", params, 2, on_created);
}

/* The first few of a list of names, for people. */
static void some_names(struct cw_bytes list, char *out, size_t size)
{
	struct cw_reader r = cw_reader_of(cw_map_get(list, "Name"));
	struct cw_item it = cw_read_item(&r);
	size_t n = 0, used = 0;

	out[0] = '\0';
	while (it.type == CW_ITEM_ARRAY && cw_item_more(&r, &it)) {
		struct cw_item name = cw_read_item(&r);

		if (name.type == CW_ITEM_TEXT && n++ < 3 && used + name.s.len + 3 < size)
			used += (size_t)snprintf(out + used, size - used, "%s%.*s", used == 0 ? "" : ", ", (int)name.s.len, (const char *)name.s.ptr);
	}
}

static void on_status(struct run *x, const struct cw_openapi_answer *answer)
{
	struct cw_bytes data;
	char status[32], names[120], text[256];

	if (answer->rc < 0) {
		again(x, answer);
		return;
	}
	data = cw_map_get(answer->body, "Data");
	cw_openapi_word(data, "Status", status, sizeof(status));
	if (strcmp(status, "CHECK_SUCCESS") == 0 && x->refused) {
		fail(x, x->text);
	} else if (strcmp(status, "CHECK_SUCCESS") == 0) {
		if (strcmp(x->step, "creating") != 0 && move(x, "creating") < 0)
			return;
		cw_crash_point("order.creating");
		create(x);
	} else if (strcmp(status, "CREATE_SUCCESS") == 0 || strcmp(status, "CREATE_FAILED") == 0) {
		x->text[0] = '\0';
		if (strcmp(status, "CREATE_FAILED") == 0) {
			some_names(cw_map_get(data, "InvalidList"), names, sizeof(names));
			(void)snprintf(x->text, sizeof(x->text), "the platform did not make all of them, for example not %s", names);
		}
		cw_crash_point("order.created");
		if (move(x, "fetching") == 0)
			go_on(x);
	} else if (strcmp(status, "CHECK_FAILED") == 0) {
		some_names(cw_map_get(data, "InvalidList"), names, sizeof(names));
		(void)snprintf(text, sizeof(text), "the platform does not take these names, for example %s; nothing was made", names);
		fail(x, text);
	} else {
		poll_later(x);
	}
}

static void ask_status(struct run *x)
{
	const struct cw_pop_param params[] = { { "ProductKey", x->product_key }, { "ApplyId", x->apply_id } };

	call(x, "QueryBatchRegisterDeviceStatus", params, 2, on_status);
}

/* ---- fetching ----------------------------------------------------------------------------------------- */

static int into_lot(struct run *x, struct cw_lot_result *ret, struct cw_msg *msg)
{
	struct cw_lot_conf conf = { .batch = x->batch, .who = x->r->who };
	struct cw_lot *lot;
	char file[64];
	size_t i;
	int rc;

	(void)snprintf(file, sizeof(file), "order %" PRId64 ", ApplyId %s", x->order.id, x->apply_id);
	conf.file = file;
	rc = cw_lot_begin(x->r->stock, &conf, &lot, msg);
	if (rc < 0)
		return rc;
	for (i = 0; i < x->got_count; i++) {
		const struct cw_lot_row row = { .product_key = x->product_key, .device_name = x->got[i].device_name,
						.device_secret = x->got[i].device_secret, .product_secret = x->r->product_secret };

		rc = cw_lot_add(lot, &row, msg);
		if (rc < 0) {
			cw_lot_abandon(lot);
			return rc;
		}
	}
	return cw_lot_finish(lot, ret, msg);
}

static void store(struct run *x)
{
	struct cw_lot_result got = { 0 };
	struct cw_msg msg = { "" };
	char text[256];
	int rc;

	if (x->got_count < x->order.count && x->text[0] == '\0') {
		(void)snprintf(text, sizeof(text), "the platform gave %zu certificates of %" PRIu64 "; go on with the order later", x->got_count,
			       x->order.count);
		finish(x, CW_EPROTO, NULL, text);
		return;
	}
	rc = into_lot(x, &got, &msg);
	if (rc < 0) {
		finish(x, rc, NULL, msg.text);
		return;
	}
	cw_crash_point("order.stored");
	if (move(x, x->text[0] == '\0' ? "done" : "failed") == 0)
		finish(x, x->text[0] == '\0' ? 0 : CW_EREFUSED, &got, x->text);
}

/* 0; -1: something is missing in it, or it is another one of a name that came before, or one more than were ordered. */
static int take_device(struct run *x, struct cw_bytes device)
{
	struct got *g = &x->got[x->got_count];
	size_t i;

	cw_openapi_word(device, "DeviceName", g->device_name, sizeof(g->device_name));
	cw_openapi_word(device, "DeviceSecret", g->device_secret, sizeof(g->device_secret));
	if (g->device_name[0] == '\0' || g->device_secret[0] == '\0')
		return -1;
	for (i = 0; i < x->got_count; i++) /* a page that comes twice does not make up for one that does not come */
		if (strcmp(x->got[i].device_name, g->device_name) == 0)
			return strcmp(x->got[i].device_secret, g->device_secret) == 0 ? 0 : -1;
	if (x->got_count == x->order.count)
		return -1;
	x->got_count++;
	return 0;
}

static void on_page(struct run *x, const struct cw_openapi_answer *answer)
{
	struct cw_item pages;
	struct cw_reader r;
	struct cw_item list;
	int rc = 0, any = 0;

	if (answer->rc < 0) {
		again(x, answer);
		return;
	}
	r = cw_reader_of(cw_map_get(cw_map_get(answer->body, "ApplyDeviceList"), "ApplyDeviceInfo"));
	list = cw_read_item(&r);
	while (rc == 0 && list.type == CW_ITEM_ARRAY && cw_item_more(&r, &list)) {
		struct cw_bytes device = cw_read_whole_item(&r);

		rc = take_device(x, device);
		any = 1;
	}
	pages = cw_map_item(answer->body, "PageCount");
	if (rc < 0 || pages.type != CW_ITEM_INT) {
		finish(x, CW_EPROTO, NULL, "a page of the platform's certificates is not understood; is the endpoint right?");
		return;
	}
	if (any && (int64_t)x->page < pages.i && x->page < PAGES_MOST) {
		x->page++;
		go_on(x);
	} else {
		store(x);
	}
}

static void fetch_page(struct run *x)
{
	char page[16];
	const struct cw_pop_param params[] = { { "ApplyId", x->apply_id }, { "PageSize", "50" }, { "CurrentPage", page } };

	_Static_assert(PAGE == 50, "as it is written above");
	if (x->got == NULL) {
		x->page = 1;
		x->got = cw_calloc(CW_ORDER_MOST + 1, sizeof(*x->got)); /* one to look at */
		if (x->got == NULL) {
			finish(x, CW_ENOMEM, NULL, cw_error_text(CW_ENOMEM));
			return;
		}
	}
	(void)snprintf(page, sizeof(page), "%u", x->page);
	call(x, "QueryPageByApplyId", params, 3, on_page);
}

/* ---- an order ----------------------------------------------------------------------------------------------- */

static void go_on(struct run *x)
{
	static const struct {
		const char *step;
		void (*fn)(struct run *x);
	} steps[] = {
		{ "named", check_names }, { "ordered", ask }, { "checking", ask_status }, { "creating", ask_status }, { "fetching", fetch_page },
	};
	size_t i;

	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		if (strcmp(steps[i].step, x->step) == 0) {
			steps[i].fn(x);
			return;
		}
	}
	finish(x, CW_EINTERNAL, NULL, "the order is at a step that this version does not know");
}

struct look {
	int64_t id;
	struct run *x;
	int found;
};

static int on_order(void *arg, const struct cw_order *o)
{
	struct look *l = arg;
	struct run *x = l->x;

	if (o->id != l->id)
		return 0;
	l->found = 1;
	(void)snprintf(x->product_key, sizeof(x->product_key), "%s", o->product_key);
	(void)snprintf(x->batch, sizeof(x->batch), "%s", o->batch);
	(void)snprintf(x->step, sizeof(x->step), "%s", o->step);
	(void)snprintf(x->apply_id, sizeof(x->apply_id), "%s", o->apply_id);
	(void)snprintf(x->text, sizeof(x->text), "%s", o->text);
	x->names = cw_strdup(o->names);
	x->order = *o;
	x->order.product_key = x->product_key;
	x->order.batch = x->batch;
	x->order.step = x->step;
	x->order.apply_id = x->apply_id;
	x->order.names = x->names;
	x->order.text = x->text;
	return 1;
}

/* The order as it stands, that can be gone on with, or an error. */
static int look_up(struct cw_stock *s, int64_t id, struct run **ret, struct cw_msg *msg)
{
	struct look l = { .id = id, .x = cw_zalloc(sizeof(*l.x)) };
	int rc;

	if (l.x == NULL)
		return cw_fail(msg, CW_ENOMEM, "%s", cw_error_text(CW_ENOMEM));
	rc = cw_order_each(s, on_order, &l, msg);
	if (rc >= 0)
		rc = !l.found ? cw_fail(msg, CW_ENOENT, "there is no order %" PRId64, id)
		     : l.x->names == NULL ? cw_fail(msg, CW_ENOMEM, "%s", cw_error_text(CW_ENOMEM))
		     : strcmp(l.x->step, "done") == 0 || strcmp(l.x->step, "failed") == 0
			     ? cw_fail(msg, CW_EEXIST, "order %" PRId64 " has ended: %s%s%s", id, l.x->step, l.x->text[0] == '\0' ? "" : ": ", l.x->text)
			     : 0;
	if (rc < 0) {
		cw_free(l.x->names);
		cw_free(l.x);
		return rc;
	}
	*ret = l.x;
	return 0;
}

int cw_order_start(struct cw_order_run *r, int64_t id, struct cw_msg *msg)
{
	struct run *x;
	int rc = cw_openapi_check(r->account, msg);

	if (rc == 0)
		rc = look_up(r->stock, id, &x, msg);
	if (rc < 0)
		return rc;
	x->r = r;
	if (strcmp(x->step, "asked") == 0 && r->apply_id == NULL) {
		cw_free(x->names);
		cw_free(x);
		return cw_fail(msg, CW_EBUSY,
			       "nobody knows whether the platform took order %" PRId64 ", because its answer was lost: look in the console for a batch of that "
			       "size and time, and give its number (--apply-id), or --forget the order",
			       id);
	}
	if (strcmp(x->step, "asked") == 0) {
		(void)snprintf(x->apply_id, sizeof(x->apply_id), "%s", r->apply_id);
		if (move(x, "creating") < 0)
			return 0; /* told by `done` */
	}
	go_on(x);
	return 0;
}

int cw_order_forget(struct cw_stock *s, int64_t id, const struct cw_stock_actor *who, struct cw_msg *msg)
{
	char before[CW_ORDER_STEP];
	struct run *x;
	int rc = look_up(s, id, &x, msg);

	if (rc < 0)
		return rc;
	memcpy(before, x->step, sizeof(before));
	x->order.step = "failed";
	x->order.text = "forgotten by an operator";
	rc = cw_order_put(s, &x->order, before, who, msg);
	cw_free(x->names);
	cw_free(x);
	return rc;
}

/* As the platform's: letters and digits. Five bits of a random byte each. */
static int make_name(char out[NAME_LEN + 1])
{
	static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789"; /* 32; none that look alike */
	uint8_t random[NAME_LEN];
	size_t i;

	_Static_assert(sizeof(letters) == 33, "one for each value of five bits");
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return CW_EIO;
	for (i = 0; i < NAME_LEN; i++)
		out[i] = letters[random[i] & 31];
	out[NAME_LEN] = '\0';
	return 0;
}

static int make_names(unsigned count, char **ret_names, size_t *ret_len)
{
	char name[NAME_LEN + 1];
	struct cw_json j;
	unsigned i;
	int rc = 0;

	cw_json_begin(&j, NAMES_MOST);
	cw_json_array(&j);
	for (i = 0; i < count && rc == 0; i++) {
		rc = make_name(name);
		cw_json_text(&j, name);
	}
	cw_json_end_array(&j);
	if (rc < 0)
		cw_json_drop(&j);
	return rc < 0 ? rc : cw_json_finish(&j, ret_names, ret_len);
}

int cw_order_new(struct cw_stock *s, const char *product_key, const char *batch, unsigned count, int named, const struct cw_stock_actor *who,
		 int64_t *ret_id, struct cw_msg *msg)
{
	struct cw_order order = { .product_key = product_key, .batch = batch, .count = count, .step = named ? "named" : "ordered", .apply_id = "",
				  .names = "", .text = "" };
	char *names = NULL;
	size_t len = 0;
	int rc = 0;

	if (count == 0 || count > CW_ORDER_MOST)
		return cw_fail(msg, CW_EINVAL, "an order is of 1 to %u certificates", CW_ORDER_MOST);
	if (named) {
		rc = make_names(count, &names, &len);
		if (rc < 0)
			return cw_fail(msg, rc, "cannot make names: %s", cw_error_text(rc));
		order.names = names;
	}
	rc = cw_order_put(s, &order, NULL, who, msg);
	if (rc == 0)
		*ret_id = order.id;
	cw_free(names);
	return rc;
}
