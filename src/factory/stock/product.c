/* product.c - what holds for a product, and what it makes of a DeviceID and of a check sum. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/crc32.h"
#include "base/digits.h"
#include "factory/stock/stock_impl.h"

#define COLUMNS "product_key, bluetooth, product_id, crc_form, crc_order, normalize_mac, reply_columns"

static void copy(char *out, size_t size, const struct cw_db_value *v)
{
	(void)snprintf(out, size, "%.*s", (int)v->bytes.len, (const char *)v->bytes.ptr);
}

void stock_product_read(const struct cw_db_value *columns, struct cw_stock_product *p)
{
	copy(p->product_key, sizeof(p->product_key), &columns[0]);
	p->bluetooth = columns[1].number != 0;
	copy(p->product_id, sizeof(p->product_id), &columns[2]);
	p->crc_form = columns[3].number == CW_STOCK_CRC_NUMBER ? CW_STOCK_CRC_NUMBER : CW_STOCK_CRC_TEXT;
	p->crc_order = columns[4].number == CW_STOCK_CRC_PROSE ? CW_STOCK_CRC_PROSE : CW_STOCK_CRC_CODE;
	p->normalize_mac = columns[5].number != 0;
	copy(p->reply_columns, sizeof(p->reply_columns), &columns[6]);
}

static int on_one(void *arg, size_t set, const struct cw_db_value *columns, size_t count)
{
	stock_product_read(columns, arg);
	return 0;
}

int cw_stock_product_get(struct cw_stock *s, const char *product_key, struct cw_stock_product *ret, struct cw_msg *msg)
{
	const struct cw_db_value key = cw_db_text(product_key);
	int rc;

	memset(ret, 0, sizeof(*ret));
	rc = cw_db_run(s->db, "SELECT " COLUMNS " FROM product WHERE product_key = $1", &key, 1, on_one, ret, NULL, msg);
	if (rc == 0 && ret->product_key[0] == '\0')
		rc = cw_fail(msg, CW_ENOENT, "there is no product %s in stock; import its certificates first", product_key);
	return rc;
}

struct change {
	const struct cw_stock_product *p;
	const struct cw_stock_actor *who;
};

static int put(struct cw_stock *s, void *arg, struct cw_msg *msg)
{
	const struct change *c = arg;
	const struct cw_stock_product *p = c->p;
	struct cw_audit_entry entry = { .what = stock_audit_name(CW_AUDIT_PRODUCT), .who = c->who->name, .address = c->who->address,
					.product_key = p->product_key };
	struct cw_db_value v[7];
	char text[512];
	int rc;

	v[0] = cw_db_text(p->product_key);
	v[1] = cw_db_int(p->bluetooth != 0);
	v[2] = cw_db_text(p->product_id);
	v[3] = cw_db_int(p->crc_form);
	v[4] = cw_db_int(p->crc_order);
	v[5] = cw_db_int(p->normalize_mac != 0);
	v[6] = cw_db_text(p->reply_columns);
	(void)snprintf(text, sizeof(text), "%s, ProductID \"%s\", CRC32 as %s of %s, MACs %s, further columns \"%s\"",
		       p->bluetooth ? "Bluetooth" : "Wi-Fi", p->product_id, p->crc_form == CW_STOCK_CRC_NUMBER ? "number" : "text",
		       p->crc_order == CW_STOCK_CRC_PROSE ? "pk ps dn ds" : "pk dn ds ps", p->normalize_mac ? "in one form" : "as sent",
		       p->reply_columns);
	entry.text = text;
	rc = cw_db_run(s->db,
		       "INSERT INTO product (" COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (product_key) DO UPDATE SET"
		       " bluetooth = excluded.bluetooth, product_id = excluded.product_id, crc_form = excluded.crc_form,"
		       " crc_order = excluded.crc_order, normalize_mac = excluded.normalize_mac, reply_columns = excluded.reply_columns",
		       v, 7, NULL, NULL, NULL, msg);
	return rc < 0 ? rc : stock_audit(s, &entry, 1, msg);
}

int stock_reply_member(const char *name)
{
	static const char *const members[] = { "ProductKey", "ProductSecret", "DeviceSecret", "CRC32", "DeviceName", "DeviceID", "Status", "Message" };
	size_t i;

	for (i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (strcasecmp(members[i], name) == 0) /* clients that do not look at case, too */
			return 1;
	return 0;
}

static int check_reply_columns(const char *list, struct cw_msg *msg)
{
	char names[sizeof(((struct cw_stock_product *)NULL)->reply_columns)], *rest = names, *name;
	int rc = stock_check_text("the further columns of replies", list, sizeof(names) - 1, msg);

	if (rc < 0)
		return rc;
	(void)snprintf(names, sizeof(names), "%s", list);
	while ((name = strsep(&rest, ",")) != NULL) {
		name += strspn(name, " ");
		name[strcspn(name, " ")] = '\0';
		if (stock_reply_member(name))
			return cw_fail(msg, CW_EINVAL, "the further column %s cannot be in replies, for they have a %s of their own; rename it in the file", name,
				       name);
	}
	return 0;
}

int cw_stock_product_put(struct cw_stock *s, const struct cw_stock_product *p, const struct cw_stock_actor *who, struct cw_msg *msg)
{
	struct change c = { p, who };

	if (!stock_word(p->product_key, CW_STOCK_PRODUCT_KEY))
		return cw_fail(msg, CW_EINVAL, "ProductKey: 1 to %d printable characters are needed, without blanks", CW_STOCK_PRODUCT_KEY);
	if (check_reply_columns(p->reply_columns, msg) < 0)
		return CW_EINVAL;
	return stock_transact(s, put, &c, msg);
}

struct walk {
	int (*fn)(void *arg, const struct cw_stock_product *p);
	void *arg;
};

static int on_each(void *arg, size_t set, const struct cw_db_value *columns, size_t count)
{
	const struct walk *w = arg;
	struct cw_stock_product p;

	stock_product_read(columns, &p);
	return w->fn(w->arg, &p);
}

int cw_stock_products(struct cw_stock *s, int (*fn)(void *arg, const struct cw_stock_product *p), void *arg, struct cw_msg *msg)
{
	struct walk w = { fn, arg };

	return cw_db_run(s->db, "SELECT " COLUMNS " FROM product ORDER BY product_key", NULL, 0, on_each, &w, NULL, msg);
}

int stock_word(const char *text, size_t most)
{
	size_t i;

	for (i = 0; text != NULL && text[i] != '\0'; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return 0;
	return text != NULL && i > 0 && i <= most;
}

/* ---- DeviceIDs ----------------------------------------------------------------------------------- */

/* AABBCCDDEEFF, AA:BB:.., AA-BB-.., AABB.CCDD.EEFF and the like: twelve digits, with one and the same sign after every two, or every four. */
static int mac_of(struct cw_bytes sent, char out[13])
{
	size_t digits = 0, group = 0, i;
	char sign = '\0';

	for (i = 0; i < sent.len; i++) {
		char c = (char)sent.ptr[i];
		int value = cw_hex_value(c);

		if (value >= 0 && digits < 12) {
			out[digits++] = "0123456789ABCDEF"[value];
			continue;
		}
		if (strchr(":-. ", c) == NULL || c == '\0' || (sign != '\0' && c != sign))
			return 0;
		if (sign == '\0') {
			sign = c;
			group = digits;
		}
		if ((group != 2 && group != 4) || digits % group != 0 || digits == 12 || i != digits + digits / group - 1)
			return 0;
	}
	out[12] = '\0';
	return digits == 12 && (sign == '\0' || sent.len == 12 + 12 / group - 1);
}

void cw_stock_device_id(const struct cw_stock_product *p, struct cw_bytes sent, char *out)
{
	size_t len = sent.len > CW_STOCK_DEVICE_ID ? CW_STOCK_DEVICE_ID : sent.len;

	if (p->normalize_mac && mac_of(sent, out))
		return;
	if (len > 0)
		memcpy(out, sent.ptr, len);
	out[len] = '\0';
}

uint32_t cw_stock_crc(const struct cw_stock_product *p, const struct cw_stock_cert *cert)
{
	const char *code[] = { cert->product_key, cert->device_name, cert->device_secret, cert->product_secret };
	const char *prose[] = { cert->product_key, cert->product_secret, cert->device_name, cert->device_secret };
	const char *const *parts = p->crc_order == CW_STOCK_CRC_PROSE ? prose : code;
	uint32_t crc = 0;
	size_t i;

	for (i = 0; i < 4; i++)
		crc = cw_crc32(crc, cw_bytes_text(parts[i]));
	if (p->bluetooth)
		crc = cw_crc32(crc, cw_bytes_text(cert->product_id[0] != '\0' ? cert->product_id : p->product_id));
	return crc;
}
