/*
 * decoder.h - what a protocol implements: a state machine over bytes, timers and answers.
 *
 * One decoder instance exists per plugin and worker and is called by one thread
 * only. It has no socket, no thread, no clock and no writable static data. Its
 * entries return a status and nothing else: what it has to say goes through the
 * host's table (host.h), whose calls return at once. Everything a call needs to
 * know (time, peer, settings, device) is in the event. The event and all bytes in
 * it are lent: valid during the call.
 *
 * One connection, in order: OPEN; frame and decode as bytes come; IDENTIFIED or
 * REFUSED after the decoder asked host->identify(); ONLINE and OFFLINE as the
 * platform accepts or loses the device; COMMAND calls; TIMER; SETTLED for each
 * ticket; DETACHED for each device; CLOSED. After CLOSED the handle is dead.
 *
 * Several devices on one connection (CW_CAP_MULTI_DEVICE): identify() may be called
 * for each, several times in one entry; every one has its outcome, and no further
 * frame is decoded before the last of them. A frame that cannot be used before its
 * device is known is not copied by the decoder: decode() returns CW_EBUSY and gets
 * the same frame again after the outcomes.
 */
#ifndef CAUSEWAY_DECODER_H
#define CAUSEWAY_DECODER_H

#include "bytes.h"
#include "conf_field.h"
#include "error.h"
#include "record.h"

struct cw_decoder; /* the plugin's own; the host never looks inside */
struct cw_host;

/* Kinds of events. */
#define CW_EV_OPEN 1              /* a connection is there; nothing was received yet */
#define CW_EV_DATA 2              /* in frame() and decode() */
#define CW_EV_IDENTIFIED 3        /* the certificate of `identity` is known; `device` is its handle, `saved` what was saved */
#define CW_EV_REFUSED 4           /* `identity` was not accepted; `code` is one of CW_REFUSED_* */
#define CW_EV_ONLINE 5            /* the platform accepted the device's login */
#define CW_EV_OFFLINE 6           /* the device is no longer logged in at the platform; records wait */
#define CW_EV_TIMER 7             /* `timer` has run out */
#define CW_EV_SETTLED 8           /* all records of `ticket` are settled; `code` is one of CW_SETTLED_* */
#define CW_EV_COMMAND 9           /* in command() */
#define CW_EV_COMMAND_CANCELLED 10 /* command `id` has ended without the decoder (deadline, device gone): forget it */
#define CW_EV_BLOCK 11            /* `data` is what host->want_block() asked for; `id` and `offset` say which; `code` not 0: failed */
#define CW_EV_DETACHED 12         /* the session is no longer the way to `device`; the handle dies with this call */
#define CW_EV_CLOSED 13           /* the connection is gone; both context pointers must be freed now */
#define CW_EV_BROADCAST 14        /* `data` is a command record; `device` is 0 */
#define CW_EV_REPLY 15            /* the platform's reply to a record that carried a request id: `request`, `code`, `data` (an encoded item) */
#define CW_EV_SCANNED 16          /* host->rescan() is done: what could be cut was decoded; `offset` is how many bytes are still held */
#define CW_EV_MEMBERS 17          /* CW_IDENTIFY_MEMBERS of `identity` is through; `code`: how many were identified, 0: none is known */

/* Why an identity was refused. */
#define CW_REFUSED_UNKNOWN 1  /* no source knows it */
#define CW_REFUSED_INVALID 2  /* the identity text itself is not acceptable */
#define CW_REFUSED_OLDER 3    /* the older session of this identity keeps it (CW_CAP_KEEP_OLDER) */
#define CW_REFUSED_LATER 4    /* a source could not be asked, or limits are reached: try again later */
#define CW_REFUSED_PLATFORM 5 /* the platform refused the device (disabled, deleted); only with requireOnline */
/*
 * No source knows it yet, and the listener keeps frames of such devices (`unknown = keep`): the frame at hand was set aside
 * with its time of arrival and is not shown again. Answer nothing, do not close; identify() again for the next frame, which
 * is set aside too. Once the identity is added its frames are decoded on a connection of their own (CW_EVF_KEPT), and
 * IDENTIFIED follows here when this connection is still open.
 */
#define CW_REFUSED_KEPT 6

/* How a ticket ended; the worst of its records counts. */
#define CW_SETTLED_DONE 0    /* received, journaled or delivered, as the listener's `ack` asks */
#define CW_SETTLED_PENDING 1 /* the platform is away; the record is kept and will be delivered: do not acknowledge yet */
#define CW_SETTLED_REFUSED 2 /* refused for good; resending would not help: acknowledge */
#define CW_SETTLED_LOST 3    /* given up: the device should send again */

/* Bits of cw_event.flags. */
#define CW_EVF_INSPECT 1u  /* a decode tool looks: report fields, accept everything, wait for nothing */
/*
 * OPEN, and IDENTIFIED of each device that was attached: the plugin host died and this is the next. The connection is not new:
 * nothing is to be answered, tickets and commands of before are over. Input goes on where a frame begins.
 */
#define CW_EVF_RESUMED 2u
#define CW_EVF_DIALLED 4u  /* OPEN: the gateway opened the connection, else it was accepted */
#define CW_EVF_DATAGRAM 8u /* UDP: frames do not span datagrams */
#define CW_EVF_ATTACHED 16u /* IDENTIFIED: the session is now the way to the device (not set after CW_IDENTIFY_LOOKUP) */
#define CW_EVF_FINAL 32u    /* frame(): no further byte came within cw_cut.wait_ms, or rescan() said so: cut what is there or skip */
#define CW_EVF_SERIAL 64u   /* a serial line; set in every event of the connection */
#define CW_EVF_KEPT 128u    /* not a live connection: frames set aside earlier are decoded, now_ms is when each arrived. What is sent
                               goes nowhere; accept them without the log-in of the protocol, poll nothing, take no commands */

struct cw_event {
	uint32_t size; /* sizeof(struct cw_event) of the host */
	uint32_t kind; /* CW_EV_* */
	uint32_t flags;
	int32_t code;
	uint64_t conn;      /* handle of the connection */
	uint64_t device;    /* handle of the device, 0 when none */
	int64_t now_ms;     /* UTC */
	uint64_t mono_ms;   /* monotonic */
	void **conn_ctx;    /* the decoder's pointer for this connection; NULL at OPEN; never touched by the host */
	void **device_ctx;  /* the same for `device`; NULL pointer when there is no device */
	const void *conf;   /* what ops->settings() made for `device`, or without one for the connection; of a device that was
	                       only looked up, during IDENTIFIED only */
	const void *conn_conf; /* the connection's, whatever `device` is */
	struct cw_bytes peer;     /* "192.0.2.7:4711", text */
	struct cw_bytes listener; /* name of the listener or connection in the configuration, text */
	struct cw_bytes identity; /* originalIdentity; OPEN: what the configuration binds to this connection, or
				     (CW_EVF_KEPT) whose frames they are; else empty */
	struct cw_bytes product_key, device_name; /* of `device` once identified, text */
	struct cw_bytes saved;    /* IDENTIFIED: what device_save() kept, may be empty */
	uint64_t timer;   /* TIMER */
	uint64_t ticket;  /* SETTLED */
	uint64_t id;      /* COMMAND, COMMAND_CANCELLED, BLOCK */
	uint64_t deadline_ms; /* COMMAND: milliseconds left until the host gives up */
	uint64_t offset;  /* BLOCK, SCANNED */
	uint64_t skipped; /* SCANNED: bytes dropped as noise since the last good frame */
	struct cw_bytes data; /* COMMAND, BLOCK, BROADCAST, REPLY */
	struct cw_bytes request; /* REPLY: the id given with the record, text */
};

/*
 * What frame() found at the start of the bytes it was shown. The host drops `skip`
 * bytes as noise and counts them, then takes `length` bytes as one frame. With
 * length 0 it waits for more; `need` (0: unknown) is how many bytes in all would help.
 * With `wait_ms` not 0 it waits so long after the last byte and then calls frame()
 * again with CW_EVF_FINAL. All members are 0 when frame() is called.
 */
struct cw_cut {
	size_t skip;
	size_t length;
	size_t need;
	uint64_t wait_ms;
};

/* One per protocol. New members go at the end and never move. */
struct cw_decoder_ops {
	uint32_t size; /* sizeof(struct cw_decoder_ops) as the plugin saw it */
	uint32_t abi;  /* CW_ABI */

	/* Make the instance. `host` and `hx` live as long as it does. May open files and converters; nothing later may. 0 or CW_E*. */
	int (*create)(const struct cw_host *host, void *hx, struct cw_decoder **ret_decoder);
	void (*destroy)(struct cw_decoder *d);
	/*
	 * Turn checked settings (an encoded map) into the plugin's own form, once per listener and once per
	 * device that has its own. CW_ECONF with a sentence in text[len] refuses them; 0 with a sentence accepts them and
	 * has the operator warned. settings_free takes it back.
	 */
	int (*settings)(struct cw_decoder *d, struct cw_bytes settings, char *text, size_t len, void **ret_conf);
	void (*settings_free)(struct cw_decoder *d, void *conf);
	/* Find the first frame in `in`. Never changes state. 0, or CW_EPROTO to close the connection. */
	int (*frame)(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes in, struct cw_cut *ret_cut);
	/*
	 * One whole frame. 0; CW_EPROTO: the frame is counted as malformed, the session stays; CW_ECLOSED: close; CW_EBUSY
	 * after identify() in this call: show me the same frame again after the outcomes (not after CW_REFUSED_KEPT).
	 */
	int (*decode)(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes frame);
	/* All other kinds of events. 0 or CW_ECLOSED to close the connection. */
	int (*event)(struct cw_decoder *d, const struct cw_event *ev);
	/*
	 * Needs CW_CAP_DOWNLINK. A command for ev->device: `ev->data` is the encoded command, `ev->id` its number.
	 * 0 takes it over: command_done() must follow, now or later. An error ends it at
	 * once: CW_EBUSY as busy, CW_EUNSUPPORTED, CW_EINVAL and CW_EPROTO with their codes of command.h, others as failed.
	 */
	int (*command)(struct cw_decoder *d, const struct cw_event *ev);
};

#endif
