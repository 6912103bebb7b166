/*
 * desk.c - see desk.h.
 *
 * The queues are under one lock, which nobody holds for longer than it takes to hang something in or out. A thread that works has no
 * lock; what it has finished goes home by mail.
 */
#include "factory/desk.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "factory/stock/audit.h"
#include "factory/stock/shelf.h"
#include "loop/thread.h"

#define GROUP_MOST 512u /* requests in one transaction: those behind them wait for it */
#define REOPEN_AFTER 3u /* transactions that fail in a row; then the database is opened anew */

/* One of the two threads, with a stock of its own. */
struct side {
	struct cw_desk *desk;
	struct cw_thread thread;
	struct cw_stock *stock; /* the thread's; NULL: could not be opened */
	pthread_cond_t work;
	struct cw_list queue;   /* under the lock */
	struct cw_mail ended;
};

struct cw_desk {
	struct cw_worker *loop;
	struct cw_stock_conf conf;
	char *db, *key_file, *node;
	char name[256]; /* of the database, for people */
	dev_t device;
	ino_t inode;    /* of the file as it was opened first; 0: a server's database */
	ino_t log_inode; /* under the lock: of the write-ahead log that the counter has open; 0: has none */
	int log_lost;    /* under the lock */
	struct side counter, office;
	pthread_mutex_t lock;
	int stopping;                   /* under the lock */
	struct cw_desk_figures figures; /* under the lock */
	unsigned failed;                /* the counter's: transactions in a row */
	unsigned running;               /* on the loop: threads that have not said that they end */
	void (*closed)(void *arg);
	void *closed_arg;
};

/* ---- the counter: stations -------------------------------------------------------------- */

static void on_answered(struct cw_mail *mail)
{
	struct cw_desk_ask *a = cw_container_of(mail, struct cw_desk_ask, mail);

	a->done(a);
}

static void note_why(struct cw_desk *d, const struct cw_msg *msg)
{
	(void)snprintf(d->figures.why, sizeof(d->figures.why), "%.*s", (int)sizeof(d->figures.why) - 1, msg->text);
}

/* What came of a transaction: the first failure and the first success after it are logged. */
static void note_outcome(struct cw_desk *d, int rc, size_t count, const struct cw_msg *msg)
{
	int was_up;

	pthread_mutex_lock(&d->lock);
	was_up = d->figures.up;
	d->figures.up = rc == 0;
	d->figures.served += count;
	d->figures.waiting -= count;
	if (count > d->figures.largest)
		d->figures.largest = count;
	if (rc == 0) {
		d->figures.commits++;
		d->figures.why[0] = '\0';
	} else {
		note_why(d, msg);
	}
	pthread_mutex_unlock(&d->lock);
	cw_gauge_add(factory, waiting, -(int64_t)count);
	if (rc == 0) {
		cw_count(factory, commits);
		cw_count_n(factory, committed, count);
		d->failed = 0;
		if (!was_up)
			cw_log(factory_database_up, "stations are served again", CW_LS("db", d->name));
		return;
	}
	cw_count(factory, failed);
	d->failed++;
	if (was_up)
		cw_log(factory_database_down, msg->text, CW_LS("db", d->name));
}

/*
 * A file that was moved away or replaced while it is open would take commits that nobody finds again, and opening its name would make a
 * new one that knows of no board. So nothing is done until the file is back, or somebody starts the server for the new one.
 */
static int check_file(const struct cw_desk *d, struct cw_msg *msg)
{
	struct stat st;

	if (d->inode == 0 || (stat(d->db, &st) == 0 && st.st_dev == d->device && st.st_ino == d->inode))
		return 0;
	return cw_fail(msg, CW_EIO, "%s: the file was moved away or replaced while the server has it open; put it back, or restart the server", d->name);
}

static ino_t find_log(const struct cw_desk *d)
{
	char path[PATH_MAX];
	struct stat st;

	return (size_t)snprintf(path, sizeof(path), "%s-wal", d->db) < sizeof(path) && stat(path, &st) == 0 ? st.st_ino : 0;
}

/*
 * The same with the write-ahead log beside it: what is committed into one that has no name any more is lost with this process, unless it stops in order,
 * for the last to close it writes it into the file. A new one would not fit what the threads share about it, so there is no way but that.
 */
static int check_log(struct cw_desk *d, struct cw_msg *msg)
{
	int lost;

	pthread_mutex_lock(&d->lock); /* the counter does not close it meanwhile */
	d->log_lost = d->log_lost || (d->log_inode != 0 && find_log(d) != d->log_inode);
	lost = d->log_lost;
	pthread_mutex_unlock(&d->lock);
	if (!lost)
		return 0;
	return cw_fail(msg, CW_EIO, "%s-wal was removed or replaced under the server; stop it in order (SIGTERM, not a kill), which saves what was in it, and start it "
		       "again", d->name);
}

static void note_log(struct cw_desk *d, ino_t inode)
{
	pthread_mutex_lock(&d->lock);
	d->log_inode = inode;
	pthread_mutex_unlock(&d->lock);
}

static int open_stock(struct cw_desk *d, struct side *side, struct cw_msg *msg)
{
	int rc = check_file(d, msg);

	if (rc == 0)
		rc = check_log(d, msg);
	if (rc == 0 && side->stock == NULL) {
		rc = cw_stock_open(&d->conf, &side->stock, msg);
		if (rc == 0 && side == &d->counter && !cw_db_is_server(d->db))
			note_log(d, find_log(d));
	}
	return rc;
}

static void close_stock(struct cw_desk *d, struct side *side)
{
	if (side == &d->counter)
		note_log(d, 0); /* it goes with the last who has it open */
	cw_stock_close(side->stock);
	side->stock = NULL;
}

static void serve(struct cw_desk *d, struct cw_stock_ask **asks, struct cw_list *group, size_t count)
{
	struct cw_msg msg = { "" };
	struct cw_list *e;
	size_t i;
	int rc;

	if (d->failed >= REOPEN_AFTER) { /* what is wrong may be with the connection or the open file */
		close_stock(d, &d->counter);
		d->failed = 0;
	}
	rc = open_stock(d, &d->counter, &msg);
	if (rc == 0)
		rc = cw_stock_serve(d->counter.stock, asks, count, &msg);
	for (i = 0; rc < 0 && i < count; i++)
		asks[i]->answer = CW_STOCK_BUSY;
	note_outcome(d, rc, count, &msg);
	while ((e = cw_list_pop(group)) != NULL) {
		struct cw_desk_ask *a = cw_container_of(e, struct cw_desk_ask, link);

		cw_post(d->loop, &a->mail, on_answered);
	}
}

/* Those who wait, at most GROUP_MOST, into `group`; sleeps while there are none. 0: the end. */
static size_t take_group(struct cw_desk *d, struct cw_stock_ask **asks, struct cw_list *group)
{
	struct cw_list *e;
	size_t count = 0;

	pthread_mutex_lock(&d->lock);
	while (cw_list_empty(&d->counter.queue) && !d->stopping)
		pthread_cond_wait(&d->counter.work, &d->lock);
	while (count < GROUP_MOST && (e = cw_list_pop(&d->counter.queue)) != NULL) {
		asks[count++] = &cw_container_of(e, struct cw_desk_ask, link)->ask;
		cw_list_push_back(group, e);
	}
	pthread_mutex_unlock(&d->lock);
	return count;
}

static void end_side(struct side *side);

static void counter_main(void *arg)
{
	struct cw_desk *d = arg;
	struct cw_stock_ask *asks[GROUP_MOST];
	struct cw_list group;
	size_t count;

	cw_list_init(&group);
	while ((count = take_group(d, asks, &group)) != 0)
		serve(d, asks, &group, count);
	end_side(&d->counter);
}

void cw_desk_ask(struct cw_desk *d, struct cw_desk_ask *a)
{
	int refused;

	a->desk = d;
	a->ask.answer = CW_STOCK_BUSY;
	pthread_mutex_lock(&d->lock);
	refused = d->stopping || d->figures.waiting >= CW_DESK_WAITING;
	if (!refused) {
		d->figures.waiting++;
		cw_list_push_back(&d->counter.queue, &a->link);
		pthread_cond_signal(&d->counter.work);
	}
	pthread_mutex_unlock(&d->lock);
	if (refused)
		cw_post(d->loop, &a->mail, on_answered); /* never before this returns */
	else
		cw_gauge_add(factory, waiting, 1);
}

/* ---- the office: everything else ----------------------------------------------------------- */

static void on_job_done(struct cw_mail *mail)
{
	struct cw_desk_job *j = cw_container_of(mail, struct cw_desk_job, mail);

	j->done(j);
}

static struct cw_desk_job *take_job(struct cw_desk *d)
{
	struct cw_list *e;

	pthread_mutex_lock(&d->lock);
	d->figures.office_since = 0;
	while (cw_list_empty(&d->office.queue) && !d->stopping)
		pthread_cond_wait(&d->office.work, &d->lock);
	e = cw_list_pop(&d->office.queue);
	if (e != NULL)
		d->figures.office_since = cw_clock_wall_ms();
	pthread_mutex_unlock(&d->lock);
	return e != NULL ? cw_container_of(e, struct cw_desk_job, link) : NULL;
}

static void office_main(void *arg)
{
	struct cw_desk *d = arg;
	struct cw_desk_job *j;

	while ((j = take_job(d)) != NULL) {
		j->work(j, open_stock(d, &d->office, &j->msg) == 0 ? d->office.stock : NULL);
		if (j->reopen) {
			close_stock(d, &d->office);
		}
		cw_post(d->loop, &j->mail, on_job_done);
	}
	end_side(&d->office);
}

void cw_desk_do(struct cw_desk *d, struct cw_desk_job *j)
{
	int refused;

	j->desk = d;
	pthread_mutex_lock(&d->lock);
	refused = d->stopping;
	if (!refused) {
		cw_list_push_back(&d->office.queue, &j->link);
		pthread_cond_signal(&d->office.work);
	}
	pthread_mutex_unlock(&d->lock);
	if (refused) {
		cw_msg_set(&j->msg, "the server stops");
		j->work(j, NULL);
		cw_post(d->loop, &j->mail, on_job_done);
	}
}

void cw_desk_figures(struct cw_desk *d, struct cw_desk_figures *ret)
{
	pthread_mutex_lock(&d->lock);
	*ret = d->figures;
	pthread_mutex_unlock(&d->lock);
}

/* ---- opening and closing ---------------------------------------------------------------------- */

static void free_desk(struct cw_desk *d)
{
	cw_stock_close(d->counter.stock);
	cw_stock_close(d->office.stock);
	pthread_cond_destroy(&d->counter.work);
	pthread_cond_destroy(&d->office.work);
	pthread_mutex_destroy(&d->lock);
	if (d->db != NULL) /* may have a password in it */
		explicit_bzero(d->db, strlen(d->db));
	cw_free(d->db);
	cw_free(d->key_file);
	cw_free(d->node);
	cw_free(d);
}

static void on_side_ended(struct cw_mail *mail)
{
	struct side *side = cw_container_of(mail, struct side, ended);
	struct cw_desk *d = side->desk;
	void (*closed)(void *arg) = d->closed;
	void *arg = d->closed_arg;

	cw_thread_join(&side->thread);
	if (--d->running != 0)
		return;
	free_desk(d);
	closed(arg);
}

/* The last that a thread does. */
static void end_side(struct side *side)
{
	close_stock(side->desk, side);
	cw_post(side->desk->loop, &side->ended, on_side_ended);
}

static void init_side(struct cw_desk *d, struct side *side)
{
	side->desk = d;
	cw_list_init(&side->queue);
	(void)pthread_cond_init(&side->work, NULL);
}

static int on_free(void *arg, const char *product_key, const char *batch, uint64_t free, uint64_t low)
{
	*(uint64_t *)arg += free;
	return 0;
}

/* A file that cannot be opened is an error; a server that is not there may come. */
static int open_first(struct cw_desk *d, struct cw_msg *msg)
{
	struct stat st;
	int rc;

	d->figures.fresh = !cw_db_is_server(d->db) && stat(d->db, &st) != 0;
	rc = open_stock(d, &d->counter, msg);
	if (rc == 0 && !cw_db_is_server(d->db) && stat(d->db, &st) == 0) {
		d->device = st.st_dev;
		d->inode = st.st_ino;
	}
	if (rc == 0 && (cw_stock_free(d->counter.stock, on_free, &d->figures.free, msg) < 0 || cw_stock_chain_check(d->counter.stock, msg) < 0)) {
		cw_log(factory_database_down, msg->text, CW_LS("db", d->name)); /* look-ups go on, and may be what it takes to mend it */
		note_why(d, msg);
		return 0;
	}
	d->figures.up = rc == 0;
	if (rc != CW_EUNREACH || !cw_db_is_server(d->db))
		return rc;
	cw_log(factory_database_down, msg->text, CW_LS("db", d->name));
	note_why(d, msg);
	return 0;
}

static void stop_threads(struct cw_desk *d)
{
	pthread_mutex_lock(&d->lock);
	d->stopping = 1;
	pthread_cond_signal(&d->counter.work);
	pthread_cond_signal(&d->office.work);
	pthread_mutex_unlock(&d->lock);
}

static int start_threads(struct cw_desk *d, struct cw_msg *msg)
{
	int rc = cw_thread_start(&d->counter.thread, "counter", counter_main, d);

	if (rc < 0)
		return cw_fail(msg, rc, "cannot start a thread: %s", cw_error_text(rc));
	d->running = 1;
	rc = cw_thread_start(&d->office.thread, "office", office_main, d);
	if (rc < 0)
		return cw_fail(msg, rc, "cannot start a thread: %s", cw_error_text(rc));
	d->running = 2;
	return 0;
}

const struct cw_stock_conf *cw_desk_conf(const struct cw_desk *d)
{
	return &d->conf;
}

int cw_desk_open(struct cw_worker *loop, const struct cw_stock_conf *conf, struct cw_desk **ret_desk, struct cw_msg *msg)
{
	struct cw_desk *d = cw_zalloc(sizeof(*d));
	int rc;

	if (d == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	d->loop = loop;
	(void)pthread_mutex_init(&d->lock, NULL);
	init_side(d, &d->counter);
	init_side(d, &d->office);
	d->db = cw_strdup(conf->db);
	d->key_file = conf->key_file != NULL ? cw_strdup(conf->key_file) : NULL;
	d->node = conf->node != NULL ? cw_strdup(conf->node) : NULL;
	d->conf = (struct cw_stock_conf){ .db = d->db, .key_file = d->key_file, .node = d->node, .wait_ms = conf->wait_ms };
	cw_db_name(conf->db, d->name, sizeof(d->name));
	if (d->db == NULL || (conf->key_file != NULL && d->key_file == NULL) || (conf->node != NULL && d->node == NULL))
		rc = cw_fail(msg, CW_ENOMEM, "out of memory");
	else
		rc = open_first(d, msg);
	if (rc == 0) {
		rc = start_threads(d, msg);
		if (rc < 0 && d->running == 1) { /* before anything was asked: it has posted its end and nobody will look */
			stop_threads(d);
			cw_thread_join(&d->counter.thread);
		}
	}
	if (rc < 0) {
		free_desk(d);
		return rc;
	}
	*ret_desk = d;
	return 0;
}

void cw_desk_close(struct cw_desk *d, void (*closed)(void *arg), void *arg)
{
	d->closed = closed;
	d->closed_arg = arg;
	stop_threads(d);
}
