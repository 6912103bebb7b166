/* routes.c - see routes.h. */
#include "cloud/web/routes.h"

#include <string.h>

#include "base/list.h"
#include "base/mem.h"

struct route {
	struct cw_list link;
	const char *path;
	cw_http_fn fn;
	void *arg;
};

struct cloud_routes {
	struct cw_list list;
};

int cw_cloud_routes_new(struct cloud_routes **ret_routes)
{
	struct cloud_routes *r = cw_zalloc(sizeof(*r));

	if (r == NULL)
		return CW_ENOMEM;
	cw_list_init(&r->list);
	*ret_routes = r;
	return 0;
}

void cw_cloud_routes_free(struct cloud_routes *r)
{
	struct cw_list *e;

	if (r == NULL)
		return;
	while ((e = cw_list_pop(&r->list)) != NULL)
		cw_free(cw_container_of(e, struct route, link));
	cw_free(r);
}

int cw_cloud_routes_add(struct cloud_routes *r, const char *path, cw_http_fn fn, void *arg)
{
	struct route *x = cw_zalloc(sizeof(*x));

	if (x == NULL)
		return CW_ENOMEM;
	x->path = path;
	x->fn = fn;
	x->arg = arg;
	cw_list_push_back(&r->list, &x->link);
	return 0;
}

static int fits(const struct route *x, const char *path)
{
	size_t n = strlen(x->path);

	if (n > 1 && x->path[n - 1] == '/')
		return strncmp(path, x->path, n) == 0;
	return strcmp(path, x->path) == 0;
}

int cw_cloud_routes_serve(struct cloud_routes *r, struct cw_http_req *req)
{
	const char *path = cw_http_path(req);
	struct route *best = NULL;
	struct cw_list *e;

	cw_list_each(e, &r->list) {
		struct route *x = cw_container_of(e, struct route, link);

		if (fits(x, path) && (best == NULL || strlen(x->path) > strlen(best->path)))
			best = x;
	}
	if (best == NULL)
		return CW_ENOENT;
	best->fn(best->arg, req);
	return 0;
}
