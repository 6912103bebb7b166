/*
 * self.c - what the bridge does as a device of its own: it asks the platform for the time, notes which remote
 * configuration there is for it, and posts its own log while the platform's log switch for it is on. All are the
 * gateway's own messages, QoS 0, within its rate.
 *
 * A remote configuration is not applied: what a gateway does is in its file, and a file that comes over the network would
 * say who may command it. The operator sees in the log and in the status that there is one.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log_tap.h"
#include "base/mem.h"
#include "base/stat.h"
#include "causeway/command.h"
#include "platform/codes.h"
#include "upstream/mqtt/mqtt.h"

#define TIME_EVERY_MS 3600000u
#define LOG_EVERY_MS 1000u
#define LOG_LINES_POST 40 /* in one post: the platform takes no more */
#define LOG_LINES_KEPT 200

static struct cw_timers *timers(struct mqtt *m)
{
	return cw_worker_timers(m->u->w);
}

/* ---- time ------------------------------------------------------------------------ */

static void on_time_due(struct cw_timer *t);

static void ask_time(struct mqtt *m)
{
	char topic[CW_TOPIC_MAX], text[64];
	int n = snprintf(topic, sizeof(topic), "/ext/ntp/%s/%s/request", m->pk, m->dn);
	char *owned;

	cw_timer_set(timers(m), &m->time_timer, TIME_EVERY_MS, on_time_due);
	if (n < 0 || (size_t)n >= sizeof(topic))
		return;
	n = snprintf(text, sizeof(text), "{\"deviceSendTime\":\"%lld\"}", (long long)cw_clock_wall_ms());
	owned = cw_memdup(text, (size_t)n);
	cw_pace_window_note(&m->own, cw_worker_now(m->u->w));
	if (owned != NULL)
		(void)mqtt_say(m, topic, owned, (size_t)n);
}

static void on_time_due(struct cw_timer *t)
{
	ask_time(cw_container_of(t, struct mqtt, time_timer));
}

int mqtt_self_time(struct mqtt *m, struct cw_bytes payload)
{
	int64_t sent, received, answered, now = cw_clock_wall_ms();
	int rc = cw_alink_time(payload, &sent, &received, &answered);

	if (rc < 0 || sent > now || now - sent > MQTT_REPLY_MS) /* not the answer to our question */
		return CW_EPROTO;
	cw_upstream_note_clock(m->u, (received + answered + now - sent) / 2 - now);
	return 0;
}

/* ---- the log ---------------------------------------------------------------------- */

static void on_log_due(struct cw_timer *t);

static void say(struct mqtt *m, const char *what, char *text, size_t len)
{
	char topic[CW_TOPIC_MAX];

	cw_pace_window_note(&m->own, cw_worker_now(m->u->w));
	if (cw_topic_sys(topic, m->pk, m->dn, what) == 0)
		(void)mqtt_say(m, topic, text, len);
	else
		cw_free(text);
}

/* 2020-03-06T15:15:27.464+0000 */
static void format_time(int64_t ms, char out[48])
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(out, 24, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(out + n, 48 - n, ".%03d+0000", (int)(ms % 1000));
}

static void post_lines(struct mqtt *m, const struct cw_log_line *lines, size_t n)
{
	struct cw_alink_log_line out[LOG_LINES_POST];
	char times[LOG_LINES_POST][48], *text;
	size_t i, len;

	for (i = 0; i < n; i++) {
		const struct cw_log_entry *e = cw_log_entry(lines[i].id);

		format_time(lines[i].utc_ms, times[i]);
		out[i] = (struct cw_alink_log_line){ times[i], cw_log_level_name(e->level), e->id, lines[i].text };
	}
	if (cw_alink_log_post(cw_await_next_id(&m->replies), out, n, &text, &len) < 0)
		return;
	say(m, "thing/log/post", text, len);
	cw_count_n(upstream, log_lines, n);
}

static void post_log(struct mqtt *m)
{
	struct cw_log_line *lines = cw_calloc(LOG_LINES_POST, sizeof(*lines));
	uint64_t dropped;
	size_t n;

	while (lines != NULL && cw_pace_window_wait(&m->own, cw_worker_now(m->u->w)) == 0) {
		n = cw_log_tap_take(m->tap, lines, LOG_LINES_POST, &dropped);
		if (n > 0)
			post_lines(m, lines, n);
		if (n < LOG_LINES_POST)
			break;
	}
	cw_free(lines);
}

static void on_log_due(struct cw_timer *t)
{
	struct mqtt *m = cw_container_of(t, struct mqtt, log_timer);

	if (m->tap == NULL || m->state != LINK_UP)
		return;
	post_log(m);
	cw_timer_set(timers(m), &m->log_timer, LOG_EVERY_MS, on_log_due);
}

static void switch_log(struct mqtt *m, int on)
{
	if (on == (m->tap != NULL))
		return;
	cw_log(upstream_log_switch, on ? "on: what is logged here is posted to the platform" : "off",
	       CW_LS("upstream", m->u->conf.name));
	if (!on) {
		cw_log_tap_free(m->tap);
		m->tap = NULL;
	} else if (cw_log_tap_new(LOG_LINES_KEPT, &m->tap) == 0) {
		cw_timer_set(timers(m), &m->log_timer, LOG_EVERY_MS, on_log_due);
	}
}

static void ask_log_switch(struct mqtt *m)
{
	char *text;
	size_t len;

	if (cw_alink_log_config_get(cw_await_next_id(&m->replies), &text, &len) == 0)
		say(m, "thing/config/log/get", text, len);
}

static void take_mode(struct mqtt *m, struct cw_bytes map)
{
	int64_t mode = cw_map_int(cw_map_get(map, "content"), "mode", -1);

	if (mode == 0 || mode == 1)
		switch_log(m, (int)mode);
}

/* ---- remote configuration ------------------------------------------------------------ */

static void ask_config(struct mqtt *m)
{
	char *text;
	size_t len;

	if (cw_alink_config_get(cw_await_next_id(&m->replies), &text, &len) == 0)
		say(m, "thing/config/get", text, len);
}

static void copy_text(char *to, size_t size, struct cw_bytes from)
{
	(void)snprintf(to, size, "%.*s", (int)from.len, (const char *)from.ptr);
}

/* The link to the file is left out: whoever has it may read the file. */
static void note_config(struct mqtt *m, struct cw_bytes map)
{
	struct cw_upstream_offer offer = { .told_ms = cw_clock_wall_ms(), .size = cw_map_int(map, "configSize", 0) };
	struct cw_upstream_status now;

	copy_text(offer.id, sizeof(offer.id), cw_map_text(map, "configId"));
	copy_text(offer.sha256, sizeof(offer.sha256), cw_map_text(map, "sign"));
	if (offer.id[0] == '\0')
		return;
	cw_upstream_status(m->u, &now);
	if (strcmp(now.config.id, offer.id) != 0)
		cw_log(upstream_config, "a remote configuration for this gateway; it is noted, not applied: change the "
		       "configuration file and reload", CW_LS("upstream", m->u->conf.name), CW_LS("configId", offer.id),
		       CW_LI("bytes", offer.size), CW_LS("sha256", offer.sha256));
	cw_upstream_note_config(m->u, &offer);
}

static int take_config(struct mqtt *m, const struct cw_topic *t, const struct cw_alink_reply *r)
{
	if (cw_topic_is(t->rest, "thing/config/push")) {
		note_config(m, r->params);
		return 1;
	}
	if (!cw_topic_is(t->rest, CW_TOPIC_CONFIG_REPLY))
		return 0;
	if (r->code == CW_CODE_OK) {
		cw_count(upstream, replies_ok);
		note_config(m, r->data);
	}
	return 1; /* that there is none, or that the service is off, is no news */
}

int mqtt_self_take(struct mqtt *m, const struct cw_topic *t, const struct cw_alink_reply *r)
{
	if (take_config(m, t, r))
		return 1;
	if (cw_topic_is(t->rest, "thing/config/log/push")) {
		take_mode(m, r->params);
		return 1;
	}
	if (!cw_topic_is(t->rest, "thing/config/log/get_reply") && !cw_topic_is(t->rest, "thing/log/post_reply"))
		return 0;
	if (r->code == CW_CODE_OK)
		cw_count(upstream, replies_ok);
	else
		cw_count(upstream, replies_failed); /* not logged: that line would be posted, and refused, in turn */
	if (r->code == CW_CODE_OK && cw_topic_is(t->rest, "thing/config/log/get_reply"))
		take_mode(m, r->data);
	return 1;
}

/* ---- life --------------------------------------------------------------------------- */

void mqtt_self_fini(struct mqtt *m)
{
	cw_log_tap_free(m->tap);
}

void mqtt_self_up(struct mqtt *m)
{
	ask_time(m);
	ask_log_switch(m);
	ask_config(m);
	if (m->tap != NULL) /* what was logged while the link was down */
		cw_timer_set(timers(m), &m->log_timer, LOG_EVERY_MS, on_log_due);
}

void mqtt_self_down(struct mqtt *m)
{
	cw_timer_stop(timers(m), &m->time_timer);
	cw_timer_stop(timers(m), &m->log_timer);
}
