/*
 * bridge_probe.c - libcauseway at the end of a pipe: one call a line in, one JSON object a
 * line out for everything it says. Sees the public headers only. Checks for itself what a reader of the
 * lines could not: a completion that comes twice, or a user pointer that is handed back too late, ends it with SIGABRT.
 */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "causeway/bridge.h"

#define BRIDGES 4
#define WORDS 12
#define CERTIFICATES 64
#define ALIVE 0x600dc0deu

struct probe {
	char name[16];
	struct cw_bridge *bridge;
	pthread_t loop; /* where the first callback ran */
	int seen_loop, driven;
};

/* What a device is to this program: freed once the library has promised to hand it back no more. */
struct user {
	unsigned alive;
	char identity[CW_BRIDGE_IDENTITY_MAX + 1];
};

struct ticket {
	struct probe *probe;
	unsigned long number;
	atomic_int told;
	struct user *user;                        /* of online */
	char offline[CW_BRIDGE_IDENTITY_MAX + 1]; /* identity, of offline */
};

static struct probe probes[BRIDGES];
static struct {
	char word[4][160];
} certificates[CERTIFICATES];
static int certificate_count;
static struct {
	atomic_int message, command, upgrade, broadcast, silent;
} policy;
static pthread_mutex_t out_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long next_number;

/* ---- out --------------------------------------------------------------------------- */

static void put_text(FILE *f, const char *text, size_t len)
{
	size_t i;

	fputc('"', f);
	for (i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < 0x20 || c > 0x7e || c == '"' || c == '\\')
			fprintf(f, "\\u%04x", c);
		else
			fputc(c, f);
	}
	fputc('"', f);
}

static void say(const char *what, const char *const *pairs, const char *number_key, long long number)
{
	pthread_mutex_lock(&out_lock);
	printf("{\"what\": \"%s\"", what);
	for (; pairs != NULL && pairs[0] != NULL; pairs += 2) {
		printf(", \"%s\": ", pairs[0]);
		put_text(stdout, pairs[1] == NULL ? "" : pairs[1], pairs[1] == NULL ? 0 : strlen(pairs[1]));
	}
	if (number_key != NULL)
		printf(", \"%s\": %lld", number_key, number);
	printf("}\n");
	fflush(stdout);
	pthread_mutex_unlock(&out_lock);
}

static void must(int ok, const char *why)
{
	if (ok)
		return;
	fprintf(stderr, "bridge_probe: %s\n", why);
	abort();
}

/* Every callback runs on one thread, the loop's. */
static void on_loop(struct probe *p)
{
	if (!p->seen_loop) {
		p->seen_loop = 1;
		p->loop = pthread_self();
	}
	must(pthread_equal(p->loop, pthread_self()), "a callback on another thread");
}

static void check_user(void *user, const char *identity)
{
	struct user *u = user;

	must(u != NULL && u->alive == ALIVE, "a user pointer was handed back after its end");
	must(identity == NULL || strcmp(u->identity, identity) == 0, "the user pointer of another device");
}

/* The sanitizers see a use after this; without them the mark does. */
static void end_user(struct user *u)
{
	u->alive = 0;
	free(u);
}

/* ---- callbacks ---------------------------------------------------------------------- */

#define USERS 1024
static struct {
	struct probe *probe;
	struct user *user;
} users[USERS]; /* those of devices that are online; the loops' threads only, under out_lock for several bridges */

static void keep_user(struct probe *p, struct user *u)
{
	int i;

	pthread_mutex_lock(&out_lock);
	for (i = 0; i < USERS && users[i].user != NULL; i++)
		;
	must(i < USERS, "more devices than this program can keep");
	users[i].probe = p;
	users[i].user = u;
	pthread_mutex_unlock(&out_lock);
}

static struct user *forget_user(struct probe *p, const char *identity)
{
	struct user *u = NULL;
	int i;

	pthread_mutex_lock(&out_lock);
	for (i = 0; i < USERS && u == NULL; i++) {
		if (users[i].probe != p || users[i].user == NULL || strcmp(users[i].user->identity, identity) != 0)
			continue;
		u = users[i].user;
		users[i].user = NULL;
	}
	pthread_mutex_unlock(&out_lock);
	return u;
}

/* After close: none of them comes back. */
static void forget_users(struct probe *p)
{
	int i;

	for (i = 0; i < USERS; i++) {
		if (users[i].probe != p || users[i].user == NULL)
			continue;
		end_user(users[i].user);
		users[i].user = NULL;
	}
}

static void on_done(void *arg, const struct cw_bridge_outcome *o)
{
	struct ticket *t = arg;
	char rc[16], code[16];
	const char *pairs[] = { "rc", rc, "code", code, "text", o->text, NULL };

	on_loop(t->probe);
	must(atomic_fetch_add(&t->told, 1) == 0, "a completion came twice");
	snprintf(rc, sizeof(rc), "%d", o->rc);
	snprintf(code, sizeof(code), "%d", o->code);
	if (t->user != NULL && o->rc != 0) {
		end_user(t->user);
	} else if (t->user != NULL) {
		check_user(t->user, NULL);
		keep_user(t->probe, t->user);
	}
	if (t->offline[0] != '\0' && (o->rc == 0 || o->rc == CW_ETIMEDOUT)) {
		struct user *u = forget_user(t->probe, t->offline);

		if (u != NULL) /* none: it was not online yet */
			end_user(u);
	}
	say("done", pairs, "call", (long long)t->number);
	free(t);
}

static void on_state(void *ctx, const char *upstream, int up, const char *reason)
{
	const char *pairs[] = { "upstream", upstream, "reason", reason, NULL };

	on_loop(ctx);
	say("state", pairs, "up", up);
}

struct asked {
	struct cw_bridge *bridge;
	uint64_t token;
	char identity[CW_BRIDGE_IDENTITY_MAX + 1];
};

/* Somebody else's thread finds the certificate. */
static void *find(void *arg)
{
	struct asked *a = arg;
	int i;

	for (i = 0; i < certificate_count; i++)
		if (strcmp(certificates[i].word[0], a->identity) == 0)
			break;
	if (i < certificate_count) {
		struct cw_bridge_certificate c = { certificates[i].word[1], certificates[i].word[2],
						   certificates[i].word[3] };

		(void)cw_bridge_found(a->bridge, a->token, 0, &c);
	} else {
		(void)cw_bridge_found(a->bridge, a->token, CW_ENOENT, NULL);
	}
	free(a);
	return NULL;
}

static void on_lookup(void *ctx, uint64_t token, const char *identity)
{
	const char *pairs[] = { "identity", identity, NULL };
	struct probe *p = ctx;
	struct asked *a = calloc(1, sizeof(*a));
	pthread_t id;

	on_loop(p);
	say("lookup", pairs, NULL, 0);
	a->bridge = p->bridge;
	a->token = token;
	snprintf(a->identity, sizeof(a->identity), "%s", identity);
	if (certificate_count == 0) { /* nobody answers */
		free(a);
		return;
	}
	must(pthread_create(&id, NULL, find, a) == 0, "no thread");
	pthread_detach(id);
}

static void on_device(void *ctx, void *user, const struct cw_bridge_device *d)
{
	static const char *const names[] = { "", "online", "offline", "refused", "superseded", "removed", "changed" };
	const char *pairs[] = { "identity",   d->identity,    "state", names[d->what], "productKey", d->product_key,
				"deviceName", d->device_name, "text",  d->text,        NULL };

	on_loop(ctx);
	check_user(user, d->identity);
	say("device", pairs, "code", d->code);
	if (d->what >= CW_DEVICE_LEFT_SUPERSEDED) {
		must(forget_user(ctx, d->identity) == user, "another pointer than that of online");
		end_user(user);
	}
}

static void say_message(const char *what, const struct cw_bridge_message *m)
{
	pthread_mutex_lock(&out_lock);
	printf("{\"what\": \"%s\", \"identity\": ", what);
	put_text(stdout, m->identity == NULL ? "" : m->identity, m->identity == NULL ? 0 : strlen(m->identity));
	printf(", \"deviceName\": \"%s\", \"topic\": ", m->device_name);
	put_text(stdout, m->topic, strlen(m->topic));
	printf(", \"payload\": ");
	put_text(stdout, (const char *)m->payload.ptr, m->payload.len);
	printf("}\n");
	fflush(stdout);
	pthread_mutex_unlock(&out_lock);
}

static int on_message(void *ctx, void *user, const struct cw_bridge_message *m)
{
	on_loop(ctx);
	check_user(user, m->identity);
	say_message("message", m);
	return policy.message;
}

static int on_broadcast(void *ctx, void *user, const struct cw_bridge_message *m)
{
	on_loop(ctx);
	if (user != NULL)
		check_user(user, m->identity);
	say_message("broadcast", m);
	return policy.broadcast;
}

static int on_command(void *ctx, void *user, const struct cw_bridge_command *c)
{
	char kind[16];
	struct probe *p = ctx;
	const char *pairs[] = { "identity", c->identity, "kind", kind, "name", c->name, "json", c->json, NULL };

	on_loop(p);
	check_user(user, c->identity);
	snprintf(kind, sizeof(kind), "%u", c->kind);
	say("command", pairs, "id", (long long)c->id);
	if (policy.command == 0 && !policy.silent) { /* bytes go back as they came; a map with what was asked */
		struct cw_bytes reply = c->kind == CW_KIND_RRPC ? c->params : cw_bytes_text("{\"done\": 1}");

		must(cw_bridge_answer(p->bridge, c->id, 200, reply) == 0, "an answer from within");
	}
	return policy.command;
}

static void on_cancelled(void *ctx, void *user, uint64_t id)
{
	on_loop(ctx);
	check_user(user, NULL);
	say("cancelled", NULL, "id", (long long)id);
}

static int on_upgrade(void *ctx, void *user, const struct cw_bridge_firmware *f)
{
	const char *pairs[] = { "identity", f->identity, "module", f->module, "version",      f->version, "url",
				f->url,     "sign",      f->sign,  "method",  f->sign_method, NULL };

	on_loop(ctx);
	check_user(user, f->identity);
	say("upgrade", pairs, "bytes", (long long)f->bytes);
	return policy.upgrade;
}

static void on_reply(void *ctx, void *user, const struct cw_bridge_reply *r)
{
	const char *pairs[] = { "identity", r->identity, "request", r->request, "json", r->json, NULL };

	on_loop(ctx);
	check_user(user, r->identity);
	say("reply", pairs, "code", r->code);
}

static const struct cw_bridge_handler handler = {
	.size = sizeof(handler),
	.state = on_state,
	.lookup = on_lookup,
	.device = on_device,
	.message = on_message,
	.broadcast = on_broadcast,
	.command = on_command,
	.cancelled = on_cancelled,
	.upgrade = on_upgrade,
	.reply = on_reply,
};

/* ---- calls ------------------------------------------------------------------------------ */

static struct probe *find_probe(const char *name)
{
	int i;

	for (i = 0; i < BRIDGES; i++)
		if (probes[i].bridge != NULL && strcmp(probes[i].name, name) == 0)
			return &probes[i];
	return NULL;
}

static void say_rc(const char *what, int rc, const char *why)
{
	char text[16];
	const char *pairs[] = { "rc", text, "why", why, NULL };

	snprintf(text, sizeof(text), "%d", rc);
	say(what, pairs, NULL, 0);
}

static void do_open(char **w, int n)
{
	struct cw_bridge_setup s = { .size = sizeof(s), .handler = &handler };
	char why[512] = "";
	struct probe *p = probes;
	int i, rc, drive = 0, idle = 0;

	while (p->bridge != NULL)
		p++;
	memset(p, 0, sizeof(*p));
	snprintf(p->name, sizeof(p->name), "%s", w[1]);
	s.ctx = p;
	for (i = 2; i < n; i++) {
		char *value = strchr(w[i], '=');

		if (value != NULL)
			*value++ = '\0';
		if (strcmp(w[i], "file") == 0)
			s.file = value;
		else if (strcmp(w[i], "devices") == 0)
			s.devices = value;
		else if (strcmp(w[i], "endpoint") == 0)
			s.endpoint = value;
		else if (strcmp(w[i], "type") == 0)
			s.type = value;
		else if (strcmp(w[i], "pk") == 0)
			s.product_key = value;
		else if (strcmp(w[i], "dn") == 0)
			s.device_name = value;
		else if (strcmp(w[i], "secret") == 0)
			s.device_secret = value;
		else if (strcmp(w[i], "text") == 0)
			s.text = value;
		else if (strcmp(w[i], "state") == 0)
			s.state_dir = value;
		else if (strcmp(w[i], "drive") == 0)
			drive = 1;
		else if (strcmp(w[i], "idle") == 0)
			idle = 1;
		else
			must(0, "open: unknown word");
	}
	rc = cw_bridge_open(&s, &p->bridge, why, sizeof(why));
	p->driven = drive;
	if (rc == 0 && !drive && !idle)
		rc = cw_bridge_start(p->bridge);
	say_rc("opened", rc, why);
}

static int do_online(struct probe *p, char **w, int n, struct cw_bridge_wait *wait, struct ticket *t)
{
	struct user *u = calloc(1, sizeof(*u));
	int rc;

	u->alive = ALIVE;
	snprintf(u->identity, sizeof(u->identity), "%s", w[2]);
	t->user = u;
	wait->timeout_ms = n > 3 ? (unsigned)atoi(w[3]) : 0;
	rc = cw_bridge_online(p->bridge, w[2], u, n > 4 ? CW_ONLINE_EARLY : 0, wait);
	if (rc < 0) {
		end_user(u);
		t->user = NULL;
	}
	return rc;
}

static int do_call(struct probe *p, char **w, int n, struct cw_bridge_wait *wait, struct ticket *t)
{
	const char *id = w[2];
	uint8_t bytes[4096];
	size_t i, len;

	if (strcmp(w[0], "offline") == 0) {
		snprintf(t->offline, sizeof(t->offline), "%s", id);
		wait->timeout_ms = n > 3 ? (unsigned)atoi(w[3]) : 0;
		return cw_bridge_offline(p->bridge, id, wait);
	}
	wait->timeout_ms = (unsigned)atoi(w[3]);
	if (strcmp(w[0], "publish") == 0) { /* topic qos hex */
		len = n > 6 ? strlen(w[6]) / 2 : 0;
		for (i = 0; i < len && i < sizeof(bytes); i++) {
			char hex[3] = { w[6][2 * i], w[6][2 * i + 1], 0 };

			bytes[i] = (uint8_t)strtol(hex, NULL, 16);
		}
		return cw_bridge_publish(p->bridge, id, w[4], cw_bytes_of(bytes, len), atoi(w[5]), wait);
	}
	if (strcmp(w[0], "properties") == 0) /* request json */
		return cw_bridge_report_properties(p->bridge, id, w[4], cw_bytes_text(w[5]), wait);
	if (strcmp(w[0], "tags") == 0)
		return cw_bridge_update_tags(p->bridge, id, w[4], cw_bytes_text(w[5]), wait);
	if (strcmp(w[0], "event") == 0) /* request json name type */
		return cw_bridge_fire_event(p->bridge, id, w[4], w[6], atoi(w[7]), cw_bytes_text(w[5]), wait);
	if (strcmp(w[0], "version") == 0) /* request version */
		return cw_bridge_report_ota_version(p->bridge, id, w[4], NULL, w[5], wait);
	if (strcmp(w[0], "progress") == 0) /* request step desc */
		return cw_bridge_report_ota_progress(p->bridge, id, w[4], NULL, atoi(w[5]), w[6], wait);
	must(0, "unknown call");
	return 0;
}

/* Many threads, each with calls of every kind; the sum of how they ended is said once all have. */
struct storm {
	struct probe *probe;
	const char *identity;
	int count;
	atomic_long done, ok, timed_out, closed, busy, other, refused;
};

static void on_storm(void *arg, const struct cw_bridge_outcome *o)
{
	struct storm *s = arg;

	on_loop(s->probe);
	atomic_fetch_add(o->rc == 0              ? &s->ok
			 : o->rc == CW_ETIMEDOUT ? &s->timed_out
			 : o->rc == CW_ECLOSED   ? &s->closed
			 : o->rc == CW_EBUSY     ? &s->busy
			 : o->rc == CW_EREFUSED  ? &s->refused
						 : &s->other,
			 1);
	atomic_fetch_add(&s->done, 1);
}

static void *storm_thread(void *arg)
{
	struct storm *s = arg;
	struct cw_bridge_wait wait = { 20000, on_storm, s };
	int i;

	for (i = 0; i < s->count; i++) {
		int rc = i % 2 == 0 ? cw_bridge_publish(s->probe->bridge, s->identity, "user/update",
							cw_bytes_of("\0\1x", 3), i % 4 / 2, &wait)
				    : cw_bridge_report_properties(s->probe->bridge, s->identity, NULL,
								  cw_bytes_text("{\"n\": 1.50}"), &wait);

		if (rc < 0) {
			atomic_fetch_add(rc == CW_ECLOSED ? &s->closed : rc == CW_EBUSY ? &s->busy : &s->other, 1);
			atomic_fetch_add(&s->done, 1);
			if (rc == CW_EBUSY)
				usleep(1000);
		}
	}
	return NULL;
}

static void say_storm(struct storm *s)
{
	char sum[200];
	const char *pairs[] = { "sum", sum, NULL };

	snprintf(sum, sizeof(sum), "ok=%ld timedOut=%ld closed=%ld busy=%ld refused=%ld other=%ld", s->ok, s->timed_out,
		 s->closed, s->busy, s->refused, s->other);
	say("storm", pairs, "done", s->done);
}

/* storm BRIDGE ID THREADS COUNT [close]: with close the bridge is closed at once, most of them still open. */
static void do_storm(struct probe *p, char **w, int n)
{
	struct storm s = { .probe = p, .identity = w[2], .count = atoi(w[4]) };
	int threads = atoi(w[3]), i;
	pthread_t id[32];

	for (i = 0; i < threads && i < 32; i++)
		must(pthread_create(&id[i], NULL, storm_thread, &s) == 0, "no thread");
	for (i = 0; i < threads && i < 32; i++)
		pthread_join(id[i], NULL);
	if (n > 5) {
		must(cw_bridge_close(p->bridge, 0) == 0, "close");
		p->bridge = NULL;
		forget_users(p);
	}
	while (s.done < (long)threads * s.count)
		usleep(1000);
	say_storm(&s);
}

static void do_close(struct probe *p, unsigned drain)
{
	int rc = cw_bridge_close(p->bridge, drain);

	p->bridge = NULL;
	forget_users(p);
	say_rc("closed", rc, "");
}

static void do_status(struct probe *p)
{
	struct cw_bridge_status s = { .size = sizeof(s) };
	char text[200];
	const char *pairs[] = { "text", text, NULL };

	cw_bridge_status(p->bridge, &s);
	snprintf(text, sizeof(text), "up=%u online=%llu open=%llu", s.up, (unsigned long long)s.devices_online,
		 (unsigned long long)s.open_calls);
	say("status", pairs, NULL, 0);
}

static int split(char *line, char **w)
{
	int n = 0;
	char *at = strtok(line, " \n");

	for (; at != NULL && n < WORDS; at = strtok(NULL, " \n"))
		w[n++] = at;
	return n;
}

static void run(char *line)
{
	char *w[WORDS] = { NULL };
	int n = split(line, w), i;
	struct probe *p;
	struct ticket *t;
	struct cw_bridge_wait wait = { 0, on_done, NULL };

	if (n == 0)
		return;
	if (strcmp(w[0], "open") == 0) {
		do_open(w, n);
		return;
	}
	if (strcmp(w[0], "certificate") == 0) {
		for (i = 0; i < 4; i++)
			snprintf(certificates[certificate_count].word[i], 160, "%s", w[i + 1]);
		certificate_count++;
		return;
	}
	if (strcmp(w[0], "policy") == 0) {
		atomic_int *which = strcmp(w[1], "message") == 0     ? &policy.message
				    : strcmp(w[1], "command") == 0   ? &policy.command
				    : strcmp(w[1], "upgrade") == 0   ? &policy.upgrade
				    : strcmp(w[1], "broadcast") == 0 ? &policy.broadcast
								     : &policy.silent;

		atomic_store(which, atoi(w[2]));
		say("policy", NULL, NULL, 0);
		return;
	}
	p = find_probe(w[1]);
	must(p != NULL, "no such bridge");
	if (strcmp(w[0], "close") == 0) {
		do_close(p, n > 2 ? (unsigned)atoi(w[2]) : 0);
	} else if (strcmp(w[0], "storm") == 0) {
		do_storm(p, w, n);
	} else if (strcmp(w[0], "status") == 0) {
		do_status(p);
	} else if (strcmp(w[0], "answer") == 0) {
		say_rc("answered",
		       cw_bridge_answer(p->bridge, strtoull(w[2], NULL, 10), atoi(w[3]),
					cw_bytes_text(n > 4 ? w[4] : NULL)),
		       "");
	} else {
		t = calloc(1, sizeof(*t));
		t->probe = p;
		t->number = ++next_number;
		wait.arg = t;
		i = strcmp(w[0], "online") == 0 ? do_online(p, w, n, &wait, t) : do_call(p, w, n, &wait, t);
		if (i < 0) {
			char text[32];
			const char *pairs[] = { "rc", text, "text", "refused at once", NULL };

			snprintf(text, sizeof(text), "%d", i);
			say("done", pairs, "call", (long long)t->number);
			free(t);
		}
	}
}

/* Whole lines are written at once; byte by byte, so that poll() knows of what is not read yet. */
static int read_line(char *line, size_t size)
{
	size_t n = 0;

	while (n < size - 1 && read(0, line + n, 1) == 1) {
		if (line[n++] != '\n')
			continue;
		line[n] = '\0';
		return 1;
	}
	return 0;
}

int main(void)
{
	static char line[65536];
	int i;

	cw_bridge_log(1, 0, 2);
	for (;;) {
		struct pollfd fds[BRIDGES + 1] = { { .fd = 0, .events = POLLIN } };
		int n = 1, ms = -1;

		for (i = 0; i < BRIDGES; i++) {
			int t;

			if (probes[i].bridge == NULL || !probes[i].driven)
				continue;
			must(cw_bridge_step(probes[i].bridge) == 0, "step");
			t = cw_bridge_timeout(probes[i].bridge);
			ms = ms < 0 || t < ms ? t : ms;
			fds[n].events = POLLIN;
			fds[n++].fd = cw_bridge_fd(probes[i].bridge);
		}
		if (poll(fds, (nfds_t)n, ms) < 0)
			continue;
		if (fds[0].revents == 0)
			continue;
		if (!read_line(line, sizeof(line)))
			break;
		run(line);
	}
	for (i = 0; i < BRIDGES; i++)
		if (probes[i].bridge != NULL)
			(void)cw_bridge_close(probes[i].bridge, 0);
	return 0;
}
