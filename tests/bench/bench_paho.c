/*
 * bench_paho.c - the ceiling for the gateway's way to the platform over MQTT: the same messages with the same
 * window to the same emulator, from a program that does nothing else.
 *
 * Logs in as the gateway device, adds and logs in `--devices` sub-devices, then publishes the bytes of the file
 * `--payload` as property posts of one device after the other at QoS 1, at most `--window` of them unconfirmed,
 * and prints one line of JSON. Secrets come by the environment: GATEWAY_SECRET and, with a '%d' for the number, DEVICE_SECRET.
 */
#include <getopt.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <MQTTAsync.h>

#include "base/mem.h"
#include "platform/alink.h"
#include "platform/sign.h"
#include "platform/topic.h"

#define BATCH CW_ALINK_TOPO_BATCH
#define WARM_UP_S 0.5

static struct {
	const char *uri, *product_key, *gateway_pk, *gateway_dn, *payload_file;
	unsigned devices, window;
	double seconds;
} conf = { .gateway_pk = "a1EmuGw0001", .gateway_dn = "gw-0001", .product_key = "a1EmuSub001", .devices = 100, .window = 1000, .seconds = 2 };

static MQTTAsync handle;
static sem_t room, event; /* event: CONNACK or a reply came */
static atomic_ulong confirmed, failed;
static atomic_int connected, refused;
static char (*topics)[CW_TOPIC_MAX];

static double now_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_s(void)
{
	struct rusage u;

	(void)getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void on_connected(void *ctx, MQTTAsync_successData *ok)
{
	atomic_store(&connected, 1);
	(void)sem_post(&event);
}

static void on_connect_failed(void *ctx, MQTTAsync_failureData *failure)
{
	(void)sem_post(&event);
}

static void on_confirmed(void *ctx, MQTTAsync_successData *ok)
{
	atomic_fetch_add_explicit(&confirmed, 1, memory_order_relaxed);
	(void)sem_post(&room);
}

static void on_failed(void *ctx, MQTTAsync_failureData *failure)
{
	atomic_fetch_add_explicit(&failed, 1, memory_order_relaxed);
	(void)sem_post(&room);
}

static int ends_with(const char *text, size_t len, const char *end)
{
	size_t n = strlen(end);

	return len >= n && memcmp(text + len - n, end, n) == 0;
}

static int on_message(void *ctx, char *topic, int topic_len, MQTTAsync_message *m)
{
	size_t len = topic_len > 0 ? (size_t)topic_len : strlen(topic);

	if (ends_with(topic, len, "topo/add_reply") || ends_with(topic, len, "login_reply")) {
		struct cw_alink_reply r;

		if (cw_alink_reply(cw_bytes_of(m->payload, (size_t)m->payloadlen), &r) < 0 || r.code != 200)
			atomic_store(&refused, 1);
		else
			cw_alink_reply_drop(&r);
		(void)sem_post(&event);
	}
	MQTTAsync_freeMessage(&m);
	MQTTAsync_free(topic);
	return 1;
}

static int wait_event(void)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	return sem_timedwait(&event, &until) == 0 && !atomic_load(&refused) ? 0 : -1;
}

static int log_in(void)
{
	MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer;
	MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer;
	struct cw_sign_connect sign;
	char base[CW_BASE_CLIENT_ID_MAX + 1];

	(void)snprintf(base, sizeof(base), "%s.%s", conf.gateway_pk, conf.gateway_dn);
	if (cw_sign_connect(&sign, CW_SIGN_SHA256, base, conf.gateway_pk, conf.gateway_dn, getenv("GATEWAY_SECRET"), "2524608000000", 0,
	                    "ext=1") < 0)
		return -1;
	create.MQTTVersion = MQTTVERSION_3_1_1;
	create.maxBufferedMessages = (int)conf.window + 100;
	if (MQTTAsync_createWithOptions(&handle, conf.uri, sign.client_id, MQTTCLIENT_PERSISTENCE_NONE, NULL, &create) != MQTTASYNC_SUCCESS)
		return -1;
	(void)MQTTAsync_setCallbacks(handle, NULL, NULL, on_message, NULL);
	options.MQTTVersion = MQTTVERSION_3_1_1;
	options.keepAliveInterval = 300;
	options.cleansession = 0;
	options.maxInflight = 65535;
	options.username = sign.user;
	options.password = sign.password;
	options.onSuccess = on_connected;
	options.onFailure = on_connect_failed;
	if (MQTTAsync_connect(handle, &options) != MQTTASYNC_SUCCESS || wait_event() < 0)
		return -1;
	return atomic_load(&connected) ? 0 : -1;
}

static int ask(const char *topic, char *text, size_t len)
{
	int rc = MQTTAsync_send(handle, topic, (int)len, text, 0, 0, NULL);

	cw_free(text);
	return rc == MQTTASYNC_SUCCESS ? wait_event() : -1;
}

/* Topology and login of devices first .. first + count - 1. */
static int bring_up(unsigned first, unsigned count)
{
	struct cw_alink_sub subs[BATCH];
	char names[BATCH][32], secrets[BATCH][40], topic[CW_TOPIC_MAX], *text;
	const char *pattern = getenv("DEVICE_SECRET");
	struct timespec t;
	size_t len;
	unsigned i;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	for (i = 0; i < count; i++) {
		const char *number = strstr(pattern, "%d");
		int before = number == NULL ? (int)strlen(pattern) : (int)(number - pattern), n;

		(void)snprintf(names[i], sizeof(names[i]), "sub-%04u", first + i + 1);
		n = snprintf(secrets[i], sizeof(secrets[i]), "%.*s%u", before, pattern, first + i);
		for (; n < 32; n++)
			secrets[i][n] = '0';
		secrets[i][32] = '\0';
		subs[i] = (struct cw_alink_sub){ conf.product_key, names[i], secrets[i] };
	}
	if (cw_topic_sys(topic, conf.gateway_pk, conf.gateway_dn, "thing/topo/add") < 0 ||
	    cw_alink_topo_add(2 * first + 1, subs, count, t.tv_sec * 1000, &text, &len) < 0 || ask(topic, text, len) < 0)
		return -1;
	if (cw_topic_session(topic, conf.gateway_pk, conf.gateway_dn, "batch_login") < 0 ||
	    cw_alink_batch_login(2 * first + 2, subs, count, t.tv_sec * 1000, &text, &len) < 0 || ask(topic, text, len) < 0)
		return -1;
	for (i = 0; i < count; i++)
		if (cw_topic_sys(topics[first + i], conf.product_key, names[i], "thing/event/property/post") < 0)
			return -1;
	return 0;
}

static int publish(const void *payload, int len)
{
	MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
	double start = now_s(), from = 0, cpu = 0;
	unsigned long counted = 0;
	unsigned turn = 0;

	options.onSuccess = on_confirmed;
	options.onFailure = on_failed;
	for (;;) {
		double now = now_s();

		if (from == 0 && now - start >= WARM_UP_S) {
			from = now;
			cpu = cpu_s();
			counted = atomic_load(&confirmed);
		}
		if (from > 0 && now - from >= conf.seconds) {
			counted = atomic_load(&confirmed) - counted;
			(void)printf("{\"messages\": %lu, \"failed\": %lu, \"seconds\": %.4f, \"per_second\": %.1f, \"cpu_s\": %.3f}\n", counted,
			             atomic_load(&failed), now - from, (double)counted / (now - from), cpu_s() - cpu);
			return 0;
		}
		(void)sem_wait(&room);
		if (MQTTAsync_send(handle, topics[turn++ % conf.devices], len, payload, 1, 0, &options) != MQTTASYNC_SUCCESS)
			return -1;
	}
}

static int fail(const char *what)
{
	(void)fprintf(stderr, "bench_paho: %s failed\n", what);
	return 1;
}

static int parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "uri", 1, NULL, 'u' }, { "payload", 1, NULL, 'p' }, { "devices", 1, NULL, 'n' }, { "window", 1, NULL, 'w' },
		{ "seconds", 1, NULL, 's' }, { NULL, 0, NULL, 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'u': conf.uri = optarg; break;
		case 'p': conf.payload_file = optarg; break;
		case 'n': conf.devices = (unsigned)atoi(optarg); break;
		case 'w': conf.window = (unsigned)atoi(optarg); break;
		case 's': conf.seconds = atof(optarg); break;
		default: return -1;
		}
	}
	return conf.uri != NULL && conf.payload_file != NULL && conf.devices > 0 && conf.window > 0 && getenv("GATEWAY_SECRET") != NULL &&
	       getenv("DEVICE_SECRET") != NULL ? 0 : -1;
}

int main(int argc, char **argv)
{
	static char payload[65536];
	size_t len;
	unsigned i;
	FILE *f;

	if (parse(argc, argv) < 0) {
		(void)fputs("usage: GATEWAY_SECRET=.. DEVICE_SECRET=.. bench_paho --uri tcp://HOST:PORT --payload FILE\n"
		            "       [--devices N] [--window N] [--seconds S]\n",
		            stderr);
		return 2;
	}
	f = fopen(conf.payload_file, "r");
	if (f == NULL)
		return fail("reading the payload");
	len = fread(payload, 1, sizeof(payload), f);
	(void)fclose(f);
	topics = calloc(conf.devices, sizeof(*topics));
	if (topics == NULL)
		return fail("memory");
	(void)sem_init(&room, 0, conf.window);
	(void)sem_init(&event, 0, 0);
	if (log_in() < 0)
		return fail("login");
	for (i = 0; i < conf.devices; i += BATCH)
		if (bring_up(i, conf.devices - i < BATCH ? conf.devices - i : BATCH) < 0)
			return fail("login of the sub-devices");
	if (publish(payload, (int)len) < 0)
		return fail("publishing");
	(void)fflush(stdout);
	_exit(0); /* Paho would wait for what is still unconfirmed */
}
