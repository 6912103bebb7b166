/* keep.c - see keep.h. */
#include "provision/keep.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "causeway/record.h"
#include "json/json.h"

#define VERSION 1
#define FILE_MOST 8192u

static const char *const states[] = { [CW_KEEP_ASKED] = "asked", [CW_KEEP_OBTAINED] = "obtained" };

void cw_keep_path(const char *dir, const char *product_key, const char *who, char *path, size_t size)
{
	char *at;

	(void)snprintf(path, size, "%s/bridge-%s-%s.json", dir, product_key, who);
	for (at = path + strlen(dir) + 1; at < path + size && *at != '\0'; at++)
		if (*at == '/' || *at == ':' || *at <= ' ')
			*at = '_';
}

static int take(struct cw_bytes map, const char *key, char *out, size_t size)
{
	struct cw_bytes t = cw_map_text(map, key);

	if (t.len >= size || (t.len > 0 && memchr(t.ptr, 0, t.len) != NULL))
		return 0;
	memcpy(out, t.ptr == NULL ? (const uint8_t *)"" : t.ptr, t.len);
	out[t.len] = '\0';
	return 1;
}

static int read_members(struct cw_bytes map, struct cw_keep *k)
{
	struct cw_certificate *c = &k->certificate;
	struct cw_bytes state = cw_map_text(map, "state");

	k->state = cw_bytes_equal(state, cw_bytes_text("asked"))      ? CW_KEEP_ASKED
		   : cw_bytes_equal(state, cw_bytes_text("obtained")) ? CW_KEEP_OBTAINED
								      : CW_KEEP_NONE;
	k->at_ms = cw_map_int(map, "atMs", 0);
	return k->state != CW_KEEP_NONE && take(map, "by", k->by, sizeof(k->by)) &&
	       take(map, "productKey", c->product_key, sizeof(c->product_key)) &&
	       take(map, "deviceName", c->device_name, sizeof(c->device_name)) &&
	       take(map, "deviceSecret", c->device_secret, sizeof(c->device_secret)) &&
	       take(map, "clientId", c->client_id, sizeof(c->client_id)) &&
	       take(map, "deviceToken", c->device_token, sizeof(c->device_token)) && c->product_key[0] != '\0' &&
	       c->device_name[0] != '\0' &&
	       (k->state == CW_KEEP_ASKED || c->device_secret[0] != '\0' || (c->client_id[0] != '\0' && c->device_token[0] != '\0'));
}

int cw_keep_read(const char *path, struct cw_keep *ret_keep, struct cw_msg *msg)
{
	uint8_t *item = NULL;
	char *text;
	size_t len, n = 0;
	int rc;

	memset(ret_keep, 0, sizeof(*ret_keep));
	rc = cw_file_read(path, FILE_MOST, &text, &len, msg);
	if (rc == CW_ENOENT)
		return 0;
	if (rc < 0)
		return rc;
	rc = cw_json_to_item(cw_bytes_of(text, len), &item, &n);
	explicit_bzero(text, len);
	cw_free(text);
	if (rc == 0 && item[0] == 0xbf && cw_map_int(cw_bytes_of(item, n), "version", 0) > VERSION)
		rc = cw_fail(msg, CW_EIO, "%s was written by a newer Causeway", path);
	else if (rc < 0 || item[0] != 0xbf || !read_members(cw_bytes_of(item, n), ret_keep))
		rc = cw_fail(msg, CW_EIO,
			     "%s is damaged: restore it from a backup, for the platform does not give its secret out again; or delete it to "
			     "ask anew",
			     path);
	if (item != NULL)
		explicit_bzero(item, n);
	cw_free(item);
	if (rc < 0)
		explicit_bzero(ret_keep, sizeof(*ret_keep));
	return rc;
}

static void put_if(struct cw_json *j, const char *key, const char *text)
{
	if (text[0] != '\0')
		cw_json_field(j, key, text);
}

int cw_keep_write(const char *path, const struct cw_keep *keep, struct cw_msg *msg)
{
	const struct cw_certificate *c = &keep->certificate;
	struct cw_json j;
	char *text;
	size_t len;
	int rc;

	cw_json_begin(&j, FILE_MOST);
	cw_json_map(&j);
	cw_json_text(&j, "version");
	cw_json_int(&j, VERSION);
	cw_json_field(&j, "state", states[keep->state]);
	cw_json_text(&j, "atMs");
	cw_json_int(&j, keep->at_ms);
	cw_json_field(&j, "by", keep->by);
	cw_json_field(&j, "productKey", c->product_key);
	cw_json_field(&j, "deviceName", c->device_name);
	put_if(&j, "deviceSecret", c->device_secret);
	put_if(&j, "clientId", c->client_id);
	put_if(&j, "deviceToken", c->device_token);
	cw_json_end_map(&j);
	rc = cw_json_finish(&j, &text, &len);
	if (rc < 0)
		return cw_fail(msg, rc, "%s: %s", path, cw_error_text(rc));
	rc = cw_file_replace(path, cw_bytes_of(text, len), msg);
	explicit_bzero(text, len);
	cw_free(text);
	return rc;
}

int cw_keep_remove(const char *path, struct cw_msg *msg)
{
	return cw_file_remove(path, msg);
}
