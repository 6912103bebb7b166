/*
 * hj212.h - inside of the HJ 212 decoder (污染物在线监控): editions 2017 and 2005.
 *
 *   hj212_frame.c    bytes to frames, checksum, frames of ours
 *   hj212_parse.c    a segment and its data area, deviations found on the way
 *   hj212_codes.c    names and units of factor codes, from the list in hj212_codes.def
 *   hj212_conf.c     settings
 *   hj212_text.c     character sets, times, numbers
 *   hj212_map.c      messages to records
 *   hj212_fields.c   what records and the decode tool both show of a data area
 *   hj212_inspect.c  what the decode tool shows
 *   hj212_join.c     a data area that was cut into several frames
 *   hj212_service.c  services and property sets to requests
 *   hj212_command.c  the life of a request
 *   hj212_device.c   what is known of a device; what is kept of it
 *   hj212_answer.c   what the centre owes for an upload
 *   hj212_session.c  connections and devices, answers, what comes in
 *   plugin.c         the descriptor
 */
#ifndef HJ212_H
#define HJ212_H

#include <causeway/plugin.h>

#define HJ_SEGMENT_STD 1024u /* section 2 of the protocol; longer ones are deviations */
#define HJ_SEGMENT_MAX 4096u
#define HJ_FRAME_MAX (2u + 2u + 4u + HJ_SEGMENT_MAX + 4u + 2u)
#define HJ_CP_MAX 950u
#define HJ_PARTS_MOST 2048u  /* `name=value` in one data area */
#define HJ_JOIN_MOST 65536u  /* bytes of a data area put together */
#define HJ_SCRATCH (320u * 1024u)
#define HJ_PW_MOST 64u
#define HJ_MN_MOST 64u
#define HJ_ACKS_MOST 512u    /* answers of one connection that wait for the platform */

/* Every deviation from the book that is understood, in the order of its counter. */
enum hj_deviation {
#define HJ_DEVIATION(constant, name, initial, help) HJ_D_##constant,
#include "hj212_deviations.def"
#undef HJ_DEVIATION
	HJ_D_COUNT
};
#define HJ_D(x) (1u << (x))
/* What is wrong with the frame as such, not with what it carries. */
#define HJ_D_OF_FRAME                                                                                                                  \
	(HJ_D(HJ_D_CRLF) | HJ_D(HJ_D_LENGTH_COUNT) | HJ_D(HJ_D_LENGTH_WRONG) | HJ_D(HJ_D_LENGTH_OVER) | HJ_D(HJ_D_CRC_MODBUS) | HJ_D(HJ_D_CRC_UNUSED))

enum hj_grade { HJ_ACCEPT, HJ_WARN, HJ_REFUSE };

/* Counters behind those of the deviations, in the order of the descriptor. */
enum hj_counter {
	HJ_N_CRC_BAD = HJ_D_COUNT, HJ_N_LENGTH_BAD, HJ_N_SEGMENT_BAD, HJ_N_REFUSED, HJ_N_UNKNOWN, HJ_N_ANSWERED, HJ_N_UNMATCHED,
	HJ_N_RESENT, HJ_N_TIMED_OUT, HJ_N_JOINED, HJ_N_JOINS_DROPPED, HJ_N_SILENT, HJ_N_UNANSWERED, HJ_N_TOO_MANY, HJ_N_COUNT
};

enum hj_edition { HJ_2005, HJ_2017, HJ_2025 }; /* the version bits of Flag */

extern const char *const hj_deviation_names[HJ_D_COUNT];

struct hj_conf {
	uint8_t grade[HJ_D_COUNT];
	uint8_t edition;        /* enum hj_edition + 1; 0: as the device's frames say */
	uint8_t answer_outside; /* 2005: QN of answers outside CP */
	uint8_t flag_2005;      /* Flag of requests to devices of 2005 */
	uint8_t charset;        /* 0 auto, 1 UTF-8, 2 GBK */
	uint8_t login_9022;     /* 9021 is answered with 9022 */
	uint8_t marked_null;    /* values whose mark is not N are published as null */
	uint8_t abnormal;       /* derive factorAbnormal */
	uint8_t repeats_array;  /* a factor twice: publish both */
	uint8_t map_codes;      /* codes of 2005 are published as those of 2017 */
	uint8_t factor_names;   /* names and units beside codes in events */
	uint8_t calibrate;      /* 1013 is answered with 1012 */
	uint8_t has_first;      /* `first` has something to do */
	int16_t zone_min;
	uint32_t over_ms, recount, exec_ms, exec_long_ms;
	uint32_t join_ms, join_bytes, joins;
	uint32_t reply_packets, reply_bytes;
	uint32_t late_ms;
	uint32_t offline_ms;
	uint32_t devices;
	uint32_t wait_ms;
	/* First connection: 0: leave it alone. */
	uint8_t first_clock, first_timeout, first_rtd_on, first_state_on; /* the latter two: 1 start, 2 stop */
	uint16_t first_rtd, first_min;
	char system[4];
	char password[HJ_PW_MOST + 1];
	char nulls[128];        /* list with commas */
};

/* One `name=value` of a data area. */
struct hj_part {
	struct cw_bytes code;  /* w01018; empty: a plain name */
	struct cw_bytes name;  /* suffix (Rtd) or plain name (DataTime) */
	struct cw_bytes value; /* blanks trimmed */
	uint16_t item;         /* number of its item, those between `;` */
	int16_t next;          /* the next part of the same code, -1: none */
	int16_t chain_end;     /* of the head */
	uint8_t head;          /* first of its code */
	uint8_t over;          /* a later one has the same code and name */
};

/* One frame taken apart; views point into it. */
struct hj_msg {
	struct cw_bytes qn, st, pw, mn, flag_text, pnum_text, pno_text;
	struct cw_bytes cp;      /* between the && */
	struct cw_bytes cp_raw;  /* with them */
	struct cw_bytes segment;
	unsigned cn;             /* 0: none */
	unsigned flag, version, pnum, pno;
	uint8_t has_flag, split, ack;
	uint8_t cp_begins, cp_ends; /* && is where it belongs */
	uint8_t whole;           /* parts are those of a data area that was put together */
	uint16_t crc;            /* received */
	uint16_t crc_made;
	unsigned length_said;
	uint32_t deviations;     /* HJ_D() bits */
	const char *error;       /* NULL, "crc", "length" or "segment" */
	unsigned parts;          /* in the decoder's array */
};

struct hj_device;

/* An answer owed to an upload, until the platform has taken its records. */
struct hj_ack {
	struct hj_ack *next;
	struct hj_device *dev;
	uint64_t ticket;
	uint16_t cn;             /* 9013 or 9014, 9022 */
	uint8_t version, calibrate;
	char qn[24];
	char pw[HJ_PW_MOST + 1];
	char polid[16];
};

struct hj_cmd;
struct hj_join;

#define HJ_MARKS_MOST 128u
struct hj_mark {
	char code[16];
	char mark[8];
};

#define HJ_RECENT 16u

struct hj_device {
	struct hj_device *next;
	struct hj_conn *conn;
	uint64_t handle;
	const struct hj_conf *conf;  /* of the host while attached; while only looked up, a copy */
	struct hj_conf *looked;      /* that copy, or NULL */
	struct hj_cmd *cmds;
	struct hj_join *joins;
	struct hj_mark *marks;       /* HJ_MARKS_MOST, or NULL */
	unsigned mark_count, join_count;
	uint64_t seen_ms;            /* monotonic: last frame */
	int64_t last_qn_ms;          /* of ours */
	uint64_t recent[HJ_RECENT];  /* hashes of frames */
	unsigned recent_at;
	int64_t newest[5];           /* DataTime of 2011, 2021, 2031, 2051, 2061; UTC ms */
	uint32_t over_ms, recount;   /* set by 1000; 0 and UINT32_MAX: not set */
	uint32_t rtd_s, min_m;       /* 0: not known */
	uint8_t attached, version, known_version, first_done, has_st;
	uint8_t pw_old_ok;           /* just set: the old one may still be under way */
	char st[4];
	char pw_seen[HJ_PW_MOST + 1];  /* what the device sends */
	char pw_set[HJ_PW_MOST + 1];   /* set by setPassword; empty: none */
	char pw_over[HJ_PW_MOST + 1];  /* the configured one it replaced */
	uint8_t mn_len;
	char mn[HJ_MN_MOST + 1];
};

struct hj_conn {
	struct hj_device *devices;
	struct hj_ack *acks;
	unsigned device_count, ack_count;
	uint64_t next_ticket;
	const struct hj_conf *conf; /* of the listener */
	uint64_t armed_ms;    /* when the timer runs out (monotonic); 0: it is not armed */
	uint8_t refused;      /* the frame that comes again is of an identity nobody wants */
};

struct cw_decoder {
	const struct cw_host *host;
	void *hx;
	void *to_utf8, *to_gbk;    /* iconv_t */
	struct hj_conf *fallback;  /* owned: defaults, where the host gives no settings */
	struct hj_part *parts;     /* HJ_PARTS_MOST */
	uint8_t *scratch;          /* HJ_SCRATCH: records and replies */
	uint8_t *joined;           /* HJ_JOIN_MOST */
	int16_t slots[4096];       /* codes of the message at hand: index of the head part, -1: free */
	uint16_t used_slots[HJ_PARTS_MOST];
	unsigned used_count;
	char out[HJ_FRAME_MAX + 1024];
};

/* ---- hj212_frame.c ---- */
uint16_t hj_crc(const void *ptr, size_t len);
int hj_frame(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes in, struct cw_cut *ret_cut);
/* Judge the envelope of a frame: checksum, length, end. Fills crc*, length_said, segment, deviations, error. */
void hj_open_frame(struct cw_bytes frame, struct hj_msg *m);
/* Put ##, length, checksum and end around a segment of `len` bytes that stands at out + 6. Returns the length of the frame. */
size_t hj_close_frame(char *out, size_t len);

/* ---- hj212_parse.c ---- */
/* A frame to *ret, with its data area in d->parts. What cannot be used has ret->error. */
void hj_parse(struct cw_decoder *d, struct cw_bytes frame, struct hj_msg *ret);
/* The data area alone (put together from several frames) into d->parts. 0, or CW_EPROTO: too many parts. */
int hj_parse_cp(struct cw_decoder *d, struct cw_bytes cp, struct hj_msg *m);
/* A plain value by its name; empty when absent. */
struct cw_bytes hj_plain(const struct cw_decoder *d, const struct hj_msg *m, const char *name);
int hj_same_word(struct cw_bytes a, const char *b); /* upper and lower case alike */
int hj_digits(struct cw_bytes t, uint64_t *ret);    /* 1 when all decimal digits, at most 18 */
struct cw_bytes hj_strip(struct cw_bytes t);        /* blanks on both sides */

/* ---- hj212_codes.c ---- */
struct hj_code {
	const char *code, *name, *unit, *old; /* texts may be empty, never NULL */
};
const struct hj_code *hj_code_find(struct cw_bytes code);
/* By the code of 2005. */
const struct hj_code *hj_code_find_old(struct cw_bytes code);
/* 1 when the code has a form that the standards know. */
int hj_code_standard(struct cw_bytes code);
/* Suffixes of the standards, NULL at the end. */
extern const char *const hj_suffixes[];
/* 1 for a suffix of the standards. */
int hj_suffix_standard(struct cw_bytes suffix);

/* ---- hj212_conf.c ---- */
extern const struct cw_conf_field hj_conf_fields[];
int hj_settings(struct cw_decoder *d, struct cw_bytes settings, char *text, size_t len, void **ret_conf);
void hj_settings_free(struct cw_decoder *d, void *conf);

/* ---- hj212_text.c ---- */
int hj_text_init(struct cw_decoder *d);
void hj_text_fini(struct cw_decoder *d);
/* Put device text as UTF-8, converted from GBK when it is no UTF-8 (or as `charset` says). */
void hj_put_text(struct cw_decoder *d, struct cw_writer *w, unsigned charset, struct cw_bytes t);
/* UTF-8 to what the device reads; 0, or CW_EINVAL when it has no place there. */
int hj_to_device(struct cw_decoder *d, int gbk, struct cw_bytes utf8, struct cw_writer *w);
int hj_utf8_valid(struct cw_bytes t);
/* YYYYMMDDhhmmss (more digits are passed over) in the device's zone to UTC ms; 0 when it is no date. */
int hj_time(struct cw_bytes t, int zone_min, int64_t *ret_ms);
/* 17 digits with milliseconds, or 14 without. */
void hj_time_text(int64_t utc_ms, int zone_min, int millis, char out[18]);
/* A number as exact decimal. 1, or 0 when it is none. */
int hj_put_number(struct cw_writer *w, struct cw_bytes t);
/* Days since 1970 of a civil date. */
int64_t hj_days(int64_t y, unsigned m, unsigned d);

/* ---- hj212_fields.c ---- */
/* Deviations that only the values show; bits. */
uint32_t hj_value_deviations(const struct cw_decoder *d, const struct hj_conf *conf, const struct hj_msg *m);
int hj_is_null(const struct hj_conf *conf, struct cw_bytes value);
int hj_is_text_suffix(struct cw_bytes suffix);
/* The value of `code`-`suffix` of a chain; NULL: none. */
const struct hj_part *hj_in_chain(const struct cw_decoder *d, const struct hj_part *head, const char *suffix);
/* A value by its kind: number, text, null. `head`: of its chain, for the mark. */
void hj_put_value(struct cw_decoder *d, struct cw_writer *w, const struct hj_conf *conf, const struct hj_part *head, const struct hj_part *p);
/* Code as it is published: that of 2017 when the setting asks for it. */
struct cw_bytes hj_public_code(const struct hj_conf *conf, struct cw_bytes code);
/* `factors`: an array of maps, one a code. */
void hj_put_factors(struct cw_decoder *d, struct cw_writer *w, const struct hj_conf *conf, const struct hj_msg *m);
/* All of a data area, plain names first, as members of an open map. */
void hj_put_data(struct cw_decoder *d, struct cw_writer *w, const struct hj_conf *conf, const struct hj_msg *m);
/* UTC ms of DataTime; 0 when there is none that is a date. */
int hj_data_time(const struct cw_decoder *d, const struct hj_conf *conf, const struct hj_msg *m, int64_t *ret_ms);

/* ---- hj212_map.c ---- */
#define HJ_REPLAYED 1u /* late, or asked for */
/* Emit the records of an upload under `ticket`. How many, or CW_E*. */
int hj_publish(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, const struct hj_msg *m, uint64_t ticket, unsigned how);
/* One property of the device's own, as RtdInterval. */
void hj_publish_number(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, const char *name, uint64_t value);

/* ---- hj212_inspect.c ---- */
void hj_inspect(struct cw_decoder *d, const struct cw_event *ev, const struct hj_conf *conf, const struct hj_msg *m, int accepted);

/* ---- hj212_join.c ---- */
/*
 * A frame with a piece of a data area: 1 when it was the last and m->cp, m->parts are those of the whole (in d->joined),
 * 0 when it is kept, CW_E* when it is dropped.
 */
int hj_join(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, struct hj_msg *m);
void hj_join_free(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev);
/* When the oldest runs out (monotonic; UINT64_MAX: none), and: drop those that have. */
uint64_t hj_join_due(const struct hj_conf *conf, const struct hj_device *dev);
void hj_join_expire(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev);

/* ---- hj212_service.c ---- */
#define HJ_LONG 1u     /* may take minutes */
#define HJ_NOTIFY 2u   /* answered with 9013 alone */
#define HJ_COLLECT 4u  /* packets between 9011 and 9012 belong into the reply, as a list */
#define HJ_READ 8u     /* one packet with values belongs into the reply */
#define HJ_PASSWORD 16u
/*
 * A command as a plan: texts "cn\0flags\0cp\0" one after another, into `w`. 0, or CW_E* with a sentence in why[len];
 * CW_ENOENT: no such command; CW_EUNSUPPORTED: not in this edition.
 */
int hj_plan(struct cw_decoder *d, const struct cw_event *ev, const struct hj_device *dev, const struct cw_record *rec, struct cw_writer *w,
            char *why, size_t len);

/* ---- hj212_command.c ---- */
int hj_command(struct cw_decoder *d, const struct cw_event *ev);
/* A request of our own; nobody waits for it. `plan` as of hj_plan(). */
void hj_command_own(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, struct cw_bytes plan);
void hj_plan_step(struct cw_writer *w, unsigned cn, unsigned flags, const char *cp);
/* 9011, 9012, 9013 and 9014 of the device. */
void hj_command_answer(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, const struct hj_msg *m);
/* 1 when the data belongs to an open request and is in its reply; 2: it belongs to it, but is to be published. */
int hj_command_data(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, const struct hj_msg *m);
void hj_command_cancelled(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, uint64_t id);
void hj_command_drop(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev);
uint64_t hj_command_due(const struct hj_device *dev);
void hj_command_expire(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev);

/* ---- hj212_device.c ---- */
struct hj_device *hj_device_find(struct hj_conn *c, struct cw_bytes mn);
struct hj_device *hj_device_new(struct cw_decoder *d, const struct cw_event *ev, struct hj_conn *c, struct cw_bytes mn);
void hj_device_free(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev);
void hj_device_forget_settings(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev);
void hj_device_load(struct hj_device *dev, struct cw_bytes saved);
void hj_device_save(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev);
const struct hj_conf *hj_conf_of(struct cw_decoder *d, const struct hj_conn *c, const struct hj_device *dev);
int hj_password_good(const struct hj_conf *conf, struct hj_device *dev, struct cw_bytes pw);
/* The password to send it. */
const char *hj_password_of(const struct hj_conf *conf, const struct hj_device *dev);
unsigned hj_version_of(const struct hj_conf *conf, const struct hj_device *dev);
/* Note how the device writes. */
void hj_device_learn(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, const struct hj_msg *m);
uint64_t hj_offline_ms(const struct hj_conf *conf, const struct hj_device *dev);
/* 1 when this frame was seen shortly before. */
/* What two copies of a frame share, 28 bytes. */
void hj_frame_key(const struct cw_decoder *d, const struct hj_msg *m, uint8_t key[32]);
int hj_seen_before(struct hj_device *dev, const struct hj_msg *m);

/* ---- hj212_answer.c ---- */
/* Note what is owed; 0: no room, or not for this message. Returns the ticket. */
uint64_t hj_answer_later(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, const struct hj_msg *m, unsigned cn);
void hj_answer_now(struct cw_decoder *d, const struct cw_event *ev, struct hj_conn *c, uint64_t ticket);
void hj_answer_never(struct cw_decoder *d, const struct cw_event *ev, struct hj_conn *c, uint64_t ticket);
void hj_answer_settled(struct cw_decoder *d, const struct cw_event *ev, struct hj_conn *c);
/* Nothing is owed any more: to one device, or (NULL) to all of the connection. */
void hj_answer_drop(struct cw_decoder *d, const struct cw_event *ev, struct hj_conn *c, const struct hj_device *dev);

/* ---- hj212_session.c ---- */
int hj_create(const struct cw_host *host, void *hx, struct cw_decoder **ret_decoder);
void hj_destroy(struct cw_decoder *d);
int hj_decode(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes frame);
int hj_event(struct cw_decoder *d, const struct cw_event *ev);
/* Something is due at that time (monotonic): the connection's one timer must not run out later. */
void hj_due(struct cw_decoder *d, const struct cw_event *ev, struct hj_conn *c, uint64_t at_ms);
void hj_count(struct cw_decoder *d, unsigned counter);

#endif
