/* drive_impl.h - what drive.c and drive_host.c share; see drive.h. */
#ifndef CW_FUZZ_DRIVE_IMPL_H
#define CW_FUZZ_DRIVE_IMPL_H

#include "drive.h"

#define DEVICES_MOST 16
#define TIMERS_MOST 16
#define TICKETS_MOST 64
#define COMMANDS_MOST 8
#define CONN 0x100000001u

struct device {
	uint64_t handle;
	void *ctx;
	uint8_t attached, leaving;
	char identity[CW_IDENTITY_MAX + 1];
	uint8_t identity_len;
};

struct drive {
	const struct cw_fuzz_run *run;
	const struct cw_decoder_ops *ops;
	struct cw_decoder *d;
	void *conf, *conn_ctx;
	struct device devices[DEVICES_MOST];
	size_t device_count;
	uint64_t next_handle;
	uint8_t *held;
	size_t held_len, held_size, again_len;
	unsigned again_times, rounds;
	struct { struct cw_identify who; char identity[CW_IDENTITY_MAX + 1]; } asked[CW_ASKED_MOST];
	size_t asked_count;
	uint64_t tickets[TICKETS_MOST];
	size_t ticket_count;
	struct { uint64_t id, device; } commands[COMMANDS_MOST];
	size_t command_count;
	uint64_t next_command;
	struct { uint64_t id, due; } timers[TIMERS_MOST];
	size_t timer_count;
	uint64_t wait_due, block_id, block_offset, next_attachment;
	uint8_t saved[CW_SAVE_MAX];
	size_t saved_len;
	int64_t charged, now_ms;
	uint64_t mono_ms;
	uint8_t open, closing, scan, scan_final, again_drop, options, in_entry;
};

extern struct drive fuzz; /* host calls come back with it; one case runs at a time */
extern const struct cw_host fuzz_host;

void fuzz_talk(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void fuzz_talk_bytes(const char *what, struct cw_bytes b);
/* The sentence, then abort(). */
void fuzz_broken(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Something of this kind was said: what a fuzzer without coverage is guided by. */
void fuzz_see(unsigned what, const void *more, size_t len);
unsigned fuzz_magnitude(uint64_t n);
int fuzz_utf8(struct cw_bytes b);
/* 1: exactly one whole item. */
int fuzz_whole(struct cw_bytes b);
/* Its place; command_count: it is not open. */
size_t fuzz_command_at(uint64_t id);
void fuzz_forget_command(size_t i);

#endif
