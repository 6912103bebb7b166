/* session.c - see session.h. */
#include "cloud/coap/session.h"

#include <string.h>

#include "base/mem.h"

const struct coap_answer *cw_cloud_coap_recall(const struct coap_peer *p, uint16_t mid, const uint8_t *token, size_t token_len,
                                               uint64_t now_ms)
{
	unsigned i;

	for (i = 0; i < COAP_RECENT; i++) {
		const struct coap_recent *r = &p->recent[i];

		if (r->until_ms > now_ms && r->mid == mid && r->token_len == token_len && memcmp(r->token, token, token_len) == 0)
			return r->answer;
	}
	return NULL;
}

void cw_cloud_coap_remember(struct coap_peer *p, uint16_t mid, const uint8_t *token, size_t token_len,
                            const struct coap_answer *a, uint64_t now_ms)
{
	struct coap_recent *r = &p->recent[p->next % COAP_RECENT];

	if (token_len > sizeof(r->token))
		return;
	r->until_ms = 0;
	if (r->answer == NULL)
		r->answer = cw_alloc(sizeof(*r->answer));
	if (r->answer == NULL)
		return;
	*r->answer = *a;
	r->mid = mid;
	r->token_len = (uint8_t)token_len;
	memcpy(r->token, token, token_len);
	r->until_ms = now_ms + COAP_RECENT_MS;
	p->next++;
}

void cw_cloud_coap_peer_free(struct coap_peer *p)
{
	unsigned i;

	if (p == NULL)
		return;
	for (i = 0; i < COAP_RECENT; i++)
		cw_free(p->recent[i].answer);
	cw_free(p);
}
