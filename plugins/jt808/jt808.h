/*
 * jt808.h - the parts of the JT/T 808 decoder.
 *
 * The story of one terminal: it connects, registers (0x0100) and is given a code,
 * authenticates with the code (0x0102), becomes a device of the platform, then
 * reports positions (0x0200) that are answered once their records are settled.
 * A command is one message (or several in a row) whose answer ends it.
 *
 *   jt808_frame.c     bytes <-> frames, header of all editions
 *   jt808_text.c      GBK, BCD time, hex, hashes
 *   jt808_inflate.c   the gzip of 0x0901
 *   jt808_inspect.c   what the decode tool sees
 *   jt808_conf.c      settings
 *   jt808_session.c   life of a connection: identity, answers, entries of the ops table
 *   jt808_state.c     what outlives a connection
 *   jt808_parts.c     messages that arrive in several frames
 *   jt808_decode*.c   bodies to values; one function serves inspecting and events
 *   jt808_map.c       values to properties and events of the thing model
 *   jt808_command.c   commands: sending, retransmission, completion
 *   jt808_encode*.c   service inputs to bodies
 *
 * All of it runs on the thread of one decoder instance. Bytes are lent unless said otherwise.
 */
#ifndef JT808_H
#define JT808_H

#include <causeway/plugin.h>

#define JT_FRAME_MAX 2100     /* longest frame on the wire, delimiters included */
#define JT_CONTENT_MAX 2100   /* unescaped */
#define JT_BODY_MAX 1023      /* of one frame */
#define JT_SCRATCH (256 * 1024)
#define JT_CODE_LEN 16        /* of a code we issue */

enum jt_edition { JT_2011, JT_2013, JT_2019 };

/* What is wrong with a frame; the names are in jt808_frame.c. */
#define JT_FLAW_ESCAPE 1u
#define JT_FLAW_SUM 2u
#define JT_FLAW_LAYOUT 4u
#define JT_FLAW_LENGTH 8u
#define JT_FLAW_NUMBER 16u
#define JT_FLAW_COUNT 32u /* fewer items than declared */
#define JT_FLAW_BODY 64u  /* the body does not fit the edition's layout */

/* Counters; the order is that of jt808_counters in plugin.c. */
enum jt_counter {
	JT_N_CHECKSUM, JT_N_LENGTH, JT_N_LAYOUT, JT_N_ESCAPE, JT_N_NUMBER, JT_N_ITEMS, JT_N_UNKNOWN, JT_N_BAD_BODY, JT_N_ENCRYPTED,
	JT_N_PARTS_DROPPED, JT_N_PARTS_ASKED, JT_N_RETRANSMITTED, JT_N_REPLY_UNMATCHED, JT_N_AUTH_FAILED, JT_N_UNIDENTIFIED,
	JT_N_JOINED, JT_N_MEDIA_LOST, JT_N_COUNT
};

/* One frame taken apart. */
struct jt_msg {
	uint16_t id, attr, serial;
	uint16_t total, index; /* 0: not a part of a longer message */
	uint16_t length_said;  /* by the header */
	uint8_t wide;          /* 10-byte number and version byte */
	uint8_t vendor;        /* one-byte serial (0x5501, 0x5502) */
	uint8_t version;
	uint8_t edition;
	uint8_t sum, sum_made; /* carried, computed */
	uint8_t number_len;
	uint8_t number[10];
	uint32_t flaws;
	struct cw_bytes body;
};

struct jt_conf {
	uint8_t strict, identify_by_any, unknown_result, ack_answers, edition_default, edition_fixed, count_word, change_only, imei, join_unescaped;
	uint8_t zero_number;   /* 0 refuse, 1 accept, 2 the authentication code is the identity */
	uint8_t auth;          /* 0 issued, 1 any, 2 secret */
	uint8_t retry_growth;  /* 0 factorial, 1 linear, 2 fixed */
	uint8_t store_media, alarm_result, unknown_register, percent_fuel;
	int16_t zone_min;      /* minutes east of UTC */
	uint32_t unknown_close_ms, auth_close_ms;
	uint32_t wait_ms, wait_max_ms, retries;
	uint32_t part_size, part_burst, part_pause_ms;
	uint32_t parts_max_bytes, parts_max_open, parts_max_count, parts_ask_ms, parts_asks, parts_drop_ms;
	uint32_t inflate_max;
	uint32_t key_e;
	uint8_t key_n[128];
	uint8_t has_key;
	uint8_t secret_len;
	char secret[256];
};

struct jt_parts; /* jt808_parts.c */
struct jt_cmd;   /* jt808_command.c */

enum jt_state { JT_NEW, JT_REGISTERED, JT_ONLINE };
enum jt_wait { JT_WAIT_NONE, JT_WAIT_REGISTER, JT_WAIT_AUTH_LOOKUP, JT_WAIT_AUTH, JT_WAIT_ANY, JT_WAIT_KEPT, JT_WAIT_INSPECT };

/*
 * One connection. Kept small: an idle terminal costs this and nothing else;
 * what is needed only for a while hangs on pointers.
 */
struct jt_conn {
	uint8_t state, wait, edition, wide, bit14, version, locked, seen;
	uint8_t number_len, attached, code_len;
	uint8_t busy, skip;             /* a frame waits for identify(): it is shown again; and is done with then */
	uint8_t kept;                   /* nobody knows the number, and the host keeps its frames */
	uint8_t number[10];
	uint16_t serial;                /* of our next message */
	uint16_t wait_serial, wait_id;  /* the message that waits for identify() */
	uint32_t ticket;
	uint32_t alarm, status;         /* words of the last live report */
	uint32_t replay_alarm;          /* the same of replayed ones, judged in their own order */
	uint8_t has_status;
	uint16_t reg_len;
	char code[JT_CODE_LEN];
	uint64_t device;
	uint8_t *held;                  /* owned: the body of 0x0102 */
	uint32_t held_len;
	uint8_t *reg;                   /* owned: edition byte and body of a 0x0100 not yet published */
	struct jt_parts *parts;         /* owned */
	struct jt_cmd *cmd;             /* owned */
};

struct cw_decoder {
	const struct cw_host *host;
	void *hx;
	void *to_utf8, *to_gbk; /* iconv_t */
	struct jt_conf *fallback; /* owned: defaults, where the host gives no settings */
	uint8_t key[16];        /* of the codes we issue */
	uint64_t issued;
	uint8_t *scratch;       /* JT_SCRATCH: records and replies */
	uint8_t content[JT_CONTENT_MAX + 64];
	uint8_t out[JT_FRAME_MAX + 64];
};

/* What a body decoder writes to. */
struct jt_out {
	struct cw_writer w;
	struct cw_decoder *d;
	const struct jt_conf *conf;
	int tm;            /* 0: names of an inspecting tool, 1: names of the thing model */
	uint32_t flaws;    /* JT_FLAW_COUNT, JT_FLAW_BODY found on the way */
	int64_t now_ms;
	int edition;       /* of the message at hand */
};

/* ---- jt808_frame.c ---- */
int jt_frame(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes in, struct cw_cut *ret_cut);
/* Unescape `frame` (with or without delimiters) into d->content and take its header apart. 0 or CW_EPROTO: too short to be a frame. */
int jt_parse(struct cw_decoder *d, struct cw_bytes frame, uint8_t edition_default, struct jt_msg *ret);
/* 1 when the frame may be used. */
int jt_acceptable(const struct jt_msg *m, int strict);
/* Build one frame into out[JT_FRAME_MAX + 64]; total 0 for a whole message. Returns its length. */
size_t jt_build(const struct jt_conn *c, uint16_t id, uint16_t serial, unsigned total, unsigned index, struct cw_bytes body, uint8_t *out);
/* Number as text: digits or hex, zeros kept. Returns the length, at most 20; out[21] is terminated. */
size_t jt_number_text(const uint8_t *number, unsigned len, char *out);
/* Identity of a number: without leading zeros, IMEI rule; 0 when all zero. out[24]. */
size_t jt_identity(const struct jt_conf *conf, const uint8_t *number, unsigned len, char *out);
const char *jt_edition_name(int edition);

/* ---- jt808_inspect.c ---- */
void jt_inspect_header(struct cw_decoder *d, const struct cw_event *ev, const struct jt_msg *m, uint32_t more_flaws);
/* Each member of an encoded map as a field; `at` and `len` say where the body is. */
void jt_show_fields(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes map, size_t at, size_t len);
/* A body as one encoded map under the inspecting names. */
void jt_put_body(struct jt_out *o, const struct jt_msg *m);

/* ---- jt808_text.c ---- */
int jt_text_init(struct cw_decoder *d);
void jt_text_fini(struct cw_decoder *d);
/* Put GBK bytes as UTF-8 text. Trailing NULs are cut. Returns 0 when something had to be replaced. */
int jt_put_gbk(struct jt_out *o, struct cw_bytes s);
/* UTF-8 to GBK; 0, or CW_EINVAL when a character has no place in GBK. */
int jt_to_gbk(struct cw_decoder *d, struct cw_bytes utf8, struct cw_writer *w);
void jt_put_hex(struct cw_writer *w, struct cw_bytes b);
/* Hex digits to bytes; 0 when malformed. */
int jt_unhex(struct cw_bytes text, struct cw_writer *w);
/* YYMMDDhhmmss in the device's zone to UTC ms; 0 when it is no date. */
int jt_bcd_time(const uint8_t *bcd, int zone_min, int64_t *ret_ms);
void jt_write_bcd_time(struct cw_writer *w, int64_t utc_ms, int zone_min);
/* Days since 1970 of a civil date, and back. */
int64_t jt_days(int y, int m, int d);
void jt_civil(int64_t days, int *y, int *m, int *d);
struct cw_bytes jt_trim(struct cw_bytes s);  /* trailing NULs */
struct cw_bytes jt_strip(struct cw_bytes s); /* NULs on both sides, spaces behind */
int jt_printable(struct cw_bytes s);
void jt_siphash(const uint8_t key[16], struct cw_bytes data, uint64_t extra, uint8_t out[16]);

/* ---- jt808_inflate.c ---- */
/* Unpack a gzip member into `w`. 1; 0 when it is damaged or does not fit (what was written is then worthless). */
int jt_inflate(struct cw_bytes gzip, struct cw_writer *w);

/* ---- jt808_conf.c ---- */
extern const struct cw_conf_field jt_conf_fields[];
int jt_settings(struct cw_decoder *d, struct cw_bytes settings, char *text, size_t len, void **ret_conf);
void jt_settings_free(struct cw_decoder *d, void *conf);

/* ---- jt808_session.c ---- */
int jt_create(const struct cw_host *host, void *hx, struct cw_decoder **ret);
void jt_destroy(struct cw_decoder *d);
int jt_decode(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes frame);
int jt_event(struct cw_decoder *d, const struct cw_event *ev);
/* Send one message that fits a frame, with the next serial. */
int jt_send(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, uint16_t id, struct cw_bytes body);
void jt_reply(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, uint16_t serial, uint16_t id, int result);
/* Act on a whole message of an identified terminal (body may be a reassembled one) and answer it. */
int jt_message(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m);
void jt_count(struct cw_decoder *d, unsigned counter, uint64_t n);
/* A ticket says by itself what to answer when it settles. `alarm`: the report carries an alarm bit. */
uint64_t jt_ticket(struct jt_conn *c, const struct jt_msg *m, int alarm);
uint64_t jt_ticket_media(struct jt_conn *c, uint16_t serial, uint32_t media_id);
const struct jt_conf *jt_conf_of(const struct cw_decoder *d, const struct cw_event *ev);
void jt_out_init(struct jt_out *o, struct cw_decoder *d, const struct cw_event *ev, int tm, void *buf, size_t size);

/* ---- jt808_state.c ---- */
void jt_save(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c);
/* Take over what was saved; edition only when it is not fixed by a setting, header only when none is known yet. */
void jt_load(struct jt_conn *c, struct cw_bytes saved, int fixed_edition);
unsigned jt_header_word(const struct jt_conn *c);
/* Hold the body of a 0x0100 until it can be published. */
void jt_keep_reg(struct jt_conn *c, int edition, struct cw_bytes body);
void jt_drop_reg(struct jt_conn *c);

/* ---- jt808_parts.c ---- */
#define JT_TIMER_PARTS 1
#define JT_TIMER_COMMAND 2
/* Take in one part; calls jt_message() when the message is whole, answers the part otherwise. */
int jt_part(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m);
/* A whole 0x0801: 1 when its data went to an attachment and the event is out, 0: publish it inline. */
int jt_media(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m);
void jt_parts_timer(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c);
void jt_parts_free(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c);
/* Inspecting: 1 and the whole body (in scratch, valid until the next call) when this part completes it. */
int jt_part_inspect(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m, struct cw_bytes *ret_body);

/* ---- jt808_decode.c: writes the members of a map (not its begin and end) ---- */
/* 0; CW_EPROTO: too short; CW_ENOENT: no such message. */
int jt_decode_body(struct jt_out *o, const struct jt_msg *m);
int jt_known(uint16_t id);
void o_uint(struct jt_out *o, const char *vec, const char *tm, uint64_t v);
void o_key(struct jt_out *o, const char *vec, const char *tm);
void o_text(struct jt_out *o, const char *vec, const char *tm, struct cw_bytes gbk);
void o_hex(struct jt_out *o, const char *vec, const char *tm, struct cw_bytes b);
void o_bits(struct jt_out *o, const char *vec, uint32_t word, unsigned width);
void o_time(struct jt_out *o, const char *vec, const char *tm, struct cw_bytes bcd);
void o_hexnum(struct jt_out *o, const char *vec, const char *tm, uint32_t v, int digits);
/* What is left of a body, when anything is. */
void o_tail(struct jt_out *o, struct cw_reader *r);
/* A list of n numbers of `size` bytes, cut short by the end of the body. */
void o_numbers(struct jt_out *o, const char *vec, const char *tm, struct cw_reader *r, uint32_t n, unsigned size, int as_hex);
/* 1 when the name applies in this mode */
int o_has(const struct jt_out *o, const char *vec, const char *tm);

/* ---- jt808_decode_loc.c ---- */
struct jt_loc {
	uint32_t alarm, status, lat, lon;
	uint16_t altitude, speed, direction;
	const uint8_t *time;
	struct cw_bytes items;
};
int jt_loc_read(struct cw_bytes body, struct jt_loc *ret);
/* Degrees x 10^6 with sign. */
int32_t jt_signed(uint32_t raw, int negative);
void jt_put_location(struct jt_out *o, const struct jt_loc *l, int with_items); /* a whole map */
void jt_location_members(struct jt_out *o, const struct jt_loc *l, int with_items);
struct jt_item { uint8_t id; struct cw_bytes data; };
int jt_item_next(struct cw_reader *r, struct jt_item *ret); /* 1; 0 at the end or at what is no item (r stays there) */

/* ---- jt808_decode_media.c ---- */
int jt_body_media(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r);
int jt_body_media_answer(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r);
int jt_body_media_found(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r);
int jt_body_shot(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r);
int jt_body_media_query(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r);
int jt_body_transparent(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r);
int jt_body_gzip(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r);
int jt_body_key(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r);

/* ---- jt808_decode_set.c: parameters, areas, menus ---- */
int jt_body_params(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r);
int jt_body_area(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r);
int jt_body_areas_found(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r);
int jt_body_menu(struct jt_out *o, const struct jt_msg *m, struct cw_reader *r);
/* Type of a parameter: 'd', 'w', 'b', 's' or 'h' (bytes). */
char jt_param_type(uint32_t id, int edition);

/* ---- jt808_map.c ---- */
int jt_publish(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m, uint64_t ticket, int *ret_emitted);
void jt_publish_raw(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m, uint64_t ticket);
void jt_publish_identity(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *auth);
/* An info event with an encoded map as body. Two with equal `same` (may be empty) are one. 0 or what emit() said. */
int jt_publish_event(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const char *name, struct cw_bytes body,
                     struct cw_bytes same, uint64_t ticket);
void jt_put_props(struct jt_out *o, const struct jt_loc *l, const struct jt_conn *c, int edition); /* members */
void jt_publish_params(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m, uint64_t ticket, int *ret_emitted);
const char *jt_param_name(uint32_t id);
uint32_t jt_param_of(struct cw_bytes name); /* 0: none */

/* ---- jt808_command.c ---- */
int jt_command(struct cw_decoder *d, const struct cw_event *ev);
void jt_command_cancelled(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c);
void jt_command_block(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c);
void jt_command_timer(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c);
/* The way to the device is gone: forget the command, or end it when that was its purpose. */
void jt_command_drop(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c);
/* A general reply or another answer came in. 1 when it belonged to the command at hand. */
int jt_command_reply(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m);
/* 0x0005: resend the listed parts. */
void jt_command_resend(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m);

/* CW_EV_BROADCAST: one message to every terminal. */
void jt_broadcast(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c);

/* ---- jt808_encode.c ---- */
/* What a service becomes: messages in a row, each {id u16, length u32, body} in `w`. */
struct jt_plan {
	struct cw_writer w;
	struct cw_decoder *d;
	const struct jt_conf *conf;
	int edition;
	uint16_t answer;       /* dedicated answer that ends it; 0: general reply */
	uint8_t no_wait;       /* nothing answers */
	uint8_t both;          /* general reply first, then `answer` if the terminal has it */
	uint8_t cut_is_done;   /* the connection may go before the answer */
	uint8_t file;          /* the data of 0x8108 comes in blocks of the host's file */
	uint32_t file_size;
	size_t start;          /* of the message being written */
	char why[120];         /* of a refusal */
};
void jt_plan_begin(struct jt_plan *p, uint16_t id);
void jt_plan_end(struct jt_plan *p);
int jt_fail(struct jt_plan *p, const char *why);
/* 0; CW_EINVAL: bad input; CW_EUNSUPPORTED: no such service; CW_ENOENT: not in this edition. */
int jt_encode_service(struct jt_plan *p, struct cw_bytes name, struct cw_bytes input);
int jt_encode_properties(struct jt_plan *p, struct cw_bytes body);
int jt_encode_area_service(struct jt_plan *p, struct cw_bytes name, struct cw_bytes input);
/* Input helpers, shared by the encode files. `absent` is the default, or JT_NEEDED. */
#define JT_NEEDED INT64_MIN
int jt_fail_key(struct jt_plan *p, const char *key, const char *why);
/* Bytes, or text of hex digits; absent counts as empty. */
int jt_in_hex(struct jt_plan *p, struct cw_bytes in, const char *key, struct cw_writer *w);
int jt_in_int(struct jt_plan *p, struct cw_bytes in, const char *key, int64_t min, int64_t max, int64_t absent, int64_t *ret);
int jt_in_text(struct jt_plan *p, struct cw_bytes in, const char *key, size_t max, struct cw_writer *w, size_t *ret_len);
int jt_in_time(struct jt_plan *p, struct cw_bytes in, const char *key, int64_t *ret);
int jt_name_is(struct cw_bytes name, const char *text);

/* ---- jt808_encode_data.c ---- */
int jt_enc_collect_recorder(struct jt_plan *p, struct cw_bytes in);
int jt_enc_set_recorder(struct jt_plan *p, struct cw_bytes in);
int jt_enc_take_photo(struct jt_plan *p, struct cw_bytes in);
int jt_enc_search_media(struct jt_plan *p, struct cw_bytes in);
int jt_enc_upload_media(struct jt_plan *p, struct cw_bytes in);
int jt_enc_upload_media_by_id(struct jt_plan *p, struct cw_bytes in);
int jt_enc_record_audio(struct jt_plan *p, struct cw_bytes in);
int jt_enc_send_transparent(struct jt_plan *p, struct cw_bytes in);
int jt_enc_send_key(struct jt_plan *p, struct cw_bytes in);
int jt_enc_send_raw(struct jt_plan *p, struct cw_bytes in);

#endif
