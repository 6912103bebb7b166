/* endpoint.c - see endpoint.h. */
#include "upstream/endpoint.h"

#include <stdio.h>
#include <string.h>

static const struct cw_endpoint_scheme *scheme_of(const char *text, const struct cw_endpoint_form *form)
{
	const struct cw_endpoint_scheme *s;
	size_t n;

	for (s = form->schemes; s->name != NULL; s++) {
		n = strlen(s->name);
		if (strncmp(text, s->name, n) == 0 && strncmp(text + n, "://", 3) == 0)
			return s;
	}
	return NULL;
}

/* 1 to 65535 up to `end`; 0: it is none. */
static unsigned port_of(const char *at, const char *end)
{
	unsigned n = 0;

	if (at == end || end - at > 5)
		return 0;
	for (; at < end; at++) {
		if (*at < '0' || *at > '9')
			return 0;
		n = n * 10 + (unsigned)(*at - '0');
	}
	return n > 65535 ? 0 : n;
}

int cw_endpoint_parse(const char *text, const struct cw_endpoint_form *form, struct cw_endpoint *ret, struct cw_msg *msg)
{
	const char *host, *end, *colon, *after;

	memset(ret, 0, sizeof(*ret));
	ret->scheme = scheme_of(text, form);
	if (ret->scheme == NULL)
		return cw_fail(msg, CW_ECONF, "endpoint: '%s' does not begin with %s", text, form->begins);
	host = text + strlen(ret->scheme->name) + 3;
	after = host + strcspn(host, "/?#"); /* of host and port */
	ret->rest = after;
	ret->bracketed = *host == '[';
	end = memchr(host, ret->bracketed ? ']' : ':', (size_t)(after - host));
	if (end == NULL && !ret->bracketed)
		end = after;
	host += ret->bracketed;
	if (end == NULL || end == host || (size_t)(end - host) >= sizeof(ret->host) || host + strcspn(host, "@ \t") < end)
		return cw_fail(msg, CW_ECONF, "endpoint: '%s' is not like %s", text, form->like);
	colon = end + ret->bracketed; /* or the end, without a port */
	if ((colon != after && *colon != ':') || (colon == after && ret->scheme->port == 0) || (*after != '\0' && !ret->scheme->rest))
		return cw_fail(msg, CW_ECONF, "endpoint: '%s' is not like %s", text, form->like);
	ret->number = colon == after ? ret->scheme->port : port_of(colon + 1, after);
	if (ret->number == 0)
		return cw_fail(msg, CW_ECONF, "endpoint: the port of '%s' is not between 1 and 65535", text);
	(void)snprintf(ret->host, sizeof(ret->host), "%.*s", (int)(end - host), host);
	(void)snprintf(ret->port, sizeof(ret->port), "%u", ret->number);
	return 0;
}
