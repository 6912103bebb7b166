/*
 * mem.h - checked allocation that tests can make fail.
 *
 * All heap memory of the daemon's own code comes from here. A test arms
 * cw_mem_fail_at(n) to let the n-th allocation from now on fail, and compares
 * cw_mem_live() before and after.
 */
#ifndef CW_BASE_MEM_H
#define CW_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

/* All return NULL when memory is short (or a test said so); sizes of 0 give a valid pointer. */
void *cw_alloc(size_t size) __attribute__((malloc));
void *cw_zalloc(size_t size) __attribute__((malloc));
void *cw_calloc(size_t count, size_t size) __attribute__((malloc));
void *cw_realloc(void *ptr, size_t size); /* on failure the old block stays */
char *cw_strdup(const char *text);
char *cw_strndup(const char *text, size_t len); /* always NUL-terminated */
void *cw_memdup(const void *ptr, size_t len);
void cw_free(void *ptr); /* accepts NULL */

/* For tests: let the nth (0 = next) allocation of this thread fail; negative: never. */
void cw_mem_fail_at(long nth);
/* For tests: 1 if the armed failure has happened. */
int cw_mem_failed(void);
/* For tests: blocks allocated and not freed, all threads. Counted only in builds with CW_MEM_COUNT. */
long cw_mem_live(void);

#define cw_container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#endif
