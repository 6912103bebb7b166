/* report.c - see report.h. */
#include "factory/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "factory/stock/shelf.h"
#include "json/json.h"

#define PING_MS 5000u          /* how often the database is asked whether it is there */
#define STUCK_MS 60000         /* the office at one job for so long is a reason to look */
#define HEALTH_MOST (64u << 10)

enum level { LEVEL_ENOUGH, LEVEL_LOW, LEVEL_EMPTY };

/* What is free of a product in a batch, or in all its batches (batch ""). */
struct shelf {
	struct shelf *next;
	char product_key[CW_STOCK_PRODUCT_KEY + 1], batch[CW_STOCK_BATCH + 1];
	uint64_t free, low;
	enum level level;
};

struct factory_upkeep {
	struct factory *factory;
	struct cw_desk_job job;
	int busy, stopped;
	struct cw_timer timer;
	uint64_t leases_due; /* loop time */
	/* of the job */
	int with_leases, rc;
	uint64_t low;
	size_t reclaimed;
	struct shelf *found;
	/* as of the last job */
	int known, up;
	char why[256];
	uint64_t commits; /* stations' when the last job was begun */
	struct shelf *shelves;
};

/* ---- by the clock, on the office's thread --------------------------------------------------- */

static void free_shelves(struct shelf *s)
{
	while (s != NULL) {
		struct shelf *next = s->next;

		cw_free(s);
		s = next;
	}
}

static struct shelf *find_shelf(struct shelf *list, const char *product_key, const char *batch)
{
	for (; list != NULL; list = list->next)
		if (strcmp(list->product_key, product_key) == 0 && strcmp(list->batch, batch) == 0)
			return list;
	return NULL;
}

static struct shelf *add_shelf(struct factory_upkeep *u, const char *product_key, const char *batch, uint64_t low)
{
	struct shelf *s = cw_zalloc(sizeof(*s));

	if (s == NULL)
		return NULL;
	(void)snprintf(s->product_key, sizeof(s->product_key), "%s", product_key);
	(void)snprintf(s->batch, sizeof(s->batch), "%s", batch);
	s->low = low;
	s->next = u->found;
	u->found = s;
	return s;
}

/* By product: so its total is the newest that is found. */
static int on_free(void *arg, const char *product_key, const char *batch, uint64_t free, uint64_t low)
{
	struct factory_upkeep *u = arg;
	struct shelf *all = find_shelf(u->found, product_key, ""), *one;

	if (all == NULL)
		all = add_shelf(u, product_key, "", u->low);
	one = all != NULL ? add_shelf(u, product_key, batch, low) : NULL;
	if (one == NULL)
		return CW_ENOMEM;
	one->free = free;
	all->free += free;
	return 0;
}

static void look(struct cw_desk_job *j, struct cw_stock *s)
{
	struct factory_upkeep *u = cw_container_of(j, struct factory_upkeep, job);

	u->reclaimed = 0;
	u->rc = s != NULL ? cw_stock_ping(s, &j->msg) : CW_EUNREACH;
	if (u->rc == 0 && u->with_leases)
		u->rc = cw_stock_reclaim_leases(s, &u->reclaimed, &j->msg);
	if (u->rc == 0 && u->with_leases)
		u->rc = cw_stock_free(s, on_free, u, &j->msg);
	j->reopen = u->rc < 0 && u->rc != CW_EBUSY;
}

/* ---- and what became of it, on the loop -------------------------------------------------------- */

static enum level level_of(const struct shelf *s)
{
	return s->free == 0 ? LEVEL_EMPTY : s->free < s->low ? LEVEL_LOW : LEVEL_ENOUGH;
}

/* Each level is said once, until it is left again. A batch that is used up is nothing to shout about while others have some. */
static void judge(struct shelf *s, const struct shelf *before)
{
	enum level was = before != NULL ? before->level : LEVEL_ENOUGH;

	s->level = level_of(s);
	if (s->batch[0] != '\0' && (s->low == 0 || s->level == LEVEL_EMPTY))
		s->level = s->low == 0 ? LEVEL_ENOUGH : LEVEL_LOW;
	if (s->level == was)
		return;
	if (s->level == LEVEL_EMPTY)
		cw_log(factory_empty, "import or order more", CW_LS("product", s->product_key), CW_LS("batch", s->batch));
	else if (s->level == LEVEL_LOW)
		cw_log(factory_low, "the stock runs out", CW_LS("product", s->product_key), CW_LS("batch", s->batch), CW_LU("free", s->free),
		       CW_LU("low", s->low));
	else
		cw_log(factory_refilled, "enough again", CW_LS("product", s->product_key), CW_LS("batch", s->batch), CW_LU("free", s->free));
}

static void take_shelves(struct factory_upkeep *u)
{
	struct shelf *s;

	for (s = u->found; s != NULL; s = s->next)
		judge(s, find_shelf(u->shelves, s->product_key, s->batch));
	free_shelves(u->shelves);
	u->shelves = u->found;
	u->found = NULL;
}

static void on_due(struct cw_timer *t);

static void looked(struct cw_desk_job *j)
{
	struct factory_upkeep *u = cw_container_of(j, struct factory_upkeep, job);
	int was_up = u->up || !u->known;

	u->busy = 0;
	u->known = 1;
	u->up = u->rc == 0;
	(void)snprintf(u->why, sizeof(u->why), "%.*s", (int)sizeof(u->why) - 1, u->rc == 0 ? "" : j->msg.text);
	if (u->rc == 0 && u->with_leases)
		take_shelves(u);
	else if (u->rc < 0 && was_up)
		cw_log(factory_upkeep, j->msg.text);
	free_shelves(u->found);
	u->found = NULL;
	if (u->reclaimed > 0) {
		cw_count_n(factory, reclaimed, u->reclaimed);
		cw_log(factory_reclaimed, "their lease was over", CW_LU("count", u->reclaimed));
	}
	if (u->rc < 0) /* the leases were not looked at */
		u->leases_due = 0;
	if (!u->stopped)
		cw_timer_set(cw_worker_timers(u->factory->loop), &u->timer,
		             u->factory->conf->lease_check_ms < (int64_t)PING_MS ? (uint64_t)u->factory->conf->lease_check_ms : PING_MS, on_due);
}

static void on_due(struct cw_timer *t)
{
	struct factory_upkeep *u = cw_container_of(t, struct factory_upkeep, timer);
	uint64_t now = cw_worker_now(u->factory->loop);
	struct cw_desk_figures figures;

	u->with_leases = now >= u->leases_due;
	if (u->with_leases)
		u->leases_due = now + (uint64_t)u->factory->conf->lease_check_ms;
	u->low = u->factory->conf->low;
	cw_desk_figures(u->factory->desk, &figures);
	u->commits = figures.commits;
	u->busy = 1;
	u->job = (struct cw_desk_job){ .work = look, .done = looked };
	cw_desk_do(u->factory->desk, &u->job);
}

int cw_factory_upkeep_open(struct factory *f, struct cw_msg *msg)
{
	struct factory_upkeep *u = cw_zalloc(sizeof(*u));

	if (u == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	u->factory = f;
	f->upkeep = u;
	on_due(&u->timer);
	return 0;
}

void cw_factory_upkeep_stop(struct factory_upkeep *u)
{
	if (u == NULL)
		return;
	u->stopped = 1;
	cw_timer_stop(cw_worker_timers(u->factory->loop), &u->timer);
}

void cw_factory_upkeep_free(struct factory_upkeep *u)
{
	if (u == NULL)
		return;
	cw_invariant(!u->busy);
	free_shelves(u->shelves);
	cw_free(u);
}

/* ---- metrics ------------------------------------------------------------------------------------- */

/* A label's value may have everything but these three as it is. */
static void put_label(FILE *out, const char *name, const char *value)
{
	(void)fprintf(out, "%s=\"", name);
	for (; *value != '\0'; value++) {
		if (*value == '\n')
			(void)fputs("\\n", out);
		else if (*value == '"' || *value == '\\')
			(void)fprintf(out, "\\%c", *value);
		else
			(void)fputc(*value, out);
	}
	(void)fputc('"', out);
}

static void put_head(FILE *out, const char *name, const char *type, const char *help)
{
	(void)fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_gauge(FILE *out, const char *name, const char *help, double value)
{
	put_head(out, name, "gauge", help);
	(void)fprintf(out, "%s %.15g\n", name, value);
}

static void put_counters(FILE *out)
{
	char name[128];
	int i;

	for (i = 0; i < CW_STAT_COUNT; i++) {
		const struct cw_stat_entry *e = cw_stat_entry((enum cw_stat_id)i);

		if (strcmp(e->module, "factory") != 0 && strcmp(e->module, "field") != 0) /* the others count in other programs */
			continue;
		(void)snprintf(name, sizeof(name), "causeway_%s_%s%s", e->module, e->name, e->kind == CW_STAT_COUNTER ? "_total" : "");
		put_head(out, name, e->kind == CW_STAT_COUNTER ? "counter" : "gauge", e->help);
		(void)fprintf(out, "%s %" PRId64 "\n", name, cw_stat_read((enum cw_stat_id)i));
	}
}

static void put_shelves(FILE *out, const char *name, const char *help, const struct factory_upkeep *u, int low)
{
	const struct shelf *s;

	put_head(out, name, "gauge", help);
	for (s = u->shelves; s != NULL; s = s->next) {
		if (s->batch[0] == '\0') /* a sum, which who reads can make */
			continue;
		(void)fprintf(out, "%s{", name);
		put_label(out, "product", s->product_key);
		(void)fputc(',', out);
		put_label(out, "batch", s->batch);
		(void)fprintf(out, "} %" PRIu64 "\n", low ? s->low : s->free);
	}
}

int factory_metrics_text(struct factory *f, char **ret_text, size_t *ret_len)
{
	struct cw_desk_figures figures;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int bad;

	if (out == NULL)
		return CW_ENOMEM;
	cw_desk_figures(f->desk, &figures);
	put_gauge(out, "causeway_factory_up", "1: the database takes transactions", figures.up);
	put_gauge(out, "causeway_factory_start_time_seconds", "When the server was started, Unix time", (double)f->started / 1000.0);
	put_gauge(out, "causeway_factory_largest_group", "Most requests that shared one transaction", (double)figures.largest);
	put_counters(out);
	put_shelves(out, "causeway_factory_free", "Certificates that nobody has, as of the last look (leaseCheck)", f->upkeep, 0);
	put_shelves(out, "causeway_factory_low", "Fewer free than this are warned about; 0: never", f->upkeep, 1);
	bad = ferror(out) != 0;
	bad = fclose(out) != 0 || bad;
	*ret_text = bad ? NULL : cw_memdup(text, len + 1);
	free(text);
	if (*ret_text == NULL)
		return CW_ENOMEM;
	*ret_len = len;
	return 0;
}

/* ---- health --------------------------------------------------------------------------------------- */

/* Reasons, each as a text; how many. With `j` NULL they are only counted. */
static unsigned put_reasons(struct cw_json *j, const struct factory_upkeep *u, const struct cw_desk_figures *figures)
{
	char text[400];
	unsigned n = 0;

	if (!figures->up) {
		n++;
		(void)snprintf(text, sizeof(text), "stations are answered BUSY: %s", figures->why);
		if (j != NULL)
			cw_json_text(j, text);
	}
	if (u->known && !u->up && figures->commits == u->commits) { /* a commit since then knows better */
		n++;
		(void)snprintf(text, sizeof(text), "the database was asked whether it is there: %s", u->why);
		if (j != NULL)
			cw_json_text(j, text);
	}
	if (figures->office_since != 0 && cw_clock_wall_ms() - figures->office_since > STUCK_MS) {
		n++;
		(void)snprintf(text, sizeof(text), "one look-up or import has been under way for %" PRId64 " s",
		               (cw_clock_wall_ms() - figures->office_since) / 1000);
		if (j != NULL)
			cw_json_text(j, text);
	}
	if (figures->waiting >= CW_DESK_WAITING) {
		n++;
		if (j != NULL)
			cw_json_text(j, "as many requests wait as may wait; the next are answered BUSY");
	}
	return n;
}

int factory_health_json(struct factory *f, char **ret_text, size_t *ret_len)
{
	struct cw_desk_figures figures;
	struct cw_json j;
	unsigned reasons;
	int rc;

	cw_desk_figures(f->desk, &figures);
	reasons = put_reasons(NULL, f->upkeep, &figures);
	cw_json_begin(&j, HEALTH_MOST);
	cw_json_map(&j);
	cw_json_field(&j, "status", reasons == 0 ? "ok" : "failing");
	cw_json_text(&j, "reasons");
	cw_json_array(&j);
	(void)put_reasons(&j, f->upkeep, &figures);
	cw_json_end_array(&j);
	cw_json_field(&j, "version", CW_VERSION);
	cw_json_text(&j, "uptimeSeconds");
	cw_json_int(&j, (cw_clock_wall_ms() - f->started) / 1000);
	cw_json_text(&j, "waiting");
	cw_json_uint(&j, figures.waiting);
	cw_json_end_map(&j);
	rc = cw_json_finish(&j, ret_text, ret_len);
	return rc < 0 ? rc : reasons == 0 ? 200 : 503;
}
