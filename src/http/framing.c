/* framing.c - see framing.h. */
#include "http/framing.h"

#include <string.h>
#include <strings.h>

struct lengths {
	const char *first;
	int bad;
};

static enum MHD_Result on_length(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct lengths *l = cls;

	(void)kind;
	if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) != 0)
		return MHD_YES;
	l->bad |= value == NULL || (l->first != NULL && strcmp(l->first, value) != 0);
	l->first = value;
	return MHD_YES;
}

int http_has_one_length(struct MHD_Connection *conn)
{
	struct lengths l = { NULL, 0 };

	(void)MHD_get_connection_values(conn, MHD_HEADER_KIND, on_length, &l);
	return !l.bad && (l.first == NULL || MHD_lookup_connection_value(conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_TRANSFER_ENCODING) == NULL);
}
