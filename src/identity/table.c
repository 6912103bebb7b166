/* table.c - see table.h. */
#include "identity/table.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "identity/import.h"
#include "json/json.h"

#define LIST_MOST (64u << 20)

struct cw_table_source {
	struct cw_resolver *resolver;
	struct cw_worker *control, *store;
	size_t count;     /* as the control loop knows it */
	int warned;       /* a failure has been logged since the last success */
	size_t out;       /* mails that will come back; freed with the last */
	int dead;
	struct cw_mail close_mail;
	uv_sem_t closed;
	/* the store thread's */
	struct cw_table *table;
};

/* There and back: one question. */
struct look {
	struct cw_mail mail;
	struct cw_table_source *source;
	uint64_t token;
	int rc;
	struct cw_identity *found;
	struct cw_msg msg;
	size_t name_at, len; /* name_at: where the device name begins; 0: it is an identity */
	char key[];
};

/* ---- on the store thread ------------------------------------------------------------- */

static int take_row(void *arg, const struct cw_table_row *row)
{
	struct look *k = arg;

	k->found = cw_identity_new(row->identity, row->product_key, row->device_name, row->device_secret, row->settings);
	return k->found == NULL ? CW_ENOMEM : 0;
}

static void on_looked(struct cw_mail *mail);

static void on_look(struct cw_mail *mail)
{
	struct look *k = cw_container_of(mail, struct look, mail);
	struct cw_table *t = k->source->table;

	if (k->name_at == 0)
		k->rc = cw_table_find(t, k->key, k->len, take_row, k, &k->msg);
	else
		k->rc = cw_table_find_name(t, k->key, k->key + k->name_at, take_row, k, &k->msg);
	cw_post(k->source->control, &k->mail, on_looked);
}

/* There and back: which identities begin with this? */
struct sheet {
	struct cw_mail mail;
	struct cw_table_source *source;
	uint64_t token;
	size_t most, len;
	int rc;
	struct cw_msg msg;
	struct cw_names names;
	char prefix[];
};

static int sheet_row(void *arg, const struct cw_table_row *row)
{
	struct sheet *k = arg;

	if (k->names.count == k->most) {
		k->names.more = 1;
		return 0;
	}
	return cw_names_add(&k->names, row->identity, strlen(row->identity));
}

static void on_listed(struct cw_mail *mail);

static void on_list(struct cw_mail *mail)
{
	struct sheet *k = cw_container_of(mail, struct sheet, mail);

	k->rc = cw_table_with(k->source->table, k->prefix, k->len, k->most + 1, sheet_row, k, &k->msg);
	cw_post(k->source->control, &k->mail, on_listed);
}

static int put_all(struct cw_table *t, const struct cw_identities *set, struct cw_edit_result *res, struct cw_msg *msg)
{
	struct cw_map_node *n;
	int rc = 0;

	cw_map_each(n, &set->by_identity) {
		const struct cw_identity *id = cw_container_of(n, struct cw_identity, by_identity);
		const struct cw_table_row row = { id->identity, id->product_key, id->device_name, id->device_secret, id->settings };
		enum cw_table_change change;

		rc = cw_table_put(t, &row, &change, msg);
		if (rc < 0)
			return rc;
		res->added += change == CW_TABLE_ADDED;
		res->changed += change == CW_TABLE_CHANGED;
		res->same += change == CW_TABLE_SAME;
	}
	return 0;
}

int cw_table_import(struct cw_table *t, const struct cw_identities *set, struct cw_edit_result *ret_result, struct cw_msg *msg)
{
	int rc = cw_table_begin(t, msg);

	memset(ret_result, 0, sizeof(*ret_result));
	if (rc == 0)
		rc = put_all(t, set, ret_result, msg);
	if (rc == 0)
		return cw_table_commit(t, msg);
	cw_table_rollback(t);
	return rc;
}

static int list_row(void *arg, const struct cw_table_row *row)
{
	struct cw_json *j = arg;

	cw_json_map(j);
	cw_json_field(j, "identity", row->identity);
	cw_json_field(j, "productKey", row->product_key);
	cw_json_field(j, "deviceName", row->device_name);
	cw_json_field(j, "deviceSecret", "******");
	cw_json_end_map(j);
	return 0;
}

int cw_table_list(struct cw_table *t, const char *after, size_t most, char **ret_json, size_t *ret_len, struct cw_msg *msg)
{
	struct cw_json j;
	int rc;

	cw_json_begin(&j, LIST_MOST);
	cw_json_array(&j);
	rc = cw_table_each(t, after, most, list_row, &j, msg);
	cw_json_end_array(&j);
	if (rc < 0) {
		cw_json_drop(&j);
		return rc;
	}
	rc = cw_json_finish(&j, ret_json, ret_len);
	return rc < 0 ? cw_fail(msg, rc, "%s", cw_error_text(rc)) : 0;
}

static int touch_row(void *arg, const struct cw_table_row *row)
{
	return cw_identities_add(arg, row->identity, row->product_key, row->device_name, row->device_secret, row->settings);
}

static int remove_row(struct cw_table *t, struct cw_edit *e)
{
	struct cw_msg unused;
	int rc = cw_identities_new(&e->touched);

	if (rc < 0)
		return cw_fail(&e->msg, rc, "out of memory");
	/* One that does not open any more can be removed all the same; of its device only the identity is known then. */
	rc = cw_table_find(t, e->text, e->len, touch_row, e->touched, &unused);
	if (rc == CW_EAUTH)
		(void)cw_identities_add(e->touched, e->text, "", "", "", cw_bytes_of(NULL, 0));
	rc = cw_table_remove(t, e->text, &e->msg);
	e->result.removed = rc == 0;
	return rc;
}

static int edit(struct cw_table *t, struct cw_edit *e)
{
	struct cw_identities *set = NULL;
	int rc;

	switch (e->kind) {
	case CW_EDIT_REMOVE:
		return remove_row(t, e);
	case CW_EDIT_REKEY:
		return cw_table_rekey(t, &e->result.rows, &e->msg);
	case CW_EDIT_LIST:
		return cw_table_list(t, e->text, e->most, &e->list, &e->list_len, &e->msg);
	default:
		rc = cw_identities_of_json(cw_bytes_of(e->text, e->len), &set, &e->msg);
		if (rc == 0)
			rc = cw_table_import(t, set, &e->result, &e->msg);
		if (rc == 0)
			e->touched = set;
		else
			cw_identities_free(set);
		return rc;
	}
}

static void on_edited(struct cw_mail *mail);

static void on_edit(struct cw_mail *mail)
{
	struct cw_edit *e = cw_container_of(mail, struct cw_edit, mail);

	e->rc = edit(e->source->table, e);
	e->count = cw_table_count(e->source->table);
	explicit_bzero(e->text, e->len);
	cw_free(e->text);
	e->text = NULL;
	cw_post(e->source->control, &e->mail, on_edited);
}

static void on_close(struct cw_mail *mail)
{
	struct cw_table_source *s = cw_container_of(mail, struct cw_table_source, close_mail);

	cw_table_close(s->table);
	uv_sem_post(&s->closed);
}

/* ---- on the control loop ---------------------------------------------------------------- */

static void note(struct cw_table_source *s, int rc, const struct cw_msg *msg)
{
	if (rc == CW_EAUTH)
		cw_count(identity, table_damaged);
	if (rc == CW_EAUTH || !s->warned)
		cw_log(identity_source, msg->text, CW_LS("source", "sqlite"));
	s->warned = 1;
}

/* Another mail has come back; 0: the source is being freed, and nobody is to be told. */
static int came_back(struct cw_table_source *s)
{
	int alive = !s->dead;

	if (--s->out == 0 && s->dead)
		cw_free(s);
	return alive;
}

static void on_looked(struct cw_mail *mail)
{
	struct look *k = cw_container_of(mail, struct look, mail);
	struct cw_table_source *s = k->source;

	if (!came_back(s)) {
		cw_identity_free(k->found);
		cw_free(k);
		return;
	}
	if (k->rc == CW_OK || k->rc == CW_ENOENT)
		s->warned = 0;
	else
		note(s, k->rc, &k->msg);
	cw_resolver_answer(s->resolver, k->token, k->rc, k->found);
	cw_identity_free(k->found);
	cw_free(k);
}

static void look(struct cw_table_source *s, const char *key, size_t len, const char *name, uint64_t token)
{
	size_t nn = name == NULL ? 0 : strlen(name) + 1;
	struct look *k;

	if (s->count == 0) {
		cw_resolver_answer(s->resolver, token, CW_ENOENT, NULL);
		return;
	}
	k = cw_zalloc(sizeof(*k) + len + 1 + nn);
	if (k == NULL) {
		cw_resolver_answer(s->resolver, token, CW_ENOMEM, NULL);
		return;
	}
	k->source = s;
	k->token = token;
	k->len = len;
	memcpy(k->key, key, len);
	if (name != NULL) {
		k->name_at = len + 1;
		memcpy(k->key + k->name_at, name, nn);
	}
	s->out++;
	cw_post(s->store, &k->mail, on_look);
}

static void ask(void *source, const struct cw_claim *claim, uint64_t token)
{
	look(source, claim->identity, claim->identity_len, NULL, token);
}

static void ask_name(void *source, const char *product_key, const char *device_name, uint64_t token)
{
	look(source, product_key, strlen(product_key), device_name, token);
}

static void on_listed(struct cw_mail *mail)
{
	struct sheet *k = cw_container_of(mail, struct sheet, mail);
	struct cw_table_source *s = k->source;

	if (came_back(s)) {
		if (k->rc < 0)
			note(s, k->rc, &k->msg);
		else
			s->warned = 0;
		cw_resolver_listed(s->resolver, k->token, k->rc, &k->names);
	}
	cw_names_fini(&k->names);
	cw_free(k);
}

static void list(void *source, const char *prefix, size_t len, size_t most, uint64_t token)
{
	struct cw_table_source *s = source;
	struct cw_names none = { 0 };
	struct sheet *k;

	if (s->count == 0) {
		cw_resolver_listed(s->resolver, token, 0, &none);
		return;
	}
	k = cw_zalloc(sizeof(*k) + len);
	if (k == NULL) {
		cw_resolver_listed(s->resolver, token, CW_ENOMEM, &none);
		return;
	}
	k->source = s;
	k->token = token;
	k->most = most;
	k->len = len;
	memcpy(k->prefix, prefix, len);
	s->out++;
	cw_post(s->store, &k->mail, on_list);
}

static size_t count(void *source)
{
	return ((struct cw_table_source *)source)->count;
}

static void set_count(struct cw_table_source *s, size_t n)
{
	cw_gauge_add(identity, table_entries, (int64_t)n - (int64_t)s->count);
	s->count = n;
}

static void on_edited(struct cw_mail *mail)
{
	struct cw_edit *e = cw_container_of(mail, struct cw_edit, mail);

	if (!came_back(e->source)) {
		e->closed = 1;
		e->done(e);
		return;
	}
	set_count(e->source, e->count);
	if (e->rc == CW_EAUTH)
		cw_count(identity, table_damaged);
	if (e->rc == 0 && e->kind != CW_EDIT_LIST)
		cw_log(identity_edited, "", CW_LU("added", e->result.added), CW_LU("changed", e->result.changed),
		       CW_LU("removed", e->result.removed), CW_LU("newKey", e->kind == CW_EDIT_REKEY), CW_LU("entries", e->count));
	e->done(e);
}

void cw_table_source_edit(struct cw_table_source *s, struct cw_edit *e)
{
	e->source = s;
	s->out++;
	cw_post(s->store, &e->mail, on_edit);
}

static void free_source(void *source)
{
	struct cw_table_source *s = source;

	set_count(s, 0);
	cw_post(s->store, &s->close_mail, on_close);
	uv_sem_wait(&s->closed);
	uv_sem_destroy(&s->closed);
	s->dead = 1;
	if (s->out == 0)
		cw_free(s);
}

const struct cw_source_ops cw_table_source_ops = {
	.name = "sqlite", .ask = ask, .ask_name = ask_name, .list = list, .count = count, .free = free_source
};

int cw_table_source_new(struct cw_resolver *r, struct cw_worker *control, struct cw_worker *store, const char *dir, const char *key_file,
                        struct cw_table_source **ret_source, struct cw_msg *msg)
{
	struct cw_table_source *s = cw_zalloc(sizeof(*s));
	int rc;

	if (s == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	s->resolver = r;
	s->control = control;
	s->store = store;
	rc = cw_table_open(dir, key_file, &s->table, msg);
	if (rc == 0 && uv_sem_init(&s->closed, 0) != 0) {
		cw_table_close(s->table);
		rc = cw_fail(msg, CW_ENOMEM, "out of memory");
	}
	if (rc < 0) {
		cw_free(s);
		return rc;
	}
	set_count(s, cw_table_count(s->table));
	*ret_source = s;
	return 0;
}
