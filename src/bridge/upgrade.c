/*
 * upgrade.c - upgrade notices: the file is here and checked before the owner hears of it.
 *
 * notice -> fetching (counted as a command, with no deadline but the download's own)
 * -> queued like any command, with the file -> blocks as the owner asks -> ended, the
 * file let go. A file that does not come is told to the platform as progress -2
 * (download) or -3 (digest), and the owner never hears of it.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "bridge/bridge_impl.h"
#include "causeway/command.h"
#include "causeway/record.h"

#define STEP_DOWNLOAD_FAILED (-2) /* of the platform's progress reports */
#define STEP_CHECK_FAILED (-3)
#define BLOCK_MOST (1u << 20)

static void copy_text(char *to, size_t size, struct cw_bytes from)
{
	(void)snprintf(to, size, "%.*s", (int)from.len, (const char *)from.ptr);
}

/* A report of the gateway's own about the device; nobody waits for how it ends. */
static void on_settled(struct cw_parcel *p)
{
	cw_parcel_unref(p);
}

static void report(struct cw_device *d, struct cw_bytes module, int step, const char *text)
{
	uint8_t buf[512];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));
	struct cw_parcel *p;

	cw_record_begin(&w, CW_KIND_OTA_PROGRESS);
	if (module.len > 0) {
		cw_put_uint(&w, 1);
		cw_put_textn(&w, (const char *)module.ptr, module.len);
	}
	cw_record_body(&w);
	cw_field_int(&w, "step", step);
	cw_field_text(&w, "desc", text);
	cw_put_end(&w);
	cw_record_end(&w);
	p = w.overflow ? NULL : cw_parcel_new(w.len);
	if (p == NULL)
		return;
	memcpy(p->bytes, buf, w.len);
	p->home = d->bridge->conf.control;
	p->device = d->way->up;
	p->settled = on_settled;
	p->arrival_ms = cw_clock_wall_ms();
	if (cw_upstream_submit(p) == CW_EBUSY)
		cw_parcel_unref(p); /* its queue is full: the platform asks again, by its own time-out of the upgrade */
}

static void on_file(struct cw_firmware_wish *w, int rc, struct cw_firmware_file *file, const char *text)
{
	struct command *c = cw_container_of(w, struct command, wish);
	struct cw_device *d = c->device;
	struct cw_record rec;

	if (rc == 0) {
		c->file = file;
		cw_list_remove(&c->link);
		cw_command_queue(c);
		cw_command_device_idle(d);
		return;
	}
	if (cw_record_read(cw_bytes_of(c->down->bytes, c->down->len), &rec))
		report(d, rec.name, rc == CW_EPROTO || rc == CW_EINVAL ? STEP_CHECK_FAILED : STEP_DOWNLOAD_FAILED, text);
	cw_command_end(c, CW_CODE_FAILED);
}

int cw_upgrade_begin(struct command *c)
{
	char url[2048], digest[80], method[16];
	struct cw_firmware_info info = { url, digest, method, 0 };
	struct cw_record rec;
	int64_t size;

	if (!cw_record_read(cw_bytes_of(c->down->bytes, c->down->len), &rec))
		return CW_EPROTO;
	size = cw_map_int(rec.body, "size", 0);
	info.size = size > 0 ? (uint64_t)size : 0;
	copy_text(url, sizeof(url), cw_map_text(rec.body, "url"));
	copy_text(digest, sizeof(digest), cw_map_text(rec.body, "digest"));
	copy_text(method, sizeof(method), cw_map_text(rec.body, "method"));
	c->wish.done = on_file;
	return cw_firmware_want(c->device->bridge->conf.firmware, &info, &c->wish);
}

void cw_upgrade_drop(struct command *c)
{
	cw_firmware_drop(&c->wish);
	cw_firmware_unref(c->file);
	c->file = NULL;
}

/* ---- blocks -------------------------------------------------------------------- */

struct reading {
	struct cw_bridge *bridge;
	uint64_t id, offset;
};

static void on_block(void *ctx, int rc, struct cw_bytes bytes)
{
	struct reading *r = ctx;
	struct command *c = cw_command_find(r->bridge, r->id);

	if (c != NULL && c->running && c->device->owner != NULL)
		r->bridge->conf.owner_ops->block(c->device->owner, c->device, r->id, r->offset, rc, bytes);
	cw_free(r);
}

void cw_bridge_command_block(struct cw_bridge *b, uint64_t id, uint64_t offset, size_t length)
{
	struct command *c = cw_command_find(b, id);
	struct reading *r;
	int rc = 0;

	if (c == NULL || c->device->owner == NULL) /* it has ended: the owner has been told or knows */
		return;
	if (c->file == NULL)
		rc = CW_EUNSUPPORTED;
	else if (length > BLOCK_MOST || offset > cw_firmware_size(c->file))
		rc = CW_EINVAL;
	r = rc < 0 ? NULL : cw_zalloc(sizeof(*r));
	if (rc == 0 && r == NULL)
		rc = CW_ENOMEM;
	if (rc == 0) {
		*r = (struct reading){ b, id, offset };
		rc = cw_firmware_read(c->file, offset, length, on_block, r);
	}
	if (rc == 0)
		return;
	cw_free(r);
	b->conf.owner_ops->block(c->device->owner, c->device, id, offset, rc, cw_bytes_of(NULL, 0));
}
