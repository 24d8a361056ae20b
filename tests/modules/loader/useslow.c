// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Needs a module whose init takes long. */
#include <linux/init.h>
#include <linux/module.h>
#include "loader.h"

static int __init useslow_init(void)
{
	return slow_sym() == 6 ? 0 : -EINVAL;
}

static void __exit useslow_exit(void)
{
}

module_init(useslow_init);
module_exit(useslow_exit);
MODULE_DESCRIPTION("Needs a module whose init takes long");
MODULE_LICENSE("Dual MIT/GPL");
