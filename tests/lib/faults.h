/*
 * faults.h - what every decoder's test_faults.c does: memory that is not there, settings that cannot be.
 *
 * The decoder's sources are compiled into that test once more with plugin_malloc, plugin_calloc and plugin_realloc in place of
 * the three they are named after (cw_add_faults). Only one plugin is in the program: cw_plugin_entry().
 */
#ifndef TEST_FAULTS_H
#define TEST_FAULTS_H

#include <stddef.h>

/* Runs a_life() again and again; each time the next allocation fails, until all have. Returns how many there were. */
int faults_each_allocation(void (*a_life)(void));
/* create() reports each of its `allocations`, and settings() without memory reports that. */
void faults_create(int allocations);
/* settings() with `json` over the defaults reports each allocation. Returns how many there were. */
int faults_settings(const char *json);
/* settings() refuses `json` with a sentence that has `said` in it (NULL: any). */
void faults_refused(const char *json, const char *said);
/* The defaults of the table mean what settings() does without any: the `size` bytes made of both are the same (no pointers). */
void faults_defaults(size_t size);

#endif
