/*
 * body.h - bodies of /auth: a flat object of texts and numbers, in JSON or CBOR, and the text that is signed.
 *
 * No socket, no state; fuzzed.
 */
#ifndef CW_CLOUD_COAP_BODY_H
#define CW_CLOUD_COAP_BODY_H

#include <stdint.h>

#include "cloud/core/login/client_id.h"

#define COAP_FIELDS     16u
#define COAP_BODY_BYTES 1024u /* of a body that is looked at */

enum coap_format { COAP_FORMAT_NONE = -1, COAP_FORMAT_OCTETS = 42, COAP_FORMAT_JSON = 50, COAP_FORMAT_CBOR = 60 };

struct coap_field {
	struct cloud_text name, value; /* numbers in decimal */
};

struct coap_fields {
	struct coap_field at[COAP_FIELDS]; /* ascending by name, no name twice */
	unsigned count;
	char text[COAP_BODY_BYTES + COAP_FIELDS * 24]; /* what the fields point into */
	size_t used;
};

/* 0, or CW_EINVAL: not such an object, nested, a name twice, too many or too long. */
int cw_cloud_coap_fields(const void *data, size_t len, enum coap_format format, struct coap_fields *ret);
/* The value, or an empty text with s NULL. */
struct cloud_text cw_cloud_coap_field(const struct coap_fields *f, const char *name);
/* Names and values in order, without version, sign, resources and signmethod. Its length, or 0: it does not fit. */
size_t cw_cloud_coap_content(const struct coap_fields *f, char *out, size_t size);

struct coap_pair {
	const char *name, *text; /* text NULL: the number */
	unsigned number;
};
/* An object of these. Its length, or 0: it does not fit. */
size_t cw_cloud_coap_object(const struct coap_pair *pairs, unsigned count, enum coap_format format, uint8_t *out, size_t size);

#endif
