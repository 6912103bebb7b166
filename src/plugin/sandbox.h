/*
 * sandbox.h - what a plugin host gives up once the plugin is made: more memory, files, sockets, other processes, cores.
 */
#ifndef CW_PLUGIN_SANDBOX_H
#define CW_PLUGIN_SANDBOX_H

#include "base/err.h"
#include "plugin/isolate.h"

/* 1: all of it; 0: without seccomp, and why in msg; CW_EACCESS: it was required and cannot be had. */
int cw_sandbox_enter(enum cw_sandbox how, uint64_t memory, struct cw_msg *msg);

#endif
