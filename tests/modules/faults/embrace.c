// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/*
 * Each of two tasks wants a lock that the other one holds: mutexes, semaphores, or a mutex and that of the network; or one task
 * wants that of the network twice. Never load this on a real kernel.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rtnetlink.h>
#include <linux/rwsem.h>

static bool semaphores;
module_param(semaphores, bool, 0444);
MODULE_PARM_DESC(semaphores, "read-write semaphores instead of mutexes");
static bool network;
module_param(network, bool, 0444);
MODULE_PARM_DESC(network, "the mutex of the network instead of the first task's own");
static bool twice;
module_param(twice, bool, 0444);
MODULE_PARM_DESC(twice, "take the mutex of the network twice");
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
	if (alone) {
		/* Meanwhile the one who loads the module waits for this lock. */
		msleep(1);
	} else {
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

static noinline int embrace_network(void *unused)
{
	mutex_lock(&one);
	complete(&begun);
	rtnl_lock();
	rtnl_unlock();
	mutex_unlock(&one);
	complete(&ended);
	return 0;
}

static int __init embrace_init(void)
{
	if (network || twice)
		rtnl_lock();
	if (twice)
		rtnl_lock();
	mutex_lock(&other);
	down_write(&read_other);
	kthread_run(network ? embrace_network : semaphores ? embrace_semaphores : embrace_mutexes, NULL, "embrace");
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
	if (network)
		rtnl_unlock();
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
