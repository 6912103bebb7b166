/* call.c - see call.h. */
#include "cli/call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/parse.h"

int cw_call_open(struct cw_call *c, const char *socket)
{
	memset(c, 0, sizeof(*c));
	c->socket = socket;
	c->curl = curl_easy_init();
	return c->curl == NULL ? -1 : 0;
}

void cw_call_close(struct cw_call *c)
{
	curl_easy_cleanup(c->curl);
	free(c->body);
}

size_t cw_call_on_body(char *data, size_t size, size_t n, void *call)
{
	struct cw_call *c = call;
	char *grown = realloc(c->body, c->len + size * n + 1);

	if (grown == NULL)
		return 0;
	c->body = grown;
	memcpy(c->body + c->len, data, size * n);
	c->len += size * n;
	c->body[c->len] = '\0';
	return size * n;
}

json_t *cw_call_ask(struct cw_call *c, const char *method, const char *path, const char *body, size_t len)
{
	char url[1024], error[CURL_ERROR_SIZE] = "";
	json_t *answer;
	CURLcode rc;

	c->len = 0;
	c->status = 0;
	(void)snprintf(url, sizeof(url), "http://causeway%s", path);
	curl_easy_setopt(c->curl, CURLOPT_UNIX_SOCKET_PATH, c->socket);
	curl_easy_setopt(c->curl, CURLOPT_URL, url);
	curl_easy_setopt(c->curl, CURLOPT_NOPROXY, "*");
	if (body != NULL) {
		curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, body);
		curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
	}
	curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(c->curl, CURLOPT_ERRORBUFFER, error);
	curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, cw_call_on_body);
	curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, c);
	rc = curl_easy_perform(c->curl);
	if (rc != CURLE_OK) {
		long os = 0;

		curl_easy_getinfo(c->curl, CURLINFO_OS_ERRNO, &os);
		fprintf(stderr, "causeway: cannot talk to %s: %s; %s\n", c->socket,
		        os != 0 ? strerror((int)os) : error[0] != '\0' ? error : curl_easy_strerror(rc),
		        os == EACCES ? "be root, or a member of the group causewayd runs as (of the package: causeway)"
		                     : "is causewayd running, and is this its control socket? (-c application.conf or --control unix:PATH says which)");
		return NULL;
	}
	curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &c->status);
	answer = json_loads(c->body == NULL || c->len == 0 ? "" : c->body, 0, NULL);
	if (answer == NULL) {
		fprintf(stderr, "causeway: the answer of %s is no JSON\n", c->socket);
		return NULL;
	}
	if (c->status != 200) {
		const char *text = json_string_value(json_object_get(answer, "error"));

		fprintf(stderr, "causeway: %s\n", text == NULL ? "refused" : text);
		json_decref(answer);
		return NULL;
	}
	return answer;
}

int cw_call_socket_of(const char *file, char *out, size_t size)
{
	struct cw_conf_tree *tree;
	const struct cw_value *v;
	struct cw_msg msg;
	const char *text = NULL;

	if (cw_conf_parse_file(file, NULL, &tree, &msg) < 0) {
		fprintf(stderr, "causeway: %s\n", msg.text);
		return -1;
	}
	v = cw_value_get(cw_conf_root(tree), "control");
	if (v != NULL)
		text = cw_value_text(v, NULL);
	if (text != NULL)
		(void)snprintf(out, size, "%s", text);
	cw_conf_tree_unref(tree);
	return 0;
}
