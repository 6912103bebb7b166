/*
 * gb26875.h - the parts of the GB/T 26875.3-2011 decoder.
 *
 * The story of one user-information transmission device (UTD): it connects and sends. The source
 * address of its first good frame is its identity; the frame is decoded once the device is known.
 * Each upload becomes records and is confirmed when their ticket settles, or denied so that it is
 * sent again. Meanwhile one request at a time goes down: first those of our own (clock, versions),
 * then the services. After a silence the device counts as offline.
 *
 *   gb26875_frame.c      bytes <-> frames
 *   gb26875_text.c       time labels, GB 18030, hex
 *   gb26875_adu.c        application data units <-> objects, by one table of types
 *   gb26875_names.c      names and units of codes and bits
 *   gb26875_inspect.c    what the decode tool sees
 *   gb26875_conf.c       settings
 *   gb26875_session.c    life of a connection: identity, silence, entries of the ops table
 *   gb26875_upload.c     one frame from the device: checks, answers, open tickets
 *   gb26875_map.c        objects to properties and events of the thing model
 *   gb26875_systems.c    what is known of the facilities behind a UTD
 *   gb26875_components.c components as devices of their own
 *   gb26875_request.c    the link down: queue, time limit, resends, answers
 *   gb26875_service.c    services to requests
 *
 * All of it runs on the thread of one decoder instance. Bytes are lent unless said otherwise.
 * Numbers of clauses are those of the standard.
 */
#ifndef GB26875_H
#define GB26875_H

#include <causeway/plugin.h>

#define GB_ADU_MAX 1024       /* 6.2: longest application data unit */
#define GB_HEAD 27            /* bytes before it: marker, control unit */
#define GB_TAIL 3             /* checksum, end marker */
#define GB_FRAME_MAX (GB_HEAD + GB_ADU_MAX + GB_TAIL)
#define GB_SCRATCH (64 * 1024)
#define GB_ZONE_MS (8 * 3600 * 1000ll) /* time labels are China local time */

/* Command bytes (table 2). */
enum gb_command { GB_CONTROL = 1, GB_SEND = 2, GB_CONFIRM = 3, GB_REQUEST = 4, GB_RESPONSE = 5, GB_DENY = 6 };

/* What is wrong with a frame. */
enum gb_error { GB_OK, GB_E_LENGTH, GB_E_TERMINATOR, GB_E_CHECKSUM, GB_E_COMMAND, GB_E_ADU };

/* Counters; the order is that of gb26875_counters in plugin.c. */
enum gb_counter {
	GB_N_CHECKSUM, GB_N_TERMINATOR, GB_N_LENGTH, GB_N_COMMAND, GB_N_ADU, GB_N_PARTIAL, GB_N_UNKNOWN_TYPE, GB_N_UNMATCHED, GB_N_DENIED,
	GB_N_DENIES_HELD, GB_N_DENIED_PENDING, GB_N_HEARTBEATS, GB_N_RESENT, GB_N_TIMED_OUT, GB_N_DENIED_BY, GB_N_FOREIGN_PROTOCOL, GB_N_SILENT,
	GB_N_UNIDENTIFIED, GB_N_RANGE, GB_N_COUNT
};

/* One frame taken apart. */
struct gb_msg {
	uint16_t serial;
	uint8_t version_main, version_user, command;
	uint8_t sum, sum_made;
	uint8_t error;        /* enum gb_error, of the frame alone */
	uint16_t length;      /* said by the header */
	const uint8_t *time;  /* 6 bytes */
	const uint8_t *source, *destination; /* 6 bytes, wire order */
	struct cw_bytes adu;
	uint8_t print[16];    /* gb_fingerprint() */
};

/* The forms an object takes (table 3 and clause 8). */
enum gb_shape {
	GB_NONE, GB_SYSTEM_STATE, GB_COMPONENT_STATE, GB_ANALOGUE, GB_OPERATION, GB_VERSION, GB_CONFIG, GB_COMPONENT_CONFIG, GB_CLOCK,
	GB_UTD_STATE, GB_UTD_OPERATION, GB_UTD_VERSION, GB_UTD_CONFIG, GB_UTD_CLOCK, GB_OF_SYSTEM, GB_OF_COMPONENT, GB_RECORDS,
	GB_UTD_RECORDS, GB_RESERVED, GB_MINUTES
};

struct gb_type {
	uint8_t type, shape;
	uint8_t most;   /* objects in one unit */
	uint8_t size;   /* of an object; of GB_CONFIG and GB_UTD_CONFIG: without the text */
	uint8_t down;   /* from the centre */
};

/* One information object; what its shape does not have is 0. */
struct gb_object {
	const struct gb_type *type;
	uint8_t system_type, system_address, component_type, analogue_type;
	uint32_t component;
	uint16_t status;       /* also operation flags */
	int16_t raw;
	uint8_t operator_no, major, minor, count, minutes, reserved;
	struct cw_bytes text;
	const uint8_t *time;   /* 6 bytes or NULL */
};

/* A walk over the objects of a unit. */
struct gb_walk {
	const struct gb_type *type; /* NULL: not a type we know */
	uint8_t number, count;      /* as the unit says */
	uint8_t given;              /* objects that are whole */
	uint8_t fits;               /* count and bytes agree */
	uint16_t size;              /* bytes of one; 0: varies */
	struct cw_reader r;
	uint8_t left;
};

enum { GB_ID_HEX, GB_ID_DECIMAL, GB_ID_REVERSED };
enum { GB_ZERO_BOUND, GB_ZERO_DESTINATION, GB_ZERO_REMOTE, GB_ZERO_REFUSE };
enum { GB_BIT0_IGNORE, GB_BIT0_STANDARD, GB_BIT0_INVERTED };
enum { GB_TIME_AUTO, GB_TIME_BINARY, GB_TIME_BCD };
enum { GB_LOOP_LOW, GB_LOOP_HIGH, GB_LOOP_NONE };

#define GB_READS_MOST 16
#define GB_VENDOR_MOST 8

struct gb_step { uint8_t code, set; int16_t mantissa; int8_t exponent; };

struct gb_conf {
	uint8_t strict, identity, zero, bit0, time_form, loop, vendor_bits, utf8, confirm_copies_time, children, vendor_clock;
	uint8_t time_sync, silence_closes, resend_on_deny;
	uint8_t reads[GB_READS_MOST];          /* request types after the first contact, 0 ends */
	uint16_t vendor[GB_VENDOR_MOST];       /* command << 8 | type of accepted private uploads; 0x1ff: none */
	uint8_t vendor_any[GB_VENDOR_MOST];    /* 1: with an empty unit, 2: with that type */
	uint32_t incomplete_ms, request_ms, resends, sync_ms, silence_ms, duty_margin_ms, recheck_ms, components_most;
	uint32_t denies, foreign_after;
	struct gb_step steps[256];
};

struct gb_upload;    /* gb26875_upload.c: an answered-when-settled frame */
struct gb_request;   /* gb26875_request.c: a command or a read of our own */
struct gb_component; /* gb26875_components.c */
struct gb_system;    /* gb26875_systems.c */

#define GB_TIMER_LINK 1    /* answer to the open request */
#define GB_TIMER_SILENCE 2
#define GB_TIMER_DUTY 3    /* duty checks that wait for the operator */

struct gb_rate { uint64_t from_ms; uint32_t left; };

/* One connection. */
struct gb_conn {
	uint64_t device;            /* 0: not attached */
	uint64_t heard_ms;          /* monotonic, of the last good frame */
	uint8_t attached, asked, refused, contacted, bcd, published;
	uint8_t silenced;           /* let go by us, for its silence */
	uint8_t version_main, version_user;
	uint8_t source[6], centre[6]; /* of the device's frames */
	const struct gb_conf *conf; /* of the device, as long as it is attached; NULL: the event's */
	char *utd;                  /* owned: identity of the device */
	char *bound;                /* owned: identity the configuration binds, or NULL */
	uint16_t serial;            /* of our next new request */
	uint32_t bad_run;           /* refused frames in a row */
	struct gb_rate denies, told; /* told: malformed events */
	uint64_t ticket;
	struct gb_upload *uploads;  /* owned */
	size_t upload_count;
	uint64_t denied[8];         /* uploads denied because the platform is away: once each */
	uint8_t denied_next;
	struct gb_request *queue;   /* owned; the first one is on the wire */
	struct gb_request *duty;    /* owned; confirmed duty checks */
	struct gb_component *components; /* owned, sorted by key */
	size_t component_count, component_size, component_asked;
	struct gb_system *systems;  /* owned */
	size_t system_count, system_size;
};

struct cw_decoder {
	const struct cw_host *host;
	void *hx;
	void *to_utf8;            /* iconv_t */
	struct gb_conf *fallback; /* owned: defaults, where the host gives no settings */
	uint8_t *scratch;         /* GB_SCRATCH: records and replies */
	uint8_t out[GB_FRAME_MAX];
};

/* Everything a call of ours is about. */
struct gb_call {
	struct cw_decoder *d;
	const struct cw_event *ev;
	struct gb_conn *c;
	const struct gb_conf *conf;
};

/* How objects are written: names of the decode tool, or of the thing model. */
struct gb_style {
	const struct gb_conf *conf;
	struct cw_decoder *d;
	int tool;
	int bcd;
};

/* ---- gb26875_frame.c ---- */
int gb_frame(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes in, struct cw_cut *ret_cut);
/* 1; 0: not even the head of a frame. */
int gb_parse(struct cw_bytes frame, struct gb_msg *ret);
uint8_t gb_sum(const uint8_t *p, size_t n);
/* A whole frame into out[GB_FRAME_MAX]; returns its length. `adu` is at most GB_ADU_MAX. */
size_t gb_build(uint8_t *out, const struct gb_msg *m);
const char *gb_error_name(int error);
const char *gb_command_name(uint8_t command);

/* ---- gb26875_text.c ---- */
int gb_text_init(struct cw_decoder *d);
void gb_text_fini(struct cw_decoder *d);
/* A text field as UTF-8 item: to the first NUL, without trailing spaces and half characters. */
void gb_put_text(struct cw_writer *w, struct cw_decoder *d, int utf8, struct cw_bytes text);
void gb_put_hex(struct cw_writer *w, struct cw_bytes b);
void gb_hex(char *out, const uint8_t *p, size_t n);
/* A time label to UTC ms; 0 when it is no date. */
int gb_time(const uint8_t *label, int bcd, int64_t *ret_ms);
void gb_write_time(uint8_t label[6], int64_t utc_ms, int bcd);
/* ISO 8601 with +08:00, or null. */
void gb_put_iso(struct cw_writer *w, const uint8_t *label, int bcd);
/* A member of the thing model's type date: UTC milliseconds, as text. */
void gb_put_date(struct cw_writer *w, const char *key, int64_t utc_ms);
/* Which of the two forms this header time is in: as it was, unless it says otherwise. */
int gb_guess_bcd(const struct gb_conf *conf, const uint8_t *label, int64_t now_ms, int was);

/* ---- gb26875_adu.c ---- */
const struct gb_type *gb_type_of(uint8_t number);
/* Begin a walk; 0 when the unit is too short to have objects. */
int gb_walk(struct gb_walk *k, struct cw_bytes adu);
int gb_next(struct gb_walk *k, struct gb_object *ret);
/* One object as a map. */
void gb_put_object(struct cw_writer *w, const struct gb_style *s, const struct gb_object *o);
/* Its members without the map around. */
void gb_put_members(struct cw_writer *w, const struct gb_style *s, const struct gb_object *o);

/* ---- gb26875_names.c ---- */
const char *gb_system_name(uint8_t type);    /* NULL: reserved or the vendor's */
const char *gb_component_name(uint8_t type); /* the same */
/* Names of the set bits, as array. */
void gb_put_flags(struct cw_writer *w, const struct gb_conf *conf, int shape, unsigned bits);
struct gb_quantity { const char *unit; int16_t mantissa; int8_t exponent; int16_t min; int32_t max; };
/* 0 when the code has no unit and no step. */
int gb_quantity_of(const struct gb_conf *conf, uint8_t code, struct gb_quantity *ret);

/* ---- gb26875_inspect.c ---- */
void gb_inspect(const struct gb_call *x, const struct gb_msg *m, int error);

/* ---- gb26875_conf.c ---- */
extern const struct cw_conf_field gb_conf_fields[];
int gb_settings(struct cw_decoder *d, struct cw_bytes settings, char *text, size_t len, void **ret_conf);
void gb_settings_free(struct cw_decoder *d, void *conf);

/* ---- gb26875_session.c ---- */
int gb_create(const struct cw_host *host, void *hx, struct cw_decoder **ret);
void gb_destroy(struct cw_decoder *d);
int gb_decode(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes frame);
int gb_event(struct cw_decoder *d, const struct cw_event *ev);
/* What a call is about, from its event. */
struct gb_call gb_call_of(struct cw_decoder *d, const struct cw_event *ev);
void gb_count(const struct gb_call *x, unsigned counter, uint64_t n);
/* 1 when what is sent would go nowhere and nothing may be asked of the device. */
int gb_mute(const struct gb_call *x);
/* Memory for the connection, zeroed, charged; NULL when there is none. */
void *gb_take(const struct gb_call *x, size_t n);
/* An array grown to twice (or `least`) its size, charged; 0 when there is no room. */
int gb_grow(const struct gb_call *x, void **array, size_t *size, size_t each, size_t least, size_t most);
void gb_give(const struct gb_call *x, void *p, size_t n);

/* ---- gb26875_upload.c ---- */
/* 16 bytes that frames with the same source, serial and data unit share. */
void gb_fingerprint(struct gb_msg *m);
/* What is wrong with a frame, data unit included. */
int gb_check(const struct gb_call *x, const struct gb_msg *m);
/* Deny it, in moderation. Returns CW_EPROTO. */
int gb_bad_frame(const struct gb_call *x, const struct gb_msg *m, int error, struct cw_bytes frame);
/* A good frame of the attached device. */
int gb_frame_in(const struct gb_call *x, const struct gb_msg *m, struct cw_bytes frame);
void gb_settled(const struct gb_call *x);
void gb_uploads_free(const struct gb_call *x);

/* ---- gb26875_map.c ---- */
/* The records of a unit. Returns 0, or why emit() refused; *ret_n counts the records. */
int gb_publish(const struct gb_call *x, const struct gb_msg *m, uint64_t ticket, unsigned *ret_n);
/* Those of a response: what is state, not occurrence. */
int gb_publish_state(const struct gb_call *x, const struct gb_msg *m);
void gb_publish_malformed(const struct gb_call *x, const char *reason, struct cw_bytes frame);
void gb_publish_version(const struct gb_call *x, const struct gb_msg *m);
/* requested: UTC ms, -1 when nobody asked; `m` and `answer` are NULL when the time is over. */
void gb_publish_duty(const struct gb_call *x, const char *name, int64_t requested, const struct gb_msg *m, const struct gb_object *answer);

/* ---- gb26875_systems.c ---- */
/* Keep what a 5, 6 or 8 says and write the whole property: name and array. 0 when it could not be kept. */
int gb_system_property(const struct gb_call *x, struct cw_writer *w, const struct gb_object *o);
void gb_systems_free(const struct gb_call *x);

/* ---- gb26875_components.c ---- */
/* Ask for all components of a unit that are not known yet; how many were asked. */
unsigned gb_components_ask(const struct gb_call *x, const struct gb_msg *m);
/* The device for readings of this component: its own or the UTD's. */
uint64_t gb_component_device(const struct gb_call *x, const struct gb_object *o);
/* An outcome; 1 when the identity is that of a component. */
int gb_component_outcome(const struct gb_call *x, int known);
int gb_component_detached(const struct gb_call *x);
/* The component whose device this is; 0 when it is none. */
int gb_component_of_device(const struct gb_conn *c, uint64_t device, struct gb_object *ret);
/* Detach them all. */
void gb_components_leave(const struct gb_call *x);
void gb_components_free(const struct gb_call *x);

/* ---- gb26875_request.c ---- */
/* `room`: bytes of its data units, and two for each. NULL: no memory. */
struct gb_request *gb_request_new(const struct gb_call *x, uint64_t id, uint8_t command, uint8_t type, size_t room);
void gb_request_add(struct gb_request *q, struct cw_bytes adu);
void gb_request_duty(struct gb_request *q, unsigned minutes);
/* A type 90 that tells the time at which it is sent. */
void gb_request_clock(struct gb_request *q);
void gb_request_start(const struct gb_call *x, struct gb_request *q);
/* A confirm, deny, response, or an upload that answers a read. 1 when it closed an exchange. */
int gb_request_answer(const struct gb_call *x, const struct gb_msg *m);
/* Bit 5 of type 24: the duty check is answered. 1 when one was open. */
int gb_duty_answered(const struct gb_call *x, const struct gb_object *o, int64_t *ret_requested);
void gb_request_timer(const struct gb_call *x);
void gb_duty_timer(const struct gb_call *x);
void gb_request_cancelled(const struct gb_call *x);
void gb_requests_free(const struct gb_call *x);
/* After the first contact: clock and reads. */
void gb_first_contact(const struct gb_call *x, const struct gb_msg *m);

/* ---- gb26875_service.c ---- */
int gb_command(struct cw_decoder *d, const struct cw_event *ev);

#endif
