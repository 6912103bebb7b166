/*
 * x509.h - certificates of devices: the platform's authority, and what it issued.
 *
 * A device of an X.509 product has one certificate with its key, made at the first need and the same from then on.
 * A channel that saw a client prove the key of a certificate asks cw_cloud_x509_find() whose it is: a fingerprint
 * that is known was issued here and is in force, so a chain need not be checked besides. The authority's own
 * certificate is for those who want to.
 *
 * Keys are RSA 2048: device SDKs of the time are built without elliptic curves (they offer RSA key exchange only)
 * and could not read anything else. One takes some 100 ms to make, so whoever needs many lets them be made on
 * libuv's pool: cw_cloud_x509_prepare() again and again, and issues when it says that a key lies ready. All else
 * is on the loop's thread.
 */
#ifndef CW_CLOUD_X509_H
#define CW_CLOUD_X509_H

#include "cloud/core/cloud.h"

struct cloud_cert {
	struct cw_map_node node; /* by fingerprint */
	uint8_t fingerprint[32]; /* SHA-256 of the certificate's DER */
	struct cloud_device *device;
	char *cert_pem, *key_pem; /* never logged */
	char serial[24];          /* decimal */
	int status;               /* 1: in force */
};

/*
 * Use the authority kept in `dir`, or one to be made at the first need and kept there (device-ca.pem, certificate
 * and key); NULL: made anew in every run. Call once, before the first certificate. A file that cannot be read is
 * an error.
 */
int cw_cloud_x509_open(struct cw_cloud *c, const char *dir, struct cw_msg *msg);
/* The authority's certificate, PEM; made now if need be. NULL with a sentence. */
const char *cw_cloud_x509_ca(struct cw_cloud *c, struct cw_msg *msg);
/* The device's certificate, made if there is none yet. CW_EINVAL when its product is not of that kind. */
int cw_cloud_x509_issue(struct cw_cloud *c, struct cloud_device *d, const struct cloud_cert **ret_cert, struct cw_msg *msg);
/* Have a key made in the background. 1: one lies ready, 0: one is on the way, or CW_ENOMEM. */
int cw_cloud_x509_prepare(struct cw_cloud *c);
/* Whose certificate is it? NULL: none that was issued here, or no longer in force. */
struct cloud_device *cw_cloud_x509_find(struct cw_cloud *c, const uint8_t fingerprint[32]);
/* What survives a restart, for save.c. CW_EINVAL: not a certificate with its key. */
json_t *cw_cloud_x509_save(struct cw_cloud *c, const struct cloud_device *d);
int cw_cloud_x509_load(struct cw_cloud *c, struct cloud_device *d, const json_t *j);
/* The device goes, and so does its certificate. */
void cw_cloud_x509_drop(struct cw_cloud *c, struct cloud_device *d);
/* At the end, when no device is left. */
void cw_cloud_x509_close(struct cw_cloud *c);

#endif
