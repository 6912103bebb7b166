/* check.c - see check.h. */
#include "conf/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

__attribute__((format(printf, 4, 0)))
static void complain(struct cw_conf_report *report, const struct cw_value *where, bool warning, const char *fmt, va_list ap)
{
	struct cw_origin at = { NULL, 0, 0 };
	char text[640], full[1024];

	vsnprintf(text, sizeof(text), fmt, ap);
	if (where != NULL)
		at = cw_value_origin(where);
	if (at.file == NULL)
		snprintf(full, sizeof(full), "%s", text);
	else if (at.line == 0)
		snprintf(full, sizeof(full), "%.300s: %s", at.file, text);
	else
		snprintf(full, sizeof(full), "%.300s:%u:%u: %s", at.file, at.line, at.column, text);
	if (warning)
		report->warnings++;
	else
		report->errors++;
	if (report->kept == CW_CONF_REPORT_MAX)
		return;
	report->items[report->kept].text = cw_strdup(full);
	report->items[report->kept].warning = warning;
	if (report->items[report->kept].text == NULL)
		report->out_of_memory = true;
	else
		report->kept++;
}

void cw_conf_error_at(struct cw_conf_report *report, const struct cw_value *where, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(report, where, false, fmt, ap);
	va_end(ap);
}

void cw_conf_warn_at(struct cw_conf_report *report, const struct cw_value *where, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(report, where, true, fmt, ap);
	va_end(ap);
}

void cw_conf_report_msg(const struct cw_conf_report *report, struct cw_msg *msg)
{
	for (size_t i = 0; i < report->kept; i++) {
		if (report->items[i].warning)
			continue;
		if (report->errors > 1)
			cw_msg_set(msg, "%s (and %zu more)", report->items[i].text, report->errors - 1);
		else
			cw_msg_set(msg, "%s", report->items[i].text);
		return;
	}
}

void cw_conf_report_fini(struct cw_conf_report *report)
{
	for (size_t i = 0; i < report->kept; i++)
		cw_free(report->items[i].text);
	memset(report, 0, sizeof(*report));
}

/* What was found, for a message: the value in quotes, or only its kind where that could be a secret. */
static const char *found(const struct cw_value *v, const char *name, char out[80])
{
	size_t len;
	const char *text = v == NULL ? NULL : cw_value_text(v, &len);

	if (v == NULL)
		return "a default that the table itself does not accept";
	if (text == NULL || cw_conf_key_is_secret(name, strlen(name)))
		return cw_value_type_name(cw_value_type(v));
	snprintf(out, 80, "\"%.*s%s\"", (int)(len > 60 ? 60 : len), text, len > 60 ? "..." : "");
	return out;
}

void conf_complain_type(struct cw_conf_report *report, const struct cw_value *v, const char *name, const char *accepted)
{
	char text[80];

	cw_conf_error_at(report, v, "%.100s: found %s, accepted is %s", name, found(v, name, text), accepted);
}

void conf_complain_missing(struct cw_conf_report *report, const struct cw_value *object, const char *name, const char *help)
{
	cw_conf_error_at(report, object, "%.100s is missing%s%.300s", name, help == NULL ? "" : ": ", help == NULL ? "" : help);
}

static int bad_range(const struct conf_rule *rule, const struct cw_value *v, struct cw_conf_report *report)
{
	cw_conf_error_at(report, v, "%.100s: the table that declares it has a range that does not read as one", rule->name);
	return CW_ECONF;
}

static int check_bool(const struct conf_rule *rule, const struct cw_value *v, const char *initial, struct cw_conf_report *report,
                      struct conf_checked *ret)
{
	if ((v == NULL ? cw_text_to_bool(initial, &ret->boolean, NULL) : cw_value_to_bool(v, &ret->boolean, NULL)) == 0)
		return 0;
	conf_complain_type(report, v, rule->name, "true, false, yes, no, on or off");
	return CW_ECONF;
}

/* Integers, durations (ms) and sizes share their range check. */
static int number_of(uint32_t type, const struct cw_value *v, const char *text, int64_t *ret)
{
	uint64_t bytes = 0;
	int rc;

	if (type == CW_FIELD_DURATION)
		return v == NULL ? cw_text_to_duration_ms(text, ret, NULL) : cw_value_to_duration_ms(v, ret, NULL);
	if (type == CW_FIELD_INT)
		return v == NULL ? cw_text_to_int64(text, ret, NULL) : cw_value_to_int64(v, ret, NULL);
	rc = v == NULL ? cw_text_to_bytes(text, &bytes, NULL) : cw_value_to_bytes(v, &bytes, NULL);
	*ret = (int64_t)bytes;
	return rc;
}

/* A fraction is cut for the getters, as the reference does; a setting that is a count refuses it. */
static bool is_fraction(const struct conf_rule *rule, const struct cw_value *v)
{
	double d;

	return rule->type == CW_FIELD_INT && v != NULL && cw_value_to_double(v, &d, NULL) == 0 &&
	       (d < -9.3e18 || d > 9.3e18 || d != (double)(int64_t)d);
}

static int check_number(const struct conf_rule *rule, const struct cw_value *v, const char *initial, struct cw_conf_report *report,
                        struct conf_checked *ret)
{
	static const char *const what[] = { [CW_FIELD_INT] = "a whole number", [CW_FIELD_DURATION] = "a duration such as 500ms, 10s, 5m",
		                            [CW_FIELD_BYTES] = "a size such as 512, 64KiB, 10MB" };
	int64_t min = INT64_MIN, max = INT64_MAX;
	char accepted[200];

	if ((rule->min != NULL && number_of(rule->type, NULL, rule->min, &min) < 0) ||
	    (rule->max != NULL && number_of(rule->type, NULL, rule->max, &max) < 0))
		return bad_range(rule, v, report);
	if (!is_fraction(rule, v) && number_of(rule->type, v, initial, &ret->integer) == 0 && ret->integer >= min && ret->integer <= max)
		return 0;
	snprintf(accepted, sizeof(accepted), "%s%s%s%s%s", what[rule->type], rule->min != NULL ? " from " : "",
	         rule->min != NULL ? rule->min : "", rule->max != NULL ? (rule->min != NULL ? " to " : " up to ") : "",
	         rule->max != NULL ? rule->max : "");
	conf_complain_type(report, v, rule->name, accepted);
	return CW_ECONF;
}

static int check_decimal(const struct conf_rule *rule, const struct cw_value *v, const char *initial, struct cw_conf_report *report,
                         struct conf_checked *ret)
{
	double min = -1e308, max = 1e308;
	char accepted[160];

	if ((rule->min != NULL && cw_text_to_double(rule->min, &min, NULL) < 0) ||
	    (rule->max != NULL && cw_text_to_double(rule->max, &max, NULL) < 0))
		return bad_range(rule, v, report);
	ret->text = v == NULL ? initial : cw_value_text(v, &ret->len);
	if (v == NULL)
		ret->len = strlen(initial);
	if ((v == NULL ? cw_text_to_double(initial, &ret->decimal, NULL) : cw_value_to_double(v, &ret->decimal, NULL)) == 0 &&
	    ret->decimal >= min && ret->decimal <= max)
		return 0;
	snprintf(accepted, sizeof(accepted), "a number%s%s%s%s", rule->min != NULL ? " from " : "", rule->min != NULL ? rule->min : "",
	         rule->max != NULL ? " up to " : "", rule->max != NULL ? rule->max : "");
	conf_complain_type(report, v, rule->name, accepted);
	return CW_ECONF;
}

static int check_enum(const struct conf_rule *rule, const struct cw_value *v, const char *initial, struct cw_conf_report *report,
                      struct conf_checked *ret)
{
	const char *text = initial, *at = rule->joined;
	size_t len = text == NULL ? 0 : strlen(text), n, used = 0;
	char accepted[300] = "one of ";

	if (v != NULL)
		text = cw_value_text(v, &len);
	used = strlen(accepted);
	for (int i = 0;; i++) {
		const char *word = rule->values != NULL ? rule->values[i] : at;

		if (word == NULL || *word == '\0')
			break;
		n = rule->values != NULL ? strlen(word) : strcspn(word, "|");
		if (text != NULL && n == len && memcmp(word, text, n) == 0) {
			ret->integer = i;
			ret->text = text;
			ret->len = len;
			return 0;
		}
		if (used < sizeof(accepted))
			used += (size_t)snprintf(accepted + used, sizeof(accepted) - used, "%s%.*s", i > 0 ? ", " : "", (int)n, word);
		if (at != NULL)
			at += n + (at[n] == '|');
	}
	conf_complain_type(report, v, rule->name, accepted);
	return CW_ECONF;
}

/* PATH of file:PATH beside the configuration file, unless it is absolute. */
static int open_beside(const struct cw_value *v, const char *path, char *out, size_t room)
{
	const char *file = cw_value_origin(v).file, *slash = strrchr(file, '/');

	if (path[0] == '/' || slash == NULL)
		snprintf(out, room, "%s", path);
	else
		snprintf(out, room, "%.*s/%s", (int)(slash - file), file, path);
	return open(out, O_RDONLY | O_CLOEXEC);
}

/* The first line of the file into ret->file. */
static int read_secret(const struct conf_rule *rule, const struct cw_value *v, const char *path, struct cw_conf_report *report,
                       struct conf_checked *ret)
{
	char full[1024];
	struct stat st;
	ssize_t n;
	int fd = open_beside(v, path, full, sizeof(full));

	n = fd < 0 ? -1 : read(fd, ret->file, CONF_SECRET_MAX - 1);
	if (n < 0) {
		cw_conf_error_at(report, v, "%.100s: cannot read %.300s: %s", rule->name, full, strerror(errno));
		if (fd >= 0)
			close(fd);
		return CW_ECONF;
	}
	if (fstat(fd, &st) == 0 && (st.st_mode & S_IROTH))
		cw_conf_warn_at(report, v, "%.100s: everybody may read %.300s; say chmod o-r %.300s", rule->name, full, full);
	close(fd);
	ret->file[n] = '\0';
	ret->file[strcspn(ret->file, "\r\n")] = '\0';
	ret->text = ret->file;
	ret->len = strlen(ret->file);
	if (ret->len > 0)
		return 0;
	cw_conf_error_at(report, v, "%.100s: the first line of %.300s is empty", rule->name, full);
	return CW_ECONF;
}

static int check_text(const struct conf_rule *rule, const struct cw_value *v, const char *initial, struct cw_conf_report *report,
                      struct conf_checked *ret)
{
	if (v == NULL) {
		ret->text = initial;
		ret->len = strlen(initial);
		return 0;
	}
	ret->text = cw_value_text(v, &ret->len);
	if (ret->text == NULL || memchr(ret->text, '\0', ret->len) != NULL) {
		conf_complain_type(report, v, rule->name, ret->text == NULL ? "a text" : "a text without NUL");
		return CW_ECONF;
	}
	if (rule->required && ret->len == 0) {
		cw_conf_error_at(report, v, "%.100s is empty", rule->name);
		return CW_ECONF;
	}
	if (rule->type == CW_FIELD_SECRET && strncmp(ret->text, "file:", 5) == 0)
		return read_secret(rule, v, ret->text + 5, report, ret);
	return 0;
}

int conf_check(const struct conf_rule *rule, const struct cw_value *v, const char *initial, struct cw_conf_report *report,
               struct conf_checked *ret)
{
	switch (rule->type) {
	case CW_FIELD_BOOL:
		return check_bool(rule, v, initial, report, ret);
	case CW_FIELD_INT:
	case CW_FIELD_DURATION:
	case CW_FIELD_BYTES:
		return check_number(rule, v, initial, report, ret);
	case CW_FIELD_DECIMAL:
		return check_decimal(rule, v, initial, report, ret);
	case CW_FIELD_ENUM:
		return check_enum(rule, v, initial, report, ret);
	default:
		return check_text(rule, v, initial, report, ret);
	}
}

void conf_look(const struct cw_value *object, const char *path, const struct cw_value **ret_value)
{
	const struct cw_value *v = object;
	const char *at = path;

	*ret_value = NULL;
	for (;;) {
		size_t len = strcspn(at, ".");

		v = cw_value_get_n(v, at, len);
		if (v == NULL || cw_value_type(v) == CW_VALUE_NULL)
			return;
		at += len;
		if (*at == '\0')
			break;
		if (cw_value_type(v) != CW_VALUE_OBJECT)
			return; /* conf_check_unknown() has complained */
		at++;
	}
	*ret_value = v;
}

/* Steps to change one word into the other: letters put in, left out, changed, or two swapped. Case costs nothing. */
static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned row[3][65];

	if (a_len > 64 || b_len > 64)
		return 99;
	for (unsigned j = 0; j <= b_len; j++)
		row[0][j] = j;
	for (unsigned i = 1; i <= a_len; i++) {
		unsigned *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];

		now[0] = i;
		for (unsigned j = 1; j <= b_len; j++) {
			unsigned best = last[j - 1] + ((a[i - 1] | 32) != (b[j - 1] | 32));

			best = last[j] + 1 < best ? last[j] + 1 : best;
			best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			now[j] = best;
		}
	}
	return row[a_len % 3][b_len];
}

const char *cw_conf_nearest(const char *word, const char *const *candidates)
{
	size_t len = strlen(word);
	unsigned best = (unsigned)(len / 3 + 1), d;
	const char *nearest = NULL;

	for (; *candidates != NULL; candidates++) {
		d = distance(word, len, *candidates, strlen(*candidates));
		if (d < best || (d == best && nearest == NULL)) {
			best = d;
			nearest = *candidates;
		}
	}
	return nearest;
}

struct unknown {
	conf_name_fn name;
	const void *table;
	const char *(*hint)(const char *key);
	bool warn;
	struct cw_conf_report *report;
};

/* How often the key, at this place, is a setting (1) or leads to some (2). */
static int known(const struct unknown *u, const char *prefix, const struct cw_member *m)
{
	size_t prefix_len = strlen(prefix);
	const char *name;
	int branch = 0;

	if (strlen(m->key) != m->key_len) /* a NUL in it */
		return 0;
	for (size_t i = 0; (name = u->name(u->table, i)) != NULL; i++) {
		if (strncmp(name, prefix, prefix_len) != 0 || strncmp(name + prefix_len, m->key, m->key_len) != 0)
			continue;
		if (name[prefix_len + m->key_len] == '\0' && name[0] != '\0')
			return 1;
		if (name[prefix_len + m->key_len] == '.')
			branch = 2;
	}
	return branch;
}

/* The keys that would be right here, each once, for the suggestion and the list of what is accepted. */
static int complain_unknown(const struct unknown *u, const char *prefix, const struct cw_member *m)
{
	size_t prefix_len = strlen(prefix), count = 0, used = 0;
	const char *nearest, *name, *hint = u->hint == NULL ? NULL : u->hint(m->key);
	char words[64][48], advice[320] = "";
	const char *candidates[65];

	for (size_t i = 0; (name = u->name(u->table, i)) != NULL && count < 64; i++) {
		size_t len, k;

		if (strncmp(name, prefix, prefix_len) != 0 || name[prefix_len] == '\0')
			continue;
		len = strcspn(name + prefix_len, ".");
		snprintf(words[count], sizeof(words[0]), "%.*s", (int)len, name + prefix_len);
		for (k = 0; k < count && strcmp(words[k], words[count]) != 0; k++)
			;
		if (k == count) {
			candidates[count] = words[count];
			count++;
		}
	}
	candidates[count] = NULL;
	nearest = cw_conf_nearest(m->key, candidates);
	if (hint != NULL)
		snprintf(advice, sizeof(advice), "; %.280s", hint);
	else if (nearest != NULL)
		snprintf(advice, sizeof(advice), "; did you mean \"%s%s\"?", prefix, nearest);
	else
		for (size_t k = 0; k < count && used < sizeof(advice) - 60; k++)
			used += (size_t)snprintf(advice + used, sizeof(advice) - used, "%s%s", k == 0 ? "; accepted are " : ", ", words[k]);
	if (u->warn)
		cw_conf_warn_at(u->report, m->value, "unknown setting \"%.100s%.100s\", ignored%s", prefix, m->key, advice);
	else
		cw_conf_error_at(u->report, m->value, "unknown setting \"%.100s%.100s\"%s", prefix, m->key, advice);
	return u->report->out_of_memory ? CW_ENOMEM : 0;
}

static int check_members(const struct unknown *u, const struct cw_value *object, const char *prefix)
{
	struct cw_member m;
	char below[160];
	int rc = 0, kind;

	for (size_t i = 0; rc == 0 && cw_value_member(object, i, &m); i++) {
		kind = known(u, prefix, &m);
		if (kind == 0) {
			rc = complain_unknown(u, prefix, &m);
		} else if (kind == 2 && cw_value_type(m.value) == CW_VALUE_OBJECT) {
			snprintf(below, sizeof(below), "%s%s.", prefix, m.key);
			rc = check_members(u, m.value, below);
		} else if (kind == 2 && cw_value_type(m.value) != CW_VALUE_NULL) {
			conf_complain_type(u->report, m.value, m.key, "an object");
		}
	}
	return rc;
}

int conf_check_unknown(const struct cw_value *object, conf_name_fn name, const void *table, const char *(*hint)(const char *key),
                       bool warn, struct cw_conf_report *report)
{
	const struct unknown u = { name, table, hint, warn, report };

	return check_members(&u, object, "");
}
