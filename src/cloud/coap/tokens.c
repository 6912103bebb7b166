/* tokens.c - see tokens.h. */
#include "cloud/coap/tokens.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>

#include "base/mem.h"

/* ---- sequence numbers ---- */

static int make_gap(struct coap_seqs *s, unsigned at)
{
	struct coap_range *grown;
	unsigned room = s->room != 0 ? 2 * s->room : 4;

	if (s->count == COAP_SEQ_RANGES)
		return CW_ELIMIT;
	if (s->count == s->room) {
		grown = cw_realloc(s->at, room * sizeof(*grown));
		if (grown == NULL)
			return CW_ENOMEM;
		s->at = grown;
		s->room = room;
	}
	memmove(s->at + at + 1, s->at + at, (s->count - at) * sizeof(*s->at));
	s->count++;
	return 0;
}

int cw_cloud_coap_seq_use(struct coap_seqs *s, uint64_t seq)
{
	unsigned low = 0, high = s->count, mid;
	int joins_left, joins_right, rc;

	while (low < high) { /* the first range that ends at seq or behind it */
		mid = low + (high - low) / 2;
		if (s->at[mid].last < seq)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < s->count && s->at[low].first <= seq)
		return CW_EEXIST;
	joins_left = low > 0 && s->at[low - 1].last + 1 == seq;
	joins_right = low < s->count && s->at[low].first == seq + 1;
	if (joins_left && joins_right) {
		s->at[low - 1].last = s->at[low].last;
		memmove(s->at + low, s->at + low + 1, (s->count - low - 1) * sizeof(*s->at));
		s->count--;
	} else if (joins_left) {
		s->at[low - 1].last = seq;
	} else if (joins_right) {
		s->at[low].first = seq;
	} else {
		rc = make_gap(s, low);
		if (rc < 0)
			return rc;
		s->at[low] = (struct coap_range){ seq, seq };
	}
	return 0;
}

void cw_cloud_coap_seq_fini(struct coap_seqs *s)
{
	cw_free(s->at);
	*s = (struct coap_seqs){ .at = NULL };
}

/* ---- tokens ---- */

void cw_cloud_coap_tokens_init(struct coap_tokens *t, struct cw_cloud *c)
{
	t->cloud = c;
	cw_map_init(&t->by_text);
	cw_map_init(&t->by_device);
	cw_list_init(&t->all);
}

static void release(struct coap_token *k)
{
	cw_cloud_coap_seq_fini(&k->seqs);
	OPENSSL_cleanse(k->key, sizeof(k->key));
	cw_free(k->device);
	cw_free(k);
}

static void drop(struct coap_tokens *t, struct coap_token *k)
{
	cw_map_remove(&t->by_text, &k->by_text);
	cw_map_remove(&t->by_device, &k->by_device);
	cw_list_remove(&k->link);
	release(k);
}

void cw_cloud_coap_tokens_fini(struct coap_tokens *t)
{
	struct cw_list *e;

	while ((e = cw_list_first(&t->all)) != NULL)
		drop(t, cw_container_of(e, struct coap_token, link));
	cw_map_fini(&t->by_text);
	cw_map_fini(&t->by_device);
}

static struct cloud_device *device_of(const struct coap_tokens *t, const struct coap_token *k)
{
	const char *slash = strchr(k->device, '/');
	struct cloud_device *d = cw_cloud_device_find(t->cloud, k->device, (size_t)(slash - k->device), slash + 1,
	                                              strlen(slash + 1));

	return d != NULL && d->serial == k->serial ? d : NULL;
}

static int is_over(const struct coap_tokens *t, const struct coap_token *k)
{
	return k->until_ms <= cw_cloud_wall_ms(t->cloud) || device_of(t, k) == NULL;
}

/* n characters of the alphabet and NUL; sizes of alphabets are not all powers of two, the bias is of no use to anybody. */
static int make_text(char *out, size_t n, const char *alphabet)
{
	unsigned char noise[40];
	size_t i, size = strlen(alphabet);

	if (RAND_bytes(noise, (int)n) != 1)
		return CW_ENOMEM;
	for (i = 0; i < n; i++)
		out[i] = alphabet[noise[i] % size];
	out[n] = '\0';
	return 0;
}

static int make_secrets(struct coap_token *k, const char *secret)
{
	static const char hex[] = "0123456789abcdef", digits[] = "123456789",
	                  word[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	char digit[2];
	int rc;

	if (k->secure)
		return make_text(k->text, 32, hex);
	rc = make_text(k->text, 30, word);
	k->text[30] = '.';
	if (rc == 0)
		rc = make_text(k->text + 31, 4, hex);
	if (rc == 0)
		rc = make_text(k->random, 16, hex);
	if (rc == 0)
		rc = make_text(digit, 1, digits);
	if (rc < 0)
		return rc;
	k->seq_offset = (unsigned)(digit[0] - '0');
	return cw_cloud_coap_key(secret, k->random, k->key);
}

struct coap_token *cw_cloud_coap_token_new(struct coap_tokens *t, const struct cloud_device *d, int secure)
{
	struct cw_map_node *old = cw_map_find(&t->by_device, d->id, strlen(d->id));
	struct coap_token *k = cw_zalloc(sizeof(*k));
	struct cw_list *e;

	if (k == NULL)
		return NULL;
	k->secure = secure;
	k->serial = d->serial;
	k->device = cw_strdup(d->id);
	k->until_ms = cw_cloud_wall_ms(t->cloud) + (int64_t)t->cloud->conf.limits.coap_token_ms;
	if (k->device == NULL || make_secrets(k, d->secret) < 0) {
		release(k);
		return NULL;
	}
	if (old != NULL)
		drop(t, cw_container_of(old, struct coap_token, by_device));
	while ((e = cw_list_first(&t->all)) != NULL && is_over(t, cw_container_of(e, struct coap_token, link)))
		drop(t, cw_container_of(e, struct coap_token, link));
	if (cw_map_add(&t->by_text, &k->by_text, k->text, strlen(k->text)) < 0) {
		release(k);
		return NULL;
	}
	if (cw_map_add(&t->by_device, &k->by_device, k->device, strlen(k->device)) < 0) {
		cw_map_remove(&t->by_text, &k->by_text);
		release(k);
		return NULL;
	}
	cw_list_push_back(&t->all, &k->link);
	return k;
}

struct coap_token *cw_cloud_coap_token_find(struct coap_tokens *t, const struct cloud_text *text,
                                            struct cloud_device **ret_device)
{
	struct cw_map_node *node = cw_map_find(&t->by_text, text->s, text->len);
	struct coap_token *k = node != NULL ? cw_container_of(node, struct coap_token, by_text) : NULL;

	if (k == NULL)
		return NULL;
	if (is_over(t, k)) {
		drop(t, k);
		return NULL;
	}
	*ret_device = device_of(t, k);
	return k;
}
