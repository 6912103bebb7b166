/* The mailbox: nothing lost, order per producer, several producers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "loop/thread.h"
#include "loop/worker.h"

#define PRODUCERS 4
#define MAILS 20000

struct item {
	struct cw_mail mail;
	int producer, number;
};

static struct cw_worker *worker;
static struct item items[PRODUCERS][MAILS];
static int next_number[PRODUCERS];
static int arrived, out_of_order;

static void on_item(struct cw_mail *mail)
{
	struct item *it = cw_container_of(mail, struct item, mail);

	if (it->number != next_number[it->producer]++)
		out_of_order++;
	if (!cw_worker_here(worker))
		out_of_order++;
	if (++arrived == PRODUCERS * MAILS)
		cw_worker_release(worker);
}

static void produce(void *arg)
{
	struct item *mine = arg;
	int i;

	for (i = 0; i < MAILS; i++)
		cw_post(worker, &mine[i].mail, on_item);
}

static void mails_of_each_producer_arrive_all_and_in_order(void **state)
{
	struct cw_thread threads[PRODUCERS] = { 0 };
	int p, i;

	assert_int_equal(cw_worker_new("t", 0, &worker), 0);
	for (p = 0; p < PRODUCERS; p++)
		for (i = 0; i < MAILS; i++)
			items[p][i] = (struct item){ .producer = p, .number = i };
	assert_int_equal(cw_worker_start(worker), 0);
	for (p = 0; p < PRODUCERS; p++)
		assert_int_equal(cw_thread_start(&threads[p], "producer", produce, items[p]), 0);
	for (p = 0; p < PRODUCERS; p++)
		cw_thread_join(&threads[p]);
	cw_worker_join(worker);
	assert_int_equal(arrived, PRODUCERS * MAILS);
	assert_int_equal(out_of_order, 0);
	cw_worker_free(worker);
	assert_int_equal(cw_mem_live(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mails_of_each_producer_arrive_all_and_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
