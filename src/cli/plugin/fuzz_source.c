/*
 * fuzz_source.c - an author's sources, built with libFuzzer, AddressSanitizer and UBSan around the driver of fuzz/drive.c,
 * which is embedded in this program: clang is all that is needed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/plugin/fuzz.h"
#include "cli/plugin/fuzz_embedded.h"
#include "fuzz/drive.h"

#define ARGS_MOST 400
#define LOG_LINES 60

struct args {
	char *v[ARGS_MOST + 1]; /* owned */
	size_t n;
	int failed;
};

static void add(struct args *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct args *a, const char *fmt, ...)
{
	char text[1500];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (a->n == ARGS_MOST || (a->v[a->n] = cw_strdup(text)) == NULL)
		a->failed = 1;
	else
		a->n++;
}

static void drop(struct args *a)
{
	while (a->n > 0)
		cw_free(a->v[--a->n]);
}

/* Start a program; its output to `log` (NULL: as ours). The process id, or -1. */
static pid_t start(const struct args *a, const char *log)
{
	pid_t pid;
	int fd;

	fflush(NULL);
	pid = fork();
	if (pid != 0)
		return pid;
	if (log != NULL) {
		fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
		if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
			_exit(127);
	}
	execvp(a->v[0], a->v);
	fprintf(stderr, "causeway plugin fuzz: cannot run %s: %s\n", a->v[0], strerror(errno));
	_exit(127);
}

static int finish(pid_t pid)
{
	int status;

	if (pid < 0)
		return -1;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- building ---------------------------------------------------------------------------- */

static int write_text(const struct fuzzer *f, const char *name, const void *bytes, size_t len, struct cw_msg *msg)
{
	char path[400];

	(void)snprintf(path, sizeof(path), "%s/%s", f->binary, name);
	return cw_file_replace(path, cw_bytes_of(bytes, len), msg);
}

/* The settings as a list of numbers of C; a last 0 is not part of them. */
static int write_settings(const struct fuzzer *f, struct cw_msg *msg)
{
	char *text = cw_alloc(f->settings_len * 5 + 3);
	size_t i, n = 0;
	int rc;

	if (text == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	for (i = 0; i < f->settings_len; i++)
		n += (size_t)sprintf(text + n, "%u,", f->settings[i]);
	text[n++] = '0';
	rc = write_text(f, "fuzz_settings.h", text, n, msg);
	cw_free(text);
	return rc;
}

/* A program or fuzz target of the author's own is no part of the plugin. */
static int is_program(const char *path)
{
	struct cw_msg msg;
	char *text;
	size_t len;
	int is;

	if (cw_file_read(path, 64u << 20, &text, &len, &msg) < 0)
		return 1;
	is = strstr(text, "LLVMFuzzerTestOneInput") != NULL || strstr(text, "int main(") != NULL;
	cw_free(text);
	return is;
}

static size_t add_sources(struct args *a, const char *dir)
{
	DIR *at = opendir(dir);
	struct dirent *e;
	char path[1300];
	size_t n = 0;

	while (at != NULL && (e = readdir(at)) != NULL) {
		size_t len = strlen(e->d_name);

		if (len < 3 || strcmp(e->d_name + len - 2, ".c") != 0)
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (is_program(path))
			continue;
		add(a, "%s", path);
		n++;
	}
	if (at != NULL)
		closedir(at);
	return n;
}

/* The folder that has causeway/plugin.h: installed beside this program, of the tree it was built in, or the compiler's own. */
static void add_headers(struct args *a)
{
	static const char *const places[] = { "../include", "../../include", "../../../include" };
	char exe[512], path[600];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	size_t i;

	exe[n > 0 ? n : 0] = '\0';
	if (strrchr(exe, '/') != NULL)
		*strrchr(exe, '/') = '\0';
	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s/causeway/plugin.h", exe, places[i]);
		if (access(path, R_OK) != 0)
			continue;
		add(a, "-I%s/%s", exe, places[i]);
		return;
	}
}

static void add_words(struct args *a, const char *words)
{
	size_t n;

	for (; words != NULL && *(words += strspn(words, " ")) != '\0'; words += n) {
		n = strcspn(words, " ");
		add(a, "%.*s", (int)n, words);
	}
}

static int compile(struct fuzzer *f, struct cw_msg *msg)
{
	struct args a = { .n = 0 };
	char sub[1200];
	size_t sources;
	int rc;

	add(&a, "%s", f->clang);
	add_words(&a, "-g -O1 -std=gnu11 -fno-omit-frame-pointer -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined "
	              "-D_GNU_SOURCE -DCW_FUZZ_LIBFUZZER -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION");
	add(&a, "-I%s", f->binary);
	add_headers(&a);
	add(&a, "-I%s", f->source);
	(void)snprintf(sub, sizeof(sub), "%s/src", f->source);
	add(&a, "-I%s", sub);
	add_words(&a, f->cflags);
	add(&a, "-o");
	add(&a, "%s/fuzz", f->binary);
	add(&a, "%s/drive.c", f->binary);
	add(&a, "%s/drive_host.c", f->binary);
	sources = add_sources(&a, f->source) + add_sources(&a, sub);
	if (sources == 0)
		rc = cw_fail(msg, CW_ENOENT, "%s has no .c file that could be the plugin's", f->source);
	else if (a.failed)
		rc = cw_fail(msg, CW_ELIMIT, "more than %d sources and flags", ARGS_MOST);
	else if (finish(start(&a, NULL)) != 0)
		rc = cw_fail(msg, CW_EINVAL, "%s does not build %s; clang and its compiler-rt (Debian: clang, libclang-rt-dev) are needed, "
		             "--cflags adds what the sources want", f->clang, f->source);
	else
		rc = 0;
	drop(&a);
	return rc;
}

int fuzz_build(struct fuzzer *f, struct cw_msg *msg)
{
	const char *tmp = getenv("TMPDIR");
	char path[400];
	int rc;

	(void)snprintf(f->binary, sizeof(f->binary), "%.200s/causeway-fuzz-XXXXXX", tmp == NULL ? "/tmp" : tmp);
	if (mkdtemp(f->binary) == NULL) {
		rc = cw_fail(msg, CW_EINVAL, "cannot make a folder %s: %s", f->binary, strerror(errno));
		f->binary[0] = '\0';
		return rc;
	}
	(void)snprintf(path, sizeof(path), "%s/corpus", f->binary);
	rc = mkdir(path, 0700) < 0 ? cw_fail(msg, CW_EINVAL, "cannot make %s", path) : 0;
	if (rc == 0)
		rc = write_text(f, "drive.c", cw_fuzz_drive_c, cw_fuzz_drive_c_len, msg);
	if (rc == 0)
		rc = write_text(f, "drive.h", cw_fuzz_drive_h, cw_fuzz_drive_h_len, msg);
	if (rc == 0)
		rc = write_text(f, "drive_host.c", cw_fuzz_drive_host_c, cw_fuzz_drive_host_c_len, msg);
	if (rc == 0)
		rc = write_text(f, "drive_impl.h", cw_fuzz_drive_impl_h, cw_fuzz_drive_impl_h_len, msg);
	if (rc == 0)
		rc = write_settings(f, msg);
	return rc < 0 ? rc : compile(f, msg);
}

static void empty_folder(const char *path)
{
	DIR *at = opendir(path);
	struct dirent *e;

	while (at != NULL && (e = readdir(at)) != NULL)
		if (e->d_name[0] != '.')
			(void)unlinkat(dirfd(at), e->d_name, 0);
	if (at != NULL)
		closedir(at);
	(void)rmdir(path);
}

void fuzz_unbuild(struct fuzzer *f)
{
	char path[400];

	if (f->binary[0] == '\0')
		return;
	(void)snprintf(path, sizeof(path), "%s/corpus", f->binary);
	empty_folder(path);
	empty_folder(f->binary);
	f->binary[0] = '\0';
}

/* ---- running ---------------------------------------------------------------------------------- */

static int write_seeds(const struct fuzzer *f, struct cw_msg *msg)
{
	char name[40], *text = NULL;
	size_t i, k, len = 0;
	int rc = 0;
	FILE *dict;

	for (i = 0; i < f->seeds.n && rc == 0; i++) {
		(void)snprintf(name, sizeof(name), "corpus/seed-%zu", i);
		rc = write_text(f, name, f->seeds.v[i].ptr, f->seeds.v[i].len, msg);
	}
	dict = rc < 0 ? NULL : open_memstream(&text, &len);
	if (dict == NULL)
		return rc;
	for (i = 0; i < f->tokens.n; i++) {
		fputc('"', dict);
		for (k = 0; k < f->tokens.v[i].len; k++)
			fprintf(dict, "\\x%02x", f->tokens.v[i].ptr[k]);
		fputs("\"\n", dict);
	}
	if (fclose(dict) == 0)
		rc = write_text(f, "words", text, len, msg);
	free(text);
	return rc;
}

/* The report of a sanitizer or of the driver, out of libFuzzer's log. */
static void print_report(const struct fuzzer *f)
{
	char path[400], line[1000];
	FILE *log;
	int lines = 0;

	(void)snprintf(path, sizeof(path), "%s/log", f->binary);
	log = fopen(path, "re");
	while (log != NULL && lines < LOG_LINES && fgets(line, sizeof(line), log) != NULL) {
		if (lines == 0 && strstr(line, "ERROR: ") == NULL && strstr(line, "a rule is broken") == NULL &&
		    strstr(line, "runtime error:") == NULL)
			continue;
		fputs(line, stdout);
		lines++;
	}
	if (log != NULL)
		fclose(log);
}

static void add_limits(const struct fuzzer *f, struct args *a)
{
	add(a, "%s/fuzz", f->binary);
	add(a, "-timeout=%u", (f->timeout_ms + 999) / 1000);
	add(a, "-rss_limit_mb=%u", f->memory_mib);
}

struct fuzz_end fuzz_once_built(struct fuzzer *f, struct cw_bytes one, int aloud)
{
	struct cw_msg msg;
	struct args a = { .n = 0 };
	struct fuzz_end end = { FUZZ_UNABLE, 0 };
	pid_t pid;

	if (write_text(f, "one", one.ptr, one.len, &msg) < 0)
		return end;
	add_limits(f, &a);
	add(&a, "%s/one", f->binary);
	pid = a.failed ? -1 : start(&a, aloud ? NULL : "/dev/null");
	if (pid > 0)
		end = fuzz_wait(pid, f->timeout_ms + 10000, 0);
	drop(&a);
	return end;
}

int fuzz_guided(struct fuzzer *f, uint8_t *out, size_t *ret_len, struct fuzz_end *ret_end)
{
	struct args a = { .n = 0 };
	struct cw_msg msg = { "" };
	char found[400], log[400], *text;
	int status, rc = write_seeds(f, &msg);

	if (rc < 0) {
		fprintf(stderr, "causeway plugin fuzz: %s\n", msg.text);
		return rc;
	}
	(void)snprintf(found, sizeof(found), "%s/found", f->binary);
	(void)snprintf(log, sizeof(log), "%s/log", f->binary);
	add_limits(f, &a);
	add(&a, "-max_total_time=%u", f->seconds);
	add(&a, "-max_len=%u", CW_FUZZ_CASE_MOST);
	add(&a, "-seed=%u", (unsigned)f->random);
	add(&a, "-dict=%s/words", f->binary);
	add(&a, "-exact_artifact_path=%s", found);
	if (f->corpus_dir != NULL)
		add(&a, "%s", f->corpus_dir);
	add(&a, "%s/corpus", f->binary);
	status = a.failed ? -1 : finish(start(&a, log));
	drop(&a);
	*ret_end = (struct fuzz_end){ FUZZ_FINE, 0 };
	*ret_len = 0;
	if (status == 0)
		return 0;
	print_report(f);
	rc = cw_file_read(found, CW_FUZZ_CASE_MOST, &text, ret_len, &msg);
	if (rc < 0) {
		fprintf(stderr, "causeway plugin fuzz: libFuzzer ended with %d and left no case; its log:\n", status);
		(void)cw_file_read(log, 1u << 20, &text, ret_len, &msg);
		fprintf(stderr, "%s\n", msg.text[0] != '\0' ? "" : text);
		return rc;
	}
	memcpy(out, text, *ret_len);
	cw_free(text);
	*ret_end = fuzz_once_built(f, cw_bytes_of(out, *ret_len), 0); /* the same status as when it is made small */
	if (ret_end->kind == FUZZ_FINE)
		*ret_end = (struct fuzz_end){ FUZZ_EXIT, status };
	return 0;
}
