/* wait.c - a call for programs without a loop: a loop of its own, as long as it takes. */
#include <stdio.h>

#include "base/mem.h"
#include "fetch/fetch.h"

struct waiting {
	struct cw_worker *w;
	struct cw_fetch_pool *pool;
	int rc, status;
	char *body;
	size_t len;
	struct cw_msg *msg;
};

static void on_end(void *arg)
{
	struct waiting *wait = arg;

	cw_fetch_pool_free(wait->pool);
	cw_worker_release(wait->w);
}

static void on_done(void *ctx, const struct cw_fetch_reply *reply)
{
	struct waiting *wait = ctx;

	wait->rc = reply->rc;
	wait->status = reply->status;
	if (reply->rc == 0) {
		wait->body = cw_strndup((const char *)reply->body.ptr, reply->body.len);
		wait->len = reply->body.len;
		if (wait->body == NULL)
			wait->rc = cw_fail(wait->msg, CW_ENOMEM, "out of memory");
	} else {
		(void)cw_fail(wait->msg, reply->rc, "%s", reply->text);
	}
	on_end(wait);
}

int cw_fetch_wait(const struct cw_fetch_request *r, int *ret_status, char **ret_body, size_t *ret_len, struct cw_msg *msg)
{
	struct cw_fetch_request mine = *r;
	struct waiting wait = { .msg = msg };
	int rc = cw_worker_new("fetch", 0, &wait.w);

	if (rc < 0)
		return cw_fail(msg, rc, "%s", cw_error_text(rc));
	mine.done = on_done;
	mine.ctx = &wait;
	rc = cw_fetch_pool_new(wait.w, &wait.pool);
	if (rc == 0)
		rc = cw_fetch_start(wait.pool, &mine, NULL);
	if (rc < 0) {
		wait.rc = cw_fail(msg, rc, "%s", cw_error_text(rc));
		on_end(&wait);
	}
	cw_worker_run(wait.w);
	cw_worker_free(wait.w);
	if (wait.rc < 0) {
		cw_free(wait.body);
		return wait.rc;
	}
	*ret_status = wait.status;
	*ret_body = wait.body;
	*ret_len = wait.len;
	return 0;
}
