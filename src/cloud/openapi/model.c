/* model.c - actions on what a device reported and what is kept for it: properties, events, desired values, tags. */
#include <stdio.h>
#include <string.h>

#include "cloud/core/model/tsl.h"
#include "cloud/core/traffic/down.h"
#include "cloud/openapi/pop.h"

/* ---- the model itself ---- */

static void on_import(struct pop_call *call)
{
	json_t *tsl = cw_cloud_pop_json_param(call, "TslStr", JSON_OBJECT);
	struct cw_msg msg = { "" };
	int rc;

	if (tsl == NULL)
		return;
	rc = cw_cloud_tsl_set(call->cloud, call->product, tsl, &msg);
	json_decref(tsl);
	if (rc < 0)
		cw_cloud_pop_refuse(call, 400, "InvalidParameter.TslStr", msg.text);
	else
		cw_cloud_pop_ok(call, NULL);
}

static void on_get_model(struct pop_call *call)
{
	json_t *text = call->product->tsl != NULL ? cw_cloud_pop_value_text(call->product->tsl) : json_string("");

	cw_cloud_pop_data(call, json_pack("{s:o}", "TslStr", text));
}

/* ---- what was reported ---- */

/* The model's entry of a property or event: {identifier, name, dataType...}; NULL: none. */
static const json_t *entry_of(const struct cloud_product *p, const char *list, const char *identifier)
{
	json_t *one;
	size_t i;

	json_array_foreach (json_object_get(p->tsl, list), i, one) {
		const char *name = json_string_value(json_object_get(one, "identifier"));

		if (name != NULL && strcmp(name, identifier) == 0)
			return one;
	}
	return NULL;
}

static const char *text_in(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text != NULL ? text : "";
}

/* {Identifier, Name, DataType, Unit, Value, Time} */
static json_t *property_info(const struct cloud_product *p, const char *identifier, const json_t *kept)
{
	const json_t *entry = entry_of(p, "properties", identifier), *type = json_object_get(entry, "dataType");
	const json_t *value = json_object_get(kept, "value"), *time = json_object_get(kept, "time");
	json_t *info =
		json_pack("{s:s, s:s, s:s, s:s}", "Identifier", identifier, "Name", text_in(entry, "name"), "DataType",
			  text_in(type, "type"), "Unit", text_in(json_object_get(type, "specs"), "unit"));

	json_object_set_new(info, "Value", value != NULL ? cw_cloud_pop_value_text(value) : json_string(""));
	json_object_set_new(info, "Time", time != NULL ? cw_cloud_pop_value_text(time) : json_string(""));
	return info;
}

static void on_property_status(struct pop_call *call)
{
	json_t *list = json_array(), *value;
	const char *name;

	json_object_foreach (cw_cloud_doc(call->device, CLOUD_DOC_REPORTED), name, value)
		json_array_append_new(list, property_info(call->product, name, value));
	cw_cloud_pop_data(call, json_pack("{s:{s:o}}", "List", "PropertyStatusInfo", list));
}

/* The last one, when it lies between StartTime and EndTime; NULL: none does, or (*ret_rc) the call was refused. */
static const json_t *last_between(struct pop_call *call, enum cloud_doc doc, int *ret_rc)
{
	const char *name = cw_cloud_pop_text(call, "Identifier");
	const json_t *kept = json_object_get(cw_cloud_doc(call->device, doc), name);
	int64_t start, end, at = (int64_t)json_integer_value(json_object_get(kept, "time"));

	*ret_rc = 0;
	if (cw_cloud_pop_number(call, "StartTime", 0, &start) < 0 ||
	    cw_cloud_pop_number(call, "EndTime", INT64_MAX, &end) < 0) {
		cw_cloud_pop_refuse(call, 400, "InvalidParameter.StartTime",
				    "StartTime and EndTime are milliseconds since 1970.");
		*ret_rc = -1;
		return NULL;
	}
	return kept != NULL && ((at >= start && at <= end) || (at >= end && at <= start)) ? kept : NULL;
}

static void reply_history(struct pop_call *call, const char *member, json_t *list)
{
	cw_cloud_pop_data(call, json_pack("{s:{s:o}, s:b, s:i}", "List", member, list, "NextValid", 0, "NextTime", 0));
}

/* The emulator keeps the last value of each property. */
static void on_property_data(struct pop_call *call)
{
	json_t *list;
	int rc;
	const json_t *kept = last_between(call, CLOUD_DOC_REPORTED, &rc);

	if (rc < 0)
		return;
	list = json_array();
	if (kept != NULL)
		json_array_append_new(list, json_pack("{s:o, s:o}", "Time",
						      cw_cloud_pop_value_text(json_object_get(kept, "time")), "Value",
						      cw_cloud_pop_value_text(json_object_get(kept, "value"))));
	reply_history(call, "PropertyInfo", list);
}

/* And the last of each kind of event. */
static void on_event_data(struct pop_call *call)
{
	const char *name = cw_cloud_pop_text(call, "Identifier");
	const json_t *entry = entry_of(call->product, "events", name), *kept;
	json_t *list;
	int rc;

	kept = last_between(call, CLOUD_DOC_EVENTS, &rc);
	if (rc < 0)
		return;
	list = json_array();
	if (kept != NULL)
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:s, s:o, s:o}", "Identifier", name, "Name",
						text_in(entry, "name"), "EventType", text_in(entry, "type"),
						"OutputData", cw_cloud_pop_value_text(json_object_get(kept, "value")),
						"Time", cw_cloud_pop_value_text(json_object_get(kept, "time"))));
	reply_history(call, "EventInfo", list);
}

/* ---- desired values ---- */

static void set_desired(struct pop_call *call, const json_t *items, const json_t *versions)
{
	struct cw_msg msg = { "" };
	json_t *doc, *now, *value;
	char id[24], code[24];
	const char *name;
	int got = cw_cloud_set_desired(call->cloud, call->device, items, versions, &msg);

	if (got != 200) {
		(void)snprintf(code, sizeof(code), "%d", got);
		cw_cloud_pop_fail_code(call, code, msg.text);
		return;
	}
	doc = cw_cloud_doc(call->device, CLOUD_DOC_DESIRED);
	now = json_object();
	json_object_foreach ((json_t *)(uintptr_t)items, name, value) {
		json_t *version = json_object_get(json_object_get(doc, name), "version");

		if (version != NULL)
			json_object_set(now, name, version);
	}
	cw_cloud_next_id(call->cloud, id);
	cw_cloud_pop_data(call, json_pack("{s:s, s:o}", "MessageId", id, "Versions", cw_cloud_pop_value_text(now)));
	json_decref(now);
}

static void on_set_desired(struct pop_call *call)
{
	json_t *items = cw_cloud_pop_json_param(call, "Items", JSON_OBJECT), *versions = NULL;

	if (items == NULL)
		return;
	if (cw_cloud_pop_text(call, "Versions") != NULL) {
		versions = cw_cloud_pop_json_param(call, "Versions", JSON_OBJECT);
		if (versions == NULL) {
			json_decref(items);
			return;
		}
	}
	set_desired(call, items, versions);
	json_decref(items);
	json_decref(versions);
}

/* Wanted by Identifier.N, or all when there is none? */
static int is_listed(const struct pop_call *call, const char *identifier)
{
	unsigned i;

	for (i = 1;; i++) {
		const char *name = cw_cloud_pop_item(call, "Identifier", i, NULL);

		if (name == NULL)
			return i == 1;
		if (strcmp(name, identifier) == 0)
			return 1;
	}
}

static void on_query_desired(struct pop_call *call)
{
	json_t *list = json_array(), *kept, *info;
	const char *name;

	json_object_foreach (cw_cloud_doc(call->device, CLOUD_DOC_DESIRED), name, kept) {
		if (json_object_get(kept, "value") == NULL || !is_listed(call, name))
			continue;
		info = property_info(call->product, name, kept);
		json_object_set(info, "Version", json_object_get(kept, "version"));
		json_array_append_new(list, info);
	}
	cw_cloud_pop_data(call, json_pack("{s:{s:o}}", "List", "DesiredPropertyInfo", list));
}

/* ---- tags ---- */

static void on_tags(struct pop_call *call)
{
	json_t *text = cw_cloud_pop_value_text(cw_cloud_doc(call->device, CLOUD_DOC_TAGS));

	cw_cloud_pop_ok(call, json_pack("{s:o}", "Props", text));
}

static void set_tags(struct pop_call *call, const json_t *tags)
{
	struct cw_msg msg = { "" };

	if (cw_cloud_set_tags(call->cloud, call->device, tags, &msg) != 200)
		cw_cloud_pop_fail(call, POP_VERIFY_FAILED, msg.text);
	else
		cw_cloud_pop_ok(call, NULL);
}

static void on_save_tags(struct pop_call *call)
{
	json_t *tags = cw_cloud_pop_json_param(call, "Props", JSON_OBJECT);

	if (tags == NULL)
		return;
	set_tags(call, tags);
	json_decref(tags);
}

static void on_delete_tag(struct pop_call *call)
{
	const char *key = cw_cloud_pop_text(call, "PropKey");
	json_t *tags;

	if (json_object_get(cw_cloud_doc(call->device, CLOUD_DOC_TAGS), key) == NULL) {
		cw_cloud_pop_fail(call, POP_VERIFY_FAILED, "The device has no such tag.");
		return;
	}
	tags = json_pack("{s:n}", key);
	set_tags(call, tags);
	json_decref(tags);
}

/* Does the device have every tag that the call names? */
static int has_tags(const struct pop_call *call, const struct cloud_device *d, unsigned count)
{
	unsigned i;

	for (i = 1; i <= count; i++) {
		const char *want = cw_cloud_pop_item(call, "Tag", i, "TagValue");
		const char *have = json_string_value(
			json_object_get(d->doc[CLOUD_DOC_TAGS], cw_cloud_pop_item(call, "Tag", i, "TagKey")));

		if (have == NULL || (want != NULL && strcmp(have, want) != 0))
			return 0;
	}
	return 1;
}

static void on_by_tags(struct pop_call *call)
{
	unsigned count = cw_cloud_pop_count(call, "Tag", "TagKey", 10), n = 0;
	struct pop_page page;
	struct cw_list *e;
	json_t *list;

	if (count == 0 || count > 10) {
		cw_cloud_pop_refuse(call, 400, "MissingTag",
				    "1 to 10 tags are named, Tag.N.TagKey with Tag.N.TagValue.");
		return;
	}
	if (cw_cloud_pop_page(call, "CurrentPage", 10, &page) < 0)
		return;
	list = json_array();
	cw_list_each (e, &call->cloud->device_list) {
		const struct cloud_device *d = cw_container_of(e, struct cloud_device, all);

		if (has_tags(call, d, count) && cw_cloud_pop_on_page(&page, n++))
			json_array_append_new(list,
					      json_pack("{s:s, s:s, s:s, s:s}", "ProductKey", d->product->key,
							"ProductName", d->product->name != NULL ? d->product->name : "",
							"DeviceName", d->dn, "IotId", d->iot_id));
	}
	cw_cloud_pop_ok(call, json_pack("{s:i, s:i, s:i, s:i, s:{s:o}}", "Page", (int)page.current, "PageSize",
					(int)page.size, "PageCount", (int)cw_cloud_pop_pages(&page, n), "Total", (int)n,
					"Data", "SimpleDeviceInfo", list));
}

const struct pop_action cw_cloud_pop_model_actions[] = {
	{ "ImportThingModelTsl", POP_PRODUCT, NULL, 0, on_import },
	{ "GetThingModelTsl", POP_PRODUCT, NULL, 0, on_get_model },
	{ "QueryDevicePropertyStatus", POP_DEVICE, NULL, 0, on_property_status },
	{ "QueryDevicePropertyData", POP_DEVICE, "Identifier StartTime EndTime", 0, on_property_data },
	{ "QueryDeviceEventData", POP_DEVICE, "Identifier StartTime EndTime", 0, on_event_data },
	{ "SetDeviceDesiredProperty", POP_DEVICE, NULL, 0, on_set_desired },
	{ "QueryDeviceDesiredProperty", POP_DEVICE, NULL, 0, on_query_desired },
	{ "QueryDeviceProp", POP_DEVICE, NULL, 0, on_tags },
	{ "SaveDeviceProp", POP_DEVICE, NULL, 0, on_save_tags },
	{ "DeleteDeviceProp", POP_DEVICE, "PropKey", 0, on_delete_tag },
	{ "QueryDeviceByTags", POP_ACCOUNT, NULL, 0, on_by_tags },
	{ .name = NULL },
};
