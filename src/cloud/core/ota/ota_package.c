/* ota_package.c - packages: making, showing, what of them goes to a device; see ota.h. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "cloud/core/base64.h"
#include "cloud/core/ota/ota.h"
#include "cloud/core/traffic/violations.h"

#define EXT_BYTES 4096u

static void package_free(struct cloud_package *k)
{
	struct cw_list *e;
	unsigned i;

	while ((e = cw_list_pop(&k->batches)) != NULL)
		cw_cloud_ota_batch_free(cw_container_of(e, struct cloud_ota_batch, link));
	for (i = 0; i < k->file_count; i++)
		cw_cloud_blob_unref(k->files[i].blob);
	json_decref(k->ext);
	cw_free(k);
}

/* Modules and versions: what fits into a topic's or a file's name, 1 to 64. */
static int name_valid(const char *text)
{
	size_t i;

	for (i = 0; text[i] != '\0'; i++) {
		if (!isalnum((unsigned char)text[i]) && strchr("-_.", text[i]) == NULL)
			return 0;
	}
	return i >= 1 && i <= 64;
}

static int texts_valid(const json_t *ext)
{
	const char *key;
	json_t *value;
	size_t bytes = 0;

	if (ext == NULL)
		return 1;
	if (!json_is_object(ext))
		return 0;
	json_object_foreach((json_t *)(uintptr_t)ext, key, value) {
		if (!json_is_string(value))
			return 0;
		bytes += strlen(key) + json_string_length(value);
	}
	return bytes <= EXT_BYTES;
}

static const char *or_empty(const char *text)
{
	return text != NULL ? text : "";
}

/* NULL or "default" is the whole firmware. */
static const char *module_of(const char *text)
{
	return text == NULL || strcmp(text, "default") == 0 ? "" : text;
}

static int spec_check(const struct cloud_package_spec *s, struct cw_msg *msg)
{
	const char *module = module_of(s->module), *source = or_empty(s->source_version);

	if (s->version == NULL || !name_valid(s->version) || (module[0] != '\0' && !name_valid(module)) ||
	    (source[0] != '\0' && !name_valid(source)))
		return cw_fail(msg, CW_EINVAL, "version, and if given module and sourceVersion: 1 to 64 letters, digits and - _ .");
	if (s->sign_method != NULL && strcasecmp(s->sign_method, "Md5") != 0 && strcasecmp(s->sign_method, "SHA256") != 0)
		return cw_fail(msg, CW_EINVAL, "signMethod \"%s\": Md5 or SHA256", s->sign_method);
	if (s->protocol != NULL && strcmp(s->protocol, "https") != 0 && strcmp(s->protocol, "mqtt") != 0)
		return cw_fail(msg, CW_EINVAL, "protocol \"%s\": https or mqtt", s->protocol);
	if (!texts_valid(s->ext))
		return cw_fail(msg, CW_EINVAL, "extData: an object of texts, at most %u bytes", EXT_BYTES);
	return 0;
}

static const struct cloud_package *same(struct cw_cloud *c, const struct cloud_package *k)
{
	struct cw_list *e;

	cw_list_each(e, &c->ota->packages) {
		const struct cloud_package *o = cw_container_of(e, struct cloud_package, link);

		if (strcmp(o->product, k->product) == 0 && strcmp(o->module, k->module) == 0 &&
		    strcmp(o->version, k->version) == 0 && strcmp(o->source, k->source) == 0)
			return o;
	}
	return NULL;
}

static struct cloud_package *package_new(const char *product, const struct cloud_package_spec *s)
{
	struct cloud_package *k = cw_zalloc(sizeof(*k));

	if (k == NULL)
		return NULL;
	cw_list_init(&k->batches);
	(void)snprintf(k->product, sizeof(k->product), "%s", product);
	(void)snprintf(k->module, sizeof(k->module), "%s", module_of(s->module));
	(void)snprintf(k->version, sizeof(k->version), "%s", s->version);
	(void)snprintf(k->source, sizeof(k->source), "%s", or_empty(s->source_version));
	k->sha256 = s->sign_method != NULL && strcasecmp(s->sign_method, "SHA256") == 0;
	k->mqtt = s->protocol != NULL && strcmp(s->protocol, "mqtt") == 0;
	if (s->ext != NULL && json_object_size(s->ext) != 0) {
		k->ext = json_deep_copy(s->ext);
		if (k->ext == NULL) {
			package_free(k);
			return NULL;
		}
	}
	return k;
}

static void enlist(struct cw_cloud *c, struct cloud_package *k)
{
	cw_list_push_back(&c->ota->packages, &k->link);
	c->ota->package_count++;
}

int cw_cloud_package_add(struct cw_cloud *c, struct cloud_product *p, const struct cloud_package_spec *spec,
                         struct cloud_package **ret_package, struct cw_msg *msg)
{
	struct cloud_package *k;
	int rc = spec_check(spec, msg);

	if (rc < 0)
		return rc;
	if (c->ota->package_count >= CLOUD_PACKAGES_MAX)
		return cw_fail(msg, CW_ELIMIT, "there are %u packages already; delete some", CLOUD_PACKAGES_MAX);
	k = package_new(p->key, spec);
	if (k == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	if (same(c, k) != NULL) {
		package_free(k);
		return cw_fail(msg, CW_EEXIST, "product \"%s\" has version \"%s\" of this module already", p->key, spec->version);
	}
	k->id = ++c->ota->next_id;
	k->created_ms = cw_cloud_wall_ms(c);
	enlist(c, k);
	cw_cloud_chapter_changed(c, &c->ota->kept_packages);
	*ret_package = k;
	return 0;
}

static int file_add(struct cw_cloud *c, struct cloud_package *k, const char *name, const void *data, size_t len)
{
	struct cloud_package_file *f = &k->files[k->file_count];

	f->blob = cw_cloud_blob_new(name, "application/octet-stream", data, len);
	if (f->blob == NULL)
		return CW_ENOMEM;
	cw_cloud_blob_md5(f->blob, f->md5);
	cw_cloud_blob_sha256(f->blob, f->sha256);
	k->file_count++;
	c->ota->bytes += len;
	return 0;
}

int cw_cloud_package_file(struct cw_cloud *c, struct cloud_package *k, const char *name, const void *data, size_t len,
                          struct cw_msg *msg)
{
	char made[64];

	if (k->batch_count != 0)
		return cw_fail(msg, CW_EBUSY, "package %u has batches: its files stay as they are", k->id);
	if (k->file_count == CLOUD_PACKAGE_FILES)
		return cw_fail(msg, CW_ELIMIT, "package %u has %u files already", k->id, CLOUD_PACKAGE_FILES);
	if (len == 0)
		return cw_fail(msg, CW_EINVAL, "the file is empty");
	if (k->mqtt && len > CLOUD_MQTT_FILE_MAX)
		return cw_fail(msg, CW_ELIMIT, "a file that is fetched by MQTT has at most %u bytes", CLOUD_MQTT_FILE_MAX);
	if (c->ota->bytes + len > c->conf.limits.package_bytes) {
		cw_cloud_violation(c, NULL, "packages", "not stored");
		return cw_fail(msg, CW_ELIMIT, "all packages together would be larger than limits.packages");
	}
	(void)snprintf(made, sizeof(made), "file%u.bin", k->file_count + 1);
	if (file_add(c, k, name != NULL && name[0] != '\0' ? name : made, data, len) < 0)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	cw_cloud_chapter_changed(c, &c->ota->kept_packages);
	return 0;
}

struct cloud_package *cw_cloud_package_find(struct cw_cloud *c, uint32_t id)
{
	struct cw_list *e;

	cw_list_each(e, &c->ota->packages) {
		struct cloud_package *k = cw_container_of(e, struct cloud_package, link);

		if (k->id == id)
			return k;
	}
	return NULL;
}

static void drop(struct cw_cloud *c, struct cloud_package *k)
{
	unsigned i;

	for (i = 0; i < k->file_count; i++) {
		cw_cloud_unlink_file(c, k->files[i].blob);
		c->ota->bytes -= k->files[i].blob->len;
	}
	cw_list_remove(&k->link);
	c->ota->package_count--;
	package_free(k);
}

void cw_cloud_ota_product_gone(struct cw_cloud *c, const struct cloud_product *p)
{
	struct cw_list *e, *n;

	cw_list_each_safe(e, n, &c->ota->packages) {
		struct cloud_package *k = cw_container_of(e, struct cloud_package, link);

		if (strcmp(k->product, p->key) == 0)
			drop(c, k);
	}
	cw_cloud_chapter_changed(c, &c->ota->kept_packages);
	cw_cloud_chapter_changed(c, &c->ota->kept_tasks);
}

static int unfinished(struct cw_cloud *c, struct cloud_ota_batch *b)
{
	json_t *j = cw_cloud_ota_batch_json(c, b);
	const char *status = json_string_value(json_object_get(j, "status"));
	int yes = status == NULL || strcmp(status, "IN_PROGRESS") == 0;

	json_decref(j);
	return yes;
}

int cw_cloud_package_delete(struct cw_cloud *c, struct cloud_package *k, struct cw_msg *msg)
{
	struct cw_list *e;

	cw_list_each(e, &k->batches) {
		const struct cloud_ota_batch *b = cw_container_of(e, struct cloud_ota_batch, link);

		if (unfinished(c, cw_container_of(e, struct cloud_ota_batch, link)))
			return cw_fail(msg, CW_EBUSY, "batch %u of package %u is not finished; cancel it first", b->id, k->id);
	}
	drop(c, k);
	cw_cloud_chapter_changed(c, &c->ota->kept_packages);
	cw_cloud_chapter_changed(c, &c->ota->kept_tasks);
	return 0;
}

/* ---- shown and pushed ---- */

json_t *cw_cloud_package_json(const struct cloud_package *k)
{
	json_t *files = json_array();
	unsigned i;

	for (i = 0; i < k->file_count; i++)
		json_array_append_new(files, json_pack("{s:s, s:I, s:s, s:s}", "name", k->files[i].blob->name, "size",
		                      (json_int_t)k->files[i].blob->len, "md5", k->files[i].md5, "sha256", k->files[i].sha256));
	return json_pack("{s:I, s:s, s:s, s:s, s:s*, s:s, s:s, s:O*, s:o, s:I, s:i}", "id", (json_int_t)k->id, "productKey",
	                 k->product, "module", k->module[0] != '\0' ? k->module : "default", "version", k->version,
	                 "sourceVersion", k->source[0] != '\0' ? k->source : NULL, "signMethod", k->sha256 ? "SHA256" : "Md5",
	                 "protocol", k->mqtt ? "mqtt" : "https", "extData", k->ext, "files", files, "created",
	                 (json_int_t)k->created_ms, "batches", (int)k->batch_count);
}

json_t *cw_cloud_packages_json(struct cw_cloud *c, const struct cloud_product *p)
{
	json_t *list = json_array();
	struct cw_list *e;

	cw_list_each(e, &c->ota->packages) {
		const struct cloud_package *k = cw_container_of(e, struct cloud_package, link);

		if (p == NULL || strcmp(k->product, p->key) == 0)
			json_array_append_new(list, cw_cloud_package_json(k));
	}
	return list;
}

static const char *sign_of(const struct cloud_package *k, const struct cloud_package_file *f)
{
	return k->sha256 ? f->sha256 : f->md5;
}

/* Of one of several files. */
static json_t *file_data(struct cw_cloud *c, const struct cloud_package *k, const struct cloud_package_file *f, unsigned n)
{
	char url[CLOUD_URL_MAX];
	json_t *j = json_pack("{s:s, s:I, s:s, s:s*}", "fileName", f->blob->name, "fileSize", (json_int_t)f->blob->len,
	                      "fileSign", sign_of(k, f), "fileMd5", k->sha256 ? NULL : f->md5);

	if (k->mqtt)
		json_object_set_new(j, "streamFileId", json_integer(n));
	else if (cw_cloud_link_file(c, f->blob, CLOUD_OTA_LINK_MS, url) == 0)
		json_object_set_new(j, "fileUrl", json_string(url));
	return j;
}

static int add_files(struct cw_cloud *c, struct cloud_package *k, json_t *data)
{
	const struct cloud_package_file *f = &k->files[0];
	char url[CLOUD_URL_MAX];
	json_t *list;
	unsigned i;

	if (k->mqtt) {
		json_object_set_new(data, "dProtocol", json_string("mqtt"));
		json_object_set_new(data, "streamId", json_integer((json_int_t)k->id));
	}
	if (k->file_count > 1) {
		list = json_array();
		for (i = 0; i < k->file_count; i++)
			json_array_append_new(list, file_data(c, k, &k->files[i], i + 1));
		return json_object_set_new(data, "files", list);
	}
	json_object_set_new(data, "size", json_integer((json_int_t)f->blob->len));
	if (k->mqtt)
		json_object_set_new(data, "streamFileId", json_integer(1));
	else if (cw_cloud_link_file(c, f->blob, CLOUD_OTA_LINK_MS, url) == 0)
		json_object_set_new(data, "url", json_string(url));
	else
		return -1;
	if (!k->sha256)
		json_object_set_new(data, "md5", json_string(f->md5));
	return json_object_set_new(data, "sign", json_string(sign_of(k, f)));
}

json_t *cw_cloud_package_data(struct cw_cloud *c, struct cloud_package *k, const json_t *tags)
{
	const char *md5 = c->conf.switches.ota_later ? "MD5" : "Md5";
	json_t *data = json_pack("{s:s, s:s}", "version", k->version, "signMethod", k->sha256 ? "SHA256" : md5), *ext;

	if (data == NULL || k->file_count == 0 || add_files(c, k, data) != 0) {
		json_decref(data);
		return NULL;
	}
	if (k->source[0] != '\0')
		json_object_set_new(data, "isDiff", json_integer(1));
	if (k->module[0] != '\0')
		json_object_set_new(data, "module", json_string(k->module));
	if (k->ext != NULL || json_object_size(tags) != 0) {
		ext = k->ext != NULL ? json_copy(k->ext) : json_object();
		json_object_update(ext, (json_t *)(uintptr_t)tags);
		json_object_set_new(data, "extData", ext);
	}
	return data;
}

/* ---- kept over a restart: bytes as Base64, written only when a package is made or deleted ---- */

static json_t *base64(const struct cloud_blob *b)
{
	char *text = cw_cloud_base64(b->data, b->len);
	json_t *j = text != NULL ? json_string(text) : NULL;

	cw_free(text);
	return j;
}

static json_t *save_packages(struct cw_cloud *c, void *arg)
{
	json_t *list = cw_cloud_packages_json(c, NULL);
	struct cw_list *e;
	size_t n = 0;
	unsigned i;

	cw_list_each(e, &c->ota->packages) {
		const struct cloud_package *k = cw_container_of(e, struct cloud_package, link);
		const json_t *files = json_object_get(json_array_get(list, n++), "files");

		for (i = 0; i < k->file_count; i++) {
			if (json_object_set_new(json_array_get(files, i), "data", base64(k->files[i].blob)) != 0) {
				json_decref(list);
				return NULL;
			}
		}
	}
	return json_pack("{s:I, s:o}", "next", (json_int_t)c->ota->next_id, "packages", list);
}

static int load_file(struct cw_cloud *c, struct cloud_package *k, const json_t *j)
{
	const json_t *text = json_object_get(j, "data"), *name = json_object_get(j, "name");
	json_int_t size = json_integer_value(json_object_get(j, "size"));
	size_t len = json_string_length(text), n = 0;
	uint8_t *bytes;
	int rc = CW_EINVAL;

	if (!json_is_string(text) || !json_is_string(name) || len % 4 != 0 || size < 1 || (size_t)size > len / 4 * 3 ||
	    k->file_count == CLOUD_PACKAGE_FILES)
		return CW_EINVAL;
	bytes = cw_alloc(len / 4 * 3);
	if (bytes == NULL)
		return CW_ENOMEM;
	if (cw_cloud_base64_decode(json_string_value(text), len, bytes, &n) == 0 && n == (size_t)size)
		rc = file_add(c, k, json_string_value(name), bytes, (size_t)size);
	cw_free(bytes);
	return rc;
}

static int load_package(struct cw_cloud *c, const json_t *j)
{
	struct cloud_package_spec s = {
		.module = json_string_value(json_object_get(j, "module")),
		.version = json_string_value(json_object_get(j, "version")),
		.source_version = json_string_value(json_object_get(j, "sourceVersion")),
		.sign_method = json_string_value(json_object_get(j, "signMethod")),
		.protocol = json_string_value(json_object_get(j, "protocol")),
		.ext = json_object_get(j, "extData"),
	};
	const char *pk = json_string_value(json_object_get(j, "productKey"));
	const json_t *file;
	struct cloud_package *k;
	struct cw_msg msg;
	size_t i;
	int rc = pk != NULL ? spec_check(&s, &msg) : CW_EINVAL;

	if (rc < 0)
		return rc;
	k = package_new(pk, &s);
	if (k == NULL)
		return CW_ENOMEM;
	k->id = (uint32_t)json_integer_value(json_object_get(j, "id"));
	k->created_ms = json_integer_value(json_object_get(j, "created"));
	enlist(c, k);
	json_array_foreach(json_object_get(j, "files"), i, file) {
		if (rc == 0)
			rc = load_file(c, k, file);
	}
	return rc;
}

static int load_packages(struct cw_cloud *c, void *arg, const json_t *j)
{
	const json_t *one;
	size_t i;
	int rc = 0;

	c->ota->next_id = (uint32_t)json_integer_value(json_object_get(j, "next"));
	json_array_foreach(json_object_get(j, "packages"), i, one) {
		if (rc == 0)
			rc = load_package(c, one);
	}
	return rc;
}

int cw_cloud_ota_new(struct cw_cloud *c, struct cloud_ota **ret_ota)
{
	struct cloud_ota *o = cw_zalloc(sizeof(*o));

	if (o == NULL)
		return CW_ENOMEM;
	cw_list_init(&o->packages);
	cw_list_init(&o->due);
	o->cloud = c;
	/* Chapters are read in the order of their names: packages before the tasks that name them. */
	o->kept_packages = (struct cloud_chapter){ .name = "ota.packages", .save = save_packages, .load = load_packages };
	o->kept_tasks = cw_cloud_ota_tasks_chapter;
	cw_cloud_chapter_add(c, &o->kept_packages);
	cw_cloud_chapter_add(c, &o->kept_tasks);
	*ret_ota = o;
	return 0;
}

void cw_cloud_ota_free(struct cloud_ota *o)
{
	struct cw_list *e;

	if (o == NULL)
		return;
	if (cw_worker_timers(o->cloud->worker) != NULL)
		cw_timer_stop(cw_worker_timers(o->cloud->worker), &o->timer);
	while ((e = cw_list_pop(&o->packages)) != NULL)
		package_free(cw_container_of(e, struct cloud_package, link));
	cw_free(o);
}
