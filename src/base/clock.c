/* clock.c - see clock.h. */
#include "base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

static atomic_ullong fake_mono_ms;
static atomic_llong fake_wall_ms;

uint64_t cw_clock_ns(void)
{
	struct timespec ts;
	unsigned long long fake = atomic_load_explicit(&fake_mono_ms, memory_order_relaxed);

	if (fake != 0)
		return fake * 1000000u;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t cw_clock_ms(void)
{
	return cw_clock_ns() / 1000000u;
}

int64_t cw_clock_wall_ms(void)
{
	struct timespec ts;

	if (atomic_load_explicit(&fake_mono_ms, memory_order_relaxed) != 0)
		return atomic_load_explicit(&fake_wall_ms, memory_order_relaxed);
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void cw_clock_fake(uint64_t mono_ms, int64_t wall_ms)
{
	atomic_store(&fake_wall_ms, wall_ms);
	atomic_store(&fake_mono_ms, mono_ms);
}

void cw_clock_format(int64_t wall_ms, char out[25])
{
	time_t s = (time_t)(wall_ms / 1000);
	int ms = (int)(wall_ms % 1000);
	struct tm tm;
	char buf[64];

	if (ms < 0) {
		ms += 1000;
		s -= 1;
	}
	if (gmtime_r(&s, &tm) == NULL) {
		out[0] = '-';
		out[1] = '\0';
		return;
	}
	(void)snprintf(buf, sizeof(buf), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
	               tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, ms);
	(void)snprintf(out, 25, "%.24s", buf);
}
