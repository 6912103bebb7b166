/*
 * serial.h - serial lines: settings, opening with a lock, and what must be done before the descriptor is closed.
 *
 * A tty is taken for this process alone, by TIOCEXCL (nobody else may open it, root excepted) and by flock() (for those
 * who ask). Nothing here waits: a line is opened without a carrier, and what the driver has not sent yet when the line is
 * released is dropped, for close() would wait for it.
 */
#ifndef CW_NET_SERIAL_H
#define CW_NET_SERIAL_H

#include <stdint.h>

#include "base/err.h"

enum cw_parity { CW_PARITY_NONE, CW_PARITY_EVEN, CW_PARITY_ODD };

struct cw_serial_conf {
	uint32_t baud;         /* one of the usual rates; 0: 9600 */
	enum cw_parity parity;
	unsigned stop_bits;    /* 1 or 2; 0: 1 */
	unsigned data_bits;    /* 7 or 8; 0: 8 */
	int rs485;             /* the driver switches the transceiver's direction */
	int rts_on_send;       /* RTS is high while sending, else low */
	uint32_t before_ms, after_ms; /* between RTS and the first byte, and the last byte and RTS */
};

/* 0 or CW_ECONF with a sentence. */
int cw_serial_check(const struct cw_serial_conf *conf, struct cw_msg *msg);
/*
 * Open, lock and set up. 0 and a non-blocking descriptor; or an error with a sentence that begins with the path. With 0
 * *ret_warning says what the driver did not take, or is empty.
 */
int cw_serial_open(const char *path, const struct cw_serial_conf *conf, struct cw_msg *msg, struct cw_msg *ret_warning,
                   int *ret_fd);
/* Before close(): let others in, drop what is not sent. */
void cw_serial_release(int fd);

#endif
