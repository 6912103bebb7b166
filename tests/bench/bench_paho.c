/*
 * bench_paho.c - the ceiling for the gateway's way to the platform over MQTT: the same messages with the same
 * window to the same emulator, from a program that does nothing else.
 *
 * Logs in as a gateway device, adds and logs in its sub-devices, then publishes the bytes of the file
 * `--payload` as property posts of one device after the other at QoS 1, at most `--window` of them unconfirmed, as
 * fast as it goes or `--rate` of them a second, and prints one line of JSON. `--stock` is a file of lines
 * "ProductKey DeviceName DeviceSecret", the gateway first.
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

#define BATCH 5u /* devices in one batch login: the platform takes no more */
#define WARM_UP_S 0.5
#define RING 65536u
#define SAMPLES_MOST 1000000u

static struct {
	const char *uri, *stock, *payload_file;
	unsigned window, rate;
	double seconds;
} conf = { .window = 1000, .seconds = 2 };

struct certificate {
	char pk[32], dn[64], secret[80];
};

static struct certificate gateway, *devices;
static unsigned device_count;

static MQTTAsync handle;
static sem_t room, event; /* event: CONNACK or a reply came */
static atomic_ulong confirmed, failed;
static atomic_int connected, refused;
static char (*topics)[CW_TOPIC_MAX];
static double sent_s[RING];         /* when each unconfirmed one was sent */
static float samples[SAMPLES_MOST]; /* milliseconds; Paho's one receiving thread writes them */
static atomic_int measuring;
static size_t sample_count;

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
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
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
	const double *sent = ctx;

	if (atomic_load_explicit(&measuring, memory_order_relaxed) && sample_count < SAMPLES_MOST)
		samples[sample_count++] = (float)((now_s() - *sent) * 1e3);
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
	char base[128];

	(void)snprintf(base, sizeof(base), "%s.%s", gateway.pk, gateway.dn);
	if (cw_sign_connect(&sign, CW_SIGN_SHA256, base, gateway.pk, gateway.dn, gateway.secret, "2524608000000", 0,
			    "ext=1") < 0)
		return -1;
	create.MQTTVersion = MQTTVERSION_3_1_1;
	create.maxBufferedMessages = (int)conf.window + 100;
	if (MQTTAsync_createWithOptions(&handle, conf.uri, sign.client_id, MQTTCLIENT_PERSISTENCE_NONE, NULL,
					&create) != MQTTASYNC_SUCCESS)
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

static void on_subscribed(void *ctx, MQTTAsync_successData *ok)
{
	(void)sem_post(&event);
}

/* The two topics on which the platform answers what is asked here. */
static int subscribe_replies(void)
{
	MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
	char topo[CW_TOPIC_MAX], login[CW_TOPIC_MAX];
	char *list[] = { topo, login };
	int qos[] = { 1, 1 };

	options.onSuccess = on_subscribed;
	if (cw_topic_sys(topo, gateway.pk, gateway.dn, "thing/topo/add_reply") < 0 ||
	    cw_topic_session(login, gateway.pk, gateway.dn, "batch_login_reply") < 0 ||
	    MQTTAsync_subscribeMany(handle, 2, list, qos, &options) != MQTTASYNC_SUCCESS)
		return -1;
	return wait_event();
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
	char topic[CW_TOPIC_MAX], *text;
	struct timespec t;
	size_t len;
	unsigned i;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	for (i = 0; i < count; i++)
		subs[i] = (struct cw_alink_sub){ devices[first + i].pk, devices[first + i].dn,
						 devices[first + i].secret };
	if (cw_topic_sys(topic, gateway.pk, gateway.dn, "thing/topo/add") < 0 ||
	    cw_alink_topo_add(2 * first + 1, subs, count, t.tv_sec * 1000, &text, &len) < 0 ||
	    ask(topic, text, len) < 0)
		return -1;
	if (cw_topic_session(topic, gateway.pk, gateway.dn, "batch_login") < 0 ||
	    cw_alink_batch_login(2 * first + 2, subs, count, t.tv_sec * 1000, &text, &len) < 0 ||
	    ask(topic, text, len) < 0)
		return -1;
	for (i = 0; i < count; i++)
		if (cw_topic_sys(topics[first + i], devices[first + i].pk, devices[first + i].dn,
				 "thing/event/property/post") < 0)
			return -1;
	return 0;
}

static int by_size(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return x < y ? -1 : x > y;
}

static double percentile(double p)
{
	return sample_count == 0 ? 0 : (double)samples[(size_t)((double)(sample_count - 1) * p)];
}

static void print_result(unsigned long messages, double seconds, double cpu)
{
	atomic_store(&measuring, 0);
	qsort(samples, sample_count, sizeof(samples[0]), by_size);
	(void)printf("{\"messages\": %lu, \"failed\": %lu, \"seconds\": %.4f, \"per_second\": %.1f, \"cpu_s\": %.3f, "
		     "\"p50_ms\": %.4f, \"p99_ms\": %.4f, \"max_ms\": %.4f}\n",
		     messages, atomic_load(&failed), seconds, (double)messages / seconds, cpu, percentile(0.5),
		     percentile(0.99), percentile(1));
	(void)fflush(stdout);
}

/* Until the next one is due at the rate asked for. */
static void pace(double start, unsigned long sent)
{
	double wait = conf.rate == 0 ? 0 : start + (double)sent / conf.rate - now_s();

	if (wait > 0.0005)
		(void)usleep((useconds_t)(wait * 1e6));
}

static int publish(const void *payload, int len)
{
	MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
	double start = now_s(), from = 0, cpu = 0;
	unsigned long counted = 0, sent = 0;

	options.onSuccess = on_confirmed;
	options.onFailure = on_failed;
	for (;;) {
		double now = now_s();

		if (from == 0 && now - start >= WARM_UP_S) {
			from = now;
			cpu = cpu_s();
			counted = atomic_load(&confirmed);
			atomic_store(&measuring, 1);
		}
		if (from > 0 && now - from >= conf.seconds) {
			print_result(atomic_load(&confirmed) - counted, now - from, cpu_s() - cpu);
			return 0;
		}
		pace(start, sent);
		(void)sem_wait(&room);
		options.context = &sent_s[sent % RING];
		sent_s[sent % RING] = now_s();
		if (MQTTAsync_send(handle, topics[sent++ % device_count], len, payload, 1, 0, &options) !=
		    MQTTASYNC_SUCCESS)
			return -1;
	}
}

static int read_stock(void)
{
	struct certificate c;
	FILE *f = fopen(conf.stock, "r");

	if (f == NULL)
		return -1;
	while (fscanf(f, "%31s %63s %79s", c.pk, c.dn, c.secret) == 3) {
		if (gateway.pk[0] == '\0') {
			gateway = c;
			continue;
		}
		if (device_count % 64 == 0)
			devices = realloc(devices, (device_count + 64) * sizeof(*devices));
		if (devices == NULL)
			break;
		devices[device_count++] = c;
	}
	(void)fclose(f);
	topics = calloc(device_count + 1, sizeof(*topics));
	return devices == NULL || topics == NULL || device_count == 0 ? -1 : 0;
}

static int fail(const char *what)
{
	(void)fprintf(stderr, "bench_paho: %s failed\n", what);
	return 1;
}

static int parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "uri", 1, NULL, 'u' },    { "payload", 1, NULL, 'p' }, { "stock", 1, NULL, 'd' },
		{ "window", 1, NULL, 'w' }, { "seconds", 1, NULL, 's' }, { "rate", 1, NULL, 'r' },
		{ NULL, 0, NULL, 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'u': conf.uri = optarg; break;
		case 'p': conf.payload_file = optarg; break;
		case 'd': conf.stock = optarg; break;
		case 'w': conf.window = (unsigned)atoi(optarg); break;
		case 's': conf.seconds = atof(optarg); break;
		case 'r': conf.rate = (unsigned)atoi(optarg); break;
		default: return -1;
		}
	}
	return conf.uri != NULL && conf.payload_file != NULL && conf.stock != NULL && conf.window > 0 ? 0 : -1;
}

int main(int argc, char **argv)
{
	static char payload[65536];
	size_t len;
	unsigned i;
	FILE *f;

	if (parse(argc, argv) < 0) {
		(void)fputs("usage: bench_paho --uri tcp://HOST:PORT --payload FILE --stock FILE [--window N] "
			    "[--seconds S] [--rate N]\n",
			    stderr);
		return 2;
	}
	f = fopen(conf.payload_file, "r");
	if (f == NULL)
		return fail("reading the payload");
	len = fread(payload, 1, sizeof(payload), f);
	(void)fclose(f);
	if (read_stock() < 0)
		return fail("reading the stock");
	(void)sem_init(&room, 0, conf.window);
	(void)sem_init(&event, 0, 0);
	if (log_in() < 0 || subscribe_replies() < 0)
		return fail("login");
	for (i = 0; i < device_count; i += BATCH)
		if (bring_up(i, device_count - i < BATCH ? device_count - i : BATCH) < 0)
			return fail("login of the sub-devices");
	if (publish(payload, (int)len) < 0)
		return fail("publishing");
	_exit(0); /* Paho would wait for what is still unconfirmed */
}
