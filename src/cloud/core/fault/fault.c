/* fault.c - see fault.h. */
#include "cloud/core/fault/fault.h"

#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "cloud/core/fault/disturb.h"

struct fault {
	struct cw_list link;
	uint64_t id, hits;
	enum cloud_fault_kind kind;
	int code, ms;
	json_int_t left; /* -1: no end */
	json_int_t after, seen, rate;
	double probability;
	json_int_t seed; /* as it was given; -1: not */
	uint64_t chance; /* the generator's state */
	enum cloud_direction direction;
	char *device, *topic, *channel;
};

struct cloud_faults {
	struct cw_list list;
	uint64_t next, seed;
	unsigned of_kind[CLOUD_FAULT_COUNT]; /* so that a message costs nothing while there is none */
};

static const char *const kind_names[] = {
#define CLOUD_FAULT_NAME(sym, name, help) name,
	CLOUD_FAULTS(CLOUD_FAULT_NAME)
#undef CLOUD_FAULT_NAME
};

/* As one text, with a separator before each but the first. */
static const char kind_list[] =
#define CLOUD_FAULT_TEXT(sym, name, help) ", " name
	CLOUD_FAULTS(CLOUD_FAULT_TEXT)
#undef CLOUD_FAULT_TEXT
	;

static const char *const direction_names[] = { NULL, "up", "down" };

int cw_cloud_faults_new(uint64_t seed, struct cloud_faults **ret_faults)
{
	struct cloud_faults *f = cw_zalloc(sizeof(*f));

	if (f == NULL)
		return CW_ENOMEM;
	cw_list_init(&f->list);
	f->seed = seed;
	*ret_faults = f;
	return 0;
}

static void fault_free(struct cloud_faults *f, struct fault *x)
{
	f->of_kind[x->kind]--;
	cw_list_remove(&x->link);
	cw_free(x->device);
	cw_free(x->topic);
	cw_free(x->channel);
	cw_free(x);
}

void cw_cloud_faults_free(struct cloud_faults *f)
{
	struct cw_list *e, *n;

	if (f == NULL)
		return;
	cw_list_each_safe(e, n, &f->list)
		fault_free(f, cw_container_of(e, struct fault, link));
	cw_free(f);
}

static json_t *fault_json(const struct fault *x)
{
	json_t *j = json_pack("{s:I, s:s, s:s?, s:s?, s:s?, s:s?, s:i, s:i, s:I, s:I}", "id", (json_int_t)x->id, "kind",
	                      kind_names[x->kind], "device", x->device, "topic", x->topic, "channel", x->channel, "direction",
	                      direction_names[x->direction], "code", x->code, "ms", x->ms, "left", x->left, "hits",
	                      (json_int_t)x->hits);

	if (x->rate != 0)
		json_object_set_new(j, "rate", json_integer(x->rate));
	if (x->after != 0)
		json_object_set_new(j, "after", json_integer(x->after));
	if (x->probability < 1)
		json_object_set_new(j, "probability", json_real(x->probability));
	if (x->seed >= 0)
		json_object_set_new(j, "seed", json_integer(x->seed));
	return j;
}

json_t *cw_cloud_faults_list(const struct cloud_faults *f)
{
	json_t *list = json_array();
	struct cw_list *e;

	cw_list_each(e, &f->list)
		json_array_append_new(list, fault_json(cw_container_of(e, struct fault, link)));
	return list;
}

json_t *cw_cloud_fault_kinds(void)
{
	static const char *const helps[] = {
#define FAULT_HELP(sym, name, help) help,
		CLOUD_FAULTS(FAULT_HELP)
#undef FAULT_HELP
	};
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < CLOUD_FAULT_COUNT; i++)
		json_array_append_new(list, json_pack("{s:s, s:s}", "kind", kind_names[i], "help", helps[i]));
	return list;
}

static void recheck_links(struct cw_cloud *c)
{
	struct cw_list *e, *n;

	cw_list_each_safe(e, n, &c->links) {
		struct cloud_link *l = cw_container_of(e, struct cloud_link, all);

		l->ops->recheck(l);
	}
}

static int ends_something(enum cloud_fault_kind kind)
{
	return kind == CLOUD_FAULT_KICK || kind == CLOUD_FAULT_CUT || kind == CLOUD_FAULT_HALF_CLOSE;
}

/* Does it end connections now, or behind a message? */
static int strikes_now(const struct fault *x)
{
	return ends_something(x->kind) && x->after == 0 && x->probability >= 1 && x->topic == NULL && x->direction == CLOUD_EITHER;
}

/* Kick, cut, half_close: every device or connection that passes, up to the count. Returns how many. */
static uint64_t strike_now(struct cw_cloud *c, const struct fault *x)
{
	struct cw_list *e, *n;
	uint64_t hits = 0;

	cw_list_each_safe(e, n, &c->device_list) {
		struct cloud_device *d = cw_container_of(e, struct cloud_device, all);

		if (!cw_cloud_device_linked(d) || (x->device != NULL && strcmp(x->device, d->id) != 0) ||
		    (x->channel != NULL && (d->link == NULL || strcmp(x->channel, d->link->ops->channel) != 0)))
			continue;
		/* Without a device, and with the others than kick, it is connections that are meant. */
		if (d->link != NULL && d->link->owner != d && (x->device == NULL || x->kind != CLOUD_FAULT_KICK))
			continue;
		if (x->left >= 0 && hits == (uint64_t)x->left)
			break;
		hits++;
		cw_cloud_fault_end(c, d->link, d, x->kind, x->code);
	}
	return hits;
}

static int parse_kind(const char *name, enum cloud_fault_kind *ret_kind)
{
	size_t i;

	for (i = 0; i < CLOUD_FAULT_COUNT; i++) {
		if (strcmp(kind_names[i], name) == 0) {
			*ret_kind = (enum cloud_fault_kind)i;
			return 0;
		}
	}
	return CW_EINVAL;
}

static int is_state(enum cloud_fault_kind kind)
{
	return kind == CLOUD_FAULT_STALL || kind == CLOUD_FAULT_THROTTLE;
}

static int check(const struct fault *x, struct cw_msg *msg)
{
	if (x->kind == CLOUD_FAULT_CONNACK && (x->code < 1 || x->code > 5))
		return cw_fail(msg, CW_EINVAL, "code: connack needs 1 to 5");
	if (x->kind == CLOUD_FAULT_REFUSE && x->code <= 200)
		return cw_fail(msg, CW_EINVAL, "code: refuse needs a code above 200");
	if (x->kind == CLOUD_FAULT_STATUS && x->code < 1)
		return cw_fail(msg, CW_EINVAL, "code: status needs a code of the channel");
	if (x->ms < 0 || x->ms > 3600000 || (x->kind == CLOUD_FAULT_DELAY && x->ms < 1))
		return cw_fail(msg, CW_EINVAL, "ms: delay needs 1 to 3600000");
	if (x->left == 0 || x->left < -1)
		return cw_fail(msg, CW_EINVAL, "count: 1 or more, or left out");
	if (x->after < 0)
		return cw_fail(msg, CW_EINVAL, "after: 0 or more");
	if (!(x->probability > 0 && x->probability <= 1))
		return cw_fail(msg, CW_EINVAL, "probability: above 0, at most 1");
	if (is_state(x->kind) && (x->probability < 1 || x->left >= 0 || x->topic != NULL))
		return cw_fail(msg, CW_EINVAL, "%s is a state of a connection: no probability, count or topic", kind_names[x->kind]);
	if ((x->kind == CLOUD_FAULT_THROTTLE) != (x->rate != 0) || x->rate < 0 || x->rate > 1000000000)
		return cw_fail(msg, CW_EINVAL, "rate: throttle needs 1 to 1000000000 bytes a second, other kinds have none");
	return 0;
}

static int parse_direction(const char *name, enum cloud_direction *ret, struct cw_msg *msg)
{
	if (name == NULL)
		return 0;
	*ret = strcmp(name, "up") == 0 ? CLOUD_UP : CLOUD_DOWN;
	return *ret == CLOUD_UP || strcmp(name, "down") == 0 ? 0 : cw_fail(msg, CW_EINVAL, "direction \"%s\": up or down", name);
}

static int copy_text(const char *text, char **ret_copy)
{
	return text == NULL || (*ret_copy = cw_strdup(text)) != NULL ? 0 : CW_ENOMEM;
}

static int fault_parse(const json_t *spec, struct fault *x, struct cw_msg *msg)
{
	const char *kind = NULL, *device = NULL, *topic = NULL, *channel = NULL, *direction = NULL;
	json_error_t err;

	x->left = -1;
	x->probability = 1;
	x->seed = -1;
	if (json_unpack_ex((json_t *)(uintptr_t)spec, &err, JSON_STRICT,
	                   "{s:s, s?s, s?s, s?s, s?s, s?i, s?i, s?I, s?I, s?I, s?F, s?I}", "kind", &kind, "device", &device,
	                   "topic", &topic, "channel", &channel, "direction", &direction, "code", &x->code, "ms", &x->ms, "count",
	                   &x->left, "after", &x->after, "rate", &x->rate, "probability", &x->probability, "seed", &x->seed) < 0)
		return cw_fail(msg, CW_EINVAL, "%s", err.text);
	if (parse_kind(kind, &x->kind) < 0)
		return cw_fail(msg, CW_EINVAL, "kind \"%s\": one of %s", kind, kind_list + 2);
	if (parse_direction(direction, &x->direction, msg) < 0)
		return CW_EINVAL;
	if (copy_text(device, &x->device) < 0 || copy_text(topic, &x->topic) < 0 || copy_text(channel, &x->channel) < 0)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	return check(x, msg);
}

int cw_cloud_faults_add(struct cw_cloud *c, const json_t *spec, json_t **ret_made, struct cw_msg *msg)
{
	struct cloud_faults *f = c->faults;
	struct fault *x = cw_zalloc(sizeof(*x));
	int rc;

	if (x == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	rc = fault_parse(spec, x, msg);
	f->of_kind[x->kind]++;
	if (rc < 0) {
		fault_free(f, x);
		return rc;
	}
	x->id = ++f->next;
	x->chance = x->seed >= 0 ? (uint64_t)x->seed : f->seed ^ (x->id << 32);
	if (strikes_now(x)) {
		x->hits = strike_now(c, x);
		x->left = 0;
		*ret_made = fault_json(x);
		fault_free(f, x);
		return 0;
	}
	cw_list_push_back(&f->list, &x->link);
	*ret_made = fault_json(x);
	recheck_links(c);
	return 0;
}

int cw_cloud_faults_remove(struct cw_cloud *c, uint64_t id)
{
	struct cw_list *e, *n;
	int found = id == 0;

	cw_list_each_safe(e, n, &c->faults->list) {
		struct fault *x = cw_container_of(e, struct fault, link);

		if (id == 0 || x->id == id) {
			fault_free(c->faults, x);
			found = 1;
		}
	}
	recheck_links(c);
	return found ? 0 : CW_ENOENT;
}

/* Whether it could strike here, counts and chance aside. */
static int fits(const struct fault *x, const struct cloud_strike *at)
{
	if (x->device != NULL && (at->device == NULL || strcmp(x->device, at->device) != 0))
		return 0;
	if (x->channel != NULL && (at->channel == NULL || strcmp(x->channel, at->channel) != 0))
		return 0;
	/* A delay without direction is of replies, one with it of messages. */
	if (x->kind == CLOUD_FAULT_DELAY && (x->direction == CLOUD_EITHER) != (at->direction == CLOUD_EITHER))
		return 0;
	if (x->direction != CLOUD_EITHER && x->direction != at->direction)
		return 0;
	return x->topic == NULL ||
	       (at->topic != NULL && cw_cloud_topic_matches(x->topic, strlen(x->topic), at->topic, at->topic_len));
}

/* SplitMix64: small, and good enough to choose messages. */
static uint64_t chance(struct fault *x)
{
	uint64_t z = x->chance += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* One more time that it fits: does it strike now? */
static int strikes(struct fault *x)
{
	if (x->seen < x->after) {
		x->seen++;
		return 0;
	}
	return x->probability >= 1 || (double)(chance(x) >> 11) * 0x1p-53 < x->probability;
}

int cw_cloud_fault(struct cw_cloud *c, enum cloud_fault_kind kind, struct cloud_strike *at)
{
	struct fault *x = NULL;
	struct cw_list *e;

	if (c->faults->of_kind[kind] == 0)
		return 0;
	cw_list_each(e, &c->faults->list) {
		x = cw_container_of(e, struct fault, link);
		if (x->kind == kind && fits(x, at) && strikes(x))
			break;
	}
	if (e == &c->faults->list)
		return 0;
	x->hits++;
	c->stats.faults_applied++;
	at->code = x->code;
	at->ms = x->ms;
	at->random = chance(x);
	if (x->left > 0 && --x->left == 0)
		fault_free(c->faults, x);
	return 1;
}

int cw_cloud_faults_on_messages(const struct cloud_faults *f)
{
	const unsigned *n = f->of_kind;

	return n[CLOUD_FAULT_DELAY] + n[CLOUD_FAULT_DROP] + n[CLOUD_FAULT_DUPLICATE] + n[CLOUD_FAULT_REORDER] +
	               n[CLOUD_FAULT_CORRUPT] + n[CLOUD_FAULT_CUT] + n[CLOUD_FAULT_KICK] + n[CLOUD_FAULT_HALF_CLOSE] +
	               n[CLOUD_FAULT_STALL] + n[CLOUD_FAULT_THROTTLE] != 0;
}

void cw_cloud_faults_passed(struct cw_cloud *c, const struct cloud_strike *at)
{
	struct cw_list *e;
	int begun = 0;

	cw_list_each(e, &c->faults->list) {
		struct fault *x = cw_container_of(e, struct fault, link);

		if (is_state(x->kind) && x->seen < x->after && fits(x, at) && ++x->seen == x->after)
			begun = 1;
	}
	if (begun)
		recheck_links(c);
}

/* A state of a connection that is in force. */
static const struct fault *find_state(const struct cloud_faults *f, enum cloud_fault_kind kind, const char *channel,
                                      const char *device)
{
	struct cloud_strike at = { .channel = channel, .device = device };
	struct cw_list *e;

	if (f->of_kind[kind] == 0)
		return NULL;
	cw_list_each(e, &f->list) {
		const struct fault *x = cw_container_of(e, struct fault, link);

		at.direction = x->direction; /* counts messages only until it begins */
		if (x->kind == kind && x->seen >= x->after && fits(x, &at))
			return x;
	}
	return NULL;
}

uint64_t cw_cloud_fault_rate(const struct cw_cloud *c, const char *channel, const char *device)
{
	const struct fault *x = find_state(c->faults, CLOUD_FAULT_THROTTLE, channel, device);

	return x != NULL ? (uint64_t)x->rate : 0;
}

int cw_cloud_fault_active(const struct cw_cloud *c, enum cloud_fault_kind kind, const char *channel, const char *device)
{
	return find_state(c->faults, kind, channel, device) != NULL;
}
