/* fuzz_wire.c - any text as a wire script; what is read is matched against bytes of its own. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "conform/script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cw_wire_script script;
	struct cw_msg msg = { "" };
	char *text = malloc(size + 1);
	size_t i;

	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (cw_wire_parse(size % 2 ? "fuzz.wire" : "fuzz.txt", text, &script, &msg) < 0) {
		if (msg.text[0] == '\0')
			abort();
	} else {
		for (i = 0; i + 1 < script.n; i++) {
			(void)cw_wire_matches(&script.v[i], cw_bytes_of(script.v[i + 1].ptr, script.v[i + 1].len));
			if (script.v[i].mask == NULL &&
			    !cw_wire_matches(&script.v[i], cw_bytes_of(script.v[i].ptr, script.v[i].len)))
				abort();
			if (script.v[i].body != NULL &&
			    !cw_wire_within(cw_bytes_of(script.v[i].body, script.v[i].body_len),
					    cw_bytes_of(script.v[i].body, script.v[i].body_len)))
				abort();
		}
		cw_wire_free(&script);
	}
	free(text);
	return 0;
}
