/* skeleton.c - all of the decoder; a real one has a file each for framing, decoding and encoding. */
#include "skeleton.h"

#include <stdlib.h>

#define LINE_MAX_LEN 200
#define TIMER_ANSWER 1
#define N_BAD_LINE 0
#define TICKET_TEMP 1

/* ---- settings: the host checks them against this table before it calls sk_settings() ---- */

const struct cw_conf_field sk_conf_fields[] = {
	{ "answerTimeout", CW_FIELD_DURATION, 0, "5s", "100ms", "60s", NULL, "How long a command waits for the device's answer.", NULL },
	{ "upperCase", CW_FIELD_BOOL, 0, "false", NULL, NULL, NULL, "Send commands in capitals, for old devices.", NULL },
	{ NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL },
};

int sk_settings(struct cw_decoder *d, struct cw_bytes settings, char *text, size_t len, void **ret_conf)
{
	struct sk_conf *c = calloc(1, sizeof(*c));

	(void)d;
	(void)text; /* a sentence goes here when CW_ECONF is returned */
	(void)len;
	if (c == NULL)
		return CW_ENOMEM;
	c->answer_ms = (uint32_t)cw_map_int(settings, "answerTimeout", 5000);
	c->upper_case = cw_map_int(settings, "upperCase", 0) != 0;
	*ret_conf = c;
	return 0;
}

void sk_settings_free(struct cw_decoder *d, void *conf)
{
	(void)d;
	free(conf);
}

/* ---- the instance ---- */

int sk_create(const struct cw_host *host, void *hx, struct cw_decoder **ret)
{
	struct cw_decoder *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return CW_ENOMEM;
	d->host = host;
	d->hx = hx;
	*ret = d;
	return 0;
}

void sk_destroy(struct cw_decoder *d)
{
	free(d);
}

/* ---- framing: a frame is a line. Called again and again with what has come; it must not remember anything ---- */

int sk_frame(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes in, struct cw_cut *ret_cut)
{
	const uint8_t *end = in.len == 0 ? NULL : memchr(in.ptr, '\n', in.len);
	size_t line = end == NULL ? in.len : (size_t)(end - in.ptr) + 1;

	(void)d;
	(void)ev;
	ret_cut->skip = ret_cut->length = ret_cut->need = 0;
	if (line > LINE_MAX_LEN)
		ret_cut->skip = line; /* no line of ours is that long, ended or not: noise, which the host counts */
	else if (end != NULL)
		ret_cut->length = line;
	return 0;
}

/* ---- decoding ---- */

static void send_line(struct cw_decoder *d, const struct cw_event *ev, const char *line)
{
	d->host->send(d->hx, ev->conn, cw_bytes_text(line));
}

/* 1 and what follows when the line starts with the word. */
static int starts(struct cw_bytes line, const char *word, struct cw_bytes *rest)
{
	size_t n = strlen(word);

	if (line.len < n || memcmp(line.ptr, word, n) != 0)
		return 0;
	*rest = cw_bytes_of(line.ptr + n, line.len - n);
	return 1;
}

/* 21.5 as 215 x 10^-1: a decimal stays exact on its way, a double would not. */
static int read_decimal(struct cw_bytes s, int64_t *mantissa, int *exponent)
{
	size_t i = 0;
	int minus = s.len > 0 && s.ptr[0] == '-', dot = 0;

	*mantissa = 0;
	*exponent = 0;
	for (i = (size_t)minus; i < s.len; i++) {
		if (s.ptr[i] == '.' && !dot) {
			dot = 1;
			continue;
		}
		if (s.ptr[i] < '0' || s.ptr[i] > '9' || i > 15)
			return 0;
		*mantissa = *mantissa * 10 + (s.ptr[i] - '0');
		*exponent -= dot;
	}
	if (minus)
		*mantissa = -*mantissa;
	return s.len > (size_t)minus;
}

static int reading(struct cw_decoder *d, const struct cw_event *ev, struct sk_conn *c, struct cw_bytes value)
{
	uint8_t buf[128];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));
	int64_t mantissa;
	int exponent;

	if (!read_decimal(value, &mantissa, &exponent))
		return CW_EPROTO;
	cw_record_begin(&w, CW_KIND_PROPERTIES);
	cw_record_body(&w);
	cw_field_decimal(&w, "Temperature", mantissa, exponent);
	cw_put_end(&w);
	cw_record_end(&w);
	/* The answer goes out when the ticket settles; how safe the record must be by then is the operator's choice. */
	return d->host->emit(d->hx, ev->conn, c->device, TICKET_TEMP, cw_written(&w)) == 0 ? 0 : CW_EPROTO;
}

static void end_command(struct cw_decoder *d, const struct cw_event *ev, struct sk_conn *c, int code)
{
	uint64_t id = c->command;

	if (id == 0)
		return;
	c->command = 0;
	d->host->timer(d->hx, ev->conn, TIMER_ANSWER, CW_TIMER_STOP);
	d->host->command_done(d->hx, ev->conn, id, code, cw_bytes_of(NULL, 0));
}

/* The decode tool asks for the fields of the frame at hand. */
static void show(struct cw_decoder *d, const struct cw_event *ev, const char *name, struct cw_bytes text)
{
	uint8_t buf[LINE_MAX_LEN + 16];
	struct cw_writer w = cw_writer_of(buf, sizeof(buf));
	size_t i, plain = 1;

	if (!(ev->flags & CW_EVF_INSPECT))
		return;
	for (i = 0; i < text.len; i++)
		plain &= text.ptr[i] < 0x80;
	/* Text must be UTF-8, or the host refuses the field; whatever else the device said is shown as bytes. */
	if (plain)
		cw_put_textn(&w, (const char *)text.ptr, text.len);
	else
		cw_put_bytes(&w, text);
	d->host->field(d->hx, ev->conn, CW_GROUP_FIELDS, name, cw_written(&w), 0, text.len);
}

/* IDENTIFIED or REFUSED comes as an event; the host decodes nothing more of this connection until then. */
static int ask(struct cw_decoder *d, const struct cw_event *ev, struct sk_conn *c)
{
	struct cw_identify who;

	memset(&who, 0, sizeof(who));
	who.size = sizeof(who);
	who.identity = cw_bytes_of(c->who, c->who_len);
	return d->host->identify(d->hx, ev->conn, &who) == 0 ? 0 : CW_EPROTO;
}

static int login(struct cw_decoder *d, const struct cw_event *ev, struct sk_conn *c, struct cw_bytes id)
{
	show(d, ev, "login", id);
	if (id.len == 0 || id.len > sizeof(c->who))
		return CW_EPROTO;
	memcpy(c->who, id.ptr, id.len);
	c->who_len = (uint8_t)id.len;
	return ask(d, ev, c);
}

static int temperature(struct cw_decoder *d, const struct cw_event *ev, struct sk_conn *c, struct cw_bytes value)
{
	show(d, ev, "temp", value);
	if (c->device != 0 || (ev->flags & CW_EVF_INSPECT))
		return reading(d, ev, c, value);
	if (c->who_len == 0)
		return CW_EPROTO; /* nobody logged in */
	/* Its identity was not known yet when it logged in: ask again, and have this frame shown again after the outcome. */
	return ask(d, ev, c) == 0 ? CW_EBUSY : CW_EPROTO;
}

static void refused(struct cw_decoder *d, const struct cw_event *ev, struct sk_conn *c)
{
	/* Kept for later: its frames are set aside, and each asks again. Nothing is said, so that it goes on. */
	if (ev->code == CW_REFUSED_KEPT)
		return;
	c->who_len = 0;
	send_line(d, ev, "no,login\n");
}

int sk_decode(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes frame)
{
	struct sk_conn *c = *ev->conn_ctx;
	struct cw_bytes rest;

	/* The line end is part of the frame; a carriage return may be too. */
	while (frame.len > 0 && (frame.ptr[frame.len - 1] == '\n' || frame.ptr[frame.len - 1] == '\r'))
		frame.len--;
	if (c == NULL)
		return CW_ECLOSED;
	if (starts(frame, "login,", &rest))
		return login(d, ev, c, rest);
	if (starts(frame, "temp,", &rest))
		return temperature(d, ev, c, rest);
	if (starts(frame, "ok,interval", &rest)) {
		end_command(d, ev, c, CW_CODE_OK);
		return 0;
	}
	if (starts(frame, "no,interval", &rest)) {
		end_command(d, ev, c, CW_CODE_FAILED);
		return 0;
	}
	d->host->count(d->hx, N_BAD_LINE, 1);
	return CW_EPROTO;
}

/* ---- everything else that happens ---- */

int sk_event(struct cw_decoder *d, const struct cw_event *ev)
{
	struct sk_conn *c = ev->conn_ctx == NULL ? NULL : *ev->conn_ctx;

	if (ev->kind == CW_EV_OPEN) {
		c = calloc(1, sizeof(*c));
		*ev->conn_ctx = c;
		return c == NULL ? CW_ECLOSED : 0;
	}
	if (c == NULL)
		return 0;
	switch (ev->kind) {
	case CW_EV_IDENTIFIED:
		c->device = ev->device;
		if ((ev->flags & CW_EVF_RESUMED) == 0) /* else it was answered long ago, by a process that has died */
			send_line(d, ev, "ok,login\n");
		break;
	case CW_EV_REFUSED:
		refused(d, ev, c);
		break;
	case CW_EV_SETTLED:
		/* Pending or lost: stay silent, the device will say it again. */
		if (ev->code == CW_SETTLED_DONE || ev->code == CW_SETTLED_REFUSED)
			send_line(d, ev, "ok,temp\n");
		break;
	case CW_EV_TIMER:
		end_command(d, ev, c, CW_CODE_TIMED_OUT);
		break;
	case CW_EV_COMMAND_CANCELLED:
		if (c->command == ev->id) {
			c->command = 0;
			d->host->timer(d->hx, ev->conn, TIMER_ANSWER, CW_TIMER_STOP);
		}
		break;
	case CW_EV_DETACHED:
		c->device = 0;
		c->command = 0;
		break;
	case CW_EV_CLOSED:
		free(c);
		*ev->conn_ctx = NULL;
		break;
	default:
		break;
	}
	return 0;
}

/* ---- commands ---- */

int sk_command(struct cw_decoder *d, const struct cw_event *ev)
{
	struct sk_conn *c = *ev->conn_ctx;
	const struct sk_conf *conf = ev->conf;
	struct cw_record cmd;
	struct cw_writer w;
	char line[32], digits[8];
	int64_t seconds;
	int n = 0;

	if (c == NULL || c->device == 0)
		return CW_EOFFLINE;
	if (c->command != 0)
		return CW_EBUSY;
	if (!cw_record_read(ev->data, &cmd))
		return CW_EINVAL;
	if (cmd.kind != CW_KIND_SERVICE || !cw_bytes_equal(cmd.name, cw_bytes_text("SetInterval"))) {
		/* Taken over and ended at once: the caller gets a code it can tell apart. */
		return d->host->command_done(d->hx, ev->conn, ev->id, CW_CODE_UNSUPPORTED, cw_bytes_of(NULL, 0));
	}
	seconds = cw_map_int(cmd.body, "seconds", -1);
	if (seconds < 1 || seconds > 86400)
		return d->host->command_done(d->hx, ev->conn, ev->id, CW_CODE_BAD_INPUT, cw_bytes_of(NULL, 0));
	w = cw_writer_of(line, sizeof(line));
	cw_write_bytes(&w, cw_bytes_text(conf != NULL && conf->upper_case ? "INTERVAL," : "interval,"));
	for (; seconds > 0; seconds /= 10)
		digits[n++] = (char)('0' + seconds % 10);
	while (n > 0)
		cw_write_u8(&w, (uint8_t)digits[--n]);
	cw_write_u8(&w, '\n');
	/* Refused here, the command is over for us: nothing may end it once more. */
	if (d->host->send(d->hx, ev->conn, cw_written(&w)) < 0)
		return CW_EOFFLINE;
	c->command = ev->id;
	d->host->timer(d->hx, ev->conn, TIMER_ANSWER, conf == NULL ? 5000 : conf->answer_ms);
	return 0;
}
