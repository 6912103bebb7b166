/* Messages in parts, media, limits and timers of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "script.h"

static void parts_are_put_together_in_any_order(void **state)
{
	(void)state;
	start(NULL);
	go_online();
	t.serial = 100;
	part(0x0701, 3, 3, "2121");
	expect(0x8001, "0064" "0701" "00");
	part(0x0701, 3, 1, "00000006" "4d44");
	expect(0x8001, "0065" "0701" "00");
	part(0x0701, 3, 1, "00000006" "4d44");
	part(0x0002, 0, 0, "");
	assert_int_equal(f.records.n, 0);
	fake_forget(&f);
	part(0x0701, 3, 3, "2121");
	part(0x0701, 3, 2, "4f4b");
	expect(0x8001, "0068" "0701" "00");
	expect(0x8001, "0069" "0701" "00");
	expect_record(CW_KIND_EVENT, "Waybill", "{\"length\":6,\"dataHex\":\"4d444f4b2121\",\"text\":\"MDOK!!\"}");
	assert_int_equal(f.charged, 0);
}

static void missing_parts_are_asked_for_and_given_up(void **state)
{
	unsigned i;

	(void)state;
	start(NULL);
	go_online();
	t.serial = 200;
	part(0x0701, 4, 1, "00000006" "4d44");
	t.serial = 203;
	part(0x0701, 4, 4, "21");
	fake_forget(&f);
	fake_advance(&f, 9999);
	expect_silence();
	fake_advance(&f, 1);
	expect(0x8003, "00c8" "02" "0002" "0003");
	fake_advance(&f, 60000);
	for (i = 0; fake_next(&f.sent) != NULL; i++)
		;
	assert_int_equal(i, 4);
	assert_int_equal(f.charged, 0);
	fake_advance(&f, 600000);
	expect_silence();
}

static void limits_hold_for_parts(void **state)
{
	char body[2048];

	(void)state;
	start("{\"partsMaxOpen\": 2, \"partsMaxCount\": 10, \"partsMaxBytes\": 1024}");
	go_online();
	memset(body, '1', sizeof(body));
	body[1400] = 0;
	t.serial = 10;
	part(0x0701, 11, 1, "31");
	expect(0x8001, "000a" "0701" "01");
	part(0x0701, 5, 1, "31");
	part(0x0701, 6, 1, "31");
	part(0x0701, 7, 1, "31");
	fake_forget(&f);
	part(0x0701, 5, 2, "31"); /* its first part was dropped with the oldest message */
	part(0x0701, 7, 2, body);
	fake_forget(&f);
	t.serial = 20;
	part(0x0701, 7, 3, body);
	expect(0x8001, "0014" "0701" "01");
}

static void a_picture_is_stored_and_acknowledged(void **state)
{
	(void)state;
	start(NULL);
	go_online();
	t.serial = 300;
	part(0x0801, 3, 1, MEDIA_HEAD "ffd8");
	part(0x0801, 3, 3, "ffd9");
	part(0x0801, 3, 2, "1234");
	expect(0x8001, "012c" "0801" "00");
	expect(0x8001, "012d" "0801" "00");
	expect(0x8001, "012e" "0801" "00");
	expect(0x8800, "0000007b");
	assert_int_equal(f.attachment_len, 6);
	assert_memory_equal(f.attachment, "\xff\xd8\x12\x34\xff\xd9", 6);
	assert_true(f.attachment_kept);
	{
		const char *json = fake_record(&f, CW_KIND_EVENT, "MediaUploaded");

		assert_non_null(strstr(json, "\"mediaId\":123"));
		assert_non_null(strstr(json, "\"size\":6"));
		assert_non_null(strstr(json, "\"file\":\"file-1.jpg\""));
		assert_non_null(strstr(json, "\"Latitude\":22.642600"));
	}
}

static void a_picture_in_one_frame_and_without_a_store_is_inline(void **state)
{
	(void)state;
	start(NULL);
	go_online();
	f.no_attachments = 1;
	tell(0x0801, MEDIA_HEAD "ffd8");
	expect(0x8001, "0002" "0801" "00");
	expect(0x8800, "0000007b");
	assert_non_null(strstr(fake_record(&f, CW_KIND_EVENT, "MediaUploaded"), "\"dataHex\":\"ffd8\""));
}

static void lost_parts_of_a_picture_are_asked_for_with_8800(void **state)
{
	(void)state;
	start(NULL);
	go_online();
	part(0x0801, 3, 1, MEDIA_HEAD "ffd8");
	fake_forget(&f);
	fake_advance(&f, 10000);
	expect(0x8800, "0000007b" "02" "0002" "0003");
}

static void pictures_of_2011_count_their_packets_in_the_body(void **state)
{
	(void)state;
	start("{\"edition\": \"2011\", \"authPolicy\": \"any\"}");
	tell(0x0102, "3132");
	fake_forget(&f);
	tell(0x0801, "0000007b00000102" "00000002" "00000001" "ffd8");
	tell(0x0801, "0000007b00000102" "00000002" "00000002" "ffd9");
	expect(0x8001, "0001" "0801" "00");
	expect(0x8001, "0002" "0801" "00");
	expect(0x8800, "0002" "0000007b");
	assert_int_equal(f.attachment_len, 4);
}

static void a_first_part_with_a_new_serial_starts_over(void **state)
{
	(void)state;
	start(NULL);
	go_online();
	t.serial = 50;
	part(0x0701, 2, 1, "000000023131");
	t.serial = 60;
	part(0x0701, 2, 1, "000000033232");
	part(0x0701, 2, 2, "32");
	expect_record(CW_KIND_EVENT, "Waybill", "{\"length\":3,\"dataHex\":\"323232\",\"text\":\"222\"}");
}

static void the_timers_of_parts_are_settings(void **state)
{
	(void)state;
	start("{\"partsAskAfter\": 2000, \"partsAsks\": 1, \"partsDropAfter\": 7000}");
	go_online();
	part(0x0701, 2, 1, "00000006");
	fake_forget(&f);
	fake_advance(&f, 2000);
	expect(0x8003, "0002" "01" "0002");
	fake_advance(&f, 4000);
	assert_true(f.charged > 0);
	fake_advance(&f, 2000);
	assert_int_equal(f.charged, 0);
	assert_int_equal(f.sent.n, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, check_and_end)
	const struct CMUnitTest tests[] = {
		T(parts_are_put_together_in_any_order),
		T(missing_parts_are_asked_for_and_given_up),
		T(limits_hold_for_parts),
		T(a_picture_is_stored_and_acknowledged),
		T(a_picture_in_one_frame_and_without_a_store_is_inline),
		T(lost_parts_of_a_picture_are_asked_for_with_8800),
		T(pictures_of_2011_count_their_packets_in_the_body),
		T(a_first_part_with_a_new_serial_starts_over),
		T(the_timers_of_parts_are_settings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
