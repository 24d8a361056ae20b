// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Has per-CPU data of its own, copied to every CPU. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/percpu.h>

static DEFINE_PER_CPU(u64, total);
static DEFINE_PER_CPU(int, counter) = 7;

static int __init pcpu_init(void)
{
	int cpu;

	for_each_online_cpu(cpu)
		pr_info("pcpu %d %d %px\n", cpu, per_cpu(counter, cpu), per_cpu_ptr(&counter, cpu));
	this_cpu_inc(counter);
	this_cpu_add(total, this_cpu_read(counter));
	return this_cpu_read(total) == 8 ? 0 : -EINVAL;
}

static void __exit pcpu_exit(void)
{
}

module_init(pcpu_init);
module_exit(pcpu_exit);
MODULE_DESCRIPTION("Has per-CPU data of its own, copied to every CPU");
MODULE_LICENSE("Dual MIT/GPL");
