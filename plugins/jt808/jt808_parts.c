/*
 * jt808_parts.c - messages that arrive in several frames.
 *
 * A message in progress is known by its id and its number of parts: serials are not
 * always consecutive. Parts of a picture or sound are written to its attachment as
 * soon as all before them are there; parts of anything else are kept until the last
 * has come. Every part is answered, because many terminals send the next one only
 * then. Silence makes us ask for what is missing, longer silence makes us drop it.
 */
#include "jt808.h"

#include <stdlib.h>

#define MEDIA_HEAD 36
#define MEDIA_HEAD_2011 16

struct piece {
	uint16_t len;
	uint8_t data[];
};

struct jt_parts {
	struct jt_parts *next;
	uint64_t last_ms;       /* when a new part came, or was asked for */
	uint64_t fresh_ms;      /* when a new part came */
	uint64_t attachment;
	uint32_t bytes;         /* kept here, charged */
	uint32_t size;          /* media: data bytes written */
	uint16_t id, total, got;
	uint16_t flushed;       /* media: parts 1..flushed are written and freed */
	uint16_t first_serial;  /* of part 1, or what it must have been */
	uint8_t asks, has_first, streaming, broken, head_len;
	uint8_t head[MEDIA_HEAD];
	struct piece *piece[];
};

static void release(struct cw_decoder *d, const struct cw_event *ev, struct jt_parts *s)
{
	unsigned i;

	if (s->streaming)
		d->host->attach_close(d->hx, ev->conn, s->attachment, 0, (char[64]){ 0 });
	for (i = 0; i < s->total; i++)
		free(s->piece[i]);
	d->host->charge(d->hx, ev->conn, -(int64_t)(s->bytes + sizeof(*s) + s->total * sizeof(s->piece[0])));
	free(s);
}

static void unlink_parts(struct jt_conn *c, struct jt_parts *s)
{
	struct jt_parts **at = &c->parts;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
}

static void drop(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, struct jt_parts *s)
{
	unlink_parts(c, s);
	release(d, ev, s);
	jt_count(d, JT_N_PARTS_DROPPED, 1);
}

void jt_parts_free(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c)
{
	while (c->parts != NULL) {
		struct jt_parts *s = c->parts;

		c->parts = s->next;
		release(d, ev, s);
	}
}

static struct jt_parts *find(struct jt_conn *c, const struct jt_msg *m)
{
	struct jt_parts *s;

	for (s = c->parts; s != NULL; s = s->next)
		if (s->id == m->id && s->total == m->total)
			return s;
	return NULL;
}

static struct jt_parts *open_parts(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m)
{
	const struct jt_conf *conf = jt_conf_of(d, ev);
	struct jt_parts *s, *oldest = c->parts;
	size_t size = sizeof(*s) + m->total * sizeof(s->piece[0]);
	unsigned open = 0;

	if (m->total > conf->parts_max_count)
		return NULL;
	for (s = c->parts; s != NULL; s = s->next) {
		open++;
		if (s->last_ms < oldest->last_ms)
			oldest = s;
	}
	if (open >= conf->parts_max_open)
		drop(d, ev, c, oldest);
	if (d->host->charge(d->hx, ev->conn, (int64_t)size) < 0)
		return NULL;
	s = calloc(1, size);
	if (s == NULL) {
		d->host->charge(d->hx, ev->conn, -(int64_t)size);
		return NULL;
	}
	s->id = m->id;
	s->total = m->total;
	s->next = c->parts;
	c->parts = s;
	return s;
}

/* 1: new, 0: had it, CW_E*: no room. */
static int keep(struct cw_decoder *d, const struct cw_event *ev, struct jt_parts *s, const struct jt_msg *m)
{
	unsigned i = m->index - 1u;
	struct piece *p;

	if (i < s->flushed || s->piece[i] != NULL)
		return 0;
	if (s->bytes + s->size + m->body.len > jt_conf_of(d, ev)->parts_max_bytes)
		return CW_ELIMIT;
	if (d->host->charge(d->hx, ev->conn, (int64_t)m->body.len) < 0)
		return CW_ELIMIT;
	p = malloc(sizeof(*p) + m->body.len);
	if (p == NULL) {
		d->host->charge(d->hx, ev->conn, -(int64_t)m->body.len);
		return CW_ENOMEM;
	}
	p->len = (uint16_t)m->body.len;
	if (m->body.len > 0)
		memcpy(p->data, m->body.ptr, m->body.len);
	s->piece[i] = p;
	s->bytes += (uint32_t)m->body.len;
	s->got++;
	s->asks = 0;
	s->last_ms = s->fresh_ms = ev->mono_ms;
	if (m->index == 1 || !s->has_first)
		s->first_serial = (uint16_t)(m->serial - i);
	if (m->index == 1)
		s->has_first = 1;
	return 1;
}

/* ---- media -------------------------------------------------------------------- */

static const char *suffix_of(const uint8_t *head)
{
	static const char *const by_format[] = { "jpg", "tif", "mp3", "wav", "wmv" };

	return head[5] < 5 ? by_format[head[5]] : "bin";
}

static void flush_piece(struct cw_decoder *d, const struct cw_event *ev, struct jt_parts *s)
{
	struct piece *p = s->piece[s->flushed];
	size_t skip = 0;

	if (s->flushed == 0) {
		memcpy(s->head, p->data, s->head_len);
		skip = s->head_len;
	} else if (p->len > s->head_len && memcmp(p->data, s->head, 8) == 0) {
		skip = s->head_len; /* some terminals repeat the head in every part */
	}
	if (!s->broken && d->host->attach_write(d->hx, ev->conn, s->attachment, cw_bytes_of(p->data + skip, p->len - skip)) < 0)
		s->broken = 1;
	s->size += (uint32_t)(p->len - skip);
	s->bytes -= p->len;
	d->host->charge(d->hx, ev->conn, -(int64_t)p->len);
	s->piece[s->flushed++] = NULL;
	free(p);
}

/* Write out what has become contiguous. Without an attachment the parts stay and are published inline at the end. */
static void stream_media(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, struct jt_parts *s)
{
	if (s->piece[0] != NULL && s->flushed == 0 && !s->broken) {
		s->head_len = c->edition == JT_2011 ? MEDIA_HEAD_2011 : MEDIA_HEAD;
		if (s->piece[0]->len < s->head_len ||
		    d->host->attach_open(d->hx, ev->conn, c->device, suffix_of(s->piece[0]->data), &s->attachment) < 0) {
			s->broken = 1;
			return;
		}
		s->streaming = 1;
	}
	while (s->streaming && s->flushed < s->total && s->piece[s->flushed] != NULL)
		flush_piece(d, ev, s);
}

/* `head` is the media head alone (its location included); the data is in the attachment. */
static void publish_media(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m, struct cw_bytes head,
                          uint32_t size, uint64_t attachment, int keep_it)
{
	struct jt_msg head_msg = *m;
	struct jt_out o;
	char name[64] = "";
	uint32_t id = (uint32_t)head.ptr[0] << 24 | (uint32_t)head.ptr[1] << 16 | (uint32_t)head.ptr[2] << 8 | head.ptr[3];
	uint64_t ticket = jt_ticket_media(c, m->serial, id);

	if (d->host->attach_close(d->hx, ev->conn, attachment, keep_it, name) < 0 || !keep_it) {
		jt_count(d, JT_N_MEDIA_LOST, 1);
		name[0] = 0;
	}
	head_msg.body = head;
	jt_out_init(&o, d, ev, 1, d->scratch + JT_SCRATCH / 2, JT_SCRATCH / 2);
	cw_put_map(&o.w);
	if (jt_decode_body(&o, &head_msg) < 0) {
		jt_reply(d, ev, c, m->serial, m->id, 1);
		return;
	}
	/* The head alone was decoded: its size is 0, the true one comes last and the reader takes the last. */
	o.w.len -= 6; /* "size" and 0 */
	cw_field_uint(&o.w, "size", size);
	if (name[0] != 0)
		cw_field_text(&o.w, "file", name);
	cw_put_end(&o.w);
	/* Id, kind, place and time make a picture; one sent again as a whole is the same one. */
	if (jt_publish_event(d, ev, c, "MediaUploaded", cw_written(&o.w), head.len == MEDIA_HEAD ? head : cw_bytes_of(NULL, 0), ticket) < 0)
		jt_reply(d, ev, c, m->serial, m->id, 1);
}

int jt_media(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m)
{
	size_t head = m->edition == JT_2011 ? MEDIA_HEAD_2011 : MEDIA_HEAD;
	uint64_t attachment;
	struct cw_bytes data;
	int ok;

	if (!jt_conf_of(d, ev)->store_media || m->body.len < head ||
	    d->host->attach_open(d->hx, ev->conn, c->device, suffix_of(m->body.ptr), &attachment) < 0)
		return 0;
	data = cw_bytes_of(m->body.ptr + head, m->body.len - head);
	ok = d->host->attach_write(d->hx, ev->conn, attachment, data) == 0;
	publish_media(d, ev, c, m, cw_bytes_of(m->body.ptr, head), (uint32_t)data.len, attachment, ok);
	return 1;
}

/* ---- completion --------------------------------------------------------------- */

static size_t collect(const struct jt_parts *s, uint8_t *to)
{
	size_t n = 0;
	unsigned i;

	for (i = 0; i < s->total; i++) {
		if (s->piece[i] == NULL)
			continue;
		memcpy(to + n, s->piece[i]->data, s->piece[i]->len);
		n += s->piece[i]->len;
	}
	return n;
}

static int complete(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, struct jt_parts *s, const struct jt_msg *m)
{
	struct jt_msg all = *m;
	uint8_t *body;
	int rc;

	unlink_parts(c, s);
	all.total = all.index = 0;
	if (s->streaming) {
		s->streaming = 0;
		publish_media(d, ev, c, &all, cw_bytes_of(s->head, s->head_len), s->size, s->attachment, !s->broken);
		release(d, ev, s);
		return 0;
	}
	body = malloc(s->bytes + 1u);
	if (body == NULL) {
		release(d, ev, s);
		jt_reply(d, ev, c, m->serial, m->id, 1);
		return 0;
	}
	all.body = cw_bytes_of(body, collect(s, body));
	release(d, ev, s);
	rc = jt_message(d, ev, c, &all);
	free(body);
	return rc;
}

int jt_part(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m)
{
	const struct jt_conf *conf = jt_conf_of(d, ev);
	struct jt_parts *s;
	int rc;

	if (m->index == 0 || m->index > m->total) {
		jt_reply(d, ev, c, m->serial, m->id, 2);
		return 0;
	}
	s = find(c, m);
	/* The first part again with another serial: the terminal has started over. */
	if (s != NULL && m->index == 1 && s->has_first && s->first_serial != m->serial) {
		drop(d, ev, c, s);
		s = NULL;
	}
	if (s == NULL)
		s = open_parts(d, ev, c, m);
	rc = s == NULL ? CW_ELIMIT : keep(d, ev, s, m);
	if (rc < 0) {
		if (s != NULL)
			drop(d, ev, c, s);
		else
			jt_count(d, JT_N_PARTS_DROPPED, 1);
		jt_reply(d, ev, c, m->serial, m->id, 1);
		return 0;
	}
	if (rc > 0 && s->id == 0x0801 && conf->store_media)
		stream_media(d, ev, c, s);
	if (s->got == s->total)
		return complete(d, ev, c, s, m);
	jt_reply(d, ev, c, m->serial, m->id, 0);
	d->host->timer(d->hx, ev->conn, JT_TIMER_PARTS, conf->parts_ask_ms);
	return 0;
}

/* ---- missing parts ------------------------------------------------------------ */

/* 0x8800 with a list when the media id is known, 0x8003 otherwise; 2011 has neither for other messages. */
static void ask_missing(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, struct jt_parts *s)
{
	uint8_t body[JT_BODY_MAX];
	struct cw_writer w = cw_writer_of(body, sizeof(body));
	const uint8_t *head = s->flushed > 0 ? s->head : s->piece[0] != NULL && s->piece[0]->len >= 4 ? s->piece[0]->data : NULL;
	int media = s->id == 0x0801 && head != NULL;
	unsigned max = media ? 125 : c->edition == JT_2019 ? 500 : 255, n = 0, i;
	size_t count_at;

	if (!media && c->edition == JT_2011)
		return;
	if (!media || c->edition == JT_2011)
		cw_write_u16be(&w, s->first_serial);
	if (media)
		cw_write_raw(&w, head, 4);
	count_at = w.len;
	cw_write_be(&w, 0, !media && c->edition == JT_2019 ? 2 : 1);
	for (i = s->flushed; i < s->total && n < max; i++) {
		if (s->piece[i] != NULL)
			continue;
		cw_write_u16be(&w, (uint16_t)(i + 1));
		n++;
	}
	if (!media && c->edition == JT_2019) {
		body[count_at] = (uint8_t)(n >> 8);
		body[count_at + 1] = (uint8_t)n;
	} else {
		body[count_at] = (uint8_t)n;
	}
	jt_send(d, ev, c, media ? 0x8800 : 0x8003, cw_written(&w));
	jt_count(d, JT_N_PARTS_ASKED, 1);
}

void jt_parts_timer(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c)
{
	const struct jt_conf *conf = jt_conf_of(d, ev);
	uint64_t next = conf->parts_ask_ms;
	struct jt_parts *s, *after;

	for (s = c->parts; s != NULL; s = after) {
		uint64_t quiet = ev->mono_ms - s->last_ms;

		after = s->next;
		if (ev->mono_ms - s->fresh_ms >= conf->parts_drop_ms) {
			drop(d, ev, c, s);
			continue;
		}
		if (quiet >= conf->parts_ask_ms) {
			if (s->asks < conf->parts_asks) {
				s->asks++;
				ask_missing(d, ev, c, s);
			}
			s->last_ms = ev->mono_ms;
		} else if (conf->parts_ask_ms - quiet < next) {
			next = conf->parts_ask_ms - quiet;
		}
	}
	if (c->parts != NULL)
		d->host->timer(d->hx, ev->conn, JT_TIMER_PARTS, next);
}

int jt_part_inspect(struct cw_decoder *d, const struct cw_event *ev, struct jt_conn *c, const struct jt_msg *m, struct cw_bytes *ret_body)
{
	struct jt_parts *s = find(c, m);
	size_t n;

	if (m->index == 0 || m->index > m->total)
		return 0;
	if (s == NULL)
		s = open_parts(d, ev, c, m);
	if (s == NULL || keep(d, ev, s, m) < 0 || s->got < s->total || s->bytes > JT_SCRATCH / 2)
		return 0;
	n = collect(s, d->scratch + JT_SCRATCH / 2);
	unlink_parts(c, s);
	release(d, ev, s);
	*ret_body = cw_bytes_of(d->scratch + JT_SCRATCH / 2, n);
	return 1;
}
