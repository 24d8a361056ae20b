// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Exports a name that exporter.ko exports too. */
#include <linux/init.h>
#include <linux/module.h>

int e_any(void);

int e_any(void)
{
	return 7;
}
EXPORT_SYMBOL(e_any);

static int __init dupexp_init(void)
{
	return 0;
}

static void __exit dupexp_exit(void)
{
}

module_init(dupexp_init);
module_exit(dupexp_exit);
MODULE_DESCRIPTION("Exports a duplicate symbol");
MODULE_LICENSE("Dual MIT/GPL");
