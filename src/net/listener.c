/* listener.c - binding, announcing to the workers, reload and end; see listener.h and inside.h. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/inside.h"

#define BACKLOG_DEFAULT 4096

struct cw_listener {
	struct cw_worker *home;
	struct cw_net_policy *policy; /* the newest, a reference */
	struct cw_addr address;
	struct cw_net_gate gate;
	void (*gone)(void *arg);
	void *gone_arg;
	struct cw_mail gone_mail;
	atomic_uint ports_left;
	int stopped;
	unsigned count;
	struct cw_net_port ports[];
};

/* ---- sockets ------------------------------------------------------------------- */

static int fail_bind(const struct cw_addr *addr, int err, struct cw_msg *msg)
{
	char text[CW_ADDR_TEXT];

	(void)cw_addr_format(addr, text);
	switch (err) {
	case EADDRINUSE:
		return cw_fail(msg, CW_EEXIST, "%s is in use by another program or listener", text);
	case EACCES:
		return cw_fail(msg, CW_EACCESS, "%s may not be bound by this user; choose a port from 1024 on", text);
	case EADDRNOTAVAIL:
		return cw_fail(msg, CW_ECONF, "%s is no address of this machine", text);
	case EAFNOSUPPORT:
		return cw_fail(msg, CW_EUNSUPPORTED, "%s: this machine has no IPv%u", text, (unsigned)addr->family);
	default:
		return cw_fail(msg, cw_err_from_errno(err), "%s cannot be bound: %s", text, strerror(err));
	}
}

static void set_option(int fd, int level, int option, int value)
{
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

/* *addr gets the port that was found when it is 0. `shared`: several sockets may have this address. */
static int bind_socket(struct cw_addr *addr, int type, int shared, int *ret_fd, struct cw_msg *msg)
{
	static const uint8_t any[16];
	struct sockaddr_storage ss;
	socklen_t len = cw_addr_to_sockaddr(addr, &ss);
	int fd = socket(ss.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return fail_bind(addr, errno, msg);
	if (type == SOCK_STREAM) {
		set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1); /* connections of a former run may linger */
		set_option(fd, SOL_SOCKET, SO_REUSEPORT, shared);
		/* What accept() gives inherits these. */
		set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
		set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	}
	if (addr->family == 6)
		set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, memcmp(addr->ip, any, sizeof(any)) != 0);
	if (bind(fd, (struct sockaddr *)&ss, len) < 0 || getsockname(fd, (struct sockaddr *)&ss, &len) < 0) {
		rc = fail_bind(addr, errno, msg);
		close(fd);
		return rc;
	}
	cw_addr_from_sockaddr(addr, (const struct sockaddr *)&ss);
	*ret_fd = fd;
	return 0;
}

/*
 * SO_REUSEPORT would let a second daemon of the same user share the address and
 * take every other device, in silence. A socket without it is refused instead.
 */
static int probe(struct cw_addr addr, struct cw_msg *msg)
{
	int fd, rc;

	if (addr.port == 0)
		return 0;
	rc = bind_socket(&addr, SOCK_STREAM, 0, &fd, msg);
	if (rc == 0)
		close(fd);
	return rc;
}

static int bind_ports(struct cw_listener *l, struct cw_msg *msg)
{
	const struct cw_listener_conf *conf = &l->policy->conf;
	int udp = conf->transport == CW_TRANSPORT_UDP, rc;
	unsigned i;

	rc = udp ? 0 : probe(l->address, msg);
	if (rc < 0)
		return rc;
	for (i = 0; i < l->count; i++) {
		struct cw_net_port *p = &l->ports[i];

		rc = bind_socket(&l->address, udp ? SOCK_DGRAM : SOCK_STREAM, 1, &p->fd, msg);
		if (rc < 0)
			return rc;
		p->family = l->address.family;
		if (!udp && listen(p->fd, conf->backlog) < 0)
			return fail_bind(&l->address, errno, msg);
	}
	return 0;
}

/* ---- life ---------------------------------------------------------------------- */

static void on_open(struct cw_mail *mail)
{
	cw_net_port_open(cw_container_of(mail, struct cw_net_port, open_mail));
}

static void on_stop(struct cw_mail *mail)
{
	cw_net_port_stop(cw_container_of(mail, struct cw_net_port, stop_mail));
}

static void on_finish(struct cw_mail *mail)
{
	struct cw_net_port *p = cw_container_of(mail, struct cw_net_port, close_mail);

	cw_net_port_finish(p, p->why, p->reason);
}

static void free_listener(struct cw_listener *l)
{
	unsigned i;

	for (i = 0; i < l->count; i++) {
		if (l->ports[i].fd >= 0)
			close(l->ports[i].fd);
		cw_net_policy_unref(l->ports[i].policy);
	}
	cw_net_policy_unref(l->policy);
	cw_net_gate_fini(&l->gate);
	cw_free(l);
}

static void on_all_gone(struct cw_mail *mail)
{
	struct cw_listener *l = cw_container_of(mail, struct cw_listener, gone_mail);
	void (*gone)(void *arg) = l->gone;
	void *arg = l->gone_arg;

	free_listener(l);
	gone(arg);
}

static void on_port_gone(struct cw_net_port *p)
{
	struct cw_listener *l = p->listener;

	if (atomic_fetch_sub(&l->ports_left, 1) == 1)
		cw_post(l->home, &l->gone_mail, on_all_gone);
}

static int check(const struct cw_listener_conf *conf, struct cw_addr *address, struct cw_msg *msg)
{
	int rc = cw_addr_parse(conf->address, address, msg);

	if (rc < 0) {
		if (msg != NULL)
			cw_msg_wrap(msg, "address");
		return rc;
	}
	if (conf->transport != CW_TRANSPORT_TLS)
		return 0;
	if ((conf->tls.certificate == NULL || conf->tls.key == NULL) && conf->tls.key_store == NULL)
		return cw_fail(msg, CW_ECONF, "tls: transport tls needs tls.certificate and tls.key, two PEM files, or tls.keyStore");
	if (conf->tls.verify != CW_CLIENT_VERIFY_NONE && conf->tls.client_ca == NULL)
		return cw_fail(msg, CW_ECONF, "tls: verifying client certificates needs tls.clientCa, a PEM file");
	return 0;
}

static void init_ports(struct cw_listener *l, const struct cw_listener_env *env)
{
	int udp = l->policy->conf.transport == CW_TRANSPORT_UDP;
	const char *text = l->policy->conf.address;
	unsigned i;

	for (i = 0; i < l->count; i++) {
		struct cw_net_port *p = &l->ports[i];

		p->listener = l;
		p->gate = &l->gate;
		p->ops = env->ops;
		p->arg = env->arg;
		p->worker = env->workers[udp ? cw_hash_stable(text, strlen(text)) % env->count : i];
		p->policy = cw_net_policy_ref(l->policy);
		p->index = i;
		p->fd = p->reserve = -1;
		p->gone = on_port_gone;
		cw_list_init(&p->sessions);
		cw_map_init(&p->sources);
	}
}

static void wrap(const struct cw_listener_conf *conf, struct cw_msg *msg)
{
	if (msg != NULL)
		cw_msg_wrap(msg, "listener \"%s\"", conf->name);
}

static void log_listening(const struct cw_listener *l)
{
	static const char *const names[] = { "tcp", "udp", "tls", "serial" };
	char text[CW_ADDR_TEXT];

	cw_log(net_listening, "devices may connect", CW_LS("listener", cw_listener_name(l)),
	       CW_LS("transport", names[l->policy->conf.transport]), CW_LS("address", cw_addr_format(&l->address, text)),
	       CW_LU("sockets", l->count));
}

int cw_listener_new(const struct cw_listener_conf *conf, const struct cw_listener_env *env, struct cw_msg *msg,
                    struct cw_listener **ret_listener)
{
	unsigned count = conf->transport == CW_TRANSPORT_UDP ? 1 : env->count, i;
	struct cw_listener_conf full = *conf;
	struct cw_listener *l = cw_zalloc(sizeof(*l) + count * sizeof(l->ports[0]));
	int rc;

	if (l == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	l->home = env->home;
	if (full.backlog <= 0)
		full.backlog = BACKLOG_DEFAULT;
	rc = cw_net_gate_init(&l->gate);
	if (rc < 0) {
		cw_free(l);
		return cw_fail(msg, rc, "out of memory");
	}
	rc = check(conf, &l->address, msg);
	if (rc < 0)
		goto err;
	rc = cw_net_policy_new(&full, NULL, count, msg, &l->policy);
	if (rc < 0)
		goto err;
	l->count = count;
	atomic_init(&l->ports_left, count);
	init_ports(l, env);
	rc = bind_ports(l, msg);
	if (rc < 0)
		goto err;
	log_listening(l);
	for (i = 0; i < count; i++)
		cw_post(l->ports[i].worker, &l->ports[i].open_mail, on_open);
	*ret_listener = l;
	return 0;
err:
	wrap(conf, msg);
	free_listener(l);
	return rc;
}

int cw_listener_check(const struct cw_listener_conf *conf, struct cw_msg *msg)
{
	struct cw_net_policy *policy = NULL;
	struct cw_addr address;
	int rc = check(conf, &address, msg);

	if (rc == 0)
		rc = cw_net_policy_new(conf, NULL, 1, msg, &policy);
	cw_net_policy_unref(policy);
	if (rc < 0)
		wrap(conf, msg);
	return rc;
}

/* ---- reload -------------------------------------------------------------------- */

struct change {
	struct cw_mail mail;
	struct cw_net_port *port;
	struct cw_net_policy *policy; /* a reference, on its way to the port */
	struct change *next;
};

static void on_change(struct cw_mail *mail)
{
	struct change *c = cw_container_of(mail, struct change, mail);

	cw_net_port_set_policy(c->port, c->policy);
	cw_free(c);
}

/* One for each port, or none. */
static struct change *make_changes(struct cw_listener *l)
{
	struct change *all = NULL, *c;
	unsigned i;

	for (i = 0; i < l->count; i++) {
		c = cw_zalloc(sizeof(*c));
		if (c == NULL)
			goto err;
		c->port = &l->ports[i];
		c->next = all;
		all = c;
	}
	return all;
err:
	while (all != NULL) {
		c = all;
		all = c->next;
		cw_free(c);
	}
	return NULL;
}

int cw_listener_update(struct cw_listener *l, const struct cw_listener_conf *conf, struct cw_msg *msg)
{
	const struct cw_listener_conf *old = &l->policy->conf;
	struct cw_listener_conf full = *conf;
	struct cw_net_policy *policy;
	struct cw_addr address;
	struct change *c, *next;
	int rc;

	if (conf->transport != old->transport || strcmp(conf->name, old->name) != 0 || strcmp(conf->address, old->address) != 0) {
		rc = cw_fail(msg, CW_EINVAL, "name, transport or address changed: close it and make a new one");
		goto err;
	}
	if (full.backlog <= 0)
		full.backlog = BACKLOG_DEFAULT;
	rc = check(conf, &address, msg);
	if (rc < 0)
		goto err;
	rc = cw_net_policy_new(&full, NULL, l->count, msg, &policy);
	if (rc < 0)
		goto err;
	c = make_changes(l);
	if (c == NULL) {
		cw_net_policy_unref(policy);
		rc = cw_fail(msg, CW_ENOMEM, "out of memory");
		goto err;
	}
	for (; c != NULL; c = next) {
		next = c->next; /* the mail may be read and freed at once */
		c->policy = cw_net_policy_ref(policy);
		cw_post(c->port->worker, &c->mail, on_change);
	}
	cw_net_policy_unref(l->policy);
	l->policy = policy;
	return 0;
err:
	wrap(conf, msg);
	return rc;
}

/* ---- end ----------------------------------------------------------------------- */

void cw_listener_stop(struct cw_listener *l)
{
	unsigned i;

	if (l->stopped)
		return;
	l->stopped = 1;
	for (i = 0; i < l->count; i++)
		cw_post(l->ports[i].worker, &l->ports[i].stop_mail, on_stop);
}

void cw_listener_close(struct cw_listener *l, int why, const char *reason, void (*gone)(void *arg), void *arg)
{
	unsigned i, count = l->count; /* with the last post the listener may be gone */

	l->gone = gone;
	l->gone_arg = arg;
	for (i = 0; i < count; i++) {
		l->ports[i].why = why;
		l->ports[i].reason = reason;
		cw_post(l->ports[i].worker, &l->ports[i].close_mail, on_finish);
	}
}

/* ---- asking -------------------------------------------------------------------- */

const char *cw_listener_name(const struct cw_listener *l)
{
	return l->policy->conf.name;
}

const struct cw_addr *cw_listener_address(const struct cw_listener *l)
{
	return &l->address;
}

void cw_listener_counts(const struct cw_listener *l, struct cw_listener_counts *ret_counts)
{
	ret_counts->open = atomic_load_explicit(&l->gate.open, memory_order_relaxed);
#define READ_COUNT(name) ret_counts->name = atomic_load_explicit(&l->gate.counts[CW_NET_COUNT_##name], memory_order_relaxed);
	CW_NET_COUNTS(READ_COUNT)
#undef READ_COUNT
}
