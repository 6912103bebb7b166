/*
 * certs.h - certificates made by a test for itself: P-256, in a directory of their
 * own that certs_fini() removes. `certs_make(&c, "server", "CN=localhost", "ca", 0)`
 * writes server.pem and server.key, signed by ca.pem and ca.key.
 */
#ifndef CW_TEST_CERTS_H
#define CW_TEST_CERTS_H

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/ecp.h>
#include <mbedtls/entropy.h>
#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct certs {
	char dir[64];
	char files[32][128];
	int count, serial;
	mbedtls_entropy_context entropy;
	mbedtls_ctr_drbg_context random;
};

static inline void certs_init(struct certs *c)
{
	memset(c, 0, sizeof(*c));
	(void)snprintf(c->dir, sizeof(c->dir), "/tmp/cw-certs-XXXXXX");
	assert_non_null(mkdtemp(c->dir));
	mbedtls_entropy_init(&c->entropy);
	mbedtls_ctr_drbg_init(&c->random);
	assert_int_equal(mbedtls_ctr_drbg_seed(&c->random, mbedtls_entropy_func, &c->entropy, NULL, 0), 0);
}

/* The path of a file there; lent. */
static inline const char *certs_path(struct certs *c, const char *name)
{
	char path[128];
	int i;

	(void)snprintf(path, sizeof(path), "%s/%s", c->dir, name);
	for (i = 0; i < c->count; i++)
		if (strcmp(c->files[i], path) == 0)
			return c->files[i];
	assert_true(c->count < 32);
	memcpy(c->files[c->count], path, sizeof(path));
	return c->files[c->count++];
}

static inline void certs_write(struct certs *c, const char *name, const char *text)
{
	FILE *f = fopen(certs_path(c, name), "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
}

static inline const char *certs_name(char out[64], const char *name, const char *suffix)
{
	(void)snprintf(out, 64, "%s.%s", name, suffix);
	return out;
}

static inline void certs_sign(struct certs *c, const char *name, const char *subject, const char *issuer, int is_ca,
                              const char *until, mbedtls_pk_context *key)
{
	mbedtls_x509write_cert w;
	mbedtls_x509_crt issuer_crt;
	mbedtls_pk_context issuer_key;
	char file[64], issuer_name[256] = "";
	unsigned char pem[4096];
	mbedtls_mpi serial;

	mbedtls_x509write_crt_init(&w);
	mbedtls_x509_crt_init(&issuer_crt);
	mbedtls_pk_init(&issuer_key);
	mbedtls_mpi_init(&serial);
	(void)snprintf(issuer_name, sizeof(issuer_name), "%s", subject);
	if (issuer != NULL) {
		assert_int_equal(mbedtls_x509_crt_parse_file(&issuer_crt, certs_path(c, certs_name(file, issuer, "pem"))), 0);
		assert_int_equal(mbedtls_pk_parse_keyfile(&issuer_key, certs_path(c, certs_name(file, issuer, "key")), NULL), 0);
		assert_true(mbedtls_x509_dn_gets(issuer_name, sizeof(issuer_name), &issuer_crt.subject) > 0);
	}
	assert_int_equal(mbedtls_mpi_lset(&serial, ++c->serial), 0);
	mbedtls_x509write_crt_set_version(&w, MBEDTLS_X509_CRT_VERSION_3);
	mbedtls_x509write_crt_set_md_alg(&w, MBEDTLS_MD_SHA256);
	mbedtls_x509write_crt_set_subject_key(&w, key);
	mbedtls_x509write_crt_set_issuer_key(&w, issuer != NULL ? &issuer_key : key);
	assert_int_equal(mbedtls_x509write_crt_set_subject_name(&w, subject), 0);
	assert_int_equal(mbedtls_x509write_crt_set_issuer_name(&w, issuer_name), 0);
	assert_int_equal(mbedtls_x509write_crt_set_serial(&w, &serial), 0);
	assert_int_equal(mbedtls_x509write_crt_set_validity(&w, "20200101000000", until), 0);
	assert_int_equal(mbedtls_x509write_crt_set_basic_constraints(&w, is_ca, -1), 0);
	assert_int_equal(mbedtls_x509write_crt_pem(&w, pem, sizeof(pem), mbedtls_ctr_drbg_random, &c->random), 0);
	certs_write(c, certs_name(file, name, "pem"), (const char *)pem);
	mbedtls_mpi_free(&serial);
	mbedtls_pk_free(&issuer_key);
	mbedtls_x509_crt_free(&issuer_crt);
	mbedtls_x509write_crt_free(&w);
}

static inline void certs_make_until(struct certs *c, const char *name, const char *subject, const char *issuer, int is_ca,
                                    const char *until)
{
	mbedtls_pk_context key;
	unsigned char pem[4096];
	char file[64];

	mbedtls_pk_init(&key);
	assert_int_equal(mbedtls_pk_setup(&key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)), 0);
	assert_int_equal(mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(key), mbedtls_ctr_drbg_random, &c->random), 0);
	assert_int_equal(mbedtls_pk_write_key_pem(&key, pem, sizeof(pem)), 0);
	certs_write(c, certs_name(file, name, "key"), (const char *)pem);
	certs_sign(c, name, subject, issuer, is_ca, until, &key);
	mbedtls_pk_free(&key);
}

static inline void certs_make(struct certs *c, const char *name, const char *subject, const char *issuer, int is_ca)
{
	certs_make_until(c, name, subject, issuer, is_ca, "20491231235959");
}

static inline void certs_fini(struct certs *c)
{
	while (c->count > 0)
		(void)unlink(c->files[--c->count]);
	(void)rmdir(c->dir);
	mbedtls_ctr_drbg_free(&c->random);
	mbedtls_entropy_free(&c->entropy);
}

#endif
