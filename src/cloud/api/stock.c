/* stock.c - products, devices, batches, clients and certificates: what the API makes and takes away; see api.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cloud/api/api.h"
#include "cloud/core/stock/batch.h"
#include "cloud/core/stock/clients.h"
#include "cloud/core/stock/x509.h"

static void fail(struct api_call *a, int rc, const struct cw_msg *msg)
{
	cw_cloud_api_error(a->req, cw_cloud_api_status(rc), msg->text[0] != '\0' ? msg->text : cw_error_text(rc));
}

/* ---- products ---- */

void cw_cloud_api_product_add(struct api_call *a)
{
	struct cloud_product_spec spec = { .registration = 1 };
	const char *type = "device", *format = "alink", *authentication = "secret";
	struct cloud_product *p = NULL;
	struct cw_msg msg = { "" };
	int rc;

	if (json_unpack(a->body, "{s?s, s?s, s?s, s?s, s?s, s?s, s?b}", "productKey", &spec.key, "productSecret", &spec.secret,
	                "name", &spec.name, "nodeType", &type, "format", &format, "authentication", &authentication,
	                "registration", &spec.registration) < 0 ||
	    cw_cloud_node_parse(type, &spec.type) < 0 || (strcmp(format, "alink") != 0 && strcmp(format, "raw") != 0) ||
	    (strcmp(authentication, "secret") != 0 && strcmp(authentication, "x509") != 0)) {
		cw_cloud_api_error(a->req, 400, "if wanted productKey, productSecret, name, nodeType device, gateway or subdevice, "
		                                "format alink or raw, authentication secret or x509, registration");
		return;
	}
	spec.raw = strcmp(format, "raw") == 0;
	spec.x509 = strcmp(authentication, "x509") == 0;
	rc = cw_cloud_product_create(a->cloud, &spec, &p, &msg);
	if (rc < 0) {
		fail(a, rc, &msg);
		return;
	}
	cw_cloud_api_json(a->req, 201, json_pack("{s:s, s:s, s:s?, s:s, s:s}", "productKey", p->key, "productSecret", p->secret,
	                                         "name", p->name, "nodeType", cw_cloud_node_name(p->type), "authentication",
	                                         authentication));
}

/* Change what of a product may change. */
void cw_cloud_api_product_change(struct api_call *a)
{
	struct cloud_product *p = cw_cloud_api_product(a, a->tail);
	struct cw_msg msg = { "" };
	const char *name = NULL;
	int registration = -1, rc = 0;

	if (p == NULL)
		return;
	/* `!`: a field that is fixed at creation is refused, not passed over. */
	if (json_object_size(a->body) == 0 ||
	    json_unpack(a->body, "{s?b, s?s !}", "registration", &registration, "name", &name) < 0) {
		cw_cloud_api_error(a->req, 400, "registration (true or false), name; everything else is fixed when a product is created");
		return;
	}
	if (name != NULL)
		rc = cw_cloud_product_set_name(a->cloud, p, name, &msg);
	if (rc < 0) {
		fail(a, rc, &msg);
		return;
	}
	if (registration >= 0)
		cw_cloud_product_set_registration(a->cloud, p, registration);
	cw_cloud_api_json(a->req, 200, json_pack("{s:b, s:s?}", "registration", p->registration, "name", p->name));
}

void cw_cloud_api_product_delete(struct api_call *a)
{
	struct cloud_product *p = cw_cloud_api_product(a, a->tail);
	struct cw_msg msg = { "" };
	int rc;

	if (p == NULL)
		return;
	rc = cw_cloud_product_delete(a->cloud, p, &msg);
	if (rc < 0)
		fail(a, rc, &msg);
	else
		cw_http_reply(a->req, 204, NULL, NULL, 0);
}

/* ---- devices ---- */

void cw_cloud_api_device_add(struct api_call *a)
{
	const char *pk = NULL, *dn = NULL, *secret = NULL, *nickname = NULL;
	struct cloud_device *d = NULL;
	struct cloud_product *p;
	struct cw_msg msg = { "" };
	int rc;

	if (json_unpack(a->body, "{s:s, s?s, s?s, s?s}", "productKey", &pk, "deviceName", &dn, "deviceSecret", &secret,
	                "nickname", &nickname) < 0) {
		cw_cloud_api_error(a->req, 400, "productKey; if wanted deviceName, deviceSecret, nickname");
		return;
	}
	p = cw_cloud_api_product(a, pk);
	if (p == NULL)
		return;
	rc = cw_cloud_device_add(a->cloud, p, dn, secret, &d, &msg);
	if (rc == 0 && (rc = cw_cloud_device_set_nickname(a->cloud, d, nickname, &msg)) < 0)
		cw_cloud_device_delete(a->cloud, d);
	if (rc < 0) {
		fail(a, rc, &msg);
		return;
	}
	cw_cloud_api_json(a->req, 201, json_pack("{s:s, s:s, s:s, s:s, s:s?}", "productKey", p->key, "deviceName", d->dn,
	                                         "deviceSecret", d->secret, "iotId", d->iot_id, "nickname", d->nickname));
}

void cw_cloud_api_device_reset(struct api_call *a)
{
	cw_cloud_device_reset(a->cloud, a->device);
	cw_cloud_api_json(a->req, 200, json_pack("{s:s}", "status", cw_cloud_device_status(a->cloud, a->device)));
}

void cw_cloud_api_certificate(struct api_call *a)
{
	const struct cloud_cert *cert = NULL;
	struct cw_msg msg = { "" };
	int rc = cw_cloud_x509_issue(a->cloud, a->device, &cert, &msg);

	if (rc < 0)
		cw_cloud_api_error(a->req, rc == CW_EINVAL ? 409 : cw_cloud_api_status(rc), msg.text);
	else
		cw_cloud_api_json(a->req, 200, json_pack("{s:s, s:s, s:s, s:i}", "certSN", cert->serial, "certificate",
		                                         cert->cert_pem, "privateKey", cert->key_pem, "status", cert->status));
}

/* ---- clients of a name ---- */

void cw_cloud_api_clients(struct api_call *a)
{
	cw_cloud_api_json(a->req, 200, json_pack("{s:o}", "clients", cw_cloud_clients_list(a->device)));
}

void cw_cloud_api_client_keep(struct api_call *a)
{
	const char *id = NULL;

	if (json_unpack(a->body, "{s:s}", "keep", &id) < 0)
		cw_cloud_api_error(a->req, 400, "keep: the ClientID that may connect from now on, alone");
	else if (cw_cloud_client_keep(a->cloud, a->device, id) < 0)
		cw_cloud_api_error(a->req, 404, "no such ClientID under this name");
	else
		cw_cloud_api_clients(a);
}

void cw_cloud_api_client_clear(struct api_call *a)
{
	cw_cloud_client_clear(a->cloud, a->device);
	cw_http_reply(a->req, 204, NULL, NULL, 0);
}

void cw_cloud_api_client_risks(struct api_call *a)
{
	cw_cloud_api_json(a->req, 200, json_pack("{s:o}", "devices", cw_cloud_client_risks(a->cloud, NULL)));
}

/* ---- batches ---- */

void cw_cloud_api_batches(struct api_call *a)
{
	const char *pk = cw_http_query(a->req, "product");
	const struct cloud_product *p = pk != NULL ? cw_cloud_api_product(a, pk) : NULL;

	if (pk == NULL || p != NULL)
		cw_cloud_api_json(a->req, 200, json_pack("{s:o}", "batches", cw_cloud_batch_list(a->cloud, p)));
}

/* Names as texts, or as {deviceName, nickname}. 0 or CW_EINVAL. */
static int read_names(const json_t *list, const char **names, const char **nicknames)
{
	const json_t *one;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i, one) {
		names[i] = json_string_value(json_is_object(one) ? json_object_get(one, "deviceName") : one);
		nicknames[i] = json_string_value(json_object_get(one, "nickname"));
		if (names[i] == NULL)
			return CW_EINVAL;
	}
	return 0;
}

static int check_names(struct api_call *a, struct cloud_product *p, const json_t *list, struct cloud_batch **ret_batch,
                       json_t **ret_bad, struct cw_msg *msg)
{
	size_t n = json_array_size(list);
	const char **names;
	int rc;

	if (n > CLOUD_BATCH_DEVICES)
		return cw_fail(msg, CW_ELIMIT, "%zu names: a batch has 1 to %u", n, CLOUD_BATCH_DEVICES);
	names = cw_calloc(2 * n + 1, sizeof(*names));
	if (names == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	rc = read_names(list, names, names + n);
	if (rc < 0)
		(void)cw_fail(msg, rc, "names: texts, or objects with deviceName and nickname");
	else
		rc = cw_cloud_batch_check(a->cloud, p, names, names + n, n, ret_batch, ret_bad, msg);
	cw_free(names);
	return rc;
}

/* Answer about a batch that was ordered, or was not because of `bad` (consumed). */
static void answer_order(struct api_call *a, int rc, const struct cloud_batch *b, const char *what, json_t *bad,
                         const struct cw_msg *msg)
{
	if (rc == 0)
		cw_cloud_api_json(a->req, 202, cw_cloud_batch_view(b));
	else if (bad != NULL)
		cw_cloud_api_json(a->req, 400, json_pack("{s:s, s:O}", "error", msg->text, what, bad));
	else
		fail(a, rc, msg);
	json_decref(bad);
}

void cw_cloud_api_batch_add(struct api_call *a)
{
	const char *pk = NULL;
	json_t *names = NULL, *bad = NULL;
	struct cloud_product *p;
	struct cloud_batch *b = NULL;
	struct cw_msg msg = { "" };
	int count = 0, rc;

	if (json_unpack(a->body, "{s:s, s?i, s?o}", "productKey", &pk, "count", &count, "names", &names) < 0 ||
	    (names != NULL && !json_is_array(names))) {
		cw_cloud_api_error(a->req, 400, "productKey, and either count (names are made up) or names (they are checked)");
		return;
	}
	p = cw_cloud_api_product(a, pk);
	if (p == NULL)
		return;
	rc = names != NULL ? check_names(a, p, names, &b, &bad, &msg)
	                   : cw_cloud_batch_generate(a->cloud, p, count > 0 ? (unsigned)count : 0, &b, &msg);
	answer_order(a, rc, b, "invalid", bad, &msg);
}

/* A file of names in the body. */
void cw_cloud_api_names(struct api_call *a)
{
	struct cloud_product *p = cw_cloud_api_product(a, a->tail);
	struct cloud_batch *b = NULL;
	struct cw_msg msg = { "" };
	json_t *bad = NULL;
	const char *text;
	size_t len = 0;
	int rc;

	if (p == NULL)
		return;
	text = cw_http_body(a->req, &len);
	rc = cw_cloud_batch_upload(a->cloud, p, text != NULL ? text : "", len, &b, &bad, &msg);
	answer_order(a, rc, b, "lines", bad, &msg);
}

/* The batch of a path, with or without .csv behind its number. NULL: answered with 404. */
static struct cloud_batch *batch_of(struct api_call *a, int *ret_csv)
{
	struct cloud_batch *b = NULL;
	char *end = NULL;
	uint64_t id;

	errno = 0;
	id = strtoull(a->tail, &end, 10);
	*ret_csv = strcmp(end, ".csv") == 0;
	if (errno == 0 && (*end == '\0' || *ret_csv))
		b = cw_cloud_batch_find(a->cloud, id);
	if (b == NULL)
		cw_cloud_api_error(a->req, 404, "no such batch");
	return b;
}

static void answer_csv(struct api_call *a, struct cloud_batch *b)
{
	const char *with = cw_http_query(a->req, "productSecret");
	struct cw_msg msg = { "" };
	char *text = NULL;
	size_t len = 0;
	int rc = cw_cloud_batch_csv(a->cloud, b, with != NULL && strcmp(with, "true") == 0, &text, &len, &msg);

	if (rc < 0)
		fail(a, rc, &msg);
	else
		cw_http_reply(a->req, 200, "text/csv; charset=utf-8", text, len);
	cw_free(text);
}

void cw_cloud_api_batch(struct api_call *a)
{
	unsigned total = 0;
	int csv = 0;
	struct cloud_batch *b = batch_of(a, &csv);
	json_t *j;

	if (b == NULL)
		return;
	if (csv) {
		answer_csv(a, b);
		return;
	}
	j = cw_cloud_batch_view(b);
	json_object_set_new(j, "valid", cw_cloud_batch_names(b, 1));
	json_object_set_new(j, "invalid", cw_cloud_batch_names(b, 0));
	json_object_set_new(j, "devices", cw_cloud_batch_members(a->cloud, b, 0, CLOUD_BATCH_DEVICES, &total));
	cw_cloud_api_json(a->req, 200, j);
}

void cw_cloud_api_batch_create(struct api_call *a)
{
	int csv = 0;
	struct cloud_batch *b = batch_of(a, &csv);
	struct cw_msg msg = { "" };

	if (b != NULL)
		answer_order(a, cw_cloud_batch_create(a->cloud, b, &msg), b, "invalid", NULL, &msg);
}
