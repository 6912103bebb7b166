/*
 * stations.h - who asks, what they may have, and who was busy lately. On the loop.
 *
 * Rights are made from a configuration and replaced by a reload; what is known of who was busy stays. Memory only: the audit
 * log has what happened to certificates.
 */
#ifndef CW_FACTORY_STATIONS_H
#define CW_FACTORY_STATIONS_H

#include "factory/config.h"
#include "factory/stock/stock.h"

#define CW_FACTORY_RECENT 1024 /* stations that are remembered; the one silent for longest gives way */

struct factory_stations;

int cw_factory_stations_new(const struct factory_conf *conf, struct factory_stations **ret_stations, struct cw_msg *msg);
/* Other rights from now on; callers that were found before keep theirs. On errors the old ones stay. */
int cw_factory_stations_reload(struct factory_stations *s, const struct factory_conf *conf, struct cw_msg *msg);
void cw_factory_stations_free(struct factory_stations *s); /* accepts NULL */

/* Who asks. */
struct factory_caller {
	char name[CW_STOCK_STATION + 1]; /* of the station; its certificate's or its address where it is not listed */
	char address[64];                /* without port */
	const struct factory_station_conf *station; /* NULL: not listed. Only for the call at hand */
	uint64_t quota;
	int64_t quota_since;
};

struct factory_sign {
	const char *authorization; /* the header field, or NULL */
	const char *certificate;   /* verified common name, or NULL */
	int certificate_needed;
	const char *peer;          /* "host:port" */
};

/* 0, or CW_EAUTH with what to do in *ret_why (static; NULL: what C.3 says). `ret` has name and address in every case. */
int cw_factory_station_find(const struct factory_stations *s, const struct factory_sign *sign, int64_t now, struct factory_caller *ret,
			    const char **ret_why);
/* 1: it may ask for this product. */
int cw_factory_station_may(const struct factory_caller *c, const char *product_key);

/* ---- who was busy lately --------------------------------------------------------------------- */

struct factory_station {
	const char *name, *address;
	int64_t first, last;    /* UTC ms of its requests */
	uint64_t requests, allocated, again, written, refused;
	unsigned waiting;       /* requests that have not been answered now */
	enum cw_stock_answer answer; /* the last */
	const char *product_key, *device_id; /* of the last request */
};

/* It asks; something will be answered. */
void cw_factory_station_asks(struct factory_stations *s, const struct factory_caller *c, const char *product_key, const char *device_id, int64_t now);
/* `ask` NULL: refused without asking the stock. */
void cw_factory_station_answered(struct factory_stations *s, const char *name, enum cw_stock_answer answer, const struct cw_stock_ask *ask);
/* Latest first; lent for the call. Not 0 ends the walk and is returned. */
int cw_factory_stations_each(const struct factory_stations *s, int (*fn)(void *arg, const struct factory_station *st), void *arg);

#endif
