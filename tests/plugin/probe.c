/*
 * probe.c - a decoder for tests: every line says what the decoder shall do, and
 * every event comes back as a line. With it the end-to-end tests reach all of the ABI
 * through the real gateway, also what no built-in protocol uses.
 *
 *   I name          identify        L name       look up only
 *   E ticket hex    emit a record   D            detach
 *   S hex           save            T id ms      timer
 *   A id code hex   command done    X id ms      extend its deadline
 *   P hex           attachment      C ms         close
 *
 * Back: "open", "identified NAME PK DN SAVED", "refused CODE", "online", "offline", "settled TICKET CODE",
 * "timer ID", "command ID HEX", "cancelled ID", "reply REQUEST CODE HEX", "detached", "rc CODE" after each line.
 */
#include <causeway/plugin.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MOST 8192u

struct cw_decoder {
	const struct cw_host *host;
	void *hx;
};

static int probe_create(const struct cw_host *host, void *hx, struct cw_decoder **ret_decoder)
{
	struct cw_decoder *d = malloc(sizeof(*d));

	if (d == NULL)
		return CW_ENOMEM;
	d->host = host;
	d->hx = hx;
	*ret_decoder = d;
	return 0;
}

static void probe_destroy(struct cw_decoder *d)
{
	free(d);
}

static int probe_frame(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes in, struct cw_cut *ret_cut)
{
	const uint8_t *nl = memchr(in.ptr, '\n', in.len);

	(void)d;
	(void)ev;
	if (nl != NULL)
		ret_cut->length = (size_t)(nl - in.ptr) + 1;
	return 0;
}

static void say(struct cw_decoder *d, uint64_t conn, const char *text, struct cw_bytes hex)
{
	char line[2 * LINE_MOST + 300];
	size_t n = (size_t)snprintf(line, 280, "%s", text), i;

	if (n > 279)
		n = 279;
	for (i = 0; i < hex.len && i < LINE_MOST; i++)
		n += (size_t)snprintf(line + n, 3, "%02x", hex.ptr[i]);
	line[n++] = '\n';
	(void)d->host->send(d->hx, conn, cw_bytes_of(line, n));
}

static size_t unhex(const char *text, uint8_t *out)
{
	size_t n = 0;
	unsigned v;

	while (text[0] != '\0' && text[1] != '\0' && sscanf(text, "%2x", &v) == 1) {
		out[n++] = (uint8_t)v;
		text += 2;
	}
	return n;
}

static int identify(struct cw_decoder *d, const struct cw_event *ev, const char *name, uint32_t flags)
{
	struct cw_identify who = { .size = sizeof(who), .flags = flags, .identity = cw_bytes_text(name) };

	return d->host->identify(d->hx, ev->conn, &who);
}

static int attach(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes data)
{
	uint64_t attachment;
	char name[64] = "", text[100];
	int rc = d->host->attach_open(d->hx, ev->conn, 0, "bin", &attachment);

	if (rc == 0)
		rc = d->host->attach_write(d->hx, ev->conn, attachment, data);
	if (rc == 0)
		rc = d->host->attach_close(d->hx, ev->conn, attachment, 1, name);
	(void)snprintf(text, sizeof(text), "attached %s", name);
	if (rc == 0)
		say(d, ev->conn, text, cw_bytes_of(NULL, 0));
	return rc;
}

static int obey(struct cw_decoder *d, const struct cw_event *ev, const char *line, uint8_t *bytes)
{
	unsigned long long a = 0, b = 0;
	const char *arg = line[0] == '\0' ? line : line + 2;
	int at = 0;

	switch (line[0]) {
	case 'I': return identify(d, ev, arg, 0);
	case 'L': return identify(d, ev, arg, CW_IDENTIFY_LOOKUP);
	case 'E':
		(void)sscanf(arg, "%llu %n", &a, &at);
		return d->host->emit(d->hx, ev->conn, 0, a, cw_bytes_of(bytes, unhex(arg + at, bytes)));
	case 'D': return d->host->detach(d->hx, ev->conn, 0);
	case 'S': return d->host->device_save(d->hx, ev->conn, 0, cw_bytes_of(bytes, unhex(arg, bytes)));
	case 'T':
		(void)sscanf(arg, "%llu %llu", &a, &b);
		return d->host->timer(d->hx, ev->conn, a, b);
	case 'A':
		(void)sscanf(arg, "%llu %llu %n", &a, &b, &at);
		return d->host->command_done(d->hx, ev->conn, a, (int32_t)b, cw_bytes_of(bytes, unhex(arg + at, bytes)));
	case 'X':
		(void)sscanf(arg, "%llu %llu", &a, &b);
		return d->host->command_extend(d->hx, ev->conn, a, b);
	case 'P': return attach(d, ev, cw_bytes_of(bytes, unhex(arg, bytes)));
	case 'C':
		(void)sscanf(arg, "%llu", &a);
		return d->host->close(d->hx, ev->conn, a, "the test said so");
	default: return CW_EPROTO;
	}
}

static int probe_decode(struct cw_decoder *d, const struct cw_event *ev, struct cw_bytes frame)
{
	char line[2 * LINE_MOST + 64], text[40];
	uint8_t bytes[LINE_MOST];
	int rc;

	if (frame.len > sizeof(line))
		return CW_EPROTO;
	memcpy(line, frame.ptr, frame.len - 1);
	line[frame.len - 1] = '\0';
	rc = obey(d, ev, line, bytes);
	(void)snprintf(text, sizeof(text), "rc %d", rc);
	say(d, ev->conn, text, cw_bytes_of(NULL, 0));
	return rc == CW_EPROTO ? CW_EPROTO : 0;
}

static int probe_event(struct cw_decoder *d, const struct cw_event *ev)
{
	char text[280] = "";
	struct cw_bytes hex = { NULL, 0 };

	switch (ev->kind) {
	case CW_EV_OPEN: (void)snprintf(text, sizeof(text), "open"); break;
	case CW_EV_IDENTIFIED:
		(void)snprintf(text, sizeof(text), "%s %.*s %.*s %.*s ", (ev->flags & CW_EVF_ATTACHED) ? "identified" : "known",
		               (int)ev->identity.len, (const char *)ev->identity.ptr, (int)ev->product_key.len,
		               (const char *)ev->product_key.ptr, (int)ev->device_name.len, (const char *)ev->device_name.ptr);
		hex = ev->saved;
		break;
	case CW_EV_REFUSED: (void)snprintf(text, sizeof(text), "refused %d", ev->code); break;
	case CW_EV_ONLINE: (void)snprintf(text, sizeof(text), "online"); break;
	case CW_EV_OFFLINE: (void)snprintf(text, sizeof(text), "offline"); break;
	case CW_EV_TIMER: (void)snprintf(text, sizeof(text), "timer %llu", (unsigned long long)ev->timer); break;
	case CW_EV_SETTLED:
		(void)snprintf(text, sizeof(text), "settled %llu %d", (unsigned long long)ev->ticket, ev->code);
		break;
	case CW_EV_COMMAND_CANCELLED: (void)snprintf(text, sizeof(text), "cancelled %llu", (unsigned long long)ev->id); break;
	case CW_EV_DETACHED: (void)snprintf(text, sizeof(text), "detached"); break;
	case CW_EV_REPLY:
		(void)snprintf(text, sizeof(text), "reply %.*s %d ", (int)ev->request.len, (const char *)ev->request.ptr, ev->code);
		hex = ev->data;
		break;
	case CW_EV_BROADCAST:
		(void)snprintf(text, sizeof(text), "broadcast ");
		hex = ev->data;
		break;
	default: return 0;
	}
	say(d, ev->conn, text, hex);
	return 0;
}

static int probe_command(struct cw_decoder *d, const struct cw_event *ev)
{
	char text[60];

	(void)snprintf(text, sizeof(text), "command %llu ", (unsigned long long)ev->id);
	say(d, ev->conn, text, ev->data);
	return 0;
}

static int probe_settings(struct cw_decoder *d, struct cw_bytes settings, char *text, size_t len, void **ret_conf)
{
	int64_t *speed = malloc(sizeof(*speed));

	(void)d;
	(void)text;
	(void)len;
	if (speed == NULL)
		return CW_ENOMEM;
	*speed = cw_map_int(settings, "speed", -1);
	*ret_conf = speed;
	return 0;
}

static void probe_settings_free(struct cw_decoder *d, void *conf)
{
	(void)d;
	free(conf);
}

static const struct cw_decoder_ops probe_ops = {
	CW_DECODER_OPS_INIT, .create = probe_create, .destroy = probe_destroy, .frame = probe_frame, .decode = probe_decode,
	.event = probe_event, .command = probe_command, .settings = probe_settings, .settings_free = probe_settings_free,
};
static const struct cw_conf_field probe_conf[] = {
	{ "speed", CW_FIELD_INT, 0, "7", "0", "100", NULL, "A number, for tests of settings.", NULL },
	{ NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL },
};
static const struct cw_plugin_desc probe_desc = {
	CW_PLUGIN_INIT, .name = "probe", .version = "1.0", .summary = "What the end-to-end tests speak.",
	.caps = CW_CAP_DOWNLINK | CW_CAP_DATAGRAM, .max_frame = 2 * LINE_MOST, .max_outstanding = 4, .dedup_window_s = 60, .conf = probe_conf,
	.decoder = &probe_ops,
};

const struct cw_plugin_desc *cw_plugin_entry(void)
{
	return &probe_desc;
}
