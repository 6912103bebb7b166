/*
 * host.h - what the host offers to a decoder, as a table.
 *
 * Every call returns at once and from local knowledge: 0, CW_EINVAL (bad handle
 * or argument), CW_ELIMIT (over a cap), CW_EBUSY (try when there is room). No call
 * fetches anything. `hx` is the pointer given to create(). Bytes are copied before
 * the call returns. Calls are allowed only from within the decoder's own entries.
 */
#ifndef CAUSEWAY_HOST_H
#define CAUSEWAY_HOST_H

#include "bytes.h"
#include "command.h"
#include "decoder.h"
#include "record.h"

#define CW_TIMER_STOP UINT64_MAX
#define CW_SAVE_MAX 4096     /* bytes of device_save */
#define CW_IDENTITY_MAX 128  /* bytes of an originalIdentity */
#define CW_LINGER_MOST_MS 600000 /* of linger() */
#define CW_ASKED_MOST 128    /* identify() without outcome on one connection */

/* Bits of cw_identify.flags. */
#define CW_IDENTIFY_LOOKUP 1u /* only find it: nothing is attached, nobody superseded; IDENTIFIED comes without CW_EVF_ATTACHED */

/*
 * All devices whose identity begins with `identity`, which ends where the names begin to differ (`868333031234567/`):
 * each known one is attached and has its IDENTIFIED, then CW_EV_MEMBERS says how many. Those added while the connection
 * lasts follow by themselves. Sources that cannot be listed (an HTTP look-up, rules) have no members. REFUSED with the
 * prefix instead of MEMBERS: nobody can say now, ask later. At most 300 a connection, under at most 8 prefixes; those
 * that are attached already are counted and not told again. Needs CW_CAP_MULTI_DEVICE.
 */
#define CW_IDENTIFY_MEMBERS 2u
#define CW_IDENTIFY_OPTIONAL 4u /* that no source knows it is normal: REFUSED comes, but nobody is warned, nothing kept or closed */
#define CW_IDENTIFY_KNOWN 7u

/* Who a connection says it is. */
struct cw_identify {
	uint32_t size; /* sizeof(struct cw_identify) */
	uint32_t flags;
	struct cw_bytes identity; /* originalIdentity: UTF-8 text, 1 to CW_IDENTITY_MAX bytes, no control characters */
	struct cw_bytes facts;    /* an encoded map of texts for provisioning rules (imei, mac, ..), may be empty */
	struct cw_bytes secret;   /* a DeviceSecret that the device itself carries, may be empty */
};

/* Levels of log(). */
#define CW_LEVEL_DEBUG 0
#define CW_LEVEL_INFO 1
#define CW_LEVEL_WARN 3

/* Groups of field(). */
#define CW_GROUP_HEADER 0
#define CW_GROUP_FIELDS 1

struct cw_host {
	uint32_t size;
	uint32_t abi;

	/* Queue bytes for the device. CW_ELIMIT: the peer does not read and the connection is about to be closed. */
	int (*send)(void *hx, uint64_t conn, struct cw_bytes out);
	/*
	 * Hand over one record (record.h) of `device` (0: the only device of the connection). Records emitted under
	 * one `ticket` during one call settle together, once, as a SETTLED event that may come before the call
	 * returns to the decoder's caller, never inside emit(); ticket 0 is not reported. CW_EOFFLINE before IDENTIFIED.
	 */
	int (*emit)(void *hx, uint64_t conn, uint64_t device, uint64_t ticket, struct cw_bytes record);
	/*
	 * Ask who this is; IDENTIFIED or REFUSED follows. Until then no further frame of the connection is decoded. At most
	 * CW_ASKED_MOST may be unanswered at once, more than one only with CW_CAP_MULTI_DEVICE (CW_EBUSY).
	 */
	int (*identify)(void *hx, uint64_t conn, const struct cw_identify *who);
	/* The device has left (logged out by its protocol); the connection stays. DETACHED follows. */
	int (*detach)(void *hx, uint64_t conn, uint64_t device);
	/* Arm, move or (CW_TIMER_STOP) stop timer `timer` of the connection; at most 16 are armed at once. */
	int (*timer)(void *hx, uint64_t conn, uint64_t timer, uint64_t delay_ms);
	/* End command `id` with a code of command.h; `reply` is an encoded map, or bytes for CW_KIND_RRPC; may be empty. */
	int (*command_done)(void *hx, uint64_t conn, uint64_t id, int32_t code, struct cw_bytes reply);
	/* Move the deadline of command `id` to that many milliseconds from now; at most ten minutes. */
	int (*command_extend)(void *hx, uint64_t conn, uint64_t id, uint64_t delay_ms);
	/* Keep up to CW_SAVE_MAX opaque bytes for the device beyond this connection and process. */
	int (*device_save)(void *hx, uint64_t conn, uint64_t device, struct cw_bytes state);
	/* Close the connection after `delay_ms`, when what was sent before is written; `reason` is for the log. */
	int (*close)(void *hx, uint64_t conn, uint64_t delay_ms, const char *reason);
	/*
	 * When this entry has returned, run frame() again over the bytes held, though none were added; with `final` not 0 as
	 * CW_EVF_FINAL. Then SCANNED follows, also when nothing was held: the place to send the next request.
	 */
	int (*rescan)(void *hx, uint64_t conn, int final);
	/* One line for the operator, rate-limited; device and peer are added. No secrets. */
	void (*log)(void *hx, uint64_t conn, int level, const char *text);
	/* Add to counter number `index` of the descriptor. */
	void (*count)(void *hx, uint32_t index, uint64_t n);
	/* Only with CW_EVF_INSPECT: show a field of the frame at hand; `value` is one encoded item. */
	int (*field)(void *hx, uint64_t conn, int group, const char *name, struct cw_bytes value, size_t offset, size_t length);
	/* Charge (or give back, negative) memory that the decoder keeps for this connection. CW_ELIMIT above its cap: drop something. */
	int (*charge)(void *hx, uint64_t conn, int64_t bytes);
	/* Firmware: ask for a part of the file of upgrade command `id`; BLOCK follows. CW_EUNSUPPORTED: this host downloads none. */
	int (*want_block)(void *hx, uint64_t conn, uint64_t id, uint64_t offset, size_t length);
	/* A large binary (picture, audio) into the attachment directory: open, write in order, close. `suffix` without dot; close fills name[64]. */
	int (*attach_open)(void *hx, uint64_t conn, uint64_t device, const char *suffix, uint64_t *ret_attachment);
	int (*attach_write)(void *hx, uint64_t conn, uint64_t attachment, struct cw_bytes data);
	int (*attach_close)(void *hx, uint64_t conn, uint64_t attachment, int keep, char name[64]);
	/* A frame carried an identity that is neither this session's nor to be identified: counted, logged, dropped. */
	void (*foreign)(void *hx, uint64_t conn, struct cw_bytes identity);
	/*
	 * Once this connection has gone, keep the device online for that long, at most CW_LINGER_MOST_MS: it is about to dial
	 * again (a DTU on a cellular network). 0, as at the start: it goes offline at once. A device that was detached, kicked or
	 * removed goes at once all the same.
	 */
	int (*linger)(void *hx, uint64_t conn, uint64_t device, uint64_t delay_ms);
};

#endif
