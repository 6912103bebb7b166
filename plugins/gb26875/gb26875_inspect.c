/*
 * gb26875_inspect.c - what the decode tool is shown of a frame: its header, its data unit, what is wrong with it.
 */
#include "gb26875.h"

static void show(const struct gb_call *x, int group, const char *name, struct cw_writer *w, size_t at, size_t len)
{
	if (!w->overflow)
		x->d->host->field(x->d->hx, x->ev->conn, group, name, cw_written(w), at, len);
	*w = cw_writer_of(w->ptr, w->size);
}

static void show_uint(const struct gb_call *x, struct cw_writer *w, const char *name, uint64_t v, size_t at, size_t len)
{
	cw_put_uint(w, v);
	show(x, CW_GROUP_HEADER, name, w, at, len);
}

static void show_text(const struct gb_call *x, struct cw_writer *w, const char *name, const char *text, size_t at, size_t len)
{
	cw_put_text(w, text);
	show(x, CW_GROUP_HEADER, name, w, at, len);
}

static void show_hex(const struct gb_call *x, struct cw_writer *w, const char *name, const uint8_t *p, size_t n, size_t at)
{
	gb_put_hex(w, cw_bytes_of(p, n));
	show(x, CW_GROUP_HEADER, name, w, at, n);
}

static uint64_t number_of(const uint8_t address[6])
{
	struct cw_reader r = cw_reader_of(cw_bytes_of(address, 6));

	return cw_read_le(&r, 6);
}

static void show_unit(const struct gb_call *x, struct cw_writer *w, const struct gb_msg *m, int bcd)
{
	struct gb_style s = { x->conf, x->d, 1, bcd };
	struct gb_object o;
	struct gb_walk k;

	if (m->adu.len == 0) {
		cw_put_null(w);
	} else if (!gb_walk(&k, m->adu)) {
		cw_put_map(w);
		cw_put_text(w, "raw");
		gb_put_hex(w, m->adu);
		cw_put_end(w);
	} else {
		cw_put_map(w);
		cw_field_uint(w, "type", k.number);
		cw_field_uint(w, "count", k.count);
		if (k.type == NULL) {
			cw_put_text(w, "rawObjects");
			gb_put_hex(w, cw_bytes_of(m->adu.ptr + 2, m->adu.len - 2));
		} else if (!k.fits) {
			cw_field_uint(w, "decodedObjects", k.given);
		} else {
			cw_field_array(w, "objects");
			while (gb_next(&k, &o))
				gb_put_object(w, &s, &o);
			cw_put_end(w);
		}
		cw_put_end(w);
	}
	show(x, CW_GROUP_FIELDS, "adu", w, GB_HEAD, m->adu.len);
}

/* Offsets count from the start marker. `error`: of the frame, or of what is in it. */
void gb_inspect(const struct gb_call *x, const struct gb_msg *m, int error)
{
	struct cw_writer w = cw_writer_of(x->d->scratch, GB_SCRATCH);
	int bcd = gb_guess_bcd(x->conf, m->time, x->ev->now_ms, 0);

	show_uint(x, &w, "serial", m->serial, 2, 2);
	show_uint(x, &w, "versionMain", m->version_main, 4, 1);
	show_uint(x, &w, "versionUser", m->version_user, 5, 1);
	gb_put_iso(&w, m->time, bcd);
	show(x, CW_GROUP_HEADER, "time", &w, 6, 6);
	show_hex(x, &w, "sourceWire", m->source, 6, 12);
	show_uint(x, &w, "source", number_of(m->source), 12, 6);
	show_hex(x, &w, "destinationWire", m->destination, 6, 18);
	show_uint(x, &w, "destination", number_of(m->destination), 18, 6);
	show_uint(x, &w, "length", m->length, 24, 2);
	show_uint(x, &w, "command", m->command, 26, 1);
	show_text(x, &w, "commandName", gb_command_name(m->command), 26, 1);
	if (m->error == GB_OK || m->error == GB_E_CHECKSUM) {
		show_hex(x, &w, "checksum", &m->sum, 1, GB_HEAD + m->adu.len);
		if (error != GB_OK) {
			cw_put_bool(&w, m->error == GB_OK);
			show(x, CW_GROUP_HEADER, "checksumOk", &w, GB_HEAD + m->adu.len, 1);
		}
		if (m->error == GB_E_CHECKSUM)
			show_hex(x, &w, "checksumComputed", &m->sum_made, 1, GB_HEAD + m->adu.len);
	}
	cw_put_bool(&w, error == GB_OK);
	show(x, CW_GROUP_HEADER, "valid", &w, 0, 0);
	if (error != GB_OK)
		show_text(x, &w, "error", gb_error_name(error), 0, 0);
	if (m->error == GB_OK && error != GB_E_COMMAND)
		show_unit(x, &w, m, bcd);
}
