// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Takes long to start and to stop. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/delay.h>
#include "loader.h"

static unsigned int delay = 2000;
module_param(delay, uint, 0644);
MODULE_PARM_DESC(delay, "milliseconds that init and exit sleep");

static int ret;
module_param(ret, int, 0644);
MODULE_PARM_DESC(ret, "what init returns");

int slow_sym(void)
{
	return 6;
}
EXPORT_SYMBOL(slow_sym);

static int __init slow_init(void)
{
	msleep(delay);
	return ret;
}

static void __exit slow_exit(void)
{
	msleep(delay);
}

module_init(slow_init);
module_exit(slow_exit);
MODULE_DESCRIPTION("Takes long to start and to stop");
MODULE_LICENSE("Dual MIT/GPL");
