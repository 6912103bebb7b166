/*
 * desk.h - the stock on threads of its own, asked from a loop.
 *
 * Two threads, each with the database open by itself: the counter serves stations, as many requests in one transaction as have
 * come while the one before was under way; the office does everything else (page, API, field, metrics), one thing after the
 * other, so that no look-up keeps a station waiting. When the database is gone, the counter answers BUSY and tries again
 * with the next requests.
 */
#ifndef CW_FACTORY_DESK_H
#define CW_FACTORY_DESK_H

#include "base/list.h"
#include "factory/stock/stock.h"
#include "loop/worker.h"

struct cw_desk;

/* One station's request; embed it. The texts of `ask` must live until `done`. */
struct cw_desk_ask {
	struct cw_mail mail;
	struct cw_list link;   /* the desk's */
	struct cw_stock_ask ask;
	/* On the loop, exactly once: the answer is on the disk, or is BUSY. Wipe ask.cert. */
	void (*done)(struct cw_desk_ask *a);
	struct cw_desk *desk; /* the desk's */
};

/* Something for the office; embed it. */
struct cw_desk_job {
	struct cw_mail mail;
	struct cw_list link;   /* the desk's */
	void (*work)(struct cw_desk_job *j, struct cw_stock *s); /* on the office's thread; s NULL: the database is not there, msg says why */
	void (*done)(struct cw_desk_job *j);                     /* on the loop, exactly once */
	struct cw_msg msg;
	int reopen;           /* set by `work`: the database failed; it is opened anew for the next job */
	struct cw_desk *desk; /* the desk's */
};

struct cw_desk_figures {
	uint64_t served, commits; /* requests, and the transactions they took */
	uint64_t waiting;         /* requests that have not been answered now */
	uint64_t largest;         /* most requests in one transaction */
	int up;                   /* the last transaction went well, or there was none yet and the database is open */
	int64_t office_since;     /* since when the office is at the job at hand, UTC ms; 0: it has none */
	char why[256];            /* what the database said, when it is not up */
	int fresh;                /* the file was made at the start */
	uint64_t free;            /* certificates that nobody had at the start */
};

/* More requests than this never wait: the next are BUSY at once. */
#define CW_DESK_WAITING 2048u

/* `conf` is copied. Opens the stock once here, so that what is wrong is told at the start; a server that is not reachable yet is no error. */
int cw_desk_open(struct cw_worker *loop, const struct cw_stock_conf *conf, struct cw_desk **ret_desk, struct cw_msg *msg);
/* On the loop. */
void cw_desk_ask(struct cw_desk *d, struct cw_desk_ask *a);
void cw_desk_do(struct cw_desk *d, struct cw_desk_job *j);
void cw_desk_figures(struct cw_desk *d, struct cw_desk_figures *ret);
/* What its threads open the database with; lent for the desk's life. For work so long that it takes a thread of its own. */
const struct cw_stock_conf *cw_desk_conf(const struct cw_desk *d);
/* What was asked for is answered first; then the threads end and `closed` runs on the loop. */
void cw_desk_close(struct cw_desk *d, void (*closed)(void *arg), void *arg);

#endif
