/* notify.c - see notify.h. */
#include "loop/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

void cw_notify_say(struct cw_notify *n, const char *what)
{
	/* Nobody waits for the manager: what it does not take at once is lost, and said again in the next state. */
	if (n->fd >= 0)
		(void)!send(n->fd, what, strlen(what), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void on_watchdog_due(struct cw_timer *t)
{
	struct cw_notify *n = cw_container_of(t, struct cw_notify, timer);

	cw_notify_say(n, "WATCHDOG=1");
	cw_timer_set(cw_worker_timers(n->control), t, n->every_ms, on_watchdog_due);
}

/* A path, or @name in the abstract space. */
static int connect_to(const char *name)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	size_t len = strlen(name);
	int fd;

	if (len < 2 || len >= sizeof(at.sun_path) || (name[0] != '/' && name[0] != '@'))
		return -1;
	memcpy(at.sun_path, name, len);
	if (name[0] == '@')
		at.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&at, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static uint64_t watchdog_us(void)
{
	const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

	if (us == NULL || (pid != NULL && strtol(pid, NULL, 10) != (long)getpid()))
		return 0;
	return strtoull(us, NULL, 10);
}

void cw_notify_open(struct cw_notify *n, struct cw_worker *control)
{
	const char *name = getenv("NOTIFY_SOCKET");

	memset(n, 0, sizeof(*n));
	n->control = control;
	n->fd = name == NULL ? -1 : connect_to(name);
	n->every_ms = n->fd < 0 ? 0 : watchdog_us() / 2000;
	(void)unsetenv("NOTIFY_SOCKET");
	(void)unsetenv("WATCHDOG_USEC");
	(void)unsetenv("WATCHDOG_PID");
	if (n->every_ms > 0)
		on_watchdog_due(&n->timer);
}

void cw_notify_close(struct cw_notify *n)
{
	if (n->every_ms > 0)
		cw_timer_stop(cw_worker_timers(n->control), &n->timer);
	n->every_ms = 0;
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
}
