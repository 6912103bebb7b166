/* line.c - see line.h. */
#include "cli/factory/line.h"

#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"

#define LONGEST_PAUSE_MS 5000u

void factory_line_conf_init(struct factory_line_conf *c)
{
	memset(c, 0, sizeof(*c));
	c->timeout_ms = 10000;
	c->retries = 3;
	c->stop_fd = -1;
}

void factory_line_conf_wipe(struct factory_line_conf *c)
{
	explicit_bzero(c->token, sizeof(c->token));
}

static int number(const char *option, const char *value, long least, long most, long *ret, struct cw_msg *msg)
{
	char *end;

	*ret = strtol(value, &end, 10);
	if (end == value || *end != '\0' || *ret < least || *ret > most)
		return cw_fail(msg, CW_ECONF, "--%s is %s; it is a number from %ld to %ld", option, value, least, most);
	return 0;
}

/* Only from a file: everybody can read command lines. */
static int read_token(struct factory_line_conf *c, const char *value, struct cw_msg *msg)
{
	char *text;
	size_t len;
	int rc;

	if (strncmp(value, "file:", 5) != 0)
		return cw_fail(msg, CW_ECONF, "--token takes file:PATH, a file whose first line is the token: everybody on this machine can read command lines");
	rc = cw_file_read(value + 5, 4096, &text, &len, msg);
	if (rc < 0)
		return rc;
	(void)snprintf(c->token, sizeof(c->token), "%.*s", (int)strcspn(text, "\r\n"), text);
	if (strcspn(text, "\r\n") >= sizeof(c->token) || c->token[0] == '\0')
		rc = cw_fail(msg, CW_ECONF, "%s: its first line is empty or longer than %zu bytes; it is to be the token", value + 5, sizeof(c->token) - 1);
	explicit_bzero(text, len);
	cw_free(text);
	return rc;
}

static int take_order(struct factory_line_conf *c, const char *value, struct cw_msg *msg)
{
	if (strcmp(value, "prose") == 0)
		c->reply.crc_order = TRIPLE_BURN_PK_PS_DN_DS;
	else if (strcmp(value, "code") == 0)
		c->reply.crc_order = TRIPLE_BURN_PK_DN_DS_PS;
	else
		return cw_fail(msg, CW_ECONF, "--crc-order is %s; there are code and prose", value);
	return 0;
}

int factory_line_option(struct factory_line_conf *c, int option, const char *value, struct cw_msg *msg)
{
	long n = 0;
	int rc = 0;

	switch (option) {
	case FACTORY_LINE_PORT:
		rc = number("port", value, 1, 65535, &n, msg);
		c->port = (unsigned)n;
		return rc;
	case FACTORY_LINE_TIMEOUT:
		rc = number("timeout", value, 1, 3600, &n, msg);
		c->timeout_ms = n * 1000;
		return rc;
	case FACTORY_LINE_RETRIES:
		rc = number("retries", value, 0, 1000, &n, msg);
		c->retries = (unsigned)n;
		return rc;
	case FACTORY_LINE_TLS:
		c->tls = 1;
		return 0;
	case FACTORY_LINE_CA:
	case FACTORY_LINE_CERT:
	case FACTORY_LINE_KEY:
		c->tls = 1;
		*(option == FACTORY_LINE_CA ? &c->ca : option == FACTORY_LINE_CERT ? &c->cert : &c->key) = value;
		return 0;
	case FACTORY_LINE_TOKEN:
		return read_token(c, value, msg);
	case FACTORY_LINE_PRODUCT_ID:
		c->reply.product_id = value;
		return 0;
	case FACTORY_LINE_CRC_ORDER:
		return take_order(c, value, msg);
	default:
		return 1;
	}
}

int factory_line_conf_done(struct factory_line_conf *c, struct cw_msg *msg)
{
	const char *s = c->server, *end = s + strlen(s), *colon = strchr(s, ':');
	long port = 0;
	int rc;

	if (*s == '[') {
		s++;
		end = strchr(s, ']');
		colon = end != NULL && end[1] == ':' ? end + 1 : NULL;
		if (end == NULL || (end[1] != '\0' && colon == NULL))
			return cw_fail(msg, CW_ECONF, "%s is no server: an IPv6 address with a port is like [::1]:8000", c->server);
	} else if (colon != NULL && strchr(colon + 1, ':') == NULL) {
		end = colon;
	} else {
		colon = NULL;
	}
	if (end == s || end - s > 255 || strcspn(s, "/@?# \t\r\n\\") < (size_t)(end - s))
		return cw_fail(msg, CW_ECONF, "%s is no server: an address or a name, with :PORT when it is not 8000", c->server);
	if (colon != NULL) {
		rc = number("server's port", colon + 1, 1, 65535, &port, msg);
		if (rc < 0)
			return rc;
	}
	if (c->port == 0)
		c->port = port != 0 ? (unsigned)port : TRIPLE_BURN_PORT;
	if ((c->cert == NULL) != (c->key == NULL))
		return cw_fail(msg, CW_ECONF, "--cert and --key go together: the certificate and its key");
	rc = memchr(s, ':', (size_t)(end - s)) != NULL;
	(void)snprintf(c->url, sizeof(c->url), "http%s://%s%.*s%s:%u/", c->tls ? "s" : "", rc ? "[" : "", (int)(end - s), s, rc ? "]" : "", c->port);
	return 0;
}

/* ---- one exchange ------------------------------------------------------------------------ */

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct factory_line *l = arg;

	if (size * n > sizeof(l->reply) - 1 - l->len)
		return 0;
	memcpy(l->reply + l->len, data, size * n);
	l->len += size * n;
	return size * n;
}

static int add_header(struct factory_line *l, const char *text)
{
	struct curl_slist *more = curl_slist_append(l->headers, text);

	if (more == NULL)
		return CW_ENOMEM;
	l->headers = more;
	return 0;
}

static void set_options(struct factory_line *l)
{
	const struct factory_line_conf *c = l->conf;

	curl_easy_setopt(l->curl, CURLOPT_URL, c->url);
	curl_easy_setopt(l->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(l->curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(l->curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(l->curl, CURLOPT_HTTPHEADER, l->headers);
	curl_easy_setopt(l->curl, CURLOPT_TIMEOUT_MS, c->timeout_ms);
	curl_easy_setopt(l->curl, CURLOPT_ERRORBUFFER, l->error);
	curl_easy_setopt(l->curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(l->curl, CURLOPT_WRITEDATA, l);
	if (c->ca != NULL)
		curl_easy_setopt(l->curl, CURLOPT_CAINFO, c->ca);
	if (c->cert != NULL) {
		curl_easy_setopt(l->curl, CURLOPT_SSLCERT, c->cert);
		curl_easy_setopt(l->curl, CURLOPT_SSLKEY, c->key);
	}
}

int factory_line_open(const struct factory_line_conf *conf, struct factory_line **ret_line)
{
	struct factory_line *l = cw_zalloc(sizeof(*l));
	char token[sizeof(conf->token) + 32];
	int rc = CW_ENOMEM;

	*ret_line = NULL;
	if (l == NULL)
		return CW_ENOMEM;
	l->conf = conf;
	l->curl = curl_easy_init();
	if (l->curl != NULL)
		rc = add_header(l, "Content-Type: application/json");
	if (rc == 0 && conf->token[0] != '\0') {
		(void)snprintf(token, sizeof(token), "Authorization: Bearer %s", conf->token);
		rc = add_header(l, token);
		explicit_bzero(token, sizeof(token));
	}
	if (rc < 0) {
		factory_line_close(l);
		return rc;
	}
	set_options(l);
	*ret_line = l;
	return 0;
}

void factory_line_close(struct factory_line *l)
{
	struct curl_slist *h;

	if (l == NULL)
		return;
	if (l->curl != NULL)
		curl_easy_cleanup(l->curl);
	for (h = l->headers; h != NULL; h = h->next)
		explicit_bzero(h->data, strlen(h->data));
	curl_slist_free_all(l->headers);
	explicit_bzero(l, sizeof(*l));
	cw_free(l);
}

/* The reply's Status and, in `why`, what its Message says. */
static enum factory_line_answer judge(struct factory_line *l)
{
	json_t *reply;
	const char *message;
	int rc = parse_status(l->reply, l->status, sizeof(l->status));

	if (rc == 0)
		return FACTORY_LINE_DONE;
	if (rc != TRIPLE_BURN_REFUSED) {
		(void)snprintf(l->why, sizeof(l->why), "what answers at %s is no distribution server", l->conf->url);
		return FACTORY_LINE_ODD;
	}
	reply = json_loads(l->reply, 0, NULL);
	message = json_string_value(json_object_get(reply, "Message"));
	(void)snprintf(l->why, sizeof(l->why), "%s%s%.400s", l->status, message != NULL ? ": " : "", message != NULL ? message : "");
	json_decref(reply);
	cw_utf8_tame(l->why); /* a terminal's escapes are not the server's to send */
	return FACTORY_LINE_REFUSED;
}

/* What TLS libraries say of the usual mistakes names no remedy. */
static const char *hint(const struct factory_line *l, CURLcode rc)
{
	if (rc == CURLE_GOT_NOTHING && !l->conf->tls)
		return " (where this port speaks TLS: --tls)";
	/* A port without TLS answers the greeting with text, or hangs up; which of the two is seen first differs. */
	if (rc == CURLE_SSL_CONNECT_ERROR)
		return " (perhaps this port speaks no TLS: another port, or without --tls, --ca and --cert)";
	if (rc == CURLE_PEER_FAILED_VERIFICATION && l->conf->ca == NULL)
		return " (for an authority of your own: --ca FILE)";
	if (rc == CURLE_PEER_FAILED_VERIFICATION)
		return " (--ca has to be the authority of the server's certificate, and the server's name has to stand in that)";
	return "";
}

/* `ret_pause_ms`: what the server asked for, or 0. `ret_acted`: it may have done something. */
static enum factory_line_answer exchange(struct factory_line *l, const char *body, unsigned *ret_pause_ms, int *ret_acted)
{
	curl_off_t after = 0;
	CURLcode rc;

	l->len = 0;
	l->why[0] = l->status[0] = l->error[0] = '\0';
	curl_easy_setopt(l->curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(l->curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
	rc = curl_easy_perform(l->curl);
	*ret_acted = rc != CURLE_COULDNT_CONNECT && rc != CURLE_COULDNT_RESOLVE_HOST && rc != CURLE_SSL_CONNECT_ERROR &&
		     rc != CURLE_PEER_FAILED_VERIFICATION && rc != CURLE_SSL_CACERT_BADFILE;
	curl_easy_getinfo(l->curl, CURLINFO_RETRY_AFTER, &after);
	*ret_pause_ms = after <= 0 ? 0 : after > LONGEST_PAUSE_MS / 1000 ? LONGEST_PAUSE_MS : (unsigned)after * 1000;
	if (rc == CURLE_OK && l->len != 0 && memchr(l->reply, '\0', l->len) == NULL) {
		l->reply[l->len] = '\0';
		return judge(l);
	}
	if (rc == CURLE_WRITE_ERROR)
		(void)snprintf(l->why, sizeof(l->why), "the reply of %s is longer than %d bytes", l->conf->url, FACTORY_LINE_REPLY_MAX);
	else if (rc == CURLE_OK)
		(void)snprintf(l->why, sizeof(l->why), l->len == 0 ? "%s sent an empty reply" : "what answers at %s is no distribution server", l->conf->url);
	else
		(void)snprintf(l->why, sizeof(l->why), "%s: %s%s", l->conf->url, l->error[0] != '\0' ? l->error : curl_easy_strerror(rc), hint(l, rc));
	explicit_bzero(l->reply, sizeof(l->reply));
	return FACTORY_LINE_UNREACHED;
}

/* 1: go on; 0: somebody wants an end. */
static int wait_ms(const struct factory_line_conf *c, unsigned ms)
{
	struct pollfd stop = { .fd = c->stop_fd, .events = POLLIN };

	return poll(&stop, 1, (int)ms) == 0;
}

enum factory_line_answer factory_line_request(struct factory_line *l, int action, const char *product_key, const char *device_id)
{
	json_t *request = json_pack("{s:s, s:s*, s:i}", "ProductKey", product_key, "DeviceID", *device_id != '\0' ? device_id : NULL, "Action", action);
	char *body = json_dumps(request, JSON_COMPACT);
	int acted, costs = action == TRIPLE_BURN_ASK && *device_id == '\0';
	unsigned tries, pause_ms;
	enum factory_line_answer answer;

	json_decref(request);
	if (body == NULL) {
		(void)snprintf(l->why, sizeof(l->why), "the ProductKey or the DeviceID is no UTF-8");
		l->reply[0] = '\0';
		return FACTORY_LINE_UNREACHED;
	}
	for (tries = 0;; tries++) {
		answer = exchange(l, body, &pause_ms, &acted);
		if (answer == FACTORY_LINE_DONE || (answer == FACTORY_LINE_REFUSED && strcmp(l->status, "BUSY") != 0))
			break;
		if (tries >= l->conf->retries || (costs && acted && answer != FACTORY_LINE_REFUSED))
			break;
		if (pause_ms == 0)
			pause_ms = tries < 5 ? 200u << tries : LONGEST_PAUSE_MS;
		if (!wait_ms(l->conf, pause_ms))
			break;
	}
	free(body);
	return answer;
}

enum factory_line_answer factory_line_certificate(struct factory_line *l, const char *product_key, const char *device_id,
						  struct triple_burn_cert *ret)
{
	enum factory_line_answer answer = factory_line_request(l, TRIPLE_BURN_ASK, product_key, device_id);
	int rc;

	if (answer != FACTORY_LINE_DONE)
		return answer;
	rc = parse_cert(&l->conf->reply, l->reply, ret);
	if (rc == 0 && strcmp(ret->product_key, product_key) == 0)
		return FACTORY_LINE_DONE;
	(void)snprintf(l->why, sizeof(l->why), "%s", rc == 0 ? "the certificate is of another product" : rc == TRIPLE_BURN_CRC ?
		       "the reply's CRC32 does not belong to its certificate; --product-id and --crc-order say how the server computes it" :
		       "the reply lacks a part of the certificate, or one is longer than it can be");
	explicit_bzero(ret, sizeof(*ret));
	return FACTORY_LINE_ODD;
}
