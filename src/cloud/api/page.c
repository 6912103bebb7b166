/* page.c - the emulator's page and its OpenAPI document, out of the binary; see api.h. */
#include <stdio.h>
#include <string.h>

#include "cloud/api/api.h"

#define FILES(X)                                                                                              \
	X("/", "text/html; charset=utf-8", cw_page_html)                                                      \
	X("/page.css", "text/css; charset=utf-8", cw_page_css)                                                \
	X("/page.js", "text/javascript; charset=utf-8", cw_page_js)

extern const unsigned char cw_openapi_json[];
extern const size_t cw_openapi_json_len;

#define DECLARE(path, type, name)                                                                             \
	extern const unsigned char name[];                                                                    \
	extern const size_t name##_len;
FILES(DECLARE)
#undef DECLARE

int cw_cloud_api_page(struct cw_http_req *req)
{
	static const struct {
		const char *path, *type;
		const unsigned char *data;
		const size_t *len;
	} files[] = {
#define ROW(path, type, name) { path, type, name, &name##_len },
		FILES(ROW)
#undef ROW
	};
	size_t i;

	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		if (strcmp(files[i].path, cw_http_path(req)) != 0 || strcmp(cw_http_method(req), "GET") != 0)
			continue;
		cw_http_reply(req, 200, files[i].type, files[i].data, *files[i].len);
		return 1;
	}
	return 0;
}

void cw_cloud_api_document(struct api_call *a)
{
	cw_http_reply(a->req, 200, "application/json", cw_openapi_json, cw_openapi_json_len);
}
