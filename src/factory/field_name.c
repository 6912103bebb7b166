/* field_name.c - see field_name.h. */
#include "factory/field_name.h"

#include <stdio.h>
#include <string.h>

#define ID "${deviceId}"

int factory_field_name_check(const char *pattern, struct cw_msg *msg)
{
	const char *at = pattern == NULL ? FACTORY_FIELD_NAME : pattern, *id = strstr(at, ID);
	char around[CW_DEVICE_NAME_MOST + 8];
	struct cw_msg why = { "" };

	if (id == NULL)
		return cw_fail(msg, CW_ECONF, "\"%.60s\" has no " ID " in it, so all devices would get one name (and in a file it stands in quotes)", at);
	if (strstr(id + 1, ID) != NULL)
		return cw_fail(msg, CW_ECONF, "\"%.60s\" has " ID " in it more than once", at);
	/* What stands around the id must be of the alphabet; ids are at least one byte, and the shortest name has four. */
	if (strlen(at) - strlen(ID) > CW_DEVICE_NAME_MOST - 1)
		return cw_fail(msg, CW_ECONF, "\"%.60s\" leaves no room for the deviceId: a DeviceName has at most %u characters", at, CW_DEVICE_NAME_MOST);
	(void)snprintf(around, sizeof(around), "%.*s%s%s", (int)(id - at), at, id + strlen(ID), strlen(at) - strlen(ID) < 4 ? "0000" : "");
	if (cw_check_device_name(around, &why) < 0)
		return cw_fail(msg, CW_ECONF, "\"%.60s\" makes no DeviceName: %s", at, why.text);
	return 0;
}

int factory_field_name(const char *pattern, const char *device_id, char out[CW_DEVICE_NAME_MOST + 1], struct cw_msg *msg)
{
	const char *at = pattern == NULL ? FACTORY_FIELD_NAME : pattern, *id = strstr(at, ID);
	struct cw_msg why = { "" };
	char name[512];
	int n = id == NULL ? -1 : snprintf(name, sizeof(name), "%.*s%s%s", (int)(id - at), at, device_id, id + strlen(ID));

	if (n < 0)
		return factory_field_name_check(pattern, msg);
	if ((size_t)n >= sizeof(name))
		return cw_fail(msg, CW_EINVAL, "deviceId %.40s...: too long for a DeviceName", device_id);
	if (cw_check_device_name(name, &why) < 0)
		return cw_fail(msg, CW_EINVAL, "deviceId %.128s makes no DeviceName of \"%.60s\": %s; import it with a DeviceName of its own, or change field.deviceName",
			       device_id, at, why.text);
	memcpy(out, name, (size_t)n + 1);
	return 0;
}
