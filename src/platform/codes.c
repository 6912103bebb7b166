/* codes.c - see codes.h. The list is the documentation's; codes beyond it are refusals. */
#include "platform/codes.h"

#define CODES(X)                                                             \
	X(200, DONE, "success")                                              \
	X(400, REFUSED, "error while processing")                            \
	X(401, REFUSED, "signature wrong")                                   \
	X(427, RELOGIN, "the device logged in somewhere else")               \
	X(428, LATER, "too many sub-devices under this gateway")             \
	X(429, LATER, "too many requests")                                   \
	X(460, REFUSED, "parameter missing or malformed")                    \
	X(500, LATER, "error of the platform")                               \
	X(520, RELOGIN, "the device has no session through this gateway")    \
	X(521, REFUSED, "the device is deleted")                             \
	X(522, REFUSED, "the device is disabled")                            \
	X(5005, LATER, "product query failed")                               \
	X(5159, LATER, "query of the model's properties failed")             \
	X(5160, LATER, "query of the model's events failed")                 \
	X(5161, LATER, "query of the model's services failed")               \
	X(6100, REFUSED, "device not found")                                 \
	X(6104, REFUSED, "too many desired properties")                      \
	X(6106, REFUSED, "too many properties in one message")               \
	X(6203, REFUSED, "topic cannot be parsed")                           \
	X(6204, REFUSED, "the device is disabled")                           \
	X(6207, REFUSED, "not JSON")                                         \
	X(6250, REFUSED, "product not found")                                \
	X(6280, REFUSED, "device name not allowed")                          \
	X(6287, REFUSED, "signature wrong: check the device secret")         \
	X(6288, REFUSED, "registration is switched off for this product")    \
	X(6289, REFUSED, "the device is active already")                     \
	X(6292, REFUSED, "sign method not supported")                        \
	X(6300, REFUSED, "method missing or wrong")                          \
	X(6301, REFUSED, "value is not the array that the model wants")      \
	X(6302, REFUSED, "a required parameter is missing")                  \
	X(6304, REFUSED, "no such member of a struct in the model")          \
	X(6306, REFUSED, "integer does not fit the model")                   \
	X(6307, REFUSED, "float does not fit the model")                     \
	X(6308, REFUSED, "bool does not fit the model")                      \
	X(6309, REFUSED, "enum does not fit the model")                      \
	X(6310, REFUSED, "text does not fit the model")                      \
	X(6311, REFUSED, "date does not fit the model")                      \
	X(6312, REFUSED, "struct does not fit the model")                    \
	X(6313, LATER, "the model service is down")                          \
	X(6314, LATER, "the model service failed")                           \
	X(6316, LATER, "the model service failed")                           \
	X(6317, REFUSED, "the model is incomplete")                          \
	X(6318, LATER, "the model service failed")                           \
	X(6320, REFUSED, "the model has no such property")                   \
	X(6321, REFUSED, "identifier is empty")                              \
	X(6322, REFUSED, "double does not fit the model")                    \
	X(6323, LATER, "the model service failed")                           \
	X(6324, REFUSED, "array does not fit the model")                     \
	X(6325, REFUSED, "element type does not fit the model")              \
	X(6326, REFUSED, "time format wrong")                                \
	X(6328, REFUSED, "value is not an array")                            \
	X(6329, LATER, "the model service failed")                           \
	X(6356, REFUSED, "too many events in one message")                   \
	X(6357, REFUSED, "too many sub-devices in one message")              \
	X(6400, REFUSED, "too many sub-devices related to this gateway")     \
	X(6401, RETOPO, "the device is not related to this gateway")         \
	X(6402, REFUSED, "gateway and sub-device are the same")              \
	X(6450, REFUSED, "the script's result has no method")                \
	X(6600, REFUSED, "signature with the product secret wrong")          \
	X(6619, REFUSED, "the device is bound to another gateway")           \
	X(6661, LATER, "the desired-property service failed")                \
	X(6760, LATER, "error of the platform")                              \
	X(26001, REFUSED, "the product's script is empty")                   \
	X(26002, REFUSED, "the product's script failed")                     \
	X(26006, REFUSED, "the product's script lacks its functions")        \
	X(26007, REFUSED, "the product's script returned a wrong type")      \
	X(26010, LATER, "too many calls of the product's script")

const char *cw_code_text(int32_t code)
{
	switch (code) {
#define TEXT(number, action, text) case number: return text;
	CODES(TEXT)
#undef TEXT
	default: return "refused by the platform";
	}
}

enum cw_code_action cw_code_action(int32_t code)
{
	switch (code) {
#define ACTION(number, action, text) case number: return CW_CODE_##action;
	CODES(ACTION)
#undef ACTION
	default: return CW_CODE_REFUSED;
	}
}

const char *cw_code_todo(int32_t code)
{
	switch (code) {
	case 6100:
	case 6250: return "compare its productKey and deviceName with the console, and the region";
	case 401:
	case 6287: return "compare its deviceSecret with the console";
	case 6204:
	case 522: return "enable it in the console";
	case 20000: return "compare its productKey, deviceName and deviceSecret with the console; a sub-device, or one that is disabled, cannot log in by itself";
	default: return NULL;
	}
}

const char *cw_connack_text(int code)
{
	switch (code) {
	case 0: return "accepted";
	case 1: return "the platform does not speak this version of MQTT";
	case 2: return "client identifier refused (its form, its securemode, or the keep-alive)";
	case 3: return "the platform is not available or wants fewer logins a minute";
	case 4: return "product key, device name or device secret of the bridge are wrong";
	case 5: return "the bridge's device may not connect: is it disabled?";
	default: return "refused with an unknown code";
	}
}

const char *cw_connack_todo(int code)
{
	switch (code) {
	case 1: return "is this the platform's endpoint?";
	case 2: return "check productKey and deviceName, and that the endpoint's scheme fits the port (ssl:// for TLS)";
	case 3: return "wait a minute: the platform takes five logins a minute of a device";
	case 4: return "compare productKey, deviceName and deviceSecret with the console, and look whether the device is deleted or disabled there";
	case 5: return "enable the device in the console";
	default: return "look at the device in the console";
	}
}
