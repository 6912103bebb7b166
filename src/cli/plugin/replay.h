/*
 * replay.h - a capture through a decoder, as the gateway would have run it: the capture's clock, timers that run out,
 * identities that are known or not, records that settle at once.
 *
 * What cannot be repeated is said: commands of the platform, its replies, firmware. Blocks; needs a process without
 * other workers, for the clock of the whole process is the capture's while it runs.
 */
#ifndef CW_CLI_PLUGIN_REPLAY_H
#define CW_CLI_PLUGIN_REPLAY_H

#include "capture/capture.h"
#include "causeway/plugin.h"

struct cw_replay_how {
	const char *sets;       /* settings as HOCON text */
	const char *identities; /* a devices.conf: who is known; NULL: everybody */
	const char *identity;   /* what the configuration would bind to each connection; NULL: nothing */
	uint64_t linger_ms;     /* so long timers run on behind the end */
	int json;               /* an object a beat, else lines */
	int fields;             /* a second instance, as the decode tool runs it, shows the fields of each frame */
};

struct cw_replay_totals {
	uint64_t connections, up_bytes, frames, refused, noise_bytes, records, refused_identities;
	uint64_t same, other, missing, unjudged; /* answers; unjudged: the capture has nothing that went to the device */
	uint64_t gaps, not_replayed, after_close;
};

/*
 * What happened at one moment on one connection, as text: a JSON object and a line end, or lines. `step` is the number of
 * the capture's event it belongs to.
 */
typedef void (*cw_replay_fn)(void *arg, uint32_t step, const char *text, size_t len);

/* `at` (may be NULL) is kept at the number of the event under way, for who looks from outside. Errors carry a sentence. */
int cw_replay_run(const struct cw_plugin_desc *desc, const struct cw_capture *capture, const struct cw_replay_how *how,
                  cw_replay_fn fn, void *arg, volatile uint32_t *at, struct cw_replay_totals *ret_totals, struct cw_msg *msg);

#endif
