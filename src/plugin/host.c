/*
 * host.c - the table given to plugins. Checks every handle and every byte a plugin
 * hands over, then passes it to the connection's owner. A refused call is counted;
 * the plugin learns why from the return value.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "plugin/runner_impl.h"

static int refuse(int rc)
{
	cw_count(plugin, refused_calls);
	return rc;
}

static struct cw_conn *conn_of(void *hx, uint64_t handle)
{
	struct cw_runner *r = hx;

	return cw_handle_get(&r->conns, handle);
}

/* The device of a handle, which must be on that connection; 0 names the only one. */
static struct cw_rdevice *device_of(struct cw_conn *c, uint64_t handle)
{
	struct cw_rdevice *d;

	if (handle == 0)
		return c->devices != NULL && c->devices->next == NULL ? c->devices : NULL;
	d = cw_handle_get(&c->runner->devices, handle);
	return d != NULL && d->conn == c ? d : NULL;
}

static int host_send(void *hx, uint64_t conn, struct cw_bytes out)
{
	struct cw_conn *c = conn_of(hx, conn);

	if (c == NULL || (out.ptr == NULL && out.len > 0))
		return refuse(CW_EINVAL);
	return out.len == 0 ? 0 : c->ops->send(c->owner, out);
}

int cw_record_kind_ok(unsigned kind)
{
	return kind >= CW_KIND_PROPERTIES && kind <= CW_KIND_SHADOW_REPORT;
}

static int host_emit(void *hx, uint64_t conn, uint64_t device, uint64_t ticket, struct cw_bytes record)
{
	struct cw_conn *c = conn_of(hx, conn);
	struct cw_rdevice *d;
	struct cw_record rec;

	if (c == NULL)
		return refuse(CW_EINVAL);
	if (!cw_flat_valid(record) || !cw_record_read(record, &rec) || !cw_record_kind_ok(rec.kind)) {
		cw_log(plugin_misbehaved, "it emitted a malformed record; dropped", CW_LS("protocol", c->runner->desc->name),
		       CW_LB("peer", c->peer, c->peer_len), CW_LU("bytes", record.len));
		return refuse(CW_EINVAL);
	}
	d = device_of(c, device);
	if (d == NULL && device != 0)
		return refuse(CW_EINVAL);
	if ((c->flags & CW_EVF_INSPECT) == 0 && (d == NULL || !d->attached)) {
		cw_count(bridge, records_unidentified);
		return CW_EOFFLINE;
	}
	cw_count(plugin, records);
	return c->ops->emit(c->owner, d, ticket, record, &rec);
}

/* Printable UTF-8 of bounded length: identities end up in logs, file names of traces and topics. */
int cw_identity_ok(struct cw_bytes id)
{
	size_t i;

	if (id.len == 0 || id.len > CW_IDENTITY_MAX || id.ptr == NULL)
		return 0;
	for (i = 0; i < id.len; i++)
		if (id.ptr[i] < 0x20 || id.ptr[i] == 0x7f)
			return 0;
	return 1;
}

static int host_identify(void *hx, uint64_t conn, const struct cw_identify *who)
{
	struct cw_conn *c = conn_of(hx, conn);
	uint8_t flat[CW_IDENTITY_MAX + 4];
	struct cw_writer w = cw_writer_of(flat, sizeof(flat));
	int multi = c != NULL && (c->runner->desc->caps & CW_CAP_MULTI_DEVICE) != 0, rc;

	if (c == NULL || who == NULL || who->size < sizeof(*who) || !cw_identity_ok(who->identity))
		return refuse(CW_EINVAL);
	cw_put_textn(&w, (const char *)who->identity.ptr, who->identity.len);
	if (w.overflow || !cw_flat_valid(cw_written(&w)))
		return refuse(CW_EINVAL);
	if ((who->flags & ~CW_IDENTIFY_KNOWN) != 0 || ((who->flags & CW_IDENTIFY_MEMBERS) != 0 && !multi))
		return refuse(CW_EINVAL);
	if (c->asked >= (multi ? CW_ASKED_MOST : 1))
		return refuse(CW_EBUSY);
	if (!multi && c->devices != NULL && c->devices->attached &&
	    !cw_bytes_equal(who->identity, cw_bytes_of(c->devices->text, c->devices->identity_len)))
		return refuse(CW_EEXIST);
	rc = c->ops->identify(c->owner, who);
	if (rc == 0)
		c->asked++;
	return rc;
}

static int host_detach(void *hx, uint64_t conn, uint64_t device)
{
	struct cw_conn *c = conn_of(hx, conn);
	struct cw_rdevice *d = c == NULL ? NULL : device_of(c, device);

	return d == NULL ? refuse(CW_EINVAL) : c->ops->detach(c->owner, d);
}

static int host_timer(void *hx, uint64_t conn, uint64_t timer, uint64_t delay_ms)
{
	struct cw_conn *c = conn_of(hx, conn);
	int rc = c == NULL ? CW_EINVAL : cw_conn_set_timer(c, timer, delay_ms);

	return rc < 0 ? refuse(rc) : 0;
}

static int host_command_done(void *hx, uint64_t conn, uint64_t id, int32_t code, struct cw_bytes reply)
{
	struct cw_conn *c = conn_of(hx, conn);

	if (c == NULL || code < 1)
		return refuse(CW_EINVAL);
	return c->ops->command_done(c->owner, id, code, reply);
}

static int host_command_extend(void *hx, uint64_t conn, uint64_t id, uint64_t delay_ms)
{
	struct cw_conn *c = conn_of(hx, conn);

	return c == NULL ? refuse(CW_EINVAL) : c->ops->command_extend(c->owner, id, delay_ms);
}

static int host_device_save(void *hx, uint64_t conn, uint64_t device, struct cw_bytes state)
{
	struct cw_conn *c = conn_of(hx, conn);
	struct cw_rdevice *d = c == NULL ? NULL : device_of(c, device);

	if (d == NULL)
		return refuse(CW_EINVAL);
	if (state.len > CW_SAVE_MAX)
		return refuse(CW_ELIMIT);
	return c->ops->save(c->owner, d, state);
}

static int host_close(void *hx, uint64_t conn, uint64_t delay_ms, const char *reason)
{
	struct cw_conn *c = conn_of(hx, conn);

	if (c == NULL)
		return refuse(CW_EINVAL);
	if (delay_ms == 0)
		c->closing = 1;
	c->ops->close(c->owner, delay_ms, reason == NULL ? "the decoder closed the connection" : reason);
	return 0;
}

static int host_rescan(void *hx, uint64_t conn, int final)
{
	struct cw_conn *c = conn_of(hx, conn);

	if (c == NULL)
		return refuse(CW_EINVAL);
	c->scan = 1;
	c->final |= final != 0;
	return 0;
}

static void host_log(void *hx, uint64_t conn, int level, const char *text)
{
	struct cw_runner *r = hx;
	struct cw_conn *c = conn_of(hx, conn);
	struct cw_rdevice *d = c == NULL ? NULL : device_of(c, 0);

	if (text == NULL)
		return;
	if (c != NULL && c->ops->line != NULL)
		c->ops->line(c->owner, level, text);
	if (level >= CW_LEVEL_WARN)
		cw_log(plugin_warning, text, CW_LS("protocol", r->desc->name), CW_LS("device", d == NULL ? NULL : d->text),
		       CW_LB("peer", c == NULL ? "-" : c->peer, c == NULL ? 1 : c->peer_len));
	else if (level >= CW_LEVEL_INFO)
		cw_log(plugin_line, text, CW_LS("protocol", r->desc->name), CW_LS("device", d == NULL ? NULL : d->text),
		       CW_LB("peer", c == NULL ? "-" : c->peer, c == NULL ? 1 : c->peer_len));
	else
		cw_log(plugin_debug, text, CW_LS("protocol", r->desc->name), CW_LS("device", d == NULL ? NULL : d->text),
		       CW_LB("peer", c == NULL ? "-" : c->peer, c == NULL ? 1 : c->peer_len));
}

static void host_count(void *hx, uint32_t index, uint64_t n)
{
	struct cw_runner *r = hx;

	if (index >= r->counter_count) {
		(void)refuse(CW_EINVAL);
		return;
	}
	/* Read by the control loop while this thread writes: a relaxed store is enough. */
	__atomic_store_n(&r->counters[index], r->counters[index] + n, __ATOMIC_RELAXED);
}

static int host_field(void *hx, uint64_t conn, int group, const char *name, struct cw_bytes value, size_t offset, size_t length)
{
	struct cw_conn *c = conn_of(hx, conn);

	if (c == NULL || name == NULL || (c->flags & CW_EVF_INSPECT) == 0 || c->ops->field == NULL || !cw_flat_valid(value))
		return refuse(CW_EINVAL);
	c->ops->field(c->owner, group, name, value, offset, length);
	return 0;
}

static int host_charge(void *hx, uint64_t conn, int64_t bytes)
{
	struct cw_conn *c = conn_of(hx, conn);

	if (c == NULL || c->charged + bytes < 0)
		return refuse(CW_EINVAL);
	if (bytes > 0 && (uint64_t)(c->charged + bytes) > c->cap)
		return refuse(CW_ELIMIT);
	c->charged += bytes;
	return 0;
}

static int host_want_block(void *hx, uint64_t conn, uint64_t id, uint64_t offset, size_t length)
{
	struct cw_conn *c = conn_of(hx, conn);

	if (c == NULL)
		return refuse(CW_EINVAL);
	return c->ops->want_block == NULL ? refuse(CW_EUNSUPPORTED) : c->ops->want_block(c->owner, id, offset, length);
}

/* ---- attachments: number, name and limits are made here, where the decoder runs ---- */

#define ATTACHMENTS_MOST 256u /* unfinished ones of one decoder */

static struct conn_attachment *attachment_of(struct cw_conn *c, uint64_t id)
{
	struct conn_attachment *a;

	for (a = c == NULL ? NULL : c->attachments; a != NULL; a = a->next)
		if (a->id == id)
			return a;
	return NULL;
}

void cw_conn_drop_attachment(struct cw_conn *c, struct conn_attachment *a)
{
	struct conn_attachment **p;

	for (p = &c->attachments; *p != a; p = &(*p)->next)
		;
	*p = a->next;
	c->runner->open_attachments--;
	cw_free(a);
}

/* Identity and suffix become part of a file name: nothing but letters, digits and a few marks. */
static void put_safe(char *out, size_t size, const char *in)
{
	size_t i;

	for (i = 0; in[i] != '\0' && i + 1 < size; i++)
		out[i] = isalnum((unsigned char)in[i]) || in[i] == '-' || in[i] == '_' ? in[i] : '_';
	out[i] = '\0';
}

static int host_attach_open(void *hx, uint64_t conn, uint64_t device, const char *suffix, uint64_t *ret_attachment)
{
	struct cw_conn *c = conn_of(hx, conn);
	struct cw_rdevice *d = c == NULL ? NULL : device_of(c, device);
	struct conn_attachment *a;
	char who[25], kind[9];
	int rc;

	if (d == NULL || suffix == NULL || ret_attachment == NULL || c->ops->attach_open == NULL)
		return refuse(CW_EINVAL);
	if (c->attach_most == 0)
		return CW_EUNSUPPORTED;
	if (c->runner->open_attachments >= ATTACHMENTS_MOST)
		return refuse(CW_ELIMIT);
	a = cw_zalloc(sizeof(*a));
	if (a == NULL)
		return CW_ENOMEM;
	a->id = ++c->runner->next_attachment;
	put_safe(who, sizeof(who), d->text);
	put_safe(kind, sizeof(kind), suffix);
	(void)snprintf(a->name, sizeof(a->name), "%s-%lld-%u.%s", who, (long long)cw_clock_wall_ms(),
	               (unsigned)(cw_worker_index(c->runner->worker) * 100000 + a->id % 100000), kind);
	rc = c->ops->attach_open(c->owner, d, a->id, a->name);
	if (rc < 0) {
		cw_free(a);
		return rc;
	}
	a->next = c->attachments;
	c->attachments = a;
	c->runner->open_attachments++;
	*ret_attachment = a->id;
	return 0;
}

static int host_attach_write(void *hx, uint64_t conn, uint64_t attachment, struct cw_bytes data)
{
	struct cw_conn *c = conn_of(hx, conn);
	struct conn_attachment *a = attachment_of(c, attachment);
	int rc;

	if (a == NULL)
		return refuse(CW_EINVAL);
	if (data.len > c->attach_most - a->len)
		return refuse(CW_ELIMIT);
	rc = c->ops->attach_write(c->owner, attachment, data);
	if (rc == 0)
		a->len += data.len;
	return rc;
}

static int host_attach_close(void *hx, uint64_t conn, uint64_t attachment, int commit, char name[64])
{
	struct cw_conn *c = conn_of(hx, conn);
	struct conn_attachment *a = attachment_of(c, attachment);
	int rc;

	if (a == NULL)
		return refuse(CW_EINVAL);
	rc = c->ops->attach_close(c->owner, attachment, commit, a->name);
	if (rc == 0 && commit)
		memcpy(name, a->name, sizeof(a->name));
	cw_conn_drop_attachment(c, a);
	return rc;
}

static void host_foreign(void *hx, uint64_t conn, struct cw_bytes identity)
{
	struct cw_conn *c = conn_of(hx, conn);

	cw_count(bridge, foreign_identity);
	if (c != NULL)
		c->ops->foreign(c->owner, identity);
}

static int host_linger(void *hx, uint64_t conn, uint64_t device, uint64_t delay_ms)
{
	struct cw_conn *c = conn_of(hx, conn);
	struct cw_rdevice *d = c == NULL ? NULL : device_of(c, device);

	if (d == NULL || !d->attached || delay_ms > CW_LINGER_MOST_MS)
		return refuse(CW_EINVAL);
	return c->ops->linger == NULL ? 0 : c->ops->linger(c->owner, d, delay_ms);
}

const struct cw_host cw_host_table = {
	.size = sizeof(struct cw_host),
	.abi = CW_ABI,
	.send = host_send,
	.emit = host_emit,
	.identify = host_identify,
	.detach = host_detach,
	.timer = host_timer,
	.command_done = host_command_done,
	.command_extend = host_command_extend,
	.device_save = host_device_save,
	.close = host_close,
	.rescan = host_rescan,
	.log = host_log,
	.count = host_count,
	.field = host_field,
	.charge = host_charge,
	.want_block = host_want_block,
	.attach_open = host_attach_open,
	.attach_write = host_attach_write,
	.attach_close = host_attach_close,
	.foreign = host_foreign,
	.linger = host_linger,
};
