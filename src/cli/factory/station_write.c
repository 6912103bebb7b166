/* station_write.c - see station.h. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/factory/station.h"

enum { PARTS = 5 };

struct environment {
	char part[PARTS][32 + DEVICE_ID_LEN];
	char **all; /* ours, then what this process has */
};

static int make_environment(struct environment *e, const struct triple_burn_cert *c)
{
	static const char *const names[PARTS] = { "PRODUCT_KEY=", "DEVICE_NAME=", "DEVICE_SECRET=", "PRODUCT_SECRET=", "DEVICE_ID=" };
	const char *const values[PARTS] = { c->product_key, c->device_name, c->device_secret, c->product_secret, c->device_id };
	size_t i, k, n = 0, count = 0;

	while (environ[count] != NULL)
		count++;
	e->all = cw_calloc(count + PARTS + 1, sizeof(char *));
	if (e->all == NULL)
		return CW_ENOMEM;
	for (i = 0; i < PARTS; i++) {
		(void)snprintf(e->part[i], sizeof(e->part[i]), "%s%s", names[i], values[i]);
		e->all[n++] = e->part[i];
	}
	for (i = 0; i < count; i++) {
		for (k = 0; k < PARTS; k++)
			if (strncmp(environ[i], names[k], strlen(names[k])) == 0)
				break;
		if (k == PARTS)
			e->all[n++] = environ[i];
	}
	return 0;
}

/*
 * A process group of its own, so that Ctrl-C stops the station after this board and not in the middle of it, and so that all of it can be
 * killed. Signals as they were before we came: threads of ours have them blocked. Its output is for people, as our standard error is.
 */
static int spawn(const char *command, char **environment, int in, pid_t *ret_pid)
{
	char sh[] = "sh", c[] = "-c", *argv[] = { sh, c, NULL, NULL };
	char *text = cw_strdup(command);
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, dflt;
	int rc;

	if (text == NULL)
		return ENOMEM;
	argv[2] = text;
	sigemptyset(&none);
	sigemptyset(&dflt);
	sigaddset(&dflt, SIGPIPE);
	sigaddset(&dflt, SIGINT);
	sigaddset(&dflt, SIGTERM);
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
	posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &dflt);
	rc = posix_spawn(ret_pid, "/bin/sh", &files, &attr, argv, environment);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	cw_free(text);
	return rc;
}

/* Feeds it, closing *in when all is said, and waits for its end. 0; ETIMEDOUT, or what went wrong. */
static int attend(int process, int *in, const char *text, int timeout_ms)
{
	uint64_t until = cw_clock_ms() + (uint64_t)timeout_ms, now;
	size_t left = strlen(text);
	struct pollfd p[2] = { { .fd = process, .events = POLLIN }, { .fd = *in, .events = POLLOUT } };
	ssize_t n;

	for (;;) {
		now = cw_clock_ms();
		if (now >= until)
			return ETIMEDOUT;
		if (poll(p, 2, (int)(until - now)) < 0 && errno != EINTR)
			return errno;
		if (p[0].revents != 0)
			return 0;
		if (p[1].revents == 0)
			continue;
		n = write(*in, text, left);
		if (n > 0) {
			text += n;
			left -= (size_t)n;
		}
		if (left == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) { /* it need not read it */
			(void)close(*in);
			p[1].fd = *in = -1;
		}
	}
}

static int run(pid_t pid, int in, const char *reply, int timeout_ms, struct cw_msg *msg)
{
	int process = pidfd_open(pid, 0), status = 0, rc;

	rc = process < 0 ? errno : attend(process, &in, reply, timeout_ms);
	if (in >= 0)
		(void)close(in);
	if (rc != 0)
		(void)kill(-pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (process >= 0)
		(void)close(process);
	if (rc == ETIMEDOUT)
		return cw_fail(msg, CW_ETIMEDOUT, "the command did not end within %d s and was killed", timeout_ms / 1000);
	if (rc != 0)
		return cw_fail(msg, CW_EIO, "cannot wait for the command: %s", strerror(rc));
	if (WIFSIGNALED(status))
		return cw_fail(msg, CW_EIO, "the command was ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	if (WEXITSTATUS(status) != 0)
		return cw_fail(msg, CW_EIO, "the command ended with status %d", WEXITSTATUS(status));
	return 0;
}

/* A path at the command's beginning that cannot be run. What else sh makes of a first word is sh's to say. */
static int check_command(const char *command, struct cw_msg *msg)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._+-";
	char path[PATH_MAX];
	size_t len;

	command += strspn(command, " \t");
	len = strspn(command, plain);
	if (len >= sizeof(path) || memchr(command, '/', len) == NULL || strchr(" \t", command[len]) == NULL)
		return 0;
	(void)snprintf(path, sizeof(path), "%.*s", (int)len, command);
	if (access(path, X_OK) == 0)
		return 0;
	return cw_fail(msg, CW_ENOENT, "--write: %s: %s; no certificate was asked for", path, strerror(errno));
}

int station_can_write(const char *command, struct cw_msg *msg)
{
	int process;

	if (check_command(command, msg) < 0)
		return CW_ENOENT;
	process = pidfd_open(getpid(), 0);

	if (process < 0)
		return cw_fail(msg, CW_EUNSUPPORTED, "this system cannot wait for a command (pidfd_open: %s); it takes Linux 5.3", strerror(errno));
	(void)close(process);
	return 0;
}

int station_write(const char *command, const struct triple_burn_cert *cert, const char *reply, int timeout_ms, struct cw_msg *msg)
{
	struct environment e;
	int in[2], rc;
	pid_t pid;

	if (pipe2(in, O_CLOEXEC) != 0)
		return cw_fail(msg, CW_EIO, "no pipe for the command: %s", strerror(errno));
	(void)fcntl(in[1], F_SETFL, O_NONBLOCK);
	rc = make_environment(&e, cert) < 0 ? ENOMEM : spawn(command, e.all, in[0], &pid);
	(void)close(in[0]);
	if (rc == 0) {
		rc = run(pid, in[1], reply, timeout_ms, msg);
	} else {
		(void)close(in[1]);
		rc = cw_fail(msg, CW_EIO, "the command cannot be started: %s", strerror(rc));
	}
	cw_free(e.all);
	explicit_bzero(&e, sizeof(e));
	return rc;
}
