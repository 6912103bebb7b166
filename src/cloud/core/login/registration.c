/* registration.c - a pre-registered device fetches its secret with its product's; see cloud.h. */
#include <stdio.h>
#include <string.h>

#include "cloud/core/cloud.h"
#include "cloud/core/login/sign.h"

static int sign_fits(const struct cloud_registration *r, const char *secret, enum cloud_hmac method)
{
	char content[512];
	int n = snprintf(content, sizeof(content), "deviceName%.*sproductKey%.*srandom%.*s", (int)r->dn.len, r->dn.s,
	                 (int)r->pk.len, r->pk.s, (int)r->random.len, r->random.s);

	return n > 0 && (size_t)n < sizeof(content) &&
	       cw_cloud_hmac_matches(method, secret, content, (size_t)n, r->sign.s, r->sign.len);
}

int cw_cloud_registration_check(struct cw_cloud *c, const struct cloud_registration *r, struct cloud_product **ret_product)
{
	struct cloud_product *p;
	enum cloud_hmac method;

	if (r->pk.len == 0 || r->dn.len == 0 || r->random.len == 0)
		return 460;
	if (cw_cloud_hmac_parse(r->method.s, r->method.len, &method) < 0)
		return 6292;
	p = cw_cloud_product_find(c, r->pk.s, r->pk.len);
	if (p == NULL)
		return 6250;
	if (!sign_fits(r, p->secret, method))
		return 6600;
	/* Devices with certificates have no secret to fetch, whatever the switch says. */
	if (!p->registration || p->x509)
		return 6288;
	*ret_product = p;
	return 200;
}

const char *cw_cloud_registration_text(int code)
{
	switch (code) {
	case 429: return "the name has five ClientIDs already, or the product is full";
	case 460: return "productKey, deviceName or random is missing, the instanceId is another, or the product is of sub-devices";
	default: return cw_cloud_code_text(code);
	}
}

int cw_cloud_register(struct cw_cloud *c, const struct cloud_registration *r, struct cloud_device **ret_device)
{
	struct cloud_product *p;
	struct cloud_device *d;
	int code = cw_cloud_registration_check(c, r, &p);

	if (code != 200)
		return code;
	d = cw_cloud_device_find(c, r->pk.s, r->pk.len, r->dn.s, r->dn.len);
	if (d == NULL)
		return 6100;
	if (d->disabled)
		return 6204;
	if (d->active_ms != 0 && !c->conf.switches.allow_reregister)
		return 6289;
	*ret_device = d;
	c->stats.registrations++;
	return 200;
}
