// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/*
 * A parameter of every standard type, all of them told in one line of init.
 * The order of the declarations is the order the recorded kallsyms shows.
 */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/printk.h>

static int ret;
module_param(ret, int, 0644);
MODULE_PARM_DESC(ret, "what init returns");

static bool b;
module_param(b, bool, 0644);
MODULE_PARM_DESC(b, "a bool");

static bool ib;
module_param(ib, invbool, 0444);
MODULE_PARM_DESC(ib, "an inverted bool");

static int bi;
module_param(bi, bint, 0644);

static unsigned char by;
module_param(by, byte, 0644);

static short sh;
module_param(sh, short, 0644);

static unsigned short us;
module_param(us, ushort, 0600);
MODULE_PARM_DESC(us, "an unsigned short that root alone reads");

static unsigned int ui;
module_param(ui, uint, 0644);

static long lo;
module_param(lo, long, 0);
MODULE_PARM_DESC(lo, "a long without a file in sysfs");

static unsigned long ul;
module_param(ul, ulong, 0644);

static unsigned long long ull;
module_param(ull, ullong, 0644);

static unsigned int hx;
module_param(hx, hexint, 0644);

static char *cp = "dflt";
module_param(cp, charp, 0644);
MODULE_PARM_DESC(cp, "a string the kernel allocates");

static char str[8] = "abc";
module_param_string(str, str, sizeof(str), 0644);
MODULE_PARM_DESC(str, "a string of up to seven characters");

static int arr[3];
static int narr;
module_param_array(arr, int, &narr, 0644);
MODULE_PARM_DESC(arr, "up to three ints");

static bool eo;
module_param(eo, bool_enable_only, 0644);
MODULE_PARM_DESC(eo, "a bool that never goes back");

static int un;
module_param_unsafe(un, int, 0644);
MODULE_PARM_DESC(un, "an int that taints the kernel when set");

static int with_dash;
module_param(with_dash, int, 0644);
MODULE_PARM_DESC(with_dash, "an int whose name may be written with a dash");

static int cb;

static int cbset(const char *value, const struct kernel_param *parameter)
{
	pr_info("cb set '%s'\n", value);
	return value ? param_set_int(value, parameter) : 0;
}

static const struct kernel_param_ops cbo = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = cbset,
	.get = param_get_int,
};
module_param_cb(cb, &cbo, &cb, 0644);
MODULE_PARM_DESC(cb, "an int with operations of its own, which take no value too");

static int __init base_init(void)
{
	pr_info("base init ret=%d b=%d ib=%d by=%d sh=%d ui=%u lo=%ld ul=%lu hx=%x cp='%s' str='%s' narr=%d arr=%d,%d,%d wd=%d\n",
		ret, b, ib, by, sh, ui, lo, ul, hx, cp, str, narr, arr[0], arr[1], arr[2],
		with_dash);
	return ret;
}

static void __exit base_exit(void)
{
	pr_info("base exit\n");
}

module_init(base_init);
module_exit(base_exit);
MODULE_DESCRIPTION("A parameter of every standard type");
MODULE_AUTHOR("The Ferrmod authors");
MODULE_VERSION("1.2");
MODULE_LICENSE("Dual MIT/GPL");
