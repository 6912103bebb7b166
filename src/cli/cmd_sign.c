/*
 * cmd_sign.c - `causeway sign mqtt`: host, port, client id, user name and password with which any
 * MQTT client logs in as a device, made from its certificate; nothing is sent anywhere.
 */
#include "cli/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "platform/sign.h"

#define TIMESTAMP "2524608000000" /* the platform checks no window; the constant makes the output repeatable */

static const char usage[] =
	"usage: causeway sign mqtt [--region REGION | --host HOST] [--tcp] PRODUCT_KEY DEVICE_NAME DEVICE_SECRET\n"
	"\n"
	"Prints host, port, client id, user name and password for any MQTT client.\n"
	"REGION: cn-shanghai (default), ap-southeast-1 (Singapore), ap-northeast-1 (Japan),\n"
	"us-west-1 (USA West), eu-central-1 (Germany), or another of the platform's; --host\n"
	"takes any host instead. --tcp signs for plain TCP (securemode 3), else for TLS (2).\n"
	"DEVICE_SECRET - reads it from standard input, so that it stands in no process list.\n";

/* As the platform bounds them: product key, device name, secret. */
static int text_ok(const char *text, size_t most)
{
	size_t n = strlen(text);

	return n > 0 && n <= most && strpbrk(text, " \t\r\n|&,") == NULL;
}

static int print_signed(const char *host, int tls, char **names, const char *secret)
{
	struct cw_sign_connect c;
	char base[CW_BASE_CLIENT_ID_MAX + 1];

	if (!text_ok(names[0], 20) || !text_ok(names[1], 32) || !text_ok(secret, 64) ||
	    (size_t)snprintf(base, sizeof(base), "%s.%s", names[0], names[1]) >= sizeof(base) ||
	    cw_sign_connect(&c, CW_SIGN_SHA256, base, names[0], names[1], secret, TIMESTAMP, tls, NULL) < 0) {
		fputs("causeway sign: accepted are a product key of up to 20, a device name of up to 32 and a secret of up to 64 characters\n",
		      stderr);
		return 1;
	}
	printf("host      %s\nport      1883\nclientId  %s\nusername  %s\npassword  %s\n", host, c.client_id, c.user, c.password);
	return 0;
}

int cw_cmd_sign(int argc, char **argv)
{
	static const struct option options[] = {
		{ "region", required_argument, NULL, 'r' }, { "host", required_argument, NULL, 'o' },
		{ "tcp", no_argument, NULL, 't' },          { "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *region = "cn-shanghai", *given = NULL, *secret;
	char host[256], line[130];
	int opt, tls = 1;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'r': region = optarg; break;
		case 'o': given = optarg; break;
		case 't': tls = 0; break;
		case 'h': fputs(usage, stdout); return 0;
		default: fputs(usage, stderr); return 2;
		}
	}
	if (argc - optind != 4 || strcmp(argv[optind], "mqtt") != 0) {
		fputs(usage, stderr);
		return 2;
	}
	secret = argv[optind + 3];
	if (strcmp(secret, "-") == 0) {
		if (fgets(line, sizeof(line), stdin) == NULL)
			return 1;
		line[strcspn(line, "\r\n")] = '\0';
		secret = line;
	}
	if (given == NULL && (!text_ok(region, 40) || !text_ok(argv[optind + 1], 20))) {
		fputs("causeway sign: region or product key has characters that no host name has\n", stderr);
		return 1;
	}
	if (given != NULL)
		(void)snprintf(host, sizeof(host), "%s", given);
	else
		(void)snprintf(host, sizeof(host), "%s.iot-as-mqtt.%s.aliyuncs.com", argv[optind + 1], region);
	return print_signed(host, tls, argv + optind + 1, secret);
}
