/*
 * vectors.h - a file of tests/vectors/, read before the tests of a group and given back after them, when nothing of ours
 * may be allocated any more. For test programs that run where the build's tests do: at the top of the source tree.
 */
#ifndef CW_TEST_VECTORS_H
#define CW_TEST_VECTORS_H

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "causeway/record.h"
#include "json/json.h"

static uint8_t *vectors; /* as an item of record.h */
static size_t vectors_len;

static inline int vectors_read(const char *path)
{
	FILE *in = fopen(path, "rb");
	char *text = malloc(1 << 20);
	size_t n;

	assert_non_null(in);
	assert_non_null(text);
	n = fread(text, 1, 1 << 20, in);
	assert_int_equal(fclose(in), 0);
	assert_true(n < 1 << 20);
	assert_int_equal(cw_json_to_item(cw_bytes_of(text, n), &vectors, &vectors_len), 0);
	free(text);
	return 0;
}

/* The group's teardown. */
static inline int vectors_free(void **state)
{
	cw_free(vectors);
	return cw_mem_live() == 0 ? 0 : -1;
}

#endif
