/* batch_file.c - names of a batch from a file, its certificates as one; see batch.h. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/csv.h"
#include "base/mem.h"
#include "cloud/core/stock/batch.h"
#include "cloud/core/stock/naming.h"
#include "cloud/core/stock/stock.h"
#include "cloud/core/stock/tar.h"
#include "cloud/core/stock/x509.h"

#define PACKAGE_MS  (30ull * 24 * 3600 * 1000)
#define FAILED_LINE 128u /* a name and a reason are shorter */

/* ---- names from a file ---- */

struct upload {
	struct cw_cloud *cloud;
	struct cloud_product *product;
	size_t count;
	char *dn[CLOUD_BATCH_DEVICES], *nickname[CLOUD_BATCH_DEVICES];
	json_t *bad;
};

static void upload_free(struct upload *u)
{
	size_t i;

	if (u == NULL)
		return;
	for (i = 0; i < u->count; i++) {
		cw_free(u->dn[i]);
		cw_free(u->nickname[i]);
	}
	json_decref(u->bad);
	cw_free(u);
}

static void list_line(struct upload *u, unsigned line, const char *dn, const char *nickname, const char *problem)
{
	json_t *entry = json_pack("{s:I, s:s}", "line", (json_int_t)line, "problem", problem);

	/* A text that is not UTF-8 is left out: the number of the line must do. */
	if (dn != NULL)
		(void)json_object_set_new(entry, "deviceName", json_string(dn));
	if (nickname != NULL && nickname[0] != '\0')
		(void)json_object_set_new(entry, "nickname", json_string(nickname));
	json_array_append_new(u->bad, entry);
}

static int occurs(const struct upload *u, const char *dn)
{
	size_t i;

	for (i = 0; i < u->count; i++) {
		if (strcmp(u->dn[i], dn) == 0)
			return 1;
	}
	return 0;
}

/* 0, or CW_ENOMEM; an illegal line is listed. */
static int take_row(struct upload *u, const struct cw_csv_row *row)
{
	struct cw_msg why = { "" };
	const char *pk = u->product->key, *dn = row->count > 0 ? row->field[0] : "";
	const char *nickname = row->count > 1 ? row->field[1] : "";

	if (row->problem != NULL || row->count > 2) {
		list_line(u, row->line, NULL, NULL, row->problem != NULL ? row->problem : "a line has DeviceName and Nickname");
		return 0;
	}
	if (cw_cloud_check_device_name(dn, &why) < 0 || (nickname[0] != '\0' && cw_cloud_check_nickname(nickname, &why) < 0)) {
		list_line(u, row->line, dn, nickname, why.text);
		return 0;
	}
	if (occurs(u, dn) || cw_cloud_device_find(u->cloud, pk, strlen(pk), dn, strlen(dn)) != NULL) {
		list_line(u, row->line, dn, nickname, occurs(u, dn) ? "the name occurs twice" : "the name exists already");
		return 0;
	}
	u->dn[u->count] = cw_strdup(dn);
	u->nickname[u->count] = cw_strdup(nickname);
	u->count++;
	return u->dn[u->count - 1] == NULL || u->nickname[u->count - 1] == NULL ? CW_ENOMEM : 0;
}

static int header_fits(const struct cw_csv_row *row)
{
	return row->problem == NULL && row->count >= 1 && row->count <= 2 && strcasecmp(row->field[0], "DeviceName") == 0 &&
	       (row->count == 1 || strcasecmp(row->field[1], "Nickname") == 0);
}

/* All rows, good or listed. A file with too many is refused as a whole. */
static int read_rows(struct upload *u, const char *text, size_t len, struct cw_msg *msg)
{
	struct cw_csv csv;
	struct cw_csv_row row;
	unsigned rows = 0;

	cw_csv_begin(&csv, cw_bytes_of(text, len));
	row.line = 1;
	if (!cw_csv_next(&csv, &row) || !header_fits(&row))
		return cw_fail(msg, CW_EINVAL, "line %u: the first line must be DeviceName,Nickname", row.line);
	while (cw_csv_next(&csv, &row)) {
		if (++rows > CLOUD_BATCH_DEVICES)
			return cw_fail(msg, CW_ELIMIT, "the file has more than %u names; split it", CLOUD_BATCH_DEVICES);
		if (take_row(u, &row) < 0)
			return cw_fail(msg, CW_ENOMEM, "out of memory");
	}
	if (json_array_size(u->bad) != 0)
		return cw_fail(msg, CW_EINVAL, "%zu of %u lines are illegal, so nothing was created", json_array_size(u->bad), rows);
	return rows != 0 ? 0 : cw_fail(msg, CW_ELIMIT, "the file has no names");
}

int cw_cloud_batch_upload(struct cw_cloud *c, struct cloud_product *p, const char *text, size_t len,
                          struct cloud_batch **ret_batch, json_t **ret_bad, struct cw_msg *msg)
{
	struct upload *u;
	int rc;

	if (len > CLOUD_BATCH_FILE)
		return cw_fail(msg, CW_ELIMIT, "the file has %zu bytes; %u are accepted", len, CLOUD_BATCH_FILE);
	u = cw_zalloc(sizeof(*u));
	if (u == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	u->cloud = c;
	u->product = p;
	u->bad = json_array();
	rc = read_rows(u, text, len, msg);
	if (rc == 0)
		rc = cw_cloud_batch_order(c, p, (const char *const *)u->dn, (const char *const *)u->nickname, u->count, ret_batch, msg);
	else if (rc == CW_EINVAL && ret_bad != NULL)
		*ret_bad = json_incref(u->bad);
	upload_free(u);
	return rc;
}

/* ---- certificates as a file ---- */

static int add_pair(struct cloud_tar *t, const struct cloud_device *d, int64_t now_s)
{
	char name[64];
	int rc;

	(void)snprintf(name, sizeof(name), "%s.crt", d->dn);
	rc = cw_cloud_tar_add(t, name, d->cert->cert_pem, strlen(d->cert->cert_pem), now_s);
	if (rc < 0)
		return rc;
	(void)snprintf(name, sizeof(name), "%s.key", d->dn);
	return cw_cloud_tar_add(t, name, d->cert->key_pem, strlen(d->cert->key_pem), now_s);
}

/* Names without a certificate, one a line with its reason; `out` has room for all. */
static void list_failed(char *out, const struct cloud_batch_member *m)
{
	const char *why = m->problem != CLOUD_BATCH_PROBLEM_NONE ? cw_cloud_batch_problem_text(m->problem) : "the device was deleted";

	(void)snprintf(out + strlen(out), FAILED_LINE, "%s,%s\n", m->dn, why);
}

static int pack(struct cw_cloud *c, const struct cloud_batch *b, struct cloud_tar *t)
{
	char *failed = cw_zalloc(b->count * (size_t)FAILED_LINE + 1);
	int64_t now_s = cw_cloud_wall_ms(c) / 1000;
	int rc = failed != NULL ? 0 : CW_ENOMEM;
	unsigned i;

	for (i = 0; i < b->count && rc == 0; i++) {
		const struct cloud_device *d = cw_cloud_batch_device(c, b, &b->member[i]);

		if (d != NULL && d->cert != NULL)
			rc = add_pair(t, d, now_s);
		else
			list_failed(failed, &b->member[i]);
	}
	if (rc == 0 && failed[0] != '\0')
		rc = cw_cloud_tar_add(t, "failed.txt", failed, strlen(failed), now_s);
	cw_free(failed);
	return rc == 0 ? cw_cloud_tar_end(t) : rc;
}

/* The link to the package stays the same while it is valid. */
static int need_package(struct cw_cloud *c, struct cloud_batch *b, struct cw_msg *msg)
{
	struct cloud_tar t = { NULL, 0, 0 };
	struct cloud_blob *blob = NULL;
	char name[64];
	int rc;

	if (b->url[0] != '\0' && b->url_until_ms > cw_cloud_wall_ms(c))
		return 0;
	(void)snprintf(name, sizeof(name), "certificates-%llu.tar", (unsigned long long)b->id);
	rc = pack(c, b, &t);
	if (rc == 0)
		blob = cw_cloud_blob_new(name, "application/x-tar", t.data, t.len);
	cw_free(t.data);
	rc = blob != NULL ? cw_cloud_link_file(c, blob, PACKAGE_MS, b->url) : CW_ENOMEM;
	cw_cloud_blob_unref(blob);
	if (rc < 0) {
		b->url[0] = '\0';
		return cw_fail(msg, rc, "the package of certificates could not be made: %s", cw_error_text(rc));
	}
	b->url_until_ms = cw_cloud_wall_ms(c) + (int64_t)PACKAGE_MS;
	return 0;
}

static size_t put_line(const struct cloud_batch *b, const struct cloud_device *d, int with_secret, char *out, size_t size)
{
	const char *pk = b->product->key, *ps = b->product->secret;
	int n;

	if (d == NULL && b->product->x509)
		n = snprintf(out, size, "DeviceName,ProductKey,CertUrl\r\n");
	else if (d == NULL)
		n = snprintf(out, size, "DeviceName,DeviceSecret,ProductKey%s\r\n", with_secret ? ",ProductSecret" : "");
	else if (b->product->x509)
		n = snprintf(out, size, "%s,%s,%s\r\n", d->dn, pk, b->url);
	else
		n = snprintf(out, size, "%s,%s,%s%s%s\r\n", d->dn, d->secret, pk, with_secret ? "," : "", with_secret ? ps : "");
	return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

/* Bytes of the longest line there can be. */
static size_t line_room(struct cw_cloud *c, const struct cloud_batch *b)
{
	size_t room = sizeof(b->url), i;

	for (i = 0; i < b->count; i++) {
		const struct cloud_device *d = cw_cloud_batch_device(c, b, &b->member[i]);

		if (d != NULL && strlen(d->secret) + strlen(b->product->secret) > room)
			room = strlen(d->secret) + strlen(b->product->secret);
	}
	return room + 128;
}

int cw_cloud_batch_csv(struct cw_cloud *c, struct cloud_batch *b, int with_product_secret, char **ret_text, size_t *ret_len,
                       struct cw_msg *msg)
{
	size_t room, len;
	char *text;
	unsigned i;
	int rc = 0;

	if (b->state != CLOUD_BATCH_CREATE_SUCCESS)
		return cw_fail(msg, CW_EBUSY, "batch %llu: its state is %s; certificates are there after CREATE_SUCCESS",
		               (unsigned long long)b->id, cw_cloud_batch_state_name(b->state));
	if (b->product->x509)
		rc = need_package(c, b, msg);
	if (rc < 0)
		return rc;
	room = line_room(c, b);
	text = cw_alloc((b->count + 1) * room);
	if (text == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	len = put_line(b, NULL, with_product_secret, text, room);
	for (i = 0; i < b->count; i++) {
		const struct cloud_device *d = cw_cloud_batch_device(c, b, &b->member[i]);

		if (d != NULL)
			len += put_line(b, d, with_product_secret, text + len, room);
	}
	*ret_text = text;
	*ret_len = len;
	return 0;
}
