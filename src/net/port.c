/*
 * port.c - the part of a listener on one worker: its socket, and the sessions from it.
 *
 * accept() is called here and not by libuv: the queue is emptied in bulk before any
 * session is made, so that a storm of devices does not overflow it while the first
 * ones log in, and whoever is refused costs no handle.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/inside.h"

#define BATCH 1024      /* accepted before the first of them is looked at */
#define BATCHES_MOST 4  /* then other sockets get a turn; the rest of the queue is reported again */
#define PAUSE_MS 100    /* after an error that repeats itself */

struct arrival {
	struct cw_addr peer;
	int fd;
};

static void on_acceptable(uv_poll_t *poll, int status, int events);

void cw_net_refused(struct cw_net_port *p, const struct cw_addr *source, enum cw_net_count what)
{
	char peer[CW_ADDR_TEXT];

	cw_net_count_refused(p->gate, what);
	cw_log(net_refused, "closed", CW_LS("listener", p->policy->conf.name), CW_LS("peer", cw_addr_format(source, peer)),
	       CW_LS("reason", cw_net_refused_text(what)));
}

static void log_accept_failed(struct cw_net_port *p, int err, const char *text)
{
	cw_net_count(p->gate, accept_failed);
	cw_log(net_accept_failed, text, CW_LS("listener", p->policy->conf.name), CW_LS("reason", uv_strerror(-err)));
}

static void on_pause_over(struct cw_timer *t)
{
	struct cw_net_port *p = cw_container_of(t, struct cw_net_port, pause);

	if (p->stopped)
		return;
	if (p->reserve < 0) /* lost to another thread when descriptors ran out */
		p->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	(void)uv_poll_start(&p->u.poll, UV_READABLE, on_acceptable);
}

static void pause_accepting(struct cw_net_port *p, int err)
{
	log_accept_failed(p, err, "accepting pauses for 100 ms");
	(void)uv_poll_stop(&p->u.poll);
	cw_timer_set(cw_worker_timers(p->worker), &p->pause, PAUSE_MS, on_pause_over);
}

/*
 * No descriptor is left. A connection left in the queue would wake the loop again and
 * again and its device would wait in vain, so the reserve is given up for a moment to
 * take it and to close it. 0, or an errno: the descriptor went to another thread.
 */
static int refuse_one(struct cw_net_port *p)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct cw_addr peer;
	int fd, err;

	if (p->reserve >= 0)
		close(p->reserve);
	fd = accept4(p->fd, (struct sockaddr *)&ss, &len, SOCK_CLOEXEC);
	err = errno;
	if (fd >= 0) {
		cw_addr_from_sockaddr(&peer, (const struct sockaddr *)&ss);
		cw_net_refused(p, &peer, CW_NET_COUNT_refused_descriptors);
		close(fd);
		err = 0;
	}
	p->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return err;
}

/* 1: try again. 0: nothing more for now. */
static int accept_error(struct cw_net_port *p, int err)
{
	if (err == EMFILE || err == ENFILE) {
		err = refuse_one(p);
		if (err == 0)
			return 1;
	}
	switch (err) {
	case EAGAIN:
		return 0;
	case EINTR: case ECONNABORTED: case EPROTO: /* that one has gone already */
		return 1;
	default:
		pause_accepting(p, err);
		return 0;
	}
}

/* Fill the batch; *ret_more tells whether the queue may hold more. */
static size_t take_batch(struct cw_net_port *p, struct arrival *batch, int *ret_more)
{
	size_t n = 0, tries;

	*ret_more = 1;
	for (tries = 0; tries < BATCH; tries++) {
		struct sockaddr_storage ss;
		socklen_t len = sizeof(ss);
		int fd = accept4(p->fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			cw_addr_from_sockaddr(&batch[n].peer, (const struct sockaddr *)&ss);
			batch[n++].fd = fd;
		} else if (!accept_error(p, errno)) {
			*ret_more = 0;
			break;
		}
	}
	return n;
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
	struct cw_net_port *p = cw_container_of(poll->data, struct cw_net_port, closing);
	struct arrival batch[BATCH];
	int more = 1, rounds;
	size_t n, i;

	(void)events;
	if (p->stopped)
		return;
	if (status < 0) {
		pause_accepting(p, -status);
		return;
	}
	for (rounds = 0; more && rounds < BATCHES_MOST && !p->stopped; rounds++) {
		n = take_batch(p, batch, &more);
		for (i = 0; i < n; i++)
			cw_net_session_accept(p, batch[i].fd, &batch[i].peer);
	}
}

/* ---- life -------------------------------------------------------------------- */

static void on_handle_gone(struct cw_closing *c)
{
	cw_net_port_step(cw_container_of(c, struct cw_net_port, closing));
}

static void close_descriptors(struct cw_net_port *p)
{
	if (p->fd >= 0)
		close(p->fd);
	if (p->reserve >= 0)
		close(p->reserve);
	p->fd = p->reserve = -1;
}

static int open_stream(struct cw_net_port *p)
{
	int rc = uv_poll_init(cw_worker_loop(p->worker), &p->u.poll, p->fd);

	if (rc < 0)
		return rc;
	cw_closing_add(&p->closing, (uv_handle_t *)&p->u.poll);
	p->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return uv_poll_start(&p->u.poll, UV_READABLE, on_acceptable);
}

void cw_net_port_open(struct cw_net_port *p)
{
	int rc;

	cw_closing_init(&p->closing, on_handle_gone);
	rc = p->policy->conf.transport == CW_TRANSPORT_UDP ? cw_net_udp_open(p) : open_stream(p);
	p->opened = 1;
	if (rc < 0)
		log_accept_failed(p, -rc, "this worker does not take part in listening");
}

void cw_net_port_stop(struct cw_net_port *p)
{
	if (p->stopped)
		return;
	p->stopped = 1;
	if (p->policy->conf.transport == CW_TRANSPORT_UDP)
		return; /* the socket still serves the sessions there are */
	cw_timer_stop(cw_worker_timers(p->worker), &p->pause);
	if (p->closing.open > 0)
		cw_closing_close((uv_handle_t *)&p->u.poll); /* polls no more from here on, so the descriptor may go at once */
	close_descriptors(p);
}

void cw_net_port_step(struct cw_net_port *p)
{
	if (p->dialler != NULL) {
		p->dialler->step(p);
		return;
	}
	if (!p->finishing || p->done || p->session_count > 0)
		return;
	if (p->closing.open > 0) {
		/* Either the poll handle, which is closing already, or that of UDP, no longer needed. */
		cw_closing_close(p->policy->conf.transport == CW_TRANSPORT_UDP ? (uv_handle_t *)&p->u.udp
		                                                               : (uv_handle_t *)&p->u.poll);
		return;
	}
	p->done = 1;
	close_descriptors(p); /* UDP, when not even a handle could be made for it */
	cw_map_fini(&p->sources);
	cw_net_policy_unref(p->policy);
	p->policy = NULL;
	p->gone(p);
}

void cw_net_port_finish(struct cw_net_port *p, int why, const char *reason)
{
	struct cw_list *e, *next;

	cw_net_port_stop(p);
	p->finishing = 1;
	/* Closing only marks and starts; no session goes away during this walk. */
	cw_list_each_safe(e, next, &p->sessions)
		cw_session_close(cw_container_of(e, struct cw_session, link), why, reason);
	cw_net_port_step(p);
}

void cw_net_port_set_policy(struct cw_net_port *p, struct cw_net_policy *policy)
{
	struct cw_net_policy *old = p->policy;

	if (p->done || p->stopped) {
		cw_net_policy_unref(policy);
		return;
	}
	if (policy->conf.transport != CW_TRANSPORT_UDP && policy->conf.backlog != old->conf.backlog)
		(void)listen(p->fd, policy->conf.backlog);
	p->policy = policy;
	cw_net_policy_unref(old);
}
