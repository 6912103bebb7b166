/*
 * linkkey.c - the command `linkkey` of sample firmwares, as a program. What a board keeps in its flash is in the file that the
 * environment's LINKKEY_FILE names, or in linkkey.cert here.
 *
 *   linkkey                            shows what is stored
 *   linkkey SERVER_IP PRODUCT_KEY      asks, stores, reports; a new certificate each time
 *   linkkey SERVER_IP PRODUCT_KEY ID   the same with a DeviceID: its own certificate, however often
 *   linkkey PK DN DS PS                stores by hand
 *
 * It prints secrets, as the firmware's does on its serial console: a tool for trying things out.
 */
#include "cert_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int show(const char *file)
{
	struct triple_burn_cert c;

	if (cert_file_read(file, &c) != 0) {
		fprintf(stderr, "Error: no whole certificate in %s\n", file);
		return 1;
	}
	printf("Product Key=%s\nDevice Name=%s\nDevice Secret=%s\nProduct Secret=%s\nDone\n", c.product_key, c.device_name, c.device_secret,
	       c.product_secret);
	return 0;
}

static int ask(char *file, const char *server, const char *pk, const char *did)
{
	int rc;

	triple_burn_defaults.token = getenv("LINKKEY_TOKEN");
	rc = get_triple(server, pk, did, cert_file_store, file);
	if (rc == TRIPLE_BURN_OK)
		return show(file);
	fprintf(stderr, "Error: %s\n", triple_burn_error(rc));
	return 1;
}

static int take(char *to, size_t size, const char *from)
{
	if (*from == '\0' || strlen(from) >= size)
		return -1;
	memcpy(to, from, strlen(from) + 1);
	return 0;
}

static int store(char *file, char **part)
{
	struct triple_burn_cert c;

	memset(&c, 0, sizeof(c));
	if (take(c.product_key, sizeof(c.product_key), part[0]) < 0 || take(c.device_name, sizeof(c.device_name), part[1]) < 0 ||
	    take(c.device_secret, sizeof(c.device_secret), part[2]) < 0 || take(c.product_secret, sizeof(c.product_secret), part[3]) < 0) {
		fprintf(stderr, "Error: a part is empty or too long\n");
		return 1;
	}
	if (cert_file_store(file, &c) != 0) {
		fprintf(stderr, "Error: %s: %s\n", file, strerror(errno));
		return 1;
	}
	return show(file);
}

int main(int argc, char **argv)
{
	static char usual[] = "linkkey.cert";
	char *file = getenv("LINKKEY_FILE");

	if (file == NULL)
		file = usual;
	switch (argc) {
	case 1:
		return show(file);
	case 3:
		return ask(file, argv[1], argv[2], "");
	case 4:
		return ask(file, argv[1], argv[2], argv[3]);
	case 5:
		return store(file, argv + 1);
	default:
		fprintf(stderr, "usage: linkkey [SERVER_IP PRODUCT_KEY [DEVICE_ID] | PRODUCT_KEY DEVICE_NAME DEVICE_SECRET PRODUCT_SECRET]\n");
		return 2;
	}
}
