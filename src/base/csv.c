/* csv.c - see csv.h. */
#include "base/csv.h"

#include <string.h>

#include "causeway/error.h"

static int is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r'; /* a CR is the end of its line, together with the LF */
}

void cw_csv_begin(struct cw_csv *csv, struct cw_bytes text)
{
	csv->at = text.len == 0 ? "" : (const char *)text.ptr;
	csv->end = csv->at + text.len;
	csv->line = 1;
	if (text.len >= 3 && memcmp(csv->at, "\xef\xbb\xbf", 3) == 0)
		csv->at += 3;
}

static void skip_blanks(struct cw_csv *csv)
{
	while (csv->at < csv->end && is_blank(*csv->at))
		csv->at++;
}

/* The first problem of a row is the one that is told. */
static void refuse(struct cw_csv_row *row, const char *problem)
{
	if (row->problem != NULL)
		return;
	row->problem = problem;
	row->column = row->count;
}

/* Where the next byte of a row goes. One that has no place is dropped, and the row refused. */
static char *put(struct cw_csv_row *row, char *out, char c)
{
	if (c == '\0')
		refuse(row, "there is a NUL byte in the field");
	if (out == row->text + CW_CSV_ROW + row->count - 1) { /* each field has a NUL besides */
		refuse(row, "the row is longer than 16 KiB");
		return out;
	}
	*out = c;
	return out + 1;
}

/* A field in quotes, from behind the first. NULL: it does not end, or not before a comma or the end of the line. */
static char *quoted(struct cw_csv *csv, struct cw_csv_row *row, char *out)
{
	for (;; csv->at++) {
		if (csv->at == csv->end || out == row->text + CW_CSV_ROW + row->count - 1) {
			refuse(row, "a quoted field does not end: its closing quote is missing, or it is longer than 16 KiB");
			return NULL;
		}
		if (*csv->at == '"' && (csv->at + 1 == csv->end || csv->at[1] != '"'))
			break;
		if (*csv->at == '"')
			csv->at++;
		if (*csv->at == '\n')
			csv->line++;
		out = put(row, out, *csv->at);
	}
	csv->at++;
	skip_blanks(csv);
	if (csv->at == csv->end || *csv->at == ',' || *csv->at == '\n')
		return out;
	refuse(row, "a quoted field does not end where a comma or the end of the line follows; a quote inside it is written twice");
	return NULL;
}

static char *bare(struct cw_csv *csv, struct cw_csv_row *row, char *out)
{
	char *begin = out;

	while (csv->at < csv->end && *csv->at != ',' && *csv->at != '\n')
		out = put(row, out, *csv->at++);
	while (out > begin && is_blank(out[-1]))
		out--;
	return out;
}

/* All fields up to the end of the row. -1: where it ends cannot be told. */
static int read_fields(struct cw_csv *csv, struct cw_csv_row *row)
{
	char *out = row->text, *begin;

	for (;; csv->at++) {
		begin = out;
		if (row->count == CW_CSV_FIELDS) {
			refuse(row, "the row has more than 64 fields");
			begin = out = row->text; /* what follows is passed over */
			row->count = 0;
		}
		row->field[row->count++] = begin;
		skip_blanks(csv);
		if (csv->at < csv->end && *csv->at == '"') {
			csv->at++;
			out = quoted(csv, row, out);
			if (out == NULL)
				return -1;
		} else {
			out = bare(csv, row, out);
		}
		*out++ = '\0';
		if (csv->at == csv->end || *csv->at == '\n')
			return 0;
	}
}

int cw_csv_next(struct cw_csv *csv, struct cw_csv_row *row)
{
	const char *begin;

	for (skip_blanks(csv); csv->at < csv->end && *csv->at == '\n'; skip_blanks(csv)) {
		csv->at++;
		csv->line++;
	}
	if (csv->at == csv->end)
		return 0;
	begin = csv->at;
	row->line = csv->line;
	row->count = 0;
	row->problem = NULL;
	row->column = 0;
	if (read_fields(csv, row) < 0) {
		csv->at = memchr(begin, '\n', (size_t)(csv->end - begin));
		csv->line = row->line;
	}
	if (csv->at == NULL) {
		csv->at = csv->end;
	} else if (csv->at < csv->end) {
		csv->at++;
		csv->line++;
	}
	return 1;
}

/* Blanks at its ends would be cut off, a sign would end it, and an only field that is empty would make no line. */
static int needs_quotes(const char *field, size_t count)
{
	size_t n = strlen(field);

	return n == 0 ? count == 1 : strpbrk(field, ",\"\r\n") != NULL || is_blank(field[0]) || is_blank(field[n - 1]);
}

int cw_csv_write(FILE *to, const char *const *fields, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		const char *at = fields[i];

		if (i > 0)
			(void)putc(',', to);
		if (!needs_quotes(at, count)) {
			(void)fputs(at, to);
			continue;
		}
		(void)putc('"', to);
		for (; *at != '\0'; at++) {
			if (*at == '"')
				(void)putc('"', to);
			(void)putc(*at, to);
		}
		(void)putc('"', to);
	}
	(void)fputs("\r\n", to);
	return ferror(to) ? CW_EIO : 0;
}
