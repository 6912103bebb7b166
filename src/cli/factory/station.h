/* station.h - the parts of `causeway factory station`: its journal, the command that burns, where ids come from. cmd_station.c is the rest. */
#ifndef CW_CLI_FACTORY_STATION_H
#define CW_CLI_FACTORY_STATION_H

#include <pthread.h>

#include "base/err.h"
#include "base/list.h"
#include "factory/clients/c/triple_burn.h"

/* ---- journal: which boards have got a certificate, were written, and are not reported yet ------------------ */

/*
 * A text file, a line an event: STATE, ProductKey, DeviceName and DeviceID with tabs between; no secrets. On the disk before the next
 * step is done. Emptied when it is opened and nothing in it is open any more. Any thread. Without a file only memory keeps it.
 */
enum station_state { STATION_GOT, STATION_WRITTEN, STATION_FAILED, STATION_REPORTED };

struct station_entry {
	struct cw_list link;
	enum station_state state; /* GOT: it is not known whether the board has it; WRITTEN: it has, to be reported */
	int busy;                 /* somebody has it in hand */
	unsigned round;
	char product_key[PRODUCT_KEY_LEN + 1], device_name[DEVICE_NAME_LEN + 1], device_id[DEVICE_ID_LEN + 1];
};

struct station_journal {
	pthread_mutex_t lock;
	const char *path;
	int fd;                 /* -1: no file */
	long long size;         /* of the file up to its last whole line */
	struct cw_list entries; /* what is open: GOT and WRITTEN */
};

/* Reads it, and keeps other stations from using it. Errors carry a sentence. `path` NULL: no file. */
int station_journal_open(struct station_journal *j, const char *path, struct cw_msg *msg);
void station_journal_close(struct station_journal *j);
/* A certificate for this board has come: an entry in the caller's hand. Not 0: it is not on the disk, and there is no entry. */
int station_journal_got(struct station_journal *j, const struct triple_burn_cert *cert, struct station_entry **ret, struct cw_msg *msg);
/*
 * What became of an entry in hand. WRITTEN leaves it there, FAILED and REPORTED end it. An error: that is not on the disk, but so for this
 * process. After a restart the board would be told again, which does no harm.
 */
int station_journal_note(struct station_journal *j, struct station_entry *e, enum station_state state, struct cw_msg *msg);
/* An entry to be reported that is in nobody's hand and was not taken in this round; NULL: none. Note it REPORTED, or put it back. */
struct station_entry *station_journal_take(struct station_journal *j, unsigned round);
void station_journal_put_back(struct station_journal *j, struct station_entry *e);

/* ---- the command ------------------------------------------------------------------------------------------- */

/* Can this system do it, and is the command there? Asked before the first board, which is not to be broken off in the middle. */
int station_can_write(const char *command, struct cw_msg *msg);
/*
 * Runs `command` by sh with the reply on its standard input and the certificate in its environment (PRODUCT_KEY, DEVICE_NAME, DEVICE_SECRET,
 * PRODUCT_SECRET, DEVICE_ID), and waits. Nothing of it is in anybody's arguments. 0: it ended with 0; else a sentence. Any thread.
 */
int station_write(const char *command, const struct triple_burn_cert *cert, const char *reply, int timeout_ms, struct cw_msg *msg);

/* ---- ids --------------------------------------------------------------------------------------------------- */

struct station_ids {
	int fd, stop_fd;
	int over, too_long;
	size_t at, len, id_len;
	char buffer[1024];
	char id[DEVICE_ID_LEN + 1];
};

/*
 * The next line that is not blank, without blanks around it: 1 and ids->id; 0: the end, or stop_fd is readable. CW_EINVAL: a line that can be no
 * DeviceID, with a sentence; go on. CW_EIO: cannot be read any more.
 */
int station_ids_next(struct station_ids *ids, struct cw_msg *msg);

#endif
