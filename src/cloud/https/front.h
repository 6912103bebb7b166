/* front.h - the HTTPS channel: devices that report without a standing connection, and what the platform's hosts serve
 * by paths. */
#ifndef CW_CLOUD_HTTPS_FRONT_H
#define CW_CLOUD_HTTPS_FRONT_H

#include "cloud/front.h"

extern const struct cloud_front cw_cloud_https_front;

#endif
