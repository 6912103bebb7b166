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

/* A station that was busy lately, for the page: in memory only, the audit log has the rest. */
struct factory_station;

struct factory {
	struct cw_worker *loop;
	struct cw_desk *desk;
	struct cw_fetch_pool *fetch; /* the OpenAPI's */
	struct factory_conf *conf;   /* swapped by a reload; look at it anew for each request */
	int64_t started;             /* UTC ms */
	struct factory_field *field; /* field.c: what its listeners share; NULL while there are none */
};

/* What a front is: opened once for each of its listeners in the configuration. */
struct factory_front {
	const char *name;
	/* `listen`: which one. CW_ECONF and the errors of cw_http_open(). */
	int (*open)(struct factory *f, const struct factory_listen *listen, void **ret_front, struct cw_msg *msg);
	const char *(*address)(void *front);
	void (*close)(void *front, void (*closed)(void *arg), void *arg);
};

extern const struct factory_front cw_factory_line, cw_factory_field, cw_factory_office;

#endif
