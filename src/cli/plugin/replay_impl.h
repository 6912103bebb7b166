/* replay_impl.h - what replay.c, replay_conn.c and replay_say.c share; nobody else includes it. */
#ifndef CW_CLI_PLUGIN_REPLAY_IMPL_H
#define CW_CLI_PLUGIN_REPLAY_IMPL_H

#include "base/map.h"
#include "cli/plugin/replay.h"
#include "identity/identity.h"
#include "plugin/asked.h"
#include "plugin/runner.h"

#define TEXT_MOST (64u << 20)
/* Rounds of outcomes that call forth the next; more is a decoder that goes on and on. */
#define ROUNDS_MOST 100000u

enum { VERDICT_NONE, VERDICT_SAME, VERDICT_OTHER };

/* A growing list: each entry a length, a tag, a name and bytes. */
struct bag {
	uint8_t *bytes;
	size_t len, size;
};

struct entry {
	unsigned tag;
	struct cw_bytes name, value;
};

/* What is being said about one connection, until it is said. */
struct beat {
	const char *what; /* in, refused, noise, open, timer, ..; NULL: nothing yet */
	int64_t time_ms;
	int rc, refused;
	char line[512];   /* what the decoder logged last */
	struct bag frame, records, answers, notes, header, fields;
};

/* The bytes to the device that the capture has, and which of them the decoder has said. */
struct down {
	uint8_t *bytes, *said;
	size_t len, at;             /* all before `at` are said or told as missing */
	struct { size_t end; int64_t time_ms; } *segs;
	size_t count, told;
};

struct replay;

struct side { /* the real run, or the one that looks */
	struct rconn *c;
	struct cw_conn *conn;
	struct cw_asked asked;
	uint64_t tickets[64];
	size_t ticket_count;
};

struct rconn {
	struct replay *r;
	uint32_t index;
	struct side real, looker;
	struct rconn *next; /* all that are open */
	struct beat beat;
	struct bag looked;       /* frames the looker saw: frame, and its fields as JSON text */
	struct bag look_header, look_fields;
	struct down down;
	struct cw_rdevice *leaving[CW_ASKED_MOST];
	unsigned leaving_count;
	unsigned rounds;
	uint8_t closing, stopped;
	uint64_t unheard; /* bytes that came after the decoder had closed */
};

struct replay {
	const struct cw_plugin_desc *desc;
	const struct cw_capture *capture;
	const struct cw_replay_how *how;
	cw_replay_fn fn;
	void *arg;
	struct cw_replay_totals *totals;
	struct cw_worker *worker;
	struct cw_runner *runner, *looker;
	void *conf, *looker_conf;
	struct cw_identities *known;
	struct device_conf *confs;
	struct cw_map saved;
	struct rconn **conns, *open;
	uint32_t step;
	uint64_t mono_ms;
	int64_t wall_ms;
	const char *cause; /* of what is said without a frame */
	int any_closing, out_of_memory;
};

/* replay_say.c */
void bag_add(struct replay *r, struct bag *b, unsigned tag, struct cw_bytes name, struct cw_bytes value);
/* The entry at `at`; where the next is, 0: there is none. */
size_t bag_next(const struct bag *b, size_t at, struct entry *e);
void bag_clear(struct bag *b);
/* A line of the reader's own. */
void say_note(struct rconn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Say what there is. Without `what` set and with nothing in it: nothing. */
void say_beat(struct rconn *c);
/* A beat of its own, what is under way comes before it. */
void say_bytes(struct rconn *c, const char *what, struct cw_bytes bytes);
void say_free(struct rconn *c);
/* The fields of a frame as text of a JSON object; owned (cw_free), NULL: no memory. */
char *say_members(const struct bag *b);

/* replay_conn.c */
struct device_conf;
int conn_open(struct rconn *c, const struct cw_seen_conn *seen);
void conn_feed(struct rconn *c, struct cw_bytes in);
void conn_close(struct rconn *c);
void conn_free_confs(struct replay *r);
void conn_free_saved(struct cw_map_node *n);

/* replay.c: how what the decoder sends stands to the capture. */
int down_judge(struct rconn *c, struct cw_bytes out);

#endif
