/*
 * fuzz_https.c - requests of devices over HTTPS: the first byte chooses which, the rest is path, fields and body, each ended
 * by a NUL. Beside not crashing: every request gets an answer that can be written, and a token is never longer than a client's buffer takes.
 */
#include <stdlib.h>
#include <string.h>

#include "base/stat.h"
#include "cloud/https/device.h"
#include "cloud/web/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct https_device device;

static void set_up(void)
{
	static struct cw_stat_block stats;
	struct cw_worker *worker = NULL;
	struct cloud_conf conf;
	struct cloud_product *p = NULL;
	struct cloud_device *d = NULL;
	struct cw_msg msg = { "" };

	cw_stat_thread(&stats);
	cw_cloud_conf_default(&conf);
	conf.limits.documented = 0;
	if (cw_worker_new("fuzz", 0, &worker) < 0 || cw_cloud_new(worker, &conf, &device.cloud) < 0 ||
	    cw_cloud_product_add(device.cloud, "a1EmuPk0001", "EmuPs0123456789A", CLOUD_NODE_DEVICE, &p, &msg) < 0 ||
	    cw_cloud_device_add(device.cloud, p, "dev-0001", "0123456789abcdef0123456789abcdef", &d, &msg) < 0)
		abort();
}

/* The next text of the input; the last one is what is left. */
static char *next(char **at, char *end)
{
	char *text = *at, *nul = memchr(text, '\0', (size_t)(end - text));

	*at = nul != NULL ? nul + 1 : end;
	return text;
}

static void serve(https_fn fn, const struct https_ask *ask)
{
	struct https_answer ret = { .status = 0 };
	char *text;

	fn(&device, ask, &ret);
	if (ret.status != 200 || ret.body == NULL)
		abort();
	text = json_dumps(ret.body, JSON_COMPACT);
	if (text == NULL || (fn == cw_cloud_https_auth && strlen(text) >= 256))
		abort();
	free(text);
	json_decref(ret.body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const https_fn fns[] = { cw_cloud_https_auth, cw_cloud_https_topic, cw_cloud_https_register,
		                        cw_cloud_https_bootstrap, cw_cloud_https_device_name };
	static const char *const types[] = { "application/json", "application/octet-stream", "application/x-www-form-urlencoded" };
	size_t from, count;
	char *copy, *at, *end, *path;
	struct https_ask ask;

	if (size < 2)
		return 0;
	if (device.cloud == NULL)
		set_up();
	copy = malloc(size + 8);
	memcpy(copy, "/topic", 6);
	memcpy(copy + 6, data + 2, size - 2);
	end = copy + 6 + size - 2;
	*end = '\0';
	at = copy + 6;
	path = next(&at, end);
	ask = (struct https_ask){ .path = copy, .type = types[data[1] % 3], .peer = "127.0.0.1:1" };
	if (path[0] != '/')
		ask.path = "/topic/";
	if ((data[1] & 0x80) != 0)
		ask.query = "";
	ask.token = next(&at, end);
	ask.host = next(&at, end);
	ask.body = at;
	ask.len = (size_t)(end - at);
	serve(fns[data[0] % (sizeof(fns) / sizeof(fns[0]))], &ask);
	if (cw_cloud_web_range(ask.host, 1000, &from, &count) == WEB_RANGE_PART && (count == 0 || from + count > 1000))
		abort();
	free(copy);
	return 0;
}
