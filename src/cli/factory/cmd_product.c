/* cmd_product.c - `causeway factory product`: what holds for all certificates of a product. */
#include <string.h>

#include "cli/factory/factory.h"
#include "cli/factory/product.h"

static const char usage[] =
	"usage: causeway factory product show [PRODUCTKEY] [--json]\n"
	"       causeway factory product set PRODUCTKEY OPTIONS\n"
	"\n" FACTORY_PRODUCT_USAGE
	"  --no-bluetooth, --no-normalize-mac\n"
	"\n"
	"A server that runs follows at once. What boards have got already stays in them: a check sum that is changed later is another\n"
	"one when such a board asks again.\n";

void factory_product_options(struct factory_product_change *c, struct factory_option out[FACTORY_PRODUCT_OPTIONS])
{
	const struct factory_option options[FACTORY_PRODUCT_OPTIONS] = {
		{ "bluetooth", FACTORY_FLAG, &c->bluetooth },       { "no-bluetooth", FACTORY_CLEAR, &c->bluetooth },
		{ "normalize-mac", FACTORY_FLAG, &c->normalize_mac }, { "no-normalize-mac", FACTORY_CLEAR, &c->normalize_mac },
		{ "product-id", FACTORY_TEXT, &c->product_id },     { "crc32", FACTORY_TEXT, &c->crc_form },
		{ "crc-order", FACTORY_TEXT, &c->crc_order },       { "reply-columns", FACTORY_TEXT, &c->reply_columns },
	};

	*c = (struct factory_product_change){ .bluetooth = -1, .normalize_mac = -1 };
	memcpy(out, options, sizeof(options));
}

static int is_one_of(const char *text, const char *a, const char *b)
{
	return text == NULL || strcmp(text, a) == 0 || strcmp(text, b) == 0;
}

int factory_product_check(const struct factory_tool *t, const struct factory_product_change *c)
{
	if (!is_one_of(c->crc_form, "text", "number"))
		return factory_misused(t, "--crc32 %s: is text or number", c->crc_form);
	if (!is_one_of(c->crc_order, "code", "prose"))
		return factory_misused(t, "--crc-order %s: is code or prose", c->crc_order);
	if (c->product_id != NULL && strlen(c->product_id) >= sizeof(((struct cw_stock_product *)NULL)->product_id))
		return factory_misused(t, "--product-id: is longer than 32 characters");
	if (c->reply_columns != NULL && strlen(c->reply_columns) >= sizeof(((struct cw_stock_product *)NULL)->reply_columns))
		return factory_misused(t, "--reply-columns: is longer than 255 bytes");
	return -1;
}

int factory_product_changes(const struct factory_product_change *c)
{
	return c->bluetooth >= 0 || c->normalize_mac >= 0 || c->product_id != NULL || c->crc_form != NULL || c->crc_order != NULL ||
	       c->reply_columns != NULL;
}

int factory_product_apply(struct factory_tool *t, const struct factory_product_change *c, const char *product_key, struct cw_msg *msg)
{
	struct cw_stock_product p = { .bluetooth = 0 };
	int rc = cw_stock_product_get(t->stock, product_key, &p, msg);

	if (rc < 0 && rc != CW_ENOENT)
		return rc;
	(void)snprintf(p.product_key, sizeof(p.product_key), "%s", product_key);
	if (c->bluetooth >= 0)
		p.bluetooth = c->bluetooth;
	if (c->normalize_mac >= 0)
		p.normalize_mac = c->normalize_mac;
	if (c->product_id != NULL)
		(void)snprintf(p.product_id, sizeof(p.product_id), "%s", c->product_id);
	if (c->crc_form != NULL)
		p.crc_form = strcmp(c->crc_form, "number") == 0 ? CW_STOCK_CRC_NUMBER : CW_STOCK_CRC_TEXT;
	if (c->crc_order != NULL)
		p.crc_order = strcmp(c->crc_order, "prose") == 0 ? CW_STOCK_CRC_PROSE : CW_STOCK_CRC_CODE;
	if (c->reply_columns != NULL)
		(void)snprintf(p.reply_columns, sizeof(p.reply_columns), "%s", c->reply_columns);
	return cw_stock_product_put(t->stock, &p, &t->who, msg);
}

struct showing {
	struct factory_tool *t;
	struct factory_table tb;
	const char *only;
	int found;
};

static int show_one(void *arg, const struct cw_stock_product *p)
{
	struct showing *s = arg;
	struct cw_json j;

	if (s->only != NULL && strcmp(s->only, p->product_key) != 0)
		return 0;
	s->found = 1;
	if (s->t->as_json) {
		cw_json_begin(&j, CW_VIEW_MOST);
		cw_view_product(&j, p);
		(void)factory_list_item(s->t, &j);
		return 0;
	}
	factory_cell(&s->tb, "%s", p->product_key);
	factory_cell(&s->tb, "%s", p->bluetooth ? "yes" : "no");
	factory_cell(&s->tb, "%s", p->product_id);
	factory_cell(&s->tb, "%s", p->crc_form == CW_STOCK_CRC_NUMBER ? "number" : "text");
	factory_cell(&s->tb, "%s", p->crc_order == CW_STOCK_CRC_PROSE ? "prose" : "code");
	factory_cell(&s->tb, "%s", p->normalize_mac ? "yes" : "no");
	factory_cell(&s->tb, "%s", p->reply_columns);
	return 0;
}

static int show(struct factory_tool *t, const char *only)
{
	struct showing s = { .t = t, .only = only };
	struct cw_msg msg = { "" };
	int rc;

	if (t->as_json)
		factory_list_begin(t);
	else
		factory_table_begin(&s.tb, "PRODUCT|BLUETOOTH|PRODUCTID|CRC32|ORDER|MACS ALIKE|REPLY COLUMNS");
	rc = cw_stock_products(t->stock, show_one, &s, &msg);
	if (t->as_json)
		factory_list_end(t);
	else
		factory_table_end(&s.tb);
	if (rc < 0)
		return factory_complain(t, "%s", msg.text);
	return s.found || only == NULL ? 0 : factory_complain(t, "%s: no certificates of this product were imported", only);
}

static int set(struct factory_tool *t, const struct factory_product_change *c, const char *product_key)
{
	struct cw_stock_product p;
	struct cw_msg msg = { "" };

	if (cw_stock_product_get(t->stock, product_key, &p, &msg) < 0 || factory_product_apply(t, c, product_key, &msg) < 0)
		return factory_complain(t, "%s", msg.text);
	return show(t, product_key);
}

int cw_factory_product(int argc, char **argv)
{
	struct factory_product_change c;
	struct factory_option options[FACTORY_PRODUCT_OPTIONS];
	struct factory_tool t = { 0 };
	int rc, is_set;

	factory_product_options(&c, options);
	rc = factory_options(&t, argc, argv, usage, options, FACTORY_PRODUCT_OPTIONS);
	if (rc < 0)
		rc = factory_words(&t, 1, 2);
	if (rc < 0)
		rc = factory_product_check(&t, &c);
	if (rc >= 0)
		return rc;
	is_set = strcmp(t.word[0], "set") == 0;
	if (!is_set && strcmp(t.word[0], "show") != 0)
		return factory_misused(&t, "%s: is show or set", t.word[0]);
	if (is_set != factory_product_changes(&c) || (is_set && t.count != 2))
		return factory_misused(&t, is_set ? "set takes a ProductKey and what to change" : "show changes nothing");
	rc = factory_open(&t, is_set ? FACTORY_CHANGE : FACTORY_READ);
	if (rc == 0)
		rc = is_set ? set(&t, &c, t.word[1]) : show(&t, t.count == 2 ? t.word[1] : NULL);
	factory_close(&t);
	return rc;
}
