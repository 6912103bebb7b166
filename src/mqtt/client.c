/* client.c - the MQTT client libraries to choose from. See client.h. */
#include "mqtt/client.h"

const char *const cw_mqtt_client_names[] = { "paho", NULL };

static const struct cw_mqtt_ops *const clients[] = { &cw_mqtt_paho };

const struct cw_mqtt_ops *cw_mqtt_client(int i)
{
	return clients[i];
}
