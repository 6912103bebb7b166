/*
 * sign.h - what the platform wants signed, and the identifiers that go with it.
 * No I/O, no state; any thread.
 *
 * The three signatures differ in one word each: CONNECT signs the client id up to
 * its first '|', a sub-device's login signs its client id whole, and registration
 * signs a random text instead. Time stamps are signed exactly when they are sent.
 */
#ifndef CW_PLATFORM_SIGN_H
#define CW_PLATFORM_SIGN_H

#include <stddef.h>
#include <stdint.h>

#define CW_SIGN_HEX_MAX 65 /* SHA-256 as hexadecimal text with its NUL */
#define CW_CLIENT_ID_MAX 256
#define CW_BASE_CLIENT_ID_MAX 64 /* before the first '|' */

enum cw_sign_method { CW_SIGN_MD5, CW_SIGN_SHA1, CW_SIGN_SHA256 };

/* HMAC of `text` as lower-case hexadecimal text. 0 or CW_EINTERNAL. */
int cw_sign_hmac(enum cw_sign_method method, const char *key, const char *text, char ret_hex[CW_SIGN_HEX_MAX]);

/* How a method is spelled in CONNECT and topology add: hmacmd5, hmacsha1, hmacsha256. */
const char *cw_sign_method_name(enum cw_sign_method method);
/* The inverse, without regard to case. -1 when unknown. */
int cw_sign_method_parse(const char *name, enum cw_sign_method *ret_method);

/* The texts that are signed. CW_ELIMIT when they do not fit. `timestamp` and (sub-device) `client_id` may be NULL: left
 * out. */
int cw_sign_content_device(char *out, size_t size, const char *client_id, const char *device_name,
			   const char *product_key, const char *timestamp);
int cw_sign_content_register(char *out, size_t size, const char *device_name, const char *product_key,
			     const char *random);

/* The three fields of a CONNECT. */
struct cw_sign_connect {
	char client_id[CW_CLIENT_ID_MAX];
	char user[128];
	char password[CW_SIGN_HEX_MAX];
};

/*
 * For a device with a secret. `base` is the base client id; `tls` chooses securemode 2 or 3; `extra` (may be
 * NULL) are further pairs like "ext=1". `secret` NULL: the certificate of the TLS connection is the
 * credential, so the password is empty. CW_EINVAL: base longer than 64 bytes; CW_ELIMIT: names too long.
 */
int cw_sign_connect(struct cw_sign_connect *ret, enum cw_sign_method method, const char *base, const char *product_key,
		    const char *device_name, const char *secret, const char *timestamp, int tls, const char *extra);

/*
 * What any MQTT client needs to log in as a device with a secret. `host` counts before `region`. The time stamp is a
 * constant, for the platform checks no window. CW_EINVAL for texts that are too long or have characters no name has; then nothing
 * is written.
 */
struct cw_sign_client {
	char host[128];
	unsigned port;
	struct cw_sign_connect connect;
};
int cw_sign_client(struct cw_sign_client *ret, const char *region, const char *host, const char *product_key,
		   const char *device_name, const char *secret, int tls);

/* The first CONNECT of a client that has only a certificate; the platform tells it its names afterwards. */
void cw_sign_connect_unknown(struct cw_sign_connect *ret);

/*
 * For a registration: the product's secret signs `random`, not the client id. `no_whitelist`: regnwl instead of register;
 * `instance_id` (may be NULL) goes with it on a purchased instance. Base as above.
 */
int cw_sign_connect_register(struct cw_sign_connect *ret, enum cw_sign_method method, const char *base,
			     const char *product_key, const char *device_name, const char *product_secret, const char *random,
			     int no_whitelist, const char *instance_id);

/* A sub-device in topology add and login: client id `pk&dn`, time stamp as decimal text. */
struct cw_sign_sub {
	char client_id[CW_CLIENT_ID_MAX];
	char timestamp[24];
	char sign[CW_SIGN_HEX_MAX];
};
int cw_sign_sub(struct cw_sign_sub *ret, enum cw_sign_method method, const char *product_key, const char *device_name,
		const char *secret, int64_t utc_ms);

#endif
