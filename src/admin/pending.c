/* pending.c - frames of devices that no source knows: list, show, drop. */
#include <stdio.h>

#include "admin/admin_impl.h"

#define LIST_MOST (64u << 20)

static void put_int(struct cw_json *j, const char *key, int64_t v)
{
	cw_json_text(j, key);
	cw_json_int(j, v);
}

static void put_identity(void *arg, const struct cw_pending_info *info)
{
	struct cw_json *j = arg;

	cw_json_map(j);
	cw_json_field(j, "identity", info->identity);
	cw_json_field(j, "listener", info->listener);
	cw_json_field(j, "protocol", info->protocol);
	cw_json_field(j, "peer", info->peer);
	put_int(j, "frames", (int64_t)info->frames);
	put_int(j, "bytes", (int64_t)info->bytes);
	put_int(j, "delivering", (int64_t)info->delivering);
	put_int(j, "dropped", (int64_t)info->dropped);
	put_int(j, "firstMs", info->first_ms);
	put_int(j, "lastMs", info->last_ms);
	cw_json_end_map(j);
}

void cw_admin_pending(struct cw_admin *a, struct cw_http_req *req, const char *rest)
{
	struct cw_json j;

	(void)rest;
	cw_json_begin(&j, LIST_MOST);
	cw_json_array(&j);
	cw_gateway_pending_each(a->conf.gateway, put_identity, &j);
	cw_json_end_array(&j);
	cw_admin_reply_json(req, 200, &j);
}

static void put_frame(void *arg, int64_t arrived_ms, const char *listener, const char *protocol, const char *peer,
		      struct cw_bytes frame)
{
	struct cw_json *j = arg;

	cw_json_map(j);
	put_int(j, "arrivedMs", arrived_ms);
	cw_json_field(j, "listener", listener);
	cw_json_field(j, "protocol", protocol);
	cw_json_field(j, "peer", peer);
	cw_json_text(j, "hex");
	cw_json_hex(j, frame);
	cw_json_end_map(j);
}

void cw_admin_pending_show(struct cw_admin *a, struct cw_http_req *req, const char *identity)
{
	struct cw_json j;

	cw_json_begin(&j, LIST_MOST);
	cw_json_array(&j);
	if (cw_gateway_pending_frames(a->conf.gateway, identity, put_frame, &j) < 0) {
		cw_json_drop(&j);
		cw_admin_reply_text(req, 404, "error", "no frames of this identity are kept");
		return;
	}
	cw_json_end_array(&j);
	cw_admin_reply_json(req, 200, &j);
}

void cw_admin_pending_drop(struct cw_admin *a, struct cw_http_req *req, const char *identity)
{
	int64_t n = cw_gateway_pending_drop(a->conf.gateway, identity[0] == '\0' ? NULL : identity);
	char sentence[80];

	(void)snprintf(sentence, sizeof(sentence), "%lld frames dropped", (long long)n);
	if (n < 0)
		cw_admin_reply_text(req, 404, "error", "no frames of this identity are kept");
	else
		cw_admin_reply_text(req, 200, "done", sentence);
}
