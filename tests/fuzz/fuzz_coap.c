/*
 * One CoAP request as a hostile client with a good login would send it. First byte: which path, mode, format and what
 * is wrong with it; the rest is the body, encrypted here so that what is behind the cipher is reached, or taken as the
 * cipher itself.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cloud/coap/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct cw_cloud *cloud;
static struct coap_service *service;
static struct cloud_device *device;

static void set_up(void)
{
	struct cloud_conf conf;
	struct cw_worker *worker;
	struct cloud_product *product;
	struct cw_msg msg = { "" };

	cw_log_set_level(CW_LOG_ERROR);
	cw_cloud_conf_default(&conf);
	conf.limits.documented = 0;
	conf.keep_messages = 10;
	if (cw_worker_new("fuzz", 0, &worker) < 0 || cw_cloud_new(worker, &conf, &cloud) < 0 ||
	    cw_cloud_product_add(cloud, "a1EmuPk0001", NULL, CLOUD_NODE_DEVICE, &product, &msg) < 0 ||
	    cw_cloud_device_add(cloud, product, "dev-0001", "0123456789abcdef0123456789abcdef", &device, &msg) < 0)
		abort();
	service = cw_cloud_coap_service_get(cloud);
}

/* The login of the service's own device, by a request as a client makes it; signs of a fixed body never change. */
static struct cloud_text login(struct coap_answer *a, int secure)
{
	static const char plain[] =
		"{\"productKey\":\"a1EmuPk0001\",\"deviceName\":\"dev-0001\",\"clientId\":\"a1EmuPk0001&dev-0001\","
		"\"seq\":\"10\",\"sign\":\"7842fceccf0d7cab22467f1c8bd57cbe\"}";
	struct coap_request r = { .post = 1,
				  .secure = secure,
				  .path = { "auth", 4 },
				  .format = -1,
				  .accept = -1,
				  .peer = "fuzz",
				  .payload = (const uint8_t *)plain,
				  .len = sizeof(plain) - 1 };
	const char *token;

	cw_cloud_coap_handle(service, &r, a);
	token = a->code == 205 ? memmem(a->payload, a->len, "\"token\":\"", 9) : NULL;
	if (token == NULL)
		abort();
	return (struct cloud_text){ token + 9, secure ? 32 : 35 };
}

static void encrypt(const struct coap_answer *a, const uint8_t *data, size_t len, uint8_t *out, size_t *ret_len)
{
	const char *random = memmem(a->payload, a->len, "\"random\":\"", 10);
	char text[17] = "";
	uint8_t key[COAP_KEY_BYTES];

	if (random == NULL)
		abort();
	memcpy(text, random + 10, 16);
	if (cw_cloud_coap_key(device->secret, text, key) < 0 || cw_cloud_coap_encrypt(key, data, len, out, ret_len) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const paths[] = { "auth",
					     "auth/register/device",
					     "pull",
					     "topic/a1EmuPk0001/dev-0001/user/update",
					     "topic/sys/a1EmuPk0001/dev-0001/thing/event/property/post",
					     "topic/ext/ntp/a1EmuPk0001/dev-0001/request",
					     "topic/",
					     "other" };
	static struct coap_answer given, answer;
	uint8_t body[4096], seq[32];
	size_t seq_len = 0;
	struct coap_request r = { .post = 1, .format = -1, .accept = -1, .confirmable = 1, .peer = "fuzz" };

	if (service == NULL)
		set_up();
	if (size < 1 || size > 2048)
		return 0;
	r.path = (struct cloud_text){ paths[data[0] & 7], strlen(paths[data[0] & 7]) };
	r.secure = (data[0] & 8) != 0;
	r.format = (data[0] & 16) != 0 ? COAP_FORMAT_CBOR : -1;
	r.payload = data + 1;
	r.len = size - 1;
	if ((data[0] & 7) >= 2) {
		r.token = login(&given, r.secure);
		if (!r.secure) {
			encrypt(&given, (const uint8_t *)"10", 2, seq, &seq_len);
			r.seq = (struct cloud_text){ (const char *)seq, seq_len };
			if ((data[0] & 32) == 0) {
				encrypt(&given, data + 1, size - 1, body, &r.len);
				r.payload = body;
			} else if (size > 17) { /* what is there is number and body alike */
				r.seq = (struct cloud_text){ (const char *)data + 1, 16 };
			}
		}
	}
	cw_cloud_coap_handle(service, &r, &answer);
	if (!answer.silent && (answer.code < 200 || answer.code > 599 || answer.len > sizeof(answer.payload)))
		abort();
	if (answer.code != 205 && answer.len != 0)
		abort();
	return 0;
}
