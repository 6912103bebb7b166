/* secret.c - see secret.h. */
#include "http/secret.h"

#include <string.h>
#include <strings.h>

#include "base/mem.h"

const char *cw_http_bearer(const char *authorization)
{
	static const char scheme[] = "Bearer ";

	if (authorization == NULL || strncasecmp(authorization, scheme, sizeof(scheme) - 1) != 0)
		return NULL;
	authorization += sizeof(scheme) - 1;
	return authorization + strspn(authorization, " ");
}

int cw_http_secret_same(const char *given, const char *secret)
{
	size_t i, n = strlen(given), m = strlen(secret);
	unsigned char differ = n != m || m == 0;

	for (i = 0; i < n && m != 0; i++)
		differ |= (unsigned char)(given[i] ^ secret[i % m]);
	return differ == 0;
}

/* What an answer is in until its client has it. */
struct answer {
	char *text;
	size_t len;
};

static void release(void *arg)
{
	struct answer *a = arg;

	explicit_bzero(a->text, a->len);
	cw_free(a->text);
	cw_free(a);
}

void cw_http_reply_secret(struct cw_http_req *req, unsigned status, const struct cw_http_field *fields, size_t count, char *text, size_t len)
{
	struct answer *a = cw_alloc(sizeof(*a));

	if (a == NULL) {
		explicit_bzero(text, len);
		cw_free(text);
		cw_http_abort(req);
		return;
	}
	a->text = text;
	a->len = len;
	cw_http_reply_lent(req, status, fields, count, text, len, release, a);
}
