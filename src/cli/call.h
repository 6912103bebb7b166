/* call.h - one call after the other to the daemon's control socket, for the verbs that need it. */
#ifndef CW_CLI_CALL_H
#define CW_CLI_CALL_H

#include <curl/curl.h>
#include <jansson.h>
#include <stddef.h>

struct cw_call {
	CURL *curl;
	const char *socket; /* path; lent */
	char *body;         /* of the answer */
	size_t len;
	long status;
};

int cw_call_open(struct cw_call *c, const char *socket);
void cw_call_close(struct cw_call *c);
/* curl's write function: appends to the answer. */
size_t cw_call_on_body(char *data, size_t size, size_t n, void *call);
/* The parsed answer of status 200, or NULL after a sentence on stderr; c->status is the HTTP status, 0 without one. */
json_t *cw_call_ask(struct cw_call *c, const char *method, const char *path, const char *body, size_t len);

/* `control` of an application.conf into out[size], which stays as it is where that has none; -1 after a sentence on
 * stderr. */
int cw_call_socket_of(const char *file, char *out, size_t size);

#endif
