/* cmd_simulate.c - options of `causeway simulate`, and the table of protocols. */
#include "cli/cli.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "cli/sim/sim.h"
#include "conf/parse.h"

static const struct {
	const char *name;
	int (*run)(const struct cw_sim_options *o);
	int (*option)(const char *key, const char *v); /* options of its own; NULL: none. Who has some does without --connect */
	const char *help;                              /* about these */
} protocols[] = {
	{ "hj212", cw_sim_hj212, NULL, "" },
	{ "gb26875", cw_sim_gb26875, NULL, "" },
	{ "jt808", cw_sim_jt808, NULL, "" },
	{ "modbus", cw_sim_modbus, cw_sim_modbus_option, cw_sim_modbus_help },
};

#define OWN_MOST 32

struct args {
	const char *protocol, *connect, *identities, *first;
	const char *own[OWN_MOST][2]; /* for the protocol, whose name may come behind them */
	size_t own_count;
	struct cw_sim_options o;
};

static void usage(FILE *out)
{
	size_t i;

	fputs("usage: causeway simulate PROTOCOL --connect HOST:PORT [--devices N] [--rate R]\n"
	      "                         [--identities FILE | --first NUMBER] [--for 20s] [--quiet]\n\n"
	      "  --connect HOST:PORT   where the gateway listens, plain TCP\n"
	      "  --devices N           terminals (1, or all of the file)\n"
	      "  --rate R              messages a second of all terminals together (1)\n"
	      "  --identities FILE     a devices.conf; its keys are the identities; give the one the gateway reads\n"
	      "  --first NUMBER        the first identity, the others count up (13800000001); one that is not\n"
	      "                        in the gateway's devices.conf is refused\n"
	      "  --for DURATION        how long; without it until interrupted\n"
	      "  --quiet               the summary only\n\n"
	      "Exit status: 0, 1 when an answer stayed out or a terminal was refused, 2 for a wrong command line.\n"
	      "Denied messages and cut connections are counted, but are no failure: terminals meet both and go on.\nProtocols:",
	      out);
	for (i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
		fprintf(out, " %s", protocols[i].name);
	fputc('\n', out);
	for (i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
		if (protocols[i].help[0] != '\0')
			fprintf(out, "\n%s", protocols[i].help);
}

static int bad(const char *what, const char *value)
{
	fprintf(stderr, "causeway: simulate: %s: `%s`\n", what, value == NULL ? "" : value);
	return 2;
}

static int parse_value(struct args *a, const char *key, const char *v)
{
	int64_t n;

	if (strcmp(key, "--connect") == 0) {
		a->connect = v;
	} else if (strcmp(key, "--identities") == 0) {
		a->identities = v;
	} else if (strcmp(key, "--first") == 0) {
		a->first = v;
	} else if (strcmp(key, "--devices") == 0) {
		if (cw_text_to_int64(v, &n, NULL) < 0 || n < 1 || n > 1000000)
			return bad("--devices takes a number from 1 to 1000000", v);
		a->o.devices = (unsigned)n;
	} else if (strcmp(key, "--rate") == 0) {
		if (cw_text_to_double(v, &a->o.rate, NULL) < 0 || !(a->o.rate >= 0 && a->o.rate <= 1e6))
			return bad("--rate takes a number from 0 to 1000000", v);
	} else if (strcmp(key, "--for") == 0) {
		if (cw_text_to_duration_ms(v, &n, NULL) < 0 || n < 1)
			return bad("--for takes a duration such as 20s", v);
		a->o.for_ms = (uint64_t)n;
	} else if (a->own_count < OWN_MOST && strncmp(key, "--", 2) == 0) {
		a->own[a->own_count][0] = key;
		a->own[a->own_count++][1] = v;
	} else {
		return bad("no such option", key);
	}
	return 0;
}

/* Options that the protocol alone knows. */
static int parse_own(const struct args *a, int (*option)(const char *key, const char *v))
{
	size_t i;
	int rc;

	for (i = 0; i < a->own_count; i++) {
		rc = option == NULL ? 0 : option(a->own[i][0], a->own[i][1]);
		if (rc == 0)
			return bad("no such option", a->own[i][0]);
		if (rc < 0)
			return bad(a->own[i][0], a->own[i][1]);
	}
	return 0;
}

static int parse(int argc, char **argv, struct args *a)
{
	int i, rc;

	for (i = 1; i < argc; i++) {
		if (argv[i][0] != '-' && a->protocol == NULL) {
			a->protocol = argv[i];
		} else if (strcmp(argv[i], "--quiet") == 0) {
			a->o.quiet = 1;
		} else if (i + 1 < argc) {
			rc = parse_value(a, argv[i], argv[i + 1]);
			if (rc != 0)
				return rc;
			i++;
		} else {
			return bad("option without a value, or none", argv[i]);
		}
	}
	if (a->protocol == NULL) {
		usage(stderr);
		return 2;
	}
	return a->identities != NULL && a->first != NULL ? bad("--identities and --first exclude each other", a->first) : 0;
}

int cw_sim_resolve(const char *option, const char *text, struct sockaddr_storage *ret)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
	const char *colon = strrchr(text, ':');
	char host[256], takes[64];
	size_t n = colon == NULL ? 0 : (size_t)(colon - text);

	if (n > 1 && text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
	}
	(void)snprintf(takes, sizeof(takes), "%s takes HOST:PORT", option);
	if (n == 0 || n >= sizeof(host))
		return bad(takes, text);
	memcpy(host, text, n);
	host[n] = 0;
	if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
		return bad("cannot resolve", host);
	memcpy(ret, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	return 0;
}

static int read_identities(struct args *a)
{
	struct cw_conf_tree *tree = NULL;
	struct cw_msg msg = { .text = "" };
	struct cw_member m;
	size_t n, i;

	if (cw_conf_parse_file(a->identities, NULL, &tree, &msg) < 0) {
		fprintf(stderr, "causeway: simulate: %s\n", msg.text);
		return 1;
	}
	n = cw_value_count(cw_conf_root(tree));
	if (n == 0) {
		cw_conf_tree_unref(tree);
		fprintf(stderr, "causeway: simulate: %s: no identity in it\n", a->identities);
		return 1;
	}
	if (a->o.devices == 0 || a->o.devices > n)
		a->o.devices = (unsigned)n;
	a->o.identities = cw_calloc(a->o.devices, sizeof(char *));
	for (i = 0; a->o.identities != NULL && i < a->o.devices; i++)
		if (cw_value_member(cw_conf_root(tree), i, &m))
			a->o.identities[i] = cw_strndup(m.key, m.key_len);
	cw_conf_tree_unref(tree);
	return 0;
}

static int count_identities(struct args *a)
{
	const char *first = a->first == NULL ? "13800000001" : a->first;
	char text[32];
	uint64_t from;
	unsigned i;

	if (strlen(first) > 18 || strspn(first, "0123456789") != strlen(first) || *first == 0)
		return bad("--first takes up to 18 digits", first);
	from = strtoull(first, NULL, 10);
	if (a->o.devices == 0)
		a->o.devices = 1;
	a->o.identities = cw_calloc(a->o.devices, sizeof(char *));
	for (i = 0; a->o.identities != NULL && i < a->o.devices; i++) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)(from + i));
		a->o.identities[i] = cw_strdup(text);
	}
	return 0;
}

/* One descriptor for each terminal and a few for ourselves. */
static void raise_limit(unsigned devices)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur >= devices + 64)
		return;
	r.rlim_cur = devices + 64;
	if (r.rlim_max < r.rlim_cur)
		r.rlim_max = r.rlim_cur;
	if (setrlimit(RLIMIT_NOFILE, &r) != 0)
		fprintf(stderr, "causeway: simulate: cannot open %u files; see `ulimit -n`\n", devices + 64);
}

int cw_cmd_simulate(int argc, char **argv)
{
	struct args a = { .o = { .rate = 1 } };
	size_t i, p = 0;
	int rc;

	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		usage(stdout);
		return 0;
	}
	rc = parse(argc, argv, &a);
	if (rc != 0)
		return rc;
	while (p < sizeof(protocols) / sizeof(protocols[0]) && strcmp(protocols[p].name, a.protocol) != 0)
		p++;
	if (p == sizeof(protocols) / sizeof(protocols[0]))
		return bad("no such protocol", a.protocol);
	rc = parse_own(&a, protocols[p].option);
	if (rc == 0 && a.connect == NULL && protocols[p].option == NULL) {
		usage(stderr);
		return 2;
	}
	a.o.to_text = a.connect;
	if (rc == 0 && a.connect != NULL)
		rc = cw_sim_resolve("--connect", a.connect, &a.o.to);
	if (rc == 0)
		rc = a.identities != NULL ? read_identities(&a) : count_identities(&a);
	if (rc != 0)
		return rc;
	if (a.o.identities == NULL)
		return 1;
	raise_limit(a.o.devices);
	rc = protocols[p].run(&a.o);
	for (i = 0; i < a.o.devices; i++)
		cw_free(a.o.identities[i]);
	cw_free(a.o.identities);
	return rc;
}
