/*
 * log.h - structured log lines: level, id, fields, one sentence.
 *
 *   cw_log(frame_oversize, "skipped, session stays", CW_LS("device", id), CW_LU("bytes", n));
 *   WARN frame.oversize device=4711 bytes=70211 skipped, session stays
 *
 * Ids are declared once, in log_list.h; the reference is printed from that list.
 * Any thread may log. Lines whose list entry has a rate are limited to that many
 * in ten seconds; the next line that passes says how many were suppressed.
 * Secrets never go into a field.
 */
#ifndef CW_BASE_LOG_H
#define CW_BASE_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "base/log_list.h"

enum cw_log_level { CW_LOG_DEBUG, CW_LOG_INFO, CW_LOG_NOTE, CW_LOG_WARN, CW_LOG_ERROR };

enum cw_log_id {
#define CW_LOG_ENUM(sym, level, id, rate, meaning) CW_LOG_ID_##sym,
	CW_LOGS(CW_LOG_ENUM)
#undef CW_LOG_ENUM
	CW_LOG_ID_COUNT
};

struct cw_log_kv {
	const char *key;
	enum { CW_KV_STR, CW_KV_BYTES, CW_KV_U64, CW_KV_I64 } kind;
	union {
		const char *s;
		uint64_t u;
		int64_t i;
	} v;
	size_t len; /* CW_KV_BYTES */
};

#define CW_LS(k, value) ((struct cw_log_kv){ .key = (k), .kind = CW_KV_STR, .v.s = (value) })
#define CW_LB(k, ptr, n) ((struct cw_log_kv){ .key = (k), .kind = CW_KV_BYTES, .v.s = (const char *)(ptr), .len = (n) })
#define CW_LU(k, value) ((struct cw_log_kv){ .key = (k), .kind = CW_KV_U64, .v.u = (uint64_t)(value) })
#define CW_LI(k, value) ((struct cw_log_kv){ .key = (k), .kind = CW_KV_I64, .v.i = (int64_t)(value) })

#define cw_log(sym, text, ...)                                                              \
	cw_log_write(CW_LOG_ID_##sym, (text), (const struct cw_log_kv[]){ { 0 }, ##__VA_ARGS__ },   \
	             sizeof((const struct cw_log_kv[]){ { 0 }, ##__VA_ARGS__ }) / sizeof(struct cw_log_kv))

/* Use cw_log(). fields[0] is a placeholder and is skipped. */
void cw_log_write(enum cw_log_id id, const char *text, const struct cw_log_kv *fields, size_t count);

/* Before threads start, or from one thread: lowest level written, JSON instead of text, descriptor (2 by default). */
void cw_log_setup(enum cw_log_level lowest, int json, int fd);
void cw_log_set_level(enum cw_log_level lowest);
enum cw_log_level cw_log_lowest(void);
int cw_log_enabled(enum cw_log_id id);
/* In a process whose lines another one writes: each that is enabled goes to `fn` instead. Before threads start; NULL: no more. */
void cw_log_forward(void (*fn)(enum cw_log_id id, const char *text, const struct cw_log_kv *fields, size_t count));
/* As the configuration spells it: debug, info, note, warn, error. */
const char *cw_log_level_name(enum cw_log_level level);

/* The list as data, for the reference. */
struct cw_log_entry {
	const char *id;
	enum cw_log_level level;
	unsigned rate; /* lines in ten seconds, 0: no limit */
	const char *meaning;
};
const struct cw_log_entry *cw_log_entry(enum cw_log_id id);

#endif
