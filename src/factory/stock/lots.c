/* lots.c - an import: pieces into a lot that nobody sees, then all of it at once. See lots.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/file.h"
#include "base/map.h"
#include "base/mem.h"
#include "factory/stock/stock_impl.h"

/*
 * What a station may have to wait for. SQLite lets one write at a time and those who wait look again only every now and then, so
 * that the next piece begins a little later than the last one ended.
 */
#define PIECE 500u
#define PAUSE_NS 2000000
#define PROBES 2000u        /* rows that are looked up one by one, before all names of their products are read */
#define NAMES_MOST 4000000u /* .. as long as there are not more than these: 16 bytes each */
#define CERT_VALUES 14u
#define EXTRA_MOST 4000u

/* ---- the one import at a time --------------------------------------------------------------------- */

#define LOCK_NUMBER "4850186342772"

static int on_number(void *arg, size_t set, const struct cw_db_value *columns, size_t count)
{
	*(int64_t *)arg = columns[0].number;
	return 0;
}

/*
 * Held by the living: a lock on a file beside the database, or one that PostgreSQL drops with our connection. Without it, an
 * invisible lot is what a dead import left.
 */
static int take_lock(struct cw_stock *s, int *ret_fd, struct cw_msg *msg)
{
	int64_t got = 0;
	int rc;

	*ret_fd = -1;
	if (cw_db_kind(s->db) == CW_DB_POSTGRES) {
		rc = cw_db_run(s->db, "SELECT CASE WHEN pg_try_advisory_lock(" LOCK_NUMBER ") THEN 1 ELSE 0 END", NULL, 0, on_number, &got,
			       NULL, msg);
		return rc < 0 ? rc : got != 0;
	}
	*ret_fd = open(s->import_lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*ret_fd < 0)
		return cw_fail(msg, cw_err_from_errno(errno), "import: cannot open %s: %s", s->import_lock, strerror(errno));
	cw_file_give_to_owner(*ret_fd, s->import_lock);
	if (flock(*ret_fd, LOCK_EX | LOCK_NB) == 0)
		return 1;
	(void)close(*ret_fd);
	*ret_fd = -1;
	return 0;
}

static void drop_lock(struct cw_stock *s, int fd)
{
	if (fd >= 0)
		(void)close(fd);
	else if (cw_db_kind(s->db) == CW_DB_POSTGRES)
		(void)cw_db_run(s->db, "SELECT pg_advisory_unlock(" LOCK_NUMBER ")", NULL, 0, NULL, NULL, NULL, NULL);
}

int stock_import_runs(struct cw_stock *s, struct cw_msg *msg)
{
	int fd, got;

	if (cw_db_kind(s->db) == CW_DB_POSTGRES) {
		int64_t free = 0;
		int rc = cw_db_run(s->db, "SELECT CASE WHEN pg_try_advisory_xact_lock(" LOCK_NUMBER ") THEN 1 ELSE 0 END", NULL, 0, on_number, &free,
				   NULL, msg);

		/* An import of this very connection would get it twice. */
		return rc < 0 ? rc : s->lot != NULL || free == 0;
	}
	got = take_lock(s, &fd, msg);
	if (got > 0)
		drop_lock(s, fd);
	return got < 0 ? got : got == 0;
}

/* ---- a lot ------------------------------------------------------------------------------------------ */

/* A product of this import: a batch and a lot of its own. */
struct part {
	struct part *next;
	struct cw_stock_product product;
	int64_t batch, lot;
	struct stock_lot_sum sum;
	char given_out[2][40]; /* texts of entries about boards that have theirs: allocated, written */
};

/* A row that waits for its piece. */
struct waiting {
	struct cw_map_node by_name, by_board;
	char name_key[CW_STOCK_PRODUCT_KEY + 1 + CW_STOCK_DEVICE_NAME + 1];
	char board_key[CW_STOCK_PRODUCT_KEY + 1 + CW_STOCK_DEVICE_ID + 1]; /* empty: free */
	struct part *part;
	const char *device_name, *device_id; /* in the keys; device_id NULL: free */
	char product_id[33];
	char *extra;
	uint8_t sealed[STOCK_SEALED_MAX];
	size_t sealed_len;
	int written;
};

struct cw_lot {
	struct cw_stock *s;
	char batch[CW_STOCK_BATCH + 1], file[256], who[CW_STOCK_STATION + 1], address[128];
	struct part *parts;
	struct waiting *rows; /* [PIECE] */
	struct cw_map names, boards; /* of those that wait */
	size_t waiting;
	size_t fresh, known, probed;
	uint64_t *hashes; /* of all names in stock and in this lot: open addressing, 0 is free; NULL: ask for each */
	size_t hash_size, hash_count;
	int no_hashes; /* too many */
	int lock_fd;
};

/* ---- what a dead import left ------------------------------------------------------------------------- */

struct leftover {
	int64_t lots[32];
	size_t count;
};

static int on_leftover(void *arg, size_t set, const struct cw_db_value *columns, size_t count)
{
	struct leftover *o = arg;

	o->lots[o->count++] = columns[0].number;
	return o->count == sizeof(o->lots) / sizeof(o->lots[0]);
}

/* A pause in which somebody else may write. */
static void let_others(const struct cw_stock *s)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };

	if (cw_db_kind(s->db) == CW_DB_SQLITE)
		(void)nanosleep(&pause, NULL);
}

static int run_for(struct cw_stock *s, const char *sql, int64_t id, size_t *ret_changed, struct cw_msg *msg)
{
	const struct cw_db_value v = cw_db_int(id);

	*ret_changed = 0;
	return cw_db_run(s->db, sql, &v, 1, NULL, NULL, ret_changed, msg);
}

/* The batch and the product go with the last lot, when nobody has set anything for them. */
static int remove_empty_lot(struct cw_stock *s, int64_t lot, struct cw_msg *msg)
{
	size_t n;
	int rc = run_for(s, "DELETE FROM lot WHERE id = $1", lot, &n, msg);

	if (rc == 0)
		rc = cw_db_run(s->db, "DELETE FROM batch WHERE closed = 0 AND lease = 0 AND low = 0 AND NOT EXISTS"
				      " (SELECT 1 FROM lot l WHERE l.batch = batch.id)", NULL, 0, NULL, NULL, NULL, msg);
	if (rc == 0)
		rc = cw_db_run(s->db,
			       "DELETE FROM product WHERE bluetooth = 0 AND product_id = '' AND crc_form = 0 AND crc_order = 0 AND"
			       " normalize_mac = 0 AND reply_columns = '' AND NOT EXISTS"
			       " (SELECT 1 FROM batch b WHERE b.product_key = product.product_key)",
			       NULL, 0, NULL, NULL, NULL, msg);
	return rc;
}

/*
 * Condemned first (-1), so that whoever believes to be filling it still, over a connection that was lost, cannot finish it; then in
 * pieces.
 */
static int remove_piece(struct cw_stock *s, void *arg, struct cw_msg *msg)
{
	int64_t *lot = arg;
	size_t n;
	int rc = run_for(s, "UPDATE lot SET visible = -1 WHERE id = $1 AND visible <> 1", *lot, &n, msg);

	if (rc == 0)
		rc = run_for(s, "DELETE FROM cert WHERE id IN (SELECT c.id FROM cert c WHERE c.lot = $1 LIMIT 1000)", *lot, &n, msg);
	if (rc < 0 || n > 0)
		return rc;
	rc = remove_empty_lot(s, *lot, msg);
	if (rc == 0)
		*lot = 0;
	return rc;
}

static int remove_lot(struct cw_stock *s, int64_t lot, struct cw_msg *msg)
{
	int rc = 0;

	while (lot != 0 && rc == 0) {
		rc = stock_transact(s, remove_piece, &lot, msg);
		if (lot != 0)
			let_others(s);
	}
	return rc;
}

static int remove_leftovers(struct cw_stock *s, struct cw_msg *msg)
{
	struct leftover o;
	size_t i;
	int rc;

	do {
		o.count = 0;
		rc = cw_db_run(s->db, "SELECT id FROM lot WHERE visible <> 1 ORDER BY id", NULL, 0, on_leftover, &o, NULL, msg);
		if (rc > 0)
			rc = 0;
		for (i = 0; i < o.count && rc == 0; i++)
			rc = remove_lot(s, o.lots[i], msg);
	} while (rc == 0 && o.count > 0);
	return rc;
}

/* ---- begin and end -------------------------------------------------------------------------------------- */

static void forget_rows(struct cw_lot *l)
{
	size_t i;

	for (i = 0; i < l->waiting; i++)
		cw_free(l->rows[i].extra);
	l->waiting = 0;
	cw_map_fini(&l->names);
	cw_map_fini(&l->boards);
	cw_map_init(&l->names);
	cw_map_init(&l->boards);
}

static void free_lot(struct cw_lot *l)
{
	forget_rows(l);
	drop_lock(l->s, l->lock_fd);
	l->s->lot = NULL;
	while (l->parts != NULL) {
		struct part *p = l->parts;

		l->parts = p->next;
		cw_free(p);
	}
	cw_free(l->hashes);
	cw_free(l->rows);
	cw_free(l);
}

int cw_lot_begin(struct cw_stock *s, const struct cw_lot_conf *conf, struct cw_lot **ret_lot, struct cw_msg *msg)
{
	struct cw_lot *l;
	size_t len = conf->batch == NULL ? 0 : strlen(conf->batch), i;
	int fd, rc;

	if (s->read_only || !s->has_key)
		return cw_fail(msg, CW_EACCESS, "import: the stock was opened for reading only");
	if (len == 0 || len > CW_STOCK_BATCH)
		return cw_fail(msg, CW_EINVAL, "import: the name of a batch has 1 to %d bytes", CW_STOCK_BATCH);
	for (i = 0; i < len; i++)
		if ((unsigned char)conf->batch[i] < 0x20 || conf->batch[i] == 0x7f)
			return cw_fail(msg, CW_EINVAL, "import: the name of a batch has no control characters");
	rc = s->lot != NULL ? 0 : take_lock(s, &fd, msg);
	if (rc == 0)
		return cw_fail(msg, CW_EBUSY, "another import is under way; wait until it is done");
	if (rc < 0)
		return rc;
	l = cw_zalloc(sizeof(*l));
	if (l == NULL || (l->rows = cw_calloc(PIECE, sizeof(*l->rows))) == NULL) {
		cw_free(l);
		drop_lock(s, fd);
		return cw_fail(msg, CW_ENOMEM, "import: out of memory");
	}
	l->s = s;
	l->lock_fd = fd;
	s->lot = l;
	cw_map_init(&l->names);
	cw_map_init(&l->boards);
	(void)snprintf(l->batch, sizeof(l->batch), "%s", conf->batch);
	(void)snprintf(l->file, sizeof(l->file), "%s", conf->file == NULL ? "" : conf->file);
	(void)snprintf(l->who, sizeof(l->who), "%s", conf->who.name);
	(void)snprintf(l->address, sizeof(l->address), "%s", conf->who.address == NULL ? "" : conf->who.address);
	rc = remove_leftovers(s, msg);
	if (rc < 0) {
		free_lot(l);
		return rc;
	}
	*ret_lot = l;
	return 0;
}

void cw_lot_abandon(struct cw_lot *l)
{
	struct part *p;

	if (l == NULL)
		return;
	cw_db_rollback(l->s->db);
	/* What cannot be removed now is removed by the next import. */
	for (p = l->parts; p != NULL; p = p->next)
		(void)remove_lot(l->s, p->lot, NULL);
	free_lot(l);
}

/* ---- parts ---------------------------------------------------------------------------------------------- */

struct new_part {
	struct cw_lot *lot;
	struct part *part;
};

static int on_product(void *arg, size_t set, const struct cw_db_value *columns, size_t count)
{
	stock_product_read(columns, arg);
	return 0;
}

static int make_part(struct cw_stock *s, void *arg, struct cw_msg *msg)
{
	const struct new_part *n = arg;
	struct part *p = n->part;
	struct cw_db_value v[4];
	int rc;

	v[0] = cw_db_text(p->product.product_key);
	rc = cw_db_run(s->db, "INSERT INTO product VALUES ($1, 0, '', 0, 0, 0, '') ON CONFLICT (product_key) DO NOTHING", v, 1, NULL, NULL,
		       NULL, msg);
	if (rc == 0)
		rc = cw_db_run(s->db,
			       "SELECT product_key, bluetooth, product_id, crc_form, crc_order, normalize_mac, reply_columns FROM product"
			       " WHERE product_key = $1",
			       v, 1, on_product, &p->product, NULL, msg);
	v[1] = cw_db_text(n->lot->batch);
	v[2] = cw_db_int(cw_clock_wall_ms());
	if (rc == 0)
		rc = cw_db_run(s->db,
			       "INSERT INTO batch (product_key, name, closed, lease, lease_ms, low, created) VALUES ($1, $2, 0, 0, 0, 0, $3)"
			       " ON CONFLICT (product_key, name) DO NOTHING",
			       v, 3, NULL, NULL, NULL, msg);
	if (rc == 0)
		rc = cw_db_run(s->db, "SELECT id FROM batch WHERE product_key = $1 AND name = $2", v, 2, on_number, &p->batch, NULL, msg);
	v[0] = cw_db_int(p->batch);
	v[1] = cw_db_text(n->lot->file);
	if (rc == 0)
		rc = cw_db_run(s->db, "INSERT INTO lot (batch, file, imported, visible) VALUES ($1, $2, $3, 0) RETURNING id", v, 3, on_number,
			       &p->lot, NULL, msg);
	return rc;
}

static int part_of(struct cw_lot *l, const char *product_key, struct part **ret, struct cw_msg *msg)
{
	struct new_part n = { .lot = l };
	struct part *p, **last = &l->parts;
	int rc;

	for (p = l->parts; p != NULL && strcmp(p->product.product_key, product_key) != 0; p = p->next)
		last = &p->next;
	if (p == NULL) {
		p = n.part = cw_zalloc(sizeof(*p));
		if (p == NULL)
			return cw_fail(msg, CW_ENOMEM, "import: out of memory");
		(void)snprintf(p->product.product_key, sizeof(p->product.product_key), "%s", product_key);
		rc = stock_transact(l->s, make_part, &n, msg);
		if (rc < 0) {
			cw_free(p);
			return rc;
		}
		(void)snprintf(p->given_out[0], sizeof(p->given_out[0]), "lot %" PRId64 ": allocated", p->lot);
		(void)snprintf(p->given_out[1], sizeof(p->given_out[1]), "lot %" PRId64 ": written", p->lot);
		*last = p;
	}
	*ret = p;
	return 0;
}

/* ---- names that are there already ------------------------------------------------------------------------- */

static uint64_t hash_of(const char *key, size_t len)
{
	uint64_t h = cw_hash(key, len);

	return h == 0 ? 1 : h;
}

static int find_hash(const struct cw_lot *l, uint64_t h, size_t *ret_at)
{
	size_t at = (size_t)h & (l->hash_size - 1);

	while (l->hashes[at] != 0 && l->hashes[at] != h)
		at = (at + 1) & (l->hash_size - 1);
	*ret_at = at;
	return l->hashes[at] == h;
}

/* 0, or not: too many, or no memory. */
static int put_hash(struct cw_lot *l, uint64_t h)
{
	size_t at, i, old_size = l->hash_size;
	uint64_t *old = l->hashes;

	if (l->hash_count >= NAMES_MOST)
		return -1;
	if (2 * (l->hash_count + 1) > l->hash_size) {
		uint64_t *more = cw_calloc(old_size == 0 ? 65536 : 2 * old_size, sizeof(*more));

		if (more == NULL)
			return -1;
		l->hashes = more;
		l->hash_size = old_size == 0 ? 65536 : 2 * old_size;
		for (i = 0; i < old_size; i++)
			if (old[i] != 0 && !find_hash(l, old[i], &at))
				l->hashes[at] = old[i];
		cw_free(old);
	}
	if (!find_hash(l, h, &at)) {
		l->hashes[at] = h;
		l->hash_count++;
	}
	return 0;
}

static size_t name_key(char *out, const char *product_key, const char *device_name)
{
	size_t len = strlen(product_key) + 1, more = strlen(device_name);

	memcpy(out, product_key, len);
	memcpy(out + len, device_name, more + 1);
	return len + more;
}

static int on_name(void *arg, size_t set, const struct cw_db_value *columns, size_t count)
{
	struct cw_lot *l = arg;
	char key[CW_STOCK_PRODUCT_KEY + 1 + CW_STOCK_DEVICE_NAME + 1];

	return put_hash(l, hash_of(key, name_key(key, (const char *)columns[0].bytes.ptr, (const char *)columns[1].bytes.ptr))) != 0;
}

static void no_hashes(struct cw_lot *l)
{
	cw_free(l->hashes);
	l->hashes = NULL;
	l->no_hashes = 1;
}

/*
 * A large import: a look-up for each row would be a journey for each over PostgreSQL. Nobody else adds certificates meanwhile, so a name that
 * is not in the set is not in stock; one whose hash is there is looked up.
 */
static int load_hashes(struct cw_lot *l, struct cw_msg *msg)
{
	int rc = put_hash(l, 1) != 0 ? 1
				     : cw_db_run(l->s->db, "SELECT product_key, device_name FROM cert", NULL, 0, on_name, l, NULL, msg);
	size_t i;

	for (i = 0; i < l->waiting && rc == 0; i++)
		rc = put_hash(l, hash_of(l->rows[i].name_key, l->rows[i].by_name.key_len)) != 0;
	if (rc != 0)
		no_hashes(l);
	return rc > 0 ? 0 : rc;
}

/* ---- rows --------------------------------------------------------------------------------------------------- */

static int check_row(const struct cw_lot_row *r, struct cw_msg *msg)
{
	const struct {
		const char *column, *value;
		size_t most;
	} needed[] = {
		{ "ProductKey", r->product_key, CW_STOCK_PRODUCT_KEY },
		{ "DeviceName", r->device_name, CW_STOCK_DEVICE_NAME },
		{ "DeviceSecret", r->device_secret, CW_STOCK_DEVICE_SECRET },
		{ "ProductSecret", r->product_secret, CW_STOCK_PRODUCT_SECRET },
	};
	size_t i;

	for (i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (needed[i].value == NULL || needed[i].value[0] == '\0')
			return cw_fail(msg, CW_EINVAL, "%s is missing", needed[i].column);
		if (!stock_word(needed[i].value, needed[i].most))
			return cw_fail(msg, CW_EINVAL, "%s is longer than %zu characters, or has others than printable ASCII without blanks",
				       needed[i].column, needed[i].most);
	}
	if (r->product_id != NULL && r->product_id[0] != '\0' && !stock_word(r->product_id, 32))
		return cw_fail(msg, CW_EINVAL, "ProductID is longer than 32 characters, or has others than printable ASCII without blanks");
	if (r->extra != NULL && strlen(r->extra) > EXTRA_MOST)
		return cw_fail(msg, CW_EINVAL, "the further columns have more than %u bytes", EXTRA_MOST);
	if (r->device_id != NULL && r->device_id[0] == '\0')
		return cw_fail(msg, CW_EINVAL, "DeviceID has not 1 to %d bytes", CW_STOCK_DEVICE_ID);
	return r->device_id == NULL ? 0 : stock_check_text("DeviceID", r->device_id, CW_STOCK_DEVICE_ID, msg);
}

/* One that is there already, in the stock, in an earlier piece or among those that wait. */
struct there {
	int found;
	uint8_t sealed[STOCK_SEALED_MAX];
	size_t sealed_len;
	char device_id[CW_STOCK_DEVICE_ID + 1], device_name[CW_STOCK_DEVICE_NAME + 1];
};

static int on_there(void *arg, size_t set, const struct cw_db_value *columns, size_t count)
{
	struct there *t = arg;

	t->found = 1;
	t->sealed_len = columns[0].bytes.len > sizeof(t->sealed) ? 0 : columns[0].bytes.len;
	memcpy(t->sealed, columns[0].bytes.ptr, t->sealed_len);
	(void)snprintf(t->device_id, sizeof(t->device_id), "%s",
		       columns[1].type == CW_DB_NULL ? "" : (const char *)columns[1].bytes.ptr);
	(void)snprintf(t->device_name, sizeof(t->device_name), "%s", (const char *)columns[2].bytes.ptr);
	return 0;
}

static int find_name(struct cw_lot *l, const char *key, size_t len, const struct cw_lot_row *r, struct there *t, struct cw_msg *msg)
{
	struct cw_map_node *n = cw_map_find(&l->names, key, len);
	const struct cw_db_value v[] = { cw_db_text(r->product_key), cw_db_text(r->device_name) };
	size_t at;
	int rc = 0;

	memset(t, 0, sizeof(*t));
	if (n != NULL) {
		const struct waiting *w = cw_container_of(n, struct waiting, by_name);

		t->found = 1;
		t->sealed_len = w->sealed_len;
		memcpy(t->sealed, w->sealed, w->sealed_len);
		(void)snprintf(t->device_id, sizeof(t->device_id), "%s", w->device_id == NULL ? "" : w->device_id);
		return 0;
	}
	if (l->hashes == NULL && !l->no_hashes && ++l->probed > PROBES)
		rc = load_hashes(l, msg);
	if (rc < 0 || (l->hashes != NULL && !find_hash(l, hash_of(key, len), &at)))
		return rc;
	return cw_db_run(l->s->db, "SELECT secrets, device_id, device_name FROM cert WHERE product_key = $1 AND device_name = $2", v, 2,
			 on_there, t, NULL, msg);
}

/* A row whose name is there: the same, or what differs. */
static int compare(struct cw_lot *l, const struct cw_lot_row *r, const char *device_id, const struct there *t, struct cw_msg *msg)
{
	struct cw_stock_cert cert;
	int rc = stock_open_seal(l->s, r->product_key, r->device_name, cw_bytes_of(t->sealed, t->sealed_len), &cert, msg);
	const char *differs = NULL;

	if (rc == 0 && strcmp(cert.device_secret, r->device_secret) != 0)
		differs = "DeviceSecret";
	else if (rc == 0 && strcmp(cert.product_secret, r->product_secret) != 0)
		differs = "ProductSecret";
	else if (rc == 0 && device_id != NULL && strcmp(t->device_id, device_id) != 0)
		differs = "DeviceID";
	explicit_bzero(&cert, sizeof(cert));
	if (differs == NULL)
		return rc;
	if (strcmp(differs, "DeviceID") == 0 && t->device_id[0] == '\0')
		return cw_fail(msg, CW_EEXIST,
			       "DeviceID: %s %s is here already without a board, and an import does not give it one: make it void (causeway factory void), so "
			       "that no other board gets it, or import the list with the boards into a new database, before the rest",
			       r->product_key, r->device_name);
	return cw_fail(msg, CW_EEXIST, "%s: %s %s is in stock, or in this import, with another one", differs, r->product_key, r->device_name);
}

/* The board must not have another one. */
static int check_board(struct cw_lot *l, const struct cw_lot_row *r, const char *key, size_t len, const char *device_id, struct cw_msg *msg)
{
	const struct cw_db_value v[] = { cw_db_text(r->product_key), cw_db_text(device_id) };
	struct there t = { 0 };
	int rc = 0;

	if (cw_map_find(&l->boards, key, len) != NULL)
		t.found = 1;
	else
		rc = cw_db_run(l->s->db,
			       "SELECT secrets, device_id, device_name FROM cert WHERE product_key = $1 AND device_id = $2 AND state IN (1, 2)",
			       v, 2, on_there, &t, NULL, msg);
	if (rc == 0 && t.found)
		return cw_fail(msg, CW_EEXIST, "DeviceID: the board of %s %s has another certificate%s%s", r->product_key, r->device_name,
			       t.device_name[0] == '\0' ? " in this import" : ": ", t.device_name);
	return rc;
}

static int flush(struct cw_lot *l, struct cw_msg *msg);

/* Everything is in order: it waits for its piece. */
static int keep_row(struct cw_lot *l, const struct cw_lot_row *r, struct part *p, size_t name_len, size_t board_len, struct cw_msg *msg)
{
	struct waiting *w = &l->rows[l->waiting];
	size_t pk = strlen(r->product_key) + 1;
	int rc;

	w->part = p;
	w->device_name = w->name_key + pk;
	w->device_id = r->device_id == NULL ? NULL : w->board_key + pk;
	w->written = r->written;
	(void)snprintf(w->product_id, sizeof(w->product_id), "%s", r->product_id == NULL ? "" : r->product_id);
	w->extra = cw_strdup(r->extra == NULL ? "" : r->extra);
	if (w->extra == NULL)
		return cw_fail(msg, CW_ENOMEM, "import: out of memory");
	rc = stock_seal(l->s, r->product_key, r->device_name, r->device_secret, r->product_secret, w->sealed, &w->sealed_len);
	if (rc == 0)
		rc = cw_map_add(&l->names, &w->by_name, w->name_key, name_len);
	if (rc == 0 && w->device_id != NULL) {
		rc = cw_map_add(&l->boards, &w->by_board, w->board_key, board_len);
		if (rc < 0)
			cw_map_remove(&l->names, &w->by_name);
	}
	if (rc < 0) {
		cw_free(w->extra);
		return cw_fail(msg, rc, "import: a row could not be sealed: %s", cw_error_text(rc));
	}
	if (l->hashes != NULL && put_hash(l, hash_of(w->name_key, name_len)) != 0)
		no_hashes(l);
	l->waiting++;
	return l->waiting < PIECE ? 0 : flush(l, msg);
}

int cw_lot_add(struct cw_lot *l, const struct cw_lot_row *r, struct cw_msg *msg)
{
	struct waiting *w = &l->rows[l->waiting];
	const char *device_id = NULL;
	size_t name_len, board_len = 0;
	struct part *p = NULL;
	struct there t;
	int rc = check_row(r, msg);

	if (rc == 0)
		rc = part_of(l, r->product_key, &p, msg);
	if (rc < 0)
		return rc;
	name_len = name_key(w->name_key, r->product_key, r->device_name);
	if (r->device_id != NULL) {
		char *id = w->board_key + strlen(r->product_key) + 1;

		memcpy(w->board_key, r->product_key, strlen(r->product_key) + 1);
		cw_stock_device_id(&p->product, cw_bytes_text(r->device_id), id);
		board_len = strlen(r->product_key) + 1 + strlen(id);
		device_id = id;
	}
	rc = find_name(l, w->name_key, name_len, r, &t, msg);
	if (rc == 0 && t.found) {
		rc = compare(l, r, device_id, &t, msg);
		l->known += rc == 0;
		return rc;
	}
	if (rc == 0 && device_id != NULL)
		rc = check_board(l, r, w->board_key, board_len, device_id, msg);
	return rc < 0 ? rc : keep_row(l, r, p, name_len, board_len, msg);
}

/* ---- pieces -------------------------------------------------------------------------------------------------- */

/* Those that boards have already: an entry of its own for each, so that it is known who said so. */
static int enter_boards(struct cw_lot *l, struct cw_audit_entry **ret_entries, struct cw_msg *msg)
{
	struct cw_audit_entry *entries;
	size_t n = 0, i;
	int rc;

	*ret_entries = NULL;
	if (l->boards.count == 0)
		return 0;
	entries = cw_calloc(l->boards.count, sizeof(*entries));
	if (entries == NULL)
		return cw_fail(msg, CW_ENOMEM, "import: out of memory");
	for (i = 0; i < l->waiting; i++) {
		const struct waiting *w = &l->rows[i];

		if (w->device_id == NULL)
			continue;
		entries[n++] = (struct cw_audit_entry){ .what = stock_audit_name(CW_AUDIT_IMPORT), .who = l->who, .address = l->address,
							.product_key = w->part->product.product_key, .device_name = w->device_name,
							.device_id = w->device_id, .text = w->part->given_out[w->written != 0] };
	}
	rc = stock_audit(l->s, entries, n, msg);
	if (rc < 0)
		cw_free(entries);
	else
		*ret_entries = entries;
	return rc;
}

static void fill_cert(struct cw_db_value *v, const struct waiting *w, const struct cw_audit_entry *e, const char *who)
{
	v[0] = cw_db_int(w->part->lot);
	v[1] = cw_db_text(w->part->product.product_key);
	v[2] = cw_db_text(w->device_name);
	v[3] = cw_db_blob(cw_bytes_of(w->sealed, w->sealed_len));
	v[4] = cw_db_text(w->product_id);
	v[5] = cw_db_text(w->extra);
	v[6] = cw_db_int(e == NULL ? 0 : w->written ? 2 : 1);
	v[7] = cw_db_text(w->device_id);
	v[8] = cw_db_text(e == NULL ? "" : who);
	v[9] = cw_db_int(e == NULL ? 0 : e->at);
	v[10] = cw_db_int(e == NULL || !w->written ? 0 : e->at);
	v[11] = cw_db_int(e == NULL ? 0 : e->at);
	v[12] = cw_db_text(e == NULL ? "" : e->node);
	v[13] = cw_db_int(e == NULL ? 0 : e->number);
}

static int store_piece(struct cw_stock *s, void *arg, struct cw_msg *msg)
{
	struct cw_lot *l = arg;
	struct cw_db_value *v = cw_calloc(l->waiting * CERT_VALUES, sizeof(*v));
	struct cw_audit_entry *entries = NULL;
	size_t n = 0, i;
	int rc = v == NULL ? cw_fail(msg, CW_ENOMEM, "import: out of memory") : enter_boards(l, &entries, msg);

	for (i = 0; i < l->waiting && rc == 0; i++)
		fill_cert(v + i * CERT_VALUES, &l->rows[i], l->rows[i].device_id == NULL ? NULL : &entries[n++], l->who);
	if (rc == 0)
		rc = cw_db_many(s->db,
				"INSERT INTO cert (lot, product_key, device_name, secrets, product_id, extra, state, device_id, anonymous, station,"
				" allocated, written, voided, changed, reason, audit_node, audit_number)"
				" VALUES ($1, $2, $3, $4, $5, $6, $7, CAST($8 AS TEXT), 0, $9, $10, $11, 0, $12, '', $13, $14)",
				v, CERT_VALUES, l->waiting, NULL, NULL, NULL, msg);
	cw_free(entries);
	cw_free(v);
	return rc;
}

static int flush(struct cw_lot *l, struct cw_msg *msg)
{
	size_t i;
	int rc;

	if (l->waiting == 0)
		return 0;
	rc = stock_transact(l->s, store_piece, l, msg);
	if (rc == CW_EEXIST) /* a station asked for one of the boards since it was looked up */
		rc = cw_fail(msg, CW_EBUSY, "import: one of its boards was given another certificate meanwhile; import again");
	for (i = 0; i < l->waiting && rc == 0; i++) {
		const struct waiting *w = &l->rows[i];

		rc = stock_lot_sum_add(l->s, &w->part->sum, w->part->product.product_key, w->device_name, w->product_id, w->extra);
		l->fresh++;
	}
	forget_rows(l);
	if (rc == 0) {
		cw_crash_point("stock.import.piece");
		let_others(l->s);
	}
	return rc;
}

/* ---- finish --------------------------------------------------------------------------------------------------- */

static int enter_import(struct cw_lot *l, const struct part *p, struct cw_msg *msg)
{
	struct cw_audit_entry e = { .what = stock_audit_name(CW_AUDIT_IMPORT), .who = l->who, .address = l->address,
				    .product_key = p->product.product_key };
	char text[STOCK_LOT_SUM_TEXT + sizeof(l->batch) + sizeof(l->file) + 40], sum[STOCK_LOT_SUM_TEXT];

	stock_lot_sum_text(&p->sum, p->lot, sum);
	(void)snprintf(text, sizeof(text), "%s, batch \"%s\", file \"%s\"", sum, l->batch, l->file);
	e.text = text;
	return stock_audit(l->s, &e, 1, msg);
}

static int finish(struct cw_stock *s, void *arg, struct cw_msg *msg)
{
	struct cw_lot *l = arg;
	struct part *p;
	int rc = 0;

	for (p = l->parts; p != NULL && rc == 0; p = p->next) {
		const struct cw_db_value v[] = { cw_db_int(p->lot), cw_db_int(cw_clock_wall_ms()) };
		size_t changed = 0;

		if (p->sum.count == 0) {
			rc = remove_empty_lot(s, p->lot, msg);
			continue;
		}
		rc = cw_db_run(s->db, "UPDATE lot SET visible = 1, imported = $2 WHERE id = $1 AND visible = 0", v, 2, NULL, NULL, &changed, msg);
		if (rc == 0 && changed != 1)
			rc = cw_fail(msg, CW_EIO, "import: the connection was lost meanwhile, and another import has removed this one; import again");
		if (rc == 0)
			rc = enter_import(l, p, msg);
	}
	return rc;
}

int cw_lot_finish(struct cw_lot *l, struct cw_lot_result *ret, struct cw_msg *msg)
{
	struct part *p;
	int rc = flush(l, msg);

	memset(ret, 0, sizeof(*ret));
	if (rc == 0)
		rc = stock_transact(l->s, finish, l, msg);
	if (rc < 0) {
		cw_lot_abandon(l);
		return rc;
	}
	cw_crash_point("stock.import.done");
	ret->fresh = l->fresh;
	ret->known = l->known;
	for (p = l->parts; p != NULL && ret->lot == 0; p = p->next)
		ret->lot = p->sum.count > 0 ? p->lot : 0;
	/*
	 * A server whose stock was used up believes that there is hardly anything free, and would sort the whole new lot for each
	 * request, until it looks by itself, a minute later. If it does not want to, that is all that happens.
	 */
	if (cw_db_kind(l->s->db) == CW_DB_POSTGRES && ret->fresh > 0)
		(void)cw_db_script(l->s->db, "ANALYZE cert", NULL);
	free_lot(l);
	return 0;
}
