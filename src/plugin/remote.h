/*
 * remote.h - the calls of runner.h about a decoder that runs in a plugin host; runner.c sends them here. And what
 * keeper.c, which looks after the process, and remote.c, which speaks with it, know of each other.
 */
#ifndef CW_PLUGIN_REMOTE_H
#define CW_PLUGIN_REMOTE_H

#include "base/list.h"
#include "plugin/isolate.h"
#include "plugin/wire.h"

struct keeper;

/* ---- for runner.c: as their namesakes in runner.h ---- */
int cw_remote_settings(struct cw_runner *r, struct cw_bytes settings, void **ret_conf, struct cw_msg *msg);
void cw_remote_settings_free(struct cw_runner *r, void *conf);
int cw_remote_open(struct cw_runner *r, const struct cw_conn_ops *ops, void *owner, const struct cw_conn_open *how, struct cw_conn **ret_conn);
int cw_remote_feed(struct cw_conn *c, struct cw_bytes in);
int cw_remote_feed_frame(struct cw_conn *c, struct cw_bytes frame);
void cw_remote_hold(struct cw_conn *c);
int cw_remote_resume(struct cw_conn *c);
void cw_remote_set_arrival(struct cw_conn *c, int64_t utc_ms);
struct cw_bytes cw_remote_waiting_frame(const struct cw_conn *c);
int cw_remote_identified(struct cw_conn *c, struct cw_rdevice *d, struct cw_bytes saved, unsigned how);
void cw_remote_members(struct cw_conn *c, struct cw_bytes prefix, int count);
void cw_remote_refused(struct cw_conn *c, struct cw_bytes identity, int code);
void cw_remote_state(struct cw_conn *c, struct cw_rdevice *dev, int online, int code);
void cw_remote_settled(struct cw_conn *c, uint64_t ticket, int code);
int cw_remote_command(struct cw_conn *c, struct cw_rdevice *dev, uint64_t id, struct cw_bytes command, uint64_t deadline_ms);
void cw_remote_command_cancelled(struct cw_conn *c, struct cw_rdevice *dev, uint64_t id);
void cw_remote_reply(struct cw_conn *c, struct cw_rdevice *dev, struct cw_bytes request, int code, struct cw_bytes data);
void cw_remote_block(struct cw_conn *c, struct cw_rdevice *dev, uint64_t id, uint64_t offset, int code, struct cw_bytes data);
void cw_remote_broadcast(struct cw_conn *c, struct cw_bytes command);
void cw_remote_detached(struct cw_conn *c, struct cw_rdevice *dev);
void cw_remote_close(struct cw_conn *c);
int cw_remote_end(struct cw_conn *c);
/* Kills the process; connections that waited for their end have it. */
void cw_keeper_free(struct keeper *k);

/* ---- between remote.c and keeper.c ---- */

/* What the entry under way was, in words that were checked. */
struct at_hand {
	uint64_t conn, kind, pos, len, id;
	int inside;
	int from_outside; /* somebody killed the process: its entry is only suspected, and tried once more */
};

/* Whom a death concerned, for the log. */
struct affected {
	size_t connections;
	char devices[200]; /* the first few */
	char device[CW_IDENTITY_MAX + 1], peer[256];
	int found;              /* device, peer and frame are those of the entry that was under way */
	int guilty;             /* .. and ended it */
	struct cw_bytes frame;  /* lent until cw_remote_after_death(); empty: it was not about a frame */
};

/* keeper.c */
struct cw_runner *cw_keeper_runner(const struct keeper *k);
struct cw_list *cw_keeper_conns(struct keeper *k); /* of struct remote_conn */
/* The number of the process that is ready now, 0: none is. */
uint64_t cw_keeper_ready(const struct keeper *k);
int cw_keeper_out(const struct keeper *k); /* out of service */
void cw_keeper_send(struct keeper *k, const struct cw_wire *m);
/* What the host said cannot be: it is ended once this call is through. */
void cw_keeper_distrust(struct keeper *k, const char *what);
uint32_t cw_keeper_next_conf(struct keeper *k);

/* remote.c */
void cw_remote_take(struct keeper *k, const struct cw_wire *m);
void cw_remote_resume_all(struct keeper *k); /* a host is ready */
void cw_remote_find_affected(struct keeper *k, const struct at_hand *h, struct affected *ret);
void cw_remote_after_death(struct keeper *k, const struct at_hand *h);
void cw_remote_close_all(struct keeper *k, const char *reason); /* out of service */
void cw_remote_end_all(struct keeper *k); /* those that wait for their end have it */

/* poison.c: keep the frame, without waiting for the disk. */
void cw_poison_keep(struct cw_runner *r, const struct cw_isolation *how, const struct affected *who, const char *why, char *ret_file, size_t size);

#endif
