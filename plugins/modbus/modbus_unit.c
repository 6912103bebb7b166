/* modbus_unit.c - the devices behind one connection: made, polled or not, split, gone. */
#include "modbus.h"

#include <stdio.h>
#include <stdlib.h>

int mb_keep(struct cw_decoder *d, const struct cw_event *ev, size_t *charged, size_t n)
{
	int rc = d->host->charge(d->hx, ev->conn, (int64_t)n);

	if (rc == 0)
		*charged += n;
	return rc;
}

void mb_unkeep(struct cw_decoder *d, const struct cw_event *ev, size_t *charged)
{
	if (*charged > 0)
		(void)d->host->charge(d->hx, ev->conn, -(int64_t)*charged);
	*charged = 0;
}

struct mb_unit *mb_unit_of(struct mb_conn *c, struct cw_bytes identity)
{
	struct mb_unit *u;

	for (u = c->units; u != NULL; u = u->next)
		if (cw_bytes_equal(identity, cw_bytes_text(u->identity)))
			return u;
	return NULL;
}

/* Behind the slash of `868333031234567/12`; -1: no unit. */
static int unit_number(const struct mb_conn *c, const struct mb_conf *conf, struct cw_bytes identity)
{
	size_t at = strlen(c->name) + 1;
	int n = 0;

	if (conf->unit >= 0)
		return conf->unit;
	if (identity.len < at) /* the connection itself is the device */
		return c->line.ch->framing == MB_TCP && c->dialled ? 255 : 1;
	if (identity.len == at || identity.len > at + 3)
		return -1;
	for (; at < identity.len; at++) {
		if (identity.ptr[at] < '0' || identity.ptr[at] > '9')
			return -1;
		n = n * 10 + (identity.ptr[at] - '0');
	}
	return n <= 255 ? n : -1;
}

static uint32_t phase(const struct mb_unit *u, unsigned g, uint32_t interval)
{
	uint32_t h = 2166136261u + g;
	const char *p;

	for (p = u->identity; *p != '\0'; p++)
		h = (h ^ (uint8_t)*p) * 16777619u;
	return (h ^ h >> 15) % interval;
}

/* Report everything once, and soon: the platform or the device has come back. */
void mb_unit_fresh(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_unit *u)
{
	unsigned i;

	(void)d;
	(void)c;
	if (u->profile == NULL)
		return;
	for (i = 0; i < u->profile->point_count; i++)
		u->last[i].v.kind = MB_V_NONE;
	for (i = 0; i < u->profile->group_count; i++)
		u->state_of[i].due_ms = ev->mono_ms + (u->conf->spread ? phase(u, i, u->groups[i].interval_ms) : 0);
}

static void free_unit(struct cw_decoder *d, const struct cw_event *ev, struct mb_unit *u)
{
	mb_unkeep(d, ev, &u->charged);
	mb_profile_drop(d, u->profile);
	mb_settings_free(d, u->conf);
	free(u->own_plan);
	free(u->state_of);
	free(u->last);
	free(u->texts);
	free(u);
}

/* What the unit remembers of each point; CW_ENOMEM or CW_ELIMIT: nothing was made. */
static int make_points(struct cw_decoder *d, const struct cw_event *ev, struct mb_unit *u)
{
	const struct mb_profile *p = u->profile;
	size_t bytes;
	int rc;

	if (p == NULL)
		return 0;
	bytes = (p->group_count + 1) * sizeof(*u->state_of) + (p->point_count + 1) * sizeof(*u->last) + p->texts + 1;
	rc = mb_keep(d, ev, &u->charged, bytes);
	if (rc < 0)
		return rc;
	u->state_of = calloc(p->group_count + 1, sizeof(*u->state_of));
	u->last = calloc(p->point_count + 1, sizeof(*u->last));
	u->texts = calloc(1, p->texts + 1);
	u->blocks = p->blocks;
	u->groups = p->groups;
	return u->state_of == NULL || u->last == NULL || u->texts == NULL ? CW_ENOMEM : 0;
}

static struct mb_unit *make_unit(struct cw_decoder *d, const struct cw_event *ev, struct mb_conf *conf)
{
	struct mb_unit *u = calloc(1, sizeof(*u) + ev->identity.len + 1);

	if (u == NULL)
		return NULL;
	u->conf = conf;
	conf->refs++;
	u->profile = conf->profile;
	if (u->profile != NULL)
		u->profile->refs++;
	memcpy(u->identity, ev->identity.ptr, ev->identity.len);
	if (mb_keep(d, ev, &u->charged, sizeof(*u) + ev->identity.len + 1) < 0 || make_points(d, ev, u) < 0) {
		free_unit(d, ev, u);
		return NULL;
	}
	return u;
}

/* Its answer brought it back, or its settings may have changed. */
static int unit_again(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_unit *u)
{
	u->device = ev->device;
	*ev->device_ctx = u;
	u->state = MB_U_ON;
	u->fails = 0;
	mb_unit_fresh(d, ev, c, u);
	if (u->was_offline == 0 && u->conf->comm_state[0] != '\0')
		mb_report_comm(d, ev, u, 1);
	return 0;
}

int mb_unit_add(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c)
{
	struct mb_conf *conf = (struct mb_conf *)(uintptr_t)ev->conf;
	struct mb_unit *u = mb_unit_of(c, ev->identity), **at;
	int number;

	if (u != NULL && u->conf == conf)
		return unit_again(d, ev, c, u);
	if (u != NULL) {
		mb_jobs_of(d, ev, c, u, MB_CODE_SUPERSEDED);
		mb_unit_remove(d, ev, c, u);
	}
	*ev->device_ctx = NULL;
	number = unit_number(c, conf, ev->identity);
	if (number < 0) {
		mb_say(d, ev, CW_LEVEL_WARN, "\"%.*s\" does not end with a unit id, 0 to 255, and has no setting unit: it is not polled",
		       (int)ev->identity.len, (const char *)ev->identity.ptr);
		return 0;
	}
	u = make_unit(d, ev, conf);
	if (u == NULL) {
		mb_say(d, ev, CW_LEVEL_WARN, "no memory for another unit of this connection: raise limits.bytesPerConnection, or spread units over DTUs");
		return CW_ENOMEM;
	}
	u->number = (uint8_t)number;
	for (at = &c->units; *at != NULL; at = &(*at)->next)
		if ((*at)->number == u->number)
			mb_say(d, ev, CW_LEVEL_WARN, "\"%s\" and \"%s\" are both unit %u of this connection: each is asked for itself; one of them has a wrong number",
			       u->identity, (*at)->identity, u->number);
	u->device = ev->device;
	u->polled = number != 0 && u->profile != NULL;
	*ev->device_ctx = u;
	for (at = &c->units; *at != NULL; at = &(*at)->next)
		;
	*at = u;
	if (u->profile == NULL) {
		mb_count(d, MB_N_NO_PROFILE);
		mb_say(d, ev, CW_LEVEL_WARN, "has no profile, so nothing is read: give it settings { profile = .. } in devices.conf, or the listener a profile");
		return 0;
	}
	if (number == 0 && u->profile->block_count > 0)
		mb_say(d, ev, CW_LEVEL_WARN, "unit 0 is a broadcast, which nobody answers: its points are not read");
	mb_unit_fresh(d, ev, c, u);
	if (conf->comm_state[0] != '\0')
		mb_report_comm(d, ev, u, 1);
	return 0;
}

void mb_unit_remove(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_unit *u)
{
	struct mb_unit **at;

	mb_jobs_of(d, ev, c, u, MB_CODE_SUPERSEDED);
	mb_out_forget(c, u, NULL);
	for (at = &c->units; *at != NULL; at = &(*at)->next) {
		if (*at == u) {
			*at = u->next;
			break;
		}
	}
	free_unit(d, ev, u);
}

/* The first split: a plan of its own, with room for as many blocks as there are points. */
static int own_plan(struct cw_decoder *d, const struct cw_event *ev, struct mb_unit *u)
{
	const struct mb_profile *p = u->profile;
	size_t blocks = p->point_count * sizeof(struct mb_block), groups = p->group_count * sizeof(struct mb_group);
	uint8_t *own;

	if (u->own_plan != NULL)
		return 0;
	if (mb_keep(d, ev, &u->charged, blocks * 2 + groups) < 0)
		return CW_ELIMIT;
	own = malloc(blocks * 2 + groups);
	if (own == NULL)
		return CW_ENOMEM;
	u->own_plan = own;
	u->blocks = (struct mb_block *)(void *)own;
	u->groups = (struct mb_group *)(void *)(own + blocks * 2);
	memcpy(u->blocks, p->blocks, p->block_count * sizeof(struct mb_block));
	memcpy(u->groups, p->groups, groups);
	return 0;
}

static void say_bad_point(struct cw_decoder *d, const struct cw_event *ev, const struct mb_unit *u, const struct mb_block *b)
{
	mb_count(d, MB_N_REFUSED_POINTS);
	mb_say(d, ev, CW_LEVEL_WARN,
	       "unit %u refuses to be read at %s %d (point %s), quantity %u: it is left out until the connection is made anew; manuals that count from 1 "
	       "need addressShift = -1", u->number, mb_area_name(u->profile->points[u->profile->order[b->first]].area), (int)b->address + u->conf->address_shift,
	       u->profile->points[u->profile->order[b->first]].name, b->quantity);
}

void mb_unit_split(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_unit *u, unsigned g, unsigned b)
{
	struct mb_profile *p = u->profile;
	struct mb_block low, high;
	unsigned i, total = 0;

	(void)c;
	if (own_plan(d, ev, u) < 0)
		return;
	if (!mb_halve(p->points, p->order, &u->blocks[b], &low, &high)) {
		if (!u->blocks[b].bad)
			say_bad_point(d, ev, u, &u->blocks[b]);
		u->blocks[b].bad = 1;
		return;
	}
	for (i = 0; i < p->group_count; i++)
		total += u->groups[i].count;
	memmove(&u->blocks[b + 2], &u->blocks[b + 1], (total - b - 1) * sizeof(low));
	u->blocks[b] = low;
	u->blocks[b + 1] = high;
	u->groups[g].count++;
	for (i = 0; i < p->group_count; i++)
		if (u->groups[i].first > b)
			u->groups[i].first++;
}
