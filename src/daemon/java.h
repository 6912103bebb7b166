/*
 * java.h - what the Java libraries' application.conf means here.
 *
 * socketServer { address backlog ports listenType broadcastEnabled unsecured keyPassword keyStoreFile keyStoreType } of
 * the server library (port 9123, tcp) becomes listeners, of `protocol`, a key of ours in it; http2Endpoint,
 * authEndpoint and subDeviceConnectMode become the upstream `platform` of type http2. Any thread.
 */
#ifndef CW_DAEMON_JAVA_H
#define CW_DAEMON_JAVA_H

#include "conf/schema.h"

#define CW_JAVA_UPSTREAM "platform"

/*
 * Add those listeners and that upstream to *tree, the parsed file PATH; *tree is replaced by one that has them.
 * `protocol` (NULL: none) is what --protocol named, for a socketServer that names none; `plugins` is the list of
 * protocols that the complaint about a missing one prints; NULL: socketServer is of no interest. 0; CW_ECONF with the
 * complaint in report; other errors in msg.
 */
int cw_java_config(const char *path, const char *protocol, const char *plugins, struct cw_conf_tree **tree,
                   struct cw_conf_report *report, struct cw_msg *msg);
/*
 * For who reads its file another way: the lines (at most 300 bytes) that add the upstream of the Java keys in `root`, into out[size].
 * 0 when there are none.
 */
int cw_java_upstream(const struct cw_value *root, char *out, size_t size);

#endif
