/* resolve.h - inside of module conf: substitutions to values. */
#ifndef CW_CONF_RESOLVE_H
#define CW_CONF_RESOLVE_H

#include "conf/tree.h"

/* Resolve every substitution below root (an OBJECT). NULL after an error. */
struct cw_value *conf_resolve(struct conf_build *b, struct cw_value *root);

#endif
