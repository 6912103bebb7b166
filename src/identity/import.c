/* import.c - see import.h. */
#include "identity/import.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "json/json.h"

#define FILE_MOST (256u << 20)
#define COLUMNS_MOST 64u
#define FIELD_MOST 512u

enum { COL_IDENTITY, COL_PRODUCT_KEY, COL_DEVICE_NAME, COL_DEVICE_SECRET, COL_COUNT };

struct csv {
	const char *name, *at, *end;
	unsigned line;
	int columns[COLUMNS_MOST]; /* which of COL_*, or -1 */
	size_t column_count;
	char fields[COL_COUNT][FIELD_MOST]; /* of the line under way */
	struct cw_identities *set;
	cw_identity_skip_fn skip;
	void *arg;
};

static void skip_line(struct csv *c, unsigned line, const char *why)
{
	char sentence[700];

	c->set->skipped++;
	if (c->skip == NULL)
		return;
	if (c->fields[COL_IDENTITY][0] != '\0')
		(void)snprintf(sentence, sizeof(sentence), "%.300s:%u: device \"%.128s\": %s", c->name, line, c->fields[COL_IDENTITY], why);
	else
		(void)snprintf(sentence, sizeof(sentence), "%.300s:%u: %s", c->name, line, why);
	c->skip(c->arg, sentence);
}

static int at_end_of_line(const struct csv *c)
{
	return c->at == c->end || *c->at == '\n' || (*c->at == '\r' && (c->at + 1 == c->end || c->at[1] == '\n'));
}

static int is_blank(char ch)
{
	return ch == ' ' || ch == '\t';
}

/* The field at c->at into out[FIELD_MOST]; 0, or CW_ELIMIT when it has no place there, CW_EPROTO when its quote does not end. */
static int read_field(struct csv *c, char *out)
{
	size_t n = 0;
	int quoted, rc = 0;

	while (c->at < c->end && is_blank(*c->at))
		c->at++;
	quoted = c->at < c->end && *c->at == '"';
	if (quoted)
		c->at++;
	for (;;) {
		if (c->at == c->end || (!quoted && (*c->at == ',' || at_end_of_line(c))))
			break;
		if (quoted && *c->at == '"') {
			c->at++;
			if (c->at == c->end || *c->at != '"') {
				quoted = 0;
				while (c->at < c->end && is_blank(*c->at))
					c->at++;
				break;
			}
		}
		if (*c->at == '\n')
			c->line++;
		if (n + 1 < FIELD_MOST)
			out[n++] = *c->at;
		else
			rc = CW_ELIMIT;
		c->at++;
	}
	while (n > 0 && is_blank(out[n - 1]))
		n--;
	out[n] = '\0';
	if (quoted || (c->at < c->end && *c->at != ',' && !at_end_of_line(c)))
		rc = CW_EPROTO;
	return memchr(out, '\0', n) != NULL ? CW_EPROTO : rc;
}

static void end_line(struct csv *c)
{
	while (c->at < c->end && *c->at != '\n')
		c->at++;
	if (c->at < c->end)
		c->at++;
	c->line++;
}

/* 1 when there was another field. */
static int next_field(struct csv *c)
{
	if (c->at == c->end || *c->at != ',')
		return 0;
	c->at++;
	return 1;
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

static int read_header(struct csv *c, struct cw_msg *msg)
{
	static const char *const names[COL_COUNT] = { "identity", "ProductKey", "DeviceName", "DeviceSecret" };
	char field[FIELD_MOST];
	int seen[COL_COUNT] = { 0 }, i;

	do {
		if (c->column_count == COLUMNS_MOST || read_field(c, field) < 0)
			return cw_fail(msg, CW_ECONF, "%s:%u: the line of column names cannot be read", c->name, c->line);
		i = column_of(field);
		if (i >= 0 && seen[i]++)
			return cw_fail(msg, CW_ECONF, "%s:%u: two columns named %s", c->name, c->line, names[i]);
		c->columns[c->column_count++] = i;
	} while (next_field(c));
	for (i = COL_PRODUCT_KEY; i < COL_COUNT; i++)
		if (!seen[i])
			return cw_fail(msg, CW_ECONF, "%s:%u: no column %s; the first line names the columns: identity, ProductKey, DeviceName, DeviceSecret",
			               c->name, c->line, names[i]);
	end_line(c);
	return 0;
}

static int add_line(struct csv *c, unsigned line)
{
	char *id = c->fields[COL_IDENTITY], *dn = c->fields[COL_DEVICE_NAME];
	const char *wrong;
	int rc;

	if (id[0] == '\0')
		memcpy(id, dn, FIELD_MOST);
	wrong = cw_identity_wrong(id, c->fields[COL_PRODUCT_KEY], dn, c->fields[COL_DEVICE_SECRET]);
	if (wrong != NULL) {
		skip_line(c, line, wrong);
		return 0;
	}
	rc = cw_identities_add(c->set, id, c->fields[COL_PRODUCT_KEY], dn, c->fields[COL_DEVICE_SECRET], cw_bytes_of(NULL, 0));
	if (rc != CW_EEXIST)
		return rc;
	skip_line(c, line, "the identity stands in an earlier line already");
	return 0;
}

static int read_line(struct csv *c)
{
	char other[FIELD_MOST];
	unsigned line = c->line;
	size_t i = 0;
	int rc = 0, one;

	memset(c->fields, 0, sizeof(c->fields));
	while (c->at < c->end && is_blank(*c->at))
		c->at++;
	if (at_end_of_line(c)) {
		end_line(c);
		return 0;
	}
	do {
		one = read_field(c, i < c->column_count && c->columns[i] >= 0 ? c->fields[c->columns[i]] : other);
		if (one < 0 && (one != CW_ELIMIT || (i < c->column_count && c->columns[i] >= 0)))
			rc = one;
		i++;
	} while (next_field(c));
	end_line(c);
	if (rc < 0) {
		skip_line(c, line, rc == CW_ELIMIT ? "a field is longer than 511 bytes" : "a quoted field does not end where a comma or the end of the line follows");
		return 0;
	}
	return add_line(c, line);
}

int cw_identities_csv(const char *name, struct cw_bytes text, cw_identity_skip_fn skip, void *arg, struct cw_identities **ret_set,
                      struct cw_msg *msg)
{
	struct csv *c = cw_zalloc(sizeof(*c));
	int rc;

	if (c == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	c->name = name;
	c->at = (const char *)text.ptr;
	c->end = c->at + text.len;
	c->line = 1;
	c->skip = skip;
	c->arg = arg;
	if (text.len >= 3 && memcmp(c->at, "\xef\xbb\xbf", 3) == 0)
		c->at += 3;
	rc = cw_identities_new(&c->set);
	if (rc == 0)
		rc = read_header(c, msg);
	else
		(void)cw_fail(msg, rc, "out of memory");
	while (rc == 0 && c->at < c->end) {
		rc = read_line(c);
		if (rc < 0)
			(void)cw_fail(msg, rc, "%s: %s", name, cw_error_text(rc));
	}
	if (rc == 0)
		*ret_set = c->set;
	else
		cw_identities_free(c->set);
	explicit_bzero(c->fields, sizeof(c->fields));
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
