/*
 * session.h - what is remembered of one peer: its last requests with their answers.
 *
 * A client whose answer was lost repeats its request with the same message id. It is answered again from here, not
 * carried out twice, and its sequence number does not look like one that was used before. One thread.
 */
#ifndef CW_CLOUD_COAP_SESSION_H
#define CW_CLOUD_COAP_SESSION_H

#include "cloud/coap/request.h"

#define COAP_RECENT 4u         /* requests of one peer; clients have one under way, by the protocol's rule */
#define COAP_RECENT_MS 247000u /* for so long a message id stands for the same message */

struct coap_recent {
	uint64_t until_ms; /* 0: empty; loop time */
	uint64_t hash;     /* of the whole message: a client that starts again may begin with the same ids */
	struct coap_answer *answer;
};

struct coap_peer {
	struct cw_map_node node; /* by name */
	struct cw_list link;     /* heard from last in front */
	struct coap_recent recent[COAP_RECENT];
	unsigned next;
	char name[];
};

/* At most `max` peers; the one not heard from for longest gives way. */
struct coap_peers {
	struct cw_map map;
	struct cw_list all;
	unsigned max;
};

void cw_cloud_coap_peers_init(struct coap_peers *p, unsigned max);
void cw_cloud_coap_peers_fini(struct coap_peers *p);
/* Found or made; NULL: out of memory. */
struct coap_peer *cw_cloud_coap_peer(struct coap_peers *p, const char *name);

/* The answer that was given to this message, or NULL. */
const struct coap_answer *cw_cloud_coap_recall(const struct coap_peer *p, uint64_t hash, uint64_t now_ms);
/* Remember a copy; out of memory: it is not remembered. */
void cw_cloud_coap_remember(struct coap_peer *p, uint64_t hash, const struct coap_answer *a, uint64_t now_ms);

#endif
