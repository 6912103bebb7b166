/* place.c - see place.h. */
#include "upstream/coap/place.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

#define PRODUCT "${productKey}"

struct place {
	struct cw_map_node node; /* by host */
	struct coap_places *places;
	uv_getaddrinfo_t look;
	int looking;
	struct cw_list seekers;
	uint64_t until_ms; /* the addresses hold so long */
	struct sockaddr_storage at[PLACE_ADDRESSES];
	unsigned count;
	char host[];
};

struct coap_places {
	struct cw_endpoint endpoint;
	struct cw_map hosts;
	struct cw_worker *w;
	int stopped;
};

/* ---- the endpoint ---- */

static const struct cw_endpoint_scheme schemes[] = {
	{ .name = "coaps", .port = 5684, .tls = 1, .udp = 1 },
	{ .name = "coap", .port = 5682, .udp = 1 },
	{ .name = NULL },
};
const struct cw_endpoint_form cw_coap_endpoint_form = { schemes, "coaps:// (DTLS) or coap:// (symmetric mode)",
							"coaps://host:5684 or coap://[2001:db8::1]:5682" };

int cw_coap_host_of(const struct cw_endpoint *e, const char *product_key, char out[PLACE_HOST_BYTES])
{
	const char *at = strstr(e->host, PRODUCT);
	int n;

	if (at == NULL)
		n = snprintf(out, PLACE_HOST_BYTES, "%s", e->host);
	else
		n = snprintf(out, PLACE_HOST_BYTES, "%.*s%s%s", (int)(at - e->host), e->host, product_key,
			     at + strlen(PRODUCT));
	return n < 0 || (size_t)n >= PLACE_HOST_BYTES ? CW_ELIMIT : 0;
}

/* ---- addresses ---- */

int cw_coap_places_new(const struct cw_endpoint *e, struct coap_places **ret_places)
{
	struct coap_places *p = cw_zalloc(sizeof(*p));

	if (p == NULL)
		return CW_ENOMEM;
	p->endpoint = *e;
	cw_map_init(&p->hosts);
	*ret_places = p;
	return 0;
}

void cw_coap_places_free(struct coap_places *p)
{
	struct cw_map_node *n, *next;

	if (p == NULL)
		return;
	cw_map_each_safe (n, next, &p->hosts) {
		cw_map_remove(&p->hosts, n);
		cw_free(cw_container_of(n, struct place, node));
	}
	cw_map_fini(&p->hosts);
	cw_free(p);
}

static void tell(struct place *h, struct coap_seeker *s, int rc, const char *text)
{
	cw_list_remove(&s->link);
	s->host = h->host;
	s->found(s, rc, text, h->at, h->count);
}

static void keep(struct place *h, const struct addrinfo *list)
{
	for (h->count = 0; list != NULL && h->count < PLACE_ADDRESSES; list = list->ai_next)
		if (list->ai_family == AF_INET || list->ai_family == AF_INET6)
			memcpy(&h->at[h->count++], list->ai_addr, list->ai_addrlen);
	h->until_ms = cw_worker_now(h->places->w) + PLACE_KEEP_MS;
}

static void on_looked(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
	struct place *h = cw_container_of(req, struct place, look);
	struct cw_list waiting, *e;
	char text[PLACE_HOST_BYTES + 96];

	h->looking = 0;
	if (status == 0)
		keep(h, list);
	uv_freeaddrinfo(list);
	if (h->places->stopped)
		return;
	if (status != 0 || h->count == 0)
		(void)snprintf(text, sizeof(text), "the name %s was not found: %s", h->host,
			       status != 0 ? uv_strerror(status) : "it has no address");
	else
		text[0] = '\0';
	cw_list_init(&waiting); /* who asks again on being told waits for the next look-up */
	while ((e = cw_list_pop(&h->seekers)) != NULL)
		cw_list_push_back(&waiting, e);
	while ((e = cw_list_first(&waiting)) != NULL)
		tell(h, cw_container_of(e, struct coap_seeker, link), text[0] != '\0' ? CW_EUNREACH : 0, text);
}

static struct place *place_of(struct coap_places *p, const char *host)
{
	size_t len = strlen(host);
	struct cw_map_node *n = cw_map_find(&p->hosts, host, len);
	struct place *h;

	if (n != NULL)
		return cw_container_of(n, struct place, node);
	h = cw_zalloc(sizeof(*h) + len + 1);
	if (h == NULL)
		return NULL;
	memcpy(h->host, host, len + 1);
	h->places = p;
	cw_list_init(&h->seekers);
	if (cw_map_add(&p->hosts, &h->node, h->host, len) < 0) {
		cw_free(h);
		return NULL;
	}
	return h;
}

int cw_coap_places_seek(struct coap_places *p, struct cw_worker *w, const char *product_key, struct coap_seeker *s)
{
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM };
	char host[PLACE_HOST_BYTES];
	int rc = cw_coap_host_of(&p->endpoint, product_key, host);
	struct place *h;

	if (rc < 0)
		return rc;
	p->w = w;
	h = place_of(p, host);
	if (h == NULL)
		return CW_ENOMEM;
	cw_list_init(&s->link);
	if (!h->looking && h->count > 0 && h->until_ms > cw_worker_now(w)) {
		tell(h, s, 0, "");
		return 0;
	}
	if (!h->looking && uv_getaddrinfo(cw_worker_loop(w), &h->look, on_looked, host, p->endpoint.port, &hints) < 0)
		return CW_ENOMEM;
	h->looking = 1;
	cw_list_push_back(&h->seekers, &s->link);
	return 0;
}

void cw_coap_seeker_cancel(struct coap_seeker *s)
{
	cw_list_remove(&s->link);
}

void cw_coap_places_doubt(struct coap_places *p, const char *host)
{
	struct cw_map_node *n = host == NULL ? NULL : cw_map_find(&p->hosts, host, strlen(host));

	if (n != NULL)
		cw_container_of(n, struct place, node)->until_ms = 0;
}

void cw_coap_places_stop(struct coap_places *p)
{
	struct cw_map_node *n;

	p->stopped = 1;
	cw_map_each (n, &p->hosts) {
		struct place *h = cw_container_of(n, struct place, node);

		if (h->looking)
			(void)uv_cancel((uv_req_t *)&h->look); /* else its answer comes and is ignored */
	}
}
