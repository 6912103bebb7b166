/*
 * device.c - what a firmware does at power-up, as a program: device SERVER_IP PRODUCT_KEY DEVICE_ID FILE
 *
 * With a whole certificate in FILE it starts at once. Without, it gets one: the line's access point and the server's address
 * are the same for all boards, the DeviceID is the board's own (its MAC, say).
 */
#include "cert_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	struct triple_burn_cert cert;
	int rc;

	if (argc != 5) {
		fprintf(stderr, "usage: device SERVER_IP PRODUCT_KEY DEVICE_ID FILE\n");
		return 2;
	}
	if (cert_file_read(argv[4], &cert) != 0) {
		rc = get_triple(argv[1], argv[2], argv[3], cert_file_store, argv[4]);
		/*
		 * Not reported: the certificate is good and stored, so the board works; the server counts it as allocated until somebody
		 * reports it. Anything else: no certificate, and the next power-up asks again, with the same DeviceID for the same one.
		 */
		if (rc != TRIPLE_BURN_OK)
			fprintf(stderr, "device: %s%s%s\n", triple_burn_error(rc), rc == TRIPLE_BURN_NOT_STORED ? ": " : "",
				rc == TRIPLE_BURN_NOT_STORED ? strerror(errno) : "");
		if (rc != TRIPLE_BURN_OK && rc != TRIPLE_BURN_NOT_REPORTED)
			return 1;
		if (cert_file_read(argv[4], &cert) != 0)
			return 1;
	}
	printf("device %s of %s starts\n", cert.device_name, cert.product_key);
	return 0;
}
