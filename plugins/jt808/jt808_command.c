/*
 * jt808_command.c - the life of a command.
 *
 * A service becomes a plan: messages to be sent one after another. Each is sent
 * (in parts when it is long), then waits: for the general reply (0x0001), for an
 * answer of its own, or for both. No reply in time sends the same bytes again, with
 * growing waits; after the last one the command ends as timed out. The connection
 * stays: a terminal that obeys another platform is silent, not dead.
 */
#include "jt808.h"

#include <stdio.h>
#include <stdlib.h>

struct jt_cmd {
	uint64_t id;
	uint64_t deadline;      /* monotonic, of the host */
	uint8_t *plan;          /* owned */
	size_t plan_len, next;  /* next: where the following message of the plan starts */
	const uint8_t *body;    /* of the message at hand, inside the plan */
	size_t body_len;        /* without the file */
	size_t total;           /* with it */
	uint32_t file_size;
	uint32_t wait_ms;
	uint32_t parts;         /* 1 when whole */
	uint32_t sent, acked;   /* parts sent; length of the acknowledged beginning */
	uint32_t asked_from, asked_to; /* parts for which a block was wanted; equal: none */
	uint16_t msg, first, answer;
	uint8_t tries, general, no_wait, both, cut_is_done, file, property_set, notice, shown, raw;
	char module[40];
};

/* ---- ending ------------------------------------------------------------------- */

static void cmd_free(struct jt_conn *c)
{
	free(c->cmd->plan);
	free(c->cmd);
	c->cmd = NULL;
}

static void finish(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, int code, struct cw_bytes reply)
{
	uint64_t id = c->cmd->id;

	d->host->timer(d->hx, ev->conn, JT_TIMER_COMMAND, CW_TIMER_STOP);
	cmd_free(c);
	d->host->command_done(d->hx, ev->conn, id, code, reply);
}

static void finish_result(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, int result)
{
	static const int codes[] = { CW_CODE_OK, CW_CODE_FAILED, CW_CODE_ERROR, CW_CODE_UNSUPPORTED };
	uint8_t buf[32];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));

	cw_put_map(&w);
	if (!c->cmd->property_set)
		cw_field_int(&w, "result", result);
	cw_put_end(&w);
	finish(d, ev, c, result >= 0 && result <= 3 ? codes[result] : CW_CODE_FAILED, cw_written(&w));
}

static void refuse(struct cw_decoder *d, const struct cw_event *ev, int code, const char *why)
{
	uint8_t buf[256];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));

	cw_put_map(&w);
	cw_field_text(&w, "message", why);
	cw_put_end(&w);
	d->host->command_done(d->hx, ev->conn, ev->id, code, cw_written(&w));
}

/* ---- sending ------------------------------------------------------------------ */

static size_t part_size(struct cw_decoder *d, const struct cw_event *ev, const struct jt_cmd *k)
{
	return k->parts == 1 ? JT_BODY_MAX : jt_conf_of(d, ev)->part_size;
}

/* The bytes of part `i` when they are not in the file; scratch joins head and file otherwise. */
static void send_part(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, uint32_t i, struct cw_bytes body)
{
	const struct jt_cmd *k = c->cmd;
	size_t n = jt_build(c, k->msg, (uint16_t)(k->first + i), k->parts > 1 ? k->parts : 0, i + 1, body, d->out);

	d->host->send(d->hx, ev->conn, cw_bytes_of(d->out, n));
}

static void send_plain(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, uint32_t from, uint32_t to)
{
	const struct jt_cmd *k = c->cmd;
	size_t size = part_size(d, ev, k);
	uint32_t i;

	for (i = from; i < to; i++) {
		size_t at = i * size, n = k->body_len - at < size ? k->body_len - at : size;

		send_part(d, ev, c, i, cw_bytes_of(k->body + at, n));
	}
}

/* Ask for the part of the file that parts [from, to) need; they are sent when the block is here. */
static void want(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, uint32_t from, uint32_t to)
{
	struct jt_cmd *k = c->cmd;
	size_t size = part_size(d, ev, k), lo = from * size, hi = to * size < k->total ? to * size : k->total;

	lo = lo > k->body_len ? lo - k->body_len : 0;
	hi -= k->body_len;
	k->asked_from = from;
	k->asked_to = to;
	if (d->host->want_block(d->hx, ev->conn, k->id, lo, hi - lo) < 0)
		finish_result(d, ev, c, 1);
}

static void send_range(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, uint32_t from, uint32_t to)
{
	if (c->cmd->file)
		want(d, ev, c, from, to);
	else
		send_plain(d, ev, c, from, to);
}

static void show_progress(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c)
{
	struct jt_cmd *k = c->cmd;
	unsigned step = (unsigned)((uint64_t)k->sent * 99 / k->parts);
	uint8_t buf[160];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));

	if (!k->notice || step < k->shown + 10u)
		return;
	k->shown = (uint8_t)step;
	cw_record_begin(&w, CW_KIND_OTA_PROGRESS);
	cw_record_name(&w, k->module);
	cw_record_body(&w);
	cw_field_uint(&w, "step", step);
	cw_field_text(&w, "desc", "sending");
	cw_put_end(&w);
	cw_record_end(&w);
	d->host->emit(d->hx, ev->conn, c->device, 0, cw_written(&w));
}

/* The file is read more slowly than its parts go out: one block is asked for at a time, so look again after the pause. */
static int waits_for_block(struct cw_decoder *d, const struct cw_event *ev, const struct jt_cmd *k)
{
	if (k->asked_from == k->asked_to)
		return 0;
	d->host->timer(d->hx, ev->conn, JT_TIMER_COMMAND, jt_conf_of(d, ev)->part_pause_ms);
	return 1;
}

/* The next burst, then wait: shortly for the pause between bursts, or for the reply when all is out. */
static void send_more(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c)
{
	const struct jt_conf *conf = jt_conf_of(d, ev);
	struct jt_cmd *k = c->cmd;
	uint32_t burst = ev->flags & CW_EVF_DATAGRAM ? 1 : conf->part_burst;
	uint32_t from = k->sent, to = k->parts - from < burst ? k->parts : from + burst;

	if (waits_for_block(d, ev, k))
		return;
	/* A long message needs longer than a call's usual deadline; as long as it moves, it may go on. */
	if (k->parts > 1)
		d->host->command_extend(d->hx, ev->conn, k->id, (uint64_t)conf->wait_max_ms * 2);
	k->sent = to;
	send_range(d, ev, c, from, to);
	if (c->cmd == NULL)
		return;
	show_progress(d, ev, c);
	/* On UDP never faster than answered. */
	d->host->timer(d->hx, ev->conn, JT_TIMER_COMMAND,
	               to < k->parts && !(ev->flags & CW_EVF_DATAGRAM) ? conf->part_pause_ms : k->wait_ms);
}

/* Take the next message of the plan and send it. 0 when there is none. */
static int start_next(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c)
{
	const struct jt_conf *conf = jt_conf_of(d, ev);
	struct jt_cmd *k = c->cmd;
	struct cw_reader r = cw_reader_of(cw_bytes_of(k->plan + k->next, k->plan_len - k->next));

	if (cw_read_left(&r) == 0)
		return 0;
	k->msg = cw_read_u16be(&r);
	k->body_len = cw_read_u32be(&r);
	k->body = k->plan + k->next + 6;
	k->next += 6 + k->body_len;
	k->total = k->body_len + k->file_size;
	k->parts = k->total <= JT_BODY_MAX ? 1 : (uint32_t)((k->total + conf->part_size - 1) / conf->part_size);
	k->first = c->serial;
	c->serial = (uint16_t)(c->serial + k->parts);
	k->sent = k->acked = 0;
	k->tries = 0;
	k->general = 0;
	k->wait_ms = conf->wait_ms;
	send_more(d, ev, c);
	return 1;
}

static void next_or_done(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c)
{
	struct jt_cmd *k = c->cmd;

	if (k->msg == 0x8103) {
		struct jt_msg m;
		int emitted;

		memset(&m, 0, sizeof(m));
		m.id = k->msg;
		m.serial = k->first;
		m.edition = c->edition;
		m.wide = c->wide;
		m.body = cw_bytes_of(k->body, k->body_len);
		jt_publish_params(d, ev, c, &m, 0, &emitted);
	}
	if (k->next < k->plan_len)
		start_next(d, ev, c);
	else
		finish_result(d, ev, c, 0);
}

/* ---- from the host ------------------------------------------------------------ */

/* What answers a message by a message of its own instead of the general reply; 0: none. */
static uint16_t dedicated_answer(uint16_t id)
{
	static const uint16_t pairs[][2] = {
		{ 0x8104, 0x0104 }, { 0x8106, 0x0104 }, { 0x8107, 0x0107 }, { 0x8201, 0x0201 }, { 0x8608, 0x0608 }, { 0x8700, 0x0700 },
		{ 0x8702, 0x0702 }, { 0x8802, 0x0802 }, { 0x8a00, 0x0a00 },
	};
	size_t i;

	for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		if (pairs[i][0] == id)
			return pairs[i][1];
	return 0;
}

/* The message id, then the body; header, parts and checksum are ours. */
static int plan_raw(struct jt_plan *p, struct cw_bytes bytes)
{
	if (bytes.len < 2)
		return jt_fail(p, "raw data must start with a message id of two bytes");
	jt_plan_begin(p, (uint16_t)(bytes.ptr[0] << 8 | bytes.ptr[1]));
	cw_write_raw(&p->w, bytes.ptr + 2, bytes.len - 2);
	jt_plan_end(p);
	return 0;
}

static int plan_of(const struct cw_record *cmd, struct jt_plan *p)
{
	struct cw_item v;

	switch (cmd->kind) {
	case CW_KIND_PROPERTY_SET: return jt_encode_properties(p, cmd->body);
	case CW_KIND_SERVICE: return jt_encode_service(p, cmd->name, cmd->body);
	case CW_KIND_RAW_DOWN:
		p->no_wait = 1;
		return plan_raw(p, cmd->body);
	case CW_KIND_RRPC:
		p->answer = cmd->body.len < 2 ? 0 : dedicated_answer((uint16_t)(cmd->body.ptr[0] << 8 | cmd->body.ptr[1]));
		return plan_raw(p, cmd->body);
	case CW_KIND_OTA_NOTICE:
		v = cw_map_item(cmd->body, "size");
		if (v.type != CW_ITEM_INT || v.i <= 0 || v.i > (int64_t)60000 * p->conf->part_size)
			return jt_fail(p, "size of the firmware is missing or too large");
		p->file_size = (uint32_t)v.i;
		p->file = 1;
		return jt_encode_service(p, cw_bytes_text("UpgradeFirmware"), cmd->body);
	case CW_KIND_PROPERTY_GET:
		return jt_encode_service(p, cw_bytes_text("QueryParameters"), cw_bytes_of(NULL, 0));
	default: return CW_EUNSUPPORTED;
	}
}

static struct jt_cmd *cmd_new(const struct cw_event *ev, const struct jt_plan *p, const struct cw_record *rec)
{
	struct jt_cmd *k = calloc(1, sizeof(*k));
	size_t n = rec->name.len < sizeof(k->module) - 1 ? rec->name.len : sizeof(k->module) - 1;

	if (k == NULL)
		return NULL;
	k->plan = malloc(p->w.len + 1);
	if (k->plan == NULL) {
		free(k);
		return NULL;
	}
	memcpy(k->plan, p->w.ptr, p->w.len);
	k->plan_len = p->w.len;
	k->id = ev->id;
	k->deadline = ev->mono_ms + ev->deadline_ms;
	k->answer = p->answer;
	k->no_wait = p->no_wait;
	k->both = p->both;
	k->cut_is_done = p->cut_is_done;
	k->file = p->file;
	k->file_size = p->file_size;
	k->property_set = rec->kind == CW_KIND_PROPERTY_SET;
	k->raw = rec->kind == CW_KIND_RRPC;
	k->notice = rec->kind == CW_KIND_OTA_NOTICE;
	if (n > 0)
		memcpy(k->module, rec->name.ptr, n);
	return k;
}

int jt_command(struct cw_decoder *d, const struct cw_event *ev)
{
	struct jt_conn *c = *ev->conn_ctx;
	struct cw_record rec;
	struct jt_plan p;
	int64_t timeout;
	int rc;

	if (c == NULL || !c->attached || c->number_len == 0)
		return CW_EOFFLINE;
	if (c->cmd != NULL)
		return CW_EBUSY;
	if (!cw_record_read(ev->data, &rec))
		return CW_EINVAL;
	memset(&p, 0, sizeof(p));
	p.w = cw_writer_of(d->scratch, JT_SCRATCH);
	p.d = d;
	p.conf = jt_conf_of(d, ev);
	p.edition = c->edition;
	rc = plan_of(&rec, &p);
	if (rc == 0 && p.w.overflow) {
		snprintf(p.why, sizeof(p.why), "input is too long");
		rc = CW_EINVAL;
	}
	if (rc < 0) {
		refuse(d, ev, rc == CW_ENOENT ? CW_CODE_NOT_THERE : rc == CW_EUNSUPPORTED ? CW_CODE_UNSUPPORTED : CW_CODE_BAD_INPUT,
		       p.why[0] != 0 ? p.why : rc == CW_ENOENT ? "not in this edition of the protocol" : "no such command");
		return 0;
	}
	c->cmd = cmd_new(ev, &p, &rec);
	if (c->cmd == NULL)
		return CW_ENOMEM;
	timeout = rec.kind == CW_KIND_SERVICE ? cw_map_int(rec.body, "timeout", 0) : 0;
	if (timeout > 0 && timeout <= 600) {
		d->host->command_extend(d->hx, ev->conn, ev->id, (uint64_t)timeout * 1000);
		c->cmd->deadline = ev->mono_ms + (uint64_t)timeout * 1000;
	}
	if (!start_next(d, ev, c))
		finish_result(d, ev, c, 0);
	else if (c->cmd != NULL && c->cmd->no_wait && c->cmd->sent == c->cmd->parts)
		finish_result(d, ev, c, 0);
	return 0;
}

void jt_command_cancelled(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c)
{
	if (c->cmd == NULL || c->cmd->id != ev->id)
		return;
	d->host->timer(d->hx, ev->conn, JT_TIMER_COMMAND, CW_TIMER_STOP);
	cmd_free(c);
}

void jt_command_drop(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c)
{
	if (c->cmd == NULL)
		return;
	/* A reset cuts the link before the terminal can answer: that is the answer. */
	if (c->cmd->cut_is_done)
		finish_result(d, ev, c, 0);
	else
		cmd_free(c);
}

void jt_command_block(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c)
{
	struct jt_cmd *k = c->cmd;
	uint8_t part[JT_BODY_MAX];
	uint32_t i;
	size_t size;

	if (k == NULL || k->id != ev->id || k->asked_from == k->asked_to)
		return;
	if (ev->code != 0) {
		finish_result(d, ev, c, 1);
		return;
	}
	size = part_size(d, ev, k);
	for (i = k->asked_from; i < k->asked_to; i++) {
		size_t at = i * size, n = k->total - at < size ? k->total - at : size, head = 0, from;

		if (at < k->body_len) {
			head = k->body_len - at < n ? k->body_len - at : n;
			memcpy(part, k->body + at, head);
		}
		from = at + head - k->body_len;
		if (from < ev->offset || from - ev->offset + (n - head) > ev->data.len) {
			finish_result(d, ev, c, 1);
			return;
		}
		if (n > head)
			memcpy(part + head, ev->data.ptr + (from - ev->offset), n - head);
		send_part(d, ev, c, i, cw_bytes_of(part, n));
	}
	k->asked_from = k->asked_to = 0;
}

/* ---- waiting ------------------------------------------------------------------ */

/* T, 2T, 6T by the letter of the standard; T, 2T, 3T; or T again. Never above the cap. */
static uint32_t next_wait(const struct jt_conf *conf, const struct jt_cmd *k)
{
	uint64_t w = k->wait_ms;

	if (conf->retry_growth == 0)
		w *= k->tries + 1u;
	else if (conf->retry_growth == 1)
		w = (uint64_t)conf->wait_ms * (k->tries + 1u);
	return w > conf->wait_max_ms ? conf->wait_max_ms : (uint32_t)w;
}

void jt_command_timer(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c)
{
	const struct jt_conf *conf = jt_conf_of(d, ev);
	struct jt_cmd *k = c->cmd;
	uint8_t none[1] = { 0xa0 }; /* an empty map */

	if (k == NULL)
		return;
	if (k->general) { /* both: the other answer did not come in time, the general one counts */
		finish_result(d, ev, c, 0);
		return;
	}
	if (k->sent < k->parts && !(ev->flags & CW_EVF_DATAGRAM && k->acked < k->sent)) {
		send_more(d, ev, c);
		if (c->cmd != NULL && c->cmd->no_wait && c->cmd->sent == c->cmd->parts)
			finish_result(d, ev, c, 0);
		return;
	}
	if (waits_for_block(d, ev, k))
		return;
	if (k->tries >= conf->retries) {
		finish(d, ev, c, CW_CODE_TIMED_OUT, cw_bytes_of(none, k->raw ? 0 : 1));
		return;
	}
	k->tries++;
	k->wait_ms = next_wait(conf, k);
	jt_count(d, JT_N_RETRANSMITTED, 1);
	/* What the terminal has acknowledged is not sent again; of a file only the last burst, the terminal asks for more. */
	send_range(d, ev, c, k->file && k->sent - k->acked > conf->part_burst ? k->sent - conf->part_burst : k->acked < k->sent ? k->acked : 0, k->sent);
	if (c->cmd != NULL)
		d->host->timer(d->hx, ev->conn, JT_TIMER_COMMAND, k->wait_ms);
}

/* All parts have arrived, or the whole message. */
static void general_ok(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c)
{
	struct jt_cmd *k = c->cmd;

	if (k->answer == 0) {
		next_or_done(d, ev, c);
		return;
	}
	if (k->both) {
		uint64_t left = k->deadline > ev->mono_ms + 500 ? k->deadline - ev->mono_ms - 500 : 0;

		k->general = 1;
		d->host->timer(d->hx, ev->conn, JT_TIMER_COMMAND, left);
		return;
	}
	/* The answer follows when the terminal has acted; sending again would make it act twice. */
	d->host->timer(d->hx, ev->conn, JT_TIMER_COMMAND, CW_TIMER_STOP);
}

/* A raw request ends with the raw answer: message id and body. */
static int finish_raw(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m)
{
	struct cw_writer w = cw_writer_of(d->scratch, JT_SCRATCH);

	cw_write_u16be(&w, m->id);
	cw_write_bytes(&w, m->body);
	finish(d, ev, c, w.overflow ? CW_CODE_FAILED : CW_CODE_OK, cw_written(&w));
	return 1;
}

static int general_reply(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m)
{
	struct cw_reader r = cw_reader_of(m->body);
	uint16_t serial = cw_read_u16be(&r), id = cw_read_u16be(&r);
	unsigned result = cw_read_u8(&r);
	struct jt_cmd *k = c->cmd;
	uint32_t part;

	if (r.short_read || k == NULL || k->msg != id) {
		jt_count(d, JT_N_REPLY_UNMATCHED, 1);
		return 0;
	}
	part = (uint16_t)(serial - k->first);
	/* Serial 0 is what some terminals always quote: with one command of this id pending it can only mean that. */
	if (part >= k->parts && serial != 0) {
		jt_count(d, JT_N_REPLY_UNMATCHED, 1);
		return 0;
	}
	if (k->raw && (result != 0 || k->answer == 0) && (k->parts == 1 || part + 1 == k->parts))
		return finish_raw(d, ev, c, m);
	if (result != 0) {
		finish_result(d, ev, c, (int)result);
		return 1;
	}
	if (part >= k->parts)
		part = k->parts - 1;
	if (part + 1 > k->acked)
		k->acked = part + 1;
	if (k->acked == k->parts) {
		general_ok(d, ev, c);
	} else if (k->acked == k->sent) {
		k->tries = 0;
		k->wait_ms = jt_conf_of(d, ev)->wait_ms;
		send_more(d, ev, c);
	}
	return 1;
}

static int carries_serial(uint16_t id, int edition)
{
	switch (id) {
	case 0x0104:
	case 0x0500:
	case 0x0802:
	case 0x0805: return 1;
	case 0x0201:
	case 0x0700: return edition != JT_2011;
	default: return 0;
	}
}

static int answered(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m)
{
	struct jt_cmd *k = c->cmd;
	uint32_t serial = m->body.len >= 2 ? (uint32_t)(m->body.ptr[0] << 8 | m->body.ptr[1]) : 0;
	int code = CW_CODE_OK;
	struct jt_out o;

	if (carries_serial(m->id, c->edition) && serial != 0 && (uint16_t)(serial - k->first) >= k->parts) {
		jt_count(d, JT_N_REPLY_UNMATCHED, 1);
		return 0;
	}
	if (k->raw)
		return finish_raw(d, ev, c, m);
	jt_out_init(&o, d, ev, 1, d->scratch, JT_SCRATCH);
	cw_put_map(&o.w);
	if (m->id != 0x0805)
		cw_field_int(&o.w, "result", 0);
	else if (m->body.len >= 3 && m->body.ptr[2] != 0)
		code = m->body.ptr[2] == 2 ? CW_CODE_UNSUPPORTED : CW_CODE_FAILED;
	if (jt_decode_body(&o, m) < 0) {
		finish_result(d, ev, c, 2);
		return 1;
	}
	cw_put_end(&o.w);
	if (o.w.overflow)
		finish_result(d, ev, c, 1);
	else
		finish(d, ev, c, code, cw_written(&o.w));
	return 1;
}

int jt_command_reply(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m)
{
	if (m->id == 0x0001)
		return general_reply(d, ev, c, m);
	if (c->cmd != NULL && c->cmd->answer == m->id && m->id != 0)
		return answered(d, ev, c, m);
	return 0;
}

void jt_command_resend(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m)
{
	struct cw_reader r = cw_reader_of(m->body);
	uint16_t first = cw_read_u16be(&r);
	unsigned n = cw_read_u16be(&r);
	struct jt_cmd *k = c->cmd;
	uint32_t low = UINT32_MAX, high = 0;

	if (k == NULL || (uint16_t)(first - k->first) >= k->parts || k->parts < 2 || r.short_read) {
		jt_count(d, JT_N_REPLY_UNMATCHED, 1);
		return;
	}
	while (n-- > 0 && cw_read_left(&r) >= 2) {
		uint32_t i = cw_read_u16be(&r);

		if (i < 1 || i > k->sent)
			continue;
		low = i - 1 < low ? i - 1 : low;
		high = i > high ? i : high;
		if (!k->file)
			send_plain(d, ev, c, i - 1, i);
	}
	/* One block at a time: of a file all from the first to the last one listed. */
	if (k->file && low < high)
		want(d, ev, c, low, high);
	if (c->cmd != NULL)
		d->host->timer(d->hx, ev->conn, JT_TIMER_COMMAND, k->wait_ms);
}

void jt_broadcast(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c)
{
	struct cw_record rec;

	/* The same form as raw data to one terminal; what does not fit a frame is for single terminals only. */
	if (!c->attached || !cw_record_read(ev->data, &rec) || rec.body.len < 2 || rec.body.len - 2 > JT_BODY_MAX)
		return;
	jt_send(d, ev, c, (uint16_t)(rec.body.ptr[0] << 8 | rec.body.ptr[1]), cw_bytes_of(rec.body.ptr + 2, rec.body.len - 2));
}
