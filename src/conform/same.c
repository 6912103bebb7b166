/*
 * same.c - see suite.h. A decoder in a plugin host says what it says in-process: every session twice, and what was said
 * compared, thing by thing in its order (toy_same() says what of that several frames in one read are let off).
 */
#include <stdlib.h>
#include <string.h>

#include "conform/suite.h"

enum feeding { WHOLE, BYTES, NOISY };

/* How the owner behaves. */
struct manner {
	const char *text;
	enum feeding feeding;
	int refuse, settle_with;
	size_t cap;
	unsigned members;
};

static const struct manner manners[] = {
	{ "read by read", WHOLE, 0, 0, 0, 0 },
	{ "byte by byte", BYTES, 0, 0, 0, 0 },
	{ "with noise before each read", NOISY, 0, 0, 0, 0 },
	{ "identities: CW_REFUSED_UNKNOWN", WHOLE, CW_REFUSED_UNKNOWN, 0, 0, 0 },
	{ "identities: CW_REFUSED_INVALID", WHOLE, CW_REFUSED_INVALID, 0, 0, 0 },
	{ "identities: CW_REFUSED_OLDER", WHOLE, CW_REFUSED_OLDER, 0, 0, 0 },
	{ "identities: CW_REFUSED_LATER", WHOLE, CW_REFUSED_LATER, 0, 0, 0 },
	{ "identities: CW_REFUSED_PLATFORM", WHOLE, CW_REFUSED_PLATFORM, 0, 0, 0 },
	{ "identities: CW_REFUSED_KEPT", WHOLE, CW_REFUSED_KEPT, 0, 0, 0 },
	{ "identities: some known, some refused", BYTES, -1, 0, 0, 0 },
	{ "three members", WHOLE, 0, 0, 0, 3 },
	{ "tickets settle as pending", BYTES, 0, CW_SETTLED_PENDING, 0, 0 },
	{ "tickets settle as refused", BYTES, 0, CW_SETTLED_REFUSED, 0, 0 },
	{ "tickets settle as lost", BYTES, 0, CW_SETTLED_LOST, 0, 0 },
	{ "tickets settle in turn", BYTES, 0, -1, 0, 0 },
	{ "with 1 byte it may charge", WHOLE, 0, 0, 1, 0 },
	{ "with 1000 bytes it may charge", WHOLE, 0, 0, 1000, 0 },
	{ "with 20000 bytes it may charge", WHOLE, 0, 0, 20000, 0 },
};

/* The first `noise` of the files of this session; NULL: it has none. */
static const struct entry *noise_of(const struct session *of)
{
	size_t i;

	for (i = 0; i < suite.entry_count; i++)
		if (suite.entries[i].kind == 'n' && suite.entries[i].of == of)
			return &suite.entries[i];
	return NULL;
}

static void data(struct toy *t, const struct cw_wire_step *s, enum feeding feeding)
{
	const struct entry *noise = noise_of(t->session);
	size_t i;

	if (t->closing || t->conn == NULL || feeding == WHOLE || (t->session->flags & CW_EVF_DATAGRAM) != 0) {
		toy_step(t, s);
	} else if (feeding == BYTES) {
		for (i = 0; i < s->len; i++)
			toy_feed(t, s->ptr + i, 1);
	} else {
		if (noise != NULL)
			toy_feed(t, noise->ptr, noise->len);
		toy_step(t, s);
	}
}

static void one(struct toy *t, const struct session *of, const struct manner *how)
{
	size_t i;

	toy_renew(t, of, 0);
	t->refuse = how->refuse;
	t->settle_with = how->settle_with;
	t->members = how->members;
	t->cap = how->cap == 0 ? (size_t)64 << 20 : how->cap;
	(void)toy_open(t);
	for (i = 0; i < of->n; i++) {
		if (of->v[i]->kind == CW_WIRE_DATA)
			data(t, of->v[i], how->feeding);
		else if (of->v[i]->kind != CW_WIRE_COMMAND || (t->conn != NULL && toy_device(t, of->v[i]->who) != NULL))
			toy_step(t, of->v[i]);
	}
	if (how->refuse == 0)
		toy_fire_timers(t);
	toy_close(t, 1);
}

void rule_same(struct toy *a, struct toy *b)
{
	char how[700];
	size_t s, k, n = 0, loosely = 0;

	for (s = 0; s < suite.session_count; s++) {
		const struct session *of = &suite.sessions[s];

		for (k = 0; k < sizeof(manners) / sizeof(manners[0]); k++) {
			if ((manners[k].feeding == NOISY && noise_of(of) == NULL) ||
			    (manners[k].members > 0 && (suite.real->caps & CW_CAP_MULTI_DEVICE) == 0))
				continue;
			doing("the session of %s, %s", of->name, manners[k].text);
			one(a, of, &manners[k]);
			one(b, of, &manners[k]);
			n++;
			loosely += a->many || b->many;
			if (toy_same(a, b))
				continue;
			toy_difference(a, b, how, sizeof(how));
			fault("other than in-process (\"in one piece\"): %s", how);
		}
	}
	remark("%zu sessions compared, %zu of them kind by kind", n, loosely);
}
