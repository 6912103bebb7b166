/* check.c - `causewayd --check` and `causeway config check`: everything that can be found without starting. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "daemon/daemon.h"

static void print_report(const struct cw_conf_report *report)
{
	size_t i;

	for (i = 0; i < report->kept; i++)
		fprintf(stderr, "%s%s\n", report->items[i].warning ? "warning: " : "", report->items[i].text);
	if (report->errors + report->warnings > report->kept)
		fprintf(stderr, "(and %zu more)\n", report->errors + report->warnings - report->kept);
}

static void on_skip(void *arg, const char *sentence)
{
	++*(int *)arg;
	fprintf(stderr, "%s\n", sentence);
}

static int check_devices(struct cw_daemon *d, size_t *ret_count)
{
	struct cw_identities *set;
	struct cw_msg msg;
	char path[1100];
	int skipped = 0;

	(void)cw_config_path(d->config_file, d->config->identity.devices, path, sizeof(path));
	if (cw_identities_load(path, on_skip, &skipped, &set, &msg) < 0) {
		fprintf(stderr, "%s\n", msg.text);
		return 1;
	}
	*ret_count = set->count;
	cw_identities_free(set);
	return skipped;
}

static int check_protocols(struct cw_daemon *d)
{
	struct cw_msg msg;
	size_t i, k;
	int wrong = 0;

	if (cw_daemon_load_protocols(d, d->config, &msg) < 0) {
		fprintf(stderr, "%s\n", msg.text);
		return 1;
	}
	for (i = 0; i < d->config->listeners.count; i++) {
		const struct cw_config_listener *l = cw_conf_item(&d->config->listeners, struct cw_config_listener, i);
		struct cw_conf_report report = { 0 };
		uint8_t *bytes = NULL;
		size_t len;

		for (k = 0; k < d->protocol_count; k++)
			if (strcmp(d->protocols[k]->name, l->protocol) == 0 &&
			    cw_config_settings(d->protocols[k], d->config, l->settings, NULL, cw_bytes_of(NULL, 0), &bytes, &len, &report) < 0)
				wrong++;
		print_report(&report);
		cw_conf_report_fini(&report);
		cw_free(bytes);
	}
	return wrong;
}

int cw_daemon_check(const char *config_file)
{
	struct cw_daemon d = { .config_file = config_file, .lock_fd = -1 };
	struct cw_conf_report report = { 0 };
	struct cw_msg msg = { "" };
	size_t devices = 0;
	int rc, wrong;

	cw_log_setup(CW_LOG_WARN, 0, 2);
	rc = cw_config_load(config_file, &d.config, &d.tree, &report, &msg);
	if (rc < 0 && report.errors == 0)
		fprintf(stderr, "%s\n", msg.text);
	print_report(&report);
	cw_conf_report_fini(&report);
	if (rc < 0)
		return 1;
	wrong = check_devices(&d, &devices) + check_protocols(&d);
	if (wrong == 0)
		printf("%s: fine; %zu listeners, %zu upstreams, %zu devices\n", config_file, d.config->listeners.count,
		       d.config->upstreams.count, devices);
	cw_conf_free(d.config);
	cw_conf_tree_unref(d.tree);
	return wrong == 0 ? 0 : 1;
}
