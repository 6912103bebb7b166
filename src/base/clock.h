/*
 * clock.h - the only place that asks for the time; tests replace it.
 */
#ifndef CW_BASE_CLOCK_H
#define CW_BASE_CLOCK_H

#include <stdint.h>

uint64_t cw_clock_ms(void);     /* monotonic, milliseconds */
uint64_t cw_clock_ns(void);     /* monotonic, nanoseconds */
int64_t cw_clock_wall_ms(void); /* UTC since 1970, milliseconds */

/* Test clock: both clocks stand still at these values until moved; mono_ms 0 gives the real clocks back. */
void cw_clock_fake(uint64_t mono_ms, int64_t wall_ms);

/* Format UTC milliseconds as 2026-11-21T08:00:00.123Z into out[25]. */
void cw_clock_format(int64_t wall_ms, char out[25]);

#endif
