/*
 * naming.h - what names the platform accepts. Each check: 0, or CW_EINVAL with a sentence that says what is wrong.
 * Chinese and Japanese characters count 2. Any thread; nothing is kept.
 */
#ifndef CW_CLOUD_NAMING_H
#define CW_CLOUD_NAMING_H

#include "base/err.h"

/* Up to 20 letters and digits; the platform's own are of 11, older and test stocks of other lengths. */
int cw_cloud_check_product_key(const char *text, struct cw_msg *msg);
/* 4 to 30 of Chinese, Japanese, letters, digits and _ - @ ( ). */
int cw_cloud_check_product_name(const char *text, struct cw_msg *msg);
/* 4 to 32 of letters, digits and - _ @ . : */
int cw_cloud_check_device_name(const char *text, struct cw_msg *msg);
/* 4 to 64 of Chinese, Japanese, letters, digits and _. */
int cw_cloud_check_nickname(const char *text, struct cw_msg *msg);

#endif
