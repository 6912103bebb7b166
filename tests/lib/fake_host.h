/*
 * fake_host.h - drives one decoder without daemon, sockets or time.
 *
 * Feed bytes, answer identify(), settle tickets, fire timers, hand in commands; read
 * what the decoder sent, emitted, showed and saved. One connection, one thread.
 * Every record and field is checked for the rules of record.h. What a test did not
 * take with fake_next_*() is dropped by fake_forget().
 *
 * Several devices on the connection: identify() calls are answered first come, first served; the name of a record is the
 * identity of its device; commands go to devices[target].
 */
#ifndef FAKE_HOST_H
#define FAKE_HOST_H

#include <causeway/plugin.h>

#include "plugin/asked.h"

#define FAKE_MAX 512
#define FAKE_TIMERS 16
#define FAKE_DEVICES 64

/* A device on the connection; its handle is its place + 9. */
struct fake_device {
	char identity[CW_IDENTITY_MAX + 1];
	void *ctx;
	int attached; /* 2: DETACHED follows */
};

struct fake_blob {
	uint64_t tag; /* ticket of a record, id of a finished command, group of a field */
	int code;     /* of a finished command */
	char name[64];
	uint8_t *ptr;
	size_t len;
};

struct fake_list {
	struct fake_blob v[FAKE_MAX];
	size_t n, taken;
};

struct fake {
	const struct cw_plugin_desc *desc;
	struct cw_host host;
	struct cw_decoder *d;
	void *conf, *conn_ctx;
	struct fake_device devices[FAKE_DEVICES];
	size_t device_count, target;
	int64_t now_ms;
	uint64_t mono_ms;
	uint32_t flags; /* CW_EVF_* of every event */
	int auto_identify; /* identify() is answered by itself as known */
	int auto_settle;   /* tickets settle as done after the call, as with ack = received */
	int open;
	uint8_t *in;
	size_t in_len, noise;
	uint64_t good, bad; /* frames by what decode() returned */
	struct fake_list sent, records, fields, done;
	struct cw_asked asked;
	char identity[CW_IDENTITY_MAX + 1]; /* of the latest identify() */
	size_t again_len; /* decode() wants this frame again */
	int again_drop, scan, final, running;
	unsigned members;
	uint64_t wait_due; /* cw_cut.wait_ms; 0: no */
	uint8_t *facts;
	size_t facts_len;
	int attached; /* some device is */
	uint8_t saved[CW_SAVE_MAX];
	size_t saved_len;
	unsigned saves, foreign;
	uint64_t due[FAKE_TIMERS];
	int closing;
	uint64_t close_ms;
	char close_reason[128];
	uint64_t extend_ms, linger_ms;
	int rrpc; /* the last command is answered with bytes */
	int64_t charged, cap;
	uint64_t counters[64];
	uint64_t block_id, block_offset;
	size_t block_len;
	int attachments_open;
	int emit_error; /* emit() answers with it when not 0 */
	int no_attachments; /* attach_open refuses */
	uint8_t *attachment;
	size_t attachment_len;
	char attachment_suffix[16];
	int attachment_kept;
};

/* `settings` is a JSON object of values that differ from the defaults, or NULL. Fails the test on any error. */
void fake_init(struct fake *f, const struct cw_plugin_desc *desc, const char *settings);
/* The settings of a table with `json` over the defaults, encoded; free with cw_free. */
uint8_t *fake_settings(const struct cw_conf_field *fields, const char *json, size_t *ret_len);
void fake_open(struct fake *f);
void fake_feed(struct fake *f, struct cw_bytes bytes);
void fake_feed_hex(struct fake *f, const char *hex);
/* Answer the oldest identify(): as it asked (looked up or attached; of members: none), or with CW_REFUSED_*. */
void fake_identified(struct fake *f);
void fake_refused(struct fake *f, int code);
/* A member, or an identity that was added later: IDENTIFIED though nobody asked for just that. */
void fake_member(struct fake *f, const char *identity);
/* The outcome of CW_IDENTIFY_MEMBERS after fake_member() for each. */
void fake_members_done(struct fake *f);
/* The platform, or an operator, takes the device away: DETACHED. */
void fake_detach(struct fake *f, size_t device);
void fake_settle(struct fake *f, uint64_t ticket, int code);
/* Let time pass; timers fire in order. */
void fake_advance(struct fake *f, uint64_t ms);
/* A command as JSON: {"items"..} is the body. Returns what command() returned. */
int fake_command(struct fake *f, unsigned kind, const char *name, const char *body_json, uint64_t id, uint64_t deadline_ms);
int fake_command_bytes(struct fake *f, unsigned kind, const char *name, struct cw_bytes body, uint64_t id, uint64_t deadline_ms);
void fake_event(struct fake *f, uint32_t kind, uint64_t id);
void fake_block(struct fake *f, struct cw_bytes data, int code);
void fake_close(struct fake *f);
/* Ends the connection if open, frees all; fails the test when timers, charges or attachments are left. */
void fake_fini(struct fake *f);
/* The next one not taken; NULL when there is none. Valid until fake_forget(). */
struct fake_blob *fake_next(struct fake_list *l);
void fake_forget(struct fake *f);
/* Hex of a blob; static storage of 8 rotating buffers. */
const char *fake_hex(const struct fake_blob *b);
/* JSON of an encoded item (a record's body, a reply, a field); static storage, 8 rotating. */
const char *fake_json(struct cw_bytes item);
/* The next record's body as JSON when it has that kind and name (NULL: any), else NULL. */
const char *fake_record(struct fake *f, unsigned kind, const char *name);
/* 1 when two encoded items mean the same: numbers by value, maps in any order. */
int fake_same(struct cw_bytes a, struct cw_bytes b);
/* 1 when `json` and the item mean the same. */
int fake_equals(struct cw_bytes item, const char *json);

#endif
