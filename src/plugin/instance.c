/*
 * instance.c - one decoder instance: made, freed, its settings, its counters; what a watchdog asks; and the handles by
 * which its connections and devices are named.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "plugin/remote.h"
#include "plugin/runner_impl.h"

/* ---- handles ---------------------------------------------------------------- */

int cw_handle_new(struct handles *h, void *ptr, uint64_t *ret_handle)
{
	uint32_t i;

	if (h->free_head == 0) {
		uint32_t size = h->size == 0 ? 64 : h->size * 2;
		struct handle_slot *slots = cw_realloc(h->slots, size * sizeof(*slots));

		if (slots == NULL)
			return CW_ENOMEM;
		memset(slots + h->size, 0, (size - h->size) * sizeof(*slots));
		for (i = size; i > h->size; i--) {
			slots[i - 1].next_free = h->free_head;
			h->free_head = i;
		}
		h->slots = slots;
		h->size = size;
	}
	i = h->free_head - 1;
	h->free_head = h->slots[i].next_free;
	h->slots[i].ptr = ptr;
	h->slots[i].gen = (h->slots[i].gen + 1) & 0x7fffffffu;
	*ret_handle = h->bit | (uint64_t)h->slots[i].gen << 32 | (i + 1);
	return 0;
}

void *cw_handle_get(const struct handles *h, uint64_t handle)
{
	uint32_t i = (uint32_t)handle;

	if (i == 0 || i > h->size || (handle & DEVICE_BIT) != h->bit)
		return NULL;
	return h->slots[i - 1].gen == (uint32_t)((handle & ~DEVICE_BIT) >> 32) ? h->slots[i - 1].ptr : NULL;
}

void cw_handle_free(struct handles *h, uint64_t handle)
{
	uint32_t i = (uint32_t)handle;

	if (cw_handle_get(h, handle) == NULL)
		return;
	h->slots[i - 1].ptr = NULL;
	h->slots[i - 1].next_free = h->free_head;
	h->free_head = i;
}

/* ---- instance --------------------------------------------------------------- */

static size_t count_counters(const struct cw_plugin_desc *desc)
{
	size_t n = 0;

	while (desc->counters != NULL && desc->counters[n].name != NULL)
		n++;
	return n;
}

int cw_runner_new(const struct cw_plugin_desc *desc, struct cw_worker *w, struct cw_runner **ret_runner, struct cw_msg *msg)
{
	struct cw_runner *r = cw_zalloc(sizeof(*r));
	int rc;

	if (r == NULL)
		return cw_fail(msg, CW_ENOMEM, "out of memory");
	r->desc = desc;
	r->worker = w;
	r->host = cw_host_table;
	r->devices.bit = DEVICE_BIT;
	r->counter_count = count_counters(desc);
	r->counters = cw_calloc(r->counter_count, sizeof(uint64_t));
	if (r->counters == NULL) {
		rc = cw_fail(msg, CW_ENOMEM, "out of memory");
		goto err_runner;
	}
	rc = desc->decoder->create(&r->host, r, &r->decoder);
	if (rc < 0) {
		(void)cw_fail(msg, rc, "protocol \"%s\": create() failed: %s", desc->name, cw_error_text(rc));
		goto err_counters;
	}
	*ret_runner = r;
	return 0;
err_counters:
	cw_free(r->counters);
err_runner:
	cw_free(r);
	return rc;
}

void cw_runner_free(struct cw_runner *r)
{
	if (r == NULL)
		return;
	if (r->keeper != NULL)
		cw_keeper_free(r->keeper); /* ends what is still waited for */
	cw_invariant(r->open_conns == 0);
	r->desc->decoder->destroy(r->decoder);
	cw_free(r->conns.slots);
	cw_free(r->devices.slots);
	cw_free(r->counters);
	cw_free(r);
}

int cw_runner_settings(struct cw_runner *r, struct cw_bytes settings, void **ret_conf, struct cw_msg *msg)
{
	char text[400] = "";
	int rc;

	*ret_conf = NULL;
	msg->text[0] = '\0';
	if (r->desc->decoder->settings == NULL)
		return 0;
	rc = r->desc->decoder->settings(r->decoder, settings, text, sizeof(text), ret_conf);
	text[sizeof(text) - 1] = '\0';
	if (rc < 0)
		return cw_fail(msg, rc, "%s", text[0] != '\0' ? text : cw_error_text(rc));
	if (text[0] != '\0')
		(void)cw_fail(msg, 0, "%s", text);
	return r->keeper == NULL ? 0 : cw_remote_settings(r, settings, ret_conf, msg);
}

void cw_runner_settings_free(struct cw_runner *r, void *conf)
{
	if (conf != NULL && r->keeper != NULL)
		cw_remote_settings_free(r, conf);
	else if (conf != NULL && r->desc->decoder->settings_free != NULL)
		r->desc->decoder->settings_free(r->decoder, conf);
}

uint64_t cw_runner_stuck_ms(const struct cw_runner *r)
{
	uint64_t entered = atomic_load_explicit(&((struct cw_runner *)(uintptr_t)r)->entered_ms, memory_order_acquire);
	uint64_t now = cw_clock_ms();

	return entered == 0 || now < entered ? 0 : now - entered;
}

void cw_runner_describe(struct cw_runner *r, char *out, size_t size)
{
	struct cw_conn *c = atomic_load_explicit(&r->at_conn, memory_order_relaxed);
	const uint8_t *frame = atomic_load_explicit(&r->at_frame, memory_order_relaxed);
	size_t len = atomic_load_explicit(&r->at_frame_len, memory_order_relaxed), used, i;

	used = (size_t)snprintf(out, size, "protocol=%s device=%s peer=%.*s frame=", r->desc->name,
	                        c == NULL || c->devices == NULL ? "-" : c->devices->text, c == NULL ? 1 : c->peer_len,
	                        c == NULL ? "-" : c->peer);
	for (i = 0; frame != NULL && i < len && used + 3 < size; i++)
		used += (size_t)snprintf(out + used, size - used, "%02x", frame[i]);
}

const uint64_t *cw_runner_counters(const struct cw_runner *r, size_t *ret_count)
{
	*ret_count = r->counter_count;
	return r->counters;
}
