/*
 * hj212_command.c - the life of a request.
 *
 * Sent with a number (QN) of its own; the device answers 9011, then the data if any, then 9012. No first answer: sent
 * again with the same number, a few times. After 9011 nothing is sent again: silence then is a failure. Notifications
 * (2012, 2022) are answered with 9013 and nothing else. A command may be several requests, one after another.
 */
#include "hj212.h"

#include <stdio.h>
#include <stdlib.h>

/* Results of the device are codes of its own: 100000 + QnRtn, 101000 + ExeRtn. */
#define CODE_QNRTN 100000
#define CODE_EXERTN 101000
#define EXE_NO_DATA 100u
#define TAKEN 16u /* packets of a request that may come again */

struct hj_cmd {
	struct hj_cmd *next;
	uint64_t id;            /* of the host */
	uint64_t due_ms;        /* monotonic */
	int64_t begin_ms, end_ms; /* of a history that was asked for; 0: not limited */
	size_t plan_len, at;    /* at: where the next step begins */
	size_t size;            /* charged */
	uint8_t *data;          /* what goes into the reply: members of a map, or maps of an array */
	size_t data_len, step_at; /* step_at: where those of the step at hand begin */
	unsigned packets, kept;
	uint64_t taken[TAKEN];  /* hashes of packets, the newest ones; the low bit: it is in the reply */
	const char *cp;         /* of the step at hand */
	uint16_t cn;
	uint8_t flags, internal, accepted, tries, property, kind;
	char qn[18];
	uint8_t plan[];
};

/* ---- ending --------------------------------------------------------------------------------- */

static void unlink_cmd(struct hj_device *dev, struct hj_cmd *k)
{
	struct hj_cmd **at = &dev->cmds;

	while (*at != k)
		at = &(*at)->next;
	*at = k->next;
}

static void cmd_free(struct cw_decoder *d, const struct cw_event *ev, struct hj_cmd *k)
{
	d->host->charge(d->hx, ev->conn, -(int64_t)k->size);
	free(k->data);
	free(k);
}

static void done(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, struct hj_cmd *k, int code, struct cw_bytes reply)
{
	unlink_cmd(dev, k);
	if (!k->internal)
		d->host->command_done(d->hx, ev->conn, k->id, code, reply);
	cmd_free(d, ev, k);
}

static void fail(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, struct hj_cmd *k, int code, const char *key,
                 unsigned value, const char *message)
{
	uint8_t buf[320];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));

	cw_put_map(&w);
	if (key != NULL)
		cw_field_uint(&w, key, value);
	cw_field_text(&w, "message", message);
	cw_put_end(&w);
	done(d, ev, dev, k, code, cw_written(&w));
}

/* With what was collected; `exe` 0: a notification, which has no result. */
static void succeed(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, struct hj_cmd *k, unsigned exe)
{
	struct cw_writer w = cw_writer_of(d->scratch, HJ_SCRATCH);

	cw_put_map(&w);
	if (!k->property && exe != 0)
		cw_field_uint(&w, "exeRtn", exe);
	if (k->flags & HJ_COLLECT) {
		cw_field_array(&w, "packets");
		cw_write_raw(&w, k->data, k->data_len);
		cw_put_end(&w);
		cw_field_uint(&w, "packetCount", k->packets);
	} else {
		cw_write_raw(&w, k->data, k->data_len);
	}
	cw_put_end(&w);
	done(d, ev, dev, k, CW_CODE_OK, cw_written(&w));
}

/* ---- sending -------------------------------------------------------------------------------- */

static void wait_until(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, struct hj_cmd *k, uint64_t ms)
{
	k->due_ms = ev->mono_ms + ms;
	hj_due(d, ev, dev->conn, k->due_ms);
}

static uint32_t over_ms(const struct hj_conf *conf, const struct hj_device *dev)
{
	return dev->over_ms > 0 ? dev->over_ms : conf->over_ms;
}

static uint32_t recount(const struct hj_conf *conf, const struct hj_device *dev)
{
	return dev->recount != UINT32_MAX ? dev->recount : conf->recount;
}

/* The host's deadline is for what is done at once; calibration and history take longer. */
static void extend(struct cw_decoder *d, const struct cw_event *ev, const struct hj_cmd *k, uint64_t ms)
{
	if ((k->flags & HJ_LONG) && !k->internal)
		d->host->command_extend(d->hx, ev->conn, k->id, ms < 600000 ? ms : 600000);
}

static void send_request(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, struct hj_cmd *k)
{
	const struct hj_conf *conf = hj_conf_of(d, dev->conn, dev);
	unsigned version = hj_version_of(conf, dev), flag = version == HJ_2005 ? conf->flag_2005 : version << 2 | 1;
	const char *pw = hj_password_of(conf, dev);
	int n = snprintf(d->out + 6, sizeof(d->out) - 32, "QN=%s;ST=%s;CN=%04u;%s%s%sMN=%s;Flag=%u;CP=&&%s&&", k->qn,
	                 dev->has_st ? dev->st : conf->system, k->cn, pw[0] == 0 ? "" : "PW=", pw, pw[0] == 0 ? "" : ";", dev->mn, flag, k->cp);

	if (n > 0 && (size_t)n <= HJ_SEGMENT_MAX)
		d->host->send(d->hx, ev->conn, cw_bytes_of(d->out, hj_close_frame(d->out, (size_t)n)));
	wait_until(d, ev, dev, k, over_ms(conf, dev));
}

/* Two requests of one device never have the same number, whatever the clock says. */
static void new_number(const struct cw_event *ev, const struct hj_conf *conf, struct hj_device *dev, struct hj_cmd *k)
{
	dev->last_qn_ms = ev->now_ms > dev->last_qn_ms ? ev->now_ms : dev->last_qn_ms + 1;
	hj_time_text(dev->last_qn_ms, conf->zone_min, 1, k->qn);
}

static void note_period(struct hj_cmd *k, const struct hj_conf *conf)
{
	const char *begin = strstr(k->cp, "BeginTime="), *end = strstr(k->cp, "EndTime=");

	k->begin_ms = k->end_ms = 0;
	if (begin != NULL && end != NULL && strlen(begin) >= 24 && strlen(end) >= 22) {
		(void)hj_time(cw_bytes_of(begin + 10, 14), conf->zone_min, &k->begin_ms);
		(void)hj_time(cw_bytes_of(end + 8, 14), conf->zone_min, &k->end_ms);
	}
}

static struct hj_cmd *open_with(struct hj_device *dev, unsigned cn)
{
	struct hj_cmd *k;

	for (k = dev->cmds; k != NULL; k = k->next)
		if (k->cn == cn)
			return k;
	return NULL;
}

/* 1: sent; 0: the plan is through. */
static int next_step(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, struct hj_cmd *k)
{
	const struct hj_conf *conf = hj_conf_of(d, dev->conn, dev);

	if (k->at >= k->plan_len)
		return 0;
	k->cn = (uint16_t)(k->plan[k->at] << 8 | k->plan[k->at + 1]);
	k->flags = k->plan[k->at + 2];
	k->cp = (const char *)k->plan + k->at + 3;
	k->at += 3 + strlen(k->cp) + 1;
	k->accepted = k->tries = 0;
	k->step_at = k->data_len;
	note_period(k, conf);
	new_number(ev, conf, dev, k);
	extend(d, ev, k, (uint64_t)conf->exec_long_ms + (uint64_t)over_ms(conf, dev) * (recount(conf, dev) + 1u));
	send_request(d, ev, dev, k);
	return 1;
}

static struct hj_cmd *cmd_new(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, struct cw_bytes plan)
{
	size_t size = sizeof(struct hj_cmd) + plan.len;
	struct hj_cmd *k;

	if (d->host->charge(d->hx, ev->conn, (int64_t)size) < 0)
		return NULL;
	k = calloc(1, size);
	if (k == NULL) {
		d->host->charge(d->hx, ev->conn, -(int64_t)size);
		return NULL;
	}
	k->size = size;
	k->plan_len = plan.len;
	memcpy(k->plan, plan.ptr, plan.len);
	k->next = dev->cmds;
	dev->cmds = k;
	return k;
}

void hj_command_own(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, struct cw_bytes plan)
{
	struct hj_cmd *k;

	if (plan.len < 4 || open_with(dev, (unsigned)(plan.ptr[0] << 8 | plan.ptr[1])) != NULL)
		return; /* it is under way */
	k = cmd_new(d, ev, dev, plan);
	if (k == NULL)
		return;
	k->internal = 1;
	next_step(d, ev, dev, k);
}

/* ---- from the platform ------------------------------------------------------------------------ */

static int refuse(struct cw_decoder *d, const struct cw_event *ev, int code, const char *why)
{
	uint8_t buf[320];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));

	cw_put_map(&w);
	cw_field_text(&w, "message", why);
	cw_put_end(&w);
	d->host->command_done(d->hx, ev->conn, ev->id, code, cw_written(&w));
	return 0;
}

int hj_command(struct cw_decoder *d, const struct cw_event *ev)
{
	struct hj_device *dev = ev->device_ctx == NULL ? NULL : *ev->device_ctx;
	uint8_t plan[HJ_CP_MAX + 256];
	struct cw_writer w = cw_writer_of(plan, sizeof(plan));
	struct cw_record rec;
	char why[256] = "";
	struct hj_cmd *k;
	int rc;

	if (dev == NULL || !dev->attached)
		return CW_EBUSY;
	if (!cw_record_read(ev->data, &rec))
		return CW_EINVAL;
	if (rec.kind == CW_KIND_ENABLE || rec.kind == CW_KIND_DISABLE || rec.kind == CW_KIND_DELETE) {
		d->host->command_done(d->hx, ev->conn, ev->id, CW_CODE_OK, cw_bytes_of(NULL, 0));
		return 0;
	}
	rc = hj_plan(d, ev, dev, &rec, &w, why, sizeof(why));
	if (rc == CW_ENOENT)
		return refuse(d, ev, CW_CODE_UNSUPPORTED, why);
	if (rc == CW_EUNSUPPORTED)
		return refuse(d, ev, CW_CODE_NOT_THERE, why);
	if (rc < 0)
		return refuse(d, ev, CW_CODE_BAD_INPUT, why);
	if (open_with(dev, (unsigned)(plan[0] << 8 | plan[1])) != NULL)
		return CW_EBUSY; /* data is matched by its command number: one at a time */
	k = cmd_new(d, ev, dev, cw_written(&w));
	if (k == NULL)
		return CW_EBUSY;
	k->id = ev->id;
	k->kind = (uint8_t)rec.kind;
	k->property = rec.kind == CW_KIND_PROPERTY_SET || rec.kind == CW_KIND_PROPERTY_GET;
	next_step(d, ev, dev, k);
	return 0;
}

/* ---- from the device -------------------------------------------------------------------------- */

static const char *qn_text(unsigned code)
{
	switch (code) {
	case 2: return "the device refused the request";
	case 3: return "the device says that PW is wrong";
	case 4: return "the device says that MN is wrong";
	case 5: return "the device says that ST is wrong";
	case 6: return "the device says that Flag is wrong";
	case 7: return "the device says that QN is wrong";
	case 8: return "the device says that CN is wrong";
	case 9: return "the device says that the checksum is wrong";
	default: return "the device did not take the request";
	}
}

static const char *exe_text(unsigned code)
{
	switch (code) {
	case 2: return "the device failed for an unknown reason";
	case 3: return "the device says that a condition of the request is wrong";
	case 4: return "the device could not talk to its instrument in time";
	case 5: return "the device is busy";
	case 6: return "the device has a fault";
	default: return "the device failed";
	}
}

/* What a success means for what we know of the device. */
static void apply(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, const struct hj_cmd *k)
{
	const struct hj_conf *conf = hj_conf_of(d, dev->conn, dev);
	unsigned a, b;

	if (k->cn == 1000 && sscanf(k->cp, "OverTime=%u;ReCount=%u", &a, &b) == 2) {
		dev->over_ms = a * 1000;
		dev->recount = b;
	} else if (k->cn == 1062 && sscanf(k->cp, "RtdInterval=%u", &a) == 1) {
		dev->rtd_s = a;
		hj_publish_number(d, ev, dev, "RtdInterval", a);
	} else if (k->cn == 1064 && sscanf(k->cp, "MinInterval=%u", &a) == 1) {
		dev->min_m = a;
		hj_publish_number(d, ev, dev, "MinInterval", a);
	} else if (k->flags & HJ_PASSWORD) {
		const char *pw = strchr(k->cp, '=') + 1;

		snprintf(dev->pw_over, sizeof(dev->pw_over), "%s", conf->password);
		snprintf(dev->pw_set, sizeof(dev->pw_set), "%s", pw);
		dev->pw_old_ok = 1;
	} else {
		return;
	}
	hj_device_save(d, ev, dev);
}

static void step_done(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, struct hj_cmd *k, unsigned exe)
{
	apply(d, ev, dev, k);
	if (!next_step(d, ev, dev, k))
		succeed(d, ev, dev, k, exe);
}

static void first_answer(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, struct hj_cmd *k, unsigned code)
{
	const struct hj_conf *conf = hj_conf_of(d, dev->conn, dev);
	uint32_t ms = k->flags & HJ_LONG ? conf->exec_long_ms : conf->exec_ms;

	if (code != 1) {
		fail(d, ev, dev, k, CODE_QNRTN + (int)code, "qnRtn", code, qn_text(code));
		return;
	}
	if (k->accepted) {
		hj_count(d, HJ_N_UNMATCHED); /* again: it buys no more time */
		return;
	}
	k->accepted = 1;
	extend(d, ev, k, ms);
	wait_until(d, ev, dev, k, ms);
}

static void result(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, struct hj_cmd *k, unsigned code)
{
	if (code == 1 || (code == EXE_NO_DATA && (k->flags & (HJ_COLLECT | HJ_READ))))
		step_done(d, ev, dev, k, code);
	else
		fail(d, ev, dev, k, CODE_EXERTN + (int)code, "exeRtn", code, exe_text(code));
}

/* The number that is answered stands outside CP, or (2005) inside. */
static struct hj_cmd *answered(struct cw_decoder *d, struct hj_device *dev, const struct hj_msg *m)
{
	struct cw_bytes inside = hj_plain(d, m, "QN"), qn = inside.len > 0 && m->qn.len == 0 ? inside : m->qn;
	struct hj_cmd *k;

	for (k = dev->cmds; k != NULL; k = k->next)
		if (cw_bytes_equal(qn, cw_bytes_text(k->qn)) || (inside.len > 0 && cw_bytes_equal(inside, cw_bytes_text(k->qn))))
			return k;
	return NULL;
}

static unsigned code_of(struct cw_decoder *d, const struct hj_msg *m, const char *name, int *ret_there)
{
	uint64_t v;

	*ret_there = hj_digits(hj_plain(d, m, name), &v) && v <= 999;
	return *ret_there ? (unsigned)v : 0;
}

void hj_command_answer(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, const struct hj_msg *m)
{
	struct hj_cmd *k = answered(d, dev, m);
	int there;
	unsigned code;

	if (k == NULL) {
		hj_count(d, HJ_N_UNMATCHED);
		return;
	}
	if (m->cn == 9011) {
		code = code_of(d, m, "QnRtn", &there);
		first_answer(d, ev, dev, k, there ? code : 100);
	} else if (m->cn == 9012) {
		code = code_of(d, m, "ExeRtn", &there);
		result(d, ev, dev, k, there ? code : 2);
	} else if (m->cn == 9013 && (k->flags & HJ_NOTIFY)) {
		step_done(d, ev, dev, k, 0);
	} else {
		/* 9014 with a result inside: some devices answer requests so. */
		code = code_of(d, m, "ExeRtn", &there);
		if (there) {
			result(d, ev, dev, k, code);
			return;
		}
		code = code_of(d, m, "QnRtn", &there);
		if (there)
			first_answer(d, ev, dev, k, code);
		else
			hj_count(d, HJ_N_UNMATCHED);
	}
}

/* What the answer to a read says: of a property its value, of a service all. */
static void put_values(struct cw_decoder *d, struct cw_writer *w, const struct hj_cmd *k, const struct hj_conf *conf, const struct hj_msg *m)
{
	const char *name = k->cn == 1061 ? "RtdInterval" : "MinInterval";
	uint64_t v;

	if (!k->property)
		hj_put_data(d, w, conf, m);
	else if (hj_digits(hj_plain(d, m, name), &v))
		cw_field_uint(w, name, v);
}

/* More of a reply; 0: no room, and it is published instead. */
static int collect(struct cw_decoder *d, const struct cw_event *ev, struct hj_cmd *k, const struct hj_conf *conf, const struct hj_msg *m)
{
	struct cw_writer w = cw_writer_of(d->scratch, HJ_SCRATCH);
	uint8_t *grown;

	if (k->flags & HJ_COLLECT) {
		if (k->kept >= conf->reply_packets)
			return 0;
		cw_put_map(&w);
		hj_put_data(d, &w, conf, m);
		cw_put_end(&w);
	} else {
		/* The last word counts. */
		d->host->charge(d->hx, ev->conn, -(int64_t)(k->data_len - k->step_at));
		k->size -= k->data_len - k->step_at;
		k->data_len = k->step_at;
		put_values(d, &w, k, conf, m);
	}
	if (w.overflow || k->data_len + w.len > conf->reply_bytes || d->host->charge(d->hx, ev->conn, (int64_t)w.len) < 0)
		return 0;
	k->size += w.len;
	grown = realloc(k->data, k->data_len + w.len + 1);
	if (grown == NULL)
		return 0;
	k->data = grown;
	memcpy(grown + k->data_len, w.ptr, w.len);
	k->data_len += w.len;
	k->kept++;
	return 1;
}

static int belongs(const struct hj_cmd *k, const struct hj_conf *conf, struct cw_decoder *d, const struct hj_msg *m)
{
	int64_t at;

	if (k->cn != m->cn || !(k->flags & (HJ_COLLECT | HJ_READ)))
		return 0;
	if (cw_bytes_equal(m->qn, cw_bytes_text(k->qn)))
		return 1;
	/* What comes by itself at the same time is told apart by its time. */
	return k->begin_ms == 0 || k->end_ms == 0 ||
	       (hj_data_time(d, conf, m, &at) && at >= k->begin_ms && at <= k->end_ms);
}

/* Of a packet, without its low bit and never 0. */
static uint64_t mark_of(struct cw_decoder *d, const struct hj_msg *m)
{
	uint8_t key[32];
	uint64_t v;

	hj_frame_key(d, m, key);
	memcpy(&v, key + 20, sizeof(v));
	return (v | 2) & ~1ull;
}

/* A packet whose answer was lost comes again: what became of it the first time; 0: it is new. */
static int taken_before(const struct hj_cmd *k, const struct hj_msg *m, uint64_t mark)
{
	unsigned i;

	if (!(k->flags & HJ_COLLECT) || !(m->ack || m->qn.len > 0))
		return 0;
	for (i = 0; i < TAKEN; i++)
		if ((k->taken[i] & ~1ull) == mark)
			return k->taken[i] & 1 ? 1 : 2;
	return 0;
}

int hj_command_data(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, const struct hj_msg *m)
{
	const struct hj_conf *conf = hj_conf_of(d, dev->conn, dev);
	struct hj_cmd *k;
	uint64_t v, mark;
	uint32_t ms;
	int mine;

	for (k = dev->cmds; k != NULL; k = k->next)
		if (belongs(k, conf, d, m))
			break;
	if (k == NULL)
		return 0;
	if (m->cn == 1061 && hj_digits(hj_plain(d, m, "RtdInterval"), &v) && v <= 86400 && v != dev->rtd_s) {
		dev->rtd_s = (uint32_t)v;
		hj_device_save(d, ev, dev);
	}
	if (m->cn == 1063 && hj_digits(hj_plain(d, m, "MinInterval"), &v) && v <= 1440 && v != dev->min_m) {
		dev->min_m = (uint32_t)v;
		hj_device_save(d, ev, dev);
	}
	mark = mark_of(d, m);
	mine = taken_before(k, m, mark);
	if (mine != 0)
		return mine;
	k->accepted = 1;
	ms = k->flags & HJ_LONG ? conf->exec_long_ms : conf->exec_ms;
	extend(d, ev, k, ms);
	wait_until(d, ev, dev, k, ms);
	mine = collect(d, ev, k, conf, m) ? 1 : 2;
	k->taken[k->packets++ % TAKEN] = mark | (mine == 1);
	return mine;
}

/* ---- time and end ------------------------------------------------------------------------------ */

void hj_command_cancelled(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, uint64_t id)
{
	struct hj_cmd *k;

	for (k = dev->cmds; k != NULL; k = k->next) {
		if (k->internal || k->id != id)
			continue;
		unlink_cmd(dev, k);
		cmd_free(d, ev, k);
		return;
	}
}

void hj_command_drop(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev)
{
	while (dev->cmds != NULL) {
		struct hj_cmd *k = dev->cmds;

		dev->cmds = k->next;
		cmd_free(d, ev, k);
	}
}

uint64_t hj_command_due(const struct hj_device *dev)
{
	const struct hj_cmd *k;
	uint64_t due = UINT64_MAX;

	for (k = dev->cmds; k != NULL; k = k->next)
		if (k->due_ms < due)
			due = k->due_ms;
	return due;
}

static void ran_out(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, struct hj_cmd *k)
{
	const struct hj_conf *conf = hj_conf_of(d, dev->conn, dev);

	if (!k->accepted && k->tries < recount(conf, dev)) {
		k->tries++;
		hj_count(d, HJ_N_RESENT);
		send_request(d, ev, dev, k);
		return;
	}
	hj_count(d, HJ_N_TIMED_OUT);
	if (k->internal && k->at < k->plan_len && next_step(d, ev, dev, k))
		return; /* of a first connection one step may fail */
	fail(d, ev, dev, k, CW_CODE_TIMED_OUT, NULL, 0,
	     k->accepted ? "the device took the request and then said nothing more" : "the device did not answer");
}

void hj_command_expire(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev)
{
	struct hj_cmd *k = dev->cmds;

	while (k != NULL) {
		struct hj_cmd *next = k->next;

		if (k->due_ms <= ev->mono_ms)
			ran_out(d, ev, dev, k);
		k = next;
	}
}
