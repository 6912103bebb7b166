/*
 * author.c - the public headers as an author of a plugin uses them, in C11 and in C++17.
 * Compiled with both, strictly; never run.
 */
#include <causeway/plugin.h>

struct cw_decoder {
	const struct cw_host *host;
	void *hx;
	uint64_t frames;
};

static struct cw_decoder the_only;

static int create(const struct cw_host *host, void *hx, struct cw_decoder **ret)
{
	the_only.host = host;
	the_only.hx = hx;
	*ret = &the_only;
	return CW_HAS(host, foreign) ? 0 : CW_EABI;
}

static void destroy(struct cw_decoder *d)
{
	d->host = NULL;
}

static int frame(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes in, struct cw_cut *ret_cut)
{
	(void)d;
	(void)ev;
	ret_cut->length = in.len < 4 ? 0 : 4;
	ret_cut->need = in.len < 4 ? 4 : 0;
	return 0;
}

static int decode(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes f)
{
	uint8_t out[128];
	struct cw_writer w = cw_writer_of(out, sizeof(out));
	struct cw_reader r = cw_reader_of(f);
	struct cw_record rec;

	cw_record_begin(&w, CW_KIND_PROPERTIES);
	cw_record_time(&w, ev->now_ms);
	cw_record_body(&w);
	cw_field_uint(&w, "count", cw_read_u32be(&r));
	cw_field_decimal(&w, "level", 1230, -2);
	cw_field_double(&w, "ratio", 0.5);
	cw_field_text(&w, "name", "author");
	cw_field_array(&w, "list");
	cw_put_null(&w);
	cw_put_end(&w);
	cw_put_end(&w);
	cw_record_end(&w);
	if (r.short_read || w.overflow || !cw_record_read(cw_written(&w), &rec) || cw_map_int(rec.body, "count", -1) < 0)
		return CW_EPROTO;
	d->frames++;
	return d->host->emit(d->hx, ev->conn, ev->device, 1, cw_written(&w));
}

static int event(struct cw_decoder *d, const struct cw_event *ev)
{
	return ev->kind == CW_EV_TIMER ? d->host->timer(d->hx, ev->conn, ev->timer, CW_TIMER_STOP) : 0;
}

static const struct cw_conf_field fields[] = {
	{ "level", CW_FIELD_INT, 0, "1", "0", "9", NULL, "A number.", NULL },
	{ NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL },
};

#ifdef __cplusplus
static struct cw_decoder_ops ops;
static struct cw_plugin_desc desc;

extern "C" const struct cw_plugin_desc *cw_plugin_entry(void)
{
	cw_decoder_ops_init(&ops);
	ops.create = create;
	ops.destroy = destroy;
	ops.frame = frame;
	ops.decode = decode;
	ops.event = event;
	cw_plugin_desc_init(&desc);
	desc.name = "author";
	desc.version = cw_error_text(CW_EPROTO);
	desc.max_frame = 4;
	desc.conf = fields;
	desc.decoder = &ops;
	return &desc;
}
#else
static const struct cw_decoder_ops ops = {
	CW_DECODER_OPS_INIT, .create = create, .destroy = destroy, .frame = frame, .decode = decode, .event = event,
};
static const struct cw_plugin_desc desc = {
	CW_PLUGIN_INIT, .name = "author", .version = "1", .max_frame = 4, .conf = fields, .decoder = &ops,
};

CW_PLUGIN_EXPORT const struct cw_plugin_desc *cw_plugin_entry(void)
{
	return &desc;
}
#endif
