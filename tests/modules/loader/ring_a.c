// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Needs ring_b, which needs this module. */
#include <linux/init.h>
#include <linux/module.h>
#include "loader.h"

int ring_a_turn(int left)
{
	return left ? ring_b_turn(left - 1) : 0;
}
EXPORT_SYMBOL(ring_a_turn);

static int __init ring_a_init(void)
{
	return ring_b_turn(1);
}

static void __exit ring_a_exit(void)
{
}

module_init(ring_a_init);
module_exit(ring_a_exit);
MODULE_DESCRIPTION("Needs ring_b, which needs this module");
MODULE_LICENSE("Dual MIT/GPL");
