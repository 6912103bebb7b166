/* api_stock.c - the API's look-ups and changes: certificates, boards, batches, products; see office.h. On the office's thread. */
#include <string.h>

#include "base/clock.h"
#include "factory/office/office.h"
#include "factory/view.h"

#define PAGE_MOST     500u
#define HISTORY_MOST  200u
#define BOARD_MOST    20u  /* certificates with one DeviceID or name that are looked at */
#define LOW_MOST      INT64_C(1000000000)
#define LEASE_MOST_MS (INT64_C(3650) * 86400000)
#define RECLAIM_SHOWN 200u /* of what a reclaim takes back, or would */

/* ---- look-ups ---------------------------------------------------------------------------------- */

/* Of the arguments. 0 or CW_EINVAL with a sentence. */
static int read_filter(struct office_call *c, struct cw_stock_filter *f)
{
	const char *state = office_text(c, "state");
	int64_t most;
	int rc;

	*f = (struct cw_stock_filter){
		.product_key = office_text(c, "productKey"),
		.batch = office_text(c, "batch"),
		.device_name = office_text(c, "deviceName"),
		.device_id = office_text(c, "deviceId"),
		.station = office_text(c, "station"),
		.text = office_text(c, "text"),
		.state = -1,
		.anonymous = office_flag(c, "anonymous"),
		.newest = office_flag(c, "newest"),
	};
	if (state != NULL) {
		f->state = cw_stock_state_of(state);
		if (f->state < 0)
			return cw_fail(&c->job.msg, CW_EINVAL, "state: free, allocated, written or void are accepted");
	}
	rc = office_number(c, "since", 0, &f->since);
	rc = rc < 0 ? rc : office_number(c, "until", 0, &f->until);
	rc = rc < 0 ? rc : office_number(c, "after", 0, &f->after);
	rc = rc < 0 ? rc : office_number(c, "most", 50, &most);
	if (rc < 0)
		return rc;
	f->most = most < 1 ? 1 : most > PAGE_MOST ? PAGE_MOST : (size_t)most;
	return 0;
}

struct list {
	struct cw_json *j;
	size_t count, most;
	int64_t last;
};

static int put_row(void *arg, const struct cw_stock_row *row)
{
	struct list *l = arg;

	if (l->count < l->most)
		cw_view_row(l->j, row);
	l->count++;
	l->last = row->id;
	return 0;
}

/* {"devices":[..],"next"}: next is `after` of the page behind this one, null at the end and of a list that is by time. */
int office_devices(struct office_call *c, struct cw_stock *s)
{
	struct cw_stock_filter f;
	struct list l = { .j = &c->json };
	int rc = read_filter(c, &f);

	if (rc < 0)
		return rc;
	l.most = f.most;
	cw_json_text(&c->json, "devices");
	cw_json_array(&c->json);
	rc = cw_stock_query(s, &f, put_row, &l, &c->job.msg);
	cw_json_end_array(&c->json);
	cw_json_text(&c->json, "next");
	if (l.count == f.most && !f.newest)
		cw_json_int(&c->json, l.last);
	else
		cw_json_null(&c->json);
	return rc;
}

/* What a look-up found. A board's certificate may have been taken out and the board been given another: that one is meant. */
struct found {
	size_t live, gone;
	char product_key[CW_STOCK_PRODUCT_KEY + 1], device_name[CW_STOCK_DEVICE_NAME + 1];
};

static void keep(char *out, size_t size, const char *text)
{
	size_t n = strlen(text) < size ? strlen(text) : size - 1;

	memcpy(out, text, n);
	out[n] = '\0';
}

static int note_row(void *arg, const struct cw_stock_row *row)
{
	struct found *f = arg;
	size_t *count = row->state == CW_STOCK_VOID ? &f->gone : &f->live;

	if (*count == 0 && f->live == 0) {
		keep(f->product_key, sizeof(f->product_key), row->product_key);
		keep(f->device_name, sizeof(f->device_name), row->device_name);
	}
	(*count)++;
	return 0;
}

static int put_entry(void *arg, const struct cw_audit_entry *e)
{
	cw_view_audit(arg, e);
	return 0;
}

/*
 * One board: {"board":{..},"history":[..]} by productKey and deviceName; or by `text`, which is a DeviceID or DeviceName in full, as a
 * scanner says it. Several products may have a board of that name: 409 with the sentence what to say.
 */
int office_board(struct office_call *c, struct cw_stock *s)
{
	const char *text = office_text(c, "text");
	struct cw_stock_filter f = { .product_key = office_text(c, "productKey"), .device_name = office_text(c, "deviceName"),
				     .device_id = office_text(c, "deviceId"), .state = -1, .most = BOARD_MOST, .newest = 1 };
	struct cw_audit_filter history = { .newest = 1, .most = HISTORY_MOST };
	struct found found = { 0 };
	struct list l = { .j = &c->json, .most = 1 };
	int rc;

	if (text == NULL && f.device_name == NULL && f.device_id == NULL)
		return cw_fail(&c->job.msg, CW_EINVAL, "say which board: deviceName, deviceId, or text for either of them");
	if (text != NULL)
		f.device_id = text;
	rc = cw_stock_query(s, &f, note_row, &found, &c->job.msg);
	if (rc == 0 && found.live + found.gone == 0 && text != NULL) {
		f.device_id = NULL;
		f.device_name = text;
		rc = cw_stock_query(s, &f, note_row, &found, &c->job.msg);
	}
	if (rc < 0)
		return rc;
	if (found.live + found.gone == 0)
		return cw_fail(&c->job.msg, CW_ENOENT, "no certificate has this DeviceID or DeviceName");
	if (found.live > 1)
		return cw_fail(&c->job.msg, CW_EEXIST, "boards of several products have it; say which product");
	f = (struct cw_stock_filter){ .product_key = found.product_key, .device_name = found.device_name, .state = -1, .most = 1 };
	cw_json_text(&c->json, "board");
	rc = cw_stock_query(s, &f, put_row, &l, &c->job.msg);
	if (rc < 0)
		return rc;
	if (l.count == 0)
		return cw_fail(&c->job.msg, CW_ENOENT, "the certificate is not there any more");
	history.product_key = found.product_key;
	history.device_name = found.device_name;
	cw_json_text(&c->json, "history");
	cw_json_array(&c->json);
	rc = cw_audit_each(s, &history, put_entry, &c->json, &c->job.msg);
	cw_json_end_array(&c->json);
	return rc;
}

/* ---- changes ------------------------------------------------------------------------------------- */

/* The two texts that name a certificate. */
static int read_name(struct office_call *c, const char **ret_product_key, const char **ret_device_name)
{
	*ret_product_key = office_text(c, "productKey");
	*ret_device_name = office_text(c, "deviceName");
	if (*ret_product_key == NULL || *ret_device_name == NULL)
		return cw_fail(&c->job.msg, CW_EINVAL, "say which certificate: productKey and deviceName");
	return 0;
}

static int take_state(void *arg, const struct cw_stock_row *row)
{
	*(const char **)arg = cw_stock_state_name(row->state);
	return 0;
}

/* Who says in which state the certificate was when the decision was made is told when it is another by now. */
static int check_seen(struct office_call *c, struct cw_stock *s, const char *product_key, const char *device_name)
{
	const struct cw_stock_filter f = { .product_key = product_key, .device_name = device_name, .state = -1, .most = 1 };
	const char *seen = office_text(c, "seen"), *is = seen;
	int rc = seen == NULL ? 0 : cw_stock_query(s, &f, take_state, &is, &c->job.msg);

	if (rc == 0 && seen != NULL && strcmp(seen, is) != 0)
		return cw_fail(&c->job.msg, CW_EEXIST, "the certificate was %s when you looked and is %s now; look again", seen, is);
	return rc;
}

/* {"productKey","deviceName","reason"[,"seen":STATE]} */
int office_void(struct office_call *c, struct cw_stock *s)
{
	const char *product_key, *device_name, *reason = office_text(c, "reason");
	struct cw_stock_actor who = office_actor(c);
	int rc = read_name(c, &product_key, &device_name);

	if (rc < 0)
		return rc;
	if (reason == NULL)
		return cw_fail(&c->job.msg, CW_EINVAL, "reason: say why; it stays with the certificate");
	if (strlen(reason) > CW_STOCK_REASON)
		return cw_fail(&c->job.msg, CW_EINVAL, "reason: at most %d bytes are kept", CW_STOCK_REASON);
	rc = check_seen(c, s, product_key, device_name);
	if (rc == 0)
		rc = cw_stock_void(s, product_key, device_name, reason, &who, &c->job.msg);
	if (rc == 0)
		cw_json_field(&c->json, "voided", device_name);
	return rc;
}

/*
 * {"count","done","until","devices":[..]}; `doit` false only shows. A filter is needed: everything at once is nobody's wish. Who sends
 * `until` of what was shown back with `doit` takes back no more than was seen: not what stations have been given meanwhile.
 */
int office_reclaim(struct office_call *c, struct cw_stock *s)
{
	struct cw_stock_actor who = office_actor(c);
	struct list l = { .j = &c->json, .most = RECLAIM_SHOWN };
	struct cw_stock_filter f;
	size_t count = 0;
	int doit = office_flag(c, "doit");
	int rc = read_filter(c, &f);

	if (rc < 0)
		return rc;
	if (f.product_key == NULL && f.batch == NULL && f.device_name == NULL && f.device_id == NULL && f.station == NULL && !f.anonymous)
		return cw_fail(&c->job.msg, CW_EINVAL, "say which allocations: productKey, batch, station, deviceName, deviceId or anonymous");
	f.most = 0;
	if (f.until == 0 && !doit)
		f.until = cw_clock_wall_ms();
	cw_json_text(&c->json, "devices");
	cw_json_array(&c->json);
	rc = cw_stock_reclaim(s, &f, doit, &who, put_row, &l, &count, &c->job.msg);
	cw_json_end_array(&c->json);
	office_put_int(&c->json, "count", (int64_t)count);
	office_put_bool(&c->json, "done", doit);
	office_put_int(&c->json, "until", f.until);
	return rc;
}

static int put_batch(void *arg, const struct cw_stock_batch *b)
{
	cw_view_batch(arg, b);
	return 0;
}

int office_batches(struct office_call *c, struct cw_stock *s)
{
	int rc;

	cw_json_text(&c->json, "batches");
	cw_json_array(&c->json);
	rc = cw_stock_batches(s, office_text(c, "productKey"), put_batch, &c->json, &c->job.msg);
	cw_json_end_array(&c->json);
	return rc;
}

/* {"name","productKey","closed":true,"lease":"none","leaseMs":0,"low":0}: what is there is changed. */
int office_batch(struct office_call *c, struct cw_stock *s)
{
	const char *name = office_text(c, "name"), *product_key = office_text(c, "productKey"), *lease = office_text(c, "lease");
	struct cw_stock_batch_change change = { 0 };
	struct cw_stock_actor who = office_actor(c);
	int64_t low;
	int rc = office_number(c, "low", 0, &low);

	rc = rc < 0 ? rc : office_number(c, "leaseMs", 0, &change.lease_ms);
	if (rc < 0)
		return rc;
	if (name == NULL)
		return cw_fail(&c->job.msg, CW_EINVAL, "name: say which batch");
	if (low > LOW_MOST || change.lease_ms > LEASE_MOST_MS)
		return cw_fail(&c->job.msg, CW_EINVAL, "low: at most %lld; leaseMs: at most %lld, ten years", (long long)LOW_MOST, (long long)LEASE_MOST_MS);
	if (json_object_get(c->args, "closed") != NULL) {
		change.what |= CW_BATCH_CLOSED;
		change.closed = office_flag(c, "closed");
	}
	if (json_object_get(c->args, "low") != NULL) {
		change.what |= CW_BATCH_LOW;
		change.low = (uint64_t)low;
	}
	if (lease != NULL) {
		int v = cw_stock_lease_of(lease);

		if (v < 0 || (v != CW_STOCK_LEASE_NONE && change.lease_ms < 60000))
			return cw_fail(&c->job.msg, CW_EINVAL, "lease: none; or anonymous or all, with leaseMs of a minute at least");
		change.what |= CW_BATCH_LEASE;
		change.lease = (enum cw_stock_lease)v;
	}
	if (change.what == 0)
		return cw_fail(&c->job.msg, CW_EINVAL, "say what to change: closed, low, or lease with leaseMs");
	rc = cw_stock_batch_change(s, name, product_key, &change, &who, &c->job.msg);
	if (rc == 0)
		cw_json_field(&c->json, "changed", name);
	return rc;
}

static int put_product(void *arg, const struct cw_stock_product *p)
{
	cw_view_product(arg, p);
	return 0;
}

int office_products(struct office_call *c, struct cw_stock *s)
{
	int rc;

	cw_json_text(&c->json, "products");
	cw_json_array(&c->json);
	rc = cw_stock_products(s, put_product, &c->json, &c->job.msg);
	cw_json_end_array(&c->json);
	return rc;
}

/* One of two words into *ret; nothing when it is not there. */
static int read_word(struct office_call *c, const char *name, const char *zero, const char *one, int *ret)
{
	const char *text = office_text(c, name);

	if (text == NULL)
		return 0;
	if (strcmp(text, zero) != 0 && strcmp(text, one) != 0)
		return cw_fail(&c->job.msg, CW_EINVAL, "%s: %s or %s are accepted", name, zero, one);
	*ret = strcmp(text, one) == 0;
	return 0;
}

/* Text that fits, also the empty one; nothing when it is not there. */
static int read_text(struct office_call *c, const char *name, char *out, size_t size)
{
	const char *text = json_string_value(json_object_get(c->args, name));

	if (text == NULL)
		return 0;
	if (strlen(text) >= size)
		return cw_fail(&c->job.msg, CW_EINVAL, "%s: at most %zu bytes are accepted", name, size - 1);
	keep(out, size, text);
	return 0;
}

/* {"productKey", what is to change: "bluetooth","productId","crcForm","crcOrder","normalizeMac","replyColumns":"A,B"} */
int office_product(struct office_call *c, struct cw_stock *s)
{
	const char *product_key = office_text(c, "productKey");
	struct cw_stock_actor who = office_actor(c);
	struct cw_stock_product p;
	int form, order, rc;

	if (product_key == NULL)
		return cw_fail(&c->job.msg, CW_EINVAL, "productKey: say which product");
	rc = cw_stock_product_get(s, product_key, &p, &c->job.msg);
	if (rc < 0)
		return rc;
	form = (int)p.crc_form;
	order = (int)p.crc_order;
	rc = read_word(c, "crcForm", "text", "number", &form);
	rc = rc < 0 ? rc : read_word(c, "crcOrder", "code", "prose", &order);
	rc = rc < 0 ? rc : read_text(c, "productId", p.product_id, sizeof(p.product_id));
	rc = rc < 0 ? rc : read_text(c, "replyColumns", p.reply_columns, sizeof(p.reply_columns));
	if (rc < 0)
		return rc;
	if (json_object_get(c->args, "bluetooth") != NULL)
		p.bluetooth = office_flag(c, "bluetooth");
	if (json_object_get(c->args, "normalizeMac") != NULL)
		p.normalize_mac = office_flag(c, "normalizeMac");
	p.crc_form = (enum cw_stock_crc_form)form;
	p.crc_order = (enum cw_stock_crc_order)order;
	rc = cw_stock_product_put(s, &p, &who, &c->job.msg);
	if (rc == 0) {
		cw_json_text(&c->json, "product");
		cw_view_product(&c->json, &p);
	}
	return rc;
}
