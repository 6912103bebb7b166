/* version.c - see version.h. */
#include "daemon/version.h"

#include <MQTTAsync.h>
#include <mbedtls/version.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "causeway/plugin.h"

static const char *paho_version(void)
{
	MQTTAsync_nameValue *info = MQTTAsync_getVersionInfo();

	for (; info != NULL && info->name != NULL; info++)
		if (strcmp(info->name, "Version") == 0)
			return info->value;
	return "unknown";
}

void cw_print_version(const char *program)
{
	char mbed[18];

	mbedtls_version_get_string(mbed);
	printf("%s %s, plugin ABI %d.%d\n", program, CW_VERSION, CW_ABI_MAJOR, CW_ABI_MINOR);
	printf("libuv %s, Paho MQTT C %s, Mbed TLS %s, %s, SQLite %s\n", uv_version_string(), paho_version(), mbed,
	       OpenSSL_version(OPENSSL_VERSION), sqlite3_libversion());
}
