/*
 * hj212.c - data loggers of HJ 212 on one loop.
 *
 *   idle -> dialling -> online
 *
 * Every third logger speaks the edition of 2005. There is no log-in: a logger reports as soon as it is connected, waits
 * for the answers it asked for, and reports again what a cut connection left unanswered. Most reports are real-time data;
 * in between come minute, hour and day data, states of facilities, packets in several frames, requests for the time, and
 * what it could not send an hour ago. Each request of the centre gets 9011, its data and 9012.
 */
#include "cli/sim/sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/sim/hj212_wire.h"

#define TICK_MS 10
#define ANSWER_MS 20000 /* a gateway that waits for its platform is silent for 8 s; later than this the answer stays out */
#define REDIAL_MS 5000
#define LINES_EACH 40   /* lines of one kind before they become numbers only */
#define DIALS_A_TICK 20
#define OPEN_MAX 12     /* unanswered reports of one logger */
#define HISTORY_MOST 5  /* packets of one history request */
#define TURNS 24        /* reports until the mix begins anew */

enum state { IDLE, DIALLING, ONLINE, DONE };

struct fleet;

struct logger {
	struct fleet *fleet;
	uv_tcp_t tcp;
	uv_connect_t dial;
	enum state state;
	int handle_open, heard; /* heard: answered at least once */
	unsigned index, old;    /* old: edition 2005 */
	unsigned sent, interval, minutes;
	uint64_t due_ms;
	int64_t qn_ms;          /* the last number given */
	char pw[16];
	struct { char qn[18]; uint64_t since; } open[OPEN_MAX];
	unsigned open_count;
	char rx[2 * CW_SIM_HJ_WIRE];
	size_t rx_len;
};

struct fleet {
	uv_loop_t loop;
	uv_timer_t tick;
	uv_signal_t interrupt, terminate;
	const struct cw_sim_options *o;
	struct logger *l;
	unsigned next_dial, next_sender;
	double credit;
	uint64_t end_ms, drain_ms, last_line_ms;
	int ending, closing;
	char chunk[65536];
	unsigned lines[4];
	/* the summary */
	uint64_t messages, wanted, answers, silent, commands, cuts, wrong;
	unsigned heard;
};

enum kind { L_COMMAND, L_CUT, L_SILENT, L_WRONG };

static void say(struct fleet *f, enum kind kind, const struct logger *l, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void say(struct fleet *f, enum kind kind, const struct logger *l, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	f->lines[kind]++;
	if (f->o->quiet || f->lines[kind] > LINES_EACH + 1)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (f->lines[kind] > LINES_EACH)
		printf("(further lines of this kind are counted only)\n");
	else
		printf("%s %s\n", f->o->identities[l->index], text);
	fflush(stdout);
}

/* ---- sending ------------------------------------------------------------------ */

struct out {
	uv_write_t req;
	char bytes[CW_SIM_HJ_WIRE];
};

static void on_written(uv_write_t *req, int status)
{
	(void)status; /* a failed write is followed by the end of the connection */
	cw_free(cw_container_of(req, struct out, req));
}

static void push(struct logger *l, const struct cw_sim_hj *m)
{
	struct out *out = cw_alloc(sizeof(*out));
	uv_buf_t buf;

	if (out == NULL)
		return;
	buf = uv_buf_init(out->bytes, (unsigned)cw_sim_hj_frame(m, out->bytes));
	if (uv_write(&out->req, (uv_stream_t *)&l->tcp, &buf, 1, on_written) < 0)
		cw_free(out);
}

static void new_number(struct logger *l, char qn[18])
{
	int64_t now = cw_clock_wall_ms();

	l->qn_ms = now > l->qn_ms ? now : l->qn_ms + 1;
	cw_sim_hj_time(l->qn_ms, 1, qn);
}

static void head(const struct logger *l, struct cw_sim_hj *m, const char *st, const char *cn)
{
	memset(m, 0, sizeof(*m));
	snprintf(m->st, sizeof(m->st), "%s", st);
	snprintf(m->cn, sizeof(m->cn), "%s", cn);
	snprintf(m->pw, sizeof(m->pw), "%s", l->pw);
	snprintf(m->mn, sizeof(m->mn), "%s", l->fleet->o->identities[l->index]);
}

static void await_answer(struct logger *l, const char *qn)
{
	if (l->open_count == OPEN_MAX)
		return;
	memcpy(l->open[l->open_count].qn, qn, 18);
	l->open[l->open_count++].since = uv_now(&l->fleet->loop);
	l->fleet->wanted++;
}

/* A report that wants an answer, packet `pno` of `pnum` (0: the only one); `qn` empty: a number of its own. */
static void report(struct logger *l, const char *cn, unsigned pnum, unsigned pno, const char *qn, const char *cp)
{
	struct cw_sim_hj m;

	head(l, &m, "32", cn);
	if (qn[0] != 0)
		memcpy(m.qn, qn, 18);
	else
		new_number(l, m.qn);
	m.flag[0] = (char)('0' + (l->old ? 0 : 4) + (pnum > 0 ? 3 : 1));
	if (pnum > 0) {
		m.pnum[0] = (char)('0' + pnum % 10); /* a few at most */
		m.pno[0] = (char)('0' + pno % 10);
	}
	snprintf(m.cp, sizeof(m.cp), "%s", cp);
	push(l, &m);
	l->fleet->messages++;
	await_answer(l, m.qn);
}

/* One that wants none; of 2005 it has neither number nor Flag. */
static void mention(struct logger *l, const char *cn, const char *cp)
{
	struct cw_sim_hj m;

	head(l, &m, "32", cn);
	if (!l->old) {
		new_number(l, m.qn);
		snprintf(m.flag, sizeof(m.flag), "4");
	}
	snprintf(m.cp, sizeof(m.cp), "%s", cp);
	push(l, &m);
	l->fleet->messages++;
}

/* ---- what a logger has to tell -------------------------------------------------- */

static double some(const struct logger *l, double base)
{
	return base + (double)((l->sent * 37 + l->index * 11) % 100) / 100;
}

static int64_t floor_to(int64_t ms, int64_t unit)
{
	int64_t local = ms + 8 * 3600000;

	return local - local % unit - 8 * 3600000;
}

static void real_time(const struct logger *l, int64_t at, char cp[CW_SIM_HJ_CP])
{
	const char *mark = l->sent % 20 == 13 ? "D" : "N";
	char t[18];

	cw_sim_hj_time(at, 0, t);
	if (l->old)
		snprintf(cp, CW_SIM_HJ_CP, "&&DataTime=%s;B01-Rtd=%.2f;011-Rtd=%.1f,011-Flag=N;060-Rtd=%.3f,060-Flag=%s&&", t, some(l, 36), some(l, 231),
		         some(l, 1), mark);
	else
		snprintf(cp, CW_SIM_HJ_CP, "&&DataTime=%s;w00000-Rtd=%.2f,w00000-Flag=N;w01018-SampleTime=%s,w01018-Rtd=%.1f,w01018-Flag=%s,w01018-EFlag=A01;"
		         "w21003-Rtd=%.3f,w21003-Flag=N&&", t, some(l, 36), t, some(l, 40), mark, some(l, 1));
}

static void period(const struct logger *l, int64_t at, char cp[CW_SIM_HJ_CP])
{
	const char *flow = l->old ? "B01" : "w00000", *cod = l->old ? "011" : "w01018";
	char t[18];

	cw_sim_hj_time(at, 0, t);
	snprintf(cp, CW_SIM_HJ_CP, "&&DataTime=%s;%s-Cou=%.1f,%s-Min=16.4,%s-Avg=17.5,%s-Max=20.1,%s-Flag=N;%s-Cou=10.5,%s-Min=40.1,%s-Avg=%.2f,%s-Max=49.0,"
	         "%s-Flag=N&&", t, flow, some(l, 10), flow, flow, flow, flow, cod, cod, cod, some(l, 41), cod, cod);
}

static void report_period(struct logger *l, const char *cn, int64_t unit)
{
	char cp[CW_SIM_HJ_CP];

	period(l, floor_to(cw_clock_wall_ms(), unit) - unit, cp);
	report(l, cn, 0, 0, "", cp);
}

/* Two packets, each with a data area and a number of its own; or one area cut in two under one number. */
static void report_parts(struct logger *l, int cut)
{
	char cp[CW_SIM_HJ_CP], half[CW_SIM_HJ_CP], qn[18] = "";
	size_t middle;

	period(l, floor_to(cw_clock_wall_ms(), 600000) - 600000, cp);
	if (!cut) {
		report(l, "2051", 2, 1, "", cp);
		report(l, "2051", 2, 2, "", cp);
		return;
	}
	new_number(l, qn);
	middle = strlen(cp) / 2;
	memcpy(half, cp, middle);
	half[middle] = 0;
	report(l, "2051", 2, 1, qn, half);
	report(l, "2051", 2, 2, qn, cp + middle);
}

static void states(struct logger *l)
{
	char cp[CW_SIM_HJ_CP], t[18];

	cw_sim_hj_time(cw_clock_wall_ms(), 0, t);
	snprintf(cp, sizeof(cp), "&&DataTime=%s;SB1-RS=1;SB2-RS=%u&&", t, l->sent / 7 % 2);
	report(l, "2021", 0, 0, "", cp);
}

static void log_book(struct logger *l)
{
	char cp[CW_SIM_HJ_CP], t[18];

	if (l->old)
		return;
	cw_sim_hj_time(cw_clock_wall_ms(), 0, t);
	snprintf(cp, sizeof(cp), "&&DataTime=%s;PolId=w01018;i11001-Info=//\xe6\xb8\x85\xe6\xb4\x97\xe7\xae\xa1\xe8\xb7\xaf//&&", t);
	report(l, "3020", 0, 0, "", cp);
}

/* The mix, by a count of its own for each logger so that a short run of many has it too. */
static void send_something(struct logger *l)
{
	char cp[CW_SIM_HJ_CP];
	unsigned turn = (l->sent++ + l->index * 5) % TURNS;

	switch (turn) {
	case 3: report_period(l, "2051", 600000); break;
	case 5: states(l); break;
	case 7: report_parts(l, 0); break;
	case 9: report_period(l, "2061", 3600000); break;
	case 11: report_parts(l, 1); break;
	case 13: report_period(l, "2031", 86400000); break;
	case 15: log_book(l); break;
	case 17: /* stored while the link was down */
		real_time(l, cw_clock_wall_ms() - 3600000, cp);
		report(l, "2011", 0, 0, "", cp);
		break;
	case 19:
		if (!l->old)
			report(l, "1013", 0, 0, "", "&&PolId=w01018&&");
		break;
	case 21:
		real_time(l, cw_clock_wall_ms(), cp);
		mention(l, "2011", cp);
		break;
	default:
		real_time(l, cw_clock_wall_ms(), cp);
		report(l, "2011", 0, 0, "", cp);
		break;
	}
}

/* ---- requests ------------------------------------------------------------------- */

/* 9011, 9012, 9013: 2017 has the number outside, 2005 inside. */
static void answer(struct logger *l, const struct cw_sim_hj *request, const char *cn, const char *name, unsigned code)
{
	struct cw_sim_hj m;
	char what[24] = "";

	head(l, &m, "91", cn);
	if (name[0] != 0)
		snprintf(what, sizeof(what), "%s=%u", name, code);
	if (l->old) {
		snprintf(m.cp, sizeof(m.cp), "&&QN=%s%s%s&&", request->qn, what[0] == 0 ? "" : ";", what);
	} else {
		memcpy(m.qn, request->qn, sizeof(m.qn));
		snprintf(m.flag, sizeof(m.flag), "4");
		snprintf(m.cp, sizeof(m.cp), "&&%s&&", what);
	}
	push(l, &m);
}

/* Parameters are told under the number of the request. */
static void parameters(struct logger *l, const struct cw_sim_hj *request, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void parameters(struct logger *l, const struct cw_sim_hj *request, const char *fmt, ...)
{
	struct cw_sim_hj m;
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	head(l, &m, "32", request->cn);
	memcpy(m.qn, request->qn, sizeof(m.qn));
	m.flag[0] = l->old ? '0' : '4';
	snprintf(m.cp, sizeof(m.cp), "&&%s&&", text);
	push(l, &m);
}

static int64_t time_of(const char *digits)
{
	struct tm tm = { 0 };

	if (sscanf(digits, "%4d%2d%2d%2d%2d%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
		return 0;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	return ((int64_t)timegm(&tm) - 8 * 3600) * 1000;
}

/* What is stored between the two times, a few of it, each packet under a number of its own. */
static void history(struct logger *l, const struct cw_sim_hj *m, int64_t unit)
{
	char begin[24], end[24], cp[CW_SIM_HJ_CP], t[18];
	int64_t at, last;
	unsigned n;

	if (!cw_sim_hj_value(m, "BeginTime", begin, sizeof(begin)) || !cw_sim_hj_value(m, "EndTime", end, sizeof(end)))
		return;
	at = floor_to(time_of(begin) + unit - 1, unit);
	last = time_of(end);
	for (n = 0; n < HISTORY_MOST && at <= last && l->open_count < OPEN_MAX; n++, at += unit) {
		if (strcmp(m->cn, "2041") == 0) {
			cw_sim_hj_time(at, 0, t);
			snprintf(cp, sizeof(cp), "&&DataTime=%s;SB1-RT=%.1f&&", t, some(l, 20));
		} else {
			period(l, at, cp);
		}
		report(l, m->cn, 0, 0, "", cp);
	}
}

static void data_of(struct logger *l, const struct cw_sim_hj *m)
{
	char pol[16] = "w01018", now[18];

	(void)cw_sim_hj_value(m, "PolId", pol, sizeof(pol));
	cw_sim_hj_time(cw_clock_wall_ms(), 0, now);
	switch (atoi(m->cn)) {
	case 1011: parameters(l, m, "SystemTime=%s", now); break;
	case 1021: parameters(l, m, "%s-LowValue=1.1,%s-UpValue=9.9", pol, pol); break;
	case 1031: parameters(l, m, "AlarmTarget=192.0.2.1"); break;
	case 1041: parameters(l, m, "ReportTime=0130"); break;
	case 1061: parameters(l, m, "RtdInterval=%u", l->interval); break;
	case 1063: parameters(l, m, "MinInterval=%u", l->minutes); break;
	case 2031:
	case 2041: history(l, m, 86400000); break;
	case 2051: history(l, m, 600000); break;
	case 2061: history(l, m, 3600000); break;
	case 3015: parameters(l, m, "DataTime=%s;VaseNo=1", now); break;
	case 3017: parameters(l, m, "PolId=%s;CstartTime=000000;CTime=2", pol); break;
	case 3018: parameters(l, m, "PolId=%s;Stime=5", pol); break;
	case 3019: parameters(l, m, "PolId=%s;%s-SN=010000A8900016F000169DC1", pol, pol); break;
	case 3020: parameters(l, m, "DataTime=%s;PolId=%s;i12001-Info=0", now, pol); break;
	default: break;
	}
}

static int known(const char *cn)
{
	static const char all[] = "1000 1001 1011 1012 1021 1022 1031 1032 1041 1042 1061 1062 1063 1064 1072 2011 2021 2031 2041 2051 2061 2071 "
	                          "3011 3012 3013 3014 3015 3016 3017 3018 3019 3020 3021 ";

	return strlen(cn) == 4 && strstr(all, cn) != NULL;
}

static void obey(struct logger *l, const struct cw_sim_hj *m)
{
	char value[16];

	l->fleet->commands++;
	say(l->fleet, L_COMMAND, l, "request %s received and answered: %s", m->cn, strcmp(m->cn, "1072") == 0 ? "(a password)" : m->cp);
	if (strcmp(m->cn, "2012") == 0 || strcmp(m->cn, "2022") == 0) {
		answer(l, m, "9013", "", 0);
		return;
	}
	if (strcmp(m->pw, l->pw) != 0 || !known(m->cn)) {
		answer(l, m, "9011", "QnRtn", known(m->cn) ? 3 : l->old ? 2 : 8);
		return;
	}
	answer(l, m, "9011", "QnRtn", 1);
	if (strcmp(m->cn, "1062") == 0 && cw_sim_hj_value(m, "RtdInterval", value, sizeof(value)))
		l->interval = (unsigned)atoi(value);
	if (strcmp(m->cn, "1064") == 0 && cw_sim_hj_value(m, "MinInterval", value, sizeof(value)))
		l->minutes = (unsigned)atoi(value);
	data_of(l, m);
	answer(l, m, "9012", "ExeRtn", 1);
	if (strcmp(m->cn, "1072") == 0 && cw_sim_hj_value(m, l->old ? "PW" : "NewPW", value, sizeof(value)))
		memcpy(l->pw, value, sizeof(value));
}

/* ---- answers -------------------------------------------------------------------- */

static void on_answer(struct logger *l, const struct cw_sim_hj *m)
{
	struct fleet *f = l->fleet;
	char inside[18];
	const char *qn = m->qn[0] != 0 ? m->qn : cw_sim_hj_value(m, "QN", inside, sizeof(inside)) ? inside : "";
	unsigned i;

	for (i = 0; i < l->open_count; i++)
		if (strcmp(l->open[i].qn, qn) == 0)
			break;
	if (i == l->open_count)
		return;
	l->open[i] = l->open[--l->open_count];
	f->answers++;
	f->heard += !l->heard;
	l->heard = 1;
}

static void hang_up(struct logger *l, const char *why);

static void take(struct logger *l, const char *p, size_t n)
{
	struct cw_sim_hj m;
	size_t at = 0, room;
	long len;

	while (n > 0) {
		room = sizeof(l->rx) - l->rx_len < n ? sizeof(l->rx) - l->rx_len : n;
		memcpy(l->rx + l->rx_len, p, room);
		l->rx_len += room;
		p += room;
		n -= room;
		for (at = 0; (len = cw_sim_hj_parse(l->rx + at, l->rx_len - at, &m)) > 0; at += (size_t)len) {
			if (m.cn[0] == '9')
				on_answer(l, &m);
			else
				obey(l, &m);
		}
		if (len < 0) {
			l->fleet->wrong++;
			say(l->fleet, L_WRONG, l, "a frame of the gateway is wrong");
			hang_up(l, NULL);
			return;
		}
		memmove(l->rx, l->rx + at, l->rx_len - at);
		l->rx_len -= at;
	}
}

/* ---- connections ------------------------------------------------------------------ */

static void on_closed(uv_handle_t *h)
{
	struct logger *l = cw_container_of((uv_tcp_t *)h, struct logger, tcp);

	l->handle_open = 0;
	l->state = l->fleet->closing ? DONE : IDLE;
	l->due_ms = uv_now(&l->fleet->loop) + REDIAL_MS;
	l->rx_len = 0;
}

static void hang_up(struct logger *l, const char *why)
{
	if (!l->handle_open || uv_is_closing((uv_handle_t *)&l->tcp))
		return;
	if (why != NULL) {
		l->fleet->cuts++;
		say(l->fleet, L_CUT, l, "%s", why);
	}
	l->fleet->wanted -= l->open_count; /* a cut link loses them: the logger would store and send again */
	l->open_count = 0;
	l->state = DONE;
	uv_close((uv_handle_t *)&l->tcp, on_closed);
}

static void on_alloc(uv_handle_t *h, size_t want, uv_buf_t *buf)
{
	struct logger *l = cw_container_of((uv_tcp_t *)h, struct logger, tcp);

	(void)want;
	*buf = uv_buf_init(l->fleet->chunk, sizeof(l->fleet->chunk));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct logger *l = cw_container_of((uv_tcp_t *)s, struct logger, tcp);

	if (n < 0)
		hang_up(l, n == UV_EOF ? "the gateway closed the connection" : uv_strerror((int)n));
	else if (n > 0)
		take(l, buf->base, (size_t)n);
}

static void on_dialled(uv_connect_t *req, int status)
{
	struct logger *l = cw_container_of(req, struct logger, dial);

	if (status == UV_ECANCELED)
		return;
	if (status < 0) {
		hang_up(l, uv_strerror(status));
		return;
	}
	uv_tcp_nodelay(&l->tcp, 1);
	uv_read_start((uv_stream_t *)&l->tcp, on_alloc, on_read);
	l->state = ONLINE;
	states(l);
}

static void dial(struct logger *l)
{
	int rc = uv_tcp_init(&l->fleet->loop, &l->tcp);

	if (rc < 0)
		return;
	l->handle_open = 1;
	l->state = DIALLING;
	rc = uv_tcp_connect(&l->dial, &l->tcp, (const struct sockaddr *)&l->fleet->o->to, on_dialled);
	if (rc < 0)
		hang_up(l, uv_strerror(rc));
}

/* ---- time --------------------------------------------------------------------------- */

static void look_overdue(struct fleet *f, struct logger *l)
{
	uint64_t now = uv_now(&f->loop);
	unsigned i;

	for (i = 0; i < l->open_count; i++) {
		if (now - l->open[i].since < ANSWER_MS)
			continue;
		f->silent++;
		say(f, L_SILENT, l, "no answer to %s", l->open[i].qn);
		l->open[i] = l->open[--l->open_count];
		i--;
	}
}

static unsigned pending(const struct fleet *f)
{
	unsigned i, n = 0;

	for (i = 0; i < f->o->devices; i++)
		n += f->l[i].open_count;
	return n;
}

static void close_all(struct fleet *f)
{
	unsigned i;

	f->closing = 1;
	uv_close((uv_handle_t *)&f->tick, NULL);
	uv_close((uv_handle_t *)&f->interrupt, NULL);
	uv_close((uv_handle_t *)&f->terminate, NULL);
	for (i = 0; i < f->o->devices; i++)
		hang_up(&f->l[i], NULL);
}

static void spend(struct fleet *f)
{
	unsigned tried;

	f->credit += f->o->rate * TICK_MS / 1000;
	if (f->credit > f->o->rate + 1)
		f->credit = f->o->rate + 1; /* no burst after a time without loggers */
	for (tried = 0; f->credit >= 1 && tried < f->o->devices; tried++) {
		struct logger *l = &f->l[f->next_sender];

		f->next_sender = (f->next_sender + 1) % f->o->devices;
		/* One that still waits for answers is passed over: loggers do not pile up reports. */
		if (l->state != ONLINE || l->open_count + 2 > OPEN_MAX)
			continue;
		send_something(l);
		f->credit -= 1;
	}
}

static void progress(struct fleet *f)
{
	uint64_t now = uv_now(&f->loop);
	unsigned i, online = 0;

	if (f->o->quiet || now - f->last_line_ms < 5000)
		return;
	f->last_line_ms = now;
	for (i = 0; i < f->o->devices; i++)
		online += f->l[i].state == ONLINE;
	printf("%u of %u connected, %" PRIu64 " reports, %" PRIu64 " answered, %" PRIu64 " requests\n", online, f->o->devices, f->messages, f->answers,
	       f->commands);
	fflush(stdout);
}

static void end(struct fleet *f)
{
	f->ending = 1;
	f->drain_ms = uv_now(&f->loop) + ANSWER_MS + 1000;
}

static void on_tick(uv_timer_t *timer)
{
	struct fleet *f = cw_container_of(timer, struct fleet, tick);
	uint64_t now = uv_now(&f->loop);
	unsigned i, dialled = 0;

	for (i = 0; i < f->o->devices && !f->ending && dialled < DIALS_A_TICK; i++) {
		struct logger *l = &f->l[f->next_dial];

		f->next_dial = (f->next_dial + 1) % f->o->devices;
		if (l->state == IDLE && !l->handle_open && now >= l->due_ms) {
			dial(l);
			dialled++;
		}
	}
	for (i = 0; i < f->o->devices; i++)
		look_overdue(f, &f->l[i]);
	progress(f);
	if (!f->ending) {
		spend(f);
		if (f->end_ms != 0 && now >= f->end_ms)
			end(f);
		return;
	}
	if (pending(f) == 0 || now >= f->drain_ms)
		close_all(f);
}

static void on_interrupt(uv_signal_t *s, int number)
{
	struct fleet *f = s->data;

	(void)number;
	if (!f->ending)
		end(f);
	else if (!f->closing)
		close_all(f);
}

static int make_loggers(struct fleet *f)
{
	unsigned i;

	f->l = cw_calloc(f->o->devices, sizeof(*f->l));
	if (f->l == NULL)
		return -1;
	for (i = 0; i < f->o->devices; i++) {
		if (strlen(f->o->identities[i]) >= sizeof(((struct cw_sim_hj *)NULL)->mn) || strpbrk(f->o->identities[i], ";=&") != NULL) {
			fprintf(stderr, "causeway: simulate: identity `%s` cannot be an MN (up to 39 characters without ; = &)\n", f->o->identities[i]);
			cw_free(f->l);
			return -1;
		}
		f->l[i] = (struct logger){ .fleet = f, .index = i, .old = i % 3 == 2, .interval = 30, .minutes = 10, .pw = "123456" };
	}
	return 0;
}

static int summary(const struct fleet *f)
{
	int bad = f->silent > 0 || f->wrong > 0 || f->heard < f->o->devices;

	printf("%u loggers: %u were answered; %" PRIu64 " reports, %" PRIu64 " that wanted an answer, %" PRIu64 " answered, %" PRIu64
	       " without answer; %" PRIu64 " requests answered; %" PRIu64 " wrong frames, %" PRIu64 " connections cut: %s\n",
	       f->o->devices, f->heard, f->messages, f->wanted, f->answers, f->silent, f->commands, f->wrong, f->cuts,
	       bad ? "NOT all as expected" : "all as expected");
	return bad;
}

int cw_sim_hj212(const struct cw_sim_options *o)
{
	struct fleet *f = cw_zalloc(sizeof(*f));
	int rc;

	if (f == NULL)
		return 1;
	f->o = o;
	if (make_loggers(f) < 0) {
		cw_free(f);
		return 1;
	}
	uv_loop_init(&f->loop);
	uv_timer_init(&f->loop, &f->tick);
	uv_signal_init(&f->loop, &f->interrupt);
	uv_signal_init(&f->loop, &f->terminate);
	f->tick.data = f->interrupt.data = f->terminate.data = f;
	uv_signal_start(&f->interrupt, on_interrupt, SIGINT);
	uv_signal_start(&f->terminate, on_interrupt, SIGTERM);
	uv_timer_start(&f->tick, on_tick, 0, TICK_MS);
	f->last_line_ms = uv_now(&f->loop);
	f->end_ms = o->for_ms == 0 ? 0 : uv_now(&f->loop) + o->for_ms;
	uv_run(&f->loop, UV_RUN_DEFAULT);
	uv_loop_close(&f->loop);
	rc = summary(f);
	cw_free(f->l);
	cw_free(f);
	return rc;
}
