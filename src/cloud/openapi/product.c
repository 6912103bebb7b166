/* product.c - actions on products and their topic classes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cloud/openapi/pop.h"

/* NodeType is 0 or 1; what comes through a gateway is told by its ProtocolType. */
static int spec_of(struct pop_call *call, struct cloud_product_spec *spec)
{
	const char *auth = cw_cloud_pop_text(call, "AuthType");
	int64_t node, format;

	if (cw_cloud_pop_number(call, "NodeType", 0, &node) < 0 || node < 0 || node > 1) {
		cw_cloud_pop_refuse(call, 400, "InvalidParameter.NodeType", "NodeType is 0 (device) or 1 (gateway).");
		return -1;
	}
	if (cw_cloud_pop_number(call, "DataFormat", 1, &format) < 0 || format < 0 || format > 1) {
		cw_cloud_pop_refuse(call, 400, "InvalidParameter.DataFormat",
				    "DataFormat is 0 (raw) or 1 (Alink JSON).");
		return -1;
	}
	if (auth != NULL && strcmp(auth, "secret") != 0 && strcmp(auth, "x509") != 0) {
		cw_cloud_pop_refuse(call, 400, "InvalidParameter.AuthType",
				    "AuthType is secret or x509; ID2 is not supported.");
		return -1;
	}
	*spec = (struct cloud_product_spec){
		.name = cw_cloud_pop_text(call, "ProductName"),
		.raw = format == 0,
		.registration = 1,
		.x509 = auth != NULL && strcmp(auth, "x509") == 0,
		.type = node == 1                                         ? CLOUD_NODE_GATEWAY
			: cw_cloud_pop_text(call, "ProtocolType") != NULL ? CLOUD_NODE_SUBDEVICE
									  : CLOUD_NODE_DEVICE,
	};
	return 0;
}

static void fail_name(struct pop_call *call, int rc, const struct cw_msg *msg)
{
	cw_cloud_pop_fail(call,
			  rc == CW_EEXIST   ? POP_TAKEN_NAME
			  : rc == CW_EINVAL ? POP_BAD_NAME
					    : POP_SYSTEM,
			  msg->text);
}

static json_t *product_json(const struct cloud_product *p)
{
	return json_pack("{s:s, s:s, s:i, s:i, s:s, s:b, s:I, s:i}", "ProductKey", p->key, "ProductName",
			 p->name != NULL ? p->name : "", "NodeType", p->type == CLOUD_NODE_GATEWAY, "DataFormat",
			 !p->raw, "AuthType", p->x509 ? "x509" : "secret", "Id2", 0, "GmtCreate",
			 (json_int_t)p->created_ms, "DeviceCount", (int)p->device_count);
}

static void on_create(struct pop_call *call)
{
	struct cloud_product_spec spec;
	struct cloud_product *p = NULL;
	struct cw_msg msg = { "" };
	json_t *data;
	int rc;

	if (spec_of(call, &spec) < 0)
		return;
	rc = cw_cloud_product_create(call->cloud, &spec, &p, &msg);
	if (rc < 0) {
		fail_name(call, rc, &msg);
		return;
	}
	data = product_json(p);
	json_object_set_new(data, "ProductSecret", json_string(p->secret));
	cw_cloud_pop_ok(call, json_pack("{s:s, s:o}", "ProductKey", p->key, "Data", data));
}

static void on_query(struct pop_call *call)
{
	json_t *data = product_json(call->product);

	json_object_set_new(data, "ProductSecret", json_string(call->product->secret));
	json_object_set_new(data, "ProductStatus", json_string("DEVELOPMENT_STATUS"));
	json_object_set_new(data, "Owner", json_true());
	cw_cloud_pop_data(call, data);
}

/* Products have no order of their own in the core: by age, then by key. */
static int by_age(const void *a, const void *b)
{
	const struct cloud_product *x = *(struct cloud_product *const *)a, *y = *(struct cloud_product *const *)b;

	if (x->created_ms != y->created_ms)
		return x->created_ms < y->created_ms ? -1 : 1;
	return strcmp(x->key, y->key);
}

static void on_list(struct pop_call *call)
{
	struct cw_map *m = &call->cloud->products;
	struct cloud_product **all;
	struct cw_map_node *node;
	struct pop_page page;
	unsigned n = 0, i;
	json_t *list;

	if (cw_cloud_pop_page(call, "CurrentPage", 10, &page) < 0)
		return;
	all = cw_calloc(m->count + 1, sizeof(*all));
	if (all == NULL) {
		cw_cloud_pop_fail(call, POP_SYSTEM, NULL);
		return;
	}
	cw_map_each (node, m)
		all[n++] = cw_container_of(node, struct cloud_product, node);
	qsort(all, n, sizeof(*all), by_age);
	list = json_array();
	for (i = 0; i < n; i++) {
		if (cw_cloud_pop_on_page(&page, i))
			json_array_append_new(list, product_json(all[i]));
	}
	cw_free(all);
	cw_cloud_pop_data(call, json_pack("{s:i, s:i, s:i, s:i, s:{s:o}}", "CurrentPage", (int)page.current, "PageSize",
					  (int)page.size, "PageCount", (int)cw_cloud_pop_pages(&page, n), "Total",
					  (int)n, "List", "ProductInfo", list));
}

static void on_update(struct pop_call *call)
{
	struct cw_msg msg = { "" };
	int rc = cw_cloud_product_set_name(call->cloud, call->product, cw_cloud_pop_text(call, "ProductName"), &msg);

	if (rc < 0)
		fail_name(call, rc, &msg);
	else
		cw_cloud_pop_ok(call, NULL);
}

static void on_delete(struct pop_call *call)
{
	struct cw_msg msg = { "" };

	if (cw_cloud_product_delete(call->cloud, call->product, &msg) < 0)
		cw_cloud_pop_fail(call, POP_DELETE_PRODUCT, msg.text);
	else
		cw_cloud_pop_ok(call, NULL);
}

/* ---- topic classes ---- */

/* A number for a class, the same in every run: classes have none of their own. */
static int64_t topic_id(const struct cloud_product *p, const struct cloud_class *k)
{
	char text[256];

	(void)snprintf(text, sizeof(text), "%s/%s", p->key, k->pattern);
	return (int64_t)(cw_hash_stable(text, strlen(text)) & 0x7fffffff);
}

static struct cloud_class *class_named(const struct cloud_product *p, const char *pattern)
{
	struct cw_list *e;

	cw_list_each (e, &p->classes) {
		struct cloud_class *k = cw_container_of(e, struct cloud_class, link);

		if (strcmp(k->pattern, pattern) == 0)
			return k;
	}
	return NULL;
}

/* The class of TopicId, whose product becomes the call's; NULL: the call was failed. */
static struct cloud_class *class_of(struct pop_call *call)
{
	struct cw_map_node *node;
	struct cw_list *e;
	int64_t id;

	if (cw_cloud_pop_number(call, "TopicId", 0, &id) < 0) {
		cw_cloud_pop_refuse(call, 400, "InvalidParameter.TopicId", "TopicId is not a number.");
		return NULL;
	}
	cw_map_each (node, &call->cloud->products) {
		struct cloud_product *p = cw_container_of(node, struct cloud_product, node);

		cw_list_each (e, &p->classes) {
			struct cloud_class *k = cw_container_of(e, struct cloud_class, link);

			if (topic_id(p, k) == id) {
				call->product = p;
				return k;
			}
		}
	}
	cw_cloud_pop_fail(call, POP_NO_TOPIC, NULL);
	return NULL;
}

/* PUB, SUB or ALL, seen from the device; NULL: what `k` allows. 0, or the call was refused. */
static int operation_of(struct pop_call *call, const struct cloud_class *k, int *ret_publish, int *ret_subscribe)
{
	const char *text = cw_cloud_pop_text(call, "Operation");

	if (text == NULL && k != NULL) {
		*ret_publish = k->publish;
		*ret_subscribe = k->subscribe;
		return 0;
	}
	if (text == NULL || (strcmp(text, "PUB") != 0 && strcmp(text, "SUB") != 0 && strcmp(text, "ALL") != 0)) {
		cw_cloud_pop_refuse(call, 400, "InvalidParameter.Operation", "Operation is PUB, SUB or ALL.");
		return -1;
	}
	*ret_publish = text[0] != 'S';
	*ret_subscribe = text[0] != 'P';
	return 0;
}

static void on_topic_create(struct pop_call *call)
{
	const char *name = cw_cloud_pop_text(call, "TopicShortName");
	struct cw_msg msg = { "" };
	int publish = 0, subscribe = 0;

	if (operation_of(call, NULL, &publish, &subscribe) < 0)
		return;
	if (class_named(call->product, name) != NULL) {
		cw_cloud_pop_fail(call, POP_TAKEN_TOPIC, NULL);
		return;
	}
	if (cw_cloud_class_add(call->product, name, publish, subscribe, &msg) < 0)
		cw_cloud_pop_fail(call, POP_BAD_TOPIC, msg.text);
	else
		cw_cloud_pop_ok(call, json_pack("{s:I}", "TopicId",
						(json_int_t)topic_id(call->product, class_named(call->product, name))));
}

static void on_topic_query(struct pop_call *call)
{
	json_t *list = json_array();
	struct cw_list *e;

	cw_list_each (e, &call->product->classes) {
		const struct cloud_class *k = cw_container_of(e, struct cloud_class, link);
		char id[24];

		(void)snprintf(id, sizeof(id), "%lld", (long long)topic_id(call->product, k));
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s}", "Id", id, "ProductKey",
						      call->product->key, "TopicShortName", k->pattern, "Operation",
						      !k->subscribe ? "0"
						      : !k->publish ? "1"
								    : "2",
						      "Desc", ""));
	}
	cw_cloud_pop_data(call, json_pack("{s:o}", "ProductTopicInfo", list));
}

static void on_topic_update(struct pop_call *call)
{
	struct cloud_class *k = class_of(call);
	const char *name;
	struct cw_msg msg = { "" };
	int publish = 0, subscribe = 0, renamed;

	if (k == NULL || operation_of(call, k, &publish, &subscribe) < 0)
		return;
	name = cw_cloud_pop_text(call, "TopicShortName");
	renamed = name != NULL && strcmp(name, k->pattern) != 0;
	if (renamed && class_named(call->product, name) != NULL)
		cw_cloud_pop_fail(call, POP_TAKEN_TOPIC, NULL);
	else if (renamed && k->standard)
		cw_cloud_pop_fail(call, POP_BAD_TOPIC, "A class that every product has keeps its name.");
	else if (cw_cloud_class_add(call->product, renamed ? name : k->pattern, publish, subscribe, &msg) < 0)
		cw_cloud_pop_fail(call, POP_BAD_TOPIC, msg.text);
	else {
		if (renamed)
			(void)cw_cloud_class_remove(call->product, k);
		cw_cloud_pop_ok(call, NULL);
	}
}

static void on_topic_delete(struct pop_call *call)
{
	struct cloud_class *k = class_of(call);

	if (k == NULL)
		return;
	if (cw_cloud_class_remove(call->product, k) < 0)
		cw_cloud_pop_fail(call, POP_BAD_TOPIC, "A class that every product has cannot be deleted.");
	else
		cw_cloud_pop_ok(call, NULL);
}

const struct pop_action cw_cloud_pop_product_actions[] = {
	{ "CreateProduct", POP_ACCOUNT, "ProductName NodeType", 0, on_create },
	{ "QueryProduct", POP_PRODUCT, NULL, 0, on_query },
	{ "QueryProductList", POP_ACCOUNT, "CurrentPage PageSize", 0, on_list },
	{ "UpdateProduct", POP_PRODUCT, "ProductName", 0, on_update },
	{ "DeleteProduct", POP_PRODUCT, NULL, 0, on_delete },
	{ "CreateProductTopic", POP_PRODUCT, "TopicShortName Operation", 0, on_topic_create },
	{ "QueryProductTopic", POP_PRODUCT, NULL, 0, on_topic_query },
	{ "UpdateProductTopic", POP_ACCOUNT, "TopicId", 0, on_topic_update },
	{ "DeleteProductTopic", POP_ACCOUNT, "TopicId", 0, on_topic_delete },
	{ .name = NULL },
};
