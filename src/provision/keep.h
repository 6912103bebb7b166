/*
 * keep.h - one certificate of the bridge, as a file in the state directory: what was asked for and what came.
 *
 * JSON, mode 0600, replaced whole. Its states: not there (never asked), asked (a request may have been made; nothing
 * came to the disk), obtained. Whoever wants it asked for again deletes the file.
 */
#ifndef CW_PROVISION_KEEP_H
#define CW_PROVISION_KEEP_H

#include <stdint.h>

#include "provision/provision.h"

enum cw_keep_state { CW_KEEP_NONE, CW_KEEP_ASKED, CW_KEEP_OBTAINED };

struct cw_keep {
	enum cw_keep_state state;
	int64_t at_ms; /* UTC of the last change */
	char by[24];   /* register, regnwl, popClientProfile */
	struct cw_certificate certificate; /* asked: its names only */
};

/* The file of a bridge: `who` is its device name, or what stands for it. Characters no file name has become _. */
void cw_keep_path(const char *dir, const char *product_key, const char *who, char *path, size_t size);
/* State NONE when it is not there. Errors (unreadable, damaged, of a newer version) carry a sentence. Wipe it after use. */
int cw_keep_read(const char *path, struct cw_keep *ret_keep, struct cw_msg *msg);
/* On disk when it returns 0. */
int cw_keep_write(const char *path, const struct cw_keep *keep, struct cw_msg *msg);
/* Back to never asked: the platform said no, or was not reached. */
int cw_keep_remove(const char *path, struct cw_msg *msg);

#endif
