/* psk.c - see psk.h. */
#include "cloud/core/login/psk.h"

#include <stdio.h>
#include <string.h>

#include "cloud/core/login/sign.h"

#define PARTS 4u

/* Exactly four parts between bars. */
static int split(const char *identity, size_t len, struct cloud_text part[PARTS])
{
	const char *end = identity + len, *bar;
	unsigned i;

	for (i = 0; i < PARTS; i++) {
		bar = memchr(identity, '|', (size_t)(end - identity));
		if ((bar == NULL) != (i == PARTS - 1))
			return CW_EINVAL;
		part[i] = (struct cloud_text){ identity, (size_t)((bar != NULL ? bar : end) - identity) };
		identity = bar != NULL ? bar + 1 : end;
	}
	return 0;
}

unsigned cw_cloud_psk_key(struct cw_cloud *c, const char *identity, size_t len, char *out, unsigned max)
{
	struct cloud_text part[PARTS];
	struct cloud_device *d;
	char content[256], hex[65];
	enum cloud_hmac hmac;
	const char *amp;
	size_t n, i;

	if (split(identity, len, part) < 0 || !cw_cloud_text_is(&part[0], "devicename") ||
	    cw_cloud_hmac_parse(part[1].s, part[1].len, &hmac) < 0)
		return 0;
	amp = memchr(part[2].s, '&', part[2].len);
	if (amp == NULL)
		return 0;
	d = cw_cloud_device_find(c, part[2].s, (size_t)(amp - part[2].s), amp + 1, (size_t)(part[2].s + part[2].len - amp - 1));
	if (d == NULL)
		return 0;
	n = (size_t)snprintf(content, sizeof(content), c->conf.switches.psk_manual ? "%.*s%.*s" : "id%.*stimestamp%.*s",
	                     (int)part[2].len, part[2].s, (int)part[3].len, part[3].s);
	if (n >= sizeof(content))
		return 0;
	n = cw_cloud_hmac_hex(hmac, d->secret, content, n, hex);
	if (n > max)
		return 0;
	for (i = 0; i < n; i++)
		out[i] = hex[i] >= 'a' ? (char)(hex[i] - 'a' + 'A') : hex[i];
	return (unsigned)n;
}
