/* import.h - identities out of files that people hand over: CSV, or the form of devices.conf. Any thread. */
#ifndef CW_IDENTITY_IMPORT_H
#define CW_IDENTITY_IMPORT_H

#include "identity/identity.h"

/*
 * A file whose name ends with .csv is CSV, any other a devices.conf. CSV: the first line names the columns in any order,
 * case is no matter: ProductKey, DeviceName, DeviceSecret and identity (or originalIdentity; without it the DeviceName
 * is the identity); others are left out. UTF-8 with or without BOM, LF or CRLF, fields may be quoted, blanks around
 * them do not count. Lines that cannot be used are told to `skip` and counted in the set.
 */
int cw_identities_import(const char *path, cw_identity_skip_fn skip, void *arg, struct cw_identities **ret_set, struct cw_msg *msg);
int cw_identities_csv(const char *name, struct cw_bytes text, cw_identity_skip_fn skip, void *arg, struct cw_identities **ret_set,
                      struct cw_msg *msg);

/* The text of a member of an encoded map into out[size]; absent: empty. CW_EPROTO when it has no place there, or has a NUL. */
int cw_identity_member(struct cw_bytes map, const char *key, char *out, size_t size);

/* A set as JSON: [{"identity","productKey","deviceName","deviceSecret","settings"?}]; the text (cw_free) has secrets. And back. */
int cw_identities_to_json(const struct cw_identities *set, char **ret_text, size_t *ret_len);
int cw_identities_of_json(struct cw_bytes text, struct cw_identities **ret_set, struct cw_msg *msg);

#endif
