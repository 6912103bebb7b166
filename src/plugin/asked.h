/* asked.h - identify() calls that wait for their outcome, for tools that answer them themselves, first come, first served. */
#ifndef CW_PLUGIN_ASKED_H
#define CW_PLUGIN_ASKED_H

#include <string.h>

#include "plugin/runner.h"

struct cw_asked {
	struct {
		char identity[CW_IDENTITY_MAX + 1];
		uint32_t flags; /* CW_IDENTIFY_* */
	} v[CW_ASKED_MOST];
	unsigned count;
};

static inline void cw_asked_add(struct cw_asked *a, const struct cw_identify *who)
{
	if (a->count == CW_ASKED_MOST)
		return; /* the runner allows no more */
	memcpy(a->v[a->count].identity, who->identity.ptr, who->identity.len);
	a->v[a->count].identity[who->identity.len] = '\0';
	a->v[a->count++].flags = who->flags;
}

/* The oldest into identity[]; its flags, or -1 when there is none. */
static inline int64_t cw_asked_take(struct cw_asked *a, char identity[CW_IDENTITY_MAX + 1])
{
	uint32_t flags;

	if (a->count == 0)
		return -1;
	memcpy(identity, a->v[0].identity, sizeof(a->v[0].identity));
	flags = a->v[0].flags;
	memmove(&a->v[0], &a->v[1], --a->count * sizeof(a->v[0]));
	return flags;
}

#endif
