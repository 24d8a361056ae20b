// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* One CPU gives an event to a handler; meanwhile the other takes away the handler that is the next to get it. */
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/input.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/slab.h>

static struct input_dev *keys;
static struct completion done[2];
static int stage;
static int is_gone;
static int went_early;
static int heard[2];

static bool is_ours(struct input_handler *handler, struct input_dev *dev)
{
	return dev == keys;
}

static int connect(struct input_handler *handler, struct input_dev *dev, const struct input_device_id *id)
{
	struct input_handle *handle = kzalloc(sizeof(*handle), GFP_KERNEL);
	int error;

	if (!handle)
		return -ENOMEM;
	handle->dev = dev;
	handle->handler = handler;
	handle->name = handler->name;
	error = input_register_handle(handle);
	if (!error) {
		error = input_open_device(handle);
		if (!error)
			return 0;
		input_unregister_handle(handle);
	}
	kfree(handle);
	return error;
}

static void disconnect(struct input_handle *handle)
{
	input_close_device(handle);
	input_unregister_handle(handle);
	memset(handle, 0x6b, sizeof(*handle));
	kfree(handle);
}

/* The first listens for a while after the second has begun to go. */
static void hear_slowly(struct input_handle *handle, unsigned int type, unsigned int code, int value)
{
	ktime_t end;

	if (type != EV_KEY)
		return;
	heard[0]++;
	WRITE_ONCE(stage, 1);
	while (READ_ONCE(stage) != 2)
		cpu_relax();
	end = ktime_add_ms(ktime_get(), 50);
	while (ktime_before(ktime_get(), end))
		cpu_relax();
	went_early = READ_ONCE(is_gone);
}

static void hear(struct input_handle *handle, unsigned int type, unsigned int code, int value)
{
	heard[1]++;
}

static const struct input_device_id all[] = { { .driver_info = 1 }, { } };

static struct input_handler first = {
	.name = "first", .event = hear_slowly, .match = is_ours, .connect = connect, .disconnect = disconnect, .id_table = all,
};
static struct input_handler second = {
	.name = "second", .event = hear, .match = is_ours, .connect = connect, .disconnect = disconnect, .id_table = all,
};

static int press_or_go(void *data)
{
	int me = (long)data;

	if (me) {
		while (READ_ONCE(stage) != 1)
			cpu_relax();
		WRITE_ONCE(stage, 2);
		input_unregister_handler(&second);
		WRITE_ONCE(is_gone, 1);
	} else {
		input_report_key(keys, KEY_A, 1);
		input_sync(keys);
	}
	complete(&done[me]);
	return 0;
}

static int __init listeners_init(void)
{
	struct task_struct *task[2];
	unsigned long cpu;
	int error;

	if (num_online_cpus() < 2)
		return -ENODEV;
	keys = input_allocate_device();
	if (!keys)
		return -ENOMEM;
	keys->name = "listeners";
	input_set_capability(keys, EV_KEY, KEY_A);
	error = input_register_device(keys);
	if (error) {
		input_free_device(keys);
		return error;
	}
	error = input_register_handler(&first);
	if (error)
		goto no_first;
	error = input_register_handler(&second);
	if (error)
		goto no_second;
	for (cpu = 0; cpu < 2; cpu++) {
		init_completion(&done[cpu]);
		task[cpu] = kthread_create_on_node(press_or_go, (void *)cpu, NUMA_NO_NODE, "ferrmod/%lu", cpu);
		if (IS_ERR(task[cpu])) {
			error = PTR_ERR(task[cpu]);
			goto no_tasks;
		}
		kthread_bind(task[cpu], cpu);
	}
	wake_up_process(task[0]);
	wake_up_process(task[1]);
	wait_for_completion(&done[0]);
	wait_for_completion(&done[1]);
	pr_info("listeners: one goes when the other has heard: %s\n", went_early ? "WRONG" : "right");
	pr_info("listeners: heard %d and %d\n", heard[0], heard[1]);
	return 0;

no_tasks:
	if (cpu)
		kthread_stop(task[0]);
	input_unregister_handler(&second);
no_second:
	input_unregister_handler(&first);
no_first:
	input_unregister_device(keys);
	return error;
}

static void __exit listeners_exit(void)
{
	input_unregister_handler(&first);
	input_unregister_device(keys);
}

module_init(listeners_init);
module_exit(listeners_exit);
MODULE_DESCRIPTION("Takes a listener away while another listens");
MODULE_AUTHOR("The Ferrmod authors");
MODULE_LICENSE("Dual MIT/GPL");
