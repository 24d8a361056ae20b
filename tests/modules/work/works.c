// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Work on a queue of its own and on the system's, at once and later. */
#include <linux/atomic.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/workqueue.h>

static struct workqueue_struct *queue;
static atomic_t runs = ATOMIC_INIT(0);
static atomic_t repeats = ATOMIC_INIT(0);

static void once(struct work_struct *work)
{
	atomic_inc(&runs);
}

static void again(struct work_struct *work)
{
	atomic_inc(&repeats);
	queue_delayed_work(queue, to_delayed_work(work), 1);
}

static void never(struct work_struct *work)
{
	pr_err("works: work that was cancelled ran\n");
}

static DECLARE_WORK(first, once);
static DECLARE_WORK(second, once);
static DECLARE_DELAYED_WORK(repeating, again);
static DECLARE_DELAYED_WORK(far, never);

static int __init works_init(void)
{
	queue = alloc_workqueue("ferrmod_works", WQ_UNBOUND | WQ_MEM_RECLAIM, 1);
	if (!queue)
		return -ENOMEM;
	if (!queue_work(queue, &first) || !schedule_work(&second))
		goto fail;
	flush_work(&first);
	flush_work(&second);
	if (atomic_read(&runs) != 2 || flush_work(&first))
		goto fail;
	queue_delayed_work(queue, &repeating, 1);
	schedule_delayed_work(&far, 3600 * HZ);
	/* A second queueing of pending work changes nothing. */
	if (schedule_delayed_work(&far, HZ))
		goto fail;
	pr_info("works: ran %d times\n", atomic_read(&runs));
	return 0;
fail:
	cancel_delayed_work_sync(&far);
	cancel_delayed_work_sync(&repeating);
	cancel_work_sync(&second);
	destroy_workqueue(queue);
	return -EINVAL;
}

static void __exit works_exit(void)
{
	bool pending = cancel_delayed_work_sync(&far);

	cancel_delayed_work_sync(&repeating);
	flush_workqueue(queue);
	destroy_workqueue(queue);
	pr_info("works: repeated %s, the far one was %s\n",
		atomic_read(&repeats) ? "yes" : "no", pending ? "pending" : "lost");
}

module_init(works_init);
module_exit(works_exit);
MODULE_DESCRIPTION("Queues work");
MODULE_AUTHOR("The Ferrmod authors");
MODULE_LICENSE("Dual MIT/GPL");
