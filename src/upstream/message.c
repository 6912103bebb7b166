/* message.c - see message.h. */
#include "upstream/message.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "causeway/command.h"
#include "causeway/decoder.h"
#include "platform/codes.h"

/* The caller's request id goes out as it is where it is one of the platform's (decimal, 32 bits) and not in use; else 0. */
static uint32_t id_of_caller(struct cw_await_set *ids, const struct cw_record *rec)
{
	uint64_t v = 0;
	size_t i;

	if (rec->request.len == 0 || rec->request.len > 10 || rec->request.ptr[0] == '0')
		return 0;
	for (i = 0; i < rec->request.len; i++) {
		if (rec->request.ptr[i] < '0' || rec->request.ptr[i] > '9')
			return 0;
		v = v * 10 + (uint64_t)(rec->request.ptr[i] - '0');
	}
	return v > UINT32_MAX || cw_await_used(ids, (uint32_t)v) ? 0 : (uint32_t)v;
}

/* The record of a parcel with its time and number, and how its message is to be. 0 or CW_EPROTO. */
static int open_parcel(struct cw_upstream *u, struct cw_await_set *ids, struct cw_parcel *p, struct cw_record *rec,
		       char request[CW_REQUEST_MOST], struct cw_alink_options *options)
{
	if (!cw_record_read(cw_bytes_of(p->bytes, p->len), rec))
		return CW_EPROTO;
	if (!rec->has_time && p->arrival_ms > 0) {
		rec->has_time = 1;
		rec->time_ms = p->arrival_ms;
	}
	if (p->number == 0) /* an attempt that has to be repeated keeps its id: who receives both can tell */
		p->number = id_of_caller(ids, rec);
	if (p->number == 0)
		p->number = cw_await_next_id(ids);
	request[0] = '\0';
	if (rec->request.len > 0)
		(void)snprintf(request, CW_REQUEST_MOST, "%.*s", (int)rec->request.len, (const char *)rec->request.ptr);
	*options = (struct cw_alink_options){ .version = u->conf.post_version,
					      .arrival_ms = p->arrival_ms,
					      .qos = (unsigned)u->conf.qos,
					      .want_reply = u->conf.confirm_reply || request[0] != '\0' };
	return 0;
}

int cw_message_of_parcel(struct cw_upstream *u, struct cw_await_set *ids, struct cw_updevice *d, struct cw_parcel *p,
			 struct cw_message *ret)
{
	struct cw_alink_options options;
	struct cw_record rec;
	int rc = open_parcel(u, ids, p, &rec, ret->request, &options);

	if (rc < 0)
		return rc;
	ret->id = p->number;
	rc = cw_alink_record(&rec, d->product_key, d->device_name, ret->id, &options, &ret->post);
	ret->want_reply = options.want_reply && rc == 0 && ret->post.replies;
	return rc;
}

int cw_messages_of_parcel(struct cw_upstream *u, struct cw_await_set *ids, struct cw_updevice *d, struct cw_parcel *p,
			  size_t most, struct cw_messages *ret)
{
	struct cw_alink_options options;
	struct cw_record rec;
	int first = p->number == 0, rc = open_parcel(u, ids, p, &rec, ret->request, &options);
	size_t i;

	if (rc < 0)
		return rc;
	ret->id = p->number;
	rc = cw_split_record(&rec, d->product_key, d->device_name, ret->id, &options, most, &ret->split);
	if (rc == CW_ELIMIT)
		cw_count(upstream, too_long);
	if (rc < 0)
		return rc;
	ret->want_reply = options.want_reply && ret->split.head.replies;
	if (first && ret->split.count > 1) {
		cw_count(upstream, split);
		for (i = 1; i < ret->split.count; i++)
			(void)cw_await_next_id(ids); /* so that the next parcel does not take theirs */
	}
	return 0;
}

void cw_message_odd(struct cw_upstream *u, const char *why, struct cw_bytes topic)
{
	cw_count(upstream, downlinks_odd);
	cw_log(upstream_odd, why, CW_LS("upstream", u->conf.name), CW_LB("topic", topic.ptr, topic.len));
}

static void copy_name(char *to, size_t size, struct cw_bytes from)
{
	(void)snprintf(to, size, "%.*s", (int)from.len, (const char *)from.ptr);
}

static struct cw_downlink *downlink_of(struct cw_upstream *u, const struct cw_topic *t, const struct cw_alink_command *c,
				       uint64_t ack)
{
	struct cw_downlink *down = cw_downlink_new(u, c->len);

	if (down == NULL || (ack != 0 && cw_downlink_want_ack(down, ack) < 0)) {
		cw_downlink_free(down);
		return NULL;
	}
	copy_name(down->product_key, sizeof(down->product_key), t->pk);
	copy_name(down->device_name, sizeof(down->device_name), t->dn);
	memcpy(down->request, c->request, sizeof(down->request));
	memcpy(down->answer_topic, c->answer_topic, sizeof(down->answer_topic));
	down->kind = c->kind;
	down->deadline_ms = c->deadline_ms;
	down->wants_answer = c->wants_answer;
	memcpy(down->bytes, c->record, c->len);
	return down;
}

/* Nobody waits for the answers to a shadow's report, which name none, and to a device's question for its configuration. */
static void take_outcome(const struct cw_topic *t, struct cw_bytes payload)
{
	int32_t code = CW_CODE_OK;
	char text[160] = "";
	struct cw_alink_reply r;

	if (t->kind == CW_TOPIC_SHADOW_GET) {
		if (!cw_alink_shadow_refused(payload, &code, text, sizeof(text)))
			code = CW_CODE_OK;
	} else if (cw_alink_reply(payload, &r) == 0) {
		code = r.code;
		(void)snprintf(text, sizeof(text), "%s", r.message[0] != '\0' ? r.message : cw_code_text(code));
		cw_alink_reply_drop(&r);
	}
	if (code == CW_CODE_OK) {
		cw_count(upstream, replies_ok);
		return;
	}
	cw_count(upstream, replies_failed);
	cw_log(upstream_reply_failed, text, CW_LB("product", t->pk.ptr, t->pk.len), CW_LB("device", t->dn.ptr, t->dn.len),
	       CW_LI("code", code));
}

int cw_message_take(struct cw_upstream *u, const struct cw_topic *t, struct cw_bytes topic, struct cw_bytes payload,
		    uint64_t ack)
{
	struct cw_alink_command c;
	struct cw_downlink *down;
	int rc;

	if (t->dn.len > 0 && cw_upstream_find(u, t->pk, t->dn) == NULL) {
		cw_message_odd(u, "for a device that is not here", topic);
		return CW_ENOENT;
	}
	rc = cw_alink_command(t, topic, payload, &c);
	if (rc == 0) {
		down = downlink_of(u, t, &c, ack);
		cw_free(c.record);
		if (down != NULL)
			cw_upstream_command(u, down);
		rc = down == NULL ? CW_ENOMEM : 0;
	}
	if (rc == CW_ENOENT)
		take_outcome(t, payload);
	if (rc < 0 && rc != CW_ENOENT) /* that one is an answer to something of ours */
		cw_message_odd(u, rc == CW_EPROTO ? "malformed" : rc == CW_ENOMEM ? "out of memory" : "not understood", topic);
	return rc;
}

int cw_message_answer(const struct cw_downlink *d, char **ret_text, size_t *ret_len)
{
	struct cw_bytes reply = cw_bytes_of(d->reply, d->reply_len);
	int rc;

	if (d->kind == CW_KIND_RRPC) {
		*ret_text = cw_memdup(reply.ptr, reply.len);
		*ret_len = reply.len;
		return *ret_text == NULL ? CW_ENOMEM : 0;
	}
	rc = cw_alink_answer(d->request, d->code, reply, ret_text, ret_len);
	if (rc < 0 && rc != CW_ENOMEM) /* what the decoder said cannot be sent; that it answered can */
		rc = cw_alink_answer(d->request, d->code, cw_bytes_of(NULL, 0), ret_text, ret_len);
	return rc;
}

void cw_message_settle(struct cw_upstream *u, struct cw_parcel *p, const struct cw_alink_reply *r)
{
	const char *text = r->message[0] != '\0' ? r->message : cw_code_text(r->code);

	switch (cw_code_action(r->code)) {
	case CW_CODE_DONE: cw_lane_settle(&u->lane, p, CW_SETTLED_DONE, 0, NULL); return;
	case CW_CODE_REFUSED: cw_lane_settle(&u->lane, p, CW_SETTLED_REFUSED, r->code, text); return;
	default: cw_lane_again(&u->lane, p); return;
	}
}

void cw_message_note_reply(struct cw_updevice *d, const char *request, const struct cw_alink_reply *r)
{
	if (r->code == CW_CODE_OK)
		cw_count(upstream, replies_ok);
	else
		cw_count(upstream, replies_failed);
	if (d == NULL)
		return;
	if (r->code != CW_CODE_OK)
		cw_log(upstream_reply_failed, r->message[0] != '\0' ? r->message : cw_code_text(r->code),
		       CW_LS("product", d->product_key), CW_LS("device", d->device_name), CW_LI("code", r->code));
	if (request[0] != '\0')
		cw_upstream_reply(d, request, r->code, r->data);
}
