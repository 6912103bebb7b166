/*
 * bench_coap.c - the ceiling for the gateway's way to the platform over CoAP: the same messages to the same emulator
 * from libcoap, with a program around it that does nothing else.
 *
 *   bench_coap --to PORT --stock FILE --payload FILE [--dtls] [--seconds S]
 *
 * FILE of --stock has lines "ProductKey DeviceName DeviceSecret". Each device has a session of its own, over DTLS with
 * a key made from its secret or in the symmetric mode, logs in, and then posts the bytes of --payload as property
 * post, the next one when the last was acknowledged. Prints one line of JSON.
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <string.h>
#include <sys/resource.h>

#include <coap3/coap.h>

#include "meter.h"
#include "platform/sign.h"
#include "upstream/coap/crypt.h"

#define OPTION_TOKEN 2088u
#define OPTION_SEQ 2089u
#define AT_ONCE 32u /* logins */

struct device {
	char pk[32], dn[64], secret[80], token[256];
	uint8_t key[COAP_KEY_BYTES];
	unsigned long seq;
	coap_session_t *session;
	int has_token, asked;
};

static struct device *devices;
static unsigned device_count, logged_in, login_next;
static struct meter meter = { .seconds = 2 };
static coap_context_t *context;
static coap_address_t to;
static char payload[4096];
static size_t payload_len;
static int port, dtls;

static void die(const char *what)
{
	(void)fprintf(stderr, "bench_coap: %s\n", what);
	exit(1);
}

static void add_path(coap_pdu_t *pdu, const char *path)
{
	const char *end;

	for (; *path != '\0'; path = *end == '/' ? end + 1 : end) {
		end = strchr(path, '/') != NULL ? strchr(path, '/') : path + strlen(path);
		(void)coap_add_option(pdu, COAP_OPTION_URI_PATH, (size_t)(end - path), (const uint8_t *)path);
	}
}

static coap_pdu_t *new_post(struct device *d, const char *path, unsigned format)
{
	coap_pdu_t *pdu = coap_new_pdu(COAP_MESSAGE_CON, COAP_REQUEST_CODE_POST, d->session);
	uint8_t token[8], number[4];
	size_t len;

	if (pdu == NULL)
		die("coap_new_pdu");
	coap_session_new_token(d->session, &len, token);
	(void)coap_add_token(pdu, len, token);
	add_path(pdu, path);
	(void)coap_add_option(pdu, COAP_OPTION_CONTENT_FORMAT, coap_encode_var_safe(number, sizeof(number), format), number);
	return pdu;
}

static void post(struct device *d)
{
	char path[256], text[24];
	uint8_t sealed[COAP_CIPHER_LEN(sizeof(payload))], seq[COAP_CIPHER_LEN(sizeof(text))];
	coap_pdu_t *pdu;

	(void)snprintf(path, sizeof(path), "topic/sys/%s/%s/thing/event/property/post", d->pk, d->dn);
	pdu = new_post(d, path, COAP_MEDIATYPE_APPLICATION_JSON);
	(void)coap_add_option(pdu, OPTION_TOKEN, strlen(d->token), (const uint8_t *)d->token);
	if (dtls) {
		(void)coap_add_data(pdu, payload_len, (const uint8_t *)payload);
	} else {
		int n = snprintf(text, sizeof(text), "%lu", ++d->seq);

		(void)coap_add_option(pdu, OPTION_SEQ, cw_coap_encrypt(d->key, text, (size_t)n, seq), seq);
		(void)coap_add_data(pdu, cw_coap_encrypt(d->key, payload, payload_len, sealed), sealed);
	}
	if (coap_send(d->session, pdu) == COAP_INVALID_MID)
		die("coap_send");
}

static void ask_login(struct device *d)
{
	char content[512], sign[CW_SIGN_HEX_MAX], body[1024];
	uint8_t number[4];
	coap_pdu_t *pdu = new_post(d, "auth", COAP_MEDIATYPE_APPLICATION_JSON);

	(void)snprintf(content, sizeof(content), "clientId%s&%sdeviceName%sproductKey%s%s", d->pk, d->dn, d->dn, d->pk,
		       dtls ? "" : "seq10");
	if (cw_sign_hmac(CW_SIGN_SHA256, d->secret, content, sign) < 0)
		die("signing");
	(void)snprintf(body, sizeof(body),
		       "{\"productKey\":\"%s\",\"deviceName\":\"%s\",\"clientId\":\"%s&%s\",%s\"signmethod\":\"hmacsha256\",\"sign\":\"%s\"}",
		       d->pk, d->dn, d->pk, d->dn, dtls ? "" : "\"seq\":\"10\",", sign);
	(void)coap_add_option(pdu, COAP_OPTION_ACCEPT,
			      coap_encode_var_safe(number, sizeof(number), COAP_MEDIATYPE_APPLICATION_JSON), number);
	(void)coap_add_data(pdu, strlen(body), (const uint8_t *)body);
	if (coap_send(d->session, pdu) == COAP_INVALID_MID)
		die("coap_send");
}

static void open_session(struct device *d)
{
	struct coap_psk psk;
	coap_dtls_cpsk_t setup = { .version = COAP_DTLS_CPSK_SETUP_VERSION };

	if (dtls) {
		if (cw_coap_psk(&psk, CW_SIGN_SHA256, d->pk, d->dn, d->secret) < 0)
			die("the key");
		setup.psk_info.identity = (coap_bin_const_t){ strlen(psk.identity), (const uint8_t *)psk.identity };
		setup.psk_info.key = (coap_bin_const_t){ strlen(psk.key), (const uint8_t *)psk.key };
		d->session = coap_new_client_session_psk2(context, NULL, &to, COAP_PROTO_DTLS, &setup);
	} else {
		d->session = coap_new_client_session(context, NULL, &to, COAP_PROTO_UDP);
	}
	if (d->session == NULL)
		die("a session could not be opened");
	coap_session_set_app_data(d->session, d);
	if (!dtls)
		ask_login(d);
}

static void open_more(void)
{
	while (login_next < device_count && login_next < logged_in + AT_ONCE)
		open_session(&devices[login_next++]);
}

static int on_event(coap_session_t *session, const coap_event_t event)
{
	struct device *d = coap_session_get_app_data(session);

	if (event == COAP_EVENT_DTLS_CONNECTED && d != NULL && !d->asked) {
		d->asked = 1;
		ask_login(d);
	}
	return 0;
}

/* The text or number behind "name": in a flat object. */
static void member(const char *text, const char *name, char *out, size_t size)
{
	char want[32];
	const char *at;

	(void)snprintf(want, sizeof(want), "\"%s\":", name);
	at = strstr(text, want);
	if (at == NULL)
		die("the login's answer is not understood");
	at += strlen(want);
	at += strspn(at, " \"");
	(void)snprintf(out, size, "%.*s", (int)strcspn(at, "\",}"), at);
}

static void take_login(struct device *d, const char *text)
{
	char random[128], offset[32];

	member(text, "token", d->token, sizeof(d->token));
	if (!dtls) {
		member(text, "random", random, sizeof(random));
		member(text, "seqOffset", offset, sizeof(offset));
		d->seq = strtoul(offset, NULL, 10);
		if (cw_coap_key(d->secret, random, d->key) < 0)
			die("the key");
	}
	d->has_token = 1;
	logged_in++;
	if (logged_in < device_count) {
		open_more();
		return;
	}
	for (d = devices; d < devices + device_count; d++)
		post(d);
}

static coap_response_t on_response(coap_session_t *session, const coap_pdu_t *sent, const coap_pdu_t *got, const coap_mid_t mid)
{
	struct device *d = coap_session_get_app_data(session);
	const uint8_t *data = NULL;
	char text[2048];
	size_t len = 0;

	if (d->has_token) {
		if (COAP_RESPONSE_CLASS(coap_pdu_get_code(got)) == 2)
			meter.confirmed++;
		else
			meter.failed++;
		post(d);
		return COAP_RESPONSE_OK;
	}
	(void)coap_get_data(got, &len, &data);
	if (COAP_RESPONSE_CLASS(coap_pdu_get_code(got)) != 2 || len >= sizeof(text))
		die("a login was refused");
	memcpy(text, data, len);
	text[len] = '\0';
	take_login(d, text);
	return COAP_RESPONSE_OK;
}

static void read_stock(const char *path)
{
	unsigned i;
	char **lines = read_lines(path, &device_count);

	devices = calloc(device_count + 1, sizeof(*devices));
	if (lines == NULL || devices == NULL)
		die(path);
	for (i = 0; i < device_count; i++)
		if (sscanf(lines[i], "%31s %63s %79s", devices[i].pk, devices[i].dn, devices[i].secret) != 3)
			die("a line of the stock is not like ProductKey DeviceName DeviceSecret");
}

static void read_payload(const char *path)
{
	FILE *f = fopen(path, "r");

	if (f == NULL)
		die(path);
	payload_len = fread(payload, 1, sizeof(payload), f);
	(void)fclose(f);
}

static int parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "to", 1, NULL, 't' },	  { "stock", 1, NULL, 'k' },   { "payload", 1, NULL, 'p' },
		{ "dtls", 0, NULL, 'd' }, { "seconds", 1, NULL, 's' }, { NULL, 0, NULL, 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 't': port = atoi(optarg); break;
		case 'k': read_stock(optarg); break;
		case 'p': read_payload(optarg); break;
		case 'd': dtls = 1; break;
		case 's': meter.seconds = atof(optarg); break;
		default: return -1;
		}
	}
	return port != 0 && device_count > 0 && payload_len > 0 ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	if (parse(argc, argv) < 0) {
		(void)fputs("usage: bench_coap --to PORT --stock FILE --payload FILE [--dtls] [--seconds S]\n", stderr);
		return 2;
	}
	addr.sin_port = htons((uint16_t)port);
	coap_startup();
	coap_set_log_level(LOG_EMERG);
	coap_address_init(&to);
	to.size = sizeof(addr);
	memcpy(&to.addr.sin, &addr, sizeof(addr));
	context = coap_new_context(NULL);
	if (context == NULL)
		die("coap_new_context");
	coap_register_response_handler(context, on_response);
	coap_register_event_handler(context, on_event);
	open_more();
	for (;;) {
		if (logged_in == device_count && meter_over(&meter)) {
			coap_free_context(context); /* says goodbye: the next run may get a port of this one */
			return meter.failed > 0;
		}
		if (coap_io_process(context, 100) < 0)
			die("coap_io_process");
	}
}
