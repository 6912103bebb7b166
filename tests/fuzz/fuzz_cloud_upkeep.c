/*
 * Shadow, upgrades, configurations, logs and jobs as a hostile device would use them. The input is messages, each after a byte
 * that chooses its topic, with a byte 0xFF between them. The device has a shadow, a job and a task of a package by MQTT, so
 * that no handler stops at its door. Whatever came, what is kept stays within its bounds, and the platform can show it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cloud/core/alink/device_log.h"
#include "cloud/core/alink/job.h"
#include "cloud/core/alink/remote_config.h"
#include "cloud/core/alink/shadow.h"
#include "cloud/core/ota/ota.h"

#define DEVICE "a1EmuPk0001/dev-0001"

static const char *const topics[] = {
	"/shadow/update/" DEVICE,
	"/ota/device/inform/" DEVICE,
	"/ota/device/progress/" DEVICE,
	"/ota/device/request/" DEVICE,
	"/sys/" DEVICE "/thing/ota/firmware/get",
	"/sys/" DEVICE "/thing/file/download",
	"/sys/" DEVICE "/thing/config/get",
	"/sys/" DEVICE "/thing/config/log/get",
	"/sys/" DEVICE "/thing/log/post",
	"/sys/" DEVICE "/_thing/diag/post",
	"/sys/" DEVICE "/thing/job/get",
	"/sys/" DEVICE "/thing/job/update",
};

static struct cw_cloud *cloud;
static struct cloud_device *dev;
static struct cloud_link device_link;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_push(struct cloud_link *l, struct cloud_device *to, struct cloud_msg *msg, int dup)
{
	if (msg->len > CLOUD_DOWNLOAD_BLOCK + 70000 && msg->len > (1u << 21))
		abort();
}

static void on_close(struct cloud_link *l, const char *reason)
{
}

static void on_forget(struct cloud_link *l, struct cloud_device *member, int store)
{
}

static const struct cloud_link_ops ops = { .channel = "fuzz", .push = on_push, .close = on_close, .forget = on_forget };

static void must(int ok)
{
	if (!ok)
		abort();
}

static void prepare(void)
{
	struct cloud_login login = { .client_id = "id", .client_id_len = 2, .clean = 1, .ss = 1 };
	struct cloud_package_spec spec = { .version = "2", .protocol = "mqtt" };
	struct cloud_batch_spec all = { .timeout_minutes = 0 };
	struct cloud_ota_batch *batch;
	struct cloud_product *product = NULL;
	struct cloud_package *package = NULL;
	struct cw_worker *worker = NULL;
	struct cloud_conf conf;
	struct cw_msg msg = { "" };
	json_t *job = json_object();
	char id[24];

	cw_log_set_level(CW_LOG_ERROR);
	cw_cloud_conf_default(&conf);
	conf.limits.documented = 0;
	conf.keep_messages = 10;
	must(cw_worker_new("fuzz", 0, &worker) == 0 && cw_cloud_new(worker, &conf, &cloud) == 0 &&
	     cw_cloud_product_add(cloud, "a1EmuPk0001", NULL, CLOUD_NODE_DEVICE, &product, &msg) == 0 &&
	     cw_cloud_device_add(cloud, product, "dev-0001", "secret", &dev, &msg) == 0);
	cw_cloud_link_init(cloud, &device_link, &ops, 0);
	(void)cw_cloud_link_up(cloud, &device_link, dev, &login);
	must(cw_cloud_config_set(cloud, product, "{}", 2, &msg) == 0 && cw_cloud_job_add(cloud, dev, job, id, &msg) == 0 &&
	     cw_cloud_package_add(cloud, product, &spec, &package, &msg) == 0 &&
	     cw_cloud_package_file(cloud, package, "f", "123456789", 9, &msg) == 0 &&
	     cw_cloud_ota_start(cloud, package, &all, &batch, &msg) == 0);
	json_decref(job);
}

static void check(void)
{
	json_t *log = cw_cloud_device_log_json(dev), *tasks = cw_cloud_ota_device_json(cloud, dev);
	json_t *shadow = cw_cloud_shadow_json(dev);

	must(log != NULL && tasks != NULL);
	must(json_array_size(json_object_get(log, "lines")) <= CLOUD_LOG_LINES &&
	     json_dumpb(json_object_get(log, "lines"), NULL, 0, JSON_COMPACT) <= CLOUD_LOG_BYTES + CLOUD_LOG_LINES + 2);
	must(json_array_size(json_object_get(log, "diagnosis")) <= CLOUD_DIAG_ENTRIES);
	must(shadow == NULL || json_dumpb(json_object_get(shadow, "state"), NULL, 0, JSON_COMPACT) <= CLOUD_SHADOW_BYTES);
	must(json_dumpb(cw_cloud_doc(dev, CLOUD_DOC_MODULES), NULL, 0, JSON_COMPACT) < 65 * 140);
	json_decref(log);
	json_decref(tasks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t at = 0, end;

	if (cloud == NULL)
		prepare();
	while (at < size) {
		const char *topic = topics[data[at] % (sizeof(topics) / sizeof(topics[0]))];
		char *copy;

		for (end = ++at; end < size && data[end] != 0xFF; end++)
			;
		/* A block of exactly these bytes, so that a read beyond them is seen. */
		copy = malloc(end != at ? end - at : 1);
		must(copy != NULL);
		memcpy(copy, data + at, end - at);
		(void)cw_cloud_publish(cloud, &device_link, topic, strlen(topic), copy, end - at, 0);
		free(copy);
		at = end + 1;
	}
	check();
	return 0;
}
