/*
 * state.h - the emulator's memory in a file: SQLite, so that stock, secrets given out, topology, kept messages and
 * shadows are there again after a restart, `kill -9` included.
 *
 * What changed in a pass of the loop is written in one transaction before the loop waits, and so before most
 * answers leave; who gives out a secret calls cw_cloud_commit() first. A machine that loses power may lose the last
 * transactions (synchronous = NORMAL), never the file. One thread.
 */
#ifndef CW_CLOUD_STATE_H
#define CW_CLOUD_STATE_H

#include "cloud/core/save.h"

struct cloud_state;

/*
 * Open or make `path` (mode 0600), and put what is in it into `c`, whose chapters are registered. From then on
 * changes are written. 0 or an error with a sentence; `c` may hold a part of it then.
 */
int cw_cloud_state_open(struct cw_cloud *c, const char *path, struct cloud_state **ret_state, struct cw_msg *msg);
/* Write the last changes. The file is closed when `closed` runs. */
void cw_cloud_state_close(struct cloud_state *s, void (*closed)(void *arg), void *arg);

#endif
