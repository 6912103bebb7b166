/*
 * The line: who gets which certificate, and what stations are told. covers: B05 B06 B07 B08 B09 B10 B11 B12 B13 B14 B15
 * B16 B17 B29 B31
 */
#include "world.h"

#include "base/clock.h"
#include "base/crc32.h"

static void test_first_and_again(void **state)
{
	struct cw_stock *s = world_open(*state);
	struct cw_stock_ask a = world_ask(CW_STOCK_ALLOCATE, "SN01");
	int i;

	assert_int_equal(world_import(s, PK, "b", 0, 10), 10);
	world_serve(s, &a, 1);
	assert_int_equal(a.answer, CW_STOCK_OK);
	assert_int_equal(a.fresh, 1);
	assert_int_equal(a.anonymous, 0);
	assert_string_equal(a.cert.product_key, PK);
	assert_string_equal(a.cert.device_name, "dev-0000");
	assert_string_equal(a.cert.device_secret, DS);
	assert_string_equal(a.cert.product_secret, PS);
	assert_string_equal(a.cert.device_id, "SN01");
	for (i = 0; i < 100; i++) {
		if (i == 50) { /* and after a restart */
			cw_stock_close(s);
			s = world_open(*state);
		}
		world_serve(s, &a, 1);
		assert_int_equal(a.answer, CW_STOCK_OK);
		assert_int_equal(a.fresh, 0);
		assert_string_equal(a.cert.device_name, "dev-0000");
		assert_string_equal(a.cert.device_secret, DS);
	}
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 0"), 9);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM audit WHERE what = 'allocate'"), 1);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM audit WHERE what = 'again'"), 100);
	world_check(s);
	cw_stock_close(s);
}

static void test_report(void **state)
{
	struct cw_stock *s = world_open(*state);
	struct cw_stock_ask a = world_ask(CW_STOCK_REPORT, "SN01");
	int64_t at;

	world_import(s, PK, "b", 0, 3);
	world_serve(s, &a, 1);
	assert_int_equal(a.answer, CW_STOCK_UNKNOWN_DEVICE);
	assert_int_equal(world_one(s, CW_STOCK_REPORT, "", NULL), CW_STOCK_UNKNOWN_DEVICE);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "SN01", NULL), CW_STOCK_OK);
	assert_int_equal(world_number(s, "SELECT state FROM cert WHERE device_id = 'SN01'"), 1);
	world_serve(s, &a, 1);
	assert_int_equal(a.answer, CW_STOCK_OK);
	assert_int_equal(a.fresh, 1);
	assert_string_equal(a.cert.device_id, "SN01");
	assert_string_equal(a.cert.device_secret, ""); /* no secret in such an answer */
	assert_string_equal(a.cert.product_secret, "");
	at = world_number(s, "SELECT written FROM cert WHERE device_id = 'SN01' AND state = 2");
	assert_true(at > 0);
	world_serve(s, &a, 1);
	assert_int_equal(a.answer, CW_STOCK_OK);
	assert_int_equal(a.fresh, 0);
	assert_int_equal(world_number(s, "SELECT written FROM cert WHERE device_id = 'SN01' AND state = 2"), at);
	/* asking again keeps it written */
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "SN01", NULL), CW_STOCK_OK);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 2"), 1);
	world_check(s);
	cw_stock_close(s);
}

/* In one group: order counts, one board gets one, ten get ten, and the eleventh of ten none. */
static void test_group(void **state)
{
	struct cw_stock *s = world_open(*state);
	struct cw_stock_ask a[24];
	char ids[20][8], seen[10][CW_STOCK_DEVICE_NAME + 1];
	size_t ok = 0, i, j;

	world_import(s, PK, "b", 0, 11);
	a[0] = world_ask(CW_STOCK_REPORT, "X");
	a[1] = world_ask(CW_STOCK_ALLOCATE, "X");
	a[2] = world_ask(CW_STOCK_ALLOCATE, "X");
	a[3] = world_ask(CW_STOCK_REPORT, "X");
	for (i = 0; i < 20; i++) {
		(void)snprintf(ids[i], sizeof(ids[i]), "SN%02zu", i);
		a[4 + i] = world_ask(CW_STOCK_ALLOCATE, ids[i]);
	}
	world_serve(s, a, 24);
	assert_int_equal(a[0].answer, CW_STOCK_UNKNOWN_DEVICE);
	assert_int_equal(a[1].answer, CW_STOCK_OK);
	assert_int_equal(a[1].fresh, 1);
	assert_int_equal(a[2].answer, CW_STOCK_OK);
	assert_int_equal(a[2].fresh, 0);
	assert_string_equal(a[1].cert.device_name, a[2].cert.device_name);
	assert_int_equal(a[3].answer, CW_STOCK_OK);
	assert_int_equal(a[3].fresh, 1);
	for (i = 4; i < 24; i++) {
		if (a[i].answer == CW_STOCK_OUT_OF_STOCK)
			continue;
		assert_int_equal(a[i].answer, CW_STOCK_OK);
		assert_true(ok < 10);
		assert_string_not_equal(a[i].cert.device_name, a[1].cert.device_name);
		for (j = 0; j < ok; j++)
			assert_string_not_equal(a[i].cert.device_name, seen[j]);
		strcpy(seen[ok++], a[i].cert.device_name);
	}
	assert_int_equal(ok, 10);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 0"), 0);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 1"), 10);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 2"), 1);
	world_check(s);
	cw_stock_close(s);
}

static void test_anonymous(void **state)
{
	struct cw_stock *s = world_open(*state);
	struct cw_stock_ask a[3] = { world_ask(CW_STOCK_ALLOCATE, ""), world_ask(CW_STOCK_ALLOCATE, NULL),
				     world_ask(CW_STOCK_ALLOCATE, "null") /* a DeviceID like any other */ };
	size_t i;

	world_import(s, PK, "b", 0, 10);
	world_serve(s, a, 3);
	for (i = 0; i < 3; i++)
		assert_int_equal(a[i].answer, CW_STOCK_OK);
	for (i = 0; i < 2; i++) {
		assert_int_equal(a[i].anonymous, 1);
		assert_int_equal(strlen(a[i].cert.device_id), 18);
		assert_memory_equal(a[i].cert.device_id, "CW", 2);
		assert_int_equal(strspn(a[i].cert.device_id + 2, "0123456789ABCDEF"), 16);
	}
	assert_int_equal(a[2].anonymous, 0);
	assert_string_equal(a[2].cert.device_id, "null");
	assert_string_not_equal(a[0].cert.device_name, a[1].cert.device_name);
	assert_string_not_equal(a[0].cert.device_id, a[1].cert.device_id);
	assert_int_equal(world_one(s, CW_STOCK_REPORT, a[1].cert.device_id, NULL), CW_STOCK_OK);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 2 AND anonymous = 1"), 1);
	world_check(s);
	cw_stock_close(s);
}

static void test_unknown_and_bad(void **state)
{
	struct cw_stock *s = world_open(*state);
	char longest[CW_STOCK_DEVICE_ID + 2];
	struct cw_stock_ask a[7];

	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	world_import(s, PK, "b", 0, 2);
	a[0] = world_ask(CW_STOCK_ALLOCATE, "SN");
	a[0].product_key = "a1Other0000";
	a[1] = world_ask(CW_STOCK_REPORT, "SN");
	a[1].product_key = "no product \xff at all, and far too long";
	a[2] = world_ask(CW_STOCK_ALLOCATE, longest);
	a[3] = world_ask(CW_STOCK_ALLOCATE, "a\nb");
	a[4] = world_ask(CW_STOCK_ALLOCATE, longest + 1); /* as long as may be */
	a[5] = world_ask(CW_STOCK_ALLOCATE, "S'); DROP TABLE cert; --");
	a[6] = world_ask(CW_STOCK_ALLOCATE, "no UTF-8: \xc3");
	world_serve(s, a, 7);
	assert_int_equal(a[6].answer, CW_STOCK_BAD_REQUEST);
	assert_int_equal(a[0].answer, CW_STOCK_UNKNOWN_PRODUCT);
	assert_int_equal(a[1].answer, CW_STOCK_UNKNOWN_PRODUCT);
	assert_int_equal(a[2].answer, CW_STOCK_BAD_REQUEST);
	assert_int_equal(a[3].answer, CW_STOCK_BAD_REQUEST);
	assert_int_equal(a[4].answer, CW_STOCK_OK);
	assert_string_equal(a[4].cert.device_id, longest + 1);
	assert_int_equal(a[5].answer, CW_STOCK_OK);
	world_check(s);
	cw_stock_close(s);
}

static void test_closed(void **state)
{
	struct cw_stock *s = world_open(*state);
	char name[CW_STOCK_DEVICE_NAME + 1];

	world_import(s, PK, "old", 0, 2);
	world_import(s, PK, "new", 100, 2);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "A", name), CW_STOCK_OK);
	assert_string_equal(name, "dev-0000");
	world_sql(s, "UPDATE batch SET closed = 1 WHERE name = 'old'");
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "B", name), CW_STOCK_OK);
	assert_string_equal(name, "dev-0100");
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "A", name), CW_STOCK_OK); /* theirs also from a closed batch */
	assert_string_equal(name, "dev-0000");
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "C", name), CW_STOCK_OK);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "D", name), CW_STOCK_BATCH_CLOSED);
	assert_int_equal(world_one(s, CW_STOCK_REPORT, "A", NULL), CW_STOCK_OK);
	world_sql(s, "UPDATE batch SET closed = 0");
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "D", name), CW_STOCK_OK);
	assert_string_equal(name, "dev-0001");
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "E", name), CW_STOCK_OUT_OF_STOCK);
	world_check(s);
	cw_stock_close(s);
}

static void test_void(void **state)
{
	struct cw_stock *s = world_open(*state);
	char name[CW_STOCK_DEVICE_NAME + 1];

	world_import(s, PK, "b", 0, 3);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "A", name), CW_STOCK_OK);
	world_sql(s, "UPDATE cert SET state = 3, voided = 1 WHERE device_name IN ('dev-0000', 'dev-0001')");
	assert_int_equal(world_one(s, CW_STOCK_REPORT, "A", NULL), CW_STOCK_UNKNOWN_DEVICE);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 3"), 2);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "A", name), CW_STOCK_OK);
	assert_string_equal(name, "dev-0002");
	assert_int_equal(world_one(s, CW_STOCK_REPORT, "A", NULL), CW_STOCK_OK);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "B", name), CW_STOCK_OUT_OF_STOCK);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 3"), 2);
	cw_stock_close(s);
}

static void test_quota(void **state)
{
	struct cw_stock *s = world_open(*state);
	struct cw_stock_ask a[6];
	char ids[6][4];
	size_t i, ok = 0;

	world_import(s, PK, "b", 0, 20);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "0", NULL), CW_STOCK_OK); /* one is used */
	for (i = 0; i < 6; i++) {
		(void)snprintf(ids[i], sizeof(ids[i]), "%zu", i);
		a[i] = world_ask(CW_STOCK_ALLOCATE, ids[i]);
		a[i].quota = 4;
	}
	a[5].who.name = "line-2";
	world_serve(s, a, 6);
	for (i = 0; i < 4; i++)
		ok += a[i].answer == CW_STOCK_OK;
	assert_int_equal(ok, 4); /* the first has its own already, which costs nothing */
	assert_int_equal(a[4].answer, CW_STOCK_QUOTA_EXCEEDED);
	assert_int_equal(a[5].answer, CW_STOCK_OK); /* another station */
	world_serve(s, a, 1);
	assert_int_equal(a[0].answer, CW_STOCK_OK);
	a[4].quota_since = cw_clock_wall_ms() + 1000; /* the next period */
	world_serve(s, a + 4, 1);
	assert_int_equal(a[4].answer, CW_STOCK_OK);
	world_check(s);
	cw_stock_close(s);
}

static void set_product(struct cw_stock *s, struct cw_stock_product *p)
{
	struct cw_msg msg = { "" };

	if (cw_stock_product_put(s, p, &tester, &msg) < 0)
		fail_msg("%s", msg.text);
}

static void test_mac(void **state)
{
	static const char *const same[] = { "AABBCCDDEEFF", "aa:bb:cc:dd:ee:ff", "AA-BB-CC-DD-EE-FF", "aabb.ccdd.eeff", "aa bb cc dd ee ff",
					    "AABB-CCDD-EEFF" };
	static const char *const other[] = { "aabbccddeef", "aabbccddeeff0", "aa:bb:cc:dd:ee-ff", "aab:bcc:dde:eff", "aa:bb:cc:dd:ee:ff:",
					     ":aabbccddeeff", "aa:bb:cc:dd:ee:fg", "aa::bbccddeeff", "aabbcc:ddeeff" };
	struct cw_stock_product p = { .product_key = PK, .normalize_mac = 1 };
	struct cw_stock *s = world_open(*state);
	char out[CW_STOCK_DEVICE_ID + 1], name[CW_STOCK_DEVICE_NAME + 1];
	size_t i;

	for (i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		cw_stock_device_id(&p, cw_bytes_text(same[i]), out);
		assert_string_equal(out, "AABBCCDDEEFF");
	}
	for (i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		cw_stock_device_id(&p, cw_bytes_text(other[i]), out);
		assert_string_equal(out, other[i]);
	}
	world_import(s, PK, "b", 0, 20);
	/* bytes as they are .. */
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "aa:bb:cc:dd:ee:00", name), CW_STOCK_OK);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "AA:BB:CC:DD:EE:00", name), CW_STOCK_OK);
	assert_string_equal(name, "dev-0001");
	/* .. or any form of a MAC */
	set_product(s, &p);
	for (i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, same[i], name), CW_STOCK_OK);
		assert_string_equal(name, "dev-0002");
	}
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE device_id = 'AABBCCDDEEFF'"), 1);
	cw_stock_close(s);
}

static uint32_t crc(const struct cw_stock_product *p, const char *pk, const char *dn, const char *ds, const char *ps)
{
	struct cw_stock_cert c = { .crc = 0 };

	strcpy(c.product_key, pk);
	strcpy(c.device_name, dn);
	strcpy(c.device_secret, ds);
	strcpy(c.product_secret, ps);
	return cw_stock_crc(p, &c);
}

/* The vectors of the documents and of our own. */
static void test_crc(void **state)
{
	struct cw_stock_product p = { .product_key = PK };

	assert_int_equal(cw_crc32(0, cw_bytes_text("123456789")), 0xCBF43926);
	assert_int_equal(cw_crc32(cw_crc32(0, cw_bytes_text("1234")), cw_bytes_text("56789")), 0xCBF43926);
	assert_int_equal(crc(&p, PK, "dev-0001", DS, PS), 0x16B2BFC1);
	assert_int_equal(crc(&p, PK, "dev-0006", DS, PS), 0x0CD87E3A);
	assert_int_equal(crc(&p, "a1B2c3D4e5F", "board-0001", DS, "PSfedcba9876543210"), 0xD78BA0C6);
	assert_int_equal(crc(&p, "a1B2c3D4e5F", "board-0007", DS, "PSfedcba9876543210"), 0x069E836F);
	assert_int_equal(crc(&p, "a1B2c3D4e5F", "board-0262", DS, "PSfedcba9876543210"), 0x00D3DCDF);
	strcpy(p.product_id, "4711");
	assert_int_equal(crc(&p, PK, "dev-0001", DS, PS), 0x16B2BFC1); /* not a Bluetooth product: it does not count */
	p.bluetooth = 1;
	assert_int_equal(crc(&p, PK, "dev-0001", DS, PS), 0xCA7E0D52);
	strcpy(p.product_id, "8421");
	assert_int_equal(crc(&p, "a1B2c3D4e5F", "board-0001", DS, "PSfedcba9876543210"), 0xC189FC18);
	p.bluetooth = 0;
	p.crc_order = CW_STOCK_CRC_PROSE;
	assert_int_equal(crc(&p, PK, "dev-0001", DS, PS), 0x184726BA);
}

/* What is set for a product shows in answers; a certificate's own ProductID comes first. */
static void test_product(void **state)
{
	const struct cw_lot_conf conf = { .batch = "b", .file = "f", .who = tester };
	const struct cw_lot_row rows[] = {
		{ .product_key = PK, .device_name = "dev-0002", .device_secret = DS, .product_secret = PS },
		{ .product_key = PK, .device_name = "dev-0001", .device_secret = DS, .product_secret = PS, .product_id = "4711",
		  .extra = "{\"Colour\":\"red\",\"Lane\":\"7\",\"Note\":\"x\"}" },
	};
	struct cw_stock_product p, got;
	struct cw_stock *s = world_open(*state);
	struct cw_stock_ask a[2] = { world_ask(CW_STOCK_ALLOCATE, "A"), world_ask(CW_STOCK_ALLOCATE, "B") };
	struct cw_lot_result result;
	struct cw_msg msg = { "" };
	struct cw_lot *lot = NULL;

	assert_int_equal(cw_stock_product_get(s, PK, &p, &msg), CW_ENOENT);
	assert_int_equal(cw_lot_begin(s, &conf, &lot, &msg), 0);
	assert_int_equal(cw_lot_add(lot, &rows[0], &msg), 0);
	assert_int_equal(cw_lot_add(lot, &rows[1], &msg), 0);
	assert_int_equal(cw_lot_finish(lot, &result, &msg), 0);
	assert_int_equal(cw_stock_product_get(s, PK, &p, &msg), 0);
	assert_int_equal(p.bluetooth, 0);
	p.bluetooth = 1;
	strcpy(p.product_id, "9999");
	p.crc_form = CW_STOCK_CRC_NUMBER;
	strcpy(p.reply_columns, "Lane, Colour,Nothing");
	set_product(s, &p);
	assert_int_equal(cw_stock_product_get(s, PK, &got, &msg), 0);
	assert_memory_equal(&got, &p, sizeof(p));
	world_serve(s, a, 2);
	assert_string_equal(a[0].cert.product_id, "9999");
	assert_string_equal(a[0].cert.extra, "");
	assert_string_equal(a[1].cert.product_id, "4711");
	assert_int_equal(a[1].cert.crc, 0xCA7E0D52);
	assert_int_equal(a[1].cert.crc_form, CW_STOCK_CRC_NUMBER);
	assert_string_equal(a[1].cert.extra, "{\"Lane\":\"7\",\"Colour\":\"red\"}");
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM audit WHERE what = 'product' AND who = 'cli:test'"), 1);
	cw_stock_close(s);
}

/* A secret that does not open: not given out; the others are served, and the line goes on. */
static void test_damaged(void **state)
{
	struct cw_stock *s = world_open(*state);
	struct cw_stock_ask a[3] = { world_ask(CW_STOCK_ALLOCATE, "A"), world_ask(CW_STOCK_ALLOCATE, "B"), world_ask(CW_STOCK_ALLOCATE, "C") };
	struct cw_stock_ask *group[] = { &a[0], &a[1], &a[2] };
	struct cw_msg msg = { "" };

	world_import(s, PK, "b", 0, 4);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "A", NULL), CW_STOCK_OK);
	/* dev-0001 has the secrets of another certificate, dev-0000 too */
	world_sql(s, "UPDATE cert SET secrets = (SELECT x.secrets FROM cert x WHERE x.device_name = 'dev-0003')"
		     " WHERE device_name IN ('dev-0000', 'dev-0001')");
	assert_int_equal(cw_stock_serve(s, group, 3, &msg), 0);
	assert_int_equal(a[0].answer, CW_STOCK_BUSY);
	assert_string_equal(a[0].cert.device_name, "");
	assert_int_equal(a[1].answer, CW_STOCK_OK);
	assert_string_equal(a[1].cert.device_name, "dev-0002");
	assert_int_equal(a[2].answer, CW_STOCK_OK);
	assert_string_equal(a[2].cert.device_name, "dev-0003");
	assert_non_null(strstr(msg.text, "do not open"));
	assert_null(strstr(msg.text, DS));
	a[0] = world_ask(CW_STOCK_ALLOCATE, "D"); /* only the damaged one is left */
	assert_int_equal(cw_stock_serve(s, group, 1, &msg), 0);
	assert_int_equal(a[0].answer, CW_STOCK_BUSY);
	assert_int_equal(world_number(s, "SELECT state FROM cert WHERE device_name = 'dev-0001'"), 0);
	cw_stock_close(s);
}

/* Several products in one group do not touch each other. */
static void test_products(void **state)
{
	struct cw_stock *s = world_open(*state);
	struct cw_stock_ask a[6];
	size_t i;

	world_import(s, PK, "b", 0, 2);
	world_import(s, "a1Other0000", "b", 0, 3);
	for (i = 0; i < 6; i++) {
		a[i] = world_ask(CW_STOCK_ALLOCATE, i < 3 ? "A" : "B");
		a[i].product_key = i % 3 == 0 ? PK : i % 3 == 1 ? "a1Other0000" : "a1None00000";
	}
	world_serve(s, a, 6);
	for (i = 0; i < 6; i++) {
		assert_int_equal(a[i].answer, i % 3 == 2 ? CW_STOCK_UNKNOWN_PRODUCT : CW_STOCK_OK);
		if (i % 3 != 2)
			assert_string_equal(a[i].cert.device_name, i < 3 ? "dev-0000" : "dev-0001");
	}
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM cert WHERE state = 0"), 1);
	world_check(s);
	cw_stock_close(s);
}

/* Allocations without a report that are over come back when there is nothing else, and only then. */
static void test_leases(void **state)
{
	struct cw_stock *s = world_open(*state);
	struct cw_stock_ask a[3];
	char name[CW_STOCK_DEVICE_NAME + 1];
	int64_t now = cw_clock_wall_ms();

	world_import(s, PK, "b", 0, 3);
	world_sql(s, "UPDATE batch SET lease = 2, lease_ms = 60000");
	cw_clock_fake(1, now);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "A", name), CW_STOCK_OK);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "B", name), CW_STOCK_OK);
	assert_int_equal(world_one(s, CW_STOCK_REPORT, "B", name), CW_STOCK_OK);
	cw_clock_fake(1, now + 50000);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "C", name), CW_STOCK_OK);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "D", name), CW_STOCK_OUT_OF_STOCK);
	cw_clock_fake(1, now + 70000);
	/* A asks again in the same group: it keeps its own, though its lease is over */
	a[0] = world_ask(CW_STOCK_ALLOCATE, "D");
	a[1] = world_ask(CW_STOCK_ALLOCATE, "A");
	world_serve(s, a, 2);
	assert_int_equal(a[1].answer, CW_STOCK_OK);
	assert_string_equal(a[1].cert.device_name, "dev-0000");
	assert_int_equal(a[0].answer, CW_STOCK_OUT_OF_STOCK);
	/* C's is over now, A's runs from when it asked again */
	cw_clock_fake(1, now + 115000);
	assert_int_equal(world_one(s, CW_STOCK_ALLOCATE, "D", name), CW_STOCK_OK);
	assert_string_equal(name, "dev-0002");
	assert_int_equal(world_one(s, CW_STOCK_REPORT, "C", name), CW_STOCK_UNKNOWN_DEVICE);
	assert_int_equal(world_number(s, "SELECT COUNT(*) FROM audit WHERE what = 'reclaim'"), 1);
	assert_int_equal(world_one(s, CW_STOCK_REPORT, "A", name), CW_STOCK_OK);
	cw_clock_fake(0, 0);
	world_check(s);
	cw_stock_close(s);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, world_make, world_drop)
	const struct CMUnitTest tests[] = {
		TEST(test_first_and_again), TEST(test_report), TEST(test_group), TEST(test_anonymous), TEST(test_unknown_and_bad),
		TEST(test_closed), TEST(test_void), TEST(test_quota), TEST(test_mac), TEST(test_crc), TEST(test_product),
		TEST(test_damaged), TEST(test_products), TEST(test_leases),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
