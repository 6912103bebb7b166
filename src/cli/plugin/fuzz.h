/*
 * fuzz.h - `causeway plugin fuzz` in parts: seeds and mutations (fuzz_cases.c), a plugin as it is in child processes
 * (fuzz_blind.c), an author's sources with sanitizers (fuzz_source.c), a case made small (fuzz_small.c). One thread.
 */
#ifndef CW_CLI_PLUGIN_FUZZ_H
#define CW_CLI_PLUGIN_FUZZ_H

#include "base/err.h"
#include "causeway/plugin.h"

struct fuzz_cases {
	struct cw_bytes *v; /* each owned */
	size_t n, size;
};

struct fuzzer {
	const char *path;   /* of the plugin */
	const char *source; /* folder with the author's sources, or NULL */
	const char *out_dir, *corpus_dir; /* corpus_dir NULL: cases are not kept */
	const char *clang, *cflags;
	const struct cw_plugin_desc *desc;
	uint8_t *settings;  /* encoded */
	size_t settings_len;
	struct fuzz_cases seeds, tokens;
	unsigned seconds, timeout_ms, memory_mib;
	uint64_t random;
	char binary[300];   /* fuzz_source.c: what was built */
};

/* How a case ended. */
enum { FUZZ_FINE, FUZZ_CRASH, FUZZ_HANG, FUZZ_EXIT, FUZZ_UNABLE };

struct fuzz_end {
	int kind, number; /* number: signal or exit status */
};

/* fuzz_cases.c */
int fuzz_add(struct fuzz_cases *c, const void *ptr, size_t len);
void fuzz_drop(struct fuzz_cases *c);
uint32_t fuzz_random(struct fuzzer *f, uint32_t below);
/* A part behind a case in out[CW_FUZZ_CASE_MOST]; one that does not fit is left out. */
void fuzz_put_part(uint8_t *out, size_t *len, unsigned what, struct cw_bytes bytes);
/* Wire scripts, captures of any kind, cases by their bytes; of a folder all files. Errors carry a sentence. */
int fuzz_read_seeds(struct fuzzer *f, const char *path, struct cw_msg *msg);
/* What there is to begin with without any, and the words in the plugin's constant data. */
int fuzz_basic_seeds(struct fuzzer *f);
/* Another case out of those in `all`, into out[CW_FUZZ_CASE_MOST]; its length. */
size_t fuzz_mutate(struct fuzzer *f, const struct fuzz_cases *all, uint8_t *out);

/* fuzz_blind.c */
int fuzz_blind(struct fuzzer *f, uint8_t *out, size_t *ret_len, struct fuzz_end *ret_end);
/* One case in a child; `aloud`: with everything that happens on stdout, and the plugin's own stderr. */
struct fuzz_end fuzz_once(struct fuzzer *f, struct cw_bytes one, int aloud);

/* fuzz_source.c */
int fuzz_build(struct fuzzer *f, struct cw_msg *msg);
int fuzz_guided(struct fuzzer *f, uint8_t *out, size_t *ret_len, struct fuzz_end *ret_end);
struct fuzz_end fuzz_once_built(struct fuzzer *f, struct cw_bytes one, int aloud);
void fuzz_unbuild(struct fuzzer *f);

/* fuzz_small.c: shorter while `try` still ends the same way; in place. */
size_t fuzz_minimise(struct fuzzer *f, uint8_t *one, size_t len, struct fuzz_end end,
                     struct fuzz_end (*try)(struct fuzzer *f, struct cw_bytes one, int aloud));

/* A child, waited for so long: how it ended; `fine` is the exit status of one that found nothing. */
struct fuzz_end fuzz_wait(long pid, unsigned timeout_ms, int fine);

#endif
