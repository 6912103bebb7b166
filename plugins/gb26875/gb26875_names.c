/*
 * gb26875_names.c - what codes and bits are called (tables 4, 5, 6 and clause 8).
 */
#include "gb26875.h"

struct named { uint8_t code; const char *name; };

static const struct named systems[] = {
	{ 0, "general" }, { 1, "fire alarm system" }, { 10, "fire linkage controller" }, { 11, "hydrant system" }, { 12, "sprinkler system" },
	{ 13, "gas extinguishing system" }, { 14, "water spray system (pump start)" }, { 15, "water spray system (pressure vessel start)" },
	{ 16, "foam extinguishing system" }, { 17, "dry powder extinguishing system" }, { 18, "smoke control and exhaust system" },
	{ 19, "fire doors and shutters" }, { 20, "fire lift" }, { 21, "emergency broadcast" },
	{ 22, "emergency lighting and evacuation signs" }, { 23, "fire power supply" }, { 24, "fire telephone" },
};

static const struct named components[] = {
	{ 0, "general" }, { 1, "fire alarm controller" }, { 10, "combustible gas detector" }, { 11, "point type combustible gas detector" },
	{ 12, "stand-alone combustible gas detector" }, { 13, "line type combustible gas detector" },
	{ 16, "electrical fire monitoring alarm unit" }, { 17, "residual current electrical fire detector" },
	{ 18, "temperature-sensing electrical fire detector" }, { 21, "detection loop" }, { 22, "fire display panel" },
	{ 23, "manual call point" }, { 24, "hydrant button" }, { 25, "fire detector" }, { 30, "heat detector" }, { 31, "point heat detector" },
	{ 32, "point heat detector (S)" }, { 33, "point heat detector (R)" }, { 34, "line heat detector" }, { 35, "line heat detector (S)" },
	{ 36, "line heat detector (R)" }, { 37, "optical fibre heat detector" }, { 40, "smoke detector" },
	{ 41, "point ionisation smoke detector" }, { 42, "point photoelectric smoke detector" }, { 43, "line beam smoke detector" },
	{ 44, "aspirating smoke detector" }, { 50, "combined detector" }, { 51, "combined smoke and heat detector" },
	{ 52, "combined flame and heat detector" }, { 53, "combined flame and smoke detector" }, { 61, "ultraviolet flame detector" },
	{ 62, "infrared flame detector" }, { 69, "flame detector" }, { 74, "gas detector" }, { 78, "video fire detector" },
	{ 79, "acoustic detector" }, { 81, "gas extinguishing controller" }, { 82, "fire electrical control device" },
	{ 83, "control-room graphic display" }, { 84, "module" }, { 85, "input module" }, { 86, "output module" },
	{ 87, "input/output module" }, { 88, "relay module" }, { 91, "fire pump" }, { 92, "fire water tank" }, { 95, "sprinkler pump" },
	{ 96, "flow indicator" }, { 97, "signal valve" }, { 98, "alarm valve" }, { 99, "pressure switch" }, { 101, "valve actuator" },
	{ 102, "fire door" }, { 103, "fire damper" }, { 104, "ventilation and air conditioning" }, { 105, "foam pump" },
	{ 106, "pipe solenoid valve" }, { 111, "smoke exhaust fan" }, { 113, "smoke exhaust fire damper" },
	{ 114, "normally closed air inlet" }, { 115, "smoke vent" }, { 116, "electric smoke curtain" }, { 117, "fire shutter controller" },
	{ 118, "fire door monitor" }, { 121, "alarm sounder or strobe" },
};

static const char *find(const struct named *list, size_t n, uint8_t code)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (list[i].code == code)
			return list[i].name;
	return NULL;
}

const char *gb_system_name(uint8_t type)
{
	return find(systems, sizeof(systems) / sizeof(systems[0]), type);
}

const char *gb_component_name(uint8_t type)
{
	return find(components, sizeof(components) / sizeof(components[0]), type);
}

/* ---- bits ---------------------------------------------------------------------- */

static const char *const system_bits[16] = {
	"normal", "fire", "fault", "shielded", "supervision", "started", "feedback", "delayed", "mainPowerFault", "backupPowerFault", "busFault",
	"manual", "configChanged", "reset",
};
static const char *const component_bits[16] = {
	"normal", "fire", "fault", "shielded", "supervision", "started", "feedback", "delayed", "powerFault",
};
/* One maker's supplement; what it lacks is as in the standard. */
static const char *const vendor_bits[16] = {
	[9] = "offline", [10] = "openCircuit", [11] = "shortCircuit", [12] = "removed", [14] = "sensorFault", [15] = "upgradeFault",
};
static const char *const utd_bits[16] = {
	"normal", "fire", "fault", "mainPowerFault", "backupPowerFault", "centerLinkFault", "monitorLineFault",
};
static const char *const operation_bits[16] = { "reset", "mute", "manualAlarm", "alarmCleared", "selfTest", "confirm", "test" };
static const char *const utd_operation_bits[16] = { "reset", "mute", "manualAlarm", "alarmCleared", "selfTest", "dutyAnswer", "test" };

static const char *bit_name(const struct gb_conf *conf, int shape, unsigned bit)
{
	switch (shape) {
	case GB_SYSTEM_STATE: return system_bits[bit];
	case GB_COMPONENT_STATE: return conf->vendor_bits && vendor_bits[bit] != NULL ? vendor_bits[bit] : component_bits[bit];
	case GB_UTD_STATE: return utd_bits[bit];
	case GB_OPERATION: return operation_bits[bit];
	default: return utd_operation_bits[bit];
	}
}

/* Bit 0 of a status: by the standard 0 means test mode, but many devices never set it, and some mean the reverse. */
static void put_bit0(struct cw_writer *w, const struct gb_conf *conf, int set)
{
	if (conf->bit0 == GB_BIT0_IGNORE ? set : set == (conf->bit0 == GB_BIT0_STANDARD))
		cw_put_text(w, "normal");
	else if (conf->bit0 != GB_BIT0_IGNORE)
		cw_put_text(w, "test");
}

void gb_put_flags(struct cw_writer *w, const struct gb_conf *conf, int shape, unsigned bits)
{
	unsigned i = 0;

	cw_put_array(w);
	if (shape == GB_SYSTEM_STATE || shape == GB_COMPONENT_STATE || shape == GB_UTD_STATE) {
		put_bit0(w, conf, bits & 1);
		i = 1;
	}
	for (; i < 16; i++) {
		const char *name = bit_name(conf, shape, i);
		char bit[6] = "bit0";

		if ((bits >> i & 1) == 0)
			continue;
		if (name == NULL) {
			bit[3] = (char)('0' + (i < 10 ? i : i / 10));
			bit[4] = (char)(i < 10 ? 0 : '0' + i % 10);
			bit[5] = 0;
		}
		cw_put_text(w, name != NULL ? name : bit);
	}
	cw_put_end(w);
}

/* ---- analogue values ------------------------------------------------------------ */

int gb_quantity_of(const struct gb_conf *conf, uint8_t code, struct gb_quantity *q)
{
	/* Ranges are those of table 6, in units. */
	static const struct gb_quantity table[] = {
		{ NULL, 0, 0, 0, 0 }, { "pieces", 1, 0, 0, 32000 }, { "m", 1, -2, 0, 320 }, { "degC", 1, -1, -273, 3200 }, { "MPa", 1, -1, 0, 3200 },
		{ "kPa", 1, -1, 0, 3200 }, { "%LEL", 1, -1, 0, 100 }, { "s", 1, 0, 0, 32000 }, { "V", 1, -1, 0, 3200 }, { "A", 1, -1, 0, 3200 },
		{ "L/s", 1, -1, 0, 3200 }, { "m3/min", 1, -1, 0, 3200 }, { "m/s", 1, 0, 0, 20 },
	};
	const struct gb_step *s = &conf->steps[code];

	memset(q, 0, sizeof(*q));
	if (code < sizeof(table) / sizeof(table[0]))
		*q = table[code];
	if (s->set) {
		q->mantissa = s->mantissa;
		q->exponent = s->exponent;
	}
	return q->mantissa != 0;
}
