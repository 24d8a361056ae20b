// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Has neither init nor exit: becomes live by being loaded. */
#include <linux/module.h>

MODULE_DESCRIPTION("Has no code at all");
MODULE_LICENSE("Dual MIT/GPL");
