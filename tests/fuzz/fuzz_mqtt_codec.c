/*
 * A stream of MQTT packets as a hostile client would send it: first byte the protocol level. Decodes
 * packet after packet from blocks of exactly the bytes given, and takes client ids and topics apart.
 */
#include <stdlib.h>
#include <string.h>

#include "causeway/error.h"
#include "cloud/core/traffic/topic.h"
#include "cloud/mqtt/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at(struct cloud_mqtt_packet *p)
{
	struct cloud_client_id id;
	struct cloud_topic topic;
	struct cloud_text filter;
	uint8_t qos;

	if (p->type == MQTT_CONNECT && (p->u.connect.level == 3 || p->u.connect.level == 4)) {
		if (cw_cloud_client_id_parse(p->u.connect.client_id.s, p->u.connect.client_id.len, &id) == 0)
			(void)cw_cloud_client_id_get(&id, "securemode");
	} else if (p->type == MQTT_PUBLISH) {
		cw_cloud_topic_parse(p->u.publish.topic.s, p->u.publish.topic.len, &topic);
	} else if (p->type == MQTT_SUBSCRIBE || p->type == MQTT_UNSUBSCRIBE) {
		unsigned n = 0;

		while (cw_cloud_mqtt_filter(p, &filter, &qos)) {
			n++;
			(void)cw_cloud_filter_valid(filter.s, filter.len);
			cw_cloud_topic_parse(filter.s, filter.len, &topic);
			(void)cw_cloud_topic_matches(filter.s, filter.len, "/sys/pk/dn/thing", 16);
		}
		if (n != p->u.filters.count)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cloud_mqtt_packet p;
	size_t at = 1;

	while (at < size) {
		int rc = cw_cloud_mqtt_decode(data + at, size - at, data[0], &p);

		if (rc == CW_EBUSY) {
			/* What it asks for must be more than there is. */
			if (p.size <= size - at && p.size != 2)
				abort();
			break;
		}
		if (rc < 0)
			break;
		if (p.size == 0 || p.size > size - at)
			abort();
		look_at(&p);
		at += p.size;
	}
	return 0;
}
