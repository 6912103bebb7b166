/* names.c - see names.h. */
#include "platform/names.h"

#include <string.h>

static const char letters_digits[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

static int empty(const char *part, const char *text, struct cw_msg *msg)
{
	return text == NULL || text[0] == '\0' ? cw_fail(msg, CW_EINVAL, "%s is empty", part) : 0;
}

int cw_check_product_key(const char *text, struct cw_msg *msg)
{
	if (empty("ProductKey", text, msg) < 0)
		return CW_EINVAL;
	if (strlen(text) != CW_PRODUCT_KEY_LEN)
		return cw_fail(msg, CW_EINVAL, "ProductKey has %zu characters; expected are %u", strlen(text), CW_PRODUCT_KEY_LEN);
	if (text[strspn(text, letters_digits)] != '\0')
		return cw_fail(msg, CW_EINVAL, "ProductKey has characters other than letters and digits");
	return 0;
}

int cw_check_device_name(const char *text, struct cw_msg *msg)
{
	size_t n;

	if (empty("DeviceName", text, msg) < 0)
		return CW_EINVAL;
	n = strlen(text);
	if (n < CW_DEVICE_NAME_LEAST || n > CW_DEVICE_NAME_MOST)
		return cw_fail(msg, CW_EINVAL, "DeviceName has %zu characters; expected are %u to %u", n, CW_DEVICE_NAME_LEAST,
			       CW_DEVICE_NAME_MOST);
	for (; *text != '\0'; text++)
		if (strchr(letters_digits, *text) == NULL && strchr("-_@.:", *text) == NULL)
			return cw_fail(msg, CW_EINVAL, "DeviceName has characters other than letters, digits and - _ @ . :");
	return 0;
}

/* Texts that go into user names, forms and result lines. */
static int printable(const char *part, const char *text, struct cw_msg *msg)
{
	for (; *text != '\0'; text++)
		if (*text <= ' ' || *text > '~')
			return cw_fail(msg, CW_EINVAL, "%s has blanks or characters that are not plain ASCII", part);
	return 0;
}

int cw_check_product_secret(const char *text, int *ret_odd, struct cw_msg *msg)
{
	size_t n;

	*ret_odd = 0;
	if (empty("ProductSecret", text, msg) < 0)
		return CW_EINVAL;
	n = strlen(text);
	if (n < CW_PRODUCT_SECRET_LEAST || n > CW_PRODUCT_SECRET_MOST)
		return cw_fail(msg, CW_EINVAL, "ProductSecret has %zu characters; expected are 32 (or 16), accepted are %u to %u", n,
			       CW_PRODUCT_SECRET_LEAST, CW_PRODUCT_SECRET_MOST);
	*ret_odd = n != 16 && n != 32;
	return printable("ProductSecret", text, msg);
}

void cw_odd_product_secret(const char *text, struct cw_msg *msg)
{
	cw_msg_set(msg, "ProductSecret has %zu characters; the platform issues 32 or 16", strlen(text));
}

int cw_check_device_secret(const char *text, struct cw_msg *msg)
{
	if (empty("DeviceSecret", text, msg) < 0)
		return CW_EINVAL;
	if (strlen(text) > 64)
		return cw_fail(msg, CW_EINVAL, "DeviceSecret has %zu characters; expected are 32, accepted are up to 64", strlen(text));
	return printable("DeviceSecret", text, msg);
}
