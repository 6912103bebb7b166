/*
 * modbus.h - the Modbus decoder: settings, connections, units and what is asked of them.
 *
 * One connection carries one line: frames are found by modbus_line.h, requests are sent one by one (modbus_poll.c),
 * readings become records (modbus_report.c), commands become writes (modbus_write.c). Everything of one instance is
 * used by one thread.
 */
#ifndef MODBUS_H
#define MODBUS_H

#include "modbus_line.h"
#include "modbus_plan.h"

#define MB_TIMER 1            /* the only one: whatever is next */
#define MB_RECORD_MAX 65536
#define MB_POINTS_MAX 4096    /* of one profile */
#define MB_STEPS_MAX 256      /* of one command */
#define MB_TEXTS_MAX 65536    /* texts of one answer */
#define MB_CODE_EXCEPTION 100000
#define MB_CODE_TIMEOUT 100100
#define MB_CODE_OFFLINE 100101
#define MB_CODE_DAMAGED 100102
#define MB_CODE_SUPERSEDED 100103

/* In the order of modbus_counters in plugin.c. */
enum mb_counter {
	MB_N_HEARTBEATS, MB_N_REGISTRATIONS, MB_N_REQUESTS, MB_N_ANSWERS, MB_N_EXCEPTIONS, MB_N_TIMEOUTS, MB_N_RETRIES, MB_N_STALE,
	MB_N_ECHOES, MB_N_UNSOLICITED, MB_N_BAD_QUALITY, MB_N_REFUSED_POINTS, MB_N_UNITS_LOST, MB_N_UNITS_BACK, MB_N_WRITES,
	MB_N_WRITES_REFUSED, MB_N_READ_BACK, MB_N_NO_PROFILE, MB_N_NOT_REPORTED, MB_N_BAD_PACKETS, MB_N_BAD_REGISTRATIONS, MB_N_COUNT
};

/* Memory that is given back as a whole. */
struct mb_arena {
	struct mb_chunk *chunks;
};

struct mb_group {
	uint32_t interval_ms;
	uint16_t first, count; /* blocks */
};

enum mb_step_kind { MB_S_WRITE, MB_S_MODIFY, MB_S_READ_BACK, MB_S_GET, MB_S_WAIT };

struct mb_service_step {
	int point;             /* -1: wait */
	struct cw_bytes value; /* as text */
	uint32_t wait_ms;
};

struct mb_service {
	const char *name;
	struct mb_service_step *steps;
	unsigned count;
};

/* A register map, shared by all devices that have it. */
struct mb_profile {
	struct mb_profile *next;
	unsigned refs;
	struct mb_arena arena;
	struct cw_bytes source; /* the encoded settings it was made of */
	const char *name;
	struct mb_point *points;
	unsigned point_count;
	uint16_t *by_path;      /* points that have a property, so that members of a struct stand together */
	unsigned path_count;
	uint16_t *order;        /* see mb_plan(); `ordered` of them: all that are read */
	unsigned ordered;
	struct mb_block *blocks;
	unsigned block_count;
	struct mb_group *groups;
	unsigned group_count;
	struct mb_service *services;
	unsigned service_count;
	struct mb_limits limits;
	uint8_t merge_writes, write_fallback, has_events;
	uint32_t texts;         /* bytes that a unit keeps for texts */
};

/* Settings of a listener, a connection or a device: whoever has the same shares them. */
struct mb_conf {
	struct mb_conf *next;
	unsigned refs;
	struct mb_arena arena;
	struct cw_bytes source;
	uint64_t hash;
	struct mb_channel ch[2]; /* of a connection that came to us, and of one that we opened */
	struct mb_channel resolved[3]; /* framing = auto: of the first, of the second, and of a serial line */
	struct mb_reg_rule reg;
	uint32_t answer_ms[2], gap_ms, broadcast_gap_ms, settle_ms, late_guard_ms, busy_wait_ms, probe_ms, grace_ms, min_downlink_ms, write_deadline_ms;
	uint32_t baud;
	unsigned retries, write_retries, busy_retries, offline_after, max_outstanding;
	uint8_t spread, by, dir_auto;  /* by: enum mb_by */
	enum mb_dir dir;
	unsigned inspect_quantity;
	struct { uint8_t unit; uint16_t address, count; enum mb_area area; } ask; /* by = register */
	const char *comm_state;
	struct mb_profile *profile;    /* NULL: none */
	const char *profile_name;
	int unit, address_shift;
	struct mb_report report;
};

enum mb_by { MB_BY_LISTENER, MB_BY_PEER, MB_BY_REGISTER };

/* What was reported last of a point. */
struct mb_last {
	struct mb_value v;
	uint64_t ms;
	uint8_t condition; /* of its event: 0 unknown, 1 false, 2 true */
};

struct mb_group_state {
	uint64_t due_ms;
	uint16_t at;     /* next place of the cycle */
	uint16_t start;  /* the block at place 0 */
	uint8_t running, tries, busy;
};

enum mb_unit_state { MB_U_ON, MB_U_OFF, MB_U_RETURNING };

struct mb_unit {
	struct mb_unit *next;
	struct mb_conf *conf;      /* a reference of its own */
	struct mb_profile *profile; /* NULL: not polled */
	uint64_t device;           /* 0 while it is off */
	size_t charged;
	uint8_t number, state, fails, asked, was_offline, polled;
	uint64_t not_before_ms;    /* lateGuard: no request of this shape until then */
	uint8_t late_fc;
	uint16_t late_quantity;
	uint64_t probe_ms;
	struct mb_block *blocks;   /* the profile's, or its own after a split */
	struct mb_group *groups;
	void *own_plan;
	struct mb_group_state *state_of;
	struct mb_last *last;
	char *texts;
	char identity[];
};

struct mb_step {
	uint8_t kind, bit, on;
	uint16_t point;
	uint16_t address, quantity;
	uint32_t at, len; /* in the job's bytes: the PDU, or what to compare with */
	uint32_t wait_ms;
};

/* A command under way. */
struct mb_job {
	struct mb_job *next;
	uint64_t id, ready_ms, deadline_ms;
	struct mb_unit *unit;
	unsigned count, at, tries, busy;
	uint8_t started, second, swapped; /* second: the write behind a read that is modified */
	uint16_t old_value;
	size_t charged;
	uint8_t *bytes, *reply;
	size_t reply_len, reply_size;
	struct mb_step steps[];
};

/* What a request that is out is for; same place in mb_conn.requests. */
struct mb_out {
	struct mb_unit *unit; /* NULL: asks a register who this is */
	struct mb_job *job;   /* NULL: a poll */
	uint64_t deadline_ms;
	uint16_t group, place;
	uint8_t probe, damaged;
};

enum mb_state { MB_C_REGISTER, MB_C_IDENTIFY, MB_C_READY };

struct mb_conn {
	struct mb_conf *conf;
	struct mb_line line;
	uint8_t state, dialled, sending, timing, members_done, plain_asked, closing, ddp_registered;
	uint16_t tid;
	unsigned out_count, out_most;
	struct mb_request *requests;
	struct mb_out *outs;
	struct mb_unit *units;
	struct mb_job *jobs, *jobs_last;
	uint64_t ready_ms, sent_ms;
	size_t charged;
	char *name;       /* what the registration said */
	uint8_t *again;   /* the packet itself, for mode `every` */
	uint8_t *inner;   /* behind ddp and braces */
	size_t inner_len;
	char dtu[12];     /* id in envelopes */
	uint8_t dtu_type;
	uint8_t *echo;
	uint16_t inspect_quantity;
	uint8_t inspect_fc;
	struct mb_request one_request;
	struct mb_out one_out;
};

struct cw_decoder {
	const struct cw_host *host;
	void *hx;
	struct mb_charsets cs;
	struct mb_profile *profiles;
	struct mb_conf *confs;
	uint8_t *record;         /* MB_RECORD_MAX, lent to one call */
	char *texts;             /* MB_TEXTS_MAX */
	struct mb_value *values; /* of the answer at hand, by point */
	uint8_t *marks;          /* 1: read now, 2: to be reported */
	unsigned values_size;
};

/* ---- modbus_conf.c, modbus_profile.c ---- */
extern const struct cw_conf_field mb_conf_fields[];
int mb_settings(struct cw_decoder *d, struct cw_bytes settings, char *text, size_t len, void **ret_conf);
void mb_settings_free(struct cw_decoder *d, void *conf);
void *mb_arena_alloc(struct mb_arena *a, size_t n);
struct cw_bytes mb_arena_bytes(struct mb_arena *a, struct cw_bytes b);
const char *mb_arena_text(struct mb_arena *a, struct cw_bytes b);
void mb_arena_free(struct mb_arena *a);
/* `name` from `source`, an encoded map; from the shared ones when it is there. Errors go to text. */
int mb_profile_get(struct cw_decoder *d, const char *name, struct cw_bytes source, char *text, size_t len, struct mb_profile **ret);
void mb_profile_drop(struct cw_decoder *d, struct mb_profile *p);
/* Milliseconds that a second of polling takes, each request costing cost_ms; above 1000 it is too much. */
unsigned mb_profile_load(const struct mb_profile *p, unsigned cost_ms);

/* ---- modbus_session.c ---- */
int mb_create(const struct cw_host *host, void *hx, struct cw_decoder **ret);
void mb_destroy(struct cw_decoder *d);
int mb_frame(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes in, struct cw_cut *ret_cut);
int mb_decode(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes frame);
int mb_event(struct cw_decoder *d, const struct cw_event *ev);
void mb_count(struct cw_decoder *d, enum mb_counter what);
void mb_say(struct cw_decoder *d, const struct cw_event *ev, int level, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Who this is is known: ask for the devices behind it. */
int mb_named(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, const char *name);
/* A PDU out, in whatever stands around it. 0, or CW_E*. */
int mb_send(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, uint8_t unit, uint16_t tid, struct cw_bytes pdu);

/* ---- modbus_unit.c ---- */
int mb_unit_add(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c);
void mb_unit_remove(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_unit *u);
void mb_unit_fresh(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_unit *u);
struct mb_unit *mb_unit_of(struct mb_conn *c, struct cw_bytes identity);
/* A block of group g was refused: two of half its size in its place, or the point is left out. */
void mb_unit_split(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_unit *u, unsigned g, unsigned b);
int mb_keep(struct cw_decoder *d, const struct cw_event *ev, size_t *charged, size_t n);
void mb_unkeep(struct cw_decoder *d, const struct cw_event *ev, size_t *charged);

/* ---- modbus_poll.c ---- */
void mb_run(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c);
void mb_on_timer(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c);
void mb_on_scanned(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c);
void mb_on_answer(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, unsigned which, struct cw_bytes pdu);
void mb_out_forget(struct mb_conn *c, const struct mb_unit *u, const struct mb_job *j);
int mb_assume(void *arg, uint8_t unit, uint8_t fc, unsigned data_len, uint16_t *ret_address, uint16_t *ret_quantity);

/* ---- modbus_report.c ---- */
/* Data of an answer to reading `quantity` of fc from `address` (the point's, before addressShift). */
void mb_report_block(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_unit *u, const struct mb_block *b, struct cw_bytes data);
/* The same for data that came unasked: whatever points lie inside. */
void mb_report_range(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_unit *u, uint8_t fc, unsigned address,
                     unsigned quantity, struct cw_bytes data);
void mb_report_comm(struct cw_decoder *d, const struct cw_event *ev, struct mb_unit *u, int on);

/* ---- modbus_write.c ---- */
int mb_command(struct cw_decoder *d, const struct cw_event *ev);
void mb_cancelled(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c);
/* The next request of the job's step; its PDU in out, at least MB_PDU_MAX; 0: nothing now. */
size_t mb_job_request(struct cw_decoder *d, struct mb_job *j, struct mb_request *q, uint8_t *out);
void mb_job_answer(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_job *j, const struct mb_request *q, struct cw_bytes pdu);
void mb_job_timeout(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_job *j, int damaged);
void mb_job_sent(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_job *j); /* a broadcast: nobody answers */
void mb_job_end(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, struct mb_job *j, int code);
void mb_jobs_of(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, const struct mb_unit *u, int code);
/* The PDU that writes `wire` to a point (not of a bit in a register). */
size_t mb_write_pdu(const struct mb_point *p, int shift, const uint8_t *wire, size_t len, uint8_t *out);

/* ---- modbus_inspect.c ---- */
void mb_inspect(struct cw_decoder *d, const struct cw_event *ev, struct mb_conn *c, const struct mb_scan *s, struct cw_bytes frame, int *ret_rc);

#endif
