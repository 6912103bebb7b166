/*
 * What a hostile server can send a firmware: the bytes of an HTTP answer, in pieces, and a reply's JSON. A reply that was taken has texts
 * within their buffers, and reads the same in a buffer that just holds it; a shorter one makes it a failure.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "factory/clients/c/triple_burn.h"

static const uint8_t *rest;
static size_t rest_len, piece;

static void *open_it(void *arg, const char *host, unsigned port, unsigned timeout_ms)
{
	return &rest;
}

static long send_it(void *conn, const void *data, size_t len, unsigned timeout_ms)
{
	return (long)len;
}

static long recv_it(void *conn, void *data, size_t size, unsigned timeout_ms)
{
	size_t n = rest_len < piece ? rest_len : piece;

	n = n < size ? n : size;
	if (n != 0)
		memcpy(data, rest, n);
	rest += n;
	rest_len -= n;
	return (long)n;
}

static void close_it(void *conn)
{
}

static const struct triple_burn_transport transport = { open_it, send_it, recv_it, close_it, NULL };

static void parse(const char *text)
{
	struct triple_burn_cert *c = malloc(sizeof(*c)); /* so that ASan sees one byte too many */

	if (c != NULL && parse_cert(NULL, text, c) == 0 &&
	    (strlen(c->product_key) > PRODUCT_KEY_LEN || c->product_key[0] == '\0' || strlen(c->device_name) > DEVICE_NAME_LEN ||
	     c->device_name[0] == '\0' || strlen(c->product_secret) > PRODUCT_SECRET_LEN || strlen(c->device_secret) > DEVICE_SECRET_LEN ||
	     c->device_secret[0] == '\0' || strlen(c->device_id) > DEVICE_ID_LEN || parse_status(text, NULL, 0) != 0))
		abort();
	free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct triple_burn_conf conf;
	char *text = malloc(size + 1), *reply = malloc(512), *exact;
	long n;

	memset(&conf, 0, sizeof(conf));
	conf.transport = &transport;
	memcpy(text, data, size);
	text[size] = '\0';
	parse(text);
	rest = data;
	rest_len = size;
	piece = size == 0 ? 1 : 1 + data[size - 1] % 64u;
	n = send_req_n(&conf, 0, "pk", "id", "h", reply, 512);
	if (n >= 512 || (n >= 0 && strlen(reply) != (size_t)n))
		abort();
	if (n >= 0) {
		parse(reply);
		exact = malloc((size_t)n + 1);
		rest = data;
		rest_len = size;
		piece = 1;
		if (send_req_n(&conf, 0, "pk", "id", "h", exact, (size_t)n + 1) != n || strcmp(exact, reply) != 0)
			abort();
		rest = data;
		rest_len = size;
		if (n > 0 && send_req_n(&conf, 0, "pk", "id", "h", exact, (size_t)n) >= 0)
			abort();
		free(exact);
	}
	free(reply);
	free(text);
	return 0;
}
