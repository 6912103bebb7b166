/*
 * dispatch.c - commands of the bridge to the worker of a session, and what comes back.
 *
 * Control -> worker: leave, state, command, cancel, reply: one small mail each, freed
 * where it arrives. Worker -> control: done, extend, save. All name the session and
 * the tie by number; what no longer exists is answered where that matters.
 */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "gateway/gateway_impl.h"

enum note_kind { NOTE_LEAVE, NOTE_STATE, NOTE_COMMAND, NOTE_CANCEL, NOTE_REPLY, NOTE_BLOCK, NOTE_MOVED };

struct note {
	struct cw_mail mail;
	struct gw_worker *gw;
	uint64_t session, tie, id, deadline_ms, offset;
	enum note_kind kind;
	int value, code; /* why it has to leave, or the state */
	struct cw_updevice *up;
	size_t request_len, len;
	uint8_t bytes[]; /* a command; or request id, then data; or a block */
};

/* ---- on the worker ------------------------------------------------------------------- */

static const char *leave_reason(int why)
{
	switch (why) {
	case CW_LEAVE_SUPERSEDED: return "superseded by a newer connection of the same identity";
	case CW_LEAVE_REMOVED: return "its entry was removed from the identities";
	case CW_LEAVE_CHANGED: return "its certificate was changed";
	default: return "kicked by the operator";
	}
}

static void leave(struct link *l, struct attachee *a, int why)
{
	int multi = (l->binding->protocol->caps & CW_CAP_MULTI_DEVICE) != 0;

	if (gw_traced(l))
		gw_trace_text(l, "leave", leave_reason(why), 0);
	gw_attachee_drop(l, a, 1);
	if (!multi)
		gw_link_close(l, 0, CW_ECLOSED, leave_reason(why));
}

static void command(struct link *l, struct attachee *a, struct note *n)
{
	struct cw_record rec;
	int rc;

	if (gw_traced(l))
		gw_trace_text(l, "command", "", (int64_t)n->id);
	if (cw_record_read(cw_bytes_of(n->bytes, n->len), &rec) && rec.kind == CW_KIND_BROADCAST) {
		/* For every device of a product, so nobody waits for an answer: it has an entry of its own. */
		cw_conn_broadcast(l->conn, cw_bytes_of(n->bytes, n->len));
		(void)gw_post_done(l, n->id, CW_CODE_OK, cw_bytes_of(NULL, 0));
		return;
	}
	if (l->replay != NULL) { /* nobody is there who could do it */
		(void)gw_post_done(l, n->id, cw_bridge_refusal_code(CW_EBUSY), cw_bytes_of(NULL, 0));
		return;
	}
	rc = cw_conn_command(l->conn, a->rdev, n->id, cw_bytes_of(n->bytes, n->len), n->deadline_ms);
	if (rc == 0)
		return;
	(void)gw_post_done(l, n->id, cw_bridge_refusal_code(rc), cw_bytes_of(NULL, 0));
}

static void on_note(struct cw_mail *mail)
{
	struct note *n = cw_container_of(mail, struct note, mail);
	struct link *l = gw_link_find(n->gw, n->session);
	struct attachee *a = l == NULL ? NULL : gw_attachee_find(l, n->tie);

	if (a == NULL) {
		/* The session is gone, or its attach is still open: say so, a second `left` is ignored. */
		if (n->kind == NOTE_LEAVE)
			gw_post_left(n->gw, n->tie, 0);
		if (n->kind == NOTE_MOVED)
			gw_post_moved(n->gw, n->tie);
		cw_free(n);
		return;
	}
	switch (n->kind) {
	case NOTE_LEAVE: leave(l, a, n->value); break;
	case NOTE_STATE:
		if (gw_traced(l))
			gw_trace_text(l, n->value == CW_UPDEVICE_ONLINE ? "online" : "offline", "", n->code);
		cw_conn_state(l->conn, a->rdev, n->value == CW_UPDEVICE_ONLINE, n->code);
		break;
	case NOTE_COMMAND: command(l, a, n); break;
	case NOTE_CANCEL: cw_conn_command_cancelled(l->conn, a->rdev, n->id); break;
	case NOTE_BLOCK:
		cw_conn_block(l->conn, a->rdev, n->id, n->offset, n->code, cw_bytes_of(n->bytes, n->len));
		break;
	case NOTE_MOVED:
		gw_ingest_moved(l, a->up, n->up);
		a->up = n->up;
		gw_post_moved(n->gw, n->tie);
		break;
	case NOTE_REPLY:
		cw_conn_reply(l->conn, a->rdev, cw_bytes_of(n->bytes, n->request_len), n->code,
		              cw_bytes_of(n->bytes + n->request_len, n->len - n->request_len));
		break;
	}
	cw_free(n);
}

/* ---- on the control loop ----------------------------------------------------------------- */

static struct note *new_note(struct tie *t, enum note_kind kind, size_t len)
{
	struct note *n = cw_zalloc(sizeof(*n) + len);

	if (n == NULL)
		return NULL;
	n->gw = t->gw;
	n->session = t->session;
	n->tie = t->id;
	n->kind = kind;
	n->len = len;
	return n;
}

static void owner_leave(void *owner, struct cw_device *d, enum cw_leave why)
{
	struct tie *t = owner;
	struct note *n = new_note(t, NOTE_LEAVE, 0);

	cw_invariant(n != NULL); /* the new connection would wait for ever */
	n->value = (int)why;
	cw_post(t->gw->worker, &n->mail, on_note);
}

static void owner_moved(void *owner, struct cw_device *d)
{
	struct tie *t = owner;
	struct note *n = new_note(t, NOTE_MOVED, 0);

	cw_invariant(n != NULL); /* the device would be kept apart from its upstream for ever */
	n->up = cw_device_updevice(d);
	cw_post(t->gw->worker, &n->mail, on_note);
}

static void owner_state(void *owner, struct cw_device *d, enum cw_updevice_state state, int code)
{
	struct tie *t = owner;
	struct note *n = new_note(t, NOTE_STATE, 0);

	if (n == NULL)
		return;
	n->value = (int)state;
	n->code = code;
	cw_post(t->gw->worker, &n->mail, on_note);
}

static int owner_command(void *owner, struct cw_device *d, uint64_t id, struct cw_bytes bytes, uint64_t deadline_ms)
{
	struct tie *t = owner;
	struct note *n = new_note(t, NOTE_COMMAND, bytes.len);

	if (n == NULL)
		return CW_ENOMEM;
	n->id = id;
	n->deadline_ms = deadline_ms;
	memcpy(n->bytes, bytes.ptr, bytes.len);
	cw_post(t->gw->worker, &n->mail, on_note);
	return 0;
}

static void owner_cancel(void *owner, struct cw_device *d, uint64_t id)
{
	struct tie *t = owner;
	struct note *n = new_note(t, NOTE_CANCEL, 0);

	if (n == NULL)
		return;
	n->id = id;
	cw_post(t->gw->worker, &n->mail, on_note);
}

static void owner_block(void *owner, struct cw_device *d, uint64_t id, uint64_t offset, int rc, struct cw_bytes bytes)
{
	struct tie *t = owner;
	struct note *n = new_note(t, NOTE_BLOCK, bytes.len);

	if (n == NULL)
		return; /* the command's deadline ends it */
	n->id = id;
	n->offset = offset;
	n->code = rc;
	if (bytes.len > 0)
		memcpy(n->bytes, bytes.ptr, bytes.len);
	cw_post(t->gw->worker, &n->mail, on_note);
}

static void owner_reply(void *owner, struct cw_device *d, const char *request, int code, struct cw_bytes data)
{
	struct tie *t = owner;
	size_t request_len = strlen(request);
	struct note *n = new_note(t, NOTE_REPLY, request_len + data.len);

	cw_log(record_reply, "", CW_LS("device", cw_device_identity(d)), CW_LS("request", request), CW_LI("code", code));
	if (n == NULL)
		return;
	n->request_len = request_len;
	n->code = code;
	memcpy(n->bytes, request, request_len);
	if (data.len > 0)
		memcpy(n->bytes + request_len, data.ptr, data.len);
	cw_post(t->gw->worker, &n->mail, on_note);
}

static void owner_appeared(struct cw_bridge *b, const char *identity)
{
	struct cw_gateway *g = cw_bridge_ctx(b);

	if (g == NULL)
		return; /* nothing listens yet */
	g->appeared++;
	gw_pending_appeared(g, identity);
	gw_members_appeared(g, identity);
}

const struct cw_owner_ops cw_gateway_owner_ops = {
	.leave = owner_leave,
	.state = owner_state,
	.moved = owner_moved,
	.command = owner_command,
	.cancel = owner_cancel,
	.block = owner_block,
	.reply = owner_reply,
	.appeared = owner_appeared,
};

int cw_gateway_session_of(const struct cw_device *d, unsigned *ret_worker, uint64_t *ret_session)
{
	const struct tie *t = cw_device_owner(d);

	if (t == NULL)
		return 0;
	*ret_worker = t->gw->index;
	*ret_session = t->session;
	return 1;
}

const char *cw_gateway_via(const struct cw_device *d)
{
	const struct tie *t = cw_device_owner(d);

	return t == NULL ? NULL : t->via;
}

/* ---- from the worker to the control loop ------------------------------------------------------ */

struct word {
	struct cw_mail mail;
	struct cw_gateway *gateway;
	uint64_t id, delay_ms, offset;
	int32_t code;
	size_t name_len, len; /* name_len: of a block, how many bytes are wanted */
	uint8_t bytes[]; /* name, then value */
};

static void on_done(struct cw_mail *mail)
{
	struct word *w = cw_container_of(mail, struct word, mail);

	cw_bridge_command_done(w->gateway->conf.bridge, w->id, w->code, cw_bytes_of(w->bytes, w->len));
	cw_free(w);
}

static void on_extend(struct cw_mail *mail)
{
	struct word *w = cw_container_of(mail, struct word, mail);

	cw_bridge_command_extend(w->gateway->conf.bridge, w->id, w->delay_ms);
	cw_free(w);
}

static void on_want_block(struct cw_mail *mail)
{
	struct word *w = cw_container_of(mail, struct word, mail);

	cw_bridge_command_block(w->gateway->conf.bridge, w->id, w->offset, w->name_len);
	cw_free(w);
}

static void on_save(struct cw_mail *mail)
{
	struct word *w = cw_container_of(mail, struct word, mail);
	struct cw_saver *s = &w->gateway->conf.saver;

	if (s->put != NULL)
		s->put(s->ctx, (const char *)w->bytes, w->name_len, cw_bytes_of(w->bytes + w->name_len, w->len));
	cw_free(w);
}

static struct word *new_word(struct link *l, const char *name, struct cw_bytes value)
{
	size_t name_len = name == NULL ? 0 : strlen(name);
	struct word *w = cw_zalloc(sizeof(*w) + name_len + value.len);

	if (w == NULL)
		return NULL;
	w->gateway = l->gw->gateway;
	w->name_len = name_len;
	w->len = value.len;
	if (name_len > 0)
		memcpy(w->bytes, name, name_len);
	if (value.len > 0)
		memcpy(w->bytes + name_len, value.ptr, value.len);
	return w;
}

int gw_post_done(struct link *l, uint64_t id, int32_t code, struct cw_bytes reply)
{
	struct word *w = new_word(l, NULL, reply);

	if (w == NULL)
		return CW_ENOMEM; /* the deadline ends the command */
	w->id = id;
	w->code = code;
	cw_post(l->gw->gateway->conf.control, &w->mail, on_done);
	return 0;
}

int gw_post_extend(struct link *l, uint64_t id, uint64_t delay_ms)
{
	struct word *w = new_word(l, NULL, cw_bytes_of(NULL, 0));

	if (w == NULL)
		return CW_ENOMEM;
	w->id = id;
	w->delay_ms = delay_ms;
	cw_post(l->gw->gateway->conf.control, &w->mail, on_extend);
	return 0;
}

int gw_post_want_block(struct link *l, uint64_t id, uint64_t offset, size_t length)
{
	struct word *w = new_word(l, NULL, cw_bytes_of(NULL, 0));

	if (w == NULL)
		return CW_ENOMEM;
	w->id = id;
	w->offset = offset;
	w->name_len = length;
	cw_post(l->gw->gateway->conf.control, &w->mail, on_want_block);
	return 0;
}

int gw_post_save(struct link *l, struct cw_rdevice *dev, struct cw_bytes state)
{
	struct word *w = new_word(l, cw_rdevice_identity(dev), state);

	if (w == NULL)
		return CW_ENOMEM;
	cw_post(l->gw->gateway->conf.control, &w->mail, on_save);
	return 0;
}
