/* plugin.c - the descriptor of the JT/T 808 decoder, and nothing else. */
#include "jt808.h"

static const struct cw_decoder_ops jt808_ops = {
	CW_DECODER_OPS_INIT,
	.create = jt_create, .destroy = jt_destroy, .settings = jt_settings, .settings_free = jt_settings_free,
	.frame = jt_frame, .decode = jt_decode, .event = jt_event, .command = jt_command,
};

/* In the order of enum jt_counter. */
static const struct cw_plugin_counter jt808_counters[] = {
	{ "checksumBad", "Frames dropped for a wrong checksum" },
	{ "lengthMismatch", "Frames whose header length is not that of the body" },
	{ "layoutContradiction", "Frames whose header layout contradicts the version bit" },
	{ "badEscape", "Frames with a lone 7d or an inner 7e" },
	{ "numberNotDecimal", "Frames whose terminal number is not decimal" },
	{ "itemsBroken", "Reports whose additional items overrun or leave a rest" },
	{ "unknownMessage", "Messages that are not in the standard, published raw" },
	{ "badBody", "Bodies of known messages that could not be read" },
	{ "encrypted", "Bodies that are encrypted, published raw" },
	{ "partsDropped", "Incomplete messages given up" },
	{ "partsAsked", "Requests for missing frames" },
	{ "retransmitted", "Commands sent again" },
	{ "replyUnmatched", "Answers that belong to no command" },
	{ "authFailed", "Authentications refused" },
	{ "unidentified", "Messages before authentication" },
	{ "joined", "Frames that an unescaped 7e had cut" },
	{ "mediaLost", "Media files that could not be stored" },
	{ NULL, NULL },
};
_Static_assert(sizeof(jt808_counters) / sizeof(jt808_counters[0]) == JT_N_COUNT + 1, "the enum and this list differ");

static const struct cw_plugin_desc jt808_desc = {
	CW_PLUGIN_INIT,
	.name = "jt808", .version = "1.0.0", .summary = "JT/T 808 vehicle terminals, editions 2011, 2013 and 2019",
	.caps = CW_CAP_DOWNLINK | CW_CAP_DATAGRAM, .max_frame = 4096, .max_outstanding = 1, .dedup_window_s = 300,
	.conf = jt_conf_fields, .counters = jt808_counters, .decoder = &jt808_ops,
};

CW_PLUGIN_EXPORT const struct cw_plugin_desc *cw_plugin_entry(void)
{
	return &jt808_desc;
}
