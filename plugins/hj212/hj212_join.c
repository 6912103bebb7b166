/*
 * hj212_join.c - a data area that was cut into several frames: pieces of one QN, in the order of PNO.
 *
 * By the book every sub-packet has a data area of its own and is an upload by itself; these here lack an && at their
 * beginning or end. All that is kept is bounded and charged. What has become whole stays until joinTimeout: a piece that
 * comes again, because the platform has not taken the data yet, stands for all of it, and is no first piece of another.
 */
#include "hj212.h"

#include <stdlib.h>

struct piece {
	uint16_t len;
	uint8_t data[];
};

struct hj_join {
	struct hj_join *next;
	uint64_t since_ms; /* monotonic: the newest piece */
	size_t bytes;      /* of the pieces, charged */
	unsigned cn, total, got;
	uint8_t told;      /* it was whole once; kept for pieces that come again */
	char qn[24];
	struct piece *piece[];
};

static size_t own_size(unsigned total)
{
	return sizeof(struct hj_join) + total * sizeof(struct piece *);
}

static void release(struct cw_decoder *d, const struct cw_event *ev, struct hj_join *j)
{
	unsigned i;

	for (i = 0; i < j->total; i++)
		free(j->piece[i]);
	d->host->charge(d->hx, ev->conn, -(int64_t)(j->bytes + own_size(j->total)));
	free(j);
}

static void unlink_join(struct hj_device *dev, struct hj_join *j)
{
	struct hj_join **at = &dev->joins;

	while (*at != j)
		at = &(*at)->next;
	*at = j->next;
	dev->join_count--;
}

static void drop(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, struct hj_join *j)
{
	unlink_join(dev, j);
	if (!j->told)
		hj_count(d, HJ_N_JOINS_DROPPED);
	release(d, ev, j);
}

void hj_join_free(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev)
{
	while (dev->joins != NULL) {
		struct hj_join *j = dev->joins;

		unlink_join(dev, j);
		release(d, ev, j);
	}
}

static struct hj_join *open_join(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, const struct hj_msg *m)
{
	const struct hj_conf *conf = hj_conf_of(d, dev->conn, dev);
	struct hj_join *j, *oldest = dev->joins;
	size_t size = own_size(m->pnum);

	for (j = dev->joins; j != NULL; j = j->next) {
		if (j->cn == m->cn && j->total == m->pnum && cw_bytes_equal(m->qn, cw_bytes_text(j->qn)))
			return j;
		if (j->told != oldest->told ? j->told : j->since_ms < oldest->since_ms)
			oldest = j; /* first of those that are whole */
	}
	if (dev->join_count >= conf->joins)
		drop(d, ev, dev, oldest);
	if (d->host->charge(d->hx, ev->conn, (int64_t)size) < 0)
		return NULL;
	j = calloc(1, size);
	if (j == NULL) {
		d->host->charge(d->hx, ev->conn, -(int64_t)size);
		return NULL;
	}
	j->cn = m->cn;
	j->total = m->pnum;
	if (m->qn.len > 0)
		memcpy(j->qn, m->qn.ptr, m->qn.len);
	j->next = dev->joins;
	dev->joins = j;
	dev->join_count++;
	return j;
}

/* Where this piece was there is other text: another transmission, of a device that does not number them. */
static int differs(const struct hj_join *j, const struct hj_msg *m)
{
	const struct piece *p = j->piece[m->pno - 1];

	return p != NULL && (p->len != m->cp_raw.len || (p->len > 0 && memcmp(p->data, m->cp_raw.ptr, p->len) != 0));
}

/* 0, also when it was there; CW_E*: no room. */
static int keep(struct cw_decoder *d, const struct cw_event *ev, struct hj_join *j, const struct hj_msg *m, const struct hj_conf *conf)
{
	size_t size = sizeof(struct piece) + m->cp_raw.len;
	struct piece *p;

	if (j->piece[m->pno - 1] != NULL)
		return 0;
	if (j->bytes + size > conf->join_bytes || d->host->charge(d->hx, ev->conn, (int64_t)size) < 0)
		return CW_ELIMIT;
	p = malloc(size);
	if (p == NULL) {
		d->host->charge(d->hx, ev->conn, -(int64_t)size);
		return CW_ENOMEM;
	}
	p->len = (uint16_t)m->cp_raw.len;
	if (p->len > 0)
		memcpy(p->data, m->cp_raw.ptr, p->len);
	j->piece[m->pno - 1] = p;
	j->bytes += size;
	j->got++;
	return 0;
}

/* All together, without the && at its ends. */
static struct cw_bytes join_all(struct cw_decoder *d, const struct hj_join *j)
{
	struct cw_writer w = cw_writer_of(d->joined, HJ_JOIN_MOST);
	struct cw_bytes all;
	unsigned i;

	for (i = 0; i < j->total; i++)
		cw_write_raw(&w, j->piece[i]->data, j->piece[i]->len);
	all = hj_strip(cw_written(&w));
	if (all.len >= 2 && memcmp(all.ptr, "&&", 2) == 0)
		all = cw_bytes_of(all.ptr + 2, all.len - 2);
	if (all.len >= 2 && memcmp(all.ptr + all.len - 2, "&&", 2) == 0)
		all.len -= 2;
	return all;
}

int hj_join(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev, struct hj_msg *m)
{
	const struct hj_conf *conf = hj_conf_of(d, dev->conn, dev);
	struct hj_join *j;
	int rc;

	if (m->pnum < 2 || m->pno < 1 || m->pno > m->pnum || own_size(m->pnum) > conf->join_bytes)
		return CW_EPROTO;
	j = open_join(d, ev, dev, m);
	if (j != NULL && differs(j, m)) {
		drop(d, ev, dev, j);
		j = open_join(d, ev, dev, m);
	}
	if (j == NULL)
		return CW_ELIMIT;
	j->since_ms = ev->mono_ms;
	rc = keep(d, ev, j, m, conf);
	if (rc < 0) {
		drop(d, ev, dev, j);
		return rc;
	}
	if (j->got < j->total)
		return 0;
	m->cp = m->cp_raw = join_all(d, j);
	if (!j->told)
		hj_count(d, HJ_N_JOINED);
	j->told = 1;
	m->whole = 1;
	return hj_parse_cp(d, m->cp, m) < 0 ? CW_EPROTO : 1;
}

uint64_t hj_join_due(const struct hj_conf *conf, const struct hj_device *dev)
{
	const struct hj_join *j;
	uint64_t due = UINT64_MAX;

	for (j = dev->joins; j != NULL; j = j->next)
		if (j->since_ms + conf->join_ms < due)
			due = j->since_ms + conf->join_ms;
	return due;
}

void hj_join_expire(struct cw_decoder *d, const struct cw_event *ev, struct hj_device *dev)
{
	const struct hj_conf *conf = hj_conf_of(d, dev->conn, dev);
	struct hj_join *j = dev->joins;

	while (j != NULL) {
		struct hj_join *next = j->next;

		if (j->since_ms + conf->join_ms <= ev->mono_ms)
			drop(d, ev, dev, j);
		j = next;
	}
}
