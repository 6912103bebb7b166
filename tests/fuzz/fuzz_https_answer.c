/* Answers of the platform over HTTPS: whatever comes, a token fits into a header and a path into an address. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "upstream/https/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char topic[64], path[3 * sizeof(topic) + 1];
	struct https_answer a;
	const char *c;

	if (https_answer_read(cw_bytes_of(data, size), &a) == 0) {
		for (c = a.token; *c != '\0'; c++)
			if (*c <= ' ' || *c > '~')
				abort();
		if (a.message[0] == '\0' || (a.data.len > 0 && a.data.ptr == NULL))
			abort();
		https_answer_drop(&a);
	}
	size = size < sizeof(topic) ? size : sizeof(topic) - 1;
	memcpy(topic, data, size);
	topic[size] = '\0';
	if (https_encode_path(topic, path, sizeof(path)) != 0 || strpbrk(path, " ?#\r\n") != NULL)
		abort();
	return 0;
}
