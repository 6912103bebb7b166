/*
 * A file of certificates as anybody may upload it, into a real stock: what is refused leaves nothing behind, what is
 * taken is all there and known the second time. The first byte chooses what the caller says besides.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "factory/sheet.h"
#include "factory/stock/shelf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct cw_stock *stock;
static char dir[64];

static void remove_dir(void)
{
	char command[100];

	cw_stock_close(stock);
	(void)snprintf(command, sizeof(command), "rm -r %s", dir);
	if (system(command) != 0) /* NOLINT */
		abort();
}

/* In memory where there is a file system of that kind: a commit costs no disk there. */
static void make_stock(void)
{
	char db[100];
	const struct cw_stock_conf conf = { .db = db, .node = "fuzz" };
	struct cw_msg msg = { "" };

	cw_log_set_level(CW_LOG_ERROR);
	(void)snprintf(dir, sizeof(dir), "%s/cw-fuzz-sheet-XXXXXX",
		       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (mkdtemp(dir) == NULL)
		abort();
	(void)snprintf(db, sizeof(db), "%s/stock.db", dir);
	if (cw_stock_open(&conf, &stock, &msg) < 0)
		abort();
	(void)atexit(remove_dir);
}

static uint64_t count(void)
{
	struct cw_stock_figures f;
	struct cw_msg msg = { "" };
	uint64_t n = 0;
	int i;

	if (cw_stock_figures(stock, NULL, &f, &msg) < 0)
		abort();
	for (i = 0; i < CW_STOCK_STATE_COUNT; i++)
		n += f.count[i];
	return n;
}

static void on_note(void *arg, const struct cw_sheet_note *n)
{
	struct cw_sheet_result *told = arg;

	if (n->line == 0 || n->sentence[0] == '\0')
		abort();
	if (n->refused)
		told->refused++;
	else
		told->warnings++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cw_sheet sheet = { .name = "fuzz.csv", .batch = "b", .who = { "fuzz", "" }, .note = on_note };
	struct cw_sheet_result told = { 0 }, first, second;
	struct cw_msg msg = { "" };
	uint64_t before, after;
	char *text;
	int rc;

	if (size == 0)
		return 0;
	if (stock == NULL)
		make_stock();
	sheet.encoding = (enum cw_sheet_encoding)(data[0] % 3);
	sheet.product_key = data[0] & 4 ? "a1EmuPk0001" : NULL;
	sheet.product_secret = data[0] & 8 ? "EmuPs0123456789A" : NULL;
	sheet.normalize_mac = data[0] & 16 ? 1 : 0;
	sheet.arg = &told;
	text = malloc(size == 1 ? 1 : size - 1); /* no byte to spare behind */
	if (text == NULL)
		return 0;
	memcpy(text, data + 1, size - 1);
	sheet.text = cw_bytes_of(text, size - 1);
	before = count();
	rc = cw_sheet_import(stock, &sheet, &first, &msg);
	after = count();
	if (rc < 0 && (after != before || msg.text[0] == '\0'))
		abort();
	if (rc == 0 && (after != before + first.fresh || first.read != first.fresh + first.known || first.refused > 0))
		abort();
	if (told.refused != (first.refused < CW_SHEET_SHOWN ? first.refused : CW_SHEET_SHOWN))
		abort();
	if (rc == 0 &&
	    (cw_sheet_import(stock, &sheet, &second, &msg) < 0 || second.fresh > 0 || second.known != first.read))
		abort();
	free(text);
	return 0;
}
