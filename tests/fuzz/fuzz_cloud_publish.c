/*
 * The core without a channel: lines of topic, blank, payload, published by a gateway whose sub-device is online. Whatever comes,
 * everything kept of a device stays bounded and is JSON.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cloud/core/model/tsl.h"
#include "cloud/core/stock/stock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char model[] = "{\"properties\":[{\"identifier\":\"a\",\"dataType\":{\"type\":\"int\"}}],"
                            "\"events\":[{\"identifier\":\"e\",\"outputData\":[]}]}";

static struct cw_cloud *cloud;
static struct cloud_link connection;
static struct cloud_device *gateway, *sub;

static void on_push(struct cloud_link *l, struct cloud_device *to, struct cloud_msg *msg, int dup)
{
	json_t *j = json_loadb(cw_cloud_msg_payload(msg), msg->len, 0, NULL);

	if (j == NULL)
		abort(); /* all the platform says to these topics is JSON */
	json_decref(j);
}

static void on_close(struct cloud_link *l, const char *reason)
{
}

static void on_recheck(struct cloud_link *l)
{
}

static void on_forget(struct cloud_link *l, struct cloud_device *member, int store)
{
}

static const struct cloud_link_ops ops = { "fuzz", on_push, on_close, on_recheck, on_forget };

static void start(void)
{
	struct cloud_product *gateways = NULL, *subs = NULL;
	struct cw_worker *worker = NULL;
	struct cloud_conf conf;
	struct cw_msg msg = { "" };
	json_t *tsl = json_loads(model, 0, NULL);

	cw_log_set_level(CW_LOG_ERROR);
	cw_cloud_conf_default(&conf);
	conf.limits.documented = 0;
	conf.keep_messages = 10;
	if (cw_worker_new("f", 0, &worker) < 0 || cw_cloud_new(worker, &conf, &cloud) < 0 ||
	    cw_cloud_product_add(cloud, "a1EmuGw0001", "s", CLOUD_NODE_GATEWAY, &gateways, &msg) < 0 ||
	    cw_cloud_product_add(cloud, "a1EmuSub001", "s", CLOUD_NODE_SUBDEVICE, &subs, &msg) < 0 ||
	    cw_cloud_device_add(cloud, gateways, "gw-0001", "s", &gateway, &msg) < 0 ||
	    cw_cloud_device_add(cloud, subs, "sub-0001", "s", &sub, &msg) < 0 || cw_cloud_tsl_set(cloud, subs, tsl, &msg) < 0)
		abort();
	json_decref(tsl);
	cw_cloud_link_init(cloud, &connection, &ops, 0);
}

/* Whatever the last input did to them: both online. */
static void bring_online(void)
{
	static const struct cloud_login login = { .client_id = "c", .client_id_len = 1, .clean = 1, .ss = 1 };

	if (connection.owner == NULL)
		(void)cw_cloud_link_up(cloud, &connection, gateway, &login);
	if (sub->gateway == NULL)
		cw_cloud_relate(gateway, sub);
	if (sub->link == NULL)
		cw_cloud_member_up(cloud, &connection, sub, &login);
}

static void check(struct cloud_device *d)
{
	if (json_object_size(cw_cloud_doc(d, CLOUD_DOC_TAGS)) > 100 || json_array_size(cw_cloud_doc(d, CLOUD_DOC_EVENT_LOG)) > 20 ||
	    json_object_size(cw_cloud_doc(d, CLOUD_DOC_REPORTED)) > 2000)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = data + size;

	if (cloud == NULL)
		start();
	bring_online();
	while (data < end) {
		const uint8_t *nl = memchr(data, '\n', (size_t)(end - data)), *stop = nl != NULL ? nl : end;
		const uint8_t *blank = memchr(data, ' ', (size_t)(stop - data));

		if (blank != NULL && blank > data)
			(void)cw_cloud_publish(cloud, &connection, (const char *)data, (size_t)(blank - data), blank + 1,
			                       (size_t)(stop - blank) - 1, 0);
		data = nl != NULL ? nl + 1 : end;
	}
	check(gateway);
	check(sub);
	cw_cloud_stock_reset(cloud);
	return 0;
}
