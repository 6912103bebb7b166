/*
 * field_name.h - the DeviceName of a device in the field, made of its deviceId by a template. Plain functions, any thread.
 *
 * Nothing is left out or replaced to make an id fit: two ids would get one name that way, and with it one certificate.
 */
#ifndef CW_FACTORY_FIELD_NAME_H
#define CW_FACTORY_FIELD_NAME_H

#include "base/err.h"
#include "platform/names.h"

#define FACTORY_FIELD_NAME "${deviceId}" /* the template of field.deviceName when none is given */

/* Can any name come out? CW_ECONF with a sentence. NULL counts as the default. */
int factory_field_name_check(const char *pattern, struct cw_msg *msg);
/* CW_EINVAL with a sentence that names the id and says the way out: for imports of ids too. */
int factory_field_name(const char *pattern, const char *device_id, char out[CW_DEVICE_NAME_MOST + 1], struct cw_msg *msg);

#endif
