/*
 * script.h - wire scripts: what a device says and what must come of it, as plain text. plugins/README.md describes the
 * lines.
 *
 * A script is read whole into steps. Those that say something to the decoder are its stimuli; the
 * others are what the decoder must have said before the next stimulus. Single frames (`frame`, `refuse`,
 * `noise`, ..) stand beside the session: the rules of the conformance suite use them.
 */
#ifndef CW_CONFORM_SCRIPT_H
#define CW_CONFORM_SCRIPT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "causeway/bytes.h"

enum cw_wire_kind {
	/* stimuli */
	CW_WIRE_OPEN,
	CW_WIRE_DATA,    /* ptr, len */
	CW_WIRE_COMMAND, /* number: kind, name, body (encoded), who */
	CW_WIRE_CANCEL,
	CW_WIRE_WAIT, /* ms */
	CW_WIRE_CLOSE,
	CW_WIRE_ONLINE, /* who */
	CW_WIRE_OFFLINE,
	CW_WIRE_DETACH,
	CW_WIRE_ADDED,     /* who: an identity that was refused or kept is known now */
	CW_WIRE_REPLY,     /* name: request, number: code, body */
	CW_WIRE_BROADCAST, /* name: topic, ptr, len */
	/* expectations, some of which answer what was asked */
	CW_WIRE_SENT,     /* pattern */
	CW_WIRE_IDENTIFY, /* who, number: enum cw_wire_outcome or CW_REFUSED_*; name: the members, with blanks between
			   */
	CW_WIRE_SETTLE,   /* number: CW_SETTLED_* */
	CW_WIRE_RECORD,   /* number: kind, name, body or pattern, who */
	CW_WIRE_DONE,     /* number: code, body or pattern */
	CW_WIRE_BLOCK,    /* offset, number: length, ptr, len: the answer; len 0: it fails */
	CW_WIRE_CLOSED,
	CW_WIRE_LEFT,    /* who: the decoder says that the device has left */
	CW_WIRE_REFUSED, /* the decoder refused a frame; name: what it must have logged, or NULL */
	CW_WIRE_SKIPPED, /* number: bytes of noise */
	CW_WIRE_ANY,     /* whatever was said up to here is fine */
	/* single frames */
	CW_WIRE_SAMPLE /* sample, name, ptr, len */
};

enum cw_wire_outcome { CW_WIRE_KNOWN = 100, CW_WIRE_WAITING, CW_WIRE_MEMBERS }; /* beside CW_REFUSED_* */

/* Bytes with holes: mask 0xff: this byte; 0xf0, 0x0f: this half of it; 0: any; CW_WIRE_STAR: any number of any. */
#define CW_WIRE_STAR 1u

struct cw_wire_step {
	enum cw_wire_kind kind;
	unsigned line;
	char sample; /* f frame, r to be refused, b bytes, w bytes read whole by a tool, n noise */
	unsigned number;
	uint64_t ms, offset;
	char *who, *name;    /* NULL: not said */
	uint8_t *ptr, *mask; /* mask NULL: all bytes count */
	size_t len;
	uint8_t *body; /* one encoded item, NULL: none */
	size_t body_len;
	const char *text; /* the line as written, without blanks before it; into cw_wire_script.source */
	size_t text_len;
};

struct cw_wire_script {
	char *path, *source;
	char *settings; /* HOCON, "" when none */
	char *bound;    /* identity that the configuration binds to the connection, or NULL */
	uint32_t flags; /* CW_EVF_* of the connection */
	int strict;     /* what the decoder says counts: not in a file of frames alone (.txt) */
	struct cw_wire_step *v;
	size_t n;
};

/* Read `path`. 0, or CW_ENOENT, CW_EPROTO, CW_ENOMEM with a sentence that begins with file and line. */
int cw_wire_read(const char *path, struct cw_wire_script *ret_script, struct cw_msg *msg);
/* The same from memory; `name` is for the sentences. */
int cw_wire_parse(const char *name, const char *text, struct cw_wire_script *ret_script, struct cw_msg *msg);
void cw_wire_free(struct cw_wire_script *s);

/* 1 when the bytes are as the pattern says. */
int cw_wire_matches(const struct cw_wire_step *pattern, struct cw_bytes got);
/* 1 when `want` is in `got`: of maps each member that `want` has, lists as long and each in its place, numbers by
 * value. */
int cw_wire_within(struct cw_bytes want, struct cw_bytes got);

/* The words for kinds of records and commands: 0 when there is no such word; "?" when there is no such number. */
unsigned cw_wire_kind_number(const char *word);
const char *cw_wire_kind_word(unsigned number);

#endif
