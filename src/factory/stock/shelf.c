/* shelf.c - see shelf.h. Figures: figures.c; what takes certificates out or back: reclaim.c. */
#include "factory/stock/shelf.h"

#include <string.h>

#include "base/mem.h"
#include "factory/stock/stock_impl.h"

/* ---- names ---- */

static const char *const states[] = {
#define STATE_NAME(sym, name, text) name,
	CW_STOCK_STATES(STATE_NAME)
#undef STATE_NAME
};

static const char *const leases[] = {
#define LEASE_NAME(sym, name, text) name,
	CW_STOCK_LEASES(LEASE_NAME)
#undef LEASE_NAME
};

static int index_of(const char *const *names, int count, const char *name)
{
	int i;

	for (i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

const char *cw_stock_state_name(enum cw_stock_state state)
{
	return (unsigned)state < CW_STOCK_STATE_COUNT ? states[state] : "";
}

int cw_stock_state_of(const char *name)
{
	return index_of(states, CW_STOCK_STATE_COUNT, name);
}

const char *cw_stock_lease_name(enum cw_stock_lease lease)
{
	return (unsigned)lease < CW_STOCK_LEASE_COUNT ? leases[lease] : "";
}

int cw_stock_lease_of(const char *name)
{
	return index_of(leases, CW_STOCK_LEASE_COUNT, name);
}
