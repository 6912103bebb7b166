/*
 * load.h - open a plugin's shared object and check everything that can be checked before its first call.
 *
 * A refusal is one sentence that says what is wrong and what to do. Once mapped, a
 * plugin stays mapped until the process ends, refused or not: its code may have
 * registered destructors. Called from the control loop at start, or by tools.
 */
#ifndef CW_PLUGIN_LOAD_H
#define CW_PLUGIN_LOAD_H

#include "base/err.h"
#include "causeway/plugin.h"

/* Load `path`. 0, CW_ENOENT (cannot be opened), CW_EABI or CW_EINVAL with a sentence in msg. */
int cw_plugin_load(const char *path, const struct cw_plugin_desc **ret_desc, struct cw_msg *msg);
/* The checks alone, on a descriptor in memory; `path` is for the sentence. */
int cw_plugin_check(const char *path, const struct cw_plugin_desc *desc, struct cw_msg *msg);

/*
 * Where plugins are: `configured`, or (NULL) the folder plugins beside the program's own, or
 * lib/causeway/plugins beside that (both seen from the program), or /usr/lib/causeway/plugins. Into out[size].
 */
void cw_plugin_dir(const char *configured, char *out, size_t size);
/* The names of the plugins in DIR, with commas between them, into out[size]. */
void cw_plugin_list(const char *dir, char *out, size_t size);
/* Load DIR/NAME.so; the sentence of CW_ENOENT lists what is there. */
int cw_plugin_load_named(const char *dir, const char *name, const struct cw_plugin_desc **ret_desc, struct cw_msg *msg);

#endif
