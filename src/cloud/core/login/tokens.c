/* tokens.c - see tokens.h. */
#include "cloud/core/login/tokens.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>

#include "base/mem.h"

static void drop(struct cw_cloud *c, struct cloud_token *t)
{
	cw_map_remove(&c->tokens, &t->node);
	cw_list_remove(&t->of);
	t->device->token_count--;
	OPENSSL_cleanse(t->text, sizeof(t->text));
	cw_free(t);
}

static int make_text(char out[CLOUD_TOKEN_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char random[(CLOUD_TOKEN_SIZE - 1) / 2];
	size_t i;

	if (RAND_bytes(random, sizeof(random)) != 1)
		return CW_EINTERNAL;
	for (i = 0; i < sizeof(random); i++) {
		out[2 * i] = digits[random[i] >> 4];
		out[2 * i + 1] = digits[random[i] & 15];
	}
	out[2 * i] = '\0';
	return 0;
}

const struct cloud_token *cw_cloud_token_issue(struct cw_cloud *c, struct cloud_device *d, const char *channel,
					       const struct cloud_text *client_id, uint64_t valid_ms)
{
	struct cloud_token *t = cw_zalloc(sizeof(*t) + client_id->len + 1);

	if (t == NULL || make_text(t->text) < 0 ||
	    cw_map_add(&c->tokens, &t->node, t->text, CLOUD_TOKEN_SIZE - 1) < 0) {
		cw_free(t);
		return NULL;
	}
	t->device = d;
	t->channel = channel;
	t->until_ms = cw_cloud_wall_ms(c) + (int64_t)valid_ms;
	memcpy(t->client_id, client_id->s, client_id->len);
	cw_list_push_back(&d->tokens, &t->of);
	if (++d->token_count > CLOUD_TOKENS_MAX)
		drop(c, cw_container_of(cw_list_first(&d->tokens), struct cloud_token, of));
	return t;
}

const struct cloud_token *cw_cloud_token_find(struct cw_cloud *c, const char *channel, const char *text, size_t len)
{
	struct cw_map_node *n = cw_map_find(&c->tokens, text, len);
	struct cloud_token *t = n != NULL ? cw_container_of(n, struct cloud_token, node) : NULL;

	return t != NULL && strcmp(t->channel, channel) == 0 ? t : NULL;
}

int cw_cloud_token_over(const struct cw_cloud *c, const struct cloud_token *t)
{
	return cw_cloud_wall_ms(c) >= t->until_ms;
}

void cw_cloud_tokens_drop(struct cw_cloud *c, struct cloud_device *d)
{
	struct cw_list *e;

	while ((e = cw_list_first(&d->tokens)) != NULL)
		drop(c, cw_container_of(e, struct cloud_token, of));
}
