/*
 * many.c - a decoder for tests with many devices on one connection: lines say what it shall do, events come back as lines.
 *
 *   M prefix   all members           I name   identify        O name   identify, may be unknown
 *   D name     detach                E name ticket hex        emit a record of that device
 *
 * Back: "open", "identified NAME", "refused CODE NAME", "members COUNT PREFIX", "detached NAME", "settled TICKET CODE",
 * "rc CODE" after each line.
 */
#include <causeway/plugin.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MOST 2048u
#define DEVICES_MOST 512u

struct cw_decoder {
	const struct cw_host *host;
	void *hx;
};

struct here {
	uint64_t handle;
	char name[CW_IDENTITY_MAX + 1];
};

struct conn {
	struct here devices[DEVICES_MOST];
	size_t count;
};

static int many_create(const struct cw_host *host, void *hx, struct cw_decoder **ret_decoder)
{
	struct cw_decoder *d = malloc(sizeof(*d));

	if (d == NULL)
		return CW_ENOMEM;
	d->host = host;
	d->hx = hx;
	*ret_decoder = d;
	return 0;
}

static void many_destroy(struct cw_decoder *d)
{
	free(d);
}

static int many_frame(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes in, struct cw_cut *ret_cut)
{
	const uint8_t *nl = memchr(in.ptr, '\n', in.len);

	(void)d;
	(void)ev;
	if (nl != NULL)
		ret_cut->length = (size_t)(nl - in.ptr) + 1;
	return 0;
}

static void say(struct cw_decoder *d, uint64_t conn, const char *what, long number, struct cw_bytes name)
{
	char line[300];
	int n = number < 0 ? snprintf(line, sizeof(line), "%s %.*s\n", what, (int)name.len, (const char *)name.ptr)
	                   : snprintf(line, sizeof(line), "%s %ld %.*s\n", what, number, (int)name.len, (const char *)name.ptr);

	(void)d->host->send(d->hx, conn, cw_bytes_of(line, (size_t)n));
}

static struct here *find(struct conn *c, struct cw_bytes name)
{
	size_t i;

	for (i = 0; c != NULL && i < c->count; i++)
		if (cw_bytes_equal(name, cw_bytes_text(c->devices[i].name)))
			return &c->devices[i];
	return NULL;
}

static int identify(struct cw_decoder *d, const struct cw_event *ev, const char *name, uint32_t flags)
{
	struct cw_identify who = { .size = sizeof(who), .flags = flags, .identity = cw_bytes_text(name) };

	return d->host->identify(d->hx, ev->conn, &who);
}

static int emit(struct cw_decoder *d, const struct cw_event *ev, const char *arg)
{
	char name[CW_IDENTITY_MAX + 1];
	uint8_t bytes[LINE_MOST];
	unsigned long long ticket;
	struct here *h;
	size_t n = 0;
	unsigned v;
	int at = 0;

	if (sscanf(arg, "%128s %llu %n", name, &ticket, &at) < 2)
		return CW_EPROTO;
	h = find(*ev->conn_ctx, cw_bytes_text(name));
	for (arg += at; n < sizeof(bytes) && sscanf(arg, "%2x", &v) == 1; arg += 2)
		bytes[n++] = (uint8_t)v;
	return h == NULL ? CW_ENOENT : d->host->emit(d->hx, ev->conn, h->handle, ticket, cw_bytes_of(bytes, n));
}

static int obey(struct cw_decoder *d, const struct cw_event *ev, const char *line)
{
	const char *arg = line[0] == '\0' ? line : line + 2;
	struct here *h;

	switch (line[0]) {
	case 'M': return identify(d, ev, arg, CW_IDENTIFY_MEMBERS);
	case 'I': return identify(d, ev, arg, 0);
	case 'O': return identify(d, ev, arg, CW_IDENTIFY_OPTIONAL);
	case 'E': return emit(d, ev, arg);
	case 'D':
		h = find(*ev->conn_ctx, cw_bytes_text(arg));
		return h == NULL ? CW_ENOENT : d->host->detach(d->hx, ev->conn, h->handle);
	default: return CW_EPROTO;
	}
}

static int many_decode(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes frame)
{
	char line[2 * LINE_MOST], text[40];
	int rc;

	if (frame.len > sizeof(line))
		return CW_EPROTO;
	memcpy(line, frame.ptr, frame.len - 1);
	line[frame.len - 1] = '\0';
	rc = obey(d, ev, line);
	(void)snprintf(text, sizeof(text), "rc %d", rc);
	say(d, ev->conn, text, -1, cw_bytes_of("", 0));
	return rc == CW_EPROTO ? CW_EPROTO : 0;
}

static void on_identified(const struct cw_event *ev)
{
	struct conn *c = *ev->conn_ctx;
	struct here *h = find(c, ev->identity);

	if (h == NULL && c != NULL && c->count < DEVICES_MOST) {
		h = &c->devices[c->count++];
		memcpy(h->name, ev->identity.ptr, ev->identity.len);
		h->name[ev->identity.len] = '\0';
	}
	if (h != NULL)
		h->handle = ev->device;
}

static void on_detached(const struct cw_event *ev)
{
	struct conn *c = *ev->conn_ctx;
	struct here *h = find(c, ev->identity);

	if (h != NULL)
		*h = c->devices[--c->count];
}

static int many_event(struct cw_decoder *d, const struct cw_event *ev)
{
	switch (ev->kind) {
	case CW_EV_OPEN:
		*ev->conn_ctx = calloc(1, sizeof(struct conn));
		say(d, ev->conn, "open", -1, cw_bytes_of("", 0));
		break;
	case CW_EV_IDENTIFIED:
		on_identified(ev);
		say(d, ev->conn, "identified", -1, ev->identity);
		break;
	case CW_EV_REFUSED: say(d, ev->conn, "refused", ev->code, ev->identity); break;
	case CW_EV_MEMBERS: say(d, ev->conn, "members", ev->code, ev->identity); break;
	case CW_EV_DETACHED:
		on_detached(ev);
		say(d, ev->conn, "detached", -1, ev->identity);
		break;
	case CW_EV_SETTLED: say(d, ev->conn, "settled", (long)ev->ticket, cw_bytes_text(ev->code == 0 ? "0" : "other")); break;
	case CW_EV_CLOSED:
		free(*ev->conn_ctx);
		*ev->conn_ctx = NULL;
		break;
	default: break;
	}
	return 0;
}

static const struct cw_decoder_ops many_ops = {
	CW_DECODER_OPS_INIT, .create = many_create, .destroy = many_destroy, .frame = many_frame, .decode = many_decode, .event = many_event,
};
static const struct cw_plugin_desc many_desc = {
	CW_PLUGIN_INIT, .name = "many", .version = "1.0", .summary = "Many devices a connection, for end-to-end tests.",
	.caps = CW_CAP_MULTI_DEVICE, .max_frame = 2 * LINE_MOST, .decoder = &many_ops,
};

const struct cw_plugin_desc *cw_plugin_entry(void)
{
	return &many_desc;
}
