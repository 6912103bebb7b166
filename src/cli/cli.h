/*
 * cli.h - the verbs of `causeway`. One file a verb family; main.c has the table.
 *
 * Each takes its own arguments (argv[0] is the verb) and returns the process's exit
 * status: 0 done, 1 failed or found wrong, 2 called wrongly. Results go to stdout,
 * everything else to stderr.
 */
#ifndef CW_CLI_CLI_H
#define CW_CLI_CLI_H

#include <stddef.h>

int cw_cmd_identity(int argc, char **argv); /* cmd_identity.c */
int cw_cmd_decode(int argc, char **argv);   /* cmd_decode.c */
int cw_cmd_pending(int argc, char **argv);  /* cmd_pending.c */
int cw_cmd_plugin(int argc, char **argv);   /* cmd_plugin.c has the table of its own verbs */
int cw_cmd_factory(int argc, char **argv);  /* factory/cmd_factory.c has the table of its own verbs */
int cw_cmd_control(int argc, char **argv);  /* cmd_control.c: status, stats, device, reload, stop, trace */

int cw_cmd_sign(int argc, char **argv);      /* cmd_sign.c */
int cw_cmd_triple(int argc, char **argv);    /* cmd_triple.c; its exit statuses go to 5 */
int cw_cmd_doctor(int argc, char **argv);   /* cmd_doctor.c */
int cw_cmd_simulate(int argc, char **argv);  /* cmd_simulate.c */
int cw_cmd_check(int argc, char **argv);     /* cmd_reference.c: config check */
int cw_cmd_reference(int argc, char **argv); /* cmd_reference.c: config reference */

/* The verbs, for the reference: name and one line; 0 past the end. */
int cw_cli_verb(size_t i, const char **ret_name, const char **ret_help);

#endif
