/*
 * socket_server.h - socketServer { } of the Java server library.
 *
 * { address backlog ports listenType broadcastEnabled unsecured keyPassword keyStoreFile keyStoreType }
 * with the Java library's keys (port 9123, tcp), and `protocol`, which is ours. Any thread.
 */
#ifndef CW_DAEMON_SOCKET_SERVER_H
#define CW_DAEMON_SOCKET_SERVER_H

#include "conf/schema.h"

/*
 * Add one listener a port to *tree, the parsed file PATH, when it has a socketServer. `protocol` (NULL: none) is what
 * --protocol named, for one that names none; `plugin_dir` (NULL: the default) is where protocols are looked for.
 * *tree is replaced by one with the listeners. 0; CW_ECONF with the complaint in report; other errors in msg.
 */
int cw_socket_server(const char *path, const char *protocol, const char *plugin_dir, struct cw_conf_tree **tree,
                     struct cw_conf_report *report, struct cw_msg *msg);

#endif
