/* hj212_codes.c - what is known of factor codes; codes are extensible, so none is refused for being unknown. */
#include "hj212.h"

static const struct hj_code codes[] = {
#define HJ_CODE(code, name, unit, old) { code, name, unit, old },
#include "hj212_codes.def"
#undef HJ_CODE
};

#define CODES (sizeof(codes) / sizeof(codes[0]))

static int compare(struct cw_bytes a, const char *b)
{
	size_t n = strlen(b), k = a.len < n ? a.len : n;
	int rc = k == 0 ? 0 : memcmp(a.ptr, b, k);

	return rc != 0 ? rc : a.len < n ? -1 : a.len > n;
}

const struct hj_code *hj_code_find(struct cw_bytes code)
{
	size_t lo = 0, hi = CODES;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int rc = compare(code, codes[mid].code);

		if (rc == 0)
			return &codes[mid];
		if (rc < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct hj_code *hj_code_find_old(struct cw_bytes code)
{
	size_t i;

	if (code.len < 2 || code.len > 3)
		return NULL;
	for (i = 0; i < CODES; i++)
		if (cw_bytes_equal(code, cw_bytes_text(codes[i].old)))
			return &codes[i];
	return NULL;
}

static int all_digits(struct cw_bytes t, size_t from)
{
	size_t i;

	for (i = from; i < t.len; i++)
		if (t.ptr[i] < '0' || t.ptr[i] > '9')
			return 0;
	return t.len > from;
}

int hj_code_standard(struct cw_bytes code)
{
	if (hj_code_find(code) != NULL || hj_code_find_old(code) != NULL)
		return 1;
	if (code.len < 3)
		return 0;
	if (code.len == 6 && (code.ptr[0] == 'w' || code.ptr[0] == 'a'))
		return all_digits(code, 1);
	/* Process: class 1-9, a or b, then factor and device, two digits each. Field information: three of the code are free. */
	if (code.len == 6 && (code.ptr[0] == 'e' || code.ptr[0] == 'g'))
		return ((code.ptr[1] >= '1' && code.ptr[1] <= '9') || code.ptr[1] == 'a' || code.ptr[1] == 'b') && all_digits(code, 2);
	if (code.len == 6 && code.ptr[0] == 'i')
		return code.ptr[1] >= '1' && code.ptr[1] <= '3' && code.ptr[2] >= '1' && code.ptr[2] <= '3';
	return memcmp(code.ptr, "SB", 2) == 0 && all_digits(code, 2);
}

const char *const hj_suffixes[] = {
	"SampleTime", "Rtd", "Min", "Avg", "Max", "Cou", "ZsRtd", "ZsMin", "ZsAvg", "ZsMax", "Flag", "EFlag", "Data", "DayData", "NightData",
	"RS", "RT", "Info", "SN", "Ala", "LowValue", "UpValue", NULL,
};

int hj_suffix_standard(struct cw_bytes suffix)
{
	size_t i;

	for (i = 0; hj_suffixes[i] != NULL; i++)
		if (cw_bytes_equal(suffix, cw_bytes_text(hj_suffixes[i])))
			return 1;
	return 0;
}
