/* runner_impl.h - what runner.c and host.c share; nobody else includes it. */
#ifndef CW_PLUGIN_RUNNER_IMPL_H
#define CW_PLUGIN_RUNNER_IMPL_H

#include <stdatomic.h>

#include "base/list.h"
#include "plugin/runner.h"

#define CONN_TIMERS_MOST 16
#define DEVICE_BIT (1ULL << 63) /* set in the handle of a device, clear in that of a connection */

/* Handles: generation and index into a table of the runner, so that a stale or invented handle is found out. */
struct handle_slot {
	void *ptr; /* NULL: free */
	uint32_t gen;
	uint32_t next_free;
};

struct handles {
	struct handle_slot *slots;
	uint32_t size, free_head; /* free_head: index + 1, 0: none */
	uint64_t bit;
};

struct conn_timer {
	struct cw_timer timer;
	struct conn_timer *next;
	struct cw_conn *conn;
	uint64_t id;
};

/* An attachment that the decoder has open. */
struct conn_attachment {
	struct conn_attachment *next;
	uint64_t id, len;
	char name[64];
};

struct cw_rdevice {
	struct cw_rdevice *next;
	struct cw_conn *conn;
	const void *conf;
	void *ctx;
	void *user;
	uint64_t handle;
	struct remote_device *remote; /* in causewayd, when the decoder runs in a plugin host */
	uint8_t attached;
	uint8_t identity_len, product_key_len, device_name_len;
	char text[]; /* identity, product key, device name, each NUL-terminated */
};

struct cw_conn {
	struct cw_runner *runner;
	const struct cw_conn_ops *ops;
	void *owner;
	void *ctx;
	const void *conf;
	const char *listener;
	struct cw_rdevice *devices;
	struct conn_timer *timers;
	struct remote_conn *remote; /* in causewayd, when the decoder runs in a plugin host */
	struct conn_attachment *attachments;
	uint8_t *kept; /* bytes not yet cut into frames; remote: fed and not yet consumed */
	size_t kept_len, kept_size;
	uint64_t handle;
	int64_t charged;
	int64_t arrived_ms; /* of frames that were set aside; 0: now */
	size_t cap, max_noise, noise;
	uint64_t attach_most;     /* bytes of one attachment; 0: none is taken */
	const uint8_t *input_end; /* of what is being cut: says where in the stream a frame stands */
	uint32_t flags;
	struct conn_timer *waiter; /* cw_cut.wait_ms: then frame() looks for the last time; NULL: not armed */
	size_t missing;      /* bytes that frame() said would help; 0: it did not say */
	size_t again_len;    /* decode() wants the first bytes of `kept` again, so many; 0: no */
	uint8_t again_times; /* so often it did */
	uint8_t again_drop;  /* not again: the owner set the frame aside */
	uint8_t asked;       /* identify() without outcome */
	uint8_t held;        /* the owner cannot take more */
	uint8_t closing;     /* close was asked for: no further frame */
	uint8_t feeding;     /* inside cut_frames(): do not enter again */
	uint8_t scan;        /* rescan() was asked: SCANNED is due when nothing more can be cut */
	uint8_t final;       /* this pass of frame() is the last for these bytes */
	uint8_t peer_len;
	char peer[];
};

struct cw_runner {
	const struct cw_plugin_desc *desc;
	struct cw_worker *worker;
	struct cw_decoder *decoder;
	struct cw_host host;
	struct handles conns, devices;
	uint64_t *counters;
	size_t counter_count;
	size_t open_conns;
	/* For the watchdog's thread: when the entry under way began (0: none), and about whom. */
	_Atomic(uint64_t) entered_ms;
	_Atomic(struct cw_conn *) at_conn;
	_Atomic(const uint8_t *) at_frame;
	_Atomic(size_t) at_frame_len;
	struct keeper *keeper; /* the decoder runs in a plugin host: who keeps that alive; NULL: here */
	/* Inside a plugin host: note each entry where causewayd finds it after a crash. NULL elsewhere. */
	void (*entering)(struct cw_conn *c, uint32_t kind, uint64_t id, struct cw_bytes frame);
	void (*leaving)(struct cw_runner *r);
	uint64_t next_attachment;
	unsigned open_attachments;
};

extern const struct cw_host cw_host_table;

int cw_handle_new(struct handles *h, void *ptr, uint64_t *ret_handle);
void *cw_handle_get(const struct handles *h, uint64_t handle);
void cw_handle_free(struct handles *h, uint64_t handle);

/* What host.c checks in a plugin's calls; remote.c checks it again in what a plugin host says. */
int cw_identity_ok(struct cw_bytes identity);
int cw_record_kind_ok(unsigned kind);
/* Shared by both sides of a connection. NULL: out of memory. */
struct cw_rdevice *cw_find_device(struct cw_conn *c, struct cw_bytes identity);
struct cw_rdevice *cw_new_device(struct cw_conn *c, struct cw_bytes identity, const char *product_key, const char *device_name);
void cw_forget_device(struct cw_conn *c, struct cw_rdevice *dev);
/* A connection without a word to its decoder: made, and unmade. */
int cw_conn_make(struct cw_runner *r, const struct cw_conn_ops *ops, void *owner, const struct cw_conn_open *how, struct cw_conn **ret_conn);
void cw_conn_unmake(struct cw_conn *c);
/* More bytes behind those kept. CW_ELIMIT, CW_ENOMEM. */
int cw_conn_keep_more(struct cw_conn *c, struct cw_bytes in);
void cw_conn_drop_attachment(struct cw_conn *c, struct conn_attachment *a);

/* For host.c: arm a timer of the connection; look at kept bytes again. */
int cw_conn_set_timer(struct cw_conn *c, uint64_t id, uint64_t delay_ms);

#endif
