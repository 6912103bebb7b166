/*
 * firmware.h - files of upgrades: downloaded once, checked whole, read in blocks.
 *
 * A file is named by its digest: two devices that get the same firmware share one
 * download. What was cut goes on where it ended (Range), also after a restart. Only a
 * file whose size and digest are right is ever handed out. All on the control loop;
 * hashing and reading happen on libuv's pool.
 */
#ifndef CW_FIRMWARE_FIRMWARE_H
#define CW_FIRMWARE_FIRMWARE_H

#include <stdint.h>

#include "base/list.h"
#include "fetch/fetch.h"

struct cw_firmware;
struct cw_firmware_file;

struct cw_firmware_conf {
	struct cw_fetch_pool *pool; /* on the same loop; lent until cw_firmware_free() */
	const char *dir;    /* made when it is needed, mode 0700; copied */
	uint64_t most;      /* bytes of one file */
	uint64_t keep;      /* bytes of all files that nobody uses any more */
	unsigned attempts;  /* downloads before it has failed */
	unsigned retry_ms;  /* before the next attempt; doubles */
	unsigned stall_ms;  /* without a byte for so long: the next attempt */
	const char *ca;     /* for https; NULL: the system's authorities; copied */
};

/* What the platform announced; texts are copied by cw_firmware_want(). */
struct cw_firmware_info {
	const char *url, *digest, *method; /* method: MD5 or SHA256, in any case */
	uint64_t size;                     /* 0: not told */
};

/* One wish. Zero-initialise, keep it until `done` has run or cw_firmware_drop() was called. */
struct cw_firmware_wish {
	/*
	 * 0: `file` is whole, one reference passes to the callee. CW_EPROTO: size or digest are not what was announced;
	 * CW_ELIMIT: too large; CW_EINVAL: the announcement itself cannot be used; anything else: the download failed. `text`
	 * is a sentence, lent. Never before cw_firmware_want() has returned.
	 */
	void (*done)(struct cw_firmware_wish *w, int rc, struct cw_firmware_file *file, const char *text);
	/* the module's */
	struct cw_list link;
	void *job;
};

int cw_firmware_new(struct cw_worker *control, const struct cw_firmware_conf *conf, struct cw_firmware **ret_firmware);
/* Nobody may wish or read any more; files that are held are given up. Accepts NULL. `closed` runs when nothing of it is left
 * on the loop. */
void cw_firmware_free(struct cw_firmware *f);

/* 0 or CW_ENOMEM. */
int cw_firmware_want(struct cw_firmware *f, const struct cw_firmware_info *info, struct cw_firmware_wish *w);
/* `done` will not run. A download that nobody wants any more ends. */
void cw_firmware_drop(struct cw_firmware_wish *w);

uint64_t cw_firmware_size(const struct cw_firmware_file *file);
void cw_firmware_unref(struct cw_firmware_file *file);
/*
 * Read `length` bytes at `offset` (less at the end). `done` runs later on this loop, with the bytes lent or an error
 * (CW_EIO); none at and behind the end. The file is held meanwhile. 0 or CW_ENOMEM.
 */
int cw_firmware_read(struct cw_firmware_file *file, uint64_t offset, size_t length,
		     void (*done)(void *ctx, int rc, struct cw_bytes bytes), void *ctx);

#endif
