// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Uses an export of a proprietary module and inherits its taint. */
#include <linux/init.h>
#include <linux/module.h>
#include "loader.h"

static int __init useprop_init(void)
{
	return p_any() == 5 ? 0 : -EINVAL;
}

static void __exit useprop_exit(void)
{
}

module_init(useprop_init);
module_exit(useprop_exit);
MODULE_DESCRIPTION("Uses an export of a proprietary module and inherits its taint");
MODULE_LICENSE("Dual MIT/GPL");
