/* batch.c - actions on batches of devices: ordered, checked, created, asked for. The rules are core/stock/batch.c's. */
#include "cloud/core/stock/batch.h"

#include <string.h>

#include "cloud/openapi/pop.h"

static void reply_batch(struct pop_call *call, const struct cloud_batch *b)
{
	cw_cloud_pop_data(call, json_pack("{s:I}", "ApplyId", (json_int_t)b->id));
}

static void on_generate(struct pop_call *call)
{
	struct cloud_batch *b = NULL;
	struct cw_msg msg = { "" };
	int64_t count;
	int rc;

	if (cw_cloud_pop_number(call, "Count", 0, &count) < 0) {
		cw_cloud_pop_refuse(call, 400, "InvalidParameter.Count", "Count is not a number.");
		return;
	}
	if (count < 1 || count > CLOUD_BATCH_DEVICES) {
		cw_cloud_pop_fail(call, count < 1 ? POP_APPLY_FAILED : POP_TOO_MANY,
				  count < 1 ? "Count is 1 to 1000." : NULL);
		return;
	}
	rc = cw_cloud_batch_generate(call->cloud, call->product, (unsigned)count, &b, &msg);
	if (rc < 0)
		cw_cloud_pop_fail(call, rc == CW_EBUSY ? POP_TASK_RUNS : POP_APPLY_FAILED, msg.text);
	else
		reply_batch(call, b);
}

/* Names as DeviceNameList.N.DeviceName with nicknames, which win, or as DeviceName.N. */
struct names {
	const char *name[CLOUD_BATCH_DEVICES], *nickname[CLOUD_BATCH_DEVICES];
	unsigned count;
};

static int take_names(struct pop_call *call, struct names *names)
{
	int with_nicknames = 1;
	unsigned i, n = cw_cloud_pop_count(call, "DeviceNameList", "DeviceName", CLOUD_BATCH_DEVICES);

	if (n == 0) {
		with_nicknames = 0;
		n = cw_cloud_pop_count(call, "DeviceName", NULL, CLOUD_BATCH_DEVICES);
	}
	if (n == 0 || n > CLOUD_BATCH_DEVICES) {
		cw_cloud_pop_fail(call, n == 0 ? POP_NO_NAMES : POP_TOO_MANY, NULL);
		return -1;
	}
	names->count = n;
	for (i = 0; i < n; i++) {
		names->name[i] = with_nicknames ? cw_cloud_pop_item(call, "DeviceNameList", i + 1, "DeviceName")
						: cw_cloud_pop_item(call, "DeviceName", i + 1, NULL);
		names->nickname[i] =
			with_nicknames ? cw_cloud_pop_item(call, "DeviceNameList", i + 1, "DeviceNickname") : NULL;
	}
	return 0;
}

static void fail_invalid(struct pop_call *call, const json_t *invalid)
{
	json_t *names = json_object_get(invalid, "names"), *nicknames = json_object_get(invalid, "nicknames");
	json_t *data = json_object();

	if (json_array_size(names) != 0)
		json_object_set_new(data, "InvalidDeviceNameList", json_pack("{s:O}", "InvalidDeviceName", names));
	if (json_array_size(nicknames) != 0)
		json_object_set_new(data, "InvalidDeviceNicknameList",
				    json_pack("{s:O}", "InvalidDeviceNickname", nicknames));
	cw_cloud_pop_fail_with(call, POP_BAD_DN, "Names or nicknames are malformed.", json_pack("{s:o}", "Data", data));
}

static void on_check(struct pop_call *call)
{
	struct names *names = cw_zalloc(sizeof(*names));
	struct cloud_batch *b = NULL;
	struct cw_msg msg = { "" };
	json_t *invalid = NULL;
	int rc;

	if (names == NULL) {
		cw_cloud_pop_fail(call, POP_SYSTEM, NULL);
		return;
	}
	if (take_names(call, names) == 0) {
		rc = cw_cloud_batch_check(call->cloud, call->product, names->name, names->nickname, names->count, &b,
					  &invalid, &msg);
		if (rc == CW_EINVAL)
			fail_invalid(call, invalid);
		else if (rc < 0)
			cw_cloud_pop_fail(call, rc == CW_EBUSY ? POP_TASK_RUNS : POP_APPLY_FAILED, msg.text);
		else
			reply_batch(call, b);
		json_decref(invalid);
	}
	cw_free(names);
}

/* The batch of ApplyId, of the call's product if there is one; NULL: the call was failed. */
static struct cloud_batch *batch_of(struct pop_call *call)
{
	struct cloud_batch *b;
	int64_t id;

	if (cw_cloud_pop_text(call, "ApplyId") == NULL) {
		cw_cloud_pop_fail(call, POP_NULL_APPLY, NULL);
		return NULL;
	}
	if (cw_cloud_pop_number(call, "ApplyId", 0, &id) < 0 || id < 0) {
		cw_cloud_pop_fail(call, POP_BAD_APPLY, NULL);
		return NULL;
	}
	b = cw_cloud_batch_find(call->cloud, (uint64_t)id);
	if (b == NULL) {
		cw_cloud_pop_fail(call, POP_NO_APPLY, NULL);
		return NULL;
	}
	if (call->product != NULL && b->product != call->product) {
		cw_cloud_pop_fail(call, POP_WRONG_APPLY, "The batch is of another product.");
		return NULL;
	}
	return b;
}

static void on_create(struct pop_call *call)
{
	struct cloud_batch *b = batch_of(call);
	struct cw_msg msg = { "" };
	int rc;

	if (b == NULL)
		return;
	rc = cw_cloud_batch_create(call->cloud, b, &msg);
	if (rc < 0)
		cw_cloud_pop_fail(call,
				  rc == CW_EBUSY      ? POP_TASK_RUNS
				  : rc == CW_EREFUSED ? POP_WRONG_APPLY
						      : POP_APPLY_FAILED,
				  msg.text);
	else
		reply_batch(call, b);
}

static void on_status(struct pop_call *call)
{
	struct cloud_batch *b = batch_of(call);

	if (b == NULL)
		return;
	cw_cloud_pop_data(call, json_pack("{s:s, s:{s:o}, s:{s:o}}", "Status", cw_cloud_batch_state_name(b->state),
					  "ValidList", "Name", cw_cloud_batch_names(b, 1), "InvalidList", "Name",
					  cw_cloud_batch_names(b, 0)));
}

static void on_page(struct pop_call *call)
{
	struct cloud_batch *b = batch_of(call);
	json_t *members, *list, *m;
	struct pop_page page;
	unsigned total = 0;
	size_t i;

	if (b == NULL || cw_cloud_pop_page(call, "CurrentPage", 0, &page) < 0)
		return;
	members = cw_cloud_batch_members(call->cloud, b, (page.current - 1) * page.size, page.size, &total);
	list = json_array();
	json_array_foreach (members, i, m) {
		json_t *secret = json_object_get(m, "deviceSecret"), *iot_id = json_object_get(m, "iotId");

		json_array_append_new(list, json_pack("{s:O?, s:O?, s:O?, s:O?}", "DeviceId", iot_id, "DeviceName",
						      json_object_get(m, "deviceName"), "DeviceSecret", secret, "IotId",
						      iot_id));
	}
	json_decref(members);
	cw_cloud_pop_ok(call, json_pack("{s:i, s:i, s:i, s:i, s:{s:o}}", "Page", (int)page.current, "PageSize",
					(int)page.size, "PageCount", (int)cw_cloud_pop_pages(&page, total), "Total",
					(int)total, "ApplyDeviceList", "ApplyDeviceInfo", list));
}

const struct pop_action cw_cloud_pop_batch_actions[] = {
	{ "BatchRegisterDevice", POP_PRODUCT, "Count", 0, on_generate },
	{ "BatchCheckDeviceNames", POP_PRODUCT, NULL, 10, on_check },
	{ "BatchRegisterDeviceWithApplyId", POP_PRODUCT, NULL, 0, on_create },
	{ "QueryBatchRegisterDeviceStatus", POP_PRODUCT, NULL, 0, on_status },
	{ "QueryPageByApplyId", POP_ACCOUNT, "PageSize CurrentPage", 0, on_page },
	{ .name = NULL },
};
