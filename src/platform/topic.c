/* topic.c - see topic.h. */
#include "platform/topic.h"

#include <stdio.h>
#include <string.h>

#include "causeway/error.h"

int cw_topic_is(struct cw_bytes part, const char *text)
{
	return cw_bytes_equal(part, cw_bytes_text(text));
}

int cw_topic_after(struct cw_bytes part, const char *prefix, struct cw_bytes *ret_rest)
{
	size_t n = strlen(prefix);

	if (part.len < n || memcmp(part.ptr, prefix, n) != 0)
		return 0;
	*ret_rest = cw_bytes_of(part.ptr + n, part.len - n);
	return 1;
}

/* The level before the next slash, which is taken away with it. */
static struct cw_bytes take_level(struct cw_bytes *rest)
{
	const uint8_t *slash = rest->len > 0 ? memchr(rest->ptr, '/', rest->len) : NULL;
	struct cw_bytes level = *rest;

	if (slash == NULL) {
		*rest = cw_bytes_of(NULL, 0);
		return level;
	}
	level.len = (size_t)(slash - rest->ptr);
	*rest = cw_bytes_of(slash + 1, rest->len - level.len - 1);
	return level;
}

static int take_device(struct cw_bytes *rest, struct cw_topic *t)
{
	t->pk = take_level(rest);
	t->dn = take_level(rest);
	return t->pk.len > 0 && t->dn.len > 0;
}

static enum cw_topic_kind parse_sys(struct cw_bytes rest, struct cw_topic *t)
{
	if (!take_device(&rest, t) || rest.len == 0)
		return CW_TOPIC_UNKNOWN;
	if (cw_topic_after(rest, "rrpc/request/", &t->id))
		return CW_TOPIC_RRPC;
	if (cw_topic_after(rest, "broadcast/request/", &t->id)) {
		t->rest = rest;
		return CW_TOPIC_BROADCAST;
	}
	t->rest = rest;
	return CW_TOPIC_SYS;
}

static enum cw_topic_kind parse_ext(struct cw_bytes rest, struct cw_topic *t)
{
	struct cw_bytes what = take_level(&rest);

	if (cw_topic_is(what, "error"))
		return take_device(&rest, t) && rest.len == 0 ? CW_TOPIC_ERROR : CW_TOPIC_UNKNOWN;
	if (cw_topic_is(what, "session"))
		return take_device(&rest, t) && cw_topic_after(rest, "combine/", &t->rest) ? CW_TOPIC_SESSION
											   : CW_TOPIC_UNKNOWN;
	if (cw_topic_is(what, "ntp"))
		return take_device(&rest, t) && cw_topic_is(rest, "response") ? CW_TOPIC_NTP : CW_TOPIC_UNKNOWN;
	return CW_TOPIC_UNKNOWN;
}

static enum cw_topic_kind parse_one(struct cw_bytes topic, struct cw_topic *t)
{
	struct cw_bytes rest;

	if (cw_topic_after(topic, "/sys/", &rest))
		return parse_sys(rest, t);
	if (cw_topic_after(topic, "/ext/", &rest))
		return parse_ext(rest, t);
	if (cw_topic_after(topic, "/ota/device/upgrade/", &rest))
		return take_device(&rest, t) && rest.len == 0 ? CW_TOPIC_OTA_UPGRADE : CW_TOPIC_UNKNOWN;
	if (cw_topic_after(topic, "/shadow/get/", &rest))
		return take_device(&rest, t) && rest.len == 0 ? CW_TOPIC_SHADOW_GET : CW_TOPIC_UNKNOWN;
	if (cw_topic_after(topic, "/broadcast/", &rest)) {
		t->pk = take_level(&rest);
		t->rest = rest;
		return t->pk.len > 0 && rest.len > 0 ? CW_TOPIC_BROADCAST : CW_TOPIC_UNKNOWN;
	}
	if (!cw_topic_after(topic, "/", &rest) || !take_device(&rest, t) || rest.len == 0)
		return CW_TOPIC_UNKNOWN;
	t->rest = rest;
	return CW_TOPIC_USER;
}

void cw_topic_parse(struct cw_bytes topic, struct cw_topic *ret)
{
	const uint8_t *query = topic.len > 0 ? memchr(topic.ptr, '?', topic.len) : NULL;
	struct cw_bytes rest;

	memset(ret, 0, sizeof(*ret));
	if (query != NULL)
		topic.len = (size_t)(query - topic.ptr);
	if (!cw_topic_after(topic, "/ext/rrpc/", &rest)) {
		ret->kind = parse_one(topic, ret);
		return;
	}
	ret->id = take_level(&rest);
	/* One slash joins the id and a topic that begins with one; both ways of writing it are taken. */
	if (rest.len > 0 && rest.ptr[0] != '/')
		rest = cw_bytes_of(rest.ptr - 1, rest.len + 1);
	ret->inner_kind = parse_one(rest, ret);
	ret->kind = ret->id.len > 0 && ret->inner_kind != CW_TOPIC_UNKNOWN ? CW_TOPIC_EXT_RRPC : CW_TOPIC_UNKNOWN;
}

static int fits(int n)
{
	return n >= 0 && n < CW_TOPIC_MAX ? 0 : CW_ELIMIT;
}

int cw_topic_is_reply(const struct cw_topic *t)
{
	return t->kind == CW_TOPIC_SYS && t->rest.len > 6 && memcmp(t->rest.ptr + t->rest.len - 6, "_reply", 6) == 0 &&
	       !cw_topic_is(t->rest, CW_TOPIC_CONFIG_REPLY);
}

int cw_topic_broadcast(const char *pk, char *out)
{
	return fits(snprintf(out, CW_TOPIC_MAX, "/broadcast/%s/+", pk));
}

int cw_topic_sys(char *out, const char *pk, const char *dn, const char *rest)
{
	return fits(snprintf(out, CW_TOPIC_MAX, "/sys/%s/%s/%s", pk, dn, rest));
}

int cw_topic_session(char *out, const char *pk, const char *dn, const char *what)
{
	return fits(snprintf(out, CW_TOPIC_MAX, "/ext/session/%s/%s/combine/%s", pk, dn, what));
}

/* A level of a custom topic is letters, digits and _; of a topic of the platform's own anything but wildcards. */
static int level_char_ok(uint8_t c, int custom)
{
	if (custom)
		return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
	return c > ' ' && c != '+' && c != '#' && c != '?' && c != 0x7f;
}

/* What is written once it does not fit: CW_TOPIC_MAX. snprintf() showed: every record has a topic. */
static size_t join(char *out, size_t n, struct cw_bytes text)
{
	if (n >= CW_TOPIC_MAX || text.len >= CW_TOPIC_MAX - n)
		return CW_TOPIC_MAX;
	if (text.len > 0)
		memcpy(out + n, text.ptr, text.len);
	return n + text.len;
}

int cw_topic_raw(char *out, const char *pk, const char *dn, struct cw_bytes name)
{
	struct cw_bytes rest;
	int custom = !cw_topic_after(name, "thing/", &rest);
	size_t i, level = 0, n;

	for (i = 0; i <= name.len; i++) {
		uint8_t c = i < name.len ? name.ptr[i] : '/';

		if (c == '/') {
			if (i == level)
				return CW_EINVAL;
			level = i + 1;
		} else if (!level_char_ok(c, custom)) {
			return CW_EINVAL;
		}
	}
	n = join(out, 0, custom ? cw_bytes_of("/", 1) : cw_bytes_of("/sys/", 5));
	n = join(out, n, cw_bytes_text(pk));
	n = join(out, n, cw_bytes_of("/", 1));
	n = join(out, n, cw_bytes_text(dn));
	n = join(out, n, cw_bytes_of("/", 1));
	n = join(out, n, name);
	if (n >= CW_TOPIC_MAX)
		return CW_ELIMIT;
	out[n] = '\0';
	return 0;
}

/* How pk and dn go into a subscription: both at the %s, in that order. */
static const char *const device_topics[] = {
	"/sys/%s/%s/thing/service/property/set",
	"/sys/%s/%s/thing/service/property/get",
	"/sys/%s/%s/thing/service/+",
	"/sys/%s/%s/rrpc/request/+",
	"/sys/%s/%s/thing/event/+/post_reply",
	"/sys/%s/%s/thing/event/property/history/post_reply",
	"/sys/%s/%s/thing/deviceinfo/update_reply",
	"/sys/%s/%s/thing/model/down_raw",
	"/sys/%s/%s/thing/model/up_raw_reply",
	"/ext/rrpc/+/sys/%s/%s/thing/service/+",
	"/ext/rrpc/+/sys/%s/%s/thing/service/property/set",
	"/ext/rrpc/+/sys/%s/%s/thing/model/down_raw",
	"/ext/rrpc/+/%s/%s/user/#",
	"/ota/device/upgrade/%s/%s",
	"/sys/%s/%s/thing/config/push",
	("/sys/%s/%s/" CW_TOPIC_CONFIG_REPLY),
	"/shadow/get/%s/%s",
	"/sys/%s/%s/thing/disable",
	"/sys/%s/%s/thing/enable",
	"/sys/%s/%s/thing/delete",
	"/%s/%s/user/#",
};

static const char *const gateway_topics[] = {
	"/ext/session/%s/%s/combine/login_reply",
	"/ext/session/%s/%s/combine/logout_reply",
	"/ext/session/%s/%s/combine/batch_login_reply",
	"/ext/session/%s/%s/combine/batch_logout_reply",
	"/sys/%s/%s/thing/topo/add_reply",
	"/sys/%s/%s/thing/topo/change",
	"/sys/%s/%s/thing/topo/add/notify",
	"/ext/error/%s/%s",
	"/sys/%s/%s/thing/sub/register_reply",
	"/sys/%s/%s/thing/proxy/provisioning/product_register_reply",
	"/sys/%s/%s/thing/event/property/pack/post_reply",
	"/sys/%s/%s/thing/config/log/get_reply",
	"/sys/%s/%s/thing/config/log/push",
	"/sys/%s/%s/thing/log/post_reply",
	"/ext/ntp/%s/%s/response",
};

#define DEVICE_TOPICS ((int)(sizeof(device_topics) / sizeof(device_topics[0])))
#define GATEWAY_TOPICS ((int)(sizeof(gateway_topics) / sizeof(gateway_topics[0])))

_Static_assert(sizeof(device_topics) / sizeof(device_topics[0]) + sizeof(gateway_topics) / sizeof(gateway_topics[0]) <=
		       CW_TOPIC_SUBSCRIPTIONS,
	       "room for all subscriptions");

int cw_topic_subscription_count(int gateway)
{
	return gateway ? GATEWAY_TOPICS + DEVICE_TOPICS : DEVICE_TOPICS;
}

/* The one place where the names go into a pattern that is not a literal here. */
static int fill(char *out, const char *pattern, const char *pk, const char *dn)
{
	size_t n = 0, len;
	int seen = 0;

	for (; *pattern != '\0'; pattern++) {
		const char *part = pattern;

		len = 1;
		if (pattern[0] == '%') {
			part = seen++ == 0 ? pk : dn;
			len = strlen(part);
			pattern++;
		}
		if (n + len >= CW_TOPIC_MAX)
			return CW_ELIMIT;
		memcpy(out + n, part, len);
		n += len;
	}
	out[n] = '\0';
	return 0;
}

int cw_topic_subscription(int gateway, int number, const char *pk, const char *dn, char *out)
{
	if (!gateway)
		return fill(out, device_topics[number], pk, dn);
	if (number < GATEWAY_TOPICS)
		return fill(out, gateway_topics[number], pk, dn);
	return fill(out, device_topics[number - GATEWAY_TOPICS], pk, dn);
}
