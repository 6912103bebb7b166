/* parcel.c - see parcel.h. */
#include "upstream/parcel.h"

#include "base/mem.h"

struct cw_parcel *cw_parcel_new(size_t len)
{
	struct cw_parcel *p;

	if (len > UINT32_MAX)
		return NULL;
	p = cw_zalloc(sizeof(*p) + len);
	if (p == NULL)
		return NULL;
	atomic_init(&p->refs, 1);
	p->len = (uint32_t)len;
	return p;
}

void cw_parcel_unref(struct cw_parcel *p)
{
	if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1)
		cw_free(p);
}
