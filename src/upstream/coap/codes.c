/* codes.c - see codes.h. */
#include "upstream/coap/codes.h"

#define CODES(X)                                                                                                       \
	X(400, REFUSED, "4.00 bad payload or bad request; not sent again")                                             \
	X(401, RELOGIN,                                                                                                \
	  "4.01 not authorised: token invalid or expired, or the device secret is wrong; authenticating again")        \
	X(402, RELOGIN, "4.02 bad option: taken for an invalid token; authenticating again")                           \
	X(403, REFUSED,                                                                                                \
	  "4.03 forbidden: the topic has no publish permission, or the device is disabled; not sent again")            \
	X(404, REFUSED, "4.04 there is no such path; not sent again")                                                  \
	X(405, REFUSED, "4.05 method not allowed; not sent again")                                                     \
	X(406, REFUSED, "4.06 the format asked for cannot be had; check the setting payload")                          \
	X(413, REFUSED, "4.13 payload too long; lower maxPayload")                                                     \
	X(414, REFUSED, "4.14 path too long; not sent again")                                                          \
	X(415, REFUSED, "4.15 content format not supported; check the setting payload")                                \
	X(429, LATER, "4.29 too many requests; sent again later")                                                      \
	X(500, LATER, "5.00 the platform's authentication service failed or timed out; sent again later")              \
	X(503, LATER, "5.03 the platform is not available; sent again later")                                          \
	X(504, LATER, "5.04 the platform timed out; sent again later")

const char *cw_coap_code_text(int code)
{
	switch (code) {
#define TEXT(number, action, text)                                                                                     \
	case number: return text;
		CODES(TEXT)
#undef TEXT
	default:
		return code / 100 == 2   ? "success"
		       : code / 100 == 5 ? "error of the platform; sent again later"
					 : "refused by the platform; not sent again";
	}
}

enum coap_action cw_coap_code_action(int code)
{
	switch (code) {
#define ACTION(number, action, text)                                                                                   \
	case number: return COAP_##action;
		CODES(ACTION)
#undef ACTION
	default: return code / 100 == 2 ? COAP_DONE : code / 100 == 5 ? COAP_LATER : COAP_REFUSED;
	}
}

const char *cw_coap_auth_text(int code)
{
	switch (code) {
	case 400: return "4.00 the login is malformed, or the sign method is not supported; check signMethod";
	case 401:
	case 402: return "4.01 the platform does not know the device, or its secret is wrong; tried again later";
	case 403: return "4.03 the device is disabled, or may connect through its gateway only; tried again later";
	default: return cw_coap_code_text(code);
	}
}

enum coap_action cw_coap_auth_action(int code)
{
	enum coap_action action = cw_coap_code_action(code);

	return action == COAP_RELOGIN ? COAP_REFUSED : action;
}
