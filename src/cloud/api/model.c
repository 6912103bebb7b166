/* model.c - the API's view of products' thing models and scripts. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cloud/api/api.h"
#include "cloud/core/model/script.h"
#include "cloud/core/model/tsl.h"

void cw_cloud_api_tsl(struct api_call *a)
{
	struct cloud_product *p = cw_cloud_api_product(a, a->tail);
	struct cloud_model_size size = { 0, 0, 0 };
	struct cw_msg msg = { "" };
	int rc;

	if (p == NULL)
		return;
	rc = cw_cloud_tsl_set(a->cloud, p, a->body, &msg);
	if (rc < 0) {
		cw_cloud_api_error(a->req, rc == CW_ENOMEM ? 503 : 400, msg.text);
		return;
	}
	if (p->model != NULL)
		size = cw_cloud_model_size(p->model);
	cw_cloud_api_json(a->req, 200, json_pack("{s:I, s:I, s:I}", "properties", (json_int_t)size.properties, "events",
	                  (json_int_t)size.events, "services", (json_int_t)size.services));
}

/* An empty object: it has none, just as an empty one takes it away. */
void cw_cloud_api_tsl_get(struct api_call *a)
{
	struct cloud_product *p = cw_cloud_api_product(a, a->tail);

	if (p != NULL)
		cw_cloud_api_json(a->req, 200, p->tsl != NULL ? json_incref(p->tsl) : json_object());
}

void cw_cloud_api_script(struct api_call *a)
{
	struct cloud_product *p = cw_cloud_api_product(a, a->tail);
	struct cw_msg msg = { "" };
	const char *body;
	size_t len;
	char *text;
	int rc;

	if (p == NULL)
		return;
	body = cw_http_body(a->req, &len);
	if (len != 0 && memchr(body, '\0', len) != NULL) {
		cw_cloud_api_error(a->req, 400, "a script is text");
		return;
	}
	text = cw_strndup(len != 0 ? body : "", len);
	rc = text != NULL ? cw_cloud_script_set(a->cloud, p, text, &msg) : cw_fail(&msg, CW_ENOMEM, "out of memory");
	cw_free(text);
	if (rc < 0)
		cw_cloud_api_error(a->req, rc == CW_ENOMEM ? 503 : 400, msg.text);
	else
		cw_cloud_api_json(a->req, 200, json_pack("{s:I}", "bytes", (json_int_t)len));
}

void cw_cloud_api_script_get(struct api_call *a)
{
	struct cloud_product *p = cw_cloud_api_product(a, a->tail);

	if (p != NULL)
		cw_cloud_api_json(a->req, 200, json_pack("{s:s?, s:o}", "script", cw_cloud_script_text(p), "errors",
		                                         cw_cloud_script_errors(p)));
}
