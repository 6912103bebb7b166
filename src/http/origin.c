/* origin.c - see origin.h. */
#include "http/origin.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

int cw_http_origin_foreign(const char *origin, const char *host)
{
	const char *at;

	if (origin == NULL)
		return 0;
	at = strstr(origin, "://"); /* "null" has none: a page without an address */
	return at == NULL || host == NULL || strcasecmp(at + 3, host) != 0;
}

/* Bytes of the host in "host", "host:port", "[v6]" or "[v6]:port". */
static size_t host_len(const char *host)
{
	const char *end = host[0] == '[' ? strchr(host, ']') : strrchr(host, ':');

	if (end == NULL)
		return strlen(host);
	return (size_t)(end - host) + (host[0] == '[');
}

static int ends_in(const char *text, size_t len, const char *tail)
{
	size_t n = strlen(tail);

	return len >= n && strncasecmp(text + len - n, tail, n) == 0;
}

static int is_address(const char *text, size_t len)
{
	unsigned char out[sizeof(struct in6_addr)];
	char host[INET6_ADDRSTRLEN];
	int v6 = len > 2 && text[0] == '[' && text[len - 1] == ']';

	if (v6) {
		text++;
		len -= 2;
	}
	if (len >= sizeof(host))
		return 0;
	memcpy(host, text, len);
	host[len] = '\0';
	return inet_pton(v6 ? AF_INET6 : AF_INET, host, out) == 1;
}

int cw_http_host_foreign(const char *host)
{
	size_t len;

	if (host == NULL) /* no browser leaves it out */
		return 0;
	len = host_len(host);
	return !is_address(host, len) && !(len == 9 && strncasecmp(host, "localhost", 9) == 0) &&
	       !ends_in(host, len, ".localhost");
}

static int is_loopback(const char *address)
{
	return strncmp(address, "127.", 4) == 0 || strncmp(address, "[::1]:", 6) == 0;
}

/* Sent by a page of another site, or of another port of this one. Opening a link is no change, so GET is not asked. */
static int cross_site(const struct cw_http_req *req)
{
	const char *site = cw_http_header(req, "Sec-Fetch-Site");

	return site != NULL && strcmp(cw_http_method(req), "GET") != 0 && strcmp(cw_http_method(req), "HEAD") != 0 &&
	       strcasecmp(site, "same-origin") != 0 && strcasecmp(site, "none") != 0;
}

const char *cw_http_foreign(const struct cw_http *http, const struct cw_http_req *req)
{
	const char *host = cw_http_header(req, "Host");

	if (cw_http_origin_foreign(cw_http_header(req, "Origin"), host) || cross_site(req))
		return "a page of another origin sent this; only the page served here may use the API from a browser";
	if (is_loopback(cw_http_address(http)) && cw_http_host_foreign(host))
		return "the name in Host is not this machine's; use localhost or the address, or listen on another address than a "
		       "loopback one";
	return NULL;
}
