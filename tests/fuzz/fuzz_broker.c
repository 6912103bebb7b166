/*
 * Commands that a broker passes on: template, newline, topic, newline, payload. A command that results is a well-formed
 * record for the device that the topic names, and an answer goes to a topic that may be published to. This file stands in for
 * the upstream below down.c.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/decoder.h"
#include "upstream/broker/broker.h"
#include "upstream/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct cw_updevice *const somebody = (struct cw_updevice *)1;

struct cw_updevice *cw_upstream_find(struct cw_upstream *u, struct cw_bytes product_key, struct cw_bytes device_name)
{
	(void)u;
	return product_key.len > 0 && product_key.len < 32 && device_name.len > 0 && device_name.len < 64 ? somebody : NULL;
}

struct cw_downlink *cw_downlink_new(struct cw_upstream *u, size_t len)
{
	struct cw_downlink *d = cw_zalloc(sizeof(*d) + len);

	(void)u;
	if (d == NULL)
		abort();
	d->len = len;
	return d;
}

int cw_downlink_want_ack(struct cw_downlink *d, uint64_t number)
{
	(void)d;
	(void)number;
	abort(); /* a broker's message is acknowledged by the client library */
}

void cw_downlink_free(struct cw_downlink *d)
{
	cw_free(d);
}

void cw_message_odd(struct cw_upstream *u, const char *why, struct cw_bytes topic)
{
	(void)u;
	(void)topic;
	if (*why == '\0')
		abort();
}

static void check_topic(const char *topic)
{
	if (strpbrk(topic, "+#") != NULL || topic[0] == '$' || strlen(topic) >= BROKER_TOPIC_MOST)
		abort();
}

int broker_say(struct broker *b, const char *topic, struct cw_bytes text, int retain, int keep)
{
	(void)b;
	if (topic[0] == '\0' || text.len == 0 || retain || !keep)
		abort();
	check_topic(topic);
	return 0;
}

void cw_upstream_command(struct cw_upstream *u, struct cw_downlink *d)
{
	struct cw_record rec;

	(void)u;
	if (!cw_record_read(cw_bytes_of(d->bytes, d->len), &rec) || rec.kind != d->kind)
		abort();
	if (memchr(d->product_key, '/', strlen(d->product_key)) != NULL || d->product_key[0] == '\0' || d->device_name[0] == '\0')
		abort();
	if (d->wants_answer)
		check_topic(d->answer_topic);
	cw_downlink_free(d);
}

/* The next line, as a text of its own (cw_free), and what is behind it. */
static char *take_line(struct cw_bytes *rest)
{
	const uint8_t *end = rest->len > 0 ? memchr(rest->ptr, '\n', rest->len) : NULL;
	size_t n = end == NULL ? rest->len : (size_t)(end - rest->ptr);
	char *line = cw_strndup((const char *)rest->ptr, n);

	if (line == NULL)
		abort();
	n += end != NULL;
	*rest = cw_bytes_of(rest->ptr + n, rest->len - n);
	return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cw_upstream_conf conf = { .name = "fuzz" };
	struct broker_settings own = { .reply = "answers/${productKey}/${deviceName}/${request}" };
	struct cw_bytes rest = cw_bytes_of(data, size);
	struct cw_msg msg = { "" };
	static struct cw_upstream u;
	static struct broker b;
	char *command, *topic, filter[BROKER_TOPIC_MOST];

	if (size == 0)
		return 0;
	command = take_line(&rest);
	topic = take_line(&rest);
	u.conf = conf;
	b.u = &u;
	b.own = &own;
	own.command = command;
	if (broker_template_check("command", command, BROKER_DEVICE | BROKER_VAR(NAME) | BROKER_VAR(REQUEST), BROKER_DEVICE | BROKER_VAR(NAME), 1,
	                          &msg) == 0) {
		if (broker_template_filter(command, filter, sizeof(filter)) != 0 || strstr(filter, "${") != NULL)
			abort();
		broker_message(&b, cw_bytes_text(topic), rest, size % 8 == 0);
	} else if (msg.text[0] == '\0') {
		abort();
	}
	cw_free(command);
	cw_free(topic);
	return 0;
}
