/*
 * factory.h - causeway-factory: one loop, the fronts on it, the desk behind them.
 *
 * A front is a listener's protocol: `line` (stations: POST JSON, factory.md C), `field` (devices: /api/v1/certificate, D; and
 * look-ups of gateways), `office` (page, /api/v1, metrics, health). Each is opened with the running factory below and knows no
 * other front. All of it is on the loop.
 */
#ifndef CW_FACTORY_FACTORY_H
#define CW_FACTORY_FACTORY_H

#include "factory/config.h"
#include "factory/desk.h"
#include "fetch/fetch.h"
#include "http/http.h"

struct factory_stations; /* stations.h */
struct factory_upkeep;   /* report.h */

struct factory {
	struct cw_worker *loop;
	struct cw_desk *desk;
	struct cw_fetch_pool *fetch; /* the OpenAPI's */
	struct factory_conf *conf;   /* swapped by a reload; look at it anew for each request */
	struct factory_stations *stations;
	struct factory_upkeep *upkeep;
	int64_t started;             /* UTC ms */
	struct factory_field *field; /* field/: what its listeners share; NULL while there are none */
};

/* What a front is: opened once for each of its listeners in the configuration. */
struct factory_front {
	const char *name;
	/* `listen`: which one; lent for the call. CW_ECONF and the errors of cw_http_open(). */
	int (*open)(struct factory *f, const struct factory_listen *listen, void **ret_front, struct cw_msg *msg);
	const char *(*address)(void *front);
	/* Nobody new is let in; requests under way get their answers first, for at most stopTimeout (cw_http_drain()). */
	void (*close)(void *front, void (*closed)(void *arg), void *arg);
};

/* Open an HTTP server for a front: its files are read, its address is logged. `conf` says the rest but address and TLS. */
int cw_factory_http_open(struct factory *f, const char *front, const struct factory_listen *listen, struct cw_http_conf *conf,
			 struct cw_http **ret_http, struct cw_msg *msg);

extern const struct factory_front cw_factory_line, cw_factory_field, cw_factory_office;

#endif
