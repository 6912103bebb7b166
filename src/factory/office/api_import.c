/*
 * api_import.c - a CSV file over the API into the stock; see office.h. On the office's thread.
 *
 * POST /api/v1/import?batch=NAME[&productKey=..][&file=NAME][&bluetooth=1&productId=..]: the body is the file, the ProductSecret of files
 * that do not say it stands in the header X-Product-Secret. {"read","new","known","refused","encoding","products":[..],"notes":[{"line",
 * "column","sentence","refused"}]}; a refused file is answered 400 with the same and code REFUSED.
 */
#include <string.h>

#include "base/mem.h"
#include "factory/office/office.h"
#include "factory/sheet.h"

struct import {
	struct office_call *call;
	struct cw_stock *stock;
};

static void put_note(void *arg, const struct cw_sheet_note *n)
{
	const struct import *im = arg;
	struct cw_json *j = &im->call->json;

	cw_json_map(j);
	office_put_int(j, "line", n->line);
	cw_json_field(j, "column", n->column);
	cw_json_field(j, "sentence", n->sentence);
	office_put_bool(j, "refused", n->refused);
	cw_json_end_map(j);
}

/* A Bluetooth product has to be known as one before the first station asks: its check sums depend on it (B31). */
static int mark_products(void *arg, const struct cw_sheet_result *so_far, struct cw_msg *msg)
{
	const struct import *im = arg;
	const char *product_id = office_text(im->call, "productId");
	struct cw_stock_actor who = office_actor(im->call);
	size_t i;
	int rc = 0;

	for (i = 0; i < so_far->product_count && i < CW_SHEET_PRODUCTS && rc == 0; i++) {
		struct cw_stock_product p;

		rc = cw_stock_product_get(im->stock, so_far->products[i], &p, msg);
		if (rc == 0) {
			p.bluetooth = 1;
			if (product_id != NULL)
				memcpy(p.product_id, product_id, strlen(product_id) + 1);
			rc = cw_stock_product_put(im->stock, &p, &who, msg);
		}
	}
	return rc;
}

static int check_import(struct office_call *c)
{
	const char *batch = office_text(c, "batch"), *product_id = office_text(c, "productId");
	struct cw_stock_product p;

	if (batch == NULL || strlen(batch) > CW_STOCK_BATCH)
		return cw_fail(&c->job.msg, CW_EINVAL, "batch: a name of at most %d bytes is needed", CW_STOCK_BATCH);
	if (strlen(c->product_secret) > CW_STOCK_PRODUCT_SECRET)
		return cw_fail(&c->job.msg, CW_EINVAL, "ProductSecret: at most %d bytes are accepted", CW_STOCK_PRODUCT_SECRET);
	if (product_id != NULL && strlen(product_id) >= sizeof(p.product_id))
		return cw_fail(&c->job.msg, CW_EINVAL, "productId: at most %zu bytes are accepted", sizeof(p.product_id) - 1);
	return 0;
}

static void put_result(struct cw_json *j, const struct cw_sheet_result *r, const char *batch)
{
	size_t i;

	cw_json_field(j, "batch", batch);
	office_put_int(j, "read", (int64_t)r->read);
	office_put_int(j, "new", (int64_t)r->fresh);
	office_put_int(j, "known", (int64_t)r->known);
	office_put_int(j, "refused", (int64_t)r->refused);
	office_put_int(j, "warnings", (int64_t)r->warnings);
	cw_json_field(j, "encoding", r->gbk ? "GBK" : "UTF-8");
	cw_json_text(j, "products");
	cw_json_array(j);
	for (i = 0; i < r->product_count && i < CW_SHEET_PRODUCTS; i++)
		cw_json_text(j, r->products[i]);
	cw_json_end_array(j);
}

int office_import(struct office_call *c, struct cw_stock *s)
{
	const char *file = office_text(c, "file");
	struct import im = { c, s };
	struct cw_sheet sheet = {
		.name = file != NULL ? file : "upload.csv",
		.text = cw_bytes_of((const uint8_t *)c->body, c->body_len),
		.batch = office_text(c, "batch"),
		.product_key = office_text(c, "productKey"),
		.product_secret = c->product_secret[0] != '\0' ? c->product_secret : NULL,
		.who = office_actor(c),
		.note = put_note,
		.before = office_flag(c, "bluetooth") ? mark_products : NULL,
		.arg = &im,
	};
	struct cw_sheet_result *r;
	int rc = check_import(c);

	if (rc < 0)
		return rc;
	r = cw_zalloc(sizeof(*r));
	if (r == NULL)
		return cw_fail(&c->job.msg, CW_ENOMEM, "out of memory");
	cw_json_text(&c->json, "notes");
	cw_json_array(&c->json);
	rc = cw_sheet_import(s, &sheet, r, &c->job.msg);
	cw_json_end_array(&c->json);
	put_result(&c->json, r, sheet.batch);
	if (rc == CW_EINVAL || rc == CW_EEXIST || rc == CW_ELIMIT) {
		cw_json_field(&c->json, "code", "REFUSED");
		cw_json_field(&c->json, "message", c->job.msg.text);
		c->status = 400;
		rc = 0;
	}
	cw_free(r);
	return rc;
}
