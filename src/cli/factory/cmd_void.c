/* cmd_void.c - `causeway factory void` and `reclaim`: what goes out of the stock by hand, and what comes back. */
#include <string.h>

#include "base/clock.h"
#include "cli/factory/factory.h"
#include "cli/factory/tool.h"

static const char void_usage[] =
	"usage: causeway factory void PRODUCTKEY DEVICENAME --reason TEXT [--json]\n"
	"       causeway factory void PRODUCTKEY --device-id ID --reason TEXT [--json]\n"
	"\n"
	"Takes one certificate out of the stock for good, whatever its status: nobody gets it. A board that had it gets another one\n"
	"when it asks again.\n";

static const char reclaim_usage[] =
	"usage: causeway factory reclaim [FILTERS] [--older TIME] [--yes] [--json]\n"
	"\n"
	"Allocations without a report go back into the stock; without --yes they are only shown. A board whose report was lost has\n"
	"the certificate all the same, and then two have it: take back only what you know is on no board.\n"
	"\n"
	"  --older TIME           allocated so long ago or longer (1h)\n"
	"  --anonymous            only those whose DeviceID was made up, which no station can ask for again\n"
	"  --device-name --device-id --text --product --batch --station --since --until     as of query\n";

/* ---- void -------------------------------------------------------------------------------- */

struct named {
	char device_name[CW_STOCK_DEVICE_NAME + 1];
	int found;
};

static int on_named(void *arg, const struct cw_stock_row *row)
{
	struct named *n = arg;

	if (row->state == CW_STOCK_VOID)
		return 0;
	(void)snprintf(n->device_name, sizeof(n->device_name), "%s", row->device_name);
	n->found = 1;
	return 0;
}

static int void_one(struct factory_tool *t, const char *device_id, const char *reason)
{
	const struct cw_stock_filter filter = { .product_key = t->word[0], .device_id = device_id, .state = -1 };
	struct named n = { .found = 0 };
	const char *name = device_id == NULL ? t->word[1] : n.device_name;
	struct cw_msg msg = { "" };
	struct cw_json j;

	if (device_id != NULL && cw_stock_query(t->stock, &filter, on_named, &n, &msg) < 0)
		return factory_complain(t, "%s", msg.text);
	if (device_id != NULL && !n.found)
		return factory_complain(t, "%s: no board of %s has this DeviceID", device_id, t->word[0]);
	if (cw_stock_void(t->stock, t->word[0], name, reason, &t->who, &msg) < 0)
		return factory_complain(t, "%s", msg.text);
	if (!t->as_json) {
		printf("%s of %s is void\n", name, t->word[0]);
		return 0;
	}
	cw_json_begin(&j, CW_VIEW_MOST);
	cw_json_map(&j);
	cw_json_field(&j, "productKey", t->word[0]);
	cw_json_field(&j, "deviceName", name);
	cw_json_field(&j, "state", cw_stock_state_name(CW_STOCK_VOID));
	cw_json_end_map(&j);
	return factory_json(t, &j);
}

int cw_factory_void(int argc, char **argv)
{
	struct factory_tool t = { 0 };
	const char *reason = NULL, *device_id = NULL;
	const struct factory_option options[] = { { "reason", FACTORY_TEXT, &reason }, { "device-id", FACTORY_TEXT, &device_id } };
	int rc = factory_options(&t, argc, argv, void_usage, options, 2);

	if (rc < 0)
		rc = factory_words(&t, device_id == NULL ? 2 : 1, device_id == NULL ? 2 : 1);
	if (rc < 0 && (reason == NULL || reason[0] == '\0' || strlen(reason) > CW_STOCK_REASON))
		rc = factory_misused(&t, "--reason TEXT is needed, up to %d bytes", CW_STOCK_REASON);
	if (rc >= 0)
		return rc;
	rc = factory_open(&t, FACTORY_CHANGE);
	if (rc == 0)
		rc = void_one(&t, device_id, reason);
	factory_close(&t);
	return rc;
}

/* ---- reclaim ------------------------------------------------------------------------------- */

struct reclaiming {
	struct factory_tool *t;
	struct factory_table tb;
};

static int on_row(void *arg, const struct cw_stock_row *row)
{
	struct reclaiming *r = arg;
	struct cw_json j;
	char text[24];

	if (r->t->as_json) {
		cw_json_begin(&j, CW_VIEW_MOST);
		cw_view_row(&j, row);
		(void)factory_list_item(r->t, &j);
		return 0;
	}
	factory_cell(&r->tb, "%s", row->device_name);
	factory_cell(&r->tb, "%s", row->product_key);
	factory_cell(&r->tb, "%s", row->batch);
	factory_cell(&r->tb, "%s%s", row->device_id, row->anonymous ? " (made up)" : "");
	factory_cell(&r->tb, "%s", row->station);
	factory_cell(&r->tb, "%s", factory_time(row->allocated, text));
	return 0;
}

static int reclaim(struct factory_tool *t, const struct cw_stock_filter *filter, int yes)
{
	struct reclaiming r = { .t = t };
	struct cw_msg msg = { "" };
	size_t count = 0;
	int rc;

	if (t->as_json)
		factory_list_begin(t);
	else
		factory_table_begin(&r.tb, "DEVICENAME|PRODUCT|BATCH|DEVICEID|STATION|ALLOCATED (UTC)");
	rc = cw_stock_reclaim(t->stock, filter, yes, &t->who, on_row, &r, &count, &msg);
	if (t->as_json)
		factory_list_end(t);
	else
		factory_table_end(&r.tb);
	if (rc < 0)
		return factory_complain(t, "%s", msg.text);
	if (yes)
		fprintf(stderr, "%zu went back into the stock\n", count);
	else
		fprintf(stderr, "%zu would go back into the stock; nothing was changed: --yes does it\n", count);
	return 0;
}

int cw_factory_reclaim(int argc, char **argv)
{
	struct factory_option options[FACTORY_FILTER_OPTIONS + 2];
	struct factory_filter f = { .limit = 0 };
	struct factory_tool t = { 0 };
	int64_t older = 3600000;
	int rc, yes = 0;

	factory_filter_options(&f, options);
	options[FACTORY_FILTER_OPTIONS] = (struct factory_option){ "older", FACTORY_DURATION, &older };
	options[FACTORY_FILTER_OPTIONS + 1] = (struct factory_option){ "yes", FACTORY_FLAG, &yes };
	rc = factory_options(&t, argc, argv, reclaim_usage, options, FACTORY_FILTER_OPTIONS + 2);
	if (rc < 0)
		rc = factory_words(&t, 0, 0);
	if (rc < 0 && f.status != NULL)
		rc = factory_misused(&t, "--status: it is about allocated ones only");
	if (rc < 0)
		rc = factory_filter_done(&t, &f);
	if (rc >= 0)
		return rc;
	if (f.filter.until == 0 || f.filter.until > cw_clock_wall_ms() - older)
		f.filter.until = cw_clock_wall_ms() - older + 1; /* up to and with that moment */
	rc = factory_open(&t, FACTORY_CHANGE);
	if (rc == 0)
		rc = reclaim(&t, &f.filter, yes);
	factory_close(&t);
	return rc;
}
