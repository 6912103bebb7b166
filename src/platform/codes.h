/*
 * codes.h - the platform's numbers: what they mean in a sentence, and what they ask of us.
 */
#ifndef CW_PLATFORM_CODES_H
#define CW_PLATFORM_CODES_H

#include <stddef.h>
#include <stdint.h>

enum cw_code_action {
	CW_CODE_DONE,    /* success */
	CW_CODE_LATER,   /* the same request may succeed later */
	CW_CODE_RELOGIN, /* the device has no session here: log in again, then the same request */
	CW_CODE_RETOPO,  /* the relation is missing: topology add, log in, then the same request */
	CW_CODE_REFUSED  /* for good, as long as nobody changes something at the platform */
};

/* Never NULL. A text of the platform's own goes before this one. */
const char *cw_code_text(int32_t code);
enum cw_code_action cw_code_action(int32_t code);
/* What to do when a device's login was refused with this code; NULL when its text says all there is. */
const char *cw_code_todo(int32_t code);
/* The same two for the code of a CONNACK; neither is NULL. */
const char *cw_connack_text(int code);
const char *cw_connack_todo(int code);

#endif
