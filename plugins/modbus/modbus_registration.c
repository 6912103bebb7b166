/* modbus_registration.c - registration packets and heartbeats: neither has a delimiter or a checksum. */
#include "modbus_line.h"

size_t mb_hex_text(struct cw_bytes b, char *out, size_t size)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t i;

	for (i = 0; i < b.len && i * 2 + 2 < size; i++) {
		out[i * 2] = hex[b.ptr[i] >> 4];
		out[i * 2 + 1] = hex[b.ptr[i] & 15];
	}
	out[i * 2] = 0;
	return i * 2;
}

static int begins(struct cw_bytes in, struct cw_bytes what)
{
	return in.len >= what.len && memcmp(in.ptr, what.ptr, what.len) == 0;
}

size_t mb_heartbeat(const struct mb_channel *ch, struct cw_bytes in, unsigned *ret_which, int *ret_part)
{
	size_t longest = 0;
	unsigned i;

	*ret_part = 0;
	for (i = 0; i < ch->heartbeat_count; i++) {
		struct cw_bytes b = ch->heartbeats[i].bytes;

		if (begins(in, b) && b.len > longest) {
			longest = b.len;
			*ret_which = i;
		} else if (in.len < b.len && memcmp(in.ptr, b.ptr, in.len) == 0) {
			*ret_part = 1;
		}
	}
	return longest;
}

/* The longest known packet at the front; while it may still become a longer one, wait. */
static int accepted(const struct mb_reg_rule *r, struct cw_bytes in, int final, struct mb_scan *s)
{
	size_t longest = 0;
	int part = 0;
	unsigned i;

	for (i = 0; i < r->accept_count; i++) {
		if (begins(in, r->accept[i]) && r->accept[i].len > longest)
			longest = r->accept[i].len;
		else if (in.len < r->accept[i].len && memcmp(in.ptr, r->accept[i].ptr, in.len) == 0)
			part = 1;
	}
	if (part && !final)
		return 0;
	s->length = longest;
	return longest > 0 ? 1 : -1;
}

static int until(const struct mb_reg_rule *r, struct cw_bytes in, struct mb_scan *s)
{
	size_t i;

	for (i = 0; i + r->until.len <= in.len && i + r->until.len <= MB_REG_MAX; i++) {
		if (memcmp(in.ptr + i, r->until.ptr, r->until.len) == 0) {
			s->length = i + r->until.len;
			return i > 0 ? 1 : -1;
		}
	}
	return in.len >= MB_REG_MAX ? -1 : 0;
}

/* `length` bytes that begin with the prefix. */
static int fixed(const struct mb_reg_rule *r, struct cw_bytes in, int final, struct mb_scan *s)
{
	if (in.len < r->length) {
		s->need = r->length;
		return final ? -1 : 0;
	}
	if (!begins(in, r->prefix))
		return -1;
	s->length = r->length;
	return 1;
}

int mb_registration(const struct mb_reg_rule *r, struct cw_bytes in, int final, struct mb_scan *s)
{
	char name[CW_IDENTITY_MAX + 1];

	s->what = MB_REGISTER;
	if (r->length > 0)
		return fixed(r, in, final, s);
	if (r->accept_count > 0)
		return accepted(r, in, final, s);
	if (r->until.len > 0)
		return until(r, in, s);
	if (in.len > MB_REG_MAX)
		return -1;
	if (!final) { /* everything until it is quiet */
		s->wait_ms = r->quiet_ms;
		return 0;
	}
	s->length = in.len;
	return mb_registration_name(r, in, name, sizeof(name)) > 0 ? 1 : -1;
}

/* The part of `text` that the pattern says; 0 when it does not match. */
static int matched(const struct mb_reg_rule *r, const char *text, size_t *from, size_t *to)
{
	regmatch_t m[10];

	if (regexec(&r->pattern, text, 10, m, 0) != 0)
		return 0;
	if (r->group < 10 && r->group <= r->pattern.re_nsub && m[r->group].rm_so >= 0 && m[r->group].rm_eo > m[r->group].rm_so) {
		*from = (size_t)m[r->group].rm_so;
		*to = (size_t)m[r->group].rm_eo;
	} else {
		*from = (size_t)m[0].rm_so;
		*to = (size_t)m[0].rm_eo;
	}
	return *to > *from;
}

size_t mb_registration_name(const struct mb_reg_rule *r, struct cw_bytes packet, char *out, size_t size)
{
	char text[MB_REG_MAX * 2 + 1];
	size_t i, from = 0, to;

	if (packet.len > MB_REG_MAX)
		return 0;
	if (r->strip && r->prefix.len > 0 && r->prefix.len < packet.len && begins(packet, r->prefix))
		packet = cw_bytes_of(packet.ptr + r->prefix.len, packet.len - r->prefix.len);
	if (r->until.len > 0 && packet.len > r->until.len && r->strip &&
	    memcmp(packet.ptr + packet.len - r->until.len, r->until.ptr, r->until.len) == 0)
		packet.len -= r->until.len;
	if (r->hex) {
		to = mb_hex_text(packet, text, sizeof(text));
	} else {
		memcpy(text, packet.ptr, packet.len);
		to = packet.len;
		text[to] = 0;
	}
	if (r->has_pattern && (memchr(text, 0, to) != NULL || !matched(r, text, &from, &to)))
		return 0;
	for (i = from; i < to; i++)
		if ((uint8_t)text[i] < 0x20 || (uint8_t)text[i] >= 0x7f || text[i] == '/')
			return 0; /* no identity: a control character, or what separates the unit */
	if (to - from >= size || to == from)
		return 0;
	memcpy(out, text + from, to - from);
	out[to - from] = 0;
	return to - from;
}
