/*
 * main.c - causeway-cloud: one loop with the core, its MQTT front and its API.
 *
 * Starts from the bottom up and stops from the top down: calls that wait are ended first, then fronts
 * and API close their handles, and the loop ends when the last one is gone.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/stat.h"
#include "cloud/api/api.h"
#include "cloud/core/call.h"
#include "cloud/mqtt/front.h"
#include "cloud/mqtt/login.h"
#include "cloud/options.h"

struct program {
	struct cloud_options options;
	struct cw_worker *worker;
	struct cw_cloud *cloud;
	struct cloud_tls *tls;
	struct cloud_mqtt *mqtt;
	struct cloud_api *api;
	uv_signal_t sigint, sigterm;
	unsigned open; /* fronts not yet closed */
	int stopping;
};

static void on_part_closed(void *arg)
{
	struct program *p = arg;

	if (--p->open == 0)
		cw_worker_release(p->worker);
}

static void stop(struct program *p)
{
	if (p->stopping)
		return;
	p->stopping = 1;
	if (p->api != NULL) /* started */
		cw_log(daemon_stopping, "closing");
	uv_close((uv_handle_t *)&p->sigint, NULL);
	uv_close((uv_handle_t *)&p->sigterm, NULL);
	p->open = 1; /* ours, until both were asked */
	if (p->cloud != NULL)
		cw_cloud_calls_abandon(p->cloud, NULL);
	if (p->mqtt != NULL) {
		p->open++;
		cw_cloud_mqtt_close(p->mqtt, on_part_closed, p);
	}
	if (p->api != NULL) {
		p->open++;
		cw_cloud_api_close(p->api, on_part_closed, p);
	}
	on_part_closed(p);
}

static void on_signal(uv_signal_t *handle, int signum)
{
	stop(handle->data);
}

static unsigned on_psk(void *arg, const char *identity, unsigned char *out, unsigned max)
{
	return cw_cloud_psk_key(arg, identity, (char *)out, max);
}

/* Written beside and renamed: who waits for the file never sees half of it. */
static int write_ready(const struct program *p, struct cw_msg *msg)
{
	const char *path = p->options.ready_file;
	char tmp[PATH_MAX];
	json_t *j;
	int bad;

	if (path == NULL)
		return 0;
	j = json_pack("{s:i, s:s, s:s, s:s?}", "pid", (int)getpid(), "mqtt", cw_cloud_mqtt_address(p->mqtt), "api",
	              cw_cloud_api_address(p->api), "ca", cw_cloud_tls_ca(p->tls));
	(void)snprintf(tmp, sizeof(tmp), "%s.%d", path, (int)getpid());
	bad = json_dump_file(j, tmp, JSON_COMPACT) < 0 || rename(tmp, path) < 0;
	json_decref(j);
	return bad ? cw_fail(msg, CW_EIO, "cannot write '%s': %s", path, strerror(errno)) : 0;
}

static void print_ready(const struct program *p)
{
	(void)printf("mqtt        %s (TCP and TLS)\n", cw_cloud_mqtt_address(p->mqtt));
	(void)printf("api         http://%s/api/v1/devices\n", cw_cloud_api_address(p->api));
	if (cw_cloud_tls_ca(p->tls) != NULL)
		(void)printf("ca          %s\n", cw_cloud_tls_ca(p->tls));
	(void)printf("limits      %s\n", p->cloud->conf.limits.documented ? "documented" : "off");
	(void)puts("ready");
	(void)fflush(stdout);
}

static int start(struct program *p, struct cw_msg *msg)
{
	struct cloud_options *o = &p->options;
	int rc = cw_cloud_options_load(o, msg);

	if (rc < 0)
		return rc;
	rc = cw_cloud_new(p->worker, &o->conf, &p->cloud);
	if (rc < 0)
		return cw_fail(msg, rc, "out of memory");
	rc = cw_cloud_options_stock(o, p->cloud, msg);
	if (rc == 0)
		rc = cw_cloud_tls_new(&o->tls, &p->tls, msg);
	if (rc < 0)
		return rc;
	cw_cloud_tls_set_psk(p->tls, on_psk, p->cloud);
	rc = cw_cloud_mqtt_open(p->cloud, p->tls, o->mqtt, &p->mqtt, msg);
	if (rc < 0) {
		cw_msg_wrap(msg, "listeners.mqtt");
		return rc;
	}
	rc = cw_cloud_api_open(p->cloud, o->api, &p->api, msg);
	if (rc < 0) {
		cw_msg_wrap(msg, "listeners.api");
		return rc;
	}
	return write_ready(p, msg);
}

/* As many connections as the system lets us have. */
static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void catch_signal(struct program *p, uv_signal_t *handle, int signum)
{
	(void)uv_signal_init(cw_worker_loop(p->worker), handle);
	handle->data = p;
	(void)uv_signal_start(handle, on_signal, signum);
}

int main(int argc, char **argv)
{
	static struct cw_stat_block stats;
	struct program p = { .worker = NULL };
	struct cw_msg msg = { "" };
	int rc = cw_cloud_options_parse(argc, argv, &p.options);

	if (rc >= 0)
		return rc;
	(void)signal(SIGPIPE, SIG_IGN);
	raise_descriptors();
	cw_stat_thread(&stats);
	rc = cw_worker_new("cloud", 0, &p.worker);
	if (rc < 0) {
		(void)fprintf(stderr, "causeway-cloud: %s\n", cw_error_text(rc));
		return 1;
	}
	catch_signal(&p, &p.sigint, SIGINT);
	catch_signal(&p, &p.sigterm, SIGTERM);
	rc = start(&p, &msg);
	if (rc < 0) {
		(void)fprintf(stderr, "causeway-cloud: %s\n", msg.text);
		stop(&p);
	} else {
		print_ready(&p);
	}
	cw_worker_run(p.worker);
	if (p.options.ready_file != NULL && rc == 0)
		(void)unlink(p.options.ready_file);
	cw_cloud_free(p.cloud);
	cw_cloud_tls_free(p.tls);
	cw_worker_free(p.worker);
	cw_cloud_options_free(&p.options);
	return rc < 0 ? 1 : 0;
}
