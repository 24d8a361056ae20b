// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Has a licence that the GPL symbols do not accept. */
#include <linux/init.h>
#include <linux/module.h>

static int __init nolic_init(void)
{
	return 0;
}

static void __exit nolic_exit(void)
{
}

module_init(nolic_init);
module_exit(nolic_exit);
MODULE_DESCRIPTION("Has a licence that the GPL symbols do not accept");
MODULE_LICENSE("BSD");
