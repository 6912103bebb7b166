/* cmd_query.c - `causeway factory query` and `show`: who has which certificate. Secrets are not shown. */
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "cli/factory/factory.h"
#include "cli/factory/tool.h"

#define SHOWN 1000 /* rows, unless --limit says otherwise */

static const char query_usage[] =
	"usage: causeway factory query [FILTERS] [--newest] [--limit N] [--after ID] [--json]\n"
	"\n"
	"  --device-name NAME   --device-id ID     exactly these\n"
	"  --text BEGINNING                        of a DeviceName or DeviceID\n"
	"  --product PRODUCTKEY --batch NAME       --station NAME\n"
	"  --status free|allocated|written|void    --anonymous: allocated without a DeviceID of the station's own\n"
	"  --since TIME --until TIME               when its status changed last\n"
	"  --newest                                the last change first\n"
	"  --limit N                               1,000 by default; 0: all\n"
	"  --after ID                              go on behind this one, as the last line of a limited list says\n"
	"\n"
	"All that is given must fit. Exit status 1 when nothing does. Secrets are not shown; `causeway factory export` has them.\n";

static const char show_usage[] =
	"usage: causeway factory show DEVICENAME|DEVICEID [--product PRODUCTKEY] [--json]\n"
	"\n"
	"One certificate, by its DeviceName or by the DeviceID of the board that has it, and what was done with it.\n";

/* ---- query ------------------------------------------------------------------------------ */

struct answer {
	struct factory_tool *t;
	struct factory_table tb;
	size_t most, rows; /* most 0: all */
	int64_t last;
	int more;
};

static void print_cells(struct factory_table *tb, const struct cw_stock_row *row)
{
	char text[24];

	factory_cell(tb, "%s", row->device_name);
	factory_cell(tb, "%s", row->product_key);
	factory_cell(tb, "%s", row->batch);
	factory_cell(tb, "%s", factory_state(row->state));
	factory_cell(tb, "%s%s", row->device_id, row->anonymous ? " (made up)" : "");
	factory_cell(tb, "%s", row->station);
	factory_cell(tb, "%s", factory_time(row->allocated, text));
	factory_cell(tb, "%s", factory_time(row->written, text));
	factory_cell(tb, "%s", row->state == CW_STOCK_VOID ? row->reason : "");
}

#define HEADS "DEVICENAME|PRODUCT|BATCH|STATUS|DEVICEID|STATION|ALLOCATED (UTC)|WRITTEN (UTC)|REASON"

static int on_row(void *arg, const struct cw_stock_row *row)
{
	struct answer *a = arg;
	struct cw_json j;

	if (a->most > 0 && a->rows == a->most) {
		a->more = 1;
		return 1;
	}
	a->rows++;
	a->last = row->id;
	if (!a->t->as_json) {
		print_cells(&a->tb, row);
		return 0;
	}
	cw_json_begin(&j, CW_VIEW_MOST);
	cw_view_row(&j, row);
	return factory_list_item(a->t, &j);
}

static int query(struct factory_tool *t, const struct cw_stock_filter *filter, size_t most)
{
	struct answer a = { .t = t, .most = most };
	struct cw_stock_filter f = *filter;
	struct cw_msg msg = { "" };
	int rc;

	f.most = most == 0 ? 0 : most + 1; /* is there another one? */
	if (t->as_json)
		factory_list_begin(t);
	else
		factory_table_begin(&a.tb, HEADS);
	rc = cw_stock_query(t->stock, &f, on_row, &a, &msg);
	if (t->as_json)
		factory_list_end(t);
	else
		factory_table_end(&a.tb);
	if (rc < 0)
		return factory_complain(t, "%s", msg.text);
	if (a.more && filter->newest)
		fprintf(stderr, "there are more: --limit 0\n");
	else if (a.more)
		fprintf(stderr, "there are more: --after %lld\n", (long long)a.last);
	return a.rows > 0 ? 0 : factory_complain(t, "nothing fits");
}

int cw_factory_query(int argc, char **argv)
{
	struct factory_option options[FACTORY_FILTER_OPTIONS + 3];
	struct factory_filter f = { .limit = SHOWN };
	struct factory_tool t = { 0 };
	int rc;

	factory_filter_options(&f, options);
	options[FACTORY_FILTER_OPTIONS] = (struct factory_option){ "limit", FACTORY_NUMBER, &f.limit };
	options[FACTORY_FILTER_OPTIONS + 1] = (struct factory_option){ "after", FACTORY_NUMBER, &f.after };
	options[FACTORY_FILTER_OPTIONS + 2] = (struct factory_option){ "newest", FACTORY_FLAG, &f.filter.newest };
	rc = factory_options(&t, argc, argv, query_usage, options, FACTORY_FILTER_OPTIONS + 3);
	if (rc < 0)
		rc = factory_words(&t, 0, 0);
	if (rc < 0)
		rc = factory_filter_done(&t, &f);
	if (rc >= 0)
		return rc;
	rc = factory_open(&t, FACTORY_READ);
	if (rc == 0)
		rc = query(&t, &f.filter, (size_t)f.limit);
	factory_close(&t);
	return rc;
}

/* ---- show --------------------------------------------------------------------------------- */

/* Imported files and stations have written it. */
static void line(const char *what, const char *value)
{
	char *shown = cw_strdup(value[0] == '\0' ? "-" : value);

	if (shown != NULL)
		cw_utf8_tame(shown);
	printf("%-14s %s\n", what, shown == NULL ? "(out of memory)" : shown);
	cw_free(shown);
}

static void details(const struct cw_stock_row *row)
{
	char text[24], id[CW_STOCK_DEVICE_ID + 64];

	line("DeviceName", row->device_name);
	line("ProductKey", row->product_key);
	line("DeviceSecret", "********");
	line("ProductSecret", "********");
	if (row->product_id[0] != '\0')
		line("ProductID", row->product_id);
	line("Batch", row->batch);
	line("Status", factory_state(row->state));
	(void)snprintf(id, sizeof(id), "%s%s", row->device_id[0] == '\0' ? "-" : row->device_id,
	               row->anonymous ? " (made up: the station sent none)" : "");
	line("DeviceID", id);
	line("Station", row->station);
	line("Imported", factory_time(row->imported, text));
	line("Allocated", factory_time(row->allocated, text));
	line("Written", factory_time(row->written, text));
	if (row->state == CW_STOCK_VOID) {
		line("Void", factory_time(row->voided, text));
		line("Reason", row->reason);
	}
	if (row->extra[0] != '\0')
		line("Further", row->extra);
}

static int on_entry(void *arg, const struct cw_audit_entry *e)
{
	struct factory_table *tb = arg;
	char text[24];

	if (tb->columns == 0) {
		putchar('\n');
		factory_table_begin(tb, "AT (UTC)|WHAT|WHO|ADDRESS|DEVICEID|TEXT");
	}
	factory_cell(tb, "%s", factory_time(e->at, text));
	factory_cell(tb, "%s", e->what);
	factory_cell(tb, "%s", e->who);
	factory_cell(tb, "%s", e->address);
	factory_cell(tb, "%s", e->device_id);
	factory_cell(tb, "%s", e->text);
	return 0;
}

struct names {
	char product_key[CW_STOCK_PRODUCT_KEY + 1], device_name[CW_STOCK_DEVICE_NAME + 1];
};

struct found {
	struct factory_tool *t;
	struct names names[20]; /* a DeviceName may be of several products */
	size_t count;
};

static int on_found(void *arg, const struct cw_stock_row *row)
{
	struct found *f = arg;
	struct cw_json j;

	(void)snprintf(f->names[f->count].product_key, sizeof(f->names[0].product_key), "%s", row->product_key);
	(void)snprintf(f->names[f->count].device_name, sizeof(f->names[0].device_name), "%s", row->device_name);
	f->count++;
	if (!f->t->as_json) {
		if (f->count > 1)
			putchar('\n');
		details(row);
		return 0;
	}
	cw_json_begin(&j, CW_VIEW_MOST);
	cw_view_row(&j, row);
	return factory_list_item(f->t, &j);
}

static int show(struct factory_tool *t, const char *name, const char *product)
{
	struct cw_stock_filter filter = { .product_key = product, .device_name = name, .state = -1, .most = 20 };
	struct found f = { .t = t };
	struct factory_table tb = { .columns = 0 };
	struct cw_msg msg = { "" };
	int rc;

	if (t->as_json)
		factory_list_begin(t);
	rc = cw_stock_query(t->stock, &filter, on_found, &f, &msg);
	if (rc == 0 && f.count == 0) {
		filter.device_name = NULL;
		filter.device_id = name;
		rc = cw_stock_query(t->stock, &filter, on_found, &f, &msg);
	}
	if (t->as_json)
		factory_list_end(t);
	if (rc == 0 && f.count == 1 && !t->as_json) {
		const struct cw_audit_filter of = { .product_key = f.names[0].product_key, .device_name = f.names[0].device_name, .most = 100 };

		rc = cw_audit_each(t->stock, &of, on_entry, &tb, &msg);
		if (tb.columns > 0)
			factory_table_end(&tb);
	}
	if (rc < 0)
		return factory_complain(t, "%s", msg.text);
	return f.count > 0 ? 0 : factory_complain(t, "%s: no certificate has this DeviceName, and no board this DeviceID", name);
}

int cw_factory_show(int argc, char **argv)
{
	struct factory_tool t = { 0 };
	const char *product = NULL;
	const struct factory_option options[] = { { "product", FACTORY_TEXT, &product } };
	int rc = factory_options(&t, argc, argv, show_usage, options, 1);

	if (rc < 0)
		rc = factory_words(&t, 1, 1);
	if (rc >= 0)
		return rc;
	rc = factory_open(&t, FACTORY_READ);
	if (rc == 0)
		rc = show(&t, t.word[0], product);
	factory_close(&t);
	return rc;
}
