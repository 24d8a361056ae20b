// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Uses an export of a namespace; its copy userns2.ko loses the import. */
#include <linux/init.h>
#include <linux/module.h>
#include "loader.h"

static int __init userns_init(void)
{
	return e_ns() == 3 ? 0 : -EINVAL;
}

static void __exit userns_exit(void)
{
}

module_init(userns_init);
module_exit(userns_exit);
MODULE_DESCRIPTION("Uses an export of a namespace; its copy userns2.ko loses the import");
MODULE_IMPORT_NS(FERRMOD_TESTS);
MODULE_LICENSE("Dual MIT/GPL");
