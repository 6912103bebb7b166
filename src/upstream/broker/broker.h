/*
 * broker.h - inside of the module: any MQTT broker as an upstream, spread over broker.c
 * (connection, devices), settings.c, up.c (records), down.c (commands) and template.c
 * (topics). All on the upstream's loop.
 *
 * There is no platform behind it: no login, no reply. A device is online as soon as it
 * is wanted and the connection is there, and what PUBACK confirms is delivered.
 * Who is there is kept at the broker in retained messages: one a device, one for the
 * bridge, and the broker's last will tells of a bridge that has gone without a word.
 */
#ifndef CW_UPSTREAM_BROKER_H
#define CW_UPSTREAM_BROKER_H

#include "mqtt/client.h"
#include "upstream/device.h"
#include "upstream/message.h"
#include "base/retry.h"

#define BROKER_TOPIC_MOST 512 /* bytes of a topic made here, with its NUL */

extern const struct cw_connector_ops cw_connector_broker;
extern const struct cw_conf_table cw_upstream_broker_table;

/* ---- topic templates: template.c --------------------------------------------- */

enum broker_var {
	BROKER_PRODUCT_KEY,
	BROKER_DEVICE_NAME,
	BROKER_KIND,
	BROKER_NAME,
	BROKER_REQUEST,
	BROKER_CLIENT_ID,
	BROKER_VARS
};
#define BROKER_VAR(name) (1u << BROKER_##name)
#define BROKER_DEVICE (BROKER_VAR(PRODUCT_KEY) | BROKER_VAR(DEVICE_NAME))

/* What the variables stand for; lent. */
struct broker_vars {
	struct cw_bytes of[BROKER_VARS];
};

/* The variables a template has, as bits. */
unsigned broker_template_vars(const char *text);
/*
 * Complain about what is not a topic, about variables that are not `known` and about `needed` ones that are missing.
 * `whole`: variables must fill a level, because the template is a subscription, too. `key` is the setting's name.
 */
int broker_template_check(const char *key, const char *text, unsigned known, unsigned needed, int whole,
			  struct cw_msg *msg);
/*
 * The topic. A name may have several levels, everything else is one. CW_EINVAL: a value would make an empty level, has
 * a wildcard or a control character; CW_ELIMIT: longer than size.
 */
int broker_template_fill(const char *text, const struct broker_vars *vars, char *out, size_t size);
/* The subscription that gets all topics of the template. 0 or CW_ELIMIT. */
int broker_template_filter(const char *text, char *out, size_t size);
/* 1 when a topic is one of the template's; its parts are then in `ret`. */
int broker_template_match(const char *text, struct cw_bytes topic, struct broker_vars *ret);
/* 1 when there is a topic that both templates can make. */
int broker_template_meets(const char *a, const char *b);

/* ---- settings: settings.c ------------------------------------------------------ */

enum { BROKER_ALINK, BROKER_PLAIN };

struct broker_settings {
	int client, version, payload;
	int64_t keep_alive_ms;
	uint32_t in_flight, qos, max_devices;
	bool clean_session;
	const char *client_id, *user, *password;
	const char *topic, *state, *bridge_state, *command, *reply;
	struct cw_conf_strings retain;
};

/* What the retain setting may list, in the order of its bits; also the values of ${kind}. */
enum broker_kind { BROKER_PROPERTY, BROKER_EVENT, BROKER_TAG, BROKER_RAW, BROKER_OTA, BROKER_HISTORY, BROKER_KINDS };
extern const char *const broker_kind_names[];

extern const struct cw_endpoint_form broker_endpoint_form;

struct broker;
/* Check them, with all templates, and take them over into `b`. */
int broker_settings_take(struct broker *b, struct cw_msg *msg);
int broker_configure(struct cw_upstream_conf *conf, char *text, size_t size, struct cw_msg *msg);

/* ---- the connector ----------------------------------------------------------------- */

enum broker_link { LINK_WAITING, LINK_CONNECTING, LINK_UP, LINK_LEAVING, LINK_CLOSING };

struct broker_device {
	struct cw_updevice *d; /* NULL until it was first seen here */
	struct cw_list link;   /* in `coming` or `leaving` */
	int online, was_online;
};

struct broker {
	struct cw_upstream *u;
	const struct broker_settings *own;
	const struct cw_mqtt_ops *ops;
	struct cw_mqtt_client *client;
	enum broker_link link;
	int stopping;
	char host[256];
	int port, tls;
	char client_id[128], bridge_topic[BROKER_TOPIC_MOST];
	const char *topic; /* the setting, or what goes with the payload */
	unsigned retain;   /* bit of broker_kind */
	struct cw_retry retry;
	uint64_t retry_ms; /* the delay chosen when the link went down */
	struct cw_timer retry_timer, stall_timer, stop_timer;
	char reason[512];
	/* Devices whose state is to be told when there is room: to come online, and gone. */
	struct cw_list coming, leaving;
	/* Messages of our own: states and answers. */
	unsigned saying;
	struct cw_list unsaid; /* answers that wait for the next connection */
	unsigned unsaid_count;
	/* Records. */
	struct cw_await_set ids; /* only numbers them: nobody replies */
	unsigned messages;       /* of records, unconfirmed */
	unsigned orphans;        /* attempts that were recalled and are not confirmed yet */
};

static inline struct broker_device *broker_device_of(struct cw_updevice *d)
{
	return d->peer;
}

/* broker.c */
/* The connection is of no use: closed, and made again after a while. */
void broker_link_lost(struct broker *b, const char *why);
/* Publish something of our own at QoS 1; copies. An answer (`keep`) that does not get through waits for the next
 * connection. 0 or an error. */
int broker_say(struct broker *b, const char *topic, struct cw_bytes text, int retain, int keep);

/* up.c */
int broker_send(void *connector, struct cw_updevice *d, struct cw_parcel *p);
void broker_recall(void *connector, struct cw_parcel *p);

/* down.c */
/*
 * The command that a message on a topic with these parts is. 0; CW_EPROTO, CW_ELIMIT, CW_EINVAL, CW_ENOMEM, and then
 * *ret_down, where there is one, says where to answer that. The caller frees or hands it on.
 */
int broker_command(struct broker *b, const struct broker_vars *vars, struct cw_bytes payload,
		   struct cw_downlink **ret_down);
void broker_subscribe(struct broker *b);
void broker_message(struct broker *b, struct cw_bytes topic, struct cw_bytes payload, int retained);
void broker_answer(void *connector, struct cw_downlink *d);

#endif
