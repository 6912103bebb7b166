/*
 * known.h - who is this board? For gateways, which know a device by what it says of itself.
 *
 * An identity is, in this order: the DeviceID of a board of the line (byte by byte, then as products that normalise MACs keep it), the
 * deviceId of a device in the field that has its certificate, the DeviceName of a board, the DeviceName of such a device. Nothing is changed.
 */
#ifndef CW_FACTORY_KNOWN_H
#define CW_FACTORY_KNOWN_H

#include "factory/stock/stock.h"

/* Wipe it after use. */
struct cw_stock_known {
	char identity[CW_STOCK_DEVICE_ID + 1]; /* what the board says of itself, as far as known: its DeviceID, else its DeviceName */
	char product_key[CW_STOCK_PRODUCT_KEY + 1], device_name[CW_STOCK_DEVICE_NAME + 1], device_secret[CW_STOCK_DEVICE_SECRET + 1];
};

/* CW_ENOENT; CW_EEXIST with a sentence: of several products, and nobody can say which is meant; or as all calls. */
int cw_stock_known(struct cw_stock *s, const char *identity, struct cw_stock_known *ret, struct cw_msg *msg);
/* The reverse. CW_ENOENT. */
int cw_stock_known_name(struct cw_stock *s, const char *product_key, const char *device_name, struct cw_stock_known *ret, struct cw_msg *msg);

#endif
