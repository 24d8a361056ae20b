// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Timers of both kinds: one shot, repeated, put off, and cancelled. */
#include <linux/completion.h>
#include <linux/hrtimer.h>
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/timer.h>

static unsigned int ticks = 3;
module_param(ticks, uint, 0444);
MODULE_PARM_DESC(ticks, "times each timer fires before init returns");

static struct timer_list wheel, far;
static struct hrtimer high;
static unsigned int wheel_ticks, high_ticks;
static DECLARE_COMPLETION(wheel_done);
static DECLARE_COMPLETION(high_done);

static void wheel_fired(struct timer_list *timer)
{
	if (++wheel_ticks < ticks)
		mod_timer(timer, jiffies + 1);
	else
		complete(&wheel_done);
}

static void far_fired(struct timer_list *timer)
{
	pr_err("timers: a timer that was cancelled fired\n");
}

static enum hrtimer_restart high_fired(struct hrtimer *timer)
{
	if (++high_ticks >= ticks) {
		complete(&high_done);
		return HRTIMER_NORESTART;
	}
	hrtimer_forward_now(timer, ms_to_ktime(1));
	return HRTIMER_RESTART;
}

static int __init timers_init(void)
{
	ktime_t begin = ktime_get();

	timer_setup(&wheel, wheel_fired, 0);
	timer_setup(&far, far_fired, 0);
	hrtimer_init(&high, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	high.function = high_fired;
	mod_timer(&wheel, jiffies + 1);
	mod_timer(&far, jiffies + 3600 * HZ);
	hrtimer_start(&high, ms_to_ktime(1), HRTIMER_MODE_REL);
	if (!wait_for_completion_timeout(&wheel_done, 10 * HZ) ||
	    !wait_for_completion_timeout(&high_done, 10 * HZ) ||
	    !timer_pending(&far) || timer_pending(&wheel)) {
		hrtimer_cancel(&high);
		del_timer_sync(&wheel);
		del_timer_sync(&far);
		return -ETIMEDOUT;
	}
	pr_info("timers: fired %u and %u times, time went %s\n", wheel_ticks, high_ticks,
		ktime_after(ktime_get(), begin) ? "on" : "back");
	return 0;
}

static void __exit timers_exit(void)
{
	bool pending = del_timer_sync(&far);

	del_timer_sync(&wheel);
	hrtimer_cancel(&high);
	pr_info("timers: the far one was %s\n", pending ? "pending" : "lost");
}

module_init(timers_init);
module_exit(timers_exit);
MODULE_DESCRIPTION("Sets timers");
MODULE_AUTHOR("The Ferrmod authors");
MODULE_LICENSE("Dual MIT/GPL");
