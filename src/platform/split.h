/*
 * split.h - a record as one message, or, where that would be longer than its way takes, as several with a share of the
 * properties (or tags) each. No I/O, no state; any thread.
 */
#ifndef CW_PLATFORM_SPLIT_H
#define CW_PLATFORM_SPLIT_H

#include "platform/alink.h"

struct cw_split_part {
	char *payload; /* owned */
	size_t len;
};

/* Messages on one topic, in the order of the record. */
struct cw_split {
	struct cw_alink_post head; /* topic, qos, replies; its payload is NULL: the parts have them */
	struct cw_split_part *parts;
	size_t count;
};

/*
 * The messages of a record, none with a payload longer than `most` bytes. Part i has the message id
 * cw_split_id(id, i). 0 and at least one part, or what cw_alink_record() says: CW_ELIMIT also where one member alone is
 * too long, and for records that cannot be taken apart (events, raw bytes).
 */
int cw_split_record(const struct cw_record *rec, const char *pk, const char *dn, uint32_t id,
		    const struct cw_alink_options *options, size_t most, struct cw_split *ret);
void cw_split_drop(struct cw_split *s);

/* 1 to 4294967295, around. */
uint32_t cw_split_id(uint32_t id, size_t part);

#endif
