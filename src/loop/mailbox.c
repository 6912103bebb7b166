/*
 * mailbox.c - Vyukov's intrusive many-producer, one-consumer queue with a uv_async
 * wake-up. A producer that was interrupted between swapping the head and linking
 * its mail makes the queue look short for a moment; it posts its own wake-up
 * afterwards, so the consumer just stops there.
 */
#include "loop/mailbox.h"

#include <stddef.h>

#include "base/err.h"
#include "base/mem.h"

/* Mails delivered per wake-up before the loop gets a turn for its sockets. */
#define DRAIN_MOST 4096

static void on_wake(uv_async_t *async)
{
	cw_mailbox_drain(cw_container_of(async, struct cw_mailbox, async));
}

int cw_mailbox_open(struct cw_mailbox *box, uv_loop_t *loop)
{
	int rc;

	atomic_store(&box->stub.next, NULL);
	box->stub.deliver = NULL;
	atomic_store(&box->head, &box->stub);
	box->tail = &box->stub;
	atomic_store(&box->signalled, 0);
	rc = uv_async_init(loop, &box->async, on_wake);
	return rc < 0 ? cw_err_from_errno(-rc) : 0;
}

static void enqueue(struct cw_mailbox *box, struct cw_mail *mail)
{
	struct cw_mail *prev;

	atomic_store_explicit(&mail->next, NULL, memory_order_relaxed);
	prev = atomic_exchange_explicit(&box->head, mail, memory_order_acq_rel);
	atomic_store_explicit(&prev->next, mail, memory_order_release);
}

static struct cw_mail *dequeue(struct cw_mailbox *box)
{
	struct cw_mail *tail = box->tail;
	struct cw_mail *next = atomic_load_explicit(&tail->next, memory_order_acquire);

	if (tail == &box->stub) {
		if (next == NULL)
			return NULL;
		box->tail = next;
		tail = next;
		next = atomic_load_explicit(&tail->next, memory_order_acquire);
	}
	if (next != NULL) {
		box->tail = next;
		return tail;
	}
	if (tail != atomic_load_explicit(&box->head, memory_order_acquire))
		return NULL; /* a producer is half-way; its wake-up follows */
	enqueue(box, &box->stub);
	next = atomic_load_explicit(&tail->next, memory_order_acquire);
	if (next == NULL)
		return NULL;
	box->tail = next;
	return tail;
}

void cw_mailbox_post(struct cw_mailbox *box, struct cw_mail *mail)
{
	enqueue(box, mail);
	if (atomic_exchange_explicit(&box->signalled, 1, memory_order_acq_rel) == 0)
		(void)uv_async_send(&box->async);
}

void cw_mailbox_drain(struct cw_mailbox *box)
{
	struct cw_mail *mail;
	int n = 0;

	atomic_store_explicit(&box->signalled, 0, memory_order_seq_cst);
	while ((mail = dequeue(box)) != NULL) {
		mail->deliver(mail);
		if (++n == DRAIN_MOST) {
			if (atomic_exchange(&box->signalled, 1) == 0)
				(void)uv_async_send(&box->async);
			return;
		}
	}
}

void cw_mailbox_close(struct cw_mailbox *box, uv_close_cb closed)
{
	struct cw_mail *mail;

	while ((mail = dequeue(box)) != NULL)
		mail->deliver(mail);
	uv_close((uv_handle_t *)&box->async, closed);
}
