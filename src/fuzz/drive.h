/*
 * drive.h - one fuzz case through a decoder: framing, decoding, timers, outcomes, commands, everything but a gateway.
 *
 * The files drive*.* include the plugin headers and the C library only. They are part of `causeway`, which runs them
 * around a plugin as it is, and are compiled beside an author's sources with sanitizers and coverage.
 *
 * A case is one byte of options and then parts: a byte that says what (modulo CW_FUZZ_PARTS), a length of two bytes, low
 * byte first, and so many bytes (fewer at the end). Any bytes are a case.
 */
#ifndef CW_FUZZ_DRIVE_H
#define CW_FUZZ_DRIVE_H

#include <causeway/plugin.h>

#define CW_FUZZ_CASE_MOST 65536u

/* Options: the first byte. */
#define CW_FUZZ_INSPECT 1u   /* as the decode tool runs it */
#define CW_FUZZ_DATAGRAM 2u  /* where the plugin can */
#define CW_FUZZ_DEFER 4u     /* identify() is answered by a part of the case, not at once */
#define CW_FUZZ_REFUSE 8u    /* unknown, for what is answered at once */
#define CW_FUZZ_HOLD 16u     /* tickets settle by a part of the case, not at once */
#define CW_FUZZ_PENDING 32u  /* at once, but as pending */
#define CW_FUZZ_SMALL 64u    /* a connection may charge 512 bytes instead of 1 MiB */
#define CW_FUZZ_DEAF 128u    /* the device does not read: send() fails */

/* Parts. */
enum {
	CW_FUZZ_DATA,      /* bytes from the device */
	CW_FUZZ_WAIT,      /* two bytes: tenths of a second pass, timers run out */
	CW_FUZZ_COMMAND,   /* an encoded command for the newest device */
	CW_FUZZ_SETTLE,    /* one byte: every ticket, as that */
	CW_FUZZ_IDENTIFY,  /* one byte: the oldest identify(), 0: known, else CW_REFUSED_* */
	CW_FUZZ_ONLINE,    /* one byte: 0 offline, else online */
	CW_FUZZ_DETACH,    /* the newest device */
	CW_FUZZ_REOPEN,    /* the connection ends and comes again */
	CW_FUZZ_CANCEL,    /* the oldest command */
	CW_FUZZ_BLOCK,     /* what want_block() asked for; none: it failed */
	CW_FUZZ_REPLY,     /* the platform's reply: a byte with the length of the request id, the id, an encoded item */
	CW_FUZZ_BROADCAST, /* an encoded command */
	CW_FUZZ_PARTS
};

struct cw_fuzz_run {
	const struct cw_plugin_desc *desc;
	struct cw_bytes settings;  /* encoded; empty: all defaults of the decoder's own making */
	uint8_t *seen;             /* CW_FUZZ_SEEN bytes, counts of what the decoder said; or NULL */
	void (*talk)(const char *line); /* everything that happens, or NULL */
};

#define CW_FUZZ_SEEN 65536u

/* A rule of decoder.h or host.h that is broken ends the process by abort(), with a sentence on stderr. */
void cw_fuzz_one(const struct cw_fuzz_run *run, const uint8_t *data, size_t size);

#endif
