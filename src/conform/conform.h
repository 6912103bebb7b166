/*
 * conform.h - the conformance suite: holds a built plugin to what decoder.h and host.h ask of every decoder, whatever
 * its protocol.
 *
 * Each rule runs in a child process of its own, through the real runner, with clocks that stand still and
 * random numbers that come again: a fault shows again. A decoder that crashes, hangs or eats memory ends its
 * child; the suite says which frame was at hand and goes on with the next rule. Not for processes with threads.
 */
#ifndef CW_CONFORM_CONFORM_H
#define CW_CONFORM_CONFORM_H

#include "causeway/plugin.h"
#include "conform/script.h"

struct cw_conform_rule {
	const char *name;
	const char *clause; /* what is asked, and where it is written */
	const char *not_isolated; /* why it is tried in-process only; NULL: it is tried in a plugin host as well */
};

/* Rule i; 0 past the last. */
int cw_conform_rule(size_t i, struct cw_conform_rule *ret_rule);

struct cw_conform_setup {
	const char *plugin;                   /* path of the .so */
	const struct cw_wire_script *scripts; /* those that are not strict first */
	size_t script_count;
	const char *only;          /* one rule, or NULL */
	int isolated;              /* with the decoder in a plugin host, by the rules that can be */
	int all;                   /* every finding; else the first three of each rule */
	unsigned entry_timeout_ms; /* an entry of the decoder that lasts longer hangs; 0: 10 s */
	/* Settings as an encoded map: `text` over the defaults of the plugin's table. *ret_bytes is owned (cw_free). */
	int (*settings)(const struct cw_plugin_desc *desc, const char *text, uint8_t **ret_bytes, size_t *ret_len,
			struct cw_msg *msg);
	void *ctx;
	/* Told as it goes: something is wrong; a remark; a rule is through, with how many findings. Texts are lent. */
	void (*finding)(void *ctx, const char *rule, const char *text);
	void (*note)(void *ctx, const char *rule, const char *text);
	void (*rule)(void *ctx, const char *rule, const char *variant, unsigned findings);
};

/* The number of findings, or CW_E* when it could not be run. */
int cw_conform_run(const struct cw_conform_setup *setup);

#endif
