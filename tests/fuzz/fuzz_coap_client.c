/* What a CoAP platform answers: the first byte chooses the body of a login, a page of messages, or a cipher to open. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "upstream/coap/crypt.h"
#include "upstream/coap/login.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_message(void *ctx, struct cw_bytes topic, struct cw_bytes payload)
{
	size_t i, *sum = ctx;

	for (i = 0; i < payload.len; i++) /* all of it can be read */
		*sum += payload.ptr[i];
	*sum += topic.len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t key[COAP_KEY_BYTES] = "0123456789abcde";
	struct cw_bytes body;
	struct coap_pass pass;
	uint8_t *out;
	size_t sum = 0;
	unsigned odd;

	if (size == 0)
		return 0;
	body = cw_bytes_of(data + 1, size - 1);
	switch (data[0] % 3) {
	case 0:
		if (cw_coap_login_answer(body, &pass) == 0 &&
		    (pass.token[0] == '\0' || memchr(pass.token, 0, sizeof(pass.token)) == NULL ||
		     memchr(pass.random, 0, sizeof(pass.random)) == NULL))
			abort();
		break;
	case 1: (void)cw_coap_page(body, on_message, &sum, &odd); break;
	default:
		out = malloc(body.len + 1);
		if (out != NULL && cw_coap_decrypt(key, body.ptr, body.len, out, &sum) == 0 && sum >= body.len)
			abort(); /* at least one byte was padding */
		free(out);
		break;
	}
	return 0;
}
