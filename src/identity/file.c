/* file.c - see file.h. */
#include "identity/file.h"

#include <string.h>

#include "base/mem.h"

struct cw_file_source {
	struct cw_resolver *resolver;
	struct cw_identities *set;
};

static void ask(void *source, const struct cw_claim *claim, uint64_t token)
{
	struct cw_file_source *s = source;
	const struct cw_identity *id = cw_identities_find(s->set, claim->identity, claim->identity_len);

	cw_resolver_answer(s->resolver, token, id == NULL ? CW_ENOENT : CW_OK, id);
}

static void list(void *source, const char *prefix, size_t len, size_t most, uint64_t token)
{
	struct cw_file_source *s = source;
	const struct cw_identity *const *first = NULL;
	struct cw_names names = { 0 };
	size_t n = 0, i;
	int rc = cw_identities_with(s->set, prefix, len, &first, &n);

	for (i = 0; rc == 0 && i < n && i < most; i++)
		rc = cw_names_add(&names, first[i]->identity, strlen(first[i]->identity));
	names.more = n > most;
	cw_resolver_listed(s->resolver, token, rc, &names);
	cw_names_fini(&names);
}

static const struct cw_identity *find_name(void *source, const char *product_key, const char *device_name)
{
	return cw_identities_find_name(((struct cw_file_source *)source)->set, product_key, device_name);
}

static size_t count(void *source)
{
	return ((struct cw_file_source *)source)->set->count;
}

static void free_source(void *source)
{
	struct cw_file_source *s = source;

	cw_identities_free(s->set);
	cw_free(s);
}

const struct cw_source_ops cw_file_source_ops = {
	.name = "devices", .ask = ask, .list = list, .find_name = find_name, .count = count, .free = free_source
};

int cw_file_source_new(struct cw_resolver *r, struct cw_file_source **ret_source)
{
	struct cw_file_source *s = cw_zalloc(sizeof(*s));
	int rc;

	if (s == NULL)
		return CW_ENOMEM;
	s->resolver = r;
	rc = cw_identities_new(&s->set);
	if (rc < 0) {
		cw_free(s);
		return rc;
	}
	*ret_source = s;
	return 0;
}

const struct cw_identities *cw_file_source_set(const struct cw_file_source *s)
{
	return s->set;
}

struct cw_identities *cw_file_source_swap(struct cw_file_source *s, struct cw_identities *fresh)
{
	struct cw_identities *old = s->set;

	s->set = fresh;
	return old;
}
