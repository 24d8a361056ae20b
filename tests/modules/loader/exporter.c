// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* One export of each class. */
#include <linux/module.h>
#include "loader.h"

int e_any(void)
{
	return 1;
}
EXPORT_SYMBOL(e_any);

int e_gpl(void)
{
	return 2;
}
EXPORT_SYMBOL_GPL(e_gpl);

int e_ns(void)
{
	return 3;
}
EXPORT_SYMBOL_NS_GPL(e_ns, FERRMOD_TESTS);

int e_data = 4;
EXPORT_SYMBOL(e_data);

static int __init exporter_init(void)
{
	return 0;
}

static void __exit exporter_exit(void)
{
}

module_init(exporter_init);
module_exit(exporter_exit);
MODULE_DESCRIPTION("Exports a symbol of each class");
MODULE_LICENSE("Dual MIT/GPL");
