/*
 * cmd_config.c - see cmd_config.h.
 *
 *   config print [--format json|hocon] FILE    the file as it reads, substitutions and includes done
 *   config get [--as TYPE] PATH FILE           one value
 *   config check FILE, config reference        by the tables of the gateway
 *
 * FILE `-` is standard input.
 */
#include "cli/cmd_config.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "conf/dump.h"
#include "conf/parse.h"

int (*cw_cmd_config_check)(int argc, char **argv);
int (*cw_cmd_config_reference)(int argc, char **argv);

static const char usage[] =
	"usage: causeway config print [--format json|hocon] [--secrets] FILE\n"
	"       causeway config get [--as TYPE] PATH FILE\n"
	"       causeway config check FILE\n"
	"       causeway config reference\n"
	"check and reference know the settings of causewayd: FILE is its application.conf, and what that\n"
	"names (devices.conf, secrets, certificates, plugins) is checked with it. print and get read any HOCON.\n"
	"print shows *** for values whose key names a secret, a password or a token, unless --secrets is given.\n"
	"FILE - is standard input. TYPE is one of string, boolean, int, long, double, bytes,\n"
	"duration-ms, duration-ns, period, list-string (one element a line); without it a value\n"
	"that is a list or an object is printed as JSON.\n";

static int bad_usage(const char *why, const char *what)
{
	fprintf(stderr, "causeway config: %s%s\n%s", why, what, usage);
	return 2;
}

static int complain(const struct cw_msg *msg)
{
	fprintf(stderr, "causeway config: %s\n", msg->text);
	return 1;
}

static int read_stdin(char **ret_text, size_t *ret_len)
{
	size_t room = 65536, len = 0, n;
	char *text = cw_alloc(room), *bigger;

	while (text != NULL && (n = fread(text + len, 1, room - len, stdin)) > 0) {
		len += n;
		if (len < room)
			continue;
		room *= 2;
		bigger = cw_realloc(text, room);
		if (bigger == NULL)
			cw_free(text);
		text = bigger;
	}
	if (text == NULL)
		return CW_ENOMEM;
	*ret_text = text;
	*ret_len = len;
	return 0;
}

static int parse(const char *file, struct cw_conf_tree **ret_tree, struct cw_msg *msg)
{
	char *text;
	size_t len;
	int rc;

	if (strcmp(file, "-") != 0)
		return cw_conf_parse_file(file, NULL, ret_tree, msg);
	rc = read_stdin(&text, &len);
	if (rc < 0)
		return cw_fail(msg, rc, "standard input: %s", cw_error_text(rc));
	rc = cw_conf_parse_text("stdin", text, len, NULL, ret_tree, msg);
	cw_free(text);
	return rc;
}

static int print_value(const struct cw_value *v, enum cw_dump_format format, unsigned flags, struct cw_msg *msg)
{
	char *text;
	size_t len;
	int rc = cw_dump_value(v, format, flags, &text, &len);

	if (rc < 0)
		return cw_fail(msg, rc, "%s", cw_error_text(rc));
	if (fwrite(text, 1, len, stdout) != len)
		rc = cw_fail(msg, CW_EIO, "cannot write: %s", strerror(errno));
	cw_free(text);
	return rc;
}

static int cmd_print(int argc, char **argv)
{
	enum cw_dump_format format = CW_DUMP_JSON;
	struct cw_conf_tree *tree = NULL;
	struct cw_msg msg = { "" };
	const char *file = NULL;
	unsigned flags = CW_DUMP_MASK;
	int rc;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--secrets") == 0) {
			flags = 0;
		} else if (strcmp(argv[i], "--format") == 0 && i + 1 < argc) {
			i++;
			if (strcmp(argv[i], "json") != 0 && strcmp(argv[i], "hocon") != 0)
				return bad_usage("--format is json or hocon, not ", argv[i]);
			format = argv[i][0] == 'j' ? CW_DUMP_JSON : CW_DUMP_HOCON;
		} else if ((argv[i][0] == '-' && argv[i][1] != '\0') || file != NULL) {
			return bad_usage("not understood: ", argv[i]);
		} else {
			file = argv[i];
		}
	}
	if (file == NULL)
		return bad_usage("the file is missing", "");
	rc = parse(file, &tree, &msg);
	if (rc == 0)
		rc = print_value(cw_conf_root(tree), format, flags, &msg);
	cw_conf_tree_unref(tree);
	return rc < 0 ? complain(&msg) : 0;
}

static void put_line(const char *text, size_t len)
{
	fwrite(text, 1, len, stdout);
	putchar('\n');
}

static int get_string(const struct cw_value *v, struct cw_msg *msg)
{
	const char *text;
	size_t len;
	int rc = cw_value_to_string(v, &text, &len, msg);

	if (rc == 0)
		put_line(text, len);
	return rc;
}

static int get_boolean(const struct cw_value *v, struct cw_msg *msg)
{
	bool b;
	int rc = cw_value_to_bool(v, &b, msg);

	if (rc == 0)
		puts(b ? "true" : "false");
	return rc;
}

static int get_int(const struct cw_value *v, struct cw_msg *msg)
{
	int32_t n;
	int rc = cw_value_to_int32(v, &n, msg);

	if (rc == 0)
		printf("%" PRId32 "\n", n);
	return rc;
}

static int get_long(const struct cw_value *v, struct cw_msg *msg)
{
	int64_t n;
	int rc = cw_value_to_int64(v, &n, msg);

	if (rc == 0)
		printf("%" PRId64 "\n", n);
	return rc;
}

/*
 * The shortest digits that give the same double again, written as Java prints it
 * (1.0, 1.5E10), so that output can be compared with tools around the Java library.
 */
static void put_double(double d)
{
	char digits[40], *e;
	double again;
	int exponent, n;

	if (d != d || d - d != 0) {
		puts(d != d ? "NaN" : d > 0 ? "Infinity" : "-Infinity");
		return;
	}
	for (int precision = 0; precision <= 16; precision++) {
		snprintf(digits, sizeof(digits), "%.*e", precision, d < 0 ? -d : d);
		if (cw_text_to_double(digits, &again, NULL) == 0 && again == (d < 0 ? -d : d))
			break;
	}
	e = strchr(digits, 'e');
	exponent = atoi(e + 1);
	n = (int)(e - digits) - (e - digits > 1); /* digits without the point */
	if (n > 1)
		memmove(digits + 1, digits + 2, (size_t)n - 1);
	digits[n] = '\0';
	if (signbit(d))
		putchar('-');
	if (d == 0)
		puts("0.0");
	else if (exponent < -3 || exponent > 6)
		printf("%c.%sE%d\n", digits[0], n > 1 ? digits + 1 : "0", exponent);
	else if (exponent < 0)
		printf("0.%.*s%s\n", -exponent - 1, "00", digits);
	else if (n <= exponent + 1)
		printf("%s%.*s.0\n", digits, exponent + 1 - n, "000000");
	else
		printf("%.*s.%s\n", exponent + 1, digits, digits + exponent + 1);
}

static int get_double(const struct cw_value *v, struct cw_msg *msg)
{
	double d;
	int rc = cw_value_to_double(v, &d, msg);

	if (rc == 0)
		put_double(d);
	return rc;
}

static int get_bytes(const struct cw_value *v, struct cw_msg *msg)
{
	uint64_t n;
	int rc = cw_value_to_bytes(v, &n, msg);

	if (rc == 0)
		printf("%" PRIu64 "\n", n);
	return rc;
}

static int get_duration_ms(const struct cw_value *v, struct cw_msg *msg)
{
	int64_t n;
	int rc = cw_value_to_duration_ms(v, &n, msg);

	if (rc == 0)
		printf("%" PRId64 "\n", n);
	return rc;
}

static int get_duration_ns(const struct cw_value *v, struct cw_msg *msg)
{
	int64_t n;
	int rc = cw_value_to_duration_ns(v, &n, msg);

	if (rc == 0)
		printf("%" PRId64 "\n", n);
	return rc;
}

static int get_period(const struct cw_value *v, struct cw_msg *msg)
{
	struct cw_period p;
	int rc = cw_value_to_period(v, &p, msg);

	if (rc == 0)
		printf("%" PRId32 " years %" PRId32 " months %" PRId32 " days\n", p.years, p.months, p.days);
	return rc;
}

static int get_list(const struct cw_value *v, struct cw_msg *msg)
{
	const struct cw_value *const *items = NULL;
	const char *text;
	size_t count, len;
	int rc = cw_value_to_list(v, &items, &count, msg);

	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = cw_value_to_string(items[i], &text, &len, msg);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		cw_value_to_string(items[i], &text, &len, NULL);
		put_line(text, len);
	}
	cw_value_list_free(items);
	return rc;
}

static int get_any(const struct cw_value *v, struct cw_msg *msg)
{
	if (cw_value_type(v) == CW_VALUE_LIST || cw_value_type(v) == CW_VALUE_OBJECT)
		return print_value(v, CW_DUMP_JSON, CW_DUMP_MASK, msg);
	return get_string(v, msg);
}

static const struct {
	const char *name;
	int (*get)(const struct cw_value *v, struct cw_msg *msg);
} types[] = {
	{ "any", get_any },           { "string", get_string },           { "boolean", get_boolean },
	{ "int", get_int },           { "long", get_long },               { "double", get_double },
	{ "bytes", get_bytes },       { "duration-ms", get_duration_ms }, { "duration-ns", get_duration_ns },
	{ "period", get_period },     { "list-string", get_list },
};
#define TYPES (sizeof(types) / sizeof(types[0]))

static int cmd_get(int argc, char **argv)
{
	const char *path = NULL, *file = NULL;
	struct cw_conf_tree *tree = NULL;
	const struct cw_value *v = NULL;
	struct cw_msg msg = { "" };
	size_t type = 0;
	int rc;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--as") == 0 && i + 1 < argc) {
			i++;
			for (type = 1; type < TYPES && strcmp(types[type].name, argv[i]) != 0; type++)
				;
			if (type == TYPES)
				return bad_usage("no such type: ", argv[i]);
		} else if (argv[i][0] == '-' && argv[i][1] == '-') {
			return bad_usage("not understood: ", argv[i]);
		} else if (path == NULL) {
			path = argv[i];
		} else if (file == NULL) {
			file = argv[i];
		} else {
			return bad_usage("not understood: ", argv[i]);
		}
	}
	if (file == NULL)
		return bad_usage("PATH and FILE are needed", "");
	rc = parse(file, &tree, &msg);
	if (rc == 0)
		rc = cw_value_find(cw_conf_root(tree), path, &v, &msg);
	if (rc == 0) {
		rc = types[type].get(v, &msg);
		if (rc < 0)
			cw_msg_wrap(&msg, "%s", path);
	}
	cw_conf_tree_unref(tree);
	return rc < 0 ? complain(&msg) : 0;
}

int cw_cmd_config(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (strcmp(verb, "print") == 0)
		return cmd_print(argc - 1, argv + 1);
	if (strcmp(verb, "get") == 0)
		return cmd_get(argc - 1, argv + 1);
	if (strcmp(verb, "check") == 0 && cw_cmd_config_check != NULL)
		return cw_cmd_config_check(argc - 1, argv + 1);
	if (strcmp(verb, "reference") == 0 && cw_cmd_config_reference != NULL)
		return cw_cmd_config_reference(argc - 1, argv + 1);
	if (strcmp(verb, "--help") == 0 || strcmp(verb, "help") == 0) {
		fputs(usage, stdout);
		return 0;
	}
	return bad_usage(argc > 1 ? "no such word: " : "a word is missing", verb);
}
