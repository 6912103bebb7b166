/*
 * topic.h - topics of the platform: which device owns one, of which kind it is, what
 * filters match. Texts are lent. No allocation, no state.
 */
#ifndef CW_CLOUD_TOPIC_H
#define CW_CLOUD_TOPIC_H

#include <stddef.h>

#include "cloud/core/login/client_id.h"

enum cloud_topic_kind {
	CLOUD_TOPIC_BAD,       /* names no device */
	CLOUD_TOPIC_SYS,       /* /sys/pk/dn/rest */
	CLOUD_TOPIC_SESSION,   /* /ext/session/pk/dn/rest */
	CLOUD_TOPIC_NTP,       /* /ext/ntp/pk/dn/rest */
	CLOUD_TOPIC_ERROR,     /* /ext/error/pk/dn */
	CLOUD_TOPIC_RRPC,      /* /ext/rrpc/mid/topic; rest is the inner topic, owner the inner topic's */
	CLOUD_TOPIC_OTA,       /* /ota/device/rest/pk/dn */
	CLOUD_TOPIC_SHADOW,    /* /shadow/rest/pk/dn */
	CLOUD_TOPIC_BROADCAST, /* /broadcast/pk/rest: dn is empty */
	CLOUD_TOPIC_CUSTOM,    /* /pk/dn/rest */
};

struct cloud_topic {
	enum cloud_topic_kind kind;
	struct cloud_text pk, dn, rest;
	struct cloud_text mid;       /* RRPC only */
	enum cloud_topic_kind inner; /* RRPC only: kind of the inner topic */
};

/* Take a topic or a filter apart; a filter whose pk or dn is a wildcard gives BAD. */
void cw_cloud_topic_parse(const char *topic, size_t len, struct cloud_topic *ret_topic);

/* 1 when `topic` is matched by `filter` by the rules of MQTT. */
int cw_cloud_topic_matches(const char *filter, size_t filter_len, const char *topic, size_t topic_len);

/* 1 when wildcards stand where MQTT allows them: + alone in a level, # alone in the last. */
int cw_cloud_filter_valid(const char *filter, size_t len);

/* 1 for topics the platform defines, 0 for custom and broadcast ones. */
int cw_cloud_topic_is_system(const struct cloud_topic *t);

/* 1 when a topic has at most so many bytes and slashes. */
int cw_cloud_topic_fits(const char *topic, size_t len, size_t bytes, unsigned slashes);

/* 1 when every level behind pk and dn is of letters, digits and _, none empty; `wild` allows + and # as well. */
int cw_cloud_custom_valid(const char *rest, size_t len, int wild);

#endif
