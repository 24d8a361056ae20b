// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Uses an export of a namespace it imports. */
#include <linux/init.h>
#include <linux/module.h>
#include "loader.h"

static int __init usernsok_init(void)
{
	return e_ns() == 3 && e_data == 4 ? 0 : -EINVAL;
}

static void __exit usernsok_exit(void)
{
}

module_init(usernsok_init);
module_exit(usernsok_exit);
MODULE_DESCRIPTION("Uses an export of a namespace it imports");
MODULE_IMPORT_NS(FERRMOD_TESTS);
MODULE_LICENSE("Dual MIT/GPL");
