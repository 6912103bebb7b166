/* sheet.c - see sheet.h. */
#include "factory/sheet.h"

#include <errno.h>
#include <fcntl.h>
#include <iconv.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/csv.h"
#include "base/mem.h"
#include "base/utf8.h"

#define EXTRA_MOST 4096u /* bytes of a row's further columns, as JSON */
#define NAME_MOST  128u  /* bytes of a further column's name */

#define DEVICE_SECRET 32u /* characters of the platform's */

/* X(symbol, name) */
#define COLUMNS(X) \
	X(DEVICE_NAME, "DeviceName") \
	X(DEVICE_SECRET, "DeviceSecret") \
	X(PRODUCT_KEY, "ProductKey") \
	X(PRODUCT_SECRET, "ProductSecret") \
	X(PRODUCT_ID, "ProductID") \
	X(DEVICE_ID, "DeviceID") \
	X(STATUS, "Status") \
	X(EXTRA, "Extra")

enum column {
#define COLUMN(sym, name) COL_##sym,
	COLUMNS(COLUMN)
#undef COLUMN
	COL_COUNT,
	COL_FURTHER
};

static const char *const names[COL_COUNT] = {
#define COLUMN(sym, name) name,
	COLUMNS(COLUMN)
#undef COLUMN
};

struct reading {
	const struct cw_sheet *sheet;
	struct cw_sheet_result *ret;
	struct cw_lot *lot;
	struct cw_csv csv;
	struct cw_csv_row row;
	iconv_t gbk; /* (iconv_t)-1: the file is UTF-8 */
	size_t column_count;
	enum column column[CW_CSV_FIELDS];
	char further[CW_CSV_FIELDS][NAME_MOST]; /* name of a further column; empty: it has none */
	const char *field[CW_CSV_FIELDS];       /* of the row, in UTF-8 */
	const char *part[COL_COUNT];            /* the same by what they are; "" where there is none */
	char text[2 * CW_CSV_ROW + CW_CSV_FIELDS]; /* what was converted: GB18030 never grows by more than half */
	size_t text_len;
	size_t warned_len; /* of the ProductSecret that was warned about last */
	char warned_product[CW_STOCK_PRODUCT_KEY + 1];
};

/* ---- telling -------------------------------------------------------------------------- */

static void tell(struct reading *r, int refused, const char *column, const char *why)
{
	struct cw_sheet_note n = { .line = r->row.line, .column = column, .refused = refused };
	size_t count = refused ? ++r->ret->refused : ++r->ret->warnings;
	struct cw_msg sentence = { "" };

	if (count > CW_SHEET_SHOWN || r->sheet->note == NULL)
		return;
	cw_msg_set(&sentence, "%s", why);
	if (column[0] != '\0' && strncmp(why, column, strlen(column)) != 0)
		cw_msg_wrap(&sentence, "%s", column);
	n.sentence = sentence.text;
	r->sheet->note(r->sheet->arg, &n);
}

static void refuse(struct reading *r, const char *column, const char *why)
{
	tell(r, 1, column, why);
}

/* What the stock says of a row begins with the column's name. */
static void pass_on(struct reading *r, const char *why)
{
	size_t i = 0;

	while (i < COL_COUNT && (strncmp(why, names[i], strlen(names[i])) != 0 || strchr(" :", why[strlen(names[i])]) == NULL))
		i++;
	tell(r, 1, i < COL_COUNT ? names[i] : "", why);
}

/* The name of a column, or its number where it has none. `out` has room for 32 bytes. */
static const char *column_name(const struct reading *r, size_t i, char *out)
{
	if (i < r->column_count && r->column[i] < COL_COUNT)
		return names[r->column[i]];
	if (i < r->column_count && r->further[i][0] != '\0')
		return r->further[i];
	(void)snprintf(out, 32, "column %zu", i + 1);
	return out;
}

/* ---- fields ---------------------------------------------------------------------------- */

/* The field in UTF-8; NULL: it is not of the file's encoding. */
static const char *utf8_of(struct reading *r, const char *field)
{
	size_t left = strlen(field), room = sizeof(r->text) - r->text_len - 1, i = 0;
	char *in = (char *)(uintptr_t)field, *begin = r->text + r->text_len, *out = begin; /* iconv() does not write there */

	while (i < left && (field[i] & 0x80) == 0)
		i++;
	if (i == left)
		return field;
	if (r->gbk == (iconv_t)-1)
		return cw_utf8_valid(cw_bytes_text(field)) ? field : NULL;
	(void)iconv(r->gbk, NULL, NULL, NULL, NULL);
	if (iconv(r->gbk, &in, &left, &out, &room) == (size_t)-1 || left > 0)
		return NULL;
	*out = '\0';
	r->text_len += (size_t)(out - begin) + 1;
	return begin;
}

/* 0: a row without anything in it, as spreadsheets leave them behind. */
static int has_content(const struct cw_csv_row *row)
{
	size_t i;

	for (i = 0; i < row->count; i++)
		if (row->field[i][0] != '\0')
			return 1;
	return 0;
}

/* All fields in UTF-8, by what they are. 0: refused. */
static int take_fields(struct reading *r)
{
	const char *encoding = r->gbk == (iconv_t)-1 ? "is not UTF-8; if the file is GBK, say so" : "is neither UTF-8 nor GBK";
	char number[32];
	size_t i;

	for (i = 0; i < COL_COUNT; i++)
		r->part[i] = "";
	r->text_len = 0;
	for (i = 0; i < r->row.count; i++) {
		if (i >= r->column_count || (r->column[i] == COL_FURTHER && r->further[i][0] == '\0')) {
			if (r->row.field[i][0] == '\0')
				continue;
			refuse(r, column_name(r, i, number), "the first line has no name for it; is a comma too many in this line?");
			return 0;
		}
		r->field[i] = utf8_of(r, r->row.field[i]);
		if (r->field[i] == NULL) {
			refuse(r, column_name(r, i, number), encoding);
			return 0;
		}
		if (r->column[i] < COL_COUNT)
			r->part[r->column[i]] = r->field[i];
	}
	return 1;
}

/* ---- the first line ---------------------------------------------------------------------- */

/* Case, blanks, _ and - do not count. */
static int same_name(const char *a, const char *b)
{
	for (;; a++, b++) {
		a += strspn(a, " _-");
		b += strspn(b, " _-");
		if (strncasecmp(a, b, 1) != 0)
			return 0;
		if (*a == '\0')
			return 1;
	}
}

static int bad_header(const struct reading *r, struct cw_msg *msg, const char *why, const char *what)
{
	return cw_fail(msg, CW_EINVAL, "%s:%u: %s%s; nothing was imported", r->sheet->name, r->row.line, why, what);
}

static int name_column(struct reading *r, size_t i, struct cw_msg *msg)
{
	const char *name;
	char numbers[80];
	size_t k;

	r->text_len = 0;
	name = utf8_of(r, r->row.field[i]);
	if (name == NULL || strlen(name) >= NAME_MOST)
		return bad_header(r, msg, "the name of a column is longer than 127 bytes, or not of the file's encoding", "");
	r->column[i] = COL_FURTHER;
	r->further[i][0] = '\0';
	for (k = 0; k < COL_COUNT && r->column[i] == COL_FURTHER; k++)
		if (same_name(name, names[k]))
			r->column[i] = (enum column)k;
	if (r->column[i] == COL_FURTHER)
		(void)snprintf(r->further[i], NAME_MOST, "%s", name);
	for (k = 0; k < i; k++) {
		if (r->column[k] != r->column[i] || name[0] == '\0' || strcmp(r->further[k], r->further[i]) != 0)
			continue;
		if (r->column[i] < COL_COUNT)
			return bad_header(r, msg, "two columns named ", names[r->column[i]]);
		/* Not what stands there: where the names are missing it is somebody's secret. */
		(void)snprintf(numbers, sizeof(numbers), "columns %zu and %zu have the same name; are the names missing?", k + 1, i + 1);
		return bad_header(r, msg, numbers, "");
	}
	return 0;
}

/* Files that are something else, as people hand them over. NULL: it may be one. */
static const char *no_csv(struct cw_bytes text)
{
	static const struct {
		const char *begin;
		size_t len;
		const char *is;
	} kinds[] = {
		{ "PK\003\004", 4, "is an Excel workbook (or another archive); save it as CSV" },
		{ "\xd0\xcf\x11\xe0", 4, "is an old Excel workbook; save it as CSV" },
		{ "\xff\xfe", 2, "is UTF-16; save it as CSV in UTF-8" },
		{ "\xfe\xff", 2, "is UTF-16; save it as CSV in UTF-8" },
	};
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (text.len >= kinds[i].len && memcmp(text.ptr, kinds[i].begin, kinds[i].len) == 0)
			return kinds[i].is;
	if (text.len > 0 && memchr(text.ptr, '\r', text.len) != NULL && memchr(text.ptr, '\n', text.len) == NULL)
		return "has lines that end with CR alone, so all of it is one line; save it with line ends of Windows or Unix";
	return NULL;
}

static int read_header(struct reading *r, struct cw_msg *msg)
{
	int has[COL_FURTHER + 1] = { 0 }, rc = 0;
	size_t i;

	if (!cw_csv_next(&r->csv, &r->row))
		return cw_fail(msg, CW_EINVAL, "%s: the file is empty; nothing was imported", r->sheet->name);
	if (r->row.problem != NULL)
		return bad_header(r, msg, "the line of column names cannot be read: ", r->row.problem);
	if (r->row.count == 1 && strpbrk(r->row.field[0], ";\t") != NULL)
		return bad_header(r, msg, "the columns are not separated by commas; save the file as CSV with commas", "");
	for (i = 0; i < r->row.count && rc == 0; i++) {
		rc = name_column(r, i, msg);
		if (rc == 0)
			has[r->column[i]] = 1;
	}
	r->column_count = r->row.count;
	if (rc < 0)
		return rc;
	if (!has[COL_DEVICE_NAME] || !has[COL_DEVICE_SECRET])
		return bad_header(r, msg, "no column ",
		                  has[COL_DEVICE_NAME] ? "DeviceSecret; the first line has to name the columns" : "DeviceName; the first line has to name the columns");
	if (!has[COL_PRODUCT_KEY] && r->sheet->product_key == NULL)
		return bad_header(r, msg, "no column ProductKey; say which product the certificates are of", "");
	if (!has[COL_PRODUCT_SECRET] && r->sheet->product_secret == NULL)
		return bad_header(r, msg, "no column ProductSecret; give the product's ProductSecret (the console shows it with the product)", "");
	for (i = 0; i < r->column_count && !has[COL_DEVICE_ID]; i++) {
		if (r->column[i] != COL_STATUS)
			continue;
		r->column[i] = COL_FURTHER; /* somebody else's Status */
		(void)snprintf(r->further[i], NAME_MOST, "%s", names[COL_STATUS]);
	}
	return 0;
}

/* ---- rows ---------------------------------------------------------------------------------- */

/* The further columns that are not empty, as JSON (free()); NULL: there are none. Not 0: refused, or CW_ENOMEM. */
static int take_extra(struct reading *r, char **ret_extra)
{
	json_t *o = NULL;
	size_t i;
	int rc = 0;

	*ret_extra = NULL;
	if (r->part[COL_EXTRA][0] != '\0') {
		o = json_loads(r->part[COL_EXTRA], JSON_REJECT_DUPLICATES, NULL);
		if (!json_is_object(o)) {
			json_decref(o);
			refuse(r, names[COL_EXTRA], "is not a JSON object");
			return 1;
		}
	}
	for (i = 0; i < r->row.count && rc == 0; i++) {
		if (i >= r->column_count || r->column[i] != COL_FURTHER || r->row.field[i][0] == '\0')
			continue;
		if (o == NULL)
			o = json_object();
		rc = json_object_set_new(o, r->further[i], json_string(r->field[i]));
	}
	if (rc == 0 && json_object_size(o) > 0) {
		*ret_extra = json_dumps(o, JSON_COMPACT);
		rc = *ret_extra == NULL ? -1 : 0;
	}
	json_decref(o);
	if (rc < 0)
		return CW_ENOMEM;
	if (*ret_extra != NULL && strlen(*ret_extra) > EXTRA_MOST) {
		free(*ret_extra);
		refuse(r, "", "the further columns are longer than 4 KiB together");
		return 1;
	}
	return 0;
}

/* 1.23E+31, or with a comma: what a spreadsheet makes of a secret of digits, or of digits and an E. No secret of the platform has a sign. */
static int spreadsheet_number(const char *text)
{
	static const char digits[] = "0123456789";
	size_t n = strspn(text, digits);

	if (n == 0)
		return 0;
	text += n;
	if (*text == '.' || *text == ',')
		text += 1 + strspn(text + 1, digits);
	if ((*text != 'E' && *text != 'e') || (text[1] != '+' && text[1] != '-'))
		return 0;
	n = strspn(text + 2, digits);
	return n > 0 && text[2 + n] == '\0';
}

/* The words of Status; those of the older tools' lists, too. */
static int is_status(const char *text, const char *name, const char *chinese)
{
	return strcasecmp(text, name) == 0 || strcmp(text, chinese) == 0;
}

/* Product, its secret, and who has it. 0: refused. */
static int fill_row(struct reading *r, struct cw_lot_row *out)
{
	const char *pk = r->part[COL_PRODUCT_KEY], *ps = r->part[COL_PRODUCT_SECRET], *id = r->part[COL_DEVICE_ID], *status = r->part[COL_STATUS];
	const struct cw_sheet *sheet = r->sheet;

	if (pk[0] == '\0' && sheet->product_key != NULL)
		pk = sheet->product_key;
	if (ps[0] == '\0' && sheet->product_secret != NULL)
		ps = sheet->product_secret;
	*out = (struct cw_lot_row){ .product_key = pk, .device_name = r->part[COL_DEVICE_NAME], .device_secret = r->part[COL_DEVICE_SECRET],
	                            .product_secret = ps, .product_id = r->part[COL_PRODUCT_ID] };
	if (out->product_id[0] == '\0')
		out->product_id = NULL;
	if (sheet->product_key != NULL && strcmp(pk, sheet->product_key) != 0) {
		refuse(r, names[COL_PRODUCT_KEY], "is another product than the one this import is for");
		return 0;
	}
	if (ps[0] == '\0') {
		refuse(r, names[COL_PRODUCT_SECRET], "is empty; fill it in, or give the product's ProductSecret (the console shows it with the product)");
		return 0;
	}
	if (spreadsheet_number(out->device_secret)) {
		refuse(r, names[COL_DEVICE_SECRET], "is a number that a spreadsheet has made of it; take the file as the platform gave it");
		return 0;
	}
	out->written = is_status(status, "written", "已烧录");
	out->device_id = id[0] != '\0' ? id : NULL;
	if (id[0] == '\0' ? status[0] == '\0' || is_status(status, "free", "未分配")
	                  : status[0] == '\0' || is_status(status, "allocated", "已分配") || out->written)
		return 1;
	refuse(r, names[COL_STATUS], id[0] == '\0' ? "only free ones have no DeviceID; void ones are not imported, take the line out"
	                                           : "of a certificate with a DeviceID is Allocated (已分配) or Written (已烧录); take void ones out");
	return 0;
}

/* The board would be burned with what is left of it. */
static void warn_device_secret(struct reading *r, const struct cw_lot_row *row)
{
	char sentence[160];
	size_t len = strlen(row->device_secret);

	if (len == DEVICE_SECRET)
		return;
	(void)snprintf(sentence, sizeof(sentence), "has %zu characters; the platform's have %u. Is it cut off, or has a spreadsheet changed it?", len,
	               DEVICE_SECRET);
	tell(r, 0, names[COL_DEVICE_SECRET], sentence);
}

static void warn_secret(struct reading *r, const struct cw_lot_row *row)
{
	char sentence[160];
	size_t len = strlen(row->product_secret);

	if (len == 16 || len == 32 || (len == r->warned_len && strcmp(row->product_key, r->warned_product) == 0))
		return;
	r->warned_len = len;
	(void)snprintf(r->warned_product, sizeof(r->warned_product), "%s", row->product_key);
	(void)snprintf(sentence, sizeof(sentence), "has %zu characters; the platform's have 16 or 32. Is it cut off, or of another field?", len);
	tell(r, 0, names[COL_PRODUCT_SECRET], sentence);
}

/* Of what a spreadsheet makes of a name ('0001, 1.23E+12) the board would be burned with just that. */
static void warn_name(struct reading *r, const struct cw_lot_row *row)
{
	size_t len = strlen(row->device_name);

	if (strspn(row->device_name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:@") != len)
		tell(r, 0, names[COL_DEVICE_NAME],
		     "has characters that the platform's names do not have (they have letters, digits and - _ . : @). Has a spreadsheet changed it?");
}

/* 0 or CW_ELIMIT. */
static int note_product(struct reading *r, const char *pk, struct cw_msg *msg)
{
	struct cw_sheet_result *ret = r->ret;
	size_t i = ret->product_count;

	while (i > 0 && strcmp(ret->products[i - 1], pk) != 0)
		i--;
	if (i > 0)
		return 0;
	if (ret->product_count == CW_SHEET_PRODUCTS)
		return cw_fail(msg, CW_ELIMIT, "%s:%u: more than %u products in one file; split it; nothing was imported", r->sheet->name, r->row.line,
		               CW_SHEET_PRODUCTS);
	(void)snprintf(ret->products[ret->product_count++], sizeof(ret->products[0]), "%s", pk);
	return 0;
}

/* 0 also when the row is refused. */
static int add_row(struct reading *r, struct cw_msg *msg)
{
	struct cw_lot_row row;
	char number[32], device_id[CW_STOCK_DEVICE_ID + 1], *extra = NULL;
	int rc;

	if (r->row.problem != NULL) {
		r->ret->read++;
		refuse(r, column_name(r, r->row.column - 1, number), r->row.problem);
		return 0;
	}
	if (!has_content(&r->row))
		return 0;
	r->ret->read++;
	if (!take_fields(r) || !fill_row(r, &row))
		return 0;
	if (r->sheet->normalize_mac && row.device_id != NULL && strlen(row.device_id) <= CW_STOCK_DEVICE_ID) {
		cw_stock_device_id(&(struct cw_stock_product){ .normalize_mac = 1 }, cw_bytes_text(row.device_id), device_id);
		row.device_id = device_id;
	}
	rc = take_extra(r, &extra);
	if (rc != 0)
		return rc < 0 ? cw_fail(msg, rc, "%s", cw_error_text(rc)) : 0;
	row.extra = extra;
	rc = cw_lot_add(r->lot, &row, msg);
	free(extra);
	if (rc == CW_EINVAL || rc == CW_EEXIST) {
		pass_on(r, msg->text);
		return 0;
	}
	if (rc < 0)
		return rc;
	r->ret->product_ids += row.product_id != NULL;
	warn_device_secret(r, &row);
	warn_secret(r, &row);
	warn_name(r, &row);
	return note_product(r, row.product_key, msg);
}

static int add_rows(struct reading *r, struct cw_msg *msg)
{
	const struct cw_sheet *sheet = r->sheet;
	int rc = 0;

	while (rc == 0 && cw_csv_next(&r->csv, &r->row))
		rc = add_row(r, msg);
	if (rc < 0)
		return rc;
	if (r->ret->refused > 0)
		return cw_fail(msg, CW_EINVAL, "%zu of %zu rows are refused; nothing was imported", r->ret->refused, r->ret->read);
	if (r->ret->read == 0)
		return cw_fail(msg, CW_EINVAL, "%s: there are no certificates in it; nothing was imported", sheet->name);
	return sheet->before == NULL ? 0 : sheet->before(sheet->arg, r->ret, msg);
}

static int import(struct cw_stock *s, struct reading *r, struct cw_msg *msg)
{
	const char *slash = strrchr(r->sheet->name, '/');
	struct cw_lot_conf conf = { .batch = r->sheet->batch, .file = slash == NULL ? r->sheet->name : slash + 1, .who = r->sheet->who };
	struct cw_lot_result done = { 0 };
	int rc = read_header(r, msg);

	if (rc == 0)
		rc = cw_lot_begin(s, &conf, &r->lot, msg);
	if (rc < 0)
		return rc;
	rc = add_rows(r, msg);
	if (rc < 0) {
		cw_lot_abandon(r->lot);
		return rc;
	}
	rc = cw_lot_finish(r->lot, &done, msg);
	r->ret->fresh = done.fresh;
	r->ret->known = done.known;
	return rc;
}

int cw_sheet_import(struct cw_stock *s, const struct cw_sheet *sheet, struct cw_sheet_result *ret, struct cw_msg *msg)
{
	struct reading *r;
	int rc;

	*ret = (struct cw_sheet_result){ 0 };
	if (sheet->text.len > CW_SHEET_MOST)
		return cw_fail(msg, CW_ELIMIT, "%s: is larger than %u MiB; split it; nothing was imported", sheet->name, CW_SHEET_MOST >> 20);
	if (no_csv(sheet->text) != NULL)
		return cw_fail(msg, CW_EINVAL, "%s: %s; nothing was imported", sheet->name, no_csv(sheet->text));
	r = cw_zalloc(sizeof(*r));
	if (r == NULL)
		return cw_fail(msg, CW_ENOMEM, "%s", cw_error_text(CW_ENOMEM));
	r->sheet = sheet;
	r->ret = ret;
	r->gbk = (iconv_t)-1;
	ret->gbk = sheet->encoding == CW_SHEET_GBK || (sheet->encoding == CW_SHEET_ANY && !cw_utf8_valid(sheet->text));
	if (ret->gbk)
		r->gbk = iconv_open("UTF-8", "GB18030");
	if (ret->gbk && r->gbk == (iconv_t)-1) {
		cw_free(r);
		return cw_fail(msg, CW_EUNSUPPORTED, "%s: this system's iconv knows no GB18030; save the file as UTF-8", sheet->name);
	}
	cw_csv_begin(&r->csv, sheet->text);
	rc = import(s, r, msg);
	if (r->gbk != (iconv_t)-1)
		(void)iconv_close(r->gbk);
	explicit_bzero(r, sizeof(*r));
	cw_free(r);
	return rc;
}

int cw_sheet_import_file(struct cw_stock *s, const char *path, const struct cw_sheet *sheet, struct cw_sheet_result *ret, struct cw_msg *msg)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc; /* a pipe that nobody fills is none, at once */
	struct cw_sheet whole = *sheet;
	void *text = MAP_FAILED;
	struct stat st;

	*ret = (struct cw_sheet_result){ 0 };
	if (fd < 0)
		return cw_fail(msg, cw_err_from_errno(errno), "%s: %s", path, strerror(errno));
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0 || (uint64_t)st.st_size > CW_SHEET_MOST) {
		(void)close(fd);
		return cw_fail(msg, CW_EINVAL, "%s: is empty, no file, or larger than %u MiB", path, CW_SHEET_MOST >> 20);
	}
	text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0); /* not read in: there may be more of it than memory to spare */
	(void)close(fd);
	if (text == MAP_FAILED)
		return cw_fail(msg, CW_ENOMEM, "%s: %s", path, strerror(errno));
	whole.name = path;
	whole.text = cw_bytes_of(text, (size_t)st.st_size);
	rc = cw_sheet_import(s, &whole, ret, msg);
	(void)munmap(text, (size_t)st.st_size);
	return rc;
}
