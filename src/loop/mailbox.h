/*
 * mailbox.h - the only door between loops.
 *
 * A mail is embedded in the object it is about, so posting allocates nothing and
 * cannot fail. Posting moves ownership of that object to the receiving loop until
 * `deliver` runs there. A mail that is in a mailbox must not be posted again.
 * Mails from one thread arrive in the order they were posted; and what a thread
 * posted before it posted to B is seen by B's own later posts in that order.
 */
#ifndef CW_LOOP_MAILBOX_H
#define CW_LOOP_MAILBOX_H

#include <stdatomic.h>
#include <uv.h>

struct cw_mail {
	_Atomic(struct cw_mail *) next;
	void (*deliver)(struct cw_mail *mail); /* runs on the receiving loop */
};

struct cw_mailbox {
	_Atomic(struct cw_mail *) head; /* newest; producers swap it */
	struct cw_mail *tail;           /* oldest; consumer only */
	struct cw_mail stub;
	atomic_int signalled; /* 1 while a wake-up is on its way */
	uv_async_t async;
};

/* On the loop's thread, or before the loop runs. 0 or an error. */
int cw_mailbox_open(struct cw_mailbox *box, uv_loop_t *loop);
/* Deliver what is left, then close the handle; `closed` (may be NULL) is uv's close callback. */
void cw_mailbox_close(struct cw_mailbox *box, uv_close_cb closed);
/* From any thread. */
void cw_mailbox_post(struct cw_mailbox *box, struct cw_mail *mail);
/* Deliver all that is there now. On the loop's thread; called by the wake-up itself. */
void cw_mailbox_drain(struct cw_mailbox *box);

#endif
