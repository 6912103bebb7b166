/*
 * file.h - small files that must be whole or not there: written beside, fsynced, renamed, and the
 * directory fsynced. Mode 0600, for most of them hold secrets. Any thread; blocks on the disk.
 */
#ifndef CW_BASE_FILE_H
#define CW_BASE_FILE_H

#include "base/err.h"
#include "causeway/bytes.h"

/* A file in the making: `part` beside `path`, so that a full or read-only disk is found before anything is at stake. */
struct cw_file_new {
	char path[1024], part[1056];
	int fd;
};

/* Make the part file. Errors carry a sentence. Ends with commit or abandon. */
int cw_file_begin(struct cw_file_new *f, const char *path, struct cw_msg *msg);
/* Write and put in place. Without `overwrite` CW_EEXIST when the path is taken. The part is gone in every case. */
int cw_file_commit(struct cw_file_new *f, struct cw_bytes bytes, int overwrite, struct cw_msg *msg);
/* Safe twice, and on a zeroed struct with fd -1. */
void cw_file_abandon(struct cw_file_new *f);

/* The two in one: replaces what is there. */
int cw_file_replace(const char *path, struct cw_bytes bytes, struct cw_msg *msg);
/* One name for another in the same directory, on the disk when this returns. Replaces what is there. */
int cw_file_rename(const char *from, const char *to, struct cw_msg *msg);
/* Remove, and make the directory remember it. 0 also when it is not there. */
int cw_file_remove(const char *path, struct cw_msg *msg);
/*
 * A new file gets the owner of the folder of `path` when root makes it, so that a service can work with what its operator
 * began. `fd` may be one of O_PATH.
 */
void cw_file_give_to_owner(int fd, const char *path);
/*
 * The whole file, NUL-terminated (not counted), owned by the caller (cw_free; wipe it when it is secret). CW_ENOENT when it is
 * not there, CW_ELIMIT when it is longer than `most`.
 */
int cw_file_read(const char *path, size_t most, char **ret_text, size_t *ret_len, struct cw_msg *msg);

/* The PEM file of the authorities that this machine trusts: what SSL_CERT_FILE names, as for OpenSSL, else Debian's. Lent. */
const char *cw_file_authorities(void);

/*
 * Whoever started this process without standard input, output or error gets them from and to nowhere: else the next files that are opened have these
 * numbers, and a log or a sentence goes into a database, a certificate or somebody's connection. First thing in main().
 */
void cw_file_standard(void);

#endif
