/*
 * csv.h - a comma-separated file, row by row: UTF-8 with or without BOM, lines ended by LF or CRLF, fields bare or
 * in quotes ("" is a quote), blanks around a field cut off, empty lines passed over. A quoted field ends with its
 * line at the latest. No allocation; nothing of the file is kept.
 */
#ifndef CW_CLOUD_CSV_H
#define CW_CLOUD_CSV_H

#include <stddef.h>

#define CLOUD_CSV_FIELDS 8u
#define CLOUD_CSV_ROW    512u /* bytes of one row */

struct cloud_csv {
	const char *at, *end;
	unsigned line; /* of the row read last, from 1 */
};

struct cloud_csv_row {
	unsigned count;
	const char *field[CLOUD_CSV_FIELDS]; /* into text, NUL-terminated */
	const char *problem; /* static: why the line is no row; its fields are not to be used. NULL: none */
	char text[CLOUD_CSV_ROW + CLOUD_CSV_FIELDS];
};

void cw_cloud_csv_begin(struct cloud_csv *csv, const char *text, size_t len);
/* 1: a row, or a line with its problem. 0: there are no more. */
int cw_cloud_csv_next(struct cloud_csv *csv, struct cloud_csv_row *row);

#endif
