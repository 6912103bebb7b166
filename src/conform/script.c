/* script.c - reading wire scripts; see script.h. One line, one step; what is wrong is said with file, line and what
 * would be right. */
#include "conform/script.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digits.h"
#include "base/mem.h"
#include "causeway/host.h"
#include "json/json.h"

#define FILE_MOST (64u << 20)

struct parse {
	struct cw_wire_script *s;
	struct cw_wire_step *step;
	struct cw_msg *msg;
	unsigned line;
};

static int wrong(struct parse *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int wrong(struct parse *p, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return cw_fail(p->msg, CW_EPROTO, "%s:%u: %s", p->s->path, p->line, text);
}

/* The next word of *rest, NUL-terminated in place; NULL: none is left. */
static char *word(char **rest)
{
	char *at = *rest + strspn(*rest, " \t"), *end = at + strcspn(at, " \t");

	if (*at == '\0')
		return NULL;
	*rest = *end == '\0' ? end : end + 1;
	*end = '\0';
	return at;
}

static char *trimmed(char *text)
{
	size_t n;

	text += strspn(text, " \t");
	n = strlen(text);
	while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t'))
		text[--n] = '\0';
	return text;
}

static int keep_text(char **to, const char *text)
{
	cw_free(*to);
	*to = cw_strdup(text);
	return *to == NULL ? CW_ENOMEM : 0;
}

/* ---- bytes ----------------------------------------------------------------------------- */

static int add_byte(struct cw_wire_step *s, unsigned value, unsigned mask)
{
	s->ptr[s->len] = (uint8_t)value;
	s->mask[s->len++] = (uint8_t)mask;
	return 0;
}

static int add_quoted(struct parse *p, char **at)
{
	const char *c = *at + 1;
	int high, low;

	for (; *c != '"'; c++) {
		if (*c == '\0')
			return wrong(p, "a text without its closing quote");
		if (*c != '\\') {
			(void)add_byte(p->step, (uint8_t)*c, 0xff);
			continue;
		}
		switch (*++c) {
		case 'n': (void)add_byte(p->step, '\n', 0xff); break;
		case 'r': (void)add_byte(p->step, '\r', 0xff); break;
		case 't': (void)add_byte(p->step, '\t', 0xff); break;
		case '0': (void)add_byte(p->step, 0, 0xff); break;
		case '"':
		case '\\': (void)add_byte(p->step, (uint8_t)*c, 0xff); break;
		case 'x':
			high = c[1] == '\0' ? -1 : cw_hex_value(c[1]);
			low = high < 0 ? -1 : cw_hex_value(c[2]);
			if (low < 0)
				return wrong(p, "\\x wants two hexadecimal digits");
			(void)add_byte(p->step, (unsigned)(high << 4 | low), 0xff);
			c += 2;
			break;
		default:
			return wrong(p, "in a text there are \\n \\r \\t \\0 \\\" \\\\ and \\xHH, not \\%c",
				     *c == '\0' ? ' ' : *c);
		}
	}
	*at += (c - *at) + 1;
	return 0;
}

/* Hex digits, texts in quotes; with `holes`: ? for half a byte that may be anything, * for any number of bytes. */
static int parse_bytes(struct parse *p, char *at, int holes)
{
	struct cw_wire_step *s = p->step;
	int rc, high, low;

	s->ptr = cw_alloc(strlen(at) + 1);
	s->mask = cw_alloc(strlen(at) + 1);
	if (s->ptr == NULL || s->mask == NULL)
		return CW_ENOMEM;
	while (*(at += strspn(at, " \t")) != '\0' && *at != '#') {
		if (*at == '"') {
			rc = add_quoted(p, &at);
			if (rc < 0)
				return rc;
			continue;
		}
		if (*at == '*' && holes) {
			(void)add_byte(s, 0, CW_WIRE_STAR);
			at++;
			continue;
		}
		high = cw_hex_value(at[0]);
		low = at[1] == '\0' ? -1 : cw_hex_value(at[1]);
		if ((high < 0 && !(holes && at[0] == '?')) || (low < 0 && !(holes && at[1] == '?')))
			return wrong(p, "'%.12s' is neither two hexadecimal digits nor a text in quotes%s", at,
				     holes ? " nor ?? (any byte) nor * (any number of bytes)" : "");
		(void)add_byte(s, (unsigned)((high < 0 ? 0 : high << 4) | (low < 0 ? 0 : low)),
			       (high < 0 ? 0 : 0xf0u) | (low < 0 ? 0 : 0x0fu));
		at += 2;
	}
	if (!holes) {
		cw_free(s->mask);
		s->mask = NULL;
	}
	return s->len == 0 && !holes ? wrong(p, "there are no bytes") : 0;
}

static int parse_json(struct parse *p, const char *text)
{
	int rc = cw_json_to_item(cw_bytes_text(text), &p->step->body, &p->step->body_len);

	return rc == CW_EPROTO || rc == CW_ELIMIT ? wrong(p, "'%.60s' is no JSON", text) : rc;
}

static int parse_number(struct parse *p, const char *text, const char *what, unsigned *ret)
{
	char *end;
	unsigned long v = text == NULL ? 0 : strtoul(text, &end, 10);

	if (text == NULL || *end != '\0' || v > INT32_MAX)
		return wrong(p, "%s must be a number", what);
	*ret = (unsigned)v;
	return 0;
}

static int parse_time(struct parse *p, const char *text, uint64_t *ret)
{
	static const struct {
		const char *unit;
		uint64_t ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 } };
	char *end = NULL;
	unsigned long long v = text == NULL ? 0 : strtoull(text, &end, 10);
	size_t i;

	for (i = 0; text != NULL && end != text && i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].unit) == 0 && v < 1000000) {
			*ret = v * units[i].ms;
			return 0;
		}
	}
	return wrong(p, "a time looks like 500ms, 5s, 2m, 1h or 1d");
}

/* ---- lines ------------------------------------------------------------------------------- */

static int line_data(struct parse *p, char *rest)
{
	return parse_bytes(p, rest, 0);
}

static int line_sent(struct parse *p, char *rest)
{
	return parse_bytes(p, rest, 1);
}

static int line_bare(struct parse *p, char *rest)
{
	rest = trimmed(rest);
	return rest[0] != '\0' && rest[0] != '#' ? wrong(p, "nothing may follow, but there is '%.40s'", rest) : 0;
}

static int line_identify(struct parse *p, char *rest)
{
	static const struct {
		const char *word;
		unsigned number;
	} outcomes[] = {
		{ "known", CW_WIRE_KNOWN },          { "waiting", CW_WIRE_WAITING },
		{ "members", CW_WIRE_MEMBERS },      { "refused", CW_REFUSED_UNKNOWN },
		{ "unknown", CW_REFUSED_UNKNOWN },   { "invalid", CW_REFUSED_INVALID },
		{ "older", CW_REFUSED_OLDER },       { "later", CW_REFUSED_LATER },
		{ "platform", CW_REFUSED_PLATFORM }, { "kept", CW_REFUSED_KEPT },
	};
	char *who = word(&rest), *how = who == NULL ? NULL : word(&rest);
	size_t i;

	if (who == NULL)
		return wrong(p, "say whom: identify ID [known|waiting|members "
				"ID...|refused|invalid|older|later|platform|kept]");
	if (keep_text(&p->step->who, who) < 0 || keep_text(&p->step->name, trimmed(rest)) < 0)
		return CW_ENOMEM;
	for (i = 0; how != NULL && i < sizeof(outcomes) / sizeof(outcomes[0]); i++) {
		if (strcmp(how, outcomes[i].word) == 0) {
			p->step->number = outcomes[i].number;
			return 0;
		}
	}
	p->step->number = CW_WIRE_KNOWN;
	return how == NULL ? 0
			   : wrong(p,
				   "an identity is known, waiting, members, refused, invalid, older, later, platform "
				   "or kept, not '%.30s'",
				   how);
}

static int line_settle(struct parse *p, char *rest)
{
	static const char *const ends[] = { "done", "pending", "refused", "lost" };
	char *how = word(&rest);
	unsigned i;

	for (i = 0; how != NULL && i < 4; i++) {
		if (strcmp(how, ends[i]) == 0) {
			p->step->number = i;
			return 0;
		}
	}
	return wrong(p, "a ticket settles as done, pending, refused or lost");
}

/* KIND NAME {json}, or bytes for kinds that carry them. NAME - is none; it may be left out. */
static int kind_name_body(struct parse *p, char *rest, unsigned least, unsigned most)
{
	struct cw_wire_step *s = p->step;
	char *kind = word(&rest), *name;

	s->number = kind == NULL ? 0 : cw_wire_kind_number(kind);
	if (s->number < least || s->number > most)
		return wrong(p, least < CW_KIND_PROPERTY_SET
					? "the kind of a record is properties, event, tags, raw, otaVersion, "
					  "otaProgress or shadowReport"
					: "the kind of a command is set, get, service, rawDown, rrpc, ota, config, "
					  "shadow, time, enable, disable or delete");
	rest += strspn(rest, " \t");
	if (*rest != '\0' && *rest != '{' && *rest != '"') {
		name = word(&rest);
		if (strcmp(name, "-") != 0 && keep_text(&s->name, name) < 0)
			return CW_ENOMEM;
	}
	rest = trimmed(rest);
	if (s->number == CW_KIND_RAW)
		return parse_bytes(p, rest, 1);
	if (s->number == CW_KIND_RAW_DOWN || s->number == CW_KIND_RRPC)
		return *rest == '{' ? parse_json(p, rest) : parse_bytes(p, rest, 0);
	return *rest == '\0' ? 0 : parse_json(p, rest);
}

static int line_record(struct parse *p, char *rest)
{
	return kind_name_body(p, rest, CW_KIND_PROPERTIES, CW_KIND_SHADOW_REPORT);
}

static int line_command(struct parse *p, char *rest)
{
	return kind_name_body(p, rest, CW_KIND_PROPERTY_SET, CW_KIND_BROADCAST);
}

static int line_done(struct parse *p, char *rest)
{
	int rc = parse_number(p, word(&rest), "the code of a command's end", &p->step->number);

	rest = trimmed(rest);
	if (rc < 0 || *rest == '\0')
		return rc;
	return *rest == '{' ? parse_json(p, rest) : parse_bytes(p, rest, 1);
}

static int line_wait(struct parse *p, char *rest)
{
	return parse_time(p, word(&rest), &p->step->ms);
}

static int line_who(struct parse *p, char *rest)
{
	char *who = word(&rest);

	return who == NULL ? wrong(p, "say which identity") : keep_text(&p->step->who, who);
}

static int line_text(struct parse *p, char *rest)
{
	rest = trimmed(rest);
	return rest[0] == '\0' ? 0 : keep_text(&p->step->name, rest);
}

static int line_skipped(struct parse *p, char *rest)
{
	return parse_number(p, word(&rest), "the bytes passed over", &p->step->number);
}

static int line_block(struct parse *p, char *rest)
{
	char *offset = word(&rest), *length = word(&rest), *end;
	int rc = parse_number(p, length, "block OFFSET LENGTH BYTES: the length", &p->step->number);

	if (rc < 0)
		return rc;
	p->step->offset = strtoull(offset, &end, 10);
	if (*end != '\0')
		return wrong(p, "the offset of a block must be a number");
	rest = trimmed(rest);
	return strcmp(rest, "fails") == 0 ? 0 : parse_bytes(p, rest, 0);
}

static int line_reply(struct parse *p, char *rest)
{
	char *request = word(&rest);
	int rc;

	if (request == NULL)
		return wrong(p, "reply REQUEST CODE {json}");
	if (keep_text(&p->step->name, request) < 0)
		return CW_ENOMEM;
	rc = parse_number(p, word(&rest), "the code of a reply", &p->step->number);
	rest = trimmed(rest);
	return rc < 0 || *rest == '\0' ? rc : parse_json(p, rest);
}

static int line_named_bytes(struct parse *p, char *rest)
{
	char *name = word(&rest);

	if (name == NULL)
		return wrong(p, "a name and bytes must follow");
	return keep_text(&p->step->name, name) < 0 ? CW_ENOMEM : parse_bytes(p, rest, 0);
}

/* ---- what is no step ------------------------------------------------------------------------- */

static int line_settings(struct parse *p, char *rest)
{
	size_t have = strlen(p->s->settings), n;
	char *grown, *end;

	rest = trimmed(rest);
	n = strlen(rest);
	end = n == 0 ? rest : rest + n - 1;
	if (*rest != '{' || *end != '}')
		return wrong(p, "settings { name = value, .. }, with both braces");
	grown = cw_realloc(p->s->settings, have + n + 2);
	if (grown == NULL)
		return CW_ENOMEM;
	p->s->settings = grown;
	memcpy(grown + have, rest + 1, n - 2);
	memcpy(grown + have + n - 2, "\n", 2);
	return 0;
}

static int line_transport(struct parse *p, char *rest)
{
	static const struct {
		const char *word;
		uint32_t flags;
	} ways[] = {
		{ "tcp", 0 },
		{ "udp", CW_EVF_DATAGRAM },
		{ "serial", CW_EVF_SERIAL | CW_EVF_DIALLED },
		{ "dialled", CW_EVF_DIALLED },
		{ "kept", CW_EVF_KEPT },
		{ "resumed", CW_EVF_RESUMED },
	};
	char *how;
	size_t i;

	while ((how = word(&rest)) != NULL && *how != '#') {
		for (i = 0; i < sizeof(ways) / sizeof(ways[0]) && strcmp(ways[i].word, how) != 0; i++)
			;
		if (i == sizeof(ways) / sizeof(ways[0]))
			return wrong(p, "a connection is tcp, udp, serial, dialled, kept or resumed, not '%.30s'", how);
		p->s->flags |= ways[i].flags;
	}
	return 0;
}

static int line_bound(struct parse *p, char *rest)
{
	char *who = word(&rest);

	return who == NULL ? wrong(p, "say which identity") : keep_text(&p->s->bound, who);
}

/* ---- the table ---------------------------------------------------------------------------------- */

static const struct {
	const char *word;
	int kind; /* enum cw_wire_kind; -1: no step */
	char sample;
	int (*parse)(struct parse *p, char *rest);
} lines[] = {
	{ ">", CW_WIRE_DATA, 0, line_data },
	{ "<", CW_WIRE_SENT, 0, line_sent },
	{ "open", CW_WIRE_OPEN, 0, line_bare },
	{ "identify", CW_WIRE_IDENTIFY, 0, line_identify },
	{ "settle", CW_WIRE_SETTLE, 0, line_settle },
	{ "record", CW_WIRE_RECORD, 0, line_record },
	{ "command", CW_WIRE_COMMAND, 0, line_command },
	{ "done", CW_WIRE_DONE, 0, line_done },
	{ "cancel", CW_WIRE_CANCEL, 0, line_bare },
	{ "wait", CW_WIRE_WAIT, 0, line_wait },
	{ "close", CW_WIRE_CLOSE, 0, line_bare },
	{ "closed", CW_WIRE_CLOSED, 0, line_bare },
	{ "online", CW_WIRE_ONLINE, 0, line_bare },
	{ "offline", CW_WIRE_OFFLINE, 0, line_bare },
	{ "detach", CW_WIRE_DETACH, 0, line_bare },
	{ "left", CW_WIRE_LEFT, 0, line_bare },
	{ "added", CW_WIRE_ADDED, 0, line_who },
	{ "refused", CW_WIRE_REFUSED, 0, line_text },
	{ "skipped", CW_WIRE_SKIPPED, 0, line_skipped },
	{ "block", CW_WIRE_BLOCK, 0, line_block },
	{ "reply", CW_WIRE_REPLY, 0, line_reply },
	{ "broadcast", CW_WIRE_BROADCAST, 0, line_named_bytes },
	{ "any", CW_WIRE_ANY, 0, line_bare },
	{ "settings", -1, 0, line_settings },
	{ "transport", -1, 0, line_transport },
	{ "bound", -1, 0, line_bound },
	{ "frame", CW_WIRE_SAMPLE, 'f', line_named_bytes },
	{ "refuse", CW_WIRE_SAMPLE, 'r', line_named_bytes },
	{ "bytes", CW_WIRE_SAMPLE, 'b', line_named_bytes },
	{ "whole", CW_WIRE_SAMPLE, 'w', line_named_bytes },
	{ "noise", CW_WIRE_SAMPLE, 'n', line_named_bytes },
	/* files of frames alone say it in a letter */
	{ "f", CW_WIRE_SAMPLE, 'f', line_named_bytes },
	{ "r", CW_WIRE_SAMPLE, 'r', line_named_bytes },
	{ "b", CW_WIRE_SAMPLE, 'b', line_named_bytes },
	{ "w", CW_WIRE_SAMPLE, 'w', line_named_bytes },
	{ "n", CW_WIRE_SAMPLE, 'n', line_named_bytes },
	{ "s", CW_WIRE_DATA, 0, line_named_bytes },
	{ "c", CW_WIRE_COMMAND, 0, line_command },
	{ "o", -1, 0, line_settings },
};
#define LINES (sizeof(lines) / sizeof(lines[0]))

static struct cw_wire_step *new_step(struct cw_wire_script *s)
{
	struct cw_wire_step *grown;

	if ((s->n & (s->n + 1)) == 0) { /* 0, 1, 3, 7, ..: the room doubles */
		grown = cw_realloc(s->v, (2 * s->n + 1) * sizeof(*grown));
		if (grown == NULL)
			return NULL;
		s->v = grown;
	}
	memset(&s->v[s->n], 0, sizeof(*s->v));
	return &s->v[s->n++];
}

static int parse_line(struct parse *p, char *line, const char *source)
{
	struct cw_wire_step none;
	char *verb, *rest = line;
	size_t i;

	verb = word(&rest);
	if (verb == NULL || verb[0] == '#')
		return 0;
	for (i = 0; i < LINES && strcmp(lines[i].word, verb) != 0; i++)
		;
	if (i == LINES)
		return wrong(p,
			     "'%.40s' begins no line of a wire script; > < identify record settle command done wait "
			     "close .. do",
			     verb);
	memset(&none, 0, sizeof(none));
	p->step = &none;
	if (lines[i].kind >= 0) {
		p->step = new_step(p->s);
		if (p->step == NULL)
			return CW_ENOMEM;
		p->step->kind = (enum cw_wire_kind)lines[i].kind;
		p->step->sample = lines[i].sample;
		p->step->line = p->line;
		p->step->text = source + strspn(source, " \t");
		p->step->text_len = strcspn(p->step->text, "\r\n");
	}
	rest += strspn(rest, " \t");
	if (*rest == '@' && lines[i].kind >= 0 && keep_text(&p->step->who, word(&rest) + 1) < 0)
		return CW_ENOMEM;
	return lines[i].parse(p, rest);
}

static int parse_lines(struct parse *p)
{
	const char *at = p->s->source;
	char *copy;
	size_t n;
	int rc = 0;

	while (*at != '\0' && rc == 0) {
		n = strcspn(at, "\n");
		p->line++;
		copy = cw_strndup(at, n > 0 && at[n - 1] == '\r' ? n - 1 : n);
		rc = copy == NULL ? CW_ENOMEM : parse_line(p, copy, at);
		cw_free(copy);
		at += n + (at[n] == '\n');
	}
	return rc == CW_ENOMEM ? cw_fail(p->msg, rc, "out of memory") : rc;
}

int cw_wire_parse(const char *name, const char *text, struct cw_wire_script *s, struct cw_msg *msg)
{
	struct parse p = { .s = s, .msg = msg };
	size_t n = strlen(name);
	int rc;

	memset(s, 0, sizeof(*s));
	s->strict = !(n > 4 && strcmp(name + n - 4, ".txt") == 0);
	s->path = cw_strdup(name);
	s->source = cw_strdup(text);
	s->settings = cw_strdup("");
	if (s->path == NULL || s->source == NULL || s->settings == NULL)
		rc = cw_fail(msg, CW_ENOMEM, "out of memory");
	else
		rc = parse_lines(&p);
	if (rc < 0)
		cw_wire_free(s);
	return rc;
}

int cw_wire_read(const char *path, struct cw_wire_script *s, struct cw_msg *msg)
{
	FILE *f = fopen(path, "re");
	char *text = cw_alloc(1);
	size_t len = 0, n;
	int rc, unread = f == NULL;

	while (f != NULL && text != NULL && len < FILE_MOST) {
		char *grown = cw_realloc(text, len + 65537);

		if (grown == NULL)
			break;
		text = grown;
		n = fread(text + len, 1, 65536, f);
		len += n;
		if (n == 0)
			break;
	}
	if (f != NULL)
		unread = ferror(f) != 0; /* a directory can be opened */
	if (unread || text == NULL) {
		rc = cw_fail(msg, CW_ENOENT, "%s: cannot be read", path);
	} else if (memchr(text, '\0', len) != NULL) {
		rc = cw_fail(msg, CW_EPROTO, "%s: is no text; a wire script has bytes in hex or in quotes", path);
	} else {
		text[len] = '\0';
		rc = cw_wire_parse(path, text, s, msg);
	}
	if (f != NULL)
		fclose(f);
	cw_free(text);
	return rc;
}

void cw_wire_free(struct cw_wire_script *s)
{
	size_t i;

	for (i = 0; i < s->n; i++) {
		cw_free(s->v[i].who);
		cw_free(s->v[i].name);
		cw_free(s->v[i].ptr);
		cw_free(s->v[i].mask);
		cw_free(s->v[i].body);
	}
	cw_free(s->v);
	cw_free(s->path);
	cw_free(s->source);
	cw_free(s->settings);
	cw_free(s->bound);
	memset(s, 0, sizeof(*s));
}
