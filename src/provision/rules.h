/*
 * rules.h - the identity source `rules`: a device nobody knows gets its certificate from the platform, by the first rule
 * whose pattern fits its identity. On the control loop; small files go through libuv's pool.
 *
 * One identity, step by step, and what a crash after each leaves:
 *   1 a mark `asked` is on disk          the device stays unknown; the log has the way out (look, delete the file)
 *   2 the platform is asked               the same
 *   3 the answer is in the table (fsync)  known; the mark means nothing any more and goes at the next question
 *   4 the mark goes, the device is told   known
 * What is in the table is found there by the source `sqlite`, which comes before this one, and never asked for again.
 */
#ifndef CW_PROVISION_RULES_H
#define CW_PROVISION_RULES_H

#include "conf/schema.h"
#include "identity/resolver.h"
#include "provision/openapi.h"
#include "upstream/upstream.h"

enum cw_rule_by { CW_RULE_GATEWAY, CW_RULE_HTTPS, CW_RULE_MQTT, CW_RULE_OPENAPI };

struct cw_rule {
	const char *identity;    /* pattern with * and ? */
	const char *product_key, *product_secret;
	const char *device_name; /* template: ${identity}, ${imei}, ${mac} */
	int by;                  /* enum cw_rule_by */
	const char *endpoint, *region; /* https and mqtt */
	const char *upstream;    /* gateway: NULL: the first that can */
};
extern const struct cw_conf_table cw_rule_table;
/* A rule that can never work: CW_ECONF with a sentence. */
int cw_rule_check(const struct cw_rule *rule, int has_account, struct cw_msg *msg);

struct cw_rules_conf {
	const struct cw_rule *items; /* lent, with all texts, as long as the source lives */
	size_t count;
	const char *state_dir;
	const char *region;                       /* for rules without one; may be NULL */
	const struct cw_openapi_account *account; /* for by = openapi; may be NULL */
	struct cw_fetch_tls tls;                  /* of registrations */
	struct cw_worker *control;
	struct cw_fetch_pool *pool;
	uint64_t retry_min_ms, retry_max_ms;      /* after a refusal, doubling */
	void *ctx;
	/* Put it where `sqlite` finds it; done runs once, later, with it on disk or an error with a sentence. */
	void (*put)(void *ctx, const struct cw_identity *id, void (*done)(void *arg, int rc, const char *text), void *arg);
	/* Which upstream asks for it; NULL with a sentence: none can. */
	struct cw_upstream *(*enroller)(void *ctx, const char *name, struct cw_msg *msg);
};

struct cw_rules;
extern const struct cw_source_ops cw_rules_source_ops;

int cw_rules_new(struct cw_resolver *resolver, const struct cw_rules_conf *conf, struct cw_rules **ret_rules);
/*
 * Take no more questions and end what is under way; `gone` runs when that is done, maybe before this returns. Before the source
 * is freed. What waits for an upstream's answer ends with that upstream.
 */
void cw_rules_stop(struct cw_rules *r, void (*gone)(void *arg), void *arg);
/* Refusals count no more: somebody may have changed something. */
void cw_rules_forget(struct cw_rules *r);
/* The DeviceName that a template makes; for tests and checks. CW_EINVAL with a sentence. */
int cw_rule_name(const char *name_template, const struct cw_claim *claim, char ret_name[64], struct cw_msg *msg);

#endif
