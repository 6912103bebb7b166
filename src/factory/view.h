/*
 * view.h - the stock's rows as JSON, the same for `causeway factory --json` and for /api/v1. Never a secret.
 *
 * Keys are camelCase; times are texts like 2026-11-21T08:00:00.123Z in UTC; states and the like are names; a time that was
 * never and a text that is not there are null. Each call writes one value at the place where `j` stands, so that a caller puts
 * it behind a key, into an array, or alone on a line. Errors stay in `j` until cw_json_finish().
 */
#ifndef CW_FACTORY_VIEW_H
#define CW_FACTORY_VIEW_H

#include "factory/stock/audit.h"
#include "factory/stock/devices.h"
#include "factory/stock/orders.h"
#include "factory/stock/shelf.h"
#include "json/json.h"

/* More than one value needs: names are short, and a certificate's further columns are bounded by the import's line. For `most` of
 * cw_json_begin() where one value is written. */
#define CW_VIEW_MOST (256u * 1024)

/* {"name","productKey","file","closed","lease","leaseMs","low","created","imported","count":{"free",..},"total"} */
void cw_view_batch(struct cw_json *j, const struct cw_stock_batch *b);
/* {"id","productKey","deviceName","deviceId","batch","state","station","anonymous","imported","allocated","written","voided","reason",
 * "productId","extra"}; extra: an object or null */
void cw_view_row(struct cw_json *j, const struct cw_stock_row *row);
/* {"count":{..},"total","anonymous","allocatedHour","writtenHour","allocatedDay","writtenDay","firstToday","last"} */
void cw_view_figures(struct cw_json *j, const struct cw_stock_figures *f);
/* {"slotMs","until","allocated":[..],"written":[..]}: what cw_stock_rate() filled; `until`: when the last slot ends */
void cw_view_rate(struct cw_json *j, int64_t until, int64_t slot_ms, size_t n, const uint64_t *allocated, const uint64_t *written);
/* {"name","allocated","written","unreported","last"} */
void cw_view_station(struct cw_json *j, const struct cw_stock_station *st);
/* {"productKey","bluetooth","productId","crcForm","crcOrder","normalizeMac","replyColumns":[..]} */
void cw_view_product(struct cw_json *j, const struct cw_stock_product *p);
/* {"node","number","at","what","who","address","productKey","deviceName","deviceId","text"} */
void cw_view_audit(struct cw_json *j, const struct cw_audit_entry *e);
/* {"node","number","sentence"} */
void cw_view_problem(struct cw_json *j, const struct cw_audit_problem *p);
/* {"deviceId","registerTime","activateTime","productKey","deviceName","iotId","registered"}; its secret is left out, whatever `d` has */
void cw_view_field(struct cw_json *j, const struct cw_field_device *d);
/* {"id","productKey","batch","count","step","applyId","text","created","changed"} */
void cw_view_order(struct cw_json *j, const struct cw_order *o);

#endif
