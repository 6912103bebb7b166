/*
 * cmd_triple.c - `causeway triple`: a product's certificate becomes a device's certificate, once; and the check that a boot
 * program makes of a stored one.
 *
 * The secret is given out once. So it is on the disk (--out) before it is printed, the file is opened before anything is
 * asked, and nothing is asked twice here.
 */
#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/crash.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/parse.h"
#include "conf/value.h"
#include "platform/names.h"
#include "provision/provision.h"

enum { DONE = 0, BAD = 2, REFUSED = 3, UNREACHED = 4, NOT_STORED = 5 };

static const char usage[] =
	"usage: causeway triple [OPTIONS] PRODUCT_KEY DEVICE_NAME PRODUCT_SECRET\n"
	"       causeway triple --check FILE\n"
	"\n"
	"Asks the platform, once, for the secret of a device of a product with dynamic registration, and\n"
	"prints one line: DeviceInfo: PRODUCT_KEY DEVICE_NAME DEVICE_SECRET\n"
	"\n"
	"  --out FILE       write that line to FILE (mode 0600, not overwritten) before printing it\n"
	"  --via WAY        https (default) or mqtt\n"
	"  --no-whitelist   the device is not registered beforehand (regnwl, over mqtt): the line then has\n"
	"                   CLIENT_ID DEVICE_TOKEN in place of the secret\n"
	"  --instance-id ID of a purchased instance, with --no-whitelist\n"
	"  --region REGION  of the product's public instance (default cn-shanghai)\n"
	"  --endpoint URL   https://host[:port] or ssl://host:port instead of the region's\n"
	"  --ca FILE        authorities to trust (PEM) instead of the system's\n"
	"  --timeout S      seconds to wait for the platform (default 20)\n"
	"  --check FILE     is there a whole certificate in FILE? A result line, or productKey, deviceName,\n"
	"                   deviceSecret or productSecret as in application.conf\n"
	"\n"
	"PRODUCT_SECRET - reads it from standard input, so that it stands in no process list.\n"
	"Exit status: 0 done, 2 bad argument or certificate, 3 refused by the platform, 4 not reached,\n"
	"5 obtained but not stored (it is printed all the same, so that it is not lost).\n";

struct triple {
	struct cw_registration registration;
	struct cw_worker *worker;
	struct cw_fetch_pool *pool;
	struct cw_file_new out;
	int has_out, status;
};

static int bad(const struct cw_msg *msg)
{
	fprintf(stderr, "causeway triple: %s\n", msg->text);
	return BAD;
}

/* ---- the request ------------------------------------------------------------------------- */

static void print_line(struct triple *t, const char *line)
{
	if (fputs(line, stdout) != EOF && fflush(stdout) == 0)
		return;
	fprintf(stderr, "causeway triple: standard output cannot be written (%s); the result was:\n%s", strerror(errno), line);
	if (!t->has_out)
		t->status = NOT_STORED;
}

static void store(struct triple *t, const struct cw_certificate *got)
{
	char line[600];
	struct cw_msg msg = { "" };

	if (got->device_secret[0] != '\0')
		(void)snprintf(line, sizeof(line), "DeviceInfo: %s %s %s\n", got->product_key, got->device_name, got->device_secret);
	else
		(void)snprintf(line, sizeof(line), "DeviceInfo: %s %s %s %s\n", got->product_key, got->device_name, got->client_id,
			       got->device_token);
	cw_crash_point("triple.answered");
	t->status = DONE;
	if (t->has_out && cw_file_commit(&t->out, cw_bytes_text(line), 0, &msg) < 0) {
		fprintf(stderr,
			"causeway triple: the certificate was obtained but not stored: %s. The platform gives it out once: keep the line on standard "
			"output\n",
			msg.text);
		t->status = NOT_STORED;
		t->has_out = 0;
	}
	cw_crash_point("triple.stored");
	print_line(t, line);
	explicit_bzero(line, sizeof(line));
}

static void on_done(struct cw_registration *r, int rc, int code, const struct cw_certificate *got, const char *text)
{
	struct triple *t = r->ctx;

	(void)code;
	if (rc == 0) {
		store(t, got);
		return;
	}
	t->status = rc == CW_EREFUSED || rc == CW_EBUSY ? REFUSED : UNREACHED;
	fprintf(stderr, "causeway triple: %s\n", text);
	if (!cw_register_gave_nothing(rc))
		fprintf(stderr, "causeway triple: the secret may have been given out. Try again: as long as the device was never active the platform "
				"gives the same one; if it refuses, reset the device, or delete it and add it anew, in the console\n");
}

static void on_gone(struct cw_registration *r)
{
	struct triple *t = r->ctx;

	cw_fetch_pool_free(t->pool);
	cw_worker_release(t->worker);
}

static int run(struct triple *t, struct cw_msg *msg)
{
	int rc = cw_worker_new("triple", 0, &t->worker);

	if (rc == 0)
		rc = cw_fetch_pool_new(t->worker, &t->pool);
	if (rc < 0)
		return cw_fail(msg, rc, "%s", cw_error_text(rc));
	rc = cw_register(t->worker, t->pool, &t->registration, msg);
	if (rc < 0) { /* nothing was sent; the loop has its own handles to close */
		cw_fetch_pool_free(t->pool);
		cw_worker_release(t->worker);
	}
	cw_worker_run(t->worker);
	cw_worker_free(t->worker);
	return rc;
}

/* ---- the check ----------------------------------------------------------------------------- */

struct stored {
	char product_key[64], device_name[128], device_secret[256], product_secret[256];
	int has_device_secret, has_product_secret, has_token;
};

static void take(const struct cw_value *root, const char *key, char *out, size_t size, int *ret_has)
{
	const struct cw_value *v = cw_value_get(root, key);
	const char *text = v == NULL ? NULL : cw_value_text(v, NULL);

	(void)snprintf(out, size, "%s", text == NULL ? "" : text);
	if (ret_has != NULL)
		*ret_has = v != NULL;
}

static int read_stored(const char *file, struct stored *s, struct cw_msg *msg)
{
	struct cw_conf_tree *tree;
	const struct cw_value *root;
	char *text = NULL;
	size_t len;
	int n, rc = cw_file_read(file, 65536, &text, &len, msg);

	if (rc < 0)
		return rc;
	memset(s, 0, sizeof(*s));
	if (strncmp(text, "DeviceInfo:", 11) == 0) {
		n = sscanf(text, "DeviceInfo: %63s %127s %255s %255s", s->product_key, s->device_name, s->device_secret, s->product_secret);
		s->has_device_secret = 1;
		s->has_token = n == 4; /* of regnwl: client id and token */
		explicit_bzero(s->product_secret, sizeof(s->product_secret));
	} else {
		rc = cw_conf_parse_text(file, text, len, NULL, &tree, msg);
		if (rc == 0) {
			root = cw_conf_root(tree);
			take(root, "productKey", s->product_key, sizeof(s->product_key), NULL);
			take(root, "deviceName", s->device_name, sizeof(s->device_name), NULL);
			take(root, "deviceSecret", s->device_secret, sizeof(s->device_secret), &s->has_device_secret);
			take(root, "productSecret", s->product_secret, sizeof(s->product_secret), &s->has_product_secret);
			cw_conf_tree_unref(tree);
		}
	}
	explicit_bzero(text, len);
	cw_free(text);
	return rc;
}

static int complain(int rc, const char *file, const struct cw_msg *msg)
{
	if (rc < 0)
		fprintf(stderr, "causeway triple: %s: %s\n", file, msg->text);
	return rc < 0;
}

static int check_file(const char *file)
{
	struct cw_msg msg = { "" };
	struct stat st;
	struct stored s;
	int wrong = 0, odd = 0, rc = read_stored(file, &s, &msg);

	if (rc < 0)
		return bad(&msg);
	wrong += complain(cw_check_product_key(s.product_key, &msg), file, &msg);
	if (!s.has_product_secret || s.has_device_secret || s.device_name[0] != '\0')
		wrong += complain(cw_check_device_name(s.device_name, &msg), file, &msg);
	if (s.has_product_secret)
		wrong += complain(cw_check_product_secret(s.product_secret, &odd, &msg), file, &msg);
	if ((s.has_device_secret || !s.has_product_secret) && !s.has_token)
		wrong += complain(cw_check_device_secret(s.device_secret, &msg), file, &msg);
	if (odd) {
		cw_odd_product_secret(s.product_secret, &msg);
		fprintf(stderr, "causeway triple: warning: %s: %s\n", file, msg.text);
	}
	if (stat(file, &st) == 0 && (st.st_mode & 0007) != 0)
		fprintf(stderr, "causeway triple: warning: everybody on this machine can read it; run: chmod o-rwx %s\n", file);
	if (!wrong)
		printf("%s: fine: %s of %s\n", file, s.has_token ? "ClientID and DeviceToken" : s.has_device_secret ? "device certificate" : "product certificate",
		       s.product_key);
	explicit_bzero(&s, sizeof(s));
	return wrong ? BAD : DONE;
}

/* ---- the command line ------------------------------------------------------------------------ */

struct arguments {
	const char *via, *endpoint, *region, *ca, *out, *instance_id, *check;
	int no_whitelist;
	unsigned timeout_s;
};

static int parse(int argc, char **argv, struct arguments *a)
{
	static const struct option options[] = {
		{ "out", required_argument, NULL, 'o' },      { "via", required_argument, NULL, 'v' },
		{ "no-whitelist", no_argument, NULL, 'n' },   { "instance-id", required_argument, NULL, 'i' },
		{ "region", required_argument, NULL, 'r' },   { "endpoint", required_argument, NULL, 'e' },
		{ "ca", required_argument, NULL, 'a' },       { "timeout", required_argument, NULL, 't' },
		{ "check", required_argument, NULL, 'c' },    { "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case 'o': a->out = optarg; break;
		case 'v': a->via = optarg; break;
		case 'n': a->no_whitelist = 1; break;
		case 'i': a->instance_id = optarg; break;
		case 'r': a->region = optarg; break;
		case 'e': a->endpoint = optarg; break;
		case 'a': a->ca = optarg; break;
		case 't': a->timeout_s = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'c': a->check = optarg; break;
		case 'h': fputs(usage, stdout); exit(DONE);
		default: return -1;
		}
	}
	if (a->timeout_s < 1 || a->timeout_s > 600 || (a->via != NULL && strcmp(a->via, "https") != 0 && strcmp(a->via, "mqtt") != 0))
		return -1;
	return (a->check != NULL ? 0 : 3) == argc - optind ? 0 : -1;
}

static int check_arguments(const struct cw_registration *r, struct cw_msg *msg)
{
	int odd = 0, rc = cw_check_product_key(r->product_key, msg);

	if (rc == 0)
		rc = cw_check_device_name(r->device_name, msg);
	if (rc == 0)
		rc = cw_check_product_secret(r->product_secret, &odd, msg);
	if (rc == 0)
		rc = cw_register_check(r, msg);
	if (rc == 0 && odd) {
		cw_odd_product_secret(r->product_secret, msg);
		fprintf(stderr, "causeway triple: warning: %s\n", msg->text);
	}
	return rc;
}

/* Nothing is asked for that could not be stored. */
static int open_out(struct triple *t, const char *path, struct cw_msg *msg)
{
	struct stat st;
	int rc;

	if (lstat(path, &st) == 0)
		return cw_fail(msg, CW_EEXIST, "%s is there already and is not overwritten; nothing was asked for", path);
	rc = cw_file_begin(&t->out, path, msg);
	t->has_out = rc == 0;
	return rc;
}

static int ask(struct triple *t, const struct arguments *a, char **names)
{
	struct cw_registration *r = &t->registration;
	char endpoint[300], secret[130];
	struct cw_msg msg = { "" };

	*r = (struct cw_registration){
		.product_key = names[0], .device_name = names[1], .product_secret = names[2], .no_whitelist = a->no_whitelist,
		.via = (a->via == NULL && a->no_whitelist) || (a->via != NULL && a->via[0] == 'm') ? CW_REGISTER_MQTT : CW_REGISTER_HTTPS,
		.endpoint = a->endpoint, .instance_id = a->instance_id, .tls = { .ca = a->ca, .verify = 1 }, .timeout_ms = a->timeout_s * 1000,
		.done = on_done, .gone = on_gone, .ctx = t,
	};
	if (strcmp(names[2], "-") == 0) {
		if (fgets(secret, sizeof(secret), stdin) == NULL)
			secret[0] = '\0';
		secret[strcspn(secret, "\r\n")] = '\0';
		r->product_secret = secret;
	}
	if (a->endpoint == NULL) {
		cw_register_endpoint(r->via, r->product_key, a->region, endpoint, sizeof(endpoint));
		r->endpoint = endpoint;
	}
	if (check_arguments(r, &msg) < 0 || (a->out != NULL && open_out(t, a->out, &msg) < 0))
		return bad(&msg);
	t->status = UNREACHED;
	if (run(t, &msg) < 0)
		fprintf(stderr, "causeway triple: %s\n", msg.text);
	if (t->has_out)
		cw_file_abandon(&t->out);
	return t->status;
}

int cw_cmd_triple(int argc, char **argv)
{
	struct arguments a = { .region = "cn-shanghai", .timeout_s = 20 };
	struct triple t = { .out = { .fd = -1 } };

	if (parse(argc, argv, &a) < 0) {
		fputs(usage, stderr);
		return BAD;
	}
	cw_log_setup(CW_LOG_WARN, 0, 2);
	return a.check != NULL ? check_file(a.check) : ask(&t, &a, argv + optind);
}
