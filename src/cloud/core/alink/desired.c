/* desired.c - what is kept for a device: desired values and tags, by devices and by the platform's users; see alink.h, down.h. */
#include <stdio.h>
#include <string.h>

#include "cloud/core/alink/alink.h"
#include "cloud/core/model/tsl.h"
#include "cloud/core/traffic/down.h"

#define DESIRED_MAX    2000u /* identifiers of one device, ever */
#define TAGS_MAX       100u
#define TAG_VALUE_MAX  128u

/* ---- desired values ---- */

static json_int_t version_of(const json_t *desired, const char *name)
{
	return json_integer_value(json_object_get(json_object_get(desired, name), "version"));
}

/* Properties without a desired value are absent. */
int cw_cloud_desired_get(struct alink_request *r)
{
	json_t *desired = cw_cloud_doc(r->device, CLOUD_DOC_DESIRED), *name;
	size_t i;

	if (!json_is_array(r->params))
		return 460;
	if (json_array_size(r->params) > r->cloud->conf.limits.properties)
		return cw_cloud_alink_exceeded(r, "properties", 6104);
	r->data = json_object();
	json_array_foreach(r->params, i, name) {
		json_t *d = json_is_string(name) ? json_object_get(desired, json_string_value(name)) : NULL;

		if (json_object_get(d, "value") != NULL)
			json_object_set_new(r->data, json_string_value(name), json_pack("{s:O, s:O}", "value",
			                    json_object_get(d, "value"), "version", json_object_get(d, "version")));
	}
	return 200;
}

/* With a version only if it is the current one; the version itself goes on counting. */
int cw_cloud_desired_delete(struct alink_request *r)
{
	json_t *desired = cw_cloud_doc(r->device, CLOUD_DOC_DESIRED), *want;
	const char *name;

	if (!json_is_object(r->params))
		return 460;
	if (json_object_size(r->params) > r->cloud->conf.limits.properties)
		return cw_cloud_alink_exceeded(r, "properties", 6104);
	json_object_foreach(r->params, name, want) {
		json_t *d = json_object_get(desired, name), *version = json_object_get(want, "version");

		if (d != NULL && (version == NULL || json_equal(version, json_object_get(d, "version")))) {
			json_object_del(d, "value");
			cw_cloud_changed(r->cloud, r->device);
		}
	}
	return 200;
}

static int desired_check(struct cloud_device *d, const json_t *items, const json_t *versions, struct cw_msg *msg)
{
	const json_t *desired = cw_cloud_doc(d, CLOUD_DOC_DESIRED);
	size_t fresh = 0;
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)items, name, value) {
		const json_t *want = json_object_get(versions, name);

		if (name[0] == '\0' || strlen(name) > 128)
			return cw_fail(msg, 6321, "an identifier has 1 to 128 characters");
		if (want != NULL && (!json_is_integer(want) || json_integer_value(want) != version_of(desired, name)))
			return cw_fail(msg, 460, "property \"%s\": the desired value's version is %lld", name,
			               (long long)version_of(desired, name));
		if (!json_is_null(value) && d->product->model != NULL) {
			int code = cw_cloud_model_set(d->product->model, name, value);

			if (code != 0)
				return cw_fail(msg, code, "property \"%s\": %s", name, cw_cloud_code_text(code));
		}
		fresh += json_object_get(desired, name) == NULL;
	}
	if (json_object_size(desired) + fresh > DESIRED_MAX)
		return cw_fail(msg, 6104, "a device keeps at most %u desired values", DESIRED_MAX);
	return 0;
}

int cw_cloud_set_desired(struct cw_cloud *c, struct cloud_device *d, const json_t *items, const json_t *versions,
                         struct cw_msg *msg)
{
	json_t *desired = cw_cloud_doc(d, CLOUD_DOC_DESIRED), *value;
	json_int_t now = (json_int_t)cw_cloud_wall_ms(c);
	const char *name;
	int code;

	if (!json_is_object(items) || (versions != NULL && !json_is_object(versions)))
		return cw_fail(msg, 460, "an object of properties is expected");
	if (json_object_size(items) > c->conf.limits.properties)
		return cw_fail(msg, 6104, "%s", cw_cloud_code_text(6104));
	code = desired_check(d, items, versions, msg);
	if (code != 0)
		return code;
	/* The version starts at 1 and rises with each setting. */
	json_object_foreach((json_t *)(uintptr_t)items, name, value) {
		if (json_is_null(value))
			json_object_del(json_object_get(desired, name), "value");
		else
			json_object_set_new(desired, name, json_pack("{s:O, s:I, s:I}", "value", value, "version",
			                    version_of(desired, name) + 1, "time", now));
	}
	cw_cloud_changed(c, d);
	return 200;
}

/* ---- tags ---- */

static int tag_key_valid(const char *key)
{
	size_t n = key != NULL ? strlen(key) : 0;

	return n >= 1 && n <= 64 && (key[0] < '0' || key[0] > '9') &&
	       strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == n;
}

/* Letters, digits, _ - . and everything beyond ASCII: which of it is Chinese is not ours to judge. */
static int tag_value_valid(const json_t *value)
{
	const char *s = json_string_value(value);
	size_t n = json_string_length(value), i;

	if (s == NULL || n > TAG_VALUE_MAX)
		return 0;
	for (i = 0; i < n; i++) {
		if ((unsigned char)s[i] < 0x80 &&
		    (s[i] == '\0' || strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.", s[i]) == NULL))
			return 0;
	}
	return 1;
}

int cw_cloud_tags_update(struct alink_request *r)
{
	json_t *tags = cw_cloud_doc(r->device, CLOUD_DOC_TAGS), *tag;
	size_t i, fresh = 0;

	if (json_array_size(r->params) == 0 || json_array_size(r->params) > r->cloud->conf.limits.properties)
		return 460;
	json_array_foreach(r->params, i, tag) {
		const char *key = json_string_value(json_object_get(tag, "attrKey"));

		if (!tag_key_valid(key) || !tag_value_valid(json_object_get(tag, "attrValue")))
			return 460;
		if (json_object_get(tags, key) == NULL)
			fresh++;
	}
	if (json_object_size(tags) + fresh > TAGS_MAX)
		return 460;
	json_array_foreach(r->params, i, tag)
		json_object_set(tags, json_string_value(json_object_get(tag, "attrKey")), json_object_get(tag, "attrValue"));
	cw_cloud_changed(r->cloud, r->device);
	return 200;
}

int cw_cloud_tags_delete(struct alink_request *r)
{
	size_t i;
	json_t *tag;

	if (json_array_size(r->params) == 0)
		return 460;
	json_array_foreach(r->params, i, tag) {
		if (!json_is_string(json_object_get(tag, "attrKey")))
			return 460;
	}
	json_array_foreach(r->params, i, tag)
		json_object_del(cw_cloud_doc(r->device, CLOUD_DOC_TAGS), json_string_value(json_object_get(tag, "attrKey")));
	cw_cloud_changed(r->cloud, r->device);
	return 200;
}

int cw_cloud_set_tags(struct cw_cloud *c, struct cloud_device *d, const json_t *tags, struct cw_msg *msg)
{
	json_t *kept = cw_cloud_doc(d, CLOUD_DOC_TAGS), *value;
	size_t fresh = 0;
	const char *key;

	if (!json_is_object(tags))
		return cw_fail(msg, 460, "an object of tags is expected");
	json_object_foreach((json_t *)(uintptr_t)tags, key, value) {
		if (!tag_key_valid(key) || (!json_is_null(value) && !tag_value_valid(value)))
			return cw_fail(msg, 460, "tag \"%s\": keys are of letters, digits and _, not beginning with a digit, at most 64 "
			               "bytes; values of letters, digits and _ - ., at most %u bytes", key, TAG_VALUE_MAX);
		fresh += json_object_get(kept, key) == NULL && !json_is_null(value);
	}
	if (json_object_size(kept) + fresh > TAGS_MAX)
		return cw_fail(msg, 460, "a device has at most %u tags", TAGS_MAX);
	json_object_foreach((json_t *)(uintptr_t)tags, key, value) {
		if (json_is_null(value))
			json_object_del(kept, key);
		else
			json_object_set(kept, key, value);
	}
	cw_cloud_changed(c, d);
	return 200;
}
