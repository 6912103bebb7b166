/* options.c - see options.h. */
#include "cloud/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cloud/core/fault/fault.h"
#include "cloud/core/model/script.h"
#include "cloud/core/model/tsl.h"
#include "conf/schema.h"

#define FILE_MAX (1u << 20)

static const char usage[] =
	"Usage: causeway-cloud [OPTION ...]\n"
	"\n"
	"A local emulator of the IoT Platform. Without a file it listens on free ports and has a\n"
	"demonstration stock; it prints both.\n"
	"\n"
	"  -c, --config FILE      read products, devices, limits and so on from FILE, such as conf/cloud.conf\n"
	"      --state FILE       keep stock, topology, messages, shadows in FILE (SQLite) over restarts\n"
	"      --tls-dir DIR      keep the certificates made at the start in DIR (FILE.tls of --state)\n"
	"      --free-ports       with a FILE too, listeners that it does not name take free ports\n"
	"      --ready-file FILE  write the bound addresses to FILE as JSON when everything listens\n"
	"  -h, --help             show this and exit\n"
	"  -V, --version          show the version and exit\n"
	"\n"
	"Listeners: a numeric host and a port (0: any free one), or off. They come before those of FILE:\n";

static const char usage_api[] =
	"\n"
	"The API, with curl, behind /api/v1; POST takes JSON, PK/DN is productKey/deviceName:\n"
	"  GET  /devices, /devices/PK/DN       who is there; one with what it reported and why it was refused\n"
	"  GET  /messages?limit=N              what was sent and received; /messages/stream follows\n"
	"  POST /devices/PK/DN/properties      {\"NAME\": VALUE}: set them, wait for the answer\n"
	"  POST /devices/PK/DN/services/NAME   {\"ARGUMENT\": VALUE}; /raw and /rrpc send bytes\n"
	"  POST /devices/PK/DN/disable         and enable; DELETE /devices/PK/DN\n"
	"  POST /faults                        {\"kind\": KIND, \"device\": \"PK/DN\", \"count\": N}; DELETE ends all\n"
	"  GET  /violations                    which limits were exceeded, by whom\n"
	"  POST /clock                         {\"advance\": \"7d\"}: put the platform's clock forward\n"
	"Kinds of faults, told by GET /faults in sentences:\n ";

static const char usage_end[] =
	"\nThe page at the API's address shows all of it. One page to read: src/cloud/USING.md.\n";

/* Aligned, and no line longer than a screen is wide. */
static void print_usage(FILE *to)
{
	static const struct {
		const char *name, *address, *what;
	} listeners[] = {
#define LISTENER_USAGE(name, address, url, what) { #name, address, what },
		CLOUD_LISTENERS(LISTENER_USAGE)
#undef LISTENER_USAGE
	};
	static const char *const kinds[] = {
#define FAULT_USAGE(sym, name, help) name,
		CLOUD_FAULTS(FAULT_USAGE)
#undef FAULT_USAGE
	};
	size_t i;

	(void)fputs(usage, to);
	for (i = 0; i < CLOUD_LISTENER_COUNT; i++)
		(void)fprintf(to, "      --%-7s ADDRESS  %-14s  %s\n", listeners[i].name, listeners[i].address, listeners[i].what);
	(void)fputs(usage_api, to);
	for (i = 0; i < CLOUD_FAULT_COUNT; i++)
		(void)fprintf(to, "%s %s", i == CLOUD_FAULT_COUNT / 2 + 1 ? "\n " : "", kinds[i]);
	(void)fputs(usage_end, to);
}

enum { OPT_READY = 256, OPT_STATE, OPT_TLS_DIR, OPT_FREE_PORTS, OPT_LISTENER };

static const struct option long_options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "ready-file", required_argument, NULL, OPT_READY },
#define LISTENER_OPTION(name, address, url, what) { #name, required_argument, NULL, OPT_LISTENER + CLOUD_LISTENER_##name },
	CLOUD_LISTENERS(LISTENER_OPTION)
#undef LISTENER_OPTION
	{ "state", required_argument, NULL, OPT_STATE },
	{ "tls-dir", required_argument, NULL, OPT_TLS_DIR },
	{ "free-ports", no_argument, NULL, OPT_FREE_PORTS },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

/* ---- the file ---- */

struct topic_conf {
	const char *topic;
	int permission;
};

struct product_conf {
	const char *key, *secret, *name, *tsl, *script;
	int type, format, authentication;
	bool registration;
	struct cw_conf_list topics;
};

struct device_conf {
	const char *pk, *dn, *secret;
	bool disabled;
};

struct fault_conf {
	const char *kind, *device, *topic, *channel, *direction;
	int code, ms;
	int64_t count, after, rate, seed;
	double probability;
};

struct file_conf {
	struct cw_conf_list products, devices, faults, keys;
	const char *listeners[CLOUD_LISTENER_COUNT];
	const char *certificate, *key, *ca, *tls_dir, *state;
	struct cloud_limits limits;
	struct cloud_switches switches;
	int log_format, log_level;
	unsigned keep;
	uint64_t keep_bytes, fault_seed;
};

static const char *const permissions[] = { "publish", "subscribe", "both", NULL };
static const char *const node_types[] = { "device", "gateway", "subdevice", NULL };
static const char *const formats[] = { "alink", "raw", NULL };
static const char *const authentications[] = { "secret", "x509", NULL };
static const char *const profiles[] = { "off", "documented", NULL };
static const char *const keepalive_values[] = { "refuse", "clamp", NULL };
static const char *const psk_texts[] = { "sdk", "manual", NULL };
static const char *const kick_topics[] = { "error", "logout_reply", NULL };
static const char *const regnwl_topics[] = { "regnwl", "register", "both", NULL };
static const char *const ota_pushes[] = { "2020", "later", NULL };
static const char *const downloads_values[] = { "https", "http", NULL };
static const char *const log_formats[] = { "text", "json", NULL };
static const char *const log_levels[] = { "debug", "info", "note", "warn", "error", NULL };

static const struct cw_conf_setting topic_settings[] = {
	CW_CONF_MUST(struct topic_conf, topic, STRING, "topic", NULL, NULL,
	             "Levels behind those of the device, such as user/report."),
	CW_CONF_CHOICE(struct topic_conf, permission, "permission", permissions, "both", "What devices may do there."),
	CW_CONF_END,
};
static const struct cw_conf_table topic_table = { .name = "topics", .size = sizeof(struct topic_conf),
	    .settings = topic_settings };

static const struct cw_conf_setting product_settings[] = {
	CW_CONF_MUST(struct product_conf, key, STRING, "productKey", NULL, NULL,
	             "Letters and digits, 11 on the real platform."),
	CW_CONF(struct product_conf, secret, SECRET, "productSecret", NULL, NULL, NULL, "Made up when left out."),
	CW_CONF(struct product_conf, name, STRING, "name", NULL, NULL, NULL,
	        "A name for people: 4 to 30 characters, unique."),
	CW_CONF_CHOICE(struct product_conf, type, "nodeType", node_types, "device",
	               "A gateway has sub-devices; a subdevice never connects itself."),
	CW_CONF_CHOICE(struct product_conf, format, "format", formats, "alink", "Alink JSON, or raw bytes."),
	CW_CONF_CHOICE(struct product_conf, authentication, "authentication", authentications, "secret",
	               "One secret per device, or a certificate that the platform issues."),
	CW_CONF(struct product_conf, tsl, STRING, "tsl", NULL, NULL, NULL, "File with its thing model, the platform's TSL JSON."),
	CW_CONF(struct product_conf, script, STRING, "script", NULL, NULL, NULL,
	        "File with its script: rawDataToProtocol and protocolToRawData, transformPayload."),
	CW_CONF(struct product_conf, registration, BOOL, "registration", "true", NULL, NULL,
	        "Whether devices of the product may fetch their secret."),
	CW_CONF_TABLES(struct product_conf, topics, LIST, "topics", &topic_table,
	               "Topic classes beside those every product has."),
	CW_CONF_END,
};
static const struct cw_conf_table product_table = { .name = "products", .size = sizeof(struct product_conf),
	                                            .settings = product_settings };

static const struct cw_conf_setting device_settings[] = {
	CW_CONF_MUST(struct device_conf, pk, STRING, "productKey", NULL, NULL, "One of `products`."),
	CW_CONF_MUST(struct device_conf, dn, STRING, "deviceName", NULL, NULL,
	             "4 to 32 of letters, digits and - _ @ . :"),
	CW_CONF(struct device_conf, secret, SECRET, "deviceSecret", NULL, NULL, NULL, "Made up when left out."),
	CW_CONF(struct device_conf, disabled, BOOL, "disabled", "false", NULL, NULL, "Refused until enabled by the API."),
	CW_CONF_END,
};
static const struct cw_conf_table device_table = { .name = "devices", .size = sizeof(struct device_conf),
	                                           .settings = device_settings };

static const struct cw_conf_setting fault_settings[] = {
	CW_CONF_MUST(struct fault_conf, kind, STRING, "kind", NULL, NULL, "connack, drop, stall and so on; `causeway-cloud --help` lists them all."),
	CW_CONF(struct fault_conf, device, STRING, "device", NULL, NULL, NULL, "productKey/deviceName; left out: all."),
	CW_CONF(struct fault_conf, topic, STRING, "topic", NULL, NULL, NULL, "An MQTT filter; left out: all."),
	CW_CONF(struct fault_conf, channel, STRING, "channel", NULL, NULL, NULL, "mqtt, https and so on; left out: all."),
	CW_CONF(struct fault_conf, direction, STRING, "direction", NULL, NULL, NULL, "up (from devices) or down; left out: both."),
	CW_CONF(struct fault_conf, code, INT, "code", "0", "0", "999999", "What a refusal answers."),
	CW_CONF(struct fault_conf, ms, INT, "ms", "0", "0", "3600000", "How long a delay is."),
	CW_CONF(struct fault_conf, count, INT, "count", "-1", "-1", "1000000000", "How often it strikes; -1: always."),
	CW_CONF(struct fault_conf, after, INT, "after", "0", "0", "1000000000", "How many times it lets pass before."),
	CW_CONF(struct fault_conf, rate, INT, "rate", "0", "0", "1000000000", "Bytes a second that throttle reads."),
	CW_CONF(struct fault_conf, probability, DOUBLE, "probability", "1", "0", "1", "How likely it strikes then."),
	CW_CONF(struct fault_conf, seed, INT, "seed", "-1", "-1", "9223372036854775807", "Of that chance; -1: made from faultSeed."),
	CW_CONF_END,
};
static const struct cw_conf_table fault_table = { .name = "faults", .size = sizeof(struct fault_conf),
	    .settings = fault_settings };

static const struct cw_conf_setting key_settings[] = {
	CW_CONF_MUST(struct cloud_access_key, id, STRING, "id", NULL, NULL, "AccessKeyId."),
	CW_CONF_MUST(struct cloud_access_key, secret, SECRET, "secret", NULL, NULL, "AccessKeySecret, up to 128 characters."),
	CW_CONF(struct cloud_access_key, active, BOOL, "active", "true", NULL, NULL, "false: refused as disabled."),
	CW_CONF_END,
};
static const struct cw_conf_table key_table = { .name = "accessKeys", .size = sizeof(struct cloud_access_key),
	                                        .settings = key_settings };

static const struct cw_conf_setting file_settings[] = {
	CW_CONF_TABLES(struct file_conf, products, LIST, "products", &product_table, "The products."),
	CW_CONF_TABLES(struct file_conf, devices, LIST, "devices", &device_table, "The devices."),
	CW_CONF_TABLES(struct file_conf, keys, LIST, "accessKeys", &key_table, "Keys of the management API."),
	CW_CONF_TABLES(struct file_conf, faults, LIST, "faults", &fault_table, "Faults in force from the start."),
#define LISTENER_SETTING(name, address, url, what)                                                                 \
	CW_CONF(struct file_conf, listeners[CLOUD_LISTENER_##name], STRING, "listeners." #name, NULL, NULL, NULL,  \
	        "Where it listens, a numeric host and a port (0: any free one), or off; " address " by default: " what "."),
	CLOUD_LISTENERS(LISTENER_SETTING)
#undef LISTENER_SETTING
	CW_CONF(struct file_conf, certificate, STRING, "tls.certificate", NULL, NULL, NULL,
	        "Server certificate with its chain, PEM; left out: one is made at the start."),
	CW_CONF(struct file_conf, key, STRING, "tls.key", NULL, NULL, NULL, "Its private key, PEM."),
	CW_CONF(struct file_conf, ca, STRING, "tls.ca", NULL, NULL, NULL, "What clients should trust; only printed."),
	CW_CONF(struct file_conf, tls_dir, STRING, "tls.dir", NULL, NULL, NULL,
	        "Directory for certificates made at the start, so that they are the same next time; left out: FILE.tls beside `state`."),
	CW_CONF(struct file_conf, state, STRING, "state", NULL, NULL, NULL,
	        "SQLite file that keeps stock, secrets given out, topology, kept messages and shadows; left out: memory only."),
	CW_CONF_CHOICE(struct file_conf, limits.documented, "limits.profile", profiles, "documented",
	               "documented: the rates below are enforced; off: none of them, for load tests."),
	CW_CONF(struct file_conf, limits.connect_per_minute, INT, "limits.connectPerMinute", "5", "1", "16",
	        "CONNECTs of one device."),
	CW_CONF(struct file_conf, limits.login_per_minute, INT, "limits.loginPerMinute", "5", "1", "16",
	        "Logins of one sub-device."),
	CW_CONF(struct file_conf, limits.login_per_second, INT, "limits.loginPerSecond", "200", "1", "1000000",
	        "Logins of all sub-devices."),
	CW_CONF(struct file_conf, limits.publish_qos0, INT, "limits.publishQos0", "30", "1", "1000000",
	        "QoS 0 publishes a device and second."),
	CW_CONF(struct file_conf, limits.publish_qos1, INT, "limits.publishQos1", "10", "1", "1000000",
	        "QoS 1 publishes a device and second."),
	CW_CONF(struct file_conf, limits.down_per_second, INT, "limits.downPerSecond", "50", "1", "1000000",
	        "Downlinks a device and second."),
	CW_CONF(struct file_conf, limits.account_connects, INT, "limits.accountConnects", "500", "1", "1000000",
	        "CONNECTs of all devices a second."),
	CW_CONF(struct file_conf, limits.account_up, INT, "limits.accountUp", "10000", "1", "100000000",
	        "Publishes of all devices a second; what exceeds it is dropped."),
	CW_CONF(struct file_conf, limits.account_down, INT, "limits.accountDown", "2000", "1", "100000000",
	        "Downlinks to all devices a second."),
	CW_CONF(struct file_conf, limits.throughput, BYTES, "limits.throughput", "1MiB", "1KiB", "1GiB",
	        "Bytes a second that are read from one MQTT connection; the rest waits at the client."),
	CW_CONF(struct file_conf, limits.payload_bytes, BYTES, "limits.payload", "256KiB", "1KiB", "256KiB",
	        "Payload of one publish over MQTT or of a bridge, whatever the profile; a larger one closes the connection, a bridge's is answered with 413."),
	CW_CONF(struct file_conf, limits.topic_bytes, INT, "limits.topicBytes", "128", "16", "65535",
	        "Bytes of a custom topic, whatever the profile."),
	CW_CONF(struct file_conf, limits.topic_slashes, INT, "limits.topicSlashes", "7", "3", "65535",
	        "Slashes of a custom topic, whatever the profile."),
	CW_CONF(struct file_conf, limits.topics_per_subscribe, INT, "limits.topicsPerSubscribe", "8", "1", "100",
	        "Topics in one SUBSCRIBE, whatever the profile; more close the connection."),
	CW_CONF(struct file_conf, limits.subscriptions, INT, "limits.subscriptions", "100", "1", "10000",
	        "Subscriptions of one device, whatever the profile; more are refused in SUBACK."),
	CW_CONF(struct file_conf, limits.classes, INT, "limits.topicClasses", "50", "1", "10000",
	        "Topic classes of a product beside those every product has."),
	CW_CONF(struct file_conf, limits.broadcast_ms, DURATION, "limits.broadcastEvery", "1s", "0s", "1h",
	        "Between two broadcasts to subscribers of a product."),
	CW_CONF(struct file_conf, limits.broadcast_all_ms, DURATION, "limits.broadcastAllEvery", "1m", "0s", "1h",
	        "Between two broadcasts to all online devices of a product."),
	CW_CONF(struct file_conf, limits.script_ms, DURATION, "limits.scriptTime", "1s", "10ms", "1m",
	        "One call of a product's script; after it the script's process is ended. Profile off does not lift it."),
	CW_CONF(struct file_conf, limits.inflight_in, INT, "limits.inflightIn", "100", "0", "65535",
	        "Unacknowledged publishes of a client before it is no longer read; 0: no limit."),
	CW_CONF(struct file_conf, limits.inflight_out, INT, "limits.inflightOut", "100", "0", "32768",
	        "Unacknowledged publishes to a client before more of them wait; 0: the most there is."),
	CW_CONF(struct file_conf, limits.out_queue_bytes, BYTES, "limits.outQueue", "4MiB", "64KiB", "1GiB",
	        "Bytes waiting for a client that does not read before it is closed; profile off does not lift it."),
	CW_CONF(struct file_conf, limits.members, INT, "limits.members", "1500", "1", "1000000",
	        "Sub-devices of one gateway, related or online."),
	CW_CONF(struct file_conf, limits.members_small, INT, "limits.membersSmallBridge", "15000", "1", "1000000",
	        "The same of a bridge of the small kind."),
	CW_CONF(struct file_conf, limits.members_large, INT, "limits.membersLargeBridge", "200000", "1", "1000000",
	        "The same of a bridge of the large kind."),
	CW_CONF(struct file_conf, limits.bridge_logins, INT, "limits.bridgeLogins", "0", "0", "1000000",
	        "Device logins of one bridge a second; more are refused with 429. 0: no limit."),
	CW_CONF(struct file_conf, limits.devices_per_product, INT, "limits.devicesPerProduct", "500000", "1", "100000000",
	        "Devices of one product; a registration beyond them is refused."),
	CW_CONF(struct file_conf, limits.coap_token_ms, DURATION, "limits.coapTokenLife", "7d", "1s", "365d",
	        "Life of a token of CoAP, by the platform's clock."),
	CW_CONF(struct file_conf, limits.coap_sessions, INT, "limits.coapSessions", "500", "1", "100000",
	        "DTLS sessions of CoAP (and addresses of plain CoAP that are remembered); the one idle for longest gives way."),
	CW_CONF(struct file_conf, limits.coap_idle_ms, DURATION, "limits.coapIdle", "5m", "1s", "1d",
	        "A session of CoAP without traffic ends after it."),
	CW_CONF(struct file_conf, limits.properties, INT, "limits.properties", "200", "1", "2000",
	        "Properties in one request, whatever the profile, as the four below; more are refused with 6106 or 6104."),
	CW_CONF(struct file_conf, limits.events, INT, "limits.events", "20", "1", "2000",
	        "Events of one member of a pack or a history; more are refused with 6356."),
	CW_CONF(struct file_conf, limits.pack, INT, "limits.pack", "20", "1", "2000",
	        "Sub-devices in one pack; more are refused with 6357."),
	CW_CONF(struct file_conf, limits.history, INT, "limits.history", "200", "1", "2000",
	        "Entries of one history; more are refused with 460."),
	CW_CONF(struct file_conf, limits.log_lines, INT, "limits.logLines", "40", "1", "500",
	        "Lines in one post of a device's log; more are refused with 460."),
	CW_CONF(struct file_conf, limits.shadow_requests, INT, "limits.shadowPerSecond", "20", "1", "1000000",
	        "Shadow requests of a device a second; more are dropped without an answer."),
	CW_CONF(struct file_conf, limits.shadow_attributes, INT, "limits.shadowAttributes", "128", "1", "10000",
	        "Attributes of each half of a shadow, whatever the profile; more are refused with 408."),
	CW_CONF(struct file_conf, limits.shadow_bytes, BYTES, "limits.shadowBytes", "16KiB", "64", "16KiB",
	        "Bytes of a shadow's state, whatever the profile; more are refused with 400."),
	CW_CONF(struct file_conf, limits.config_bytes, BYTES, "limits.configBytes", "64KiB", "64", "64KiB",
	        "Bytes of a product's remote configuration, whatever the profile."),
	CW_CONF(struct file_conf, limits.coap_body, BYTES, "limits.coapBody", "1KiB", "16", "1KiB",
	        "Payload of one request over CoAP, decrypted, whatever the profile; a larger one is refused with 4.13."),
	CW_CONF(struct file_conf, limits.https_body, BYTES, "limits.httpsBody", "128KiB", "1", "1MiB",
	        "Body of one publish over HTTPS, whatever the profile."),
	CW_CONF(struct file_conf, limits.https_token_ms, DURATION, "limits.httpsToken", "7d", "1s", "3650d",
	        "How long a token of /auth is good."),
	CW_CONF(struct file_conf, limits.batch_ms, DURATION, "limits.batchDelay", "100ms", "0s", "1h",
	        "From the order of a batch of devices to its end."),
	CW_CONF(struct file_conf, limits.openapi_per_second, INT, "limits.openapiPerSecond", "500", "1", "1000000",
	        "Management calls a second of each action whose own rate is not documented."),
	CW_CONF(struct file_conf, limits.package_bytes, BYTES, "limits.packages", "256MiB", "64KiB", "1000MiB",
	        "Bytes of all firmware packages together, and the largest upload; profile off does not lift it."),
	CW_CONF(struct file_conf, switches.strict_securemode, BOOL, "switches.strictSecuremode", "true", NULL, NULL,
	        "securemode must fit the channel."),
	CW_CONF_CHOICE(struct file_conf, switches.keepalive_clamp, "switches.keepAliveAbove1200", keepalive_values, "refuse",
	               "What becomes of a keep-alive above 1200 s: refused, or treated as 1200."),
	CW_CONF(struct file_conf, switches.strict_model, BOOL, "switches.strictModel", "false", NULL, NULL,
	        "A post with a value that breaks the product's model is answered with that value's code; false: the value is left out."),
	CW_CONF(struct file_conf, switches.topo_move, BOOL, "switches.topoMove", "true", NULL, NULL,
	        "A topo add of another gateway's sub-device moves it; false: 6619."),
	CW_CONF_CHOICE(struct file_conf, switches.kick_logout_reply, "switches.kickTopic", kick_topics, "error",
	               "Where a gateway is told of kicks: /ext/error or combine/logout_reply."),
	CW_CONF(struct file_conf, switches.allow_reregister, BOOL, "switches.allowReregister", "false", NULL, NULL,
	        "Whether a device that was online once may register again."),
	CW_CONF(struct file_conf, switches.coap_pull, BOOL, "switches.coapPull", "true", NULL, NULL,
	        "Devices on CoAP may fetch QoS 1 messages by POST /pull; false: 4.04, and nothing is kept for them."),
	CW_CONF_CHOICE(struct file_conf, switches.psk_manual, "switches.pskText", psk_texts, "sdk",
	               "What is signed for a pre-shared key: as the platform's SDKs do, or as its manual prints it."),
	CW_CONF(struct file_conf, switches.bridge_kicks, BOOL, "switches.bridgeKicks", "false", NULL, NULL,
	        "A bridge is told by a push when one of its devices is taken from it."),
	CW_CONF(struct file_conf, switches.bridge_promise, BOOL, "switches.bridgePromise", "false", NULL, NULL,
	        "Pushes of the bridge channel by PUSH_PROMISE on requests of the client."),
	CW_CONF(struct file_conf, switches.bridge_drop_repeats, BOOL, "switches.bridgeDropRepeats", "false", NULL, NULL,
	        "A publish of a bridge whose id it used in the last ten minutes is answered and not taken again."),
	CW_CONF(struct file_conf, switches.subscribe_delay_ms, DURATION, "switches.subscribeDelay", "0s", "0s", "10s",
	        "How long a subscription takes to take effect; the platform promises 10 s."),
	CW_CONF_CHOICE(struct file_conf, switches.downloads, "downloads", downloads_values, "https",
	               "Where links to firmware and the like point: the HTTPS listener, or the API's by plain HTTP."),
	CW_CONF(struct file_conf, switches.downloads_url, STRING, "downloadsUrl", NULL, NULL, NULL,
	        "What such links begin with instead, scheme://host:port, where clients know these listeners by another name."),
	CW_CONF_CHOICE(struct file_conf, switches.regnwl_topic, "switches.regnwlTopic", regnwl_topics, "regnwl",
	               "Where a device registered without pre-registration is told its token: /ext/regnwl, /ext/register, or both."),
	CW_CONF(struct file_conf, switches.instance_id, STRING, "switches.instanceId", NULL, NULL, NULL,
	        "What the instanceId of a registration must be when it has one; left out: anything."),
	CW_CONF(struct file_conf, fault_seed, INT, "faultSeed", "1", "0", "9223372036854775807",
	        "Of what faults leave to chance: the same seed, the same messages struck."),
	CW_CONF_CHOICE(struct file_conf, switches.ota_later, "switches.otaPush", ota_pushes, "2020",
	               "Pushes of upgrades: 2020 (id a text, signMethod Md5) or later (id a number, signMethod MD5)."),
	CW_CONF(struct file_conf, keep, INT, "messages.keep", "10000", "1", "10000000", "Messages the API can show."),
	CW_CONF(struct file_conf, keep_bytes, BYTES, "messages.keepBytes", "64MiB", "64KiB", "16GiB",
	        "Bytes of them all."),
	CW_CONF_CHOICE(struct file_conf, log_format, "log.format", log_formats, "text",
	               "Lines for people or for programs."),
	CW_CONF_CHOICE(struct file_conf, log_level, "log.level", log_levels, "info", "The lowest level written."),
	CW_CONF_END,
};
static const struct cw_conf_table file_table = { .name = "causeway-cloud", .size = sizeof(struct file_conf),
	                                         .settings = file_settings };

int cw_cloud_options_parse(int argc, char **argv, struct cloud_options *o)
{
	int opt;

	memset(o, 0, sizeof(*o));
	cw_cloud_conf_default(&o->conf);
	while ((opt = getopt_long(argc, argv, "c:hV", long_options, NULL)) != -1) {
		switch (opt) {
		case 'c': o->config = optarg; break;
		case OPT_READY: o->ready_file = optarg; break;
		case OPT_STATE: o->state = optarg; break;
		case OPT_TLS_DIR: o->tls.dir = optarg; break;
		case OPT_FREE_PORTS: o->free_ports = 1; break;
		case 'h': print_usage(stdout); return 0;
		case 'V': (void)puts("causeway-cloud " CW_VERSION); return 0;
		default:
			if (opt >= OPT_LISTENER && opt < OPT_LISTENER + CLOUD_LISTENER_COUNT) {
				o->listeners[opt - OPT_LISTENER] = optarg;
				break;
			}
			(void)fputs("Try 'causeway-cloud --help'.\n", stderr);
			return 2;
		}
	}
	if (optind < argc) {
		(void)fprintf(stderr, "causeway-cloud: unexpected argument '%s'\nTry 'causeway-cloud --help'.\n", argv[optind]);
		return 2;
	}
	return -1;
}

static void take_file(struct cloud_options *o, const struct file_conf *f)
{
	size_t i;

	for (i = 0; i < CLOUD_LISTENER_COUNT; i++) {
		if (o->listeners[i] == NULL)
			o->listeners[i] = f->listeners[i];
	}
	o->state = o->state != NULL ? o->state : f->state;
	o->tls = (struct cloud_tls_conf){ .certificate = f->certificate, .key = f->key, .ca = f->ca,
		                          .dir = o->tls.dir != NULL ? o->tls.dir : f->tls_dir };
	o->conf.limits = f->limits;
	o->conf.switches = f->switches;
	o->conf.keep_messages = f->keep;
	o->conf.keep_bytes = f->keep_bytes;
	o->conf.keys = f->keys.items;
	o->conf.key_count = f->keys.count;
	o->conf.fault_seed = f->fault_seed;
	cw_log_setup((enum cw_log_level)f->log_level, f->log_format, 2);
}

static int load_file(struct cloud_options *o, struct cw_msg *msg)
{
	struct cw_conf_report report = { .kept = 0 };
	struct cw_conf_tree *tree = NULL;
	int rc = cw_conf_parse_file(o->config, NULL, &tree, msg);

	if (rc < 0)
		return rc;
	rc = cw_conf_bind(&file_table, tree, cw_conf_root(tree), &report, &o->file);
	if (rc < 0)
		cw_conf_report_msg(&report, msg);
	else
		take_file(o, o->file);
	cw_conf_report_fini(&report);
	cw_conf_tree_unref(tree);
	return rc;
}

static const struct cloud_access_key demo_key = { "EmuAccessKeyId01", "EmuAccessKeySecret0123456789AB", true };

int cw_cloud_options_load(struct cloud_options *o, struct cw_msg *msg)
{
	static const char *const usual[CLOUD_LISTENER_COUNT] = {
#define LISTENER_USUAL(name, address, url, what) address,
		CLOUD_LISTENERS(LISTENER_USUAL)
#undef LISTENER_USUAL
	};
	size_t i;
	int rc;

	if (o->config != NULL) {
		rc = load_file(o, msg);
		if (rc < 0)
			return rc;
	} else {
		o->conf.keys = &demo_key;
		o->conf.key_count = 1;
	}
	for (i = 0; i < CLOUD_LISTENER_COUNT; i++) {
		if (o->listeners[i] == NULL)
			o->listeners[i] = o->config == NULL || o->free_ports ? "127.0.0.1:0" : usual[i];
	}
	if (o->tls.dir == NULL && o->state != NULL) {
		(void)snprintf(o->tls_dir, sizeof(o->tls_dir), "%s.tls", o->state);
		o->tls.dir = o->tls_dir;
	}
	return 0;
}

/* ---- stock ---- */

/* With a state file the stock goes on from there: what it has, or what was deleted since, is not made again. */
static int known(struct cw_cloud *c, const char *pk, const char *dn)
{
	if (c->saver == NULL)
		return 0;
	if (dn == NULL)
		return cw_cloud_product_find(c, pk, strlen(pk)) != NULL || cw_cloud_was_deleted(c, pk, NULL);
	return cw_cloud_device_find(c, pk, strlen(pk), dn, strlen(dn)) != NULL || cw_cloud_was_deleted(c, pk, dn);
}

/* A model or a script; both are texts of bounded size. A new text, or NULL with a sentence. */
static char *read_file(const char *path, struct cw_msg *msg)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t n;

	if (f == NULL) {
		(void)cw_fail(msg, CW_EIO, "cannot read '%s': %s", path, strerror(errno));
		return NULL;
	}
	text = cw_alloc(FILE_MAX + 1);
	n = text != NULL ? fread(text, 1, FILE_MAX + 1, f) : 0;
	if (text == NULL || ferror(f) || n > FILE_MAX) {
		(void)cw_fail(msg, CW_EIO, "cannot read '%s': %s", path, n > FILE_MAX ? "it has more than 1 MiB" : "no memory, or an error");
		cw_free(text);
		text = NULL;
	} else {
		text[n] = '\0';
	}
	(void)fclose(f);
	return text;
}

static int load_model(struct cw_cloud *c, struct cloud_product *p, const char *path, struct cw_msg *msg)
{
	char *text = read_file(path, msg);
	json_error_t error;
	json_t *tsl;
	int rc;

	if (text == NULL)
		return CW_ECONF;
	tsl = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	cw_free(text);
	if (tsl == NULL)
		return cw_fail(msg, CW_ECONF, "'%s' line %d: %s", path, error.line, error.text);
	rc = cw_cloud_tsl_set(c, p, tsl, msg);
	json_decref(tsl);
	if (rc < 0)
		cw_msg_wrap(msg, "'%s'", path);
	return rc;
}

static int load_script(struct cw_cloud *c, struct cloud_product *p, const char *path, struct cw_msg *msg)
{
	char *text = read_file(path, msg);
	int rc = text != NULL ? cw_cloud_script_set(c, p, text, msg) : CW_ECONF;

	cw_free(text);
	return rc;
}

static int add_product(struct cw_cloud *c, const struct product_conf *conf, struct cw_msg *msg)
{
	const struct cloud_product_spec spec = { .key = conf->key, .secret = conf->secret, .name = conf->name,
		                                 .type = (enum cloud_node)conf->type, .raw = conf->format,
		                                 .x509 = conf->authentication, .registration = conf->registration };
	struct cloud_product *p = NULL;
	size_t i;
	int rc;

	if (known(c, conf->key, NULL))
		return 0;
	rc = cw_cloud_product_create(c, &spec, &p, msg);
	if (rc == 0 && conf->tsl != NULL)
		rc = load_model(c, p, conf->tsl, msg);
	if (rc == 0 && conf->script != NULL)
		rc = load_script(c, p, conf->script, msg);
	for (i = 0; i < conf->topics.count && rc == 0; i++) {
		const struct topic_conf *t = cw_conf_item(&conf->topics, struct topic_conf, i);

		rc = cw_cloud_class_add(p, t->topic, t->permission != 1, t->permission != 0, msg);
	}
	return rc;
}

static int add_device(struct cw_cloud *c, const struct device_conf *conf, struct cw_msg *msg)
{
	struct cloud_product *p = cw_cloud_product_find(c, conf->pk, strlen(conf->pk));
	struct cloud_device *d = NULL;
	int rc;

	if (known(c, conf->pk, conf->dn) || known(c, conf->pk, NULL) > (p != NULL))
		return 0;
	if (p == NULL)
		return cw_fail(msg, CW_ECONF, "device \"%s\": there is no product \"%s\"", conf->dn, conf->pk);
	rc = cw_cloud_device_add(c, p, conf->dn, conf->secret, &d, msg);
	if (rc == 0)
		d->disabled = conf->disabled;
	return rc;
}

static int add_fault(struct cw_cloud *c, const struct fault_conf *conf, struct cw_msg *msg)
{
	json_t *spec = json_pack("{s:s, s:s*, s:s*, s:s*, s:s*, s:i, s:i, s:I, s:I, s:I, s:f}", "kind", conf->kind, "device",
	                         conf->device, "topic", conf->topic, "channel", conf->channel, "direction", conf->direction, "code",
	                         conf->code, "ms", conf->ms, "count", (json_int_t)conf->count, "after", (json_int_t)conf->after,
	                         "rate", (json_int_t)conf->rate, "probability", conf->probability), *made = NULL;
	int rc;

	if (conf->seed >= 0)
		json_object_set_new(spec, "seed", json_integer((json_int_t)conf->seed));
	rc = cw_cloud_faults_add(c, spec, &made, msg);
	json_decref(spec);
	json_decref(made);
	return rc;
}

static int file_stock(const struct file_conf *f, struct cw_cloud *c, struct cw_msg *msg)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < f->products.count && rc == 0; i++)
		rc = add_product(c, cw_conf_item(&f->products, struct product_conf, i), msg);
	for (i = 0; i < f->devices.count && rc == 0; i++)
		rc = add_device(c, cw_conf_item(&f->devices, struct device_conf, i), msg);
	for (i = 0; i < f->faults.count && rc == 0; i++)
		rc = add_fault(c, cw_conf_item(&f->faults, struct fault_conf, i), msg);
	return rc;
}

static int demo_stock(struct cw_cloud *c, struct cw_msg *msg)
{
	static const struct {
		const char *pk, *ps, *dn, *ds;
		enum cloud_node type;
	} stock[] = {
		{ "a1EmuGw0001", "EmuGwPs012345678", "gw-0001", "0123456789abcdef0123456789abcd01", CLOUD_NODE_GATEWAY },
		{ "a1EmuPk0001", "EmuPs0123456789A", "dev-0001", "0123456789abcdef0123456789abcdef", CLOUD_NODE_DEVICE },
		{ "a1EmuSub001", "EmuSubPs01234567", "sub-0001", "0123456789abcdef0123456789abcd11", CLOUD_NODE_SUBDEVICE },
		{ "a1EmuSub001", "EmuSubPs01234567", "sub-0002", "0123456789abcdef0123456789abcd12", CLOUD_NODE_SUBDEVICE },
		{ "a1EmuSub001", "EmuSubPs01234567", "sub-0003", "0123456789abcdef0123456789abcd13", CLOUD_NODE_SUBDEVICE },
	};
	struct cloud_device *d = NULL;
	size_t i;
	int rc;

	for (i = 0; i < sizeof(stock) / sizeof(stock[0]); i++) {
		struct cloud_product *p = cw_cloud_product_find(c, stock[i].pk, strlen(stock[i].pk));

		d = cw_cloud_device_find(c, stock[i].pk, strlen(stock[i].pk), stock[i].dn, strlen(stock[i].dn));
		if (d == NULL && (known(c, stock[i].pk, stock[i].dn) || known(c, stock[i].pk, NULL) > (p != NULL)))
			continue;
		if (p == NULL) {
			rc = cw_cloud_product_add(c, stock[i].pk, stock[i].ps, stock[i].type, &p, msg);
			if (rc < 0)
				return rc;
		}
		rc = d != NULL ? 0 : cw_cloud_device_add(c, p, stock[i].dn, stock[i].ds, &d, msg);
		if (rc < 0)
			return rc;
		(void)printf("device      %s %s %s %s\n", cw_cloud_node_name(p->type), p->key, d->dn, d->secret);
	}
	(void)printf("accesskey   %s %s\n", demo_key.id, demo_key.secret);
	return 0;
}

int cw_cloud_options_stock(const struct cloud_options *o, struct cw_cloud *c, struct cw_msg *msg)
{
	int rc = o->file != NULL ? file_stock(o->file, c, msg) : demo_stock(c, msg);

	if (rc < 0 && o->config != NULL)
		cw_msg_wrap(msg, "%s", o->config);
	return rc;
}

void cw_cloud_options_free(struct cloud_options *o)
{
	cw_conf_free(o->file);
	o->file = NULL;
}
