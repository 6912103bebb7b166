/*
 * cmd_decode.c - `causeway decode PROTOCOL`: frames in, one JSON object a frame out.
 *
 * Lines of hex are taken one by one (white space and 0x are passed over, # starts a
 * comment; one that begins with a colon is a frame of Modbus ASCII); a file that is no hex is one stream of bytes.
 */
#include "cli/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "capture/capture.h"
#include "cli/inspect.h"

#define FILE_MOST (256u << 20)

static int looks_like_hex(const uint8_t *data, size_t len)
{
	size_t i;

	for (i = 0; i < len && i < 4096; i++)
		if ((data[i] < 0x20 && data[i] != '\n' && data[i] != '\r' && data[i] != '\t') || data[i] >= 0x7f)
			return 0;
	return 1;
}

/* Hex digits behind a colon are a frame of Modbus ASCII as it stands on the wire, but for its line end. */
static long colon_line(const char *text, size_t len, uint8_t *out)
{
	while (len > 0 && (text[len - 1] == '\r' || text[len - 1] == ' '))
		len--;
	memcpy(out, text, len);
	memcpy(out + len, "\r\n", 2);
	return (long)len + 2;
}

static int decode_lines(struct cw_inspect *d, const char *text, size_t len, int *bad)
{
	size_t start = 0, number = 0;

	while (start < len) {
		const char *nl = memchr(text + start, '\n', len - start);
		size_t n = nl == NULL ? len - start : (size_t)(nl - (text + start));
		uint8_t *bytes = cw_alloc(n + 3);
		long got = bytes == NULL ? -2 : text[start] == ':' ? colon_line(text + start, n, bytes) : cw_capture_hex(text + start, n, bytes);

		number++;
		if (got == -1) {
			fprintf(stderr, "causeway decode: line %zu is no hex; text protocols too are given in hex\n", number);
			++*bad;
		} else if (got > 0) {
			if (cw_inspect_feed(d, cw_bytes_of(bytes, (size_t)got)) == 0)
				cw_inspect_end(d, cw_bytes_of(bytes, (size_t)got));
			else
				got = -2;
		}
		cw_free(bytes);
		if (got == -2)
			return CW_ENOMEM;
		start += n + 1;
	}
	return 0;
}

static int read_all(const char *name, uint8_t **ret_data, size_t *ret_len)
{
	FILE *f = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
	uint8_t *data = NULL;
	size_t len = 0, size = 0, n;

	if (f == NULL)
		return CW_ENOENT;
	do {
		if (len + 65536 > size) {
			uint8_t *grown = cw_realloc(data, size * 2 + 131072);

			if (grown == NULL)
				break;
			data = grown;
			size = size * 2 + 131072;
		}
		n = fread(data + len, 1, 65536, f);
		len += n;
	} while (n > 0 && len < FILE_MOST);
	if (f != stdin)
		fclose(f);
	*ret_data = data;
	*ret_len = len;
	return data == NULL ? CW_ENOMEM : 0;
}

static void on_object(void *arg, const char *json, size_t len, int ok)
{
	fwrite(json, 1, len, stdout);
	fputc('\n', stdout);
	if (!ok)
		++*(int *)arg;
}

static int run(const char *protocol, const char *plugin_dir, const char *sets, const char *file, struct cw_msg *msg)
{
	struct cw_inspect *d;
	uint8_t *data = NULL;
	size_t len = 0;
	int bad = 0, rc = cw_inspect_open(protocol, plugin_dir, sets, on_object, &bad, &d, msg);

	if (rc < 0)
		return rc;
	rc = read_all(file, &data, &len);
	if (rc < 0) {
		(void)cw_fail(msg, rc, "cannot read %s", file);
	} else if (looks_like_hex(data, len)) {
		rc = decode_lines(d, (const char *)data, len, &bad);
	} else {
		rc = cw_inspect_feed(d, cw_bytes_of(data, len));
		cw_inspect_end(d, cw_bytes_of(data, len));
	}
	cw_inspect_close(d);
	cw_free(data);
	return rc == 0 && bad > 0 ? 1 : rc;
}

static const char usage[] =
	"usage: causeway decode [--plugin-dir DIR] [--set KEY=VALUE]... PROTOCOL [FILE|-]\n"
	"\n"
	"Reads lines of hex, each one or more whole frames, or a binary capture (a file with bytes that are not\n"
	"printable text), and prints one JSON object a frame:\n"
	"frame, ok, error { code, text }, header, fields, records, replies. Exit status 1 when a\n"
	"frame was refused. PROTOCOL is the name of a plugin in --plugin-dir (default: as causewayd\n"
	"looks for them), or the path of a plugin's .so. --set is a protocol setting, as in --set strict=true.\n";

int cw_cmd_decode(int argc, char **argv)
{
	static const struct option options[] = {
		{ "set", required_argument, NULL, 's' },
		{ "plugin-dir", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct cw_msg msg = { "" };
	char sets[8192] = "";
	const char *plugin_dir = NULL;
	size_t used = 0;
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "s:p:h", options, NULL)) != -1) {
		switch (opt) {
		case 's':
			if (used + strlen(optarg) + 2 >= sizeof(sets))
				return 2;
			used += (size_t)snprintf(sets + used, sizeof(sets) - used, "%s\n", optarg);
			break;
		case 'p': plugin_dir = optarg; break;
		case 'h': fputs(usage, stdout); return 0;
		default: fputs(usage, stderr); return 2;
		}
	}
	if (optind >= argc || optind + 2 < argc) {
		fputs(usage, stderr);
		return 2;
	}
	cw_log_setup(CW_LOG_ERROR, 0, 2);
	rc = run(argv[optind], plugin_dir, sets, optind + 1 < argc ? argv[optind + 1] : "-", &msg);
	if (rc < 0)
		fprintf(stderr, "causeway decode: %s\n", msg.text[0] != '\0' ? msg.text : cw_error_text(rc));
	return rc == 0 ? 0 : 1;
}
