/* clients.c - see clients.h. */
#include "cloud/core/stock/clients.h"

#include <openssl/crypto.h>
#include <string.h>

#include "base/mem.h"
#include "cloud/core/save.h"
#include "cloud/core/stock/stock.h"

static struct cloud_clients *clients_of(struct cw_cloud *c, struct cloud_device *d)
{
	struct cloud_clients *k = d->clients;

	if (k != NULL)
		return k;
	k = cw_zalloc(sizeof(*k));
	if (k == NULL)
		return NULL;
	k->device = d;
	d->clients = k;
	cw_list_push_back(&c->client_names, &k->link);
	return k;
}

static struct cloud_client *find(const struct cloud_device *d, const char *id, size_t len)
{
	unsigned i;

	for (i = 0; d->clients != NULL && i < d->clients->count; i++) {
		struct cloud_client *k = &d->clients->client[i];

		if (strlen(k->id) == len && memcmp(k->id, id, len) == 0)
			return k;
	}
	return NULL;
}

/* ---- registration ---- */

static int instance_fits(const struct cw_cloud *c, const struct cloud_text *instance)
{
	const char *ours = c->conf.switches.instance_id;

	return instance == NULL || instance->len == 0 || ours == NULL || cw_cloud_text_is(instance, ours);
}

/* The device of the name, made if there is none; a platform's code. */
static int name_for(struct cw_cloud *c, struct cloud_product *p, const struct cloud_text *dn, struct cloud_device **ret_device)
{
	char text[64];
	int rc;

	*ret_device = cw_cloud_device_find(c, p->key, strlen(p->key), dn->s, dn->len);
	if (*ret_device != NULL)
		return 200;
	if (dn->len >= sizeof(text) || memchr(dn->s, '\0', dn->len) != NULL)
		return 6280;
	memcpy(text, dn->s, dn->len);
	text[dn->len] = '\0';
	rc = cw_cloud_device_add(c, p, text, NULL, ret_device, NULL);
	return rc == 0 ? 200 : rc == CW_EINVAL ? 6280 : rc == CW_ELIMIT ? 429 : 500;
}

int cw_cloud_client_register(struct cw_cloud *c, const struct cloud_registration *r, const struct cloud_text *instance,
                             struct cloud_client **ret_client)
{
	struct cloud_product *p;
	struct cloud_device *d;
	struct cloud_clients *k;
	struct cloud_client *client;
	int code = cw_cloud_registration_check(c, r, &p);

	if (code != 200)
		return code;
	if (p->type == CLOUD_NODE_SUBDEVICE || !instance_fits(c, instance))
		return 460;
	code = name_for(c, p, &r->dn, &d);
	if (code != 200)
		return code;
	if (d->disabled)
		return 6204;
	/* A name that lives by its secret is not to be had with the product's. */
	if (d->active_ms != 0 && d->clients == NULL && !c->conf.switches.allow_reregister)
		return 6289;
	k = clients_of(c, d);
	if (k == NULL)
		return 500;
	if (k->count == CLOUD_CLIENTS_MAX)
		return 429;
	client = &k->client[k->count];
	memset(client, 0, sizeof(*client));
	if (cw_cloud_make_text(client->id, 20) < 0 || cw_cloud_make_text(client->token, 32) < 0)
		return 500;
	client->registered_ms = cw_cloud_wall_ms(c);
	k->count++;
	c->stats.registrations++;
	cw_cloud_changed(c, d);
	cw_cloud_commit(c); /* the token is shown once and never again */
	*ret_client = client;
	return 200;
}

json_t *cw_cloud_clients_save(struct cw_cloud *c, const struct cloud_device *d)
{
	json_t *list;
	unsigned i;

	if (d->clients == NULL)
		return NULL;
	list = json_array();
	for (i = 0; i < d->clients->count; i++) {
		const struct cloud_client *k = &d->clients->client[i];

		json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I, s:I, s:b}", "id", k->id, "token", k->token, "registered",
		                      (json_int_t)k->registered_ms, "first", (json_int_t)k->first_ms, "last",
		                      (json_int_t)k->last_ms, "barred", k->barred));
	}
	return list;
}

static int load_text(const json_t *j, const char *name, char *out, size_t size)
{
	const char *text = json_string_value(json_object_get(j, name));

	if (text == NULL || text[0] == '\0' || strlen(text) >= size)
		return CW_EINVAL;
	memcpy(out, text, strlen(text) + 1);
	return 0;
}

int cw_cloud_clients_load(struct cw_cloud *c, struct cloud_device *d, const json_t *j)
{
	struct cloud_clients *k = clients_of(c, d);
	const json_t *one;
	size_t i;

	if (k == NULL)
		return CW_ENOMEM;
	json_array_foreach((json_t *)(uintptr_t)j, i, one) {
		struct cloud_client client = { .session = NULL };

		if (k->count == CLOUD_CLIENTS_MAX || load_text(one, "id", client.id, sizeof(client.id)) < 0 ||
		    load_text(one, "token", client.token, sizeof(client.token)) < 0)
			return CW_EINVAL;
		client.registered_ms = json_integer_value(json_object_get(one, "registered"));
		client.first_ms = json_integer_value(json_object_get(one, "first"));
		client.last_ms = json_integer_value(json_object_get(one, "last"));
		client.barred = json_is_true(json_object_get(one, "barred"));
		k->client[k->count++] = client;
	}
	return 0;
}

/* ---- sessions ---- */

/* Whose session is the device's own; NULL: nobody's yet. */
static struct cloud_client *holder(const struct cloud_clients *k)
{
	unsigned i;

	for (i = 0; i < k->count; i++) {
		if (k->client[i].session == k->device)
			return (struct cloud_client *)(uintptr_t)&k->client[i];
	}
	return NULL;
}

/* End what the client has open, and forget its session. */
static void end_session(struct cw_cloud *c, struct cloud_device *d, struct cloud_client *client, const char *reason)
{
	if (client->session == NULL)
		return;
	cw_cloud_session_kick(c, client->session, 427, reason);
	if (client->session != d)
		cw_cloud_session_free(client->session);
	client->session = NULL;
}

/* The first client to come has the device's own session, the others one each. NULL: out of memory. */
static struct cloud_device *session_for(struct cw_cloud *c, struct cloud_device *d, struct cloud_client *client)
{
	if (holder(d->clients) == NULL) {
		end_session(c, d, client, "the same identity connected again");
		client->session = d;
	} else if (client->session == NULL) {
		client->session = cw_cloud_session_new(d);
	}
	return client->session;
}

static int verdict(struct cloud_client_login *login, int code, const char *reason)
{
	login->reason = reason;
	return code;
}

int cw_cloud_client_login(struct cw_cloud *c, struct cloud_client_login *login)
{
	static const char nobody[sizeof(((struct cloud_client *)0)->token)] = "";
	struct cloud_device *d = cw_cloud_device_find(c, login->pk.s, login->pk.len, login->dn.s, login->dn.len);
	struct cloud_client *client = d != NULL ? find(d, login->client_id.s, login->client_id.len) : NULL;
	const char *token = client != NULL ? client->token : nobody;
	size_t len = strlen(token);

	login->name = d;
	/* Tokens are all of one length; that length is no secret. */
	if (client == NULL || login->token.len != len || CRYPTO_memcmp(token, login->token.s, len) != 0)
		return verdict(login, 4, "no such ClientID with this token");
	if (client->barred)
		return verdict(login, 5, "this ClientID was barred");
	if (d->disabled)
		return verdict(login, 5, "device is disabled");
	login->session = session_for(c, d, client);
	if (login->session == NULL)
		return verdict(login, 3, "out of memory");
	client->last_ms = cw_cloud_wall_ms(c);
	if (client->first_ms == 0)
		client->first_ms = client->last_ms;
	cw_cloud_changed(c, d);
	return 0;
}

struct cloud_device *cw_cloud_session_on(const struct cloud_link *l, struct cloud_device *d)
{
	if (l->owner != NULL && cw_cloud_name_of(l->owner) == d)
		return l->owner;
	return !l->uplink_only && d->link == l ? d : NULL;
}

struct cloud_device *cw_cloud_next_session(const struct cloud_device *d, unsigned *at)
{
	while (d->clients != NULL && *at < d->clients->count) {
		struct cloud_device *s = d->clients->client[(*at)++].session;

		if (s != NULL && s != d)
			return s;
	}
	return NULL;
}

/* ---- switch and clear ---- */

static void bar_all_but(struct cw_cloud *c, struct cloud_device *d, const struct cloud_client *kept)
{
	unsigned i;

	for (i = 0; d->clients != NULL && i < d->clients->count; i++) {
		struct cloud_client *client = &d->clients->client[i];

		client->barred = client != kept;
		if (client->barred)
			end_session(c, d, client, "this ClientID was barred");
	}
	cw_cloud_changed(c, d);
}

int cw_cloud_client_keep(struct cw_cloud *c, struct cloud_device *d, const char *client_id)
{
	const struct cloud_client *kept = find(d, client_id, strlen(client_id));

	if (kept == NULL)
		return CW_ENOENT;
	bar_all_but(c, d, kept);
	return 0;
}

void cw_cloud_client_clear(struct cw_cloud *c, struct cloud_device *d)
{
	bar_all_but(c, d, NULL);
}

void cw_cloud_clients_forget(struct cw_cloud *c, struct cloud_device *d)
{
	unsigned i;

	if (d->clients == NULL)
		return;
	for (i = 0; i < d->clients->count; i++)
		end_session(c, d, &d->clients->client[i], "the registration is void");
	cw_list_remove(&d->clients->link);
	OPENSSL_cleanse(d->clients->client, sizeof(d->clients->client));
	cw_free(d->clients);
	d->clients = NULL;
}

/* ---- lists ---- */

/* A session is a client's while its link came by this ClientID: the device's own may be in use by its secret. */
static int connected(const struct cloud_client *client)
{
	const struct cloud_device *s = client->session;
	size_t len = strlen(client->id);

	return s != NULL && s->link != NULL && s->client_id != NULL && strncmp(s->client_id, client->id, len) == 0 &&
	       (s->client_id[len] == '\0' || s->client_id[len] == '|');
}

static json_t *when(int64_t ms)
{
	return ms != 0 ? json_integer((json_int_t)ms) : json_null();
}

json_t *cw_cloud_clients_list(const struct cloud_device *d)
{
	json_t *list = json_array();
	unsigned i;

	for (i = 0; d->clients != NULL && i < d->clients->count; i++) {
		const struct cloud_client *k = &d->clients->client[i];

		json_array_append_new(list, json_pack("{s:s, s:o, s:o, s:o, s:b, s:b}", "clientId", k->id, "registered",
		                      when(k->registered_ms), "first", when(k->first_ms), "last", when(k->last_ms), "connected",
		                      connected(k), "barred", k->barred));
	}
	return list;
}

json_t *cw_cloud_client_risks(const struct cw_cloud *c, const struct cloud_product *p)
{
	json_t *list = json_array();
	struct cw_list *e;

	cw_list_each(e, &c->client_names) {
		const struct cloud_clients *k = cw_container_of(e, struct cloud_clients, link);

		if (k->count > 1 && (p == NULL || k->device->product == p))
			json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "productKey", k->device->product->key, "deviceName",
			                      k->device->dn, "clients", cw_cloud_clients_list(k->device)));
	}
	return list;
}
