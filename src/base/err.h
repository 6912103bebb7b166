/*
 * err.h - error numbers of libuv and errno mapped to ours, and a message buffer
 * that carries a human sentence upwards while each level wraps it.
 */
#ifndef CW_BASE_ERR_H
#define CW_BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

#include "causeway/error.h"

/* A sentence for a person, built from the inside out. Zero-initialise it. */
struct cw_msg {
	char text[768];
};

/* Replace the text. Long text is cut. */
void cw_msg_set(struct cw_msg *msg, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Put `what: ` before the text, as in `upstream "cloud": tls.ca: cannot read ...`. */
void cw_msg_wrap(struct cw_msg *msg, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Set the text (if msg is not NULL) and return rc: `return cw_fail(msg, CW_ECONF, "...")`. */
int cw_fail(struct cw_msg *msg, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Map a positive errno. */
int cw_err_from_errno(int err);

/*
 * A wrong state of our own: say where and abort. Never for what a peer, a disk or
 * an operator can cause.
 */
#define cw_invariant(cond) ((cond) ? (void)0 : cw_invariant_failed(#cond, __FILE__, __LINE__))
void cw_invariant_failed(const char *cond, const char *file, int line) __attribute__((noreturn));

#endif
