// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/*
 * Sleeps where it must not, in the way that what=NAME says (the table at the end lists them), and prints "atomic: NAME returned".
 * "none" does in the same places what is allowed there.
 */
#include <linux/compiler.h>
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/interrupt.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/mempool.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/rwsem.h>
#include <linux/semaphore.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

static char *what = "none";
module_param(what, charp, 0444);
MODULE_PARM_DESC(what, "the cause");

static DEFINE_SPINLOCK(spot);
static DEFINE_RWLOCK(pair);
static DEFINE_MUTEX(gate);
static DECLARE_RWSEM(doors);
static DEFINE_SEMAPHORE(turnstile);

/* What sleeps, in a function of its own, so that its name is told. */
static noinline void sleeper(void)
{
	mutex_lock(&gate);
	mutex_unlock(&gate);
	barrier();
}

/* What begins the section, for its caller: when somebody sleeps it has returned. */
static noinline void begin(void)
{
	spin_lock(&spot);
	barrier();
}

static noinline void by_spin_lock(void)
{
	begin();
	sleeper();
	spin_unlock(&spot);
}

static noinline void by_irqsave(void)
{
	unsigned long flags;

	spin_lock_irqsave(&spot, flags);
	kfree(kmalloc(100, GFP_KERNEL));
	spin_unlock_irqrestore(&spot, flags);
}

static noinline void by_bottom_halves(void)
{
	local_bh_disable();
	vfree(vmalloc(100));
	local_bh_enable();
}

static noinline void by_preempt(void)
{
	preempt_disable();
	sleeper();
	preempt_enable();
}

static noinline void by_interrupts(void)
{
	local_irq_disable();
	down(&turnstile);
	up(&turnstile);
	local_irq_enable();
}

static noinline void by_rcu(void)
{
	rcu_read_lock();
	down_read(&doors);
	up_read(&doors);
	rcu_read_unlock();
}

static noinline void by_write_lock(void)
{
	write_lock(&pair);
	might_sleep();
	write_unlock(&pair);
}

static void fired(struct timer_list *timer)
{
	sleeper();
	pr_info("fired\n");
}

static DEFINE_TIMER(alarm, fired);

static noinline void by_timer(void)
{
	mod_timer(&alarm, jiffies);
	msleep(40);
}

static noinline void by_schedule(void)
{
	begin();
	msleep(1);
	spin_unlock(&spot);
}

static noinline void by_loop(void)
{
	int round;

	for (round = 0; round < 3; round++) {
		begin();
		sleeper();
		spin_unlock(&spot);
	}
}

static noinline void by_both(void)
{
	rcu_read_lock();
	begin();
	sleeper();
	spin_unlock(&spot);
	rcu_read_unlock();
}

static void nothing(struct work_struct *work)
{
}

static DECLARE_WORK(idle, nothing);

static noinline void by_idle_work(void)
{
	begin();
	cancel_work_sync(&idle);
	spin_unlock(&spot);
	/* It was only told: preemption is as it was. */
	sleeper();
}

static int hold(void *unused)
{
	begin();
	return 0;
}

static noinline void by_successor(void)
{
	kthread_run(hold, NULL, "holder");
	msleep(1);
	by_preempt();
	barrier();
}

static void called(void *unused)
{
	sleeper();
	barrier();
}

static noinline void by_call(void)
{
	local_irq_disable();
	local_irq_enable();
	smp_call_function_single(0, called, NULL, 1);
	barrier();
}

static int element;

static void *take(gfp_t flags, void *unused)
{
	return &element;
}

static void give(void *taken, void *unused)
{
}

static noinline void by_pool(void)
{
	mempool_t *pool = mempool_create(1, take, give, NULL);

	if (!pool)
		return;
	begin();
	mempool_free(mempool_alloc(pool, GFP_KERNEL), pool);
	spin_unlock(&spot);
	mempool_destroy(pool);
}

/* Gives one to a new pool. That is what the pool has to fall back on before anybody waits for memory. */
static void *take_once(gfp_t flags, void *unused)
{
	static bool taken;

	if (taken && (flags & __GFP_DIRECT_RECLAIM))
		pr_err("BUG: memory is waited for although the pool has some\n");
	if (taken)
		return NULL;
	taken = true;
	return &element;
}

static noinline void none(void)
{
	static struct execute_work later;
	unsigned long flags;
	mempool_t *pool = mempool_create(1, take_once, give, NULL);

	if (pool) {
		mempool_free(mempool_alloc(pool, GFP_KERNEL), pool);
		mempool_destroy(pool);
	}
	spin_lock(&spot);
	if (execute_in_process_context(nothing, &later))
		pr_err("BUG: work is put off although this is no interrupt\n");
	spin_unlock(&spot);
	spin_lock_irqsave(&spot, flags);
	kfree(kmalloc(100, GFP_ATOMIC));
	if (mutex_trylock(&gate))
		mutex_unlock(&gate);
	spin_unlock_irqrestore(&spot, flags);
	rcu_read_lock();
	rcu_read_lock();
	rcu_read_unlock();
	kfree(kzalloc(100, GFP_NOWAIT));
	rcu_read_unlock();
	local_bh_disable();
	local_bh_enable();
	preempt_disable();
	preempt_enable();
	local_irq_disable();
	local_irq_enable();
	read_lock(&pair);
	read_unlock(&pair);
	sleeper();
	kfree(kmalloc(100, GFP_KERNEL));
	vfree(vmalloc(100));
	synchronize_rcu();
	down_write(&doors);
	up_write(&doors);
	msleep(1);
	might_sleep();
}

static const struct {
	const char *name;
	void (*commit)(void);
} causes[] = {
	{ "none", none },
	{ "spin_lock", by_spin_lock },
	{ "irqsave", by_irqsave },
	{ "bottom_halves", by_bottom_halves },
	{ "preempt", by_preempt },
	{ "interrupts", by_interrupts },
	{ "rcu", by_rcu },
	{ "write_lock", by_write_lock },
	{ "timer", by_timer },
	{ "schedule", by_schedule },
	{ "loop", by_loop },
	{ "both", by_both },
	{ "idle_work", by_idle_work },
	{ "successor", by_successor },
	{ "call", by_call },
	{ "pool", by_pool },
};

static int __init atomic_init(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(causes); i++) {
		if (strcmp(what, causes[i].name))
			continue;
		causes[i].commit();
		pr_info("atomic: %s returned\n", what);
		return 0;
	}
	return -EINVAL;
}

static void __exit atomic_exit(void)
{
	del_timer_sync(&alarm);
}

module_init(atomic_init);
module_exit(atomic_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Sleeps where it must not");
