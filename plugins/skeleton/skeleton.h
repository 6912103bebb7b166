/*
 * skeleton.h - a small but complete decoder. `causeway plugin new NAME` makes a folder of your own from this one.
 *
 * The made-up protocol is lines of text:
 *
 *   device -> us   login,ID          who it is; answered `ok,login` or `no,login`
 *   device -> us   temp,21.5         a reading; answered `ok,temp` once the record is safe
 *   us -> device   interval,60       report every 60 seconds; answered `ok,interval` or `no,interval`
 *
 * What every decoder needs is here: a context for the instance and one for each
 * connection, settings, framing, identity, records with tickets, one command at a
 * time, a timer for the answer that stays out.
 */
#ifndef SKELETON_H
#define SKELETON_H

#include <causeway/plugin.h>

/* The instance: one for each worker. Static variables that can be written are not allowed, so all state hangs here. */
struct cw_decoder {
	const struct cw_host *host;
	void *hx;
};

/* What sk_settings() makes of the checked settings. */
struct sk_conf {
	uint32_t answer_ms;
	int upper_case;
};

/* One connection. Made at OPEN, freed at CLOSED; keep it small, there may be a hundred thousand. */
struct sk_conn {
	uint64_t device;  /* handle, 0 until identified */
	uint64_t command; /* the command that waits for its answer, 0: none */
	uint8_t who_len;
	char who[40];     /* whom it logged in as, while no outcome forbids it */
};

extern const struct cw_conf_field sk_conf_fields[];
int sk_create(const struct cw_host *host, void *hx, struct cw_decoder **ret);
void sk_destroy(struct cw_decoder *d);
int sk_settings(struct cw_decoder *d, struct cw_bytes settings, char *text, size_t len, void **ret_conf);
void sk_settings_free(struct cw_decoder *d, void *conf);
int sk_frame(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes in, struct cw_cut *ret_cut);
int sk_decode(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes frame);
int sk_event(struct cw_decoder *d, const struct cw_event *ev);
int sk_command(struct cw_decoder *d, const struct cw_event *ev);

#endif
