/* Serial lines on pseudo-terminals: the test holds the master and is the device at the other end of the wire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "dial_fixture.h"

struct line {
	int master;
	char to[128];
	char path[100];
};

static struct line make_line(void)
{
	struct line l;

	l.master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(l.master >= 0);
	assert_int_equal(grantpt(l.master) | unlockpt(l.master), 0);
	assert_int_equal(ptsname_r(l.master, l.path, sizeof(l.path)), 0);
	(void)snprintf(l.to, sizeof(l.to), "serial://%s", l.path);
	return l;
}

/* Exactly these bytes come out of the wire. */
static void expect(int master, const void *want, size_t len)
{
	uint8_t got[4096];
	size_t n = 0;

	assert_true(len <= sizeof(got));
	while (n < len) {
		struct pollfd p = { master, POLLIN, 0 };
		ssize_t r;

		if (poll(&p, 1, FX_PATIENCE_S * 1000) != 1)
			fail_msg("only %zu of %zu bytes came", n, len);
		r = read(master, got + n, len - n);
		assert_true(r > 0);
		n += (size_t)r;
	}
	assert_memory_equal(got, want, len);
}

static struct cw_dial *dial_line(const struct line *l)
{
	struct cw_dial_conf conf = dial_conf(l->to);

	return dial(&conf);
}

static void test_both_ways(void **state)
{
	static const uint8_t binary[] = { 0x01, 0x03, 0x00, 0x0a, 0x0d, 0x11, 0x13, 0x7f, 0xff, 0x04, 0x03, 0x1a };
	struct line l = make_line();
	struct cw_dial *d = dial_line(&l);
	struct cw_dial_status st;

	(void)state;
	fx_wait(fx.opened == 1);
	assert_string_equal(fx.peer, l.path);
	/* Nothing is changed on its way, and nothing is a signal. */
	assert_int_equal(write(l.master, binary, sizeof(binary)), sizeof(binary));
	expect(l.master, binary, sizeof(binary));
	st = dial_status(d);
	assert_int_equal(st.state, CW_DIAL_UP);
	assert_string_equal(st.address, l.path);
	dial_close(d);
	assert_string_equal(fx.reason, "the test is over");
	close(l.master);
}

/* A slow device: every byte comes alone. */
static void test_byte_by_byte(void **state)
{
	struct line l = make_line();
	uint64_t i;

	(void)state;
	(void)dial_line(&l);
	fx_wait(fx.opened == 1);
	for (i = 0; i < 40; i++) {
		uint8_t b = (uint8_t)(i * 7);

		assert_int_equal(write(l.master, &b, 1), 1);
		expect(l.master, &b, 1);
		fx_wait(fx.bytes == i + 1);
	}
	close(l.master);
	fx_wait(fx.closed == 1);
}

/* The adapter is pulled out: the session ends, and the line is tried again until it is there. */
static void test_unplugged(void **state)
{
	struct line l = make_line();
	char place[64], to[100];
	struct cw_dial_conf conf = dial_conf(to);
	struct cw_dial_status st;
	struct cw_dial *d;

	(void)state;
	/* A name that stays while what is behind it comes and goes, as udev's do. */
	(void)snprintf(place, sizeof(place), "/tmp/cw-line-%ld", (long)getpid());
	(void)snprintf(to, sizeof(to), "serial://%s", place);
	(void)unlink(place);
	d = dial(&conf);
	dial_wait(d, st, st.attempts >= 3);
	assert_non_null(strstr(st.last_error, "is not there; is the adapter plugged in?"));
	assert_int_equal(symlink(l.path, place), 0);
	fx_wait(fx.opened == 1);
	close(l.master);
	fx_wait(fx.closed == 1);
	(void)unlink(place);
	dial_wait(d, st, st.state != CW_DIAL_UP && st.attempts >= 6);
	l = make_line();
	assert_int_equal(symlink(l.path, place), 0);
	fx_wait(fx.opened == 2);
	assert_int_equal(write(l.master, "back", 4), 4);
	expect(l.master, "back", 4);
	(void)unlink(place);
	dial_close(d);
	close(l.master);
}

/* Who asks for the lock does not get it; who has it keeps us away, with a word why. */
static void test_lock(void **state)
{
	struct line l = make_line();
	struct cw_dial *d = dial_line(&l);
	struct cw_dial_status st;
	int fd;

	(void)state;
	fx_wait(fx.opened == 1);
	fd = open(l.path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0) { /* only root comes so far */
		assert_int_equal(geteuid(), 0);
		assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
		assert_int_equal(errno, EWOULDBLOCK);
		close(fd);
	} else {
		assert_int_equal(errno, EBUSY);
	}
	dial_close(d);
	/* The line is free for everybody again. */
	fd = open(l.path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	d = dial_line(&l);
	dial_wait(d, st, st.attempts >= 2);
	assert_non_null(strstr(st.last_error, "is in use by another program"));
	assert_non_null(strstr(st.last_error, l.path));
	close(fd);
	dial_wait(d, st, st.state == CW_DIAL_UP);
	dial_close(d);
	close(l.master);
}

/* What the driver of this line got; a pseudo-terminal takes the rate and the stop bits, but always has 8 bits without parity. */
static void test_settings(void **state)
{
	struct line l = make_line();
	struct cw_dial_conf conf = dial_conf(l.to);
	struct termios t;
	struct cw_dial *d;
	int fd;

	(void)state;
	conf.serial = (struct cw_serial_conf){ .baud = 19200, .parity = CW_PARITY_EVEN, .stop_bits = 2, .data_bits = 7 };
	d = dial(&conf);
	fx_wait(fx.opened == 1);
	fd = l.master;
	assert_int_equal(tcgetattr(fd, &t), 0);
	assert_int_equal(cfgetospeed(&t), B19200);
	assert_true((t.c_cflag & CSTOPB) != 0);
	assert_true((t.c_iflag & INPCK) != 0);
	assert_int_equal(t.c_lflag & (ICANON | ECHO | ISIG), 0);
	assert_int_equal(t.c_oflag & OPOST, 0);
	assert_int_equal(write(l.master, "7E2", 3), 3);
	expect(l.master, "7E2", 3);
	dial_close(d);
	close(l.master);
}

/* The driver cannot: a warning, no failure. */
static void test_warnings(void **state)
{
	struct cw_serial_conf conf = { .baud = 9600, .rs485 = 1, .rts_on_send = 1 };
	struct line l = make_line();
	struct cw_msg msg, warning;
	int fd;

	(void)state;
	assert_int_equal(cw_serial_open(l.path, &conf, &msg, &warning, &fd), 0);
	assert_non_null(strstr(warning.text, "cannot switch RS485"));
	cw_serial_release(fd);
	close(fd);
	conf = (struct cw_serial_conf){ .parity = CW_PARITY_ODD };
	assert_int_equal(cw_serial_open(l.path, &conf, &msg, &warning, &fd), 0);
	assert_non_null(strstr(warning.text, "did not take the parity"));
	cw_serial_release(fd);
	close(fd);
	conf = (struct cw_serial_conf){ .stop_bits = 1 };
	assert_int_equal(cw_serial_open(l.path, &conf, &msg, &warning, &fd), 0);
	assert_string_equal(warning.text, "");
	cw_serial_release(fd);
	close(fd);
	close(l.master);
}

static void test_no_line(void **state)
{
	struct cw_serial_conf conf = { 0 };
	struct cw_msg msg, warning;
	int fd;

	(void)state;
	assert_int_equal(cw_serial_open("/dev/null", &conf, &msg, &warning, &fd), CW_ECONF);
	assert_string_equal(msg.text, "/dev/null is no serial line");
	assert_int_equal(cw_serial_open("/tmp", &conf, &msg, &warning, &fd), CW_ECONF);
	assert_int_equal(cw_serial_open("/dev/no-such-line", &conf, &msg, &warning, &fd), CW_ENOENT);
}

static void test_check(void **state)
{
	struct cw_dial_conf conf = dial_conf("serial:///dev/ttyS1");
	struct cw_msg msg;

	(void)state;
	assert_int_equal(cw_dial_check(&conf, &msg), 0);
	conf.serial.baud = 12345;
	assert_int_equal(cw_dial_check(&conf, &msg), CW_ECONF);
	assert_non_null(strstr(msg.text, "serial.baud is 12345; there are 300, "));
	assert_non_null(strstr(msg.text, "115200"));
	conf.serial.baud = 115200;
	conf.serial.stop_bits = 3;
	assert_int_equal(cw_dial_check(&conf, &msg), CW_ECONF);
	conf.serial.stop_bits = 2;
	conf.serial.data_bits = 6;
	assert_int_equal(cw_dial_check(&conf, &msg), CW_ECONF);
}

static void fill(struct cw_session *s)
{
	static const uint8_t block[16384];

	while (cw_session_send(s, cw_bytes_of(block, sizeof(block))) == 0)
		;
}

/* Nobody takes what is sent: the bound holds, and closing does not wait for the wire. */
static void test_stuck_line(void **state)
{
	struct line l = make_line();

	(void)state;
	fx.on_open = fill;
	(void)dial_line(&l);
	fx_wait(fx.closed >= 1);
	assert_int_equal(fx.why, CW_ELIMIT);
	close(l.master);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fx_setup, dial_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_both_ways), TEST(test_byte_by_byte), TEST(test_unplugged), TEST(test_lock),     TEST(test_settings),
		TEST(test_warnings),  TEST(test_no_line),      TEST(test_check),     TEST(test_stuck_line),
	};

	return cmocka_run_group_tests_name("serial", tests, NULL, NULL);
}
