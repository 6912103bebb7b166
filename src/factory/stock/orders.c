/* orders.c - see orders.h. */
#include "factory/stock/orders.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "factory/stock/stock_impl.h"

struct put {
	struct cw_order *o;
	const char *expect;
	const struct cw_stock_actor *who;
	int64_t id, now;
};

static int on_id(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	*(int64_t *)arg = c[0].number;
	return 0;
}

static int insert(struct cw_stock *s, struct put *p, struct cw_msg *msg)
{
	static const char sql[] = "INSERT INTO orders (product_key, batch, count, step, apply_id, names, text, created, changed)"
				  " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8) RETURNING id";
	const struct cw_order *o = p->o;
	const struct cw_db_value params[] = {
		cw_db_text(o->product_key), cw_db_text(o->batch), cw_db_int((int64_t)o->count), cw_db_text(o->step),
		cw_db_text(o->apply_id),    cw_db_text(o->names), cw_db_text(o->text),          cw_db_int(p->now),
	};

	return cw_db_run(s->db, sql, params, 8, on_id, &p->id, NULL, msg);
}

static int on_step(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	(void)snprintf(arg, CW_ORDER_STEP + 1, "%s", stock_text(&c[0]));
	return 0;
}

/* Which order it is and for what does not change. */
static int update(struct cw_stock *s, struct put *p, struct cw_msg *msg)
{
	static const char sql[] = "UPDATE orders SET step = $2, apply_id = $3, names = $4, text = $5, changed = $6 WHERE id = $1 AND step = $7";
	const struct cw_order *o = p->o;
	const struct cw_db_value params[] = {
		cw_db_int(o->id),     cw_db_text(o->step),  cw_db_text(o->apply_id), cw_db_text(o->names),
		cw_db_text(o->text),  cw_db_int(p->now),    cw_db_text(p->expect),
	};
	char step[CW_ORDER_STEP + 1] = "";
	size_t changed = 0;
	int rc = cw_db_run(s->db, sql, params, 7, NULL, NULL, &changed, msg);

	if (rc < 0 || changed == 1)
		return rc;
	rc = cw_db_run(s->db, "SELECT step FROM orders WHERE id = $1", params, 1, on_step, step, NULL, msg);
	if (rc == 0 && step[0] == '\0')
		return cw_fail(msg, CW_ENOENT, "there is no order %lld", (long long)o->id);
	return rc < 0 ? rc
		      : cw_fail(msg, CW_EEXIST, "order %lld is at step %s and no more at %s: another tool works on it", (long long)o->id, step,
	                        p->expect);
}

static int work_put(struct cw_stock *s, void *arg, struct cw_msg *msg)
{
	struct put *p = arg;
	const struct cw_order *o = p->o;
	char text[512];
	struct cw_audit_entry e = {
		.what = stock_audit_name(CW_AUDIT_ORDER),
		.who = p->who->name,
		.address = p->who->address,
		.product_key = o->product_key,
		.text = text,
	};
	int rc;

	p->now = cw_clock_wall_ms();
	p->id = o->id;
	rc = o->id == 0 ? insert(s, p, msg) : update(s, p, msg);
	if (rc < 0)
		return rc;
	(void)snprintf(text, sizeof(text), "order %lld of %llu for batch %s: %s%s%s%s%.200s", (long long)p->id, (unsigned long long)o->count,
	               o->batch, o->step, o->apply_id[0] != '\0' ? ", apply id " : "", o->apply_id, o->text[0] != '\0' ? ", " : "", o->text);
	return stock_audit(s, &e, 1, msg);
}

static int check(const struct cw_order *o, const char *expect, struct cw_msg *msg)
{
	if ((o->id == 0) != (expect == NULL))
		return cw_fail(msg, CW_EINTERNAL, "an order that is there is put with the step it was read at, a new one without");
	if (o->step[0] == '\0' || strlen(o->step) > CW_ORDER_STEP || o->count == 0 || o->count > INT64_MAX)
		return cw_fail(msg, CW_EINVAL, "an order needs a step and a count over 0");
	return stock_check_text("apply id", o->apply_id, 64, msg);
}

int cw_order_put(struct cw_stock *s, struct cw_order *o, const char *expect, const struct cw_stock_actor *who, struct cw_msg *msg)
{
	struct put p = { .o = o, .expect = expect, .who = who };
	int rc = check(o, expect, msg);

	if (rc == 0)
		rc = stock_transact(s, work_put, &p, msg);
	if (rc < 0)
		return rc;
	if (o->id == 0)
		o->created = p.now;
	o->id = p.id;
	o->changed = p.now;
	return 0;
}

struct each {
	int (*fn)(void *arg, const struct cw_order *o);
	void *arg;
};

static int on_order(void *arg, size_t set, const struct cw_db_value *c, size_t count)
{
	const struct each *to = arg;
	const struct cw_order o = {
		.id = c[0].number,
		.product_key = stock_text(&c[1]),
		.batch = stock_text(&c[2]),
		.count = (uint64_t)c[3].number,
		.step = stock_text(&c[4]),
		.apply_id = stock_text(&c[5]),
		.names = stock_text(&c[6]),
		.text = stock_text(&c[7]),
		.created = c[8].number,
		.changed = c[9].number,
	};

	return to->fn(to->arg, &o);
}

int cw_order_each(struct cw_stock *s, int (*fn)(void *arg, const struct cw_order *o), void *arg, struct cw_msg *msg)
{
	struct each to = { fn, arg };

	return cw_db_run(s->db,
	                 "SELECT id, product_key, batch, count, step, apply_id, names, text, created, changed FROM orders ORDER BY id DESC", NULL, 0,
	                 on_order, &to, NULL, msg);
}
