/* product.h - the options about a product that `import` and `product set` share. */
#ifndef CW_CLI_FACTORY_PRODUCT_H
#define CW_CLI_FACTORY_PRODUCT_H

#include "cli/factory/tool.h"

struct factory_product_change {
	int bluetooth, normalize_mac; /* -1: as it is */
	const char *product_id, *crc_form, *crc_order, *reply_columns;
};
#define FACTORY_PRODUCT_OPTIONS 8
#define FACTORY_PRODUCT_USAGE                                                                            \
	"  --bluetooth --product-id N  a Bluetooth product: the check sum goes over the ProductID, too\n"        \
	"  --normalize-mac             AA:BB:.., aa-bb-.. and aabb.. are one DeviceID\n"                       \
	"  --crc32 text|number         eight hexadecimal digits (the default), or a decimal number\n"            \
	"  --crc-order code|prose      pk dn ds ps (the default, as all programs have it) or pk ps dn ds\n"      \
	"  --reply-columns A,B         further columns of the file that replies to stations carry\n"

/* `c` is initialised here. */
void factory_product_options(struct factory_product_change *c, struct factory_option out[FACTORY_PRODUCT_OPTIONS]);
/* -1: all right, or the exit status. */
int factory_product_check(const struct factory_tool *t, const struct factory_product_change *c);
/* 1: something is to be changed. */
int factory_product_changes(const struct factory_product_change *c);
/* Of a product that may not be there yet. */
int factory_product_apply(struct factory_tool *t, const struct factory_product_change *c, const char *product_key, struct cw_msg *msg);

#endif
