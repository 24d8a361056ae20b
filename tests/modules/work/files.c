// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Files of its own in /proc, debugfs and /sys/kernel. */
#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/sysfs.h>

static u32 number = 7;
static struct dentry *folder;
static struct kobject *object;

static int show(struct seq_file *file, void *unused)
{
	unsigned int i;

	for (i = 0; i < 3; i++)
		seq_printf(file, "line %u of %s\n", i, "ferrmod");
	return 0;
}

static ssize_t number_show(struct kobject *kobject, struct kobj_attribute *attribute, char *to)
{
	return sysfs_emit(to, "%u\n", number);
}

static ssize_t number_store(struct kobject *kobject, struct kobj_attribute *attribute,
			    const char *from, size_t count)
{
	int error = kstrtou32(from, 0, &number);

	return error ? error : count;
}

static struct kobj_attribute number_attribute = __ATTR_RW(number);

static struct attribute *attributes[] = {
	&number_attribute.attr,
	NULL,
};

static const struct attribute_group group = {
	.attrs = attributes,
};

static int __init files_start(void)
{
	int error;

	if (!proc_create_single("ferrmod_lines", 0444, NULL, show))
		return -ENOMEM;
	object = kobject_create_and_add("ferrmod_files", kernel_kobj);
	if (!object) {
		error = -ENOMEM;
		goto no_object;
	}
	error = sysfs_create_group(object, &group);
	if (error)
		goto no_group;
	folder = debugfs_create_dir("ferrmod", NULL);
	debugfs_create_u32("number", 0644, folder, &number);
	return 0;
no_group:
	kobject_put(object);
no_object:
	remove_proc_entry("ferrmod_lines", NULL);
	return error;
}

static void __exit files_stop(void)
{
	debugfs_remove(folder);
	sysfs_remove_group(object, &group);
	kobject_put(object);
	remove_proc_entry("ferrmod_lines", NULL);
}

module_init(files_start);
module_exit(files_stop);
MODULE_DESCRIPTION("Files in /proc, debugfs and /sys/kernel");
MODULE_AUTHOR("The Ferrmod authors");
MODULE_LICENSE("Dual MIT/GPL");
