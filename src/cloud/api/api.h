/*
 * api.h - the emulator's own HTTP API: look at what arrived, send, inject faults. openapi.json beside
 * this file documents every path; a test compares the two.
 */
#ifndef CW_CLOUD_API_H
#define CW_CLOUD_API_H

#include "cloud/front.h"
#include "http/http.h"

/* Calls that wait must have been abandoned before it is closed. */
extern const struct cloud_front cw_cloud_api_front;

/* ---- between the api files ---- */

struct api_call {
	struct cw_cloud *cloud;
	struct cw_http_req *req;
	struct cloud_device *device; /* of paths below /devices/{pk}/{dn} */
	const char *tail;            /* what a path ends in: a service's name, a fault's number */
	json_t *body;                /* of POST and PUT; an object, empty when nothing was sent */
};

/* Answer with JSON; `body` is consumed. */
void cw_cloud_api_json(struct cw_http_req *req, unsigned status, json_t *body);
/* Answer {"error": text}. */
void cw_cloud_api_error(struct cw_http_req *req, unsigned status, const char *text);
/* The same with the status that fits an error number. */
void cw_cloud_api_fail(struct cw_http_req *req, int rc, const char *text);
/* The product of that key, such as a path's tail, or NULL: answered 404. */
struct cloud_product *cw_cloud_api_product(struct api_call *a, const char *pk);

/* page.c: the page and its parts. 1: answered; 0: the path is none of them. */
int cw_cloud_api_page(struct cw_http_req *req);
void cw_cloud_api_document(struct api_call *a);

/* The HTTP status for an error of the core. */
unsigned cw_cloud_api_status(int rc);

/* faults.c */
void cw_cloud_api_faults(struct api_call *a);
void cw_cloud_api_fault_add(struct api_call *a);
void cw_cloud_api_fault_remove(struct api_call *a);
void cw_cloud_api_violations(struct api_call *a);
void cw_cloud_api_clock(struct api_call *a);
void cw_cloud_api_clock_advance(struct api_call *a);

/* view.c */
void cw_cloud_api_devices(struct api_call *a);
void cw_cloud_api_device(struct api_call *a);
void cw_cloud_api_messages(struct api_call *a);
void cw_cloud_api_stream(struct api_call *a);
void cw_cloud_api_stats(struct api_call *a);
void cw_cloud_api_products(struct api_call *a);

/* stock.c */
void cw_cloud_api_product_add(struct api_call *a);
void cw_cloud_api_product_change(struct api_call *a);
void cw_cloud_api_product_delete(struct api_call *a);
void cw_cloud_api_names(struct api_call *a); /* the body is a file, not JSON */
void cw_cloud_api_device_add(struct api_call *a);
void cw_cloud_api_device_reset(struct api_call *a);
void cw_cloud_api_certificate(struct api_call *a);
void cw_cloud_api_clients(struct api_call *a);
void cw_cloud_api_client_keep(struct api_call *a);
void cw_cloud_api_client_clear(struct api_call *a);
void cw_cloud_api_client_risks(struct api_call *a);
void cw_cloud_api_batches(struct api_call *a);
void cw_cloud_api_batch_add(struct api_call *a);
void cw_cloud_api_batch(struct api_call *a);
void cw_cloud_api_batch_create(struct api_call *a);

/* down.c */
void cw_cloud_api_properties(struct api_call *a);
void cw_cloud_api_service(struct api_call *a);
void cw_cloud_api_raw(struct api_call *a);
void cw_cloud_api_rrpc(struct api_call *a);
void cw_cloud_api_tags(struct api_call *a);
void cw_cloud_api_broadcast(struct api_call *a);

/* model.c */
void cw_cloud_api_tsl(struct api_call *a);
void cw_cloud_api_tsl_get(struct api_call *a);
void cw_cloud_api_script(struct api_call *a);
void cw_cloud_api_script_get(struct api_call *a);
/* api/ota.c */
void cw_cloud_api_packages(struct api_call *a);
void cw_cloud_api_package_add(struct api_call *a);
void cw_cloud_api_package(struct api_call *a);
void cw_cloud_api_package_file(struct api_call *a);
void cw_cloud_api_package_delete(struct api_call *a);
void cw_cloud_api_package_batches(struct api_call *a);
void cw_cloud_api_upgrade_start(struct api_call *a);
void cw_cloud_api_upgrade(struct api_call *a);
void cw_cloud_api_upgrade_cancel(struct api_call *a);
void cw_cloud_api_upgrades(struct api_call *a);

/* api/upkeep.c */
void cw_cloud_api_shadow(struct api_call *a);
void cw_cloud_api_shadow_put(struct api_call *a);
void cw_cloud_api_config(struct api_call *a);
void cw_cloud_api_config_put(struct api_call *a);
void cw_cloud_api_config_push(struct api_call *a);
void cw_cloud_api_logs(struct api_call *a);
void cw_cloud_api_logs_switch(struct api_call *a);
void cw_cloud_api_jobs(struct api_call *a);
void cw_cloud_api_job_add(struct api_call *a);
void cw_cloud_api_job_remove(struct api_call *a);
void cw_cloud_api_bootstrap(struct api_call *a);

#endif
