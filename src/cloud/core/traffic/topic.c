/* topic.c - see topic.h. */
#include "cloud/core/traffic/topic.h"

#include <ctype.h>
#include <string.h>

struct cursor {
	const char *at, *end;
	int more; /* a level is left to be read */
};

/* The next level; empty when none is left. */
static struct cloud_text next_level(struct cursor *c)
{
	struct cloud_text level = { c->at, 0 };
	const char *slash;

	if (!c->more)
		return level;
	slash = memchr(c->at, '/', (size_t)(c->end - c->at));
	level.len = (size_t)((slash != NULL ? slash : c->end) - c->at);
	c->more = slash != NULL;
	c->at = slash != NULL ? slash + 1 : c->end;
	return level;
}

static struct cloud_text remainder_of(const struct cursor *c)
{
	return (struct cloud_text){ c->at, c->more ? (size_t)(c->end - c->at) : 0 };
}

static int is_name(const struct cloud_text *t)
{
	return t->len != 0 && memchr(t->s, '+', t->len) == NULL && memchr(t->s, '#', t->len) == NULL;
}

static void take_owner(struct cursor *c, enum cloud_topic_kind kind, struct cloud_topic *t)
{
	t->pk = next_level(c);
	t->dn = next_level(c);
	t->kind = is_name(&t->pk) && is_name(&t->dn) ? kind : CLOUD_TOPIC_BAD;
}

static void parse_rrpc(struct cursor *c, struct cloud_topic *t)
{
	struct cloud_topic inner;
	struct cloud_text mid = next_level(c);

	if (mid.len == 0 || !c->more)
		return;
	/* The inner topic keeps its leading slash: /ext/rrpc/{mid} + /pk/dn/user/get. */
	cw_cloud_topic_parse(c->at - 1, (size_t)(c->end - c->at + 1), &inner);
	if (inner.kind == CLOUD_TOPIC_BAD || inner.kind == CLOUD_TOPIC_RRPC)
		return;
	*t = inner;
	t->inner = inner.kind;
	t->kind = CLOUD_TOPIC_RRPC;
	t->mid = mid;
	t->rest = (struct cloud_text){ c->at - 1, (size_t)(c->end - c->at + 1) };
}

static void parse_ext(struct cursor *c, struct cloud_topic *t)
{
	struct cloud_text what = next_level(c);

	if (cw_cloud_text_is(&what, "session") || cw_cloud_text_is(&what, "ntp")) {
		take_owner(c, what.len == 3 ? CLOUD_TOPIC_NTP : CLOUD_TOPIC_SESSION, t);
		t->rest = remainder_of(c);
	} else if (cw_cloud_text_is(&what, "error")) {
		take_owner(c, CLOUD_TOPIC_ERROR, t);
		if (c->more)
			t->kind = CLOUD_TOPIC_BAD;
	} else if (cw_cloud_text_is(&what, "rrpc")) {
		parse_rrpc(c, t);
	}
}

/* pk and dn come last: /ota/device/inform/pk/dn, /shadow/update/pk/dn. */
static void parse_last(struct cursor *c, enum cloud_topic_kind kind, struct cloud_topic *t)
{
	struct cloud_text rest;

	if (kind == CLOUD_TOPIC_OTA) {
		struct cloud_text device = next_level(c);

		if (!cw_cloud_text_is(&device, "device"))
			return;
	}
	rest = next_level(c);
	take_owner(c, kind, t);
	t->rest = rest;
	if (c->more || rest.len == 0)
		t->kind = CLOUD_TOPIC_BAD;
}

void cw_cloud_topic_parse(const char *topic, size_t len, struct cloud_topic *ret_topic)
{
	struct cursor c = { topic + 1, topic + len, 1 };
	struct cloud_topic *t = ret_topic;
	struct cursor start;
	struct cloud_text first;

	memset(t, 0, sizeof(*t));
	if (len < 2 || topic[0] != '/')
		return;
	start = c;
	first = next_level(&c);
	if (cw_cloud_text_is(&first, "sys")) {
		take_owner(&c, CLOUD_TOPIC_SYS, t);
		t->rest = remainder_of(&c);
	} else if (cw_cloud_text_is(&first, "ext")) {
		parse_ext(&c, t);
	} else if (cw_cloud_text_is(&first, "ota")) {
		parse_last(&c, CLOUD_TOPIC_OTA, t);
	} else if (cw_cloud_text_is(&first, "shadow")) {
		parse_last(&c, CLOUD_TOPIC_SHADOW, t);
	} else if (cw_cloud_text_is(&first, "broadcast")) {
		t->pk = next_level(&c);
		t->rest = remainder_of(&c);
		t->kind = is_name(&t->pk) && t->rest.len != 0 ? CLOUD_TOPIC_BROADCAST : CLOUD_TOPIC_BAD;
	} else {
		take_owner(&start, CLOUD_TOPIC_CUSTOM, t);
		t->rest = remainder_of(&start);
		if (t->rest.len == 0)
			t->kind = CLOUD_TOPIC_BAD;
	}
}

int cw_cloud_topic_is_system(const struct cloud_topic *t)
{
	enum cloud_topic_kind kind = t->kind == CLOUD_TOPIC_RRPC ? t->inner : t->kind;

	return kind != CLOUD_TOPIC_BAD && kind != CLOUD_TOPIC_CUSTOM && kind != CLOUD_TOPIC_BROADCAST;
}

int cw_cloud_topic_matches(const char *filter, size_t filter_len, const char *topic, size_t topic_len)
{
	struct cursor f = { filter, filter + filter_len, 1 }, t = { topic, topic + topic_len, 1 };

	while (f.more) {
		struct cloud_text fl = next_level(&f), tl;

		if (fl.len == 1 && fl.s[0] == '#')
			return 1;
		if (!t.more)
			return 0;
		tl = next_level(&t);
		if (fl.len == 1 && fl.s[0] == '+')
			continue;
		if (fl.len != tl.len || memcmp(fl.s, tl.s, fl.len) != 0)
			return 0;
	}
	return !t.more;
}

int cw_cloud_filter_valid(const char *filter, size_t len)
{
	struct cursor c = { filter, filter + len, 1 };

	if (len == 0)
		return 0;
	while (c.more) {
		struct cloud_text l = next_level(&c);

		if (memchr(l.s, '#', l.len) != NULL && (l.len != 1 || c.more))
			return 0;
		if (memchr(l.s, '+', l.len) != NULL && l.len != 1)
			return 0;
	}
	return 1;
}

int cw_cloud_custom_valid(const char *rest, size_t len, int wild)
{
	struct cursor c = { rest, rest + len, 1 };
	size_t i;

	while (c.more) {
		struct cloud_text l = next_level(&c);

		if (l.len == 0)
			return 0;
		if (wild && l.len == 1 && (l.s[0] == '+' || (l.s[0] == '#' && !c.more)))
			continue;
		for (i = 0; i < l.len; i++) {
			if (!isalnum((unsigned char)l.s[i]) && l.s[i] != '_')
				return 0;
		}
	}
	return 1;
}

int cw_cloud_topic_fits(const char *topic, size_t len, size_t bytes, unsigned slashes)
{
	unsigned n = 0;
	size_t i;

	for (i = 0; i < len; i++)
		n += topic[i] == '/';
	return len <= bytes && n <= slashes;
}
