// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Two CPUs that wait for each other, share a lock, interrupt each other and read what is being taken away. */
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

static bool deadlock;
module_param(deadlock, bool, 0444);
MODULE_PARM_DESC(deadlock, "two CPUs take two locks in different order, for ever");

static DEFINE_PER_CPU(unsigned long, own);
static DEFINE_SPINLOCK(first);
static DEFINE_SPINLOCK(second);
static unsigned long shared;
static int turn;
static int wrong;
static struct completion done[2];

struct number {
	int value;
};
static struct number __rcu *number;

static int say(const char *what, int right)
{
	pr_info("cpus: %s: %s\n", what, right ? "right" : "WRONG");
	if (!right)
		wrong++;
	return right;
}

static int on_both(int (*function)(void *))
{
	unsigned long cpu;

	for (cpu = 0; cpu < 2; cpu++) {
		struct task_struct *task;

		init_completion(&done[cpu]);
		task = kthread_create_on_node(function, (void *)cpu, NUMA_NO_NODE, "ferrmod/%lu", cpu);
		if (IS_ERR(task))
			return PTR_ERR(task);
		kthread_bind(task, cpu);
		wake_up_process(task);
	}
	return 0;
}

static void wait_for_both(void)
{
	wait_for_completion(&done[0]);
	wait_for_completion(&done[1]);
}

/* Each waits for the other without giving up its CPU: on one CPU that never ends. */
static int alternate(void *data)
{
	int me = (long)data, round;

	for (round = 0; round < 20; round++) {
		while (READ_ONCE(turn) != me)
			cpu_relax();
		WRITE_ONCE(turn, !me);
	}
	complete(&done[me]);
	return 0;
}

static int count(void *data)
{
	int me = (long)data, round;
	unsigned long end = jiffies + HZ / 10;

	for (round = 0; round < 50000 || time_before(jiffies, end); round++) {
		unsigned long seen;
		unsigned int i;

		spin_lock(&first);
		seen = READ_ONCE(shared);
		for (i = 0; i < 50; i++)
			barrier();
		WRITE_ONCE(shared, seen + 1);
		spin_unlock(&first);
		preempt_disable();
		if (smp_processor_id() != me)
			wrong++;
		__this_cpu_inc(own);
		preempt_enable();
	}
	complete(&done[me]);
	return 0;
}

static int embrace(void *data)
{
	int me = (long)data;
	spinlock_t *one = me ? &second : &first, *other = me ? &first : &second;
	unsigned long end = jiffies + HZ / 20;

	spin_lock(one);
	while (time_before(jiffies, end))
		cpu_relax();
	spin_lock(other);
	spin_unlock(other);
	spin_unlock(one);
	complete(&done[me]);
	return 0;
}

/* One reads for a while; the other takes away what it reads. */
static int read_and_free(void *data)
{
	int me = (long)data;

	if (me) {
		struct number *old = rcu_dereference_protected(number, 1);

		while (!READ_ONCE(turn))
			cpu_relax();
		rcu_assign_pointer(number, NULL);
		synchronize_rcu();
		if (READ_ONCE(turn) != 2)
			wrong++;
		old->value = 0;
		kfree(old);
	} else {
		struct number *mine;
		unsigned long end;

		rcu_read_lock();
		mine = rcu_dereference(number);
		WRITE_ONCE(turn, 1);
		end = jiffies + HZ / 10;
		while (time_before(jiffies, end))
			if (READ_ONCE(mine->value) != 42)
				wrong++;
		WRITE_ONCE(turn, 2);
		rcu_read_unlock();
	}
	complete(&done[me]);
	return 0;
}

static void where(void *at)
{
	*(int *)at = smp_processor_id() + (in_hardirq() ? 100 : 0);
}

static long where_long(void *unused)
{
	return raw_smp_processor_id();
}

static void add(void *unused)
{
	this_cpu_add(own, 1000);
}

static struct {
	struct work_struct work;
	int cpu;
} item;

static void note(struct work_struct *work)
{
	item.cpu = raw_smp_processor_id();
}

static int __init cpus_init(void)
{
	unsigned long sum = 0, before;
	int cpu, at = -1;

	pr_info("cpus: %u online, %u possible\n", num_online_cpus(), num_possible_cpus());
	if (num_online_cpus() < 2)
		return -ENODEV;
	if (deadlock) {
		if (!on_both(embrace))
			wait_for_both();
		return 0;
	}

	if (!on_both(alternate))
		wait_for_both();
	say("two that wait for each other", turn == 0);

	if (!on_both(count))
		wait_for_both();
	for_each_online_cpu(cpu)
		sum += per_cpu(own, cpu);
	say("what a lock protects", shared == sum && shared >= 100000);
	say("per-CPU memory", per_cpu(own, 0) >= 50000 && per_cpu(own, 1) >= 50000 && !wrong);

	turn = 0;
	RCU_INIT_POINTER(number, kmalloc(sizeof(struct number), GFP_KERNEL));
	if (!rcu_access_pointer(number))
		return -ENOMEM;
	rcu_dereference_protected(number, 1)->value = 42;
	if (!on_both(read_and_free))
		wait_for_both();
	say("what a reader still reads", !wrong);

	cpu = get_cpu();
	say("a call on the other CPU", !smp_call_function_single(!cpu, where, &at, 1) && at == !cpu + 100);
	say("a call on this CPU", !smp_call_function_single(cpu, where, &at, 1) && at % 100 == cpu);
	put_cpu();
	say("a call on no CPU", smp_call_function_single(nr_cpu_ids, where, &at, 1) == -ENXIO);
	before = per_cpu(own, 0) + per_cpu(own, 1);
	on_each_cpu(add, NULL, 1);
	say("a call on each CPU", per_cpu(own, 0) + per_cpu(own, 1) == before + 1000 * num_online_cpus());

	for (cpu = 0; cpu < 2; cpu++) {
		INIT_WORK_ONSTACK(&item.work, note);
		item.cpu = -1;
		queue_work_on(cpu, system_wq, &item.work);
		flush_work(&item.work);
		say("a work item of a CPU", item.cpu == cpu);
		say("a task's work on a CPU", work_on_cpu(cpu, where_long, NULL) == cpu);
	}
	at = 0;
	for_each_cpu_wrap(cpu, cpu_online_mask, 1)
		at = at * 10 + cpu + 1;
	say("all CPUs from the second on", num_online_cpus() != 2 || at == 21);
	return wrong ? -EIO : 0;
}

static void __exit cpus_exit(void)
{
}

module_init(cpus_init);
module_exit(cpus_exit);
MODULE_DESCRIPTION("Uses two CPUs");
MODULE_AUTHOR("The Ferrmod authors");
MODULE_LICENSE("Dual MIT/GPL");
