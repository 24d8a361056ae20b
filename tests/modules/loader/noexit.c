// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Has an init and no exit: permanent once it lives. */
#include <linux/init.h>
#include <linux/module.h>

static int __init noexit_init(void)
{
	return 0;
}

module_init(noexit_init);
MODULE_DESCRIPTION("Has no exit function");
MODULE_LICENSE("Dual MIT/GPL");
