/*
 * modbus_line.h - finding frames in what a connection delivers: MBAP, RTU and ASCII, registration packets, heartbeats,
 * echoes, envelopes of DTUs.
 *
 * mb_scan() is a function of the bytes, the channel's settings and the state of the line; it changes none of them.
 * The clause numbers in the code are those of section 4.1 of plugins/modbus/README.md.
 */
#ifndef MODBUS_LINE_H
#define MODBUS_LINE_H

#include <regex.h>

#include "modbus_pdu.h"

#define MB_REG_MAX 128        /* longest registration packet */
#define MB_HEARTBEATS_MAX 8
#define MB_PATTERN_MAX 128    /* longest heartbeat, and longest reply to one */
#define MB_OUTSTANDING_MAX 16
#define MB_ENVELOPE_MAX 1480  /* longest packet of an envelope; DTUs cut at 1460 */

enum mb_envelope { MB_ENV_NONE, MB_ENV_PROT, MB_ENV_DDP, MB_ENV_BRACES };
enum mb_reg_mode { MB_REG_NONE, MB_REG_ONCE, MB_REG_EVERY };
enum mb_tid_mode { MB_TID_ECHO, MB_TID_FIXED, MB_TID_IGNORE };
enum mb_unsolicited { MB_UNS_DROP, MB_UNS_COMMAND_REPLY, MB_UNS_ASSUME };

/* Bytes of the settings: they live in the channel's own block. */
struct mb_pattern {
	struct cw_bytes bytes, reply;
};

/* How the registration packet is recognised; the first of these rules that is configured counts. */
struct mb_reg_rule {
	unsigned length;
	struct cw_bytes prefix, until;
	struct cw_bytes *accept;
	unsigned accept_count;
	int has_pattern;
	regex_t pattern;
	unsigned group, quiet_ms;
	uint8_t strip, hex;
};

/* A request that is out, as far as its answer is recognised by it. */
struct mb_request {
	uint8_t unit, fc;
	uint16_t tid;
	uint16_t address, quantity; /* quantity, or the value of 0x05, 0x06, or the and mask of 0x16 */
	uint16_t or_mask;
};

/* What of the settings the scanner needs. */
struct mb_channel {
	enum mb_framing framing; /* MB_AUTO has been resolved */
	enum mb_envelope envelope;
	enum mb_tid_mode tid_mode;
	enum mb_unsolicited unsolicited;
	uint16_t tid_fixed;
	uint8_t hunt, local_echo, prot_by_id;
	unsigned partial_ms;
	enum mb_reg_mode reg_mode;
	const struct mb_reg_rule *reg;
	const struct mb_pattern *heartbeats;
	unsigned heartbeat_count;
};

struct mb_line {
	const struct mb_channel *ch;
	uint8_t registered, inspect, inner; /* inner: behind an envelope that has been taken off */
	uint8_t tail;           /* ddp: user data stand behind the closing 7B */
	struct cw_bytes again;  /* the registration packet, in mode `every` */
	struct cw_bytes echo;   /* what is expected back (localEcho), or empty */
	const struct mb_request *requests;
	unsigned outstanding;
	/* unsolicited = assume: quantity 0 or the address of the one configured request of this shape; may be NULL. */
	int (*assume)(void *arg, uint8_t unit, uint8_t fc, unsigned data_len, uint16_t *ret_address, uint16_t *ret_quantity);
	void *assume_arg;
	enum mb_dir dir;        /* inspect: what frames are */
	uint8_t dir_auto;
};

enum mb_what { MB_WAIT, MB_HEARTBEAT, MB_REGISTER, MB_ECHO, MB_ANSWER, MB_STALE, MB_PAIR, MB_PACKET, MB_TAIL, MB_SHOW, MB_BROKEN };

struct mb_scan {
	enum mb_what what;
	size_t skip, length, need;
	uint64_t wait_ms;
	unsigned which;      /* heartbeat or request */
	uint8_t unit;
	uint16_t tid;
	struct cw_bytes pdu; /* into the input or `bytes` */
	uint16_t address, quantity; /* MB_PAIR */
	enum mb_error error; /* inspect */
	uint8_t tcp;         /* inspect */
	enum mb_envelope envelope; /* inspect: the one that nobody has said and the bytes have */
	uint8_t bytes[MB_RTU_MAX + 4];
};

/* 0, or CW_EPROTO: the connection is to be closed (resync = close). */
int mb_scan(const struct mb_line *l, struct cw_bytes in, int final, struct mb_scan *ret);
/* For the decode tool: frames of either direction, good or not. */
int mb_scan_inspect(const struct mb_line *l, struct cw_bytes in, int final, struct mb_scan *ret);
/* What stands in for a channel where a scan has found an envelope that was not said. */
const struct mb_channel *mb_guessed_channel(enum mb_envelope e);
/* The text between colon and line end as bytes, into s->bytes. */
enum mb_error mb_ascii_bytes(struct cw_bytes text, struct mb_scan *s);
/* The heartbeat at the front: its length, or 0; *ret_part: the front is the beginning of one. */
size_t mb_heartbeat(const struct mb_channel *ch, struct cw_bytes in, unsigned *ret_which, int *ret_part);
/* A registration packet at the front: 1 (taken: length), 0 wait (need), -1 drop one byte. */
int mb_registration(const struct mb_reg_rule *r, struct cw_bytes in, int final, struct mb_scan *s);
/* The identity in a registration packet, as text; the length, 0: none. */
size_t mb_registration_name(const struct mb_reg_rule *r, struct cw_bytes packet, char *out, size_t size);
size_t mb_hex_text(struct cw_bytes b, char *out, size_t size);

/* Requests as they go over the line: the length of what stands in out. */
size_t mb_frame_make(const struct mb_channel *ch, uint8_t unit, uint16_t tid, struct cw_bytes pdu, uint8_t *out, size_t size);

/* ---- envelopes (modbus_envelope.c) ---- */

enum mb_packet_kind { MB_P_REGISTER, MB_P_DEREGISTER, MB_P_ACK, MB_P_DATA, MB_P_HEARTBEAT, MB_P_OTHER };

struct mb_packet {
	enum mb_packet_kind kind;
	uint8_t type;
	char id[24];    /* of the DTU: digits or hex */
	char phone[12]; /* prot */
	struct cw_bytes ip, data;
	uint16_t port;  /* ddp */
};

/* The envelope's own cut at the front; like mb_registration(). */
int mb_envelope_cut(const struct mb_line *l, struct cw_bytes in, struct mb_scan *s);
/* 1 when the whole packet could be read. */
int mb_envelope_read(const struct mb_channel *ch, struct cw_bytes packet, struct mb_packet *ret);
/* A packet from us to the DTU `id`, of the envelope's type for that kind. */
size_t mb_envelope_make(const struct mb_channel *ch, uint8_t type, const char *id, struct cw_bytes data, uint8_t *out, size_t size);
/* prot: FD ED and FE EE; *ret_used: bytes of `in` that were read. A lone FE ends it. */
size_t mb_unescape(struct cw_bytes in, uint8_t *out, size_t size, uint16_t *at, size_t *ret_used, int *ret_lone);
size_t mb_escape(struct cw_bytes in, uint8_t *out, size_t size);

#endif
