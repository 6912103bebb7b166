/* import.c - see import.h. */
#include "identity/import.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/csv.h"
#include "base/mem.h"
#include "json/json.h"

#define FILE_MOST (256u << 20)
#define FIELD_MOST 512u

enum { COL_IDENTITY, COL_PRODUCT_KEY, COL_DEVICE_NAME, COL_DEVICE_SECRET, COL_COUNT };

struct sheet {
	const char *name;
	struct cw_csv csv;
	struct cw_csv_row row;
	int columns[CW_CSV_FIELDS]; /* which of COL_*, or -1 */
	size_t column_count;
	struct cw_identities *set;
	cw_identity_skip_fn skip;
	void *arg;
};

static void skip_row(struct sheet *c, const char *id, const char *why)
{
	char sentence[700];

	c->set->skipped++;
	if (c->skip == NULL)
		return;
	if (id[0] != '\0')
		(void)snprintf(sentence, sizeof(sentence), "%.300s:%u: device \"%.128s\": %s", c->name, c->row.line, id, why);
	else
		(void)snprintf(sentence, sizeof(sentence), "%.300s:%u: %s", c->name, c->row.line, why);
	c->skip(c->arg, sentence);
}

static int column_of(const char *name)
{
	static const struct {
		const char *name;
		int column;
	} names[] = { { "identity", COL_IDENTITY },        { "originalIdentity", COL_IDENTITY }, { "ProductKey", COL_PRODUCT_KEY },
		      { "DeviceName", COL_DEVICE_NAME }, { "DeviceSecret", COL_DEVICE_SECRET } };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcasecmp(name, names[i].name) == 0)
			return names[i].column;
	return -1;
}

static int read_header(struct sheet *c, struct cw_msg *msg)
{
	static const char *const names[COL_COUNT] = { "identity", "ProductKey", "DeviceName", "DeviceSecret" };
	int seen[COL_COUNT] = { 0 }, i;

	if (!cw_csv_next(&c->csv, &c->row)) {
		c->row.line = 1;
		c->row.count = 0;
	} else if (c->row.problem != NULL) {
		return cw_fail(msg, CW_ECONF, "%s:%u: the line of column names cannot be read: %s", c->name, c->row.line, c->row.problem);
	}
	for (c->column_count = 0; c->column_count < c->row.count; c->column_count++) {
		i = column_of(c->row.field[c->column_count]);
		if (i >= 0 && seen[i]++)
			return cw_fail(msg, CW_ECONF, "%s:%u: two columns named %s", c->name, c->row.line, names[i]);
		c->columns[c->column_count] = i;
	}
	for (i = COL_PRODUCT_KEY; i < COL_COUNT; i++)
		if (!seen[i])
			return cw_fail(msg, CW_ECONF, "%s:%u: no column %s; the first line names the columns: identity, ProductKey, DeviceName, DeviceSecret",
			               c->name, c->row.line, names[i]);
	return 0;
}

static int add_row(struct sheet *c)
{
	const char *field[COL_COUNT] = { "", "", "", "" }, *wrong = c->row.problem;
	size_t i;
	int rc;

	if (wrong != NULL) {
		skip_row(c, "", wrong);
		return 0;
	}
	for (i = 0; i < c->row.count && i < c->column_count; i++) {
		if (c->columns[i] < 0)
			continue;
		field[c->columns[i]] = c->row.field[i];
		if (strlen(c->row.field[i]) >= FIELD_MOST)
			wrong = "a field is longer than 511 bytes";
	}
	if (wrong != NULL) {
		skip_row(c, "", wrong);
		return 0;
	}
	if (field[COL_IDENTITY][0] == '\0')
		field[COL_IDENTITY] = field[COL_DEVICE_NAME];
	wrong = cw_identity_wrong(field[COL_IDENTITY], field[COL_PRODUCT_KEY], field[COL_DEVICE_NAME], field[COL_DEVICE_SECRET]);
	if (wrong != NULL) {
		skip_row(c, field[COL_IDENTITY], wrong);
		return 0;
	}
	rc = cw_identities_add(c->set, field[COL_IDENTITY], field[COL_PRODUCT_KEY], field[COL_DEVICE_NAME], field[COL_DEVICE_SECRET],
	                       cw_bytes_of(NULL, 0));
	if (rc != CW_EEXIST)
		return rc;
	skip_row(c, field[COL_IDENTITY], "the identity stands in an earlier line already");
	return 0;
}

int cw_identities_csv(const char *name, struct cw_bytes text, cw_identity_skip_fn skip, void *arg, struct cw_identities **ret_set,
                      struct cw_msg *msg)
{
	struct sheet *c = cw_zalloc(sizeof(*c));
	int rc;

	if (c == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	c->name = name;
	cw_csv_begin(&c->csv, text);
	c->skip = skip;
	c->arg = arg;
	rc = cw_identities_new(&c->set);
	if (rc == 0)
		rc = read_header(c, msg);
	else
		(void)cw_fail(msg, rc, "out of memory");
	while (rc == 0 && cw_csv_next(&c->csv, &c->row)) {
		rc = add_row(c);
		if (rc < 0)
			(void)cw_fail(msg, rc, "%s: %s", name, cw_error_text(rc));
	}
	if (rc == 0)
		*ret_set = c->set;
	else
		cw_identities_free(c->set);
	explicit_bzero(c->row.text, sizeof(c->row.text));
	cw_free(c);
	return rc;
}

static int read_whole(const char *path, char **ret_text, size_t *ret_len, struct cw_msg *msg)
{
	FILE *f = fopen(path, "re");
	struct stat st;
	char *text = NULL;
	size_t n = 0;

	if (f == NULL)
		return cw_fail(msg, cw_err_from_errno(errno), "%s: %s", path, strerror(errno));
	if (fstat(fileno(f), &st) != 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size > FILE_MOST) {
		(void)fclose(f);
		return cw_fail(msg, CW_EINVAL, "%s: is no file, or larger than %u MiB", path, FILE_MOST >> 20);
	}
	text = cw_alloc((size_t)st.st_size + 1);
	if (text != NULL)
		n = fread(text, 1, (size_t)st.st_size, f);
	(void)fclose(f);
	if (text == NULL)
		return cw_fail(msg, CW_ENOMEM, "%s: out of memory", path);
	*ret_text = text;
	*ret_len = n;
	return 0;
}

int cw_identities_import(const char *path, cw_identity_skip_fn skip, void *arg, struct cw_identities **ret_set, struct cw_msg *msg)
{
	size_t n = strlen(path), len = 0;
	char *text = NULL;
	int rc;

	if (n < 4 || strcasecmp(path + n - 4, ".csv") != 0)
		return cw_identities_load(path, skip, arg, ret_set, msg);
	rc = read_whole(path, &text, &len, msg);
	if (rc < 0)
		return rc;
	rc = cw_identities_csv(path, cw_bytes_of(text, len), skip, arg, ret_set, msg);
	explicit_bzero(text, len);
	cw_free(text);
	return rc;
}

/* ---- JSON ---------------------------------------------------------------------------- */

static void put_entry(struct cw_json *j, const struct cw_identity *id)
{
	uint8_t *item;
	size_t len;

	cw_json_map(j);
	cw_json_field(j, "identity", id->identity);
	cw_json_field(j, "productKey", id->product_key);
	cw_json_field(j, "deviceName", id->device_name);
	cw_json_field(j, "deviceSecret", id->device_secret);
	if (id->settings.len > 0 && cw_json_to_item(id->settings, &item, &len) == 0) {
		cw_json_text(j, "settings");
		cw_json_encoded(j, cw_bytes_of(item, len));
		cw_free(item);
	}
	cw_json_end_map(j);
}

int cw_identities_to_json(const struct cw_identities *set, char **ret_text, size_t *ret_len)
{
	struct cw_map_node *n;
	struct cw_json j;

	cw_json_begin(&j, FILE_MOST);
	cw_json_array(&j);
	cw_map_each(n, &set->by_identity)
		put_entry(&j, cw_container_of(n, struct cw_identity, by_identity));
	cw_json_end_array(&j);
	return cw_json_finish(&j, ret_text, ret_len);
}

int cw_identity_member(struct cw_bytes map, const char *key, char *out, size_t size)
{
	struct cw_bytes v = cw_map_text(map, key);

	if (v.len >= size || (v.len > 0 && memchr(v.ptr, '\0', v.len) != NULL))
		return CW_EPROTO;
	if (v.len > 0)
		memcpy(out, v.ptr, v.len);
	out[v.len] = '\0';
	return 0;
}

static int add_json(struct cw_identities *set, struct cw_bytes map, struct cw_msg *msg)
{
	char id[160], pk[64], dn[96], ds[160], *settings = NULL;
	struct cw_bytes own = cw_map_get(map, "settings");
	const char *wrong;
	size_t len = 0;
	int rc = 0;

	if (cw_identity_member(map, "identity", id, sizeof(id)) < 0 || cw_identity_member(map, "productKey", pk, sizeof(pk)) < 0 ||
	    cw_identity_member(map, "deviceName", dn, sizeof(dn)) < 0 || cw_identity_member(map, "deviceSecret", ds, sizeof(ds)) < 0)
		return cw_fail(msg, CW_EPROTO, "entry %zu: a text is too long or no text", set->count + 1);
	wrong = cw_identity_wrong(id, pk, dn, ds);
	if (wrong != NULL)
		return cw_fail(msg, CW_EPROTO, "device \"%.128s\": %s", id, wrong);
	if (own.len > 0)
		rc = cw_json_from_item(own, 1u << 20, &settings, &len);
	if (rc == 0)
		rc = cw_identities_add(set, id, pk, dn, ds, cw_bytes_of(settings, len));
	cw_free(settings);
	explicit_bzero(ds, sizeof(ds));
	return rc < 0 ? cw_fail(msg, rc, "device \"%.128s\": %s", id, cw_error_text(rc)) : 0;
}

int cw_identities_of_json(struct cw_bytes text, struct cw_identities **ret_set, struct cw_msg *msg)
{
	struct cw_identities *set = NULL;
	struct cw_reader r;
	struct cw_item list;
	uint8_t *item;
	size_t len;
	int rc = cw_json_to_item(text, &item, &len);

	if (rc < 0)
		return cw_fail(msg, rc, "not JSON");
	r = cw_reader_of(cw_bytes_of(item, len));
	list = cw_read_item(&r);
	rc = list.type == CW_ITEM_ARRAY ? cw_identities_new(&set) : cw_fail(msg, CW_EPROTO, "not a list of entries");
	while (rc == 0 && cw_item_more(&r, &list))
		rc = add_json(set, cw_read_whole_item(&r), msg);
	explicit_bzero(item, len);
	cw_free(item);
	if (rc < 0) {
		cw_identities_free(set);
		return rc;
	}
	*ret_set = set;
	return 0;
}
