/*
 * inspect.h - a protocol's decoder run as a tool: bytes in, one JSON object a frame out.
 *
 * The decoder is the plugin that the gateway loads, run with CW_EVF_INSPECT: it
 * shows its fields, accepts every identity and waits for nothing. State (edition,
 * sub-packages) is kept from call to call, as on one connection.
 */
#ifndef CW_CLI_INSPECT_H
#define CW_CLI_INSPECT_H

#include <stddef.h>

#include "base/err.h"
#include "causeway/plugin.h"

struct cw_inspect;

/* One object: frame, ok, error { code, text }, header, fields, records, replies. Lent, NUL-terminated. */
typedef void (*cw_inspect_fn)(void *arg, const char *json, size_t len, int ok);

/*
 * `protocol`: a plugin's name, looked for in plugin_dir (NULL: the usual place), or the path of a .so. `sets`: its
 * settings as HOCON text. Errors carry a sentence.
 */
int cw_inspect_open(const char *protocol, const char *plugin_dir, const char *sets, cw_inspect_fn fn, void *arg,
                    struct cw_inspect **ret_inspect, struct cw_msg *msg);
/* 0 or CW_ENOMEM. */
int cw_inspect_feed(struct cw_inspect *d, struct cw_bytes in);
/* What waits for bytes that will not come is reported as incomplete and dropped. `given`: the bytes fed last. */
void cw_inspect_end(struct cw_inspect *d, struct cw_bytes given);
void cw_inspect_close(struct cw_inspect *d);

/* A plugin's settings as an encoded map: HOCON `text` over the defaults. *ret_bytes is owned (cw_free). Errors carry a sentence. */
int cw_inspect_settings(const struct cw_plugin_desc *desc, const char *text, uint8_t **ret_bytes, size_t *ret_len, struct cw_msg *msg);

#endif
