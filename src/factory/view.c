/* view.c - see view.h. */
#include "factory/view.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

static void text(struct cw_json *j, const char *key, const char *value)
{
	cw_json_text(j, key);
	if (value == NULL || value[0] == '\0')
		cw_json_null(j);
	else
		cw_json_text(j, value);
}

static void when(struct cw_json *j, const char *key, int64_t ms)
{
	char out[25];

	cw_json_text(j, key);
	if (ms == 0) {
		cw_json_null(j);
		return;
	}
	cw_clock_format(ms, out);
	cw_json_text(j, out);
}

static void number(struct cw_json *j, const char *key, uint64_t value)
{
	cw_json_text(j, key);
	cw_json_uint(j, value);
}

static void flag(struct cw_json *j, const char *key, int value)
{
	cw_json_text(j, key);
	cw_json_bool(j, value);
}

static void counts(struct cw_json *j, const uint64_t count[CW_STOCK_STATE_COUNT])
{
	uint64_t total = 0;
	int i;

	cw_json_text(j, "count");
	cw_json_map(j);
	for (i = 0; i < CW_STOCK_STATE_COUNT; i++) {
		number(j, cw_stock_state_name((enum cw_stock_state)i), count[i]);
		total += count[i];
	}
	cw_json_end_map(j);
	number(j, "total", total);
}

/* JSON that was read from the database: somebody may have damaged it there, and what we write must be JSON all the same. */
static void object(struct cw_json *j, const char *key, const char *json)
{
	uint8_t *item;
	size_t len;

	cw_json_text(j, key);
	if (json == NULL || json[0] == '\0' || cw_json_to_item(cw_bytes_text(json), &item, &len) < 0) {
		cw_json_null(j);
		return;
	}
	cw_json_encoded(j, cw_bytes_of(item, len));
	cw_free(item);
}

void cw_view_batch(struct cw_json *j, const struct cw_stock_batch *b)
{
	cw_json_map(j);
	text(j, "name", b->name);
	text(j, "productKey", b->product_key);
	text(j, "file", b->file);
	flag(j, "closed", b->closed);
	text(j, "lease", cw_stock_lease_name(b->lease));
	number(j, "leaseMs", (uint64_t)b->lease_ms);
	number(j, "low", b->low);
	when(j, "created", b->created);
	when(j, "imported", b->imported);
	counts(j, b->count);
	cw_json_end_map(j);
}

void cw_view_row(struct cw_json *j, const struct cw_stock_row *row)
{
	cw_json_map(j);
	number(j, "id", (uint64_t)row->id);
	text(j, "productKey", row->product_key);
	text(j, "deviceName", row->device_name);
	text(j, "deviceId", row->device_id);
	text(j, "batch", row->batch);
	text(j, "state", cw_stock_state_name(row->state));
	text(j, "station", row->station);
	flag(j, "anonymous", row->anonymous);
	when(j, "imported", row->imported);
	when(j, "allocated", row->allocated);
	when(j, "written", row->written);
	when(j, "voided", row->voided);
	text(j, "reason", row->reason);
	text(j, "productId", row->product_id);
	object(j, "extra", row->extra);
	cw_json_end_map(j);
}

void cw_view_figures(struct cw_json *j, const struct cw_stock_figures *f)
{
	cw_json_map(j);
	counts(j, f->count);
	number(j, "anonymous", f->anonymous);
	number(j, "allocatedHour", f->allocated_hour);
	number(j, "writtenHour", f->written_hour);
	number(j, "allocatedDay", f->allocated_day);
	number(j, "writtenDay", f->written_day);
	when(j, "firstToday", f->first_today);
	when(j, "last", f->last);
	cw_json_end_map(j);
}

static void list(struct cw_json *j, const char *key, const uint64_t *values, size_t n)
{
	size_t i;

	cw_json_text(j, key);
	cw_json_array(j);
	for (i = 0; i < n; i++)
		cw_json_uint(j, values[i]);
	cw_json_end_array(j);
}

void cw_view_rate(struct cw_json *j, int64_t until, int64_t slot_ms, size_t n, const uint64_t *allocated, const uint64_t *written)
{
	cw_json_map(j);
	number(j, "slotMs", (uint64_t)slot_ms);
	when(j, "until", until);
	list(j, "allocated", allocated, n);
	list(j, "written", written, n);
	cw_json_end_map(j);
}

void cw_view_station(struct cw_json *j, const struct cw_stock_station *st)
{
	cw_json_map(j);
	text(j, "name", st->name);
	number(j, "allocated", st->allocated);
	number(j, "written", st->written);
	number(j, "unreported", st->unreported);
	when(j, "last", st->last);
	cw_json_end_map(j);
}

void cw_view_product(struct cw_json *j, const struct cw_stock_product *p)
{
	const char *at = p->reply_columns;

	cw_json_map(j);
	text(j, "productKey", p->product_key);
	flag(j, "bluetooth", p->bluetooth);
	text(j, "productId", p->product_id);
	text(j, "crcForm", p->crc_form == CW_STOCK_CRC_NUMBER ? "number" : "text");
	text(j, "crcOrder", p->crc_order == CW_STOCK_CRC_PROSE ? "prose" : "code");
	flag(j, "normalizeMac", p->normalize_mac);
	cw_json_text(j, "replyColumns");
	cw_json_array(j);
	while (*at != '\0') {
		size_t len = strcspn(at, ",");

		if (len > 0)
			cw_json_textn(j, cw_bytes_of((const uint8_t *)at, len));
		at += len + (at[len] == ',');
	}
	cw_json_end_array(j);
	cw_json_end_map(j);
}

void cw_view_audit(struct cw_json *j, const struct cw_audit_entry *e)
{
	cw_json_map(j);
	text(j, "node", e->node);
	number(j, "number", (uint64_t)e->number);
	when(j, "at", e->at);
	text(j, "what", e->what);
	text(j, "who", e->who);
	text(j, "address", e->address);
	text(j, "productKey", e->product_key);
	text(j, "deviceName", e->device_name);
	text(j, "deviceId", e->device_id);
	text(j, "text", e->text);
	cw_json_end_map(j);
}

void cw_view_problem(struct cw_json *j, const struct cw_audit_problem *p)
{
	cw_json_map(j);
	text(j, "node", p->node);
	number(j, "number", (uint64_t)p->number);
	text(j, "sentence", p->sentence);
	cw_json_end_map(j);
}

void cw_view_field(struct cw_json *j, const struct cw_field_device *d)
{
	cw_json_map(j);
	text(j, "deviceId", d->device_id);
	when(j, "registerTime", d->register_time);
	when(j, "activateTime", d->activate_time);
	text(j, "productKey", d->product_key);
	text(j, "deviceName", d->device_name);
	text(j, "iotId", d->iot_id);
	flag(j, "registered", d->register_time != 0);
	cw_json_end_map(j);
}

void cw_view_order(struct cw_json *j, const struct cw_order *o)
{
	cw_json_map(j);
	number(j, "id", (uint64_t)o->id);
	text(j, "productKey", o->product_key);
	text(j, "batch", o->batch);
	number(j, "count", o->count);
	text(j, "step", o->step);
	text(j, "applyId", o->apply_id);
	text(j, "text", o->text);
	when(j, "created", o->created);
	when(j, "changed", o->changed);
	cw_json_end_map(j);
}
