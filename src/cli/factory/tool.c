/* tool.c - see tool.h. Tables and JSON: tell.c. */
#include "cli/factory/tool.h"

#include <getopt.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "conf/value.h"
#include "factory/config.h"

#define OPTIONS_MOST 40

/* ---- complaints ---------------------------------------------------------------------- */

/* Sentences have names in them that others have given: the platform, a station, a file. */
static void say(const struct factory_tool *t, const char *fmt, va_list args) __attribute__((format(printf, 2, 0)));
static void say(const struct factory_tool *t, const char *fmt, va_list args)
{
	char text[2048];

	(void)vsnprintf(text, sizeof(text), fmt, args);
	cw_utf8_tame(text);
	(void)fflush(stdout);
	fprintf(stderr, "causeway factory %s: %s", t->verb, text);
}

int factory_complain(const struct factory_tool *t, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(t, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	return 1;
}

int factory_misused(const struct factory_tool *t, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(t, fmt, args);
	va_end(args);
	fprintf(stderr, "; see `causeway factory %s --help`\n", t->verb);
	return 2;
}

/* ---- values ------------------------------------------------------------------------------ */

static int read_duration(const char *text, int64_t *ret_ms)
{
	size_t n = strlen(text);

	/* A bare number would be milliseconds, which nobody means here. */
	return n == 0 || (text[n - 1] >= '0' && text[n - 1] <= '9') || cw_text_to_duration_ms(text, ret_ms, NULL) < 0 || *ret_ms < 0 ? -1 : 0;
}

/* 2026-11-21, 2026-11-21T08:00:00[.123](Z|+08:00), or a duration: so long ago. */
int factory_read_time(const char *text, int64_t *ret_ms)
{
	struct tm tm = { 0 };
	const char *at = strptime(text, "%Y-%m-%d", &tm);
	int64_t ms = 0, offset = 0;
	int hours, minutes, used = 0;

	if (at == NULL || at - text != 10) {
		if (read_duration(text, &ms) < 0)
			return -1;
		*ret_ms = cw_clock_wall_ms() - ms;
		return 0;
	}
	if (*at != '\0') {
		if (*at != 'T' && *at != 't' && *at != ' ')
			return -1;
		at = strptime(at + 1, "%H:%M:%S", &tm);
		if (at == NULL)
			return -1;
		if (*at == '.') {
			ms = (int64_t)(strtod(at, NULL) * 1000);
			at += 1 + strspn(at + 1, "0123456789");
		}
		if (sscanf(at, "%*1[+-]%2d:%2d%n", &hours, &minutes, &used) == 2 && at[used] == '\0')
			offset = (hours * 60 + minutes) * 60000ll * (*at == '-' ? -1 : 1);
		else if (strcasecmp(at, "z") != 0)
			return -1;
	}
	*ret_ms = (int64_t)timegm(&tm) * 1000 + ms - offset;
	return 0;
}

static int read_number(const char *text, int64_t *ret)
{
	return cw_text_to_int64(text, ret, NULL) < 0 || *ret < 0 ? -1 : 0;
}

/* ---- options ------------------------------------------------------------------------------- */

static int take(const struct factory_tool *t, const struct factory_option *o, const char *value)
{
	switch (o->kind) {
	case FACTORY_FLAG: *(int *)o->to = 1; return -1;
	case FACTORY_CLEAR: *(int *)o->to = 0; return -1;
	case FACTORY_TEXT: *(const char **)o->to = value; return -1;
	case FACTORY_NUMBER:
		return read_number(value, o->to) < 0 ? factory_misused(t, "--%s %s: is no number", o->name, value) : -1;
	case FACTORY_DURATION:
		return read_duration(value, o->to) < 0 ? factory_misused(t, "--%s %s: is no time like 30m, 24h or 7 days", o->name, value) : -1;
	case FACTORY_TIME:
		return factory_read_time(value, o->to) < 0
		               ? factory_misused(t, "--%s %s: is no time like 2026-11-21, 2026-11-21T08:00:00Z or 2h (ago)", o->name, value)
		               : -1;
	}
	return -1;
}

static void name_actor(struct factory_tool *t)
{
	const char *sudo = getuid() == 0 ? getenv("SUDO_USER") : NULL;
	const struct passwd *pw = getpwuid(getuid());

	if (sudo != NULL && sudo[0] != '\0')
		(void)snprintf(t->user, sizeof(t->user), "cli:%.60s", sudo);
	else if (pw != NULL)
		(void)snprintf(t->user, sizeof(t->user), "cli:%.60s", pw->pw_name);
	else
		(void)snprintf(t->user, sizeof(t->user), "cli:%u", (unsigned)getuid());
	t->who = (struct cw_stock_actor){ .name = t->user, .address = "" };
}

int factory_options(struct factory_tool *t, int argc, char **argv, const char *usage, const struct factory_option *own, size_t count)
{
	const struct factory_option common[] = { { "db", FACTORY_TEXT, &t->db },
		                                 { "key", FACTORY_TEXT, &t->key },
		                                 { "config", FACTORY_TEXT, &t->config },
		                                 { "json", FACTORY_FLAG, &t->as_json } };
	const size_t most = sizeof(common) / sizeof(common[0]);
	struct option options[OPTIONS_MOST] = { { NULL, 0, NULL, 0 } };
	static const char *db; /* kept until the end */
	static char program[64]; /* kept, too */
	int opt, at, rc;
	size_t i;

	t->verb = argv[0];
	(void)snprintf(program, sizeof(program), "causeway factory %s", t->verb);
	argv[0] = program; /* getopt's own complaints begin with it */
	t->usage = usage;
	for (i = 0; i < most + count; i++) {
		const struct factory_option *o = i < most ? &common[i] : &own[i - most];

		options[i] = (struct option){ o->name, o->kind == FACTORY_FLAG || o->kind == FACTORY_CLEAR ? no_argument : required_argument, NULL, 0 };
	}
	options[i] = (struct option){ "help", no_argument, NULL, 'h' };
	while ((opt = getopt_long(argc, argv, "c:h", options, &at)) != -1) {
		if (opt == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		if (opt == 'c')
			t->config = optarg;
		else if (opt != 0)
			return 2 + 0 * fputs(usage, stderr);
		else if ((rc = take(t, (size_t)at < most ? &common[at] : &own[(size_t)at - most], optarg)) >= 0)
			return rc;
	}
	if (t->db != NULL) {
		t->db = db = cw_db_hide((char *)(uintptr_t)t->db); /* it lies in argv */
		if (db == NULL)
			return factory_complain(t, "out of memory");
	}
	t->count = argc - optind;
	t->word = argv + optind;
	name_actor(t);
	return -1;
}

int factory_words(const struct factory_tool *t, int least, int most)
{
	if (t->count >= least && t->count <= most)
		return -1;
	fputs(t->usage, stderr);
	return 2;
}

/* ---- the stock --------------------------------------------------------------------------------- */

int factory_place(struct factory_tool *t)
{
	const char *environment = getenv("CAUSEWAY_FACTORY_DB");
	const struct factory_overrides none = { .db = NULL };
	struct cw_msg msg = { "" };

	if (t->config != NULL && cw_factory_config_load(t->config, &none, &t->conf, &msg) < 0)
		return factory_complain(t, "%s", msg.text);
	if (t->conf != NULL && t->key == NULL && t->db == NULL)
		t->key = t->conf->key_file;
	if (t->conf != NULL && t->db == NULL)
		t->db = t->conf->db;
	if (t->db == NULL && environment != NULL && environment[0] != '\0')
		t->db = environment;
	if (t->db == NULL)
		t->db = "factory.db";
	if (t->key != NULL)
		(void)snprintf(t->key_path, sizeof(t->key_path), "%s", t->key);
	else if (!cw_db_is_server(t->db))
		(void)snprintf(t->key_path, sizeof(t->key_path), "%s.key", t->db);
	return 0;
}

int factory_open(struct factory_tool *t, enum factory_need need)
{
	struct cw_stock_conf conf = { .read_only = need == FACTORY_READ };
	struct cw_msg msg = { "" };
	int rc = factory_place(t), had_key;

	if (rc != 0)
		return rc;
	had_key = t->key_path[0] == '\0' || access(t->key_path, F_OK) == 0;
	conf.node = t->conf != NULL ? t->conf->node : NULL;
	if (need != FACTORY_MAKE && !cw_db_is_server(t->db) && access(t->db, F_OK) != 0)
		return factory_complain(t, "%s: there is no such database; name it with --db, or import certificates, which makes one", t->db);
	conf.db = t->db;
	conf.key_file = t->key_path[0] == '\0' ? NULL : t->key_path;
	if (cw_stock_open(&conf, &t->stock, &msg) < 0)
		return factory_complain(t, "%s", msg.text);
	if (!had_key && access(t->key_path, F_OK) == 0)
		fprintf(stderr, "%s is new: keep a copy of it, and not where the backups are; the secrets in the database are lost without it\n", t->key_path);
	return 0;
}

void factory_close(struct factory_tool *t)
{
	cw_stock_close(t->stock);
	t->stock = NULL;
	cw_factory_config_free(t->conf);
	t->conf = NULL;
}

/* ---- filters ------------------------------------------------------------------------------------- */

void factory_filter_options(struct factory_filter *f, struct factory_option out[FACTORY_FILTER_OPTIONS])
{
	const struct factory_option options[FACTORY_FILTER_OPTIONS] = {
		{ "device-name", FACTORY_TEXT, &f->filter.device_name }, { "device-id", FACTORY_TEXT, &f->filter.device_id },
		{ "product", FACTORY_TEXT, &f->filter.product_key },     { "batch", FACTORY_TEXT, &f->filter.batch },
		{ "status", FACTORY_TEXT, &f->status },                  { "station", FACTORY_TEXT, &f->filter.station },
		{ "since", FACTORY_TIME, &f->filter.since },             { "until", FACTORY_TIME, &f->filter.until },
		{ "text", FACTORY_TEXT, &f->filter.text },               { "anonymous", FACTORY_FLAG, &f->filter.anonymous },
	};

	memcpy(out, options, sizeof(options));
}

int factory_filter_done(const struct factory_tool *t, struct factory_filter *f)
{
	int i;

	f->filter.state = -1;
	for (i = 0; f->status != NULL && i < CW_STOCK_STATE_COUNT; i++)
		if (strcasecmp(f->status, cw_stock_state_name((enum cw_stock_state)i)) == 0)
			f->filter.state = i;
	if (f->status != NULL && f->filter.state < 0)
		return factory_misused(t, "--status %s: is one of free, allocated, written, void", f->status);
	f->filter.after = f->after;
	return -1;
}
