/* chain.c - the end of this node's chain of audit entries. See audit.h; the verifier is verify.c. */
#include <mbedtls/sha256.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "factory/stock/stock_impl.h"

#define BLOCK 64u /* of SHA-256 */
#define AUDIT_COLUMNS 11u

const char *stock_audit_name(enum cw_audit_kind kind)
{
	static const char *const names[] = {
#define CW_AUDIT_NAME(sym, name, text) name,
		CW_AUDIT_KINDS(CW_AUDIT_NAME)
#undef CW_AUDIT_NAME
	};

	return names[kind];
}

/* ---- macs -------------------------------------------------------------------------------- */

/*
 * HMAC (RFC 2104) by hand and on the stack: mbedtls_md allocates, and a mac that could not be made has no error to give. Its key is taken up
 * once, not for each entry.
 */
struct mac {
	mbedtls_sha256_context sha;
	const struct stock_mac_key *key;
};

static void take_up(mbedtls_sha256_context *sha, const uint8_t key[STOCK_MAC], uint8_t with)
{
	uint8_t block[BLOCK];
	size_t i;

	for (i = 0; i < BLOCK; i++)
		block[i] = (i < STOCK_MAC ? key[i] : 0) ^ with;
	mbedtls_sha256_init(sha);
	cw_invariant(mbedtls_sha256_starts_ret(sha, 0) == 0 && mbedtls_sha256_update_ret(sha, block, BLOCK) == 0);
	explicit_bzero(block, sizeof(block));
}

void stock_mac_key_take(struct stock_mac_key *k, const uint8_t key[STOCK_MAC])
{
	take_up(&k->inner, key, 0x36);
	take_up(&k->outer, key, 0x5c);
}

static void mac_begin(struct mac *m, const struct stock_mac_key *key)
{
	m->key = key;
	mbedtls_sha256_init(&m->sha);
	mbedtls_sha256_clone(&m->sha, &key->inner);
}

static void mac_raw(struct mac *m, const void *bytes, size_t len)
{
	cw_invariant(mbedtls_sha256_update_ret(&m->sha, bytes, len) == 0);
}

static void mac_number(struct mac *m, uint64_t n, unsigned bytes)
{
	uint8_t be[8];
	struct cw_writer w = cw_writer_of(be, sizeof(be));

	cw_write_be(&w, n, bytes);
	mac_raw(m, be, w.len);
}

/* The length comes first, so that no two rows of texts are the same bytes. */
static void mac_text(struct mac *m, const char *text)
{
	size_t len = text == NULL ? 0 : strlen(text);

	mac_number(m, len, 4);
	if (len > 0)
		mac_raw(m, text, len);
}

static void mac_end(struct mac *m, uint8_t out[STOCK_MAC])
{
	uint8_t inner[STOCK_MAC];

	cw_invariant(mbedtls_sha256_finish_ret(&m->sha, inner) == 0);
	mbedtls_sha256_clone(&m->sha, &m->key->outer);
	mac_raw(m, inner, sizeof(inner));
	cw_invariant(mbedtls_sha256_finish_ret(&m->sha, out) == 0);
	mbedtls_sha256_free(&m->sha);
}

void stock_audit_key(const struct cw_key *key, uint8_t out[STOCK_MAC])
{
	static const char purpose[] = "causeway audit";
	struct stock_mac_key taken;
	struct mac m;

	stock_mac_key_take(&taken, key->bytes);
	mac_begin(&m, &taken);
	mac_raw(&m, purpose, sizeof(purpose) - 1);
	mac_end(&m, out);
	explicit_bzero(&taken, sizeof(taken));
}

void stock_audit_mac(const struct cw_stock *s, const uint8_t before[STOCK_MAC], const struct cw_audit_entry *e, uint8_t out[STOCK_MAC])
{
	struct mac m;

	mac_begin(&m, &s->audit_mac);
	mac_text(&m, "entry");
	mac_raw(&m, before, STOCK_MAC);
	mac_text(&m, e->node);
	mac_number(&m, (uint64_t)e->number, 8);
	mac_number(&m, (uint64_t)e->at, 8);
	mac_text(&m, e->what);
	mac_text(&m, e->who);
	mac_text(&m, e->address);
	mac_text(&m, e->product_key);
	mac_text(&m, e->device_name);
	mac_text(&m, e->device_id);
	mac_text(&m, e->text);
	mac_end(&m, out);
}

void stock_chain_seal(const struct cw_stock *s, const char *node, int64_t number, const uint8_t mac[STOCK_MAC], uint8_t out[STOCK_MAC])
{
	struct mac m;

	mac_begin(&m, &s->audit_mac);
	mac_text(&m, "chain");
	mac_text(&m, node);
	mac_number(&m, (uint64_t)number, 8);
	mac_raw(&m, mac, STOCK_MAC);
	mac_end(&m, out);
}

/* ---- the end of the chain --------------------------------------------------------------------- */

struct head {
	int found, damaged;
	int64_t number;
	uint8_t mac[STOCK_MAC], seal[STOCK_MAC];
};

static int on_head(void *arg, size_t set, const struct cw_db_value *columns, size_t count)
{
	struct head *h = arg;

	h->found = 1;
	h->damaged = columns[1].bytes.len != STOCK_MAC || columns[2].bytes.len != STOCK_MAC;
	if (h->damaged)
		return 0;
	h->number = columns[0].number;
	memcpy(h->mac, columns[1].bytes.ptr, STOCK_MAC);
	memcpy(h->seal, columns[2].bytes.ptr, STOCK_MAC);
	return 0;
}

static int on_any(void *arg, size_t set, const struct cw_db_value *columns, size_t count)
{
	*(int *)arg = 1;
	return 0;
}

/*
 * The head, locked until the transaction ends. One that was edited is not gone on with: entries behind it would make it look
 * right again.
 */
static int lock_head(struct cw_stock *s, struct head *h, struct cw_msg *msg)
{
	const struct cw_db_value node = cw_db_text(s->node);
	uint8_t seal[STOCK_MAC];
	int orphans = 0, rc;

	memset(h, 0, sizeof(*h));
	rc = cw_db_run(s->db, STOCK_SQL(s, "SELECT number, mac, seal FROM chain WHERE node = $1",
					"SELECT number, mac, seal FROM chain WHERE node = $1 FOR UPDATE"),
		       &node, 1, on_head, h, NULL, msg);
	if (rc == 0 && !h->found)
		rc = cw_db_run(s->db, "SELECT number FROM audit WHERE node = $1 ORDER BY number DESC LIMIT 1", &node, 1, on_any, &orphans, NULL, msg);
	if (rc < 0)
		return rc;
	stock_chain_seal(s, s->node, h->number, h->mac, seal);
	if (orphans || h->damaged || (h->found && memcmp(seal, h->seal, sizeof(seal)) != 0))
		return cw_fail(msg, CW_EIO,
			       "the end of the audit log of \"%s\" was edited or lost, so nothing is added to it: see causeway factory audit "
			       "--verify, put a backup in place, or go on under another node name and keep this log as it is",
			       s->node);
	return 0;
}

int cw_stock_chain_check(struct cw_stock *s, struct cw_msg *msg)
{
	struct head h;

	return lock_head(s, &h, msg);
}

static void fill_row(struct cw_db_value *v, const struct cw_audit_entry *e, const uint8_t mac[STOCK_MAC])
{
	v[0] = cw_db_text(e->node);
	v[1] = cw_db_int(e->number);
	v[2] = cw_db_int(e->at);
	v[3] = cw_db_text(e->what);
	v[4] = cw_db_text(e->who);
	v[5] = cw_db_text(e->address);
	v[6] = cw_db_text(e->product_key);
	v[7] = cw_db_text(e->device_name);
	v[8] = cw_db_text(e->device_id);
	v[9] = cw_db_text(e->text);
	v[10] = cw_db_blob(cw_bytes_of(mac, STOCK_MAC));
}

static void complete(const struct cw_stock *s, struct cw_audit_entry *e, int64_t number, int64_t now)
{
	const char **const texts[] = { &e->what, &e->who, &e->address, &e->product_key, &e->device_name, &e->device_id, &e->text };
	size_t i;

	e->node = s->node;
	e->number = number;
	e->at = now;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (*texts[i] == NULL)
			*texts[i] = "";
}

static int store_head(struct cw_stock *s, int64_t number, const uint8_t mac[STOCK_MAC], struct cw_msg *msg)
{
	uint8_t seal[STOCK_MAC];
	struct cw_db_value v[4];

	stock_chain_seal(s, s->node, number, mac, seal);
	v[0] = cw_db_text(s->node);
	v[1] = cw_db_int(number);
	v[2] = cw_db_blob(cw_bytes_of(mac, STOCK_MAC));
	v[3] = cw_db_blob(cw_bytes_of(seal, STOCK_MAC));
	return cw_db_run(s->db,
			 "INSERT INTO chain (node, number, mac, seal) VALUES ($1, $2, $3, $4) ON CONFLICT (node) DO UPDATE SET"
			 " number = excluded.number, mac = excluded.mac, seal = excluded.seal",
			 v, 4, NULL, NULL, NULL, msg);
}

int stock_audit(struct cw_stock *s, struct cw_audit_entry *entries, size_t count, struct cw_msg *msg)
{
	struct cw_db_value *rows;
	uint8_t(*macs)[STOCK_MAC];
	int64_t now = cw_clock_wall_ms();
	struct head h;
	size_t i;
	int rc;

	if (count == 0)
		return 0;
	rc = lock_head(s, &h, msg);
	if (rc < 0)
		return rc;
	rows = cw_calloc(count * AUDIT_COLUMNS, sizeof(*rows));
	macs = cw_calloc(count, STOCK_MAC);
	if (rows == NULL || macs == NULL) {
		rc = cw_fail(msg, CW_ENOMEM, "audit log: out of memory");
		goto out;
	}
	for (i = 0; i < count; i++) {
		complete(s, &entries[i], h.number + 1 + (int64_t)i, now);
		stock_audit_mac(s, i == 0 ? h.mac : macs[i - 1], &entries[i], macs[i]);
		fill_row(rows + i * AUDIT_COLUMNS, &entries[i], macs[i]);
	}
	rc = cw_db_many(s->db,
			"INSERT INTO audit (node, number, at, what, who, address, product_key, device_name, device_id, text, mac)"
			" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
			rows, AUDIT_COLUMNS, count, NULL, NULL, NULL, msg);
	if (rc == CW_EEXIST) /* another server of this name began its chain at this moment; or the next try finds what is wrong */
		rc = CW_EBUSY;
	if (rc == 0)
		rc = store_head(s, h.number + (int64_t)count, macs[count - 1], msg);
out:
	cw_free(rows);
	cw_free(macs);
	return rc;
}
