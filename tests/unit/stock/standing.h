/* standing.h - a stock of its own for each test at a time that stands still, and what a call has to say. For one test file each. */
#ifndef TEST_STOCK_STANDING_H
#define TEST_STOCK_STANDING_H

#include "world.h"

#include "base/clock.h"

#define NOW INT64_C(1795000000000) /* 2026-11-18T11:06:40Z */

static struct cw_stock *s;
static struct cw_msg msg;

static int set_up(void **state)
{
	(void)world_make(state);
	cw_clock_fake(1, NOW);
	s = world_open(*state);
	memset(&msg, 0, sizeof(msg));
	return 0;
}

static int tear_down(void **state)
{
	cw_stock_close(s);
	cw_clock_fake(0, 0);
	return world_drop(state);
}

static void ok(int rc)
{
	if (rc != 0)
		fail_msg("%d: %s", rc, msg.text);
}

static void says(int rc, int expected, const char *part)
{
	assert_int_equal(rc, expected);
	if (strstr(msg.text, part) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", msg.text, part);
}

#endif
