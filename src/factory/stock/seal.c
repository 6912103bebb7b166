/* seal.c - the two secrets of a certificate, as they lie in the database. */
#include <string.h>

#include "factory/stock/stock_impl.h"

#define WITH_MOST (CW_STOCK_PRODUCT_KEY + 1 + CW_STOCK_DEVICE_NAME)
#define PLAIN_MOST (STOCK_SEALED_MAX - CW_SEAL_EXTRA)

/* What a seal is bound to. A NUL is in neither, so no other two texts are the same bytes. */
static int bind_to(const char *product_key, const char *device_name, uint8_t out[WITH_MOST], struct cw_bytes *ret)
{
	struct cw_writer w = cw_writer_of(out, WITH_MOST);

	cw_write_bytes(&w, cw_bytes_text(product_key));
	cw_write_u8(&w, 0);
	cw_write_bytes(&w, cw_bytes_text(device_name));
	*ret = cw_written(&w);
	return w.overflow ? CW_EINVAL : 0;
}

int stock_seal(struct cw_stock *s, const char *product_key, const char *device_name, const char *device_secret, const char *product_secret,
	       uint8_t out[STOCK_SEALED_MAX], size_t *ret_len)
{
	uint8_t plain[PLAIN_MOST], name[WITH_MOST];
	struct cw_writer w = cw_writer_of(plain, sizeof(plain));
	struct cw_bytes with;
	int rc = bind_to(product_key, device_name, name, &with);

	if (strlen(device_secret) > CW_STOCK_DEVICE_SECRET || strlen(product_secret) > CW_STOCK_PRODUCT_SECRET)
		return CW_EINVAL;
	cw_write_u8(&w, (uint8_t)strlen(device_secret));
	cw_write_bytes(&w, cw_bytes_text(device_secret));
	cw_write_u8(&w, (uint8_t)strlen(product_secret));
	cw_write_bytes(&w, cw_bytes_text(product_secret));
	if (rc == 0)
		rc = cw_key_seal(&s->key, with, cw_written(&w), out);
	*ret_len = w.len + CW_SEAL_EXTRA;
	explicit_bzero(plain, sizeof(plain));
	return rc;
}

static void take(struct cw_reader *r, char *out, size_t most)
{
	size_t len = cw_read_u8(r);
	struct cw_bytes b = cw_read_bytes(r, len);

	if (b.len > most || r->short_read) {
		r->short_read = 1;
		b.len = 0;
	}
	if (b.len > 0)
		memcpy(out, b.ptr, b.len);
	out[b.len] = '\0';
}

int stock_open_seal(struct cw_stock *s, const char *product_key, const char *device_name, struct cw_bytes sealed, struct cw_stock_cert *ret,
		    struct cw_msg *msg)
{
	uint8_t plain[PLAIN_MOST], name[WITH_MOST];
	struct cw_bytes with;
	int rc = CW_EAUTH;

	ret->device_secret[0] = ret->product_secret[0] = '\0';
	if (!s->has_key)
		return cw_fail(msg, CW_EAUTH, "the secrets of %s %s cannot be read without the key file", product_key, device_name);
	if (sealed.len >= CW_SEAL_EXTRA && sealed.len <= STOCK_SEALED_MAX && bind_to(product_key, device_name, name, &with) == 0)
		rc = cw_key_open(&s->key, with, sealed, plain);
	if (rc == 0) {
		struct cw_reader r = cw_reader_of(cw_bytes_of(plain, sealed.len - CW_SEAL_EXTRA));

		take(&r, ret->device_secret, CW_STOCK_DEVICE_SECRET);
		take(&r, ret->product_secret, CW_STOCK_PRODUCT_SECRET);
		if (r.short_read || cw_read_left(&r) != 0)
			rc = CW_EAUTH;
		explicit_bzero(plain, sizeof(plain));
	}
	if (rc == 0)
		return 0;
	return cw_fail(msg, CW_EAUTH,
		       "the secrets of %s %s do not open: they were sealed with another key, moved from another certificate, or are "
		       "damaged; void it, and see causeway factory audit --verify",
		       product_key, device_name);
}
