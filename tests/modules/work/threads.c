// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Kernel threads that count, wait for each other and are stopped by exit. */
#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/wait.h>

#define MOST 8

static unsigned int count = 2;
module_param(count, uint, 0444);
MODULE_PARM_DESC(count, "threads, at most 8");

static unsigned int rounds = 10;
module_param(rounds, uint, 0444);
MODULE_PARM_DESC(rounds, "times each thread takes the lock before it reports");

static struct task_struct *threads[MOST];
static DECLARE_COMPLETION(all_done);
static DECLARE_WAIT_QUEUE_HEAD(started);
static DEFINE_MUTEX(lock);
static atomic_t running = ATOMIC_INIT(0);
static atomic_t finished = ATOMIC_INIT(0);
static unsigned int total;

static int work(void *data)
{
	unsigned int i;

	atomic_inc(&running);
	wake_up(&started);
	for (i = 0; i < rounds; i++) {
		mutex_lock(&lock);
		total++;
		mutex_unlock(&lock);
		cond_resched();
	}
	if (atomic_inc_return(&finished) == count)
		complete(&all_done);
	while (!kthread_should_stop()) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (!kthread_should_stop())
			schedule_timeout(HZ);
		__set_current_state(TASK_RUNNING);
	}
	return (unsigned long)data;
}

static void stop_threads(void)
{
	unsigned int i;

	for (i = 0; i < MOST; i++) {
		if (!threads[i])
			continue;
		pr_info("threads: thread %u returned %d\n", i, kthread_stop(threads[i]));
		threads[i] = NULL;
	}
}

static int __init threads_init(void)
{
	unsigned long i;

	if (!count || count > MOST)
		return -EINVAL;
	for (i = 0; i < count; i++) {
		struct task_struct *thread = kthread_run(work, (void *)(i + 40), "ferrmod/%lu", i);

		if (IS_ERR(thread)) {
			stop_threads();
			return PTR_ERR(thread);
		}
		threads[i] = thread;
	}
	if (!wait_event_timeout(started, atomic_read(&running) == count, 5 * HZ) ||
	    !wait_for_completion_timeout(&all_done, 5 * HZ)) {
		stop_threads();
		return -ETIMEDOUT;
	}
	pr_info("threads: %u threads counted to %u\n", count, total);
	return total == count * rounds ? 0 : -EINVAL;
}

static void __exit threads_exit(void)
{
	stop_threads();
}

module_init(threads_init);
module_exit(threads_exit);
MODULE_DESCRIPTION("Runs kernel threads");
MODULE_AUTHOR("The Ferrmod authors");
MODULE_LICENSE("Dual MIT/GPL");
