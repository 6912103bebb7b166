/* mac.c - see mac.h. */
#include "provision/mac.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

void cw_mac_format(const unsigned char mac[6], char ret_name[18])
{
	(void)snprintf(ret_name, 18, "%X-%X-%X-%X-%X-%X", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

static int has_address(const struct ifaddrs *all, const char *name)
{
	const struct ifaddrs *a;

	for (a = all; a != NULL; a = a->ifa_next)
		if (a->ifa_addr != NULL && (a->ifa_addr->sa_family == AF_INET || a->ifa_addr->sa_family == AF_INET6) &&
		    strcmp(a->ifa_name, name) == 0)
			return 1;
	return 0;
}

static int is_null(const unsigned char *mac)
{
	static const unsigned char zero[6];

	return memcmp(mac, zero, 6) == 0;
}

int cw_mac_name(const char *interface, char ret_name[18], char ret_interface[16], struct cw_msg *msg)
{
	struct ifaddrs *all;
	const struct ifaddrs *a;
	int best = -1;

	if (getifaddrs(&all) != 0)
		return cw_fail(msg, cw_err_from_errno(errno), "cannot list the network interfaces: %s", strerror(errno));
	for (a = all; a != NULL; a = a->ifa_next) {
		const struct sockaddr_ll *ll = (const struct sockaddr_ll *)(const void *)a->ifa_addr;

		if (ll == NULL || ll->sll_family != AF_PACKET || ll->sll_halen != 6 || is_null(ll->sll_addr))
			continue;
		if (interface != NULL ? strcmp(a->ifa_name, interface) != 0
				      : (a->ifa_flags & IFF_UP) == 0 || (a->ifa_flags & IFF_LOOPBACK) != 0 || !has_address(all, a->ifa_name))
			continue;
		if (ll->sll_ifindex > best) {
			best = ll->sll_ifindex;
			cw_mac_format(ll->sll_addr, ret_name);
			(void)snprintf(ret_interface, 16, "%s", a->ifa_name);
		}
	}
	freeifaddrs(all);
	if (best >= 0)
		return 0;
	if (interface != NULL)
		return cw_fail(msg, CW_ENOENT, "there is no network interface \"%.32s\" with a MAC address", interface);
	return cw_fail(msg, CW_ENOENT,
		       "no network interface is up, has an address and a MAC address; name one with popClientProfile.interface, or give "
		       "deviceName and deviceSecret");
}
