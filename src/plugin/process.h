/*
 * process.h - starts and ends the process of a plugin host. No loop, no state; the worker's thread.
 */
#ifndef CW_PLUGIN_PROCESS_H
#define CW_PLUGIN_PROCESS_H

#include <sys/types.h>

#include "base/err.h"
#include "plugin/shared.h"

struct cw_process {
	pid_t pid;
	struct cw_shared *shared;
	int memory;      /* memfd */
	int bell;        /* wakes the host */
	int parent_bell; /* wakes this side */
	int alive;       /* readable, at its end, when the process has gone */
};

/* `desc` and `fork_only`: see cw_isolation. Errors carry a sentence. */
int cw_process_start(struct cw_process *p, const struct cw_host_setup *setup, const struct cw_plugin_desc *desc, int fork_only,
                     struct cw_msg *msg);
/* Kill it, wait for it, say how it ended into why[]. Afterwards pid is 0. 1: by SIGKILL, which if it was dead before is somebody else's. */
int cw_process_end(struct cw_process *p, char *why, size_t size);
/* Give back memory and descriptors. */
void cw_process_fini(struct cw_process *p);
void cw_process_ring_bell(int fd);
void cw_process_hush_bell(int fd);

#endif
