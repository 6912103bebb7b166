/*
 * sheet.h - a CSV file with certificates, as the platform's console gives it for a batch, into the stock (factory.md
 * C.4).
 *
 * The first line names the columns, in any order; case, blanks, _ and - do not count: DeviceName, DeviceSecret,
 * ProductKey (or given by the caller), ProductSecret (or given by the caller; a row's own comes first), ProductID
 * (Bluetooth). With DeviceID a certificate comes in as one that this board has already: allocated, or written where a
 * column Status says so. All further columns are kept; Extra, as an export has it, is the JSON object of such columns.
 * UTF-8 or GBK.
 *
 * The file is imported whole or not at all. Blocks as the stock does, on its thread.
 */
#ifndef CW_FACTORY_SHEET_H
#define CW_FACTORY_SHEET_H

#include "factory/stock/lots.h"

#define CW_SHEET_MOST (256u << 20) /* bytes of a file */
#define CW_SHEET_SHOWN 20u         /* refused rows and warnings that are told, of each; all are counted */
#define CW_SHEET_PRODUCTS 64u      /* of one file */

enum cw_sheet_encoding {
	CW_SHEET_ANY,
	CW_SHEET_UTF8,
	CW_SHEET_GBK
}; /* ANY: UTF-8 when all of it is, else GBK (as GB18030) */

struct cw_sheet_note {
	unsigned line;
	const char *column;   /* "" when it is about the whole row */
	const char *sentence; /* names the column too; never a secret */
	int refused;          /* 0: a warning */
};

struct cw_sheet_result {
	size_t fresh, known, refused, warnings; /* rows */
	size_t read;
	size_t product_ids;                     /* rows that have one */
	int gbk;                                /* what the file was read as */
	size_t product_count;
	char products[CW_SHEET_PRODUCTS][CW_STOCK_PRODUCT_KEY + 1];
};

struct cw_sheet {
	const char *name; /* of the file, for people */
	struct cw_bytes text;
	enum cw_sheet_encoding encoding;
	const char *batch;
	int normalize_mac; /* `before` makes its products so: DeviceIDs come in as they will be looked up */
	const char *product_key, *product_secret; /* NULL: rows must say it themselves. Rows of another product are refused */
	struct cw_stock_actor who;
	void (*note)(void *arg, const struct cw_sheet_note *n); /* lent */
	/* May be NULL. All rows are good, `read` and what stands behind it is filled, and nothing is visible yet. Not 0: give up. */
	int (*before)(void *arg, const struct cw_sheet_result *so_far, struct cw_msg *msg);
	void *arg;
};

/*
 * CW_EINVAL: the first line, or rows, are refused (ret->refused, each told to `note`); CW_ELIMIT: too long, or too many
 * products; and the errors of the stock. In all cases nothing has changed, and the sentence says so.
 */
int cw_sheet_import(struct cw_stock *s, const struct cw_sheet *sheet, struct cw_sheet_result *ret, struct cw_msg *msg);
/* The same of a file; `text` and `name` are taken from it. */
int cw_sheet_import_file(struct cw_stock *s, const char *path, const struct cw_sheet *sheet,
			 struct cw_sheet_result *ret, struct cw_msg *msg);

#endif
