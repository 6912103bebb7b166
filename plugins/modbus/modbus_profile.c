/*
 * modbus_profile.c - register maps: from checked settings to points, and the requests that read them. Each refusal
 * names the profile and the point.
 */
#include "modbus.h"

#include <stdio.h>
#include <stdlib.h>

struct load {
	struct mb_profile *p;
	char *text;
	size_t len;
	struct cw_bytes order; /* of points that do not say it */
	uint32_t interval_ms;
	unsigned at;           /* which point, from 1 */
	const char *what;      /* its property */
	struct cw_bytes *event_data;
};

static int wrong(struct load *l, const char *why)
{
	if (l->at == 0)
		(void)snprintf(l->text, l->len, "profile \"%s\": %s", l->p->name, why);
	else
		(void)snprintf(l->text, l->len, "profile \"%s\", point %u%s%s: %s", l->p->name, l->at, l->what[0] != '\0' ? " " : "", l->what, why);
	return CW_ECONF;
}

static int is(struct cw_bytes map, const char *key, const char *value)
{
	return cw_bytes_equal(cw_map_text(map, key), cw_bytes_text(value));
}

static int one_of(struct cw_bytes map, const char *key, const char *const *names, int absent)
{
	int i;

	for (i = 0; names[i] != NULL; i++)
		if (is(map, key, names[i]))
			return i;
	return absent;
}

static unsigned count_members(struct cw_bytes list)
{
	struct cw_reader r = cw_reader_of(list);
	struct cw_item it = cw_read_item(&r);
	unsigned n = 0;

	while (cw_item_more(&r, &it) && cw_skip_item(&r, CW_RECORD_DEPTH))
		n++;
	return n;
}

/* ---- one point ------------------------------------------------------------------------------------------ */

static int load_address(struct load *l, struct cw_bytes m, struct mb_point *pt)
{
	static const char *const areas[] = { "coil", "discrete", "input", "holding", NULL };
	struct cw_bytes ref = cw_map_text(m, "ref");
	int64_t address = cw_map_int(m, "address", -1);
	const char *error;

	pt->area = (enum mb_area)one_of(m, "area", areas, MB_HOLDING);
	if ((ref.len > 0) == (address >= 0))
		return wrong(l, "needs either address (from 0) or ref (as 40001)");
	pt->address = (uint16_t)address;
	if (ref.len > 0 && mb_reference(ref, &pt->area, &pt->address, &error) < 0)
		return wrong(l, error[0] == 's' ? "ref needs 5 or 6 digits" : error[0] == 'a' ? "ref must begin with 0, 1, 3 or 4"
		                                                                      : "ref is out of range: 1 to 9999 behind the area, or 1 to 65536 with six digits");
	return 0;
}

static int load_shape(struct load *l, struct cw_bytes m, struct mb_point *pt)
{
	static const char *const types[] = { "bool", "bit", "int16", "uint16", "int32", "uint32", "float32", "int64", "uint64", "float64",
		                             "bcd16", "bcd32", "string", "bytes", NULL };
	static const char *const packings[] = { "highFirst", "lowFirst", "lowByteOnly", "highByteOnly", NULL };
	static const char *const charsets[] = { "utf8", "gbk", "hex", NULL };
	struct cw_bytes order = cw_map_text(m, "order");
	unsigned registers;

	pt->type = (enum mb_type)one_of(m, "type", types, MB_UINT16);
	pt->packing = (enum mb_packing)one_of(m, "packing", packings, 0);
	pt->charset = (enum mb_charset)one_of(m, "charset", charsets, 0);
	pt->bit = (uint8_t)cw_map_int(m, "bit", 0);
	pt->length = (uint16_t)cw_map_int(m, "length", 0);
	if ((pt->type == MB_BOOL) != (pt->area <= MB_DISCRETE))
		return wrong(l, pt->type == MB_BOOL ? "type bool is for coils and discrete inputs; of a register take type = bit"
		                                    : "coils and discrete inputs have type bool");
	registers = mb_type_registers(pt->type);
	if (registers == 0) {
		unsigned per = pt->packing == MB_LOW_BYTE || pt->packing == MB_HIGH_BYTE ? 1 : 2;

		if (pt->length < 1 || pt->length > 250)
			return wrong(l, "a string needs length, 1 to 250");
		registers = (pt->length + per - 1u) / per;
		if (registers > MB_REGS_READ)
			return wrong(l, "has more than 125 registers, which one request cannot read");
	} else if (pt->type != MB_BOOL &&
	           mb_order_of(order.len > 0 ? order : l->order, registers * 2, &pt->order) < 0) {
		return wrong(l, "order must be AB or BA for one register, ABCD, CDAB, BADC or DCBA for any, or the eight letters of a 64-bit order");
	}
	pt->count = (uint16_t)registers;
	return pt->address + registers > 65536 ? wrong(l, "reaches beyond address 65535") : 0;
}

static int load_bound(struct load *l, struct cw_bytes t, uint8_t *has, struct mb_dec *ret, const char *why)
{
	if (t.len == 0)
		return 0;
	*has = 1;
	return mb_dec_of_text(t, ret) ? 0 : wrong(l, why);
}

static int load_scale(struct load *l, struct cw_bytes m, struct mb_point *pt)
{
	struct cw_item scale = cw_map_item(m, "scale"), offset = cw_map_item(m, "offset");
	int decimals = (int)cw_map_int(m, "decimals", -1), rc;
	struct mb_dec one = { 1, 0 };

	pt->scale = one;
	if (scale.type != CW_ITEM_BAD && (!mb_dec_of_item(&scale, &pt->scale) || pt->scale.m == 0))
		return wrong(l, "scale must be a number other than 0");
	if (offset.type != CW_ITEM_BAD && !mb_dec_of_item(&offset, &pt->offset))
		return wrong(l, "offset must be a number");
	pt->scaled = mb_dec_compare(pt->scale, one) != 0 || pt->offset.m != 0 || decimals >= 0;
	/* By default no decimal is lost that the settings can make; a float that is not scaled is not rounded. */
	pt->decimals = (int8_t)decimals;
	if (decimals < 0 && pt->scaled)
		pt->decimals = (int8_t)(-(pt->scale.e < pt->offset.e ? pt->scale.e : pt->offset.e) > 0
		                        ? -(pt->scale.e < pt->offset.e ? pt->scale.e : pt->offset.e) : 0);
	rc = load_bound(l, cw_map_text(m, "min"), &pt->has_min, &pt->min, "min must be a number");
	return rc < 0 ? rc : load_bound(l, cw_map_text(m, "max"), &pt->has_max, &pt->max, "max must be a number");
}

static int load_map(struct load *l, struct cw_bytes map, struct mb_point *pt)
{
	struct cw_reader r = cw_reader_of(map);
	struct cw_item m = cw_read_item(&r);
	unsigned n = m.type == CW_ITEM_MAP ? count_members(map) / 2 : 0;

	if (n == 0)
		return 0;
	if (pt->type == MB_FLOAT32 || pt->type == MB_FLOAT64 || pt->type == MB_STRING || pt->type == MB_BYTES)
		return wrong(l, "map is for whole numbers and bits");
	pt->map = mb_arena_alloc(&l->p->arena, n * sizeof(*pt->map));
	if (pt->map == NULL)
		return CW_ENOMEM;
	while (cw_item_more(&r, &m) && pt->map_count < n) {
		struct cw_item key = cw_read_item(&r), v;
		struct mb_mapped *e = &pt->map[pt->map_count++];
		struct mb_dec raw;

		(void)cw_item_more(&r, &m);
		v = cw_read_item(&r);
		if (!mb_dec_of_text(key.s, &raw) || raw.e != 0)
			return wrong(l, "on the left of map stand whole raw numbers");
		e->raw = raw.m;
		e->text = v.s; /* lives in the profile's source */
		if (pt->map_number && !mb_dec_of_text(v.s, &e->number))
			return wrong(l, "with mapTo = number, numbers stand on the right of map");
	}
	return 0;
}

static int load_access(struct load *l, struct cw_bytes m, struct mb_point *pt)
{
	int fc = (int)cw_map_int(m, "writeFc", 0);

	pt->readable = !is(m, "access", "w");
	pt->writable = !is(m, "access", "r");
	pt->write_fc = (uint8_t)fc;
	pt->mask_write = cw_map_int(m, "maskWrite", 0) != 0;
	pt->modify = cw_map_int(m, "modify", 1) != 0;
	pt->read_back = cw_map_int(m, "readBack", 0) != 0;
	if (pt->writable && (pt->area == MB_DISCRETE || pt->area == MB_INPUT))
		return wrong(l, "discrete inputs and input registers cannot be written: access must be r");
	if (fc != 0 && fc != 5 && fc != 6 && fc != 15 && fc != 16)
		return wrong(l, "writeFc must be 5, 6, 15 or 16");
	if (fc != 0 && (pt->area == MB_COIL) != (fc == 5 || fc == 15))
		return wrong(l, "writeFc 5 and 15 write coils, 6 and 16 write registers");
	if (fc == 6 && pt->count > 1)
		return wrong(l, "writeFc 6 writes one register only");
	if (pt->writable && pt->count > MB_REGS_WRITE)
		return wrong(l, "has more than 123 registers, which one request cannot write");
	if (pt->type == MB_BIT && pt->writable && !pt->mask_write && !pt->modify)
		return wrong(l, "a bit that may be written needs maskWrite or modify");
	return 0;
}

static int load_event(struct load *l, struct cw_bytes m, struct mb_point *pt)
{
	static const char *const whens[] = { "rising", "falling", "change", NULL };
	struct cw_bytes id = cw_map_text(m, "id");
	struct mb_event_rule *e = &pt->event;

	if (id.len == 0)
		return 0;
	e->id = mb_arena_text(&l->p->arena, id);
	e->when = (enum mb_when)one_of(m, "when", whens, 0);
	e->on = cw_map_text(m, "on");
	e->type = is(m, "type", "info") ? CW_EVENT_INFO : is(m, "type", "error") ? CW_EVENT_ERROR : CW_EVENT_ALERT;
	e->fire_initial = cw_map_int(m, "fireInitial", 0) != 0;
	l->event_data[l->at - 1] = cw_map_get(m, "data");
	l->p->has_events = 1;
	return e->id == NULL ? CW_ENOMEM : 0;
}

static int load_reporting(struct load *l, struct cw_bytes m, struct mb_report *r)
{
	static const char *const modes[] = { "inherit", "change", "always", "period", NULL };
	struct cw_item band = cw_map_item(m, "deadband");

	r->mode = (enum mb_report_mode)one_of(m, "mode", modes, 0);
	(void)mb_dec_of_item(&band, &r->deadband);
	r->max_ms = (uint64_t)cw_map_int(m, "maxInterval", 0);
	if (r->mode == MB_R_INHERIT && (r->deadband.m != 0 || r->max_ms != 0))
		r->mode = MB_R_CHANGE; /* whoever says how much, means this point */
	return r->mode == MB_R_PERIOD && r->max_ms == 0 ? wrong(l, "report.mode = period needs report.maxInterval") : 0;
}

/* phaseA.voltage, temps[3]: names, points between them, an index at the end. */
static int path_good(const char *t)
{
	size_t name = 0;

	for (; *t != '\0' && *t != '['; t++) {
		if (*t == '.') {
			if (name == 0)
				return 0;
			name = 0;
		} else {
			name++;
		}
	}
	if (name == 0 || *t == '\0')
		return name > 0;
	for (t++, name = 0; *t >= '0' && *t <= '9'; t++)
		name++;
	return name > 0 && name < 4 && t[0] == ']' && t[1] == '\0';
}

static int load_point(struct load *l, struct cw_bytes m, struct mb_point *pt)
{
	struct cw_bytes property = cw_map_text(m, "property");
	int64_t interval = cw_map_int(m, "interval", 0);
	char made[40];
	int rc;

	l->what = pt->property = mb_arena_text(&l->p->arena, property);
	if (pt->property == NULL)
		return CW_ENOMEM;
	rc = load_address(l, m, pt);
	if (rc == 0)
		rc = load_shape(l, m, pt);
	if (rc == 0)
		rc = load_scale(l, m, pt);
	pt->map_number = (uint8_t)is(m, "mapTo", "number");
	if (rc == 0)
		rc = load_map(l, cw_map_get(m, "map"), pt);
	if (rc == 0)
		rc = load_access(l, m, pt);
	if (rc == 0)
		rc = load_event(l, cw_map_get(m, "event"), pt);
	if (rc == 0)
		rc = load_reporting(l, cw_map_get(m, "report"), &pt->report);
	if (rc < 0)
		return rc;
	pt->trim = cw_map_int(m, "trim", 0) != 0;
	pt->as_text = cw_map_int(m, "asText", 0) != 0;
	pt->as_number = cw_map_int(m, "asNumber", 0) != 0;
	pt->isolate = cw_map_int(m, "isolate", 0) != 0;
	pt->interval_ms = interval > 0 ? (uint32_t)interval : l->interval_ms;
	if (property.len == 0 && pt->event.id == NULL)
		return wrong(l, "needs a property or an event");
	if (property.len > 0 && !path_good(pt->property))
		return wrong(l, "property must be a name, as voltageA, phaseA.voltage or temps[3]");
	(void)snprintf(made, sizeof(made), "%s %u", mb_area_name(pt->area), pt->address);
	pt->name = property.len > 0 ? pt->property : mb_arena_text(&l->p->arena, cw_bytes_text(made));
	if (pt->type == MB_STRING || pt->type == MB_BYTES)
		pt->text_at = l->p->texts, l->p->texts += pt->length * 3u;
	else if (pt->as_text)
		pt->text_at = l->p->texts, l->p->texts += 24;
	return pt->name == NULL ? CW_ENOMEM : 0;
}

/* ---- all of them --------------------------------------------------------------------------------------------- */

static int find(const struct mb_profile *p, struct cw_bytes property)
{
	unsigned i;

	for (i = 0; i < p->point_count; i++)
		if (p->points[i].property[0] != '\0' && cw_bytes_equal(property, cw_bytes_text(p->points[i].property)))
			return (int)i;
	return -1;
}

static int load_points(struct load *l, struct cw_bytes list)
{
	struct cw_reader r = cw_reader_of(list);
	struct cw_item it = cw_read_item(&r);
	struct mb_profile *p = l->p;
	unsigned n = count_members(list), i;
	int rc;

	if (n > MB_POINTS_MAX)
		return wrong(l, "has more than 4096 points");
	p->points = mb_arena_alloc(&p->arena, (n + 1) * sizeof(*p->points));
	l->event_data = calloc(n + 1, sizeof(*l->event_data));
	if (p->points == NULL || l->event_data == NULL)
		return CW_ENOMEM;
	for (i = 0; i < n && cw_item_more(&r, &it); i++) {
		struct cw_bytes m = cw_read_whole_item(&r);

		l->at = i + 1;
		rc = load_point(l, m, &p->points[i]);
		if (rc < 0)
			return rc;
		if (p->points[i].property[0] != '\0' && find(p, cw_bytes_text(p->points[i].property)) >= 0)
			return wrong(l, "another point has this property already");
		p->point_count++;
	}
	l->at = 0;
	return 0;
}

static int load_event_data(struct load *l)
{
	struct mb_profile *p = l->p;
	unsigned i, k;

	for (i = 0; i < p->point_count; i++) {
		struct cw_reader r = cw_reader_of(l->event_data[i]);
		struct cw_item it = cw_read_item(&r);
		unsigned n = it.type == CW_ITEM_ARRAY ? count_members(l->event_data[i]) : 0;
		struct mb_event_rule *e = &p->points[i].event;

		if (n == 0)
			continue;
		l->at = i + 1;
		l->what = p->points[i].property;
		e->data = mb_arena_alloc(&p->arena, n * sizeof(*e->data));
		if (e->data == NULL)
			return CW_ENOMEM;
		for (k = 0; k < n && cw_item_more(&r, &it); k++) {
			struct cw_item name = cw_read_item(&r);
			int at = find(p, name.s);

			if (at < 0 || strpbrk(p->points[at].property, ".[") != NULL)
				return wrong(l, "event.data names a property that no point has (or one inside a struct or array)");
			e->data[e->data_count++] = (uint16_t)at;
		}
	}
	l->at = 0;
	return 0;
}

static int load_steps(struct load *l, struct mb_service *s, struct cw_bytes list)
{
	struct cw_reader r = cw_reader_of(list);
	struct cw_item it = cw_read_item(&r);
	unsigned n = count_members(list), i;
	char why[160];

	s->steps = mb_arena_alloc(&l->p->arena, (n + 1) * sizeof(*s->steps));
	if (s->steps == NULL)
		return CW_ENOMEM;
	if (n > MB_STEPS_MAX / 2)
		return wrong(l, "a service can have at most 128 steps");
	for (i = 0; i < n && cw_item_more(&r, &it); i++) {
		struct cw_bytes m = cw_read_whole_item(&r), name = cw_map_text(m, "write");
		struct mb_service_step *st = &s->steps[s->count++];

		st->point = -1;
		st->wait_ms = (uint32_t)cw_map_int(m, "wait", 0);
		st->value = cw_map_text(m, "value");
		if (name.len == 0 && st->wait_ms == 0) {
			(void)snprintf(why, sizeof(why), "service \"%s\", step %u needs write and value, or wait", s->name, i + 1);
			return wrong(l, why);
		}
		if (name.len == 0)
			continue;
		st->point = find(l->p, name);
		if (st->point < 0 || !l->p->points[st->point].writable) {
			(void)snprintf(why, sizeof(why), "service \"%s\", step %u writes \"%.*s\", which no point with access rw or w is called", s->name,
			               i + 1, (int)(name.len > 60 ? 60 : name.len), (const char *)name.ptr);
			return wrong(l, why);
		}
	}
	return 0;
}

static int load_services(struct load *l, struct cw_bytes map)
{
	struct cw_reader r = cw_reader_of(map);
	struct cw_item m = cw_read_item(&r);
	unsigned n = m.type == CW_ITEM_MAP ? count_members(map) / 2 : 0;

	l->p->services = mb_arena_alloc(&l->p->arena, (n + 1) * sizeof(*l->p->services));
	if (l->p->services == NULL)
		return CW_ENOMEM;
	while (n > 0 && cw_item_more(&r, &m) && l->p->service_count < n) {
		struct cw_item key = cw_read_item(&r);
		struct mb_service *s = &l->p->services[l->p->service_count++];
		int rc;

		(void)cw_item_more(&r, &m);
		s->name = mb_arena_text(&l->p->arena, key.s);
		if (s->name == NULL)
			return CW_ENOMEM;
		rc = load_steps(l, s, cw_map_get(cw_read_whole_item(&r), "steps"));
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- plans ------------------------------------------------------------------------------------------------------- */

/* '.' and '[' before all else, so that members of one struct stand together. */
static int rank(char c)
{
	return c == '\0' ? 0 : c == '.' ? 1 : c == '[' ? 2 : (unsigned char)c + 3;
}

static int path_before(const char *a, const char *b)
{
	while (*a != '\0' && *a == *b) {
		if (*a == '[')
			return atoi(a + 1) < atoi(b + 1);
		a++;
		b++;
	}
	return rank(*a) < rank(*b);
}

static int same_segment(const char *a, const char *b)
{
	size_t n = strcspn(a, ".[");

	return n == strcspn(b, ".[") && memcmp(a, b, n) == 0;
}

/* Most properties are no structs: to write one, nobody needs to look at its neighbours. */
static void find_alone(struct mb_profile *p)
{
	unsigned k;

	for (k = 0; k < p->path_count; k++) {
		struct mb_point *pt = &p->points[p->by_path[k]];
		size_t n = strcspn(pt->property, ".[");

		if (pt->property[n] == '\0' && n <= UINT16_MAX &&
		    (k == 0 || !same_segment(pt->property, p->points[p->by_path[k - 1]].property)) &&
		    (k + 1 == p->path_count || !same_segment(pt->property, p->points[p->by_path[k + 1]].property)))
			pt->alone = (uint16_t)n;
	}
}

static int plan(struct mb_profile *p)
{
	unsigned i, k, n = 0;

	p->order = mb_arena_alloc(&p->arena, (p->point_count + 1) * sizeof(*p->order));
	p->by_path = mb_arena_alloc(&p->arena, (p->point_count + 1) * sizeof(*p->by_path));
	p->blocks = mb_arena_alloc(&p->arena, (p->point_count + 1) * sizeof(*p->blocks));
	p->groups = mb_arena_alloc(&p->arena, (p->point_count + 1) * sizeof(*p->groups));
	if (p->order == NULL || p->by_path == NULL || p->blocks == NULL || p->groups == NULL)
		return CW_ENOMEM;
	for (i = 0; i < p->point_count; i++) {
		const struct mb_point *pt = &p->points[i];

		for (k = 0; k < p->group_count && p->groups[k].interval_ms != pt->interval_ms; k++)
			;
		if (pt->readable && k == p->group_count)
			p->groups[p->group_count++].interval_ms = pt->interval_ms;
		if (pt->property[0] == '\0')
			continue;
		for (k = p->path_count++; k > 0 && path_before(pt->property, p->points[p->by_path[k - 1]].property); k--)
			p->by_path[k] = p->by_path[k - 1];
		p->by_path[k] = (uint16_t)i;
	}
	for (k = 0; k < p->group_count; k++) {
		struct mb_group *g = &p->groups[k];
		unsigned start = n, b;

		for (i = 0; i < p->point_count; i++)
			if (p->points[i].readable && p->points[i].interval_ms == g->interval_ms)
				p->order[n++] = (uint16_t)i;
		g->first = (uint16_t)p->block_count;
		g->count = (uint16_t)mb_plan(p->points, p->order + start, n - start, &p->limits, p->blocks + p->block_count);
		for (b = 0; b < g->count; b++)
			p->blocks[p->block_count + b].first = (uint16_t)(p->blocks[p->block_count + b].first + start);
		p->block_count += g->count;
	}
	p->ordered = n;
	find_alone(p);
	return 0;
}

unsigned mb_profile_load(const struct mb_profile *p, unsigned cost_ms)
{
	uint64_t load = 0;
	unsigned i;

	for (i = 0; i < p->group_count; i++)
		load += (uint64_t)p->groups[i].count * cost_ms * 1000 / p->groups[i].interval_ms;
	return load > UINT32_MAX ? UINT32_MAX : (unsigned)load;
}

/* Room for the values of the largest profile, so that an answer needs no memory. */
static int reserve(struct cw_decoder *d, unsigned points)
{
	struct mb_value *values;
	uint8_t *marks;

	if (points <= d->values_size)
		return 0;
	values = calloc(points, sizeof(*values));
	marks = calloc(points, 1);
	if (values == NULL || marks == NULL) {
		free(values);
		free(marks);
		return CW_ENOMEM;
	}
	free(d->values);
	free(d->marks);
	d->values = values;
	d->marks = marks;
	d->values_size = points;
	return 0;
}

static int load_profile(struct cw_decoder *d, struct load *l, struct cw_bytes s)
{
	struct mb_profile *p = l->p;
	enum mb_order order;
	int rc;

	p->limits.max_gap = (unsigned)cw_map_int(s, "maxGap", 0);
	p->limits.max_registers = (unsigned)cw_map_int(s, "maxRegisters", 100);
	p->limits.max_bits = (unsigned)cw_map_int(s, "maxBits", MB_BITS_READ);
	p->merge_writes = cw_map_int(s, "mergeWrites", 0) != 0;
	p->write_fallback = cw_map_int(s, "writeFallback", 0) != 0;
	l->interval_ms = (uint32_t)cw_map_int(s, "interval", 10000);
	l->order = cw_map_text(s, "order");
	if (l->order.len == 0)
		l->order = cw_bytes_text("ABCD");
	if (l->order.len != 4 || mb_order_of(l->order, 4, &order) < 0)
		return wrong(l, "order must be ABCD, CDAB, BADC or DCBA");
	rc = load_points(l, cw_map_get(s, "points"));
	if (rc == 0)
		rc = load_event_data(l);
	if (rc == 0)
		rc = load_services(l, cw_map_get(s, "services"));
	if (rc == 0)
		rc = plan(p);
	return rc == 0 ? reserve(d, p->point_count) : rc;
}

int mb_profile_get(struct cw_decoder *d, const char *name, struct cw_bytes source, char *text, size_t len, struct mb_profile **ret)
{
	struct load l = { .text = text, .len = len, .what = "" };
	struct mb_profile *p;
	int rc;

	for (p = d->profiles; p != NULL; p = p->next) {
		if (strcmp(p->name, name) == 0 && cw_bytes_equal(p->source, source)) {
			p->refs++;
			*ret = p;
			return 0;
		}
	}
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return CW_ENOMEM;
	l.p = p;
	p->refs = 1;
	p->name = mb_arena_text(&p->arena, cw_bytes_text(name));
	p->source = mb_arena_bytes(&p->arena, source);
	rc = p->name == NULL || p->source.ptr == NULL ? CW_ENOMEM : load_profile(d, &l, p->source);
	free(l.event_data);
	if (rc < 0) {
		mb_arena_free(&p->arena);
		free(p);
		return rc;
	}
	p->next = d->profiles;
	d->profiles = p;
	*ret = p;
	return 0;
}

void mb_profile_drop(struct cw_decoder *d, struct mb_profile *p)
{
	struct mb_profile **at;

	if (p == NULL || --p->refs > 0)
		return;
	for (at = &d->profiles; *at != NULL; at = &(*at)->next) {
		if (*at == p) {
			*at = p->next;
			break;
		}
	}
	mb_arena_free(&p->arena);
	free(p);
}
