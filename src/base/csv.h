/*
 * csv.h - comma-separated files, row by row: the one reader and writer of the tree.
 *
 * Lines end with LF or CRLF; fields are bare or in quotes ("" is a quote, and a field in quotes may hold commas and line ends);
 * blanks around a field are cut off, those in quotes stay; lines of blanks are passed over; a byte order mark of UTF-8 in front
 * is none of the first field. No character set beyond that: bytes from 0x80 on are carried, in UTF-8 as in GBK, whose second bytes
 * are never one of these signs. No allocation; nothing of the text is kept.
 */
#ifndef CW_BASE_CSV_H
#define CW_BASE_CSV_H

#include <stddef.h>
#include <stdio.h>

#include "causeway/bytes.h"

#define CW_CSV_FIELDS 64u
#define CW_CSV_ROW    16384u /* bytes of all fields of a row */

struct cw_csv {
	const char *at, *end;
	unsigned line; /* which one `at` lies in, from 1 */
};

struct cw_csv_row {
	unsigned line; /* where it begins */
	size_t count;
	const char *field[CW_CSV_FIELDS]; /* into text, NUL-terminated */
	/* Static: why this is no row; its fields are not to be used. NULL: none. It goes on with the next row, where that can be told, else
	 * with the next line. */
	const char *problem;
	size_t column; /* which field the problem is in, from 1 */
	char text[CW_CSV_ROW + CW_CSV_FIELDS];
};

void cw_csv_begin(struct cw_csv *csv, struct cw_bytes text);
/* 1: a row, or one with its problem. 0: there are no more. */
int cw_csv_next(struct cw_csv *csv, struct cw_csv_row *row);
/* One row, ended by CRLF, with quotes where the reader needs them. 0 or CW_EIO (errno says why). */
int cw_csv_write(FILE *to, const char *const *fields, size_t count);

#endif
