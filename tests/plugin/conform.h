/*
 * conform.h - shared by the parts of the plugin conformance program.
 *
 * conform.c has the cases, conform_host.c a toy owner that runs the plugin through the real
 * runner and writes down all it says, conform_elf.c looks into the shared object and
 * puts itself between the plugin and the allocator.
 */
#ifndef CONFORM_H
#define CONFORM_H

#include "plugin/asked.h"
#include "plugin/runner_impl.h"

#define TICKETS_MOST 256
#define COMMANDS_MOST 64

/* ---- corpus: one line each, see corpus/README.md ---- */

struct entry {
	char kind; /* f frame, r to be refused, s session step, b bytes, w bytes read whole by a tool, n noise, c command */
	unsigned command;
	char *name;
	uint8_t *ptr;
	size_t len;
};

struct corpus {
	struct entry *v;
	size_t n;
	char *settings; /* JSON over the defaults, or NULL */
};

/* ---- conform_elf.c ---- */

/* Everything that can be said about the object without calling it: symbols, data, libraries. Returns the number of faults. */
unsigned elf_check(const char *path);
/* Put the counting allocator into the relocations of the loaded object. 0 or -1. */
int elf_hook(const char *path);
/* The nth (0 = next) allocation of the plugin fails; negative: none does. */
void heap_fail_at(long nth);
int heap_failed(void);
long heap_live(void);
unsigned long heap_calls(void);
/* From here on the plugin's getrandom() gives the same bytes as after the last call of this. */
void random_again(void);

/* ---- conform_host.c ---- */

struct toy {
	const struct cw_plugin_desc *desc;
	struct cw_worker *worker;
	const char *settings;
	struct cw_runner *runner;
	struct cw_conn *conn;
	void *conf;
	uint32_t flags;
	size_t cap;
	int refuse;         /* 0: every identity is known; else CW_REFUSED_* */
	int settle_with;    /* CW_SETTLED_*; -1: in turn */
	int hold_tickets;   /* tickets stay open */
	/* what the decoder says, one entry after the other */
	uint8_t *trace;
	size_t len, size;
	size_t noise, frames_ok, frames_bad, records, sends, fields;
	uint64_t tickets[TICKETS_MOST];
	size_t ticket_count, settled;
	uint64_t commands[COMMANDS_MOST]; /* handed over, not ended; 0: free */
	uint64_t last_command;
	size_t commands_done;
	struct cw_asked asked;
	int closing, attachments;
	uint8_t saved[CW_SAVE_MAX];
	size_t saved_len;
	int64_t charged;
};

/* The nth (0 = next) call of the host table fails with `code`; negative: none does. */
void host_fail_at(long nth, int code);
int host_failed(void);

/* `desc` with entries that count and judge; valid until the program ends. */
const struct cw_plugin_desc *watched(const struct cw_plugin_desc *desc);
/* A runner and its settings; CW_E* when the plugin says no. */
int toy_start(struct toy *t, const struct cw_plugin_desc *desc, struct cw_worker *w, const char *settings);
/* A new instance, and nothing known of what was before. */
int toy_renew(struct toy *t);
void toy_stop(struct toy *t);
int toy_open(struct toy *t);
/* Close, and look that nothing is left over. `clean` 0: calls were made to fail, only memory counts. */
void toy_close(struct toy *t, int clean);
/* Bytes in a block of exactly their size. */
void toy_feed(struct toy *t, const uint8_t *ptr, size_t len);
void toy_command(struct toy *t, const struct entry *c);
void toy_fire_timers(struct toy *t);
/* Deliver an event that the runner itself would never make now. */
void toy_event(struct toy *t, uint32_t kind, uint64_t number, struct cw_bytes data);
void toy_forget(struct toy *t);
/* Give to or compare with another's trace. */
int toy_same(const struct toy *a, const struct toy *b);

/* A rule is broken: say which, count, go on. */
void fault(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* What is being done, for the sentence of a fault. */
void doing(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
unsigned faults(void);

#endif
