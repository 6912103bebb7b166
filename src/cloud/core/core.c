/* core.c - making and unmaking the emulator's core; see cloud.h. */
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cloud/core/cloud.h"
#include "cloud/core/fault/delay.h"
#include "cloud/core/fault/disturb.h"
#include "cloud/core/fault/fault.h"
#include "cloud/core/files.h"
#include "cloud/core/ota/ota.h"
#include "cloud/core/stock/batch.h"
#include "cloud/core/stock/stock.h"
#include "cloud/core/stock/x509.h"
#include "cloud/core/traffic/call.h"
#include "cloud/core/traffic/msglog.h"

void cw_cloud_conf_default(struct cloud_conf *conf)
{
	*conf = (struct cloud_conf){
		.limits = {
			.documented = 1,
			.connect_per_minute = 5,
			.login_per_minute = 5,
			.login_per_second = 200,
			.publish_qos0 = 30,
			.publish_qos1 = 10,
			.down_per_second = 50,
			.account_connects = 500,
			.account_up = 10000,
			.account_down = 2000,
			.throughput = 1u << 20,
			.inflight_in = 100,
			.payload_bytes = 256u << 10,
			.topic_bytes = 128,
			.topic_slashes = 7,
			.topics_per_subscribe = 8,
			.subscriptions = 100,
			.classes = 50,
			.inflight_out = 100,
			.out_queue_bytes = 4u << 20,
			.members = 1500,
			.members_small = 15000,
			.members_large = 200000,
			.devices_per_product = 500000,
			.batch_ms = 100,
			.coap_token_ms = 7ull * 24 * 3600 * 1000,
			.coap_sessions = 500,
			.coap_idle_ms = 300000,
			.openapi_per_second = 500,
			.broadcast_ms = 1000,
			.broadcast_all_ms = 60000,
			.script_ms = 1000,
			.package_bytes = 256u << 20,
			.properties = 200,
			.events = 20,
			.pack = 20,
			.history = 200,
			.log_lines = 40,
			.shadow_requests = 20,
			.shadow_attributes = 128,
			.shadow_bytes = 16u << 10,
			.config_bytes = 64u << 10,
			.coap_body = 1024,
			.https_body = 128u << 10,
			.https_token_ms = 7ull * 24 * 3600 * 1000,
		},
		.switches = { .strict_securemode = 1, .topo_move = 1, .coap_pull = 1 },
		.keep_messages = 10000,
		.keep_bytes = 64u << 20,
		.fault_seed = 1,
	};
}

int cw_cloud_new(struct cw_worker *worker, const struct cloud_conf *conf, struct cw_cloud **ret_cloud)
{
	struct cw_cloud *c = cw_zalloc(sizeof(*c));
	int rc;

	if (c == NULL)
		return CW_ENOMEM;
	c->worker = worker;
	c->conf = *conf;
	cw_map_init(&c->products);
	cw_map_init(&c->devices);
	cw_map_init(&c->deleted);
	cw_map_init(&c->tokens);
	cw_map_init(&c->iot_ids);
	cw_list_init(&c->client_names);
	cw_list_init(&c->batches);
	cw_list_init(&c->device_list);
	cw_list_init(&c->links);
	cw_list_init(&c->calls);
	cw_list_init(&c->delayed);
	cw_list_init(&c->held);
	cw_list_init(&c->changed_devices);
	cw_list_init(&c->changed_products);
	cw_list_init(&c->chapters);
	c->started_ms = cw_clock_wall_ms();
	c->next_id = (uint64_t)c->started_ms % 1000000000u;
	rc = cw_cloud_log_new(conf->keep_messages, conf->keep_bytes, &c->log);
	if (rc < 0)
		goto err_cloud;
	rc = cw_cloud_faults_new(conf->fault_seed, &c->faults);
	if (rc < 0)
		goto err_log;
	rc = cw_cloud_files_new(&c->files);
	if (rc < 0)
		goto err_faults;
	rc = cw_cloud_ota_new(c, &c->ota);
	if (rc < 0)
		goto err_files;
	rc = cw_cloud_batches_new(c);
	if (rc < 0)
		goto err_ota;
	*ret_cloud = c;
	return 0;
err_ota:
	cw_cloud_ota_free(c->ota);
err_files:
	cw_cloud_files_free(c->files);
err_faults:
	cw_cloud_faults_free(c->faults);
err_log:
	cw_cloud_log_free(c->log);
err_cloud:
	cw_free(c);
	return rc;
}

void cw_cloud_free(struct cw_cloud *c)
{
	if (c == NULL)
		return;
	cw_invariant(cw_list_empty(&c->links));
	cw_cloud_calls_abandon(c, NULL);
	cw_cloud_delay_drop(c);
	cw_cloud_disturb_drop(c);
	cw_cloud_batches_free(c);
	cw_cloud_ota_free(c->ota);
	cw_cloud_stock_free(c);
	cw_cloud_x509_close(c);
	cw_cloud_files_free(c->files);
	cw_cloud_faults_free(c->faults);
	cw_cloud_log_free(c->log);
	cw_free(c);
}

int64_t cw_cloud_wall_ms(const struct cw_cloud *c)
{
	return cw_clock_wall_ms() + c->skipped_ms;
}

uint64_t cw_cloud_now_ms(const struct cw_cloud *c)
{
	return cw_worker_now(c->worker) + (uint64_t)c->skipped_ms;
}

void cw_cloud_skip(struct cw_cloud *c, uint64_t ms)
{
	c->skipped_ms += (int64_t)ms;
	cw_timers_skip(cw_worker_timers(c->worker), ms);
}

void cw_cloud_next_id(struct cw_cloud *c, char out[24])
{
	(void)snprintf(out, 24, "%llu", (unsigned long long)++c->next_id);
}
