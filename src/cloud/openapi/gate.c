/* gate.c - see gate.h. */
#include "cloud/openapi/gate.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

/* Known by its digest: a nonce is free text of any length. */
struct nonce {
	struct cw_map_node node;
	struct cw_list age;
	int64_t at_ms;
	uint8_t digest[32];
};

struct pop_gate {
	const struct cw_cloud *cloud;
	struct cw_map nonces;
	struct cw_list by_age; /* oldest first */
	unsigned count;
};

int cw_cloud_gate_new(const struct cw_cloud *c, struct pop_gate **ret_gate)
{
	struct pop_gate *g = cw_zalloc(sizeof(*g));

	if (g == NULL)
		return CW_ENOMEM;
	g->cloud = c;
	cw_map_init(&g->nonces);
	cw_list_init(&g->by_age);
	*ret_gate = g;
	return 0;
}

static void forget(struct pop_gate *g, struct nonce *n)
{
	cw_map_remove(&g->nonces, &n->node);
	cw_list_remove(&n->age);
	cw_free(n);
	g->count--;
}

void cw_cloud_gate_free(struct pop_gate *g)
{
	if (g == NULL)
		return;
	while (!cw_list_empty(&g->by_age))
		forget(g, cw_container_of(g->by_age.next, struct nonce, age));
	cw_map_fini(&g->nonces);
	cw_free(g);
}

unsigned cw_cloud_gate_nonces(const struct pop_gate *g)
{
	return g->count;
}

/* Those that are over, and the oldest of too many. */
static void make_room(struct pop_gate *g, int64_t now)
{
	while (!cw_list_empty(&g->by_age)) {
		struct nonce *n = cw_container_of(g->by_age.next, struct nonce, age);

		if (now - n->at_ms < GATE_WINDOW_MS && g->count < GATE_NONCES_MAX)
			return;
		forget(g, n);
	}
}

/* Digest of key id and nonce; neither holds a NUL, which therefore parts them. */
static void digest_of(const char *key, const char *nonce, uint8_t out[32])
{
	struct cloud_bytes b = { NULL, 0, 0 };

	if (cw_cloud_bytes_add(&b, key, strlen(key) + 1) == 0 && cw_cloud_bytes_add(&b, nonce, strlen(nonce)) == 0)
		(void)SHA256(b.data, b.len, out);
	cw_cloud_bytes_free(&b);
}

static int remember(struct pop_gate *g, const uint8_t digest[32], int64_t now)
{
	struct nonce *n = cw_zalloc(sizeof(*n));

	if (n == NULL)
		return CW_ENOMEM;
	memcpy(n->digest, digest, sizeof(n->digest));
	n->at_ms = now;
	if (cw_map_add(&g->nonces, &n->node, n->digest, sizeof(n->digest)) < 0) {
		cw_free(n);
		return CW_ENOMEM;
	}
	cw_list_push_back(&g->by_age, &n->age);
	g->count++;
	return 0;
}

/* ---- the checks ---- */

__attribute__((format(printf, 4, 5))) static int refuse(struct pop_refusal *why, unsigned status, const char *code,
							const char *format, ...)
{
	char text[320];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	why->status = status;
	why->code = code;
	return cw_cloud_bytes_add(&why->message, text, strlen(text) + 1) < 0 ? CW_ENOMEM : CW_EREFUSED;
}

static const char *text_of(const struct pop_params *p, const char *name)
{
	const char *text = cw_cloud_pop_find(p, name);

	return text != NULL && text[0] != '\0' ? text : NULL;
}

static int check_common(const char *method, const struct pop_params *p, struct pop_refusal *why)
{
	static const char *const musts[] = { "Action",           "Version",        "AccessKeyId", "SignatureMethod",
					     "SignatureVersion", "SignatureNonce", "Timestamp",   "Signature" };
	const char *format = text_of(p, "Format");
	size_t i;

	if (strcmp(method, "GET") != 0 && strcmp(method, "POST") != 0)
		return refuse(why, 400, "UnsupportedHTTPMethod", "Calls are made with GET or POST.");
	for (i = 0; i < sizeof(musts) / sizeof(musts[0]); i++) {
		if (text_of(p, musts[i]) == NULL)
			return refuse(why, 400, "MissingParameter",
				      "The parameter %s is mandatory and was not supplied.", musts[i]);
	}
	if (format != NULL && strcasecmp(format, "json") != 0 && strcasecmp(format, "xml") != 0)
		return refuse(why, 400, "InvalidParameter.Format", "Format must be XML or JSON.");
	if (strcmp(text_of(p, "Version"), "2018-01-20") != 0)
		return refuse(why, 400, "InvalidVersion", "Version must be 2018-01-20.");
	return 0;
}

static int check_key(const struct cw_cloud *c, const struct pop_params *p, const struct cloud_access_key **ret_key,
		     struct pop_refusal *why)
{
	const char *id = text_of(p, "AccessKeyId");
	size_t i;

	for (i = 0; i < c->conf.key_count; i++) {
		if (strcmp(c->conf.keys[i].id, id) != 0)
			continue;
		*ret_key = &c->conf.keys[i];
		if (!c->conf.keys[i].active)
			return refuse(why, 400, "InvalidAccessKeyId.Inactive", "The AccessKeyId is disabled.");
		if (text_of(p, "SecurityToken") != NULL)
			return refuse(why, 400, "InvalidSecurityToken.MismatchWithAccessKey",
				      "SecurityToken is of temporary credentials, which are not issued here.");
		return 0;
	}
	return refuse(why, 404, "InvalidAccessKeyId.NotFound",
		      "The AccessKeyId does not exist (accessKeys in the configuration).");
}

static int check_time(const struct pop_params *p, int64_t now, struct pop_refusal *why)
{
	int64_t ms;

	if (cw_cloud_pop_time(text_of(p, "Timestamp"), &ms) < 0)
		return refuse(why, 400, "InvalidTimeStamp.Format",
			      "Timestamp must have the form YYYY-MM-DDThh:mm:ssZ, in UTC.");
	if (ms - now > GATE_WINDOW_MS || now - ms > GATE_WINDOW_MS)
		return refuse(why, 400, "InvalidTimeStamp.Expired",
			      "Timestamp is more than 15 minutes from the platform's clock.");
	return 0;
}

static int malformed_signature(const char *text)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	return strlen(text) != POP_SIGNATURE_SIZE - 1 || strspn(text, alphabet) != POP_SIGNATURE_SIZE - 2 ||
	       text[POP_SIGNATURE_SIZE - 2] != '=';
}

static int check_signature(const char *method, const struct pop_params *p, const struct cloud_access_key *key,
			   struct pop_refusal *why)
{
	static const char wrong[] =
		"Specified signature is not matched with our calculation. server string to sign is:";
	const char *given = text_of(p, "Signature");
	struct cloud_bytes text = { NULL, 0, 0 };
	char want[POP_SIGNATURE_SIZE];
	int rc;

	if (strcmp(text_of(p, "SignatureMethod"), "HMAC-SHA1") != 0)
		return refuse(why, 400, "InvalidSignatureMethod", "SignatureMethod must be HMAC-SHA1.");
	if (strcmp(text_of(p, "SignatureVersion"), "1.0") != 0)
		return refuse(why, 400, "IncompleteSignature", "SignatureVersion must be 1.0.");
	if (malformed_signature(given))
		return refuse(why, 400, "IncompleteSignature",
			      "Signature must be the Base64 text of 20 bytes, 28 characters.");
	rc = cw_cloud_pop_string_to_sign(p, method, &text);
	if (rc == 0)
		rc = cw_cloud_pop_sign(key->secret, text.data, text.len, want);
	if (rc == 0 && CRYPTO_memcmp(want, given, POP_SIGNATURE_SIZE - 1) != 0) {
		why->status = 400;
		why->code = "SignatureDoesNotMatch";
		rc = cw_cloud_bytes_add(&why->message, wrong, sizeof(wrong) - 1);
		if (rc == 0)
			rc = cw_cloud_bytes_add(&why->message, text.data, text.len);
		if (rc == 0)
			rc = cw_cloud_bytes_add(&why->message, "", 1);
		if (rc == 0)
			rc = CW_EREFUSED;
	}
	cw_cloud_bytes_free(&text);
	return rc;
}

int cw_cloud_gate_check(struct pop_gate *g, const char *method, const struct pop_params *params,
			const struct cloud_access_key **ret_key, struct pop_refusal *ret_why)
{
	int64_t now = cw_cloud_wall_ms(g->cloud);
	uint8_t digest[32] = { 0 };
	int rc = check_common(method, params, ret_why);

	if (rc == 0)
		rc = check_key(g->cloud, params, ret_key, ret_why);
	if (rc == 0)
		rc = check_time(params, now, ret_why);
	if (rc < 0)
		return rc;
	make_room(g, now);
	digest_of((*ret_key)->id, text_of(params, "SignatureNonce"), digest);
	if (cw_map_find(&g->nonces, digest, sizeof(digest)) != NULL)
		return refuse(ret_why, 400, "SignatureNonceUsed", "The SignatureNonce was used before.");
	rc = check_signature(method, params, *ret_key, ret_why);
	return rc == 0 ? remember(g, digest, now) : rc;
}
