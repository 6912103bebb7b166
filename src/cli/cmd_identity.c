/*
 * cmd_identity.c - the table of identities: import, add, remove, list, rekey.
 *
 * While the daemon runs, it has the table, and is asked over its control socket: what is
 * changed takes effect at once. While it does not, the tool works on the files itself.
 * Which of the two is so, the lock of the state directory says.
 */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/call.h"
#include "daemon/daemon.h"
#include "identity/import.h"
#include "identity/table.h"
#include "store/key.h"

#define PAGE 10000
#define COMPLAINTS_SHOWN 20

static const char usage[] =
	"usage: causeway identity VERB [-c FILE] [--json]\n"
	"\n"
	"  import FILE                add and change entries: a .csv whose first line names the columns\n"
	"                             (ProductKey, DeviceName, DeviceSecret and identity; without that one\n"
	"                             the DeviceName is the identity), or a file in the form of devices.conf.\n"
	"                             All of it or, when a line is wrong, nothing\n"
	"  add IDENTITY PRODUCTKEY DEVICENAME [file:PATH]\n"
	"                             one entry; its DeviceSecret is the first line of PATH, else of standard\n"
	"                             input: on a command line everybody could read it\n"
	"  remove IDENTITY            its device is logged out and its connection closed\n"
	"  list [--json]              all entries, without their secrets\n"
	"  rekey                      encrypt all entries with a new key\n"
	"\n"
	"-c FILE is the gateway's configuration, by default /etc/causeway/application.conf. A gateway that runs makes\n"
	"the change and acts on it at once; while none runs, the table in its stateDir is changed directly.\n"
	"Exit status: 0 done; 1 nothing was changed, and the sentence on standard error says why; 2 wrong command line.\n";

struct tool {
	struct cw_config *config;
	struct cw_conf_tree *tree;
	char dir[1024], key[1100], socket[120];
	int lock_fd;
	int daemon; /* it has the table: `call` asks it */
	int as_json;
	struct cw_call call;
	struct cw_table *table;
};

static int complain(const char *sentence)
{
	fprintf(stderr, "causeway identity: %s\n", sentence);
	return 1;
}

/* ---- whose table is it? --------------------------------------------------------------- */

static int read_config(struct tool *t, const char *file)
{
	struct cw_conf_report report = { 0 };
	struct cw_msg msg = { "" };
	int rc = cw_config_load(file, &t->config, &t->tree, &report, &msg);

	cw_conf_report_fini(&report);
	if (rc < 0)
		return complain(msg.text);
	(void)cw_config_path(file, t->config->state_dir, t->dir, sizeof(t->dir));
	(void)cw_daemon_key_file(t->config, t->dir, t->key, sizeof(t->key));
	(void)snprintf(t->socket, sizeof(t->socket), "%s", t->config->control[0] == '\0' ? "" : t->config->control + strlen("unix:"));
	return 0;
}

static int take_lock(struct tool *t)
{
	char path[1100], text[1400];

	(void)snprintf(path, sizeof(path), "%s/lock", t->dir);
	t->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (t->lock_fd < 0) {
		(void)snprintf(text, sizeof(text), "stateDir: cannot open %s: %s%s", path, strerror(errno),
		               errno == ENOENT ? "; start the gateway once, which makes it, or make it for the gateway's user" : "");
		return complain(text);
	}
	cw_file_give_to_owner(t->lock_fd, path);
	if (flock(t->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	t->daemon = 1;
	if (t->socket[0] == '\0')
		return complain("the gateway runs and has no control socket (control is empty); stop it, or give it one");
	return cw_call_open(&t->call, t->socket) < 0 ? complain("out of memory") : 0;
}

static int open_table(struct tool *t, const char *file)
{
	struct cw_msg msg = { "" };
	int rc = read_config(t, file);

	if (rc == 0)
		rc = take_lock(t);
	if (rc == 0 && !t->daemon && cw_table_open(t->dir, t->key, &t->table, &msg) < 0)
		rc = complain(msg.text);
	return rc;
}

static void close_table(struct tool *t)
{
	cw_table_close(t->table);
	if (t->call.curl != NULL)
		cw_call_close(&t->call);
	if (t->lock_fd >= 0)
		(void)close(t->lock_fd);
	cw_conf_free(t->config);
	cw_conf_tree_unref(t->tree);
}

/* ---- telling ---------------------------------------------------------------------------- */

static int say(const struct tool *t, const char *done)
{
	json_t *o;

	if (!t->as_json) {
		puts(done);
		return 0;
	}
	o = json_pack("{s:s}", "done", done);
	json_dumpf(o, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(o);
	return 0;
}

static int ask_daemon(struct tool *t, const char *method, const char *path, const char *body, size_t len)
{
	json_t *answer = cw_call_ask(&t->call, method, path, body, len);
	const char *done = answer == NULL ? NULL : json_string_value(json_object_get(answer, "done"));
	int rc = answer == NULL ? 1 : say(t, done == NULL ? "done" : done);

	json_decref(answer);
	return rc;
}

/* ---- verbs ------------------------------------------------------------------------------- */

static int put_set(struct tool *t, const struct cw_identities *set)
{
	struct cw_edit_result res;
	struct cw_msg msg = { "" };
	char *text, done[200];
	size_t len;
	int rc;

	if (!t->daemon) {
		if (cw_table_import(t->table, set, &res, &msg) < 0)
			return complain(msg.text);
		(void)snprintf(done, sizeof(done), "%zu added, %zu changed, %zu unchanged", res.added, res.changed, res.same);
		return say(t, done);
	}
	rc = cw_identities_to_json(set, &text, &len);
	if (rc < 0)
		return complain(cw_error_text(rc));
	rc = ask_daemon(t, "POST", "/api/v1/identities", text, len);
	explicit_bzero(text, len);
	cw_free(text);
	return rc;
}

static void on_skip(void *arg, const char *sentence)
{
	if (++*(size_t *)arg <= COMPLAINTS_SHOWN)
		fprintf(stderr, "%s\n", sentence);
}

static int do_import(struct tool *t, const char *file)
{
	struct cw_identities *set = NULL;
	struct cw_msg msg = { "" };
	char text[200];
	size_t wrong = 0;
	int rc;

	if (cw_identities_import(file, on_skip, &wrong, &set, &msg) < 0)
		return complain(msg.text);
	if (wrong > 0) {
		(void)snprintf(text, sizeof(text), "%zu entries are wrong; nothing was imported", wrong);
		rc = complain(text);
	} else {
		rc = put_set(t, set);
	}
	cw_identities_free(set);
	return rc;
}

static int read_secret(const char *from, char *out, size_t size)
{
	FILE *f = from == NULL ? stdin : fopen(from, "re");
	char text[600];
	int ok;

	if (f == NULL) {
		(void)snprintf(text, sizeof(text), "cannot read %.400s: %s", from, strerror(errno));
		return complain(text);
	}
	if (from == NULL && isatty(STDIN_FILENO))
		fputs("DeviceSecret: ", stderr);
	ok = fgets(out, (int)size, f) != NULL;
	if (f != stdin)
		(void)fclose(f);
	out[ok ? strcspn(out, "\r\n") : 0] = '\0';
	return out[0] == '\0' ? complain("the secret is empty; it is the first line of standard input, or of file:PATH") : 0;
}

static int do_add(struct tool *t, int argc, char **argv)
{
	struct cw_identities *set = NULL;
	char secret[200] = "";
	const char *wrong;
	int rc = read_secret(argc == 5 ? argv[4] + strlen("file:") : NULL, secret, sizeof(secret));

	if (rc != 0)
		return rc;
	wrong = cw_identity_wrong(argv[1], argv[2], argv[3], secret);
	if (wrong != NULL)
		rc = complain(wrong);
	else if (cw_identities_new(&set) < 0 || cw_identities_add(set, argv[1], argv[2], argv[3], secret, cw_bytes_of(NULL, 0)) < 0)
		rc = complain("out of memory");
	else
		rc = put_set(t, set);
	explicit_bzero(secret, sizeof(secret));
	cw_identities_free(set);
	return rc;
}

/* PREFIX and the identity, percent-encoded. */
static void path_of(struct tool *t, const char *prefix, const char *identity, char *out, size_t size)
{
	char *escaped = curl_easy_escape(t->call.curl, identity, 0);

	(void)snprintf(out, size, "%s%.600s", prefix, escaped == NULL ? "" : escaped);
	curl_free(escaped);
}

static int do_remove(struct tool *t, const char *identity)
{
	struct cw_msg msg = { "" };
	char path[800];

	if (!t->daemon)
		return cw_table_remove(t->table, identity, &msg) < 0 ? complain(msg.text) : say(t, "removed");
	path_of(t, "/api/v1/identities/", identity, path, sizeof(path));
	return ask_daemon(t, "DELETE", path, NULL, 0);
}

static int do_rekey(struct tool *t)
{
	struct cw_msg msg = { "" };
	char done[200];
	size_t rows;

	if (t->daemon)
		return ask_daemon(t, "POST", "/api/v1/identities/rekey", "", 0);
	if (cw_table_rekey(t->table, &rows, &msg) < 0)
		return complain(msg.text);
	(void)snprintf(done, sizeof(done), "%zu entries are encrypted with a new key", rows);
	return say(t, done);
}

/* One page, or NULL after a complaint. */
static json_t *page(struct tool *t, const char *after)
{
	struct cw_msg msg = { "" };
	char path[800], *text;
	json_t *list;
	size_t len;

	if (t->daemon) {
		path_of(t, "/api/v1/identities?after=", after, path, sizeof(path));
		return cw_call_ask(&t->call, "GET", path, NULL, 0);
	}
	if (cw_table_list(t->table, after, PAGE, &text, &len, &msg) < 0) {
		(void)complain(msg.text);
		return NULL;
	}
	list = json_loadb(text, len, 0, NULL);
	cw_free(text);
	return list;
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text == NULL ? "" : text;
}

static void print_entry(const struct tool *t, const json_t *o, size_t n)
{
	if (!t->as_json) {
		printf("%-20s %-12s %-24s\n", text_of(o, "identity"), text_of(o, "productKey"), text_of(o, "deviceName"));
		return;
	}
	fputs(n == 0 ? "\n  " : ",\n  ", stdout);
	json_dumpf(o, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
}

static int do_list(struct tool *t)
{
	char after[200] = "";
	size_t i, n = 0, got;
	json_t *list, *o;

	if (t->as_json)
		putchar('[');
	do {
		list = page(t, after);
		if (list == NULL)
			return 1;
		got = json_array_size(list);
		json_array_foreach(list, i, o)
			print_entry(t, o, n++);
		if (got > 0)
			(void)snprintf(after, sizeof(after), "%s", text_of(json_array_get(list, got - 1), "identity"));
		json_decref(list);
	} while (got == PAGE);
	if (t->as_json)
		puts(n == 0 ? "]" : "\n]");
	return 0;
}

/* ---- arguments ------------------------------------------------------------------------------- */

static int wrong_words(int argc, char **argv)
{
	static const struct {
		const char *verb;
		int least, most;
	} verbs[] = { { "import", 2, 2 }, { "add", 4, 5 }, { "remove", 2, 2 }, { "list", 1, 1 }, { "rekey", 1, 1 } };
	size_t i;

	for (i = 0; argc > 0 && i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(argv[0], verbs[i].verb) == 0)
			break;
	if (argc == 0 || i == sizeof(verbs) / sizeof(verbs[0]) || argc < verbs[i].least || argc > verbs[i].most) {
		fputs(usage, stderr);
		return 1;
	}
	if (argc == 5 && strncmp(argv[4], "file:", 5) != 0) {
		/* Not repeated: it is the secret, most likely. */
		fputs("causeway identity: a secret does not stand on the command line, where everybody can read it: give it on standard input, or as file:PATH\n", stderr);
		return 1;
	}
	return 0;
}

static int run(struct tool *t, int argc, char **argv)
{
	if (strcmp(argv[0], "import") == 0)
		return do_import(t, argv[1]);
	if (strcmp(argv[0], "add") == 0)
		return do_add(t, argc, argv);
	if (strcmp(argv[0], "remove") == 0)
		return do_remove(t, argv[1]);
	if (strcmp(argv[0], "list") == 0)
		return do_list(t);
	return do_rekey(t);
}

int cw_cmd_identity(int argc, char **argv)
{
	static const struct option options[] = { { "config", required_argument, NULL, 'c' },
		                                 { "json", no_argument, NULL, 'j' },
		                                 { "help", no_argument, NULL, 'h' },
		                                 { NULL, 0, NULL, 0 } };
	const char *config = "/etc/causeway/application.conf";
	struct tool t = { .lock_fd = -1 };
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (opt) {
		case 'c': config = optarg; break;
		case 'j': t.as_json = 1; break;
		case 'h': fputs(usage, stdout); return 0;
		default: fputs(usage, stderr); return 2;
		}
	}
	if (wrong_words(argc - optind, argv + optind))
		return 2;
	cw_log_setup(CW_LOG_ERROR, 0, 2);
	rc = open_table(&t, config);
	if (rc == 0)
		rc = run(&t, argc - optind, argv + optind);
	close_table(&t);
	return rc;
}
