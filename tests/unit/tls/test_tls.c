/* TLS over byte pipes: a client and a server of ours joined in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "certs.h"
#include "tls/tls.h"

/* One end: what it wants to send lies in `wire` until carry() hands it to the other. */
struct end {
	struct cw_tls *tls;
	uint8_t *wire;
	size_t wire_len, wire_size;
	uint8_t got[200000];
	size_t got_len;
	int out_rc, plain_rc;
	int rc; /* the first error of feeding */
};

static struct certs certs;
static struct cw_tls_ctx *server_ctx, *client_ctx;
static struct end server, client;

static int on_out(void *arg, struct cw_bytes cipher)
{
	struct end *e = arg;

	if (e->out_rc < 0)
		return e->out_rc;
	while (e->wire_len + cipher.len > e->wire_size) {
		e->wire_size = e->wire_size == 0 ? 65536 : e->wire_size * 2;
		e->wire = realloc(e->wire, e->wire_size);
		assert_non_null(e->wire);
	}
	memcpy(e->wire + e->wire_len, cipher.ptr, cipher.len);
	e->wire_len += cipher.len;
	return 0;
}

static int on_plain(void *arg, struct cw_bytes plain)
{
	struct end *e = arg;

	assert_true(e->got_len + plain.len <= sizeof(e->got));
	memcpy(e->got + e->got_len, plain.ptr, plain.len);
	e->got_len += plain.len;
	return e->plain_rc;
}

static const struct cw_tls_ops ops = { on_out, on_plain };

/* Move what `from` has sent to `to`, `piece` bytes at a time. */
static void carry(struct end *from, struct end *to, size_t piece)
{
	size_t at = 0, n;

	for (; at < from->wire_len; at += n) {
		n = from->wire_len - at < piece ? from->wire_len - at : piece;
		if (to->rc == 0)
			to->rc = cw_tls_feed(to->tls, cw_bytes_of(from->wire + at, n));
	}
	from->wire_len = 0;
}

static void talk(size_t piece)
{
	while (client.wire_len > 0 || server.wire_len > 0) {
		carry(&client, &server, piece);
		carry(&server, &client, piece);
	}
}

static void join(const struct cw_tls_conf *server_conf, const struct cw_tls_conf *client_conf, const char *host, size_t piece)
{
	struct cw_msg msg = { "" };

	memset(&server, 0, sizeof(server));
	memset(&client, 0, sizeof(client));
	if (cw_tls_server_new(server_conf, &msg, &server_ctx) < 0 || cw_tls_client_new(client_conf, &msg, &client_ctx) < 0)
		fail_msg("%s", msg.text);
	assert_int_equal(cw_tls_new(server_ctx, NULL, &ops, &server, &server.tls), 0);
	assert_int_equal(cw_tls_new(client_ctx, host, &ops, &client, &client.tls), 0);
	assert_int_equal(cw_tls_start(client.tls), 0);
	talk(piece);
}

static void part(void)
{
	cw_tls_free(server.tls);
	cw_tls_free(client.tls);
	cw_tls_ctx_free(server_ctx);
	cw_tls_ctx_free(client_ctx);
	free(server.wire);
	free(client.wire);
	server_ctx = client_ctx = NULL;
	assert_int_equal(cw_mem_live(), 0);
}

static struct cw_tls_conf server_conf(void)
{
	return (struct cw_tls_conf){ .certificate = certs_path(&certs, "server.pem"), .key = certs_path(&certs, "server.key") };
}

static struct cw_tls_conf client_conf(void)
{
	return (struct cw_tls_conf){ .ca = certs_path(&certs, "ca.pem"), .verify = CW_TLS_VERIFY_REQUIRED };
}

static void bytes_cross_both_ways_however_they_are_cut(void **state)
{
	static const size_t pieces[] = { 1, 7, 100, 65536 };
	struct cw_tls_conf s = server_conf(), c = client_conf();
	char subject[64];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		join(&s, &c, "localhost", pieces[i]);
		assert_int_equal(client.rc, 0);
		assert_true(cw_tls_up(server.tls) && cw_tls_up(client.tls));
		assert_int_equal(cw_tls_send(client.tls, cw_bytes_text("up")), 0);
		assert_int_equal(cw_tls_send(server.tls, cw_bytes_text("down")), 0);
		talk(pieces[i]);
		assert_memory_equal(server.got, "up", 2);
		assert_memory_equal(client.got, "down", 4);
		assert_null(cw_tls_peer_subject(server.tls, subject, sizeof(subject)));
		assert_string_equal(cw_tls_peer_subject(client.tls, subject, sizeof(subject)), "CN=localhost");
		part();
	}
}

static void a_server_named_by_its_address_must_have_it_in_its_certificate(void **state)
{
	static const char *const addresses[] = { "127.0.0.1", "::1" };
	struct cw_tls_conf s = server_conf(), c = client_conf();
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		c.verify = CW_TLS_VERIFY_REQUIRED;
		join(&s, &c, addresses[i], 65536); /* the certificate names localhost */
		assert_int_equal(client.rc, CW_EAUTH);
		assert_non_null(strstr(cw_tls_reason(client.tls), "address"));
		part();
		c.verify = CW_TLS_VERIFY_NONE;
		join(&s, &c, addresses[i], 65536);
		assert_int_equal(client.rc, 0);
		assert_true(cw_tls_up(client.tls));
		part();
	}
}

static void a_long_message_arrives_whole(void **state)
{
	static uint8_t block[150000];
	struct cw_tls_conf s = server_conf(), c = client_conf();
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)(i * 7 + i / 251);
	join(&s, &c, "localhost", 65536);
	assert_int_equal(cw_tls_send(client.tls, cw_bytes_of(block, sizeof(block))), 0);
	talk(4096);
	assert_int_equal(server.got_len, sizeof(block));
	assert_memory_equal(server.got, block, sizeof(block));
	part();
}

static void goodbye_is_heard_as_closed(void **state)
{
	struct cw_tls_conf s = server_conf(), c = client_conf();

	(void)state;
	join(&s, &c, "localhost", 65536);
	assert_int_equal(cw_tls_send(client.tls, cw_bytes_text("last words")), 0);
	cw_tls_goodbye(client.tls);
	cw_tls_goodbye(client.tls);
	assert_int_equal(cw_tls_send(client.tls, cw_bytes_text("x")), CW_ECLOSED);
	talk(65536);
	assert_int_equal(server.rc, CW_ECLOSED);
	assert_int_equal(server.got_len, 10);
	part();
}

static void nothing_is_sent_before_the_handshake(void **state)
{
	struct cw_tls_conf s = server_conf();
	struct cw_msg msg = { "" };

	(void)state;
	memset(&server, 0, sizeof(server));
	memset(&client, 0, sizeof(client));
	assert_int_equal(cw_tls_server_new(&s, &msg, &server_ctx), 0);
	assert_int_equal(cw_tls_new(server_ctx, NULL, &ops, &server, &server.tls), 0);
	assert_int_equal(cw_tls_send(server.tls, cw_bytes_text("x")), CW_EBUSY);
	assert_int_equal(server.wire_len, 0);
	part();
}

static void another_host_name_is_refused_with_a_reason(void **state)
{
	struct cw_tls_conf s = server_conf(), c = client_conf();

	(void)state;
	join(&s, &c, "elsewhere.example", 65536);
	assert_int_equal(client.rc, CW_EAUTH);
	assert_true(strlen(cw_tls_reason(client.tls)) > 10);
	assert_null(strchr(cw_tls_reason(client.tls), '\n'));
	assert_int_equal(server.rc, CW_EPROTO); /* it hears the alert */
	assert_false(cw_tls_up(server.tls));
	part();
}

static void an_expired_or_foreign_server_is_refused(void **state)
{
	struct cw_tls_conf s = server_conf(), c = client_conf();

	(void)state;
	s.certificate = certs_path(&certs, "old.pem");
	s.key = certs_path(&certs, "old.key");
	join(&s, &c, "localhost", 65536);
	assert_int_equal(client.rc, CW_EAUTH);
	assert_non_null(strstr(cw_tls_reason(client.tls), "expired"));
	part();
	s = server_conf();
	c.ca = certs_path(&certs, "foreign-ca.pem");
	join(&s, &c, "localhost", 65536);
	assert_int_equal(client.rc, CW_EAUTH);
	part();
	c = (struct cw_tls_conf){ .verify = CW_TLS_VERIFY_NONE };
	join(&s, &c, NULL, 65536);
	assert_int_equal(client.rc, 0);
	assert_true(cw_tls_up(client.tls));
	part();
}

/* verify, certificate of the client, expected error of the server */
static void client_certificates_are_asked_for_as_told(void **state)
{
	static const struct {
		enum cw_tls_verify verify;
		const char *name;
		int rc;
	} cases[] = {
		{ CW_TLS_VERIFY_REQUIRED, "client", 0 },       { CW_TLS_VERIFY_REQUIRED, NULL, CW_EAUTH },
		{ CW_TLS_VERIFY_REQUIRED, "foreign", CW_EAUTH }, { CW_TLS_VERIFY_REQUIRED, "old", CW_EAUTH },
		{ CW_TLS_VERIFY_OPTIONAL, "client", 0 },       { CW_TLS_VERIFY_OPTIONAL, NULL, 0 },
		{ CW_TLS_VERIFY_OPTIONAL, "foreign", CW_EAUTH }, { CW_TLS_VERIFY_NONE, "foreign", 0 },
	};
	char file[64], subject[64];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cw_tls_conf s = server_conf(), c = client_conf();

		s.verify = cases[i].verify;
		if (s.verify != CW_TLS_VERIFY_NONE)
			s.ca = certs_path(&certs, "ca.pem");
		if (cases[i].name != NULL) {
			c.certificate = certs_path(&certs, certs_name(file, cases[i].name, "pem"));
			c.key = certs_path(&certs, certs_name(file, cases[i].name, "key"));
		}
		join(&s, &c, "localhost", 65536);
		if (server.rc != cases[i].rc)
			fail_msg("case %zu: %d, %s", i, server.rc, cw_tls_reason(server.tls));
		assert_int_equal(cw_tls_up(server.tls), cases[i].rc == 0);
		if (server.rc != 0)
			assert_true(strlen(cw_tls_reason(server.tls)) > 10);
		if (cases[i].rc == 0 && s.verify != CW_TLS_VERIFY_NONE && cases[i].name != NULL)
			assert_string_equal(cw_tls_peer_subject(server.tls, subject, sizeof(subject)), "CN=terminal-7");
		part();
	}
}

static void what_is_not_tls_is_refused(void **state)
{
	struct cw_tls_conf s = server_conf();
	struct cw_msg msg = { "" };

	(void)state;
	memset(&server, 0, sizeof(server));
	memset(&client, 0, sizeof(client));
	assert_int_equal(cw_tls_server_new(&s, &msg, &server_ctx), 0);
	assert_int_equal(cw_tls_new(server_ctx, NULL, &ops, &server, &server.tls), 0);
	assert_int_equal(cw_tls_feed(server.tls, cw_bytes_text("GET / HTTP/1.1\r\nHost: x\r\n\r\n")), CW_EPROTO);
	assert_true(strlen(cw_tls_reason(server.tls)) > 10);
	part();
}

static void an_older_version_is_refused(void **state)
{
	/* A ClientHello that offers TLS 1.1 at most. */
	static const uint8_t hello[] = {
		0x16, 3, 1, 0, 0x2f, 1, 0, 0, 0x2b, 3, 2,
		1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32,
		0, 0, 4, 0xc0, 0x09, 0, 0xff, 1, 0,
	};
	struct cw_tls_conf s = server_conf();
	struct cw_msg msg = { "" };

	(void)state;
	memset(&server, 0, sizeof(server));
	memset(&client, 0, sizeof(client));
	assert_int_equal(cw_tls_server_new(&s, &msg, &server_ctx), 0);
	assert_int_equal(cw_tls_new(server_ctx, NULL, &ops, &server, &server.tls), 0);
	assert_int_equal(cw_tls_feed(server.tls, cw_bytes_of(hello, sizeof(hello))), CW_EPROTO);
	assert_int_equal(server.wire[0], 0x15); /* an alert: protocol_version */
	assert_int_equal(server.wire[6], 70);
	part();
}

static void errors_of_the_callbacks_come_back(void **state)
{
	struct cw_tls_conf s = server_conf(), c = client_conf();

	(void)state;
	join(&s, &c, "localhost", 65536);
	client.out_rc = CW_ELIMIT;
	assert_int_equal(cw_tls_send(client.tls, cw_bytes_text("x")), CW_ELIMIT);
	part();
	join(&s, &c, "localhost", 65536);
	server.plain_rc = CW_ECLOSED;
	assert_int_equal(cw_tls_send(client.tls, cw_bytes_text("one")), 0);
	assert_int_equal(cw_tls_send(client.tls, cw_bytes_text("two")), 0);
	assert_int_equal(cw_tls_feed(server.tls, cw_bytes_of(client.wire, client.wire_len)), CW_ECLOSED);
	assert_int_equal(server.got_len, 3); /* the rest of the input is dropped */
	part();
}

static void a_protocol_is_agreed_by_alpn(void **state)
{
	static const char *const offered[] = { "h2", NULL };
	struct cw_tls_conf s = server_conf(), c = client_conf();

	(void)state;
	s.alpn = c.alpn = offered;
	join(&s, &c, "localhost", 65536);
	assert_string_equal(cw_tls_alpn(client.tls), "h2");
	assert_string_equal(cw_tls_alpn(server.tls), "h2");
	part();
}

static void bad_files_are_named(void **state)
{
	struct cw_tls_conf s = server_conf();
	struct cw_tls_ctx *ctx = NULL;
	struct cw_msg msg = { "" };

	(void)state;
	s.certificate = "/nonexistent/c.pem";
	assert_int_equal(cw_tls_server_new(&s, &msg, &ctx), CW_ECONF);
	assert_non_null(strstr(msg.text, "/nonexistent/c.pem"));
	s = server_conf();
	s.key = certs_path(&certs, "client.key");
	assert_int_equal(cw_tls_server_new(&s, &msg, &ctx), CW_ECONF);
	assert_non_null(strstr(msg.text, "does not belong"));
	s = server_conf();
	s.key = NULL;
	assert_int_equal(cw_tls_server_new(&s, &msg, &ctx), CW_ECONF);
	s.certificate = NULL;
	assert_int_equal(cw_tls_server_new(&s, &msg, &ctx), CW_ECONF);
	s = server_conf();
	s.verify = CW_TLS_VERIFY_REQUIRED;
	assert_int_equal(cw_tls_server_new(&s, &msg, &ctx), CW_ECONF);
	s.ca = certs_path(&certs, "server.key");
	assert_int_equal(cw_tls_server_new(&s, &msg, &ctx), CW_ECONF);
	assert_non_null(strstr(msg.text, "server.key"));
	assert_null(ctx);
	cw_mem_fail_at(0);
	s = server_conf();
	assert_int_equal(cw_tls_server_new(&s, &msg, &ctx), CW_ENOMEM);
	cw_mem_fail_at(-1);
	assert_int_equal(cw_mem_live(), 0);
}

static int make_certs(void **state)
{
	(void)state;
	certs_init(&certs);
	certs_make(&certs, "ca", "CN=test authority", NULL, 1);
	certs_make(&certs, "server", "CN=localhost", "ca", 0);
	certs_make(&certs, "client", "CN=terminal-7", "ca", 0);
	certs_make_until(&certs, "old", "CN=localhost", "ca", 0, "20200102000000");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_cross_both_ways_however_they_are_cut),
		cmocka_unit_test(a_long_message_arrives_whole),
		cmocka_unit_test(a_server_named_by_its_address_must_have_it_in_its_certificate),
		cmocka_unit_test(goodbye_is_heard_as_closed),
		cmocka_unit_test(nothing_is_sent_before_the_handshake),
		cmocka_unit_test(another_host_name_is_refused_with_a_reason),
		cmocka_unit_test(an_expired_or_foreign_server_is_refused),
		cmocka_unit_test(client_certificates_are_asked_for_as_told),
		cmocka_unit_test(what_is_not_tls_is_refused),
		cmocka_unit_test(an_older_version_is_refused),
		cmocka_unit_test(errors_of_the_callbacks_come_back),
		cmocka_unit_test(a_protocol_is_agreed_by_alpn),
		cmocka_unit_test(bad_files_are_named),
	};

	return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
