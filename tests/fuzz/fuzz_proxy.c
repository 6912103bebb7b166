/*
 * fuzz_proxy.c - the PROXY protocol header. Beside not crashing: a header that was
 * taken is taken at the same length with anything behind it, and nothing shorter is.
 */
#include <stdlib.h>
#include <string.h>

#include "net/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int cond)
{
	if (!cond)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[CW_ADDR_TEXT];
	struct cw_proxy p, again;
	int n = cw_proxy_parse(cw_bytes_of(data, size), &p);

	(void)cw_proxy_parse_datagram(cw_bytes_of(data, size), &again);
	if (n <= 0) {
		must(n == 0 || n == CW_EPROTO);
		must(n != 0 || size < CW_PROXY_MOST);
		return 0;
	}
	must((size_t)n <= size && n <= CW_PROXY_MOST);
	must(cw_proxy_parse(cw_bytes_of(data, (size_t)n), &again) == n);
	must(memcmp(&p, &again, sizeof(p)) == 0);
	must(cw_proxy_parse(cw_bytes_of(data, (size_t)n - 1), &again) <= 0);
	if (p.known)
		must(strcmp(cw_addr_format(&p.source, text), "unknown") != 0);
	return 0;
}
