/*
 * client_id.h - the MQTT client identifier as the platform reads it: base, then
 * |key=value,key=value| from the first bar to the last one.
 * Texts are lent: they point into the identifier. No allocation.
 */
#ifndef CW_CLOUD_CLIENT_ID_H
#define CW_CLOUD_CLIENT_ID_H

#include <stddef.h>

#define CLOUD_CLIENT_ID_PAIRS 24

struct cloud_text {
	const char *s;
	size_t len;
};

struct cloud_client_id {
	struct cloud_text base;
	int has_tail; /* there was a |...| part */
	size_t count;
	struct {
		struct cloud_text key, value;
	} pair[CLOUD_CLIENT_ID_PAIRS];
};

/*
 * Take the identifier apart. Empty pairs are skipped, blanks and line ends around keys and
 * values too (an official client sends them). 0, or CW_EPROTO: no closing bar, a pair
 * without '=', an empty key, a key twice, or more than CLOUD_CLIENT_ID_PAIRS pairs.
 */
int cw_cloud_client_id_parse(const char *id, size_t len, struct cloud_client_id *ret_id);

/* The value of a key, or NULL. */
const struct cloud_text *cw_cloud_client_id_get(const struct cloud_client_id *id, const char *key);

int cw_cloud_text_is(const struct cloud_text *t, const char *text);

#endif
