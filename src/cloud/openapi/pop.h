/*
 * pop.h - one call of the management API inside this module: its parameters, how it ends, the table of actions.
 *
 * A *call* lives from the request until its answer. The dispatcher resolves its product or device by the row of the
 * action, then the handler carries it out with the rules of the core and ends it by exactly one of cw_cloud_pop_ok(),
 * cw_cloud_pop_fail() and cw_cloud_pop_refuse(), now or later; the answer is on its way then, and the call goes when
 * the handler has returned. A handler that waits for a device says with cw_cloud_pop_wait() what is to be cancelled
 * when its client leaves. One thread.
 */
#ifndef CW_CLOUD_OPENAPI_POP_H
#define CW_CLOUD_OPENAPI_POP_H

#include <jansson.h>

#include "cloud/core/cloud.h"
#include "cloud/openapi/request.h"
#include "http/http.h"

struct pop_action;
struct pop_service;
struct cloud_order;

struct pop_call {
	struct pop_service *service;
	struct cw_cloud *cloud;
	struct cw_http_req *req;
	const struct pop_action *action; /* NULL until known */
	struct pop_params params;
	int json;                      /* format of the answer */
	int dispatching, ended;        /* on_http() is at work on it; it was answered */
	struct cloud_product *product; /* as the action's row asks; both NULL for POP_ACCOUNT */
	struct cloud_device *device;
	struct cloud_order *order; /* being waited for, or NULL */
};

/* What a call is about, and so which parameters name it. */
enum pop_subject {
	POP_ACCOUNT, /* nothing */
	POP_PRODUCT, /* ProductKey */
	POP_DEVICE,  /* IotId, which wins, or ProductKey and DeviceName */
	POP_GATEWAY, /* the same, as GwIotId, GwProductKey and GwDeviceName */
};

/* Codes of the service: name behind "iot.", and a sentence. Spelled as documented, mistakes included. */
#define POP_CODES(X)                                                                                                   \
	X(SYSTEM, "system.SystemException", "The platform could not carry this out; try again.")                       \
	X(PAGE, "common.InvalidPageParams", "PageSize or the page's number is out of range.")                          \
	X(NULL_PK, "prod.NullProductKey", "ProductKey is missing.")                                                    \
	X(BAD_PK, "prod.InvalidFormattedProductkey", "ProductKey is malformed.")                                       \
	X(NO_PRODUCT, "prod.NotExistedProduct", "There is no such product.")                                           \
	X(TAKEN_NAME, "prod.AlreadyExistedProductName", "The account has a product of this name already.")             \
	X(BAD_NAME, "prod.InvalidFormattedProductName",                                                                \
	  "ProductName is not 4 to 30 of letters, digits and _ - @ ( ).")                                              \
	X(DELETE_PRODUCT, "prod.DeleteProductFailed", "The product has devices.")                                      \
	X(TAKEN_TOPIC, "prodtopic.AlreadyExistedTopic", "The product has this topic class already.")                   \
	X(NO_TOPIC, "prodtopic.NotExistedTopic", "There is no such topic class.")                                      \
	X(NULL_DN, "device.NullDeviceName", "DeviceName is missing.")                                                  \
	X(BAD_DN, "device.InvalidFormattedDeviceName", "DeviceName is not 4 to 32 of letters, digits and - _ @ . :")   \
	X(TAKEN_DN, "device.AlreadyExistedDeviceName", "The product has a device of this name already.")               \
	X(NO_DEVICE, "device.NotExistedDevice", "There is no such device.")                                            \
	X(BAD_IOT_ID, "device.InvalidIoTId", "IotId is malformed.")                                                    \
	X(INACTIVE, "device.InactiveDevice", "The device was never online.")                                           \
	X(CREATE_FAILED, "device.CreateDeviceFailed", "The device could not be created.")                              \
	X(VERIFY_FAILED, "device.VerifyDeviceFailed", "The device does not fit what was asked.")                       \
	X(NO_NAMES, "device.NoneDeviceNameElement", "The list of devices is empty.")                                   \
	X(TOO_MANY, "device.DeviceCountExceeded", "Too many devices in one call.")                                     \
	X(NULL_APPLY, "device.NullApplyId", "ApplyId is missing.")                                                     \
	X(BAD_APPLY, "device.InvalidFormattedApplyId", "ApplyId is not a number.")                                     \
	X(NO_APPLY, "device.DeviceApplyIsNotFound", "There is no such batch.")                                         \
	X(WRONG_APPLY, "device.IncorrentDeviceApplyInfo", "The batch does not allow this.")                            \
	X(APPLY_FAILED, "device.ApplyManyDevicesFailed", "The batch could not be ordered.")                            \
	X(TASK_RUNS, "device.CreateDeviceTaskIsRunning", "The batch is still being worked on.")                        \
	X(TOPO_FULL, "device.TopoRelationCountExceeded", "The gateway has as many sub-devices as it may.")             \
	X(TOPO_ADD, "device.AddTopoRelationFailed", "The relation could not be made.")                                 \
	X(TOPO_QUERY, "device.QueryTopoRelationFailed", "The device is no gateway, or has none.")                      \
	X(TOPO_REMOVE, "device.RemoveTopoRelationFailed", "The device has no gateway.")                                \
	X(NO_FIRMWARE, "ota.NotExistedFirmware", "There is no such package.")                                          \
	X(NO_JOB, "ota.NotExistedJob", "There is no such batch of upgrades.")                                          \
	X(OTA_FAILED, "ota.OperationFailed", "The package or batch does not allow this.")                              \
	X(SHADOW, "shadow.UpdateFailed", "The shadow could not be changed.")                                           \
	X(NULL_CONTENT, "messagebroker.NullMessageContent", "The content is missing.")                                 \
	X(NOT_BASE64, "messagebroker.MessageContentIsNotBase64Encode", "The content is not Base64.")                   \
	X(NULL_TOPIC, "messagebroker.NullTopicName", "The topic is missing.")                                          \
	X(BAD_TOPIC, "messagebroker.InvalidFormattedTopicName", "The topic may not be published to.")                  \
	X(BAD_TIMEOUT, "messagebroker.InvalidTimeoutValue", "Timeout is not 1000 to 8000 ms.")                         \
	X(OFFLINE, "messagebroker.OFFLINE", "The device is offline.")                                                  \
	X(HALFCONN, "messagebroker.HALFCONN", "The device's connection was cut a moment ago.")                         \
	X(TIMEOUT, "messagebroker.TIMEOUT", "The device did not answer in time.")                                      \
	X(PUBLISH_FAILED, "messagebroker.PublishMessageFailed", "The message could not be published.")
enum pop_code {
#define POP_CODE_ENUM(sym, code, text) POP_##sym,
	POP_CODES(POP_CODE_ENUM)
#undef POP_CODE_ENUM
};

/* ---- how a call ends ---- */
/* What the others below are made of; front.c. */
void cw_cloud_pop_send(struct pop_call *call, json_t *members, int success);
/* Success; `members` (object, consumed; NULL: none) go beside RequestId and Success. */
void cw_cloud_pop_ok(struct pop_call *call, json_t *members);
/* The same with `data` (consumed) as Data. */
void cw_cloud_pop_data(struct pop_call *call, json_t *data);
/* Refused by the service: HTTP 200. `text` NULL: the code's own sentence. */
void cw_cloud_pop_fail(struct pop_call *call, enum pop_code code, const char *text);
/* The same with further members (consumed). */
void cw_cloud_pop_fail_with(struct pop_call *call, enum pop_code code, const char *text, json_t *members);
/* Refused by the service with a code of its own, such as one that a device or its model gave. */
void cw_cloud_pop_fail_code(struct pop_call *call, const char *code, const char *text);
/* Refused by the gateway. */
void cw_cloud_pop_refuse(struct pop_call *call, unsigned status, const char *code, const char *text);
/* Wait for `order` (NULL: it ended already); when the client leaves it is cancelled, and the call ends. */
void cw_cloud_pop_wait(struct pop_call *call, struct cloud_order *order);

/* ---- parameters ---- */
/* The value, or NULL when absent or empty. A name whose first letter is in lower case will do. */
const char *cw_cloud_pop_text(const struct pop_call *call, const char *name);
/* "name.index" or "name.index.member"; index from 1. */
const char *cw_cloud_pop_item(const struct pop_call *call, const char *name, unsigned index, const char *member);
/* How many of the list name.1, name.2, ... there are without a gap, up to `max` + 1. */
unsigned cw_cloud_pop_count(const struct pop_call *call, const char *name, const char *member, unsigned max);
/* A whole number; absent: `initial`. 0 or CW_EINVAL. */
int cw_cloud_pop_number(const struct pop_call *call, const char *name, int64_t initial, int64_t *ret_value);
/* Pages: fills and returns 0, or fails the call and returns -1. `page_name` is CurrentPage or PageNo. */
struct pop_page {
	unsigned size, current; /* current from 1 */
};
int cw_cloud_pop_page(struct pop_call *call, const char *page_name, unsigned size_initial, struct pop_page *ret_page);
unsigned cw_cloud_pop_pages(const struct pop_page *page, unsigned total);
/* Is the n-th (from 0) of a list on the page? */
int cw_cloud_pop_on_page(const struct pop_page *page, unsigned n);
/* JSON text of an object or array: new reference, or NULL and the call was refused. */
json_t *cw_cloud_pop_json_param(struct pop_call *call, const char *name, json_type type);
/* Base64 to bytes of cw_alloc(), at least one byte long; or NULL and the call was failed. */
void *cw_cloud_pop_base64(struct pop_call *call, const char *name, size_t *ret_len);
/* Find a product or device by name; on failure the call is failed and NULL returned. */
struct cloud_product *cw_cloud_pop_product(struct pop_call *call, const char *pk);
struct cloud_device *cw_cloud_pop_device(struct pop_call *call, const char *iot_id, const char *pk, const char *dn);

/* ---- forms of values ---- */
/* All of a device, as QueryDeviceDetail shows it. */
json_t *cw_cloud_pop_detail(const struct pop_call *call, const struct cloud_device *d);
/* Wall-clock ms; 0 gives "". Utc: 2018-08-06T02:48:41.000Z. Gmt: 2018-08-06 10:48:41, eight hours ahead in spite of its
 * name. */
json_t *cw_cloud_pop_utc(int64_t ms);
json_t *cw_cloud_pop_gmt(int64_t ms);
/* An order's or product's value as text: strings as they are, anything else as JSON. */
json_t *cw_cloud_pop_value_text(const json_t *value);

/* ---- actions ---- */
struct pop_action {
	const char *name;
	enum pop_subject subject;
	const char *musts; /* names with spaces between, answered Missing{Name} */
	unsigned rate;     /* calls a second of the account; 0: limits.openapiPerSecond */
	void (*handle)(struct pop_call *call);
};

#define POP_ACTIONS(X) X(product) X(device) X(batch) X(topo) X(down) X(model) X(ota)
#define POP_TABLE(name) extern const struct pop_action cw_cloud_pop_##name##_actions[]; /* ends with name NULL */
POP_ACTIONS(POP_TABLE)
#undef POP_TABLE

/* The row, or NULL; *ret_index numbers all rows. */
const struct pop_action *cw_cloud_pop_action(const char *name, unsigned *ret_index);
unsigned cw_cloud_pop_action_count(void);
/* Resolve the subject, check what must be there, carry it out. */
void cw_cloud_pop_dispatch(struct pop_call *call);

#endif
