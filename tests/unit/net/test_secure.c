/* Listeners over TLS: real sockets, certificates made here, a blocking client of ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "certs.h"
#include "fixture.h"
#include "tls/tls.h"

static struct certs certs;

/* ---- a client ------------------------------------------------------------------- */

struct client {
	int fd;
	struct cw_tls_ctx *ctx;
	struct cw_tls *tls;
	uint8_t got[65536];
	size_t len;   /* bytes in got */
	size_t total; /* bytes that came in all */
};

static int on_out(void *arg, struct cw_bytes cipher)
{
	struct client *c = arg;

	/* The server may have gone already; the next read says so. */
	(void)send(c->fd, cipher.ptr, cipher.len, MSG_NOSIGNAL);
	return 0;
}

static int on_plain(void *arg, struct cw_bytes plain)
{
	struct client *c = arg;

	assert_true(c->len + plain.len <= sizeof(c->got));
	memcpy(c->got + c->len, plain.ptr, plain.len);
	c->len += plain.len;
	c->total += plain.len;
	return 0;
}

static const struct cw_tls_ops client_ops = { on_out, on_plain };

/* Read once. 0, or CW_ECLOSED, or what TLS says. */
static int client_read(struct client *c)
{
	uint8_t cipher[4096];
	ssize_t n = recv(c->fd, cipher, sizeof(cipher), 0);

	if (n < 0 && errno != ECONNRESET)
		fail_msg("waited in vain for the server: %s", strerror(errno));
	return n <= 0 ? CW_EIO : cw_tls_feed(c->tls, cw_bytes_of(cipher, (size_t)n));
}

/* Handshake over a connected socket; `name` is the client's certificate or NULL. 0 when it is up. */
static int client_open(struct client *c, int fd, const char *name)
{
	struct cw_tls_conf conf = { .ca = certs_path(&certs, "ca.pem"), .verify = CW_TLS_VERIFY_REQUIRED };
	struct cw_msg msg = { "" };
	char file[64];
	int rc;

	memset(c, 0, sizeof(*c));
	c->fd = fd;
	if (name != NULL) {
		conf.certificate = certs_path(&certs, certs_name(file, name, "pem"));
		conf.key = certs_path(&certs, certs_name(file, name, "key"));
	}
	if (cw_tls_client_new(&conf, &msg, &c->ctx) < 0)
		fail_msg("%s", msg.text);
	assert_int_equal(cw_tls_new(c->ctx, NULL, &client_ops, c, &c->tls), 0);
	rc = cw_tls_start(c->tls);
	while (rc == 0 && !cw_tls_up(c->tls))
		rc = client_read(c);
	return rc;
}

static void client_expect(struct client *c, const char *text)
{
	size_t len = strlen(text);

	while (c->len < len)
		assert_int_equal(client_read(c), 0);
	assert_int_equal(c->len, len);
	assert_memory_equal(c->got, text, len);
	c->len = 0;
}

static void client_echo(struct client *c, const char *text)
{
	assert_int_equal(cw_tls_send(c->tls, cw_bytes_text(text)), 0);
	client_expect(c, text);
}

static void client_free(struct client *c)
{
	close(c->fd);
	cw_tls_free(c->tls);
	cw_tls_ctx_free(c->ctx);
}

/* ---- tests ------------------------------------------------------------------------ */

static struct cw_listener_conf tls_conf(void)
{
	struct cw_listener_conf conf = fx_conf();

	conf.transport = CW_TRANSPORT_TLS;
	conf.tls.certificate = certs_path(&certs, "server.pem");
	conf.tls.key = certs_path(&certs, "server.key");
	return conf;
}

static void a_device_is_answered_over_tls(void **state)
{
	struct cw_listener_conf conf = tls_conf();
	struct cw_listener *l = fx_listen(&conf);
	struct client c;
	int i;

	(void)state;
	assert_int_equal(client_open(&c, fx_connect(l), NULL), 0);
	for (i = 0; i < 20; i++)
		client_echo(&c, "hello");
	fx_wait(fx.opened == 1);
	assert_string_equal(fx.subject, "");
	cw_tls_goodbye(c.tls);
	fx_wait(fx.closed == 1);
	assert_int_equal(fx.why, CW_ECLOSED);
	assert_string_equal(fx.reason, "closed by the peer");
	client_free(&c);
	fx_close(l);
}

static void many_devices_shake_hands_on_both_workers(void **state)
{
	struct cw_listener_conf conf = tls_conf();
	struct cw_listener *l = fx_listen(&conf);
	static struct client clients[24];
	int i;

	(void)state;
	for (i = 0; i < 24; i++)
		assert_int_equal(client_open(&clients[i], fx_connect(l), NULL), 0);
	for (i = 0; i < 24; i++)
		client_echo(&clients[i], "hello");
	fx_wait(fx.opened == 24);
	assert_true(fx.on_worker[0] > 0 && fx.on_worker[1] > 0);
	for (i = 0; i < 24; i++)
		client_free(&clients[i]);
	fx_wait(fx.closed == 24);
	fx_close(l);
}

static void a_client_certificate_is_required_and_its_subject_known(void **state)
{
	struct cw_listener_conf conf = tls_conf();
	struct cw_listener *l;
	struct client c;

	(void)state;
	conf.tls.client_ca = certs_path(&certs, "ca.pem");
	conf.tls.verify = CW_CLIENT_VERIFY_REQUIRED;
	l = fx_listen(&conf);
	assert_int_equal(client_open(&c, fx_connect(l), "client"), 0);
	client_echo(&c, "hello");
	fx_wait(fx.opened == 1);
	assert_string_equal(fx.subject, "CN=terminal-7");
	client_free(&c);
	fx_wait(fx.closed == 1);
	assert_int_not_equal(client_open(&c, fx_connect(l), "foreign"), 0);
	client_free(&c);
	assert_int_not_equal(client_open(&c, fx_connect(l), NULL), 0);
	client_free(&c);
	assert_int_equal(fx_counts(l).tls_failed, 2);
	fx_close(l);
	assert_int_equal(fx.opened, 1);
}

static void a_changed_certificate_holds_for_new_connections(void **state)
{
	struct cw_listener_conf conf = tls_conf();
	struct cw_listener *l = fx_listen(&conf);
	struct cw_msg msg = { "" };
	struct client old, new;
	char subject[64];

	(void)state;
	assert_int_equal(client_open(&old, fx_connect(l), NULL), 0);
	assert_string_equal(cw_tls_peer_subject(old.tls, subject, sizeof(subject)), "CN=localhost");
	conf.tls.certificate = certs_path(&certs, "renewed.pem");
	assert_int_equal(cw_listener_update(l, &conf, &msg), CW_ECONF); /* the key is still the old one */
	assert_non_null(strstr(msg.text, "renewed.pem"));
	conf.tls.key = certs_path(&certs, "renewed.key");
	assert_int_equal(cw_listener_update(l, &conf, &msg), 0);
	fx_settle();
	assert_int_equal(client_open(&new, fx_connect(l), NULL), 0);
	assert_string_equal(cw_tls_peer_subject(new.tls, subject, sizeof(subject)), "CN=renewed");
	client_echo(&old, "still here");
	client_echo(&new, "me too");
	client_free(&old);
	client_free(&new);
	fx_wait(fx.closed == 2);
	fx_close(l);
}

static void what_is_not_tls_is_closed_and_counted(void **state)
{
	struct cw_listener_conf conf = tls_conf();
	struct cw_listener *l = fx_listen(&conf);
	int fd = fx_connect(l);

	(void)state;
	fx_send(fd, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 35);
	fx_expect_end(fd);
	assert_int_equal(fx_counts(l).tls_failed, 1);
	fd = fx_connect(l);
	fx_send(fd, "\x16\x03\x01", 3);
	shutdown(fd, SHUT_WR);
	fx_expect_end(fd);
	assert_int_equal(fx_counts(l).tls_failed, 2);
	fx_close(l);
	assert_int_equal(fx.opened, 0);
}

static void a_handshake_that_never_ends_meets_its_deadline(void **state)
{
	struct cw_listener_conf conf = tls_conf();
	struct cw_listener *l;

	(void)state;
	conf.limits.identify_ms = 100;
	l = fx_listen(&conf);
	fx_expect_end(fx_connect(l));
	assert_int_equal(fx_counts(l).tls_failed, 1);
	fx_close(l);
	assert_int_equal(fx.opened, 0);
}

static void send_until_refused(void *arg)
{
	static const uint8_t block[8192];
	int rc;

	while ((rc = cw_session_send(arg, cw_bytes_of(block, sizeof(block)))) == 0)
		;
	assert_int_equal(rc, CW_ELIMIT);
}

static void a_peer_that_never_reads_is_closed_with_elimit(void **state)
{
	struct cw_listener_conf conf = tls_conf();
	struct cw_listener *l;
	struct client c;

	(void)state;
	conf.limits.bytes_per_connection = 32 * 1024;
	l = fx_listen(&conf);
	assert_int_equal(client_open(&c, fx_connect(l), NULL), 0);
	fx_wait(fx.opened == 1);
	fx_on_session(send_until_refused);
	fx_wait(fx.closed == 1);
	assert_int_equal(fx.why, CW_ELIMIT);
	assert_int_equal(fx_counts(l).closed_bytes, 1);
	client_free(&c);
	fx_close(l);
}

#define BLOCKS 30

static void send_and_close(void *arg)
{
	static const uint8_t block[20000];
	int i;

	for (i = 0; i < BLOCKS; i++)
		assert_int_equal(cw_session_send(arg, cw_bytes_of(block, sizeof(block))), 0);
	cw_session_close(arg, CW_EREFUSED, "goodbye");
}

static void closing_writes_what_is_kept_and_says_goodbye(void **state)
{
	struct cw_listener_conf conf = tls_conf();
	struct cw_listener *l;
	struct client c;
	int rc;

	(void)state;
	conf.limits.bytes_per_connection = 8 * 1024 * 1024;
	l = fx_listen(&conf);
	assert_int_equal(client_open(&c, fx_connect(l), NULL), 0);
	fx_wait(fx.opened == 1);
	fx_on_session(send_and_close);
	do {
		c.len = 0;
		rc = client_read(&c);
	} while (rc == 0);
	assert_int_equal(rc, CW_ECLOSED); /* close_notify, not a cut */
	assert_int_equal(c.total, BLOCKS * 20000);
	fx_wait(fx.closed == 1);
	client_free(&c);
	fx_close(l);
}

static void behind_a_proxy_the_header_comes_before_the_handshake(void **state)
{
	struct cw_listener_conf conf = tls_conf();
	struct cw_listener *l;
	struct client c;
	int fd;

	(void)state;
	conf.proxy_from = (struct cw_strings){ (const char *const[]){ "127.0.0.1" }, 1 };
	l = fx_listen(&conf);
	fd = fx_connect(l);
	fx_send(fd, "PROXY TCP4 192.0.2.7 203.0.113.1 56324 443\r\n", 44);
	assert_int_equal(client_open(&c, fd, NULL), 0);
	client_echo(&c, "hello");
	fx_wait(fx.opened == 1);
	assert_string_equal(fx.peer, "192.0.2.7:56324");
	client_free(&c);
	fx_wait(fx.closed == 1);
	fx_close(l);
}

static void stopping_ends_sessions_in_every_stage(void **state)
{
	struct cw_listener_conf conf = tls_conf();
	struct cw_listener *l;
	struct client c;
	int mute, half;

	(void)state;
	conf.proxy_from = (struct cw_strings){ (const char *const[]){ "127.0.0.2" }, 1 };
	l = fx_listen(&conf);
	mute = fx_connect(l);
	half = fx_socket(SOCK_STREAM, "127.0.0.2", cw_listener_address(l));
	fx_send(half, "PROXY ", 6);
	assert_int_equal(client_open(&c, fx_connect(l), NULL), 0);
	fx_wait(fx.opened == 1);
	while (fx_counts(l).open < 3)
		fx_settle();
	fx_close(l);
	fx_expect_end(mute);
	fx_expect_end(half);
	assert_int_equal(client_read(&c), CW_ECLOSED);
	assert_int_equal(fx.closed, 1);
	client_free(&c);
}

/* Allocations of a session on its worker fail in turn. */
static int fail_nth;

static void arm_failure(void *arg)
{
	(void)arg;
	cw_mem_fail_at(fail_nth);
}

static void read_failure(void *arg)
{
	*(int *)arg = cw_mem_failed();
	cw_mem_fail_at(-1);
}

static void a_session_survives_every_failing_allocation(void **state)
{
	struct cw_listener_conf conf = tls_conf();
	struct cw_listener *l = fx_listen_on(&conf, 1);
	int failed = 1, rc;

	(void)state;
	fx_settle();
	for (fail_nth = 0; failed; fail_nth++) {
		struct client c;

		fx_on(fx.workers[0], arm_failure, NULL);
		rc = client_open(&c, fx_connect(l), NULL);
		if (rc == 0)
			client_echo(&c, "hello");
		client_free(&c);
		while (fx_counts(l).open != 0)
			fx_settle();
		fx_settle();
		fx_on(fx.workers[0], read_failure, &failed);
	}
	assert_true(fail_nth > 2);
	fx_close(l);
}

static int make_certs(void **state)
{
	(void)state;
	certs_init(&certs);
	certs_make(&certs, "ca", "CN=test authority", NULL, 1);
	certs_make(&certs, "server", "CN=localhost", "ca", 0);
	certs_make(&certs, "renewed", "CN=renewed", "ca", 0);
	certs_make(&certs, "client", "CN=terminal-7", "ca", 0);
	certs_make(&certs, "foreign-ca", "CN=another authority", NULL, 1);
	certs_make(&certs, "foreign", "CN=terminal-7", "foreign-ca", 0);
	return 0;
}

static int remove_certs(void **state)
{
	(void)state;
	certs_fini(&certs);
	return 0;
}

#define net_test(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		net_test(a_device_is_answered_over_tls),
		net_test(many_devices_shake_hands_on_both_workers),
		net_test(a_client_certificate_is_required_and_its_subject_known),
		net_test(a_changed_certificate_holds_for_new_connections),
		net_test(what_is_not_tls_is_closed_and_counted),
		net_test(a_handshake_that_never_ends_meets_its_deadline),
		net_test(a_peer_that_never_reads_is_closed_with_elimit),
		net_test(closing_writes_what_is_kept_and_says_goodbye),
		net_test(behind_a_proxy_the_header_comes_before_the_handshake),
		net_test(stopping_ends_sessions_in_every_stage),
		net_test(a_session_survives_every_failing_allocation),
	};

	return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
