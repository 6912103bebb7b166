/* mem.c - see mem.h. The counting is one relaxed atomic, cheap enough to stay on in every test build. */
#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local long fail_at = -1;
static _Thread_local int fail_fired;
#ifdef CW_MEM_COUNT
static atomic_long live;
#define LIVE_ADD(n) atomic_fetch_add_explicit(&live, (n), memory_order_relaxed)
#else
#define LIVE_ADD(n) ((void)0)
#endif

static int should_fail(void)
{
	if (__builtin_expect(fail_at < 0, 1))
		return 0;
	if (fail_at-- > 0)
		return 0;
	fail_fired = 1;
	return 1;
}

static void *counted(void *ptr)
{
	if (ptr != NULL)
		LIVE_ADD(1);
	return ptr;
}

void *cw_alloc(size_t size)
{
	return should_fail() ? NULL : counted(malloc(size == 0 ? 1 : size));
}

void *cw_zalloc(size_t size)
{
	return should_fail() ? NULL : counted(calloc(1, size == 0 ? 1 : size));
}

void *cw_calloc(size_t count, size_t size)
{
	return should_fail() ? NULL : counted(calloc(count == 0 ? 1 : count, size == 0 ? 1 : size));
}

void *cw_realloc(void *ptr, size_t size)
{
	void *grown;

	if (should_fail())
		return NULL;
	grown = realloc(ptr, size == 0 ? 1 : size);
	if (ptr == NULL && grown != NULL)
		LIVE_ADD(1);
	return grown;
}

void *cw_memdup(const void *ptr, size_t len)
{
	void *copy = cw_alloc(len);

	if (copy != NULL && len > 0)
		memcpy(copy, ptr, len);
	return copy;
}

char *cw_strndup(const char *text, size_t len)
{
	char *copy = cw_alloc(len + 1);

	if (copy == NULL)
		return NULL;
	if (len > 0)
		memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

char *cw_strdup(const char *text)
{
	return cw_strndup(text, strlen(text));
}

void cw_free(void *ptr)
{
	if (ptr != NULL)
		LIVE_ADD(-1);
	free(ptr);
}

void cw_mem_fail_at(long nth)
{
	fail_at = nth;
	fail_fired = 0;
}

int cw_mem_failed(void)
{
	return fail_fired;
}

long cw_mem_live(void)
{
#ifdef CW_MEM_COUNT
	return atomic_load_explicit(&live, memory_order_relaxed);
#else
	return 0;
#endif
}
