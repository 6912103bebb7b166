/*
 * error.h - the error numbers every call of Causeway may return.
 *
 * Zero is success, errors are negative.  A number is part of the ABI: it is
 * never given another meaning and never reused.  The third column says what the
 * caller should do next:
 *   RETRY  the same call may succeed later, nothing is lost
 *   DROP   give up this frame, record or command, carry on with the next
 *   CLOSE  give up this connection or session
 *   FATAL  give up this object for good (a file, a plugin, a configuration)
 */
#ifndef CAUSEWAY_ERROR_H
#define CAUSEWAY_ERROR_H

#define CW_ERRORS(X)                                                           \
	X(ENOMEM, -1, RETRY, "out of memory")                                  \
	X(EBUSY, -2, RETRY, "queue over its high mark")                        \
	X(ECLOSED, -3, CLOSE, "closed")                                        \
	X(EPROTO, -4, DROP, "bytes do not fit the protocol")                   \
	X(EABI, -5, FATAL, "plugin was built for another ABI")                 \
	X(EINVAL, -6, DROP, "argument out of range")                           \
	X(ENOENT, -7, DROP, "not found")                                       \
	X(EEXIST, -8, DROP, "exists already")                                  \
	X(ETIMEDOUT, -9, RETRY, "timed out")                                   \
	X(EIO, -10, RETRY, "input or output failed")                           \
	X(ELIMIT, -11, DROP, "over a limit")                                   \
	X(EAUTH, -12, FATAL, "credentials refused")                            \
	X(EUNSUPPORTED, -13, DROP, "not supported")                            \
	X(EREFUSED, -14, DROP, "refused by the other side")                    \
	X(EOFFLINE, -15, RETRY, "not online")                                  \
	X(ECONF, -16, FATAL, "configuration is wrong")                         \
	X(EACCESS, -17, FATAL, "permission denied")                            \
	X(EUNREACH, -18, RETRY, "cannot be reached")                           \
	X(EINTERNAL, -19, FATAL, "internal error")

enum cw_error {
	CW_OK = 0,
#define CW_ERROR_ENUM(name, number, action, text) CW_##name = number,
	CW_ERRORS(CW_ERROR_ENUM)
#undef CW_ERROR_ENUM
};

enum cw_error_action { CW_ACTION_NONE, CW_ACTION_RETRY, CW_ACTION_DROP, CW_ACTION_CLOSE, CW_ACTION_FATAL };

/* The English text of an error number; never NULL, static storage. */
static inline const char *cw_error_text(int rc)
{
	switch (rc) {
	case 0: return "success";
#define CW_ERROR_TEXT(name, number, action, text) case number: return text;
	CW_ERRORS(CW_ERROR_TEXT)
#undef CW_ERROR_TEXT
	default: return "unknown error";
	}
}

/* What to do about an error number: one of enum cw_error_action. */
static inline int cw_error_action(int rc)
{
	switch (rc) {
	case 0: return CW_ACTION_NONE;
#define CW_ERROR_ACTION(name, number, action, text) case number: return CW_ACTION_##action;
	CW_ERRORS(CW_ERROR_ACTION)
#undef CW_ERROR_ACTION
	default: return CW_ACTION_FATAL;
	}
}

#endif
