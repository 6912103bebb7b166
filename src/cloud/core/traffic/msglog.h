/*
 * msglog.h - the last messages in both directions, bounded in number and bytes, and their listeners.
 *
 * One thread. A note's texts are lent and copied once. Each entry has a number that only grows;
 * a reader asks for what is newer than the last one it saw.
 */
#ifndef CW_CLOUD_MSGLOG_H
#define CW_CLOUD_MSGLOG_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

struct cloud_log;

struct cloud_log_note {
	int down; /* 1: platform to device */
	uint8_t qos;
	const char *device; /* "pk/dn" */
	const char *topic;
	size_t topic_len;
	const void *payload;
	size_t len;
	const char *outcome; /* static text: taken, dropped, delivered, ... */
	const char *reason;  /* static text or NULL */
};

struct cloud_log_entry {
	uint64_t seq;
	int64_t ms; /* wall clock */
	const char *outcome, *reason;
	size_t device_len, topic_len, len, size;
	uint8_t down, qos;
	char data[]; /* device, topic, payload, each with a NUL behind it */
};

/* Called for each new entry while it is in the list; `entry` is lent. */
struct cloud_log_listener {
	struct cw_list link;
	void (*added)(struct cloud_log_listener *l, const struct cloud_log_entry *entry);
};

struct cloud_log_filter {
	const char *device; /* exact, or NULL */
	const char *topic;  /* an MQTT filter, or NULL */
	uint64_t since;     /* only entries with a larger number */
	int direction;      /* 0 both, 1 up, 2 down */
};

/* keep: entries; bytes: of them all. 0 or CW_ENOMEM. */
int cw_cloud_log_new(unsigned keep, size_t bytes, struct cloud_log **ret_log);
void cw_cloud_log_free(struct cloud_log *log);
void cw_cloud_log_add(struct cloud_log *log, const struct cloud_log_note *note);
void cw_cloud_log_clear(struct cloud_log *log);
void cw_cloud_log_listen(struct cloud_log *log, struct cloud_log_listener *l);
/* Number of the newest entry, 0 before the first. */
uint64_t cw_cloud_log_newest(const struct cloud_log *log);
/* Entries that pass, oldest first, at most the `limit` newest; a new array or NULL. */
json_t *cw_cloud_log_list(const struct cloud_log *log, const struct cloud_log_filter *filter, size_t limit);
int cw_cloud_log_passes(const struct cloud_log_entry *e, const struct cloud_log_filter *filter);
/* Bytes as a new JSON string of hex digits, or NULL. */
json_t *cw_cloud_log_hex(const char *data, size_t len);
/* One entry as JSON: `payload` as text when it is UTF-8, otherwise `payloadHex`. */
json_t *cw_cloud_log_json(const struct cloud_log_entry *e);

#endif
