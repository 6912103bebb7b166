/*
 * gate.h - what the platform's gateway checks of a management call before any service sees it: common parameters, key,
 * time, nonce, signature, in the documented order.
 *
 * A gate remembers nonces for fifteen minutes of the platform's clock, up to GATE_NONCES_MAX of them; beyond that the
 * oldest is forgotten early, which lets it be used again but bounds memory. One thread.
 */
#ifndef CW_CLOUD_OPENAPI_GATE_H
#define CW_CLOUD_OPENAPI_GATE_H

#include "cloud/core/cloud.h"
#include "cloud/openapi/request.h"

#define GATE_NONCES_MAX 100000u
#define GATE_WINDOW_MS 900000 /* of timestamps, either way, and of nonces */

struct pop_gate;

/* Why a call is refused: HTTP status, the platform's code and a sentence. */
struct pop_refusal {
	unsigned status;
	const char *code;           /* static */
	struct cloud_bytes message; /* text with a final NUL; may hold what the client sent, never a secret */
};

int cw_cloud_gate_new(const struct cw_cloud *c, struct pop_gate **ret_gate);
void cw_cloud_gate_free(struct pop_gate *g);
/*
 * Look at a call; `params` are sorted. 0 and the key; CW_EREFUSED and *ret_why, whose message is to be freed with
 * cw_cloud_bytes_free(); CW_ENOMEM. The nonce counts as used from a right signature on.
 */
int cw_cloud_gate_check(struct pop_gate *g, const char *method, const struct pop_params *params,
			const struct cloud_access_key **ret_key, struct pop_refusal *ret_why);
/* Nonces remembered now. */
unsigned cw_cloud_gate_nonces(const struct pop_gate *g);

#endif
