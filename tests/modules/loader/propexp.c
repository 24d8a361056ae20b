// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Exports a symbol under a proprietary licence. */
#include <linux/init.h>
#include <linux/module.h>
#include "loader.h"

int p_any(void)
{
	return 5;
}
EXPORT_SYMBOL(p_any);

static int __init propexp_init(void)
{
	return 0;
}

static void __exit propexp_exit(void)
{
}

module_init(propexp_init);
module_exit(propexp_exit);
MODULE_DESCRIPTION("Exports a symbol under a proprietary licence");
MODULE_LICENSE("Proprietary");
