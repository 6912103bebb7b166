/* lot_sum.c - what the entry of an import says of its certificates. See stock_impl.h. */
#include <inttypes.h>
#include <mbedtls/md.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digits.h"
#include "factory/stock/stock_impl.h"

/* A text with its length before it, so that no two lists of texts are the same bytes. */
static void feed(mbedtls_md_context_t *md, const char *text)
{
	size_t len = text == NULL ? 0 : strlen(text);
	uint8_t head[4] = { (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len };

	(void)mbedtls_md_hmac_update(md, head, sizeof(head));
	(void)mbedtls_md_hmac_update(md, (const uint8_t *)(len > 0 ? text : ""), len);
}

/*
 * Nobody without the key can make a mac, and no two certificates are the same, so nobody can make another set with this
 * exclusive or. The state is not in it: entries of their own tell that.
 */
int stock_lot_sum_add(const struct cw_stock *s, struct stock_lot_sum *sum, const char *product_key, const char *device_name,
                      const char *product_id, const char *extra)
{
	static const char purpose[] = "causeway lot";
	mbedtls_md_context_t md;
	uint8_t mac[STOCK_MAC];
	size_t i;

	mbedtls_md_init(&md);
	if (mbedtls_md_setup(&md, mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), 1) != 0) {
		mbedtls_md_free(&md);
		return CW_ENOMEM;
	}
	(void)mbedtls_md_hmac_starts(&md, s->audit_key, sizeof(s->audit_key));
	feed(&md, purpose);
	feed(&md, product_key);
	feed(&md, device_name);
	feed(&md, product_id);
	feed(&md, extra);
	(void)mbedtls_md_hmac_finish(&md, mac);
	mbedtls_md_free(&md);
	for (i = 0; i < sizeof(mac); i++)
		sum->sum[i] ^= mac[i];
	sum->count++;
	return 0;
}

void stock_lot_sum_text(const struct stock_lot_sum *sum, int64_t lot, char out[STOCK_LOT_SUM_TEXT])
{
	int n = snprintf(out, STOCK_LOT_SUM_TEXT, "lot %" PRId64 ": %" PRIu64 " new, sum ", lot, sum->count);

	cw_hex(out + n, cw_bytes_of(sum->sum, sizeof(sum->sum))); /* two numbers of 20 digits and 64 digits fit */
}

int stock_lot_sum_read(const char *text, int64_t *ret_lot, struct stock_lot_sum *ret_sum)
{
	int at = 0;
	size_t i;

	if (sscanf(text, "lot %" SCNd64 ": %" SCNu64 " new, sum %n", ret_lot, &ret_sum->count, &at) != 2 || at == 0 ||
	    strspn(text + at, "0123456789abcdef") < sizeof(ret_sum->sum) * 2)
		return 0;
	for (i = 0; i < sizeof(ret_sum->sum); i++)
		ret_sum->sum[i] = (uint8_t)(cw_hex_value(text[at + 2 * (int)i]) << 4 | cw_hex_value(text[at + 2 * (int)i + 1]));
	return 1;
}
