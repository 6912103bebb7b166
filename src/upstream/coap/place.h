/*
 * place.h - where the platform is: the endpoint of the configuration, whose host may have ${productKey} in it, and the
 * addresses of each host, looked up without blocking and kept for a while.
 */
#ifndef CW_UPSTREAM_COAP_PLACE_H
#define CW_UPSTREAM_COAP_PLACE_H

#include <sys/socket.h>

#include "base/err.h"
#include "base/list.h"
#include "loop/worker.h"
#include "upstream/endpoint.h"

#define PLACE_HOST_BYTES 256u
#define PLACE_ADDRESSES 8u
#define PLACE_KEEP_MS 60000u /* a look-up that worked; a failed one is not kept */

/* coap://host[:port] or coaps://host[:port]; without port 5682 or 5684. The host may hold ${productKey}. */
extern const struct cw_endpoint_form cw_coap_endpoint_form;
/* The host of a product's devices. 0, or CW_ELIMIT: too long. */
int cw_coap_host_of(const struct cw_endpoint *e, const char *product_key, char out[PLACE_HOST_BYTES]);

struct coap_places;

/* Who waits for a look-up. Zero-initialise; `found` runs on the loop, at once when the addresses are known. */
struct coap_seeker {
	struct cw_list link;
	/* 0, or an error with a sentence; addresses (one at least) are lent for the call. */
	void (*found)(struct coap_seeker *s, int rc, const char *text, const struct sockaddr_storage *at,
		      unsigned count);
	const char *host; /* filled; lives as long as the places do */
};

int cw_coap_places_new(const struct cw_endpoint *e, struct coap_places **ret_places);
/* When its loop has ended. Accepts NULL. */
void cw_coap_places_free(struct coap_places *p);
/* On the loop. 0 or CW_ENOMEM, CW_ELIMIT: `found` never runs. */
int cw_coap_places_seek(struct coap_places *p, struct cw_worker *w, const char *product_key, struct coap_seeker *s);
void cw_coap_seeker_cancel(struct coap_seeker *s);
/* The addresses did not serve: look them up anew next time. */
void cw_coap_places_doubt(struct coap_places *p, const char *host);
/* Look-ups under way end without telling; nothing may be asked any more. */
void cw_coap_places_stop(struct coap_places *p);

#endif
