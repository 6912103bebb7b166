/* cmd_import.c - `causeway factory import`: a CSV file of certificates into the stock, all of it or nothing. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/factory/batch.h"
#include "cli/factory/factory.h"
#include "cli/factory/product.h"
#include "factory/sheet.h"

static const char usage[] =
	"usage: causeway factory import FILE --batch NAME [OPTIONS]\n"
	"\n"
	"FILE is the CSV that the platform's console gives for a batch: the first line names the columns DeviceName, DeviceSecret,\n"
	"ProductKey and perhaps ProductSecret, ProductID; others are kept. With DeviceID (and Status: allocated, written) a certificate\n"
	"comes in as one that this board has already. UTF-8 or GBK. All of it or, when a line is wrong, nothing.\n"
	"\n"
	"  --batch NAME                made when it is new\n"
	"  --product PRODUCTKEY        for a file without that column; rows of another product are refused\n"
	"  --product-secret file:PATH  for rows without ProductSecret: the first line of PATH; the secret itself is taken, too, but\n"
	"                              other users of this machine may read command lines\n"
	"  --encoding utf-8|gbk        by default UTF-8 when all of the file is, else GBK\n"
	"\n"
	"What holds for the file's products:\n" FACTORY_PRODUCT_USAGE
	"\n"
	"What holds for the batch:\n" FACTORY_BATCH_USAGE
	"\n"
	"  --db FILE                   made when it is not there, with a key file beside it (FILE.key): without that key the secrets\n"
	"                              in the database are lost. Keep a copy of it, and not where the backups are\n";

struct importing {
	struct factory_tool tool;
	struct factory_product_change product;
	struct factory_batch_options batch;
	struct cw_stock_batch_change change;
	struct cw_sheet sheet;
	const char *secret, *encoding;
	char product_secret[CW_STOCK_PRODUCT_SECRET + 2];
	struct cw_json problems; /* with --json: what was told */
	size_t refused_told;
};

/* ---- the product's secret ---------------------------------------------------------------- */

static int read_secret(struct importing *im)
{
	struct cw_msg msg = { "" };
	const char *at = im->secret;
	char *text = NULL;
	size_t len;

	if (strncmp(at, "file:", 5) == 0) {
		if (cw_file_read(at + 5, 65536, &text, &len, &msg) < 0)
			return factory_complain(&im->tool, "--product-secret: %s", msg.text);
		at = text;
		len = strcspn(text, "\r\n");
	} else {
		len = strlen(at);
	}
	(void)snprintf(im->product_secret, sizeof(im->product_secret), "%.*s", (int)(len > 70 ? 70 : len), at);
	if (text != NULL)
		explicit_bzero(text, strlen(text));
	else
		explicit_bzero((char *)(uintptr_t)im->secret, len); /* out of the list of processes */
	cw_free(text);
	if (len == 0 || len > CW_STOCK_PRODUCT_SECRET)
		return factory_complain(&im->tool, "--product-secret: is %s", len == 0 ? "empty" : "longer than 64 characters");
	im->sheet.product_secret = im->product_secret;
	return -1;
}

/* ---- telling ------------------------------------------------------------------------------- */

static void on_note(void *arg, const struct cw_sheet_note *n)
{
	struct importing *im = arg;

	fprintf(stderr, "%s:%u: %s%s\n", im->sheet.name, n->line, n->refused ? "" : "warning: ", n->sentence);
	im->refused_told += n->refused ? 1 : 0;
	cw_json_map(&im->problems);
	cw_json_text(&im->problems, "line");
	cw_json_uint(&im->problems, n->line);
	cw_json_text(&im->problems, "column");
	if (n->column[0] == '\0')
		cw_json_null(&im->problems);
	else
		cw_json_text(&im->problems, n->column);
	cw_json_text(&im->problems, "refused");
	cw_json_bool(&im->problems, n->refused);
	cw_json_field(&im->problems, "sentence", n->sentence);
	cw_json_end_map(&im->problems);
}

static void number(struct cw_json *j, const char *key, size_t value)
{
	cw_json_text(j, key);
	cw_json_uint(j, value);
}

static int print_json(struct importing *im, const struct cw_sheet_result *res)
{
	struct cw_json j;
	char *problems;
	uint8_t *item = NULL;
	size_t i, len, size;
	int rc;

	cw_json_end_array(&im->problems);
	if (cw_json_finish(&im->problems, &problems, &len) < 0 || cw_json_to_item(cw_bytes_of(problems, len), &item, &size) < 0)
		return factory_complain(&im->tool, "cannot be said as JSON");
	cw_json_begin(&j, CW_VIEW_MOST);
	cw_json_map(&j);
	cw_json_field(&j, "file", im->sheet.name);
	cw_json_field(&j, "batch", im->sheet.batch);
	cw_json_field(&j, "encoding", res->gbk ? "gbk" : "utf-8");
	number(&j, "read", res->read);
	number(&j, "new", res->fresh);
	number(&j, "known", res->known);
	number(&j, "refused", res->refused);
	number(&j, "warnings", res->warnings);
	cw_json_text(&j, "products");
	cw_json_array(&j);
	for (i = 0; i < res->product_count; i++)
		cw_json_text(&j, res->products[i]);
	cw_json_end_array(&j);
	cw_json_text(&j, "problems");
	cw_json_encoded(&j, cw_bytes_of(item, size));
	cw_json_end_map(&j);
	rc = factory_json(&im->tool, &j);
	cw_free(item);
	cw_free(problems);
	return rc;
}

static int print(struct importing *im, const struct cw_sheet_result *res)
{
	size_t i;

	if (res->refused > im->refused_told)
		fprintf(stderr, "... and %zu more\n", res->refused - im->refused_told);
	if (im->tool.as_json)
		return print_json(im, res);
	cw_json_drop(&im->problems);
	printf("%s: %zu rows read, %zu new, %zu known, %zu refused%s\n", im->sheet.name, res->read, res->fresh, res->known, res->refused,
	       res->gbk ? " (read as GBK)" : "");
	if (res->fresh == 0 && res->refused == 0)
		printf("nothing new for batch %s: those known stay in the batch they came with\n", im->sheet.batch);
	for (i = 0; i < res->product_count && res->fresh > 0 && res->refused == 0; i++)
		printf("batch %s, product %s\n", im->sheet.batch, res->products[i]);
	return 0;
}

/* ---- doing it --------------------------------------------------------------------------------- */

static int before(void *arg, const struct cw_sheet_result *so_far, struct cw_msg *msg)
{
	struct importing *im = arg;
	size_t i;
	int rc = 0;

	if (im->product.bluetooth == 1 && im->product.product_id == NULL && so_far->product_ids < so_far->read)
		return cw_fail(msg, CW_EINVAL, "--bluetooth: %zu rows have no ProductID; give it with --product-id, or in the column ProductID; nothing was imported",
		               so_far->read - so_far->product_ids);
	for (i = 0; i < so_far->product_count && rc == 0 && factory_product_changes(&im->product); i++)
		rc = factory_product_apply(&im->tool, &im->product, so_far->products[i], msg);
	return rc;
}

static int run(struct importing *im)
{
	struct cw_sheet_result res;
	struct cw_msg msg = { "" };
	int rc, imported;

	if (access(im->tool.word[0], R_OK) != 0) /* before a database is made for it */
		return factory_complain(&im->tool, "%s: %s", im->tool.word[0], strerror(errno));
	rc = factory_open(&im->tool, FACTORY_MAKE);
	if (rc != 0)
		return rc;
	cw_json_begin(&im->problems, CW_VIEW_MOST);
	cw_json_array(&im->problems);
	im->sheet.note = on_note;
	im->sheet.before = before;
	im->sheet.arg = im;
	im->sheet.name = im->tool.word[0];
	im->sheet.who = im->tool.who;
	im->sheet.normalize_mac = im->product.normalize_mac == 1;
	imported = cw_sheet_import_file(im->tool.stock, im->tool.word[0], &im->sheet, &res, &msg) == 0;
	if (imported || res.refused > 0)
		rc = print(im, &res);
	else
		cw_json_drop(&im->problems);
	if (!imported)
		rc = factory_complain(&im->tool, "%s", msg.text);
	if (imported && im->change.what != 0 &&
	    cw_stock_batch_change(im->tool.stock, im->sheet.batch, im->sheet.product_key, &im->change, &im->tool.who, &msg) < 0)
		rc = factory_complain(&im->tool, "imported, but what holds for the batch was not changed: %s", msg.text);
	factory_close(&im->tool);
	return rc;
}

static int check(struct importing *im)
{
	struct factory_tool *t = &im->tool;
	int rc = factory_words(t, 1, 1);

	if (rc < 0)
		rc = factory_product_check(t, &im->product);
	if (rc < 0)
		rc = factory_batch_check(t, &im->batch, &im->change);
	if (rc >= 0)
		return rc;
	if (im->sheet.batch == NULL || im->sheet.batch[0] == '\0')
		return factory_misused(t, "--batch NAME is missing");
	if (strlen(im->sheet.batch) > CW_STOCK_BATCH)
		return factory_misused(t, "--batch: is longer than %d bytes", CW_STOCK_BATCH);
	if (im->encoding == NULL)
		return -1;
	if (strcmp(im->encoding, "gbk") == 0)
		im->sheet.encoding = CW_SHEET_GBK;
	else if (strcmp(im->encoding, "utf-8") == 0)
		im->sheet.encoding = CW_SHEET_UTF8;
	else
		return factory_misused(t, "--encoding %s: is utf-8 or gbk", im->encoding);
	return -1;
}

int cw_factory_import(int argc, char **argv)
{
	struct factory_option options[FACTORY_PRODUCT_OPTIONS + FACTORY_BATCH_OPTIONS + 4];
	struct importing im = { .sheet = { .encoding = CW_SHEET_ANY } };
	const struct factory_option own[] = { { "batch", FACTORY_TEXT, &im.sheet.batch },
		                              { "product", FACTORY_TEXT, &im.sheet.product_key },
		                              { "product-secret", FACTORY_TEXT, &im.secret },
		                              { "encoding", FACTORY_TEXT, &im.encoding } };
	int rc;

	factory_product_options(&im.product, options);
	factory_batch_options(&im.batch, options + FACTORY_PRODUCT_OPTIONS);
	memcpy(options + FACTORY_PRODUCT_OPTIONS + FACTORY_BATCH_OPTIONS, own, sizeof(own));
	rc = factory_options(&im.tool, argc, argv, usage, options, sizeof(options) / sizeof(options[0]));
	if (rc < 0 && im.secret != NULL)
		rc = read_secret(&im);
	if (rc < 0)
		rc = check(&im);
	if (rc < 0)
		rc = run(&im);
	explicit_bzero(im.product_secret, sizeof(im.product_secret));
	return rc;
}
