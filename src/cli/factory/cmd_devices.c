/* cmd_devices.c - `causeway factory devices`: the table of devices in the field, which ask over the network (device_table). */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/csv.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/factory/factory.h"
#include "cli/factory/tool.h"
#include "factory/config.h"
#include "factory/field_name.h"

#define FILE_MOST  (64u << 20)
#define SHOWN      1000
#define TOLD       20u

static const char usage[] =
	"usage: causeway factory devices import FILE [--product PRODUCTKEY]\n"
	"       causeway factory devices list [--limit N] [--after DEVICEID] [--json]\n"
	"       causeway factory devices remove DEVICEID\n"
	"\n"
	"import reads a CSV whose first line names the columns: deviceId, and productKey unless --product says it; deviceName (else it is made\n"
	"from the deviceId when the device is registered, by field.deviceName of -c; what makes none is refused), deviceSecret, iotId and the times for devices that are registered\n"
	"already, as `causeway factory export --devices` writes them. All of it or, when a line is wrong, nothing. Secrets are not listed.\n";

/* X(symbol, name, longest) */
#define COLUMNS(X)                                       \
	X(DEVICE_ID, "deviceId", CW_STOCK_DEVICE_ID)         \
	X(PRODUCT_KEY, "productKey", CW_STOCK_PRODUCT_KEY)   \
	X(DEVICE_NAME, "deviceName", CW_STOCK_DEVICE_NAME)   \
	X(DEVICE_SECRET, "deviceSecret", CW_STOCK_DEVICE_SECRET) \
	X(IOT_ID, "iotId", 64)                               \
	X(REGISTERED, "registerTime", 40)                    \
	X(ACTIVATED, "activateTime", 40)

enum {
#define COLUMN(sym, name, most) COL_##sym,
	COLUMNS(COLUMN)
#undef COLUMN
	COL_COUNT
};

static const struct {
	const char *name;
	size_t most;
} columns[COL_COUNT] = {
#define COLUMN(sym, name, most) { name, most },
	COLUMNS(COLUMN)
#undef COLUMN
};

/* ---- import ------------------------------------------------------------------------------ */

struct reading {
	struct factory_tool *t;
	const char *file, *product;
	struct cw_csv csv;
	struct cw_csv_row row;
	int column[COL_COUNT]; /* -1: not there */
	size_t refused;
	struct cw_field_device *devices; /* their texts are in `text` */
	size_t count, room;
	char *text; /* as long as the file: what is copied out of it is shorter */
	size_t used;
};

static void refuse(struct reading *r, const char *column, const char *why)
{
	if (++r->refused <= TOLD)
		fprintf(stderr, "%s:%u: %s%s%s\n", r->file, r->row.line, column, column[0] == '\0' ? "" : ": ", why);
}

static int read_header(struct reading *r)
{
	size_t i, k;

	for (k = 0; k < COL_COUNT; k++)
		r->column[k] = -1;
	if (!cw_csv_next(&r->csv, &r->row))
		return factory_complain(r->t, "%s: is empty", r->file);
	if (r->row.problem != NULL)
		return factory_complain(r->t, "%s:%u: %s", r->file, r->row.line, r->row.problem);
	for (i = 0; i < r->row.count; i++) {
		for (k = 0; k < COL_COUNT && strcasecmp(columns[k].name, r->row.field[i]) != 0; k++)
			;
		if (k == COL_COUNT)
			return factory_complain(r->t, "%s:%u: column \"%.60s\": is none of deviceId, productKey, deviceName, deviceSecret, iotId, registerTime, activateTime",
			                        r->file, r->row.line, r->row.field[i]);
		if (r->column[k] >= 0)
			return factory_complain(r->t, "%s:%u: two columns named %s", r->file, r->row.line, columns[k].name);
		r->column[k] = (int)i;
	}
	if (r->column[COL_DEVICE_ID] < 0)
		return factory_complain(r->t, "%s:%u: no column deviceId", r->file, r->row.line);
	if (r->column[COL_PRODUCT_KEY] < 0 && r->product == NULL)
		return factory_complain(r->t, "%s:%u: no column productKey; say which product with --product", r->file, r->row.line);
	return 0;
}

/* A copy that stays; fields of a row are gone with the next one. */
static const char *keep(struct reading *r, const char *text)
{
	char *copy = r->text + r->used;
	size_t len = strlen(text) + 1;

	memcpy(copy, text, len);
	r->used += len;
	return copy;
}

static const char *field(const struct reading *r, int column)
{
	int at = r->column[column];

	return at < 0 || (size_t)at >= r->row.count ? "" : r->row.field[at];
}

static int take_time(struct reading *r, int column, int64_t *ret)
{
	const char *text = field(r, column);

	*ret = 0;
	if (text[0] == '\0' || factory_read_time(text, ret) == 0)
		return 1;
	refuse(r, columns[column].name, "is no time like 2026-11-21T08:00:00Z");
	return 0;
}

/* A DeviceName can be made of the id when it is registered. Without the server's configuration its template is not known; one that only adds to the
 * id is thought of then. */
static int has_name(const struct reading *r, struct cw_msg *msg)
{
	const char *id = field(r, COL_DEVICE_ID), *pattern = strlen(id) < CW_DEVICE_NAME_LEAST ? "id-${deviceId}-" : NULL;
	char name[CW_DEVICE_NAME_MOST + 1];

	if (field(r, COL_DEVICE_NAME)[0] != '\0')
		return 1;
	return factory_field_name(r->t->conf != NULL ? r->t->conf->field.name_template : pattern, id, name, msg) == 0;
}

static void take_row(struct reading *r)
{
	struct cw_field_device *d = &r->devices[r->count];
	const char *pk = field(r, COL_PRODUCT_KEY);
	struct cw_msg msg = { "" };
	int i;

	if (r->row.problem != NULL) {
		refuse(r, "", r->row.problem);
		return;
	}
	for (i = 0; i < COL_COUNT; i++)
		if (strlen(field(r, i)) > columns[i].most) {
			refuse(r, columns[i].name, "is too long");
			return;
		}
	if (field(r, COL_DEVICE_ID)[0] == '\0' || (pk[0] == '\0' && r->product == NULL)) {
		refuse(r, columns[field(r, COL_DEVICE_ID)[0] == '\0' ? COL_DEVICE_ID : COL_PRODUCT_KEY].name, "is empty");
		return;
	}
	if (field(r, COL_DEVICE_SECRET)[0] != '\0' && field(r, COL_DEVICE_NAME)[0] == '\0') {
		refuse(r, "deviceName", "is empty, but there is a deviceSecret");
		return;
	}
	if (!has_name(r, &msg)) {
		refuse(r, "deviceId", msg.text);
		return;
	}
	if (!take_time(r, COL_REGISTERED, &d->register_time) || !take_time(r, COL_ACTIVATED, &d->activate_time))
		return;
	d->device_id = keep(r, field(r, COL_DEVICE_ID));
	d->product_key = pk[0] == '\0' ? r->product : keep(r, pk);
	d->device_name = keep(r, field(r, COL_DEVICE_NAME));
	d->device_secret = keep(r, field(r, COL_DEVICE_SECRET));
	d->iot_id = keep(r, field(r, COL_IOT_ID));
	r->count++;
}

static int read_rows(struct reading *r)
{
	int rc = read_header(r);

	while (rc == 0 && cw_csv_next(&r->csv, &r->row)) {
		if (r->count == r->room) {
			struct cw_field_device *grown = cw_realloc(r->devices, (r->room * 2 + 1024) * sizeof(*grown));

			if (grown == NULL)
				return factory_complain(r->t, "out of memory");
			r->devices = grown;
			r->room = r->room * 2 + 1024;
		}
		take_row(r);
	}
	if (rc == 0 && r->refused > 0)
		rc = factory_complain(r->t, "%zu row%s refused; nothing was imported", r->refused, r->refused == 1 ? " is" : "s are");
	return rc;
}

static int import(struct factory_tool *t, const char *product)
{
	struct reading *r = cw_zalloc(sizeof(*r));
	struct cw_msg msg = { "" };
	char *text = NULL;
	size_t len = 0, fresh = 0;
	int rc = 0;

	if (r == NULL)
		return factory_complain(t, "out of memory");
	r->t = t;
	r->file = t->word[1];
	r->product = product;
	if (cw_file_read(r->file, FILE_MOST, &text, &len, &msg) < 0)
		rc = factory_complain(t, "%s", msg.text);
	/* Each field has a NUL where the file has a comma, and rows may have fewer fields than there are columns. */
	r->text = rc == 0 ? cw_alloc(len + COL_COUNT * (len / 2 + 2)) : NULL;
	if (rc == 0 && r->text == NULL)
		rc = factory_complain(t, "out of memory");
	if (rc == 0) {
		cw_csv_begin(&r->csv, cw_bytes_of(text, len));
		rc = read_rows(r);
	}
	if (rc == 0 && cw_field_import(t->stock, r->devices, r->count, &t->who, &fresh, &msg) < 0)
		rc = factory_complain(t, "%s; nothing was imported", msg.text);
	if (rc == 0)
		printf("%s: %zu devices, %zu new, %zu known\n", r->file, r->count, fresh, r->count - fresh);
	if (text != NULL)
		explicit_bzero(text, len);
	if (r->text != NULL)
		explicit_bzero(r->text, r->used);
	explicit_bzero(&r->row, sizeof(r->row));
	cw_free(text);
	cw_free(r->text);
	cw_free(r->devices);
	cw_free(r);
	return rc;
}

/* ---- list ------------------------------------------------------------------------------------ */

struct listing {
	struct factory_tool *t;
	struct factory_table tb;
	size_t most, rows;
	char last[CW_STOCK_DEVICE_ID + 1];
	int more;
};

static int on_device(void *arg, const struct cw_field_device *d)
{
	struct listing *l = arg;
	struct cw_json j;
	char text[24];

	if (l->most > 0 && l->rows == l->most) {
		l->more = 1;
		return 1;
	}
	l->rows++;
	(void)snprintf(l->last, sizeof(l->last), "%s", d->device_id);
	if (l->t->as_json) {
		cw_json_begin(&j, CW_VIEW_MOST);
		cw_view_field(&j, d);
		return factory_list_item(l->t, &j);
	}
	factory_cell(&l->tb, "%s", d->device_id);
	factory_cell(&l->tb, "%s", d->product_key);
	factory_cell(&l->tb, "%s", d->device_name);
	factory_cell(&l->tb, "%s", d->iot_id);
	factory_cell(&l->tb, "%s", factory_time(d->register_time, text));
	factory_cell(&l->tb, "%s", factory_time(d->activate_time, text));
	return 0;
}

static int list(struct factory_tool *t, const char *after, size_t most)
{
	struct listing l = { .t = t, .most = most };
	struct cw_msg msg = { "" };
	int rc;

	if (t->as_json)
		factory_list_begin(t);
	else
		factory_table_begin(&l.tb, "DEVICEID|PRODUCT|DEVICENAME|IOTID|REGISTERED (UTC)|ACTIVATED (UTC)");
	rc = cw_field_each(t->stock, after, most == 0 ? 0 : most + 1, NULL, on_device, &l, &msg);
	if (t->as_json)
		factory_list_end(t);
	else
		factory_table_end(&l.tb);
	if (l.more)
		fprintf(stderr, "there are more: --after '%s'\n", l.last);
	return rc < 0 ? factory_complain(t, "%s", msg.text) : 0;
}

static int remove_one(struct factory_tool *t)
{
	struct cw_msg msg = { "" };

	if (cw_field_remove(t->stock, t->word[1], &t->who, &msg) < 0)
		return factory_complain(t, "%s", msg.text);
	printf("%s is removed; the device stays on the platform\n", t->word[1]);
	return 0;
}

int cw_factory_devices(int argc, char **argv)
{
	struct factory_tool t = { 0 };
	const char *product = NULL, *after = NULL, *verb;
	int64_t limit = SHOWN;
	const struct factory_option options[] = { { "product", FACTORY_TEXT, &product },
		                                  { "after", FACTORY_TEXT, &after },
		                                  { "limit", FACTORY_NUMBER, &limit } };
	int rc = factory_options(&t, argc, argv, usage, options, 3), is_list;

	if (rc < 0)
		rc = factory_words(&t, 1, 2);
	if (rc >= 0)
		return rc;
	verb = t.word[0];
	is_list = strcmp(verb, "list") == 0;
	if (!is_list && strcmp(verb, "import") != 0 && strcmp(verb, "remove") != 0)
		return factory_misused(&t, "%s: is import, list or remove", verb);
	if (t.count != (is_list ? 1 : 2))
		return factory_misused(&t, is_list ? "list takes no name" : "%s takes one name", verb);
	rc = factory_open(&t, is_list ? FACTORY_READ : strcmp(verb, "import") == 0 ? FACTORY_MAKE : FACTORY_CHANGE);
	if (rc == 0)
		rc = is_list ? list(&t, after, (size_t)limit) : strcmp(verb, "import") == 0 ? import(&t, product) : remove_one(&t);
	factory_close(&t);
	return rc;
}
