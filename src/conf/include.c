/*
 * include.c - files and includes (read.h).
 *
 * `include "name"` looks beside the including file. A name with one of the three
 * extensions is that file; any other name stands for name.conf, name.json and
 * name.properties, of which all that exist are merged, .conf over .json over
 * .properties. file("name") looks in the current directory first, as the reference
 * does, and then beside the including file, where people expect it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "conf/merge.h"
#include "conf/read.h"

#define FILE_MOST (1024u * 1024 * 1024)

static const struct {
	const char *suffix;
	enum cw_conf_syntax syntax;
} kinds[] = {
	{ ".conf", CW_CONF_HOCON },
	{ ".json", CW_CONF_JSON },
	{ ".properties", CW_CONF_PROPERTIES },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static bool ends_with(const char *text, size_t len, const char *end)
{
	size_t n = strlen(end);

	return len >= n && memcmp(text + len - n, end, n) == 0;
}

static enum cw_conf_syntax guess_syntax(const char *path)
{
	for (size_t i = 0; i < KINDS; i++) {
		if (ends_with(path, strlen(path), kinds[i].suffix))
			return kinds[i].syntax;
	}
	return CW_CONF_HOCON;
}

/* Bytes of the well-formed character at p, or 0 with *ret_bad the bytes that one U+FFFD stands for. */
static size_t utf8_length(const unsigned char *p, size_t left, size_t *ret_bad)
{
	size_t need = p[0] < 0x80 ? 0 : p[0] >= 0xc2 && p[0] <= 0xdf ? 1 : (p[0] & 0xf0) == 0xe0 ? 2 : p[0] >= 0xf0 && p[0] <= 0xf4 ? 3 : 9;
	unsigned low = 0x80, high = 0xbf;

	if (need == 0)
		return 1;
	*ret_bad = 1;
	if (need == 9)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	for (size_t i = 1; i <= need; i++) {
		if (i >= left || p[i] < low || p[i] > high) {
			*ret_bad = i;
			return 0;
		}
		low = 0x80;
		high = 0xbf;
	}
	return need + 1;
}

/* A copy with bad bytes replaced into *ret_text (owned), or NULL there when the text is fine as it is. */
static int repair_utf8(struct conf_build *b, const char *text, size_t len, char **ret_text, size_t *ret_len)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t n, bad, good = 0, out = 0;
	char *copy;

	*ret_text = NULL;
	while (good < len && (n = utf8_length(p + good, len - good, &bad)) > 0)
		good += n;
	if (good == len)
		return 0;
	copy = cw_alloc(good + (len - good) * 3);
	if (copy == NULL)
		return conf_no_memory(b);
	memcpy(copy, text, good);
	out = good;
	for (size_t i = good; i < len; i += n) {
		n = utf8_length(p + i, len - i, &bad);
		if (n > 0) {
			memcpy(copy + out, text + i, n);
			out += n;
		} else {
			memcpy(copy + out, "\xef\xbf\xbd", 3);
			out += 3;
			n = bad;
		}
	}
	*ret_text = copy;
	*ret_len = out;
	return 0;
}

struct cw_value *conf_read_text(struct conf_build *b, const struct conf_source *source, const char *dir, const char *text, size_t len,
                                enum cw_conf_syntax syntax)
{
	struct cw_value *v;
	char *repaired;

	if (repair_utf8(b, text, len, &repaired, &len) < 0)
		return NULL;
	if (repaired != NULL)
		text = repaired;
	if (syntax == CW_CONF_PROPERTIES)
		v = conf_read_properties(b, source, text, len);
	else
		v = conf_read_document(b, source, dir, text, len, syntax == CW_CONF_JSON);
	cw_free(repaired);
	return v;
}

/* Pipes and files of /proc have no size: read until the end whatever stat says. */
static int slurp(struct conf_build *b, int fd, const char *path, size_t expected, char **ret_text, size_t *ret_len)
{
	size_t room = expected + 1, len = 0;
	char *text = cw_alloc(room), *bigger;
	ssize_t n;

	if (text == NULL)
		return conf_no_memory(b);
	for (;;) {
		n = read(fd, text + len, room - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
		if (len < room)
			continue;
		if (room > FILE_MOST) {
			cw_free(text);
			return conf_fail(b, CW_ELIMIT, NULL, 0, 0, "%s: larger than 1 GiB", path);
		}
		room = room < 4096 ? 8192 : room * 2;
		bigger = cw_realloc(text, room);
		if (bigger == NULL) {
			cw_free(text);
			return conf_no_memory(b);
		}
		text = bigger;
	}
	if (n < 0) {
		int rc = conf_fail(b, CW_EIO, NULL, 0, 0, "%s: cannot be read: %s", path, strerror(errno));

		cw_free(text);
		return rc;
	}
	*ret_text = text;
	*ret_len = len;
	return 0;
}

/* CW_ENOENT: nothing there to read; nothing is recorded then. */
static int load(struct conf_build *b, const char *path, char **ret_text, size_t *ret_len)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG || errno == ELOOP))
		return CW_ENOENT;
	if (fd < 0)
		return conf_fail(b, errno == EACCES || errno == EPERM ? CW_EACCESS : CW_EIO, NULL, 0, 0, "%s: cannot be opened: %s", path,
		                 strerror(errno));
	if (fstat(fd, &st) < 0 || S_ISDIR(st.st_mode))
		rc = CW_ENOENT;
	else
		rc = slurp(b, fd, path, S_ISREG(st.st_mode) && st.st_size < (off_t)FILE_MOST ? (size_t)st.st_size : 0, ret_text, ret_len);
	close(fd);
	return rc;
}

int conf_read_file(struct conf_build *b, const char *path, enum cw_conf_syntax syntax, struct cw_value **ret_object)
{
	const char *slash = strrchr(path, '/');
	struct conf_source *source;
	struct cw_value *v;
	char *text = NULL, *dir;
	size_t len = 0;
	int rc = load(b, path, &text, &len);

	if (rc < 0)
		return rc;
	source = conf_alloc(b, sizeof(*source));
	if (source != NULL)
		source->name = conf_text(b, path, strlen(path));
	dir = slash == NULL ? conf_text(b, ".", 1) : conf_text(b, path, slash == path ? 1 : (size_t)(slash - path));
	if (source == NULL || source->name == NULL || dir == NULL) {
		cw_free(text);
		return b->rc;
	}
	if (b->tree->source == NULL)
		b->tree->source = source;
	v = conf_read_text(b, source, dir, text, len, syntax == CW_CONF_GUESS ? guess_syntax(path) : syntax);
	cw_free(text);
	if (v == NULL)
		return b->rc;
	*ret_object = v;
	return 0;
}

/* dir/name.suffix, or the name alone when it is absolute or dir is NULL. Owned by the arena. */
static char *join_path(struct conf_build *b, const char *dir, const char *name, size_t len, const char *suffix)
{
	size_t dir_len = dir == NULL || name[0] == '/' || strcmp(dir, ".") == 0 ? 0 : strlen(dir), suffix_len = strlen(suffix);
	char *path = conf_alloc(b, dir_len + len + suffix_len + 2), *at = path;

	if (path == NULL)
		return NULL;
	if (dir_len > 0) {
		memcpy(at, dir, dir_len);
		at += dir_len;
		if (at[-1] != '/')
			*at++ = '/';
	}
	memcpy(at, name, len);
	memcpy(at + len, suffix, suffix_len + 1);
	return path;
}

static bool has_extension(const char *name, size_t len)
{
	for (size_t i = 0; i < KINDS; i++) {
		if (ends_with(name, len, kinds[i].suffix))
			return true;
	}
	return false;
}

/*
 * Read what a name stands for. *ret_object stays NULL when there is nothing.
 * `given` is the syntax of a file whose extension is written out, CW_CONF_GUESS: by that extension.
 */
static int read_named(struct conf_build *b, const char *dir, const char *name, size_t len, bool exact, enum cw_conf_syntax given,
                      struct cw_value **ret_object)
{
	struct cw_value *v;
	char *path;
	int rc;

	exact = exact || has_extension(name, len);
	for (size_t i = 0; i < (exact ? 1 : KINDS); i++) {
		path = join_path(b, dir, name, len, exact ? "" : kinds[i].suffix);
		if (path == NULL)
			return b->rc;
		rc = conf_read_file(b, path, exact ? given : kinds[i].syntax, &v);
		if (rc == CW_ENOENT && b->rc == 0)
			continue;
		if (rc < 0)
			return rc;
		*ret_object = *ret_object == NULL ? v : conf_merge(b, *ret_object, v);
		if (*ret_object == NULL)
			return b->rc;
	}
	return 0;
}

/* Does the name start with a scheme that makes it a URL? Returns its length with the colon. */
static size_t url_scheme(const char *name, size_t len)
{
	static const char *const schemes[] = { "file:", "http:", "https:", "ftp:", "jar:", "jmod:", "jrt:", "mailto:" };

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		size_t n = strlen(schemes[i]);

		if (len >= n && strncasecmp(name, schemes[i], n) == 0)
			return n;
	}
	return 0;
}

static int refuse(struct conf_build *b, const struct conf_source *source, const struct conf_token *at, const char *what)
{
	return conf_fail(b, CW_ECONF, source, at->line, at->column, "%s is not supported; include a local file by its name or with file(\"...\")",
	                 what);
}

static int find_included(struct conf_build *b, const char *dir, enum conf_include_kind kind, const char *name, size_t len,
                         struct cw_value **ret_object)
{
	size_t scheme = kind == CONF_INCLUDE_ANY ? url_scheme(name, len) : 0;

	if (memchr(name, '\0', len) != NULL || len == 0)
		return 0;
	if (scheme > 0) { /* file:/path and file:///path */
		name += scheme;
		len -= scheme;
		if (len > 2 && name[0] == '/' && name[1] == '/') {
			name += 2;
			len -= 2;
		}
		return len == 0 ? 0 : read_named(b, NULL, name, len, true, CW_CONF_GUESS, ret_object);
	}
	if (kind == CONF_INCLUDE_FILE) {
		if (read_named(b, NULL, name, len, false, CW_CONF_GUESS, ret_object) < 0)
			return b->rc;
		if (*ret_object != NULL || name[0] == '/')
			return 0;
	}
	/* A plain name with its extension is read like the file that includes it: the reference does so, and a .properties
	 * file then gives numbers where name.properties found by its bare name gives texts. */
	return read_named(b, dir, name, len, false, kind == CONF_INCLUDE_ANY ? CW_CONF_HOCON : CW_CONF_GUESS, ret_object);
}

struct cw_value *conf_include(struct conf_build *b, const struct conf_source *source, const char *dir, const struct conf_token *at,
                              enum conf_include_kind kind, const char *name, size_t len, bool required)
{
	struct cw_value *v = NULL;
	int show = len > 200 ? 200 : (int)len;
	size_t scheme = kind == CONF_INCLUDE_ANY ? url_scheme(name, len) : 0;

	if (kind == CONF_INCLUDE_URL || kind == CONF_INCLUDE_CLASSPATH) {
		refuse(b, source, at, kind == CONF_INCLUDE_URL ? "include url()" : "include classpath()");
		return NULL;
	}
	if (scheme > 0 && strncasecmp(name, "file:", 5) != 0) {
		refuse(b, source, at, "including a URL");
		return NULL;
	}
	if (b->include_depth >= CONF_INCLUDE_MAX) {
		conf_fail(b, CW_ECONF, source, at->line, at->column, "includes more than %u deep; \"%.*s\" probably includes itself",
		          CONF_INCLUDE_MAX, show, name);
		return NULL;
	}
	b->include_depth++;
	find_included(b, dir, kind, name, len, &v);
	b->include_depth--;
	if (b->rc != 0)
		return NULL;
	if (v == NULL && required) {
		conf_fail(b, CW_ECONF, source, at->line, at->column, "the required file \"%.*s\" was not found%s", show, name,
		          has_extension(name, len) ? "" : ", neither as .conf nor as .json nor as .properties");
		return NULL;
	}
	return v != NULL ? v : conf_object_new(b, source, at->line, at->column, 0);
}
