/* plugin.c - the descriptor: what the host reads before it calls anything. */
#include "skeleton.h"

static const struct cw_decoder_ops skeleton_ops = {
	CW_DECODER_OPS_INIT,
	.create = sk_create, .destroy = sk_destroy, .settings = sk_settings, .settings_free = sk_settings_free,
	.frame = sk_frame, .decode = sk_decode, .event = sk_event, .command = sk_command,
};

/* Shown by `causeway stats` as plugin.skeleton.badLine; counted by its place in this list. */
static const struct cw_plugin_counter skeleton_counters[] = {
	{ "badLine", "Lines that are none of the protocol's" },
	{ NULL, NULL },
};

static const struct cw_plugin_desc skeleton_desc = {
	CW_PLUGIN_INIT,
	.name = "skeleton", .version = "1.0.0", .summary = "a made-up line protocol to start from",
	.caps = CW_CAP_DOWNLINK, .max_frame = 256, .max_outstanding = 1,
	.conf = sk_conf_fields, .counters = skeleton_counters, .decoder = &skeleton_ops,
};

/* The one exported symbol. */
CW_PLUGIN_EXPORT const struct cw_plugin_desc *cw_plugin_entry(void)
{
	return &skeleton_desc;
}
