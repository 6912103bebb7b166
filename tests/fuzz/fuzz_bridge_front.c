/*
 * The bytes of a bridge's connection behind TLS: first byte how many bytes arrive at once, then what the client sends.
 * The whole front runs, with the core behind it; only the socket is replaced: the calls of wire/stream.h are here.
 * Pushes are made between the pieces, so that their frames and the client's answers to them meet.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/stat.h"
#include "cloud/core/cloud.h"
#include "cloud/http2/front.h"
#include "cloud/wire/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct cloud_port_conf port;
static struct cw_cloud *cloud;
static struct cloud_routes *routes;
static struct cloud_device *bridge;

const char cw_cloud_stream_slow[] = "slow";

int cw_cloud_port_open(const struct cloud_port_conf *conf, struct cloud_port **ret_port, struct cw_msg *msg)
{
	port = *conf;
	*ret_port = NULL;
	return 0;
}

const char *cw_cloud_port_address(const struct cloud_port *p)
{
	return "";
}

void *cw_cloud_port_arg(const struct cloud_port *p)
{
	return port.arg;
}

void cw_cloud_port_close(struct cloud_port *p, void (*closed)(void *arg), void *arg)
{
	closed(arg);
}

/* Whoever wrote it wanted it read: the bytes are touched. */
void cw_cloud_stream_put(struct cloud_stream *s, const void *data, size_t len)
{
	if (!s->ended && cw_cloud_bytes_add(&s->out, data, len) < 0)
		abort();
	cw_cloud_bytes_reset(&s->out);
}

void cw_cloud_stream_drop(struct cloud_stream *s, const char *reason)
{
	if (s->ended)
		return;
	s->ended = 1;
	port.ops->closed(s, reason);
}

void cw_cloud_stream_recheck(struct cloud_stream *s)
{
	s->reading = port.ops->may_read(s);
}

void cw_cloud_stream_half_close(struct cloud_stream *s) {}

static void set_up(void)
{
	static struct cw_stat_block stats;
	struct cw_worker *worker = NULL;
	struct cloud_product *p = NULL;
	struct cloud_conf conf;
	struct cw_msg msg;
	void *front = NULL;

	cw_stat_thread(&stats);
	cw_log_setup(CW_LOG_ERROR, 0, 2);
	cw_cloud_conf_default(&conf);
	conf.limits.documented = 0;
	if (cw_worker_new("fuzz", 0, &worker) < 0 || cw_cloud_new(worker, &conf, &cloud) < 0 ||
	    cw_cloud_routes_new(&routes) < 0 ||
	    cw_cloud_product_add(cloud, "a1EmuGw0001", "secret", CLOUD_NODE_GATEWAY, &p, &msg) < 0 ||
	    cw_cloud_device_add(cloud, p, "gw-0001", "0123456789abcdef0123456789abcd01", &bridge, &msg) < 0)
		abort();
	if (cw_cloud_http2_front.open(&(struct cloud_front_conf){ .cloud = cloud, .routes = routes, .address = "" },
				      &front, &msg) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cloud_bytes in = { NULL, 0, 0 };
	struct cloud_stream *s;
	size_t piece, at;

	if (cloud == NULL)
		set_up();
	if (size == 0)
		return 0;
	piece = data[0] != 0 ? data[0] : size;
	s = calloc(1, port.ops->size);
	port.ops->opened(s);
	for (at = 1; at < size && !s->ended; at += piece) {
		size_t n = piece < size - at ? piece : size - at;

		if (cw_cloud_bytes_add(&in, data + at, n) < 0)
			abort();
		n = port.ops->data(s, in.data, in.len);
		if (n > in.len)
			abort();
		cw_cloud_bytes_drop(&in, n);
		if (bridge->link != NULL)
			(void)cw_cloud_send(cloud, bridge, "/a1EmuGw0001/gw-0001/user/get", "hi", 2, 1, 0);
	}
	cw_cloud_stream_drop(s, "end");
	port.ops->freed(s);
	cw_cloud_bytes_free(&s->out);
	cw_cloud_bytes_free(&in);
	free(s);
	if (bridge->link != NULL) /* the next one starts anew */
		cw_cloud_device_kick(cloud, bridge, 427, "end");
	return 0;
}
