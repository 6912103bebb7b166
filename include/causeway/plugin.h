/*
 * plugin.h - umbrella header of the plugin ABI: entry symbol, descriptor, numbers.
 *
 * A plugin is a shared object that exports one symbol, cw_plugin_entry, and links
 * nothing of Causeway. It is loaded when the majors are equal and its minor is not
 * newer than the host's: a plugin built against 1.0 loads on every 1.x. Once mapped
 * it stays mapped until the process ends.
 *
 * What grows: tables that say their size (cw_plugin_desc, cw_decoder_ops, cw_host,
 * cw_event, cw_identify, and through the descriptor cw_conf_field and
 * cw_plugin_counter) at their end, and lists of numbers. What does not: cw_cut, the
 * encoding of record.h, the meaning of a number. A plugin that uses a member newer
 * than the ABI it wants to run on asks CW_HAS() first.
 *
 *   static const struct cw_plugin_desc desc = {
 *           CW_PLUGIN_INIT, .name = "meter", .version = "1.0.0", .decoder = &meter_ops, ...
 *   };
 *   CW_PLUGIN_EXPORT const struct cw_plugin_desc *cw_plugin_entry(void) { return &desc; }
 *
 * The initialiser macros are for C; C++ authors zero the struct and call
 * cw_plugin_desc_init() and cw_decoder_ops_init().
 */
#ifndef CAUSEWAY_PLUGIN_H
#define CAUSEWAY_PLUGIN_H

#include "bytes.h"
#include "command.h"
#include "conf_field.h"
#include "decoder.h"
#include "error.h"
#include "host.h"
#include "record.h"

#define CW_ABI_MAJOR 1 /* a change here refuses every older plugin */
#define CW_ABI_MINOR 0 /* grows with every addition, at the end of a table or as a new number; see CHANGES */
#define CW_ABI ((CW_ABI_MAJOR << 16) | CW_ABI_MINOR)

/* Capabilities. A bit the host does not know is a refusal. */
#define CW_CAP_DOWNLINK 1u     /* has command() */
#define CW_CAP_MULTI_DEVICE 2u /* several identities on one connection */
#define CW_CAP_KEEP_OLDER 4u   /* a second connection of an identity is refused instead of superseding the first */
#define CW_CAP_DATAGRAM 8u     /* may be used on UDP */
#define CW_CAP_SHARED 16u      /* several connections may speak for one identity: all are listened to, commands go to the newest */
#define CW_CAP_KNOWN 31u

#if defined(__GNUC__)
#define CW_PLUGIN_EXPORT __attribute__((visibility("default")))
#else
#define CW_PLUGIN_EXPORT
#endif

/* A counter of the plugin's own, shown as plugin.<protocol>.<name>. */
struct cw_plugin_counter {
	const char *name; /* camelCase */
	const char *help;
};

struct cw_plugin_desc {
	uint32_t size;
	uint32_t abi;
	const char *name;    /* protocol name: lower-case letters and digits, as in the configuration */
	const char *version; /* of the plugin */
	const char *summary; /* one line */
	uint32_t caps;
	uint32_t max_frame;       /* longest frame, bytes; the host keeps no more than this unfinished */
	uint32_t max_outstanding; /* commands a device may have at once; 0 means 1 */
	uint32_t dedup_window_s;  /* how long a dedup key is remembered; 0: until settled */
	uint32_t field_size;      /* bytes of one struct cw_conf_field and one struct cw_plugin_counter as the plugin */
	uint32_t counter_size;    /* saw them, so that either may grow; CW_PLUGIN_INIT sets both */
	const struct cw_conf_field *conf;            /* settings, ends with a NULL name; may be NULL */
	const struct cw_plugin_counter *counters;    /* ends with a NULL name; may be NULL */
	const struct cw_decoder_ops *decoder;
};

typedef const struct cw_plugin_desc *(*cw_plugin_entry_fn)(void);
#define CW_PLUGIN_ENTRY "cw_plugin_entry"

#ifdef __cplusplus
extern "C" {
#endif
/* The one symbol a plugin exports. */
CW_PLUGIN_EXPORT const struct cw_plugin_desc *cw_plugin_entry(void);
#ifdef __cplusplus
}
#endif

#define CW_PLUGIN_INIT                                                                                              \
	.size = sizeof(struct cw_plugin_desc), .abi = CW_ABI, .field_size = sizeof(struct cw_conf_field),         \
	.counter_size = sizeof(struct cw_plugin_counter)
#define CW_DECODER_OPS_INIT .size = sizeof(struct cw_decoder_ops), .abi = CW_ABI

static inline void cw_plugin_desc_init(struct cw_plugin_desc *d)
{
	d->size = sizeof(*d);
	d->abi = CW_ABI;
	d->field_size = sizeof(struct cw_conf_field);
	d->counter_size = sizeof(struct cw_plugin_counter);
}

static inline void cw_decoder_ops_init(struct cw_decoder_ops *o)
{
	o->size = sizeof(*o);
	o->abi = CW_ABI;
}

/* 1 when table `s` of the other side is new enough to have `member`, and it is set. */
#define CW_HAS(s, member) \
	((s)->size >= offsetof(__typeof__(*(s)), member) + sizeof((s)->member) && (s)->member != NULL)

#endif
