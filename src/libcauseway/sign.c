/* sign.c - cw_sign_mqtt(): what any MQTT client needs to log in as a device. */
#include <string.h>

#include "causeway/bridge.h"
#include "platform/sign.h"

static const char *const regions[] = {
	[CW_REGION_SHANGHAI] = "cn-shanghai", [CW_REGION_SINGAPORE] = "ap-southeast-1",
	[CW_REGION_JAPAN] = "ap-northeast-1", [CW_REGION_USA_WEST] = "us-west-1",
	[CW_REGION_GERMANY] = "eu-central-1",
};

int cw_sign_mqtt(enum cw_region region, const struct cw_sign_meta *meta, struct cw_sign_out *ret)
{
	struct cw_sign_client c;
	const char *name = NULL;

	if (meta == NULL || ret == NULL || meta->product_key == NULL || meta->device_name == NULL ||
	    meta->device_secret == NULL || (meta->product_secret != NULL && strnlen(meta->product_secret, 65) > 64))
		return -1;
	if ((unsigned)region < CW_REGION_CUSTOM)
		name = regions[region];
	else if (region != CW_REGION_CUSTOM || meta->host == NULL)
		return -1;
	if (cw_sign_client(&c, name, name == NULL ? meta->host : NULL, meta->product_key, meta->device_name,
			   meta->device_secret, 1) < 0)
		return -1;
	/* Bounded by what is accepted: 20 + 1 + 32 characters, twice, and a fixed rest. */
	if (strlen(c.host) >= sizeof(ret->host) || strlen(c.connect.client_id) >= sizeof(ret->client_id) ||
	    strlen(c.connect.user) >= sizeof(ret->user))
		return -1;
	memcpy(ret->host, c.host, strlen(c.host) + 1);
	ret->port = (uint16_t)c.port;
	memcpy(ret->client_id, c.connect.client_id, strlen(c.connect.client_id) + 1);
	memcpy(ret->user, c.connect.user, strlen(c.connect.user) + 1);
	memcpy(ret->password, c.connect.password, strlen(c.connect.password) + 1);
	return 0;
}
