/* Batches of devices, their files, and the certificates of X.509 products. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cloud/core/save.h"
#include "cloud/core/stock/batch.h"
#include "cloud/core/stock/stock.h"
#include "cloud/core/stock/tar.h"
#include "cloud/core/stock/x509.h"

#define PK "a1EmuPk0001"
#define PS "EmuPs0123456789A"

static struct cw_worker *worker;
static struct cw_cloud *cloud;

#include "alloc_sweep.h"
static struct cloud_product *product, *certified;

static int setup(void **state)
{
	struct cloud_conf conf;

	cw_log_set_level(CW_LOG_ERROR);
	cw_cloud_conf_default(&conf);
	conf.limits.batch_ms = 0;
	if (cw_worker_new("t", 0, &worker) < 0 || cw_cloud_new(worker, &conf, &cloud) < 0 ||
	    cw_cloud_product_add(cloud, PK, PS, CLOUD_NODE_DEVICE, &product, NULL) < 0 ||
	    cw_cloud_product_add(cloud, "a1EmuX50901", NULL, CLOUD_NODE_DEVICE, &certified, NULL) < 0)
		return -1;
	certified->x509 = 1;
	(void)snprintf(cloud->download_url, sizeof(cloud->download_url), "https://127.0.0.1:1");
	return 0;
}

static int teardown(void **state)
{
	cw_mem_fail_at(-1);
	cw_cloud_free(cloud);
	cw_worker_free(worker);
	return cw_mem_live() == 0 ? 0 : -1;
}

/* Run the loop until the batch has left what it was ordered for. A pass that waits could wait for ever behind the last timer. */
static enum cloud_batch_state settled(const struct cloud_batch *b)
{
	while (b->state == CLOUD_BATCH_CHECK || b->state == CLOUD_BATCH_CREATE) {
		if (uv_run(cw_worker_loop(worker), UV_RUN_NOWAIT) != 0)
			uv_sleep(1);
	}
	return b->state;
}

static size_t size_and_free(json_t *list)
{
	size_t n = json_array_size(list);

	json_decref(list);
	return n;
}

/* ---- orders ---- */

static void made_up_names_become_devices(void **state)
{
	struct cloud_batch *b = NULL;
	struct cw_msg msg = { "" };
	unsigned total = 0;
	json_t *page;

	assert_int_equal(cw_cloud_batch_generate(cloud, product, 0, &b, &msg), CW_ELIMIT);
	assert_int_equal(cw_cloud_batch_generate(cloud, product, 1001, &b, &msg), CW_ELIMIT);
	assert_int_equal(cw_cloud_batch_generate(cloud, product, 10, &b, &msg), 0);
	assert_int_equal(b->id, 1000000);
	assert_int_equal(b->state, CLOUD_BATCH_CREATE); /* not inside the call */
	assert_int_equal(product->device_count, 0);
	assert_int_equal(cw_cloud_batch_create(cloud, b, &msg), CW_EBUSY);
	assert_int_equal(settled(b), CLOUD_BATCH_CREATE_SUCCESS);
	assert_int_equal(product->device_count, 10);
	page = cw_cloud_batch_members(cloud, b, 8, 5, &total);
	assert_int_equal(total, 10);
	assert_int_equal(json_array_size(page), 2);
	assert_int_equal(strlen(json_string_value(json_object_get(json_array_get(page, 0), "deviceName"))), 20);
	assert_int_equal(strlen(json_string_value(json_object_get(json_array_get(page, 0), "deviceSecret"))), 32);
	json_decref(page);
	assert_int_equal(cw_cloud_batch_create(cloud, b, &msg), CW_EREFUSED);
	assert_ptr_equal(cw_cloud_batch_find(cloud, 1000000), b);
	assert_null(cw_cloud_batch_find(cloud, 1000001));
	assert_int_equal(size_and_free(cw_cloud_batch_list(cloud, product)), 1);
	assert_int_equal(size_and_free(cw_cloud_batch_list(cloud, certified)), 0);
}

static void checked_names_are_created_by_a_second_order(void **state)
{
	static const char *const names[] = { "dev-0001", "dev-0002" }, *const nicknames[] = { "nick_1", NULL };
	struct cloud_batch *b = NULL;
	struct cw_msg msg = { "" };
	struct cloud_device *d;

	assert_int_equal(cw_cloud_batch_check(cloud, product, names, nicknames, 2, &b, NULL, &msg), 0);
	assert_int_equal(b->state, CLOUD_BATCH_CHECK);
	assert_int_equal(cw_cloud_batch_create(cloud, b, &msg), CW_EBUSY);
	assert_int_equal(settled(b), CLOUD_BATCH_CHECK_SUCCESS);
	assert_int_equal(product->device_count, 0);
	assert_int_equal(cw_cloud_batch_create(cloud, b, &msg), 0);
	assert_int_equal(settled(b), CLOUD_BATCH_CREATE_SUCCESS);
	assert_int_equal(size_and_free(cw_cloud_batch_names(b, 1)), 0); /* lists are for failures */
	d = cw_cloud_device_find(cloud, PK, strlen(PK), "dev-0001", 8);
	assert_string_equal(d->nickname, "nick_1");
	/* One that was deleted and made anew is no member any more: its secret is not the batch's to tell. */
	cw_cloud_device_delete(cloud, d);
	assert_int_equal(cw_cloud_device_add(cloud, product, "dev-0001", NULL, &d, NULL), 0);
	assert_null(cw_cloud_batch_device(cloud, b, &b->member[0]));
}

static void malformed_names_are_listed_at_once(void **state)
{
	static const char *const names[] = { "dev-0001", "APT$", "aw", "\xff\xff\xff\xff" };
	static const char *const nicknames[] = { "a-b-c", NULL, "", "good_1" };
	struct cloud_batch *b = NULL;
	struct cw_msg msg = { "" };
	json_t *bad = NULL;
	char *shown;

	assert_int_equal(cw_cloud_batch_check(cloud, product, names, nicknames, 4, &b, &bad, &msg), CW_EINVAL);
	shown = json_dumps(bad, JSON_COMPACT);
	assert_string_equal(shown, "{\"names\":[\"APT$\",\"aw\",\"(not UTF-8)\"],\"nicknames\":[\"a-b-c\"]}");
	free(shown);
	json_decref(bad);
	assert_true(cw_list_empty(&cloud->batches));
	assert_int_equal(cw_cloud_batch_check(cloud, product, names, NULL, 0, &b, NULL, &msg), CW_ELIMIT);
}

static void taken_names_fail_the_check(void **state)
{
	static const char *const names[] = { "dev-0001", "dev-0002", "dev-0003", "dev-0002" };
	struct cloud_batch *b = NULL;
	struct cloud_device *d = NULL;
	struct cw_msg msg = { "" };
	char *shown;
	json_t *list;

	assert_int_equal(cw_cloud_device_add(cloud, product, "dev-0001", NULL, &d, NULL), 0);
	assert_int_equal(cw_cloud_batch_check(cloud, product, names, NULL, 4, &b, NULL, &msg), 0);
	assert_int_equal(settled(b), CLOUD_BATCH_CHECK_FAILED);
	list = cw_cloud_batch_names(b, 0);
	shown = json_dumps(list, JSON_COMPACT);
	assert_string_equal(shown, "[\"dev-0001\",\"dev-0002\"]");
	free(shown);
	json_decref(list);
	assert_int_equal(size_and_free(cw_cloud_batch_names(b, 1)), 2);
	assert_int_equal(cw_cloud_batch_create(cloud, b, &msg), CW_EREFUSED);
}

static void a_name_taken_meanwhile_fails_the_creation(void **state)
{
	static const char *const names[] = { "dev-0001", "dev-0002" };
	struct cloud_batch *b = NULL;
	struct cloud_device *d = NULL;

	assert_int_equal(cw_cloud_batch_check(cloud, product, names, NULL, 2, &b, NULL, NULL), 0);
	assert_int_equal(settled(b), CLOUD_BATCH_CHECK_SUCCESS);
	assert_int_equal(cw_cloud_device_add(cloud, product, "dev-0002", NULL, &d, NULL), 0);
	assert_int_equal(cw_cloud_batch_create(cloud, b, NULL), 0);
	assert_int_equal(settled(b), CLOUD_BATCH_CREATE_FAILED);
	assert_int_equal(product->device_count, 1);
	cloud->conf.limits.devices_per_product = 2;
	assert_int_equal(cw_cloud_batch_generate(cloud, product, 3, &b, NULL), 0);
	assert_int_equal(settled(b), CLOUD_BATCH_CREATE_FAILED);
	assert_int_equal(product->device_count, 2);
}

static void so_many_batches_are_known(void **state)
{
	struct cloud_batch *b = NULL, *last = NULL;
	unsigned i;

	for (i = 0; i < CLOUD_BATCHES_MAX; i++)
		assert_int_equal(cw_cloud_batch_generate(cloud, product, 1, &b, NULL), 0);
	assert_int_equal(cw_cloud_batch_generate(cloud, product, 1, &last, NULL), CW_EBUSY);
	assert_int_equal(settled(b), CLOUD_BATCH_CREATE_SUCCESS);
	assert_int_equal(cw_cloud_batch_generate(cloud, product, 1, &last, NULL), 0);
	assert_null(cw_cloud_batch_find(cloud, 1000000));
	assert_ptr_equal(cw_cloud_batch_find(cloud, 1000001 + CLOUD_BATCHES_MAX - 1), last);
}

/* ---- files ---- */

static int upload(const char *text, struct cloud_batch **ret_batch, json_t **ret_bad, struct cw_msg *msg)
{
	return cw_cloud_batch_upload(cloud, product, text, strlen(text), ret_batch, ret_bad, msg);
}

static void a_file_of_names_becomes_devices(void **state)
{
	struct cloud_batch *b = NULL;
	struct cw_msg msg = { "" };
	char *csv = NULL, want[256];
	size_t len = 0;

	assert_int_equal(upload("\xef\xbb\xbf" "DeviceName,Nickname\r\ndev-0001, nick_1 \r\n\r\n\"dev-0002\",\r\ndev-0003", &b, NULL, &msg), 0);
	assert_int_equal(cw_cloud_batch_csv(cloud, b, 0, &csv, &len, &msg), CW_EBUSY);
	assert_int_equal(settled(b), CLOUD_BATCH_CREATE_SUCCESS);
	assert_string_equal(cw_cloud_device_find(cloud, PK, strlen(PK), "dev-0001", 8)->nickname, "nick_1");
	cw_cloud_device_delete(cloud, cw_cloud_device_find(cloud, PK, strlen(PK), "dev-0001", 8));
	cw_cloud_device_delete(cloud, cw_cloud_device_find(cloud, PK, strlen(PK), "dev-0003", 8));
	assert_int_equal(cw_cloud_batch_csv(cloud, b, 1, &csv, &len, &msg), 0);
	(void)snprintf(want, sizeof(want), "DeviceName,DeviceSecret,ProductKey,ProductSecret\r\ndev-0002,%s," PK "," PS "\r\n",
	               cw_cloud_device_find(cloud, PK, strlen(PK), "dev-0002", 8)->secret);
	assert_int_equal(len, strlen(want));
	assert_memory_equal(csv, want, len);
	cw_free(csv);
}

static void illegal_lines_are_listed_and_nothing_is_created(void **state)
{
	struct cloud_batch *b = NULL;
	struct cloud_device *d = NULL;
	struct cw_msg msg = { "" };
	json_t *bad = NULL, *one;
	static const int lines[] = { 3, 4, 5, 6, 7, 8 };
	size_t i;

	assert_int_equal(cw_cloud_device_add(cloud, product, "old-0001", NULL, &d, NULL), 0);
	assert_int_equal(upload("DeviceName,Nickname\ndev-0001,\nab,\ndev-0002,a b\ndev-0001,\nold-0001,\ndev-0003,nick,more\n\"dev\n", &b,
	                        &bad, &msg), CW_EINVAL);
	assert_int_equal(json_array_size(bad), 6);
	for (i = 0; i < 6; i++)
		assert_int_equal(json_integer_value(json_object_get(json_array_get(bad, i), "line")), lines[i]);
	one = json_array_get(bad, 0);
	assert_string_equal(json_string_value(json_object_get(one, "deviceName")), "ab");
	assert_non_null(strstr(json_string_value(json_object_get(one, "problem")), "too short"));
	json_decref(bad);
	assert_int_equal(product->device_count, 1);
	assert_true(cw_list_empty(&cloud->batches));
}

static void a_file_is_within_its_limits(void **state)
{
	struct cloud_batch *b = NULL;
	struct cw_msg msg = { "" };
	json_t *bad = NULL;
	char *text = cw_zalloc(CLOUD_BATCH_FILE + 2), *at = text;
	unsigned i;

	at += sprintf(at, "DeviceName\n");
	for (i = 0; i < 1000; i++)
		at += sprintf(at, "dev-%06u\n", i);
	assert_int_equal(upload(text, &b, &bad, &msg), 0);
	(void)sprintf(at, "dev-%06u\n", i);
	assert_int_equal(upload(text, &b, &bad, &msg), CW_ELIMIT);
	assert_int_equal(upload("DeviceName,Nickname\n", &b, &bad, &msg), CW_ELIMIT);
	assert_null(bad);
	assert_int_equal(upload("", &b, &bad, &msg), CW_EINVAL);
	json_decref(bad);
	assert_int_equal(upload("Name,Nick\ndev-0001,\n", &b, &bad, &msg), CW_EINVAL);
	json_decref(bad);
	memset(text, '\n', CLOUD_BATCH_FILE + 1);
	assert_int_equal(upload(text, &b, &bad, &msg), CW_ELIMIT);
	cw_free(text);
}

/* ---- certificates ---- */

static X509 *read_cert(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);

	BIO_free(bio);
	return cert;
}

static void a_device_has_one_certificate_signed_by_the_authority(void **state)
{
	const struct cloud_cert *cert = NULL, *again = NULL;
	struct cloud_device *d = NULL, *plain = NULL;
	struct cw_msg msg = { "" };
	uint8_t fingerprint[32];
	unsigned len = 32;
	X509 *ca, *leaf;
	EVP_PKEY *key;
	BIO *bio;

	assert_int_equal(cw_cloud_device_add(cloud, certified, "dev-0001", NULL, &d, NULL), 0);
	assert_int_equal(cw_cloud_device_add(cloud, product, "dev-0001", NULL, &plain, NULL), 0);
	assert_int_equal(cw_cloud_x509_issue(cloud, plain, &cert, &msg), CW_EINVAL);
	assert_int_equal(cw_cloud_x509_issue(cloud, d, &cert, &msg), 0);
	assert_int_equal(cw_cloud_x509_issue(cloud, d, &again, &msg), 0);
	assert_ptr_equal(cert, again);
	ca = read_cert(cw_cloud_x509_ca(cloud, &msg));
	leaf = read_cert(cert->cert_pem);
	assert_int_equal(X509_verify(leaf, X509_get0_pubkey(ca)), 1);
	bio = BIO_new_mem_buf(cert->key_pem, -1);
	key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	BIO_free(bio);
	assert_int_equal(X509_check_private_key(leaf, key), 1);
	assert_int_equal(EVP_PKEY_get_id(key), EVP_PKEY_RSA);
	assert_non_null(strstr(cert->key_pem, "BEGIN RSA PRIVATE KEY"));
	assert_int_equal(X509_digest(leaf, EVP_sha256(), fingerprint, &len), 1);
	assert_ptr_equal(cw_cloud_x509_find(cloud, fingerprint), d);
	cw_cloud_device_delete(cloud, d);
	assert_null(cw_cloud_x509_find(cloud, fingerprint));
	fingerprint[0] ^= 1;
	assert_null(cw_cloud_x509_find(cloud, fingerprint));
	EVP_PKEY_free(key);
	X509_free(leaf);
	X509_free(ca);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static void authority_and_certificates_survive_a_restart(void **state)
{
	char dir[] = "/tmp/cw-x509-XXXXXX", file[64], *ca;
	const struct cloud_cert *cert = NULL;
	struct cloud_device *d = NULL;
	struct cw_msg msg = { "" };
	uint8_t fingerprint[32];
	struct stat st;
	json_t *saved;
	FILE *f;

	assert_non_null(mkdtemp(dir));
	(void)snprintf(file, sizeof(file), "%s/device-ca.pem", dir);
	assert_int_equal(cw_cloud_x509_open(cloud, dir, &msg), 0);
	assert_int_equal(cw_cloud_device_add(cloud, certified, "dev-0001", NULL, &d, NULL), 0);
	assert_int_equal(cw_cloud_x509_issue(cloud, d, &cert, &msg), 0);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	ca = cw_strdup(cw_cloud_x509_ca(cloud, &msg));
	memcpy(fingerprint, cert->fingerprint, 32);
	saved = cw_cloud_device_save(cloud, d);
	cw_cloud_device_delete(cloud, d);
	cw_cloud_x509_close(cloud);
	assert_int_equal(cw_cloud_x509_open(cloud, dir, &msg), 0);
	assert_string_equal(cw_cloud_x509_ca(cloud, &msg), ca);
	assert_int_equal(cw_cloud_device_load(cloud, saved, &msg), 0);
	d = cw_cloud_x509_find(cloud, fingerprint);
	assert_non_null(d);
	assert_int_equal(cw_cloud_x509_issue(cloud, d, &cert, &msg), 0);
	assert_memory_equal(cert->fingerprint, fingerprint, 32);
	json_decref(saved);
	cw_free(ca);
	/* A file that is damaged is said so, not replaced. */
	cw_cloud_device_delete(cloud, d);
	cw_cloud_x509_close(cloud);
	f = fopen(file, "w");
	assert_non_null(f);
	(void)fputs("nothing", f);
	(void)fclose(f);
	assert_int_equal(cw_cloud_x509_open(cloud, dir, &msg), CW_ECONF);
	assert_non_null(strstr(msg.text, file));
	(void)nftw(dir, remove_one, 4, FTW_DEPTH | FTW_PHYS);
}

/* What tar makes of the archive: names and contents, each ended by a line. */
static void untar(const struct cloud_blob *blob, char *out, size_t size)
{
	char path[] = "/tmp/cw-tar-XXXXXX", command[128];
	int fd = mkstemp(path);
	FILE *p;
	size_t n;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, blob->data, blob->len), blob->len);
	(void)close(fd);
	(void)snprintf(command, sizeof(command), "tar tf %s && tar xOf %s", path, path);
	p = popen(command, "r");
	assert_non_null(p);
	n = fread(out, 1, size - 1, p);
	out[n] = '\0';
	assert_int_equal(pclose(p), 0);
	(void)unlink(path);
}

static void a_batch_of_certificates_is_a_package_behind_a_link(void **state)
{
	static const char *const names[] = { "dev-0001", "dev-0002", "dev-0003" };
	struct cloud_batch *b = NULL;
	struct cw_msg msg = { "" };
	char *csv = NULL, path[CLOUD_URL_MAX], listing[16384], expires[32], key_id[64], sign[128], *query;
	struct cloud_file_ask ask = { .path = path, .expires = expires, .key_id = key_id, .signature = sign };
	const struct cloud_blob *blob;
	const char *code = NULL;
	unsigned status = 0;
	size_t len = 0;

	assert_int_equal(cw_cloud_batch_check(cloud, certified, names, NULL, 3, &b, NULL, &msg), 0);
	assert_int_equal(settled(b), CLOUD_BATCH_CHECK_SUCCESS);
	assert_int_equal(cw_cloud_batch_create(cloud, b, &msg), 0);
	assert_int_equal(settled(b), CLOUD_BATCH_CREATE_SUCCESS);
	assert_non_null(cw_cloud_device_find(cloud, certified->key, 11, "dev-0002", 8)->cert);
	cw_cloud_device_delete(cloud, cw_cloud_device_find(cloud, certified->key, 11, "dev-0003", 8));
	assert_int_equal(cw_cloud_batch_csv(cloud, b, 0, &csv, &len, &msg), 0);
	assert_int_equal(strncmp(csv, "DeviceName,ProductKey,CertUrl\r\ndev-0001,a1EmuX50901,https://127.0.0.1:1/files/", 75), 0);
	cw_free(csv);
	/* The parts of the link as a listener would hand them in. */
	(void)snprintf(path, sizeof(path), "%s", b->url + strlen(cloud->download_url));
	query = strchr(path, '?');
	assert_non_null(query);
	*query++ = '\0';
	{
		char *at = strtok(query, "&");

		for (; at != NULL; at = strtok(NULL, "&")) {
			char *value = strchr(at, '=') + 1, *to = at[0] == 'E' ? expires : at[0] == 'O' ? key_id : sign;

			while (*value != '\0') {
				unsigned c;

				if (*value == '%' && sscanf(value + 1, "%2x", &c) == 1) {
					*to++ = (char)c;
					value += 3;
				} else {
					*to++ = *value++;
				}
			}
			*to = '\0';
		}
	}
	blob = cw_cloud_find_file(cloud, &ask, &status, &code);
	assert_non_null(blob);
	untar(blob, listing, sizeof(listing));
	assert_int_equal(strncmp(listing, "dev-0001.crt\ndev-0001.key\ndev-0002.crt\ndev-0002.key\nfailed.txt\n", 63), 0);
	assert_non_null(strstr(listing, "BEGIN CERTIFICATE"));
	assert_non_null(strstr(listing, "dev-0003,the device was deleted\n"));
	cw_cloud_skip(cloud, 31ull * 24 * 3600 * 1000);
	assert_null(cw_cloud_find_file(cloud, &ask, &status, &code));
	assert_int_equal(status, 403);
}

/* ---- memory ---- */

static int a_life(void)
{
	static const char file[] = "DeviceName,Nickname\ndev-0001,nick_1\n";
	struct cloud_product *p = NULL;
	struct cloud_batch *b = NULL;
	struct cw_msg msg = { "" };
	json_t *bad = NULL;
	char *csv = NULL;
	size_t len = 0;
	int rc = cw_cloud_product_add(cloud, PK, PS, CLOUD_NODE_DEVICE, &p, &msg);

	if (rc == 0)
		rc = cw_cloud_batch_upload(cloud, p, file, sizeof(file) - 1, &b, &bad, &msg);
	if (rc == 0 && settled(b) != CLOUD_BATCH_CREATE_SUCCESS)
		rc = CW_ENOMEM;
	if (rc == 0) {
		p->x509 = 1; /* a package without certificates, for the sake of its memory */
		rc = cw_cloud_batch_csv(cloud, b, 0, &csv, &len, &msg);
		cw_free(csv);
	}
	json_decref(bad);
	assert_true(rc == 0 || rc == CW_ENOMEM);
	return rc == 0;
}

static void every_failed_allocation_is_survived(void **state)
{
	struct cloud_conf conf;

	cw_cloud_conf_default(&conf);
	conf.limits.batch_ms = 0;
	sweep_allocations(&conf, a_life);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(made_up_names_become_devices, setup, teardown),
		cmocka_unit_test_setup_teardown(checked_names_are_created_by_a_second_order, setup, teardown),
		cmocka_unit_test_setup_teardown(malformed_names_are_listed_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(taken_names_fail_the_check, setup, teardown),
		cmocka_unit_test_setup_teardown(a_name_taken_meanwhile_fails_the_creation, setup, teardown),
		cmocka_unit_test_setup_teardown(so_many_batches_are_known, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_of_names_becomes_devices, setup, teardown),
		cmocka_unit_test_setup_teardown(illegal_lines_are_listed_and_nothing_is_created, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_is_within_its_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(a_device_has_one_certificate_signed_by_the_authority, setup, teardown),
		cmocka_unit_test_setup_teardown(authority_and_certificates_survive_a_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(a_batch_of_certificates_is_a_package_behind_a_link, setup, teardown),
		cmocka_unit_test_setup_teardown(every_failed_allocation_is_survived, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
