/*
 * mac.h - the name of this machine as the Java library makes it: the MAC address of a network interface.
 */
#ifndef CW_PROVISION_MAC_H
#define CW_PROVISION_MAC_H

#include "base/err.h"

/*
 * The interface with the highest index of those that are up, not loopback, and have an address; or the one named (any
 * state). The six bytes in upper-case hexadecimal without leading zeros, joined by -: 2-FC-0-0-0-1. CW_ENOENT with a
 * sentence when there is none.
 */
int cw_mac_name(const char *interface, char ret_name[18], char ret_interface[16], struct cw_msg *msg);
/* The form alone. */
void cw_mac_format(const unsigned char mac[6], char ret_name[18]);

#endif
