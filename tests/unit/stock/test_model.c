/*
 * Thousands of random things that happen to a stock, against a model of a few lines that says what each must answer. covers: B07 B08 B09
 * B16 B17 B29
 */
#include "world.h"

#include <inttypes.h>

#define CERTS 4000
#define BOARDS 250
#define BATCHES 3
#define STATIONS 3
#define ROUNDS 2500

struct cert {
	enum cw_stock_state state;
	int batch, station;
	char board[CW_STOCK_DEVICE_ID + 1];
};

struct model {
	struct cert certs[CERTS]; /* dev-N, in the order of their imports */
	unsigned count;
	int closed[BATCHES];
	uint64_t random, seed;
};

static unsigned any(struct model *m, unsigned below)
{
	m->random = m->random * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(m->random >> 33) % below;
}

static struct cert *has(struct model *m, const char *board)
{
	unsigned i;

	for (i = 0; i < m->count; i++)
		if ((m->certs[i].state == CW_STOCK_ALLOCATED || m->certs[i].state == CW_STOCK_WRITTEN) && strcmp(m->certs[i].board, board) == 0)
			return &m->certs[i];
	return NULL;
}

static unsigned used(const struct model *m, int station)
{
	unsigned n = 0, i;

	for (i = 0; i < m->count; i++)
		n += m->certs[i].state != CW_STOCK_FREE && m->certs[i].station == station;
	return n;
}

/* What must be answered; *ret is the certificate it is about. */
static enum cw_stock_answer expect(struct model *m, const struct cw_stock_ask *a, int station, struct cert **ret, int *ret_fresh)
{
	struct cert *c = NULL;
	int closed = 0;
	unsigned i;

	*ret_fresh = 0;
	if (a->device_id.len > 0)
		c = has(m, (const char *)a->device_id.ptr);
	*ret = c;
	if (a->action == CW_STOCK_REPORT) {
		if (c == NULL)
			return CW_STOCK_UNKNOWN_DEVICE;
		*ret_fresh = c->state == CW_STOCK_ALLOCATED;
		c->state = CW_STOCK_WRITTEN;
		return CW_STOCK_OK;
	}
	if (c != NULL)
		return CW_STOCK_OK;
	if (a->quota > 0 && used(m, station) >= a->quota)
		return CW_STOCK_QUOTA_EXCEEDED;
	for (i = 0; i < m->count && c == NULL; i++) {
		if (m->certs[i].state != CW_STOCK_FREE)
			continue;
		closed |= m->closed[m->certs[i].batch];
		if (!m->closed[m->certs[i].batch])
			c = &m->certs[i];
	}
	if (c == NULL)
		return closed ? CW_STOCK_BATCH_CLOSED : CW_STOCK_OUT_OF_STOCK;
	*ret = c;
	*ret_fresh = 1;
	c->state = CW_STOCK_ALLOCATED;
	c->station = station;
	(void)snprintf(c->board, sizeof(c->board), "%.*s", (int)a->device_id.len, (const char *)a->device_id.ptr);
	return CW_STOCK_OK;
}

/* A board: mostly one of a few, now and then one whose DeviceID was made up for it. */
static void any_board(struct model *m, char *out, size_t size)
{
	unsigned from = any(m, CERTS), i;

	(void)snprintf(out, size, "B%u", any(m, BOARDS));
	for (i = 0; i < 20 && m->count > 0 && any(m, 10) == 0; i++) {
		const struct cert *c = &m->certs[(from + i) % m->count];

		if (c->board[0] == 'C')
			(void)snprintf(out, size, "%s", c->board);
	}
}

static void group(struct model *m, struct cw_stock *s)
{
	static const char *const stations[STATIONS] = { "line-0", "line-1", "line-2" };
	struct cw_stock_ask a[16];
	char boards[16][CW_STOCK_DEVICE_ID + 1];
	int station[16];
	size_t n = 1 + any(m, any(m, 2) ? 16 : 2), i;

	for (i = 0; i < n; i++) {
		any_board(m, boards[i], sizeof(boards[i]));
		if (any(m, 8) == 0)
			boards[i][0] = '\0';
		a[i] = world_ask(any(m, 3) == 0 && boards[i][0] != '\0' ? CW_STOCK_REPORT : CW_STOCK_ALLOCATE, boards[i]);
		station[i] = (int)any(m, STATIONS);
		a[i].who.name = stations[station[i]];
		a[i].quota = any(m, 4) == 0 ? 1 + any(m, 400) : 0;
	}
	world_serve(s, a, n);
	for (i = 0; i < n; i++) {
		struct cert *c;
		int fresh;
		enum cw_stock_answer want = expect(m, &a[i], station[i], &c, &fresh);
		char name[33];

		if (a[i].answer != want || (want == CW_STOCK_OK && a[i].fresh != fresh))
			fail_msg("seed %" PRIu64 ": request %zu of %zu (%d, \"%s\"): answer %d fresh %d, not %d %d", m->seed, i, n, a[i].action,
				 boards[i], a[i].answer, a[i].fresh, want, fresh);
		if (want != CW_STOCK_OK || a[i].action == CW_STOCK_REPORT)
			continue;
		(void)snprintf(name, sizeof(name), "dev-%04u", (unsigned)(c - m->certs));
		assert_string_equal(a[i].cert.device_name, name);
		assert_string_equal(a[i].cert.device_secret, DS);
		if (boards[i][0] == '\0')
			strcpy(c->board, a[i].cert.device_id);
		assert_string_equal(a[i].cert.device_id, c->board);
	}
}

static void take_out(struct model *m, struct cw_stock *s)
{
	struct cw_msg msg = { "" };
	unsigned which = any(m, m->count);
	char name[33];
	int rc;

	(void)snprintf(name, sizeof(name), "dev-%04u", which);
	rc = cw_stock_void(s, PK, name, "a test", &tester, &msg);
	assert_int_equal(rc, m->certs[which].state == CW_STOCK_VOID ? CW_EEXIST : 0);
	if (m->certs[which].state == CW_STOCK_FREE)
		m->certs[which].station = -1;
	m->certs[which].state = CW_STOCK_VOID;
}

static void give_back(struct model *m, struct cw_stock *s)
{
	char board[CW_STOCK_DEVICE_ID + 1];
	struct cw_stock_filter f = { .device_id = board, .state = -1 };
	struct cw_msg msg = { "" };
	struct cert *c;
	size_t count;

	any_board(m, board, sizeof(board));
	assert_int_equal(cw_stock_reclaim(s, &f, 1, &tester, NULL, NULL, &count, &msg), 0);
	c = has(m, board);
	assert_int_equal(count, c != NULL && c->state == CW_STOCK_ALLOCATED);
	if (count > 0) {
		c->state = CW_STOCK_FREE;
		c->board[0] = '\0';
	}
}

static void bring_in(struct model *m, struct cw_stock *s)
{
	unsigned n = 1 + any(m, 40), batch = any(m, BATCHES), i;
	char name[16];

	if (m->count + n > CERTS)
		return;
	(void)snprintf(name, sizeof(name), "b%u", batch);
	assert_int_equal(world_import(s, PK, name, m->count, n), n);
	for (i = 0; i < n; i++)
		m->certs[m->count++] = (struct cert){ .state = CW_STOCK_FREE, .batch = (int)batch, .station = -1 };
}

static void close_or_open(struct model *m, struct cw_stock *s)
{
	int batch = (int)any(m, BATCHES), known = 0, rc;
	struct cw_stock_batch_change change = { .what = CW_BATCH_CLOSED, .closed = (int)any(m, 2) };
	struct cw_msg msg = { "" };
	char name[16];
	unsigned i;

	for (i = 0; i < m->count; i++)
		known |= m->certs[i].batch == batch;
	(void)snprintf(name, sizeof(name), "b%d", batch);
	rc = cw_stock_batch_change(s, name, PK, &change, &tester, &msg);
	assert_int_equal(rc, known ? 0 : CW_ENOENT);
	if (known)
		m->closed[batch] = change.closed;
}

struct comparing {
	struct model *m;
	unsigned next;
};

static int on_row(void *arg, const struct cw_stock_row *row)
{
	struct comparing *k = arg;
	const struct cert *c = &k->m->certs[k->next];
	char name[33];

	(void)snprintf(name, sizeof(name), "dev-%04u", k->next++);
	assert_string_equal(row->device_name, name);
	assert_int_equal(row->state, c->state);
	if (c->state == CW_STOCK_ALLOCATED || c->state == CW_STOCK_WRITTEN)
		assert_string_equal(row->device_id, c->board);
	return 0;
}

static void compare(struct model *m, struct cw_stock *s)
{
	struct cw_stock_filter f = { .state = -1 };
	struct comparing k = { m, 0 };
	struct cw_msg msg = { "" };

	assert_int_equal(cw_stock_query(s, &f, on_row, &k, &msg), 0);
	assert_int_equal(k.next, m->count);
	world_check(s);
}

static void test_random(void **state)
{
	const char *seed = getenv("CW_TEST_SEED");
	struct model *m = calloc(1, sizeof(*m));
	struct cw_stock *s = world_open(*state);
	unsigned i, rounds = world_has_server() ? ROUNDS / 5 : ROUNDS;

	m->random = m->seed = seed != NULL ? strtoull(seed, NULL, 10) : (unsigned)getpid();
	bring_in(m, s);
	for (i = 0; i < rounds; i++) {
		switch (any(m, 20)) {
		case 0: take_out(m, s); break;
		case 1: give_back(m, s); break;
		case 2: bring_in(m, s); break;
		case 3: close_or_open(m, s); break;
		case 4:
			cw_stock_close(s);
			s = world_open(*state);
			break;
		default: group(m, s); break;
		}
		if (i % 250 == 249)
			compare(m, s);
	}
	cw_stock_close(s);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(test_random, world_make, world_drop) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
