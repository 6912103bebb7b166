/*
 * replay_conn.c - one connection of a replay: the owner that answers the decoder as the gateway would.
 *
 * Known devices are attached and online at once, records settle as done. Beside the
 * real run there may be one that looks (CW_EVF_INSPECT), of another instance, which
 * gets the same bytes first: its fields are shown with the frame of the real run
 * that has the same bytes.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/plugin/replay_impl.h"
#include "cli/show.h"

#define SAVED_MOST 65536u

struct saved {
	struct cw_map_node node;
	size_t len;
	uint8_t bytes[CW_SAVE_MAX];
	char identity[CW_IDENTITY_MAX + 1];
};

struct device_conf {
	struct device_conf *next;
	const struct cw_identity *id;
	void *conf;
};

/* ---- what the decoder says, in both runs ------------------------------------------------- */

static int settle_later(struct side *s, uint64_t ticket)
{
	size_t i;

	if (ticket == 0)
		return 0;
	for (i = 0; i < s->ticket_count; i++)
		if (s->tickets[i] == ticket)
			return 0;
	if (s->ticket_count == sizeof(s->tickets) / sizeof(s->tickets[0]))
		return CW_ELIMIT;
	s->tickets[s->ticket_count++] = ticket;
	return 0;
}

static int on_identify(void *owner, const struct cw_identify *who)
{
	struct side *s = owner;

	cw_asked_add(&s->asked, who);
	return 0;
}

static int on_attach_open(void *owner, struct cw_rdevice *dev, uint64_t attachment, const char *name)
{
	return 0;
}

static int on_attach_write(void *owner, uint64_t attachment, struct cw_bytes data)
{
	return 0;
}

static int nothing_extended(void *owner, uint64_t id, uint64_t delay_ms)
{
	return 0;
}

static int nothing_done(void *owner, uint64_t id, int32_t code, struct cw_bytes reply)
{
	return 0;
}

/* ---- the real run ---------------------------------------------------------------------------- */

static int on_send(void *owner, struct cw_bytes out)
{
	struct rconn *c = ((struct side *)owner)->c;

	bag_add(c->r, &c->beat.answers, (unsigned)down_judge(c, out), cw_bytes_of(NULL, 0), out);
	return 0;
}

static int on_emit(void *owner, struct cw_rdevice *dev, uint64_t ticket, struct cw_bytes record, const struct cw_record *rec)
{
	struct side *s = owner;
	int rc = settle_later(s, ticket);

	if (rc < 0)
		return rc;
	s->c->r->totals->records++;
	bag_add(s->c->r, &s->c->beat.records, 0, cw_bytes_of(NULL, 0), record);
	return 0;
}

static int on_detach(void *owner, struct cw_rdevice *dev)
{
	struct rconn *c = ((struct side *)owner)->c;
	unsigned i;

	for (i = 0; i < c->leaving_count; i++)
		if (c->leaving[i] == dev)
			return 0;
	if (c->leaving_count == CW_ASKED_MOST)
		return CW_ELIMIT;
	c->leaving[c->leaving_count++] = dev;
	return 0;
}

static int on_save(void *owner, struct cw_rdevice *dev, struct cw_bytes state)
{
	struct replay *r = ((struct side *)owner)->c->r;
	const char *identity = cw_rdevice_identity(dev);
	struct cw_map_node *n = cw_map_find(&r->saved, identity, strlen(identity));
	struct saved *s = n == NULL ? NULL : cw_container_of(n, struct saved, node);

	if (s == NULL) {
		s = r->saved.count >= SAVED_MOST ? NULL : cw_zalloc(sizeof(*s));
		if (s == NULL)
			return CW_ELIMIT;
		strcpy(s->identity, identity);
		if (cw_map_add(&r->saved, &s->node, s->identity, strlen(identity)) < 0) {
			cw_free(s);
			return CW_ENOMEM;
		}
	}
	s->len = state.len;
	memcpy(s->bytes, state.ptr, state.len);
	return 0;
}

void conn_free_saved(struct cw_map_node *n)
{
	cw_free(cw_container_of(n, struct saved, node));
}

static int on_want_block(void *owner, uint64_t id, uint64_t offset, size_t length)
{
	return CW_EUNSUPPORTED;
}

static int on_attach_close(void *owner, uint64_t attachment, int commit, char name[64])
{
	struct rconn *c = ((struct side *)owner)->c;

	if (commit)
		(void)snprintf(name, 64, "not-stored");
	say_note(c, commit ? "an attachment would be stored here" : "an attachment is given up");
	return 0;
}

static void on_line(void *owner, int level, const char *text)
{
	struct rconn *c = ((struct side *)owner)->c;

	(void)snprintf(c->beat.line, sizeof(c->beat.line), "%s", text);
	say_note(c, "the decoder says: %s", text);
}

static void on_foreign(void *owner, struct cw_bytes identity)
{
	say_note(((struct side *)owner)->c, "carries another identity than this connection: %.*s", (int)identity.len,
	         (const char *)identity.ptr);
}

/* The fields that the other run saw in the same frame. Frames it alone cut are passed over. */
static void take_looked(struct rconn *c, struct cw_bytes frame)
{
	struct entry e;
	size_t at = 0, next;

	while ((next = bag_next(&c->looked, at, &e)) != 0) {
		at = next;
		if (!cw_bytes_equal(e.name, frame))
			continue;
		if (e.value.len > 0)
			bag_add(c->r, e.tag == CW_GROUP_HEADER ? &c->beat.header : &c->beat.fields, 0,
			        cw_bytes_of(NULL, 0), e.value);
		if (e.tag == CW_GROUP_FIELDS) /* header and fields stand in pairs */
			break;
	}
	memmove(c->looked.bytes, c->looked.bytes + at, c->looked.len - at);
	c->looked.len -= at;
}

static void on_frame(void *owner, struct cw_bytes frame, int rc)
{
	struct rconn *c = ((struct side *)owner)->c;

	c->r->totals->frames++;
	c->beat.what = "in";
	c->beat.rc = rc;
	bag_add(c->r, &c->beat.frame, 0, cw_bytes_of(NULL, 0), frame);
	if (c->looked.len > 0)
		take_looked(c, frame);
	if (rc == 0 || rc == CW_ECLOSED)
		return;
	c->beat.refused = 1;
	c->beat.what = "refused";
	c->r->totals->refused++;
}

static void on_noise(void *owner, struct cw_bytes dropped)
{
	struct rconn *c = ((struct side *)owner)->c;

	c->r->totals->noise_bytes += dropped.len;
	say_bytes(c, "noise", dropped);
}

static void on_close(void *owner, uint64_t delay_ms, const char *reason)
{
	struct rconn *c = ((struct side *)owner)->c;

	c->closing = 1;
	c->r->any_closing = 1;
	if (delay_ms > 0)
		say_note(c, "the decoder closes the connection in %llu ms: %s", (unsigned long long)delay_ms, reason);
	else
		say_note(c, "the connection is closed: %s", reason);
}

static const void *conf_of(struct replay *r, const struct cw_identity *id)
{
	struct device_conf *d;
	struct cw_msg msg = { "" };
	uint8_t *bytes = NULL;
	size_t len = 0;

	if (id == NULL || id->settings.len == 0)
		return NULL;
	for (d = r->confs; d != NULL; d = d->next)
		if (d->id == id)
			return d->conf;
	d = cw_zalloc(sizeof(*d));
	if (d == NULL)
		return NULL;
	d->id = id;
	if (cw_show_encoded_settings(r->desc, r->how->sets, id->settings, &bytes, &len, &msg) == 0)
		(void)cw_runner_settings(r->runner, cw_bytes_of(bytes, len), &d->conf, &msg);
	if (d->conf == NULL)
		fprintf(stderr, "the settings of %s are passed over: %s\n", id->identity, msg.text);
	cw_free(bytes);
	d->next = r->confs;
	r->confs = d;
	return d->conf;
}

void conn_free_confs(struct replay *r)
{
	struct device_conf *d;

	while ((d = r->confs) != NULL) {
		r->confs = d->next;
		cw_runner_settings_free(r->runner, d->conf);
		cw_free(d);
	}
}

static int is_attached(struct cw_conn *conn, const char *identity)
{
	struct cw_rdevice *d;

	for (d = cw_conn_next_device(conn, NULL); d != NULL; d = cw_conn_next_device(conn, d))
		if (strcmp(cw_rdevice_identity(d), identity) == 0)
			return 1;
	return 0;
}

static void identified(struct rconn *c, const char *identity, const struct cw_identity *id, unsigned how)
{
	struct replay *r = c->r;
	struct cw_map_node *n = cw_map_find(&r->saved, identity, strlen(identity));
	struct saved *s = n == NULL ? NULL : cw_container_of(n, struct saved, node);
	int fresh = !is_attached(c->real.conn, identity);
	struct cw_rdevice *dev;

	if (cw_conn_identified(c->real.conn, cw_bytes_text(identity), id == NULL ? "a1Replay000" : id->product_key,
	                       id == NULL ? identity : id->device_name, s == NULL ? cw_bytes_of(NULL, 0) : cw_bytes_of(s->bytes, s->len),
	                       how, conf_of(r, id), NULL, &dev) < 0)
		r->out_of_memory = 1;
	else if (how & CW_CONN_ATTACHED && fresh && is_attached(c->real.conn, identity) && !c->closing)
		cw_conn_state(c->real.conn, dev, 1, 0);
}

static void answer_members(struct rconn *c, const char *prefix)
{
	struct cw_map_node *n;
	int count = 0;

	if (c->r->known != NULL) {
		cw_map_each(n, &c->r->known->by_identity) {
			const struct cw_identity *id = cw_container_of(n, struct cw_identity, by_identity);

			if (strncmp(id->identity, prefix, strlen(prefix)) != 0 || c->closing)
				continue;
			identified(c, id->identity, id, CW_CONN_ATTACHED | CW_CONN_UNASKED);
			count++;
		}
	}
	cw_conn_members(c->real.conn, cw_bytes_text(prefix), count);
}

static void answer_identify(struct rconn *c, const char *identity, uint32_t flags)
{
	const struct cw_identity *id = NULL;

	if (flags & CW_IDENTIFY_MEMBERS) {
		answer_members(c, identity);
		return;
	}
	if (c->r->known != NULL) {
		id = cw_identities_find(c->r->known, identity, strlen(identity));
		if (id == NULL) {
			say_note(c, "identity %s is not known%s", identity, flags & CW_IDENTIFY_OPTIONAL ? ", and need not be" : "");
			if ((flags & CW_IDENTIFY_OPTIONAL) == 0)
				c->r->totals->refused_identities++;
			cw_conn_refused(c->real.conn, cw_bytes_text(identity), CW_REFUSED_UNKNOWN);
			return;
		}
	}
	if (!is_attached(c->real.conn, identity))
		say_note(c, "identity %s%s", identity, flags & CW_IDENTIFY_LOOKUP ? " is looked up" : "");
	identified(c, identity, id, flags & CW_IDENTIFY_LOOKUP ? 0 : CW_CONN_ATTACHED);
}

/* The outcomes of what was asked and emitted. Each may call forth the next; this is entered again from within. */
static void on_called(void *owner)
{
	struct side *s = owner;
	struct rconn *c = s->c;
	char identity[CW_IDENTITY_MAX + 1];
	int64_t flags;

	if (s->conn == NULL) /* still inside cw_conn_open() */
		return;
	for (;;) {
		if (++c->rounds == ROUNDS_MOST) {
			say_note(c, "every outcome makes the decoder ask for the next: stopped after %u", ROUNDS_MOST);
			c->closing = 1;
			c->r->any_closing = 1;
		}
		if (c->rounds >= ROUNDS_MOST)
			break;
		if (s->ticket_count > 0) {
			uint64_t ticket = s->tickets[0];

			memmove(s->tickets, s->tickets + 1, --s->ticket_count * sizeof(s->tickets[0]));
			cw_conn_settled(s->conn, ticket, CW_SETTLED_DONE);
		} else if (c->leaving_count > 0) {
			cw_conn_detached(s->conn, c->leaving[--c->leaving_count]);
		} else if ((flags = cw_asked_take(&s->asked, identity)) >= 0) {
			answer_identify(c, identity, (uint32_t)flags);
		} else {
			break;
		}
	}
	if (c->beat.what != NULL)
		say_beat(c);
}

static const struct cw_conn_ops real_ops = {
	.send = on_send,
	.emit = on_emit,
	.identify = on_identify,
	.detach = on_detach,
	.command_done = nothing_done,
	.command_extend = nothing_extended,
	.save = on_save,
	.want_block = on_want_block,
	.attach_open = on_attach_open,
	.attach_write = on_attach_write,
	.attach_close = on_attach_close,
	.line = on_line,
	.foreign = on_foreign,
	.frame = on_frame,
	.noise = on_noise,
	.close = on_close,
	.called = on_called,
};

/* ---- the run that looks ------------------------------------------------------------------------- */

static int look_send(void *owner, struct cw_bytes out)
{
	return 0;
}

static int look_emit(void *owner, struct cw_rdevice *dev, uint64_t ticket, struct cw_bytes record, const struct cw_record *rec)
{
	return settle_later(owner, ticket);
}

static int look_detach(void *owner, struct cw_rdevice *dev)
{
	return 0;
}

static int look_save(void *owner, struct cw_rdevice *dev, struct cw_bytes state)
{
	return 0;
}

static int look_attach_close(void *owner, uint64_t attachment, int commit, char name[64])
{
	if (commit)
		(void)snprintf(name, 64, "not-stored");
	return 0;
}

static void look_field(void *owner, int group, const char *name, struct cw_bytes value, size_t offset, size_t length)
{
	struct rconn *c = ((struct side *)owner)->c;

	bag_add(c->r, group == CW_GROUP_HEADER ? &c->look_header : &c->look_fields, 0, cw_bytes_text(name), value);
}

static void keep_looked(struct rconn *c, struct cw_bytes frame, unsigned group, struct bag *fields)
{
	char *text = fields->len == 0 ? cw_strdup("") : say_members(fields);

	if (text == NULL)
		c->r->out_of_memory = 1;
	else
		bag_add(c->r, &c->looked, group, frame, cw_bytes_text(text));
	cw_free(text);
	bag_clear(fields);
}

static void look_frame(void *owner, struct cw_bytes frame, int rc)
{
	struct rconn *c = ((struct side *)owner)->c;

	keep_looked(c, frame, CW_GROUP_HEADER, &c->look_header);
	keep_looked(c, frame, CW_GROUP_FIELDS, &c->look_fields);
}

static void look_close(void *owner, uint64_t delay_ms, const char *reason)
{
}

static void look_called(void *owner)
{
	struct side *s = owner;
	char identity[CW_IDENTITY_MAX + 1];
	struct cw_rdevice *dev;
	int64_t flags;

	while (s->conn != NULL && s->c->rounds < ROUNDS_MOST) {
		s->c->rounds++;
		if (s->ticket_count > 0) {
			uint64_t ticket = s->tickets[0];

			memmove(s->tickets, s->tickets + 1, --s->ticket_count * sizeof(s->tickets[0]));
			cw_conn_settled(s->conn, ticket, CW_SETTLED_DONE);
			continue;
		}
		flags = cw_asked_take(&s->asked, identity);
		if (flags < 0)
			break;
		if ((flags & CW_IDENTIFY_MEMBERS) != 0)
			cw_conn_members(s->conn, cw_bytes_text(identity), 0);
		else if (cw_conn_identified(s->conn, cw_bytes_text(identity), "a1Replay000", "inspect", cw_bytes_of(NULL, 0),
		                            (flags & CW_IDENTIFY_LOOKUP) != 0 ? 0 : CW_CONN_ATTACHED, NULL, NULL, &dev) < 0)
			s->c->r->out_of_memory = 1;
	}
}

static const struct cw_conn_ops look_ops = {
	.send = look_send,
	.emit = look_emit,
	.identify = on_identify,
	.detach = look_detach,
	.command_done = nothing_done,
	.command_extend = nothing_extended,
	.save = look_save,
	.want_block = on_want_block,
	.attach_open = on_attach_open,
	.attach_write = on_attach_write,
	.attach_close = look_attach_close,
	.field = look_field,
	.frame = look_frame,
	.close = look_close,
	.called = look_called,
};

/* ---- open, feed, close ------------------------------------------------------------------------------ */

int conn_open(struct rconn *c, const struct cw_seen_conn *seen)
{
	struct replay *r = c->r;
	struct cw_conn_open how = {
		.listener = seen->listener[0] != '\0' ? seen->listener : "replay",
		.conf = r->conf,
		.peer = cw_bytes_text(seen->name),
		.identity = r->how->identity == NULL ? cw_bytes_of(NULL, 0) : cw_bytes_text(r->how->identity),
		.flags = (seen->datagram ? CW_EVF_DATAGRAM : 0) | (seen->dialled ? CW_EVF_DIALLED : 0) | (seen->serial ? CW_EVF_SERIAL : 0),
		.max_noise = SIZE_MAX,
		.cap = 1u << 20,
		.attach_most = UINT64_MAX,
	};
	int rc;

	c->real.c = c->looker.c = c;
	if (r->looker != NULL) {
		struct cw_conn_open look = how;

		look.conf = r->looker_conf;
		look.flags |= CW_EVF_INSPECT;
		rc = cw_conn_open(r->looker, &look_ops, &c->looker, &look, &c->looker.conn);
		if (rc < 0)
			return rc;
		look_called(&c->looker);
	}
	rc = cw_conn_open(r->runner, &real_ops, &c->real, &how, &c->real.conn);
	if (rc < 0)
		return rc;
	on_called(&c->real);
	(void)cw_conn_resume(c->real.conn);
	return 0;
}

void conn_feed(struct rconn *c, struct cw_bytes in)
{
	c->rounds = 0;
	if (c->looker.conn != NULL)
		(void)cw_conn_feed(c->looker.conn, in);
	c->rounds = 0;
	(void)cw_conn_feed(c->real.conn, in);
	bag_clear(&c->look_header);
	bag_clear(&c->look_fields);
	say_beat(c);
}

void conn_close(struct rconn *c)
{
	size_t kept = c->real.conn == NULL ? 0 : cw_conn_buffered(c->real.conn);

	c->rounds = 0;
	if (c->looker.conn != NULL)
		cw_conn_close(c->looker.conn);
	c->looker.conn = NULL;
	if (c->real.conn == NULL)
		return;
	if (kept > 0)
		say_note(c, "%zu bytes wait for the rest of their frame", kept);
	cw_conn_close(c->real.conn);
	c->real.conn = NULL;
	say_beat(c);
}
