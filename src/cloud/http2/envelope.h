/*
 * envelope.h - the JSON in which the bridge channel carries the messages of devices, both ways. No state.
 */
#ifndef CW_CLOUD_HTTP2_ENVELOPE_H
#define CW_CLOUD_HTTP2_ENVELOPE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "cloud/wire/bytes.h"

#define H2_PAYLOAD_MAX 262144u /* of one message, decoded */

/* What a bridge publishes; texts belong to `json`. */
struct h2_envelope {
	json_t *json;
	const char *id;             /* or NULL */
	const char *pk, *dn;        /* never empty */
	const char *topic, *net_id; /* or NULL */
	size_t topic_len;
	struct cloud_bytes payload;
};

/* 0; CW_EPROTO: not the form; CW_ELIMIT: payload above H2_PAYLOAD_MAX; CW_ENOMEM. Always followed by fini. */
int cw_cloud_envelope_parse(const void *text, size_t len, struct h2_envelope *ret_envelope);
void cw_cloud_envelope_fini(struct h2_envelope *e);

/* A push: to the device named, or with pk NULL to all (broadcast). Appended to `out`. 0 or CW_ENOMEM. */
int cw_cloud_envelope_write(struct cloud_bytes *out, const char *id, const char *pk, const char *dn, const char *topic,
			    const void *payload, size_t len);

#endif
