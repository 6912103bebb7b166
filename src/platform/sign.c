/* sign.c - see sign.h. */
#include "platform/sign.h"

#include <mbedtls/md.h>
#include <mbedtls/platform_util.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/digits.h"
#include "causeway/error.h"

static const struct {
	const char *name;
	mbedtls_md_type_t md;
} methods[] = {
	[CW_SIGN_MD5] = { "hmacmd5", MBEDTLS_MD_MD5 },
	[CW_SIGN_SHA1] = { "hmacsha1", MBEDTLS_MD_SHA1 },
	[CW_SIGN_SHA256] = { "hmacsha256", MBEDTLS_MD_SHA256 },
};

#define METHODS (sizeof(methods) / sizeof(methods[0]))

int cw_sign_hmac(enum cw_sign_method method, const char *key, const char *text, char ret_hex[CW_SIGN_HEX_MAX])
{
	const mbedtls_md_info_t *md = mbedtls_md_info_from_type(methods[method].md);
	unsigned char mac[MBEDTLS_MD_MAX_SIZE];
	size_t n;

	if (md == NULL || mbedtls_md_hmac(md, (const unsigned char *)key, strlen(key), (const unsigned char *)text,
					  strlen(text), mac) != 0)
		return CW_EINTERNAL;
	n = mbedtls_md_get_size(md);
	cw_hex(ret_hex, cw_bytes_of(mac, n));
	mbedtls_platform_zeroize(mac, sizeof(mac));
	return 0;
}

const char *cw_sign_method_name(enum cw_sign_method method)
{
	return methods[method].name;
}

int cw_sign_method_parse(const char *name, enum cw_sign_method *ret_method)
{
	unsigned i;

	for (i = 0; i < METHODS; i++) {
		if (strcasecmp(methods[i].name, name) == 0) {
			*ret_method = (enum cw_sign_method)i;
			return 0;
		}
	}
	return -1;
}

static int fits(int n, size_t size)
{
	return n >= 0 && (size_t)n < size ? 0 : CW_ELIMIT;
}

int cw_sign_content_device(char *out, size_t size, const char *client_id, const char *device_name,
			   const char *product_key, const char *timestamp)
{
	return fits(snprintf(out, size, "%s%sdeviceName%sproductKey%s%s%s", client_id != NULL ? "clientId" : "",
			     client_id != NULL ? client_id : "", device_name, product_key,
			     timestamp != NULL ? "timestamp" : "", timestamp != NULL ? timestamp : ""),
		    size);
}

int cw_sign_content_register(char *out, size_t size, const char *device_name, const char *product_key,
			     const char *random)
{
	return fits(snprintf(out, size, "deviceName%sproductKey%srandom%s", device_name, product_key, random), size);
}

int cw_sign_connect(struct cw_sign_connect *ret, enum cw_sign_method method, const char *base, const char *product_key,
		    const char *device_name, const char *secret, const char *timestamp, int tls, const char *extra)
{
	char content[640];
	int rc;

	if (strlen(base) > CW_BASE_CLIENT_ID_MAX || strchr(base, '|') != NULL)
		return CW_EINVAL;
	rc = fits(snprintf(ret->client_id, sizeof(ret->client_id), "%s|securemode=%d,signmethod=%s%s%s%s%s|", base,
			   tls ? 2 : 3, cw_sign_method_name(method), timestamp != NULL ? ",timestamp=" : "",
			   timestamp != NULL ? timestamp : "", extra != NULL ? "," : "", extra != NULL ? extra : ""),
		  sizeof(ret->client_id));
	if (rc == 0)
		rc = fits(snprintf(ret->user, sizeof(ret->user), "%s&%s", device_name, product_key), sizeof(ret->user));
	if (rc == 0)
		rc = cw_sign_content_device(content, sizeof(content), base, device_name, product_key, timestamp);
	if (rc < 0)
		return rc;
	ret->password[0] = '\0';
	return secret != NULL ? cw_sign_hmac(method, secret, content, ret->password) : 0;
}

#define FIXED_TIMESTAMP "2524608000000"

/* As the platform bounds them. */
static int text_ok(const char *text, size_t most)
{
	size_t n = strnlen(text, most + 1);

	return n > 0 && n <= most && strpbrk(text, " \t\r\n|&,") == NULL;
}

int cw_sign_client(struct cw_sign_client *ret, const char *region, const char *host, const char *product_key,
		   const char *device_name, const char *secret, int tls)
{
	struct cw_sign_client c = { .port = 1883 };
	char base[CW_BASE_CLIENT_ID_MAX + 1];
	int n;

	if (!text_ok(product_key, 20) || !text_ok(device_name, 32) || !text_ok(secret, 64) ||
	    (host != NULL ? !text_ok(host, sizeof(c.host) - 1) : !text_ok(region, 40)))
		return CW_EINVAL;
	n = host != NULL ? snprintf(c.host, sizeof(c.host), "%s", host)
			 : snprintf(c.host, sizeof(c.host), "%s.iot-as-mqtt.%s.aliyuncs.com", product_key, region);
	if (fits(n, sizeof(c.host)) < 0 ||
	    fits(snprintf(base, sizeof(base), "%s.%s", product_key, device_name), sizeof(base)) < 0 ||
	    cw_sign_connect(&c.connect, CW_SIGN_SHA256, base, product_key, device_name, secret, FIXED_TIMESTAMP, tls,
			    NULL) < 0)
		return CW_EINVAL;
	*ret = c;
	return 0;
}

void cw_sign_connect_unknown(struct cw_sign_connect *ret)
{
	(void)snprintf(ret->client_id, sizeof(ret->client_id), "causeway|securemode=2|");
	(void)snprintf(ret->user, sizeof(ret->user), "&");
	ret->password[0] = '\0';
}

int cw_sign_connect_register(struct cw_sign_connect *ret, enum cw_sign_method method, const char *base,
			     const char *product_key, const char *device_name, const char *product_secret, const char *random,
			     int no_whitelist, const char *instance_id)
{
	char content[640];
	int rc;

	if (strlen(base) > CW_BASE_CLIENT_ID_MAX || strchr(base, '|') != NULL)
		return CW_EINVAL;
	rc = fits(snprintf(ret->client_id, sizeof(ret->client_id), "%s|securemode=%d,authType=%s,random=%s,signmethod=%s%s%s|",
			   base, no_whitelist ? -2 : 2, no_whitelist ? "regnwl" : "register", random,
			   cw_sign_method_name(method), instance_id != NULL ? ",instanceId=" : "",
			   instance_id != NULL ? instance_id : ""),
		  sizeof(ret->client_id));
	if (rc == 0)
		rc = fits(snprintf(ret->user, sizeof(ret->user), "%s&%s", device_name, product_key), sizeof(ret->user));
	if (rc == 0)
		rc = cw_sign_content_register(content, sizeof(content), device_name, product_key, random);
	return rc < 0 ? rc : cw_sign_hmac(method, product_secret, content, ret->password);
}

int cw_sign_sub(struct cw_sign_sub *ret, enum cw_sign_method method, const char *product_key, const char *device_name,
		const char *secret, int64_t utc_ms)
{
	char content[640];
	int rc;

	(void)snprintf(ret->timestamp, sizeof(ret->timestamp), "%lld", (long long)utc_ms);
	rc = fits(snprintf(ret->client_id, sizeof(ret->client_id), "%s&%s", product_key, device_name),
		  sizeof(ret->client_id));
	if (rc == 0)
		rc = cw_sign_content_device(content, sizeof(content), ret->client_id, device_name, product_key,
					    ret->timestamp);
	return rc < 0 ? rc : cw_sign_hmac(method, secret, content, ret->sign);
}
