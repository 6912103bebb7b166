/* field_impl.h - what the files of the field front share. Not for others. All of it is on the loop. */
#ifndef CW_FACTORY_FIELD_IMPL_H
#define CW_FACTORY_FIELD_IMPL_H

#include "base/list.h"
#include "base/map.h"
#include "factory/factory.h"
#include "loop/timer.h"
#include "platform/sign.h"
#include "provision/openapi.h"

/* ---- pace.c: how often ------------------------------------------------------------------------- */

/* One bucket of tokens for each key that has asked lately; at most `most`, then the one that asked longest ago goes. */
struct factory_paces {
	struct cw_map map;
	struct cw_list oldest;
	size_t count, most;
};

void factory_paces_init(struct factory_paces *p, size_t most);
void factory_paces_fini(struct factory_paces *p);
/* One more request at `now_ms` (monotonic). 0: may go on; else come again after so many seconds. `a_minute` 0: always 0. */
unsigned factory_pace(struct factory_paces *p, const void *key, size_t len, uint64_t a_minute, uint64_t now_ms);

/* ---- auth.c: who asks ---------------------------------------------------------------------------- */

/* Signatures that were taken lately, each good once. */
struct factory_seen {
	struct cw_map map;
	struct cw_list oldest;
	size_t count, most;
};

void factory_seen_init(struct factory_seen *s, size_t most);
void factory_seen_fini(struct factory_seen *s);
/* 0; CW_EEXIST: was there; CW_ELIMIT: no room until older ones are forgotten. Kept for `keep_ms`. */
int factory_seen_add(struct factory_seen *s, const char *signature, uint64_t now_ms, uint64_t keep_ms);

/* What a device says to prove itself; NULL: does not say. Lent. */
struct factory_proof {
	const char *device_id, *nonce, *time, *sign; /* sign: of the three before it, HMAC-SHA256 in hexadecimal */
	const char *bearer;                          /* Authorization: Bearer .. */
	const char *common_name;                     /* of a client certificate that was verified */
};

#define FACTORY_WHO 128

/*
 * Is one of the proofs that `conf` asks for given, and none given that is wrong? 0 with who it is for the audit log, and in *ret_token
 * the batch whose token it is (NULL: none); CW_EAUTH with a sentence for the device; CW_ELIMIT: as in factory_seen_add().
 */
int factory_field_prove(const struct factory_field_conf *conf, struct factory_seen *seen, const struct factory_proof *proof, int64_t wall_ms,
			uint64_t now_ms, char who[FACTORY_WHO], const struct factory_field_token **ret_token, struct cw_msg *msg);
/* 1: may look identities up. */
int factory_field_is_gateway(const struct factory_field_conf *conf, const char *bearer, const char *common_name);

/* ---- register.c: certificates that the platform must make ----------------------------------------------- */

/* Somebody who waits for a registration; embed it. */
struct factory_wait {
	struct cw_list link;
	/* 0: it is stored, look again; CW_EREFUSED the platform said no (code: its own); CW_EEXIST the name is another's; anything else:
	 * not now. text: what to do. Exactly once unless cancelled. */
	void (*done)(struct factory_wait *w, int rc, const char *code, const char *text);
};

struct factory_enrolments {
	struct factory *f;
	struct cw_map all;      /* by product and name: two ids of one name wait for each other, and the second is refused */
	struct cw_list queue;   /* those that wait for their turn */
	size_t running;         /* asked, or being stored */
	void (*idle)(void *arg); /* of close, else NULL */
	void *idle_arg;
};

void factory_enrolments_init(struct factory_enrolments *e, struct factory *f);
/* `name`: from field_name.h or the table. CW_ELIMIT: too many wait; CW_ECONF: no account is set. */
int factory_enrol(struct factory_enrolments *e, const char *device_id, const char *product_key, const char *name, const struct cw_stock_actor *who,
		  struct factory_wait *w, struct cw_msg *msg);
void factory_enrol_cancel(struct factory_wait *w);
/* Calls under way are given up; what the platform gave already is stored first. Then idle(arg), at once or later. */
void factory_enrolments_close(struct factory_enrolments *e, void (*idle)(void *arg), void *arg);

#endif
