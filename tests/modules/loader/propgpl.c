// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Uses a GPL-only export; the tests rewrite its licence to a proprietary one. */
#include <linux/init.h>
#include <linux/module.h>
#include "loader.h"

static int __init propgpl_init(void)
{
	return e_gpl() == 2 ? 0 : -EINVAL;
}

static void __exit propgpl_exit(void)
{
}

module_init(propgpl_init);
module_exit(propgpl_exit);
MODULE_DESCRIPTION("Uses a GPL-only export; the tests rewrite its licence to a proprietary one");
MODULE_LICENSE("Dual MIT/GPL");
