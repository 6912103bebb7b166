/*
 * names.h - what the parts of a certificate look like. Each check returns 0, or CW_EINVAL with a sentence that
 * names the part, what was found and what is expected; never the text of a secret. Any thread.
 */
#ifndef CW_PLATFORM_NAMES_H
#define CW_PLATFORM_NAMES_H

#include "base/err.h"

#define CW_PRODUCT_KEY_LEN 11u
#define CW_DEVICE_NAME_LEAST 4u
#define CW_DEVICE_NAME_MOST 32u
#define CW_PRODUCT_SECRET_LEAST 16u
#define CW_PRODUCT_SECRET_MOST 64u

/* NULL counts as empty in all of them. */
int cw_check_product_key(const char *text, struct cw_msg *msg);
int cw_check_device_name(const char *text, struct cw_msg *msg);
/* 16 to 64; *ret_odd: 1 when it is neither 16 nor 32, which deserves a warning (made by cw_odd_product_secret()). */
int cw_check_product_secret(const char *text, int *ret_odd, struct cw_msg *msg);
void cw_odd_product_secret(const char *text, struct cw_msg *msg);
int cw_check_device_secret(const char *text, struct cw_msg *msg);

#endif
