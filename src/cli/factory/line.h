/*
 * line.h - the tool as a client of a distribution server (src/factory/clients has those for others): requests of the line's protocol, over
 * HTTP and HTTPS, tried again where that cannot cost a second certificate. Replies are checked by triple_burn.
 */
#ifndef CW_CLI_FACTORY_LINE_H
#define CW_CLI_FACTORY_LINE_H

#include <curl/curl.h>
#include <getopt.h>

#include "base/err.h"
#include "factory/clients/c/triple_burn.h"

/* Shared by all threads, not changed once they run. */
struct factory_line_conf {
	char url[320];
	const char *server; /* address or name, with or without port */
	unsigned port;      /* 0: the server's, or 8000 */
	int tls;
	const char *ca, *cert, *key; /* PEM files; any of them means tls */
	char token[512];
	long timeout_ms;
	unsigned retries;
	int stop_fd; /* readable: no further tries; -1: none */
	struct triple_burn_conf reply; /* how replies are checked: ProductID, order */
};

/* The options of all verbs that ask a server. */
enum { FACTORY_LINE_PORT = 1000, FACTORY_LINE_TLS, FACTORY_LINE_CA, FACTORY_LINE_CERT, FACTORY_LINE_KEY, FACTORY_LINE_TOKEN, FACTORY_LINE_TIMEOUT,
       FACTORY_LINE_RETRIES, FACTORY_LINE_PRODUCT_ID, FACTORY_LINE_CRC_ORDER };
#define FACTORY_LINE_OPTIONS \
	{ "port", required_argument, NULL, FACTORY_LINE_PORT }, { "tls", no_argument, NULL, FACTORY_LINE_TLS }, \
	{ "ca", required_argument, NULL, FACTORY_LINE_CA }, { "cert", required_argument, NULL, FACTORY_LINE_CERT }, \
	{ "key", required_argument, NULL, FACTORY_LINE_KEY }, { "token", required_argument, NULL, FACTORY_LINE_TOKEN }, \
	{ "timeout", required_argument, NULL, FACTORY_LINE_TIMEOUT }, { "retries", required_argument, NULL, FACTORY_LINE_RETRIES }, \
	{ "product-id", required_argument, NULL, FACTORY_LINE_PRODUCT_ID }, { "crc-order", required_argument, NULL, FACTORY_LINE_CRC_ORDER }
#define FACTORY_LINE_USAGE \
	"  --port N            instead of 8000\n" \
	"  --tls               HTTPS; --ca FILE: authorities to trust (PEM) instead of the system's; --cert FILE --key FILE: this\n" \
	"                      station's certificate. Each of the three means --tls\n" \
	"  --token file:PATH   the station's token, the first line of a file\n" \
	"  --timeout S         seconds for one exchange (default 10)\n" \
	"  --retries N         tries after the first, with the same id (default 3)\n" \
	"  --product-id ID     of a Bluetooth product whose server does not send it: CRC32 goes over it too\n" \
	"  --crc-order prose   CRC32 goes over key, product secret, name, secret instead of key, name, secret, product secret\n"

/* Defaults. */
void factory_line_conf_init(struct factory_line_conf *c);
/* One option of the above. CW_ECONF with a sentence; 1: it is none of these. */
int factory_line_option(struct factory_line_conf *c, int option, const char *value, struct cw_msg *msg);
/* Once all options are there: the server's address. */
int factory_line_conf_done(struct factory_line_conf *c, struct cw_msg *msg);
void factory_line_conf_wipe(struct factory_line_conf *c);

enum factory_line_answer {
	FACTORY_LINE_DONE,      /* Status OK */
	FACTORY_LINE_REFUSED,   /* another Status */
	FACTORY_LINE_ODD,       /* not the reply of a distribution server */
	FACTORY_LINE_UNREACHED  /* none */
};

#define FACTORY_LINE_REPLY_MAX 32768 /* fits into a pipe, whole */

/* One client; belongs to one thread at a time. */
struct factory_line {
	const struct factory_line_conf *conf;
	CURL *curl;
	struct curl_slist *headers;
	size_t len;
	char reply[FACTORY_LINE_REPLY_MAX + 1]; /* of the last request, with secrets; empty: none */
	char status[33];                        /* its Status */
	char why[700];                          /* a sentence, unless DONE */
	char error[CURL_ERROR_SIZE];
};

int factory_line_open(const struct factory_line_conf *conf, struct factory_line **ret_line);
void factory_line_close(struct factory_line *l); /* accepts NULL */
/* action: TRIPLE_BURN_ASK, TRIPLE_BURN_WRITTEN. `device_id` may be empty. */
enum factory_line_answer factory_line_request(struct factory_line *l, int action, const char *product_key, const char *device_id);
/* The same for a certificate, which is checked: it is whole, of this product, and CRC32 fits; else ODD. `ret` is filled with DONE. */
enum factory_line_answer factory_line_certificate(struct factory_line *l, const char *product_key, const char *device_id,
						  struct triple_burn_cert *ret);

#endif
