/* Tables to structs: defaults, ranges, unknown keys, nested tables, secrets; the fields of plugins; the reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>

#include "conf/schema.h"
#include "conf_help.h"

struct limits {
	uint32_t connections;
	int64_t idle_ms;
	uint64_t bytes;
};

struct listener {
	const char *name;
	int transport;
	struct limits limits;
	const struct cw_value *settings;
	struct cw_origin origin;
};

struct upstream {
	const char *name;
	const char *endpoint;
};

struct app {
	const char *product_key;
	const char *secret;
	bool packs;
	double ratio;
	int16_t mode;
	struct cw_conf_strings order;
	struct cw_conf_list listeners;
	struct cw_conf_list upstreams;
};

static const char *const transports[] = { "tcp", "udp", "tls", NULL };

static const struct cw_conf_setting limits_settings[] = {
	CW_CONF(struct limits, connections, INT, "connections", "1000", "1", "4294967295", "Most connections at once."),
	CW_CONF(struct limits, idle_ms, DURATION, "idleTime", "10m", "1s", NULL, "Silence before a connection is closed."),
	CW_CONF(struct limits, bytes, BYTES, "journal.maxBytes", "512MiB", "1MiB", "1TiB", "Disk the journal may use."),
	CW_CONF_END,
};
static const struct cw_conf_table limits_table = { .name = "limits", .size = sizeof(struct limits), .settings = limits_settings };

static void check_listener(const void *conf, const struct cw_value *object, struct cw_conf_report *report)
{
	const struct listener *l = conf;

	if (l->transport == 2 && l->limits.connections > 5000)
		cw_conf_error_at(report, object, "TLS listeners take 5000 connections at most");
}

static const struct cw_conf_setting listener_settings[] = {
	CW_CONF_MUST(struct listener, name, STRING, "name", NULL, NULL, "A name for logs."),
	CW_CONF_CHOICE(struct listener, transport, "transport", transports, "tcp", "How devices connect."),
	CW_CONF_TABLES(struct listener, limits, TABLE, "limits", &limits_table, "Limits."),
	CW_CONF(struct listener, settings, ANY, "settings", NULL, NULL, NULL, "Settings of the protocol."),
	CW_CONF_SELF(struct listener, origin, ORIGIN),
	CW_CONF_END,
};
static const struct cw_conf_table listener_table = { .name = "listener", .size = sizeof(struct listener), .settings = listener_settings,
	                                             .check = check_listener };

static const struct cw_conf_setting upstream_settings[] = {
	CW_CONF_SELF(struct upstream, name, NAME),
	CW_CONF_MUST(struct upstream, endpoint, STRING, "endpoint", NULL, NULL, "Where to."),
	CW_CONF_END,
};
static const struct cw_conf_table upstream_table = { .name = "upstream", .size = sizeof(struct upstream), .settings = upstream_settings };

static const char *hint(const char *key)
{
	return strcmp(key, "isMultiGwMode") == 0 ? "the Java library reads it, but it has no effect" : NULL;
}

static const struct cw_conf_setting app_settings[] = {
	CW_CONF(struct app, product_key, STRING, "productKey", NULL, NULL, NULL, "Product of the bridge."),
	CW_CONF(struct app, secret, SECRET, "deviceSecret", NULL, NULL, NULL, "Secret of the bridge."),
	CW_CONF(struct app, packs, BOOL, "packs", "on", NULL, NULL, "Several posts in one."),
	CW_CONF(struct app, ratio, DOUBLE, "ratio", "0.5", "0", "1", "A share."),
	CW_CONF(struct app, mode, INT, "subDeviceConnectMode", "1", "1", "3", "3: large."),
	CW_CONF(struct app, order, STRINGS, "identity.order", "devices,sqlite", NULL, NULL, "Sources in order."),
	CW_CONF_TABLES(struct app, listeners, LIST, "listeners", &listener_table, "Where devices connect."),
	CW_CONF_TABLES(struct app, upstreams, MAP, "upstreams", &upstream_table, "Where records go."),
	CW_CONF_END,
};
static const struct cw_conf_table app_table = { .name = "application.conf", .size = sizeof(struct app), .settings = app_settings,
	                                        .unknown_hint = hint };

static int bind(const struct cw_conf_table *table, const char *text, struct cw_conf_report *report, struct app **ret_app)
{
	struct cw_conf_tree *tree = NULL;
	struct cw_msg msg = { "" };
	void *conf = NULL;
	int rc = cw_conf_parse_text("app.conf", text, strlen(text), NULL, &tree, &msg);

	if (rc < 0)
		return rc;
	rc = cw_conf_bind(table, tree, cw_conf_root(tree), report, &conf);
	cw_conf_tree_unref(tree);
	*ret_app = conf;
	return rc;
}

static void absent_settings_have_their_defaults(void **state)
{
	struct cw_conf_report report = { 0 };
	struct app *app = NULL;

	(void)state;
	assert_int_equal(bind(&app_table, "", &report, &app), 0);
	assert_null(app->product_key);
	assert_null(app->secret);
	assert_true(app->packs);
	assert_true(app->ratio > 0.49 && app->ratio < 0.51);
	assert_int_equal(app->mode, 1);
	assert_int_equal(app->order.count, 2);
	assert_string_equal(app->order.items[1], "sqlite");
	assert_int_equal(app->listeners.count, 0);
	assert_int_equal(report.errors + report.warnings, 0);
	cw_conf_free(app);
	cw_conf_report_fini(&report);
	assert_int_equal(cw_mem_live(), 0);
}

static void lists_maps_and_tables_become_structs(void **state)
{
	static const char text[] = "productKey = 1234, packs = no, subDeviceConnectMode = \"3\", identity.order = http\n"
		"listeners = [ { name = a, limits { connections = 4294967295, idleTime = 90s } }\n"
		"  { name = b, transport = udp, limits.journal.maxBytes = 2MiB, settings { x = 1 } } ]\n"
		"upstreams { cloud { endpoint = \"tcp://x\" }, \"lo.cal\" { endpoint = y } }";
	struct cw_conf_report report = { 0 };
	struct app *app = NULL;
	struct listener *l;

	(void)state;
	assert_int_equal(bind(&app_table, text, &report, &app), 0);
	assert_string_equal(app->product_key, "1234");
	assert_false(app->packs);
	assert_int_equal(app->mode, 3);
	assert_int_equal(app->order.count, 1);
	assert_string_equal(app->order.items[0], "http");
	assert_int_equal(app->listeners.count, 2);
	l = cw_conf_item(&app->listeners, struct listener, 0);
	assert_string_equal(l->name, "a");
	assert_int_equal(l->transport, 0);
	assert_true(l->limits.connections == 4294967295u);
	assert_int_equal(l->limits.idle_ms, 90000);
	assert_int_equal(l->limits.bytes, 536870912);
	assert_null(l->settings);
	l = cw_conf_item(&app->listeners, struct listener, 1);
	assert_int_equal(l->transport, 1);
	assert_int_equal(l->limits.bytes, 2097152);
	assert_int_equal(l->origin.line, 3);
	/* What ANY points to lives as long as the struct, although the tree was dropped. */
	assert_string_equal(cw_value_text(cw_value_get(l->settings, "x"), NULL), "1");
	assert_int_equal(app->upstreams.count, 2);
	assert_string_equal(cw_conf_item(&app->upstreams, struct upstream, 1)->name, "lo.cal");
	cw_conf_free(app);
	assert_int_equal(cw_mem_live(), 0);
}

static void every_complaint_is_collected_with_place_found_and_accepted(void **state)
{
	static const char text[] = "productKey = [1]\nlisteners = [ { nmae = a, transport = sctp, limits { conections = 5, idleTime = 10ms } } ]\n"
		"ratio = 1.5\nsubDeviceConnectMode = 2.5\nisMultiGwMode = true\nupstreams { cloud = 5, x { } }\ndeviceSecret = { a = 1 }\n"
		"identity { oder = x }\nlisteners.foo = 1\nzzz = 1";
	static const char *const want[] = {
		"app.conf:5:17: unknown setting \"isMultiGwMode\"; the Java library reads it, but it has no effect",
		"app.conf:8:19: unknown setting \"identity.oder\"; did you mean \"identity.order\"?",
		"unknown setting \"zzz\"; accepted are productKey, deviceSecret, packs, ratio, subDeviceConnectMode, identity, listeners, upstreams",
		"app.conf:1:14: productKey: found a list, accepted is a text",
		"app.conf:7:16: deviceSecret: found an object, accepted is a text",
		"app.conf:3:9: ratio: found \"1.5\", accepted is a number from 0 up to 1",
		"app.conf:4:24: subDeviceConnectMode: found \"2.5\", accepted is a whole number from 1 to 3",
		"app.conf:6:21: cloud: found \"5\", accepted is an object",
		"app.conf:6:26: endpoint is missing: Where to.",
	};
	struct cw_conf_report report = { 0 };
	struct cw_msg msg = { "" };
	struct app *app = NULL;

	(void)state;
	assert_int_equal(bind(&app_table, text, &report, &app), CW_ECONF);
	assert_null(app);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		size_t k = 0;

		while (k < report.kept && strstr(report.items[k].text, want[i]) == NULL)
			k++;
		if (k == report.kept) {
			for (k = 0; k < report.kept; k++)
				print_error("%s\n", report.items[k].text);
			fail_msg("missing: %s", want[i]);
		}
	}
	cw_conf_report_msg(&report, &msg);
	assert_non_null(strstr(msg.text, " more)"));
	cw_conf_report_fini(&report);
	assert_int_equal(cw_mem_live(), 0);
}

static void nested_tables_complain_too(void **state)
{
	static const char text[] = "listeners = [ { nmae = a, transport = sctp, limits { conections = 5, idleTime = 10ms, journal = 1 } }\n"
		"{ name = b, transport = tls, limits.connections = 6000 }\n{ name = \"\" } ]";
	static const char *const want[] = {
		"unknown setting \"nmae\"; did you mean \"name\"?",
		"name is missing: A name for logs.",
		"transport: found \"sctp\", accepted is one of tcp, udp, tls",
		"unknown setting \"conections\"; did you mean \"connections\"?",
		"idleTime: found \"10ms\", accepted is a duration such as 500ms, 10s, 5m from 1s",
		"journal: found \"1\", accepted is an object",
		"app.conf:2:1: TLS listeners take 5000 connections at most",
		"app.conf:3:10: name is empty",
	};
	struct cw_conf_report report = { 0 };
	struct app *app = NULL;

	(void)state;
	assert_int_equal(bind(&app_table, text, &report, &app), CW_ECONF);
	assert_int_equal(report.errors, sizeof(want) / sizeof(want[0]));
	for (size_t i = 0; i < report.kept; i++) {
		size_t k = 0;

		while (k < sizeof(want) / sizeof(want[0]) && strstr(report.items[i].text, want[k]) == NULL)
			k++;
		if (k == sizeof(want) / sizeof(want[0]))
			fail_msg("not expected: %s", report.items[i].text);
	}
	cw_conf_report_fini(&report);
}

/* Compared as a text it would be the setting before its NUL, and what lies behind that was read. */
static void a_key_with_a_nul_in_it_is_unknown(void **state)
{
	struct cw_conf_report report = { 0 };
	struct app *app = NULL;

	(void)state;
	assert_int_equal(bind(&app_table, "productKey = a, upstreams { }, \"ratio\\u0000ratioratioratio\" = 0.5", &report, &app), CW_ECONF);
	assert_non_null(strstr(report.items[0].text, "unknown setting \"ratio\""));
	cw_conf_report_fini(&report);
	assert_int_equal(cw_mem_live(), 0);
}

static void a_table_may_tolerate_unknown_keys(void **state)
{
	struct cw_conf_table tolerant = app_table;
	struct cw_conf_report report = { 0 };
	struct app *app = NULL;

	(void)state;
	tolerant.flags = CW_CONF_UNKNOWN_WARN;
	assert_int_equal(bind(&tolerant, "whatever = 1", &report, &app), 0);
	assert_int_equal(report.warnings, 1);
	assert_true(report.items[0].warning);
	assert_int_equal(strncmp(report.items[0].text, "app.conf:1:12: unknown setting \"whatever\", ignored", 50), 0);
	cw_conf_free(app);
	cw_conf_report_fini(&report);
	tolerant.flags = CW_CONF_UNKNOWN_IGNORE;
	assert_int_equal(bind(&tolerant, "whatever = 1", &report, &app), 0);
	assert_int_equal(report.warnings, 0);
	cw_conf_free(app);
	assert_int_equal(cw_mem_live(), 0);
}

static void a_secret_may_stand_in_a_file_and_is_never_shown(void **state)
{
	char dir[] = "/tmp/cw-schema-XXXXXX", text[200], path[100], *out = NULL;
	struct cw_conf_report report = { 0 };
	struct app *app = NULL;

	(void)state;
	assert_non_null(mkdtemp(dir));
	help_file(dir, "secret", "s3cr3t\nsecond line\n");
	snprintf(path, sizeof(path), "%s/secret", dir);
	assert_int_equal(chmod(path, 0644), 0);
	snprintf(text, sizeof(text), "deviceSecret = \"file:%s\"", path);
	assert_int_equal(bind(&app_table, text, &report, &app), 0);
	assert_string_equal(app->secret, "s3cr3t");
	assert_int_equal(report.warnings, 1);
	assert_non_null(strstr(report.items[0].text, "chmod o-r"));
	assert_int_equal(cw_dump_effective(&app_table, app, &out, NULL), 0);
	assert_null(strstr(out, "s3cr3t"));
	assert_non_null(strstr(out, "deviceSecret = \"***\""));
	cw_free(out);
	cw_conf_free(app);
	cw_conf_report_fini(&report);
	help_remove(dir, "secret");
	assert_int_equal(bind(&app_table, text, &report, &app), CW_ECONF);
	assert_non_null(strstr(report.items[0].text, "No such file"));
	cw_conf_report_fini(&report);
	rmdir(dir);
	assert_int_equal(cw_mem_live(), 0);
}

static void binding_survives_every_failing_allocation(void **state)
{
	static const char text[] = "deviceSecret = abc, identity.order = [a, b], listeners = [ { name = a, settings { x = 1 } } ], upstreams.c.endpoint = y, z = 1";
	struct cw_conf_table tolerant = app_table;
	struct cw_conf_tree *tree = NULL;
	long before;

	(void)state;
	tolerant.flags = CW_CONF_UNKNOWN_WARN;
	assert_int_equal(cw_conf_parse_text("t", text, strlen(text), NULL, &tree, NULL), 0);
	before = cw_mem_live();
	for (long nth = 0;; nth++) {
		struct cw_conf_report report = { 0 };
		void *conf = NULL;
		int rc, failed;

		cw_mem_fail_at(nth);
		rc = cw_conf_bind(&tolerant, tree, cw_conf_root(tree), &report, &conf);
		failed = cw_mem_failed();
		cw_mem_fail_at(-1);
		cw_conf_report_fini(&report);
		cw_conf_free(conf);
		assert_int_equal(cw_mem_live(), before);
		if (!failed) {
			assert_int_equal(rc, 0);
			break;
		}
		assert_int_equal(rc, CW_ENOMEM);
		assert_null(conf);
	}
	cw_conf_tree_unref(tree);
}

/* The fields of a plugin, written down in the order the sink hears of them. */
struct heard {
	char text[1024];
};

static int on_value(void *ctx, const struct cw_conf_field *f, const char *key, const struct cw_conf_typed *v)
{
	struct heard *h = ctx;
	size_t n = strlen(h->text);

	if (f->type == CW_FIELD_BOOL)
		snprintf(h->text + n, sizeof(h->text) - n, "%s=%d ", f->name, v->boolean);
	else if (v->text != NULL)
		snprintf(h->text + n, sizeof(h->text) - n, "%s%s%s=%.*s ", f->name, key == NULL ? "" : ".", key == NULL ? "" : key, (int)v->len, v->text);
	else
		snprintf(h->text + n, sizeof(h->text) - n, "%s=%lld ", f->name, (long long)v->integer);
	return 0;
}

static int on_begin(void *ctx, const struct cw_conf_field *f, const char *key, int element, size_t count)
{
	struct heard *h = ctx;
	size_t n = strlen(h->text);

	snprintf(h->text + n, sizeof(h->text) - n, "%s%s%s%s%zu ", element ? "" : f->name, key == NULL ? "" : key, element ? "<" : "(", "", count);
	return 0;
}

static int on_end(void *ctx, const struct cw_conf_field *f, int element)
{
	struct heard *h = ctx;

	(void)f;
	strcat(h->text, element ? "> " : ") ");
	return 0;
}

static const struct cw_conf_field unit_fields[] = {
	{ .name = "id", .type = CW_FIELD_INT, .min = "1", .max = "247", .help = "Unit." },
	{ .name = NULL },
};
static const struct cw_conf_field fields[] = {
	{ .name = "strict", .type = CW_FIELD_BOOL, .initial = "false", .help = "Refuse." },
	{ .name = "timeout", .type = CW_FIELD_DURATION, .initial = "3s", .min = "10ms", .max = "1m", .help = "Wait." },
	{ .name = "buffer", .type = CW_FIELD_BYTES, .initial = "4KiB", .help = "Room." },
	{ .name = "order", .type = CW_FIELD_ENUM, .initial = "big", .values = "big|little", .help = "Order." },
	{ .name = "zone", .type = CW_FIELD_STRING, .initial = "UTC", .help = "Zone." },
	{ .name = "factor", .type = CW_FIELD_DECIMAL, .initial = "0.10", .help = "Factor." },
	{ .name = "password", .type = CW_FIELD_SECRET, .initial = "", .scope = CW_SCOPE_DEVICE, .help = "Only for a device." },
	{ .name = "units", .type = CW_FIELD_LIST, .fields = unit_fields, .help = "Units." },
	{ .name = "names", .type = CW_FIELD_MAP, .help = "Names." },
	{ .name = NULL },
};

static int walk(const char *text, unsigned scope, struct heard *h, struct cw_conf_report *report)
{
	const struct cw_conf_sink sink = { .ctx = h, .value = on_value, .begin = on_begin, .end = on_end };
	struct cw_conf_tree *tree = NULL;
	int rc;

	h->text[0] = '\0';
	assert_int_equal(cw_conf_parse_text("t", text, strlen(text), NULL, &tree, NULL), 0);
	rc = cw_conf_fields(fields, scope, cw_conf_root(tree), &sink, report);
	cw_conf_tree_unref(tree);
	return rc;
}

static void plugin_fields_arrive_checked_and_complete(void **state)
{
	struct cw_conf_report report = { 0 };
	struct heard h;

	(void)state;
	assert_int_equal(walk("", CW_SCOPE_LISTENER, &h, &report), 0);
	assert_string_equal(h.text, "strict=0 timeout=3000 buffer=4096 order=big zone=UTC factor=0.10 password= units(0 ) names(0 ) ");
	assert_int_equal(walk("strict=yes, timeout=1s, order=little, units=[{id=1},{id=2}], names{a=x,b=y}", CW_SCOPE_LISTENER, &h, &report), 0);
	assert_string_equal(h.text, "strict=1 timeout=1000 buffer=4096 order=little zone=UTC factor=0.10 password= "
	                            "units(2 <1 id=1 > <1 id=2 > ) names(2 names.a=x names.b=y ) ");
	assert_int_equal(walk("password=x", CW_SCOPE_LISTENER, &h, &report), CW_ECONF);
	assert_string_equal(report.items[0].text, "t:1:10: password cannot be set here: Only for a device.");
	cw_conf_report_fini(&report);
	assert_int_equal(walk("timeout=2h, units=[{id=300},{}], oder=big", CW_SCOPE_LISTENER, &h, &report), CW_ECONF);
	assert_int_equal(report.errors, 4);
	cw_conf_report_fini(&report);
	assert_int_equal(cw_mem_live(), 0);
}

static void the_reference_names_type_default_range_and_meaning(void **state)
{
	char *out = NULL;

	(void)state;
	assert_int_equal(cw_dump_reference(&app_table, CW_REFERENCE_TEXT, &out, NULL), 0);
	assert_non_null(strstr(out, "listeners[].limits.idleTime\n    duration, default 10m, from 1s\n    Silence before a connection is closed.\n"));
	assert_non_null(strstr(out, "upstreams.NAME.endpoint\n    text, must be given\n"));
	assert_non_null(strstr(out, "listeners[].transport\n    word, default tcp, one of tcp, udp, tls\n"));
	cw_free(out);
	assert_int_equal(cw_dump_reference(&app_table, CW_REFERENCE_MARKDOWN, &out, NULL), 0);
	assert_non_null(strstr(out, "| `ratio` | number | `0.5` | 0 to 1 | A share. |\n"));
	cw_free(out);
	assert_int_equal(cw_dump_fields(fields, "protocols.x", CW_REFERENCE_HOCON, &out, NULL), 0);
	assert_non_null(strstr(out, "# Wait.\n# (duration, 10ms to 1m)\n# protocols.x.timeout = 3s\n"));
	cw_free(out);
	assert_int_equal(cw_mem_live(), 0);
}

static void a_dump_sorts_keys_and_hides_secrets_when_told(void **state)
{
	static const char text[] = "b=2\na { deviceSecret = x, tokens = [y, {z = 1}] }\nc = \"\"\nd = {}\n\"e f\" = [1.50]";
	struct cw_conf_tree *tree = NULL;
	char *out = NULL;

	(void)state;
	assert_int_equal(cw_conf_parse_text("t", text, strlen(text), NULL, &tree, NULL), 0);
	assert_int_equal(cw_dump_value(cw_conf_root(tree), CW_DUMP_JSON, CW_DUMP_MASK, &out, NULL), 0);
	assert_string_equal(out, "{\n  \"a\": {\n    \"deviceSecret\": \"***\",\n    \"tokens\": [\n      \"***\",\n      {\n        \"z\": \"***\"\n      }\n    ]\n  },\n"
	                         "  \"b\": 2,\n  \"c\": \"\",\n  \"d\": {},\n  \"e f\": [\n    1.50\n  ]\n}\n");
	cw_free(out);
	assert_int_equal(cw_dump_value(cw_conf_root(tree), CW_DUMP_HOCON, 0, &out, NULL), 0);
	assert_string_equal(out, "a {\n  deviceSecret = \"x\"\n  tokens = [\n    \"y\"\n    {\n      z = 1\n    }\n  ]\n}\n"
	                         "b = 2\nc = \"\"\nd {}\n\"e f\" = [\n  1.50\n]\n");
	cw_free(out);
	cw_conf_tree_unref(tree);
}

/* ---- variants ------------------------------------------------------------------- */

struct pigeon {
	int64_t rest_ms;
	const char *loft, *map;
};

struct post {
	const char *address;
	int way;
	const void *own;
};

static const char *const ways[] = { "foot", "pigeon", NULL };
static const struct cw_conf_setting pigeon_settings[] = {
	CW_CONF(struct pigeon, rest_ms, DURATION, "rest", "8s", "1s", "1h", "Between two flights."),
	CW_CONF(struct pigeon, loft, STRING, "loft.name", NULL, NULL, NULL, "Where it lives."),
	CW_CONF(struct pigeon, map, FILE, "map", NULL, NULL, NULL, "The way."),
	CW_CONF_END,
};
static void check_pigeon(const void *conf, const struct cw_value *object, struct cw_conf_report *report)
{
	if (((const struct pigeon *)conf)->loft == NULL)
		cw_conf_error_at(report, object, "a pigeon needs a loft");
}
static const struct cw_conf_table pigeon_table = { .name = "pigeon", .size = sizeof(struct pigeon), .settings = pigeon_settings,
	                                           .check = check_pigeon };
static const struct cw_conf_table *const way_tables[] = { NULL, &pigeon_table };
static const struct cw_conf_setting post_settings[] = {
	CW_CONF(struct post, address, STRING, "address", NULL, NULL, NULL, "To whom."),
	CW_CONF_CHOICE(struct post, way, "way", ways, "foot", "How."),
	CW_CONF_VARIANT(struct post, own, way_tables),
	CW_CONF_END,
};
static const struct cw_conf_table post_table = { .name = "post", .size = sizeof(struct post), .settings = post_settings };

static int bind_post(const char *text, struct post **ret, char *complaint, size_t size)
{
	struct cw_conf_tree *tree = NULL;
	struct cw_conf_report report = { 0 };
	struct cw_msg msg = { "" };
	void *conf = NULL;
	int rc;

	assert_int_equal(cw_conf_parse_text("t", text, strlen(text), NULL, &tree, &msg), 0);
	rc = cw_conf_bind(&post_table, tree, cw_conf_root(tree), &report, &conf);
	snprintf(complaint, size, "%s", report.kept > 0 ? report.items[0].text : "");
	cw_conf_report_fini(&report);
	cw_conf_tree_unref(tree);
	*ret = conf;
	return rc;
}

static void a_choice_brings_the_settings_of_its_own(void **state)
{
	const struct pigeon *own;
	struct post *post;
	char said[300], *text;
	size_t len;

	assert_int_equal(bind_post("address = x", &post, said, sizeof(said)), 0);
	assert_null(post->own);
	cw_conf_free(post);
	assert_int_equal(bind_post("address = x, way = pigeon, loft.name = roof", &post, said, sizeof(said)), 0);
	own = post->own;
	assert_int_equal(own->rest_ms, 8000);
	assert_string_equal(own->loft, "roof");
	assert_int_equal(cw_dump_effective(&post_table, post, &text, &len), 0);
	assert_non_null(strstr(text, "loft.name = \"roof\""));
	cw_free(text);
	cw_conf_free(post);
	/* Its keys are unknown to the other choice, and its checks and ranges count. */
	assert_int_equal(bind_post("way = foot, rest = 2s", &post, said, sizeof(said)), CW_ECONF);
	assert_non_null(strstr(said, "t:1:20: unknown setting \"rest\""));
	assert_int_equal(bind_post("way = pigeon", &post, said, sizeof(said)), CW_ECONF);
	assert_non_null(strstr(said, "needs a loft"));
	assert_int_equal(bind_post("way = pigeon, loft.name = a, rest = 2h", &post, said, sizeof(said)), CW_ECONF);
	assert_non_null(strstr(said, "rest"));
	assert_int_equal(bind_post("way = pigeon, loft.nam = a", &post, said, sizeof(said)), CW_ECONF);
	assert_int_equal(cw_dump_reference(&post_table, CW_REFERENCE_TEXT, &text, &len), 0);
	assert_non_null(strstr(text, "(way = pigeon).rest\n    duration, default 8s"));
	cw_free(text);
}

static void structs_are_the_same_when_they_say_the_same(void **state)
{
	static const char one[] = "address = x, way = pigeon, loft.name = roof, map = hills.pem, rest = 8s";
	static const char *const others[] = { "address = y, way = pigeon, loft.name = roof, map = hills.pem", "way = foot, address = x",
		                              "address = x, way = pigeon, loft.name = shed, map = hills.pem",
		                              "address = x, way = pigeon, loft.name = roof, map = sea.pem",
		                              "address = x, way = pigeon, loft.name = roof",
		                              "address = x, way = pigeon, loft.name = roof, map = hills.pem, rest = 9s" };
	struct post *a, *b;
	char said[300];
	size_t i;

	assert_int_equal(bind_post(one, &a, said, sizeof(said)), 0);
	assert_int_equal(bind_post("way = pigeon, map = hills.pem\nloft { name = roof }\naddress = x", &b, said, sizeof(said)), 0);
	assert_true(cw_conf_same(&post_table, a, b));
	cw_conf_free(b);
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		assert_int_equal(bind_post(others[i], &b, said, sizeof(said)), 0);
		assert_false(cw_conf_same(&post_table, a, b));
		cw_conf_free(b);
	}
	cw_conf_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(structs_are_the_same_when_they_say_the_same),
		cmocka_unit_test(absent_settings_have_their_defaults),
		cmocka_unit_test(lists_maps_and_tables_become_structs),
		cmocka_unit_test(every_complaint_is_collected_with_place_found_and_accepted),
		cmocka_unit_test(nested_tables_complain_too),
		cmocka_unit_test(a_choice_brings_the_settings_of_its_own),
		cmocka_unit_test(a_key_with_a_nul_in_it_is_unknown),
		cmocka_unit_test(a_table_may_tolerate_unknown_keys),
		cmocka_unit_test(a_secret_may_stand_in_a_file_and_is_never_shown),
		cmocka_unit_test(binding_survives_every_failing_allocation),
		cmocka_unit_test(plugin_fields_arrive_checked_and_complete),
		cmocka_unit_test(the_reference_names_type_default_range_and_meaning),
		cmocka_unit_test(a_dump_sorts_keys_and_hides_secrets_when_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
