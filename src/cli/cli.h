/*
 * cli.h - the verbs of `causeway`. One file a verb family; main.c has the table.
 *
 * Each takes its own arguments (argv[0] is the verb) and returns the process's exit
 * status: 0 done, 1 failed or found wrong, 2 called wrongly. Results go to stdout,
 * everything else to stderr.
 */
#ifndef CW_CLI_CLI_H
#define CW_CLI_CLI_H

int cw_cmd_decode(int argc, char **argv);   /* cmd_decode.c */
int cw_cmd_control(int argc, char **argv);  /* cmd_control.c: status, stats, device, reload, stop, trace */

#endif
