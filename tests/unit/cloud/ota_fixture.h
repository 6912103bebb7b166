/* A core with one product, two devices, and a channel that notes the last messages it was given. */
#ifndef OTA_FIXTURE_H
#define OTA_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cloud/core/cloud.h"

#define PK "a1EmuPk0001"

static struct cw_worker *worker;
static struct cw_cloud *cloud;
static struct cloud_product *product;
static struct cloud_device *dev, *other;
static struct cloud_link link_of_dev;
static unsigned pushed;
static char last_topic[256];
static char last[70000];
static size_t last_len;

static void on_push(struct cloud_link *l, struct cloud_device *to, struct cloud_msg *msg, int dup)
{
	pushed++;
	(void)snprintf(last_topic, sizeof(last_topic), "%s", msg->topic);
	last_len = msg->len < sizeof(last) - 1 ? msg->len : sizeof(last) - 1;
	memcpy(last, cw_cloud_msg_payload(msg), last_len);
	last[last_len] = '\0';
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

static const struct cloud_link_ops ops = { .channel = "test", .push = on_push, .close = on_close, .recheck = on_recheck,
	                                 .forget = on_forget };

static int setup(void **state)
{
	struct cloud_conf conf;
	struct cw_msg msg = { "" };

	cw_log_set_level(CW_LOG_ERROR);
	cw_cloud_conf_default(&conf);
	conf.limits.documented = 0;
	if (cw_worker_new("t", 0, &worker) < 0 || cw_cloud_new(worker, &conf, &cloud) < 0 ||
	    cw_cloud_product_add(cloud, PK, NULL, CLOUD_NODE_DEVICE, &product, &msg) < 0 ||
	    cw_cloud_device_add(cloud, product, "dev-0001", "secret", &dev, &msg) < 0 ||
	    cw_cloud_device_add(cloud, product, "dev-0002", "secret", &other, &msg) < 0)
		return -1;
	(void)snprintf(cloud->download_url, sizeof(cloud->download_url), "https://127.0.0.1:8443");
	cw_cloud_link_init(cloud, &link_of_dev, &ops, 0);
	pushed = 0;
	last[0] = '\0';
	return 0;
}

static int teardown(void **state)
{
	cw_mem_fail_at(-1);
	cw_cloud_link_down(cloud, &link_of_dev, "over");
	cw_cloud_link_fini(&link_of_dev);
	cw_cloud_free(cloud);
	cw_worker_free(worker);
	return cw_mem_live() == 0 ? 0 : -1;
}

/*
 * Passes of the loop until something was pushed: what comes with a login comes after it. NOWAIT: when the push is due before
 * the first look, ONCE would wait behind it for ever.
 */
static inline void wait_push(unsigned from)
{
	while (pushed == from)
		(void)uv_run(cw_worker_loop(worker), UV_RUN_NOWAIT);
}

static inline void go_online(int ss)
{
	struct cloud_login login = { .client_id = "id", .client_id_len = 2, .clean = 1, .ss = ss };

	(void)cw_cloud_link_up(cloud, &link_of_dev, dev, &login);
	cw_cloud_link_ready(cloud, dev);
}

static inline enum cloud_verdict say(const char *topic, const char *payload)
{
	return cw_cloud_publish(cloud, &link_of_dev, topic, strlen(topic), payload, strlen(payload), 0);
}

/* The last message as JSON; the caller's. */
static inline json_t *said(void)
{
	json_t *j = json_loadb(last, last_len, 0, NULL);

	assert_non_null(j);
	return j;
}

#endif
