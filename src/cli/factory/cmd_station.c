/*
 * cmd_station.c - `causeway factory station`: a programmer station. The main thread reads ids and hands each to one of --parallel
 * hands, threads that take a board from its id to its report: ask, note, write, note, report, note.
 *
 * A board is reported when the command has said that it is written, and only then; what was written and could not be reported is tried
 * again after later boards, at the end, and at the next start.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/factory/factory.h"
#include "cli/factory/line.h"
#include "cli/factory/station.h"
#include "loop/thread.h"
#include "net/serial.h"

#define HANDS_MOST 256

struct station;

struct hand {
	struct station *station;
	struct cw_thread thread;
	struct factory_line *line;
	char id[DEVICE_ID_LEN + 1]; /* what it has in hand; under the lock */
};

struct station {
	struct factory_line_conf line;
	const char *product, *command, *journal_path, *scanner, *prefix;
	long parallel, simulate, baud, write_timeout_s;
	int out_of_ids; /* the scanner is gone */
	struct station_journal journal;
	struct station_ids ids;
	struct hand *hands;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* Under the lock: */
	char next[DEVICE_ID_LEN + 1]; /* empty: the hands wait for the main thread */
	int over;
	unsigned round;
	unsigned long boards, reported, late, failed;
};

enum { PRODUCT = 1, SERVER, WRITE, WRITE_TIMEOUT, SCANNER, BAUD, PARALLEL, SIMULATE, PREFIX, JOURNAL };

static const char usage[] =
	"usage: causeway factory station --product PRODUCT_KEY --write COMMAND [OPTIONS]\n"
	"       causeway factory station --product PRODUCT_KEY --simulate N [OPTIONS]\n"
	"\n"
	"For each DeviceID (a line of standard input, or of a scanner) gets the board's certificate from the distribution server, has\n"
	"COMMAND write it, and reports it when COMMAND ended with 0. Prints a line a board and, at the end, how many.\n"
	"\n"
	"  --server HOST[:PORT] the distribution server (default 127.0.0.1)\n"
	"  --write COMMAND     run by sh for each board, with PRODUCT_KEY, DEVICE_NAME, DEVICE_SECRET, PRODUCT_SECRET and DEVICE_ID in\n"
	"                      its environment and the server's reply, JSON, on its standard input. Nothing is put into its\n"
	"                      arguments, which everybody on this machine can read: a script passes the secret on by a file or a pipe\n"
	"  --write-timeout S   seconds COMMAND may take before it is killed (default 120)\n"
	"  --scanner DEVICE    ids from a serial scanner, e.g. /dev/ttyUSB0; --baud N (default 9600)\n"
	"  --parallel N        boards at once (default 1)\n"
	"  --journal FILE      what is written and not reported yet, kept on the disk: a station that was killed reports it at its next start\n"
	"  --simulate N        N boards with made-up ids; without --write nothing is burned. --prefix TEXT: ids TEXT00001, TEXT00002, ..\n"
	FACTORY_LINE_USAGE
	"\n"
	"SIGINT and SIGTERM end it after the boards in hand; a second one at once. An id that comes again gets the same certificate.\n"
	"Exit status: 0 all boards are written and reported, 1 some are not, 2 wrong command line.\n";

/* ---- signals ----------------------------------------------------------------------------------- */

static int stop_pipe[2] = { -1, -1 };
static atomic_int stopped;

static void on_signal(int number)
{
	int before = errno;

	(void)number;
	atomic_store(&stopped, 1);
	if (write(stop_pipe[1], "", 1) < 0) { /* full: it says it already */
	}
	errno = before;
}

static int watch_signals(void)
{
	struct sigaction ending = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND }, ignored = { .sa_handler = SIG_IGN };

	if (pipe2(stop_pipe, O_CLOEXEC | O_NONBLOCK) != 0)
		return -1;
	(void)sigaction(SIGINT, &ending, NULL);
	(void)sigaction(SIGTERM, &ending, NULL);
	(void)sigaction(SIGPIPE, &ignored, NULL);
	return 0;
}

/* ---- a board -------------------------------------------------------------------------------------- */

/* A board's line; `count` is one of the station's, or NULL. Ids may be anything printable, so each stands as it came. */
static void tell(struct station *s, unsigned long *count, const char *id, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
static void tell(struct station *s, unsigned long *count, const char *id, const char *name, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	pthread_mutex_lock(&s->lock);
	printf("%s %s ", id, name);
	vprintf(fmt, args);
	putchar('\n');
	(void)fflush(stdout);
	if (count != NULL)
		++*count;
	pthread_mutex_unlock(&s->lock);
	va_end(args);
}

static void complain(const char *what)
{
	fprintf(stderr, "causeway factory station: %s\n", what);
}

/* An entry in hand; afterwards it is not. */
static enum factory_line_answer report(struct station *s, struct factory_line *l, struct station_entry *e)
{
	enum factory_line_answer answer = factory_line_request(l, TRIPLE_BURN_WRITTEN, e->product_key, e->device_id);
	struct cw_msg msg = { "" };

	if (answer != FACTORY_LINE_DONE)
		station_journal_put_back(&s->journal, e);
	else if (station_journal_note(&s->journal, e, STATION_REPORTED, &msg) < 0)
		complain(msg.text); /* reported once more at the next start, which changes nothing */
	return answer;
}

/* The ones that could not be reported in time. Stops where the server is not there; `most`: how many. */
static void report_late(struct station *s, struct factory_line *l, long most)
{
	enum factory_line_answer answer = FACTORY_LINE_DONE;
	struct station_entry *e;
	struct station_entry copy;
	unsigned round;

	pthread_mutex_lock(&s->lock);
	round = ++s->round;
	pthread_mutex_unlock(&s->lock);
	while (most-- > 0 && answer != FACTORY_LINE_UNREACHED && (e = station_journal_take(&s->journal, round)) != NULL) {
		copy = *e;
		answer = report(s, l, e);
		if (answer == FACTORY_LINE_DONE)
			tell(s, &s->late, copy.device_id, copy.device_name, "was written before, is reported now");
		else
			tell(s, NULL, copy.device_id, copy.device_name, "was written before, is still not reported: %s", l->why);
	}
}

static int burn(struct station *s, struct factory_line *l, const char *id, const struct triple_burn_cert *cert)
{
	struct station_entry *e;
	struct cw_msg msg = { "" };

	if (station_journal_got(&s->journal, cert, &e, &msg) < 0) { /* nothing is burned that a restart would not know of */
		tell(s, &s->failed, id, cert->device_name, "not written: %s", msg.text);
		return 0;
	}
	if (s->command != NULL && station_write(s->command, cert, l->reply, (int)s->write_timeout_s * 1000, &msg) < 0) {
		tell(s, &s->failed, id, cert->device_name, "not written: %s", msg.text);
		if (station_journal_note(&s->journal, e, STATION_FAILED, &msg) < 0)
			complain(msg.text);
		return 0;
	}
	if (station_journal_note(&s->journal, e, STATION_WRITTEN, &msg) < 0)
		complain(msg.text); /* the report tells the server all the same */
	if (report(s, l, e) == FACTORY_LINE_DONE) {
		tell(s, &s->reported, id, cert->device_name, "written");
		return 1;
	}
	tell(s, NULL, id, cert->device_name, "written, not reported yet: %s", l->why);
	return 0;
}

static void board(struct station *s, struct factory_line *l, const char *id)
{
	struct triple_burn_cert cert;

	if (factory_line_certificate(l, s->product, id, &cert) != FACTORY_LINE_DONE) {
		tell(s, &s->failed, id, "-", "%s", l->why);
		return;
	}
	if (cert.device_id[0] == '\0') /* older servers do not say it */
		(void)snprintf(cert.device_id, sizeof(cert.device_id), "%s", id);
	if (burn(s, l, id, &cert))
		report_late(s, l, 1);
	explicit_bzero(&cert, sizeof(cert));
	explicit_bzero(l->reply, sizeof(l->reply));
}

static void hand_run(void *arg)
{
	struct hand *h = arg;
	struct station *s = h->station;

	pthread_mutex_lock(&s->lock);
	for (;;) {
		while (s->next[0] == '\0' && !s->over)
			pthread_cond_wait(&s->changed, &s->lock);
		if (s->next[0] == '\0' || atomic_load(&stopped))
			break;
		memcpy(h->id, s->next, sizeof(h->id));
		s->next[0] = '\0';
		s->boards++;
		pthread_cond_broadcast(&s->changed);
		pthread_mutex_unlock(&s->lock);
		board(s, h->line, h->id);
		pthread_mutex_lock(&s->lock);
		h->id[0] = '\0';
	}
	s->over = 1; /* for the main thread, which may wait for a hand */
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

/* ---- ids ---------------------------------------------------------------------------------------------- */

/* To whichever hand is free. 0: no more are taken. */
static int hand_out(struct station *s, const char *id)
{
	long i;
	int taken = 0, going;

	pthread_mutex_lock(&s->lock);
	for (i = 0; i < s->parallel && !taken; i++)
		taken = strcmp(s->hands[i].id, id) == 0;
	if (taken) {
		fprintf(stderr, "causeway factory station: %s is in hand already; this time it is passed over\n", id);
	} else {
		(void)snprintf(s->next, sizeof(s->next), "%s", id);
		pthread_cond_broadcast(&s->changed);
	}
	while (s->next[0] != '\0' && !s->over)
		pthread_cond_wait(&s->changed, &s->lock);
	going = !s->over;
	pthread_mutex_unlock(&s->lock);
	return going && !atomic_load(&stopped);
}

static void simulate(struct station *s)
{
	char id[DEVICE_ID_LEN + 1], prefix[32] = "";
	unsigned run = 0;
	long i;

	if (s->prefix == NULL) {
		if (getrandom(&run, sizeof(run), 0) < 0)
			run = (unsigned)getpid();
		(void)snprintf(prefix, sizeof(prefix), "SIM%08X-", run);
	}
	for (i = 1; i <= s->simulate; i++) {
		(void)snprintf(id, sizeof(id), "%s%05ld", s->prefix != NULL ? s->prefix : prefix, i);
		if (!hand_out(s, id))
			return;
	}
}

static void read_ids(struct station *s)
{
	struct cw_msg msg = { "" };
	int rc;

	s->ids.stop_fd = stop_pipe[0];
	while ((rc = station_ids_next(&s->ids, &msg)) != 0) {
		if (rc == CW_EINVAL) {
			tell(s, &s->failed, "?", "-", "%s", msg.text);
			continue;
		}
		if (rc < 0) {
			complain(msg.text);
			break;
		}
		if (!hand_out(s, s->ids.id))
			return;
	}
	if (s->scanner != NULL && !atomic_load(&stopped)) {
		fprintf(stderr, "causeway factory station: %s is gone; plug the scanner in and start again\n", s->scanner);
		s->out_of_ids = 1;
	}
}

/* ---- all of it ------------------------------------------------------------------------------------------ */

static int open_hands(struct station *s)
{
	long i;

	s->hands = cw_calloc((size_t)s->parallel, sizeof(*s->hands));
	if (s->hands == NULL)
		return CW_ENOMEM;
	for (i = 0; i < s->parallel; i++) {
		s->hands[i].station = s;
		if (factory_line_open(&s->line, &s->hands[i].line) < 0)
			return CW_ENOMEM;
	}
	return 0;
}

static void close_hands(struct station *s)
{
	long i;

	for (i = 0; s->hands != NULL && i < s->parallel; i++)
		factory_line_close(s->hands[i].line);
	cw_free(s->hands);
}

/* What an earlier run left. */
static void begin(struct station *s)
{
	struct cw_list *l;

	cw_list_each(l, &s->journal.entries) {
		struct station_entry *e = cw_container_of(l, struct station_entry, link);

		if (e->state == STATION_GOT)
			fprintf(stderr, "causeway factory station: %s has %s, and nobody knows whether it was written; put it on again\n", e->device_id, e->device_name);
	}
	report_late(s, s->hands[0].line, LONG_MAX);
}

static int count(struct station *s)
{
	unsigned long left = 0;
	struct cw_list *l;

	cw_list_each(l, &s->journal.entries)
		left += cw_container_of(l, struct station_entry, link)->state == STATION_WRITTEN;
	printf("%lu board%s: %lu written and reported, %lu failed", s->boards, s->boards == 1 ? "" : "s", s->reported, s->failed);
	if (s->late != 0)
		printf("; %lu reported that were written before", s->late);
	if (left != 0)
		printf("; %lu written and not reported%s", left, s->journal_path != NULL ? " yet: start again with this journal" : "");
	putchar('\n');
	if (fflush(stdout) != 0) {
		complain("standard output cannot be written");
		return 1;
	}
	return left != 0 || s->failed != 0 || s->out_of_ids;
}

static void work(struct station *s)
{
	long i, started = 0;

	begin(s);
	for (i = 0; i < s->parallel; i++)
		started += cw_thread_start(&s->hands[i].thread, "station", hand_run, &s->hands[i]) == 0;
	if (started == 0) {
		complain("no thread can be started");
		s->failed++;
	} else if (s->simulate > 0) {
		simulate(s);
	} else {
		read_ids(s);
	}
	pthread_mutex_lock(&s->lock);
	s->over = 1;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	for (i = 0; i < s->parallel; i++)
		cw_thread_join(&s->hands[i].thread);
	if (s->next[0] != '\0')
		fprintf(stderr, "causeway factory station: %s was read and not begun\n", s->next);
	if (!atomic_load(&stopped))
		report_late(s, s->hands[0].line, LONG_MAX);
}

static int run(struct station *s)
{
	struct cw_msg msg = { "" };
	int rc = 1;

	if (watch_signals() < 0 || curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
		complain(strerror(errno));
		return 1;
	}
	s->line.stop_fd = stop_pipe[0];
	if ((s->command != NULL && station_can_write(s->command, &msg) < 0) || station_journal_open(&s->journal, s->journal_path, &msg) < 0) {
		complain(msg.text);
		return 1;
	}
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	if (open_hands(s) < 0) {
		complain("out of memory");
	} else {
		work(s);
		rc = count(s);
	}
	close_hands(s);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	station_journal_close(&s->journal);
	return rc;
}

static int open_scanner(struct station *s)
{
	struct cw_serial_conf serial = { .baud = (uint32_t)s->baud };
	struct cw_msg msg = { "" }, warning = { "" };
	int rc = cw_serial_check(&serial, &msg);

	if (rc == 0)
		rc = cw_serial_open(s->scanner, &serial, &msg, &warning, &s->ids.fd);
	if (rc < 0 || warning.text[0] != '\0')
		complain(rc < 0 ? msg.text : warning.text);
	return rc;
}

static int misused(const char *why)
{
	fprintf(stderr, "causeway factory station: %s\n%s", why, usage);
	return 2;
}

static int take_number(const char *name, const char *value, long most, long *to, struct cw_msg *msg)
{
	char *end;

	*to = strtol(value, &end, 10);
	if (end == value || *end != '\0' || *to < 1 || *to > most)
		return cw_fail(msg, CW_ECONF, "--%s is %s; it is a number from 1 to %ld", name, value, most);
	return 0;
}

static int take_option(struct station *s, int option, const char *value, struct cw_msg *msg)
{
	switch (option) {
	case PRODUCT:
		s->product = value;
		return 0;
	case SERVER:
		s->line.server = value;
		return 0;
	case WRITE:
		s->command = value;
		return 0;
	case SCANNER:
		s->scanner = value;
		return 0;
	case PREFIX:
		s->prefix = value;
		return 0;
	case JOURNAL:
		s->journal_path = value;
		return 0;
	case WRITE_TIMEOUT:
		return take_number("write-timeout", value, 86400, &s->write_timeout_s, msg);
	case BAUD:
		return take_number("baud", value, 4000000, &s->baud, msg);
	case PARALLEL:
		return take_number("parallel", value, HANDS_MOST, &s->parallel, msg);
	case SIMULATE:
		return take_number("simulate", value, 99999999, &s->simulate, msg);
	default:
		return factory_line_option(&s->line, option, value, msg);
	}
}

static int check(struct station *s, struct cw_msg *msg)
{
	static const char *const braces[] = { "{productKey}", "{deviceName}", "{deviceSecret}", "{productSecret}", "{deviceId}", "{deviceID}" };
	size_t i;

	if (s->product == NULL)
		return cw_fail(msg, CW_ECONF, "--product is missing: whose certificates");
	if (s->command == NULL && s->simulate == 0)
		return cw_fail(msg, CW_ECONF, "--write is missing: what burns a board");
	if (s->simulate != 0 && s->scanner != NULL)
		return cw_fail(msg, CW_ECONF, "--simulate makes its ids up; --scanner reads them");
	if (s->prefix != NULL && (s->simulate == 0 || strlen(s->prefix) > DEVICE_ID_LEN - 8))
		return cw_fail(msg, CW_ECONF, "--prefix is for --simulate, and not longer than %d bytes", DEVICE_ID_LEN - 8);
	for (i = 0; s->command != NULL && i < sizeof(braces) / sizeof(braces[0]); i++)
		if (strstr(s->command, braces[i]) != NULL)
			return cw_fail(msg, CW_ECONF, "--write: %s is not replaced, for everybody can read a command's arguments; the certificate is in its "
						      "environment, e.g. DEVICE_NAME, and as JSON on its standard input", braces[i]);
	return factory_line_conf_done(&s->line, msg);
}

int cw_factory_station(int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' },
						 { "product", required_argument, NULL, PRODUCT },
						 { "server", required_argument, NULL, SERVER },
						 { "write", required_argument, NULL, WRITE },
						 { "write-timeout", required_argument, NULL, WRITE_TIMEOUT },
						 { "scanner", required_argument, NULL, SCANNER },
						 { "baud", required_argument, NULL, BAUD },
						 { "parallel", required_argument, NULL, PARALLEL },
						 { "journal", required_argument, NULL, JOURNAL },
						 { "simulate", required_argument, NULL, SIMULATE },
						 { "prefix", required_argument, NULL, PREFIX },
						 FACTORY_LINE_OPTIONS,
						 { NULL, 0, NULL, 0 } };
	struct station s = { .parallel = 1, .baud = 9600, .write_timeout_s = 120 };
	struct cw_msg msg = { "" };
	int c, rc;

	factory_line_conf_init(&s.line);
	s.line.server = "127.0.0.1";
	optind = 0;
	while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		if (c == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		if (c == '?')
			return misused("wrong option");
		if (take_option(&s, c, optarg, &msg) < 0)
			return misused(msg.text);
	}
	if (optind < argc)
		return misused("it takes options only; ids come on standard input");
	if (check(&s, &msg) < 0)
		return misused(msg.text);
	if (s.scanner != NULL && open_scanner(&s) < 0)
		return 1;
	rc = run(&s);
	if (s.scanner != NULL) {
		cw_serial_release(s.ids.fd);
		(void)close(s.ids.fd);
	}
	factory_line_conf_wipe(&s.line);
	return rc;
}
