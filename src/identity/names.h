/* names.h - a list of identities, as the sources that can be listed answer with it. */
#ifndef CW_IDENTITY_NAMES_H
#define CW_IDENTITY_NAMES_H

#include <stddef.h>

struct cw_names {
	char **items; /* owned, as are the texts */
	size_t count, size;
	int more;     /* there are others beyond the most that was asked for */
};

/* Copies; 0 or CW_ENOMEM. */
int cw_names_add(struct cw_names *n, const char *name, size_t len);
/* In order of bytes, each once, the first `most` of them. */
void cw_names_sort(struct cw_names *n, size_t most);
void cw_names_fini(struct cw_names *n);

#endif
