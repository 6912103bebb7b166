/*
 * auth.c - see field_impl.h.
 *
 * A signed request: sign = HMAC-SHA256(sharedKey, deviceId LF nonce LF time) as 64 hexadecimal digits, time in seconds since
 * 1970. None of the three can have a line feed in it, so that no two triples make one text. A signature is remembered as long
 * as its time could be taken, so whoever reads a request on its way cannot send it again.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "factory/field/field_impl.h"
#include "http/secret.h"

#define NONCE_LEAST 8u
#define NONCE_MOST 64u

struct seen {
	struct cw_map_node node;
	struct cw_list link;
	uint64_t until_ms;
	char signature[CW_SIGN_HEX_MAX];
};

void factory_seen_init(struct factory_seen *s, size_t most)
{
	cw_map_init(&s->map);
	cw_list_init(&s->oldest);
	s->count = 0;
	s->most = most;
}

static struct seen *first_of(struct factory_seen *s)
{
	struct cw_list *first = cw_list_first(&s->oldest);

	return first != NULL ? cw_container_of(first, struct seen, link) : NULL;
}

static void forget(struct factory_seen *s, struct seen *x)
{
	cw_list_remove(&x->link);
	cw_map_remove(&s->map, &x->node);
	s->count--;
	cw_free(x);
}

void factory_seen_fini(struct factory_seen *s)
{
	struct seen *x;

	while ((x = first_of(s)) != NULL)
		forget(s, x);
	cw_map_fini(&s->map);
}

int factory_seen_add(struct factory_seen *s, const char *signature, uint64_t now_ms, uint64_t keep_ms)
{
	struct seen *x;

	while ((x = first_of(s)) != NULL && x->until_ms <= now_ms)
		forget(s, x);
	if (cw_map_find(&s->map, signature, strlen(signature)) != NULL)
		return CW_EEXIST;
	if (s->count == s->most)
		return CW_ELIMIT;
	x = cw_zalloc(sizeof(*x));
	if (x == NULL)
		return CW_ELIMIT;
	(void)snprintf(x->signature, sizeof(x->signature), "%s", signature);
	x->until_ms = now_ms + keep_ms;
	if (cw_map_add(&s->map, &x->node, x->signature, strlen(x->signature)) < 0) {
		cw_free(x);
		return CW_ELIMIT;
	}
	cw_list_push_back(&s->oldest, &x->link);
	s->count++;
	return 0;
}

static int word(const char *text, size_t least, size_t most)
{
	size_t n = strlen(text);

	return n >= least && n <= most && strspn(text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.") == n;
}

static int read_time(const char *text, int64_t *ret_ms)
{
	int64_t v = 0;

	if (text[0] == '\0' || strlen(text) > 11 || strspn(text, "0123456789") != strlen(text))
		return CW_EINVAL;
	for (; *text != '\0'; text++)
		v = v * 10 + (*text - '0');
	*ret_ms = v * 1000;
	return 0;
}

static int signed_right(const struct factory_field_conf *conf, struct factory_seen *seen, const struct factory_proof *p, int64_t wall_ms,
			uint64_t now_ms, struct cw_msg *msg)
{
	char text[512], right[CW_SIGN_HEX_MAX], given[CW_SIGN_HEX_MAX];
	int64_t at;
	size_t i;
	int n;

	if (conf->shared_key == NULL)
		return cw_fail(msg, CW_EAUTH, "signed requests are not taken here");
	if (p->nonce == NULL || p->time == NULL || !word(p->nonce, NONCE_LEAST, NONCE_MOST) || read_time(p->time, &at) < 0)
		return cw_fail(msg, CW_EAUTH, "a signed request has nonce (%u to %u letters, digits, - _ .) and time (seconds since 1970, UTC)", NONCE_LEAST,
			       NONCE_MOST);
	if (at > wall_ms + conf->clock_skew_ms || at < wall_ms - conf->clock_skew_ms)
		return cw_fail(msg, CW_EAUTH, "the time of the request is more than %lld s from the server's clock; set the device's clock",
			       (long long)(conf->clock_skew_ms / 1000));
	n = snprintf(text, sizeof(text), "%s\n%s\n%s", p->device_id, p->nonce, p->time);
	if (n < 0 || (size_t)n >= sizeof(text) || cw_sign_hmac(CW_SIGN_SHA256, conf->shared_key, text, right) < 0)
		return cw_fail(msg, CW_EAUTH, "the signature cannot be checked");
	if (strlen(p->sign) != CW_SIGN_HEX_MAX - 1)
		return cw_fail(msg, CW_EAUTH, "sign is not of 64 hexadecimal digits");
	for (i = 0; i < CW_SIGN_HEX_MAX; i++) /* the digits in either case */
		given[i] = p->sign[i] >= 'A' && p->sign[i] <= 'F' ? (char)(p->sign[i] - 'A' + 'a') : p->sign[i];
	if (!cw_http_secret_same(given, right))
		return cw_fail(msg, CW_EAUTH, "the signature is wrong: it is HMAC-SHA256 with the shared key over deviceId, nonce and time, with line feeds between");
	switch (factory_seen_add(seen, right, now_ms, 2 * (uint64_t)conf->clock_skew_ms)) {
	case 0:
		return 0;
	case CW_EEXIST:
		return cw_fail(msg, CW_EAUTH, "this signature was used already; take another nonce for each request");
	default:
		return cw_fail(msg, CW_ELIMIT, "too many signed requests; come again");
	}
}

static int is_one_of(const struct cw_conf_strings *ids, const char *id)
{
	size_t i, n;

	for (i = 0; i < ids->count; i++) {
		const char *one = ids->items[i];

		n = strlen(one);
		if (n > 0 && one[n - 1] == '*' ? strncmp(id, one, n - 1) == 0 : strcmp(id, one) == 0)
			return 1;
	}
	return ids->count == 0;
}

static const struct factory_field_token *find_token(const struct factory_field_conf *conf, const char *bearer)
{
	const struct factory_field_token *found = NULL;
	size_t i;

	for (i = 0; i < conf->tokens.count; i++) { /* all of them, always: which one it is, is not told by the time */
		const struct factory_field_token *t = cw_conf_item(&conf->tokens, struct factory_field_token, i);

		if (cw_http_secret_same(bearer, t->token))
			found = t;
	}
	return found;
}

int factory_field_prove(const struct factory_field_conf *conf, struct factory_seen *seen, const struct factory_proof *p, int64_t wall_ms,
			uint64_t now_ms, char who[FACTORY_WHO], const struct factory_field_token **ret_token, struct cw_msg *msg)
{
	int rc;

	*ret_token = NULL;
	who[0] = '\0';
	if (p->sign != NULL) {
		rc = signed_right(conf, seen, p, wall_ms, now_ms, msg);
		if (rc < 0)
			return rc;
		(void)snprintf(who, FACTORY_WHO, "field:key");
	}
	if (p->bearer != NULL) {
		*ret_token = find_token(conf, p->bearer);
		if (*ret_token == NULL)
			return cw_fail(msg, CW_EAUTH, "this token is not known");
		if (!is_one_of(&(*ret_token)->ids, p->device_id))
			return cw_fail(msg, CW_EAUTH, "this token is not for this deviceId");
		(void)snprintf(who, FACTORY_WHO, "field:token %.64s", (*ret_token)->name);
	}
	if (p->common_name != NULL) {
		if (conf->own_certificate && strcmp(p->common_name, p->device_id) != 0)
			return cw_fail(msg, CW_EAUTH, "the client certificate is not of this deviceId");
		(void)snprintf(who, FACTORY_WHO, "field:certificate %.100s", p->common_name);
	}
	if (who[0] == '\0' && !conf->anybody)
		return cw_fail(msg, CW_EAUTH, "nothing proves who asks; needed is a signature (nonce, time, sign), a token (Authorization: Bearer) or a client certificate");
	if (who[0] == '\0')
		(void)snprintf(who, FACTORY_WHO, "field:anybody");
	return 0;
}

int factory_field_is_gateway(const struct factory_field_conf *conf, const char *bearer, const char *common_name)
{
	size_t i;

	if (bearer != NULL)
		return conf->gateway_token != NULL && cw_http_secret_same(bearer, conf->gateway_token);
	for (i = 0; common_name != NULL && i < conf->gateways.count; i++)
		if (strcmp(conf->gateways.items[i], common_name) == 0)
			return 1;
	return 0;
}
