/* device.c - one device behind an upstream, and the commands for it. See upstream.h and upstream.c. */
#include "upstream/device.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "platform/codes.h"

#define PRODUCT_KEY_MOST 32u /* all with their NUL */
#define DEVICE_NAME_MOST 64u
#define SECRET_MOST 128u
#define TEXT_MOST 159u /* of a platform's message */
#define TODO_MOST 160u /* of what is said behind it */

/* ---- from the control loop --------------------------------------------------- */

static void on_add(struct cw_mail *mail)
{
	struct cw_updevice *d = cw_container_of(mail, struct cw_updevice, add_mail);

	cw_invariant(cw_map_add(&d->u->devices, &d->node, d->key, strlen(d->key)) == 0); /* its table is there */
}

/* Lengths with their NULs; 0 when a name is longer than the platform's. */
static size_t text_size(const char *product_key, const char *device_name, const char *secret)
{
	size_t pk = strlen(product_key) + 1, dn = strlen(device_name) + 1, ds = strlen(secret) + 1;

	return pk > PRODUCT_KEY_MOST || dn > DEVICE_NAME_MOST || ds > SECRET_MOST ? 0 : 2 * (pk + dn) + ds;
}

static char *put_text(char *at, const char **ret, const char *text)
{
	size_t n = strlen(text) + 1;

	memcpy(at, text, n);
	*ret = at;
	return at + n;
}

int cw_upstream_device_add(struct cw_upstream *u, const char *product_key, const char *device_name, const char *secret,
			   void *cookie, struct cw_updevice **ret_device)
{
	size_t size = text_size(product_key, device_name, secret);
	struct cw_updevice *d = size == 0 ? NULL : cw_zalloc(sizeof(*d) + u->ops->device_size + size);
	char *at;

	if (d == NULL)
		return size == 0 ? CW_ELIMIT : CW_ENOMEM;
	d->peer = d + 1;
	at = (char *)d->peer + u->ops->device_size;
	at = put_text(at, &d->product_key, product_key);
	at = put_text(at, &d->device_name, device_name);
	d->key = at;
	at += sprintf(at, "%s/%s", product_key, device_name) + 1;
	d->secret = memcpy(at, secret, strlen(secret) + 1);
	d->u = u;
	d->cookie = cookie;
	d->credit.most = u->conf.queue_bytes_device;
	cw_lane_device_init(&u->lane, &d->lane);
	cw_post(u->w, &d->add_mail, on_add);
	*ret_device = d;
	return 0;
}

void cw_updevice_free(struct cw_updevice *d)
{
	explicit_bzero(d->secret, strlen(d->secret));
	cw_lane_device_fini(&d->lane);
	cw_free(d->news.text);
	cw_free(d->told.text);
	cw_free(d);
}

static void on_want(struct cw_mail *mail)
{
	struct cw_updevice *d = cw_container_of(mail, struct cw_updevice, want_mail);

	atomic_store(&d->want_posted, 0);
	d->wanted = atomic_load(&d->want);
	d->u->ops->device_changed(d->u->connector, d);
}

void cw_upstream_device_want(struct cw_updevice *d, int online)
{
	atomic_store(&d->want, online);
	if (atomic_exchange(&d->want_posted, 1) == 0)
		cw_post(d->u->w, &d->want_mail, on_want);
}

static void on_remove(struct cw_mail *mail)
{
	struct cw_updevice *d = cw_container_of(mail, struct cw_updevice, remove_mail);

	d->wanted = 0;
	d->removing = 1;
	cw_map_remove(&d->u->devices, &d->node); /* the same names may be added again at once */
	cw_list_push_back(&d->u->removed, &d->link);
	cw_lane_device_drop(&d->u->lane, d);
	d->u->ops->device_changed(d->u->connector, d);
}

void cw_upstream_device_remove(struct cw_updevice *d)
{
	cw_post(d->u->w, &d->remove_mail, on_remove);
}

void cw_upstream_device_forget(struct cw_updevice *d)
{
	d->forget = 1;
	cw_upstream_device_remove(d);
}

/* ---- news to the control loop -------------------------------------------------- */

static void on_removed(struct cw_mail *mail)
{
	struct cw_updevice *d = cw_container_of(mail, struct cw_updevice, removed_mail);
	struct cw_upstream *u = d->u;
	void *cookie = d->cookie;

	cw_updevice_free(d);
	u->events->removed(u->ctx, cookie);
}

static void end_if_gone(struct cw_updevice *d)
{
	if (!d->gone || d->news_away)
		return;
	if (d->u->stopped) /* after `done` nothing may be on its way to the control loop; it is freed with the upstream
			    */
		return;
	cw_list_remove(&d->link);
	cw_post(d->u->control, &d->removed_mail, on_removed);
}

static void tell(struct cw_updevice *d);

static void on_news_back(struct cw_mail *mail)
{
	struct cw_updevice *d = cw_container_of(mail, struct cw_updevice, news_mail);

	d->news_away = 0;
	cw_free(d->told.text);
	d->told.text = NULL;
	if (d->news_fresh && !d->gone)
		tell(d);
	end_if_gone(d);
}

static void on_news_told(struct cw_mail *mail)
{
	struct cw_updevice *d = cw_container_of(mail, struct cw_updevice, news_mail);
	struct cw_upstream *u = d->u;

	u->events->device(u->ctx, d->cookie, d->told.state, d->told.code, d->told.text != NULL ? d->told.text : "");
	cw_post(u->w, &d->news_mail, on_news_back);
}

static void tell(struct cw_updevice *d)
{
	if (d->news_away || d->u->stopped) /* after `done` nothing may be on its way to the control loop */
		return;
	d->news_away = 1;
	d->news_fresh = 0;
	d->told = d->news;
	d->news.text = NULL; /* it went along */
	cw_post(d->u->control, &d->news_mail, on_news_told);
}

void cw_updevice_report(struct cw_updevice *d, enum cw_updevice_state state, int code, const char *text)
{
	int was = d->state == CW_UPDEVICE_ONLINE, is = state == CW_UPDEVICE_ONLINE;
	const char *todo = state == CW_UPDEVICE_REFUSED ? cw_code_todo(code) : NULL;
	char both[TEXT_MOST + TODO_MOST + 1];

	d->state = state;
	if (is && !was)
		atomic_fetch_add(&d->u->devices_online, 1);
	if (was && !is)
		atomic_fetch_sub(&d->u->devices_online, 1);
	d->news.state = state;
	d->news.code = code;
	cw_free(d->news.text);
	(void)snprintf(both, sizeof(both), "%.*s%s%s", (int)TEXT_MOST, text, todo == NULL ? "" : "; ", todo == NULL ? "" : todo);
	d->news.text = cw_strdup(both);
	d->news_fresh = 1;
	tell(d);
	cw_lane_device_online(&d->u->lane, d, is);
}

void cw_updevice_gone(struct cw_updevice *d)
{
	d->gone = 1;
	end_if_gone(d);
}

struct cw_updevice *cw_upstream_find(struct cw_upstream *u, struct cw_bytes product_key, struct cw_bytes device_name)
{
	char key[100];
	int n = snprintf(key, sizeof(key), "%.*s/%.*s", (int)product_key.len, (const char *)product_key.ptr,
			 (int)device_name.len, (const char *)device_name.ptr);
	struct cw_map_node *node;

	if (n < 0 || (size_t)n >= sizeof(key))
		return NULL;
	node = cw_map_find(&u->devices, key, (size_t)n);
	return node == NULL ? NULL : cw_container_of(node, struct cw_updevice, node);
}

/* ---- commands and replies ------------------------------------------------------ */

struct cw_downlink *cw_downlink_new(struct cw_upstream *u, size_t len)
{
	struct cw_downlink *d = cw_zalloc(sizeof(*d) + len);

	if (d == NULL)
		return NULL;
	d->from = u;
	d->len = len;
	cw_list_init(&d->link);
	return d;
}

/* Tells the connector that a command was taken over; apart from the command, which may end before this arrives. */
struct cw_downlink_ack {
	struct cw_mail mail;
	struct cw_upstream *u;
	uint64_t number;
};

int cw_downlink_want_ack(struct cw_downlink *d, uint64_t number)
{
	d->ack = cw_zalloc(sizeof(*d->ack));
	if (d->ack == NULL)
		return CW_ENOMEM;
	d->ack->u = d->from;
	d->ack->number = number;
	return 0;
}

static void on_taken(struct cw_mail *mail)
{
	struct cw_downlink_ack *ack = cw_container_of(mail, struct cw_downlink_ack, mail);

	if (!ack->u->stopped)
		ack->u->ops->taken(ack->u->connector, ack->number);
	cw_free(ack);
}

void cw_upstream_taken(struct cw_downlink *d)
{
	struct cw_downlink_ack *ack = d->ack;

	d->ack = NULL;
	if (ack != NULL)
		cw_post(ack->u->w, &ack->mail, on_taken);
}

void cw_downlink_free(struct cw_downlink *d)
{
	if (d == NULL)
		return;
	cw_free(d->ack);
	cw_free(d->reply);
	cw_free(d);
}

static void on_command(struct cw_mail *mail)
{
	struct cw_downlink *d = cw_container_of(mail, struct cw_downlink, mail);

	d->from->events->command(d->from->ctx, d);
}

void cw_upstream_command(struct cw_upstream *u, struct cw_downlink *d)
{
	cw_post(u->control, &d->mail, on_command);
}

static void on_answer(struct cw_mail *mail)
{
	struct cw_downlink *d = cw_container_of(mail, struct cw_downlink, mail);

	if (d->wants_answer && !d->from->stopped)
		d->from->ops->answer(d->from->connector, d);
	cw_downlink_free(d);
}

void cw_upstream_answer(struct cw_downlink *d)
{
	if (!d->wants_answer) {
		cw_downlink_free(d);
		return;
	}
	cw_post(d->from->w, &d->mail, on_answer);
}

struct told_reply {
	struct cw_mail mail;
	struct cw_upstream *u;
	void *cookie;
	char request[64];
	int code;
	size_t len;
	uint8_t data[];
};

static void on_reply(struct cw_mail *mail)
{
	struct told_reply *r = cw_container_of(mail, struct told_reply, mail);

	r->u->events->reply(r->u->ctx, r->cookie, r->request, r->code, cw_bytes_of(r->data, r->len));
	cw_free(r);
}

/* The device is still there when this arrives: `removed` is posted later, and mails keep their order. */
void cw_upstream_reply(struct cw_updevice *d, const char *request, int code, struct cw_bytes data)
{
	struct told_reply *r = cw_zalloc(sizeof(*r) + data.len);

	if (r == NULL || d->removing) {
		cw_free(r);
		return;
	}
	r->u = d->u;
	r->cookie = d->cookie;
	(void)snprintf(r->request, sizeof(r->request), "%s", request);
	r->code = code;
	r->len = data.len;
	if (data.len > 0)
		memcpy(r->data, data.ptr, data.len);
	cw_post(d->u->control, &r->mail, on_reply);
}
