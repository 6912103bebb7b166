/*
 * files.h - links of core/files.h over HTTP: GET and HEAD, one range, entity tags, errors as the platform's storage
 * writes them. For the HTTPS listener, and for the API's, which clients reach that cannot be told an authority.
 */
#ifndef CW_CLOUD_WEB_FILES_H
#define CW_CLOUD_WEB_FILES_H

#include "cloud/core/files.h"
#include "http/http.h"

/* A cw_http_fn for paths below CLOUD_FILES_PATH; `cloud` is the struct cw_cloud. */
void cw_cloud_web_file(void *cloud, struct cw_http_req *req);

/* Which bytes of `len` a Range field asks for. */
enum web_range { WEB_RANGE_ALL, WEB_RANGE_PART, WEB_RANGE_NONE };
enum web_range cw_cloud_web_range(const char *field, size_t len, size_t *ret_from, size_t *ret_count);

#endif
