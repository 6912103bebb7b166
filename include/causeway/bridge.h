/*
 * bridge.h - the platform's side of Causeway as a library: devices of a server of your
 * own go online, publish, report and take commands through it. Link with
 * `pkg-config --cflags --libs causeway`.
 *
 *   struct cw_bridge_setup setup = { .size = sizeof(setup), .file = "application.conf", .handler = &mine, .ctx = me };
 *   struct cw_bridge *b;
 *   char why[256];
 *   if (cw_bridge_open(&setup, &b, why, sizeof(why)) < 0 || cw_bridge_start(b) < 0) ...
 *   cw_bridge_online(b, "13800000001", my_session, 0, &(struct cw_bridge_wait){ 5000, on_online, my_session });
 *
 * Threads. Every call but those marked otherwise may come from any thread: it copies its
 * arguments, posts them to the bridge's loop and returns. Calls of one thread take effect in
 * the order they were made. Every callback runs on the loop's thread, one at a time, in the order things
 * happened; it must not block, for everything else waits meanwhile. It may make any call but
 * cw_bridge_close(). The loop's thread is the library's own after cw_bridge_start(), or the
 * caller's, who then drives it by cw_bridge_fd(), cw_bridge_timeout() and cw_bridge_step().
 * Several bridges may live in one process, each with its loop.
 *
 * Completions. A call that takes a struct cw_bridge_wait and returns 0 tells its outcome to
 * wait->done exactly once, also when the bridge is closed meanwhile. One that returns an error never does.
 *
 * Ownership. Texts and bytes given to a call are copied before it returns. Texts, bytes and
 * structs handed to a callback are lent for that callback.
 *
 * A user pointer belongs to the caller and is only handed back. It is handed back last in the
 * completion of cw_bridge_offline() (as its `arg`, if that is what the caller put there), in a `device` event
 * with CW_DEVICE_LEFT_*, in the completion of a cw_bridge_online() that failed, or before cw_bridge_close()
 * returns, whichever comes first.
 *
 * Values: `params` and replies are either a JSON object as text or an encoded map (cw_put_map() of
 * record.h), told apart by the first byte. Numbers keep their digits either way.
 */
#ifndef CAUSEWAY_BRIDGE_H
#define CAUSEWAY_BRIDGE_H

#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "error.h"
#include "record.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define CW_BRIDGE_API __attribute__((visibility("default")))
#else
#define CW_BRIDGE_API
#endif

struct cw_bridge; /* one bridge: made by cw_bridge_open(), dead after cw_bridge_close() */

/* ---- outcomes ------------------------------------------------------------------------ */

/* How a call ended. */
struct cw_bridge_outcome {
	/*
	 * 0: done. CW_ENOENT: no source knows the identity. CW_EOFFLINE: the device is not online here. CW_EREFUSED:
	 * the platform refused, `code` is its number. CW_ETIMEDOUT. CW_EBUSY: queues are full, another call took the
	 * device, or no source of identities could say; nothing was sent, try again later. CW_ECLOSED: the bridge was
	 * closed, or the device left, before. CW_EINVAL, CW_ELIMIT, CW_EPROTO, CW_EUNSUPPORTED: this way to the
	 * platform cannot carry it as it is. CW_ENOMEM.
	 */
	int rc;
	int32_t code;     /* the platform's, 0: none */
	const char *text; /* a sentence for people, never NULL */
};

struct cw_bridge_wait {
	unsigned timeout_ms; /* the outcome is known by then, or it is CW_ETIMEDOUT; 0: as long as it takes */
	/* On the loop's thread, exactly once; may be NULL. */
	void (*done)(void *arg, const struct cw_bridge_outcome *outcome);
	void *arg;
};

/* ---- what the bridge says ------------------------------------------------------------ */

/* What happened to a device; `what` of struct cw_bridge_device. */
#define CW_DEVICE_ONLINE 1  /* the platform accepted its login */
#define CW_DEVICE_OFFLINE 2 /* not logged in any more; while it is wanted it is logged in again by itself */
#define CW_DEVICE_REFUSED 3 /* the platform refuses it (disabled, deleted, ..); tried again, ever more slowly */
/* From here on the user pointer is not handed back any more. */
#define CW_DEVICE_LEFT_SUPERSEDED 4 /* another cw_bridge_online() has taken it */
#define CW_DEVICE_LEFT_REMOVED 5    /* no source knows its identity any more */
#define CW_DEVICE_LEFT_CHANGED 6    /* its certificate is another one now: put it online again */

struct cw_bridge_device {
	uint32_t size; /* sizeof this struct in the library: members are added at its end */
	uint32_t what;
	const char *identity, *product_key, *device_name;
	int32_t code;     /* the platform's, as 427 when it was kicked; 0: none, as when the link was lost */
	const char *text; /* the platform's sentence with CW_DEVICE_REFUSED, else empty */
};

/* A message on one of the device's topics, or a broadcast. */
struct cw_bridge_message {
	uint32_t size;
	const char *identity;                  /* NULL: a broadcast to a product */
	const char *product_key, *device_name; /* device_name is empty in a broadcast to a product */
	const char *topic;                     /* whole, as in /PRODUCT/DEVICE/user/get */
	struct cw_bytes payload;
};

/* A command that the platform may wait for. */
struct cw_bridge_command {
	uint32_t size;
	uint32_t kind; /* CW_KIND_PROPERTY_SET, _PROPERTY_GET, _SERVICE, _RRPC, _CONFIG, _SHADOW, _TIME, _ENABLE,
			  _DISABLE, _DELETE */
	uint64_t id;   /* for cw_bridge_answer() */
	const char *identity;
	const char *name;       /* service; topic of an RRPC, may be empty */
	struct cw_bytes params; /* an encoded map; the bytes themselves for CW_KIND_RRPC */
	const char *json;       /* the same as JSON text; NULL for CW_KIND_RRPC */
	uint64_t deadline_ms;   /* milliseconds left; then it ends as timed out (408) */
};

/* An upgrade that the platform offers. Texts are empty when the platform did not say. */
struct cw_bridge_firmware {
	uint32_t size;
	const char *identity;
	const char *module;                             /* empty: the device as a whole */
	const char *version, *url, *sign, *sign_method; /* sign_method: Md5 or SHA256 */
	uint64_t bytes;                                 /* of the package, 0: unknown */
};

/* The platform's reply to a report that carried a request id. */
struct cw_bridge_reply {
	uint32_t size;
	const char *identity, *request;
	int32_t code;
	struct cw_bytes data; /* an encoded item, may be empty */
	const char *json;     /* the same as JSON text, may be empty */
};

/*
 * Callbacks; copied, members may be NULL. `ctx` is what the setup had, `user` what cw_bridge_online() had.
 */
struct cw_bridge_handler {
	uint32_t size; /* sizeof(struct cw_bridge_handler) */
	/* A way to the platform, by its name in the configuration, is up (1) or lost (0); `reason` is a sentence. */
	void (*state)(void *ctx, const char *upstream, int up, const char *reason);
	/*
	 * Which certificate belongs to this identity? Asked for each cw_bridge_online() of one that the files do not
	 * know, and once more where the answer is another certificate than the device has; nothing is kept. Answered by
	 * cw_bridge_found() with `token`, from within or later from any thread; after 30 seconds without an answer the
	 * online ends with CW_EBUSY.
	 */
	void (*lookup)(void *ctx, uint64_t token, const char *identity);
	void (*device)(void *ctx, void *user, const struct cw_bridge_device *d);
	/* 0: taken. Negative (CW_E*): refused, and counted so. Nothing goes back to the platform either way. NULL:
	 * refused. */
	int (*message)(void *ctx, void *user, const struct cw_bridge_message *m);
	/* The same for a broadcast; `user` is NULL when it names no device. */
	int (*broadcast)(void *ctx, void *user, const struct cw_bridge_message *m);
	/*
	 * 0: cw_bridge_answer() follows, from within or later. Negative ends it at once: CW_EUNSUPPORTED as 501,
	 * CW_EINVAL as 460, CW_EBUSY as 429, CW_EOFFLINE as 404, others as 500. NULL: all are unsupported.
	 */
	int (*command)(void *ctx, void *user, const struct cw_bridge_command *c);
	/* The deadline of command `id` is over: forget it. Those of a device that leaves end with it, without this. */
	void (*cancelled)(void *ctx, void *user, uint64_t id);
	/* 0: accepted, cw_bridge_report_ota_progress() follows. Negative: the platform is told -1. NULL: refused so. */
	int (*upgrade)(void *ctx, void *user, const struct cw_bridge_firmware *f);
	void (*reply)(void *ctx, void *user, const struct cw_bridge_reply *r);
};

/* ---- life ------------------------------------------------------------------------------ */

/*
 * Where the settings come from: the file, then the text, then the members, each counting more than the one before. All
 * members but `size` may be NULL. What a file of the gateway has beside the platform's side (listeners, protocols) is
 * not looked at.
 */
struct cw_bridge_setup {
	uint32_t size;       /* sizeof(struct cw_bridge_setup) */
	const char *file;    /* application.conf, of Causeway or of the Java library */
	const char *text;    /* settings in the same language, in memory */
	const char *devices; /* devices.conf; NULL: what `file` says, or devices.conf beside it if that is there */
	const char *product_key, *device_name, *device_secret; /* the bridge's own certificate */
	const char *type;                                      /* kind of upstream: mqtt, http2, .. */
	const char *endpoint;                                  /* as in ssl://host:1883 */
	const char *http2_endpoint, *auth_endpoint;            /* as in the Java library's file */
	const char *ca;                                        /* PEM file */
	const char *state_dir; /* where what must survive a restart is kept; NULL: what the file says, or nowhere */
	const struct cw_bridge_handler *handler;
	void *ctx;
};

/*
 * Read and check the settings and make the bridge; nothing is sent yet. 0; CW_ECONF with a sentence in why[size] that
 * names file, line and what to do; CW_ENOENT, CW_EACCESS (files), CW_ENOMEM. Never has a secret in it. `setup` is not
 * kept.
 */
CW_BRIDGE_API int cw_bridge_open(const struct cw_bridge_setup *setup, struct cw_bridge **ret_bridge, char *why,
				 size_t size);
/* Connect (once the bridge's certificate is there), and run the loop on a thread of the library's. Once. 0, CW_EEXIST
 * (runs or is driven already), CW_ENOMEM, CW_EBUSY. */
CW_BRIDGE_API int cw_bridge_start(struct cw_bridge *b);

/*
 * Or drive it: wait until the descriptor is readable or the timeout (milliseconds, at most 1000) is over, then step;
 * the first step connects. All three on one thread, and never after cw_bridge_start(). cw_bridge_step() does not wait
 * and calls the callbacks that are due. It returns 0; CW_EINVAL from within a callback; CW_EEXIST after
 * cw_bridge_start().
 */
CW_BRIDGE_API int cw_bridge_fd(struct cw_bridge *b);
CW_BRIDGE_API int cw_bridge_timeout(struct cw_bridge *b);
CW_BRIDGE_API int cw_bridge_step(struct cw_bridge *b);

/*
 * Deliver what is queued for up to `drain_ms`, log out all devices, disconnect, free. Every completion that is
 * outstanding has been told when this returns; the last ones come meanwhile. Waits; from any thread but the loop's own,
 * or, when the caller drives, from the driving one. Once: the pointer is dead afterwards. Calls that other threads are
 * making at the moment it begins are completed or return CW_ECLOSED; later ones are errors of the caller. 0; CW_EINVAL
 * from within a callback (nothing happened). Accepts NULL.
 */
CW_BRIDGE_API int cw_bridge_close(struct cw_bridge *b, unsigned drain_ms);

struct cw_bridge_status {
	uint32_t size; /* sizeof(struct cw_bridge_status), set by the caller */
	uint32_t up;   /* 1: every way to the platform is logged in */
	uint64_t devices_online, queued_records, queued_bytes, in_flight;
	uint64_t open_calls; /* accepted and not completed, or timed out and still queued */
};
CW_BRIDGE_API void cw_bridge_status(struct cw_bridge *b, struct cw_bridge_status *ret_status);

/*
 * For the whole process, any time: lines from level `level` on (0 debug, 1 info, 2 note, 3 warn, 4 error, 5 none) go to
 * descriptor `fd` as logfmt, or as JSON. At first: warn to 2. Lines never have secrets.
 */
CW_BRIDGE_API void cw_bridge_log(int level, int json, int fd);

/* ---- devices ----------------------------------------------------------------------------- */

#define CW_BRIDGE_IDENTITY_MAX 128u /* bytes of an identity */
#define CW_BRIDGE_CALLS_MAX 65536u  /* open at once; more return CW_EBUSY */

#define CW_ONLINE_EARLY                                                                                                \
	1u /* done when the certificate is known; the login follows as a `device` event, records wait for it */

/*
 * Put the device of an identity online, and keep it so over reconnects. Done when the platform has accepted its login.
 * A second call for one identity takes the device from the first one's user pointer, in this order: LEFT_SUPERSEDED to
 * the old one, then done. 0, CW_EINVAL (identity), CW_EBUSY, CW_ECLOSED, CW_ENOMEM.
 */
CW_BRIDGE_API int cw_bridge_online(struct cw_bridge *b, const char *identity, void *user, unsigned flags,
				   const struct cw_bridge_wait *wait);
/*
 * Take it offline; records queued before are delivered first. Done when its logout is on its way to the platform, or at
 * once when it was not logged in; from then on the user pointer is not handed back. timeout_ms 0: 10 seconds. After
 * CW_ETIMEDOUT the logout follows by itself and the pointer is free all the same. CW_ENOENT: it was not online.
 */
CW_BRIDGE_API int cw_bridge_offline(struct cw_bridge *b, const char *identity, const struct cw_bridge_wait *wait);

struct cw_bridge_certificate {
	const char *product_key, *device_name, *device_secret;
};
/*
 * Answer to `lookup`. rc 0: `found` has the certificate; CW_ENOENT: there is no such device; others: could not be
 * asked, try later (done with CW_EBUSY). If a device that is online gets another certificate here, it is let go
 * (CW_DEVICE_LEFT_CHANGED) before it comes back with the new one. 0, CW_EINVAL (names the platform does not accept),
 * CW_ECLOSED, CW_ENOMEM: the question stays open. A token that is unknown or over is ignored.
 */
CW_BRIDGE_API int cw_bridge_found(struct cw_bridge *b, uint64_t token, int rc,
				  const struct cw_bridge_certificate *found);
/*
 * Names of a device that has been online since the start. On the loop's thread only (within a callback, or when the
 * caller drives). 0, CW_ENOENT, CW_EINVAL (another thread).
 */
CW_BRIDGE_API int cw_bridge_names(struct cw_bridge *b, const char *identity, char product_key[32],
				  char device_name[64]);

/* ---- up ------------------------------------------------------------------------------------ */

/*
 * All of these: `wait` may be NULL. Done when the platform has confirmed (what counts as that is the upstream's
 * `confirm`: the transport's acknowledgement, or the platform's reply). While the link is down they wait in bounded
 * queues, in order per device. After CW_ETIMEDOUT the record stays queued and may still arrive, at least until the
 * device goes offline; nothing outlives the process. `request` (NULL: none) is the caller's id, up to 63 bytes, which
 * comes back with the platform's reply in handler->reply; a decimal number up to 4294967295 is the message's id at the
 * platform, too. 0, CW_EINVAL, CW_ELIMIT (too large), CW_EBUSY, CW_ECLOSED, CW_ENOMEM.
 */

/*
 * Publish bytes. `topic` is whole and the device's own (/PRODUCT/DEVICE/user/update,
 * /sys/PRODUCT/DEVICE/thing/model/up_raw), or without the leading slash the part below the device (user/update). qos 0
 * or 1.
 */
CW_BRIDGE_API int cw_bridge_publish(struct cw_bridge *b, const char *identity, const char *topic,
				    struct cw_bytes payload, int qos, const struct cw_bridge_wait *wait);
/* Properties: identifier to value. */
CW_BRIDGE_API int cw_bridge_report_properties(struct cw_bridge *b, const char *identity, const char *request,
					      struct cw_bytes params, const struct cw_bridge_wait *wait);
/* One event; `type` is CW_EVENT_INFO, _ALERT or _ERROR; `params` its output parameters, may be empty. */
CW_BRIDGE_API int cw_bridge_fire_event(struct cw_bridge *b, const char *identity, const char *request,
				       const char *event, int type, struct cw_bytes params,
				       const struct cw_bridge_wait *wait);
/* Tags: key to text; an existing one is replaced. */
CW_BRIDGE_API int cw_bridge_update_tags(struct cw_bridge *b, const char *identity, const char *request,
					struct cw_bytes params, const struct cw_bridge_wait *wait);
/* Firmware in use; at start and after an upgrade. `module` NULL: the device as a whole. */
CW_BRIDGE_API int cw_bridge_report_ota_version(struct cw_bridge *b, const char *identity, const char *request,
					       const char *module, const char *version,
					       const struct cw_bridge_wait *wait);
/* `step`: 1 to 100 percent; -1 upgrade, -2 download, -3 check, -4 writing failed. */
CW_BRIDGE_API int cw_bridge_report_ota_progress(struct cw_bridge *b, const char *identity, const char *request,
						const char *module, int step, const char *desc,
						const struct cw_bridge_wait *wait);
/* Any record of record.h, encoded: with a time of its own, as history, as an alarm that overtakes, with a duplicate
 * key. */
CW_BRIDGE_API int cw_bridge_report(struct cw_bridge *b, const char *identity, struct cw_bytes record,
				   const struct cw_bridge_wait *wait);

/* ---- down ----------------------------------------------------------------------------------- */

/*
 * End a command: `code` 200 is success, 100000 to 110000 are the device's own; `reply` is its output parameters (the
 * bytes themselves for CW_KIND_RRPC), may be empty; anything else ends it as 500. What has ended already is ignored. 0,
 * CW_EINVAL (longer than 256 KiB), CW_ECLOSED, CW_ENOMEM.
 */
CW_BRIDGE_API int cw_bridge_answer(struct cw_bridge *b, uint64_t id, int32_t code, struct cw_bytes reply);
/* Give it that many milliseconds more from now, at most ten minutes. */
CW_BRIDGE_API int cw_bridge_extend(struct cw_bridge *b, uint64_t id, unsigned delay_ms);

/* ---- signing ---------------------------------------------------------------------------------- */

enum cw_region {
	CW_REGION_SHANGHAI,  /* cn-shanghai */
	CW_REGION_SINGAPORE, /* ap-southeast-1 */
	CW_REGION_JAPAN,     /* ap-northeast-1 */
	CW_REGION_USA_WEST,  /* us-west-1 */
	CW_REGION_GERMANY,   /* eu-central-1 */
	CW_REGION_CUSTOM     /* meta.host */
};

/* A device's certificate. */
struct cw_sign_meta {
	const char *product_key;    /* up to 20 bytes */
	const char *product_secret; /* up to 64 bytes, may be NULL: it is not signed with */
	const char *device_name;    /* up to 32 bytes */
	const char *device_secret;  /* up to 64 bytes */
	const char *host;           /* for CW_REGION_CUSTOM, up to 127 bytes */
};

struct cw_sign_out {
	char host[128];
	uint16_t port;
	char client_id[160];
	char user[64];
	char password[65];
};

/*
 * What any MQTT client needs to log in as a device, over TLS; nothing is sent. 0, or -1 for input that is missing, too
 * long or has characters no name has; then nothing is written. Any thread; needs no bridge.
 */
CW_BRIDGE_API int cw_sign_mqtt(enum cw_region region, const struct cw_sign_meta *meta, struct cw_sign_out *ret);

#ifdef __cplusplus
}
#endif

#endif
