/*
 * Identities from outside: a CSV that somebody imports, JSON over the control socket, and the answer of a look-up. What is
 * taken must be whole entries that the platform would accept, and survive the way through JSON.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "identity/http.h"
#include "identity/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct cw_identities *set)
{
	struct cw_identities *again = NULL;
	struct cw_map_node *n;
	struct cw_msg msg;
	char *text;
	size_t len;

	cw_map_each (n, &set->by_identity) {
		const struct cw_identity *id = cw_container_of(n, struct cw_identity, by_identity);

		if (cw_identity_wrong(id->identity, id->product_key, id->device_name, id->device_secret) != NULL)
			abort();
	}
	/* Bytes that are no UTF-8 are an error of the writer, not a crash. */
	if (cw_identities_to_json(set, &text, &len) == 0) {
		if (cw_identities_of_json(cw_bytes_of(text, len), &again, &msg) < 0 || again->count != set->count)
			abort();
		cw_identities_free(again);
		cw_free(text);
	}
	cw_identities_free(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cw_bytes text = cw_bytes_of(data, size);
	struct cw_identities *set = NULL;
	struct cw_identity *id = NULL;
	struct cw_msg msg = { "" };

	if (cw_identities_csv("fuzz.csv", text, NULL, NULL, &set, &msg) == 0)
		check(set);
	if (cw_identities_of_json(text, &set, &msg) == 0)
		check(set);
	if ((cw_http_source_read(200, text, size % 2 == 0 ? "1" : NULL, &id, &msg) == 0) != (id != NULL))
		abort();
	cw_identity_free(id);
	return 0;
}
