/*
 * meter.h - what the bare programs measure alike: messages confirmed and processor time used, without the first
 * moments. One thread.
 */
#ifndef BENCH_METER_H
#define BENCH_METER_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define WARM_UP_S 0.5

struct meter {
	double start_s, from_s, cpu_s, seconds; /* seconds: how long to measure */
	unsigned long confirmed, failed, before;
};

static inline double meter_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline double meter_cpu(void)
{
	struct rusage u;

	(void)getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* Measure from here on. */
static inline void meter_begin(struct meter *m)
{
	m->from_s = meter_now();
	m->cpu_s = meter_cpu();
	m->before = m->confirmed;
}

static inline void meter_print(const struct meter *m)
{
	double seconds = meter_now() - m->from_s;
	unsigned long messages = m->confirmed - m->before;

	(void)printf("{\"messages\": %lu, \"failed\": %lu, \"seconds\": %.4f, \"per_second\": %.1f, \"cpu_s\": %.3f}\n",
		     messages, m->failed, seconds, (double)messages / seconds, meter_cpu() - m->cpu_s);
	(void)fflush(stdout);
}

/* Call it often: begins behind the warm-up; 1 once the time is over and the result printed. */
static inline int meter_over(struct meter *m)
{
	double now = meter_now();

	if (m->start_s == 0)
		m->start_s = now;
	if (m->from_s == 0 && now - m->start_s >= WARM_UP_S)
		meter_begin(m);
	if (m->from_s == 0 || now - m->from_s < m->seconds)
		return 0;
	meter_print(m);
	return 1;
}

/* The lines of a file, NULL behind the last; NULL when it cannot be read or is empty. Never freed. */
static inline char **read_lines(const char *path, unsigned *ret_count)
{
	FILE *f = fopen(path, "r");
	char **lines = NULL, *line = NULL;
	size_t size = 0;
	ssize_t n;

	*ret_count = 0;
	while (f != NULL && (n = getline(&line, &size, f)) > 0) {
		if (line[n - 1] == '\n')
			line[n - 1] = '\0';
		if (*ret_count % 256 == 0)
			lines = realloc(lines, (*ret_count + 257) * sizeof(*lines));
		if (lines == NULL)
			break;
		lines[(*ret_count)++] = line;
		lines[*ret_count] = NULL;
		line = NULL;
		size = 0;
	}
	if (f != NULL)
		(void)fclose(f);
	return lines;
}

#endif
