/* naming.c - see naming.h. */
#include "cloud/core/stock/naming.h"

#include <stdint.h>
#include <string.h>

struct rule {
	const char *what, *marks; /* ASCII beside letters and digits */
	size_t least, most;
	int wide; /* Chinese and Japanese characters may occur, and count 2 */
	const char *accepted;
};

/* One character of UTF-8 and its length; 0 for bytes that are none. */
static size_t decode(const unsigned char *s, uint32_t *ret_code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc0 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf8 ? 4 : 0, i;
	uint32_t code = n <= 1 ? s[0] : s[0] & (0x7fu >> n);

	for (i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80) /* the final NUL too */
			return 0;
		code = code << 6 | (s[i] & 0x3fu);
	}
	*ret_code = code;
	return n != 0 && code >= least[n] ? n : 0;
}

static int is_wide(uint32_t c)
{
	return c == 0x3005 || c == 0x3007 ||     /* repetition mark, zero */
	       (c >= 0x3041 && c <= 0x30ff) ||   /* kana */
	       (c >= 0x31f0 && c <= 0x31ff) || (c >= 0xff66 && c <= 0xff9f) || (c >= 0x3400 && c <= 0x4dbf) ||
	       (c >= 0x4e00 && c <= 0x9fff) || (c >= 0xf900 && c <= 0xfaff) || (c >= 0x20000 && c <= 0x3ffff);
}

static int is_plain(uint32_t c, const char *marks)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c != 0 && c < 0x80 && strchr(marks, (int)c) != NULL);
}

static int check(const struct rule *r, const char *text, struct cw_msg *msg)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t count = 0, at = 0, n;
	uint32_t code;

	while (s[at] != '\0' && count <= r->most) {
		n = decode(s + at, &code);
		if (n == 0)
			return cw_fail(msg, CW_EINVAL, "%s: byte %zu is not UTF-8; %s are accepted", r->what, at + 1, r->accepted);
		if (!is_plain(code, r->marks) && !(r->wide && is_wide(code)))
			return cw_fail(msg, CW_EINVAL, "%s \"%.64s\": '%.*s' is not allowed; %s are accepted", r->what, text, (int)n,
			               text + at, r->accepted);
		count += is_wide(code) ? 2 : 1;
		at += n;
	}
	if (count < r->least || count > r->most)
		return cw_fail(msg, CW_EINVAL, "%s \"%.64s\" is too %s; %s are accepted", r->what, text,
		               count < r->least ? "short" : "long", r->accepted);
	return 0;
}

int cw_cloud_check_product_key(const char *text, struct cw_msg *msg)
{
	static const struct rule rule = { "productKey", "", 1, 20, 0, "up to 20 letters and digits" };

	return check(&rule, text, msg);
}

int cw_cloud_check_product_name(const char *text, struct cw_msg *msg)
{
	static const struct rule rule = { "product name", "_-@()", 4, 30, 1,
		                          "4 to 30 of Chinese, Japanese (which count 2), letters, digits and _ - @ ( )" };

	return check(&rule, text, msg);
}

int cw_cloud_check_device_name(const char *text, struct cw_msg *msg)
{
	static const struct rule rule = { "deviceName", "-_@.:", 4, 32, 0, "4 to 32 of letters, digits and - _ @ . :" };

	return check(&rule, text, msg);
}

int cw_cloud_check_nickname(const char *text, struct cw_msg *msg)
{
	static const struct rule rule = { "nickname", "_", 4, 64, 1,
		                          "4 to 64 of Chinese, Japanese (which count 2), letters, digits and _" };

	return check(&rule, text, msg);
}
