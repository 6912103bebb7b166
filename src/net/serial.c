/* serial.c - see serial.h. */
#include "net/serial.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/serial.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

static const struct {
	uint32_t baud;
	speed_t speed;
} rates[] = {
	{ 300, B300 },       { 600, B600 },         { 1200, B1200 },     { 1800, B1800 },     { 2400, B2400 },     { 4800, B4800 },
	{ 9600, B9600 },     { 19200, B19200 },     { 38400, B38400 },   { 57600, B57600 },   { 115200, B115200 }, { 230400, B230400 },
	{ 460800, B460800 }, { 500000, B500000 },   { 576000, B576000 }, { 921600, B921600 }, { 1000000, B1000000 },
	{ 1152000, B1152000 }, { 1500000, B1500000 }, { 2000000, B2000000 }, { 3000000, B3000000 }, { 4000000, B4000000 },
};

static speed_t speed_of(uint32_t baud)
{
	size_t i;

	for (i = 0; i < sizeof(rates) / sizeof(rates[0]); i++)
		if (rates[i].baud == (baud == 0 ? 9600 : baud))
			return rates[i].speed;
	return B0;
}

int cw_serial_check(const struct cw_serial_conf *conf, struct cw_msg *msg)
{
	char known[256] = "";
	size_t i, at = 0;

	if (conf->stop_bits > 2)
		return cw_fail(msg, CW_ECONF, "serial.stopBits is %u; there are 1 and 2", conf->stop_bits);
	if (conf->data_bits != 0 && conf->data_bits != 7 && conf->data_bits != 8)
		return cw_fail(msg, CW_ECONF, "serial.dataBits is %u; there are 7 and 8", conf->data_bits);
	if (speed_of(conf->baud) != B0)
		return 0;
	for (i = 0; i < sizeof(rates) / sizeof(rates[0]) && at < sizeof(known) - 12; i++)
		at += (size_t)snprintf(known + at, sizeof(known) - at, "%s%u", i == 0 ? "" : ", ", (unsigned)rates[i].baud);
	return cw_fail(msg, CW_ECONF, "serial.baud is %u; there are %s", (unsigned)conf->baud, known);
}

static int fail_open(const char *path, int err, struct cw_msg *msg)
{
	switch (err) {
	case ENOENT: case ENXIO: case ENODEV:
		return cw_fail(msg, CW_ENOENT, "%s is not there; is the adapter plugged in?", path);
	case EACCES: case EPERM:
		return cw_fail(msg, CW_EACCESS, "%s may not be opened by this user; make it a member of the device's group (often dialout)", path);
	case EBUSY: case EWOULDBLOCK:
		return cw_fail(msg, CW_EBUSY, "%s is in use by another program; end that one (fuser %s names it)", path, path);
	case ENOTTY:
		return cw_fail(msg, CW_ECONF, "%s is no serial line", path);
	default:
		return cw_fail(msg, cw_err_from_errno(err), "%s: %s", path, strerror(err));
	}
}

static void make_settings(const struct cw_serial_conf *conf, struct termios *t)
{
	speed_t speed = speed_of(conf->baud);

	memset(t, 0, sizeof(*t));
	t->c_cflag = CREAD | CLOCAL | (conf->data_bits == 7 ? CS7 : CS8);
	if (conf->stop_bits == 2)
		t->c_cflag |= CSTOPB;
	if (conf->parity != CW_PARITY_NONE) {
		t->c_cflag |= PARENB | (conf->parity == CW_PARITY_ODD ? PARODD : 0);
		t->c_iflag |= INPCK | IGNPAR; /* a damaged byte is left out; the protocol's checksum finds the gap */
	}
	t->c_iflag |= IGNBRK;
	t->c_cc[VMIN] = 1; /* or a read without bytes would look like the end */
	(void)cfsetispeed(t, speed);
	(void)cfsetospeed(t, speed);
}

/* tcsetattr() is content when it could do anything at all. */
static void compare(const char *path, const struct termios *want, const struct termios *got, struct cw_msg *warning)
{
	const char *what = NULL;

	if (cfgetospeed(want) != cfgetospeed(got))
		what = "rate";
	else if ((want->c_cflag & (PARENB | PARODD)) != (got->c_cflag & (PARENB | PARODD)))
		what = "parity";
	else if ((want->c_cflag & CSIZE) != (got->c_cflag & CSIZE))
		what = "number of data bits";
	else if ((want->c_cflag & CSTOPB) != (got->c_cflag & CSTOPB))
		what = "number of stop bits";
	if (what != NULL)
		cw_msg_set(warning, "%s: its driver did not take the %s; it works with its own", path, what);
}

static int set_up(int fd, const char *path, const struct cw_serial_conf *conf, struct cw_msg *warning)
{
	struct termios want, got;

	make_settings(conf, &want);
	if (tcsetattr(fd, TCSANOW, &want) != 0 || tcgetattr(fd, &got) != 0)
		return errno;
	compare(path, &want, &got, warning);
	(void)tcflush(fd, TCIOFLUSH); /* what came for whoever was here before */
	return 0;
}

static void set_rs485(int fd, const char *path, const struct cw_serial_conf *conf, struct cw_msg *warning)
{
	struct serial_rs485 rs = { 0 };

	if (!conf->rs485)
		return;
	rs.flags = SER_RS485_ENABLED | (conf->rts_on_send ? SER_RS485_RTS_ON_SEND : SER_RS485_RTS_AFTER_SEND);
	rs.delay_rts_before_send = conf->before_ms;
	rs.delay_rts_after_send = conf->after_ms;
	if (ioctl(fd, TIOCSRS485, &rs) != 0)
		cw_msg_set(warning, "%s: its driver cannot switch RS485 (%s); that is fine when the adapter does it by itself, and then "
		           "serial.rs485 = off says so", path, strerror(errno));
}

int cw_serial_open(const char *path, const struct cw_serial_conf *conf, struct cw_msg *msg, struct cw_msg *ret_warning,
                   int *ret_fd)
{
	struct stat st;
	int fd, err;

	cw_msg_set(ret_warning, "%s", "");
	if (stat(path, &st) != 0)
		return fail_open(path, errno, msg);
	if (!S_ISCHR(st.st_mode))
		return fail_open(path, ENOTTY, msg);
	fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return fail_open(path, errno, msg);
	if (!isatty(fd)) {
		close(fd);
		return fail_open(path, ENOTTY, msg);
	}
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		err = errno;
		goto err_fd;
	}
	(void)ioctl(fd, TIOCEXCL);
	err = set_up(fd, path, conf, ret_warning);
	if (err != 0) {
		(void)ioctl(fd, TIOCNXCL);
		goto err_fd;
	}
	set_rs485(fd, path, conf, ret_warning);
	*ret_fd = fd;
	return 0;
err_fd:
	close(fd);
	return fail_open(path, err, msg);
}

void cw_serial_release(int fd)
{
	(void)tcflush(fd, TCIOFLUSH);
	(void)ioctl(fd, TIOCNXCL); /* or it would stay taken as long as anybody has it open */
}
