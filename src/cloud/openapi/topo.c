/* topo.c - actions on relations between gateways and sub-devices. */
#include <string.h>

#include "cloud/core/stock/stock.h"
#include "cloud/openapi/pop.h"

static json_t *identity(const struct cloud_device *d)
{
	return json_pack("{s:s, s:s, s:s}", "IotId", d->iot_id, "ProductKey", d->product->key, "DeviceName", d->dn);
}

static void on_get(struct pop_call *call)
{
	struct cloud_device *gw = call->device;
	struct pop_page page;
	json_t *list;
	struct cw_list *e;
	unsigned n = 0;

	if (gw->product->type != CLOUD_NODE_GATEWAY) {
		cw_cloud_pop_fail(call, POP_TOPO_QUERY, "The device is no gateway.");
		return;
	}
	if (cw_cloud_pop_page(call, "PageNo", 10, &page) < 0)
		return;
	list = json_array();
	cw_list_each (e, &gw->children) {
		if (cw_cloud_pop_on_page(&page, n++))
			json_array_append_new(list, identity(cw_container_of(e, struct cloud_device, sibling)));
	}
	cw_cloud_pop_data(call, json_pack("{s:i, s:i, s:i, s:i, s:{s:o}}", "Total", (int)n, "CurrentPage",
					  (int)page.current, "PageSize", (int)page.size, "PageCount",
					  (int)cw_cloud_pop_pages(&page, n), "List", "deviceInfo", list));
}

static void on_gateway(struct pop_call *call)
{
	if (call->device->gateway == NULL) {
		cw_cloud_pop_fail(call, POP_TOPO_QUERY, "The device has no gateway.");
		return;
	}
	cw_cloud_pop_data(call, cw_cloud_pop_detail(call, call->device->gateway));
}

static void on_remove(struct pop_call *call)
{
	struct cloud_device *d = call->device, *gw = d->gateway;

	if (gw == NULL) {
		cw_cloud_pop_fail(call, POP_TOPO_REMOVE, NULL);
		return;
	}
	cw_cloud_member_down(call->cloud, d, 6401);
	cw_cloud_unrelate(d);
	cw_cloud_changed(call->cloud, d);
	cw_cloud_topo_changed(call->cloud, gw, d, 1);
	cw_cloud_pop_data(call, json_true());
}

const struct pop_action cw_cloud_pop_topo_actions[] = {
	{ "GetThingTopo", POP_DEVICE, NULL, 0, on_get },
	{ "GetGatewayBySubDevice", POP_DEVICE, NULL, 0, on_gateway },
	{ "RemoveThingTopo", POP_DEVICE, NULL, 0, on_remove },
	{ .name = NULL },
};
