/*
 * cmd_new.c - `causeway plugin new`: a folder with a plugin that builds, is tested and runs.
 *
 * It is made from plugins/skeleton, which is built and tested with this tree and lies in this program as it is there;
 * only the name is replaced. So what authors start from stays right.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/plugin/plugin.h"

#define NAME_MOST 31u     /* as the descriptor's, see load.c */
#define CONTROL_MOST 107u /* a unix socket's path */

/* The files, as cw_embed() has made arrays of them: name of the array, path in the new folder. */
#define FILES(X)                                                                                                       \
	X(cw_new_plugin_c, "plugin.c")                                                                                 \
	X(cw_new_skeleton_c, "skeleton.c")                                                                             \
	X(cw_new_skeleton_h, "skeleton.h")                                                                             \
	X(cw_new_session_wire, "tests/session.wire")                                                                   \
	X(cw_new_commands_wire, "tests/commands.wire")                                                                 \
	X(cw_new_refused_wire, "tests/refused.wire")                                                                   \
	X(cw_new_makefile, "Makefile")                                                                                 \
	X(cw_new_cmakelists, "CMakeLists.txt")                                                                         \
	X(cw_new_readme, "README.md")                                                                                  \
	X(cw_new_gitignore, ".gitignore")                                                                              \
	X(cw_new_application, "application.conf")                                                                      \
	X(cw_new_devices, "devices.conf")

#define DECLARE(array, path)                                                                                           \
	extern const unsigned char array[];                                                                            \
	extern const size_t array##_len;
FILES(DECLARE)

static const struct {
	const char *path;
	const unsigned char *text;
	const size_t *len;
} files[] = {
#define ROW(array, path) { path, array, &array##_len },
	FILES(ROW)
};

struct fresh {
	const char *name;
	char dir[PATH_MAX], control[PATH_MAX];
	struct cw_msg msg;
};

/* ---- names ------------------------------------------------------------------------------- */

static int check_name(const char *name, struct cw_msg *msg)
{
	static const char *const taken[] = { "plugin", "causeway", "cw", "conform" };
	size_t i, n = strlen(name);

	for (i = 0; i < n; i++)
		if (!((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9')))
			break;
	if (n == 0 || n > NAME_MOST || i < n || name[0] < 'a')
		return cw_fail(msg, CW_EINVAL,
			       "'%.60s' cannot name a protocol: 1 to %u lower-case letters and digits, a letter first",
			       name, NAME_MOST);
	for (i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		if (strcmp(taken[i], name) == 0)
			return cw_fail(msg, CW_EINVAL, "'%s' is the name of something else in the folder; take another",
				       name);
	return 0;
}

static int part_of_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* What becomes of the text at `at`: how long it is there, and what stands for it in the new file; 0: it stays. */
static size_t replaced(const struct fresh *f, const char *text, size_t at, size_t len, char out[PATH_MAX])
{
	static const struct {
		const char *word;
		size_t n;
		int form;
	} words[] = {
		{ "skeleton", 8, 0 }, { "SKELETON", 8, 1 }, { "Skeleton", 8, 2 }, { "sk_", 3, 3 }, { "@CONTROL@", 9, 4 }
	};
	size_t i, k;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (len - at < words[i].n || memcmp(text + at, words[i].word, words[i].n) != 0)
			continue;
		if (words[i].form == 3 && at > 0 && part_of_word(text[at - 1]))
			continue;
		if (words[i].form == 4) {
			(void)snprintf(out, PATH_MAX, "%s", f->control);
			return words[i].n;
		}
		(void)snprintf(out, PATH_MAX, "%s%s", f->name, words[i].form == 3 ? "_" : "");
		for (k = 0; out[k] != '\0'; k++)
			if (out[k] >= 'a' && out[k] <= 'z' && (words[i].form == 1 || (words[i].form == 2 && k == 0)))
				out[k] = (char)(out[k] - 'a' + 'A');
		return words[i].n;
	}
	return 0;
}

/* ---- files --------------------------------------------------------------------------------- */

static void write_text(const struct fresh *f, FILE *to, const char *text, size_t len)
{
	char out[PATH_MAX];
	size_t at = 0, n;

	while (at < len) {
		n = replaced(f, text, at, len, out);
		if (n == 0)
			fputc(text[at++], to);
		else
			fputs(out, to);
		at += n;
	}
}

static int write_file(struct fresh *f, const char *path, const unsigned char *text, size_t len)
{
	char name[PATH_MAX + 100], base[80];
	const char *end = strstr(path, "skeleton");
	FILE *to;

	(void)snprintf(base, sizeof(base), "%s", path);
	if (end != NULL)
		(void)snprintf(base, sizeof(base), "%s%s", f->name, end + strlen("skeleton"));
	(void)snprintf(name, sizeof(name), "%s/%s", f->dir, base);
	to = fopen(name, "wxe");
	if (to == NULL)
		return cw_fail(&f->msg, CW_EIO, "cannot write %s: %s", name, strerror(errno));
	if (strstr(path, ".conf") != NULL)
		(void)fchmod(fileno(to), 0600); /* secrets will stand there */
	write_text(f, to, (const char *)text, len);
	if (ferror(to) | fclose(to))
		return cw_fail(&f->msg, CW_EIO, "cannot write %s: %s", name, strerror(errno));
	return 0;
}

static int make_folder(struct fresh *f, const char *dir)
{
	char tests[PATH_MAX + 8];

	if (mkdir(dir, 0777) < 0)
		return errno == EEXIST ? cw_fail(&f->msg, CW_EEXIST, "%s exists already; nothing was changed", dir)
				       : cw_fail(&f->msg, CW_EIO, "cannot make %s: %s", dir, strerror(errno));
	if (realpath(dir, f->dir) == NULL)
		return cw_fail(&f->msg, CW_EIO, "%s: %s", dir, strerror(errno));
	(void)snprintf(tests, sizeof(tests), "%s/tests", f->dir);
	if (mkdir(tests, 0777) < 0)
		return cw_fail(&f->msg, CW_EIO, "cannot make %s: %s", tests, strerror(errno));
	/* The control socket's path is absolute and short, or there is none. */
	if (strlen(f->dir) + strlen("/control.sock") <= CONTROL_MOST && strpbrk(f->dir, "\"\\\n") == NULL)
		(void)snprintf(f->control, sizeof(f->control), "unix:%.*s/control.sock", (int)CONTROL_MOST, f->dir);
	return 0;
}

static int make_plugin(struct fresh *f, const char *dir)
{
	size_t i;
	int rc = make_folder(f, dir);

	for (i = 0; i < sizeof(files) / sizeof(files[0]) && rc == 0; i++)
		rc = write_file(f, files[i].path, files[i].text, *files[i].len);
	return rc;
}

static const char usage[] =
	"usage: causeway plugin new NAME [DIR]\n"
	"\n"
	"Makes the folder DIR (default: NAME) with a small but complete plugin for the protocol NAME: decoder, wire\n"
	"scripts, Makefile, CMakeLists.txt, README, and a configuration with which causewayd runs it at once. NAME is "
	"1\n"
	"to 31 lower-case letters and digits, a letter first. It is built against the headers that pkg-config or "
	"CMake\n"
	"find as causeway-plugin and CausewayPlugin. C; its README says what C++ takes. Exit status: 0; 1 with "
	"nothing\n"
	"made or a reason; 2 wrong command line.\n";

int cw_plugin_new(int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	struct fresh f = { .control = "" };
	const char *dir;
	int opt, rc;

	optind = 1;
	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		fputs(usage, opt == 'h' ? stdout : stderr);
		return opt == 'h' ? 0 : 2;
	}
	if (optind >= argc || optind + 2 < argc) {
		fputs(usage, stderr);
		return 2;
	}
	f.name = argv[optind];
	dir = optind + 1 < argc ? argv[optind + 1] : f.name;
	rc = check_name(f.name, &f.msg);
	if (rc == 0)
		rc = make_plugin(&f, dir);
	if (rc < 0) {
		fprintf(stderr, "causeway plugin new: %s\n", f.msg.text);
		return 1;
	}
	printf("%s: a plugin for the protocol %s. Next: cd %s && make check\n", dir, f.name, dir);
	return 0;
}
