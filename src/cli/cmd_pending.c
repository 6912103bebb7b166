/* cmd_pending.c - frames that a running gateway keeps of unknown devices: list, show (decoded where it can be), drop.
 */
#include "cli/call.h"
#include "cli/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "cli/inspect.h"
#include "daemon/config.h"

static const char usage[] =
	"usage: causeway pending VERB [--control unix:PATH | -c FILE] [--json]\n"
	"\n"
	"  list                     devices that no source knows and of which frames are kept (listeners\n"
	"                           with unknown = keep)\n"
	"  show IDENTITY [--plugin-dir DIR]\n"
	"                           its frames, oldest first, in hex and decoded\n"
	"  drop IDENTITY | --all    forget them\n"
	"\n"
	"Once an identity is added (devices.conf and causeway reload, or causeway identity add) its frames are\n"
	"decoded with the time of their arrival and delivered. They are kept in memory: a restart forgets them.\n";

struct options {
	struct cw_call http;
	const char *plugin_dir;
	int as_json, all;
};

static const char *text_of(const json_t *o, const char *key)
{
	const char *t = json_string_value(json_object_get(o, key));

	return t == NULL ? "" : t;
}

static long long int_of(const json_t *o, const char *key)
{
	return (long long)json_integer_value(json_object_get(o, key));
}

static const char *time_text(long long ms, char out[32])
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;

	if (gmtime_r(&s, &tm) == NULL || strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		(void)snprintf(out, 32, "%lld", ms);
	return out;
}

static void print_json(const json_t *j)
{
	json_dumpf(j, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
}

/* ---- list ------------------------------------------------------------------------------ */

static int list(struct options *o)
{
	json_t *all = cw_call_ask(&o->http, "GET", "/api/v1/pending", NULL, 0), *e;
	char first[32], last[32];
	size_t i;

	if (all == NULL)
		return 1;
	if (o->as_json) {
		print_json(all);
	} else {
		if (json_array_size(all) == 0)
			fputs("no frames are kept; listeners and connections with unknown = keep have some when a device comes that no source knows\n", stderr);
		json_array_foreach (all, i, e) {
			printf("%-24s %-12s %-22s %4lld frames %7lld bytes  %s to %s", text_of(e, "identity"),
			       text_of(e, "listener"), text_of(e, "peer"), int_of(e, "frames"), int_of(e, "bytes"),
			       time_text(int_of(e, "firstMs"), first), time_text(int_of(e, "lastMs"), last));
			if (int_of(e, "delivering") > 0)
				printf(", %lld being delivered", int_of(e, "delivering"));
			if (int_of(e, "dropped") > 0)
				printf(", %lld dropped", int_of(e, "dropped"));
			putchar('\n');
		}
	}
	json_decref(all);
	return 0;
}

/* ---- show ------------------------------------------------------------------------------- */

static void on_object(void *arg, const char *json, size_t len, int ok)
{
	json_t **ret = arg;

	(void)ok;
	if (*ret == NULL)
		*ret = json_loadb(json, len, 0, NULL);
}

static size_t unhex(const char *hex, uint8_t *out)
{
	size_t n = 0;
	unsigned v;

	for (; hex[0] != '\0' && hex[1] != '\0' && sscanf(hex, "%2x", &v) == 1; hex += 2)
		out[n++] = (uint8_t)v;
	return n;
}

/* Header and fields of a frame; NULL where it cannot be decoded here. A decoder for each: they may come of several
 * protocols. */
static json_t *decoded(const struct options *o, const json_t *frame)
{
	const char *hex = text_of(frame, "hex");
	uint8_t *bytes = cw_alloc(strlen(hex) / 2 + 1);
	struct cw_inspect *d = NULL;
	struct cw_msg msg = { "" };
	json_t *object = NULL, *ret = NULL;
	size_t n;

	if (bytes == NULL ||
	    cw_inspect_open(text_of(frame, "protocol"), o->plugin_dir, "", on_object, &object, &d, &msg) < 0) {
		cw_free(bytes);
		return NULL;
	}
	n = unhex(hex, bytes);
	if (cw_inspect_feed(d, cw_bytes_of(bytes, n)) == 0)
		cw_inspect_end(d, cw_bytes_of(bytes, n));
	cw_inspect_close(d);
	cw_free(bytes);
	if (object != NULL && json_is_true(json_object_get(object, "ok"))) {
		ret = json_object();
		json_object_set(ret, "header", json_object_get(object, "header"));
		json_object_set(ret, "fields", json_object_get(object, "fields"));
	}
	json_decref(object);
	return ret;
}

static void print_frame(const json_t *f, const json_t *fields)
{
	char when[32];

	printf("%s %s %s\n  %s\n", time_text(int_of(f, "arrivedMs"), when), text_of(f, "listener"), text_of(f, "peer"),
	       text_of(f, "hex"));
	if (fields != NULL) {
		fputs("  ", stdout);
		json_dumpf(fields, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
		putchar('\n');
	}
}

static char *path_of(struct options *o, const char *identity, char path[512])
{
	char *escaped = curl_easy_escape(o->http.curl, identity, 0);

	(void)snprintf(path, 512, "/api/v1/pending/%.400s", escaped == NULL ? "" : escaped);
	curl_free(escaped);
	return path;
}

static int show(struct options *o, const char *identity)
{
	char path[512];
	json_t *all = cw_call_ask(&o->http, "GET", path_of(o, identity, path), NULL, 0), *f;
	size_t i;

	if (all == NULL)
		return 1;
	json_array_foreach (all, i, f) {
		json_t *fields = decoded(o, f);

		if (!o->as_json)
			print_frame(f, fields);
		else if (fields != NULL)
			json_object_set(f, "decoded", fields);
		json_decref(fields);
	}
	if (o->as_json)
		print_json(all);
	json_decref(all);
	return 0;
}

static int drop(struct options *o, const char *identity)
{
	char path[512];
	json_t *answer = cw_call_ask(&o->http, "DELETE",
				     identity == NULL ? "/api/v1/pending" : path_of(o, identity, path), NULL, 0);

	if (answer == NULL)
		return 1;
	puts(text_of(answer, "done"));
	json_decref(answer);
	return 0;
}

/* ---- the command line --------------------------------------------------------------------- */

static int run(struct options *o, int n, char *const *words)
{
	if (n == 1 && strcmp(words[0], "list") == 0 && !o->all)
		return list(o);
	if (n == 2 && strcmp(words[0], "show") == 0 && !o->all)
		return show(o, words[1]);
	if (n >= 1 && strcmp(words[0], "drop") == 0 && n == (o->all ? 1 : 2))
		return drop(o, o->all ? NULL : words[1]);
	fputs(usage, stderr);
	return 2;
}

int cw_cmd_pending(int argc, char **argv)
{
	static const struct option options[] = {
		{ "control", required_argument, NULL, 'C' },
		{ "config", required_argument, NULL, 'c' },
		{ "json", no_argument, NULL, 'j' },
		{ "all", no_argument, NULL, 'a' },
		{ "plugin-dir", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	char control[1024] = "unix:/run/causeway/control.sock";
	struct options o = { .as_json = 0 };
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "c:jp:h", options, NULL)) != -1) {
		switch (opt) {
		case 'C': (void)snprintf(control, sizeof(control), "%s", optarg); break;
		case 'c':
			if (cw_call_socket_of(optarg, control, sizeof(control)) < 0)
				return 1;
			break;
		case 'j': o.as_json = 1; break;
		case 'a': o.all = 1; break;
		case 'p': o.plugin_dir = optarg; break;
		case 'h': fputs(usage, stdout); return 0;
		default: fputs(usage, stderr); return 2;
		}
	}
	if (strncmp(control, "unix:", 5) != 0) {
		fprintf(stderr, "causeway: the control socket is unix:PATH, not '%s'\n", control);
		return 2;
	}
	cw_log_setup(CW_LOG_ERROR, 0, 2);
	if (cw_call_open(&o.http, control + 5) < 0)
		return 1;
	rc = run(&o, argc - optind, argv + optind);
	cw_call_close(&o.http);
	return rc;
}
