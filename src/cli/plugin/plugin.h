/* plugin.h - the verbs below `causeway plugin`, a file each; cmd_plugin.c has their table. argv[0] is the verb; cli.h says what they return. */
#ifndef CW_CLI_PLUGIN_PLUGIN_H
#define CW_CLI_PLUGIN_PLUGIN_H

#include "base/err.h"
#include "causeway/plugin.h"

int cw_plugin_describe(int argc, char **argv); /* cmd_describe.c */
int cw_plugin_new(int argc, char **argv);      /* cmd_new.c */
int cw_plugin_test(int argc, char **argv);     /* cmd_test.c */
int cw_plugin_fuzz(int argc, char **argv);     /* cmd_fuzz.c; exit status 3: it could not be done */
int cw_plugin_replay(int argc, char **argv);   /* cmd_replay.c */

/* A plugin by its path, or by the name of a protocol in `plugin_dir` (NULL: the usual place). As cw_plugin_load(). */
int cw_plugin_find(const char *name, const char *plugin_dir, const struct cw_plugin_desc **ret_desc, struct cw_msg *msg);

#endif
