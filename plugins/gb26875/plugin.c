/* plugin.c - the descriptor of the GB/T 26875.3 decoder, and nothing else. */
#include "gb26875.h"

static const struct cw_decoder_ops gb26875_ops = {
	CW_DECODER_OPS_INIT,
	.create = gb_create, .destroy = gb_destroy, .settings = gb_settings, .settings_free = gb_settings_free,
	.frame = gb_frame, .decode = gb_decode, .event = gb_event, .command = gb_command,
};

/* In the order of enum gb_counter. */
static const struct cw_plugin_counter gb26875_counters[] = {
	{ "checksumBad", "Frames with a wrong checksum" },
	{ "terminatorBad", "Frames whose length does not lead to the end marker" },
	{ "lengthBad", "Frames whose header promises more than 1024 bytes" },
	{ "commandUnknown", "Frames with a command byte that is not in the standard" },
	{ "unitBad", "Data units whose object count does not fit their bytes" },
	{ "unitPartial", "Of these, those whose whole objects were used" },
	{ "typeUnknown", "Data units of types that are not in the standard, published raw" },
	{ "unmatched", "Confirms, denies and responses that belong to no open exchange" },
	{ "denied", "Denies sent" },
	{ "deniesHeld", "Denies not sent because of denyRate" },
	{ "deniedPending", "Uploads denied because the platform was away" },
	{ "heartbeats", "Keep-alives without data" },
	{ "resent", "Requests sent again" },
	{ "timedOut", "Requests without an answer after the last resend" },
	{ "deniedByDevice", "Requests that the device denied for good" },
	{ "foreignProtocol", "Connections that speak something else" },
	{ "silent", "Devices taken as offline after silenceTime" },
	{ "unidentified", "Frames dropped because their device is not known or has no usable address" },
	{ "outOfRange", "Analogue values outside the range of their quantity" },
	{ NULL, NULL },
};
_Static_assert(sizeof(gb26875_counters) / sizeof(gb26875_counters[0]) == GB_N_COUNT + 1, "the enum and this list differ");

static const struct cw_plugin_desc gb26875_desc = {
	CW_PLUGIN_INIT,
	.name = "gb26875", .version = "1.0.0", .summary = "GB/T 26875.3-2011 user-information transmission devices of fire alarm systems",
	.caps = CW_CAP_DOWNLINK | CW_CAP_MULTI_DEVICE | CW_CAP_DATAGRAM, .max_frame = GB_FRAME_MAX, .max_outstanding = 8, .dedup_window_s = 60,
	.conf = gb_conf_fields, .counters = gb26875_counters, .decoder = &gb26875_ops,
};

CW_PLUGIN_EXPORT const struct cw_plugin_desc *cw_plugin_entry(void)
{
	return &gb26875_desc;
}
