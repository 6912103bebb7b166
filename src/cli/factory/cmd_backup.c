/* cmd_backup.c - `causeway factory backup` and `restore`: a copy of the database while the line runs, and back from it. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/factory/factory.h"
#include "cli/factory/tool.h"
#include "store/key.h"

static const char backup_usage[] =
	"usage: causeway factory backup FILE\n"
	"\n"
	"A consistent copy of the database in a new file, while servers work. The key file is not in it: without it nobody can read\n"
	"the secrets in the copy, not even you. Keep a copy of the key in another place than the backups.\n"
	"A PostgreSQL database is copied with its own tools (pg_dump, pg_basebackup).\n";

static const char restore_usage[] =
	"usage: causeway factory restore FILE [--db FILE] [--key FILE]\n"
	"\n"
	"A backup in the place where no database is. The key file goes there first (FILE.key beside the database, or --key): it must be the\n"
	"one that the backup was made with. Whether the copy is whole and the key fits is looked at before anything is put in place.\n"
	"Certificates that were given out after the backup are free in it: void those that you know of, before the line runs again.\n";

/* ---- backup ------------------------------------------------------------------------------- */

int cw_factory_backup(int argc, char **argv)
{
	struct factory_tool t = { 0 };
	struct cw_msg msg = { "" };
	int rc = factory_options(&t, argc, argv, backup_usage, NULL, 0);

	if (rc < 0)
		rc = factory_words(&t, 1, 1);
	if (rc >= 0)
		return rc;
	rc = factory_open(&t, FACTORY_READ);
	if (rc == 0 && cw_stock_backup(t.stock, t.word[0], &msg) < 0)
		rc = factory_complain(&t, "%s", msg.text);
	if (rc == 0) /* while t.db is there: it may be the configuration's */
		printf("%s is a copy of %s. The key is not in it: keep a copy of %s in another place\n", t.word[0], t.db, t.key_path);
	factory_close(&t);
	return rc;
}

/* ---- restore -------------------------------------------------------------------------------- */

static int on_integrity(void *arg, size_t set, const struct cw_db_value *columns, size_t count)
{
	char *first = arg;

	if (first[0] == '\0')
		(void)snprintf(first, 200, "%.*s", (int)columns[0].bytes.len, (const char *)columns[0].bytes.ptr);
	return 0;
}

/* SQLite's own look at the file: pages, indexes, what refers to what. */
static int look_at(struct factory_tool *t, const char *file)
{
	const struct cw_db_conf conf = { .where = file, .read_only = 1 };
	struct cw_msg msg = { "" };
	char said[200] = "";
	struct cw_db *db;
	int rc;

	if (cw_db_open(&conf, &db, &msg) < 0)
		return factory_complain(t, "%s", msg.text);
	rc = cw_db_run(db, "PRAGMA integrity_check", NULL, 0, on_integrity, said, NULL, &msg);
	cw_db_close(db);
	if (rc < 0)
		return factory_complain(t, "%s: %s", file, msg.text);
	return strcmp(said, "ok") == 0 ? 0 : factory_complain(t, "%s: is damaged: %s", file, said);
}

static void on_problem(void *arg, const struct cw_audit_problem *p)
{
	if (p->number > 0)
		fprintf(stderr, "%s %lld: %s\n", p->node, (long long)p->number, p->sentence);
	else
		fprintf(stderr, "%s%s%s\n", p->node, p->node[0] == '\0' ? "" : ": ", p->sentence);
}

/* With its key; what does not fit in it is told, and no reason to leave a line without its stock. */
static int verify(struct factory_tool *t, uint64_t *ret_problems)
{
	struct cw_msg msg = { "" };
	uint64_t entries;

	if (cw_audit_verify(t->stock, NULL, on_problem, NULL, &entries, ret_problems, &msg) < 0)
		return factory_complain(t, "%s", msg.text);
	return 0;
}

static int is_free(struct factory_tool *t)
{
	static const char *const tails[] = { "", "-wal", "-shm" };
	char path[1200];
	size_t i;

	for (i = 0; i < 3; i++) {
		(void)snprintf(path, sizeof(path), "%s%s", t->db, tails[i]);
		if (access(path, F_OK) == 0)
			return factory_complain(t, "%s is there; stop the servers and move it away (with -wal and -shm) before you restore another one", path);
	}
	return 0;
}

/* Root has put it there; beside a service's stock it has to be the service's, as the stock is. */
static void give_key(const struct factory_tool *t)
{
	struct stat st;
	int fd = open(t->key_path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 && st.st_uid == 0 && (st.st_mode & 077) == 0)
		cw_file_give_to_owner(fd, t->key_path);
	(void)close(fd);
}

static int restore(struct factory_tool *t, const char *from)
{
	const struct cw_stock_conf conf = { .db = from, .key_file = t->key_path, .read_only = 1 };
	struct cw_msg msg = { "" };
	uint64_t problems = 0;
	int rc = look_at(t, from);

	if (rc != 0)
		return rc;
	if (cw_stock_open(&conf, &t->stock, &msg) < 0)
		return factory_complain(t, "%s", msg.text);
	rc = verify(t, &problems);
	if (rc == 0 && cw_stock_backup(t->stock, t->db, &msg) < 0)
		rc = factory_complain(t, "%s", msg.text);
	if (rc != 0)
		return rc;
	give_key(t);
	printf("%s is what %s was; its key is %s\n", t->db, from, t->key_path);
	if (problems > 0)
		fprintf(stderr, "warning: it is in place, but somebody has edited it: %llu thing%s in it %s not fit, as listed\n",
			(unsigned long long)problems, problems == 1 ? "" : "s", problems == 1 ? "does" : "do");
	fputs("Certificates that were given out after the backup are free in it: void those that you know of, before the line runs again.\n", stderr);
	return 0;
}

int cw_factory_restore(int argc, char **argv)
{
	struct factory_tool t = { 0 };
	struct cw_key key;
	struct cw_msg msg = { "" };
	int rc = factory_options(&t, argc, argv, restore_usage, NULL, 0);

	if (rc < 0)
		rc = factory_words(&t, 1, 1);
	if (rc >= 0)
		return rc;
	rc = factory_place(&t);
	if (rc == 0 && cw_db_is_server(t.db))
		rc = factory_complain(&t, "a PostgreSQL database is restored with its own tools (pg_restore, psql)");
	if (rc == 0 && access(t.word[0], R_OK) != 0)
		rc = factory_complain(&t, "%s: there is no such file, or it may not be read", t.word[0]);
	if (rc == 0)
		rc = is_free(&t);
	if (rc == 0) {
		rc = cw_key_load(t.key_path, &key, &msg);
		if (rc == CW_ENOENT)
			rc = factory_complain(&t, "%s: there is no key; put the key file there that the backup was made with, or say where it is with --key",
			                      t.key_path);
		else if (rc < 0)
			rc = factory_complain(&t, "%s", msg.text);
		cw_key_wipe(&key);
	}
	if (rc == 0)
		rc = restore(&t, t.word[0]);
	factory_close(&t);
	return rc;
}
