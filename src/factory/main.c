/*
 * main.c - causeway-factory: start, reload, stop.
 *
 * Start: configuration, stock, fronts, ready; nobody is served before the loop runs. Stop: the fronts let nobody in and finish what is
 * under way, then the desk ends its threads, then the loop ends. What a station was told is on the disk at any moment, so a kill costs
 * nothing but the requests under way.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "factory/factory.h"
#include "factory/options.h"
#include "factory/report.h"
#include "factory/stations.h"
#include "loop/notify.h"

#define OPEN_MOST 64          /* listeners of all fronts */
#define KEEP_CONF_MS 3600000u /* a configuration that was replaced: no request lasts so long */

/* In the order of opening, and of what is printed. */
static const struct {
	const struct factory_front *front;
	size_t list; /* where its listeners are in struct factory_conf */
	const char *what, *option; /* option: how to choose another address */
} fronts[] = {
	{ &cw_factory_line, offsetof(struct factory_conf, line), "stations ask here", " (--listen chooses another)" },
	{ &cw_factory_field, offsetof(struct factory_conf, field.listeners), "devices in the field ask here, and gateways", "" },
	{ &cw_factory_office, offsetof(struct factory_conf, office), "page, API, metrics, health", " (--office chooses another)" },
};
#define FRONT_COUNT (sizeof(fronts) / sizeof(fronts[0]))

struct open_front {
	size_t which; /* of fronts[] */
	void *front;
	int tls;
};

/* One that a reload has replaced. */
struct old_conf {
	struct old_conf *next;
	struct factory_conf *conf;
	uint64_t since; /* loop time */
};

struct program {
	struct factory_options options;
	struct factory factory;
	struct factory_conf *started; /* what only a restart changes is as here */
	struct old_conf *old;
	struct open_front open[OPEN_MOST];
	size_t open_count;
	struct cw_notify notify;
	uv_signal_t sigint, sigterm, sighup;
	unsigned closing; /* fronts not yet closed, and one while they are being asked */
	int stopping;
};

/* ---- stop ----------------------------------------------------------------------------------- */

static void on_desk_closed(void *arg)
{
	struct program *p = arg;

	p->factory.desk = NULL;
	cw_fetch_pool_free(p->factory.fetch);
	p->factory.fetch = NULL;
	cw_notify_close(&p->notify);
	uv_close((uv_handle_t *)&p->sigint, NULL); /* until here a second signal counted */
	uv_close((uv_handle_t *)&p->sigterm, NULL);
	cw_worker_release(p->factory.loop);
}

static void on_front_closed(void *arg)
{
	struct program *p = arg;

	if (--p->closing != 0)
		return;
	if (p->factory.desk != NULL)
		cw_desk_close(p->factory.desk, on_desk_closed, p);
	else
		on_desk_closed(p);
}

static void stop(struct program *p)
{
	size_t i;

	p->stopping = 1;
	cw_notify_say(&p->notify, "STOPPING=1\nSTATUS=requests under way are finished");
	uv_close((uv_handle_t *)&p->sighup, NULL);
	cw_factory_upkeep_stop(p->factory.upkeep);
	p->closing = 1;
	for (i = 0; i < p->open_count; i++) {
		p->closing++;
		fronts[p->open[i].which].front->close(p->open[i].front, on_front_closed, p);
	}
	on_front_closed(p);
}

static void on_stop(uv_signal_t *handle, int signum)
{
	struct program *p = handle->data;

	if (p->stopping)
		_exit(128 + signum);
	cw_log(daemon_stopping, "requests under way are finished", CW_LU("stopTimeoutMs", p->factory.conf->stop_ms));
	stop(p);
}

/* ---- reload ---------------------------------------------------------------------------------- */

static void drop_old(struct program *p, uint64_t before)
{
	struct old_conf **at = &p->old, *o;

	while ((o = *at) != NULL) {
		if (o->since > before) {
			at = &o->next;
			continue;
		}
		*at = o->next;
		cw_factory_config_free(o->conf);
		cw_free(o);
	}
}

static int reload(struct program *p, struct cw_msg *msg)
{
	struct old_conf *old = cw_zalloc(sizeof(*old));
	struct factory_conf *conf = NULL;
	uint64_t now = cw_worker_now(p->factory.loop);
	char names[256];
	int rc = old != NULL ? 0 : cw_fail(msg, CW_ENOMEM, "out of memory");

	if (rc == 0)
		rc = cw_factory_config_load(p->options.config, &p->options.over, &conf, msg);
	if (rc == 0)
		rc = cw_factory_config_may_follow(p->started, conf, msg);
	if (rc == 0)
		rc = cw_factory_stations_reload(p->factory.stations, conf, msg);
	if (rc < 0) {
		cw_factory_config_free(conf);
		cw_free(old);
		return rc;
	}
	old->conf = p->factory.conf;
	old->since = now;
	p->factory.conf = conf;
	if (old->conf == p->started) {
		cw_free(old);
	} else {
		old->next = p->old;
		p->old = old;
	}
	drop_old(p, now > KEEP_CONF_MS ? now - KEEP_CONF_MS : 0);
	cw_log_set_level((enum cw_log_level)conf->log.level);
	cw_factory_config_restart(p->started, conf, names, sizeof(names));
	if (names[0] != '\0')
		cw_log(factory_restart, names);
	cw_count(factory, reloads);
	return 0;
}

static void on_reload(uv_signal_t *handle, int signum)
{
	struct program *p = handle->data;
	struct cw_msg msg = { "" };

	(void)signum;
	cw_notify_say(&p->notify, "RELOADING=1");
	if (p->options.config == NULL)
		cw_log(daemon_reload, "nothing to read: the server was started without a configuration file");
	else if (reload(p, &msg) < 0)
		cw_log(daemon_reload_failed, msg.text);
	else
		cw_log(daemon_reload, "stations, operators, quotas and low marks are as the file says", CW_LS("file", p->options.config));
	cw_notify_say(&p->notify, "READY=1");
}

/* ---- start -------------------------------------------------------------------------------------- */

static int open_front(struct program *p, size_t which, const struct factory_listen *listen, struct cw_msg *msg)
{
	struct open_front *o = &p->open[p->open_count];
	int rc;

	if (p->open_count == OPEN_MOST)
		return cw_fail(msg, CW_ECONF, "there are more than %d listeners", OPEN_MOST);
	rc = fronts[which].front->open(&p->factory, listen, &o->front, msg);
	if (rc < 0) {
		cw_msg_wrap(msg, "%s listener %s%s", fronts[which].front->name, listen->listen, fronts[which].option);
		return rc;
	}
	o->which = which;
	o->tls = listen->tls.certificate != NULL;
	p->open_count++;
	return 0;
}

static int open_fronts(struct program *p, struct cw_msg *msg)
{
	size_t i, k;
	int rc = 0;

	for (i = 0; rc == 0 && i < FRONT_COUNT; i++) {
		const struct cw_conf_list *list = (const void *)((const char *)p->factory.conf + fronts[i].list);

		for (k = 0; rc == 0 && k < list->count; k++)
			rc = open_front(p, i, cw_conf_item(list, struct factory_listen, k), msg);
	}
	return rc;
}

/* Each front's addresses: {"pid":..,"line":["127.0.0.1:8000"],..}. Written beside and renamed: who waits for the file never sees half of it. */
static int write_ready(const struct program *p, struct cw_msg *msg)
{
	const char *path = p->options.ready_file;
	char tmp[PATH_MAX];
	json_t *j;
	size_t i;
	int bad;

	if (path == NULL)
		return 0;
	j = json_pack("{s:i}", "pid", (int)getpid());
	for (i = 0; i < FRONT_COUNT; i++)
		json_object_set_new(j, fronts[i].front->name, json_array());
	for (i = 0; i < p->open_count; i++) {
		const struct factory_front *front = fronts[p->open[i].which].front;

		json_array_append_new(json_object_get(j, front->name), json_string(front->address(p->open[i].front)));
	}
	(void)snprintf(tmp, sizeof(tmp), "%s.%d", path, (int)getpid());
	bad = json_dump_file(j, tmp, JSON_COMPACT) < 0 || rename(tmp, path) < 0;
	json_decref(j);
	return bad ? cw_fail(msg, CW_EIO, "cannot write '%s': %s", path, strerror(errno)) : 0;
}

/* Which stock it is: one started in another folder would have a new one, and nobody would know why it is empty. */
static void print_stock(const struct program *p)
{
	const char *db = p->factory.conf->db;
	struct cw_desk_figures figures;
	char path[PATH_MAX], name[256];

	cw_db_name(db, name, sizeof(name));
	cw_desk_figures(p->factory.desk, &figures);
	(void)printf("stock   %s   ", !cw_db_is_server(db) && realpath(db, path) != NULL ? path : name);
	if (!figures.up)
		(void)puts("stations are answered BUSY; the log says why");
	else if (figures.fresh)
		(void)puts("(new, empty)");
	else
		(void)printf("%" PRIu64 " free\n", figures.free);
}

/* B22: the line that people and scripts know is exactly this one. */
static void print_ready(const struct program *p)
{
	size_t i;

	for (i = 0; i < p->open_count; i++) {
		const struct open_front *o = &p->open[i];

		(void)printf("%-7s %s://%-32s %s\n", fronts[o->which].front->name, o->tls ? "https" : "http",
		             fronts[o->which].front->address(o->front), fronts[o->which].what);
	}
	print_stock(p);
	(void)puts("Waiting for client request");
	(void)fflush(stdout);
}

static int start(struct program *p, struct cw_msg *msg)
{
	struct factory *f = &p->factory;
	const struct cw_stock_conf stock = { .db = f->conf->db, .key_file = f->conf->key_file, .node = f->conf->node,
		                             .wait_ms = (unsigned)f->conf->wait_ms };
	int rc = cw_fetch_pool_new(f->loop, &f->fetch);

	if (rc < 0)
		return cw_fail(msg, rc, "cannot start: %s", cw_error_text(rc));
	rc = cw_factory_stations_new(f->conf, &f->stations, msg);
	if (rc == 0)
		rc = cw_desk_open(f->loop, &stock, &f->desk, msg);
	if (rc == 0)
		rc = cw_factory_upkeep_open(f, msg);
	if (rc == 0)
		rc = open_fronts(p, msg);
	if (rc == 0)
		rc = write_ready(p, msg);
	return rc;
}

/* As many connections as the system lets us have; and no core, for the key and all that it opens would be in it. */
static void set_limits(void)
{
	const struct rlimit none = { 0, 0 };
	struct rlimit limit;

	(void)setrlimit(RLIMIT_CORE, &none);

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void catch_signal(struct program *p, uv_signal_t *handle, uv_signal_cb cb, int signum)
{
	(void)uv_signal_init(cw_worker_loop(p->factory.loop), handle);
	handle->data = p;
	(void)uv_signal_start(handle, cb, signum);
}

static const char *s(size_t n)
{
	return n == 1 ? "" : "s";
}

static int check(const struct program *p)
{
	const struct factory_conf *c = p->factory.conf;

	(void)printf("%s: fine; %zu listener%s for stations, %zu for the office, %zu for devices in the field, %zu station%s, %zu operator%s\n",
	             p->options.config != NULL ? p->options.config : "the defaults", c->line.count, s(c->line.count), c->office.count,
	             c->field.listeners.count, c->stations.count, s(c->stations.count), c->operators.count, s(c->operators.count));
	return 0;
}

static int run(struct program *p)
{
	struct cw_desk_figures figures;
	struct cw_msg msg = { "" };
	int rc = cw_worker_new("factory", 0, &p->factory.loop);

	if (rc < 0) {
		(void)fprintf(stderr, "causeway-factory: %s\n", cw_error_text(rc));
		return 1;
	}
	catch_signal(p, &p->sigint, on_stop, SIGINT);
	catch_signal(p, &p->sigterm, on_stop, SIGTERM);
	catch_signal(p, &p->sighup, on_reload, SIGHUP);
	cw_notify_open(&p->notify, p->factory.loop);
	p->factory.started = cw_clock_wall_ms();
	cw_log(daemon_starting, "", CW_LS("version", CW_VERSION), CW_LU("pid", getpid()));
	rc = start(p, &msg);
	if (rc < 0) {
		(void)fprintf(stderr, "causeway-factory: %s\n", msg.text);
		stop(p);
	} else {
		print_ready(p);
		cw_desk_figures(p->factory.desk, &figures);
		cw_log(daemon_ready, figures.up ? "stations are served" : "stations are answered BUSY until the stock is in order");
		cw_notify_say(&p->notify, "READY=1\nSTATUS=waiting for client requests");
	}
	cw_worker_run(p->factory.loop);
	if (rc == 0)
		cw_log(daemon_stopped, "");
	if (p->options.ready_file != NULL && rc == 0)
		(void)unlink(p->options.ready_file);
	cw_factory_upkeep_free(p->factory.upkeep);
	cw_factory_stations_free(p->factory.stations);
	cw_worker_free(p->factory.loop);
	return rc < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
	static struct cw_stat_block stats;
	static struct program p;
	struct cw_msg msg = { "" };
	int rc;

	cw_file_standard();
	rc = cw_factory_options_parse(argc, argv, &p.options);
	if (rc >= 0)
		return rc;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a full disk, which whoever writes says */
	(void)umask(0077);              /* what devices authenticate with is kept in files */
	set_limits();
	cw_stat_thread(&stats);
	rc = cw_factory_config_load(p.options.config, &p.options.over, &p.started, &msg);
	if (rc < 0) {
		(void)fprintf(stderr, "causeway-factory: %s\n", msg.text);
		return 1;
	}
	p.factory.conf = p.started;
	cw_log_setup((enum cw_log_level)p.started->log.level, p.started->log.json, 2);
	rc = p.options.check ? check(&p) : run(&p);
	drop_old(&p, UINT64_MAX);
	if (p.factory.conf != p.started)
		cw_factory_config_free(p.factory.conf);
	cw_factory_config_free(p.started);
	return rc;
}
