/*
 * alink.h - the platform's JSON messages: records become posts, replies and commands
 * are taken apart, answers are made. No I/O, no state; any thread. Texts are owned by
 * the caller (cw_free).
 */
#ifndef CW_PLATFORM_ALINK_H
#define CW_PLATFORM_ALINK_H

#include <stddef.h>
#include <stdint.h>

#include "causeway/bytes.h"
#include "causeway/record.h"
#include "platform/topic.h"

#define CW_ALINK_MOST 262144u /* payload bytes: the platform closes the connection above */
#define CW_ALINK_TOPO_BATCH 30
#define CW_ALINK_CODE_NONE (-1) /* a reply without a code */

/* ---- up --------------------------------------------------------------------- */

struct cw_alink_options {
	int want_reply; /* 0: `sys.ack` 0 asks the platform not to reply */
	int version;    /* send `version` and `method` */
	unsigned qos;   /* of all but raw records, which say it themselves */
	int64_t arrival_ms; /* UTC, when the record arrived here: rises over a device's records */
};

struct cw_alink_post {
	char topic[CW_TOPIC_MAX];
	char *payload; /* owned */
	size_t len;
	unsigned qos;
	int replies; /* the platform answers this kind of message, with `id` in it */
};

/*
 * A record as the message of device pk/dn with message id `id`. Records with CW_RECORD_REPLAY go as history,
 * which leaves the live state alone. 0, CW_ENOMEM, CW_ELIMIT (too large), CW_EINVAL (name not fit for a
 * topic), CW_EUNSUPPORTED (kind), CW_EPROTO (malformed).
 */
int cw_alink_record(const struct cw_record *rec, const char *pk, const char *dn, uint32_t id,
		    const struct cw_alink_options *options, struct cw_alink_post *ret);

/* One reading of a gateway's pack post: CW_KIND_PROPERTIES or CW_KIND_EVENT; lent. */
struct cw_alink_member {
	const char *product_key, *device_name;
	const struct cw_record *rec;
};
/* A pack post of gateway pk/dn: readings of different devices in one message. 0, CW_ENOMEM, CW_ELIMIT, CW_EPROTO. */
int cw_alink_pack(uint32_t id, const char *pk, const char *dn, const struct cw_alink_member *members, size_t count,
		  const struct cw_alink_options *options, struct cw_alink_post *ret);

/* A sub-device in topology add and login; lent. */
struct cw_alink_sub {
	const char *product_key, *device_name, *secret;
};
/* Payloads of the gateway's requests. `utc_ms` is signed with them. 0, CW_ENOMEM, CW_ELIMIT. */
int cw_alink_topo_delete(uint32_t id, const struct cw_alink_sub *sub, char **ret_text, size_t *ret_len);
int cw_alink_topo_add(uint32_t id, const struct cw_alink_sub *subs, size_t count, int64_t utc_ms, char **ret_text,
		      size_t *ret_len);
int cw_alink_login(uint32_t id, const struct cw_alink_sub *sub, int64_t utc_ms, char **ret_text, size_t *ret_len);
int cw_alink_batch_login(uint32_t id, const struct cw_alink_sub *subs, size_t count, int64_t utc_ms, char **ret_text,
			 size_t *ret_len);
int cw_alink_batch_logout(uint32_t id, const struct cw_alink_sub *subs, size_t count, char **ret_text, size_t *ret_len);
/*
 * Registration of one sub-device: by its names alone, or signed with its product's secret (sub->secret), which takes it
 * over from another gateway.
 */
int cw_alink_sub_register(uint32_t id, const struct cw_alink_sub *sub, char **ret_text, size_t *ret_len);
int cw_alink_product_register(uint32_t id, const struct cw_alink_sub *sub, const char *random, char **ret_text,
			      size_t *ret_len);
int cw_alink_logout(uint32_t id, const struct cw_alink_sub *sub, char **ret_text, size_t *ret_len);

/* A line of the gateway's own log: texts of the platform's form, UTF-8. */
struct cw_alink_log_line {
	const char *utc_time, *level, *code, *content;
};
/* At most 40 lines. */
int cw_alink_log_post(uint32_t id, const struct cw_alink_log_line *lines, size_t count, char **ret_text, size_t *ret_len);
/* Ask for the remote configuration of the product. */
int cw_alink_config_get(uint32_t id, char **ret_text, size_t *ret_len);
/* Ask whether the log shall be posted. */
int cw_alink_log_config_get(uint32_t id, char **ret_text, size_t *ret_len);

/* ---- down ------------------------------------------------------------------- */

struct cw_alink_reply {
	uint32_t id;
	int has_id;   /* 0: none, or not one of ours */
	int32_t code; /* CW_ALINK_CODE_NONE when there is none */
	char message[160];
	uint8_t *item; /* owned: the whole message, encoded; `data` and `params` point into it */
	size_t item_len;
	struct cw_bytes data, params; /* empty when absent */
};
/* 0, CW_ENOMEM or CW_EPROTO (not a JSON object). */
int cw_alink_reply(struct cw_bytes payload, struct cw_alink_reply *ret);
void cw_alink_reply_drop(struct cw_alink_reply *r);

struct cw_alink_command {
	uint32_t kind;
	int wants_answer;
	uint64_t deadline_ms; /* 0: no special one */
	char request[64];
	char answer_topic[320];
	uint8_t *record; /* owned */
	size_t len;
};
/* The platform's answer to the question for the time, all in milliseconds. 0, CW_ENOMEM or CW_EPROTO. */
int cw_alink_time(struct cw_bytes payload, int64_t *ret_sent, int64_t *ret_received, int64_t *ret_answered);

/*
 * The secret that the reply's `data` has for this sub-device, in either form of registration: 0, lent; CW_EREFUSED with
 * the platform's code for it (r->code when there is none); CW_EPROTO when it names neither.
 */
int cw_alink_registered(const struct cw_alink_reply *r, const char *pk, const char *dn, struct cw_bytes *ret_secret,
			int32_t *ret_code);

/*
 * A received message as a command. 0; CW_ENOENT: nothing for a device (an answer to something of ours);
 * CW_EUNSUPPORTED: not understood; CW_EPROTO: understood but malformed; CW_ENOMEM.
 */
int cw_alink_command(const struct cw_topic *t, struct cw_bytes topic, struct cw_bytes payload,
		     struct cw_alink_command *ret);

/* Does the platform refuse a report to a shadow here? 1, with its code and words. */
int cw_alink_shadow_refused(struct cw_bytes payload, int32_t *ret_code, char *text, size_t size);

/* The answer to a request: `reply` is an encoded map or empty. */
int cw_alink_answer(const char *request, int32_t code, struct cw_bytes reply, char **ret_text, size_t *ret_len);

#endif
