/* csv.c - see csv.h. */
#include "cloud/core/stock/csv.h"

#include <string.h>

static int is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

void cw_cloud_csv_begin(struct cloud_csv *csv, const char *text, size_t len)
{
	static const char bom[] = "\xef\xbb\xbf";

	csv->at = text;
	csv->end = text + len;
	csv->line = 0;
	if (len >= 3 && memcmp(text, bom, 3) == 0)
		csv->at += 3;
}

/* A field in quotes from behind the first; *at moves behind the last. NULL: it does not end. */
static char *unquote(const char **at, const char *end, char *out)
{
	const char *s = *at;

	for (;; s++) {
		if (s == end)
			return NULL;
		if (*s == '"' && (s + 1 == end || s[1] != '"'))
			break;
		if (*s == '"')
			s++;
		*out++ = *s;
	}
	*at = s + 1;
	return out;
}

/* One field into out; *at moves to its comma, or the end. Behind its NUL, or NULL. */
static char *read_field(const char **at, const char *end, char *out)
{
	char *begin = out;

	while (*at < end && is_blank(**at))
		++*at;
	if (*at < end && **at == '"') {
		++*at;
		out = unquote(at, end, out);
		while (out != NULL && *at < end && is_blank(**at))
			++*at;
		if (out == NULL || (*at < end && **at != ','))
			return NULL;
	} else {
		while (*at < end && **at != ',')
			*out++ = *(*at)++;
		while (out > begin && is_blank(out[-1]))
			out--;
	}
	*out++ = '\0';
	return out;
}

static const char *split(struct cloud_csv_row *row, const char *at, const char *end)
{
	char *out = row->text;

	if ((size_t)(end - at) > CLOUD_CSV_ROW)
		return "the line is too long";
	if (memchr(at, '\0', (size_t)(end - at)) != NULL)
		return "the line has a NUL byte";
	for (;; at++) {
		if (row->count == CLOUD_CSV_FIELDS)
			return "the line has too many fields";
		row->field[row->count++] = out;
		out = read_field(&at, end, out);
		if (out == NULL)
			return "quotes do not enclose a field";
		if (at == end)
			return NULL;
	}
}

int cw_cloud_csv_next(struct cloud_csv *csv, struct cloud_csv_row *row)
{
	while (csv->at < csv->end) {
		const char *at = csv->at, *lf = memchr(at, '\n', (size_t)(csv->end - at)), *end = lf != NULL ? lf : csv->end;

		csv->at = lf != NULL ? lf + 1 : csv->end;
		csv->line++;
		while (at < end && is_blank(*at))
			at++;
		if (at == end)
			continue;
		row->count = 0;
		row->problem = split(row, at, end);
		return 1;
	}
	return 0;
}
