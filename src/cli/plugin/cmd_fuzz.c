/* cmd_fuzz.c - `causeway plugin fuzz PATH.so`: what a hostile device could do to a decoder, looked for. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "cli/plugin/fuzz.h"
#include "cli/plugin/plugin.h"
#include "cli/show.h"
#include "fuzz/drive.h"

static const char usage[] =
	"usage: causeway plugin fuzz [OPTION]... PATH.so [SCRIPT|CAPTURE|FOLDER]...\n"
	"       causeway plugin fuzz --repro CASE [OPTION]... PATH.so\n"
	"\n"
	"Looks for bytes, commands, outcomes and timers that make a decoder crash, hang, leak, eat memory, read beyond what\n"
	"it was lent or break a rule of its host. Begins from wire scripts (.wire), captures (.hex .txt .pcap .pcapng .rec) and\n"
	"cases kept before (any other name). What is found is made small and written to a file. Exit status: 0 nothing found,\n"
	"1 something was, 2 wrong command line, 3 it could not be done.\n"
	"\n"
	"PATH.so alone is fuzzed as it is: no coverage guides it and no sanitizer looks, so it finds what is shallow. With the\n"
	"sources it is built with clang, coverage, AddressSanitizer and UBSan, and finds more. Both stop at a checksum that is\n"
	"wrong: a setting that does not check it, or FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION (defined with --source), helps.\n"
	"\n"
	"  --source DIR               the plugin's sources: *.c in DIR and DIR/src\n"
	"  --for SECONDS              how long (60)\n"
	"  --settings KEY=VALUE       the protocol's settings; may be repeated\n"
	"  --corpus DIR               with --source: keep cases there for the next time\n"
	"  --out DIR                  where a case that was found is written (.)\n"
	"  --timeout SECONDS          one case may take so long (5)\n"
	"  --memory MIB               and hold so much memory (256)\n"
	"  --seed N                   the same random numbers again\n"
	"  --cflags FLAGS, --clang PROGRAM   for --source\n"
	"  --repro CASE               run this case only and say what happens\n";

struct job {
	struct fuzzer f;
	char sets[8192], plugin[1100];
	size_t sets_len;
	const char *repro;
};

static int number(const char *text, unsigned long most, unsigned *ret)
{
	char *end;
	unsigned long n;
	size_t len = strlen(text);

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno != 0 || end == text || text[0] == '-' || n == 0 || n > most || (*end != '\0' && (*end != 's' || end != text + len - 1)))
		return -1;
	*ret = (unsigned)n;
	return 0;
}

static int parse_option(struct job *j, int opt)
{
	unsigned n;
	int len;

	switch (opt) {
	case 'S': j->f.source = optarg; return 0;
	case 'f': return number(optarg, 86400u * 30, &j->f.seconds);
	case 's':
		len = snprintf(j->sets + j->sets_len, sizeof(j->sets) - j->sets_len, "%s\n", optarg);
		if (len < 0 || (size_t)len >= sizeof(j->sets) - j->sets_len)
			return -1;
		j->sets_len += (size_t)len;
		return 0;
	case 'c': j->f.corpus_dir = optarg; return 0;
	case 'o': j->f.out_dir = optarg; return 0;
	case 't':
		if (number(optarg, 3600, &n) < 0)
			return -1;
		j->f.timeout_ms = n * 1000;
		return 0;
	case 'm': return number(optarg, 1u << 20, &j->f.memory_mib);
	case 'r':
		if (number(optarg, UINT32_MAX, &n) < 0)
			return -1;
		j->f.random = 0x9e3779b97f4a7c15u * n;
		return 0;
	case 'C': j->f.cflags = optarg; return 0;
	case 'L': j->f.clang = optarg; return 0;
	case 'R': j->repro = optarg; return 0;
	default: return -1;
	}
}

static const char *name_of_end(struct fuzz_end e, char text[80])
{
	if (e.kind == FUZZ_CRASH)
		(void)snprintf(text, 80, "the decoder ends the process: %s", strsignal(e.number));
	else if (e.kind == FUZZ_HANG)
		(void)snprintf(text, 80, "the decoder hangs");
	else
		(void)snprintf(text, 80, "the process ends with status %d", e.number);
	return text;
}

/* Write the case and say how it is run again. */
static int tell_found(struct job *j, uint8_t *one, size_t len, struct fuzz_end end)
{
	char path[1200], text[80];
	struct cw_msg msg = { "" };
	size_t before = len;
	struct fuzz_end (*try)(struct fuzzer *, struct cw_bytes, int) = j->f.source != NULL ? fuzz_once_built : fuzz_once;
	struct fuzz_end again = try(&j->f, cw_bytes_of(one, len), 0);

	if (again.kind == FUZZ_FINE || again.kind == FUZZ_UNABLE) {
		puts("Alone this case does no harm: an earlier one has damaged the memory, or the decoder keeps state between instances.");
	} else {
		end = again;
		len = fuzz_minimise(&j->f, one, len, end, try);
	}
	(void)snprintf(path, sizeof(path), "%s/%s-%08x.case", j->f.out_dir, j->f.desc->name, (unsigned)cw_hash_stable(one, len));
	if (cw_file_replace(path, cw_bytes_of(one, len), &msg) < 0) {
		fprintf(stderr, "causeway plugin fuzz: %s\n", msg.text);
		return 3;
	}
	printf("FOUND: %s\n%zu bytes of %zu are enough; what happens:\n", name_of_end(end, text), len, before);
	(void)fuzz_once(&j->f, cw_bytes_of(one, len), 1);
	printf("written to %s; again with:\n  causeway plugin fuzz --repro %s%s%s %s\n", path, path, j->f.source != NULL ? " --source " : "",
	       j->f.source != NULL ? j->f.source : "", j->f.path);
	return 1;
}

static int fuzz(struct job *j)
{
	uint8_t *one = cw_alloc(CW_FUZZ_CASE_MOST);
	struct fuzz_end end = { FUZZ_FINE, 0 };
	size_t len = 0;
	int rc;

	if (one == NULL)
		return 3;
	if (j->f.source == NULL)
		puts("This object has no coverage and no sanitizer in it: mutations are guided by what the decoder says, and only what\n"
		     "crashes, hangs, leaks or breaks a rule is found. --source DIR, the plugin's sources, finds more.");
	printf("%s %s, %zu cases to begin with, %zu words of the plugin, %u s\n", j->f.desc->name, j->f.desc->version, j->f.seeds.n,
	       j->f.tokens.n, j->f.seconds);
	fflush(stdout);
	rc = j->f.source != NULL ? fuzz_guided(&j->f, one, &len, &end) : fuzz_blind(&j->f, one, &len, &end);
	if (rc < 0 || end.kind == FUZZ_UNABLE)
		rc = 3;
	else if (end.kind == FUZZ_FINE)
		puts("nothing found");
	else
		rc = tell_found(j, one, len, end);
	cw_free(one);
	return rc;
}

static int repro(struct job *j)
{
	struct cw_msg msg = { "" };
	struct fuzz_end end;
	char *text, why[80];
	size_t len;

	if (cw_file_read(j->repro, CW_FUZZ_CASE_MOST, &text, &len, &msg) < 0) {
		fprintf(stderr, "causeway plugin fuzz: %s\n", msg.text);
		return 3;
	}
	end = fuzz_once(&j->f, cw_bytes_of(text, len), 1);
	if (j->f.source != NULL)
		end = fuzz_once_built(&j->f, cw_bytes_of(text, len), 1);
	cw_free(text);
	puts(end.kind == FUZZ_FINE ? "no harm is done" : name_of_end(end, why));
	return end.kind == FUZZ_FINE ? 0 : end.kind == FUZZ_UNABLE ? 3 : 1;
}

static int prepare(struct job *j, char **seeds, int count)
{
	struct cw_msg msg = { "" };
	struct stat st;
	int i, rc;

	/* dlopen() would look for a name without a slash in the system's folders. */
	(void)snprintf(j->plugin, sizeof(j->plugin), "%s%s", strchr(j->f.path, '/') == NULL ? "./" : "", j->f.path);
	j->f.path = j->plugin;
	rc = cw_plugin_find(j->f.path, NULL, &j->f.desc, &msg);
	if (rc == 0 && (stat(j->f.out_dir, &st) < 0 || !S_ISDIR(st.st_mode) || access(j->f.out_dir, W_OK) < 0))
		rc = cw_fail(&msg, CW_EINVAL, "%s is no folder that can be written", j->f.out_dir);
	if (rc == 0 && j->f.desc->decoder->settings != NULL)
		rc = cw_show_encoded_settings(j->f.desc, j->sets, cw_bytes_of(NULL, 0), &j->f.settings, &j->f.settings_len, &msg);
	for (i = 0; i < count && rc == 0; i++)
		rc = fuzz_read_seeds(&j->f, seeds[i], &msg);
	if (rc == 0)
		rc = fuzz_basic_seeds(&j->f);
	if (rc == 0 && j->f.source != NULL)
		rc = fuzz_build(&j->f, &msg);
	if (rc < 0)
		fprintf(stderr, "causeway plugin fuzz: %s\n", msg.text[0] != '\0' ? msg.text : cw_error_text(rc));
	return rc;
}

static int wrong(struct job *j)
{
	fputs(usage, stderr);
	cw_free(j);
	return 2;
}

int cw_plugin_fuzz(int argc, char **argv)
{
	static const struct option options[] = {
		{ "source", required_argument, NULL, 'S' }, { "for", required_argument, NULL, 'f' },
		{ "settings", required_argument, NULL, 's' }, { "set", required_argument, NULL, 's' },
		{ "corpus", required_argument, NULL, 'c' }, { "out", required_argument, NULL, 'o' },
		{ "timeout", required_argument, NULL, 't' }, { "memory", required_argument, NULL, 'm' },
		{ "seed", required_argument, NULL, 'r' }, { "cflags", required_argument, NULL, 'C' },
		{ "clang", required_argument, NULL, 'L' }, { "repro", required_argument, NULL, 'R' },
		{ "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 },
	};
	struct job *j = cw_zalloc(sizeof(*j));
	int opt, status;

	if (j == NULL)
		return 3;
	j->f.seconds = 60;
	j->f.timeout_ms = 5000;
	j->f.memory_mib = 256;
	j->f.out_dir = ".";
	j->f.clang = "clang";
	j->f.random = 0x9e3779b97f4a7c15u ^ (cw_clock_ns() | 1);
	while ((opt = getopt_long(argc, argv, "s:", options, NULL)) != -1) {
		if (opt == 'h') {
			fputs(usage, stdout);
			cw_free(j);
			return 0;
		}
		if (parse_option(j, opt) < 0)
			return wrong(j);
	}
	if (optind >= argc || (j->repro != NULL && optind + 1 != argc))
		return wrong(j);
	cw_log_setup(CW_LOG_ERROR, 0, 2);
	j->f.path = argv[optind];
	status = prepare(j, argv + optind + 1, argc - optind - 1) < 0 ? 3 : j->repro != NULL ? repro(j) : fuzz(j);
	fuzz_unbuild(&j->f);
	fuzz_drop(&j->f.seeds);
	fuzz_drop(&j->f.tokens);
	cw_free(j->f.settings);
	cw_free(j);
	return status;
}
