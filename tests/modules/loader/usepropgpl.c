// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Uses a proprietary export, then a GPL-only one. */
#include <linux/init.h>
#include <linux/module.h>
#include "loader.h"

static int __init usepropgpl_init(void)
{
	return p_any() == 5 && e_gpl() == 2 ? 0 : -EINVAL;
}

static void __exit usepropgpl_exit(void)
{
}

module_init(usepropgpl_init);
module_exit(usepropgpl_exit);
MODULE_DESCRIPTION("Uses a proprietary export, then a GPL-only one");
MODULE_LICENSE("Dual MIT/GPL");
