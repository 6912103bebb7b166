/*
 * answer.h - the bytes of an answer: JSON, or XML from the same object. No state; any thread.
 *
 * XML: members are elements, an array is its member's element repeated, an object with an array in it is therefore the
 * platform's form of a list. What XML cannot hold (control characters) becomes U+FFFD.
 */
#ifndef CW_CLOUD_OPENAPI_ANSWER_H
#define CW_CLOUD_OPENAPI_ANSWER_H

#include <jansson.h>

#include "cloud/wire/bytes.h"

/* `root` names the element around it all. 0 or CW_ENOMEM. */
int cw_cloud_pop_xml(const json_t *body, const char *root, struct cloud_bytes *out);
int cw_cloud_pop_json(const json_t *body, struct cloud_bytes *out);
/* A random RequestId, 36 characters. */
void cw_cloud_pop_uuid(char out[37]);

#endif
