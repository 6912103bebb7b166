/* number.c - see number.h. */
#include "conf/number.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "causeway/error.h"
#include "conf/lex.h"
#include "conf/value.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static size_t digits(const char *text, size_t len)
{
	size_t n = 0;

	while (n < len && is_digit(text[n]))
		n++;
	return n;
}

int conf_parse_long(const char *text, size_t len, int64_t *ret)
{
	bool negative = len > 0 && text[0] == '-';
	size_t i = len > 0 && (text[0] == '-' || text[0] == '+') ? 1 : 0;
	uint64_t n = 0, most = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;

	if (i == len)
		return CW_EINVAL;
	for (; i < len; i++) {
		unsigned d = (unsigned)(text[i] - '0');

		if (!is_digit(text[i]))
			return CW_EINVAL;
		if (n > (most - d) / 10)
			return CW_ELIMIT;
		n = n * 10 + d;
	}
	if (ret != NULL)
		*ret = negative ? (int64_t)(0 - n) : (int64_t)n;
	return 0;
}

bool conf_is_decimal(const char *text, size_t len)
{
	size_t i = len > 0 && (text[0] == '-' || text[0] == '+') ? 1 : 0, whole, part = 0, n;

	whole = digits(text + i, len - i);
	i += whole;
	if (i < len && text[i] == '.') {
		part = digits(text + i + 1, len - i - 1);
		i += 1 + part;
	}
	if (whole + part == 0)
		return false;
	if (i < len && (text[i] == 'e' || text[i] == 'E')) {
		i++;
		if (i < len && (text[i] == '-' || text[i] == '+'))
			i++;
		n = digits(text + i, len - i);
		if (n == 0)
			return false;
		i += n;
	}
	return i == len;
}

bool conf_is_json_number(const char *text, size_t len)
{
	size_t i = len > 0 && text[0] == '-' ? 1 : 0, whole = digits(text + i, len - i);

	if (!conf_is_decimal(text, len) || text[0] == '+' || whole == 0 || (whole > 1 && text[i] == '0'))
		return false;
	i += whole;
	return i == len || text[i] != '.' || digits(text + i + 1, len - i - 1) > 0;
}

static bool is_hex_float(const char *text, size_t len)
{
	size_t i = len > 0 && (text[0] == '-' || text[0] == '+') ? 1 : 0, mantissa = 0;
	bool point = false;

	if (len - i < 3 || text[i] != '0' || (text[i + 1] != 'x' && text[i + 1] != 'X'))
		return false;
	for (i += 2; i < len && text[i] != 'p' && text[i] != 'P'; i++) {
		if (text[i] == '.' && !point)
			point = true;
		else if (is_digit(text[i]) || (text[i] >= 'a' && text[i] <= 'f') || (text[i] >= 'A' && text[i] <= 'F'))
			mantissa++;
		else
			return false;
	}
	if (i == len || mantissa == 0)
		return false;
	i++;
	if (i < len && (text[i] == '-' || text[i] == '+'))
		i++;
	return i < len && digits(text + i, len - i) == len - i;
}

static int to_double(const char *text, size_t len, double *ret)
{
	char small[64], *copy = len < sizeof(small) ? small : cw_alloc(len + 1);

	if (copy == NULL)
		return CW_ENOMEM;
	memcpy(copy, text, len);
	copy[len] = '\0';
	*ret = strtod(copy, NULL);
	if (copy != small)
		cw_free(copy);
	return 0;
}

int conf_parse_double(const char *text, size_t len, double *ret)
{
	size_t sign;

	while (len > 0 && (unsigned char)text[0] <= ' ') {
		text++;
		len--;
	}
	while (len > 0 && (unsigned char)text[len - 1] <= ' ')
		len--;
	sign = len > 0 && (text[0] == '-' || text[0] == '+') ? 1 : 0;
	if ((len - sign == 3 && memcmp(text + sign, "NaN", 3) == 0) ||
	    (len - sign == 8 && memcmp(text + sign, "Infinity", 8) == 0)) {
		*ret = text[sign] == 'N' ? (double)NAN : text[0] == '-' ? -(double)INFINITY : (double)INFINITY;
		return 0;
	}
	if (len > 1 && strchr("fFdD", text[len - 1]) != NULL && (is_hex_float(text, len - 1) || conf_is_decimal(text, len - 1)))
		len--;
	if (!conf_is_decimal(text, len) && !is_hex_float(text, len))
		return CW_EINVAL;
	return to_double(text, len, ret);
}

int64_t conf_double_to_long(double d)
{
	if (d != d)
		return 0;
	if (d >= 9223372036854775808.0)
		return INT64_MAX;
	if (d <= -9223372036854775808.0)
		return INT64_MIN;
	return (int64_t)d;
}

/* Split "10 s" into number and unit, both trimmed. Letters outside ASCII count to the unit, as no unit has any. */
static void split_unit(const char **number, size_t *number_len, const char **unit, size_t *unit_len)
{
	size_t len;

	conf_trim(number, number_len);
	len = *number_len;
	while (len > 0 && (((*number)[len - 1] | 32) >= 'a' || (unsigned char)(*number)[len - 1] >= 0x80) &&
	       (((*number)[len - 1] | 32) <= 'z' || (unsigned char)(*number)[len - 1] >= 0x80))
		len--;
	*unit = *number + len;
	*unit_len = *number_len - len;
	*number_len = len;
	conf_trim(number, number_len);
}

/* One of "s|second|seconds"? A long name may lack its final s. */
static bool unit_is(const char *names, const char *unit, size_t len)
{
	for (;;) {
		size_t n = strcspn(names, "|");

		if (n == len && memcmp(names, unit, len) == 0)
			return true;
		if (len > 2 && unit[len - 1] != 's' && n == len + 1 && names[len] == 's' && memcmp(names, unit, len) == 0)
			return true;
		if (names[n] == '\0')
			return false;
		names += n + 1;
	}
}

static int64_t multiply_saturated(int64_t n, int64_t by)
{
	if (n > INT64_MAX / by)
		return INT64_MAX;
	if (n < INT64_MIN / by)
		return INT64_MIN;
	return n * by;
}

int conf_parse_duration(const char *text, size_t len, int64_t *ret_ns)
{
	static const struct {
		const char *names;
		int64_t ns;
	} units[] = {
		{ "|ms|millis|milliseconds", 1000000 },
		{ "us|micros|microseconds", 1000 },
		{ "ns|nanos|nanoseconds", 1 },
		{ "d|days", 86400000000000 },
		{ "h|hours", 3600000000000 },
		{ "s|seconds", 1000000000 },
		{ "m|minutes", 60000000000 },
	};
	const char *unit;
	size_t unit_len;
	int64_t n;
	double d;

	split_unit(&text, &len, &unit, &unit_len);
	if (len == 0)
		return CW_EINVAL;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (!unit_is(units[i].names, unit, unit_len))
			continue;
		if (digits(text + (text[0] == '-' || text[0] == '+'), len - (text[0] == '-' || text[0] == '+')) ==
		    len - (text[0] == '-' || text[0] == '+')) {
			int rc = conf_parse_long(text, len, &n);

			if (rc == 0)
				*ret_ns = multiply_saturated(n, units[i].ns);
			return rc;
		}
		if (conf_parse_double(text, len, &d) < 0)
			return CW_EINVAL;
		*ret_ns = conf_double_to_long(d * (double)units[i].ns);
		return 0;
	}
	return CW_EINVAL;
}

/* Unsigned numbers of up to 320 bits, for sizes with fractions and large units: the result is exact, then cut. */
#define BIG 10
struct big {
	uint32_t limb[BIG]; /* least first */
};

static int big_mul(struct big *n, uint32_t by, uint32_t add)
{
	uint64_t carry = add;

	for (int i = 0; i < BIG; i++) {
		carry += (uint64_t)n->limb[i] * by;
		n->limb[i] = (uint32_t)carry;
		carry >>= 32;
	}
	return carry == 0 ? 0 : CW_ELIMIT;
}

static void big_div10(struct big *n)
{
	uint64_t rest = 0;

	for (int i = BIG - 1; i >= 0; i--) {
		rest = rest << 32 | n->limb[i];
		n->limb[i] = (uint32_t)(rest / 10);
		rest %= 10;
	}
}

/* Digits and point into n, the power of ten that is left into *exponent. */
static int big_parse(const char *text, size_t len, struct big *n, int64_t *exponent)
{
	bool fraction = false;
	size_t i = text[0] == '+' ? 1 : 0;

	memset(n, 0, sizeof(*n));
	*exponent = 0;
	for (; i < len && text[i] != 'e' && text[i] != 'E'; i++) {
		if (text[i] == '.') {
			fraction = true;
			continue;
		}
		if (big_mul(n, 10, (uint32_t)(text[i] - '0')) < 0)
			return CW_ELIMIT;
		*exponent -= fraction;
	}
	if (i < len) {
		int64_t e;

		if (conf_parse_long(text + i + 1, len - i - 1, &e) < 0 || e > 400 || e < -400)
			return CW_ELIMIT;
		*exponent += e;
	}
	return 0;
}

static int scale(const char *text, size_t len, unsigned base, unsigned power, uint64_t *ret_bytes)
{
	struct big n;
	int64_t exponent;

	if (big_parse(text, len, &n, &exponent) < 0)
		return CW_ELIMIT;
	while (power-- > 0) {
		if (big_mul(&n, base, 0) < 0)
			return CW_ELIMIT;
	}
	for (; exponent > 0; exponent--) {
		if (big_mul(&n, 10, 0) < 0)
			return CW_ELIMIT;
	}
	for (; exponent < 0; exponent++)
		big_div10(&n);
	for (int i = 2; i < BIG; i++) {
		if (n.limb[i] != 0)
			return CW_ELIMIT;
	}
	if (n.limb[1] > INT32_MAX)
		return CW_ELIMIT;
	*ret_bytes = (uint64_t)n.limb[1] << 32 | n.limb[0];
	return 0;
}

int conf_parse_bytes(const char *text, size_t len, uint64_t *ret_bytes)
{
	static const char *const binary[] = { "|b|B|byte|bytes",          "k|K|Ki|KiB|kibibyte|kibibytes",
		                              "m|M|Mi|MiB|mebibyte|mebibytes", "g|G|Gi|GiB|gibibyte|gibibytes",
		                              "t|T|Ti|TiB|tebibyte|tebibytes", "p|P|Pi|PiB|pebibyte|pebibytes",
		                              "e|E|Ei|EiB|exbibyte|exbibytes", "z|Z|Zi|ZiB|zebibyte|zebibytes",
		                              "y|Y|Yi|YiB|yobibyte|yobibytes" };
	static const char *const decimal[] = { "|",
		                               "kB|kilobyte|kilobytes",
		                               "MB|megabyte|megabytes",
		                               "GB|gigabyte|gigabytes",
		                               "TB|terabyte|terabytes",
		                               "PB|petabyte|petabytes",
		                               "EB|exabyte|exabytes",
		                               "ZB|zettabyte|zettabytes",
		                               "YB|yottabyte|yottabytes" };
	const char *unit, *whole = text;
	size_t unit_len, whole_len = len;
	int64_t n;
	double d;

	/* Anything that reads as a number is one, in bytes; fractions are cut. */
	if (conf_parse_long(whole, whole_len, &n) == 0 || conf_parse_double(whole, whole_len, &d) == 0) {
		if (conf_parse_long(whole, whole_len, &n) < 0)
			n = conf_double_to_long(d);
		if (n < 0)
			return CW_ELIMIT;
		*ret_bytes = (uint64_t)n;
		return 0;
	}
	split_unit(&text, &len, &unit, &unit_len);
	if (len == 0 || !conf_is_decimal(text, len))
		return CW_EINVAL;
	for (unsigned i = 0; i < sizeof(binary) / sizeof(binary[0]); i++) {
		bool two = unit_is(binary[i], unit, unit_len);

		if (!two && !unit_is(decimal[i], unit, unit_len))
			continue;
		if (text[0] == '-')
			return CW_ELIMIT;
		return scale(text, len, two ? 1024 : 1000, i, ret_bytes);
	}
	return CW_EINVAL;
}

int conf_parse_period(const char *text, size_t len, struct cw_period *ret_period)
{
	static const char *const units[] = { "|d|days", "w|weeks", "m|mo|months", "y|years" };
	struct cw_period p = { 0, 0, 0 };
	const char *unit;
	size_t unit_len;
	int64_t n;
	unsigned i;

	split_unit(&text, &len, &unit, &unit_len);
	for (i = 0; i < 4 && !unit_is(units[i], unit, unit_len); i++)
		;
	if (i == 4 || len == 0 || conf_parse_long(text, len, &n) < 0)
		return CW_EINVAL;
	if (n > INT32_MAX || n < INT32_MIN || (i == 1 && (n > INT32_MAX / 7 || n < INT32_MIN / 7)))
		return CW_ELIMIT;
	if (i == 0)
		p.days = (int32_t)n;
	else if (i == 1)
		p.days = (int32_t)(n * 7);
	else if (i == 2)
		p.months = (int32_t)n;
	else
		p.years = (int32_t)n;
	*ret_period = p;
	return 0;
}
