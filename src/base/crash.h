/*
 * crash.h - places where a test lets the process die as in a power cut: CW_CRASH_AT=NAME in the environment
 * ends it there with SIGKILL. For what must hold between two writes to the disk.
 */
#ifndef CW_BASE_CRASH_H
#define CW_BASE_CRASH_H

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static inline void cw_crash_point(const char *name)
{
	const char *at = getenv("CW_CRASH_AT");

	if (at != NULL && strcmp(at, name) == 0)
		(void)raise(SIGKILL);
}

#endif
