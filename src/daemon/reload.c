/*
 * reload.c - read the files again on a thread of its own, then apply the difference on the control loop.
 *
 * A file that is wrong changes nothing. Identities, listeners (rules, limits, lists,
 * certificates, added and removed ones) and the log level take effect; what needs a
 * restart is named in the answer.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "daemon/daemon.h"
#include "loop/thread.h"

struct reload {
	struct cw_mail mail;
	struct cw_thread thread;
	struct cw_daemon *daemon;
	struct cw_config *config;
	struct cw_conf_tree *tree;
	struct cw_identities *identities;
	struct cw_msg msg;
	int rc;
	uint64_t started_ms;
	cw_reload_fn done;
	void *arg;
};

static void on_skip(void *arg, const char *sentence)
{
	(void)arg;
	cw_count(bridge, entries_skipped);
	cw_log(identity_skipped, sentence);
}

static void on_read(struct cw_mail *mail);

static void read_files(void *arg)
{
	struct reload *r = arg;
	struct cw_conf_report report = { 0 };
	char path[1100];

	r->rc = cw_config_load(r->daemon->config_file, &r->config, &r->tree, &report, &r->msg);
	cw_conf_report_fini(&report);
	if (r->rc == 0) {
		(void)cw_config_path(r->daemon->config_file, r->config->identity.devices, path, sizeof(path));
		r->rc = cw_identities_load(path, on_skip, NULL, &r->identities, &r->msg);
	}
	cw_post(r->daemon->control, &r->mail, on_read);
}

static int same_text(const char *a, const char *b)
{
	return (a == NULL && b == NULL) || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Settings that a running process cannot change: keep the old and say so. */
static void name_restarts(const struct cw_config *old, const struct cw_config *now, char *out, size_t size)
{
	int bridge = !same_text(old->product_key, now->product_key) || !same_text(old->device_name, now->device_name) ||
	             !same_text(old->device_secret, now->device_secret);

	(void)snprintf(out, size, "%s%s%s%s%s%s", bridge ? " bridge certificate" : "", old->workers != now->workers ? " workers" : "",
	               !same_text(old->state_dir, now->state_dir) ? " stateDir" : "",
	               !same_text(old->plugin_dir, now->plugin_dir) ? " pluginDir" : "",
	               !same_text(old->control, now->control) ? " control" : "",
	               old->upstreams.count != now->upstreams.count || old->routes.count != now->routes.count ? " upstreams" : "");
}

static void close_removed(struct cw_daemon *d, const struct cw_config *now)
{
	size_t i = cw_gateway_listener_count(d->gateway), k;
	const char *protocol;

	while (i-- > 0) {
		const char *name = cw_listener_name(cw_gateway_listener(d->gateway, i, &protocol));

		for (k = 0; k < now->listeners.count; k++)
			if (strcmp(cw_conf_item(&now->listeners, struct cw_config_listener, k)->name, name) == 0)
				break;
		if (k == now->listeners.count)
			cw_gateway_close_listener(d->gateway, name);
	}
}

static int apply(struct reload *r, struct cw_reload_result *res, char *restarts, size_t size)
{
	struct cw_daemon *d = r->daemon;
	struct cw_config *old = d->config;
	struct cw_conf_tree *old_tree = d->tree;
	int rc;

	name_restarts(old, r->config, restarts, size);
	d->config = r->config;
	d->tree = r->tree;
	rc = cw_daemon_apply_listeners(d, &r->msg);
	if (rc < 0) {
		d->config = old;
		d->tree = old_tree;
		return rc;
	}
	close_removed(d, r->config);
	r->config = old; /* freed by the caller */
	r->tree = old_tree;
	cw_bridge_swap_identities(d->bridge, r->identities, res);
	r->identities = NULL;
	cw_log_setup((enum cw_log_level)d->config->log.level, d->config->log.format, 2);
	return 0;
}

static void report(struct reload *r, const struct cw_reload_result *res, const char *restarts)
{
	char sentence[1200];

	if (r->rc < 0) {
		cw_count(bridge, reloads_failed);
		cw_log(daemon_reload_failed, r->msg.text);
		(void)snprintf(sentence, sizeof(sentence), "nothing changed: %s", r->msg.text);
	} else {
		cw_count(bridge, reloads);
		cw_log(daemon_reload, restarts[0] != '\0' ? "some changes need a restart" : "", CW_LU("added", res->added),
		       CW_LU("removed", res->removed), CW_LU("changed", res->changed), CW_LU("unchanged", res->unchanged),
		       CW_LU("skipped", res->skipped), CW_LU("disconnected", res->disconnected), CW_LS("restart", restarts[0] == '\0' ? NULL : restarts + 1),
		       CW_LU("ms", cw_clock_ms() - r->started_ms));
		(void)snprintf(sentence, sizeof(sentence), "devices: %zu added, %zu removed, %zu changed, %zu unchanged, %zu skipped; %zu disconnected%s%s",
		               res->added, res->removed, res->changed, res->unchanged, res->skipped, res->disconnected,
		               restarts[0] != '\0' ? "; needs a restart:" : "", restarts);
	}
	if (r->done != NULL)
		r->done(r->arg, r->rc, sentence);
}

static void on_read(struct cw_mail *mail)
{
	struct reload *r = cw_container_of(mail, struct reload, mail);
	struct cw_reload_result res = { 0 };
	char restarts[200] = "";

	cw_thread_join(&r->thread);
	r->daemon->reloading = 0;
	if (r->rc == 0 && r->daemon->stopping)
		r->rc = cw_fail(&r->msg, CW_ECLOSED, "the gateway stops");
	if (r->rc == 0)
		r->rc = apply(r, &res, restarts, sizeof(restarts));
	report(r, &res, restarts);
	cw_identities_free(r->identities);
	cw_conf_free(r->config);
	cw_conf_tree_unref(r->tree);
	cw_free(r);
}

int cw_daemon_reload(struct cw_daemon *d, cw_reload_fn done, void *arg)
{
	struct reload *r;
	int rc;

	if (d->reloading || d->stopping)
		return CW_EBUSY;
	r = cw_zalloc(sizeof(*r));
	if (r == NULL)
		return CW_ENOMEM;
	r->daemon = d;
	r->done = done;
	r->arg = arg;
	r->started_ms = cw_clock_ms();
	d->reloading = 1;
	rc = cw_thread_start(&r->thread, "reload", read_files, r);
	if (rc < 0) {
		d->reloading = 0;
		cw_free(r);
	}
	return rc;
}
