/*
 * gb26875_service.c - services of the thing model to requests.
 */
#include "gb26875.h"

enum { IN_NONE, IN_SYSTEMS, IN_COMPONENTS, IN_RECORDS, IN_UTD_RECORDS, IN_TIME, IN_MINUTES };

struct service {
	const char *name;
	uint8_t type, input;
};

static const struct service services[] = {
	{ "readSystemState", 61, IN_SYSTEMS }, { "readComponentState", 62, IN_COMPONENTS }, { "readAnalogue", 63, IN_COMPONENTS },
	{ "readOperationRecords", 64, IN_RECORDS }, { "readSystemVersion", 65, IN_SYSTEMS }, { "readSystemConfig", 66, IN_SYSTEMS },
	{ "readComponentConfig", 67, IN_COMPONENTS }, { "readSystemClock", 68, IN_SYSTEMS }, { "readUtdStatus", 81, IN_NONE },
	{ "readUtdOperations", 84, IN_UTD_RECORDS }, { "readUtdVersion", 85, IN_NONE }, { "readUtdConfig", 86, IN_NONE },
	{ "readUtdClock", 88, IN_NONE }, { "initialise", 89, IN_NONE }, { "syncTime", 90, IN_TIME }, { "dutyCheck", 91, IN_MINUTES },
};

#define OBJECTS_MOST 1024 /* systems or components named in one call */

static const struct service *find(struct cw_bytes name)
{
	size_t i;

	for (i = 0; i < sizeof(services) / sizeof(services[0]); i++)
		if (cw_bytes_equal(name, cw_bytes_text(services[i].name)))
			return &services[i];
	return NULL;
}

/* A number within its range; 0 when it is missing or something else. */
static int number(struct cw_bytes map, const char *key, int64_t min, int64_t max, int64_t *ret)
{
	struct cw_item it = cw_map_item(map, key);

	*ret = it.i;
	return it.type == CW_ITEM_INT && it.i >= min && it.i <= max;
}

/* A date of the thing model: UTC ms, as number or as digits. */
static int date(struct cw_bytes map, const char *key, uint8_t label[6], int bcd)
{
	struct cw_item it = cw_map_item(map, key);
	int64_t ms = it.i;
	size_t i;

	if (it.type == CW_ITEM_TEXT) {
		for (ms = 0, i = 0; i < it.s.len; i++) {
			if (it.s.ptr[i] < '0' || it.s.ptr[i] > '9' || i > 14)
				return 0;
			ms = ms * 10 + (it.s.ptr[i] - '0');
		}
	} else if (it.type != CW_ITEM_INT) {
		return 0;
	}
	/* What a label can say: the years 2000 to 2099, China local time. */
	if (ms < 946684800000 - GB_ZONE_MS || ms >= 4102444800000 - GB_ZONE_MS)
		return 0;
	gb_write_time(label, ms, bcd);
	return 1;
}

/* The key of one system or component as in requests, which carry no component type. */
static int put_key(struct cw_writer *w, struct cw_bytes map, int component)
{
	int64_t type, address, of = 0;

	if (!number(map, "systemType", 0, 255, &type) || !number(map, "systemAddress", 0, 255, &address) ||
	    (component && !number(map, "componentAddress", 0, UINT32_MAX, &of)))
		return 0;
	cw_write_u8(w, (uint8_t)type);
	cw_write_u8(w, (uint8_t)address);
	if (component)
		cw_write_u32le(w, (uint32_t)of);
	return !w->overflow;
}

/* Keys of all objects, one after another: a list, or one object in the parameters themselves. NULL, or what is wrong. */
static const char *put_keys(struct cw_writer *w, struct cw_bytes body, int component)
{
	struct cw_bytes list = cw_map_get(body, component ? "components" : "systems");
	struct cw_reader r = cw_reader_of(list);
	struct cw_item m;
	const char *wrong = component ? "each component needs systemType and systemAddress of 0 to 255 and componentAddress of 0 to 4294967295"
	                              : "each system needs systemType and systemAddress of 0 to 255";

	if (list.len == 0)
		return put_key(w, body, component) ? NULL : component ? "components, or systemType, systemAddress and componentAddress are needed"
		                                                      : "systems, or systemType and systemAddress are needed";
	m = cw_read_item(&r);
	if (m.type != CW_ITEM_ARRAY)
		return wrong;
	while (cw_item_more(&r, &m))
		if (!put_key(w, cw_read_whole_item(&r), component))
			return w->overflow ? "too many objects in one call" : wrong;
	return w->len == 0 ? "the list is empty" : NULL;
}

/* The objects of a request into `w`. NULL, or what is wrong with the parameters. */
static const char *put_objects(struct cw_writer *w, const struct gb_call *x, const struct service *s, struct cw_bytes body)
{
	uint8_t label[6];
	int64_t v;

	switch (s->input) {
	case IN_SYSTEMS: return put_keys(w, body, 0);
	case IN_COMPONENTS: return put_keys(w, body, 1);
	case IN_RECORDS:
		if (!put_key(w, body, 0))
			return "systemType and systemAddress of 0 to 255 are needed";
		/* fall through */
	case IN_UTD_RECORDS:
		if (!number(body, "count", 1, 102, &v))
			return "count of 1 to 102 is needed";
		if (!date(body, "startTime", label, x->c->bcd))
			return "startTime is needed: UTC milliseconds of the years 2000 to 2099";
		cw_write_u8(w, (uint8_t)v);
		cw_write_raw(w, label, 6);
		return NULL;
	case IN_TIME:
		memset(label, 0, sizeof(label)); /* filled in when it is sent, unless given */
		if (cw_map_get(body, "time").len > 0 && !date(body, "time", label, x->c->bcd))
			return "time: UTC milliseconds of the years 2000 to 2099 are needed";
		cw_write_raw(w, label, 6);
		return NULL;
	case IN_MINUTES:
		if (!number(body, "timeoutMinutes", 1, 255, &v))
			return "timeoutMinutes of 1 to 255 is needed";
		cw_write_u8(w, (uint8_t)v);
		return NULL;
	default:
		cw_write_u8(w, 0);
		return NULL;
	}
}

static int refuse(const struct gb_call *x, int code, const char *why)
{
	uint8_t buf[256];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));

	cw_put_map(&w);
	cw_field_text(&w, "message", why);
	cw_put_end(&w);
	x->d->host->command_done(x->d->hx, x->ev->conn, x->ev->id, code, cw_written(&w));
	return 0;
}

/* Objects in units of at most as many as the type allows. */
static int start(const struct gb_call *x, const struct service *s, struct cw_bytes objects)
{
	const struct gb_type *t = gb_type_of(s->type);
	size_t n = objects.len / t->size, units = (n + t->most - 1) / t->most, at = 0;
	struct gb_request *q = gb_request_new(x, x->ev->id, s->type < 89 ? GB_REQUEST : GB_CONTROL, s->type, objects.len + units * 4);
	uint8_t unit[GB_ADU_MAX];

	if (q == NULL)
		return CW_ENOMEM;
	while (at < n) {
		size_t here = n - at < t->most ? n - at : t->most;

		unit[0] = s->type;
		unit[1] = (uint8_t)here;
		memcpy(unit + 2, objects.ptr + at * t->size, here * t->size);
		gb_request_add(q, cw_bytes_of(unit, 2 + here * t->size));
		at += here;
	}
	if (s->input == IN_MINUTES)
		gb_request_duty(q, objects.ptr[0]);
	if (s->input == IN_TIME && objects.ptr[4] == 0) /* no month: not given */
		gb_request_clock(q);
	gb_request_start(x, q);
	return 0;
}

/* A component that is a device of its own can be read, and nothing else. */
static int component_service(const struct gb_call *x, const struct service *s, const struct gb_object *o)
{
	uint8_t key[6] = { o->system_type, o->system_address, (uint8_t)o->component, (uint8_t)(o->component >> 8),
		           (uint8_t)(o->component >> 16), (uint8_t)(o->component >> 24) };

	if (s->input != IN_COMPONENTS)
		return refuse(x, CW_CODE_UNSUPPORTED, "a component can only be read: readComponentState, readAnalogue, readComponentConfig");
	return start(x, s, cw_bytes_of(key, sizeof(key)));
}

int gb_command(struct cw_decoder *d, const struct cw_event *ev)
{
	struct gb_call x = gb_call_of(d, ev);
	struct cw_writer w = cw_writer_of(d->scratch, OBJECTS_MOST * 6);
	const struct service *s;
	struct gb_object o;
	struct cw_record cmd;
	const char *wrong;

	if (!cw_record_read(ev->data, &cmd))
		return CW_EINVAL;
	if (x.c == NULL || !x.c->attached || gb_mute(&x))
		return CW_EOFFLINE;
	if (cmd.kind == CW_KIND_PROPERTY_SET)
		return refuse(&x, CW_CODE_UNSUPPORTED, "GB/T 26875.3 has no command that sets a property");
	if (cmd.kind != CW_KIND_SERVICE)
		return CW_EUNSUPPORTED;
	s = find(cmd.name);
	if (s == NULL)
		return refuse(&x, CW_CODE_UNSUPPORTED, "GB/T 26875.3 has no such service");
	if (ev->device != x.c->device)
		return gb_component_of_device(x.c, ev->device, &o) ? component_service(&x, s, &o) : CW_EOFFLINE;
	wrong = put_objects(&w, &x, s, cmd.body);
	if (wrong != NULL)
		return refuse(&x, CW_CODE_BAD_INPUT, wrong);
	return start(&x, s, cw_written(&w));
}
