/*
 * cmd_config.h - `causeway config`: look at configuration files.
 */
#ifndef CW_CLI_CMD_CONFIG_H
#define CW_CLI_CMD_CONFIG_H

/* `config check FILE` and `config reference` belong to the program that knows the tables: it sets these before
 * cw_cmd_config() runs. argv[0] is the word itself. They return the exit status. NULL: the word is refused. */
extern int (*cw_cmd_config_check)(int argc, char **argv);
extern int (*cw_cmd_config_reference)(int argc, char **argv);

/* argv[0] is "config". Returns the exit status: 0, 1 when the file or value is wrong, 2 for a wrong command line. */
int cw_cmd_config(int argc, char **argv);

#endif
