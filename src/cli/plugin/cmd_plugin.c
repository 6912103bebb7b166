/* cmd_plugin.c - `causeway plugin VERB`: what authors of protocols need. Each verb is a file cmd_*.c here with a row in the table here. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/plugin/plugin.h"
#include "plugin/load.h"

/* Constructors and cw_plugin_entry() together. */
#define LOAD_MOST_MS 10000u

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} verbs[] = {
	{ "describe", cw_plugin_describe, "name, version, ABI, capabilities, settings and counters of a plugin" },
	{ "new", cw_plugin_new, "a folder with a plugin to start from: builds, is tested, runs" },
	{ "test", cw_plugin_test, "hold a plugin to the rules of the ABI, and play wire scripts" },
	{ "replay", cw_plugin_replay, "a capture through a decoder: records, answers, refusals; --diff compares two versions" },
	{ "fuzz", cw_plugin_fuzz, "look for bytes that crash, hang or bloat a plugin; from wire scripts and captures" },
};

static void print_help(FILE *to)
{
	size_t i;

	fputs("usage: causeway plugin VERB ...\n\n", to);
	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		fprintf(to, "  %-10s %s\n", verbs[i].name, verbs[i].help);
	fputs("\n`causeway plugin VERB --help` says more.\n", to);
}

/* In a process of its own: load it, and say so in *ret_back. */
static void rehearse(const char *path, int *ret_back)
{
	const struct cw_plugin_desc *desc;
	struct cw_msg msg;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)dup2(null, STDOUT_FILENO); /* what it prints is printed when it is loaded here */
	(void)dup2(null, STDERR_FILENO);
	(void)cw_plugin_load(path, &desc, &msg);
	*ret_back = 1;
	_exit(0);
}

/* 1: it has ended, with *status; 0: it hangs, and has been killed. */
static int wait_for(pid_t pid, int *status)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	uint64_t until = cw_clock_ms() + LOAD_MOST_MS;
	pid_t got;

	do {
		got = waitpid(pid, status, WNOHANG);
		if (got == 0)
			(void)nanosleep(&pause, NULL);
	} while ((got == 0 || (got < 0 && errno == EINTR)) && cw_clock_ms() < until);
	if (got == pid)
		return 1;
	(void)kill(pid, SIGKILL);
	while (waitpid(pid, status, 0) < 0 && errno == EINTR)
		;
	return 0;
}

/*
 * An object that crashes, hangs or ends the process when it is loaded is not to take the tool along without a word. What comes
 * back is loaded again by the caller, who says what is wrong with it.
 */
static int load_safely(const char *path, const struct cw_plugin_desc **ret_desc, struct cw_msg *msg)
{
	static const char where[] = "while it was loaded, in cw_plugin_entry() or a constructor";
	int *back = mmap(NULL, sizeof(*back), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0, ended, is_back;
	pid_t pid;

	if (back == MAP_FAILED)
		return cw_fail(msg, CW_ENOMEM, "%s", cw_error_text(CW_ENOMEM));
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		rehearse(path, back);
	if (pid < 0) {
		(void)munmap(back, sizeof(*back));
		return cw_fail(msg, CW_ENOMEM, "cannot make a process: %s", strerror(errno));
	}
	ended = wait_for(pid, &status);
	is_back = *back;
	(void)munmap(back, sizeof(*back));
	if (is_back)
		return cw_plugin_load(path, ret_desc, msg);
	if (!ended)
		return cw_fail(msg, CW_EINVAL, "%s: does not come back %s", path, where);
	if (WIFSIGNALED(status))
		return cw_fail(msg, CW_EINVAL, "%s: died of signal %d (%s) %s", path, WTERMSIG(status), strsignal(WTERMSIG(status)), where);
	return cw_fail(msg, CW_EINVAL, "%s: ended the process with status %d %s", path, WEXITSTATUS(status), where);
}

int cw_plugin_find(const char *name, const char *plugin_dir, const struct cw_plugin_desc **ret_desc, struct cw_msg *msg)
{
	char dir[1024];

	if (strchr(name, '/') != NULL)
		return load_safely(name, ret_desc, msg);
	if (strlen(name) > 3 && strcmp(name + strlen(name) - 3, ".so") == 0) { /* dlopen() would look for it in the system's folders */
		(void)snprintf(dir, sizeof(dir), "./%s", name);
		return load_safely(dir, ret_desc, msg);
	}
	cw_plugin_dir(plugin_dir, dir, sizeof(dir));
	return cw_plugin_load_named(dir, name, ret_desc, msg);
}

int cw_cmd_plugin(int argc, char **argv)
{
	size_t i;

	if (argc < 2) {
		print_help(stderr);
		return 2;
	}
	if (strcmp(argv[1], "--help") == 0) {
		print_help(stdout);
		return 0;
	}
	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(argc - 1, argv + 1);
	fprintf(stderr, "causeway plugin: no such verb: %s\n", argv[1]);
	print_help(stderr);
	return 2;
}
