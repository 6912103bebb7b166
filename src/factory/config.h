/*
 * config.h - settings of causeway-factory (HOCON; conf/factory.conf is a commented example).
 *
 * The tables in config.c are what the reference is made from. Immutable once loaded; a reload makes another one.
 */
#ifndef CW_FACTORY_CONFIG_H
#define CW_FACTORY_CONFIG_H

#include "conf/schema.h"

/* TLS of a listener. */
struct factory_tls {
	const char *certificate, *key; /* PEM files; NULL: plain */
	const char *client_ca;         /* PEM file: clients must have a certificate of one of these; NULL: none is asked for */
};

struct factory_listen {
	const char *listen; /* "host:port", numeric host */
	struct factory_tls tls;
};

/* A station and what it may do. A request is a station's when its token, its client certificate's common name or its address fits. */
struct factory_station_conf {
	const char *name;
	const char *token;                 /* secret; Authorization: Bearer TOKEN */
	const char *certificate;           /* common name of its client certificate */
	struct cw_conf_strings addresses;  /* numeric, with or without /bits; bytes of IPv4 that come over IPv6 count as IPv4 */
	struct cw_conf_strings products;   /* ProductKeys it may ask for; none: all */
	uint64_t quota;                    /* new certificates a period; 0: any number */
	int64_t quota_ms;                  /* periods of this length follow one another from 1970-01-01T00:00Z: 24h is a day of UTC */
};

struct factory_operator {
	const char *name;
	const char *token; /* secret: for the page's log-in and as Bearer */
	bool view_only;
};

/* What devices in the field and gateways ask (field/). The rows are in config_field.c. */
struct factory_field_token {
	const char *name, *token;        /* token: secret; Authorization: Bearer TOKEN */
	struct cw_conf_strings ids;      /* deviceIds it is for; one that ends with * stands for all that begin so; none: any */
	struct cw_conf_strings products; /* and they are of one of these ProductKeys; none: any */
};

struct factory_field_conf {
	struct cw_conf_list listeners;    /* struct factory_listen; none: off */
	bool plain;                       /* listen without TLS, beyond loopback: the way is secured by others (C20) */
	bool anybody;                     /* no proof is asked for: whoever knows a deviceId gets its certificate */
	const char *shared_key;           /* secret: HMAC-SHA256 over deviceId, nonce and time */
	struct cw_conf_list tokens;       /* struct factory_field_token: a token for a batch of ids */
	bool own_certificate;             /* a client certificate is good for the deviceId in its common name only */
	int64_t clock_skew_ms, answer_ms; /* answer_ms: what waits for the platform is told to come again after so long */
	uint64_t per_address, per_id;     /* requests a minute; 0: any number */
	const char *name_template;        /* DeviceName of a device that is registered: ${deviceId} */
	const char *gateway_token;        /* secret: for the look-ups of gateways (identity.factory) */
	struct cw_conf_strings gateways;  /* the same by the common names of their client certificates */
};

struct factory_conf {
	const char *db, *key_file, *node;
	int64_t wait_ms;
	struct cw_conf_list line;      /* struct factory_listen */
	bool stations_required;        /* requests of stations that are not listed are UNAUTHORIZED */
	struct cw_conf_list stations;  /* struct factory_station_conf */
	struct cw_conf_list office;    /* struct factory_listen */
	struct cw_conf_list operators; /* struct factory_operator */
	struct factory_field_conf field;
	struct {
		const char *endpoint, *region, *access_key, *access_secret, *instance_id;
		const char *ca;
	} openapi;
	int64_t lease_check_ms;
	uint64_t low; /* warn when fewer of a product are free; batches may say their own */
	int64_t stop_ms; /* requests under way have so long to be finished at a stop */
	struct {
		int level, json; /* enum cw_log_level */
	} log;
};

/* What the command line says instead of the file. Texts and arrays are lent for the life of the configuration. */
struct factory_overrides {
	const char *db, *key_file;
	struct factory_listen *line, *office; /* NULL: as configured */
	size_t line_count, office_count;
};

extern const struct cw_conf_table cw_factory_config_table;

/*
 * Read and check. `path` NULL: all defaults (factory.db here, the line on 0.0.0.0:8000, the office on 127.0.0.1:8001). Warnings are logged;
 * an error says FILE:LINE:COLUMN where there is one. *ret_conf is owned.
 */
int cw_factory_config_load(const char *path, const struct factory_overrides *over, struct factory_conf **ret_conf, struct cw_msg *msg);
void cw_factory_config_free(struct factory_conf *conf); /* accepts NULL; wipes the secrets */
/* What differs between the two and takes a restart: names of settings with commas, "" when nothing. */
void cw_factory_config_restart(const struct factory_conf *a, const struct factory_conf *b, char *out, size_t size);
/*
 * May `next` be taken over by a process whose listeners are those of `started`? The page must not become everybody's because a file names
 * no operators any more and a listener on loopback that only a restart would open. CW_ECONF with a sentence.
 */
int cw_factory_config_may_follow(const struct factory_conf *started, const struct factory_conf *next, struct cw_msg *msg);
/* 1: only this machine can reach it. */
int cw_factory_is_loopback(const char *listen);

#endif
