/* plugin.c - the descriptor of the HJ 212 decoder, and nothing else. */
#include "hj212.h"

static const struct cw_decoder_ops hj212_ops = {
	CW_DECODER_OPS_INIT,
	.create = hj_create, .destroy = hj_destroy, .settings = hj_settings, .settings_free = hj_settings_free,
	.frame = hj_frame, .decode = hj_decode, .event = hj_event, .command = hj_command,
};

/* Deviations first, in their order; then enum hj_counter. */
static const struct cw_plugin_counter hj212_counters[] = {
#define HJ_DEVIATION(constant, name, initial, help) { name, help },
#include "hj212_deviations.def"
#undef HJ_DEVIATION
	{ "crcBad", "Frames dropped for a wrong checksum" },
	{ "lengthBad", "Frames whose length is wrong and whose end nothing proves" },
	{ "segmentBad", "Frames without CN, MN or CP, or with such that cannot be" },
	{ "refused", "Frames refused for a deviation" },
	{ "unknownCommand", "Uploads with a command number that is not known, published raw" },
	{ "answered", "Answers to uploads, notifications and heartbeats" },
	{ "unmatched", "Answers of devices that belong to no request" },
	{ "resent", "Requests sent again" },
	{ "timedOut", "Requests that were not answered" },
	{ "joined", "Data areas put together from several frames" },
	{ "joinsDropped", "Unfinished ones given up" },
	{ "silent", "Devices taken as offline for their silence" },
	{ "unanswered", "Uploads not answered, because the platform has not taken them or for lack of room" },
	{ "tooMany", "Frames of devices beyond maxDevices, or whose MN is no text" },
	{ NULL, NULL },
};
_Static_assert(sizeof(hj212_counters) / sizeof(hj212_counters[0]) == HJ_N_COUNT + 1, "the enum and this list differ");

static const struct cw_plugin_desc hj212_desc = {
	CW_PLUGIN_INIT,
	.name = "hj212", .version = "1.0.0", .summary = "HJ 212 pollutant monitoring, editions 2017 and 2005",
	.caps = CW_CAP_DOWNLINK | CW_CAP_DATAGRAM | CW_CAP_MULTI_DEVICE | CW_CAP_SHARED, .max_frame = 8192, .max_outstanding = 4,
	.dedup_window_s = 3600, .conf = hj_conf_fields, .counters = hj212_counters, .decoder = &hj212_ops,
};

CW_PLUGIN_EXPORT const struct cw_plugin_desc *cw_plugin_entry(void)
{
	return &hj212_desc;
}
