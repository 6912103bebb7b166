/* cmd_order.c - `causeway factory order`: certificates from the platform straight into the stock; `orders`: how far they are. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/factory/factory.h"
#include "cli/factory/tool.h"
#include "factory/config.h"
#include "factory/order.h"

static const char usage[] =
	"usage: causeway factory order --product PRODUCTKEY --count N --batch NAME --product-secret file:PATH [OPTIONS]\n"
	"       causeway factory order --resume [NUMBER] --product-secret file:PATH [OPTIONS]\n"
	"       causeway factory order --forget NUMBER\n"
	"       causeway factory orders [--json]\n"
	"\n"
	"Orders devices of a product from the platform (batch registration over its management API) and puts their certificates\n"
	"into the stock. More than 1000 become several orders. An order that was interrupted, by whatever, goes on with --resume; what\n"
	"was ordered is never ordered again.\n"
	"\n"
	"  --product-secret file:PATH  the product's secret, which the platform does not tell: the first line of PATH\n"
	"  --names ours|platform       DeviceNames of our choice, kept before anything is asked for (the default); or of the platform's:\n"
	"                              then an order whose answer is lost must be looked up in the console\n"
	"  --apply-id NUMBER           with --resume NUMBER: what was found there\n"
	"\n"
	"Where and as whom, beside openapi {} of the file of -c, and before it:\n"
	"  --region cn-shanghai        or --endpoint HOST | https://HOST:PORT\n"
	"  --access-key ID --access-secret file:PATH\n"
	"  --ca FILE                   the authority of the endpoint's certificate, for one of your own\n"
	"\n"
	"Exit status: 0 all is in stock; 1 not, and the sentence says what to do; 2 wrong command line.\n";

struct ordering {
	struct factory_tool tool;
	const char *product, *batch, *product_secret, *names, *endpoint, *region, *access_key, *access_secret, *ca, *apply_id;
	int64_t count, forget;
	int resume, rc;
	char *secret, *access;
	char host[300];
	struct cw_openapi_account account;
	struct cw_order_run run;
	struct cw_lot_result got;
	int64_t ids[1000];
	size_t id_count;
};

/* ---- what was given --------------------------------------------------------------------- */

/* The first line of file:PATH. 0 or the exit status. */
static int read_secret(struct ordering *o, const char *option, const char *from, char **ret)
{
	struct cw_msg msg = { "" };
	size_t len;

	if (strncmp(from, "file:", 5) != 0)
		return factory_misused(&o->tool, "%s: takes file:PATH, for everybody can read command lines", option);
	if (cw_file_read(from + 5, 65536, ret, &len, &msg) < 0)
		return factory_complain(&o->tool, "%s: %s", option, msg.text);
	(*ret)[strcspn(*ret, "\r\n")] = '\0';
	return (*ret)[0] != '\0' ? 0 : factory_complain(&o->tool, "%s: %s is empty", option, from + 5);
}

static void forget_secret(char *secret)
{
	if (secret != NULL)
		explicit_bzero(secret, strlen(secret));
	cw_free(secret);
}

static const char *first(const char *a, const char *b)
{
	return a != NULL ? a : b;
}

static int make_account(struct ordering *o)
{
	const struct factory_conf *c = o->tool.conf;
	const char *region = first(o->region, c == NULL ? "cn-shanghai" : c->openapi.region), *endpoint;
	int rc = 0;

	if (o->access_secret != NULL)
		rc = read_secret(o, "--access-secret", o->access_secret, &o->access);
	if (rc != 0)
		return rc;
	endpoint = first(o->endpoint, o->region == NULL && c != NULL ? c->openapi.endpoint : NULL);
	(void)snprintf(o->host, sizeof(o->host), endpoint == NULL ? "iot.%s.aliyuncs.com" : "%s", endpoint == NULL ? region : endpoint);
	o->account = (struct cw_openapi_account){
		.endpoint = o->host,
		.region = region,
		.access_key = first(o->access_key, c == NULL ? NULL : c->openapi.access_key),
		.access_secret = first(o->access, c == NULL ? NULL : c->openapi.access_secret),
		.instance_id = c == NULL ? NULL : c->openapi.instance_id,
		.tls = { .ca = first(o->ca, c == NULL ? NULL : c->openapi.ca), .verify = 1 },
	};
	if (o->account.access_key == NULL || o->account.access_secret == NULL)
		return factory_misused(&o->tool, "who orders? Give --access-key and --access-secret, or -c FILE with openapi { accessKey, accessSecret }");
	return 0;
}

/* ---- one order after the other ---------------------------------------------------------------- */

static void on_tell(struct cw_order_run *r, const char *sentence)
{
	(void)r;
	fprintf(stderr, "%s\n", sentence);
}

static void on_done(struct cw_order_run *r, int rc, const struct cw_lot_result *got, const char *text)
{
	struct ordering *o = r->ctx;

	o->rc = rc;
	o->got.fresh += got->fresh;
	o->got.known += got->known;
	if (rc < 0)
		(void)factory_complain(&o->tool, "%s", text);
	cw_fetch_pool_free(r->pool);
	cw_worker_release(r->worker);
}

static int run_one(struct ordering *o, int64_t id)
{
	struct cw_order_run *r = &o->run;
	struct cw_msg msg = { "" };
	int rc;

	*r = (struct cw_order_run){ .stock = o->tool.stock, .account = &o->account, .product_secret = o->secret, .apply_id = o->apply_id,
				    .who = o->tool.who, .tell = o->tool.as_json ? NULL : on_tell, .done = on_done, .ctx = o };
	rc = cw_worker_new("order", 0, &r->worker);
	if (rc == 0)
		rc = cw_fetch_pool_new(r->worker, &r->pool);
	if (rc < 0)
		return factory_complain(&o->tool, "%s", cw_error_text(rc));
	rc = cw_order_start(r, id, &msg);
	if (rc < 0) {
		o->rc = rc;
		(void)factory_complain(&o->tool, "%s", msg.text);
		cw_fetch_pool_free(r->pool);
		cw_worker_release(r->worker);
	}
	cw_worker_run(r->worker);
	cw_worker_free(r->worker);
	return o->rc < 0;
}

static int say(struct ordering *o)
{
	struct cw_json j;

	if (!o->tool.as_json) {
		printf("%zu certificates are new in stock%s\n", o->got.fresh, o->got.known > 0 ? "; the others were there already" : "");
		return 0;
	}
	cw_json_begin(&j, CW_VIEW_MOST);
	cw_json_map(&j);
	cw_json_text(&j, "new");
	cw_json_uint(&j, o->got.fresh);
	cw_json_text(&j, "known");
	cw_json_uint(&j, o->got.known);
	cw_json_end_map(&j);
	return factory_json(&o->tool, &j);
}

/* All orders are on the disk before the first is sent, so that --resume finds them. */
static int new_orders(struct ordering *o)
{
	int named = o->names == NULL || strcmp(o->names, "ours") == 0;
	struct cw_msg msg = { "" };
	int64_t left = o->count;

	while (left > 0) {
		unsigned count = left > CW_ORDER_MOST ? CW_ORDER_MOST : (unsigned)left;

		if (cw_order_new(o->tool.stock, o->product, o->batch, count, named, &o->tool.who, &o->ids[o->id_count], &msg) < 0)
			return factory_complain(&o->tool, "%s", msg.text);
		o->id_count++;
		left -= count;
	}
	return 0;
}

static int on_open_order(void *arg, const struct cw_order *order)
{
	struct ordering *o = arg;

	if (strcmp(order->step, "done") != 0 && strcmp(order->step, "failed") != 0 && o->id_count < sizeof(o->ids) / sizeof(o->ids[0]))
		o->ids[o->id_count++] = order->id;
	return 0;
}

static int old_orders(struct ordering *o)
{
	struct cw_msg msg = { "" };

	if (o->id_count == 1) /* a number was given */
		return 0;
	if (cw_order_each(o->tool.stock, on_open_order, o, &msg) < 0)
		return factory_complain(&o->tool, "%s", msg.text);
	return o->id_count > 0 ? 0 : factory_complain(&o->tool, "no order waits to be gone on with");
}

static int work(struct ordering *o)
{
	int rc = o->resume ? old_orders(o) : new_orders(o), failed = 0;
	size_t i;

	/* Newest first is how they are listed; in the order they were made is how they are done. */
	for (i = o->id_count; rc == 0 && o->resume && i > 0; i--)
		failed += run_one(o, o->ids[i - 1]);
	for (i = 0; rc == 0 && !o->resume && !failed && i < o->id_count; i++)
		failed = run_one(o, o->ids[i]);
	if (rc == 0)
		rc = say(o);
	return rc != 0 ? rc : failed > 0;
}

static int check(struct ordering *o)
{
	struct factory_tool *t = &o->tool;
	int rc = factory_words(t, 0, o->resume ? 1 : 0);
	char *end;

	if (rc >= 0)
		return rc;
	if (o->product_secret == NULL)
		return factory_misused(t, "--product-secret file:PATH is missing: the platform does not tell it, and boards need it");
	if (o->names != NULL && strcmp(o->names, "ours") != 0 && strcmp(o->names, "platform") != 0)
		return factory_misused(t, "--names %s: is ours or platform", o->names);
	if (o->resume && t->count == 1) {
		o->ids[0] = strtoll(t->word[0], &end, 10);
		o->id_count = 1;
		return *end == '\0' ? -1 : factory_misused(t, "--resume %s: that is no order's number", t->word[0]);
	}
	if (o->apply_id != NULL)
		return factory_misused(t, "--apply-id goes with --resume NUMBER");
	if (o->resume)
		return -1;
	if (o->product == NULL || o->batch == NULL || o->batch[0] == '\0')
		return factory_misused(t, "--product PRODUCTKEY and --batch NAME are needed");
	if (o->count < 1 || o->count > (int64_t)(CW_ORDER_MOST * (sizeof(o->ids) / sizeof(o->ids[0]))))
		return factory_misused(t, "--count N: 1 to 1000000");
	return -1;
}

static int forget(struct ordering *o)
{
	struct cw_msg msg = { "" };
	int rc = factory_open(&o->tool, FACTORY_CHANGE);

	if (rc != 0)
		return rc;
	rc = cw_order_forget(o->tool.stock, o->forget, &o->tool.who, &msg) < 0 ? factory_complain(&o->tool, "%s", msg.text) : 0;
	factory_close(&o->tool);
	return rc;
}

int cw_factory_order(int argc, char **argv)
{
	struct ordering o = { .forget = -1 };
	const struct factory_option own[] = {
		{ "product", FACTORY_TEXT, &o.product },
		{ "count", FACTORY_NUMBER, &o.count },
		{ "batch", FACTORY_TEXT, &o.batch },
		{ "product-secret", FACTORY_TEXT, &o.product_secret },
		{ "names", FACTORY_TEXT, &o.names },
		{ "resume", FACTORY_FLAG, &o.resume },
		{ "forget", FACTORY_NUMBER, &o.forget },
		{ "apply-id", FACTORY_TEXT, &o.apply_id },
		{ "endpoint", FACTORY_TEXT, &o.endpoint },
		{ "region", FACTORY_TEXT, &o.region },
		{ "access-key", FACTORY_TEXT, &o.access_key },
		{ "access-secret", FACTORY_TEXT, &o.access_secret },
		{ "ca", FACTORY_TEXT, &o.ca },
	};
	int rc = factory_options(&o.tool, argc, argv, usage, own, sizeof(own) / sizeof(own[0]));

	if (rc < 0 && o.forget >= 0)
		return forget(&o);
	if (rc < 0)
		rc = check(&o);
	if (rc >= 0)
		return rc;
	rc = read_secret(&o, "--product-secret", o.product_secret, &o.secret);
	if (rc == 0)
		rc = factory_open(&o.tool, o.resume ? FACTORY_CHANGE : FACTORY_MAKE);
	if (rc == 0) {
		rc = make_account(&o);
		if (rc == 0)
			rc = work(&o);
		factory_close(&o.tool);
	}
	forget_secret(o.secret);
	forget_secret(o.access);
	return rc;
}

/* ---- the list ------------------------------------------------------------------------------------ */

struct listing {
	struct factory_tool tool;
	struct factory_table table;
};

static int on_order(void *arg, const struct cw_order *order)
{
	struct listing *l = arg;
	struct cw_json j;
	char made[24];

	if (l->tool.as_json) {
		cw_json_begin(&j, CW_VIEW_MOST);
		cw_view_order(&j, order);
		return factory_list_item(&l->tool, &j);
	}
	factory_cell(&l->table, "%" PRId64, order->id);
	factory_cell(&l->table, "%s", factory_time(order->created, made));
	factory_cell(&l->table, "%s", order->product_key);
	factory_cell(&l->table, "%s", order->batch);
	factory_cell(&l->table, "%" PRIu64, order->count);
	factory_cell(&l->table, "%s", order->step);
	factory_cell(&l->table, "%s", order->apply_id[0] == '\0' ? "-" : order->apply_id);
	factory_cell(&l->table, "%s", order->text);
	return 0;
}

int cw_factory_orders(int argc, char **argv)
{
	struct listing l = { .tool = { .verb = NULL } };
	struct cw_msg msg = { "" };
	int rc = factory_options(&l.tool, argc, argv, usage, NULL, 0);

	if (rc < 0)
		rc = factory_words(&l.tool, 0, 0);
	if (rc >= 0)
		return rc;
	rc = factory_open(&l.tool, FACTORY_READ);
	if (rc != 0)
		return rc;
	if (l.tool.as_json)
		factory_list_begin(&l.tool);
	else
		factory_table_begin(&l.table, ">NUMBER|MADE (UTC)|PRODUCT|BATCH|>COUNT|STEP|APPLYID|NOTE");
	rc = cw_order_each(l.tool.stock, on_order, &l, &msg) < 0 ? factory_complain(&l.tool, "%s", msg.text) : 0;
	if (l.tool.as_json)
		factory_list_end(&l.tool);
	else
		factory_table_end(&l.table);
	factory_close(&l.tool);
	return rc;
}
