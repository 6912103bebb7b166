/*
 * peer.h - runs tests/lib/mini_platform.py beside a test: commands go to its stdin,
 * its lines are waited for. The test's own loop keeps turning meanwhile.
 */
#ifndef CW_TESTS_PEER_H
#define CW_TESTS_PEER_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define PEER_LINES 4000
#define PEER_PATIENCE_MS 45000 /* only ever reached when something is broken, or the machine very busy */

struct peer {
	pid_t pid;
	int in, out;
	uv_loop_t *loop;
	char *lines[PEER_LINES]; /* all it ever said */
	int count, read;         /* `read`: where peer_expect() goes on */
	char part[1 << 20];
	size_t len;
};

static inline uint64_t peer_clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* With TLS when `certificate` is given, asking for a client's certificate when `client_ca` is. */
static inline void peer_start(struct peer *p, uv_loop_t *loop, const char *certificate, const char *key,
			      const char *client_ca)
{
	int to[2], from[2];

	memset(p, 0, sizeof(*p));
	p->loop = loop;
	if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC | O_NONBLOCK) != 0)
		abort();
	p->pid = fork();
	if (p->pid == 0) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		fcntl(1, F_SETFL, fcntl(1, F_GETFL) & ~O_NONBLOCK);
		execl("/usr/bin/python3", "python3", "tests/lib/mini_platform.py", certificate, key, client_ca,
		      (char *)NULL);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	p->in = to[1];
	p->out = from[0];
}

static inline void peer_stop(struct peer *p)
{
	int i, status;

	close(p->in);
	close(p->out);
	waitpid(p->pid, &status, 0);
	for (i = 0; i < p->count; i++)
		free(p->lines[i]);
}

/* Take what is there and let the loop turn once. */
static inline void peer_turn(struct peer *p)
{
	ssize_t n = read(p->out, p->part + p->len, sizeof(p->part) - p->len - 1);
	char *line = p->part, *end;

	if (n > 0)
		p->len += (size_t)n;
	p->part[p->len] = '\0';
	while ((end = strchr(line, '\n')) != NULL) {
		if (p->count == PEER_LINES)
			abort();
		p->lines[p->count++] = strndup(line, (size_t)(end - line));
		line = end + 1;
	}
	p->len -= (size_t)(line - p->part);
	memmove(p->part, line, p->len);
	uv_run(p->loop, UV_RUN_NOWAIT);
	usleep(200);
}

/* The next line, from where the last call stopped, that has both texts in it; NULL when it does not come. */
static inline const char *peer_find(struct peer *p, const char *a, const char *b, uint64_t patience_ms)
{
	uint64_t end = peer_clock_ms() + patience_ms;

	for (;;) {
		for (; p->read < p->count; p->read++)
			if (strstr(p->lines[p->read], a) != NULL && strstr(p->lines[p->read], b) != NULL)
				return p->lines[p->read++];
		if (peer_clock_ms() > end)
			return NULL;
		peer_turn(p);
	}
}

static inline const char *peer_expect(struct peer *p, const char *a, const char *b)
{
	const char *line = peer_find(p, a, b, PEER_PATIENCE_MS);

	if (line == NULL)
		fprintf(stderr, "the platform never said %s .. %s\n", a, b);
	return line;
}

static inline int peer_count(struct peer *p, const char *a, const char *b)
{
	int i, n = 0;

	for (i = 0; i < p->count; i++)
		if (strstr(p->lines[i], a) != NULL && strstr(p->lines[i], b) != NULL)
			n++;
	return n;
}

/* Send a command and wait until it was done; lines said meanwhile stay unread. */
static inline void peer_do(struct peer *p, const char *json)
{
	int from = p->count, i;
	uint64_t end = peer_clock_ms() + PEER_PATIENCE_MS;

	if (write(p->in, json, strlen(json)) < 0 || write(p->in, "\n", 1) < 0)
		abort();
	while (peer_clock_ms() < end) {
		for (i = from; i < p->count; i++)
			if (strncmp(p->lines[i], "{\"ev\":\"done\"", 12) == 0)
				return;
		peer_turn(p);
	}
	abort();
}

/* For tests with a struct peer at `t.peer`. */
#define WAIT(cond)                                                                                                     \
	do {                                                                                                           \
		uint64_t end_ = peer_clock_ms() + PEER_PATIENCE_MS;                                                    \
		while (!(cond) && peer_clock_ms() < end_)                                                              \
			peer_turn(&t.peer);                                                                            \
		if (!(cond))                                                                                           \
			fail_msg("did not happen: %s", #cond);                                                         \
	} while (0)

/* Two certificates that sign themselves, made for one run: of the peer, for localhost, and another. */
struct peer_pems {
	char dir[200], certificate[220], key[220], other[220], other_key[220];
};

static inline int peer_pem(const char *name, const char *certificate, const char *key)
{
	char line[900];

	(void)snprintf(line, sizeof(line),
		       "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=%s -addext subjectAltName=DNS:%s "
		       "-out %s -keyout %s >/dev/null 2>&1",
		       name, name, certificate, key);
	return system(line);
}

/* 0, or that something failed. Ends with peer_pems_remove(). */
static inline int peer_pems_make(struct peer_pems *p, const char *other_name)
{
	(void)snprintf(p->dir, sizeof(p->dir), "%s/causeway-test-XXXXXX", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
	if (mkdtemp(p->dir) == NULL)
		return -1;
	(void)snprintf(p->certificate, sizeof(p->certificate), "%s/peer.pem", p->dir);
	(void)snprintf(p->key, sizeof(p->key), "%s/peer.key", p->dir);
	(void)snprintf(p->other, sizeof(p->other), "%s/other.pem", p->dir);
	(void)snprintf(p->other_key, sizeof(p->other_key), "%s/other.key", p->dir);
	return peer_pem("localhost", p->certificate, p->key) != 0 ? -1 : peer_pem(other_name, p->other, p->other_key);
}

static inline int peer_pems_remove(const struct peer_pems *p)
{
	(void)unlink(p->certificate);
	(void)unlink(p->key);
	(void)unlink(p->other);
	(void)unlink(p->other_key);
	return rmdir(p->dir);
}

#endif
