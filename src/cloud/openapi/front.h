/* front.h - the management API as a front of the emulator: a listener of its own, and "/" of the HTTPS listener. */
#ifndef CW_CLOUD_OPENAPI_FRONT_H
#define CW_CLOUD_OPENAPI_FRONT_H

#include "cloud/front.h"

extern const struct cloud_front cw_cloud_openapi_front;

#endif
