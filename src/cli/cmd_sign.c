/*
 * cmd_sign.c - `causeway sign mqtt`: host, port, client id, user name and password with which any
 * MQTT client logs in as a device, made from its certificate; nothing is sent anywhere.
 */
#include "cli/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "platform/sign.h"

static const char usage[] =
	"usage: causeway sign mqtt [--region REGION | --host HOST] [--tcp] PRODUCT_KEY DEVICE_NAME DEVICE_SECRET\n"
	"\n"
	"Prints host, port, client id, user name and password for any MQTT client.\n"
	"REGION: cn-shanghai (default), ap-southeast-1 (Singapore), ap-northeast-1 (Japan),\n"
	"us-west-1 (USA West), eu-central-1 (Germany), or another of the platform's; --host\n"
	"takes any host instead. --tcp signs for plain TCP (securemode 3), else for TLS (2).\n"
	"DEVICE_SECRET - reads it from standard input, so that it stands in no process list.\n";

static int print_signed(const char *region, const char *host, int tls, char **names, const char *secret)
{
	struct cw_sign_client c;

	if (cw_sign_client(&c, region, host, names[0], names[1], secret, tls) < 0) {
		fputs("causeway sign: accepted are a product key of up to 20, a device name of up to 32 and a secret of up to 64 characters,\n"
		      "and a region or host of characters that host names have\n",
		      stderr);
		return 1;
	}
	printf("host      %s\nport      %u\nclientId  %s\nusername  %s\npassword  %s\n", c.host, c.port, c.connect.client_id, c.connect.user,
	       c.connect.password);
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
	char line[130];
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
	return print_signed(region, given, tls, argv + optind + 1, secret);
}
