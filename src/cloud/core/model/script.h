/*
 * script.h - scripts of products: bytes of raw products to Alink JSON and back, payloads of custom topics.
 *
 * Each product with a script has a process, causeway-script, started at its first call; the emulator itself
 * never runs one. Calls of a product wait in a bounded queue and end by done() from the loop, never from within
 * cw_cloud_script_submit(). A call that takes too long, or a process that dies, fails that call alone; the next one
 * gets a new process. One thread.
 */
#ifndef CW_CLOUD_SCRIPT_H
#define CW_CLOUD_SCRIPT_H

#include "base/list.h"
#include "cloud/core/cloud.h"
#include "cloud/script/wire.h"
#include "loop/timer.h"

struct cloud_script_result {
	int code;           /* 0, or the platform's: 26002, 26006, 26007, 26010; 500 when the call was abandoned */
	const char *output; /* lent: JSON text, or bytes of protocolToRawData; NULL: the script yields nothing */
	size_t len;
};

/* Embedded in its owner, who may be freed in done(). */
struct cloud_script_job {
	struct cw_list link;
	struct cloud_device *device;
	enum script_frame kind; /* SCRIPT_UP, SCRIPT_DOWN or SCRIPT_TOPIC */
	struct script_head *frame; /* the head, then the input; owned by script.c */
	void (*done)(struct cloud_script_job *job, const struct cloud_script_result *result);
};

/* Load a product's script; NULL or "" takes it away. Syntax is judged by its first call. 0, CW_EINVAL or CW_ENOMEM. */
int cw_cloud_script_set(struct cw_cloud *c, struct cloud_product *p, const char *text, struct cw_msg *msg);
/* Its text, or NULL. */
const char *cw_cloud_script_text(const struct cloud_product *p);
/* Its last errors, the oldest first: {time, device, function, message, line, input, code}. A new list. */
json_t *cw_cloud_script_errors(const struct cloud_product *p);
/* Is there a function of this name in the text? It is looked for as a word, which may be wrong for strange scripts. */
int cw_cloud_script_mentions(const struct cloud_product *p, enum script_frame kind);

/* Queue a call for job->device's product; the input is copied (topic: SCRIPT_TOPIC only). 0, or the platform's code of
 * the refusal (26001 no script, 26010 too much waits, 500 no memory): done() is not called then. */
int cw_cloud_script_submit(struct cw_cloud *c, struct cloud_script_job *job, const char *topic, const void *data, size_t len);
/* Forget a job without done(). */
void cw_cloud_script_cancel(struct cloud_script_job *job);
/* End the calls of a device (NULL: of all) with code 500. */
void cw_cloud_scripts_abandon(struct cw_cloud *c, struct cloud_device *d);
/* End all processes; their handles close in the loop, which must run for that. No call starts one again. */
void cw_cloud_scripts_stop(struct cw_cloud *c);
/* From the loop, for processes that have to be started. */
void cw_cloud_scripts_pump(struct cw_timer *t);
/* With the product; no process may be running. */
void cw_cloud_script_free(struct cloud_product *p);

/* ---- raw.c: messages of raw products around it ---- */

/* Bytes on thing/model/up_raw: the Alink request they stand for is carried out, its reply goes back as bytes. */
void cw_cloud_raw_up(struct cw_cloud *c, struct cloud_link *l, struct cloud_device *d, const char *bytes, size_t len);
/* Bytes on thing/model/down_raw_reply that no call was waiting for as such: as Alink they may answer one. */
void cw_cloud_raw_answer(struct cw_cloud *c, struct cloud_device *d, const char *topic, size_t topic_len, const char *bytes,
                         size_t len);
/* The reply to a request that came as bytes; `body` is consumed. */
void cw_cloud_raw_reply(struct cw_cloud *c, struct cloud_device *d, json_t *body);
/* A publish on a custom topic, for products whose script has transformPayload: its result is noted in the message log. */
void cw_cloud_raw_custom(struct cw_cloud *c, struct cloud_device *d, const char *topic, size_t topic_len, const char *bytes,
                         size_t len);

#endif
