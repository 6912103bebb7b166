/*
 * log_tap.h - a copy of the log's lines for somebody who passes them on: a bounded
 * ring that any thread's cw_log() fills and its owner empties. When it is full the
 * newest lines are left out and counted.
 */
#ifndef CW_BASE_LOG_TAP_H
#define CW_BASE_LOG_TAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

#define CW_LOG_TAP_TEXT 480

struct cw_log_line {
	int64_t utc_ms;
	enum cw_log_id id;
	char text[CW_LOG_TAP_TEXT]; /* fields and sentence; ASCII, cut where it is longer */
};

struct cw_log_tap;

/* From now on. 0 or CW_ENOMEM. Any thread. */
int cw_log_tap_new(size_t lines, struct cw_log_tap **ret_tap);
void cw_log_tap_free(struct cw_log_tap *tap);
/* The oldest lines, up to `most`; how many were left out since the last call. */
size_t cw_log_tap_take(struct cw_log_tap *tap, struct cw_log_line *out, size_t most, uint64_t *ret_dropped);

/* For log.c: is anybody listening, and a line for them. */
int cw_log_tapped(void);
void cw_log_tap_write(enum cw_log_id id, int64_t utc_ms, const char *text, size_t len);

#endif
