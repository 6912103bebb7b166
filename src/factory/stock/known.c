/* known.c - see known.h. */
#include "factory/stock/known.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "factory/stock/devices.h"
#include "factory/stock/shelf.h"

static void take_cert(const struct cw_stock_cert *c, struct cw_stock_known *k)
{
	(void)snprintf(k->identity, sizeof(k->identity), "%s", c->device_id[0] != '\0' ? c->device_id : c->device_name);
	(void)snprintf(k->product_key, sizeof(k->product_key), "%s", c->product_key);
	(void)snprintf(k->device_name, sizeof(k->device_name), "%s", c->device_name);
	(void)snprintf(k->device_secret, sizeof(k->device_secret), "%s", c->device_secret);
}

static int find(struct cw_stock *s, const char *product_key, const char *device_id, const char *device_name, struct cw_stock_known *ret,
		struct cw_msg *msg)
{
	struct cw_stock_cert cert = { .product_key = "" };
	int rc = cw_stock_find(s, product_key, device_id, device_name, &cert, msg);

	if (rc == 0)
		take_cert(&cert, ret);
	explicit_bzero(&cert, sizeof(cert));
	return rc;
}

/* ---- boards of the line ------------------------------------------------------------------------------ */

struct products {
	struct cw_stock_product *items;
	size_t count, size;
};

static int add_product(void *arg, const struct cw_stock_product *p)
{
	struct products *all = arg;
	struct cw_stock_product *more;

	if (!p->normalize_mac)
		return 0;
	if (all->count == all->size) {
		more = cw_realloc(all->items, (all->size * 2 + 8) * sizeof(*more));
		if (more == NULL)
			return CW_ENOMEM;
		all->items = more;
		all->size = all->size * 2 + 8;
	}
	all->items[all->count++] = *p;
	return 0;
}

/* A MAC in another form than the product's boards are kept under. */
static int find_normalized(struct cw_stock *s, const char *identity, struct cw_stock_known *ret, struct cw_msg *msg)
{
	struct cw_stock_known one = { .identity = "" };
	struct products all = { NULL, 0, 0 };
	char id[CW_STOCK_DEVICE_ID + 1];
	int rc = cw_stock_products(s, add_product, &all, msg), got = 0;
	size_t i;

	for (i = 0; rc == 0 && i < all.count; i++) {
		cw_stock_device_id(&all.items[i], cw_bytes_text(identity), id);
		if (strcmp(id, identity) == 0)
			continue; /* was looked for already */
		rc = find(s, all.items[i].product_key, id, NULL, &one, msg);
		if (rc == 0 && got)
			rc = cw_fail(msg, CW_EEXIST, "DeviceID %.128s is that of boards of two products, %s and %s", identity, ret->product_key, one.product_key);
		if (rc == 0) {
			*ret = one;
			got = 1;
		}
		rc = rc == CW_ENOENT ? 0 : rc;
	}
	explicit_bzero(&one, sizeof(one));
	cw_free(all.items);
	return rc < 0 ? rc : got ? 0 : CW_ENOENT;
}

struct names {
	char product_key[CW_STOCK_PRODUCT_KEY + 1];
	size_t count;
};

static int add_name(void *arg, const struct cw_stock_row *row)
{
	struct names *n = arg;

	if (row->state != CW_STOCK_ALLOCATED && row->state != CW_STOCK_WRITTEN)
		return 0;
	(void)snprintf(n->product_key, sizeof(n->product_key), "%s", row->product_key);
	n->count++;
	return 0;
}

static int find_by_name(struct cw_stock *s, const char *name, struct cw_stock_known *ret, struct cw_msg *msg)
{
	const struct cw_stock_filter filter = { .device_name = name, .state = -1 };
	struct names n = { .count = 0 };
	int rc = strlen(name) > CW_STOCK_DEVICE_NAME ? CW_ENOENT : cw_stock_query(s, &filter, add_name, &n, msg);

	if (rc == 0 && n.count == 0)
		return CW_ENOENT;
	if (rc == 0 && n.count > 1)
		return cw_fail(msg, CW_EEXIST, "DeviceName %.32s is that of boards of several products", name);
	return rc < 0 ? rc : find(s, n.product_key, NULL, name, ret, msg);
}

/* ---- devices in the field ---------------------------------------------------------------------------- */

static int take_device(void *arg, const struct cw_field_device *d)
{
	struct cw_stock_known *k = arg;

	if (d->device_secret[0] == '\0')
		return 0; /* not registered yet: nobody logs in with it */
	if (k->identity[0] != '\0')
		return CW_EEXIST;
	(void)snprintf(k->identity, sizeof(k->identity), "%s", d->device_id);
	(void)snprintf(k->product_key, sizeof(k->product_key), "%s", d->product_key);
	(void)snprintf(k->device_name, sizeof(k->device_name), "%s", d->device_name);
	(void)snprintf(k->device_secret, sizeof(k->device_secret), "%s", d->device_secret);
	return 0;
}

static int field_found(int rc, const struct cw_stock_known *k)
{
	return rc == 0 && k->identity[0] == '\0' ? CW_ENOENT : rc;
}

int cw_stock_known(struct cw_stock *s, const char *identity, struct cw_stock_known *ret, struct cw_msg *msg)
{
	int rc;

	memset(ret, 0, sizeof(*ret));
	if (identity[0] == '\0' || strlen(identity) > CW_STOCK_DEVICE_ID)
		return CW_ENOENT;
	rc = find(s, NULL, identity, NULL, ret, msg);
	if (rc == CW_ENOENT)
		rc = find_normalized(s, identity, ret, msg);
	if (rc == CW_ENOENT)
		rc = field_found(cw_field_find(s, identity, take_device, ret, msg), ret);
	if (rc == CW_ENOENT)
		rc = find_by_name(s, identity, ret, msg);
	if (rc == CW_ENOENT)
		rc = field_found(cw_field_find_name(s, NULL, identity, take_device, ret, msg), ret);
	if (rc == CW_EEXIST && ret->identity[0] != '\0')
		rc = cw_fail(msg, CW_EEXIST, "DeviceName %.32s is that of devices in the field of several products", identity);
	return rc;
}

int cw_stock_known_name(struct cw_stock *s, const char *product_key, const char *device_name, struct cw_stock_known *ret, struct cw_msg *msg)
{
	int rc;

	memset(ret, 0, sizeof(*ret));
	rc = find(s, product_key, NULL, device_name, ret, msg);
	if (rc == CW_ENOENT)
		rc = field_found(cw_field_find_name(s, product_key, device_name, take_device, ret, msg), ret);
	return rc;
}
