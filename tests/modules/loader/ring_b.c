// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Needs ring_a, which needs this module. */
#include <linux/init.h>
#include <linux/module.h>
#include "loader.h"

int ring_b_turn(int left)
{
	return left ? ring_a_turn(left - 1) : 0;
}
EXPORT_SYMBOL(ring_b_turn);

static int __init ring_b_init(void)
{
	return ring_a_turn(1);
}

static void __exit ring_b_exit(void)
{
}

module_init(ring_b_init);
module_exit(ring_b_exit);
MODULE_DESCRIPTION("Needs ring_a, which needs this module");
MODULE_LICENSE("Dual MIT/GPL");
