/*
 * factory.h - the source `factory`: boards that the production line burned, and devices in the field, out of the stock of causeway-factory
 * (factory/stock), read only. A module of its own, so that who has no use for the stock is not linked with it.
 *
 * The stock is asked on a thread of the source's own: a server that hangs keeps neither the control loop nor the decoders' state waiting. What
 * cannot be opened is tried again, at most once a second; meanwhile the answer is "cannot say now".
 */
#ifndef CW_IDENTITY_FACTORY_H
#define CW_IDENTITY_FACTORY_H

#include "identity/resolver.h"

struct cw_factory_source;

struct cw_factory_source_conf {
	const char *db;       /* a file, or postgresql://.. */
	const char *key_file; /* NULL: `db`.key */
};

extern const struct cw_source_ops cw_factory_source_ops; /* frees: waits for what is under way */

/* Texts are copied. Nothing is opened yet: a stock that is not there must not keep the gateway from its start. */
int cw_factory_source_new(struct cw_resolver *r, struct cw_worker *control, const struct cw_factory_source_conf *conf,
			  struct cw_factory_source **ret_source, struct cw_msg *msg);

#endif
