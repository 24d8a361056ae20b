// SPDX-License-Identifier: MIT OR Apache-2.0
// Trace events of a module: a number written to its parameter `say` makes each of them happen.
#include <linux/module.h>
#include <linux/spinlock.h>

#define CREATE_TRACE_POINTS
#include "said.h"

static DEFINE_SPINLOCK(quiet);

static int say(const char *text, const struct kernel_param *parameter)
{
	static const u8 bytes[] = { 0xde, 0xad, 0xbe, 0xef, 1, 2, 3 };
	unsigned long flags;
	int number, error = kstrtoint(text, 0, &number);

	if (error)
		return error;
	trace_ferrmod_mixed(number ? "some text" : "", number, bytes);
	trace_ferrmod_left(number, -number);
	spin_lock_irqsave(&quiet, flags);
	trace_ferrmod_right(number, number);
	spin_unlock_irqrestore(&quiet, flags);
	local_bh_disable();
	trace_ferrmod_some(number);
	local_bh_enable();
	return 0;
}

static const struct kernel_param_ops ops = { .set = say };
module_param_cb(say, &ops, NULL, 0200);
MODULE_PARM_DESC(say, "a number that each event says");

static bool listened;
module_param(listened, bool, 0444);
MODULE_PARM_DESC(listened, "somebody listened when the module came");

static int __init events_init(void)
{
	listened = trace_ferrmod_left_enabled();
	trace_ferrmod_left(1, 1);
	return 0;
}

static void __exit events_exit(void)
{
}

module_init(events_init);
module_exit(events_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("trace events that happen when a number is written");
