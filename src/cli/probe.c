/* probe.c - see probe.h. */
#include "cli/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define WAIT_S 10

struct cw_probe {
	struct cw_endpoint at;
	struct addrinfo *addresses;
	int fd;
	SSL_CTX *ctx;
	SSL *ssl;
};

static const char *numeric(const struct addrinfo *a, char *out, size_t size)
{
	if (getnameinfo(a->ai_addr, a->ai_addrlen, out, (socklen_t)size, NULL, 0, NI_NUMERICHOST) != 0)
		(void)snprintf(out, size, "?");
	return out;
}

int cw_probe_name(const struct cw_endpoint *at, struct cw_probe **ret_probe, struct cw_msg *text)
{
	struct addrinfo hints = { .ai_socktype = at->scheme->udp ? SOCK_DGRAM : SOCK_STREAM }, *a;
	struct cw_probe *p = cw_zalloc(sizeof(*p));
	char one[64], all[300] = "";
	int rc;

	if (p == NULL)
		return cw_fail(text, CW_ENOMEM, "%s", cw_error_text(CW_ENOMEM));
	p->at = *at;
	p->fd = -1;
	rc = getaddrinfo(at->host, at->port, &hints, &p->addresses);
	if (rc != 0) {
		cw_probe_free(p);
		return cw_fail(text, CW_EUNREACH, "%s: %s; check the endpoint, this machine's resolver (/etc/resolv.conf) and its network",
			       at->host, gai_strerror(rc));
	}
	for (a = p->addresses; a != NULL; a = a->ai_next)
		if (strlen(all) + 70 < sizeof(all))
			(void)snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", all[0] == '\0' ? "" : ", ", numeric(a, one, sizeof(one)));
	cw_msg_set(text, "%s is %s", at->host, all);
	*ret_probe = p;
	return 0;
}

/* A connected socket, or -1 with errno. */
static int connect_one(const struct addrinfo *a)
{
	struct timeval tv = { .tv_sec = WAIT_S };
	int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol), err = 0, n;
	struct pollfd wait = { .fd = fd, .events = POLLOUT };
	socklen_t len = sizeof(err);

	if (fd < 0)
		return -1;
	if (connect(fd, a->ai_addr, a->ai_addrlen) != 0 && errno == EINPROGRESS) {
		n = poll(&wait, 1, WAIT_S * 1000);
		if (n == 0)
			err = ETIMEDOUT;
		else if (n < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
			err = errno;
	} else {
		err = errno;
	}
	if (err != 0) {
		(void)close(fd);
		errno = err;
		return -1;
	}
	(void)fcntl(fd, F_SETFL, 0); /* blocking from here on, with limits */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	return fd;
}

int cw_probe_tcp(struct cw_probe *p, struct cw_msg *text)
{
	const struct addrinfo *a;
	char one[64], failed[400] = "";
	uint64_t before = cw_clock_ms();

	for (a = p->addresses; a != NULL; a = a->ai_next) {
		errno = 0;
		p->fd = connect_one(a);
		if (p->fd >= 0) {
			cw_msg_set(text, "connected to %s port %s in %llu ms%s%s", numeric(a, one, sizeof(one)), p->at.port,
				   (unsigned long long)(cw_clock_ms() - before), failed[0] == '\0' ? "" : "; but ", failed);
			return 0;
		}
		if (strlen(failed) + 140 < sizeof(failed))
			(void)snprintf(failed + strlen(failed), sizeof(failed) - strlen(failed), "%s%s: %s", failed[0] == '\0' ? "" : "; ",
				       numeric(a, one, sizeof(one)), strerror(errno));
	}
	return cw_fail(text, CW_EUNREACH, "port %s: %s; is it the right port, is the server running, and does a firewall on the way let it through?",
		       p->at.port, failed);
}

static int tls_failed(struct cw_probe *p, const struct cw_probe_tls *tls, struct cw_msg *text)
{
	long verdict = p->ssl == NULL ? X509_V_OK : SSL_get_verify_result(p->ssl);
	unsigned long err = ERR_peek_last_error();
	const char *reason = ERR_reason_error_string(err);

	if (verdict == X509_V_ERR_HOSTNAME_MISMATCH || verdict == X509_V_ERR_IP_ADDRESS_MISMATCH)
		return cw_fail(text, CW_EACCESS, "the server's certificate is for another name than %s; is the endpoint right?", p->at.host);
	if (verdict == X509_V_ERR_CERT_HAS_EXPIRED || verdict == X509_V_ERR_CERT_NOT_YET_VALID)
		return cw_fail(text, CW_EACCESS, "%s; is this machine's clock right?", X509_verify_cert_error_string(verdict));
	if (verdict != X509_V_OK)
		return cw_fail(text, CW_EACCESS, "the server's certificate is not trusted: %s; %s", X509_verify_cert_error_string(verdict),
			       tls->ca == NULL ? "if the authority is a private one, name its file with ca = ..."
					       : "is its authority the one in the file of ca?");
	return cw_fail(text, CW_EACCESS, "the handshake failed: %s; does this port speak TLS 1.2%s?",
		       reason != NULL ? reason : "the server closed the connection or did not answer",
		       tls->certificate != NULL ? ", and does it take this client certificate" : "");
}

static int prepare_tls(struct cw_probe *p, const struct cw_probe_tls *tls, struct cw_msg *text)
{
	unsigned char alpn[32];

	p->ctx = SSL_CTX_new(TLS_client_method());
	if (p->ctx == NULL)
		return cw_fail(text, CW_ENOMEM, "%s", cw_error_text(CW_ENOMEM));
	(void)SSL_CTX_set_min_proto_version(p->ctx, TLS1_2_VERSION);
	if (tls->ca != NULL ? SSL_CTX_load_verify_locations(p->ctx, tls->ca, NULL) != 1 : SSL_CTX_set_default_verify_paths(p->ctx) != 1)
		return cw_fail(text, CW_EACCESS, "ca: %s cannot be read, or holds no certificate in PEM form", tls->ca == NULL ? "the system's authorities" : tls->ca);
	if (tls->certificate != NULL && (SSL_CTX_use_certificate_chain_file(p->ctx, tls->certificate) != 1 ||
					 SSL_CTX_use_PrivateKey_file(p->ctx, tls->key, SSL_FILETYPE_PEM) != 1))
		return cw_fail(text, CW_EACCESS, "the client certificate %s or its key cannot be used: they must be PEM files that belong together", tls->certificate);
	SSL_CTX_set_verify(p->ctx, tls->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	p->ssl = SSL_new(p->ctx);
	if (p->ssl == NULL)
		return cw_fail(text, CW_ENOMEM, "%s", cw_error_text(CW_ENOMEM));
	if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(p->ssl), p->at.host) != 1) {
		(void)SSL_set1_host(p->ssl, p->at.host);
		(void)SSL_set_tlsext_host_name(p->ssl, p->at.host);
	}
	if (tls->alpn != NULL) {
		alpn[0] = (unsigned char)strlen(tls->alpn);
		memcpy(alpn + 1, tls->alpn, alpn[0]);
		(void)SSL_set_alpn_protos(p->ssl, alpn, alpn[0] + 1u);
	}
	return SSL_set_fd(p->ssl, p->fd) == 1 ? 0 : cw_fail(text, CW_ENOMEM, "%s", cw_error_text(CW_ENOMEM));
}

int cw_probe_tls(struct cw_probe *p, const struct cw_probe_tls *tls, struct cw_msg *text)
{
	int rc = prepare_tls(p, tls, text);

	if (rc < 0)
		return rc;
	ERR_clear_error();
	if (SSL_connect(p->ssl) != 1)
		return tls_failed(p, tls, text);
	cw_msg_set(text, "%s, %s%s", SSL_get_version(p->ssl), SSL_get_cipher_name(p->ssl),
		   tls->verify ? "" : "; the certificate is not checked (verify = false): say verify = true once the authority is known");
	return 0;
}

/* ---- MQTT ------------------------------------------------------------------------------- */

static int send_all(struct cw_probe *p, const unsigned char *bytes, size_t len)
{
	return (p->ssl != NULL ? SSL_write(p->ssl, bytes, (int)len) : (int)send(p->fd, bytes, len, MSG_NOSIGNAL)) == (int)len;
}

static int receive(struct cw_probe *p, unsigned char *bytes, size_t len)
{
	size_t at = 0;

	while (at < len) {
		int n = p->ssl != NULL ? SSL_read(p->ssl, bytes + at, (int)(len - at)) : (int)recv(p->fd, bytes + at, len - at, 0);

		if (n <= 0)
			return 0;
		at += (size_t)n;
	}
	return 1;
}

static size_t put(unsigned char *out, const char *text)
{
	size_t n = strlen(text);

	out[0] = (unsigned char)(n >> 8);
	out[1] = (unsigned char)n;
	memcpy(out + 2, text, n);
	return n + 2;
}

int cw_probe_mqtt(struct cw_probe *p, const char *client_id, const char *user, const char *password, int *ret_code, struct cw_msg *text)
{
	/* MQTT 3.1.1; user, password, and not a clean session: what waits for the bridge must go on waiting. 300 s. */
	static const unsigned char head[] = { 0, 4, 'M', 'Q', 'T', 'T', 4, 0xc0, 0x01, 0x2c };
	unsigned char body[1024], packet[1028], answer[4];
	size_t n = sizeof(head), m;

	*ret_code = -1;
	if (strlen(client_id) + strlen(user) + strlen(password) + n + 6 > sizeof(body))
		return cw_fail(text, CW_ELIMIT, "the names are too long for a login");
	memcpy(body, head, n);
	n += put(body + n, client_id);
	n += put(body + n, user);
	n += put(body + n, password);
	packet[0] = 0x10;
	packet[1] = (unsigned char)((n & 127) | (n > 127 ? 128 : 0));
	m = 2;
	if (n > 127)
		packet[m++] = (unsigned char)(n >> 7);
	memcpy(packet + m, body, n);
	m = send_all(p, packet, m + n) && receive(p, answer, sizeof(answer));
	explicit_bzero(body, sizeof(body));
	explicit_bzero(packet, sizeof(packet));
	if (!m || answer[0] != 0x20 || answer[1] != 2)
		return cw_fail(text, CW_EPROTO, "no CONNACK came: the server closed, did not answer in time, or does not speak MQTT; is this the MQTT endpoint?");
	*ret_code = answer[3];
	(void)send_all(p, (const unsigned char[]){ 0xe0, 0 }, 2);
	return 0;
}

void cw_probe_free(struct cw_probe *p)
{
	if (p == NULL)
		return;
	SSL_free(p->ssl);
	SSL_CTX_free(p->ctx);
	if (p->fd >= 0)
		(void)close(p->fd);
	if (p->addresses != NULL)
		freeaddrinfo(p->addresses);
	cw_free(p);
}
