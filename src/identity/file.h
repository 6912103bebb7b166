/*
 * file.h - the source `devices`: the entries of devices.conf, in memory, swapped whole.
 * On the control loop; the set itself may be made on any thread.
 */
#ifndef CW_IDENTITY_FILE_H
#define CW_IDENTITY_FILE_H

#include "identity/resolver.h"

struct cw_file_source;

extern const struct cw_source_ops cw_file_source_ops;

/* With an empty set. */
int cw_file_source_new(struct cw_resolver *r, struct cw_file_source **ret_source);
const struct cw_identities *cw_file_source_set(const struct cw_file_source *s);
/* Takes the new set, gives the old one back to the caller, who frees it when nothing lent of it is in use. */
struct cw_identities *cw_file_source_swap(struct cw_file_source *s, struct cw_identities *fresh);

#endif
