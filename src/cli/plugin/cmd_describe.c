/* cmd_describe.c - `causeway plugin describe`: what a plugin says about itself, for people or as JSON. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "cli/plugin/plugin.h"
#include "conf/dump.h"
#include "json/json.h"

#define JSON_MOST (16u << 20)

static const struct {
	uint32_t bit;
	const char *word, *text;
} caps[] = {
	{ CW_CAP_DOWNLINK, "downlink", "takes commands" },
	{ CW_CAP_MULTI_DEVICE, "multiDevice", "several devices may speak through one connection" },
	{ CW_CAP_KEEP_OLDER, "keepOlder",
	  "a second connection of a device is refused; it does not supersede the first" },
	{ CW_CAP_DATAGRAM, "datagram", "may be used over UDP" },
	{ CW_CAP_SHARED, "shared", "several connections may speak for one device" },
};
#define CAPS (sizeof(caps) / sizeof(caps[0]))

static const struct {
	uint32_t bit;
	const char *word;
} scopes[] = {
	{ CW_SCOPE_PROTOCOL, "protocol" },
	{ CW_SCOPE_LISTENER, "listener" },
	{ CW_SCOPE_PRODUCT, "product" },
	{ CW_SCOPE_DEVICE, "device" },
};

/* ---- for people -------------------------------------------------------------------------- */

static int print_settings(const struct cw_plugin_desc *d)
{
	char prefix[64], *text;
	size_t len;
	int rc;

	if (d->conf == NULL) {
		puts("\nIt has no settings.");
		return 0;
	}
	(void)snprintf(prefix, sizeof(prefix), "protocols.%s", d->name);
	rc = cw_dump_fields(d->conf, prefix, CW_REFERENCE_TEXT, &text, &len);
	if (rc < 0)
		return rc;
	puts("\nSettings (of the protocol as written here, or in settings {} of a listener, connection, product or "
	     "device)\n");
	fwrite(text, 1, len, stdout);
	cw_free(text);
	return 0;
}

static int print_text(const struct cw_plugin_desc *d)
{
	size_t i;

	printf("%s %s%s%s\n\n", d->name, d->version, d->summary == NULL ? "" : ": ",
	       d->summary == NULL ? "" : d->summary);
	printf("ABI            %u.%u (this causeway speaks %u.%u)\n", d->abi >> 16, d->abi & 0xffffu, CW_ABI_MAJOR,
	       CW_ABI_MINOR);
	printf("longest frame  %u bytes\n", d->max_frame);
	if (d->caps & CW_CAP_DOWNLINK)
		printf("commands       %u at once for a device\n", d->max_outstanding == 0 ? 1 : d->max_outstanding);
	if (d->dedup_window_s > 0)
		printf("duplicates     recognised for %u seconds\n", d->dedup_window_s);
	else
		puts("duplicates     recognised until a record is settled, where the decoder gives keys");
	if (d->caps == 0)
		puts("capabilities   none: one device a connection, over streams, takes no commands");
	for (i = 0; i < CAPS; i++)
		if (d->caps & caps[i].bit)
			printf("capability     %s: %s\n", caps[i].word, caps[i].text);
	for (i = 0; d->counters != NULL && d->counters[i].name != NULL; i++)
		printf("%splugin.%s.%s\n    %s\n", i == 0 ? "\nCounters\n\n" : "", d->name, d->counters[i].name,
		       d->counters[i].help == NULL ? "" : d->counters[i].help);
	return print_settings(d);
}

/* ---- for programs ------------------------------------------------------------------------- */

static void put_optional(struct cw_json *j, const char *key, const char *text)
{
	if (text != NULL)
		cw_json_field(j, key, text);
}

static void put_number(struct cw_json *j, const char *key, uint64_t v)
{
	cw_json_text(j, key);
	cw_json_uint(j, v);
}

static void put_values(struct cw_json *j, const char *values)
{
	size_t n;

	cw_json_text(j, "values");
	cw_json_array(j);
	for (; *values != '\0'; values += n + (values[n] == '|')) {
		n = strcspn(values, "|");
		cw_json_textn(j, cw_bytes_of(values, n));
	}
	cw_json_end_array(j);
}

static void put_fields(struct cw_json *j, const struct cw_conf_field *f)
{
	size_t i;

	cw_json_array(j);
	for (; f->name != NULL; f++) {
		uint32_t scope = f->scope == 0 ? CW_SCOPE_ANY : f->scope;

		cw_json_map(j);
		cw_json_field(j, "name", f->name);
		cw_json_field(j, "type", cw_conf_field_type(f->type));
		put_optional(j, "default", f->initial);
		put_optional(j, "min", f->min);
		put_optional(j, "max", f->max);
		if (f->values != NULL)
			put_values(j, f->values);
		cw_json_text(j, "scope");
		cw_json_array(j);
		for (i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++)
			if (scope & scopes[i].bit)
				cw_json_text(j, scopes[i].word);
		cw_json_end_array(j);
		put_optional(j, "help", f->help);
		if (f->fields != NULL) {
			cw_json_text(j, "fields");
			put_fields(j, f->fields);
		}
		cw_json_end_map(j);
	}
	cw_json_end_array(j);
}

static int print_json(const struct cw_plugin_desc *d)
{
	static const struct cw_conf_field none = { .name = NULL };
	char abi[24], *text;
	struct cw_json j;
	size_t i, len;
	int rc;

	(void)snprintf(abi, sizeof(abi), "%u.%u", d->abi >> 16, d->abi & 0xffffu);
	cw_json_begin(&j, JSON_MOST);
	cw_json_map(&j);
	cw_json_field(&j, "name", d->name);
	cw_json_field(&j, "version", d->version);
	put_optional(&j, "summary", d->summary);
	cw_json_field(&j, "abi", abi);
	put_number(&j, "maxFrame", d->max_frame);
	put_number(&j, "maxOutstanding", d->max_outstanding == 0 ? 1 : d->max_outstanding);
	put_number(&j, "dedupWindow", d->dedup_window_s);
	cw_json_text(&j, "capabilities");
	cw_json_array(&j);
	for (i = 0; i < CAPS; i++)
		if (d->caps & caps[i].bit)
			cw_json_text(&j, caps[i].word);
	cw_json_end_array(&j);
	cw_json_text(&j, "counters");
	cw_json_array(&j);
	for (i = 0; d->counters != NULL && d->counters[i].name != NULL; i++) {
		cw_json_map(&j);
		cw_json_field(&j, "name", d->counters[i].name);
		put_optional(&j, "help", d->counters[i].help);
		cw_json_end_map(&j);
	}
	cw_json_end_array(&j);
	cw_json_text(&j, "settings");
	put_fields(&j, d->conf == NULL ? &none : d->conf);
	cw_json_end_map(&j);
	rc = cw_json_finish(&j, &text, &len);
	if (rc < 0)
		return rc;
	puts(text);
	cw_free(text);
	return 0;
}

static const char usage[] =
	"usage: causeway plugin describe [--json] [--plugin-dir DIR] PLUGIN\n"
	"\n"
	"What a plugin says about itself: name, version, ABI, capabilities, longest frame, counters and settings\n"
	"with type, default, range, scope and meaning. PLUGIN is the path of a .so, or a protocol in --plugin-dir\n"
	"(default: as causewayd looks for them). Exit status: 0; 1 when it cannot be loaded, with the reason; 2.\n";

int cw_plugin_describe(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "plugin-dir", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const struct cw_plugin_desc *desc;
	const char *dir = NULL;
	struct cw_msg msg = { "" };
	int opt, json = 0, rc;

	optind = 1;
	while ((opt = getopt_long(argc, argv, "jp:h", options, NULL)) != -1) {
		switch (opt) {
		case 'j': json = 1; break;
		case 'p': dir = optarg; break;
		case 'h': fputs(usage, stdout); return 0;
		default: fputs(usage, stderr); return 2;
		}
	}
	if (optind + 1 != argc) {
		fputs(usage, stderr);
		return 2;
	}
	cw_log_setup(CW_LOG_ERROR, 0, 2);
	rc = cw_plugin_find(argv[optind], dir, &desc, &msg);
	if (rc == 0)
		rc = json ? print_json(desc) : print_text(desc);
	if (rc < 0)
		fprintf(stderr, "causeway plugin describe: %s\n", msg.text[0] != '\0' ? msg.text : cw_error_text(rc));
	return rc == 0 ? 0 : 1;
}
