/*
 * runner.h - runs one decoder on one worker: connections, partial input, framing, timers, time budget.
 *
 * The owner of a connection (the gateway, or a tool) feeds bytes, commands and
 * outcomes; what the decoder says comes back through cw_conn_ops, at once when the
 * decoder runs in this process. Nothing here may assume "at once": the same calls
 * are made when the decoder runs in another process.
 *
 * Everything of one runner lives on one loop. Inside a callback of cw_conn_ops the
 * owner may not call back into the runner; it does so from `called`, which comes
 * after each entry of the decoder has returned.
 */
#ifndef CW_PLUGIN_RUNNER_H
#define CW_PLUGIN_RUNNER_H

#include "base/err.h"
#include "causeway/plugin.h"
#include "loop/worker.h"

struct cw_runner;  /* one decoder instance */
struct cw_conn;    /* one connection, as the decoder sees it */
struct cw_rdevice; /* one identified device on a connection */

/* What a decoder says about a connection; `owner` is the pointer given to cw_conn_open(). */
struct cw_conn_ops {
	int (*send)(void *owner, struct cw_bytes out);
	/* `record` is valid and taken apart in `rec`; dev is NULL only with CW_EVF_INSPECT, before anything was identified. */
	int (*emit)(void *owner, struct cw_rdevice *dev, uint64_t ticket, struct cw_bytes record, const struct cw_record *rec);
	int (*identify)(void *owner, const struct cw_identify *who);
	int (*detach)(void *owner, struct cw_rdevice *dev);
	int (*command_done)(void *owner, uint64_t id, int32_t code, struct cw_bytes reply);
	int (*command_extend)(void *owner, uint64_t id, uint64_t delay_ms);
	int (*save)(void *owner, struct cw_rdevice *dev, struct cw_bytes state);
	int (*want_block)(void *owner, uint64_t id, uint64_t offset, size_t length);
	/* The runner made number and name, which is safe as that of a file; it allows no more than attach_most bytes. A tool may put
	 * another name in place of the one in `name`. */
	int (*attach_open)(void *owner, struct cw_rdevice *dev, uint64_t attachment, const char *name);
	int (*attach_write)(void *owner, uint64_t attachment, struct cw_bytes data);
	int (*attach_close)(void *owner, uint64_t attachment, int keep, char name[64]);
	void (*field)(void *owner, int group, const char *name, struct cw_bytes value, size_t offset, size_t length); /* INSPECT only */
	void (*line)(void *owner, int level, const char *text);
	void (*foreign)(void *owner, struct cw_bytes identity);
	int (*linger)(void *owner, struct cw_rdevice *dev, uint64_t delay_ms); /* may be NULL */
	/* Frames: one was cut (lent), and how decode() judged it. */
	void (*frame)(void *owner, struct cw_bytes frame, int rc);
	/* Bytes that belong to no frame were dropped. */
	void (*noise)(void *owner, struct cw_bytes dropped);
	/* The decoder, or the runner for it, wants the connection closed after delay_ms. */
	void (*close)(void *owner, uint64_t delay_ms, const char *reason);
	/* An entry of the decoder has returned: settle tickets, look at queues. May call back into the runner, save for cw_conn_close(). */
	void (*called)(void *owner);
	/*
	 * Only from a decoder in another process (isolate.h), and never from within a call of the owner's; may be NULL for a tool.
	 * room: after CW_EBUSY of feed() or resume(), bytes are taken again. command_refused: the decoder did not take over a
	 * command, as cw_conn_command() would have said. lost: the process has died; tickets and attachments of this
	 * connection are gone, its open commands were refused just before; the connection goes on. closed: after cw_conn_end().
	 */
	void (*room)(void *owner);
	void (*command_refused)(void *owner, uint64_t id, int rc);
	void (*lost)(void *owner);
	void (*closed)(void *owner);
};

/* Make the instance of `desc` for worker `w`. Errors carry a sentence. */
int cw_runner_new(const struct cw_plugin_desc *desc, struct cw_worker *w, struct cw_runner **ret_runner, struct cw_msg *msg);
/* All connections must be closed. Accepts NULL. */
void cw_runner_free(struct cw_runner *r);
/* Turn encoded settings into the plugin's form; free with cw_runner_settings_free. Errors carry the plugin's sentence; so does
 * 0, as a warning, or msg is empty. */
int cw_runner_settings(struct cw_runner *r, struct cw_bytes settings, void **ret_conf, struct cw_msg *msg);
void cw_runner_settings_free(struct cw_runner *r, void *conf);
/* Counters of the plugin on this worker; count is how many the descriptor has. */
const uint64_t *cw_runner_counters(const struct cw_runner *r, size_t *ret_count);

/*
 * For a watchdog on another thread: how long the entry under way has lasted (0: none; the loop's cached time, so up to
 * one pass too long), and about whom it is. Describe only a decoder that is stuck: what it points at stands still then.
 */
uint64_t cw_runner_stuck_ms(const struct cw_runner *r);
void cw_runner_describe(struct cw_runner *r, char *out, size_t size);

struct cw_conn_open {
	const char *listener;  /* lent for the life of the connection */
	const void *conf;      /* of cw_runner_settings(); NULL when the plugin has none */
	struct cw_bytes peer;  /* copied */
	struct cw_bytes identity; /* bound by the configuration, lent during the call */
	uint32_t flags;        /* CW_EVF_* */
	size_t max_noise;      /* bytes without a frame before the connection is closed */
	size_t cap;            /* bytes a decoder may charge */
	uint64_t attach_most;  /* bytes of one attachment; 0: none is taken */
};

int cw_conn_open(struct cw_runner *r, const struct cw_conn_ops *ops, void *owner, const struct cw_conn_open *how,
                 struct cw_conn **ret_conn);
/*
 * Bytes from the device, lent. 0; CW_EBUSY: kept, but do not read more until cw_conn_resume() has returned 0;
 * CW_ECLOSED: close was asked for, nothing more is taken.
 */
int cw_conn_feed(struct cw_conn *c, struct cw_bytes in);
/* The same for one frame that was cut before and set aside: decode() sees it as it is. Only while nothing is buffered.
 */
int cw_conn_feed_frame(struct cw_conn *c, struct cw_bytes frame);
/* Hold: decode no further frame (a queue is full). Resume: go on with what was kept; returns like cw_conn_feed(). */
void cw_conn_hold(struct cw_conn *c);
int cw_conn_resume(struct cw_conn *c);
size_t cw_conn_buffered(const struct cw_conn *c);
/* No more bytes will come: what waits (cw_cut.wait_ms) is cut or dropped now, as if the time had passed. */
void cw_conn_end_of_input(struct cw_conn *c);
/* How many bytes the frame that is kept unfinished lacks at least; 0: not known. */
size_t cw_conn_missing(const struct cw_conn *c);
/* What frame() and decode() are told as now_ms: when the bytes arrived, for frames that were set aside; 0: now. */
void cw_conn_set_arrival(struct cw_conn *c, int64_t utc_ms);
/*
 * Outcome of one identify. The handle of an identity that is already there is used again. `user` is the owner's pointer for
 * the device. `conf` NULL: the connection's; without CW_CONN_ATTACHED it is lent for the call.
 */
#define CW_CONN_ATTACHED 1u /* the connection is the way to the device: CW_EVF_ATTACHED */
#define CW_CONN_UNASKED 2u  /* not an outcome: a member, or an identity that was added later */
#define CW_CONN_RESUMED 4u  /* the decoder before this one had it: CW_EVF_RESUMED */
int cw_conn_identified(struct cw_conn *c, struct cw_bytes identity, const char *product_key, const char *device_name,
                       struct cw_bytes saved, unsigned how, const void *conf, void *user, struct cw_rdevice **ret_dev);
/* The outcome of CW_IDENTIFY_MEMBERS, after an unasked cw_conn_identified() for each. */
void cw_conn_members(struct cw_conn *c, struct cw_bytes prefix, int count);
/* The frame that decode() has asked to see again after the outcomes, lent; empty: none. With CW_REFUSED_KEPT it is not shown. */
struct cw_bytes cw_conn_waiting_frame(const struct cw_conn *c);
void cw_conn_refused(struct cw_conn *c, struct cw_bytes identity, int code);
void cw_conn_state(struct cw_conn *c, struct cw_rdevice *dev, int online, int code);
void cw_conn_settled(struct cw_conn *c, uint64_t ticket, int code);
/* Hand a command to the decoder: 0, CW_EBUSY, or why it is refused. */
int cw_conn_command(struct cw_conn *c, struct cw_rdevice *dev, uint64_t id, struct cw_bytes command, uint64_t deadline_ms);
void cw_conn_command_cancelled(struct cw_conn *c, struct cw_rdevice *dev, uint64_t id);
/* The platform's reply to a record of `dev` that carried a request id. */
void cw_conn_reply(struct cw_conn *c, struct cw_rdevice *dev, struct cw_bytes request, int code, struct cw_bytes data);
/* What want_block() asked for, or why not. */
void cw_conn_block(struct cw_conn *c, struct cw_rdevice *dev, uint64_t id, uint64_t offset, int code, struct cw_bytes data);
void cw_conn_broadcast(struct cw_conn *c, struct cw_bytes command);
/* DETACHED to the decoder, then the device is gone. */
void cw_conn_detached(struct cw_conn *c, struct cw_rdevice *dev);
/* DETACHED for every device, CLOSED, free. Not from within an entry of the decoder. */
void cw_conn_close(struct cw_conn *c);
/* The same once the decoder has worked through what it was fed. 0: done; CW_EBUSY: it still does, `closed` follows, and until then
 * callbacks may come. */
int cw_conn_end(struct cw_conn *c);

void *cw_rdevice_user(const struct cw_rdevice *dev);
const char *cw_rdevice_identity(const struct cw_rdevice *dev);
const char *cw_rdevice_product_key(const struct cw_rdevice *dev);
const char *cw_rdevice_device_name(const struct cw_rdevice *dev);
/* The first device of the connection, or the one after `prev`. */
struct cw_rdevice *cw_conn_next_device(const struct cw_conn *c, const struct cw_rdevice *prev);

/* 1 when every text in the encoded bytes is UTF-8 and the whole is one item of the subset. */
int cw_flat_valid(struct cw_bytes item);

#endif
