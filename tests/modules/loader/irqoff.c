// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Returns from init with interrupts off; the recorded report calls the function `i'. */
#include <linux/init.h>
#include <linux/irqflags.h>
#include <linux/module.h>

static int __init i(void)
{
	local_irq_disable();
	return 0;
}

static void __exit irqoff_exit(void)
{
}

module_init(i);
module_exit(irqoff_exit);
MODULE_DESCRIPTION("Leaves interrupts disabled");
MODULE_LICENSE("Dual MIT/GPL");
