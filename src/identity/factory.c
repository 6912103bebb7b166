/* factory.c - see factory.h. */
#include "identity/factory.h"

#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "factory/stock/known.h"

#define WAIT_MS 3000u        /* for a server; a device is told to come again after that */
#define OPEN_AGAIN_MS 1000u
#define LOG_AGAIN_MS 60000u  /* while it fails, one line as often as this */

struct cw_factory_source {
	struct cw_resolver *resolver;
	struct cw_worker *control, *thread;
	size_t out;         /* questions that will come back; freed with the last */
	int dead, failing;
	uint64_t logged_ms;
	char *db, *key_file;
	/* the thread's */
	struct cw_stock *stock;
	struct stat opened;   /* the file that is open: a restored one is another */
	uint64_t tried_ms;    /* the last attempt that failed; 0: none */
	int failed;           /* with this */
	struct cw_msg why;
};

/* There and back: one question. */
struct look {
	struct cw_mail mail;
	struct cw_factory_source *source;
	uint64_t token;
	int rc;
	struct cw_identity *found;
	struct cw_msg msg;
	size_t name_at; /* where the device name begins; 0: it is an identity */
	char key[];
};

/* ---- on the thread ------------------------------------------------------------------------------ */

static void close_stock(struct cw_factory_source *s)
{
	cw_stock_close(s->stock);
	s->stock = NULL;
}

static int open_stock(struct cw_factory_source *s, struct cw_msg *msg)
{
	const struct cw_stock_conf conf = { .db = s->db, .key_file = s->key_file, .read_only = 1, .wait_ms = WAIT_MS };
	int server = cw_db_is_server(s->db), rc;
	struct stat now;

	if (!server && s->stock != NULL && (stat(s->db, &now) < 0 || now.st_ino != s->opened.st_ino || now.st_dev != s->opened.st_dev))
		close_stock(s);
	if (s->stock != NULL)
		return 0;
	if (s->tried_ms != 0 && cw_clock_ms() - s->tried_ms < OPEN_AGAIN_MS) {
		*msg = s->why;
		return s->failed;
	}
	memset(&s->opened, 0, sizeof(s->opened));
	if (!server)
		(void)stat(s->db, &s->opened);
	rc = cw_stock_open(&conf, &s->stock, msg);
	if (rc == CW_ENOENT) /* would mean: nobody has this identity */
		rc = CW_EUNREACH;
	s->tried_ms = rc < 0 ? cw_clock_ms() : 0;
	s->failed = rc;
	s->why = *msg;
	return rc;
}

static void on_looked(struct cw_mail *mail);

static void on_look(struct cw_mail *mail)
{
	struct look *k = cw_container_of(mail, struct look, mail);
	struct cw_factory_source *s = k->source;
	struct cw_stock_known known = { .identity = "" };

	k->rc = open_stock(s, &k->msg);
	if (k->rc == 0)
		k->rc = k->name_at == 0 ? cw_stock_known(s->stock, k->key, &known, &k->msg)
					: cw_stock_known_name(s->stock, k->key, k->key + k->name_at, &known, &k->msg);
	if (k->rc == 0) {
		k->found = cw_identity_new(k->name_at == 0 ? k->key : known.identity, known.product_key, known.device_name, known.device_secret,
					   cw_bytes_of(NULL, 0));
		k->rc = k->found == NULL ? CW_ENOMEM : 0;
	} else if (k->rc != CW_ENOENT && k->rc != CW_EEXIST && s->stock != NULL) {
		close_stock(s); /* whatever it is, a new one may do; not more often than once a second */
		s->tried_ms = cw_clock_ms();
		s->failed = k->rc;
		s->why = k->msg;
	}
	explicit_bzero(&known, sizeof(known));
	cw_post(s->control, &k->mail, on_looked);
}

static void on_stopping(void *arg)
{
	struct cw_factory_source *s = arg;

	close_stock(s);
	cw_worker_release(s->thread);
}

/* ---- on the control loop ------------------------------------------------------------------------- */

static void note(struct cw_factory_source *s, int ok, const char *why)
{
	uint64_t now;

	if (ok && s->failing)
		cw_log(identity_source, "the stock of the production line answers again", CW_LS("source", "factory"));
	if (ok) {
		s->failing = 0;
		return;
	}
	cw_count(identity, factory_failed);
	now = cw_clock_ms();
	if (!s->failing || now - s->logged_ms >= LOG_AGAIN_MS) {
		cw_log(identity_source, why, CW_LS("source", "factory"),
		       CW_LS("then", "older answers are used as long as staleIfError allows; other devices are asked to come again"));
		s->logged_ms = now;
	}
	s->failing = 1;
}

static void free_all(struct cw_factory_source *s)
{
	if (s->db != NULL)
		explicit_bzero(s->db, strlen(s->db)); /* there may be a password in it */
	cw_free(s->db);
	cw_free(s->key_file);
	cw_free(s);
}

static void on_looked(struct cw_mail *mail)
{
	struct look *k = cw_container_of(mail, struct look, mail);
	struct cw_factory_source *s = k->source;

	s->out--;
	if (!s->dead) {
		note(s, k->rc == CW_OK || k->rc == CW_ENOENT, k->msg.text[0] != '\0' ? k->msg.text : cw_error_text(k->rc));
		cw_resolver_answer(s->resolver, k->token, k->rc, k->found);
	} else if (s->out == 0) {
		free_all(s);
	}
	cw_identity_free(k->found);
	cw_free(k);
}

static void look(struct cw_factory_source *s, const char *key, size_t len, const char *name, uint64_t token)
{
	size_t nn = name == NULL ? 0 : strlen(name) + 1;
	struct look *k;

	if (memchr(key, '\0', len) != NULL) { /* no text has that */
		cw_resolver_answer(s->resolver, token, CW_ENOENT, NULL);
		return;
	}
	k = cw_zalloc(sizeof(*k) + len + 1 + nn);
	if (k == NULL) {
		cw_resolver_answer(s->resolver, token, CW_ENOMEM, NULL);
		return;
	}
	cw_count(identity, factory_asked);
	k->source = s;
	k->token = token;
	memcpy(k->key, key, len);
	if (name != NULL) {
		k->name_at = len + 1;
		memcpy(k->key + k->name_at, name, nn);
	}
	s->out++;
	cw_post(s->thread, &k->mail, on_look);
}

static void ask(void *source, const struct cw_claim *claim, uint64_t token)
{
	look(source, claim->identity, claim->identity_len, NULL, token);
}

static void ask_name(void *source, const char *product_key, const char *device_name, uint64_t token)
{
	look(source, product_key, strlen(product_key), device_name, token);
}

static void free_source(void *source)
{
	struct cw_factory_source *s = source;

	cw_worker_stop(s->thread, on_stopping, s);
	cw_worker_join(s->thread);
	cw_worker_free(s->thread);
	s->dead = 1;
	if (s->out == 0)
		free_all(s);
}

const struct cw_source_ops cw_factory_source_ops = { .name = "factory", .ask = ask, .ask_name = ask_name, .free = free_source };

int cw_factory_source_new(struct cw_resolver *r, struct cw_worker *control, const struct cw_factory_source_conf *conf,
			  struct cw_factory_source **ret_source, struct cw_msg *msg)
{
	struct cw_factory_source *s = cw_zalloc(sizeof(*s));
	int rc = s == NULL ? CW_ENOMEM : 0;

	if (rc < 0)
		return cw_fail(msg, rc, "out of memory");
	s->resolver = r;
	s->control = control;
	s->db = cw_strdup(conf->db);
	s->key_file = conf->key_file == NULL ? NULL : cw_strdup(conf->key_file);
	if (s->db == NULL || (conf->key_file != NULL && s->key_file == NULL))
		rc = CW_ENOMEM;
	if (rc == 0)
		rc = cw_worker_new("factory", 0, &s->thread);
	if (rc == 0)
		rc = cw_worker_start(s->thread);
	if (rc < 0) {
		cw_worker_free(s->thread);
		free_all(s);
		return cw_fail(msg, rc, "the thread of the source factory: %s", cw_error_text(rc));
	}
	*ret_source = s;
	return 0;
}
