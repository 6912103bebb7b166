/*
 * gateway_impl.h - what the files of this module share; nobody else includes it.
 *
 * On a worker: a `link` is one session with its connection to the decoder, an
 * `attachee` one device on it. On the control loop: a `tie` is the owner that the
 * bridge knows; worker and control name it by number, so that mails may cross.
 */
#ifndef CW_GATEWAY_GATEWAY_IMPL_H
#define CW_GATEWAY_GATEWAY_IMPL_H

#include <stdatomic.h>

#include "base/list.h"
#include "base/map.h"
#include "gateway/gateway.h"
#include "plugin/runner.h"

#define LISTENERS_MOST 64
#define CONNECTIONS_MOST 4096
#define UNKNOWN_CLOSE_MS 5000u

/* The rules of one listener or connection, as sessions see them. Never changed; a reload makes another. Kept until the gateway ends. */
struct binding {
	struct binding *next;
	struct cw_gateway *gateway;
	const struct cw_plugin_desc *protocol;
	size_t protocol_index;
	char name[65];
	char *identity; /* of a connection: who is at the other end, or NULL */
	enum cw_ack ack;
	int require_online, close_unknown;
	size_t max_noise, bytes_kept;
	uint8_t *settings;
	size_t settings_len;
	void **confs; /* one per worker: the plugin's form of the settings; of a connection only on its own */
};

struct bound {
	struct cw_listener *listener; /* or */
	struct cw_dial *dial;
	struct binding *binding; /* for new sessions */
	_Atomic(struct binding *) current;
	struct cw_gateway *gateway;
	char name[65];
};

/* Listeners, or connections, in no order. */
struct bound_list {
	struct bound **v; /* owned */
	size_t count, room, most;
};

/* Tells this worker when an upstream that was full has room. Kept until the gateway ends, as mails may name it. */
struct room {
	struct room *next;
	struct cw_upstream_watch watch;
	struct gw_worker *gw;
};

struct gw_worker {
	struct cw_gateway *gateway;
	struct cw_worker *worker;
	unsigned index;
	struct cw_map links;          /* by session id */
	struct cw_list stalled;       /* links with parcels that found no room */
	struct cw_list parting;       /* links whose session is gone, while their decoder works through what it was fed */
	struct cw_list spare_tickets;
	struct cw_runner **runners;   /* one per protocol */
	struct cw_list attachments;
	struct cw_list taps;          /* identities that somebody follows */
	struct cw_mail hold_mail, replays_mail;
	struct cw_list replays;       /* struct replay */
	uint64_t next_replay;
	uint8_t replays_over;         /* the gateway stops: nobody is told of them any more */
	uint8_t holding;              /* the gateway stops: sessions are not read any more */
};

/* Protocols out of service are tried again: to one worker. */
struct revival {
	struct cw_mail mail;
	struct gw_worker *gw;
};

struct attachee {
	struct attachee *next;
	struct cw_rdevice *rdev;
	struct cw_updevice *up;
	void *conf;      /* the device's own settings in the plugin's form, or NULL */
	uint64_t tie;
	uint8_t leaving; /* the decoder asked to detach it */
	uint8_t again;   /* identify() of what is attached already, so often */
	uint32_t linger_ms; /* how long it stays online without this connection */
};

struct link {
	struct cw_map_node node;
	struct gw_worker *gw;
	struct cw_session *net; /* NULL: frames that were kept (replay.c), or it is gone and the decoder is not through */
	struct replay *replay;  /* of those */
	int64_t asked_ms;       /* UTC, when identify() was called last: the frame at hand had just arrived */
	struct cw_conn *conn;
	struct binding *binding;
	uint64_t id;
	struct attachee *attached;
	struct cw_list tickets;  /* struct ticket with records on their way */
	struct cw_list open;     /* struct ticket of the call under way */
	struct cw_list stall;    /* gw->stalled */
	struct cw_list part;     /* gw->parting */
	struct cw_list parcels;  /* found no room */
	struct cw_timer *closer; /* a delayed close, heap */
	struct tap *tap;         /* somebody follows this session */
	uint8_t wide;            /* or all of its listener */
	uint8_t again;           /* some attachee has it */
	uint8_t asked;           /* identify() was called since the last frame */
	uint8_t *at_hand;        /* owned: of that frame a copy, where it may have to be kept; NULL: none */
	size_t at_hand_len;
	uint8_t has_rolls;       /* asked for all of a prefix: members.c is to hear of its end */
	uint8_t closing;
	uint8_t leaving; /* some attachee is */
};

struct ticket {
	struct cw_list link;
	struct link *of; /* NULL: the session is gone */
	struct gw_worker *gw;
	uint64_t number;
	unsigned outstanding;
	struct kept_frame *frame; /* of a replay: hears of the end; else NULL */
	uint8_t worst;   /* CW_SETTLED_* */
	uint8_t silent;  /* the decoder has no number for it */
	uint8_t told;    /* the decoder has had its SETTLED */
	uint8_t open;    /* the call that emits is not over */
};

/* Worker -> control -> worker: who is this? */
struct ask {
	struct cw_mail mail;
	struct gw_worker *gw;
	uint64_t session;
	struct binding *binding;
	uint8_t lookup, optional, members; /* CW_IDENTIFY_* */
	uint8_t replayed;                  /* by the connection of kept frames */
	uint64_t known_at;                 /* gateway->appeared when it was asked */
	uint8_t unasked;                   /* by members.c or pending.c: the decoder hears of it when it is found */
	struct roll *roll;                 /* control loop: is to hear the outcome; NULL: nobody */
	struct cw_list in_roll;
	struct tie *for_tie; /* control loop: whose attach is open */
	struct cw_attach attach;
	struct cw_question question; /* of a look-up; in gateway->lookups */
	struct cw_list link;
	char imei[64], mac[64];  /* as the decoder reports them; empty: not */
	char secret[128];        /* burned on the device; wiped */
	/* the answer */
	int refused;
	int count; /* of members */
	uint64_t tie;
	struct cw_updevice *up;
	uint8_t *settings; /* owned, may be NULL */
	size_t settings_len;
	char *found;       /* owned: product key, NUL, device name, NUL, saved bytes */
	size_t product_key_len, device_name_len, saved_len;
	size_t identity_len;
	char identity[];
};

/* A frame that was set aside. A mail to the control loop, then in a pend, then in a replay. */
struct kept_frame {
	struct cw_mail mail;
	struct cw_list link;
	struct gw_worker *gw;
	struct binding *binding;
	struct replay *replay;
	uint64_t session;     /* may be given the device; 0: may not */
	uint64_t known_at;    /* gateway->appeared when its device was asked for */
	int64_t arrived_ms;   /* UTC */
	unsigned outstanding; /* tickets */
	uint32_t flags;       /* CW_EVF_* of its connection */
	uint8_t open;         /* decode() is not through */
	uint8_t worst;        /* CW_SETTLED_* */
	uint8_t identity_len;
	uint32_t len;
	char peer[CW_ADDR_TEXT];
	uint8_t bytes[]; /* identity, frame */
};

/* Frames of one identity on their way to a decoder, on a worker until both mails went home. */
struct replay {
	struct cw_mail mail;      /* to the worker */
	struct cw_mail fed_mail;  /* home: all is decoded, or what is in `back` could not be */
	struct cw_mail done_mail; /* home: what is in `taken` is settled */
	struct cw_list here;      /* the worker's */
	struct cw_list frames;    /* to be decoded */
	struct cw_list taken;     /* decoded */
	struct cw_list back;      /* the last one first */
	struct kept_frame *current;
	struct gw_worker *gw;
	struct pend *pend;        /* control loop's */
	struct binding *binding;
	struct link *link;
	struct cw_timer timer;
	int64_t arrived_ms;       /* of the frame under way, or the last one */
	size_t unsettled;         /* of `taken` */
	int refused;              /* CW_REFUSED_*: stop */
	uint32_t flags;           /* CW_EVF_* */
	char peer[CW_ADDR_TEXT];
	uint8_t identity_len;
	char identity[CW_IDENTITY_MAX + 1];
};

/* Control: the owner of a device as the bridge sees it. */
struct tie {
	struct cw_map_node node;
	struct cw_gateway *gateway;
	struct gw_worker *gw;
	uint64_t id, session;
	const char *via;          /* name of the listener or connection; its binding's */
	struct cw_device *device; /* NULL while the attach is open */
	uint8_t is_member;        /* of a roll: counted there */
	struct ask *ask;          /* waits for the attach, and holds what the bridge keeps about it meanwhile */
};

struct cw_gateway {
	struct cw_gateway_conf conf;
	struct gw_worker *workers;
	struct binding *bindings;
	struct bound_list listeners, connections;
	struct cw_runner **checkers; /* one per protocol, on the control loop: checks settings */
	struct room *rooms;      /* one for each upstream that there was, and worker */
	struct cw_map ties;
	struct cw_list lookups;                     /* struct ask */
	struct pending *pending;                    /* pending.c */
	uint64_t appeared;                          /* times that a source may have had something new */
	struct cw_map rosters, rolls;               /* members.c */
	unsigned roll_lengths[CW_IDENTITY_MAX + 1]; /* how many rolls have a prefix of that length */
	uint64_t next_tie;
	size_t closing; /* of both, under way */
	void (*stopped)(void *arg);
	void *stopped_arg;
	struct cw_list traces;
	uint64_t next_trace;
	atomic_int trace_lines; /* on their way from the workers */
	uint64_t unknown_logged_ms[256];
};

/* gateway.c: the listener or connection of a name, its place in *ret_index (may be NULL), or NULL. */
struct bound *gw_bound_find(const struct bound_list *list, const char *name, size_t *ret_index);

/* link.c: sessions and the decoder's answers */
extern const struct cw_session_ops gw_session_ops;
struct link *gw_link_find(struct gw_worker *gw, uint64_t session);
/* Of session `s` or replay `r`; opens the decoder's connection. NULL: no memory, or the decoder does not want it. */
struct link *gw_link_new(struct gw_worker *gw, struct cw_session *s, struct binding *b, uint64_t id, struct replay *r, void **ret_ctx);
void gw_link_end(struct link *l, int why, const char *reason); /* frees it */
void gw_link_take_frame(struct link *l, struct cw_bytes frame);
const char *gw_link_peer(const struct link *l, char out[CW_ADDR_TEXT]);
uint32_t gw_link_flags(const struct link *l); /* CW_EVF_* that the session decides */
void gw_link_end_parting(struct gw_worker *gw); /* at once, as the gateway stops */
void gw_link_continue(struct link *l);         /* feed on if nothing holds */
void gw_link_close(struct link *l, uint64_t delay_ms, int why, const char *reason);
struct attachee *gw_attachee_find(struct link *l, uint64_t tie);
void gw_attachee_drop(struct link *l, struct attachee *a, int tell_decoder); /* posts `left` */

/* attach.c */
int gw_ask(struct link *l, const struct cw_identify *who);
void gw_post_left(struct gw_worker *gw, uint64_t tie, uint32_t linger_ms);
/* Control loop. The outcome of an ask goes back; takes it. */
void gw_answer(struct ask *k, int refused);
void gw_attach(struct ask *k);
void gw_attach_in_turn(struct ask *k); /* pending.c: behind frames that were kept of it */
void gw_ask_sources(struct ask *k, void (*done)(struct cw_question *q, int rc, const struct cw_identity *id));
void gw_free_ask(struct ask *k);
/* Nothing of this owner is on its way to the device's former upstream. */
void gw_post_moved(struct gw_worker *gw, uint64_t tie);

/* members.c, control loop */
void gw_members_ask(struct ask *k);
/* A member that members.c has asked for has its outcome; when that is on its way (or the ask freed) its roll goes on.
 */
struct roll *gw_roll_leave(struct ask *k, int refused);
void gw_roll_go_on(struct roll *r);
void gw_member_tied(const struct tie *t, int how_many); /* 1, or -1: no more */
void gw_members_appeared(struct cw_gateway *g, const char *identity);
void gw_members_fini(struct cw_gateway *g);
void gw_post_members_ended(struct link *l); /* on the worker */

/* pending.c; on the control loop but for gw_pending_keep() */
int gw_pending_init(struct cw_gateway *g);
int gw_pending_keep(struct link *l, const struct ask *k); /* 1: the frame at hand is set aside */
void gw_pending_appeared(struct cw_gateway *g, const char *identity);
void gw_pending_fed(struct cw_mail *mail);
void gw_pending_settled(struct cw_mail *mail);
void gw_pending_drop_all(struct cw_gateway *g);
void gw_pending_fini(struct cw_gateway *g);

/* replay.c, on a worker */
void gw_replay_start(struct cw_mail *mail);
void gw_replay_continue(struct replay *r);
void gw_replay_close(struct replay *r);
void gw_replay_refused(struct link *l, const struct ask *k);
struct kept_frame *gw_replay_ticket(struct link *l); /* one more ticket of the frame under way; NULL: none is */
void gw_replay_settled(struct kept_frame *f, int result);
int64_t gw_replay_time(const struct link *l);
void gw_replays_stop(struct gw_worker *gw);
void gw_replays_fini(struct gw_worker *gw);

/* gateway.c: the listener's rules as they are now, or as they were when it is gone. */
struct binding *gw_binding_now(struct binding *b);

/* ingest.c */
/* Records of a device that leaves this connection have nowhere to go any more. */
void gw_ingest_device_gone(struct link *l, const struct cw_updevice *up);
/* The device's records take another way from now on. */
void gw_ingest_moved(struct link *l, const struct cw_updevice *from, struct cw_updevice *to);
int gw_ingest(struct link *l, struct attachee *a, uint64_t ticket, struct cw_bytes record, const struct cw_record *rec);
void gw_ingest_called(struct link *l);          /* the emitting call is over */
void gw_ingest_gone(struct link *l);            /* the session is gone */
void gw_ingest_lost(struct link *l);            /* the decoder has died: nothing on its way is told to the next */
void gw_on_room(struct cw_upstream_watch *watch);
void gw_ingest_fini(struct gw_worker *gw);

/* attachment.c */
int gw_attachment_open(struct link *l, uint64_t id, const char *name);
int gw_attachment_write(struct link *l, uint64_t attachment, struct cw_bytes data);
int gw_attachment_close(struct link *l, uint64_t attachment, int commit);
void gw_attachments_gone(struct link *l); /* the session is gone: drop what it left open */

/* dispatch.c */
int gw_post_done(struct link *l, uint64_t id, int32_t code, struct cw_bytes reply);
int gw_post_extend(struct link *l, uint64_t id, uint64_t delay_ms);
int gw_post_want_block(struct link *l, uint64_t id, uint64_t offset, size_t length);
int gw_post_save(struct link *l, struct cw_rdevice *dev, struct cw_bytes state);

/* trace.c */
static inline int gw_traced(const struct link *l)
{
	return l->tap != NULL || l->wide;
}

void gw_trace_open(struct link *l);
void gw_trace_attach(struct link *l, const char *identity);
void gw_trace_detach(struct link *l);
void gw_trace_fini(struct gw_worker *gw);
void gw_trace_bytes(struct link *l, const char *what, struct cw_bytes bytes);
void gw_trace_text(struct link *l, const char *what, const char *text, int64_t number);

#endif
