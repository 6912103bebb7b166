/*
 * api_line.c - the state of the line at a glance, as the page shows it; see office.h.
 *
 * One look at the stock serves every page that is open: an answer is given again for LINE_FRESH_MS, and for LINE_SHARE times as long as it
 * took to make, so that a large stock or a slow database is not kept busy by pages. While the office is at something long (an import),
 * the answer before is given; "at" says of when it is.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/stat.h"
#include "factory/office/office.h"
#include "factory/stations.h"
#include "factory/view.h"

#define LINE_FRESH_MS    1500u
#define LINE_SHARE       10u
#define LINE_PATIENCE_MS 500u     /* then the answer before is given, if there is one */
#define LINE_SAMPLE_MS   30000u
#define SLOT_MS          900000   /* of the chart: a quarter of an hour, .. */
#define SLOTS            48u      /* .. twelve hours of them */
#define STATIONS_MS      86400000
#define UNREPORTED_MS    3600000  /* an allocation without report is worth a line after this time */
#define UNREPORTED_MOST  1000u    /* so many are counted */
#define RECENT_MOST      40u
#define PRODUCTS_MOST    100u
#define PROBLEMS_MOST    32u
#define QUOTAS_MOST      500u
#define BATCHES_MOST     500u
#define STATIONS_MOST    500u
#define HOUR_MS          3600000
#define SOON_MS          (2 * HOUR_MS) /* a stock that ends so soon is a problem */

/* ---- what the office's thread finds out ----------------------------------------------------------- */

struct waiter {
	struct cw_list link;
	struct office *office;
	struct cw_http_req *req;
};

struct product {
	struct cw_stock_product settings;
	struct cw_stock_figures figures;
	uint64_t before; /* free certificates of the batches that are used before this one */
};

/* What a station may have in its period, and has had. */
struct quota {
	char name[CW_STOCK_STATION + 1];
	uint64_t quota, used;
	int64_t period_ms;
	int asked; /* its period's figures were looked at */
};

struct line_problem {
	const char *level, *code; /* "bad", "warn", "note" */
	char product_key[CW_STOCK_PRODUCT_KEY + 1];
	char text[600];
};

struct line_job {
	struct cw_desk_job job;
	struct office *office;
	struct cw_json json;
	int rc;
	uint64_t took, low;
	int64_t now;
	struct product products[PRODUCTS_MOST];
	struct line_problem problems[PROBLEMS_MOST];
	struct quota quotas[QUOTAS_MOST];
	size_t product_count, batch_count, station_count, live_count, problem_count, quota_count;
};

static void problem(struct line_job *l, const char *level, const char *code, const char *product_key, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

static void problem(struct line_job *l, const char *level, const char *code, const char *product_key, const char *fmt, ...)
{
	struct line_problem *p = &l->problems[l->problem_count];
	va_list ap;

	if (l->problem_count == PROBLEMS_MOST)
		return;
	l->problem_count++;
	p->level = level;
	p->code = code;
	(void)snprintf(p->product_key, sizeof(p->product_key), "%s", product_key);
	va_start(ap, fmt);
	(void)vsnprintf(p->text, sizeof(p->text), fmt, ap);
	va_end(ap);
}

/* "in 3 h 20 min" */
static const char *in_words(int64_t ms, char out[32])
{
	int64_t minutes = ms / 60000;

	if (minutes < 60)
		(void)snprintf(out, 32, "%" PRId64 " min", minutes);
	else
		(void)snprintf(out, 32, "%" PRId64 " h %" PRId64 " min", minutes / 60, minutes % 60);
	return out;
}

/* How long `free` last when a product's boards go on coming as in the last hour; -1: none came. */
static int64_t lasts(const struct product *p, uint64_t free)
{
	if (p->figures.allocated_hour == 0)
		return -1;
	return (int64_t)((double)free / (double)p->figures.allocated_hour * HOUR_MS);
}

static int note_product(void *arg, const struct cw_stock_product *p)
{
	struct line_job *l = arg;

	if (l->product_count < PRODUCTS_MOST)
		l->products[l->product_count++].settings = *p;
	return 0;
}

static void judge_product(struct line_job *l, const struct product *p)
{
	const char *key = p->settings.product_key;
	uint64_t free = p->figures.count[CW_STOCK_FREE];
	int64_t ms = lasts(p, free);
	char words[32];

	if (free == 0)
		problem(l, "bad", "OUT_OF_STOCK", key, "No certificate of %s is left; import or order more.", key);
	else if (ms >= 0 && ms < SOON_MS)
		problem(l, "bad", "ENDS_SOON", key, "%s runs out in %s: %" PRIu64 " are free, %" PRIu64 " went in the last hour.", key,
			in_words(ms, words), free, p->figures.allocated_hour);
	else if (free < l->low)
		problem(l, "warn", "LOW_STOCK", key, "Only %" PRIu64 " certificates of %s are free.", free, key);
}

/* {"productKey","settings":{..},"figures":{..},"endsInMs"} of each. */
static int put_products(struct line_job *l, struct cw_stock *s)
{
	int rc = cw_stock_products(s, note_product, l, &l->job.msg);
	size_t i;

	cw_json_text(&l->json, "products");
	cw_json_array(&l->json);
	for (i = 0; i < l->product_count && rc == 0; i++) {
		struct product *p = &l->products[i];

		rc = cw_stock_figures(s, p->settings.product_key, &p->figures, &l->job.msg);
		cw_json_map(&l->json);
		cw_json_field(&l->json, "productKey", p->settings.product_key);
		cw_json_text(&l->json, "settings");
		cw_view_product(&l->json, &p->settings);
		cw_json_text(&l->json, "figures");
		cw_view_figures(&l->json, &p->figures);
		office_put_int(&l->json, "endsInMs", lasts(p, p->figures.count[CW_STOCK_FREE]));
		cw_json_end_map(&l->json);
		if (rc == 0)
			judge_product(l, p);
	}
	cw_json_end_array(&l->json);
	return rc;
}

/* Of the whole stock. It is not walked through once more, unless there are products that were left out. */
static int sum_products(struct line_job *l, struct cw_stock *s, struct cw_stock_figures *ret)
{
	size_t i, k;

	if (l->product_count == PRODUCTS_MOST)
		return cw_stock_figures(s, NULL, ret, &l->job.msg);
	memset(ret, 0, sizeof(*ret));
	for (i = 0; i < l->product_count; i++) {
		const struct cw_stock_figures *f = &l->products[i].figures;

		for (k = 0; k < CW_STOCK_STATE_COUNT; k++)
			ret->count[k] += f->count[k];
		ret->anonymous += f->anonymous;
		ret->allocated_hour += f->allocated_hour;
		ret->written_hour += f->written_hour;
		ret->allocated_day += f->allocated_day;
		ret->written_day += f->written_day;
		if (f->first_today != 0 && (ret->first_today == 0 || f->first_today < ret->first_today))
			ret->first_today = f->first_today;
		if (f->last > ret->last)
			ret->last = f->last;
	}
	return 0;
}

static struct product *find_product(struct line_job *l, const char *key)
{
	size_t i;

	for (i = 0; i < l->product_count; i++) {
		if (strcmp(l->products[i].settings.product_key, key) == 0)
			return &l->products[i];
	}
	return NULL;
}

/* {"batch":{..},"endsInMs"}: batches of a product are used one after the other, in this order. */
static int put_batch(void *arg, const struct cw_stock_batch *b)
{
	struct line_job *l = arg;
	struct product *p = find_product(l, b->product_key);
	uint64_t free = b->count[CW_STOCK_FREE];
	int64_t ms = -1;

	if (p != NULL && !b->closed) {
		p->before += free;
		ms = free != 0 ? lasts(p, p->before) : 0;
	}
	if (!b->closed && b->low != 0 && free < b->low)
		problem(l, "warn", "LOW_BATCH", b->product_key, "Batch %s has %" PRIu64 " certificates left, less than %" PRIu64 ".", b->name,
			free, b->low);
	if (l->batch_count++ >= BATCHES_MOST)
		return 0;
	cw_json_map(&l->json);
	cw_json_text(&l->json, "batch");
	cw_view_batch(&l->json, b);
	office_put_int(&l->json, "endsInMs", ms);
	cw_json_end_map(&l->json);
	return 0;
}

static int put_rate(struct line_job *l, struct cw_stock *s)
{
	uint64_t allocated[SLOTS] = { 0 }, written[SLOTS] = { 0 };
	int rc = cw_stock_rate(s, NULL, SLOT_MS, SLOTS, allocated, written, &l->job.msg);

	cw_json_text(&l->json, "rate");
	cw_view_rate(&l->json, l->now, SLOT_MS, SLOTS, allocated, written);
	return rc;
}

static int put_station(void *arg, const struct cw_stock_station *st)
{
	struct line_job *l = arg;

	if (l->station_count++ < STATIONS_MOST)
		cw_view_station(&l->json, st);
	return 0;
}

struct period {
	struct line_job *line;
	int64_t ms;
};

static int note_used(void *arg, const struct cw_stock_station *st)
{
	const struct period *p = arg;
	size_t i;

	for (i = 0; i < p->line->quota_count; i++) {
		struct quota *q = &p->line->quotas[i];

		if (q->period_ms == p->ms && strcmp(q->name, st->name) == 0)
			q->used = st->allocated;
	}
	return 0;
}

/* Stations of one period are looked up together; there is rarely more than one. */
static int count_quotas(struct line_job *l, struct cw_stock *s)
{
	size_t i, k;
	int rc = 0;

	for (i = 0; i < l->quota_count && rc == 0; i++) {
		struct period p = { l, l->quotas[i].period_ms };

		if (l->quotas[i].asked || p.ms <= 0)
			continue;
		rc = cw_stock_stations(s, l->now - l->now % p.ms, note_used, &p, &l->job.msg);
		for (k = i; k < l->quota_count; k++)
			l->quotas[k].asked |= l->quotas[k].period_ms == p.ms;
	}
	return rc;
}

static int put_entry(void *arg, const struct cw_audit_entry *e)
{
	cw_view_audit(arg, e);
	return 0;
}

static int count_row(void *arg, const struct cw_stock_row *row)
{
	++*(size_t *)arg;
	return 0;
}

static int judge_reports(struct line_job *l, struct cw_stock *s, const struct cw_stock_figures *all)
{
	struct cw_stock_filter f = { .state = CW_STOCK_ALLOCATED, .until = l->now - UNREPORTED_MS, .most = UNREPORTED_MOST };
	size_t count = 0;
	int rc = all->count[CW_STOCK_ALLOCATED] != 0 ? cw_stock_query(s, &f, count_row, &count, &l->job.msg) : 0;

	if (count != 0)
		problem(l, "warn", "UNREPORTED", "", "%zu%s board%s got a certificate more than an hour ago and no station reported it written.",
			count, count == UNREPORTED_MOST ? " or more" : "", count == 1 ? "" : "s");
	if (all->anonymous != 0)
		problem(l, "warn", "ANONYMOUS", "", "%" PRIu64 " certificate%s went out without a DeviceID and %s never reported: each "
			"attempt costs another one. Let the station send a DeviceID.", all->anonymous, all->anonymous == 1 ? "" : "s",
			all->anonymous == 1 ? "was" : "were");
	return rc;
}

static int put_lists(struct line_job *l, struct cw_stock *s)
{
	struct cw_audit_filter recent = { .newest = 1, .most = RECENT_MOST };
	int rc;

	cw_json_text(&l->json, "batches");
	cw_json_array(&l->json);
	rc = cw_stock_batches(s, NULL, put_batch, l, &l->job.msg);
	cw_json_end_array(&l->json);
	cw_json_text(&l->json, "stations");
	cw_json_array(&l->json);
	if (rc == 0)
		rc = cw_stock_stations(s, l->now - STATIONS_MS, put_station, l, &l->job.msg);
	cw_json_end_array(&l->json);
	cw_json_text(&l->json, "recent");
	cw_json_array(&l->json);
	if (rc == 0)
		rc = cw_audit_each(s, &recent, put_entry, &l->json, &l->job.msg);
	cw_json_end_array(&l->json);
	return rc;
}

static void line_work(struct cw_desk_job *job, struct cw_stock *s)
{
	struct line_job *l = cw_container_of(job, struct line_job, job);
	struct cw_stock_figures all;
	uint64_t began = cw_clock_ms();

	l->now = cw_clock_wall_ms();
	l->rc = s != NULL ? put_products(l, s) : CW_EUNREACH;
	job->reopen = l->rc == CW_EUNREACH || l->rc == CW_EIO;
	if (l->rc == 0)
		l->rc = sum_products(l, s, &all);
	if (l->rc < 0)
		return;
	cw_json_text(&l->json, "figures");
	cw_view_figures(&l->json, &all);
	l->rc = put_lists(l, s);
	if (l->rc == 0)
		l->rc = put_rate(l, s);
	if (l->rc == 0)
		l->rc = judge_reports(l, s, &all);
	if (l->rc == 0)
		l->rc = count_quotas(l, s);
	l->took = cw_clock_ms() - began;
}

/* ---- on the loop ----------------------------------------------------------------------------------- */

static void give(struct office *o, struct cw_http_req *req)
{
	office_reply_text(req, 200, "application/json", o->line.text, o->line.len);
}

static void waiter_free(struct waiter *w)
{
	cw_list_remove(&w->link);
	cw_free(w);
}

static void waiter_gone(void *arg)
{
	waiter_free(arg);
}

static void give_all(struct office *o)
{
	struct cw_list *e;

	while ((e = cw_list_first(&o->line.waiting)) != NULL) {
		struct waiter *w = cw_container_of(e, struct waiter, link);
		struct cw_http_req *req = w->req;

		cw_http_on_gone(req, NULL, NULL);
		waiter_free(w);
		if (o->line.text != NULL)
			give(o, req);
		else
			office_refuse(req, 503, "UNAVAILABLE", "out of memory");
	}
}

static void out_of_patience(struct cw_timer *t)
{
	struct office *o = cw_container_of(t, struct office, line.patience);

	if (o->line.text == NULL)
		return; /* the first answer: nothing to give instead */
	o->line.shed = 1;
	give_all(o);
}

/* ---- refusals of late, by reason ----------------------------------------------------------------- */

static const struct {
	enum cw_stat_id id;
	const char *status, *means;
} reasons[] = {
	{ CW_STAT_factory_answer_unauthorized, "UNAUTHORIZED", "with a wrong token or certificate, or for a product the station may not have" },
	{ CW_STAT_factory_answer_unknown_product, "UNKNOWN_PRODUCT", "for a ProductKey without batch" },
	{ CW_STAT_factory_answer_out_of_stock, "OUT_OF_STOCK", "for want of certificates" },
	{ CW_STAT_factory_answer_batch_closed, "BATCH_CLOSED", "because batches are closed" },
	{ CW_STAT_factory_answer_quota_exceeded, "QUOTA_EXCEEDED", "because the station's quota is used up" },
	{ CW_STAT_factory_answer_unknown_device, "UNKNOWN_DEVICE", "reports of boards without certificate" },
	{ CW_STAT_factory_answer_bad_request, "BAD_REQUEST", "not understood" },
	{ CW_STAT_factory_answer_busy, "BUSY", "because the database was not available" },
	{ CW_STAT_factory_logins_refused, "LOGIN", "log-ins here with a wrong token" },
};
#define REASONS (sizeof(reasons) / sizeof(reasons[0]))
_Static_assert(REASONS <= LINE_REASONS, "every reason has a column");

/* One more row, the oldest goes. */
static void sample(struct cw_timer *t)
{
	struct office *o = cw_container_of(t, struct office, line.sampling);
	struct office_line *line = &o->line;
	size_t i;

	if (line->sample_count == LINE_SAMPLES) {
		memmove(line->samples[0], line->samples[1], sizeof(line->samples) - sizeof(line->samples[0]));
		line->sample_count--;
	}
	for (i = 0; i < REASONS; i++)
		line->samples[line->sample_count][i] = cw_stat_read(reasons[i].id);
	line->sample_count++;
	cw_timer_set(cw_worker_timers(o->factory->loop), t, LINE_SAMPLE_MS, sample);
}

/* {"REASON":count} of the last ten minutes; what there is is a problem, too. */
static void put_refusals(struct line_job *l)
{
	const struct office_line *line = &l->office->line;
	char text[sizeof(l->problems[0].text)] = "";
	int64_t all = 0;
	size_t i, used = 0;

	cw_json_text(&l->json, "refused");
	cw_json_map(&l->json);
	for (i = 0; i < REASONS; i++) {
		int64_t n = cw_stat_read(reasons[i].id) - line->samples[0][i];

		if (n <= 0)
			continue;
		office_put_int(&l->json, reasons[i].status, n);
		if (used < sizeof(text))
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%" PRId64 " %s", all != 0 ? "; " : "", n, reasons[i].means);
		all += n;
	}
	cw_json_end_map(&l->json);
	if (all != 0)
		problem(l, "warn", "REFUSED", "", "Refused in the last ten minutes: %s.", text);
}

/* ---- the answer ------------------------------------------------------------------------------------ */

static void put_problems(struct line_job *l)
{
	static const char *const levels[] = { "bad", "warn", "note" };
	size_t i, k;

	cw_json_text(&l->json, "problems");
	cw_json_array(&l->json);
	for (k = 0; k < sizeof(levels) / sizeof(levels[0]); k++) {
		for (i = 0; i < l->problem_count; i++) {
			const struct line_problem *p = &l->problems[i];

			if (strcmp(p->level, levels[k]) != 0)
				continue;
			cw_json_map(&l->json);
			cw_json_field(&l->json, "level", p->level);
			cw_json_field(&l->json, "code", p->code);
			cw_json_field(&l->json, "productKey", p->product_key);
			cw_json_field(&l->json, "text", p->text);
			cw_json_end_map(&l->json);
		}
	}
	cw_json_end_array(&l->json);
}

static const struct quota *find_quota(const struct line_job *l, const char *name)
{
	size_t i;

	for (i = 0; i < l->quota_count; i++) {
		if (strcmp(l->quotas[i].name, name) == 0)
			return &l->quotas[i];
	}
	return NULL;
}

static int put_busy_station(void *arg, const struct factory_station *st)
{
	static const char *const names[] = {
#define NAME(sym, name, http, text) name,
		CW_STOCK_ANSWERS(NAME)
#undef NAME
	};
	struct line_job *l = arg;
	const struct quota *q = find_quota(l, st->name);
	char last[25];

	if (l->live_count++ >= STATIONS_MOST)
		return 0;
	cw_clock_format(st->last, last);
	cw_json_map(&l->json);
	cw_json_field(&l->json, "name", st->name);
	cw_json_field(&l->json, "address", st->address);
	cw_json_field(&l->json, "last", last);
	office_put_int(&l->json, "requests", (int64_t)st->requests);
	office_put_int(&l->json, "refused", (int64_t)st->refused);
	office_put_int(&l->json, "waiting", st->waiting);
	cw_json_field(&l->json, "answer", (size_t)st->answer < CW_STOCK_ANSWER_COUNT ? names[st->answer] : "");
	if (q != NULL) {
		office_put_int(&l->json, "quota", (int64_t)q->quota);
		office_put_int(&l->json, "quotaMs", q->period_ms);
		office_put_int(&l->json, "used", (int64_t)q->used);
	}
	cw_json_end_map(&l->json);
	return 0;
}

/* What the loop knows: the queue, the database as the line's thread sees it. */
static void put_live(struct line_job *l)
{
	struct cw_desk_figures d;

	cw_desk_figures(l->office->factory->desk, &d);
	cw_json_text(&l->json, "live");
	cw_json_map(&l->json);
	office_put_int(&l->json, "served", (int64_t)d.served);
	office_put_int(&l->json, "commits", (int64_t)d.commits);
	office_put_int(&l->json, "waiting", (int64_t)d.waiting);
	office_put_bool(&l->json, "up", d.up && l->rc == 0);
	office_put_int(&l->json, "started", l->office->factory->started);
	cw_json_text(&l->json, "stations");
	cw_json_array(&l->json);
	(void)cw_factory_stations_each(l->office->factory->stations, put_busy_station, l);
	cw_json_end_array(&l->json);
	cw_json_end_map(&l->json);
	if (l->rc < 0)
		problem(l, "bad", "DATABASE", "", "The database cannot be read: %s", l->job.msg.text[0] != '\0' ? l->job.msg.text : cw_error_text(l->rc));
	else if (!d.up)
		problem(l, "bad", "DATABASE", "", "The database takes no changes; stations are told to try again (BUSY): %s", d.why);
}

static void keep_answer(struct office *o, struct line_job *l)
{
	char *text;
	size_t len;

	if (cw_json_finish(&l->json, &text, &len) < 0)
		return; /* out of memory: the one before stays */
	cw_free(o->line.text);
	o->line.text = text;
	o->line.len = len;
	o->line.at = cw_clock_ms();
	o->line.took = l->took;
}

static void line_done(struct cw_desk_job *job)
{
	struct line_job *l = cw_container_of(job, struct line_job, job);
	struct office *o = l->office;

	if (l->rc < 0) { /* what was written so far is not whole */
		cw_json_drop(&l->json);
		cw_json_begin(&l->json, OFFICE_ANSWER_MAX);
		cw_json_map(&l->json);
		l->problem_count = 0;
		l->now = cw_clock_wall_ms();
	}
	office_put_int(&l->json, "at", l->now);
	put_live(l);
	put_refusals(l);
	put_problems(l);
	cw_json_end_map(&l->json);
	keep_answer(o, l);
	cw_json_drop(&l->json);
	o->line.running = o->line.shed = 0;
	if (!o->shut)
		cw_timer_stop(cw_worker_timers(o->factory->loop), &o->line.patience);
	give_all(o);
	cw_free(l);
	office_release(o);
}

/* The configuration is the loop's. */
static void note_quotas(struct line_job *l, const struct factory_conf *conf)
{
	size_t i;

	for (i = 0; i < conf->stations.count && l->quota_count < QUOTAS_MOST; i++) {
		const struct factory_station_conf *st = cw_conf_item(&conf->stations, struct factory_station_conf, i);
		struct quota *q = &l->quotas[l->quota_count];

		if (st->quota == 0)
			continue;
		(void)snprintf(q->name, sizeof(q->name), "%s", st->name);
		q->quota = st->quota;
		q->period_ms = st->quota_ms;
		l->quota_count++;
	}
}

static int start(struct office *o)
{
	struct line_job *l = cw_zalloc(sizeof(*l));

	if (l == NULL)
		return CW_ENOMEM;
	l->office = o;
	l->low = o->factory->conf->low;
	note_quotas(l, o->factory->conf);
	l->job.work = line_work;
	l->job.done = line_done;
	cw_json_begin(&l->json, OFFICE_ANSWER_MAX);
	cw_json_map(&l->json);
	o->line.running = 1;
	office_hold(o);
	cw_timer_set(cw_worker_timers(o->factory->loop), &o->line.patience, LINE_PATIENCE_MS, out_of_patience);
	cw_desk_do(o->factory->desk, &l->job);
	return 0;
}

static int is_fresh(const struct office_line *line)
{
	uint64_t age = cw_clock_ms() - line->at, most = line->took * LINE_SHARE;

	return line->text != NULL && line->at != 0 && age < (most > LINE_FRESH_MS ? most : LINE_FRESH_MS);
}

void office_line(struct office *o, struct cw_http_req *req)
{
	struct waiter *w;

	if (is_fresh(&o->line) || (o->line.running && o->line.shed)) {
		give(o, req);
		return;
	}
	w = cw_zalloc(sizeof(*w));
	if (w == NULL || (!o->line.running && start(o) < 0)) {
		cw_free(w);
		office_refuse(req, 503, "UNAVAILABLE", "out of memory");
		return;
	}
	w->office = o;
	w->req = req;
	cw_list_push_back(&o->line.waiting, &w->link);
	cw_http_on_gone(req, waiter_gone, w);
}

void office_line_stale(struct office *o)
{
	o->line.at = 0;
}

void office_line_open(struct office *o)
{
	cw_list_init(&o->line.waiting);
	sample(&o->line.sampling);
}

/* Its listener is about to close, which tells those who wait. */
void office_line_close(struct office *o)
{
	cw_timer_stop(cw_worker_timers(o->factory->loop), &o->line.patience);
	cw_timer_stop(cw_worker_timers(o->factory->loop), &o->line.sampling);
}
