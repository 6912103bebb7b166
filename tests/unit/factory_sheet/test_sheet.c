/* Files of certificates as people hand them over, into a real stock: what is taken, what is refused with which words,
 * and that a file comes in whole or not at all. covers: B24 B25 B26 B27 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "factory/sheet.h"
#include "factory/stock/shelf.h"

#define PK "a1EmuPk0001"
#define DS "0123456789abcdef0123456789abcdef"
#define PS "EmuPs0123456789A"
#define HEAD "DeviceName,DeviceSecret,ProductKey\n"

static struct cw_stock *stock;
static char dir[64];
static char told[4096];
static unsigned told_count;
static struct cw_sheet_result res;
static struct cw_msg msg;
static struct cw_sheet sheet;

static void on_note(void *arg, const struct cw_sheet_note *n)
{
	told_count++;
	(void)snprintf(told + strlen(told), sizeof(told) - strlen(told), "%u %s %s%s\n", n->line, n->column,
		       n->refused ? "" : "warning: ", n->sentence);
}

static int setup(void **state)
{
	char db[100];
	const struct cw_stock_conf conf = { .db = db, .node = "one" };

	strcpy(dir, "/tmp/cw-sheet-XXXXXX");
	assert_non_null(mkdtemp(dir));
	(void)snprintf(db, sizeof(db), "%s/stock.db", dir);
	memset(&msg, 0, sizeof(msg));
	if (cw_stock_open(&conf, &stock, &msg) < 0)
		fail_msg("%s", msg.text);
	sheet = (struct cw_sheet){
		.name = "x.csv", .batch = "line-7", .product_secret = PS, .who = { "cli:test", "" }, .note = on_note
	};
	return 0;
}

static int teardown(void **state)
{
	char command[100];

	cw_stock_close(stock);
	(void)snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command); /* NOLINT */
}

static int import_bytes(const char *text, size_t len)
{
	told_count = 0;
	told[0] = '\0';
	memset(&msg, 0, sizeof(msg));
	sheet.text = cw_bytes_of(text, len);
	return cw_sheet_import(stock, &sheet, &res, &msg);
}

static int import(const char *text)
{
	return import_bytes(text, strlen(text));
}

static void import_well(const char *text, size_t fresh, size_t known)
{
	if (import(text) < 0)
		fail_msg("%s: %s %s", text, msg.text, told);
	assert_int_equal(res.fresh, fresh);
	assert_int_equal(res.known, known);
	assert_int_equal(res.refused, 0);
}

static char seen[4096];

static int on_row(void *arg, const struct cw_stock_row *row, const struct cw_stock_cert *cert)
{
	(void)snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%s/%s/%s/%s/%s/%s/%s/%s\n", row->product_key,
		       row->device_name, cert->device_secret, cert->product_secret, row->product_id, row->extra,
		       cw_stock_state_name(row->state), row->device_id);
	return 0;
}

/* All that is in stock, a line each. */
static const char *all(void)
{
	const struct cw_stock_filter any = { .state = -1 };

	seen[0] = '\0';
	if (cw_stock_export(stock, &any, &sheet.who, on_row, NULL, &msg) < 0)
		fail_msg("%s", msg.text);
	return seen;
}

static void columns_come_in_any_order_and_case(void **state)
{
	import_well("\xef\xbb\xbf"
		    "device_secret, PRODUCTKEY ,\"Color\",Device Name,productSecret,ProductID\r\n" DS "," PK
		    ",\"dark, \"\"blue\"\"\", n1 ,"
		    "0123456789abcdef,8421\r\n\r\n,,,,\r\n\"" DS "\"," PK ",,n2,,\r\n",
		    2, 0);
	assert_string_equal(all(), PK "/n1/" DS "/0123456789abcdef/8421/{\"Color\":\"dark, \\\"blue\\\"\"}/free/\n" PK
				      "/n2/" DS "/" PS "///free/\n");
	assert_int_equal(res.read, 2);
	assert_int_equal(res.product_ids, 1);
	assert_int_equal(res.product_count, 1);
	assert_string_equal(res.products[0], PK);
	assert_int_equal(told_count, 0);
}

static void the_same_file_again_is_known(void **state)
{
	import_well(HEAD "n1," DS "," PK "\nn2," DS "," PK "\n", 2, 0);
	import_well(HEAD "n1," DS "," PK "\nn2," DS "," PK "\nn3," DS "," PK "\nn3," DS "," PK "\n", 1, 3);
	import_well(HEAD "n1," DS "," PK "\n", 0, 1);
}

static void product_and_its_secret_come_from_file_or_caller(void **state)
{
	sheet.product_secret = NULL;
	assert_int_equal(import(HEAD "n1," DS "," PK "\n"), CW_EINVAL);
	assert_non_null(strstr(msg.text, "x.csv:1: no column ProductSecret"));
	assert_int_equal(import("DeviceName,DeviceSecret,ProductKey,ProductSecret\nn1," DS "," PK ",\n"), CW_EINVAL);
	assert_non_null(strstr(told, "2 ProductSecret ProductSecret: is empty"));
	import_well("DeviceName,DeviceSecret,ProductKey,ProductSecret\nn1," DS "," PK "," PS "\n", 1, 0);
	sheet.product_secret = "0000000000000000";
	import_well("DeviceName,DeviceSecret,ProductKey,ProductSecret\nn1," DS "," PK "," PS "\n", 0,
		    1); /* the file's comes first */
	assert_int_equal(import("DeviceName,DeviceSecret\nn2," DS "\n"), CW_EINVAL);
	assert_non_null(strstr(msg.text, "no column ProductKey"));
	sheet.product_key = "a1EmuPk0002";
	import_well("DeviceName,DeviceSecret\nn2," DS "\n", 1, 0);
	assert_int_equal(import(HEAD "n3," DS "," PK "\n"), CW_EINVAL);
	assert_non_null(strstr(told, "ProductKey: is another product"));
	sheet.product_secret = "short";
	import_well("DeviceName,DeviceSecret\nn4," DS "\nn5," DS "\n", 2, 0);
	assert_int_equal(res.warnings, 1);
	assert_non_null(strstr(told, "2 ProductSecret warning: ProductSecret: has 5 characters"));
	assert_null(strstr(told, "short"));
}

static void a_file_of_several_products_has_a_batch_of_each(void **state)
{
	import_well(HEAD "n1," DS "," PK "\nn1," DS ",a1EmuPk0002\nn2," DS "," PK "\n", 3, 0);
	assert_int_equal(res.product_count, 2);
	assert_string_equal(res.products[1], "a1EmuPk0002");
}

static void gbk_is_found_out_or_said(void **state)
{
	static const char gbk[] = "DeviceName,DeviceSecret,ProductKey,\xd1\xd5\xc9\xab\nn1," DS "," PK ",\xba\xec\n";

	import_well(gbk, 1, 0);
	assert_int_equal(res.gbk, 1);
	assert_non_null(strstr(all(), "{\"\xe9\xa2\x9c\xe8\x89\xb2\":\"\xe7\xba\xa2\"}"));
	sheet.encoding = CW_SHEET_UTF8;
	assert_int_equal(import(gbk), CW_EINVAL);
	assert_int_equal(import(HEAD "n2," DS "," PK "\nn\xff," DS "," PK "\n"), CW_EINVAL);
	assert_non_null(strstr(told, "3 DeviceName DeviceName: is not UTF-8"));
	sheet.encoding = CW_SHEET_GBK;
	assert_int_equal(import(HEAD "n\xff," DS "," PK "\n"), CW_EINVAL);
	assert_non_null(strstr(told, "2 DeviceName DeviceName: is neither UTF-8 nor GBK"));
	sheet.encoding = CW_SHEET_ANY;
	/* utf-8 in a file that says nothing */
	import_well("DeviceName,DeviceSecret,ProductKey,\xe9\xa2\x9c\xe8\x89\xb2\nn2," DS "," PK ",\xe7\xba\xa2\n", 1,
		    0);
	assert_int_equal(res.gbk, 0);
}

static void first_lines_that_name_no_columns_are_refused(void **state)
{
	static const char *const cases[][2] = {
		{ "", "is empty" },
		{ "\n \n", "is empty" },
		{ "DeviceName,ProductKey\n", "x.csv:1: no column DeviceSecret" },
		{ "\n\nDeviceSecret,ProductKey\n", "x.csv:3: no column DeviceName" },
		{ "DeviceName;DeviceSecret;ProductKey\nn1;x;y\n", "not separated by commas" },
		{ "DeviceName,DeviceSecret,ProductKey,devicename\n", "two columns named DeviceName" },
		{ "DeviceName,DeviceSecret,ProductKey,x,x\n", "columns 4 and 5 have the same name" },
		{ "DeviceName,DeviceSecret,ProductKey\rn1," DS "," PK "\rn2," DS "," PK "\r", "end with CR alone" },
		{ "\"DeviceName,DeviceSecret\n", "cannot be read: a quoted field does not end" },
		{ "PK\003\004................", "Excel workbook" },
		{ "\xff\xfe"
		  "D",
		  "UTF-16" },
		{ HEAD, "there are no certificates in it" },
		{ HEAD ",,,\n", "there are no certificates in it" },
	};
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(import(cases[i][0]), CW_EINVAL);
		if (strstr(msg.text, cases[i][1]) == NULL || strstr(msg.text, "nothing was imported") == NULL)
			fail_msg("%zu: %s", i, msg.text);
		assert_null(strstr(msg.text, DS));
	}
	/* Rows without a line of names, two boards with one secret: it is no column's name. */
	assert_int_equal(import("DeviceName,DeviceSecret,ProductKey," DS "," DS "\n"), CW_EINVAL);
	assert_null(strstr(msg.text, DS));
	assert_string_equal(all(), "");
}

static void every_refused_row_is_named_and_nothing_comes_in(void **state)
{
	static const char text[] = HEAD "n1," DS "," PK "\n"      /* 2 */
					"n2,," PK "\n"            /* 3 */
					"n3," DS "," PK ",more\n" /* 4 */
					"n4,\"" DS "," PK "\n"    /* 5: does not end */
					"n 5," DS "," PK "\n"     /* 6 */
					"n1,ffff," PK "\n"        /* 7 */
					"n6," DS "\n";            /* 8 */
	static const char *const want[] = { "3 DeviceSecret DeviceSecret is missing",
					    "4 column 4 column 4: the first line has no name for it",
					    "5 DeviceSecret DeviceSecret: a quoted field does not end",
					    "6 DeviceName DeviceName is longer than 32 characters, or has others",
					    "7 DeviceSecret DeviceSecret: " PK
					    " n1 is in stock, or in this import, with another one",
					    "8 ProductKey ProductKey is missing" };
	size_t i;

	assert_int_equal(import(text), CW_EINVAL);
	assert_int_equal(res.read, 7);
	assert_int_equal(res.refused, 6);
	assert_string_equal(msg.text, "6 of 7 rows are refused; nothing was imported");
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		if (strstr(told, want[i]) == NULL)
			fail_msg("%s: %s", want[i], told);
	assert_null(strstr(told, DS));
	assert_null(strstr(told, "ffff"));
	assert_string_equal(all(), "");
}

static void one_wrong_line_of_ten_thousand_keeps_all_out(void **state)
{
	char *text = malloc(10001 * 80), *at = text + sprintf(text, HEAD);
	int i;

	for (i = 0; i < 10000; i++)
		at += sprintf(at, "n%d,%s," PK "\n", i, i == 9876 ? "" : DS);
	assert_int_equal(import(text), CW_EINVAL);
	assert_string_equal(msg.text, "1 of 10000 rows are refused; nothing was imported");
	assert_string_equal(told, "9878 DeviceSecret DeviceSecret is missing\n");
	assert_string_equal(all(), "");
	at = text + sprintf(text, HEAD);
	for (i = 0; i < 100; i++)
		at += sprintf(at, "n%d,," PK "\n", i);
	assert_int_equal(import(text), CW_EINVAL);
	assert_int_equal(res.refused, 100);
	assert_int_equal(told_count, CW_SHEET_SHOWN);
	free(text);
}

static void boards_that_have_theirs_come_in_with_it(void **state)
{
	static const char head[] = "DeviceName,DeviceSecret,ProductKey,DeviceID,Status,Extra\n";
	char text[1000];

	(void)snprintf(text, sizeof(text),
		       "%sn1," DS "," PK ",AA,Written,\nn2," DS "," PK ",BB,allocated,\"{\"\"a\"\":1}\"\nn3," DS "," PK
		       ",,Free,\n",
		       head);
	import_well(text, 3, 0);
	assert_string_equal(all(), PK "/n1/" DS "/" PS "///written/AA\n" PK "/n2/" DS "/" PS
				      "//{\"a\":1}/allocated/BB\n" PK "/n3/" DS "/" PS "///free/\n");
	(void)snprintf(text, sizeof(text),
		       "%sn4," DS "," PK ",,Void,\nn5," DS "," PK ",CC,Void,\nn6," DS "," PK ",,Written,\nn7," DS "," PK
		       ",AA,,\n"
		       "n8," DS "," PK ",,,[1]\n",
		       head);
	assert_int_equal(import(text), CW_EINVAL);
	assert_int_equal(res.refused, 5);
	assert_non_null(strstr(told, "2 Status Status: only free ones have no DeviceID; void ones are not imported"));
	assert_non_null(strstr(told, "5 DeviceID DeviceID: the board of " PK " n7 has another certificate"));
	assert_non_null(strstr(told, "6 Extra Extra: is not a JSON object"));
	/* somebody else's Status, without DeviceIDs, is a further column */
	import_well("DeviceName,DeviceSecret,ProductKey,Status\nm1," DS "," PK ",Inactive\n", 1, 0);
	assert_non_null(strstr(all(), "m1/" DS "/" PS "//{\"Status\":\"Inactive\"}/free/"));
	sheet.normalize_mac = 1;
	(void)snprintf(text, sizeof(text), "%sm2," DS "," PK ",aa:bb:cc:dd:ee:0f,,\n", head);
	import_well(text, 1, 0);
	assert_non_null(strstr(all(), "/allocated/AABBCCDDEE0F\n"));
}

static void a_spreadsheets_names_are_warned_about(void **state)
{
	import_well(HEAD "'0001," DS "," PK "\n1.23E+12," DS "," PK "\nok-_.:@1," DS "," PK "\n", 3, 0);
	assert_int_equal(res.warnings, 2);
	assert_non_null(strstr(told, "2 DeviceName warning: DeviceName: has characters that the platform's names do not have"));
	assert_non_null(strstr(told, "3 DeviceName warning: "));
}

static void a_device_id_that_commands_a_terminal_stays_out(void **state)
{
	static const char *const ids[] = { "\x1b[2J", "a\x7f", ("\xc2\x9b" "2J") };
	char text[300];
	size_t i;

	for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		(void)snprintf(text, sizeof(text), "DeviceName,DeviceSecret,ProductKey,DeviceID\nn1," DS "," PK ",%s\n", ids[i]);
		assert_int_equal(import(text), CW_EINVAL);
		assert_non_null(strstr(told, "2 DeviceID DeviceID has a control character"));
	}
	assert_string_equal(all(), "");
}

static int give_up(void *arg, const struct cw_sheet_result *so_far, struct cw_msg *why)
{
	assert_int_equal(so_far->read, 1);
	assert_int_equal(so_far->product_count, 1);
	return cw_fail(why, CW_EINVAL, "no");
}

static void the_caller_has_the_last_word(void **state)
{
	sheet.before = give_up;
	assert_int_equal(import(HEAD "n1," DS "," PK "\n"), CW_EINVAL);
	assert_string_equal(msg.text, "no");
	assert_string_equal(all(), "");
}

static void files_that_are_none_are_refused(void **state)
{
	char path[100];
	FILE *f;

	assert_int_equal(cw_sheet_import_file(stock, "/nowhere.csv", &sheet, &res, &msg), CW_ENOENT);
	assert_int_equal(cw_sheet_import_file(stock, dir, &sheet, &res, &msg), CW_EINVAL);
	(void)snprintf(path, sizeof(path), "%s/pipe.csv", dir);
	assert_int_equal(mkfifo(path, 0600), 0); /* that nobody writes to: an answer at once */
	assert_int_equal(cw_sheet_import_file(stock, path, &sheet, &res, &msg), CW_EINVAL);
	(void)snprintf(path, sizeof(path), "%s/y.csv", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(cw_sheet_import_file(stock, path, &sheet, &res, &msg), CW_EINVAL);
	(void)fputs(HEAD "n1," DS "," PK "\n", f);
	(void)fclose(f);
	assert_int_equal(cw_sheet_import_file(stock, path, &sheet, &res, &msg), 0);
	assert_int_equal(res.fresh, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(columns_come_in_any_order_and_case, setup, teardown),
		cmocka_unit_test_setup_teardown(the_same_file_again_is_known, setup, teardown),
		cmocka_unit_test_setup_teardown(product_and_its_secret_come_from_file_or_caller, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_of_several_products_has_a_batch_of_each, setup, teardown),
		cmocka_unit_test_setup_teardown(gbk_is_found_out_or_said, setup, teardown),
		cmocka_unit_test_setup_teardown(first_lines_that_name_no_columns_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(every_refused_row_is_named_and_nothing_comes_in, setup, teardown),
		cmocka_unit_test_setup_teardown(one_wrong_line_of_ten_thousand_keeps_all_out, setup, teardown),
		cmocka_unit_test_setup_teardown(boards_that_have_theirs_come_in_with_it, setup, teardown),
		cmocka_unit_test_setup_teardown(a_spreadsheets_names_are_warned_about, setup, teardown),
		cmocka_unit_test_setup_teardown(a_device_id_that_commands_a_terminal_stays_out, setup, teardown),
		cmocka_unit_test_setup_teardown(the_caller_has_the_last_word, setup, teardown),
		cmocka_unit_test_setup_teardown(files_that_are_none_are_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
