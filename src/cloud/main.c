/*
 * main.c - causeway-cloud: one loop with the core and a front per channel.
 *
 * Starts from the bottom up and stops from the top down: calls that wait are ended first, then the fronts
 * close their handles, and the loop ends when the last one is gone.
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
#include "cloud/coap/front.h"
#include "cloud/core/login/psk.h"
#include "cloud/core/model/script.h"
#include "cloud/core/stock/x509.h"
#include "cloud/core/traffic/call.h"
#include "cloud/http2/front.h"
#include "cloud/https/front.h"
#include "cloud/mqtt/front.h"
#include "cloud/openapi/front.h"
#include "cloud/options.h"
#include "cloud/state/state.h"

struct program {
	struct cloud_options options;
	struct cw_worker *worker;
	struct cw_cloud *cloud;
	struct cloud_tls *tls;
	struct cloud_routes *routes;
	struct cloud_state *state;
	void *fronts[CLOUD_LISTENER_COUNT];
	uv_signal_t sigint, sigterm;
	unsigned open; /* fronts not yet closed */
	int started, stopping;
};

/* In the order of opening. */
static const struct cloud_front *const fronts[CLOUD_LISTENER_COUNT] = {
	[CLOUD_LISTENER_mqtt] = &cw_cloud_mqtt_front,
	[CLOUD_LISTENER_coap] = &cw_cloud_coap_front,
	[CLOUD_LISTENER_coaps] = &cw_cloud_coaps_front,
	[CLOUD_LISTENER_http2] = &cw_cloud_http2_front,
	[CLOUD_LISTENER_https] = &cw_cloud_https_front,
	[CLOUD_LISTENER_api] = &cw_cloud_api_front,
	[CLOUD_LISTENER_openapi] = &cw_cloud_openapi_front,
};

static const struct {
	const char *name, *url, *what;
} listeners[CLOUD_LISTENER_COUNT] = {
#define LISTENER_NAME(name, address, url, what) { #name, url, what },
	CLOUD_LISTENERS(LISTENER_NAME)
#undef LISTENER_NAME
};

static void on_state_closed(void *arg)
{
	struct program *p = arg;

	cw_worker_release(p->worker);
}

/* The file last: what ends with the connections is saved too. */
static void on_part_closed(void *arg)
{
	struct program *p = arg;

	if (--p->open != 0)
		return;
	if (p->state != NULL)
		cw_cloud_state_close(p->state, on_state_closed, p);
	else
		cw_worker_release(p->worker);
}

static void stop(struct program *p)
{
	size_t i;

	if (p->stopping)
		return;
	p->stopping = 1;
	if (p->started)
		cw_log(daemon_stopping, "closing");
	uv_close((uv_handle_t *)&p->sigint, NULL);
	uv_close((uv_handle_t *)&p->sigterm, NULL);
	p->open = 1; /* ours, until both were asked */
	if (p->cloud != NULL) {
		cw_cloud_calls_abandon(p->cloud, NULL);
		cw_cloud_scripts_stop(p->cloud);
	}
	for (i = 0; i < CLOUD_LISTENER_COUNT; i++) {
		if (p->fronts[i] == NULL)
			continue;
		p->open++;
		fronts[i]->close(p->fronts[i], on_part_closed, p);
	}
	on_part_closed(p);
}

static void on_signal(uv_signal_t *handle, int signum)
{
	stop(handle->data);
}

static unsigned on_psk(void *arg, const char *identity, unsigned char *out, unsigned max)
{
	return cw_cloud_psk_key(arg, identity, strlen(identity), (char *)out, max);
}

static const char *on_authority(void *arg)
{
	return cw_cloud_x509_ca(arg, NULL);
}

/* Written beside and renamed: who waits for the file never sees half of it. */
static int write_ready(const struct program *p, struct cw_msg *msg)
{
	const char *path = p->options.ready_file;
	char tmp[PATH_MAX];
	json_t *j;
	size_t i;
	int bad;

	if (path == NULL)
		return 0;
	j = json_pack("{s:i, s:s?}", "pid", (int)getpid(), "ca", cw_cloud_tls_ca(p->tls));
	for (i = 0; i < CLOUD_LISTENER_COUNT; i++) {
		if (p->fronts[i] != NULL)
			json_object_set_new(j, listeners[i].name, json_string(fronts[i]->address(p->fronts[i])));
	}
	(void)snprintf(tmp, sizeof(tmp), "%s.%d", path, (int)getpid());
	bad = json_dump_file(j, tmp, JSON_COMPACT) < 0 || rename(tmp, path) < 0;
	json_decref(j);
	return bad ? cw_fail(msg, CW_EIO, "cannot write '%s': %s", path, strerror(errno)) : 0;
}

/* `url` with the address in place of its %s. */
static void print_url(char *out, size_t size, const char *url, const char *address)
{
	const char *at = strstr(url, "%s");

	(void)snprintf(out, size, "%.*s%s%s", (int)(at - url), url, address, at + 2);
}

static void print_ready(const struct program *p)
{
	char text[128];
	size_t i;

	for (i = 0; i < CLOUD_LISTENER_COUNT; i++) {
		if (p->fronts[i] == NULL)
			continue;
		print_url(text, sizeof(text), listeners[i].url, fronts[i]->address(p->fronts[i]));
		(void)printf("%-11s %-40s %s\n", listeners[i].name, text, listeners[i].what);
	}
	if (cw_cloud_tls_ca(p->tls) != NULL)
		(void)printf("ca          %s\n", cw_cloud_tls_ca(p->tls));
	(void)printf("limits      %s\n", p->cloud->conf.limits.documented ? "documented" : "off");
	(void)puts("ready");
	(void)fflush(stdout);
}

static int open_fronts(struct program *p, struct cw_msg *msg)
{
	size_t i;
	int rc;

	for (i = 0; i < CLOUD_LISTENER_COUNT; i++) {
		struct cloud_front_conf conf = { .cloud = p->cloud, .tls = p->tls, .routes = p->routes,
			                         .address = p->options.listeners[i] };

		if (strcmp(conf.address, "off") == 0)
			continue;
		rc = fronts[i]->open(&conf, &p->fronts[i], msg);
		if (rc < 0) {
			p->fronts[i] = NULL;
			cw_msg_wrap(msg, "listeners.%s", listeners[i].name);
			return rc;
		}
	}
	return 0;
}

/* Tell the core where clients find what it hands out links to. An address for all interfaces is none to connect to. */
static void note_addresses(struct program *p)
{
	const struct cloud_switches *switches = &p->cloud->conf.switches;
	int files = switches->downloads ? CLOUD_LISTENER_api : CLOUD_LISTENER_https;
	const char *mqtt = p->fronts[CLOUD_LISTENER_mqtt] != NULL
				   ? fronts[CLOUD_LISTENER_mqtt]->address(p->fronts[CLOUD_LISTENER_mqtt])
				   : "";
	const char *address = p->fronts[files] != NULL ? fronts[files]->address(p->fronts[files]) : "";
	const char *host = strncmp(address, "0.0.0.0:", 8) == 0 ? "127.0.0.1"
			   : strncmp(address, "[::]:", 5) == 0  ? "[::1]"
								: NULL;

	(void)snprintf(p->cloud->mqtt_address, sizeof(p->cloud->mqtt_address), "%s", mqtt);
	if (switches->downloads_url != NULL)
		(void)snprintf(p->cloud->download_url, sizeof(p->cloud->download_url), "%s", switches->downloads_url);
	else if (address[0] != '\0')
		(void)snprintf(p->cloud->download_url, sizeof(p->cloud->download_url), "%s://%s%s",
			       switches->downloads ? "http" : "https", host != NULL ? host : address,
			       host != NULL ? strrchr(address, ':') : "");
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
	rc = cw_cloud_tls_new(&o->tls, &p->tls, msg);
	if (rc == 0)
		rc = cw_cloud_x509_open(p->cloud, o->tls.dir, msg);
	if (rc < 0)
		return rc;
	cw_cloud_tls_set_psk(p->tls, on_psk, p->cloud);
	cw_cloud_tls_set_authority(p->tls, on_authority, p->cloud);
	rc = cw_cloud_routes_new(&p->routes);
	if (rc < 0)
		return cw_fail(msg, rc, "out of memory");
	/* Nobody is served before the loop runs; the fronts' chapters must be there when the file is read. */
	rc = open_fronts(p, msg);
	note_addresses(p);
	if (rc == 0 && o->state != NULL)
		rc = cw_cloud_state_open(p->cloud, o->state, &p->state, msg);
	if (rc == 0)
		rc = cw_cloud_options_stock(o, p->cloud, msg);
	if (rc < 0)
		return rc;
	p->started = 1;
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
	cw_cloud_routes_free(p.routes);
	cw_cloud_free(p.cloud);
	cw_cloud_tls_free(p.tls);
	cw_worker_free(p.worker);
	cw_cloud_options_free(&p.options);
	return rc < 0 ? 1 : 0;
}
