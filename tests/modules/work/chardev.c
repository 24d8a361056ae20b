// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* A character device over a page of memory: /dev/ferrmod0, and /dev/ferrmod_misc beside it. */
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/ioctl.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#define CAPACITY 4096
#define FERRMOD_CLEAR _IO('F', 1)
#define FERRMOD_LENGTH _IOR('F', 2, unsigned int)

static DEFINE_MUTEX(lock);
static char *contents;
static size_t length;
static dev_t number;
static struct cdev device;
static struct class *class;

static int chardev_open(struct inode *inode, struct file *file)
{
	file->private_data = contents;
	return 0;
}

static int chardev_release(struct inode *inode, struct file *file)
{
	return 0;
}

static ssize_t chardev_read(struct file *file, char __user *to, size_t count, loff_t *at)
{
	ssize_t done;

	mutex_lock(&lock);
	done = simple_read_from_buffer(to, count, at, file->private_data, length);
	mutex_unlock(&lock);
	return done;
}

static ssize_t chardev_write(struct file *file, const char __user *from, size_t count, loff_t *at)
{
	ssize_t done;

	mutex_lock(&lock);
	done = simple_write_to_buffer(file->private_data, CAPACITY, at, from, count);
	if (done > 0 && *at > length)
		length = *at;
	mutex_unlock(&lock);
	return done ? done : -ENOSPC;
}

static loff_t chardev_llseek(struct file *file, loff_t offset, int whence)
{
	return fixed_size_llseek(file, offset, whence, CAPACITY);
}

static long chardev_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	unsigned int now;

	switch (command) {
	case FERRMOD_CLEAR:
		mutex_lock(&lock);
		length = 0;
		mutex_unlock(&lock);
		return 0;
	case FERRMOD_LENGTH:
		now = length;
		return copy_to_user((void __user *)argument, &now, sizeof(now)) ? -EFAULT : 0;
	default:
		return -ENOTTY;
	}
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.open = chardev_open,
	.release = chardev_release,
	.read = chardev_read,
	.write = chardev_write,
	.llseek = chardev_llseek,
	.unlocked_ioctl = chardev_ioctl,
};

static struct miscdevice misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "ferrmod_misc",
	.fops = &operations,
};

static int __init chardev_init(void)
{
	struct device *node;
	int error;

	contents = kzalloc(CAPACITY, GFP_KERNEL);
	if (!contents)
		return -ENOMEM;
	length = scnprintf(contents, CAPACITY, "ferrmod\n");
	error = alloc_chrdev_region(&number, 0, 1, "ferrmod");
	if (error)
		goto no_region;
	cdev_init(&device, &operations);
	device.owner = THIS_MODULE;
	error = cdev_add(&device, number, 1);
	if (error)
		goto no_device;
	class = class_create(THIS_MODULE, "ferrmod");
	if (IS_ERR(class)) {
		error = PTR_ERR(class);
		goto no_class;
	}
	node = device_create(class, NULL, number, NULL, "ferrmod%d", 0);
	if (IS_ERR(node)) {
		error = PTR_ERR(node);
		goto no_node;
	}
	error = misc_register(&misc);
	if (error)
		goto no_misc;
	pr_info("chardev: major %s 0, minor %d\n", MAJOR(number) > 0 ? ">" : "=", MINOR(number));
	return 0;
no_misc:
	device_destroy(class, number);
no_node:
	class_destroy(class);
no_class:
	cdev_del(&device);
no_device:
	unregister_chrdev_region(number, 1);
no_region:
	kfree(contents);
	return error;
}

static void __exit chardev_exit(void)
{
	misc_deregister(&misc);
	device_destroy(class, number);
	class_destroy(class);
	cdev_del(&device);
	unregister_chrdev_region(number, 1);
	kfree(contents);
}

module_init(chardev_init);
module_exit(chardev_exit);
MODULE_DESCRIPTION("A character device over a page of memory");
MODULE_AUTHOR("The Ferrmod authors");
MODULE_ALIAS("char-ferrmod");
MODULE_LICENSE("Dual MIT/GPL");
