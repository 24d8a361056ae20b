// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Has a weak reference that nobody satisfies. */
#include <linux/init.h>
#include <linux/module.h>

extern int ferrmod_tests_nowhere(void) __weak;

static int __init weaku_init(void)
{
	pr_info("weak %px\n", ferrmod_tests_nowhere);
	return 0;
}

static void __exit weaku_exit(void)
{
}

module_init(weaku_init);
module_exit(weaku_exit);
MODULE_DESCRIPTION("Has a weak reference that nobody satisfies");
MODULE_LICENSE("Dual MIT/GPL");
