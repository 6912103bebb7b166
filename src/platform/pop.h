/*
 * pop.h - the management API's request as text: parameters, signature version 1.0, the form of a POST.
 * No I/O, no state; any thread.
 */
#ifndef CW_PLATFORM_POP_H
#define CW_PLATFORM_POP_H

#include <stddef.h>

#define CW_POP_PARAMS_MOST 1100u /* a thousand DeviceName.N, and what every call has */

struct cw_pop_param {
	const char *name, *value;
};

/*
 * The signature over `method` (GET or POST) and all parameters (Signature is not among them), Base64. 0, CW_ELIMIT (too many),
 * CW_ENOMEM or CW_EINTERNAL.
 */
int cw_pop_sign(const char *method, const struct cw_pop_param *params, size_t count, const char *access_secret,
		char ret_signature[32]);
/* The body of a POST, Signature included; owned by the caller (cw_free). */
int cw_pop_form(const struct cw_pop_param *params, size_t count, const char *access_secret, char **ret_form, size_t *ret_len);

#endif
