/* plugin.c - the descriptor of the Modbus decoder, and nothing else. */
#include "modbus.h"

static const struct cw_decoder_ops modbus_ops = {
	CW_DECODER_OPS_INIT,
	.create = mb_create, .destroy = mb_destroy, .settings = mb_settings, .settings_free = mb_settings_free,
	.frame = mb_frame, .decode = mb_decode, .event = mb_event, .command = mb_command,
};

/* In the order of enum mb_counter. */
static const struct cw_plugin_counter modbus_counters[] = {
	{ "heartbeats", "Heartbeats of DTUs" },
	{ "registrations", "Registration packets" },
	{ "requests", "Requests sent" },
	{ "answers", "Answers that fitted their request" },
	{ "exceptions", "Exception answers" },
	{ "timeouts", "Requests without answer" },
	{ "retries", "Requests sent again after a timeout" },
	{ "stale", "Good frames that answer nothing that is asked" },
	{ "echoes", "Requests that the converter handed back" },
	{ "unsolicited", "Frames nobody asked for that were used" },
	{ "badQuality", "Readings that are no value of their type, not reported" },
	{ "refusedPoints", "Points that a device does not have" },
	{ "unitsLost", "Units that went offline" },
	{ "unitsBack", "Units that came back" },
	{ "writes", "Write requests sent" },
	{ "writesRefused", "Commands refused before anything was sent" },
	{ "readBackDiffers", "Writes after which the device had another value" },
	{ "withoutProfile", "Devices that have no profile" },
	{ "notReported", "Reports that the host did not take" },
	{ "badPackets", "Packets of an envelope that could not be read" },
	{ "badRegistrations", "Registration packets that give no identity" },
	{ NULL, NULL },
};
_Static_assert(sizeof(modbus_counters) / sizeof(modbus_counters[0]) == MB_N_COUNT + 1, "the enum and this list differ");

static const struct cw_plugin_desc modbus_desc = {
	CW_PLUGIN_INIT,
	.name = "modbus", .version = "1.0.0", .summary = "Modbus RTU, ASCII and TCP: DTUs that dial in, devices that are dialled, serial lines",
	.caps = CW_CAP_DOWNLINK | CW_CAP_MULTI_DEVICE, .max_frame = MB_ENVELOPE_MAX, .max_outstanding = 1, .dedup_window_s = 0,
	.conf = mb_conf_fields, .counters = modbus_counters, .decoder = &modbus_ops,
};

CW_PLUGIN_EXPORT const struct cw_plugin_desc *cw_plugin_entry(void)
{
	return &modbus_desc;
}
