/*
 * closing.h - counts the open handles of an owner and tells when the last is gone.
 *
 * libuv's contract: after a successful uv_x_init the memory is libuv's until the
 * close callback. So an owner embeds its handles and one cw_closing, adds each
 * handle it opened, closes them through cw_closing_close(), and is told once.
 */
#ifndef CW_LOOP_CLOSING_H
#define CW_LOOP_CLOSING_H

#include <uv.h>

struct cw_closing {
	unsigned open;
	void (*gone)(struct cw_closing *c); /* the last handle is closed; the owner may be freed */
};

static inline void cw_closing_init(struct cw_closing *c, void (*gone)(struct cw_closing *c))
{
	c->open = 0;
	c->gone = gone;
}

/* After a successful uv_x_init. Sets handle->data to the counter. */
static inline void cw_closing_add(struct cw_closing *c, uv_handle_t *handle)
{
	c->open++;
	handle->data = c;
}

static inline void cw_closing_on_closed(uv_handle_t *handle)
{
	struct cw_closing *c = (struct cw_closing *)handle->data;

	if (--c->open == 0)
		c->gone(c);
}

/* Close one of the owner's handles; harmless when it is closing already. */
static inline void cw_closing_close(uv_handle_t *handle)
{
	if (!uv_is_closing(handle))
		uv_close(handle, cw_closing_on_closed);
}

#endif
