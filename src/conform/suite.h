/*
 * suite.h - shared by the parts of the conformance suite; all of it runs in a child process, with one thread.
 *
 * object.c looks into the shared object, heap.c stands between it and the allocator, watch.c between it and the runner,
 * toy.c is an owner that answers as the platform would and writes down all that is said, frames.c, sessions.c and
 * failures.c have the rules, play.c plays wire scripts, run.c is the parent.
 */
#ifndef CW_CONFORM_SUITE_H
#define CW_CONFORM_SUITE_H

#include "conform/conform.h"
#include "conform/heap.h"
#include "plugin/asked.h"
#include "plugin/isolate.h"
#include "plugin/runner_impl.h"

#define TICKETS_MOST 256
#define COMMANDS_MOST 64

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SUITE_SLOW 1 /* ten times slower: fewer tries of what is tried at random */
#else
#define SUITE_SLOW 0
#endif

/* Each try in a plugin host is a process of its own. */
#define MANY(here, hosted) (suite.setup->isolated ? (hosted) : (here))

/* ---- what there is to try -------------------------------------------------------------- */

/* The steps of one script, or of all files of frames together. */
struct session {
	const char *name;
	const struct cw_wire_script *script; /* the first of it */
	const struct cw_wire_step **v;
	size_t n;
	uint8_t *settings; /* encoded; NULL: the plugin has none */
	size_t settings_len;
	uint32_t flags;
};

/* Bytes to try: a single frame, or what one step of a session sends. */
struct entry {
	char kind; /* as cw_wire_step.sample, s: a step of a session */
	const uint8_t *ptr;
	size_t len;
	const struct session *of;
	char name[120]; /* for sentences: `temp` (skeleton.wire line 12) */
};

struct suite {
	const struct cw_conform_setup *setup;
	const struct cw_plugin_desc *real, *desc; /* as loaded; with watched entries */
	struct cw_worker *worker;
	struct session *sessions;
	size_t session_count;
	struct entry *entries;
	size_t entry_count;
};

/* Of the child: there is one. */
extern struct suite suite;

/* Load, and make sessions and entries of the scripts; 0 or -1 with findings. */
int suite_load(struct suite *s);

/* ---- saying what is wrong; run.c ---------------------------------------------------------- */

/* What is being done, for the sentence of a fault; and the entry at hand, for when nobody can be asked any more. */
void doing(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void at_hand(const char *entry, struct cw_bytes bytes);
void not_at_hand(void);
/* A rule is broken: one sentence for each thing that was being done, the rest is counted. */
void fault(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same of a rule that is watched while others run. */
void fault_of(const char *rule, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void remark(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Going on would take too long, or too much: this rule ends here. */
void give_up(const char *why) __attribute__((noreturn));

/* What was said inside a plugin host about a rule that is watched. */
void speak_of_host(void);
/* The entry that a plugin host was in, "" when in none. */
const char *entry_at_hand(void);

/* ---- object.c ---------------------------------------------------------------------------- */

int object_open(const char *path);
void object_check_exports(void);
void object_check_statics(void);
void object_check_libraries(void);
int object_sanitized(void);
/* The function at an address of the loaded object, as `name+0x12`. */
void object_place(const void *address, char *out, size_t size);

/* ---- toy.c and watch.c ---------------------------------------------------------------------- */

/* One thing the decoder said, for scripts. */
struct said {
	char kind; /* as in note() */
	uint64_t number, offset;
	char *who;
	uint8_t *ptr;
	size_t len;
	int taken;
};

struct toy {
	const struct suite *suite;
	const struct session *session;
	struct cw_runner *runner;
	struct cw_conn *conn;
	void *conf;
	uint32_t flags;
	size_t cap;
	int refuse;       /* 0: every identity is known; else CW_REFUSED_*; -1: in turn */
	int settle_with;  /* CW_SETTLED_*; -1: in turn */
	int hold_tickets; /* tickets stay open */
	int late;         /* identities are answered by toy_answer() only */
	int by_hand;      /* a script answers */
	int isolated;     /* the decoder is in a plugin host */
	int ended;        /* .. that has said its last about the connection */
	int refused;      /* .. what it said about the command at hand */
	int answered;     /* an identity; the host is to go on */
	int many;         /* several frames came in one read */
	unsigned members; /* of CW_IDENTIFY_MEMBERS */
	/* what the decoder says, one entry after the other */
	uint8_t *trace;
	size_t len, size;
	size_t noise, frames_ok, frames_bad, records, sends, fields;
	uint64_t tickets[TICKETS_MOST];
	size_t ticket_count, settled, asks;
	uint64_t commands[COMMANDS_MOST]; /* handed over, not ended; 0: free */
	uint64_t last_command;
	size_t commands_done;
	struct cw_asked asked;
	unsigned turn;
	int closing, attachments, waited;
	char identity[CW_IDENTITY_MAX + 1]; /* of the last that was known */
	uint8_t saved[CW_SAVE_MAX];
	size_t saved_len;
	int64_t charged;
	size_t base_bytes; /* of the heap before the connection */
	uint64_t now_ms;   /* virtual time since the start */
	char line[256];    /* what it logged last */
	struct said *said;
	size_t said_count;
};

/* The nth (0 = next) call of the host table fails with `code`; negative: none does. */
void host_fail_at(long nth, int code);
int host_failed(void);
/* `desc` with entries that count and judge; valid until the process ends. */
const struct cw_plugin_desc *watched(const struct cw_plugin_desc *desc);
void watch_runner(struct cw_runner *r);
void watch_toy(struct toy *t);

/* trace.c: one entry more of what the decoder said. For wire scripts, which look at each thing alone; for comparing. */
void toy_tell(struct toy *t, char kind, uint64_t number, uint64_t offset, const char *who, struct cw_bytes b);
void toy_note(struct toy *t, char kind, uint64_t number, const void *ptr, size_t len);
void toy_note_of(struct toy *t, char kind, uint64_t number, const char *who, struct cw_bytes b);
/* A runner and its settings; CW_E* when the plugin says no. */
int toy_start(struct toy *t, const struct suite *s, const struct session *of, uint32_t flags, int isolated);
/* A new instance, and nothing known of what was before; ends the child when that fails. `keep_saved`: but what it
 * saved. */
void toy_renew(struct toy *t, const struct session *of, int keep_saved);
void toy_stop(struct toy *t);
/* Until a plugin host has done all there was to do, and has said so. Nothing when the decoder is here. */
void toy_pump(struct toy *t);
int toy_open(struct toy *t);
/* Close, and look that nothing is left over. `clean` 0: calls were made to fail, only memory counts. */
void toy_close(struct toy *t, int clean);
/* Bytes in a block of exactly their size. */
void toy_feed(struct toy *t, const uint8_t *ptr, size_t len);
int toy_command(struct toy *t, struct cw_rdevice *dev, struct cw_bytes command);
/* Let virtual time pass: timers in order. */
void toy_wait(struct toy *t, uint64_t ms);
void toy_fire_timers(struct toy *t);
/* Deliver an event that the runner itself would never make now. */
void toy_event(struct toy *t, uint32_t kind, uint64_t number, struct cw_bytes data);
/* Answer the identities that wait (late). */
void toy_answer(struct toy *t);
struct cw_rdevice *toy_device(struct toy *t, const char *who);
void toy_forget(struct toy *t);
/* They said the same. When several frames came in one read and one of the two is isolated: the same of each kind, in its
 * order, and as many sends, for the host goes on with the next frame while what settles is on its way. */
int toy_same(const struct toy *a, const struct toy *b);
/* Where two traces part, in words. */
void toy_difference(const struct toy *whole, const struct toy *other, char *out, size_t size);
/* A step of a session that is no expectation. */
void toy_step(struct toy *t, const struct cw_wire_step *step);
void toy_session(struct toy *t, int timers);
/* What was said, in words. */
void said_text(char kind, uint64_t number, const char *who, struct cw_bytes bytes, char *out, size_t size);
/* The command of a step as a record. Into out[len + 320]. */
size_t step_command(const struct cw_wire_step *step, uint8_t *out, size_t size);

/* ---- rules ------------------------------------------------------------------------------------ */

struct rule {
	const char *name, *clause;
	void (*run)(struct toy *a, struct toy *b); /* NULL: watched while others run */
	unsigned how;
	unsigned isolated; /* RULE_FIRST, RULE_SECOND: which of its toys has a plugin host then; 0: see below */
	const char *not_isolated; /* why this rule is tried in-process only */
};
#define RULE_INSPECT 1u  /* as a decode tool runs it */
#define RULE_PLAIN 2u    /* as a connection */
#define RULE_DATAGRAM 4u /* also over UDP, where the plugin may be used so */
#define RULE_BARE 8u     /* without toys: takes what it needs from the suite */
#define RULE_LOOK 16u    /* the object is not called */
#define RULE_HOSTED 32u  /* compares both: only when isolated */
#define RULE_FIRST 1u
#define RULE_SECOND 2u

void rule_loads(struct toy *a, struct toy *b);
void rule_exports(struct toy *a, struct toy *b);
void rule_statics(struct toy *a, struct toy *b);
void rule_libraries(struct toy *a, struct toy *b);
void rule_scripts(struct toy *a, struct toy *b);
void rule_frames(struct toy *a, struct toy *b);
void rule_split(struct toy *a, struct toy *b);
void rule_truncate(struct toy *a, struct toy *b);
void rule_noise(struct toy *a, struct toy *b);
void rule_glue(struct toy *a, struct toy *b);
void rule_mutate(struct toy *a, struct toy *b);
void rule_session(struct toy *a, struct toy *b);
void rule_later(struct toy *a, struct toy *b);
void rule_identities(struct toy *a, struct toy *b);
void rule_outcomes(struct toy *a, struct toy *b);
void rule_saved(struct toy *a, struct toy *b);
void rule_moments(struct toy *a, struct toy *b);
void rule_resumed(struct toy *a, struct toy *b);
void rule_kept(struct toy *a, struct toy *b);
void rule_cap(struct toy *a, struct toy *b);
void rule_refusals(struct toy *a, struct toy *b);
void rule_memory(struct toy *a, struct toy *b);
void rule_same(struct toy *a, struct toy *b);

uint32_t suite_random(uint32_t below);

#endif
