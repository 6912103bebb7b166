/*
 * up.c - records on their way to the broker: a record becomes one message, or with
 * plain values as many as it has properties, and is settled when the last of them is
 * acknowledged.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "causeway/command.h"
#include "causeway/decoder.h"
#include "upstream/broker/broker.h"
#include "json/json.h"

/* One attempt to send a parcel. */
struct broker_send {
	struct broker *b;
	struct cw_parcel *p; /* NULL: recalled */
	int orphan;
	int asked;     /* the record has a caller's request id */
	int rc, code;  /* the worst of its messages */
	unsigned left; /* messages not done */
	unsigned count, most;
	struct message {
		struct cw_mqtt_token token;
		struct broker_send *send;
	} messages[];
};

/* ---- outcomes ------------------------------------------------------------------- */

static void reply_to_caller(struct broker *b, struct cw_parcel *p, int code)
{
	struct cw_record rec;
	char request[CW_REQUEST_MOST];

	if (!cw_record_read(cw_bytes_of(p->bytes, p->len), &rec) || rec.request.len == 0)
		return;
	(void)snprintf(request, sizeof(request), "%.*s", (int)rec.request.len, (const char *)rec.request.ptr);
	cw_upstream_reply(p->device, request, code, cw_bytes_of(NULL, 0));
}

/* All messages of an attempt are done. */
static void conclude(struct broker_send *s)
{
	struct broker *b = s->b;
	struct cw_parcel *p = s->p;
	int rc = s->rc, code = s->code, asked = s->asked;

	if (s->orphan && b->orphans > 0)
		b->orphans--;
	cw_free(s);
	if (p == NULL)
		return;
	p->send = NULL;
	if (rc == 0) {
		if (asked)
			reply_to_caller(b, p, CW_CODE_OK);
		cw_lane_settle(&b->u->lane, p, CW_SETTLED_DONE, 0, NULL);
	} else if (rc == CW_EREFUSED) {
		if (asked)
			reply_to_caller(b, p, code);
		cw_lane_settle(&b->u->lane, p, CW_SETTLED_REFUSED, code, "refused by the broker");
	} else {
		cw_lane_again(&b->u->lane, p);
	}
}

static void on_done(struct cw_mqtt_token *t)
{
	struct broker_send *s = cw_container_of(t, struct message, token)->send;

	s->b->messages--;
	if (t->rc == 0)
		cw_count(upstream, confirmed);
	else if (s->rc == 0 || s->rc == CW_EREFUSED) {
		s->rc = t->rc;
		s->code = t->code;
	}
	if (--s->left == 0)
		conclude(s);
}

/* ---- messages -------------------------------------------------------------------- */

static enum broker_kind kind_of(const struct cw_record *rec)
{
	switch (rec->kind) {
	case CW_KIND_PROPERTIES:
	case CW_KIND_EVENT:
		if ((rec->flags & CW_RECORD_REPLAY) != 0)
			return BROKER_HISTORY; /* never where the live state stands */
		return rec->kind == CW_KIND_EVENT ? BROKER_EVENT : BROKER_PROPERTY;
	case CW_KIND_TAGS: return BROKER_TAG;
	case CW_KIND_RAW: return BROKER_RAW;
	default: return BROKER_OTA;
	}
}

/* ${name} of a record that is one message. */
static struct cw_bytes name_of(const struct cw_record *rec)
{
	if (rec->kind == CW_KIND_EVENT || rec->kind == CW_KIND_RAW)
		return rec->name;
	if (rec->kind == CW_KIND_OTA_VERSION || rec->kind == CW_KIND_OTA_PROGRESS)
		return cw_bytes_text(rec->kind == CW_KIND_OTA_VERSION ? "version" : "progress");
	return cw_bytes_text("post");
}

struct outgoing {
	struct broker_send *send;
	struct broker_vars vars;
	enum broker_kind kind;
	int qos;
};

static int publish(struct outgoing *o, struct cw_bytes name, struct cw_bytes payload)
{
	struct broker_send *s = o->send;
	struct broker *b = s->b;
	struct message *m = &s->messages[s->count];
	char topic[BROKER_TOPIC_MOST];
	int rc;

	if (s->count == s->most)
		return CW_ELIMIT;
	o->vars.of[BROKER_NAME] = name;
	rc = broker_template_fill(b->topic, &o->vars, topic, sizeof(topic));
	if (rc < 0)
		return rc;
	m->send = s;
	m->token.done = on_done;
	rc = b->ops->publish(b->client, topic, payload, o->qos, (b->retain & 1u << o->kind) != 0, &m->token);
	if (rc < 0)
		return rc == CW_ECLOSED ? CW_EBUSY : rc; /* the news that it is down are on their way */
	s->count++;
	s->left++;
	b->messages++;
	cw_count(upstream, published);
	return 0;
}

/* Text as it stands, everything else as JSON has it. */
static int publish_value(struct outgoing *o, struct cw_bytes name, struct cw_bytes item)
{
	struct cw_reader r = cw_reader_of(item);
	struct cw_item head = cw_read_item(&r);
	char *text;
	size_t len;
	int rc;

	if (head.type == CW_ITEM_TEXT)
		return publish(o, name, head.s);
	rc = cw_json_from_item(item, CW_ALINK_MOST, &text, &len);
	if (rc < 0)
		return rc;
	rc = publish(o, name, cw_bytes_of(text, len));
	cw_free(text);
	return rc;
}

static unsigned count_members(struct cw_bytes body)
{
	struct cw_reader r = cw_reader_of(body);
	struct cw_item map = cw_read_item(&r);
	unsigned n = 0;

	while (cw_item_more(&r, &map)) {
		(void)cw_read_whole_item(&r);
		n++;
	}
	return n / 2;
}

static int publish_members(struct outgoing *o, struct cw_bytes body)
{
	struct cw_reader r = cw_reader_of(body);
	struct cw_item map = cw_read_item(&r);
	int rc = 0;

	while (rc == 0 && cw_item_more(&r, &map)) {
		struct cw_item key = cw_read_item(&r);

		(void)cw_item_more(&r, &map);
		rc = publish_value(o, key.s, cw_read_whole_item(&r));
	}
	return rc;
}

/* {"time": ms, "value": body} */
static int publish_timed(struct outgoing *o, const struct cw_record *rec, const struct cw_parcel *p)
{
	struct cw_json j;
	char *text;
	size_t len;
	int rc;

	cw_json_begin(&j, CW_ALINK_MOST);
	cw_json_map(&j);
	cw_json_text(&j, "time");
	cw_json_int(&j, rec->has_time ? rec->time_ms : p->arrival_ms);
	cw_json_text(&j, "value");
	cw_json_encoded(&j, rec->body);
	cw_json_end_map(&j);
	rc = cw_json_finish(&j, &text, &len);
	if (rc < 0)
		return rc;
	rc = publish(o, name_of(rec), cw_bytes_of(text, len));
	cw_free(text);
	return rc;
}

static int publish_alink(struct outgoing *o, const struct cw_record *rec, struct cw_parcel *p)
{
	struct cw_message message;
	int rc = cw_message_of_parcel(o->send->b->u, &o->send->b->ids, p->device, p, &message);

	if (rc < 0)
		return rc;
	rc = publish(o, name_of(rec), cw_bytes_of(message.post.payload, message.post.len));
	cw_free(message.post.payload);
	return rc;
}

static int is_split(const struct broker *b, const struct cw_record *rec)
{
	return b->own->payload == BROKER_PLAIN && (rec->flags & CW_RECORD_REPLAY) == 0 && rec->body.len > 0 &&
	       (rec->kind == CW_KIND_PROPERTIES || rec->kind == CW_KIND_TAGS);
}

static int publish_record(struct outgoing *o, const struct cw_record *rec, struct cw_parcel *p)
{
	if (is_split(o->send->b, rec))
		return publish_members(o, rec->body);
	if (rec->kind == CW_KIND_RAW)
		return publish(o, rec->name, rec->body);
	if (o->send->b->own->payload == BROKER_PLAIN && rec->body.len > 0 &&
	    (o->kind == BROKER_EVENT || o->kind == BROKER_HISTORY))
		return publish_timed(o, rec, p);
	return publish_alink(o, rec, p);
}

int broker_send(void *connector, struct cw_updevice *d, struct cw_parcel *p)
{
	struct broker *b = connector;
	struct outgoing o = { 0 };
	struct cw_record rec;
	unsigned n = 1;
	int rc;

	if (!cw_record_read(cw_bytes_of(p->bytes, p->len), &rec))
		return CW_EPROTO;
	if (rec.kind == CW_KIND_SHADOW_REPORT)
		return CW_EUNSUPPORTED; /* a broker keeps no shadows */
	if (is_split(b, &rec))
		n = count_members(rec.body);
	if (n == 0)
		return CW_EPROTO;
	if (b->link != LINK_UP || b->orphans >= b->u->conf.in_flight ||
	    (b->messages > 0 && b->messages + n > b->u->conf.in_flight))
		return CW_EBUSY;
	o.send = cw_alloc(sizeof(*o.send) + n * sizeof(o.send->messages[0]));
	if (o.send == NULL)
		return CW_ENOMEM;
	memset(o.send, 0, sizeof(*o.send) + n * sizeof(o.send->messages[0]));
	o.send->b = b;
	o.send->most = n;
	o.send->asked = rec.request.len > 0;
	o.kind = kind_of(&rec);
	o.qos = p->qos;
	o.vars.of[BROKER_PRODUCT_KEY] = cw_bytes_text(d->product_key);
	o.vars.of[BROKER_DEVICE_NAME] = cw_bytes_text(d->device_name);
	o.vars.of[BROKER_KIND] = cw_bytes_text(broker_kind_names[o.kind]);
	rc = publish_record(&o, &rec, p);
	if (rc < 0 && o.send->left == 0) {
		cw_free(o.send);
		return rc;
	}
	if (rc < 0) { /* some are on their way: they end by themselves, and the record goes as a whole again, or is
			 refused */
		o.send->orphan = 1;
		b->orphans++;
		return rc;
	}
	o.send->p = p;
	p->send = o.send;
	return 0;
}

static void on_stalled(struct cw_timer *t)
{
	struct broker *b = cw_container_of(t, struct broker, stall_timer);

	if (b->link == LINK_UP && b->orphans >= b->u->conf.in_flight)
		broker_link_lost(b, "the broker acknowledges nothing any more");
}

void broker_recall(void *connector, struct cw_parcel *p)
{
	struct broker *b = connector;
	struct broker_send *s = p->send;

	if (s == NULL)
		return;
	p->send = NULL;
	s->p = NULL;
	s->orphan = 1;
	b->orphans++;
	if (b->orphans >= b->u->conf.in_flight && b->link == LINK_UP && cw_worker_timers(b->u->w) != NULL)
		cw_timer_set(cw_worker_timers(b->u->w), &b->stall_timer, 0, on_stalled);
}
