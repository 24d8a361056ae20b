// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Registers one thing with the kernel and forgets to take it back. */
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/timer.h>
#include <linux/workqueue.h>

static char *what = "chrdev";
module_param(what, charp, 0444);
MODULE_PARM_DESC(what, "chrdev, misc, notifier, proc, timer, work, thread or nothing");

static int notified(struct notifier_block *block, unsigned long event, void *data)
{
	return NOTIFY_DONE;
}

static int shown(struct seq_file *file, void *unused)
{
	return 0;
}

static void fired(struct timer_list *timer)
{
}

static void worked(struct work_struct *work)
{
}

static int waiting(void *unused)
{
	while (!kthread_should_stop())
		schedule_timeout_interruptible(HZ);
	return 0;
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
};

static struct miscdevice misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "ferrmod_left",
	.fops = &operations,
};

static struct notifier_block block = { .notifier_call = notified };
static DEFINE_TIMER(timer, fired);
static DECLARE_DELAYED_WORK(work, worked);

static int __init leakreg_init(void)
{
	int answer;

	if (!strcmp(what, "nothing"))
		return 0;
	if (!strcmp(what, "chrdev")) {
		answer = register_chrdev(0, "ferrmod_left", &operations);
		return answer < 0 ? answer : 0;
	}
	if (!strcmp(what, "misc"))
		return misc_register(&misc);
	if (!strcmp(what, "notifier"))
		return register_module_notifier(&block);
	if (!strcmp(what, "proc"))
		return proc_create_single("ferrmod_left", 0444, NULL, shown) ? 0 : -ENOMEM;
	if (!strcmp(what, "timer"))
		return mod_timer(&timer, jiffies + 3600 * HZ);
	if (!strcmp(what, "work"))
		return schedule_delayed_work(&work, 3600 * HZ) ? 0 : -EBUSY;
	if (!strcmp(what, "thread"))
		return PTR_ERR_OR_ZERO(kthread_run(waiting, NULL, "ferrmod_left"));
	return -EINVAL;
}

static void __exit leakreg_exit(void)
{
}

module_init(leakreg_init);
module_exit(leakreg_exit);
MODULE_DESCRIPTION("Leaves a registration behind");
MODULE_AUTHOR("The Ferrmod authors");
MODULE_LICENSE("Dual MIT/GPL");
