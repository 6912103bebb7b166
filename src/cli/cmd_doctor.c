/*
 * cmd_doctor.c - `causeway doctor`: each upstream of a configuration step by step (name, TCP, TLS, login), with what fails and
 * what to do.
 *
 * A second login of the bridge would end the first. So a running gateway is asked how its login stands, over its control
 * socket; only when none runs is a login made here, and one that takes nothing that waits for the bridge.
 */
#include "cli/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cli/call.h"
#include "cli/probe.h"
#include "daemon/bridges.h"
#include "daemon/config.h"
#include "platform/codes.h"
#include "platform/sign.h"
#include "upstream/connector.h"

#define LOGIN_MS 20000u

static const char usage[] =
	"usage: causeway doctor [CONFIG | -c CONFIG]\n"
	"\n"
	"Tries each upstream of CONFIG (default /etc/causeway/application.conf) step by step: name, TCP,\n"
	"TLS, login; says which step fails and what to do. While the gateway of this configuration runs it\n"
	"is asked over its control socket how its login stands, for a second login would end the first.\n"
	"Exit status: 0 all steps of all upstreams work, 1 something fails.\n";

struct doctor {
	const struct cw_config *config;
	const struct cw_bridges *bridges;
	json_t *status; /* of the running gateway; NULL: none runs */
	int failed;
};

static void step(struct doctor *d, const char *name, int rc, const struct cw_msg *text)
{
	printf("  %-6s %-5s %s\n", name, rc < 0 ? "FAIL" : "ok", text->text);
	d->failed |= rc < 0;
}

static void skipped(const char *name, const char *why)
{
	printf("  %-6s %-5s %s\n", name, "-", why);
}

/* ---- login --------------------------------------------------------------------------------- */

static const json_t *running_upstream(const struct doctor *d, const char *name)
{
	const json_t *u;
	size_t i;

	json_array_foreach(json_object_get(d->status, "upstreams"), i, u)
		if (strcmp(json_string_value(json_object_get(u, "name")), name) == 0)
			return u;
	return NULL;
}

#define DEVICES_LOG_IN "every device logs in by itself, see causeway device show IDENTITY"

/* A broker wants no certificate of the bridge either, but one login. */
static int logins_are_devices(const struct cw_upstream_conf *c)
{
	return c->kind->without_bridge && strcmp(c->kind->type, "broker") != 0;
}

static void ask_running(struct doctor *d, const struct cw_upstream_conf *c)
{
	const json_t *u = running_upstream(d, c->name), *waits = json_object_get(d->status, "waitingFor");
	const char *error = u == NULL ? NULL : json_string_value(json_object_get(u, "lastError"));
	struct cw_msg text = { "" };
	int rc = 0;

	if (json_array_size(waits) > 0)
		rc = cw_fail(&text, CW_EOFFLINE, "the running gateway waits for %s", json_string_value(json_array_get(waits, 0)));
	else if (u == NULL)
		rc = cw_fail(&text, CW_ENOENT, "the running gateway has no such upstream: it was started with another configuration; restart it");
	else if (!json_is_true(json_object_get(u, "up")))
		rc = cw_fail(&text, CW_EOFFLINE, "the running gateway is not logged in: %s", error == NULL || error[0] == '\0' ? "it is still trying" : error);
	else if (logins_are_devices(c))
		cw_msg_set(&text, "the running gateway says that it is up; " DEVICES_LOG_IN);
	else
		cw_msg_set(&text, "the running gateway is logged in (it was asked; a second login would end the first)");
	step(d, "login", rc, &text);
}

static int connack(int code, struct cw_msg *text)
{
	if (code == 0) {
		cw_msg_set(text, "CONNACK 0, accepted (and logged out again)");
		return 0;
	}
	return cw_fail(text, CW_EREFUSED, "CONNACK %d: %s; %s", code, cw_connack_text(code), cw_connack_todo(code));
}

/* As the kind mqtt logs in, but with one CONNECT and no subscription. */
static int login_mqtt(struct cw_probe *p, const struct cw_upstream_conf *c, int tls, struct cw_msg *text)
{
	struct cw_sign_connect login;
	char base[CW_BASE_CLIENT_ID_MAX + 1];
	const char *password = login.password;
	int code, rc = 0;

	if (c->product_key == NULL) {
		cw_sign_connect_unknown(&login);
	} else if (c->device_token != NULL) {
		(void)snprintf(login.client_id, sizeof(login.client_id), "%s|securemode=-2,authType=connwl|", c->client_id);
		(void)snprintf(login.user, sizeof(login.user), "%s&%s", c->device_name, c->product_key);
		password = c->device_token;
	} else {
		(void)snprintf(base, sizeof(base), "%s.%s", c->product_key, c->device_name);
		rc = cw_sign_connect(&login, CW_SIGN_SHA256, base, c->product_key, c->device_name, c->device_secret, "2524608000000", tls, NULL);
	}
	if (rc < 0)
		return cw_fail(text, rc, "productKey or deviceName are too long");
	rc = cw_probe_mqtt(p, login.client_id, login.user, password, &code, text);
	explicit_bzero(&login, sizeof(login));
	return rc < 0 ? rc : connack(code, text);
}

/* Any other kind: its own connector, without devices, until it says how the login went. */
struct trial {
	struct cw_worker *control;
	struct cw_upstream *u;
	struct cw_timer timer;
	int told, up;
	char reason[400];
};

static void on_trial_stopped(void *arg)
{
	struct trial *t = arg;

	cw_upstream_free(t->u);
	cw_worker_release(t->control);
}

static void end_trial(struct trial *t, int up, const char *reason)
{
	if (t->told)
		return;
	t->told = 1;
	t->up = up;
	(void)snprintf(t->reason, sizeof(t->reason), "%s", reason);
	cw_timer_stop(cw_worker_timers(t->control), &t->timer);
	cw_upstream_stop(t->u, 0, on_trial_stopped, t);
}

static void on_trial_state(void *ctx, struct cw_upstream *u, int up, const char *reason)
{
	end_trial(ctx, up, reason);
}

static void on_trial_device(void *ctx, void *cookie, enum cw_updevice_state state, int code, const char *text)
{
}

static void on_trial_command(void *ctx, struct cw_downlink *down)
{
	cw_downlink_free(down); /* not taken: the platform keeps it */
}

static void on_trial_reply(void *ctx, void *cookie, const char *request, int code, struct cw_bytes data)
{
}

static void on_trial_removed(void *ctx, void *cookie)
{
}

static void on_trial_timer(struct cw_timer *timer)
{
	struct trial *t = cw_container_of(timer, struct trial, timer);
	struct cw_upstream_status s;

	cw_upstream_status(t->u, &s);
	end_trial(t, s.up, s.last_error[0] != '\0' ? s.last_error : "no answer in time");
}

static int login_trial(const struct cw_upstream_conf *c, struct cw_msg *text)
{
	static const struct cw_upstream_events events = {
		.state = on_trial_state, .device = on_trial_device, .command = on_trial_command, .reply = on_trial_reply, .removed = on_trial_removed
	};
	struct trial t = { .told = 0 };
	struct cw_upstream_conf conf = *c;
	int rc = cw_worker_new("doctor", 0, &t.control);

	if (rc < 0)
		return cw_fail(text, rc, "%s", cw_error_text(rc));
	conf.state_dir = NULL; /* what a gateway keeps there is not for us to touch */
	rc = cw_upstream_new(&conf, t.control, &events, &t, &t.u, text);
	if (rc == 0)
		rc = cw_upstream_start(t.u);
	if (rc == 0)
		cw_timer_set(cw_worker_timers(t.control), &t.timer, LOGIN_MS, on_trial_timer);
	else
		cw_worker_release(t.control);
	cw_worker_run(t.control);
	cw_worker_free(t.control);
	if (rc < 0)
		return rc;
	if (!t.up)
		return cw_fail(text, CW_EREFUSED, "%s", t.reason);
	cw_msg_set(text, logins_are_devices(c) ? "none of the bridge is needed; " DEVICES_LOG_IN : "accepted (and logged out again)");
	return 0;
}

static void login(struct doctor *d, struct cw_probe *p, const struct cw_upstream_conf *c, const struct cw_endpoint *at)
{
	struct cw_msg text = { "" };
	int own = strcmp(c->kind->type, "mqtt") == 0 && !at->scheme->rest;

	if (d->status != NULL)
		ask_running(d, c);
	else if (!c->kind->without_bridge && c->product_key != NULL && c->device_token == NULL && (c->device_secret == NULL || c->device_secret[0] == '\0'))
		skipped("login", "not tried: the bridge's certificate is obtained by the first start of the gateway");
	else
		step(d, "login", own ? login_mqtt(p, c, at->scheme->tls, &text) : login_trial(c, &text), &text);
}

/* ---- the steps ---------------------------------------------------------------------------------- */

/* What the gateway would say at its start, made and thrown away: steps over the network say nothing of use when this is wrong. */
static int check_settings(const struct cw_upstream_conf *c, struct cw_msg *text)
{
	static const struct cw_upstream_events events = {
		.state = on_trial_state, .device = on_trial_device, .command = on_trial_command, .reply = on_trial_reply, .removed = on_trial_removed
	};
	struct cw_upstream_conf conf = *c;
	struct cw_worker *control;
	struct cw_upstream *u;
	int rc = cw_worker_new("doctor", 0, &control);

	if (rc < 0)
		return cw_fail(text, rc, "%s", cw_error_text(rc));
	conf.state_dir = NULL;
	if (conf.product_key != NULL && conf.device_name == NULL)
		conf.device_name = "not-obtained";
	if (conf.product_key != NULL && conf.device_token == NULL && (conf.device_secret == NULL || conf.device_secret[0] == '\0'))
		conf.device_secret = "not obtained yet";
	rc = cw_upstream_new(&conf, control, &events, NULL, &u, text);
	if (rc == 0)
		cw_upstream_free(u);
	cw_worker_free(control);
	return rc;
}

static void examine(struct doctor *d, const struct cw_upstream_conf *c)
{
	struct cw_probe_tls tls = { c->ca, c->certificate, c->key, c->verify, NULL };
	struct cw_endpoint at;
	struct cw_probe *p = NULL;
	struct cw_msg text = { "" };
	int rc = check_settings(c, &text);

	if (rc < 0) {
		step(d, "config", rc, &text);
		return;
	}
	rc = cw_endpoint_parse(c->endpoint, c->kind->endpoint, &at, &text);
	if (rc < 0) {
		step(d, "name", rc, &text);
		return;
	}
	if (strstr(at.host, "${") != NULL) {
		skipped("name", "is another one for each product of the devices; give an endpoint without ${...} to try one of them");
		skipped("login", "not tried: here every device logs in by itself");
		return;
	}
	tls.alpn = at.scheme->alpn;
	rc = cw_probe_name(&at, &p, &text);
	step(d, "name", rc, &text);
	if (rc == 0 && at.scheme->udp)
		skipped("tcp", "goes over UDP, which knows no connection");
	else if (rc == 0)
		step(d, "tcp", rc = cw_probe_tcp(p, &text), &text);
	if (rc == 0 && at.scheme->tls && !at.scheme->udp)
		step(d, "tls", rc = cw_probe_tls(p, &tls, &text), &text);
	else if (rc == 0 && !at.scheme->udp)
		skipped("tls", "the endpoint is in the clear");
	if (rc == 0 || d->status != NULL)
		login(d, p, c, &at);
	else
		skipped("login", "not tried");
	cw_probe_free(p);
}

static int on_upstream(void *ctx, const struct cw_upstream_conf *conf, struct cw_msg *msg)
{
	struct cw_upstream_conf c = *conf;
	char endpoint[320];
	int rc = c.kind->configure == NULL ? 0 : c.kind->configure(&c, endpoint, sizeof(endpoint), msg);

	if (rc < 0)
		return rc;
	printf("upstream %s (%s) %s\n", c.name, c.kind->type, c.endpoint == NULL ? "without an endpoint" : c.endpoint);
	if (c.endpoint != NULL)
		examine(ctx, &c);
	return 0;
}

/* ---- the verb --------------------------------------------------------------------------------------- */

/* Quietly: nobody there is no failure. */
static json_t *ask_gateway(const char *control)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct cw_call call = { 0 };
	json_t *status;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), there;

	if (strncmp(control, "unix:", 5) != 0)
		control = "unix:";
	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", control + 5);
	there = fd >= 0 && a.sun_path[0] != '\0' && connect(fd, (const struct sockaddr *)&a, sizeof(a)) == 0;
	if (fd >= 0)
		(void)close(fd);
	if (!there || cw_call_open(&call, control + 5) < 0)
		return NULL;
	status = cw_call_ask(&call, "GET", "/api/v1/status", NULL, 0);
	cw_call_close(&call);
	return status;
}

static int examine_all(const char *file, struct cw_config *config, struct cw_msg *msg)
{
	struct doctor d = { .config = config };
	struct cw_bridges *bridges = NULL;
	char state_dir[1024];
	int rc;

	(void)cw_config_path(file, config->state_dir, state_dir, sizeof(state_dir));
	rc = cw_bridges_new(config, state_dir, &bridges, msg);
	if (rc < 0) {
		fprintf(stderr, "causeway doctor: %s\n", msg->text);
		return 1;
	}
	config->obtained = d.bridges = bridges;
	d.status = ask_gateway(config->control);
	printf("%s: %s\n", file, d.status != NULL ? "its gateway is running" : "its gateway is not running (or not with this control socket); logins are tried from here");
	rc = cw_config_each_upstream(config, state_dir, 0, on_upstream, &d, msg);
	if (rc < 0)
		fprintf(stderr, "causeway doctor: %s\n", msg->text);
	json_decref(d.status);
	cw_bridges_free(bridges);
	return rc < 0 || d.failed;
}

int cw_cmd_doctor(int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	const char *file = "/etc/causeway/application.conf";
	struct cw_conf_report report = { 0 };
	struct cw_conf_tree *tree = NULL;
	struct cw_config *config = NULL;
	struct cw_msg msg = { "" };
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (opt) {
		case 'c': file = optarg; break;
		case 'h': fputs(usage, stdout); return 0;
		default: fputs(usage, stderr); return 2;
		}
	}
	if (optind + 1 < argc) {
		fputs(usage, stderr);
		return 2;
	}
	if (optind < argc)
		file = argv[optind];
	cw_log_setup(CW_LOG_ERROR, 0, 2);
	rc = cw_config_load(file, &config, &tree, &report, &msg);
	cw_conf_report_fini(&report);
	if (rc < 0) {
		fprintf(stderr, "causeway doctor: %s\n", msg.text);
		return 1;
	}
	rc = examine_all(file, config, &msg);
	cw_conf_free(config);
	cw_conf_tree_unref(tree);
	return rc;
}
