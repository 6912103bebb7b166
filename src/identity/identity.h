/*
 * identity.h - originalIdentity to device certificate and back, from devices.conf.
 *
 * A set of identities is immutable once loaded: reading needs no lock, a reload makes
 * another set on a thread of its own and swaps it in by mail. About 150 bytes an entry.
 */
#ifndef CW_IDENTITY_IDENTITY_H
#define CW_IDENTITY_IDENTITY_H

#include "base/err.h"
#include "base/map.h"
#include "causeway/bytes.h"

struct cw_identity {
	struct cw_map_node by_identity;
	struct cw_map_node by_name; /* key: product key, NUL, device name */
	struct cw_identity *twin;   /* another identity with the same certificate */
	const char *identity, *product_key, *device_name, *device_secret;
	struct cw_bytes settings;   /* HOCON text rendered as JSON of the entry's settings {}, may be empty */
	char text[];
};

struct cw_identities {
	struct cw_map by_identity, by_name;
	size_t count, skipped;
	const struct cw_identity **ordered; /* by identity; made when first asked for, NULL before. 8 bytes an entry */
	size_t ordered_count;
	char open_secret[300]; /* a file named by an entry that everybody may read; empty: none */
};

/* Called for each entry that is skipped, with where and why. */
typedef void (*cw_identity_skip_fn)(void *arg, const char *sentence);

/*
 * Load a devices.conf. An entry that lacks a key is skipped and reported; a file that cannot be read or parsed is
 * CW_ECONF with a sentence. Any thread.
 */
int cw_identities_load(const char *path, cw_identity_skip_fn skip, void *arg, struct cw_identities **ret_set, struct cw_msg *msg);
/* An empty set. */
int cw_identities_new(struct cw_identities **ret_set);
/* Add one; texts are copied. CW_EEXIST when the identity is there. */
int cw_identities_add(struct cw_identities *set, const char *identity, const char *product_key, const char *device_name,
                      const char *device_secret, struct cw_bytes settings);
/* One entry that is in no set; texts are copied. NULL without memory. Freeing wipes it; accepts NULL. */
struct cw_identity *cw_identity_new(const char *identity, const char *product_key, const char *device_name, const char *device_secret,
                                    struct cw_bytes settings);
void cw_identity_free(struct cw_identity *id);
void cw_identities_free(struct cw_identities *set);
const struct cw_identity *cw_identities_find(const struct cw_identities *set, const char *identity, size_t len);
const struct cw_identity *cw_identities_find_name(const struct cw_identities *set, const char *product_key, const char *device_name);
/*
 * Those whose identity begins with `prefix`, in order: *ret_count of them, lent. The first question after a change
 * sorts all (0.1 s for 200,000), each further one is a binary search. CW_ENOMEM.
 */
int cw_identities_with(struct cw_identities *set, const char *prefix, size_t len,
		       const struct cw_identity *const **ret_first, size_t *ret_count);
/* Sort now, where nobody waits for it. Without memory it is done when asked. */
void cw_identities_order(struct cw_identities *set);
/* What is wrong with such an entry, as a sentence; NULL: nothing. A part that is NULL or empty is missing. */
const char *cw_identity_wrong(const char *identity, const char *product_key, const char *device_name, const char *device_secret);
/* 1 when both mean the same certificate and settings. */
int cw_identity_same(const struct cw_identity *a, const struct cw_identity *b);

#endif
