/* raw.c - messages of raw products: through the script to what alink.c knows, and back; see script.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cloud/core/alink/alink.h"
#include "cloud/core/model/script.h"
#include "cloud/core/parse.h"
#include "cloud/core/traffic/call.h"
#include "cloud/core/traffic/msglog.h"

/* A message on its way through the script. */
struct passage {
	struct cloud_script_job job;
	struct cw_cloud *cloud;
	const char *channel; /* static */
	char topic[256];     /* answers and custom topics */
	char *text;          /* replies: sent as it is when the script yields nothing */
};

static struct passage *passage_new(struct cw_cloud *c, struct cloud_device *d, enum script_frame kind,
                                   void (*done)(struct cloud_script_job *job, const struct cloud_script_result *r))
{
	struct passage *p = cw_zalloc(sizeof(*p));

	if (p == NULL)
		return NULL;
	p->cloud = c;
	p->job.device = d;
	p->job.kind = kind;
	p->job.done = done;
	return p;
}

static void passage_free(struct passage *p)
{
	free(p->text); /* from json_dumps() */
	cw_free(p);
}

static void send_reply(struct cw_cloud *c, struct cloud_device *d, const void *bytes, size_t len)
{
	char topic[256];

	(void)snprintf(topic, sizeof(topic), "/sys/%s/thing/model/up_raw_reply", d->id);
	(void)cw_cloud_send(c, d, topic, bytes, len, 0, CLOUD_REPLY);
}

/* The platform's parse error goes as JSON: the script that failed is not asked to wrap it. */
static void reply_failure(struct cw_cloud *c, struct cloud_device *d, int code)
{
	json_t *body = json_pack("{s:s, s:i, s:{}, s:s, s:s, s:s}", "id", "0", "code", code, "data", "message",
	                         cw_cloud_code_text(code), "method", "thing.model.up_raw", "version", "1.0");
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;

	c->stats.replies++;
	c->stats.replies_failed++;
	if (text != NULL)
		send_reply(c, d, text, strlen(text));
	free(text);
	json_decref(body);
}

/* ---- up ---- */

/* thing.event.property.post -> thing/event/property/post, and the rule for it. NULL: none a device may ask for. */
static const struct alink_rule *rule_of(const json_t *body, const char *device, char topic[256], struct cloud_topic *t)
{
	const char *method = json_string_value(json_object_get(body, "method"));
	const struct alink_rule *rule;
	size_t i;
	int n;

	if (method == NULL || strncmp(method, "thing.", 6) != 0 || strpbrk(method, "/+#") != NULL)
		return NULL;
	n = snprintf(topic, 256, "/sys/%s/", device);
	if (n < 0 || (size_t)n + strlen(method) >= 256)
		return NULL;
	memcpy(topic + n, method, strlen(method) + 1);
	for (i = (size_t)n; topic[i] != '\0'; i++) {
		if (topic[i] == '.')
			topic[i] = '/';
	}
	cw_cloud_topic_parse(topic, strlen(topic), t);
	rule = cw_cloud_alink_rule(t);
	return rule != NULL && rule->mode == ALINK_REQUEST && !rule->gateway ? rule : NULL;
}

static void on_up(struct cloud_script_job *job, const struct cloud_script_result *r)
{
	struct passage *p = cw_container_of(job, struct passage, job);
	json_t *body = r->output != NULL ? cw_cloud_json(r->output, r->len, 0, NULL) : NULL;
	const struct alink_rule *rule;
	struct cloud_topic t;
	char topic[256];

	if (r->code != 0) {
		if (r->code != 500)
			reply_failure(p->cloud, job->device, r->code);
	} else if (body == NULL) {
		reply_failure(p->cloud, job->device, 26007);
	} else if ((rule = rule_of(body, job->device->id, topic, &t)) == NULL) {
		reply_failure(p->cloud, job->device, 6450);
	} else {
		/* What the bytes stood for is shown as a message of its own. */
		cw_cloud_log_add(p->cloud->log, &(struct cloud_log_note){ .device = job->device->id, .topic = topic, .topic_len =
		                 strlen(topic), .payload = r->output, .len = r->len, .outcome = "decoded" });
		cw_cloud_alink_decoded(p->cloud, job->device, rule, &t, p->channel, body, r->len);
		body = NULL;
	}
	json_decref(body);
	passage_free(p);
}

void cw_cloud_raw_up(struct cw_cloud *c, struct cloud_link *l, struct cloud_device *d, const char *bytes, size_t len)
{
	struct passage *p;
	int code;

	if (d->product->script == NULL)
		return; /* taken and shown as it is */
	p = passage_new(c, d, SCRIPT_UP, on_up);
	if (p == NULL)
		return;
	p->channel = l->ops->channel;
	code = cw_cloud_script_submit(c, &p->job, NULL, bytes, len);
	if (code != 0) {
		reply_failure(c, d, code);
		passage_free(p);
	}
}

/* When the script yields nothing for a reply the JSON itself is sent. */
static void on_reply(struct cloud_script_job *job, const struct cloud_script_result *r)
{
	struct passage *p = cw_container_of(job, struct passage, job);

	if (r->code == 0 && r->output != NULL)
		send_reply(p->cloud, job->device, r->output, r->len);
	else if (r->code != 500)
		send_reply(p->cloud, job->device, p->text, strlen(p->text));
	passage_free(p);
}

void cw_cloud_raw_reply(struct cw_cloud *c, struct cloud_device *d, json_t *body)
{
	struct passage *p = passage_new(c, d, SCRIPT_DOWN, on_reply);

	if (p != NULL)
		p->text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
	json_decref(body);
	if (p == NULL)
		return;
	if (p->text == NULL) {
		passage_free(p);
	} else if (cw_cloud_script_submit(c, &p->job, NULL, p->text, strlen(p->text)) != 0) {
		send_reply(c, d, p->text, strlen(p->text));
		passage_free(p);
	}
}

/* ---- answers to what the platform asked ---- */

static void on_answer(struct cloud_script_job *job, const struct cloud_script_result *r)
{
	struct passage *p = cw_container_of(job, struct passage, job);

	if (r->code == 0 && r->output != NULL) {
		cw_cloud_log_add(p->cloud->log, &(struct cloud_log_note){ .device = job->device->id, .topic = p->topic, .topic_len =
		                 strlen(p->topic), .payload = r->output, .len = r->len, .outcome = "decoded" });
		(void)cw_cloud_call_answer(p->cloud, job->device, p->topic, strlen(p->topic), r->output, r->len);
	}
	passage_free(p);
}

static void pass(struct cw_cloud *c, struct cloud_device *d, enum script_frame kind, const char *topic, size_t topic_len,
                 const char *bytes, size_t len, void (*done)(struct cloud_script_job *job, const struct cloud_script_result *r))
{
	struct passage *p = topic_len < sizeof(p->topic) ? passage_new(c, d, kind, done) : NULL;

	if (p == NULL)
		return;
	memcpy(p->topic, topic, topic_len);
	if (cw_cloud_script_submit(c, &p->job, kind == SCRIPT_TOPIC ? p->topic : NULL, bytes, len) != 0)
		passage_free(p);
}

void cw_cloud_raw_answer(struct cw_cloud *c, struct cloud_device *d, const char *topic, size_t topic_len, const char *bytes,
                         size_t len)
{
	if (d->product->script != NULL)
		pass(c, d, SCRIPT_UP, topic, topic_len, bytes, len, on_answer);
}

/* ---- custom topics ---- */

static void on_transformed(struct cloud_script_job *job, const struct cloud_script_result *r)
{
	struct passage *p = cw_container_of(job, struct passage, job);

	if (r->code == 0 && r->output != NULL)
		cw_cloud_log_add(p->cloud->log, &(struct cloud_log_note){ .device = job->device->id, .topic = p->topic, .topic_len =
		                 strlen(p->topic), .payload = r->output, .len = r->len, .outcome = "transformed" });
	passage_free(p);
}

void cw_cloud_raw_custom(struct cw_cloud *c, struct cloud_device *d, const char *topic, size_t topic_len, const char *bytes,
                         size_t len)
{
	if (cw_cloud_script_mentions(d->product, SCRIPT_TOPIC))
		pass(c, d, SCRIPT_TOPIC, topic, topic_len, bytes, len, on_transformed);
}
