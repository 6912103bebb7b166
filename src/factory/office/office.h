/*
 * office.h - the rooms of the office front: page, log-in, API. Not for others.
 *
 * Requests come on the loop. What needs the stock goes to the office's thread as a call, which keeps a copy of all it needs, since
 * its client may leave meanwhile. What takes long (imports, verifying) opens the stock anew on a thread of libuv's pool.
 */
#ifndef CW_FACTORY_OFFICE_H
#define CW_FACTORY_OFFICE_H

#include <jansson.h>

#include "base/list.h"
#include "factory/factory.h"
#include "factory/stock/audit.h"
#include "factory/stock/lots.h"
#include "factory/stock/shelf.h"
#include "json/json.h"
#include "net/addr.h"

#define OFFICE_IMPORT_MAX (64u << 20) /* bytes of a file: some 500,000 certificates */
#define OFFICE_BODY_MAX   (64u << 10) /* of every other request */
#define OFFICE_ANSWER_MAX (16u << 20)
#define OFFICE_WHO        (CW_STOCK_STATION + 8)

struct office_route;
struct office_call;

/* ---- log-in (login.c) ---------------------------------------------------------------------- */

#define OFFICE_SESSIONS 128 /* the one that was silent longest ends for another */
#define OFFICE_SESSION_ID 64
#define OFFICE_GUESSERS 256 /* addresses whose failures are remembered */
#define OFFICE_LATE     64  /* refusals kept back at a time */

struct office_session {
	char id[OFFICE_SESSION_ID + 1]; /* "": unused */
	char name[CW_STOCK_STATION + 1];
	uint64_t token;                 /* keyed hash of the operator's token: another one ends the session */
	uint64_t began, used;           /* monotonic ms */
};

struct office_guesser {
	char address[CW_ADDR_TEXT];
	unsigned failures;
	uint64_t last;
};

struct office_door {
	struct office_session sessions[OFFICE_SESSIONS];
	struct office_guesser guessers[OFFICE_GUESSERS];
	struct cw_list late; /* refusals that are kept back */
	size_t late_count;
	char cookie[32]; /* its name, with the port: a browser sends cookies to every port of a host */
	int secure;       /* behind TLS */
	int certificates; /* clients are asked for one */
};

enum office_entry { OFFICE_IN, OFFICE_NOBODY, OFFICE_WRONG, OFFICE_SLOW };
struct office_who {
	const char *name; /* of the configuration or static */
	const char *how;  /* "open", "session", "token", "certificate" */
	int view_only;
};

/* ---- the live figures (api_line.c) ----------------------------------------------------------- */

#define LINE_SAMPLES 21 /* of the counters, LINE_SAMPLE_MS apart: refusals of the last ten minutes */
#define LINE_REASONS 16

struct office_line {
	char *text; /* the last answer */
	size_t len;
	uint64_t at, took; /* monotonic ms: when it was made, and how long that took */
	int running, shed; /* under way; and it takes so long that others are given the one before */
	struct cw_list waiting;
	struct cw_timer patience, sampling;
	int64_t samples[LINE_SAMPLES][LINE_REASONS];
	unsigned sample_count;
};

struct office {
	struct factory *factory;
	struct cw_http *http;
	struct office_door door;
	struct office_line line;
	size_t calls; /* on the office's thread, or on the way */
	unsigned lengthy; /* under way: bits of routes */
	int shut; /* its listener is closed */
	void (*closed)(void *arg);
	void *closed_arg;
};

/* Who asks. A session that is found is used by that. `peek`: its body is still to come, it will be asked about again; nothing is counted. */
enum office_entry office_enter(struct office *o, const struct cw_http_req *req, int peek, struct office_who *ret);
void office_door_open(struct office *o, const struct factory_tls *tls);
/* The listener's address is known. */
void office_door_name(struct office *o);
void office_door_close(struct office *o);
void office_session_get(struct office *o, struct cw_http_req *req);
void office_session_post(struct office *o, struct cw_http_req *req);
void office_session_delete(struct office *o, struct cw_http_req *req);

/* ---- answers (office.c) --------------------------------------------------------------------- */

void office_reply_json(struct cw_http_req *req, unsigned status, struct cw_json *j);
/* `cookie`: NULL, or what to set. */
void office_reply_cookie(struct cw_http_req *req, unsigned status, struct cw_json *j, const char *cookie);
void office_reply_text(struct cw_http_req *req, unsigned status, const char *type, const void *text, size_t len);
/* {"code","message"} */
void office_refuse(struct cw_http_req *req, unsigned status, const char *code, const char *message);
void office_put_int(struct cw_json *j, const char *key, int64_t v);
void office_put_bool(struct cw_json *j, const char *key, int v);
/* One more, or one less, thing that keeps the office. */
void office_hold(struct office *o);
void office_release(struct office *o);

/* ---- calls ------------------------------------------------------------------------------------ */

struct office_call {
	struct cw_desk_job job;
	uv_work_t lengthy; /* instead of the desk's job */
	struct office *office;
	struct cw_http_req *req; /* NULL: its client has gone */
	const struct office_route *route;
	json_t *args;            /* object: of the query, or of a JSON body */
	char *body;              /* a file to import; wiped */
	size_t body_len;
	char product_secret[CW_STOCK_PRODUCT_SECRET + 2]; /* one byte more than allowed: a longer one is refused, not cut */
	char who[OFFICE_WHO], address[64];
	struct cw_json json; /* the answer's members, in a map that is open */
	unsigned status;     /* of an answer that is not 200 and has members of its own */
	int rc;
};

enum office_need { OFFICE_OPEN, OFFICE_READ, OFFICE_CHANGE };

struct office_route {
	const char *method, *path;
	enum office_need need;
	/* On the office's thread: 0, or an error with its sentence in job.msg. */
	int (*work)(struct office_call *c, struct cw_stock *s);
	/* Instead of it, on the loop. */
	void (*answer)(struct office *o, struct cw_http_req *req);
	int lengthy; /* takes seconds with a large stock: one at a time, on a thread of its own, so that nobody else waits for it */
};

/* Of the arguments: the text, NULL when it is not there or empty. */
const char *office_text(const struct office_call *c, const char *name);
/* A number, or text of digits. CW_EINVAL with a sentence when it is something else or below 0; `dflt` when it is not there. */
int office_number(struct office_call *c, const char *name, int64_t dflt, int64_t *ret);
/* true, "1", "true". */
int office_flag(const struct office_call *c, const char *name);
struct cw_stock_actor office_actor(const struct office_call *c);

/* api_line.c */
void office_line_open(struct office *o);
void office_line_close(struct office *o);
void office_line(struct office *o, struct cw_http_req *req);
/* The stock was changed from here: the next answer is a new one. */
void office_line_stale(struct office *o);
/* api_stock.c */
int office_devices(struct office_call *c, struct cw_stock *s);
int office_board(struct office_call *c, struct cw_stock *s);
int office_void(struct office_call *c, struct cw_stock *s);
int office_reclaim(struct office_call *c, struct cw_stock *s);
int office_batches(struct office_call *c, struct cw_stock *s);
int office_batch(struct office_call *c, struct cw_stock *s);
int office_products(struct office_call *c, struct cw_stock *s);
int office_product(struct office_call *c, struct cw_stock *s);
/* api_import.c */
int office_import(struct office_call *c, struct cw_stock *s);
/* api_audit.c */
int office_audit(struct office_call *c, struct cw_stock *s);
int office_verify(struct office_call *c, struct cw_stock *s);

#endif
