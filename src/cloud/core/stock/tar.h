/*
 * tar.h - an archive in memory, in the form every tar reads (POSIX ustar, not compressed). No clock: the caller
 * says when.
 */
#ifndef CW_CLOUD_TAR_H
#define CW_CLOUD_TAR_H

#include <stddef.h>
#include <stdint.h>

/* Zero-initialise it. After an error it stays as it was before the call. */
struct cloud_tar {
	uint8_t *data; /* free with cw_free() */
	size_t len, room;
};

/* Add a file, readable by its owner alone. 0; CW_EINVAL: name above 99 bytes; CW_ENOMEM. */
int cw_cloud_tar_add(struct cloud_tar *t, const char *name, const void *data, size_t len, int64_t mtime_s);
/* Nothing can be added after it. 0 or CW_ENOMEM. */
int cw_cloud_tar_end(struct cloud_tar *t);

#endif
