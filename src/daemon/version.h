/* version.h - what --version prints: ours, the ABI, and the libraries as they are loaded. */
#ifndef CW_DAEMON_VERSION_H
#define CW_DAEMON_VERSION_H

void cw_print_version(const char *program);

#endif
