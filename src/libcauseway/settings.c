/*
 * settings.c - from a setup to checked settings: file, text and members become one text of the
 * configuration language, so that they are merged, checked and complained about as any file is.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "daemon/java.h"
#include "libcauseway/lib.h"

#define UPSTREAM "cloud" /* the one that type, endpoint and ca of a setup mean */

/* ---- the text -------------------------------------------------------------------------- */

static void put_quoted(FILE *f, const char *text)
{
	const unsigned char *p;

	fputc('"', f);
	for (p = (const unsigned char *)text; *p != '\0'; p++) {
		if (*p == '"' || *p == '\\')
			fprintf(f, "\\%c", *p);
		else if (*p < 0x20)
			fprintf(f, "\\u%04x", *p);
		else
			fputc(*p, f);
	}
	fputc('"', f);
}

static void put_member(FILE *f, const char *key, const char *text)
{
	if (text == NULL)
		return;
	fprintf(f, "%s = ", key);
	put_quoted(f, text);
	fputc('\n', f);
}

static void put_setup(FILE *f, const struct cw_bridge_setup *s, const char *file)
{
	if (file != NULL) {
		fputs("include required(file(", f);
		put_quoted(f, file);
		fputs("))\n", f);
	}
	if (s->text != NULL)
		fprintf(f, "%s\n", s->text);
	put_member(f, "productKey", s->product_key);
	put_member(f, "deviceName", s->device_name);
	put_member(f, "deviceSecret", s->device_secret);
	put_member(f, "http2Endpoint", s->http2_endpoint);
	put_member(f, "authEndpoint", s->auth_endpoint);
	put_member(f, "ca", s->ca);
	put_member(f, "upstreams." UPSTREAM ".type", s->type);
	put_member(f, "upstreams." UPSTREAM ".endpoint", s->endpoint);
}

/* `file` is absolute: an include of a relative one would depend on where the text is thought to be. `more` goes behind
 * all. */
static int parse(struct lib *l, const struct cw_bridge_setup *s, const char *file, const char *more, struct cw_msg *msg)
{
	struct cw_conf_tree *tree = NULL;
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int rc;

	if (f == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	put_setup(f, s, file);
	fputs(more, f);
	if (fclose(f) != 0) {
		free(text);
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	}
	rc = cw_conf_parse_text("bridge setup", text, len, NULL, &tree, msg);
	explicit_bzero(text, len);
	free(text);
	if (rc < 0)
		return rc;
	cw_conf_tree_unref(l->tree);
	l->tree = tree;
	return 0;
}

/* The keys of the Java library, once they are known, become an upstream. */
static int read_setup(struct lib *l, const struct cw_bridge_setup *s, const char *file, struct cw_msg *msg)
{
	char java[400];
	int rc = parse(l, s, file, "", msg);

	if (rc == 0 && cw_java_upstream(cw_conf_root(l->tree), java, sizeof(java)))
		rc = parse(l, s, file, java, msg);
	return rc;
}

static int bind_settings(struct lib *l, struct cw_msg *msg)
{
	struct cw_conf_report report = { 0 };
	void *conf = NULL;
	size_t i;
	int rc = cw_conf_bind(&cw_config_bridge_table, l->tree, cw_conf_root(l->tree), &report, &conf);

	if (rc == CW_ECONF)
		cw_conf_report_msg(&report, msg);
	else if (rc < 0)
		cw_msg_set(msg, "%s", cw_error_text(rc));
	for (i = 0; i < report.kept; i++)
		if (report.items[i].warning)
			cw_log(conf_warning, report.items[i].text);
	cw_conf_report_fini(&report);
	l->config = conf;
	return rc;
}

/* ---- state directory --------------------------------------------------------------------- */

/* Only where somebody said so: a program that keeps nothing needs none. */
static int open_state_dir(struct lib *l, const struct cw_bridge_setup *s, const char *file, struct cw_msg *msg)
{
	char path[1024], lock[1100];
	const char *name = s->state_dir;

	if (name == NULL && cw_value_get(cw_conf_root(l->tree), "stateDir") != NULL)
		name = cw_config_path(file == NULL ? "" : file, l->config->state_dir, path, sizeof(path));
	if (name == NULL)
		return 0;
	if (mkdir(name, 0700) != 0 && errno != EEXIST)
		return cw_fail(msg, cw_err_from_errno(errno), "stateDir: cannot make %s: %s", name, strerror(errno));
	(void)snprintf(lock, sizeof(lock), "%s/lock", name);
	l->lock_fd = open(lock, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	if (l->lock_fd < 0)
		return cw_fail(msg, cw_err_from_errno(errno), "stateDir: cannot open %s: %s", lock, strerror(errno));
	if (flock(l->lock_fd, LOCK_EX | LOCK_NB) != 0)
		return cw_fail(msg, CW_EEXIST, "stateDir: %s is in use by another bridge; give each its own stateDir",
			       name);
	l->state_dir = cw_strdup(name);
	return l->state_dir == NULL ? cw_fail(msg, CW_ENOMEM, "out of memory") : 0;
}

int lib_settings(struct lib *l, const struct cw_bridge_setup *s, struct cw_msg *msg)
{
	char *file = NULL;
	int rc;

	if (s->file != NULL) {
		file = realpath(s->file, NULL);
		if (file == NULL)
			return cw_fail(msg, cw_err_from_errno(errno), "cannot read %s: %s", s->file, strerror(errno));
	}
	rc = read_setup(l, s, file, msg);
	if (rc == 0)
		rc = bind_settings(l, msg);
	if (rc == 0)
		rc = open_state_dir(l, s, file, msg);
	free(file);
	return rc;
}

/* ---- identities ---------------------------------------------------------------------------- */

static void on_skip(void *arg, const char *sentence)
{
	cw_count(bridge, entries_skipped);
	cw_log(identity_skipped, sentence);
}

/* What the file says to the gateway and not to a program is said, not swallowed. */
static void name_other_sources(const struct cw_config *c)
{
	size_t i;

	for (i = 0; i < c->identity.order.count; i++)
		if (strcmp(c->identity.order.items[i], "devices") != 0)
			cw_log(conf_warning,
			       "identity.order: this source is the gateway's; here devices.conf and the lookup "
			       "callback are asked",
			       CW_LS("source", c->identity.order.items[i]));
}

int lib_identities(struct lib *l, const struct cw_bridge_setup *s, struct cw_identities **ret_set, struct cw_msg *msg)
{
	const struct cw_value *identity = cw_value_get(cw_conf_root(l->tree), "identity");
	int said = s->devices != NULL || (identity != NULL && cw_value_get(identity, "devices") != NULL);
	const char *name = s->devices;
	char path[1100];

	name_other_sources(l->config);
	if (name == NULL)
		name = cw_config_path(s->file == NULL ? "" : s->file, l->config->identity.devices, path, sizeof(path));
	/* Nobody named one: it is there, or the identities come from the program. */
	if (!said && (s->file == NULL || access(name, F_OK) != 0)) {
		if (!LIB_HAS(l, lookup))
			return cw_fail(msg, CW_ENOENT,
				       "there are no identities: name a devices.conf, or give a lookup callback");
		return cw_identities_new(ret_set);
	}
	return cw_identities_load(name, on_skip, NULL, ret_set, msg);
}
