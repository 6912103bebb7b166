/* cmd_export.c - `causeway factory export`: certificates, or the table of devices in the field, with their secrets into a CSV file. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/csv.h"
#include "base/file.h"
#include "cli/factory/factory.h"
#include "cli/factory/tool.h"

static const char usage[] =
	"usage: causeway factory export [FILTERS] --out FILE [--json]\n"
	"       causeway factory export --devices --out FILE [--json]\n"
	"\n"
	"Certificates that fit, with their secrets, into a CSV file of mode 0600 that must not be there yet. The audit log keeps who did\n"
	"it. `import` reads such a file: free certificates come in as free, the others with their DeviceID and status; void ones are to\n"
	"be left out (--status says which).\n"
	"\n"
	"  --devices              the table of devices in the field (device_table), with its seven columns\n"
	"  --device-name --device-id --text --product --batch --status --station --since --until --anonymous     as of query\n";

struct exporting {
	struct factory_tool *t;
	FILE *to;
	size_t rows;
	int failed; /* errno */
};

static int put(struct exporting *e, const char *const *fields, size_t count)
{
	errno = 0;
	if (cw_csv_write(e->to, fields, count) == 0)
		return 0;
	e->failed = errno == 0 ? EIO : errno;
	return CW_EIO;
}

static const char *time_text(int64_t ms, char out[25])
{
	out[0] = '\0';
	if (ms != 0)
		cw_clock_format(ms, out);
	return out;
}

/* ---- certificates ----------------------------------------------------------------------- */

static const char *const heads[] = { "DeviceName", "DeviceSecret", "ProductKey", "ProductSecret", "ProductID", "DeviceID", "Status",
	                             "Batch", "Station", "Imported", "Allocated", "Written", "Voided", "Reason", "Extra" };
#define HEADS (sizeof(heads) / sizeof(heads[0]))

static int on_cert(void *arg, const struct cw_stock_row *row, const struct cw_stock_cert *cert)
{
	struct exporting *e = arg;
	char imported[25], allocated[25], written[25], voided[25];
	const char *const fields[HEADS] = { row->device_name,
		                            cert->device_secret,
		                            row->product_key,
		                            cert->product_secret,
		                            row->product_id,
		                            row->device_id,
		                            factory_state(row->state),
		                            row->batch,
		                            row->station,
		                            time_text(row->imported, imported),
		                            time_text(row->allocated, allocated),
		                            time_text(row->written, written),
		                            time_text(row->voided, voided),
		                            row->reason,
		                            row->extra };

	e->rows++;
	return put(e, fields, HEADS);
}

/* ---- devices in the field ----------------------------------------------------------------- */

static const char *const device_heads[] = { "deviceId", "registerTime", "activateTime", "productKey", "deviceName", "deviceSecret", "iotId" };
#define DEVICE_HEADS (sizeof(device_heads) / sizeof(device_heads[0]))

static int on_device(void *arg, const struct cw_field_device *d)
{
	struct exporting *e = arg;
	char registered[25], activated[25];
	const char *const fields[DEVICE_HEADS] = { d->device_id,
		                                   time_text(d->register_time, registered),
		                                   time_text(d->activate_time, activated),
		                                   d->product_key,
		                                   d->device_name,
		                                   d->device_secret,
		                                   d->iot_id };

	e->rows++;
	return put(e, fields, DEVICE_HEADS);
}

/* ---- the file -------------------------------------------------------------------------------- */

static int fill(struct exporting *e, const struct cw_stock_filter *filter, int devices, struct cw_msg *msg)
{
	struct cw_stock *s = e->t->stock;
	int rc;

	rc = devices ? put(e, device_heads, DEVICE_HEADS) : put(e, heads, HEADS);
	if (rc == 0)
		rc = devices ? cw_field_each(s, NULL, 0, &e->t->who, on_device, e, msg) : cw_stock_export(s, filter, &e->t->who, on_cert, e, msg);
	if (fflush(e->to) != 0 && e->failed == 0)
		e->failed = errno;
	if (e->failed != 0)
		return cw_fail(msg, CW_EIO, "cannot write: %s", strerror(e->failed));
	return rc;
}

static int export(struct factory_tool *t, const struct cw_stock_filter *filter, int devices, const char *out)
{
	struct exporting e = { .t = t };
	struct cw_file_new f;
	struct cw_msg msg = { "" };
	struct cw_json j;
	int fd;

	if (access(out, F_OK) == 0)
		return factory_complain(t, "%s is there already and is not overwritten", out);
	if (cw_file_begin(&f, out, &msg) < 0)
		return factory_complain(t, "%s", msg.text);
	fd = dup(f.fd);
	e.to = fd < 0 ? NULL : fdopen(fd, "w");
	if (e.to == NULL) {
		cw_file_abandon(&f);
		return factory_complain(t, "%s: %s", out, strerror(errno));
	}
	if (fill(&e, filter, devices, &msg) < 0) {
		(void)fclose(e.to);
		cw_file_abandon(&f);
		return factory_complain(t, "%s: %s; there is no file", out, msg.text);
	}
	(void)fclose(e.to);
	if (cw_file_commit(&f, cw_bytes_of(NULL, 0), 0, &msg) < 0)
		return factory_complain(t, "%s", msg.text);
	if (!t->as_json) {
		printf("%s: %zu %s with their secrets\n", out, e.rows, devices ? "devices" : "certificates");
		return 0;
	}
	cw_json_begin(&j, CW_VIEW_MOST);
	cw_json_map(&j);
	cw_json_field(&j, "file", out);
	cw_json_text(&j, "rows");
	cw_json_uint(&j, e.rows);
	cw_json_end_map(&j);
	return factory_json(t, &j);
}

int cw_factory_export(int argc, char **argv)
{
	struct factory_option options[FACTORY_FILTER_OPTIONS + 2];
	struct factory_filter f = { .limit = 0 };
	struct factory_tool t = { 0 };
	const char *out = NULL;
	int rc, devices = 0;

	factory_filter_options(&f, options);
	options[FACTORY_FILTER_OPTIONS] = (struct factory_option){ "out", FACTORY_TEXT, &out };
	options[FACTORY_FILTER_OPTIONS + 1] = (struct factory_option){ "devices", FACTORY_FLAG, &devices };
	rc = factory_options(&t, argc, argv, usage, options, FACTORY_FILTER_OPTIONS + 2);
	if (rc < 0)
		rc = factory_words(&t, 0, 0);
	if (rc < 0 && out == NULL)
		rc = factory_misused(&t, "--out FILE is missing");
	if (rc < 0)
		rc = factory_filter_done(&t, &f);
	if (rc >= 0)
		return rc;
	rc = factory_open(&t, FACTORY_CHANGE);
	if (rc == 0)
		rc = export(&t, &f.filter, devices, out);
	factory_close(&t);
	return rc;
}
