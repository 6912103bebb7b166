/*
 * reload.c - read the files again on a thread of its own, then apply the difference on the control loop.
 *
 * A file that is wrong changes nothing. Identities, listeners (rules, limits, lists,
 * certificates, added and removed ones), connections, upstreams, routes and the log level take effect; what
 * needs a restart is named in the answer. The answer does not wait for devices that move
 * to another upstream (swap.c), the next reload does.
 */
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "conf/dump.h"
#include "daemon/daemon.h"
#include "loop/thread.h"

struct reload {
	struct cw_mail mail;
	struct cw_thread thread;
	struct cw_daemon *daemon;
	struct cw_config *config;
	struct cw_conf_tree *tree;
	struct cw_identities *identities;
	struct cw_kept_config *old; /* a place for what was before */
	struct cw_made_list made;
	struct cw_swap_result swap;
	struct cw_msg msg;
	int rc;
	uint64_t started_ms;
	int in_order; /* the entries are to be sorted here, for somebody asks by prefix */
	cw_reload_fn done;
	void *arg;
};

static void on_read(struct cw_mail *mail);

static void read_files(void *arg)
{
	struct reload *r = arg;

	r->rc = cw_daemon_read_config(r->daemon->config_file, &r->config, &r->tree, &r->msg);
	if (r->rc == 0)
		r->rc = cw_daemon_read_identities(r->daemon->config_file, r->config, &r->identities, &r->msg);
	if (r->rc == 0 && r->in_order)
		cw_identities_order(r->identities);
	if (r->rc == 0) {
		r->config->obtained = r->daemon->bridges;
		r->rc = cw_daemon_look_at_upstreams(r->daemon, r->config, &r->made, &r->msg);
	}
	cw_post(r->daemon->control, &r->mail, on_read);
}

static int same_text(const char *a, const char *b)
{
	return (a == NULL && b == NULL) || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static const struct cw_value *identity_value(const struct cw_conf_tree *tree, const char *key)
{
	const struct cw_value *identity = cw_value_get(cw_conf_root(tree), "identity");

	return identity == NULL ? NULL : cw_value_get(identity, key);
}

/* Settings that a running process cannot change: those it was started with stay, and this says so each time. */
static void name_restarts(struct cw_daemon *d, const struct reload *r, char *out, size_t size)
{
	static const char *const keys[] = { "workers", "stateDir", "pluginDir", "isolation", "control", "ca", "commands",
		                            "attachments", "firmware", "popClientProfile", "registration" };
	static const char *const identity_keys[] = { "order", "keyFile", "removeTopology", "http", "factory", "rules", "ruleRetryMin", "ruleRetryMax", "contestWindow" };
	const struct cw_config *old = d->started, *now = r->config;
	size_t i, at = 0;

	out[0] = '\0';
	if (!same_text(old->bridge.product_secret, now->bridge.product_secret))
		at += (size_t)snprintf(out, size, " productSecret");
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!cw_value_same(cw_value_get(cw_conf_root(d->started_tree), keys[i]), cw_value_get(cw_conf_root(r->tree), keys[i])))
			at += (size_t)snprintf(out + at, size - at, "%s %s", at > 0 ? "," : "", keys[i]);
	for (i = 0; i < sizeof(identity_keys) / sizeof(identity_keys[0]); i++)
		if (!cw_value_same(identity_value(d->started_tree, identity_keys[i]), identity_value(r->tree, identity_keys[i])))
			at += (size_t)snprintf(out + at, size - at, "%s identity.%s", at > 0 ? "," : "", identity_keys[i]);
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

/* A listener or connection could not be made or changed: those before it go back to what they were. */
static void take_back(struct cw_daemon *d, struct cw_config *old, struct cw_conf_tree *old_tree)
{
	struct cw_msg msg = { "" };

	d->config = old;
	d->tree = old_tree;
	close_removed(d, old);
	if (cw_daemon_apply_listeners(d, &msg) < 0)
		cw_log(daemon_reload_failed, msg.text, CW_LS("then", "this listener stays closed until the next reload"));
	if (cw_daemon_apply_connections(d, &msg) < 0)
		cw_log(daemon_reload_failed, msg.text, CW_LS("then", "this connection stays closed until the next reload"));
}

/* Freed once no upstream was made of it. */
static void keep_old(struct reload *r, struct cw_config *old, struct cw_conf_tree *old_tree)
{
	struct cw_daemon *d = r->daemon;

	r->config = NULL;
	r->tree = NULL;
	if (old == d->started)
		return;
	r->old->config = old;
	r->old->tree = old_tree;
	r->old->next = d->kept;
	d->kept = r->old;
	r->old = NULL;
}

static int apply(struct reload *r, struct cw_reload_result *res, char *restarts, size_t size)
{
	struct cw_daemon *d = r->daemon;
	struct cw_config *old = d->config;
	struct cw_conf_tree *old_tree = d->tree;
	struct cw_pending_limits limits;
	struct cw_bridge_plan *plan;
	int rc = cw_daemon_plan_upstreams(d, r->config, &r->made, &plan, &r->swap, &r->msg);

	if (rc < 0)
		return rc;
	name_restarts(d, r, restarts, size);
	d->config = r->config;
	d->tree = r->tree;
	rc = cw_daemon_apply_listeners(d, &r->msg);
	if (rc == 0)
		rc = cw_daemon_apply_connections(d, &r->msg);
	if (rc < 0) {
		take_back(d, old, old_tree);
		cw_bridge_plan_free(plan);
		return rc;
	}
	close_removed(d, r->config);
	keep_old(r, old, old_tree);
	limits = cw_daemon_pending_limits(d->config);
	cw_gateway_pending_limits(d->gateway, &limits);
	if (d->rules != NULL)
		cw_rules_forget(d->rules);
	cw_gateway_revive(d->gateway);
	cw_bridge_swap_identities(d->bridge, r->identities, res);
	cw_resolver_forget(cw_bridge_resolver(d->bridge), NULL);
	r->identities = NULL;
	if (plan != NULL)
		cw_daemon_swap_upstreams(d, plan, &r->made, &r->swap);
	cw_log_setup((enum cw_log_level)d->config->log.level, d->config->log.format, 2);
	return 0;
}

static void report(struct reload *r, const struct cw_reload_result *res, const char *restarts)
{
	char sentence[1400], ways[160] = "";
	const struct cw_swap_result *s = &r->swap;

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
		if (s->added + s->removed + s->changed + s->moved > 0)
			(void)snprintf(ways, sizeof(ways), "; upstreams: %zu added, %zu removed, %zu changed; %zu devices move", s->added, s->removed, s->changed, s->moved);
		(void)snprintf(sentence, sizeof(sentence), "devices: %zu added, %zu removed, %zu changed, %zu unchanged, %zu skipped; of these %zu disconnected%s%s%s",
		               res->added, res->removed, res->changed, res->unchanged, res->skipped, res->disconnected, ways,
		               restarts[0] != '\0' ? "; needs a restart:" : "", restarts);
	}
	if (r->done != NULL)
		r->done(r->arg, r->rc, sentence);
}

static void on_read(struct cw_mail *mail)
{
	struct reload *r = cw_container_of(mail, struct reload, mail);
	struct cw_daemon *d = r->daemon;
	struct cw_reload_result res = { 0 };
	char restarts[500] = "";

	cw_thread_join(&r->thread);
	d->reloading = 0;
	if (r->rc == 0 && d->stopping)
		r->rc = cw_fail(&r->msg, CW_ECLOSED, "the gateway stops");
	if (r->rc == 0)
		r->rc = apply(r, &res, restarts, sizeof(restarts));
	report(r, &res, restarts);
	if (!d->stopping)
		cw_notify_say(&d->notify, r->rc == 0 ? "READY=1\nSTATUS=devices may connect" : "READY=1\nSTATUS=the last reload was refused; see the log");
	cw_identities_free(r->identities);
	if (r->config != NULL)
		cw_conf_free(r->config);
	if (r->tree != NULL)
		cw_conf_tree_unref(r->tree);
	cw_free(r->old);
	cw_free(r);
	cw_daemon_sweep_configs(d);
	/* The tree of a large file and the entries of before leave whole pages free that libc would keep. A millisecond or two. */
	(void)malloc_trim(0);
	if (d->finish_waits)
		cw_daemon_finish(d);
	else if (d->reload_again && !d->moving)
		(void)cw_daemon_reload(d, NULL, NULL);
}

int cw_daemon_reload(struct cw_daemon *d, cw_reload_fn done, void *arg)
{
	struct reload *r;
	int rc;

	if (d->bridge == NULL) {
		cw_log(daemon_reload_failed, "the gateway still waits for its own certificate; restart it to read the files again");
		return CW_EBUSY;
	}
	if (d->reloading || d->moving || d->stopping)
		return CW_EBUSY;
	r = cw_zalloc(sizeof(*r));
	if (r != NULL)
		r->old = cw_zalloc(sizeof(*r->old));
	if (r == NULL || r->old == NULL) {
		cw_free(r);
		return CW_ENOMEM;
	}
	r->daemon = d;
	r->done = done;
	r->arg = arg;
	r->started_ms = cw_clock_ms();
	cw_notify_say(&d->notify, "RELOADING=1");
	r->in_order = cw_bridge_identities(d->bridge)->ordered != NULL;
	d->reloading = 1;
	d->reload_again = 0;
	rc = cw_thread_start(&r->thread, "reload", read_files, r);
	if (rc < 0) {
		d->reloading = 0;
		cw_notify_say(&d->notify, "READY=1");
		cw_free(r->old);
		cw_free(r);
	}
	return rc;
}
