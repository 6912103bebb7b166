/*
 * isolate.h - a plugin in a process of its own, the plugin host, behind the same calls of runner.h.
 *
 * The host is this program again (`causewayd --plugin-host`), one process for each plugin and
 * worker. It runs the local runner; commands and bytes go down to it, what the decoder says
 * comes up, through two rings (ring.h, wire.h). This side believes nothing that comes up.
 *
 * When it dies, hangs or takes too much memory it is started again: connections stay and are told
 * OPEN with CW_EVF_RESUMED, devices IDENTIFIED with what was saved; bytes that it had not finished with are
 * given to the next, save those of the connection whose entry ended it: that one is closed, its frame kept
 * in a file. Tickets are forgotten, open commands end. One that keeps dying is taken out of service.
 */
#ifndef CW_PLUGIN_ISOLATE_H
#define CW_PLUGIN_ISOLATE_H

#include "plugin/runner.h"

enum cw_sandbox { CW_SANDBOX_PREFERRED, CW_SANDBOX_REQUIRED, CW_SANDBOX_OFF };

struct cw_isolation {
	uint64_t memory;      /* bytes beyond what the host has once the plugin is made; 0: no limit */
	uint64_t timeout_ms;  /* an entry of the decoder, then the host is killed; 0: never */
	uint32_t crashes;     /* so many deaths .. */
	uint64_t window_ms;   /* .. within this time take the protocol out of service .. */
	uint64_t retry_ms;    /* .. for so long */
	enum cw_sandbox sandbox;
	const char *poison_dir; /* where frames that ended a host are kept; NULL: nowhere. Lent */
	uint32_t poison_files;  /* at most; the oldest goes */
	int fork_only;          /* tests: the host is a copy of this process, not a new run of the program */
};

/* Like cw_runner_new(); the host is started, not waited for. `how` is copied. */
int cw_runner_new_isolated(const struct cw_plugin_desc *desc, struct cw_worker *w, const struct cw_isolation *how,
                           struct cw_runner **ret_runner, struct cw_msg *msg);
/* Back into service at once, if it was taken out. On the runner's loop. */
void cw_runner_revive(struct cw_runner *r);

enum cw_host_state { CW_HOST_STARTING, CW_HOST_UP, CW_HOST_WAITING, CW_HOST_OUT };
struct cw_host_info {
	enum cw_host_state state;
	long pid;         /* 0: none */
	uint64_t starts, deaths;
	int sandboxed;    /* seccomp is on */
};
/* From any thread. 0 when the runner is not isolated. */
int cw_runner_host_info(const struct cw_runner *r, struct cw_host_info *ret);
/* For tests and measurements: 1 when the host is up, has read all, waits for more, and all that it said was taken. */
int cw_runner_quiet(struct cw_runner *r);
const char *cw_host_state_name(enum cw_host_state state);

/*
 * For the conformance suite, whose hosts are copies of its process (fork_only): what a host does when its loop is there,
 * when its runner is made, and upon cw_conn_rehearse(). Set before the runner is made; NULL elsewhere.
 */
struct cw_rehearsal {
	void (*begun)(struct cw_worker *w);
	void (*made)(struct cw_runner *r);
	void (*told)(struct cw_conn *c, uint64_t what, uint64_t number, struct cw_bytes data);
};
extern const struct cw_rehearsal *cw_rehearsal;
void cw_conn_rehearse(struct cw_conn *c, uint64_t what, uint64_t number, struct cw_bytes data);

/* The first descriptor of a host's own; see process.c. */
#define CW_HOST_FIRST_FD 3
/* What main() calls for --plugin-host; does not return. `desc` NULL: load the plugin named in the shared memory. */
void cw_hosted_main(int first_fd, const struct cw_plugin_desc *desc) __attribute__((noreturn));

#endif
