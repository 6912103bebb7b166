/* cast.c - publishes and broadcasts by the platform's users; see down.h. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cloud/core/stock/clients.h"
#include "cloud/core/traffic/down.h"
#include "cloud/core/traffic/violations.h"

static const char *pub_problem(const struct cloud_product *p, const struct cloud_publication *what, struct cloud_topic *t)
{
	size_t len = strlen(what->topic);

	if (strpbrk(what->topic, "+#") != NULL)
		return "a topic with wildcards cannot be published to";
	cw_cloud_topic_parse(what->topic, len, t);
	if (len > 255 || t->kind == CLOUD_TOPIC_BAD || !cw_cloud_text_is(&t->pk, p->key) || t->dn.len == 0)
		return "the topic names no device of the product";
	if (what->len > CLOUD_PUB_BYTES)
		return "a message has at most 262144 bytes";
	return NULL;
}

int cw_cloud_pub(struct cw_cloud *c, struct cloud_product *p, const struct cloud_publication *what,
                 enum cloud_outcome *ret_outcome, char ret_id[24], struct cw_msg *msg)
{
	struct cloud_topic t;
	const char *problem = pub_problem(p, what, &t);
	struct cloud_device *d;

	if (problem != NULL)
		return cw_fail(msg, CW_EINVAL, "topic \"%s\": %s", what->topic, problem);
	if (!what->any_topic && t.kind != CLOUD_TOPIC_CUSTOM)
		return cw_fail(msg, CW_EACCESS, "topic \"%s\": only custom topics can be published to, not the platform's own", what->topic);
	if (!what->any_topic && (!cw_cloud_topic_fits(what->topic, strlen(what->topic), c->conf.limits.topic_bytes, c->conf.limits.topic_slashes) ||
	                         !cw_cloud_custom_valid(t.rest.s, t.rest.len, 0)))
		return cw_fail(msg, CW_EINVAL, "topic \"%s\": levels are of letters, digits and _, none empty, %u bytes and %u "
		               "slashes in all", what->topic, c->conf.limits.topic_bytes, c->conf.limits.topic_slashes);
	d = cw_cloud_device_find(c, t.pk.s, t.pk.len, t.dn.s, t.dn.len);
	if (d == NULL)
		return cw_fail(msg, CW_ENOENT, "topic \"%s\": there is no such device", what->topic);
	cw_cloud_next_id(c, ret_id);
	*ret_outcome = cw_cloud_send(c, d, what->topic, what->bytes, what->len, what->qos != 0, 0);
	return 0;
}

/* ---- broadcasts ---- */

/* Online and subscribed, by its own session or another of its name. Devices behind a bridge cannot subscribe: it takes all. */
static int subscribed(struct cw_cloud *c, const struct cloud_device *d, const char *topic, size_t len)
{
	const struct cloud_device *s;
	unsigned at = 0;

	while ((s = cw_cloud_next_session(d, &at)) != NULL) {
		if (s->link != NULL && cw_cloud_device_subscribed(c, s, topic, len))
			return 1;
	}
	return d->link != NULL && (d->link->bridge || cw_cloud_device_subscribed(c, d, topic, len));
}

/* A gateway subscribes for the devices behind it, and hears it once. */
static int subscribed_by_gateway(struct cw_cloud *c, const struct cloud_device *d, const char *topic, size_t len)
{
	struct cloud_link *l = d->link;
	int fresh;

	if (l == NULL || l->bridge || l->owner == NULL || l->owner == d || !cw_cloud_device_subscribed(c, l->owner, topic, len))
		return 0;
	fresh = l->cast != c->next_id; /* the number of this broadcast */
	l->cast = c->next_id;
	return fresh;
}

static unsigned cast_to_subscribers(struct cw_cloud *c, const struct cloud_product *p, const char *topic, const void *bytes,
                                    size_t len)
{
	size_t topic_len = strlen(topic);
	unsigned count = 0;
	struct cw_list *e;

	cw_list_each(e, &c->device_list) {
		struct cloud_device *d = cw_container_of(e, struct cloud_device, all);

		if (d->product != p || count >= CLOUD_BROADCAST_SUBSCRIBERS)
			continue;
		if (subscribed(c, d, topic, topic_len))
			count += cw_cloud_send(c, d, topic, bytes, len, 0, 0) == CLOUD_DELIVERED;
		else if (subscribed_by_gateway(c, d, topic, topic_len))
			count += cw_cloud_send(c, d, topic, bytes, len, 0, CLOUD_ALWAYS) == CLOUD_DELIVERED;
	}
	return count;
}

static unsigned cast_to_all(struct cw_cloud *c, const struct cloud_product *p, const char *id, const void *bytes, size_t len)
{
	unsigned count = 0;
	struct cw_list *e;
	char topic[256];

	cw_list_each(e, &c->device_list) {
		struct cloud_device *d = cw_container_of(e, struct cloud_device, all);

		if (d->product != p || !cw_cloud_device_linked(d))
			continue;
		(void)snprintf(topic, sizeof(topic), "/sys/%s/broadcast/request/%s", d->id, id);
		count += cw_cloud_send(c, d, topic, bytes, len, 0, CLOUD_ALWAYS) == CLOUD_DELIVERED;
	}
	return count;
}

/* /broadcast/pk/name: one level behind the product. */
static int is_broadcast_of(const struct cloud_product *p, const char *topic)
{
	struct cloud_topic t;

	cw_cloud_topic_parse(topic, strlen(topic), &t);
	return t.kind == CLOUD_TOPIC_BROADCAST && cw_cloud_text_is(&t.pk, p->key) && strlen(topic) <= 255 &&
	       strpbrk(topic, "+#") == NULL && memchr(t.rest.s, '/', t.rest.len) == NULL;
}

int cw_cloud_broadcast(struct cw_cloud *c, struct cloud_product *p, const char *topic, const void *bytes, size_t len,
                       unsigned *ret_count, char ret_id[24], struct cw_msg *msg)
{
	uint64_t now = cw_cloud_now_ms(c);
	uint64_t pause = topic != NULL ? c->conf.limits.broadcast_ms : c->conf.limits.broadcast_all_ms;
	uint64_t *next = topic != NULL ? &p->broadcast_next_ms : &p->broadcast_all_next_ms;

	if (topic != NULL && !is_broadcast_of(p, topic))
		return cw_fail(msg, CW_EINVAL, "topic \"%s\": /broadcast/%s/NAME is expected, without wildcards", topic, p->key);
	if (len > CLOUD_BROADCAST_BYTES)
		return cw_fail(msg, CW_EINVAL, "a broadcast has at most %u bytes", CLOUD_BROADCAST_BYTES);
	if (c->conf.limits.documented && now < *next) {
		cw_cloud_violation(c, NULL, topic != NULL ? "broadcastEvery" : "broadcastAllEvery", "not sent");
		return cw_fail(msg, CW_ELIMIT, "the next broadcast of this kind to product %s may be sent in %llu ms", p->key,
		               (unsigned long long)(*next - now));
	}
	*next = now + pause;
	cw_cloud_next_id(c, ret_id);
	*ret_count = topic != NULL ? cast_to_subscribers(c, p, topic, bytes, len) : cast_to_all(c, p, ret_id, bytes, len);
	return 0;
}
