/*
 * report.h - what the server says about itself: metrics and health; and what it looks after by the clock: leases of batches, stock that runs
 * low, whether the database is there. On the loop; what needs the database is asked at the office and kept.
 */
#ifndef CW_FACTORY_REPORT_H
#define CW_FACTORY_REPORT_H

#include "factory/factory.h"

/* Begin looking after things: f->upkeep. 0 or CW_ENOMEM. */
int cw_factory_upkeep_open(struct factory *f, struct cw_msg *msg);
/* No more from here on. Its memory goes with _free, once the desk is closed. Both accept NULL. */
void cw_factory_upkeep_stop(struct factory_upkeep *u);
void cw_factory_upkeep_free(struct factory_upkeep *u);

/* All counters of this program and what is in stock, in Prometheus' text format (0.0.4). Owned (cw_free). Waits for nothing. */
int factory_metrics_text(struct factory *f, char **ret_text, size_t *ret_len);
/* {"status":"ok"|"failing","reasons":[..],..}. Returns the HTTP status, 200 or 503, or CW_ENOMEM. Owned (cw_free). Waits for nothing. */
int factory_health_json(struct factory *f, char **ret_text, size_t *ret_len);

#endif
