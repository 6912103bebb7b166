/* err.c - see err.h. */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cw_msg_set(struct cw_msg *msg, const char *fmt, ...)
{
	va_list ap;

	if (msg == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(msg->text, sizeof(msg->text), fmt, ap);
	va_end(ap);
}

void cw_msg_wrap(struct cw_msg *msg, const char *fmt, ...)
{
	struct cw_msg inner;
	va_list ap;
	int n;

	if (msg == NULL)
		return;
	inner = *msg;
	va_start(ap, fmt);
	n = vsnprintf(msg->text, sizeof(msg->text), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(msg->text))
		return;
	(void)snprintf(msg->text + n, sizeof(msg->text) - (size_t)n, ": %.*s",
	               (int)(sizeof(msg->text) - 3), inner.text);
}

int cw_fail(struct cw_msg *msg, int rc, const char *fmt, ...)
{
	va_list ap;

	if (msg != NULL) {
		va_start(ap, fmt);
		(void)vsnprintf(msg->text, sizeof(msg->text), fmt, ap);
		va_end(ap);
	}
	return rc;
}

int cw_err_from_errno(int err)
{
	switch (err) {
	case 0: return 0;
	case ENOMEM: return CW_ENOMEM;
	case EAGAIN: case EMFILE: case ENFILE: case ENOBUFS: return CW_EBUSY;
	case EPIPE: case ECONNRESET: case ECONNABORTED: case ENOTCONN: case ECANCELED: return CW_ECLOSED;
	case EINVAL: case EDOM: case ERANGE: return CW_EINVAL;
	case ENOENT: return CW_ENOENT;
	case EEXIST: case EADDRINUSE: return CW_EEXIST;
	case ETIMEDOUT: return CW_ETIMEDOUT;
	case EACCES: case EPERM: return CW_EACCESS;
	case ECONNREFUSED: return CW_EREFUSED;
	case EHOSTUNREACH: case ENETUNREACH: case EADDRNOTAVAIL: return CW_EUNREACH;
	case EOPNOTSUPP: case ENOSYS: return CW_EUNSUPPORTED;
	default: return CW_EIO;
	}
}

void cw_invariant_failed(const char *cond, const char *file, int line)
{
	fprintf(stderr, "causeway: BUG at %s:%d: %s does not hold; stopping\n", file, line, cond);
	abort();
}
