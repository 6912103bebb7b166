/* dial_to.c - `to` of a connection taken apart; see inside.h. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/dial.h"
#include "net/inside.h"

static const char *after(const char *text, const char *start)
{
	size_t len = strlen(start);

	return strncmp(text, start, len) == 0 ? text + len : NULL;
}

const char *cw_dial_serial_path(const char *to)
{
	return after(to, "serial://");
}

static int parse_path(const char *to, struct cw_net_target *t, struct cw_msg *msg)
{
	t->transport = CW_TRANSPORT_SERIAL;
	t->path = cw_dial_serial_path(to);
	if (t->path[0] != '/' || t->path[1] == '\0')
		return cw_fail(msg, CW_ECONF, "to: \"%s\" has no absolute path; write serial:///dev/ttyS1", to);
	if (strpbrk(t->path, "?#") != NULL)
		return cw_fail(msg, CW_ECONF, "to: \"%s\": settings of the line stand in serial { baud, parity, stopBits, dataBits }", to);
	return 0;
}

/* A name or an address; a colon only within brackets. */
static int copy_host(const char *to, const char *host, size_t len, struct cw_net_target *t, struct cw_msg *msg)
{
	int brackets = len >= 2 && host[0] == '[' && host[len - 1] == ']';
	size_t i;

	if (!brackets && memchr(host, ':', len) != NULL)
		return cw_fail(msg, CW_ECONF, "to: \"%s\": an IPv6 address needs brackets, as in tcp://[2001:db8::7]:502", to);
	if (brackets) {
		host++;
		len -= 2;
	}
	if (len == 0 || len >= sizeof(t->host))
		return cw_fail(msg, CW_ECONF, "to: \"%s\" has no host; write tcp://host:port", to);
	for (i = 0; i < len; i++)
		if (!isalnum((unsigned char)host[i]) && strchr("-_.:%", host[i]) == NULL)
			return cw_fail(msg, CW_ECONF, "to: \"%s\": '%c' does not belong into a host's name", to, host[i]);
	memcpy(t->host, host, len);
	t->host[len] = '\0';
	return 0;
}

int cw_net_target_parse(const char *to, struct cw_net_target *t, struct cw_msg *msg)
{
	const char *rest, *colon, *p;
	char numeric[300];
	int rc;

	memset(t, 0, sizeof(*t));
	if (cw_dial_serial_path(to) != NULL)
		return parse_path(to, t, msg);
	t->transport = CW_TRANSPORT_TCP;
	rest = after(to, "tcp://");
	if (rest == NULL) {
		t->transport = CW_TRANSPORT_TLS;
		rest = after(to, "tls://");
	}
	if (rest == NULL)
		return cw_fail(msg, CW_ECONF, "to: found \"%s\", accepted is tcp://host:port, tls://host:port or serial:///dev/...", to);
	colon = strrchr(rest, ':');
	for (p = colon == NULL ? "" : colon + 1; isdigit((unsigned char)*p); p++)
		;
	if (colon == NULL || p == colon + 1 || p - colon > 6 || *p != '\0' || strtoul(colon + 1, NULL, 10) > 65535 ||
	    strtoul(colon + 1, NULL, 10) == 0)
		return cw_fail(msg, CW_ECONF, "to: \"%s\" has no port from 1 to 65535 at its end", to);
	(void)snprintf(t->port, sizeof(t->port), "%s", colon + 1);
	rc = copy_host(to, rest, (size_t)(colon - rest), t, msg);
	if (rc < 0)
		return rc;
	/* localhost has two addresses and is looked up. */
	(void)snprintf(numeric, sizeof(numeric), strchr(t->host, ':') != NULL ? "[%s]:%s" : "%s:%s", t->host, t->port);
	t->numeric = strcmp(t->host, "localhost") != 0 && cw_addr_parse(numeric, &t->addr, NULL) == 0;
	return 0;
}
