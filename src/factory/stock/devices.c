/* devices.c - see devices.h. */
#include "factory/stock/devices.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "factory/stock/stock_impl.h"

#define IOT_ID 64
#define PIECE 1000         /* rows at a time */
#define IMPORT_MOST 100000 /* one transaction, which stations wait for: about a second */
#define SEALED_MAX (CW_STOCK_DEVICE_SECRET + CW_SEAL_EXTRA)
#define WITH_MAX (8 + CW_STOCK_PRODUCT_KEY + 1 + CW_STOCK_DEVICE_ID + 1 + CW_STOCK_DEVICE_NAME)

/* ---- secrets ---- */

/* What a secret is bound to. The NUL in front keeps it apart from a certificate of the stock, whose product is never empty. */
static int bind_to(const char *product_key, const char *device_id, const char *device_name, uint8_t out[WITH_MAX], struct cw_bytes *ret)
{
	struct cw_writer w = cw_writer_of(out, WITH_MAX);

	cw_write_u8(&w, 0);
	cw_write_bytes(&w, cw_bytes_text("device"));
	cw_write_u8(&w, 0);
	cw_write_bytes(&w, cw_bytes_text(product_key));
	cw_write_u8(&w, 0);
	cw_write_bytes(&w, cw_bytes_text(device_id));
	cw_write_u8(&w, 0);
	cw_write_bytes(&w, cw_bytes_text(device_name));
	*ret = cw_written(&w);
	return w.overflow ? CW_EINVAL : 0;
}

static int seal(struct cw_stock *s, const struct cw_field_device *d, uint8_t out[SEALED_MAX], size_t *ret_len, struct cw_msg *msg)
{
	uint8_t name[WITH_MAX];
	struct cw_bytes with;
	int rc = bind_to(d->product_key, d->device_id, d->device_name, name, &with);

	*ret_len = strlen(d->device_secret) + CW_SEAL_EXTRA;
	if (!s->has_key)
		return cw_fail(msg, CW_ECONF, "device %s: its secret cannot be stored without the key file", d->device_id);
	if (rc == 0)
		rc = cw_key_seal(&s->key, with, cw_bytes_text(d->device_secret), out);
	return rc == 0 ? 0 : cw_fail(msg, rc, "device %s: its secret cannot be sealed", d->device_id);
}

static int open_secret(struct cw_stock *s, const struct cw_field_device *d, struct cw_bytes sealed, char out[CW_STOCK_DEVICE_SECRET + 1],
                       struct cw_msg *msg)
{
	uint8_t name[WITH_MAX];
	struct cw_bytes with;
	int rc = CW_EAUTH;

	out[0] = '\0';
	if (!s->has_key)
		return cw_fail(msg, CW_ECONF, "device %s: its secret cannot be read without the key file", d->device_id);
	if (sealed.len >= CW_SEAL_EXTRA && sealed.len <= SEALED_MAX && bind_to(d->product_key, d->device_id, d->device_name, name, &with) == 0)
		rc = cw_key_open(&s->key, with, sealed, (uint8_t *)out);
	if (rc < 0)
		return cw_fail(msg, CW_EAUTH,
		               "device %s: its secret does not open: it was sealed with another key, or its row was edited; remove the device and "
		               "have it registered anew, or put a backup in place",
		               d->device_id);
	out[sealed.len - CW_SEAL_EXTRA] = '\0';
	return 0;
}

/* ---- reading ---- */

#define COLUMNS \
	"SELECT \"deviceId\", \"registerTime\", \"activateTime\", \"productKey\", \"deviceName\", \"iotId\", \"deviceSecret\" FROM device_table"

struct reading {
	struct cw_stock *s;
	cw_field_fn fn;
	void *arg;
	int with_secrets;
	size_t told;
	char last[CW_STOCK_DEVICE_ID + 1];
	struct cw_msg *msg;
};

static struct cw_field_device device_of(const struct cw_db_value *c)
{
	return (struct cw_field_device){
		.device_id = stock_text(&c[0]),
		.register_time = c[1].number,
		.activate_time = c[2].number,
		.product_key = stock_text(&c[3]),
		.device_name = stock_text(&c[4]),
		.iot_id = stock_text(&c[5]),
		.device_secret = "",
	};
}

static int on_device(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	struct reading *r = arg;
	struct cw_field_device d = device_of(c);
	char secret[CW_STOCK_DEVICE_SECRET + 1] = "";
	int rc = 0;

	r->told++;
	(void)snprintf(r->last, sizeof(r->last), "%s", d.device_id);
	if (r->with_secrets && c[6].type == CW_DB_BLOB) {
		rc = open_secret(r->s, &d, c[6].bytes, secret, r->msg);
		d.device_secret = secret;
	}
	if (rc == 0)
		rc = r->fn(r->arg, &d);
	explicit_bzero(secret, sizeof(secret));
	return rc;
}

int cw_field_find(struct cw_stock *s, const char *device_id, cw_field_fn fn, void *arg, struct cw_msg *msg)
{
	struct reading r = { .s = s, .fn = fn, .arg = arg, .with_secrets = 1, .msg = msg };
	const struct cw_db_value param = cw_db_text(device_id);
	int rc = cw_db_run(s->db, COLUMNS " WHERE \"deviceId\" = $1", &param, 1, on_device, &r, NULL, msg);

	if (rc == 0 && r.told == 0)
		return cw_fail(msg, CW_ENOENT, "illegal device: %s is not in the table of devices; import it if it is one of yours", device_id);
	return rc;
}

/* One that has its certificate comes before one that has only been given the name. */
int cw_field_find_name(struct cw_stock *s, const char *product_key, const char *device_name, cw_field_fn fn, void *arg, struct cw_msg *msg)
{
	struct reading r = { .s = s, .fn = fn, .arg = arg, .with_secrets = 1, .msg = msg };
	const struct cw_db_value params[] = { cw_db_text(product_key), cw_db_text(device_name) };
	static const char of_one[] = COLUMNS " WHERE \"productKey\" = $1 AND \"deviceName\" = $2 ORDER BY \"registerTime\" DESC, \"deviceId\" LIMIT 1";
	static const char of_any[] = COLUMNS " WHERE \"deviceName\" = $1 AND \"deviceSecret\" IS NOT NULL ORDER BY \"productKey\" LIMIT 2";
	int rc;

	if (device_name[0] == '\0')
		return cw_fail(msg, CW_EINVAL, "a device is found by its ProductKey and its DeviceName; the name is empty");
	if (product_key == NULL)
		rc = cw_db_run(s->db, of_any, params + 1, 1, on_device, &r, NULL, msg);
	else
		rc = cw_db_run(s->db, of_one, params, 2, on_device, &r, NULL, msg);
	if (rc == 0 && r.told == 0)
		return cw_fail(msg, CW_ENOENT, "the table of devices has no %s of product %s", device_name, product_key == NULL ? "any" : product_key);
	return rc;
}

/* ---- entries ---- */

static int note(struct cw_stock *s, enum cw_audit_kind kind, const struct cw_stock_actor *who, const struct cw_field_device *d, const char *text,
                struct cw_msg *msg)
{
	struct cw_audit_entry e = {
		.what = stock_audit_name(kind),
		.who = who->name,
		.address = who->address,
		.product_key = d == NULL ? NULL : d->product_key,
		.device_name = d == NULL ? NULL : d->device_name,
		.device_id = d == NULL ? NULL : d->device_id,
		.text = text,
	};

	return stock_audit(s, &e, 1, msg);
}

static int work_export_entry(struct cw_stock *s, void *arg, struct cw_msg *msg)
{
	return note(s, CW_AUDIT_EXPORT, arg, NULL, "the table of devices in the field with its secrets", msg);
}

int cw_field_each(struct cw_stock *s, const char *after, size_t most, const struct cw_stock_actor *with_secrets, cw_field_fn fn, void *arg,
                  struct cw_msg *msg)
{
	struct reading r = { .s = s, .fn = fn, .arg = arg, .with_secrets = with_secrets != NULL, .msg = msg };
	struct cw_stock_actor who = with_secrets != NULL ? *with_secrets : (struct cw_stock_actor){ 0 };
	size_t left = most, want;
	int rc = with_secrets == NULL ? 0 : stock_transact(s, work_export_entry, &who, msg);

	(void)snprintf(r.last, sizeof(r.last), "%s", after == NULL ? "" : after);
	do {
		char from[sizeof(r.last)]; /* each row overwrites `last` */
		struct cw_db_value params[2];

		memcpy(from, r.last, sizeof(from));
		want = most > 0 && left < PIECE ? left : PIECE;
		params[0] = cw_db_text(from);
		params[1] = cw_db_int((int64_t)want);
		r.told = 0;
		if (rc == 0)
			rc = cw_db_run(s->db, COLUMNS " WHERE \"deviceId\" > $1 ORDER BY \"deviceId\" LIMIT $2", params, 2, on_device, &r, NULL, msg);
		left -= most > 0 ? r.told : 0;
	} while (rc == 0 && r.told == want && (most == 0 || left > 0));
	return rc;
}

/* ---- import ---- */

static int check(const struct cw_field_device *d, struct cw_msg *msg)
{
	int rc;

	if (d->device_id[0] == '\0')
		return cw_fail(msg, CW_EINVAL, "a device has no id");
	rc = stock_check_text("deviceId", d->device_id, CW_STOCK_DEVICE_ID, msg);
	if (rc == 0 && d->product_key[0] == '\0')
		return cw_fail(msg, CW_EINVAL, "device %s: its productKey is missing", d->device_id);
	if (rc == 0)
		rc = stock_check_text("productKey", d->product_key, CW_STOCK_PRODUCT_KEY, msg);
	if (rc == 0)
		rc = stock_check_text("deviceName", d->device_name, CW_STOCK_DEVICE_NAME, msg);
	if (rc == 0)
		rc = stock_check_text("deviceSecret", d->device_secret, CW_STOCK_DEVICE_SECRET, msg);
	if (rc == 0)
		rc = stock_check_text("iotId", d->iot_id, IOT_ID, msg);
	if (rc == 0 && d->device_secret[0] != '\0' && d->device_name[0] == '\0')
		return cw_fail(msg, CW_EINVAL, "device %s: it has a deviceSecret but no deviceName", d->device_id);
	return rc;
}

struct import {
	struct cw_stock *s;
	const struct cw_field_device *devices; /* of this piece */
	size_t count;                          /* of all */
	const struct cw_stock_actor *who;
	size_t fresh, met;
	struct cw_msg *msg;
};

/* What the file leaves open may have been filled since. */
static int same(const char *given, const char *stored)
{
	return given[0] == '\0' || strcmp(given, stored) == 0;
}

static int on_compare(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	struct import *im = arg;
	const struct cw_field_device *d = &im->devices[set];
	struct cw_field_device stored = device_of(c);
	char secret[CW_STOCK_DEVICE_SECRET + 1] = "";
	const char *what = NULL;
	int rc = 0;

	im->met++;
	if (d->device_secret[0] != '\0' && c[6].type == CW_DB_BLOB)
		rc = open_secret(im->s, &stored, c[6].bytes, secret, im->msg);
	if (strcmp(d->product_key, stored.product_key) != 0)
		what = "productKey";
	else if (!same(d->device_name, stored.device_name))
		what = "deviceName";
	else if (!same(d->device_secret, secret))
		what = "deviceSecret";
	else if (!same(d->iot_id, stored.iot_id))
		what = "iotId";
	explicit_bzero(secret, sizeof(secret));
	if (rc == 0 && what != NULL)
		rc = cw_fail(im->msg, CW_EEXIST, "device %s is in the table with another %s; nothing was imported; remove it first if the new one is right",
		             d->device_id, what);
	return rc;
}

#define INSERT_PARAMS 7

/* Rows that are not there yet, in one go; `sealed` has room for all. */
static int insert_piece(struct cw_stock *s, struct import *im, size_t n, uint8_t (*sealed)[SEALED_MAX], struct cw_db_value *params,
                        struct cw_msg *msg)
{
	static const char sql[] =
		"INSERT INTO device_table (\"deviceId\", \"registerTime\", \"activateTime\", \"productKey\", \"deviceName\", \"deviceSecret\","
		" \"iotId\") VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (\"deviceId\") DO NOTHING";
	int64_t now = cw_clock_wall_ms();
	size_t i, len, fresh = 0;
	int rc = 0;

	for (i = 0; rc == 0 && i < n; i++) {
		const struct cw_field_device *d = &im->devices[i];
		struct cw_db_value *p = params + i * INSERT_PARAMS;
		int has = d->device_secret[0] != '\0';

		p[0] = cw_db_text(d->device_id);
		p[1] = cw_db_int(!has ? 0 : d->register_time != 0 ? d->register_time : now);
		p[2] = cw_db_int(has ? d->activate_time : 0);
		p[3] = cw_db_text(d->product_key);
		p[4] = cw_db_text(d->device_name);
		p[5] = cw_db_null();
		p[6] = cw_db_text(d->iot_id);
		if (!has)
			continue;
		rc = seal(s, d, sealed[i], &len, msg);
		p[5] = cw_db_blob(cw_bytes_of(sealed[i], len));
	}
	if (rc == 0)
		rc = cw_db_many(s->db, sql, params, INSERT_PARAMS, n, NULL, NULL, &fresh, msg);
	im->fresh += fresh;
	return rc;
}

static int import_piece(struct cw_stock *s, struct import *im, size_t n, struct cw_msg *msg)
{
	uint8_t(*sealed)[SEALED_MAX] = cw_calloc(n, sizeof(*sealed));
	struct cw_db_value *params = cw_calloc(n * INSERT_PARAMS, sizeof(*params));
	size_t i;
	int rc = 0;

	im->met = 0;
	if (sealed == NULL || params == NULL)
		rc = cw_fail(msg, CW_ENOMEM, "devices: out of memory");
	if (rc == 0)
		rc = insert_piece(s, im, n, sealed, params, msg);
	for (i = 0; rc == 0 && i < n; i++)
		params[i] = cw_db_text(im->devices[i].device_id);
	if (rc == 0)
		rc = cw_db_many(s->db, COLUMNS " WHERE \"deviceId\" = $1", params, 1, n, on_compare, im, NULL, msg);
	if (rc == 0 && im->met != n) /* removed by another server in between */
		rc = cw_fail(msg, CW_EBUSY, "devices: another changed the table at the same moment; try again");
	cw_free(sealed);
	cw_free(params);
	return rc;
}

static int work_import(struct cw_stock *s, void *arg, struct cw_msg *msg)
{
	struct import *im = arg;
	const struct cw_field_device *all = im->devices;
	size_t at, n;
	char text[128];
	int rc = 0;

	im->fresh = 0;
	im->msg = msg;
	for (at = 0; rc == 0 && at < im->count; at += n) {
		n = im->count - at < PIECE ? im->count - at : PIECE;
		im->devices = all + at;
		rc = import_piece(s, im, n, msg);
	}
	im->devices = all;
	if (rc < 0 || im->fresh == 0)
		return rc;
	(void)snprintf(text, sizeof(text), "%zu imported, %zu known", im->fresh, im->count - im->fresh);
	return note(s, CW_AUDIT_DEVICE, im->who, NULL, text, msg);
}

int cw_field_import(struct cw_stock *s, const struct cw_field_device *devices, size_t count, const struct cw_stock_actor *who,
                    size_t *ret_fresh, struct cw_msg *msg)
{
	struct import im = { .s = s, .devices = devices, .count = count, .who = who };
	size_t i;
	int rc = 0;

	*ret_fresh = 0;
	if (count > IMPORT_MOST)
		return cw_fail(msg, CW_ELIMIT, "%zu devices are more than the %d that are imported as one; split the file", count, IMPORT_MOST);
	for (i = 0; rc == 0 && i < count; i++)
		rc = check(&devices[i], msg);
	if (rc == 0)
		rc = stock_transact(s, work_import, &im, msg);
	if (rc == 0)
		*ret_fresh = im.fresh;
	return rc;
}

/* ---- changes of one ---- */

struct change {
	struct cw_stock *s;
	struct cw_field_device device; /* what is to be stored; only its id where nothing is */
	const struct cw_stock_actor *who;
	/* what is there */
	int found, registered, same;
	char product_key[CW_STOCK_PRODUCT_KEY + 1], device_name[CW_STOCK_DEVICE_NAME + 1];
};

static int on_there(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	struct change *ch = arg;
	const struct cw_field_device d = device_of(c);
	char secret[CW_STOCK_DEVICE_SECRET + 1] = "";

	ch->found = 1;
	ch->registered = c[6].type == CW_DB_BLOB;
	(void)snprintf(ch->product_key, sizeof(ch->product_key), "%s", d.product_key);
	(void)snprintf(ch->device_name, sizeof(ch->device_name), "%s", d.device_name);
	if (ch->registered && ch->device.device_secret != NULL)
		ch->same = open_secret(ch->s, &d, c[6].bytes, secret, NULL) == 0 && strcmp(secret, ch->device.device_secret) == 0 &&
			   strcmp(d.device_name, ch->device.device_name) == 0;
	explicit_bzero(secret, sizeof(secret));
	return 0;
}

static int look(struct cw_stock *s, struct change *ch, struct cw_msg *msg)
{
	const struct cw_db_value id = cw_db_text(ch->device.device_id);
	int rc;

	ch->found = ch->registered = ch->same = 0;
	rc = cw_db_run(s->db, STOCK_SQL(s, COLUMNS " WHERE \"deviceId\" = $1", COLUMNS " WHERE \"deviceId\" = $1 FOR UPDATE"), &id, 1, on_there, ch,
	               NULL, msg);
	if (rc == 0 && !ch->found)
		return cw_fail(msg, CW_ENOENT, "illegal device: %s is not in the table of devices", ch->device.device_id);
	return rc;
}

/* The same certificate again is what a caller stores who did not learn how its commit ended. */
static int work_store(struct cw_stock *s, void *arg, struct cw_msg *msg)
{
	static const char sql[] = "UPDATE device_table SET \"registerTime\" = $2, \"deviceName\" = $3, \"deviceSecret\" = $4, \"iotId\" = $5"
				  " WHERE \"deviceId\" = $1 AND \"deviceSecret\" IS NULL";
	struct change *ch = arg;
	struct cw_field_device *d = &ch->device;
	uint8_t sealed[SEALED_MAX];
	size_t len, changed = 0;
	char text[128];
	int rc = look(s, ch, msg);

	if (rc < 0 || ch->same)
		return rc;
	if (ch->registered)
		return cw_fail(msg, CW_EEXIST, "device %s has another certificate already: %s", d->device_id, ch->device_name);
	d->product_key = ch->product_key;
	rc = seal(s, d, sealed, &len, msg);
	if (rc == 0) {
		const struct cw_db_value params[] = {
			cw_db_text(d->device_id),
			cw_db_int(cw_clock_wall_ms()),
			cw_db_text(d->device_name),
			cw_db_blob(cw_bytes_of(sealed, len)),
			cw_db_text(d->iot_id),
		};

		rc = cw_db_run(s->db, sql, params, 5, NULL, NULL, &changed, msg);
	}
	if (rc == 0 && changed != 1)
		rc = cw_fail(msg, CW_EBUSY, "device %s: another server registers it at the same moment; try again", d->device_id);
	(void)snprintf(text, sizeof(text), "registered on the platform, iotId %s", d->iot_id);
	return rc < 0 ? rc : note(s, CW_AUDIT_DEVICE, ch->who, d, text, msg);
}

int cw_field_store(struct cw_stock *s, const char *device_id, const char *device_name, const char *device_secret, const char *iot_id,
                   const struct cw_stock_actor *who, struct cw_msg *msg)
{
	struct change ch = {
		.s = s,
		.device = {
			.device_id = device_id,
			.product_key = "-", /* the table has it */
			.device_name = device_name,
			.device_secret = device_secret,
			.iot_id = iot_id,
		},
		.who = who,
	};
	int rc;

	if (device_name[0] == '\0' || device_secret[0] == '\0')
		return cw_fail(msg, CW_EINVAL, "device %s: the platform's answer has no DeviceName or no DeviceSecret", device_id);
	rc = check(&ch.device, msg);
	return rc < 0 ? rc : stock_transact(s, work_store, &ch, msg);
}

static int work_handed_out(struct cw_stock *s, void *arg, struct cw_msg *msg)
{
	static const char sql[] = "UPDATE device_table SET \"activateTime\" = $2 WHERE \"deviceId\" = $1 AND \"activateTime\" = 0";
	struct change *ch = arg;
	const struct cw_db_value params[] = { cw_db_text(ch->device.device_id), cw_db_int(cw_clock_wall_ms()) };
	int rc = look(s, ch, msg);

	if (rc == 0 && !ch->registered)
		rc = cw_fail(msg, CW_ENOENT, "device %s has no certificate yet", ch->device.device_id);
	if (rc == 0)
		rc = cw_db_run(s->db, sql, params, 2, NULL, NULL, NULL, msg);
	ch->device.product_key = ch->product_key;
	ch->device.device_name = ch->device_name;
	return rc < 0 ? rc : note(s, CW_AUDIT_HANDOUT, ch->who, &ch->device, "", msg);
}

int cw_field_handed_out(struct cw_stock *s, const char *device_id, const struct cw_stock_actor *who, struct cw_msg *msg)
{
	struct change ch = { .s = s, .device = { .device_id = device_id }, .who = who };

	return stock_transact(s, work_handed_out, &ch, msg);
}

static int work_remove(struct cw_stock *s, void *arg, struct cw_msg *msg)
{
	struct change *ch = arg;
	const struct cw_db_value id = cw_db_text(ch->device.device_id);
	int rc = look(s, ch, msg);

	if (rc == 0)
		rc = cw_db_run(s->db, "DELETE FROM device_table WHERE \"deviceId\" = $1", &id, 1, NULL, NULL, NULL, msg);
	ch->device.product_key = ch->product_key;
	ch->device.device_name = ch->device_name;
	return rc < 0 ? rc : note(s, CW_AUDIT_DEVICE, ch->who, &ch->device, ch->registered ? "removed with its certificate" : "removed", msg);
}

int cw_field_remove(struct cw_stock *s, const char *device_id, const struct cw_stock_actor *who, struct cw_msg *msg)
{
	struct change ch = { .s = s, .device = { .device_id = device_id }, .who = who };

	return stock_transact(s, work_remove, &ch, msg);
}
