// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Uses a plain and a GPL-only export. */
#include <linux/init.h>
#include <linux/module.h>
#include "loader.h"

static int __init user_init(void)
{
	pr_info("user %d %d\n", e_any(), e_gpl());
	return 0;
}

static void __exit user_exit(void)
{
}

module_init(user_init);
module_exit(user_exit);
MODULE_DESCRIPTION("Uses a plain and a GPL-only export");
MODULE_LICENSE("Dual MIT/GPL");
