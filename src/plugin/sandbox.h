/*
 * sandbox.h - what a plugin host gives up once the plugin is made: more memory, files, sockets, other processes, cores.
 */
#ifndef CW_PLUGIN_SANDBOX_H
#define CW_PLUGIN_SANDBOX_H

#include "base/err.h"
#include "plugin/isolate.h"

/* A build with sanitizers, which need more of the system than a plugin does. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CW_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define CW_SANITIZED 1
#endif
#endif

/* 1: all of it; 0: without seccomp, and why in msg; CW_EACCESS: it was required and cannot be had. */
int cw_sandbox_enter(enum cw_sandbox how, uint64_t memory, struct cw_msg *msg);

#endif
