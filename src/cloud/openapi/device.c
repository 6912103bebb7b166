/* device.c - actions on single devices: registration, queries, tags, barring, removal. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cloud/core/stock/stock.h"
#include "cloud/core/stock/x509.h"
#include "cloud/openapi/pop.h"

#define BATCH_QUERY_MAX 50u /* devices of one BatchGetDeviceState, and of one BatchQueryDeviceDetail */
#define NAME_LEN 20u        /* of a name that is made up */
#define REGION "cn-shanghai"

/* ---- registration ---- */

static void on_register_device(struct pop_call *call)
{
	const char *dn = cw_cloud_pop_text(call, "DeviceName"), *nickname = cw_cloud_pop_text(call, "Nickname");
	struct cloud_device *d = NULL;
	struct cw_msg msg = { "" };
	char made[NAME_LEN + 1];
	int rc = 0;

	if (dn == NULL)
		rc = cw_cloud_make_text(made, NAME_LEN);
	if (rc == 0)
		rc = cw_cloud_device_add(call->cloud, call->product, dn != NULL ? dn : made, NULL, &d, &msg);
	if (rc < 0) {
		cw_cloud_pop_fail(call,
				  rc == CW_EEXIST   ? POP_TAKEN_DN
				  : rc == CW_EINVAL ? POP_BAD_DN
				  : rc == CW_ELIMIT ? POP_CREATE_FAILED
						    : POP_SYSTEM,
				  rc == CW_ELIMIT ? msg.text : NULL);
		return;
	}
	rc = cw_cloud_device_set_nickname(call->cloud, d, nickname, &msg);
	if (rc < 0) {
		cw_cloud_device_delete(call->cloud, d);
		cw_cloud_pop_fail(call, rc == CW_EINVAL ? POP_CREATE_FAILED : POP_SYSTEM,
				  rc == CW_EINVAL ? msg.text : NULL);
		return;
	}
	cw_cloud_pop_data(call,
			  json_pack("{s:s, s:s, s:s, s:s, s:s*}", "ProductKey", call->product->key, "DeviceName", d->dn,
				    "DeviceSecret", d->secret, "IotId", d->iot_id, "Nickname", d->nickname));
}

/* ---- queries ---- */

/* As this API spells it. */
static const char *status_of(const struct pop_call *call, const struct cloud_device *d)
{
	const char *status = cw_cloud_device_status(call->cloud, d);

	return strcmp(status, "DISABLED") == 0 ? "DISABLE" : status;
}

/* Address of the connection it comes through, without the port; "" when there is none. */
static json_t *address_of(const struct cloud_device *d)
{
	const char *peer = d->link != NULL ? d->link->peer : "", *colon = strrchr(peer, ':');

	return json_stringn(peer, colon != NULL ? (size_t)(colon - peer) : strlen(peer));
}

static const char *firmware_of(const struct cloud_device *d)
{
	const char *version = json_string_value(json_object_get(d->doc[CLOUD_DOC_MODULES], "default"));

	return version != NULL ? version : "";
}

json_t *cw_cloud_pop_detail(const struct pop_call *call, const struct cloud_device *d)
{
	const struct cloud_product *p = d->product;
	json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:b}", "ProductKey", p->key,
			      "ProductName", p->name != NULL ? p->name : "", "DeviceName", d->dn, "DeviceSecret",
			      d->secret, "IotId", d->iot_id, "Nickname", d->nickname != NULL ? d->nickname : "",
			      "Status", status_of(call, d), "FirmwareVersion", firmware_of(d), "NodeType",
			      p->type == CLOUD_NODE_GATEWAY, "Region", REGION, "Owner", 1);

	json_object_set_new(j, "IpAddress", address_of(d));
	json_object_set_new(j, "UtcCreate", cw_cloud_pop_utc(d->created_ms));
	json_object_set_new(j, "GmtCreate", cw_cloud_pop_gmt(d->created_ms));
	json_object_set_new(j, "UtcActive", cw_cloud_pop_utc(d->active_ms));
	json_object_set_new(j, "GmtActive", cw_cloud_pop_gmt(d->active_ms));
	json_object_set_new(j, "UtcOnline", cw_cloud_pop_utc(d->online_ms));
	json_object_set_new(j, "GmtOnline", cw_cloud_pop_gmt(d->online_ms));
	return j;
}

static void on_detail(struct pop_call *call)
{
	cw_cloud_pop_data(call, cw_cloud_pop_detail(call, call->device));
}

static void on_info(struct pop_call *call)
{
	const struct cloud_device *d = call->device;

	cw_cloud_pop_data(call, json_pack("{s:s, s:s, s:s, s:s, s:s}", "ProductKey", d->product->key, "DeviceName",
					  d->dn, "DeviceSecret", d->secret, "IotId", d->iot_id, "Nickname",
					  d->nickname != NULL ? d->nickname : ""));
}

/* The n-th (from 1) device a list names, by IotId or name; NULL: skipped, as the lists of answers hold those found. */
static struct cloud_device *listed(struct pop_call *call, unsigned index)
{
	const char *iot_id = cw_cloud_pop_item(call, "IotId", index, NULL),
		   *dn = cw_cloud_pop_item(call, "DeviceName", index, NULL);

	if (iot_id != NULL)
		return cw_cloud_device_by_iot_id(call->cloud, iot_id, strlen(iot_id));
	return dn != NULL && call->product != NULL ? cw_cloud_device_find(call->cloud, call->product->key,
									  strlen(call->product->key), dn, strlen(dn))
						   : NULL;
}

/* How many devices are listed; 0: the call was failed. Names need a product, which is then resolved. */
static unsigned count_listed(struct pop_call *call)
{
	unsigned n = cw_cloud_pop_count(call, "IotId", NULL, BATCH_QUERY_MAX);

	if (n == 0) {
		if (call->product == NULL)
			call->product = cw_cloud_pop_product(call, cw_cloud_pop_text(call, "ProductKey"));
		if (call->product == NULL)
			return 0;
		n = cw_cloud_pop_count(call, "DeviceName", NULL, BATCH_QUERY_MAX);
	}
	if (n == 0 || n > BATCH_QUERY_MAX) {
		cw_cloud_pop_fail(call, n == 0 ? POP_NO_NAMES : POP_TOO_MANY, NULL);
		return 0;
	}
	return n;
}

static void on_batch_detail(struct pop_call *call)
{
	unsigned n = count_listed(call), i;
	json_t *list;

	if (n == 0)
		return;
	list = json_array();
	for (i = 1; i <= n; i++) {
		struct cloud_device *d = listed(call, i);

		if (d != NULL)
			json_array_append_new(list, cw_cloud_pop_detail(call, d));
	}
	cw_cloud_pop_data(call, json_pack("{s:o}", "Data", list));
}

static void on_batch_state(struct pop_call *call)
{
	unsigned n = count_listed(call), i;
	json_t *list;

	if (n == 0)
		return;
	list = json_array();
	for (i = 1; i <= n; i++) {
		struct cloud_device *d = listed(call, i);

		if (d == NULL)
			continue;
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "DeviceId", d->iot_id, "DeviceName",
						d->dn, "IotId", d->iot_id, "Status", status_of(call, d), "AsAddress",
						address_of(d), "LastOnlineTime", cw_cloud_pop_utc(d->online_ms)));
	}
	cw_cloud_pop_ok(call, json_pack("{s:{s:o}}", "DeviceStatusList", "DeviceStatus", list));
}

static void on_status(struct pop_call *call)
{
	const struct cloud_device *d = call->device;
	int64_t ms = d->link != NULL ? d->online_ms : d->offline_ms != 0 ? d->offline_ms : d->created_ms;

	cw_cloud_pop_data(call, json_pack("{s:s, s:I}", "Status", status_of(call, d), "Timestamp", (json_int_t)ms));
}

/* Thu, 17-Nov-2016 02:08:12 GMT */
static json_t *old_gmt(int64_t ms)
{
	static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	char text[64];

	(void)gmtime_r(&seconds, &tm);
	(void)snprintf(text, sizeof(text), "%s, %02d-%s-%04d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday,
		       months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
	return json_string(text);
}

/* Page, PageSize, PageCount and Total beside the list, as the actions on devices have it. */
static json_t *paged(const struct pop_page *page, unsigned total)
{
	return json_pack("{s:i, s:i, s:i, s:i}", "Page", (int)page->current, "PageSize", (int)page->size, "PageCount",
			 (int)cw_cloud_pop_pages(page, total), "Total", (int)total);
}

static json_t *row_of(const struct pop_call *call, const struct cloud_device *d)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "DeviceId", d->iot_id, "DeviceName",
			 d->dn, "DeviceSecret", d->secret, "IotId", d->iot_id, "ProductKey", d->product->key,
			 "Nickname", d->nickname != NULL ? d->nickname : "", "DeviceStatus", status_of(call, d),
			 "GmtCreate", old_gmt(d->created_ms), "GmtModified", old_gmt(d->created_ms), "UtcCreate",
			 cw_cloud_pop_utc(d->created_ms), "UtcModified", cw_cloud_pop_utc(d->created_ms));
}

/* Devices of the call's product for which `wanted` is true, one page of them; *ret_total counts all. */
static json_t *rows(struct pop_call *call, const struct pop_page *page, const char *status, unsigned *ret_total)
{
	json_t *list = json_array();
	struct cw_list *e;
	unsigned n = 0;

	cw_list_each (e, &call->cloud->device_list) {
		struct cloud_device *d = cw_container_of(e, struct cloud_device, all);

		if (d->product != call->product || (status != NULL && strcmp(status_of(call, d), status) != 0))
			continue;
		if (cw_cloud_pop_on_page(page, n++))
			json_array_append_new(list, row_of(call, d));
	}
	*ret_total = n;
	return list;
}

static void on_query(struct pop_call *call)
{
	struct pop_page page;
	unsigned total = 0;
	json_t *list, *body;

	if (cw_cloud_pop_page(call, "CurrentPage", 10, &page) < 0)
		return;
	list = rows(call, &page, NULL, &total);
	body = paged(&page, total);
	json_object_set_new(body, "Data", json_pack("{s:o}", "DeviceInfo", list));
	cw_cloud_pop_ok(call, body);
}

/* Status as a number: 0 inactive, 1 online, 3 offline, 8 disabled. */
static void on_query_by_status(struct pop_call *call)
{
	const char *name = NULL;
	struct pop_page page;
	unsigned total = 0;
	int64_t status;
	json_t *list, *body;

	if (cw_cloud_pop_number(call, "Status", -1, &status) == 0)
		name = status == 0   ? "UNACTIVE"
		       : status == 1 ? "ONLINE"
		       : status == 3 ? "OFFLINE"
		       : status == 8 ? "DISABLE"
				     : NULL;
	if (name == NULL) {
		cw_cloud_pop_refuse(call, 400, "InvalidParameter.Status", "Status is 0, 1, 3 or 8.");
		return;
	}
	if (cw_cloud_pop_page(call, "CurrentPage", 10, &page) < 0)
		return;
	list = rows(call, &page, name, &total);
	body = paged(&page, total);
	json_object_set_new(body, "Data", json_pack("{s:o}", "SimpleDeviceInfo", list));
	cw_cloud_pop_ok(call, body);
}

static void on_statistics(struct pop_call *call)
{
	const char *pk = cw_cloud_pop_text(call, "ProductKey");
	unsigned devices = 0, active = 0, online = 0;
	struct cw_list *e;

	if (pk != NULL && (call->product = cw_cloud_pop_product(call, pk)) == NULL)
		return;
	cw_list_each (e, &call->cloud->device_list) {
		const struct cloud_device *d = cw_container_of(e, struct cloud_device, all);

		if (call->product != NULL && d->product != call->product)
			continue;
		devices++;
		active += d->active_ms != 0;
		online += (unsigned)cw_cloud_device_online(call->cloud, d);
	}
	cw_cloud_pop_data(call, json_pack("{s:i, s:i, s:i}", "deviceCount", (int)devices, "activeCount", (int)active,
					  "onlineCount", (int)online));
}

/* ---- changes ---- */

static void on_disable(struct pop_call *call)
{
	cw_cloud_device_disable(call->cloud, call->device);
	cw_cloud_pop_ok(call, NULL);
}

static void on_enable(struct pop_call *call)
{
	cw_cloud_device_enable(call->cloud, call->device);
	cw_cloud_pop_ok(call, NULL);
}

static void on_delete(struct pop_call *call)
{
	cw_cloud_device_delete(call->cloud, call->device);
	cw_cloud_pop_ok(call, NULL);
}

static void on_reset(struct pop_call *call)
{
	cw_cloud_device_reset(call->cloud, call->device);
	cw_cloud_pop_ok(call, NULL);
}

static void on_nicknames(struct pop_call *call)
{
	unsigned n = cw_cloud_pop_count(call, "DeviceNicknameInfo", "Nickname", 100), i;
	struct cw_msg msg = { "" };

	if (n == 0 || n > 100) {
		cw_cloud_pop_fail(call, n == 0 ? POP_NO_NAMES : POP_TOO_MANY, NULL);
		return;
	}
	for (i = 1; i <= n; i++) {
		struct cloud_device *d =
			cw_cloud_pop_device(call, cw_cloud_pop_item(call, "DeviceNicknameInfo", i, "IotId"),
					    cw_cloud_pop_item(call, "DeviceNicknameInfo", i, "ProductKey"),
					    cw_cloud_pop_item(call, "DeviceNicknameInfo", i, "DeviceName"));

		if (d == NULL)
			return;
		if (cw_cloud_device_set_nickname(
			    call->cloud, d, cw_cloud_pop_item(call, "DeviceNicknameInfo", i, "Nickname"), &msg) < 0) {
			cw_cloud_pop_fail(call, POP_VERIFY_FAILED, msg.text);
			return;
		}
	}
	cw_cloud_pop_ok(call, NULL);
}

/* ---- certificates ---- */

static void on_cert(struct pop_call *call)
{
	const struct cloud_cert *cert = NULL;
	struct cw_msg msg = { "" };
	int rc = cw_cloud_x509_issue(call->cloud, call->device, &cert, &msg);

	if (rc < 0) {
		cw_cloud_pop_fail(call, rc == CW_EINVAL ? POP_VERIFY_FAILED : POP_SYSTEM, msg.text);
		return;
	}
	cw_cloud_pop_ok(call,
			json_pack("{s:{s:s, s:s, s:s, s:i}}", "DeviceCertInfo", "CertSN", cert->serial, "Certificate",
				  cert->cert_pem, "PrivateKey", cert->key_pem, "Status", cert->status));
}

const struct pop_action cw_cloud_pop_device_actions[] = {
	{ "RegisterDevice", POP_PRODUCT, NULL, 0, on_register_device },
	{ "QueryDevice", POP_PRODUCT, NULL, 0, on_query },
	{ "QueryDeviceByStatus", POP_PRODUCT, "Status", 0, on_query_by_status },
	{ "QueryDeviceDetail", POP_DEVICE, NULL, 0, on_detail },
	{ "QueryDeviceInfo", POP_DEVICE, NULL, 0, on_info },
	{ "BatchQueryDeviceDetail", POP_PRODUCT, NULL, 0, on_batch_detail },
	{ "GetDeviceStatus", POP_DEVICE, NULL, 0, on_status },
	{ "BatchGetDeviceState", POP_ACCOUNT, NULL, 0, on_batch_state },
	{ "QueryDeviceStatistics", POP_ACCOUNT, NULL, 0, on_statistics },
	{ "BatchUpdateDeviceNickname", POP_ACCOUNT, NULL, 0, on_nicknames },
	{ "DisableThing", POP_DEVICE, NULL, 0, on_disable },
	{ "EnableThing", POP_DEVICE, NULL, 500, on_enable },
	{ "DeleteDevice", POP_DEVICE, NULL, 0, on_delete },
	{ "ResetThing", POP_DEVICE, NULL, 0, on_reset },
	{ "QueryDeviceCert", POP_DEVICE, NULL, 0, on_cert },
	{ .name = NULL },
};
