/* files.c - see files.h. */
#include "cloud/web/files.h"

#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "cloud/core/fault/fault.h"

#define FIELDS_MAX 6u

/* A run of digits as a number, capped: what is larger than any file is past its end all the same. */
static const char *read_number(const char *s, size_t *ret)
{
	size_t n = 0;

	for (; *s >= '0' && *s <= '9'; s++)
		n = n < SIZE_MAX / 16 ? 10 * n + (size_t)(*s - '0') : n;
	*ret = n;
	return s;
}

enum web_range cw_cloud_web_range(const char *field, size_t len, size_t *ret_from, size_t *ret_count)
{
	const char *s = field != NULL && strncmp(field, "bytes=", 6) == 0 ? field + 6 : NULL, *end;
	size_t from, to;

	*ret_from = 0;
	*ret_count = len;
	if (s == NULL)
		return WEB_RANGE_ALL;
	end = read_number(s, &from);
	if (*end != '-' || (end == s && (end[1] < '0' || end[1] > '9')))
		return WEB_RANGE_ALL;
	s = read_number(end + 1, &to);
	if (*s != '\0') /* several ranges, or none we know */
		return WEB_RANGE_ALL;
	if (end == field + 6) { /* the last `to` bytes */
		from = to < len ? len - to : 0;
		if (to == 0 || len == 0)
			return WEB_RANGE_NONE;
		to = len - 1;
	} else if (s == end + 1) {
		to = len - 1;
	} else if (to < from) {
		return WEB_RANGE_ALL;
	}
	if (from >= len)
		return WEB_RANGE_NONE;
	*ret_from = from;
	*ret_count = (to < len ? to : len - 1) - from + 1;
	return WEB_RANGE_PART;
}

static void reply_error(struct cw_http_req *req, unsigned status, const char *code, const char *text,
			const struct cw_http_field *more)
{
	struct cw_http_field fields[2] = { { "Content-Type", "application/xml" } };
	char body[512];
	int n = snprintf(body, sizeof(body),
			 "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>\n  <Code>%s</Code>\n"
			 "  <Message>%s</Message>\n</Error>\n",
			 code, text);

	if (more != NULL)
		fields[1] = *more;
	cw_http_reply_with(req, status, fields, more != NULL ? 2 : 1, body, (size_t)n);
}

static const char *text_of(const char *code)
{
	static const struct {
		const char *code, *text;
	} texts[] = {
		{ "SignatureDoesNotMatch",
		  "The link's signature does not match its path and end. Use the link as it was given." },
		{ "AccessDenied", "The link is over. Ask for a new one." },
		{ "NoSuchKey", "There is no such file, or its link was withdrawn." },
	};
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (strcmp(texts[i].code, code) == 0)
			return texts[i].text;
	}
	return "The file cannot be had.";
}

static void on_sent(void *arg)
{
	cw_cloud_blob_unref(arg);
}

/* `tag` in a list of entity tags, or "*". */
static int has_tag(const char *list, const char *tag)
{
	return list != NULL && (strcmp(list, "*") == 0 || strstr(list, tag) != NULL);
}

static void send_blob(struct cw_http_req *req, struct cloud_blob *b)
{
	const char *if_range = cw_http_header(req, "If-Range");
	char tag[24], range[80];
	struct cw_http_field fields[FIELDS_MAX] = { { "Content-Type", b->type },
						    { "Accept-Ranges", "bytes" },
						    { "ETag", tag } };
	size_t from, count, n = 3;
	enum web_range which;

	/* A path stands for the same bytes as long as it lives. */
	(void)snprintf(tag, sizeof(tag), "\"%016llX\"", (unsigned long long)cw_hash_stable(b->path, strlen(b->path)));
	if (has_tag(cw_http_header(req, "If-None-Match"), tag)) {
		cw_http_reply_with(req, 304, fields + 2, 1, "", 0);
		return;
	}
	which = cw_cloud_web_range(if_range == NULL || strcmp(if_range, tag) == 0 ? cw_http_header(req, "Range") : NULL,
				   b->len, &from, &count);
	if (which == WEB_RANGE_NONE) {
		(void)snprintf(range, sizeof(range), "bytes */%zu", b->len);
		reply_error(req, 416, "InvalidRange", "The range asked for begins behind the file's end.",
			    &(struct cw_http_field){ "Content-Range", range });
		return;
	}
	if (which == WEB_RANGE_PART) {
		(void)snprintf(range, sizeof(range), "bytes %zu-%zu/%zu", from, from + count - 1, b->len);
		fields[n++] = (struct cw_http_field){ "Content-Range", range };
	}
	b->refs++;
	cw_http_reply_lent(req, which == WEB_RANGE_PART ? 206 : 200, fields, n, b->data + from, count, on_sent, b);
}

/* The same file, one byte of it another. */
static void send_corrupt(struct cw_http_req *req, const struct cloud_blob *b, uint64_t random)
{
	struct cloud_blob *copy = cw_cloud_blob_new(b->name, b->type, b->data, b->len);

	if (copy == NULL) {
		cw_http_abort(req);
		return;
	}
	memcpy(copy->path, b->path, sizeof(copy->path));
	if (copy->len != 0)
		copy->data[(size_t)(random >> 8) % copy->len] ^= (uint8_t)(1 + random % 255);
	send_blob(req, copy);
	cw_cloud_blob_unref(copy);
}

void cw_cloud_web_file(void *cloud, struct cw_http_req *req)
{
	static const struct cw_http_field allow = { "Allow", "GET, HEAD" };
	struct cw_cloud *c = cloud;
	const char *method = cw_http_method(req), *path = cw_http_path(req), *code = NULL;
	struct cloud_file_ask ask = { .path = path,
				      .expires = cw_http_param(req, "Expires"),
				      .key_id = cw_http_param(req, "OSSAccessKeyId"),
				      .signature = cw_http_param(req, "Signature") };
	struct cloud_strike at = { .channel = "https", .topic = path, .topic_len = strlen(path) };
	const struct cloud_blob *b;
	unsigned status = 0;

	c->stats.downloads++;
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
		reply_error(req, 405, "MethodNotAllowed", "A file can be fetched with GET and HEAD.", &allow);
		return;
	}
	if (cw_cloud_fault(c, CLOUD_FAULT_STATUS, &at)) {
		reply_error(req, at.code >= 200 && at.code < 600 ? (unsigned)at.code : 500, "InternalError",
			    "A fault was set.", NULL);
		return;
	}
	b = cw_cloud_find_file(c, &ask, &status, &code);
	at.direction = CLOUD_DOWN;
	if (cw_cloud_fault(c, CLOUD_FAULT_CUT, &at))
		cw_http_abort(req);
	else if (b != NULL && cw_cloud_fault(c, CLOUD_FAULT_CORRUPT, &at))
		send_corrupt(req, b, at.random);
	else if (b == NULL)
		reply_error(req, status, code, text_of(code), NULL);
	else
		send_blob(req, (struct cloud_blob *)(uintptr_t)b);
}
