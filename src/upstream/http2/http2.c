/* http2.c - the connector's life: settings, start, stop. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "upstream/device.h"
#include "upstream/http2/settings.h"

extern const struct cw_connector_ops cw_connector_http2;

struct http2 {
	struct cw_upstream *u;
	struct http2_address at;
	char auth_url[512];
};

static int create(struct cw_upstream *u, void **ret_connector, struct cw_msg *msg)
{
	const struct http2_settings *own = u->conf.own;
	struct http2 *h = cw_zalloc(sizeof(*h));
	const char *auth = own == NULL ? NULL : own->auth_endpoint;
	int rc;

	if (h == NULL)
		return CW_ENOMEM;
	h->u = u;
	if (auth == NULL && u->conf.region != NULL)
		(void)snprintf(h->auth_url, sizeof(h->auth_url), "https://iot-auth.%s.aliyuncs.com/auth/bridge", u->conf.region);
	else if (auth != NULL)
		(void)snprintf(h->auth_url, sizeof(h->auth_url), "%s", auth);
	rc = http2_check(&u->conf, h->auth_url[0] == '\0' ? NULL : h->auth_url, msg);
	if (rc == 0)
		rc = http2_parse_endpoint(u->conf.endpoint, &h->at, msg);
	if (rc < 0) {
		cw_free(h);
		return rc;
	}
	*ret_connector = h;
	return 0;
}

static void destroy(void *connector)
{
	cw_free(connector);
}

static void start(void *connector)
{
	struct http2 *h = connector;

	cw_upstream_report(h->u, 0, "not connected yet");
}

static void stop(void *connector)
{
	struct http2 *h = connector;

	cw_upstream_stopped(h->u);
}

static void device_changed(void *connector, struct cw_updevice *d)
{
	if (d->removing)
		cw_updevice_gone(d);
}

static int send_parcel(void *connector, struct cw_updevice *d, struct cw_parcel *p)
{
	return CW_EBUSY;
}

static void recall(void *connector, struct cw_parcel *p)
{
}

static void drained(void *connector, struct cw_updevice *d)
{
}

static void answer(void *connector, struct cw_downlink *d)
{
}

const struct cw_connector_ops cw_connector_http2 = {
	.type = "http2",
	.has_downlink = 1,
	.configure = http2_configure,
	.create = create,
	.destroy = destroy,
	.start = start,
	.stop = stop,
	.device_changed = device_changed,
	.send = send_parcel,
	.recall = recall,
	.drained = drained,
	.answer = answer,
};
