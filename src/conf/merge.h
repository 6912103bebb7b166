/*
 * merge.h - inside of module conf: values of one key coming together.
 *
 * conf_merge() is what happens when a key is given twice, conf_concat() when
 * values stand side by side. Where the outcome depends on a substitution both
 * keep the parts, to be put together when it is resolved.
 */
#ifndef CW_CONF_MERGE_H
#define CW_CONF_MERGE_H

#include "conf/tree.h"

/* `newer` over `older`. NULL after an error. */
struct cw_value *conf_merge(struct conf_build *b, struct cw_value *newer, struct cw_value *older);
/* Give a key a value in an object, merging with what is there. */
int conf_put(struct conf_build *b, struct cw_value *object, const struct conf_key *key, struct cw_value *value);
/* Join values, in place. NULL with b->rc 0 when there is nothing. `where` is for messages; NULL: the first piece. */
struct cw_value *conf_concat(struct conf_build *b, struct cw_value **pieces, size_t count, const struct cw_value *where);
/* Does the value hide whatever older values its key had? */
bool conf_is_final(const struct cw_value *v);
/* An object with numeric keys as a list; NULL with b->rc 0 when it has none. */
struct cw_value *conf_object_to_list(struct conf_build *b, const struct cw_value *object);
/* Put a path in front of every substitution in v, which came from an include at that path. */
int conf_relativize(struct conf_build *b, struct cw_value *v, const struct conf_path *prefix, unsigned prefix_len);

#endif
