// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Each of two tasks wants a lock that the other one holds: mutexes, or semaphores. Never load this on a real kernel. */
#include <linux/completion.h>
#include <linux/init.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>

static bool semaphores;
module_param(semaphores, bool, 0444);
MODULE_PARM_DESC(semaphores, "read-write semaphores instead of mutexes");
static bool alone;
module_param(alone, bool, 0444);
MODULE_PARM_DESC(alone, "the other task only holds its lock for a while");

static DEFINE_MUTEX(one);
static DEFINE_MUTEX(other);
static DECLARE_RWSEM(read_one);
static DECLARE_RWSEM(read_other);
static DECLARE_COMPLETION(begun);
static DECLARE_COMPLETION(ended);

static noinline int embrace_mutexes(void *unused)
{
	mutex_lock(&one);
	complete(&begun);
	if (!alone) {
		mutex_lock(&other);
		mutex_unlock(&other);
	}
	mutex_unlock(&one);
	complete(&ended);
	return 0;
}

static noinline int embrace_semaphores(void *unused)
{
	down_write(&read_one);
	complete(&begun);
	down_read(&read_other);
	up_read(&read_other);
	up_write(&read_one);
	complete(&ended);
	return 0;
}

static int __init embrace_init(void)
{
	mutex_lock(&other);
	down_write(&read_other);
	kthread_run(semaphores ? embrace_semaphores : embrace_mutexes, NULL, "embrace");
	wait_for_completion(&begun);
	if (semaphores) {
		down_write(&read_one);
		up_write(&read_one);
	} else {
		mutex_lock(&one);
		mutex_unlock(&one);
	}
	up_write(&read_other);
	mutex_unlock(&other);
	wait_for_completion(&ended);
	return 0;
}

static void __exit embrace_exit(void)
{
}

module_init(embrace_init);
module_exit(embrace_exit);
MODULE_DESCRIPTION("Two tasks that wait for each other");
MODULE_AUTHOR("The Ferrmod authors");
MODULE_LICENSE("Dual MIT/GPL");
