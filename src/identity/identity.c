/* identity.c - see identity.h. */
#include "identity/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "conf/dump.h"
#include "conf/parse.h"

#define IDENTITY_MOST 128
#define SECRET_MOST 256

int cw_identities_new(struct cw_identities **ret_set)
{
	struct cw_identities *set = cw_zalloc(sizeof(*set));

	if (set == NULL)
		return CW_ENOMEM;
	*ret_set = set;
	return 0;
}

void cw_identities_free(struct cw_identities *set)
{
	struct cw_map_node *n, *next;

	if (set == NULL)
		return;
	cw_map_each_safe(n, next, &set->by_identity)
		cw_identity_free(cw_container_of(n, struct cw_identity, by_identity));
	cw_map_fini(&set->by_identity);
	cw_map_fini(&set->by_name);
	cw_free(set->ordered);
	cw_free(set);
}

static const char *put(char **at, const char *text, size_t len)
{
	char *start = *at;

	memcpy(start, text, len);
	start[len] = '\0';
	*at = start + len + 1;
	return start;
}

struct cw_identity *cw_identity_new(const char *identity, const char *pk, const char *dn, const char *ds, struct cw_bytes settings)
{
	size_t ni = strlen(identity), np = strlen(pk), nn = strlen(dn), ns = strlen(ds);
	struct cw_identity *e = cw_alloc(sizeof(*e) + ni + np + nn + ns + 4 + settings.len);
	char *at;

	if (e == NULL)
		return NULL;
	memset(e, 0, sizeof(*e));
	at = e->text;
	e->identity = put(&at, identity, ni);
	e->product_key = put(&at, pk, np);
	e->device_name = put(&at, dn, nn);
	e->device_secret = put(&at, ds, ns);
	if (settings.len > 0) {
		memcpy(at, settings.ptr, settings.len);
		e->settings = cw_bytes_of(at, settings.len);
	}
	return e;
}

void cw_identity_free(struct cw_identity *id)
{
	if (id == NULL)
		return;
	/* device_secret stands in `text` and is the object's own, whatever its pointer says. */
	explicit_bzero(id->text + (id->device_secret - id->text), strlen(id->device_secret));
	cw_free(id);
}

int cw_identities_add(struct cw_identities *set, const char *identity, const char *pk, const char *dn, const char *ds,
                      struct cw_bytes settings)
{
	struct cw_identity *e;
	struct cw_map_node *twin;
	size_t name_len = strlen(pk) + 1 + strlen(dn);
	int rc;

	if (cw_map_find(&set->by_identity, identity, strlen(identity)) != NULL)
		return CW_EEXIST;
	e = cw_identity_new(identity, pk, dn, ds, settings);
	if (e == NULL)
		return CW_ENOMEM;
	rc = cw_map_add(&set->by_identity, &e->by_identity, e->identity, strlen(e->identity));
	if (rc < 0) {
		cw_free(e);
		return rc;
	}
	set->count++;
	/* Two identities with one certificate are accepted; the later one answers the reverse look-up. */
	twin = cw_map_find(&set->by_name, e->product_key, name_len);
	if (twin != NULL) {
		e->twin = cw_container_of(twin, struct cw_identity, by_name);
		cw_map_remove(&set->by_name, twin);
	}
	return cw_map_add(&set->by_name, &e->by_name, e->product_key, name_len);
}

const struct cw_identity *cw_identities_find(const struct cw_identities *set, const char *identity, size_t len)
{
	struct cw_map_node *n = cw_map_find(&set->by_identity, identity, len);

	return n == NULL ? NULL : cw_container_of(n, struct cw_identity, by_identity);
}

const struct cw_identity *cw_identities_find_name(const struct cw_identities *set, const char *pk, const char *dn)
{
	char key[256];
	int n = snprintf(key, sizeof(key), "%s%c%s", pk, 0, dn);
	struct cw_map_node *node;

	if (n < 0 || (size_t)n >= sizeof(key))
		return NULL;
	node = cw_map_find(&set->by_name, key, (size_t)n);
	return node == NULL ? NULL : cw_container_of(node, struct cw_identity, by_name);
}

/* ---- by prefix ---------------------------------------------------------------------- */

static int by_identity_text(const void *a, const void *b)
{
	return strcmp((*(const struct cw_identity *const *)a)->identity,
		      (*(const struct cw_identity *const *)b)->identity);
}

void cw_identities_order(struct cw_identities *set)
{
	struct cw_map_node *n;
	size_t i = 0;

	if (set->ordered != NULL && set->ordered_count == set->count)
		return;
	cw_free(set->ordered);
	set->ordered = cw_calloc(set->count + 1, sizeof(struct cw_identity *));
	if (set->ordered == NULL)
		return;
	cw_map_each (n, &set->by_identity)
		set->ordered[i++] = cw_container_of(n, struct cw_identity, by_identity);
	qsort(set->ordered, i, sizeof(set->ordered[0]), by_identity_text);
	set->ordered_count = i;
}

/* The first that is not before the prefix; with `behind` the first that is behind all that begin with it. */
static size_t bound_of(const struct cw_identities *set, const char *prefix, size_t len, int behind)
{
	size_t low = 0, high = set->ordered_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strncmp(set->ordered[middle]->identity, prefix, len);

		if (order < 0 || (behind && order == 0))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int cw_identities_with(struct cw_identities *set, const char *prefix, size_t len,
		       const struct cw_identity *const **ret_first, size_t *ret_count)
{
	size_t from;

	cw_identities_order(set);
	if (set->ordered == NULL)
		return CW_ENOMEM;
	from = bound_of(set, prefix, len, 0);
	*ret_first = set->ordered + from;
	*ret_count = bound_of(set, prefix, len, 1) - from;
	return 0;
}

static int name_ok(const char *name)
{
	size_t n = 0;

	for (; name[n] != '\0'; n++)
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_@.:", name[n]) == NULL)
			return 0;
	return n >= 1 && n <= 63;
}

static int absent(const char *text)
{
	return text == NULL || text[0] == '\0';
}

static int printable(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return 0;
	return 1;
}

const char *cw_identity_wrong(const char *identity, const char *pk, const char *dn, const char *ds)
{
	if (absent(identity) || strlen(identity) > IDENTITY_MOST || !printable(identity))
		return "the identity is empty, longer than 128 bytes, or has control characters";
	if (absent(pk))
		return "productKey is missing";
	if (absent(dn))
		return "deviceName is missing";
	if (absent(ds))
		return "deviceSecret is missing";
	if (strlen(pk) > 31 || !name_ok(pk) || !name_ok(dn))
		return "productKey or deviceName has characters the platform does not accept, or is too long";
	if (strlen(ds) > 127 || !printable(ds))
		return "deviceSecret is longer than 127 bytes, or has control characters";
	return NULL;
}

int cw_identity_same(const struct cw_identity *a, const struct cw_identity *b)
{
	return strcmp(a->product_key, b->product_key) == 0 && strcmp(a->device_name, b->device_name) == 0 &&
	       strcmp(a->device_secret, b->device_secret) == 0 && cw_bytes_equal(a->settings, b->settings);
}

/* ---- devices.conf ------------------------------------------------------------------ */

struct loading {
	struct cw_identities *set;
	cw_identity_skip_fn skip;
	void *arg;
};

static void skip(struct loading *ld, const struct cw_value *where, const char *identity, const char *why)
{
	struct cw_origin o = cw_value_origin(where);
	char sentence[1400];

	ld->set->skipped++;
	if (ld->skip == NULL)
		return;
	(void)snprintf(sentence, sizeof(sentence), "%.400s:%u:%u: device \"%.128s\": %.799s", o.file, o.line, o.column, identity, why);
	ld->skip(ld->arg, sentence);
}

static const char *text_of(const struct cw_value *entry, const char *key)
{
	const struct cw_value *v = cw_value_get(entry, key);
	const char *text = v == NULL ? NULL : cw_value_text(v, NULL);

	return text == NULL || text[0] == '\0' ? NULL : text;
}

/* The first line of file:PATH, which stands beside the file that names it unless it is absolute. NULL after it was skipped. */
static const char *read_secret(struct loading *ld, const char *identity, const struct cw_value *entry, const char *path, char out[SECRET_MOST])
{
	const char *file = cw_value_origin(entry).file, *slash = strrchr(file, '/');
	char full[600], why[800];
	struct stat st;
	ssize_t n;
	int fd;

	if (path[0] == '/' || slash == NULL)
		(void)snprintf(full, sizeof(full), "%.590s", path);
	else
		(void)snprintf(full, sizeof(full), "%.*s/%.290s", (int)(slash - file < 300 ? slash - file : 300), file, path);
	fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	n = fd < 0 ? -1 : read(fd, out, SECRET_MOST - 1);
	if (n < 0) {
		(void)snprintf(why, sizeof(why), "deviceSecret: cannot read %.300s: %s", full, strerror(errno));
		skip(ld, entry, identity, why);
	} else if (fstat(fd, &st) == 0 && (st.st_mode & 0007) != 0) {
		(void)snprintf(ld->set->open_secret, sizeof(ld->set->open_secret), "%.299s", full);
	}
	if (fd >= 0)
		(void)close(fd);
	if (n < 0)
		return NULL;
	out[n] = '\0';
	out[strcspn(out, "\r\n")] = '\0';
	return out;
}

static int add_entry(struct loading *ld, const char *identity, const struct cw_value *entry)
{
	const char *pk = text_of(entry, "productKey"), *dn = text_of(entry, "deviceName"), *ds = text_of(entry, "deviceSecret");
	const struct cw_value *own = cw_value_get(entry, "settings");
	const char *wrong;
	char *settings = NULL, from_file[SECRET_MOST];
	size_t settings_len = 0;
	int rc;

	if (ds != NULL && strncmp(ds, "file:", 5) == 0) {
		ds = read_secret(ld, identity, entry, ds + 5, from_file);
		if (ds == NULL)
			return 0;
	}
	wrong = cw_identity_wrong(identity, pk, dn, ds);
	if (wrong != NULL) {
		skip(ld, entry, identity, wrong);
		return 0;
	}
	if (own != NULL && cw_value_type(own) == CW_VALUE_OBJECT) {
		rc = cw_dump_value(own, CW_DUMP_JSON, 0, &settings, &settings_len);
		if (rc < 0)
			return rc;
	}
	rc = cw_identities_add(ld->set, identity, pk, dn, ds, cw_bytes_of(settings, settings_len));
	if (ds == from_file)
		explicit_bzero(from_file, sizeof(from_file));
	cw_free(settings);
	if (rc == CW_EEXIST) {
		skip(ld, entry, identity, "the identity is there already");
		rc = 0;
	}
	return rc;
}

static int is_entry(const struct cw_value *v)
{
	return cw_value_get(v, "productKey") != NULL || cw_value_get(v, "deviceName") != NULL || cw_value_get(v, "deviceSecret") != NULL;
}

/*
 * Members of an object. An identity with dots and without quotes is a path: a.b {..} nests, and
 * its identity is "a.b"; so an object without any of the three keys is looked into.
 */
static int add_members(struct loading *ld, const char *prefix, const struct cw_value *object, int depth)
{
	struct cw_member m;
	size_t i;
	int rc = 0;

	for (i = 0; rc == 0 && cw_value_member(object, i, &m); i++) {
		char joined[256];
		const char *identity = m.key;

		if (prefix[0] != '\0') {
			if ((size_t)snprintf(joined, sizeof(joined), "%s.%s", prefix, m.key) >= sizeof(joined)) {
				skip(ld, m.value, prefix, "the identity is longer than 255 bytes");
				continue;
			}
			identity = joined;
		}
		if (cw_value_type(m.value) != CW_VALUE_OBJECT) {
			skip(ld, m.value, identity, "is not an object { productKey, deviceName, deviceSecret }");
			continue;
		}
		if (!is_entry(m.value) && cw_value_count(m.value) > 0 && depth < 16)
			rc = add_members(ld, identity, m.value, depth + 1);
		else
			rc = add_entry(ld, identity, m.value);
	}
	return rc;
}

int cw_identities_load(const char *path, cw_identity_skip_fn skip_fn, void *arg, struct cw_identities **ret_set, struct cw_msg *msg)
{
	struct loading ld = { .skip = skip_fn, .arg = arg };
	struct cw_conf_tree *tree;
	int rc = cw_conf_parse_file(path, NULL, &tree, msg);

	if (rc < 0)
		return rc;
	rc = cw_identities_new(&ld.set);
	if (rc == 0)
		rc = cw_map_reserve(&ld.set->by_identity, cw_value_count(cw_conf_root(tree)));
	if (rc == 0)
		rc = cw_map_reserve(&ld.set->by_name, cw_value_count(cw_conf_root(tree)));
	if (rc == 0)
		rc = add_members(&ld, "", cw_conf_root(tree), 0);
	cw_conf_tree_unref(tree);
	if (rc < 0) {
		cw_identities_free(ld.set);
		return cw_fail(msg, rc, "%s: %s", path, cw_error_text(rc));
	}
	*ret_set = ld.set;
	return 0;
}
