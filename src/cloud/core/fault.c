/* fault.c - see fault.h. */
#include "cloud/core/fault.h"

#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "cloud/core/cloud.h"

struct fault {
	struct cw_list link;
	uint64_t id, hits;
	enum cloud_fault_kind kind;
	int code, ms;
	json_int_t left; /* -1: no end */
	char *device, *topic;
};

struct cloud_faults {
	struct cw_list list;
	uint64_t next;
	unsigned of_kind[CLOUD_FAULT_COUNT]; /* so that a message costs nothing while there is none */
};

static const char *const kind_names[] = {
#define CLOUD_FAULT_NAME(sym, name, help) name,
	CLOUD_FAULTS(CLOUD_FAULT_NAME)
#undef CLOUD_FAULT_NAME
};

int cw_cloud_faults_new(struct cloud_faults **ret_faults)
{
	struct cloud_faults *f = cw_zalloc(sizeof(*f));

	if (f == NULL)
		return CW_ENOMEM;
	cw_list_init(&f->list);
	*ret_faults = f;
	return 0;
}

static void fault_free(struct cloud_faults *f, struct fault *x)
{
	f->of_kind[x->kind]--;
	cw_list_remove(&x->link);
	cw_free(x->device);
	cw_free(x->topic);
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
	return json_pack("{s:I, s:s, s:s?, s:s?, s:i, s:i, s:I, s:I}", "id", (json_int_t)x->id, "kind",
	                 kind_names[x->kind], "device", x->device, "topic", x->topic, "code", x->code, "ms", x->ms, "left", x->left, "hits",
	                 (json_int_t)x->hits);
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

/* Kick and cut: every device or connection that passes, up to the count. Returns how many. */
static uint64_t strike_now(struct cw_cloud *c, const struct fault *x)
{
	struct cw_list *e, *n;
	uint64_t hits = 0;

	cw_list_each_safe(e, n, &c->device_list) {
		struct cloud_device *d = cw_container_of(e, struct cloud_device, all);

		if (!cw_cloud_device_linked(d) || (x->device != NULL && strcmp(x->device, d->id) != 0))
			continue;
		/* Without a device, and with cut, it is connections that are meant. */
		if (d->link != NULL && d->link->owner != d && (x->device == NULL || x->kind == CLOUD_FAULT_CUT))
			continue;
		if (x->left >= 0 && hits == (uint64_t)x->left)
			break;
		hits++;
		cw_cloud_device_kick(c, d, x->code != 0 ? x->code : 427, "fault");
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

static int check(const struct fault *x, struct cw_msg *msg)
{
	if (x->kind == CLOUD_FAULT_CONNACK && (x->code < 1 || x->code > 5))
		return cw_fail(msg, CW_EINVAL, "code: connack needs 1 to 5");
	if (x->kind == CLOUD_FAULT_REFUSE && x->code <= 200)
		return cw_fail(msg, CW_EINVAL, "code: refuse needs a code above 200");
	if (x->kind == CLOUD_FAULT_DELAY && (x->ms < 1 || x->ms > 3600000))
		return cw_fail(msg, CW_EINVAL, "ms: delay needs 1 to 3600000");
	if (x->left == 0 || x->left < -1)
		return cw_fail(msg, CW_EINVAL, "count: 1 or more, or left out");
	return 0;
}

static int fault_parse(const json_t *spec, struct fault *x, struct cw_msg *msg)
{
	const char *kind = NULL, *device = NULL, *topic = NULL;
	json_error_t err;

	x->left = -1;
	if (json_unpack_ex((json_t *)(uintptr_t)spec, &err, JSON_STRICT, "{s:s, s?s, s?s, s?i, s?i, s?I}", "kind",
	                   &kind, "device", &device, "topic", &topic, "code", &x->code, "ms", &x->ms, "count", &x->left) < 0)
		return cw_fail(msg, CW_EINVAL, "%s", err.text);
	if (parse_kind(kind, &x->kind) < 0)
		return cw_fail(msg, CW_EINVAL, "kind \"%s\": connack, puback, reply, delay, refuse, stall, kick or cut", kind);
	if ((device != NULL && (x->device = cw_strdup(device)) == NULL) ||
	    (topic != NULL && (x->topic = cw_strdup(topic)) == NULL))
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
	if (x->kind == CLOUD_FAULT_KICK || x->kind == CLOUD_FAULT_CUT) {
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

static struct fault *find(const struct cloud_faults *f, enum cloud_fault_kind kind, const struct cloud_strike *at)
{
	struct cw_list *e;

	if (f->of_kind[kind] == 0)
		return NULL;
	cw_list_each(e, &f->list) {
		struct fault *x = cw_container_of(e, struct fault, link);

		if (x->kind != kind || (x->device != NULL && (at->device == NULL || strcmp(x->device, at->device) != 0)))
			continue;
		if (x->topic == NULL ||
		    (at->topic != NULL && cw_cloud_topic_matches(x->topic, strlen(x->topic), at->topic, at->topic_len)))
			return x;
	}
	return NULL;
}

int cw_cloud_fault(struct cw_cloud *c, enum cloud_fault_kind kind, struct cloud_strike *at)
{
	struct fault *x = find(c->faults, kind, at);

	if (x == NULL)
		return 0;
	x->hits++;
	c->stats.faults_applied++;
	at->code = x->code;
	at->ms = x->ms;
	if (x->left > 0 && --x->left == 0)
		fault_free(c->faults, x);
	return 1;
}

int cw_cloud_fault_active(const struct cw_cloud *c, enum cloud_fault_kind kind, const char *channel, const char *device)
{
	return find(c->faults, kind, &(struct cloud_strike){ .channel = channel, .device = device }) != NULL;
}
