/* inspect.c - see inspect.h. */
#include "cli/inspect.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/plugin/plugin.h"
#include "cli/show.h"
#include "json/json.h"
#include "plugin/asked.h"
#include "plugin/load.h"
#include "plugin/runner.h"

#define TEXT_MOST (64u << 20)

/* A growing list of encoded bytes: each entry a length (size_t) and the bytes. */
struct pile {
	uint8_t *bytes;
	size_t len, size, count;
};

struct cw_inspect {
	struct cw_runner *runner;
	struct cw_conn *conn;
	struct pile header, fields, records, replies, frame;
	uint64_t tickets[64];
	size_t ticket_count;
	char line[512];       /* what the decoder said last */
	struct cw_asked asked;
	int have_frame, rc, closing, out_of_memory;
	struct cw_worker *worker;
	void *conf;
	cw_inspect_fn fn;
	void *arg;
};

static void pile_add(struct cw_inspect *d, struct pile *p, struct cw_bytes a, struct cw_bytes b)
{
	size_t need = p->len + 2 * sizeof(size_t) + a.len + b.len;

	if (need > p->size) {
		uint8_t *grown = cw_realloc(p->bytes, need * 2);

		if (grown == NULL) {
			d->out_of_memory = 1;
			return;
		}
		p->bytes = grown;
		p->size = need * 2;
	}
	memcpy(p->bytes + p->len, &a.len, sizeof(size_t));
	memcpy(p->bytes + p->len + sizeof(size_t), &b.len, sizeof(size_t));
	if (a.len > 0)
		memcpy(p->bytes + p->len + 2 * sizeof(size_t), a.ptr, a.len);
	if (b.len > 0)
		memcpy(p->bytes + p->len + 2 * sizeof(size_t) + a.len, b.ptr, b.len);
	p->len = need;
	p->count++;
}

static size_t pile_next(const struct pile *p, size_t at, struct cw_bytes *a, struct cw_bytes *b)
{
	size_t na, nb;

	if (at >= p->len)
		return 0;
	memcpy(&na, p->bytes + at, sizeof(size_t));
	memcpy(&nb, p->bytes + at + sizeof(size_t), sizeof(size_t));
	at += 2 * sizeof(size_t);
	*a = cw_bytes_of(p->bytes + at, na);
	*b = cw_bytes_of(p->bytes + at + na, nb);
	return at + na + nb;
}

static void pile_clear(struct pile *p)
{
	p->len = 0;
	p->count = 0;
}

/* ---- output ---------------------------------------------------------------------- */

static void put_members(struct cw_json *j, const char *key, const struct pile *p)
{
	struct cw_bytes name, value;
	size_t at = 0;

	cw_json_text(j, key);
	cw_json_map(j);
	while ((at = pile_next(p, at, &name, &value)) != 0) {
		cw_json_textn(j, name);
		cw_json_encoded(j, value);
	}
	cw_json_end_map(j);
}

static void put_error(struct cw_json *j, const char *code, const char *text)
{
	cw_json_text(j, "error");
	if (code == NULL) {
		cw_json_null(j);
		return;
	}
	cw_json_map(j);
	cw_json_field(j, "code", code);
	cw_json_field(j, "text", text);
	cw_json_end_map(j);
}

static void print_object(struct cw_inspect *d, struct cw_bytes frame, const char *code, const char *text)
{
	struct cw_json j;
	struct cw_bytes a, b;
	char *out;
	size_t at = 0, len;

	cw_json_begin(&j, TEXT_MOST);
	cw_json_map(&j);
	cw_json_text(&j, "frame");
	cw_json_hex(&j, frame);
	cw_json_text(&j, "ok");
	cw_json_bool(&j, code == NULL);
	put_error(&j, code, text);
	put_members(&j, "header", &d->header);
	put_members(&j, "fields", &d->fields);
	cw_json_text(&j, "records");
	cw_json_array(&j);
	while ((at = pile_next(&d->records, at, &a, &b)) != 0)
		cw_show_record(&j, a);
	cw_json_end_array(&j);
	cw_json_text(&j, "replies");
	cw_json_array(&j);
	while ((at = pile_next(&d->replies, at, &a, &b)) != 0)
		cw_json_hex(&j, a);
	cw_json_end_array(&j);
	cw_json_end_map(&j);
	if (cw_json_finish(&j, &out, &len) < 0) {
		d->out_of_memory = 1;
		return;
	}
	d->fn(d->arg, out, len, code == NULL);
	cw_free(out);
}

static void flush_frame(struct cw_inspect *d)
{
	struct cw_bytes frame = { NULL, 0 }, b;

	if (!d->have_frame)
		return;
	(void)pile_next(&d->frame, 0, &frame, &b);
	print_object(d, frame, d->rc == 0 ? NULL : cw_show_refusal(d->rc),
	             d->line[0] != '\0' ? d->line : "the decoder refused this frame");
	d->have_frame = 0;
	d->line[0] = '\0';
	pile_clear(&d->header);
	pile_clear(&d->fields);
	pile_clear(&d->records);
	pile_clear(&d->replies);
	pile_clear(&d->frame);
}

/* ---- the decoder's answers ------------------------------------------------------------ */

static int on_send(void *owner, struct cw_bytes out)
{
	struct cw_inspect *d = owner;

	pile_add(d, &d->replies, out, cw_bytes_of(NULL, 0));
	return 0;
}

static int on_emit(void *owner, struct cw_rdevice *dev, uint64_t ticket, struct cw_bytes record, const struct cw_record *rec)
{
	struct cw_inspect *d = owner;
	size_t i;

	pile_add(d, &d->records, record, cw_bytes_of(NULL, 0));
	for (i = 0; i < d->ticket_count; i++)
		if (d->tickets[i] == ticket)
			return 0;
	if (ticket != 0 && d->ticket_count < sizeof(d->tickets) / sizeof(d->tickets[0]))
		d->tickets[d->ticket_count++] = ticket;
	return 0;
}

static int on_identify(void *owner, const struct cw_identify *who)
{
	struct cw_inspect *d = owner;

	cw_asked_add(&d->asked, who);
	return 0;
}

static int on_detach(void *owner, struct cw_rdevice *dev)
{
	return 0;
}

static int on_command_done(void *owner, uint64_t id, int32_t code, struct cw_bytes reply)
{
	return 0;
}

static int on_command_extend(void *owner, uint64_t id, uint64_t delay_ms)
{
	return 0;
}

static int on_save(void *owner, struct cw_rdevice *dev, struct cw_bytes state)
{
	return 0;
}

static int on_attach_open(void *owner, struct cw_rdevice *dev, uint64_t attachment, const char *name)
{
	return 0;
}

static int on_attach_write(void *owner, uint64_t attachment, struct cw_bytes data)
{
	return 0;
}

static int on_attach_close(void *owner, uint64_t attachment, int commit, char name[64])
{
	if (commit)
		(void)snprintf(name, 64, "not-stored");
	return 0;
}

static void on_field(void *owner, int group, const char *name, struct cw_bytes value, size_t offset, size_t length)
{
	struct cw_inspect *d = owner;

	pile_add(d, group == CW_GROUP_HEADER ? &d->header : &d->fields, cw_bytes_text(name), value);
}

static void on_line(void *owner, int level, const char *text)
{
	struct cw_inspect *d = owner;

	(void)snprintf(d->line, sizeof(d->line), "%s", text);
}

static void on_foreign(void *owner, struct cw_bytes identity)
{
	struct cw_inspect *d = owner;

	(void)snprintf(d->line, sizeof(d->line), "carries another identity than this connection: %.*s", (int)identity.len,
	               (const char *)identity.ptr);
}

static void on_frame(void *owner, struct cw_bytes frame, int rc)
{
	struct cw_inspect *d = owner;

	pile_add(d, &d->frame, frame, cw_bytes_of(NULL, 0));
	d->have_frame = 1;
	d->rc = rc;
}

static void on_noise(void *owner, struct cw_bytes dropped)
{
	struct cw_inspect *d = owner;

	flush_frame(d);
	print_object(d, dropped, "noise", d->line[0] != '\0' ? d->line : "bytes that belong to no frame");
	d->line[0] = '\0';
}

static void on_close(void *owner, uint64_t delay_ms, const char *reason)
{
	struct cw_inspect *d = owner;

	if (delay_ms == 0)
		d->closing = 1;
}

static void on_called(void *owner)
{
	struct cw_inspect *d = owner;
	char identity[CW_IDENTITY_MAX + 1];
	struct cw_rdevice *dev;
	int64_t flags;

	while (d->ticket_count > 0 && d->conn != NULL) {
		uint64_t ticket = d->tickets[0];

		memmove(d->tickets, d->tickets + 1, --d->ticket_count * sizeof(d->tickets[0]));
		cw_conn_settled(d->conn, ticket, CW_SETTLED_DONE);
	}
	while (d->conn != NULL && (flags = cw_asked_take(&d->asked, identity)) >= 0) {
		if ((flags & CW_IDENTIFY_MEMBERS) != 0)
			cw_conn_members(d->conn, cw_bytes_text(identity), 0);
		else
			(void)cw_conn_identified(d->conn, cw_bytes_text(identity), "a1Inspect00", "inspect", cw_bytes_of(NULL, 0),
			                         (flags & CW_IDENTIFY_LOOKUP) != 0 ? 0 : CW_CONN_ATTACHED, NULL, NULL, &dev);
	}
	flush_frame(d);
}

static const struct cw_conn_ops ops = {
	.send = on_send,
	.emit = on_emit,
	.identify = on_identify,
	.detach = on_detach,
	.command_done = on_command_done,
	.command_extend = on_command_extend,
	.save = on_save,
	.attach_open = on_attach_open,
	.attach_write = on_attach_write,
	.attach_close = on_attach_close,
	.field = on_field,
	.line = on_line,
	.foreign = on_foreign,
	.frame = on_frame,
	.noise = on_noise,
	.close = on_close,
	.called = on_called,
};

/* ---- bytes in ----------------------------------------------------------------------------- */

static int open_conn(struct cw_inspect *d)
{
	struct cw_conn_open how = {
		.listener = "decode",
		.conf = d->conf,
		.peer = cw_bytes_text("capture"),
		.flags = CW_EVF_INSPECT,
		.max_noise = SIZE_MAX,
		.cap = SIZE_MAX / 2,
		.attach_most = UINT64_MAX,
	};
	int rc = cw_conn_open(d->runner, &ops, d, &how, &d->conn);

	if (rc == 0)
		on_called(d);
	return rc;
}

/* A connection the decoder has closed is opened anew: the next line deserves an answer too. */
int cw_inspect_feed(struct cw_inspect *d, struct cw_bytes in)
{
	if (d->closing || d->conn == NULL) {
		if (d->conn != NULL)
			cw_conn_close(d->conn);
		d->conn = NULL;
		d->closing = 0;
		if (open_conn(d) < 0)
			return CW_ENOMEM;
	}
	(void)cw_conn_feed(d->conn, in);
	flush_frame(d);
	return d->out_of_memory ? CW_ENOMEM : 0;
}

/* What is left at the end of a line or file waits for bytes that will not come. */
void cw_inspect_end(struct cw_inspect *d, struct cw_bytes given)
{
	size_t kept, missing;
	uint8_t buf[16];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));

	if (d->conn != NULL) {
		cw_conn_end_of_input(d->conn);
		flush_frame(d);
	}
	kept = d->conn == NULL ? 0 : cw_conn_buffered(d->conn);
	if (kept == 0)
		return;
	missing = cw_conn_missing(d->conn);
	if (missing > 0) {
		cw_put_uint(&w, missing);
		pile_add(d, &d->fields, cw_bytes_text("needMore"), cw_written(&w));
	}
	print_object(d, kept <= given.len ? cw_bytes_of(given.ptr + given.len - kept, kept) : given, "incomplete",
	             "the frame has no end here; more bytes would be needed");
	pile_clear(&d->fields);
	cw_conn_close(d->conn);
	d->conn = NULL;
}

/* ---- open and close ------------------------------------------------------------------------------- */

int cw_inspect_settings(const struct cw_plugin_desc *desc, const char *text, uint8_t **ret_bytes, size_t *ret_len, struct cw_msg *msg)
{
	*ret_bytes = NULL;
	*ret_len = 0;
	return cw_show_encoded_settings(desc, text, cw_bytes_of(NULL, 0), ret_bytes, ret_len, msg);
}

static int open_runner(struct cw_inspect *d, const struct cw_plugin_desc *desc, const char *sets, struct cw_msg *msg)
{
	int rc = cw_worker_new("inspect", 0, &d->worker);

	if (rc < 0)
		return cw_fail(msg, rc, "%s", cw_error_text(rc));
	rc = cw_runner_new(desc, d->worker, &d->runner, msg);
	return rc < 0 ? rc : cw_show_settings(d->runner, desc, sets, &d->conf, msg);
}

int cw_inspect_open(const char *protocol, const char *plugin_dir, const char *sets, cw_inspect_fn fn, void *arg,
                    struct cw_inspect **ret_inspect, struct cw_msg *msg)
{
	const struct cw_plugin_desc *desc;
	struct cw_inspect *d;
	char dir[1024];
	int rc;

	cw_plugin_dir(plugin_dir, dir, sizeof(dir));
	rc = strchr(protocol, '/') != NULL ? cw_plugin_find(protocol, dir, &desc, msg) : cw_plugin_load_named(dir, protocol, &desc, msg);
	if (rc < 0)
		return rc;
	d = cw_zalloc(sizeof(*d));
	if (d == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	d->fn = fn;
	d->arg = arg;
	rc = open_runner(d, desc, sets, msg);
	if (rc < 0) {
		cw_inspect_close(d);
		return rc;
	}
	*ret_inspect = d;
	return 0;
}

void cw_inspect_close(struct cw_inspect *d)
{
	if (d == NULL)
		return;
	if (d->conn != NULL)
		cw_conn_close(d->conn);
	if (d->runner != NULL)
		cw_runner_settings_free(d->runner, d->conf);
	cw_runner_free(d->runner);
	cw_worker_free(d->worker);
	cw_free(d->header.bytes);
	cw_free(d->fields.bytes);
	cw_free(d->records.bytes);
	cw_free(d->replies.bytes);
	cw_free(d->frame.bytes);
	cw_free(d);
}
