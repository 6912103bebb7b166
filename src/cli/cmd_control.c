/*
 * cmd_control.c - operator verbs against a running gateway, over its control socket:
 * status, stats, device list|show|kick, reload, stop, trace.
 */
#include "cli/call.h"
#include "cli/cli.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/inspect.h"
#include "daemon/config.h"

struct call {
	struct cw_call http;
	int as_json;
	FILE *record;               /* trace: where the raw lines go */
	struct cw_inspect *inspect; /* trace: decodes frames, made when the first one comes */
	int no_inspect;
};

static const char usage[] =
	"usage: causeway VERB [--control unix:PATH | -c FILE] [--json]\n"
	"\n"
	"  status                     is it up, its upstreams, listeners and connections; exit 0 only if all upstreams are up\n"
	"  stats                      every counter and gauge\n"
	"  device list [--state S]    devices seen since the start; S: online, waiting, offline or refused, anything "
	"else shows none\n"
	"  device show IDENTITY       one device\n"
	"  device kick IDENTITY       close its connection\n"
	"  trace IDENTITY [--record FILE]  follow one device: frames both ways, commands, settles\n"
	"  trace --listener NAME [--record FILE]  all connections of a listener, from their beginning, as `causeway plugin\n"
	"                             replay` plays them again; FILE holds what devices authenticate with: mode 0600\n"
	"  reload                     read the configuration and devices.conf again\n"
	"  stop                       drain and stop\n"
	"\n"
	"The control socket is the one of --control, of the application.conf given with -c, or\n"
	"unix:/run/causeway/control.sock.\n";

static json_t *ask(struct call *c, const char *method, const char *path)
{
	return cw_call_ask(&c->http, method, path, NULL, 0);
}

static void print_json(const json_t *j)
{
	json_dumpf(j, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(15));
	putchar('\n');
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *t = json_string_value(json_object_get(o, key));

	return t == NULL ? "" : t;
}

static long long int_of(const json_t *o, const char *key)
{
	return (long long)json_integer_value(json_object_get(o, key));
}

/* ---- verbs ------------------------------------------------------------------------------- */

/* `12 s`, `3 min`, `2 h` since that time. */
static void print_since(long long since_ms)
{
	long long s = (cw_clock_wall_ms() - since_ms) / 1000;

	if (s < 120)
		printf("%lld s", s < 0 ? 0 : s);
	else if (s < 7200)
		printf("%lld min", s / 60);
	else
		printf("%lld h", s / 3600);
}

static void print_connection(const json_t *e)
{
	int up = strcmp(text_of(e, "state"), "up") == 0;

	printf("connection  %-12s %s to %s, %s for ", text_of(e, "name"), text_of(e, "protocol"), text_of(e, "to"),
	       up ? "up" : strcmp(text_of(e, "state"), "waiting") == 0 ? "DOWN" : text_of(e, "state"));
	print_since(int_of(e, "sinceMs"));
	printf(", %lld attempts, %lld successful", int_of(e, "attempts"), int_of(e, "successes"));
	if (text_of(e, "lastError")[0] != '\0')
		printf("; %s%s", up ? "before: " : "", text_of(e, "lastError"));
	putchar('\n');
}

static void print_status(const json_t *s)
{
	const json_t *devices = json_object_get(s, "devices"), *e, *config;
	long long up = int_of(s, "uptimeMs") / 1000;
	size_t i;

	printf("causewayd %s, process %lld, up %lld:%02lld:%02lld, %lld workers\n", text_of(s, "version"),
	       int_of(s, "pid"), up / 3600, up / 60 % 60, up % 60, int_of(s, "workers"));
	json_array_foreach (json_object_get(s, "waitingFor"), i, e)
		printf("waiting for %s\n", json_string_value(e));
	printf("devices     %lld known, %lld connected, %lld online\n", int_of(devices, "known"),
	       int_of(devices, "attached"), int_of(devices, "online"));
	json_array_foreach (json_object_get(s, "upstreams"), i, e) {
		printf("upstream    %-12s %s, %lld devices online, %lld records (%lld bytes) waiting, %lld in flight",
		       text_of(e, "name"), json_is_true(json_object_get(e, "up")) ? "up" : "DOWN",
		       int_of(e, "devicesOnline"), int_of(e, "queuedRecords"), int_of(e, "queuedBytes"),
		       int_of(e, "inFlight"));
		if (!json_is_true(json_object_get(e, "up")) && text_of(e, "lastError")[0] != '\0')
			printf("; %s", text_of(e, "lastError"));
		if (json_is_false(json_object_get(e, "downlink")))
			printf("; no downlink");
		putchar('\n');
		config = json_object_get(e, "remoteConfig");
		if (config != NULL)
			printf("            the platform holds configuration %s for this gateway (%lld bytes, sha256 %s); it is not applied\n",
			       text_of(config, "configId"), int_of(config, "size"), text_of(config, "sha256"));
	}
	json_array_foreach (json_object_get(s, "listeners"), i, e) {
		printf("listener    %-12s %s on %s, %lld open, %lld accepted, %lld refused\n", text_of(e, "name"),
		       text_of(e, "protocol"), text_of(e, "address"), int_of(e, "open"), int_of(e, "accepted"),
		       int_of(e, "refused"));
	}
	json_array_foreach (json_object_get(s, "connections"), i, e)
		print_connection(e);
	json_array_foreach (json_object_get(s, "pluginHosts"), i, e)
		printf("plugin host %-12s worker %lld, %s, process %lld, %lld restarts, %lld deaths%s\n", text_of(e, "protocol"),
		       int_of(e, "worker"), text_of(e, "state"), int_of(e, "pid"), int_of(e, "restarts"), int_of(e, "deaths"),
		       json_is_true(json_object_get(e, "seccomp")) ? "" : ", no seccomp");
}

static int do_status(struct call *c)
{
	json_t *s = ask(c, "GET", "/api/v1/status");
	int up;

	if (s == NULL)
		return 1;
	if (c->as_json)
		print_json(s);
	else
		print_status(s);
	up = json_is_true(json_object_get(s, "up"));
	json_decref(s);
	return up ? 0 : 1;
}

static int do_stats(struct call *c)
{
	json_t *s = ask(c, "GET", "/api/v1/stats"), *v;
	const char *key;

	if (s == NULL)
		return 1;
	if (c->as_json) {
		print_json(s);
	} else {
		json_object_foreach (s, key, v)
			printf("%-40s %lld\n", key, (long long)json_integer_value(v));
	}
	json_decref(s);
	return 0;
}

static void print_device_line(const json_t *d)
{
	printf("%-20s %-12s %-24s %-8s %s%s%s%s\n", text_of(d, "identity"), text_of(d, "productKey"),
	       text_of(d, "deviceName"), text_of(d, "state"),
	       json_is_true(json_object_get(d, "connected")) ? "connected" : "not connected",
	       json_object_get(d, "via") != NULL ? " over " : "", text_of(d, "via"),
	       json_object_get(d, "lastText") != NULL ? ", last refusal below" : "");
	if (json_object_get(d, "lastCode") != NULL)
		printf("    last refusal of the platform: %lld %s\n", int_of(d, "lastCode"), text_of(d, "lastText"));
	if (json_is_false(json_object_get(d, "downlink")))
		printf("    cannot be sent commands: upstream %s has no downlink\n", text_of(d, "upstream"));
}

static int do_device_list(struct call *c, const char *state)
{
	static const char *const states[] = { "online", "waiting", "offline", "refused" };
	char path[128];
	json_t *all, *d;
	size_t i;

	for (i = 0; state != NULL && i < sizeof(states) / sizeof(states[0]) && strcmp(state, states[i]) != 0; i++)
		;
	if (i == sizeof(states) / sizeof(states[0])) {
		fprintf(stderr, "causeway: a device is online, waiting, offline or refused, not '%s'\n", state);
		return 2;
	}

	(void)snprintf(path, sizeof(path), "/api/v1/devices%s%.20s",
		       state == NULL ? "" : "?state=", state == NULL ? "" : state);
	all = ask(c, "GET", path);
	if (all == NULL)
		return 1;
	if (c->as_json)
		print_json(all);
	else
		json_array_foreach (all, i, d)
			print_device_line(d);
	json_decref(all);
	return 0;
}

static int on_device(struct call *c, const char *method, const char *identity, const char *suffix)
{
	char path[512];
	char *escaped = curl_easy_escape(c->http.curl, identity, 0);
	json_t *answer;

	(void)snprintf(path, sizeof(path), "/api/v1/devices/%.400s%s", escaped == NULL ? "" : escaped, suffix);
	curl_free(escaped);
	answer = ask(c, method, path);
	if (answer == NULL)
		return 1;
	if (c->as_json)
		print_json(answer);
	else if (suffix[0] == '\0')
		print_device_line(answer);
	else
		puts(text_of(answer, "done"));
	json_decref(answer);
	return 0;
}

static int do_post(struct call *c, const char *path)
{
	json_t *answer = ask(c, "POST", path);

	if (answer == NULL)
		return 1;
	if (c->as_json)
		print_json(answer);
	else
		puts(text_of(answer, "done"));
	json_decref(answer);
	return 0;
}

/* ---- trace ---------------------------------------------------------------------------------- */

/* What the decoder sees in a frame: the message, then each record that went up. */
static void on_object(void *arg, const char *json, size_t len, int ok)
{
	json_t *o = json_loadb(json, len, 0, NULL), *r;
	const char *id = text_of(json_object_get(o, "header"), "message_id");
	size_t i;

	(void)arg;
	if (!ok)
		printf("             %s: %s\n", text_of(json_object_get(o, "error"), "code"),
		       text_of(json_object_get(o, "error"), "text"));
	else if (id[0] != '\0')
		printf("             message %s\n", id);
	json_array_foreach (json_object_get(o, "records"), i, r) {
		char *values =
			json_dumps(json_object_get(r, "values"),
				   JSON_COMPACT | JSON_ENCODE_ANY | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(15));

		printf("             %s %s %s\n", text_of(r, "kind"), text_of(r, "name"), values == NULL ? "" : values);
		free(values);
	}
	json_decref(o);
}

/* The decoder of the first frame's protocol, once; without one the hex has to do. */
static void decode_line(struct call *c, const char *protocol, const char *hex)
{
	uint8_t *bytes;
	struct cw_msg msg;
	size_t i, n = strlen(hex) / 2;

	if (c->inspect == NULL && !c->no_inspect &&
	    cw_inspect_open(protocol, NULL, "", on_object, NULL, &c->inspect, &msg) < 0) {
		fprintf(stderr, "causeway trace: frames are not decoded: %s\n", msg.text);
		c->no_inspect = 1;
	}
	bytes = c->inspect == NULL ? NULL : malloc(n + 1);
	if (bytes == NULL)
		return;
	for (i = 0; i < n; i++) {
		unsigned v = 0;

		(void)sscanf(hex + 2 * i, "%2x", &v);
		bytes[i] = (uint8_t)v;
	}
	(void)cw_inspect_feed(c->inspect, cw_bytes_of(bytes, n));
	free(bytes);
}

static void print_trace_line(struct call *c, const char *line)
{
	json_t *j = json_loads(line, 0, NULL);
	long long ms = int_of(j, "time");
	time_t s = (time_t)(ms / 1000);
	struct tm tm;
	char when[16] = "";

	if (j == NULL)
		return;
	if (gmtime_r(&s, &tm) != NULL)
		(void)strftime(when, sizeof(when), "%H:%M:%S", &tm);
	printf("%s.%03lld %-8s %s%s", when, ms % 1000, text_of(j, "what"), text_of(j, "text"), text_of(j, "peer"));
	if (json_object_get(j, "number") != NULL)
		printf(" %lld", int_of(j, "number"));
	printf("%s\n", text_of(j, "hex"));
	if (strcmp(text_of(j, "what"), "in") == 0 || strcmp(text_of(j, "what"), "refused") == 0)
		decode_line(c, text_of(j, "protocol"), text_of(j, "hex"));
	if (json_object_get(j, "missed") != NULL)
		printf("             (%lld lines were missed)\n", int_of(j, "missed"));
	fflush(stdout);
	json_decref(j);
}

static size_t on_trace_data(char *data, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	char *nl;

	if (cw_call_on_body(data, size, n, &c->http) == 0)
		return 0;
	while ((nl = memchr(c->http.body, '\n', c->http.len)) != NULL) {
		*nl = '\0';
		if (c->record != NULL) {
			fprintf(c->record, "%s\n", c->http.body);
			fflush(c->record);
		}
		if (c->as_json)
			puts(c->http.body);
		else
			print_trace_line(c, c->http.body);
		c->http.len -= (size_t)(nl + 1 - c->http.body);
		memmove(c->http.body, nl + 1, c->http.len + 1);
	}
	return size * n;
}

/* `listener`: the name is that of one. */
static int do_trace(struct call *c, const char *identity, int listener, const char *record)
{
	char url[512];
	char *escaped = curl_easy_escape(c->http.curl, identity, 0);
	CURLcode rc;

	if (record != NULL) {
		/* The frames in it hold what terminals authenticate with: for its owner only. */
		int fd = open(record, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);

		c->record = fd < 0 ? NULL : fdopen(fd, "w");
		if (c->record == NULL) {
			fprintf(stderr, "causeway: cannot write %s\n", record);
			curl_free(escaped);
			return 1;
		}
	}
	cw_log_setup(CW_LOG_ERROR, 0, 2);
	(void)snprintf(url, sizeof(url), "http://causeway/api/v1/%s/%.400s", listener ? "traceListener" : "trace", escaped == NULL ? "" : escaped);
	curl_free(escaped);
	curl_easy_setopt(c->http.curl, CURLOPT_UNIX_SOCKET_PATH, c->http.socket);
	curl_easy_setopt(c->http.curl, CURLOPT_URL, url);
	curl_easy_setopt(c->http.curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(c->http.curl, CURLOPT_WRITEFUNCTION, on_trace_data);
	curl_easy_setopt(c->http.curl, CURLOPT_WRITEDATA, c);
	rc = curl_easy_perform(c->http.curl);
	if (c->record != NULL)
		fclose(c->record);
	cw_inspect_close(c->inspect);
	if (rc != CURLE_OK) {
		fprintf(stderr, "causeway: %s: %s\n", c->http.socket, curl_easy_strerror(rc));
		return 1;
	}
	curl_easy_getinfo(c->http.curl, CURLINFO_RESPONSE_CODE, &c->http.status);
	if (c->http.status != 200) {
		json_t *answer = json_loads(c->http.body == NULL ? "" : c->http.body, 0, NULL);

		fprintf(stderr, "causeway: %s\n", text_of(answer, "error"));
		json_decref(answer);
		return 1;
	}
	return 0;
}

/* ---- arguments -------------------------------------------------------------------------------- */

static int socket_of_config(const char *file, char *out, size_t size)
{
	struct cw_conf_tree *tree;
	const struct cw_value *v;
	struct cw_msg msg;
	const char *text = NULL;

	if (cw_conf_parse_file(file, NULL, &tree, &msg) < 0) {
		fprintf(stderr, "causeway: %s\n", msg.text);
		return -1;
	}
	v = cw_value_get(cw_conf_root(tree), "control");
	if (v != NULL)
		text = cw_value_text(v, NULL);
	if (text != NULL)
		(void)snprintf(out, size, "%s", text);
	cw_conf_tree_unref(tree);
	return 0;
}

static int run(struct call *c, int argc, char **argv, const char *state, const char *record, const char *listener)
{
	const char *verb = argv[0];

	if (strcmp(verb, "status") == 0 && argc == 1)
		return do_status(c);
	if (strcmp(verb, "stats") == 0 && argc == 1)
		return do_stats(c);
	if (strcmp(verb, "reload") == 0 && argc == 1)
		return do_post(c, "/api/v1/reload");
	if (strcmp(verb, "stop") == 0 && argc == 1)
		return do_post(c, "/api/v1/stop");
	if (strcmp(verb, "trace") == 0 && argc == 2)
		return do_trace(c, argv[1], 0, record);
	if (strcmp(verb, "trace") == 0 && argc == 1 && listener != NULL)
		return do_trace(c, listener, 1, record);
	if (strcmp(verb, "device") == 0 && argc == 2 && strcmp(argv[1], "list") == 0)
		return do_device_list(c, state);
	if (strcmp(verb, "device") == 0 && argc == 3 && strcmp(argv[1], "show") == 0)
		return on_device(c, "GET", argv[2], "");
	if (strcmp(verb, "device") == 0 && argc == 3 && strcmp(argv[1], "kick") == 0)
		return on_device(c, "POST", argv[2], "/kick");
	fputs(usage, stderr);
	return 2;
}

int cw_cmd_control(int argc, char **argv)
{
	static const struct option options[] = {
		{ "control", required_argument, NULL, 'k' },
		{ "config", required_argument, NULL, 'c' },
		{ "json", no_argument, NULL, 'j' },
		{ "state", required_argument, NULL, 's' },
		{ "record", required_argument, NULL, 'r' },
		{ "listener", required_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct call c = { 0 };
	char control[512] = "unix:/run/causeway/control.sock";
	const char *state = NULL, *record = NULL, *listener = NULL;
	char *words[8] = { argv[0] };
	int opt, n = 1, rc;

	while ((opt = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (opt) {
		case 'k': (void)snprintf(control, sizeof(control), "%s", optarg); break;
		case 'c':
			if (socket_of_config(optarg, control, sizeof(control)) < 0)
				return 1;
			break;
		case 'j': c.as_json = 1; break;
		case 's': state = optarg; break;
		case 'r': record = optarg; break;
		case 'l': listener = optarg; break;
		case 'h': fputs(usage, stdout); return 0;
		default: fputs(usage, stderr); return 2;
		}
	}
	while (optind < argc && n < 8)
		words[n++] = argv[optind++];
	if (strncmp(control, "unix:", 5) != 0) {
		fprintf(stderr, "causeway: the control socket is unix:PATH, not '%s'\n", control);
		return 2;
	}
	if (cw_call_open(&c.http, control + 5) < 0)
		return 1;
	rc = run(&c, n, words, state, record, listener);
	cw_call_close(&c.http);
	return rc;
}
