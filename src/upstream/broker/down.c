/*
 * down.c - commands: a message on a topic of the `command` template becomes a command
 * for its device, and its end, whatever it is, a message on the `reply` topic.
 *
 * A payload is JSON, {"id": .., "params": ..} or the parameters alone; for `raw` it
 * is bytes. What cannot be understood but names a device of ours is answered, too.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "causeway/command.h"
#include "upstream/broker/broker.h"
#include "json/json.h"

static const char raw_name[] = "thing/model/down_raw"; /* what decoders know raw data by */

void broker_subscribe(struct broker *b)
{
	char filter[BROKER_TOPIC_MOST];
	const char *list[] = { filter };
	int rc;

	if (b->own->command[0] == '\0')
		return;
	rc = broker_template_filter(b->own->command, filter, sizeof(filter));
	if (rc == 0)
		rc = b->ops->subscribe(b->client, list, 1, NULL);
	if (rc < 0 && rc != CW_ECLOSED) /* closed: the next connection subscribes again */
		cw_log(upstream_odd, "a SUBSCRIBE could not be sent", CW_LS("upstream", b->u->conf.name));
}

/* What a message asks for, before it is a command. */
struct asked {
	struct broker_vars vars;
	char request[sizeof(((struct cw_downlink *)0)->request)];
	uint32_t kind;
	uint8_t *item; /* owned: the payload, encoded */
	struct cw_bytes name, body;
};

static int copy_text(char *out, size_t size, struct cw_bytes from)
{
	if (from.len >= size || memchr(from.len > 0 ? from.ptr : (const uint8_t *)"", 0, from.len) != NULL)
		return CW_ELIMIT;
	memcpy(out, from.len > 0 ? from.ptr : (const uint8_t *)"", from.len);
	out[from.len] = '\0';
	return 0;
}

/* The caller's id: of the topic, else of the payload; else one is made where the reply's topic needs it. */
static int take_request(struct broker *b, struct asked *a, struct cw_bytes map)
{
	struct cw_item id = cw_map_item(map, "id");
	int n = 0;

	if (a->vars.of[BROKER_REQUEST].len > 0)
		return copy_text(a->request, sizeof(a->request), a->vars.of[BROKER_REQUEST]);
	if (map.len > 0 && id.type == CW_ITEM_TEXT)
		return copy_text(a->request, sizeof(a->request), id.s);
	if (map.len > 0 && id.type == CW_ITEM_INT)
		n = snprintf(a->request, sizeof(a->request), "%lld", (long long)id.i);
	else if ((broker_template_vars(b->own->reply) & BROKER_VAR(REQUEST)) != 0)
		n = snprintf(a->request, sizeof(a->request), "%u", cw_await_next_id(&b->ids));
	return n < 0 ? CW_ELIMIT : 0;
}

/* 0; CW_EPROTO: not what this kind of command takes. The request id is taken in any case. */
static int read_payload(struct broker *b, struct asked *a, struct cw_bytes payload)
{
	struct cw_bytes map = cw_bytes_of(NULL, 0), name = a->vars.of[BROKER_NAME];
	size_t len = 0;
	int rc = 0;

	a->kind = cw_topic_is(name, "set")   ? CW_KIND_PROPERTY_SET
		  : cw_topic_is(name, "get") ? CW_KIND_PROPERTY_GET
		  : cw_topic_is(name, "raw") ? CW_KIND_RAW_DOWN
					     : CW_KIND_SERVICE;
	a->body = payload;
	if (a->kind == CW_KIND_RAW_DOWN) {
		a->name = cw_bytes_text(raw_name);
		return take_request(b, a, map);
	}
	if (payload.len > 0)
		rc = cw_json_to_item(payload, &a->item, &len);
	if (rc == CW_ENOMEM)
		return rc;
	a->body = cw_bytes_of(a->item, len);
	if (rc == 0 && len > 0 && a->item[0] == 0xbf) {
		map = a->body;
		if (cw_map_get(map, "params").len > 0)
			a->body = cw_map_get(map, "params");
	}
	if (a->kind == CW_KIND_SERVICE)
		a->name = name;
	if (take_request(b, a, map) < 0)
		return CW_ELIMIT;
	if (a->body.len > 0 && a->body.ptr[0] != (a->kind == CW_KIND_PROPERTY_GET ? 0x9f : 0xbf))
		return CW_EPROTO;
	return rc < 0 || (a->body.len == 0 && a->kind != CW_KIND_SERVICE) ? CW_EPROTO : 0;
}

static void write_record(struct cw_writer *w, const struct asked *a)
{
	cw_record_begin(w, a->kind);
	if (a->name.len > 0) {
		cw_put_uint(w, 1);
		cw_put_textn(w, (const char *)a->name.ptr, a->name.len);
	}
	if (a->kind == CW_KIND_RAW_DOWN) {
		cw_record_body_bytes(w, a->body);
	} else if (a->kind == CW_KIND_PROPERTY_GET) {
		cw_record_body(w);
		cw_put_text(w, "identifiers");
		cw_write_bytes(w, a->body);
		cw_put_end(w);
	} else if (a->body.len > 0) {
		cw_put_uint(w, 7);
		cw_write_bytes(w, a->body);
	} else {
		cw_record_body(w);
		cw_put_end(w);
	}
	cw_record_end(w);
}

/* The command, with where and how it is answered. */
static int make(struct broker *b, struct asked *a, struct cw_downlink **ret)
{
	size_t size = a->body.len + a->name.len + 64;
	struct cw_downlink *down = cw_downlink_new(b->u, size);
	struct cw_writer w;
	struct cw_record check;
	int rc;

	if (down == NULL)
		return CW_ENOMEM;
	*ret = down;
	rc = copy_text(down->product_key, sizeof(down->product_key), a->vars.of[BROKER_PRODUCT_KEY]);
	if (rc == 0)
		rc = copy_text(down->device_name, sizeof(down->device_name), a->vars.of[BROKER_DEVICE_NAME]);
	memcpy(down->request, a->request, sizeof(down->request));
	down->kind = a->kind;
	down->wants_answer = b->own->reply[0] != '\0';
	a->vars.of[BROKER_REQUEST] = cw_bytes_text(down->request);
	if (rc == 0 && down->wants_answer)
		rc = broker_template_fill(b->own->reply, &a->vars, down->answer_topic, sizeof(down->answer_topic));
	if (rc < 0)
		return rc;
	w = cw_writer_of(down->bytes, size);
	write_record(&w, a);
	down->len = w.len;
	return !w.overflow && cw_record_read(cw_written(&w), &check) ? 0 : CW_EPROTO;
}

int broker_command(struct broker *b, const struct broker_vars *vars, struct cw_bytes payload, struct cw_downlink **ret)
{
	struct asked a = { .vars = *vars };
	int rc = 0, understood;

	*ret = NULL;
	understood = read_payload(b, &a, payload);
	if (understood == CW_EPROTO)
		a.body = cw_bytes_of(NULL, 0);
	if (understood == 0 || understood == CW_EPROTO)
		rc = make(b, &a, ret);
	cw_free(a.item);
	return understood < 0 ? understood : rc;
}

void broker_message(struct broker *b, struct cw_bytes topic, struct cw_bytes payload, int retained)
{
	struct cw_downlink *down;
	struct broker_vars vars;
	int rc;

	cw_count(upstream, downlinks);
	if (b->own->command[0] == '\0' || !broker_template_match(b->own->command, topic, &vars)) {
		cw_message_odd(b->u, "not a command's topic", topic);
		return;
	}
	if (retained) {
		cw_message_odd(
			b->u,
			"a retained command, which would come again with every connection; send it without retain",
			topic);
		return;
	}
	if (cw_upstream_find(b->u, vars.of[BROKER_PRODUCT_KEY], vars.of[BROKER_DEVICE_NAME]) == NULL) {
		cw_message_odd(b->u, "for a device that is not here", topic);
		return;
	}
	rc = broker_command(b, &vars, payload, &down);
	if (rc == 0) {
		cw_upstream_command(b->u, down);
		return;
	}
	cw_message_odd(b->u, rc == CW_ENOMEM ? "out of memory" : "malformed", topic);
	if (down != NULL && down->wants_answer && down->answer_topic[0] != '\0') {
		down->code = CW_CODE_BAD_INPUT;
		broker_answer(b, down);
	}
	cw_downlink_free(down);
}

void broker_answer(void *connector, struct cw_downlink *d)
{
	struct broker *b = connector;
	char *text = NULL;
	size_t len = 0;

	if (cw_message_answer(d, &text, &len) < 0 || broker_say(b, d->answer_topic, cw_bytes_of(text, len), 0, 1) < 0)
		cw_count(upstream, answers_lost);
	cw_free(text);
}
