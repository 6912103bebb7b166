/* Products, devices, registrations and the clients that share a name: the core's rules, without a channel's bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cloud/core/login/sign.h"
#include "cloud/core/save.h"
#include "cloud/core/stock/clients.h"
#include "cloud/core/stock/naming.h"
#include "cloud/core/stock/stock.h"

#define PK "a1EmuPk0001"
#define PS "EmuPs0123456789A"

struct channel {
	struct cloud_link link; /* first */
	unsigned pushed, closed;
	char topic[256], payload[1024];
};

static struct cw_worker *worker;
static struct cw_cloud *cloud;

#include "alloc_sweep.h"
static struct cloud_product *product;
static struct channel channels[6];

static void on_push(struct cloud_link *l, struct cloud_device *to, struct cloud_msg *msg, int dup)
{
	struct channel *ch = cw_container_of(l, struct channel, link);

	ch->pushed++;
	(void)snprintf(ch->topic, sizeof(ch->topic), "%s", msg->topic);
	(void)snprintf(ch->payload, sizeof(ch->payload), "%s", cw_cloud_msg_payload(msg));
}

static void on_close(struct cloud_link *l, const char *reason)
{
	cw_container_of(l, struct channel, link)->closed++;
}

static void on_recheck(struct cloud_link *l)
{
}

static void on_forget(struct cloud_link *l, struct cloud_device *member, int store)
{
}

static const struct cloud_link_ops ops = {
	.channel = "test", .push = on_push, .close = on_close, .recheck = on_recheck, .forget = on_forget,
};

static int setup(void **state)
{
	struct cloud_conf conf;
	size_t i;

	cw_log_set_level(CW_LOG_ERROR);
	cw_cloud_conf_default(&conf);
	conf.switches.instance_id = "iot-0001";
	memset(channels, 0, sizeof(channels));
	if (cw_worker_new("t", 0, &worker) < 0 || cw_cloud_new(worker, &conf, &cloud) < 0 ||
	    cw_cloud_product_add(cloud, PK, PS, CLOUD_NODE_DEVICE, &product, NULL) < 0)
		return -1;
	for (i = 0; i < 6; i++)
		cw_cloud_link_init(cloud, &channels[i].link, &ops, 1);
	return 0;
}

static int teardown(void **state)
{
	size_t i;

	cw_mem_fail_at(-1);
	cw_clock_fake(0, 0);
	for (i = 0; i < 6; i++) {
		cw_cloud_link_down(cloud, &channels[i].link, "over");
		cw_cloud_link_fini(&channels[i].link);
	}
	cw_cloud_free(cloud);
	cw_worker_free(worker);
	return cw_mem_live() == 0 ? 0 : -1;
}

static struct cloud_text text(const char *s)
{
	return (struct cloud_text){ s, strlen(s) };
}

/* regnwl of a name, as a device signs it. */
static int enroll_as(const char *dn, const char *secret, const char *instance, struct cloud_client **ret_client)
{
	struct cloud_registration r = { .pk = text(PK), .dn = text(dn), .random = text("r1"), .method = text("hmacSha256") };
	struct cloud_text id = text(instance);
	char content[256], sign[65];

	(void)snprintf(content, sizeof(content), "deviceName%sproductKey" PK "randomr1", dn);
	cw_cloud_hmac_hex(CLOUD_HMAC_SHA256, secret, content, strlen(content), sign);
	r.sign = text(sign);
	return cw_cloud_client_register(cloud, &r, &id, ret_client);
}

static int enroll(const char *dn, struct cloud_client **ret_client)
{
	return enroll_as(dn, PS, "iot-0001", ret_client);
}

static int login_as(const char *dn, const char *id, const char *token, struct cloud_client_login *ret)
{
	*ret = (struct cloud_client_login){ .pk = text(PK), .dn = text(dn), .client_id = text(id), .token = text(token) };
	return cw_cloud_client_login(cloud, ret);
}

/* Log in by token on a channel. */
static struct cloud_device *come(const char *dn, const struct cloud_client *client, unsigned channel)
{
	struct cloud_login how = { .client_id_len = 0, .clean = 1, .ss = 1 };
	struct cloud_client_login login;
	char id[64];

	assert_int_equal(login_as(dn, client->id, client->token, &login), 0);
	(void)snprintf(id, sizeof(id), "%s|securemode=-2,authType=connwl|", client->id);
	how.client_id = id;
	how.client_id_len = strlen(id);
	(void)cw_cloud_link_up(cloud, &channels[channel].link, login.session, &how);
	return login.session;
}

static int connected(const struct cloud_device *d, size_t which)
{
	json_t *list = cw_cloud_clients_list(d);
	int is = json_is_true(json_object_get(json_array_get(list, which), "connected"));

	json_decref(list);
	return is;
}

/* ---- names ---- */

static void names_follow_the_rules(void **state)
{
	static const struct {
		int (*check)(const char *text, struct cw_msg *msg);
		const char *name;
		int good;
	} rows[] = {
		{ cw_cloud_check_device_name, "Dev-_@.:01", 1 },
		{ cw_cloud_check_device_name, "abc", 0 },
		{ cw_cloud_check_device_name, "abcdefghijklmnopqrstuvwxyz012345", 1 },
		{ cw_cloud_check_device_name, "abcdefghijklmnopqrstuvwxyz0123456", 0 },
		{ cw_cloud_check_device_name, "a bc", 0 },
		{ cw_cloud_check_device_name, "dev/1", 0 },
		{ cw_cloud_check_device_name, "\xe4\xbb\xaa\xe8\xa1\xa8", 0 },
		{ cw_cloud_check_nickname, "abc", 0 },
		{ cw_cloud_check_nickname, "\xe4\xbb\xaa\xe8\xa1\xa8", 1 },     /* two Chinese characters */
		{ cw_cloud_check_nickname, "\xe4\xbb\xaa", 0 },                 /* one */
		{ cw_cloud_check_nickname, "\xe3\x82\xab\xe3\x83\xa1", 1 },     /* two of katakana */
		{ cw_cloud_check_nickname, "ab_1", 1 },
		{ cw_cloud_check_nickname, "ab-1", 0 },
		{ cw_cloud_check_nickname, "abc\xe4\xbb", 0 },                  /* cut short */
		{ cw_cloud_check_nickname, "abc\xc0\xaf", 0 },                  /* overlong */
		{ cw_cloud_check_product_name, "abc", 0 },
		{ cw_cloud_check_product_name, "a_-@()b", 1 },
		{ cw_cloud_check_product_name, "a.bc", 0 },
		{ cw_cloud_check_product_name, "abcdefghijklmnopqrstuvwxyz0123", 1 },
		{ cw_cloud_check_product_name, "abcdefghijklmnopqrstuvwxyz01234", 0 },
	};
	struct cw_msg msg = { "" };
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if ((rows[i].check(rows[i].name, &msg) == 0) != rows[i].good)
			fail_msg("\"%s\" is judged wrongly", rows[i].name);
	}
	assert_int_equal(cw_cloud_check_device_name("ab c", &msg), CW_EINVAL);
	assert_string_equal(msg.text, "deviceName \"ab c\": ' ' is not allowed; 4 to 32 of letters, digits and - _ @ . : are accepted");
}

static void products_have_unique_names_and_made_up_keys(void **state)
{
	struct cloud_product_spec spec = { .name = "meters", .type = CLOUD_NODE_GATEWAY, .x509 = 1 };
	struct cloud_product *a = NULL, *b = NULL;
	struct cloud_device *d = NULL;
	struct cw_msg msg = { "" };

	assert_int_equal(cw_cloud_product_create(cloud, &spec, &a, &msg), 0);
	assert_int_equal(strlen(a->key), 11);
	assert_int_equal(strncmp(a->key, "a1", 2), 0);
	assert_int_equal(strlen(a->secret), 16);
	assert_true(a->x509 && !a->registration);
	assert_int_equal(cw_cloud_product_create(cloud, &spec, &b, &msg), CW_EEXIST);
	spec = (struct cloud_product_spec){ .name = "others", .type = CLOUD_NODE_SUBDEVICE, .x509 = 1 };
	assert_int_equal(cw_cloud_product_create(cloud, &spec, &b, &msg), CW_EINVAL);
	spec.x509 = 0;
	assert_int_equal(cw_cloud_product_create(cloud, &spec, &b, &msg), 0);
	assert_int_equal(cw_cloud_product_set_name(cloud, b, "meters", &msg), CW_EEXIST);
	assert_int_equal(cw_cloud_product_set_name(cloud, b, "others", &msg), 0);
	assert_int_equal(cw_cloud_device_add(cloud, b, NULL, NULL, &d, &msg), 0);
	assert_int_equal(strlen(d->dn), 20);
	assert_int_equal(strlen(d->secret), 32);
	assert_int_equal(cw_cloud_product_delete(cloud, b, &msg), CW_EREFUSED);
	cw_cloud_device_delete(cloud, d);
	assert_int_equal(cw_cloud_product_delete(cloud, b, &msg), 0);
}

static void an_iot_id_names_one_device_until_it_is_deleted(void **state)
{
	struct cloud_device *d = NULL, *other = NULL;
	char id[32], secret[64];

	assert_int_equal(cw_cloud_device_add(cloud, product, "dev-0001", NULL, &d, NULL), 0);
	assert_int_equal(cw_cloud_device_add(cloud, product, "dev-0002", NULL, &other, NULL), 0);
	assert_int_equal(strlen(d->iot_id), 30);
	assert_ptr_equal(cw_cloud_device_by_iot_id(cloud, d->iot_id, 30), d);
	assert_int_equal(cw_cloud_device_set_iot_id(cloud, other, d->iot_id), CW_EINVAL);
	(void)snprintf(id, sizeof(id), "%s", d->iot_id);
	(void)snprintf(secret, sizeof(secret), "%s", d->secret);
	cw_cloud_device_delete(cloud, d);
	assert_null(cw_cloud_device_by_iot_id(cloud, id, 30));
	assert_int_equal(cw_cloud_device_add(cloud, product, "dev-0001", NULL, &d, NULL), 0);
	assert_string_not_equal(d->secret, secret);
	assert_string_not_equal(d->iot_id, id);
}

/* covers: E17 */
static void a_product_has_room_for_so_many(void **state)
{
	struct cloud_device *d = NULL;
	struct cloud_client *client = NULL;

	cloud->conf.limits.devices_per_product = 2;
	assert_int_equal(cw_cloud_device_add(cloud, product, "dev-0001", NULL, &d, NULL), 0);
	assert_int_equal(enroll("dev-0002", &client), 200);
	assert_int_equal(enroll("dev-0003", &client), 429);
	assert_int_equal(cw_cloud_device_add(cloud, product, "dev-0004", NULL, &d, NULL), CW_ELIMIT);
	cw_cloud_device_delete(cloud, d);
	assert_int_equal(enroll("dev-0003", &client), 200);
}

/* ---- registration ---- */

/* The signs of the shared vectors, and each of them with its last digit changed. */
static void every_registration_of_the_vectors_is_known(void **state)
{
	static const char *const lists[] = { "dynreg_mqtt", "dynreg_https", "product_register" };
	json_t *all = json_load_file("tests/vectors/platform-mqtt.json", 0, NULL), *one;
	size_t i, k, seen = 0;

	assert_non_null(all);
	for (i = 0; i < 3; i++) {
		json_array_foreach(json_object_get(all, lists[i]), k, one) {
			const char *pk = json_string_value(json_object_get(one, "product_key"));
			const char *secret = json_string_value(json_object_get(one, "product_secret"));
			const char *method = json_string_value(json_object_get(one, "sign_method"));
			struct cloud_registration r = { .pk = text(pk) };
			struct cloud_product *p = cw_cloud_product_find(cloud, pk, strlen(pk)), *found = NULL;
			char sign[65];

			if (method == NULL)
				method = json_string_value(json_object_get(one, "sign_method_on_wire"));
			if (p != NULL && strcmp(p->secret, secret) != 0)
				assert_int_equal(cw_cloud_product_delete(cloud, p, NULL), 0), p = NULL;
			if (p == NULL)
				assert_int_equal(cw_cloud_product_add(cloud, pk, secret, CLOUD_NODE_DEVICE, &p, NULL), 0);
			(void)snprintf(sign, sizeof(sign), "%s", json_string_value(json_object_get(one, "hex")));
			r.dn = text(json_string_value(json_object_get(one, "device_name")));
			r.random = text(json_string_value(json_object_get(one, "random")));
			r.method = text(method);
			r.sign = text(sign);
			assert_int_equal(cw_cloud_registration_check(cloud, &r, &found), 200);
			assert_ptr_equal(found, p);
			sign[r.sign.len - 1] = sign[r.sign.len - 1] == '0' ? '1' : '0';
			assert_int_equal(cw_cloud_registration_check(cloud, &r, &found), 6600);
			seen++;
		}
	}
	json_decref(all);
	assert_true(seen >= 3);
}

static void registration_is_refused_with_the_platforms_codes(void **state)
{
	struct cloud_client *client = NULL;
	struct cloud_device *d = NULL;

	assert_int_equal(enroll_as("dev-0001", "wrong", "iot-0001", &client), 6600);
	assert_int_equal(enroll_as("dev-0001", PS, "iot-0002", &client), 460);
	assert_int_equal(enroll_as("dev-0001", PS, "", &client), 200); /* none was sent */
	assert_int_equal(enroll("no!", &client), 6280);
	assert_int_equal(cw_cloud_device_add(cloud, product, "dev-0002", NULL, &d, NULL), 0);
	d->active_ms = 1;
	assert_int_equal(enroll("dev-0002", &client), 6289);
	cw_cloud_device_reset(cloud, d);
	assert_int_equal(enroll("dev-0002", &client), 200);
	cw_cloud_device_disable(cloud, d);
	assert_int_equal(enroll("dev-0002", &client), 6204);
	product->registration = 0;
	assert_int_equal(enroll("dev-0003", &client), 6288);
	product->registration = 1;
	product->x509 = 1;
	assert_int_equal(enroll("dev-0003", &client), 6288);
	product->x509 = 0;
	product->type = CLOUD_NODE_SUBDEVICE;
	assert_int_equal(enroll("dev-0003", &client), 460);
}

/* ---- clients ---- */

static void five_clients_may_share_a_name(void **state)
{
	struct cloud_client *client[6];
	struct cloud_client_login login;
	unsigned i;
	json_t *risks;

	for (i = 0; i < 5; i++)
		assert_int_equal(enroll("dev-0001", &client[i]), 200);
	assert_int_equal(enroll("dev-0001", &client[5]), 429);
	assert_int_equal(enroll("dev-0002", &client[5]), 200);
	assert_int_equal(login_as("dev-0001", client[0]->id, client[1]->token, &login), 4);
	assert_int_equal(login_as("dev-0001", client[0]->id, "", &login), 4);
	assert_int_equal(login_as("dev-0002", client[0]->id, client[0]->token, &login), 4);
	assert_int_equal(login_as("nobody", "", "", &login), 4);
	risks = cw_cloud_client_risks(cloud, NULL);
	assert_int_equal(json_array_size(risks), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(risks, 0), "deviceName")), "dev-0001");
	assert_null(json_object_get(json_array_get(json_object_get(json_array_get(risks, 0), "clients"), 0), "token"));
	json_decref(risks);
}

static void clients_of_a_name_are_online_side_by_side(void **state)
{
	static const char topic[] = "/sys/" PK "/dev-0001/thing/event/property/post";
	static const char post[] = "{\"id\":\"7\",\"params\":{\"t\":1},\"method\":\"thing.event.property.post\"}";
	struct cloud_client *a = NULL, *b = NULL;
	struct cloud_device *d, *one, *two;

	assert_int_equal(enroll("dev-0001", &a), 200);
	assert_int_equal(enroll("dev-0001", &b), 200);
	d = cw_cloud_device_find(cloud, PK, strlen(PK), "dev-0001", 8);
	assert_string_equal(cw_cloud_device_status(cloud, d), "UNACTIVE");
	two = come("dev-0001", b, 1); /* who comes first has the device's own session */
	assert_ptr_equal(two, d);
	one = come("dev-0001", a, 0);
	assert_ptr_not_equal(one, d);
	assert_int_equal(channels[1].closed, 0);
	assert_true(connected(d, 0) && connected(d, 1));
	/* What either reports is the device's; the answer is for the one that asked. */
	assert_int_equal(cw_cloud_publish(cloud, &channels[0].link, topic, strlen(topic), post, strlen(post), 0), CLOUD_TAKEN);
	assert_int_equal(channels[0].pushed, 1);
	assert_int_equal(channels[1].pushed, 0);
	assert_non_null(json_object_get(cw_cloud_doc(d, CLOUD_DOC_REPORTED), "t"));
	assert_int_equal(d->up, 1);
	/* A message to the device reaches both. */
	assert_int_equal(cw_cloud_request(cloud, d, "thing/service/property/set", "thing.service.property.set", json_object()),
	                 CLOUD_DELIVERED);
	assert_int_equal(channels[0].pushed, 2);
	assert_int_equal(channels[1].pushed, 1);
	/* Online is who has one session left. */
	cw_cloud_link_down(cloud, &channels[1].link, "gone");
	assert_string_equal(cw_cloud_device_status(cloud, d), "ONLINE");
	assert_true(connected(d, 0) && !connected(d, 1));
	cw_cloud_link_down(cloud, &channels[0].link, "gone");
	assert_string_equal(cw_cloud_device_status(cloud, d), "OFFLINE");
}

static void the_same_client_again_closes_its_older_connection_only(void **state)
{
	struct cloud_client *a = NULL, *b = NULL;

	assert_int_equal(enroll("dev-0001", &a), 200);
	assert_int_equal(enroll("dev-0001", &b), 200);
	(void)come("dev-0001", a, 0);
	(void)come("dev-0001", b, 1);
	(void)come("dev-0001", b, 2);
	assert_int_equal(channels[0].closed, 0);
	assert_int_equal(channels[1].closed, 1);
	(void)come("dev-0001", a, 3);
	assert_int_equal(channels[0].closed, 1);
	assert_int_equal(channels[2].closed, 0);
}

static void switching_keeps_one_and_clearing_none(void **state)
{
	struct cloud_client *client[3] = { NULL };
	struct cloud_client_login login;
	struct cloud_device *d;
	unsigned i;

	for (i = 0; i < 3; i++) {
		assert_int_equal(enroll("dev-0001", &client[i]), 200);
		(void)come("dev-0001", client[i], i);
	}
	d = cw_cloud_device_find(cloud, PK, strlen(PK), "dev-0001", 8);
	assert_int_equal(cw_cloud_client_keep(cloud, d, "nobody"), CW_ENOENT);
	assert_int_equal(cw_cloud_client_keep(cloud, d, client[1]->id), 0);
	assert_int_equal(channels[0].closed + channels[2].closed, 2);
	assert_int_equal(channels[1].closed, 0);
	assert_int_equal(login_as("dev-0001", client[0]->id, client[0]->token, &login), 5);
	/* When it comes again, the one that was kept is the device's own session, as if it had always been alone. */
	assert_ptr_equal(come("dev-0001", client[1], 3), d);
	assert_int_equal(channels[1].closed, 1);
	cw_cloud_client_clear(cloud, d);
	assert_int_equal(channels[3].closed, 1);
	assert_int_equal(login_as("dev-0001", client[1]->id, client[1]->token, &login), 5);
	assert_int_equal(enroll("dev-0001", &client[0]), 200); /* the fourth: who is barred still counts */
	assert_int_equal(enroll("dev-0001", &client[0]), 200);
	assert_int_equal(enroll("dev-0001", &client[0]), 429);
	cw_cloud_device_reset(cloud, d);
	assert_int_equal(enroll("dev-0001", &client[0]), 200);
}

static void clients_end_with_their_device(void **state)
{
	struct cloud_client *a = NULL, *b = NULL;
	struct cloud_device *d;

	assert_int_equal(enroll("dev-0001", &a), 200);
	assert_int_equal(enroll("dev-0001", &b), 200);
	(void)come("dev-0001", a, 0);
	(void)come("dev-0001", b, 1);
	d = cw_cloud_device_find(cloud, PK, strlen(PK), "dev-0001", 8);
	cw_cloud_device_disable(cloud, d);
	assert_int_equal(channels[0].closed + channels[1].closed, 2);
	cw_cloud_device_enable(cloud, d);
	(void)come("dev-0001", b, 1);
	cw_cloud_device_delete(cloud, d);
	assert_int_equal(channels[1].closed, 2);
	assert_true(cw_list_empty(&cloud->client_names));
}

static void clients_survive_a_restart(void **state)
{
	struct cloud_client *a = NULL, *b = NULL, was;
	struct cloud_client_login login;
	struct cloud_device *d;
	char iot_id[32];
	json_t *saved;

	assert_int_equal(enroll("dev-0001", &a), 200);
	assert_int_equal(enroll("dev-0001", &b), 200);
	(void)come("dev-0001", a, 0);
	d = cw_cloud_device_find(cloud, PK, strlen(PK), "dev-0001", 8);
	assert_int_equal(cw_cloud_client_keep(cloud, d, a->id), 0);
	was = *a;
	(void)snprintf(iot_id, sizeof(iot_id), "%s", d->iot_id);
	saved = cw_cloud_device_save(cloud, d);
	cw_cloud_device_delete(cloud, d);
	assert_int_equal(cw_cloud_device_load(cloud, saved, NULL), 0);
	json_decref(saved);
	d = cw_cloud_device_by_iot_id(cloud, iot_id, strlen(iot_id));
	assert_non_null(d);
	assert_int_equal(login_as("dev-0001", was.id, was.token, &login), 0);
	assert_int_equal(d->clients->client[0].first_ms, was.first_ms);
	assert_true(d->clients->client[1].barred);
}

/* ---- sub-devices ---- */

struct gateway {
	struct cloud_product *product, *subs;
	struct cloud_device *gw, *sub;
};

static void add_gateway(struct gateway *g)
{
	struct cloud_login how = { .client_id = "id", .client_id_len = 2, .clean = 1, .ss = 1 };

	assert_int_equal(cw_cloud_product_add(cloud, "a1EmuGw0001", NULL, CLOUD_NODE_GATEWAY, &g->product, NULL), 0);
	assert_int_equal(cw_cloud_product_add(cloud, "a1EmuSub001", "SubProductSecret", CLOUD_NODE_SUBDEVICE, &g->subs, NULL), 0);
	assert_int_equal(cw_cloud_device_add(cloud, g->product, "gw-0001", NULL, &g->gw, NULL), 0);
	assert_int_equal(cw_cloud_device_add(cloud, g->subs, "sub-0001", "subsecret", &g->sub, NULL), 0);
	(void)cw_cloud_link_up(cloud, &channels[0].link, g->gw, &how);
}

/* One request of the gateway; the code of its reply, whose text is in channels[0].payload. */
static int ask(const char *path, const char *params)
{
	char topic[160], body[1024];
	json_t *reply;
	int code;

	(void)snprintf(topic, sizeof(topic), "/sys/a1EmuGw0001/gw-0001/thing/%s", path);
	(void)snprintf(body, sizeof(body), "{\"id\":\"1\",\"params\":%s}", params);
	assert_int_equal(cw_cloud_publish(cloud, &channels[0].link, topic, strlen(topic), body, strlen(body), 0), CLOUD_TAKEN);
	reply = json_loads(channels[0].payload, 0, NULL);
	code = (int)json_integer_value(json_object_get(reply, "code"));
	json_decref(reply);
	return code;
}

#define SUB "[{\"productKey\":\"a1EmuSub001\",\"deviceName\":\"sub-0001\"}]"

static void a_gateway_registers_its_sub_devices(void **state)
{
	struct gateway g;
	struct cloud_device *other = NULL;

	cloud->conf.limits.documented = 0;
	add_gateway(&g);
	assert_int_equal(ask("sub/register", SUB), 200);
	assert_non_null(strstr(channels[0].payload, "\"deviceSecret\":\"subsecret\""));
	assert_non_null(strstr(channels[0].payload, g.sub->iot_id));
	assert_int_equal(ask("sub/register", "[]"), 460);
	assert_int_equal(ask("sub/register", "[{\"productKey\":\"a1EmuSub001\",\"deviceName\":\"sub-0009\"}]"), 6100);
	assert_int_equal(ask("sub/register", "[{\"productKey\":\"a1EmuGw0001\",\"deviceName\":\"gw-0001\"}]"), 460);
	assert_int_equal(cw_cloud_device_add(cloud, g.product, "gw-0002", NULL, &other, NULL), 0);
	cw_cloud_relate(other, g.sub);
	assert_int_equal(ask("sub/register", SUB), 6619);
	assert_int_equal(ask("sub/unregister", SUB), 6401);
	cw_cloud_relate(g.gw, g.sub);
	g.subs->registration = 0;
	assert_int_equal(ask("sub/register", SUB), 6288);
	assert_int_equal(ask("sub/unregister", SUB), 200);
	assert_null(g.sub->gateway);
}

static void thirty_names_are_one_request(void **state)
{
	struct gateway g;
	char params[4096] = "[";
	struct cloud_device *d = NULL;
	unsigned i;

	add_gateway(&g);
	for (i = 0; i < 31; i++) {
		char dn[16], body[2 * sizeof(params)], topic[] = "/sys/a1EmuGw0001/gw-0001/thing/sub/register";

		(void)snprintf(dn, sizeof(dn), "many-%04u", i);
		assert_int_equal(cw_cloud_device_add(cloud, g.subs, dn, NULL, &d, NULL), 0);
		(void)snprintf(params + strlen(params), sizeof(params) - strlen(params),
		               "%s{\"productKey\":\"a1EmuSub001\",\"deviceName\":\"%s\"}", i != 0 ? "," : "", dn);
		if (i < 29)
			continue;
		(void)snprintf(body, sizeof(body), "{\"id\":\"1\",\"params\":%s]}", params);
		assert_int_equal(cw_cloud_publish(cloud, &channels[0].link, topic, strlen(topic), body, strlen(body), 0), CLOUD_TAKEN);
		assert_non_null(strstr(channels[0].payload, i == 29 ? "\"code\":200" : "\"code\":460"));
	}
}

static void a_product_secret_takes_a_sub_device_over(void **state)
{
	static const char content[] = "deviceNamesub-0001productKeya1EmuSub001randomr1";
	struct gateway g;
	struct cloud_device *other = NULL;
	char sign[65], params[1024];
	json_t *reply, *data;

	cloud->conf.switches.topo_move = 0;
	add_gateway(&g);
	assert_int_equal(cw_cloud_device_add(cloud, g.product, "gw-0002", NULL, &other, NULL), 0);
	cw_cloud_relate(other, g.sub);
	cw_cloud_hmac_hex(CLOUD_HMAC_SHA256, "SubProductSecret", content, strlen(content), sign);
	/* The first as one SDK sends it, without signMethod; the second signed with something else. */
	(void)snprintf(params, sizeof(params),
	               "{\"proxieds\":[{\"productKey\":\"a1EmuSub001\",\"deviceName\":\"sub-0001\",\"random\":\"r1\",\"sign\":\"%s\"},"
	               "{\"productKey\":\"a1EmuSub001\",\"deviceName\":\"sub-0001\",\"random\":\"r2\",\"signMethod\":\"hmacSha256\","
	               "\"sign\":\"%s\"}]}", sign, sign);
	assert_int_equal(ask("proxy/provisioning/product_register", params), 200);
	reply = json_loads(channels[0].payload, 0, NULL);
	data = json_object_get(reply, "data");
	assert_int_equal(json_array_size(json_object_get(data, "successes")), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(data, "successes"), 0),
	                    "deviceSecret")), "subsecret");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(json_array_get(json_object_get(data, "failures"), 0),
	                 "errorDetail"), "code")), 6600);
	json_decref(reply);
	assert_null(g.sub->gateway); /* free for this gateway's topo add */
	assert_int_equal(ask("proxy/provisioning/product_register", "{}"), 460);
}

/* ---- memory ---- */

/* What a product and two clients of a name need; `cloud` is fresh. */
static int a_life(void)
{
	struct cloud_product_spec spec = { .key = PK, .secret = PS, .name = "meters", .registration = 1 };
	struct cloud_client *a = NULL, *b = NULL;
	struct cloud_client_login login;
	struct cw_msg msg = { "" };
	struct cloud_product *p = NULL;

	if (cw_cloud_product_create(cloud, &spec, &p, &msg) < 0 || enroll("dev-0001", &a) != 200 || enroll("dev-0001", &b) != 200 ||
	    login_as("dev-0001", a->id, a->token, &login) != 0 || login_as("dev-0001", b->id, b->token, &login) != 0)
		return 0;
	return cw_cloud_device_set_nickname(cloud, login.name, "nick_1", &msg) == 0 &&
	       cw_cloud_client_keep(cloud, login.name, b->id) == 0;
}

static void every_failed_allocation_is_survived(void **state)
{
	struct cloud_conf conf;

	cw_cloud_conf_default(&conf);
	conf.keep_messages = 4;
	sweep_allocations(&conf, a_life);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_follow_the_rules),
		cmocka_unit_test_setup_teardown(products_have_unique_names_and_made_up_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(an_iot_id_names_one_device_until_it_is_deleted, setup, teardown),
		cmocka_unit_test_setup_teardown(a_product_has_room_for_so_many, setup, teardown),
		cmocka_unit_test_setup_teardown(every_registration_of_the_vectors_is_known, setup, teardown),
		cmocka_unit_test_setup_teardown(registration_is_refused_with_the_platforms_codes, setup, teardown),
		cmocka_unit_test_setup_teardown(five_clients_may_share_a_name, setup, teardown),
		cmocka_unit_test_setup_teardown(clients_of_a_name_are_online_side_by_side, setup, teardown),
		cmocka_unit_test_setup_teardown(the_same_client_again_closes_its_older_connection_only, setup, teardown),
		cmocka_unit_test_setup_teardown(switching_keeps_one_and_clearing_none, setup, teardown),
		cmocka_unit_test_setup_teardown(clients_end_with_their_device, setup, teardown),
		cmocka_unit_test_setup_teardown(clients_survive_a_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(a_gateway_registers_its_sub_devices, setup, teardown),
		cmocka_unit_test_setup_teardown(thirty_names_are_one_request, setup, teardown),
		cmocka_unit_test_setup_teardown(a_product_secret_takes_a_sub_device_over, setup, teardown),
		cmocka_unit_test_setup_teardown(every_failed_allocation_is_survived, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
