/* Secrets at rest: what is sealed opens with the same key for the same owner and with nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "store/seal.h"

static char dir[32], file[48];

static int make_dir(void **state)
{
	strcpy(dir, "/tmp/cw-seal-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	(void)snprintf(file, sizeof(file), "%s/key", dir);
	return 0;
}

static int drop_dir(void **state)
{
	(void)unlink(file);
	return rmdir(dir); /* fails when a part file was left */
}

static struct cw_seal *open_seal(int make)
{
	struct cw_msg msg = { "" };
	struct cw_seal *s = NULL;

	if (cw_seal_open(file, make, &s, &msg) < 0)
		fail_msg("%s", msg.text);
	return s;
}

static void test_round(void **state)
{
	struct cw_bytes plain = cw_bytes_text("0123456789abcdef"), owner = cw_bytes_text("row 7");
	struct cw_seal *s = open_seal(1);
	uint8_t *a, *b;
	size_t a_len, b_len, len;
	struct stat st;
	char *back;

	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(cw_seal_bytes(s, plain, owner, &a, &a_len), 0);
	assert_int_equal(cw_seal_bytes(s, plain, owner, &b, &b_len), 0);
	assert_int_equal(a_len, plain.len + CW_SEAL_EXTRA);
	assert_memory_not_equal(a, b, a_len); /* the same secret twice shows no pattern */
	cw_seal_close(s);
	s = open_seal(0); /* the key of the file, not another one */
	assert_int_equal(cw_unseal_bytes(s, cw_bytes_of(a, a_len), owner, &back, &len), 0);
	assert_string_equal(back, "0123456789abcdef");
	cw_free(back);
	assert_int_equal(cw_unseal_bytes(s, cw_bytes_of(a, a_len), cw_bytes_text("row 8"), &back, &len), CW_EAUTH);
	for (size_t i = 1; i < a_len; i++) {
		a[i] ^= 1;
		assert_int_equal(cw_unseal_bytes(s, cw_bytes_of(a, a_len), owner, &back, &len), CW_EAUTH);
		a[i] ^= 1;
	}
	for (size_t i = 0; i < a_len; i++)
		assert_true(cw_unseal_bytes(s, cw_bytes_of(a, i), owner, &back, &len) < 0);
	a[0] = 2;
	assert_int_equal(cw_unseal_bytes(s, cw_bytes_of(a, a_len), owner, &back, &len), CW_EPROTO);
	cw_free(a);
	cw_free(b);
	cw_seal_close(s);
}

static void test_key_file(void **state)
{
	struct cw_seal *s = NULL;
	struct cw_msg msg = { "" };

	assert_int_equal(cw_seal_open(file, 0, &s, &msg), CW_ENOENT);
	assert_int_equal(cw_file_replace(file, cw_bytes_text("not a key"), &msg), 0);
	assert_int_equal(cw_seal_open(file, 1, &s, &msg), CW_ECONF);
	assert_non_null(strstr(msg.text, "backup"));
	(void)unlink(file);
	cw_seal_close(open_seal(1));
	assert_int_equal(chmod(file, 0644), 0);
	assert_int_equal(cw_seal_open(file, 1, &s, &msg), CW_EACCESS);
	assert_non_null(strstr(msg.text, "chmod 0600"));
}

static void test_file(void **state)
{
	struct cw_file_new f;
	struct cw_msg msg = { "" };
	char *text;
	size_t len;

	assert_int_equal(cw_file_begin(&f, file, &msg), 0);
	assert_int_equal(cw_file_commit(&f, cw_bytes_text("one"), 0, &msg), 0);
	assert_int_equal(cw_file_begin(&f, file, &msg), 0);
	assert_int_equal(cw_file_commit(&f, cw_bytes_text("two"), 0, &msg), CW_EEXIST);
	assert_int_equal(cw_file_read(file, 100, &text, &len, &msg), 0);
	assert_string_equal(text, "one");
	cw_free(text);
	assert_int_equal(cw_file_replace(file, cw_bytes_text("three"), &msg), 0);
	assert_int_equal(cw_file_read(file, 4, &text, &len, &msg), CW_ELIMIT);
	assert_int_equal(cw_file_begin(&f, file, &msg), 0);
	cw_file_abandon(&f);
	cw_file_abandon(&f);
	assert_int_equal(cw_file_remove(file, &msg), 0);
	assert_int_equal(cw_file_remove(file, &msg), 0);
	assert_int_equal(cw_file_read(file, 4, &text, &len, &msg), CW_ENOENT);
	assert_true(cw_file_begin(&f, "/nowhere/at/all", &msg) < 0);
	assert_non_null(strstr(msg.text, "/nowhere/at/all"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(test_key_file, make_dir, drop_dir),
		cmocka_unit_test_setup_teardown(test_file, make_dir, drop_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
