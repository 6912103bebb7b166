/* parse.c - see parse.h. */
#include "cloud/core/parse.h"

#include <stdio.h>

/* Counts brackets outside of strings; what is no JSON at all is the library's business. */
static int too_deep(const char *text, size_t len)
{
	size_t depth = 0, i;
	int quoted = 0;

	for (i = 0; i < len; i++) {
		if (text[i] == '"')
			quoted = !quoted;
		else if (quoted && text[i] == '\\')
			i++;
		else if (!quoted && (text[i] == '[' || text[i] == '{') && ++depth > CLOUD_JSON_DEPTH)
			return 1;
		else if (!quoted && (text[i] == ']' || text[i] == '}') && depth > 0)
			depth--;
	}
	return 0;
}

json_t *cw_cloud_json(const char *text, size_t len, size_t flags, json_error_t *error)
{
	if (!too_deep(text, len))
		return json_loadb(text, len, flags, error);
	if (error != NULL) {
		*error = (json_error_t){ .line = 1 };
		(void)snprintf(error->text, sizeof(error->text), "nested deeper than %u levels", CLOUD_JSON_DEPTH);
	}
	return NULL;
}

int cw_cloud_is_utf8(const char *text, size_t len)
{
	json_t *j = json_stringn(text, len);
	int ok = j != NULL;

	json_decref(j);
	return ok;
}
