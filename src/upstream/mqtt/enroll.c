/*
 * enroll.c - certificates of sub-devices, asked for over the bridge's own connection; see
 * cw_upstream_enroll(). One request a device: a batch is refused as a whole, and who asks
 * wants to know about its own.
 *
 * A secret is given away once. So the answer tells apart what was never asked
 * (CW_ECLOSED) from what was asked and not answered (CW_ETIMEDOUT).
 */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "causeway/command.h"
#include "platform/codes.h"
#include "upstream/mqtt/mqtt.h"

struct enroll {
	struct cw_await await;
	struct cw_list link; /* in `to_enroll` until asked */
	struct cw_enroll *e;
};

static void finish(struct mqtt *m, struct enroll *q, int rc, int32_t code, const char *text)
{
	struct cw_enroll *e = q->e;

	cw_list_remove(&q->link);
	cw_await_end(&m->enrolls, &q->await);
	cw_free(q);
	e->rc = rc;
	e->code = code;
	(void)snprintf(e->text, sizeof(e->text), "%s", text);
	cw_upstream_enrolled(e);
}

static void on_late(struct cw_await_set *set, struct cw_await *a)
{
	struct mqtt *m = cw_container_of(set, struct mqtt, enrolls);

	cw_count(upstream, requests_timed_out);
	finish(m, cw_container_of(a, struct enroll, await), CW_ETIMEDOUT, 0, "the platform did not answer");
}

void mqtt_enroll_init(struct mqtt *m)
{
	cw_list_init(&m->to_enroll);
	cw_await_init(&m->enrolls, m->u->w, MQTT_REQUEST_MS, on_late);
}

void mqtt_enroll_fini(struct mqtt *m)
{
	cw_await_fini(&m->enrolls);
}

void mqtt_enroll_down(struct mqtt *m, const char *why)
{
	struct cw_await *a;
	struct cw_list *e;

	while ((e = cw_list_first(&m->to_enroll)) != NULL)
		finish(m, cw_container_of(e, struct enroll, link), CW_ECLOSED, 0, why);
	while ((a = cw_await_oldest(&m->enrolls)) != NULL)
		finish(m, cw_container_of(a, struct enroll, await), CW_ETIMEDOUT, 0,
		       "the connection was lost before the platform answered");
}

void mqtt_enroll(void *connector, struct cw_enroll *e)
{
	struct mqtt *m = connector;
	struct enroll *q = m->state == LINK_UP ? cw_zalloc(sizeof(*q)) : NULL;

	if (q == NULL) {
		e->rc = m->state == LINK_UP ? CW_ENOMEM : CW_ECLOSED;
		(void)snprintf(e->text, sizeof(e->text), "%s",
			       m->state == LINK_UP ? "out of memory" : "the bridge is not connected to the platform");
		cw_upstream_enrolled(e);
		return;
	}
	q->e = e;
	cw_list_init(&q->link);
	cw_list_push_back(&m->to_enroll, &q->link);
	mqtt_pump(m);
}

/* 15 characters nobody can foresee. */
static int random_text(char out[16])
{
	uint64_t v;

	if (getrandom(&v, sizeof(v), 0) != (ssize_t)sizeof(v))
		return CW_EINTERNAL;
	(void)snprintf(out, 16, "%015llx", (unsigned long long)(v >> 4));
	return 0;
}

static int say(struct mqtt *m, struct enroll *q, uint32_t id)
{
	const struct cw_alink_sub sub = { q->e->product_key, q->e->device_name, q->e->product_secret };
	char topic[CW_TOPIC_MAX], random[16], *text = NULL;
	size_t len = 0;
	int rc;

	if (sub.secret == NULL) {
		rc = cw_topic_sys(topic, m->pk, m->dn, "thing/sub/register");
		if (rc == 0)
			rc = cw_alink_sub_register(id, &sub, &text, &len);
	} else {
		rc = cw_topic_sys(topic, m->pk, m->dn, "thing/proxy/provisioning/product_register");
		if (rc == 0)
			rc = random_text(random);
		if (rc == 0)
			rc = cw_alink_product_register(id, &sub, random, &text, &len);
	}
	return rc < 0 ? rc : mqtt_say(m, topic, text, len);
}

int mqtt_ask_enroll(struct mqtt *m)
{
	struct enroll *q = cw_container_of(cw_list_pop(&m->to_enroll), struct enroll, link);
	int rc = cw_await_add(&m->enrolls, &q->await, cw_await_next_id(&m->replies));

	cw_pace_window_note(&m->own, cw_worker_now(m->u->w));
	if (rc == 0)
		rc = say(m, q, q->await.id);
	if (rc < 0) /* nothing went out */
		finish(m, q, rc == CW_EBUSY ? CW_ECLOSED : rc, 0, cw_error_text(rc));
	return 1;
}

int mqtt_enroll_replied(struct mqtt *m, const struct cw_alink_reply *r)
{
	struct cw_await *a = r->has_id ? cw_await_find(&m->enrolls, r->id) : NULL;
	struct cw_bytes secret;
	struct enroll *q;
	struct cw_enroll *e;
	int32_t code;
	int rc;

	if (a == NULL)
		return 0;
	q = cw_container_of(a, struct enroll, await);
	e = q->e;
	rc = cw_alink_registered(r, e->product_key, e->device_name, &secret, &code);
	if (rc == 0 && secret.len >= sizeof(e->secret))
		rc = CW_EPROTO;
	if (rc == 0) {
		memcpy(e->secret, secret.ptr, secret.len);
		e->secret[secret.len] = '\0';
		cw_count(upstream, replies_ok);
		finish(m, q, 0, code, "registered");
		return 1;
	}
	cw_count(upstream, replies_failed);
	finish(m, q, rc == CW_EREFUSED ? CW_EREFUSED : CW_EPROTO, code,
	       rc != CW_EREFUSED                         ? "the platform's answer holds no secret for this device"
	       : r->code != CW_CODE_OK && r->message[0] != '\0' ? r->message
							 : cw_code_text(code));
	return 1;
}
