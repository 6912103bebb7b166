/*
 * bad.c - one source for all broken plugins: each is this small decoder with one
 * thing wrong, chosen by a macro. tests/unit/plugin/test_load.c expects the refusal of each.
 */
#include <causeway/plugin.h>

struct cw_decoder {
	const struct cw_host *host;
};

static struct cw_decoder only;

static int bad_create(const struct cw_host *host, void *hx, struct cw_decoder **ret_decoder)
{
	(void)hx;
	only.host = host;
	*ret_decoder = &only;
	return 0;
}

static void bad_destroy(struct cw_decoder *d)
{
	(void)d;
}

static int bad_frame(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes in, struct cw_cut *ret_cut)
{
	(void)d;
	(void)ev;
	ret_cut->length = in.len;
	return 0;
}

static int bad_decode(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes frame)
{
	(void)d;
	(void)ev;
	(void)frame;
	return 0;
}

static int bad_event(struct cw_decoder *d, const struct cw_event *ev)
{
	(void)d;
	(void)ev;
	return 0;
}

#if defined(BAD_FIELD_TYPE) || defined(BAD_FIELD_HELP)
static int bad_settings(struct cw_decoder *d, struct cw_bytes settings, char *text, size_t len, void **ret_conf)
{
	(void)settings;
	(void)text;
	(void)len;
	*ret_conf = d;
	return 0;
}

static void bad_settings_free(struct cw_decoder *d, void *conf)
{
	(void)d;
	(void)conf;
}
#endif

static const struct cw_conf_field fields[] = {
#ifdef BAD_FIELD_TYPE
	{ "speed", 99, 0, "1", NULL, NULL, NULL, "A setting of a type that does not exist.", NULL },
#elif defined(BAD_FIELD_HELP)
	{ "speed", CW_FIELD_INT, 0, "1", NULL, NULL, NULL, NULL, NULL },
#else
	{ "speed", CW_FIELD_INT, 0, "1", NULL, NULL, NULL, "How fast.", NULL },
#endif
	{ NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL },
};

static const struct cw_decoder_ops ops = {
#ifdef BAD_OPS_SIZE
	.size = 8,
	.abi = CW_ABI,
#else
	CW_DECODER_OPS_INIT,
#endif
	.create = bad_create,
	.destroy = bad_destroy,
#if defined(BAD_FIELD_TYPE) || defined(BAD_FIELD_HELP)
	.settings = bad_settings,
	.settings_free = bad_settings_free,
#endif
#ifndef BAD_NO_FRAME
	.frame = bad_frame,
#endif
	.decode = bad_decode,
	.event = bad_event,
};

static const struct cw_plugin_desc desc = {
#ifdef BAD_SIZE
	.size = 4,
	.abi = CW_ABI,
#elif defined(BAD_ABI)
	.size = sizeof(struct cw_plugin_desc),
	.abi = (CW_ABI_MAJOR + 7) << 16,
#elif defined(BAD_MINOR)
	.size = sizeof(struct cw_plugin_desc),
	.abi = CW_ABI + 1,
#else
	CW_PLUGIN_INIT,
#endif
#ifdef BAD_NAME
	.name = "Bad Name",
#elif defined(BAD_NO_NAME)
	.name = NULL,
#else
	.name = "bad",
#endif
#ifndef BAD_NO_VERSION
	.version = "1.0",
#endif
#ifdef BAD_CAPS
	.caps = 1u << 30,
#elif defined(BAD_NO_COMMAND)
	.caps = CW_CAP_DOWNLINK,
#endif
#ifndef BAD_MAX_FRAME
	.max_frame = 100,
#endif
#if defined(BAD_NO_SETTINGS) || defined(BAD_FIELD_TYPE) || defined(BAD_FIELD_HELP)
	.conf = fields,
#endif
#ifndef BAD_NO_DECODER
	.decoder = &ops,
#endif
};

#ifndef BAD_NO_ENTRY
const struct cw_plugin_desc *cw_plugin_entry(void)
{
#ifdef BAD_NULL
	return NULL;
#else
	(void)fields;
	return &desc;
#endif
}
#else
CW_PLUGIN_EXPORT const void *bad_unused(void);
const void *bad_unused(void)
{
	return &desc;
}
#endif
