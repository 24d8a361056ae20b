// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* A consumer that cannot begin before its provider is there, each a platform driver of its own. */
#include <linux/module.h>
#include <linux/platform_device.h>

static bool provided;

static int provider_probe(struct platform_device *device)
{
	provided = true;
	return 0;
}

static int provider_remove(struct platform_device *device)
{
	provided = false;
	return 0;
}

static int consumer_probe(struct platform_device *device)
{
	if (!provided)
		return dev_err_probe(&device->dev, -EPROBE_DEFER, "the provider is not there\n");
	dev_info(&device->dev, "provided for\n");
	return 0;
}

static struct platform_driver provider = {
	.probe = provider_probe,
	.remove = provider_remove,
	.driver = { .name = "deferral-provider" },
};

static struct platform_driver consumer = {
	.probe = consumer_probe,
	.driver = { .name = "deferral-consumer" },
};

static struct platform_driver *const drivers[] = { &consumer, &provider };

static int __init begin(void)
{
	return platform_register_drivers(drivers, ARRAY_SIZE(drivers));
}

static void __exit end(void)
{
	platform_unregister_drivers(drivers, ARRAY_SIZE(drivers));
}

module_init(begin);
module_exit(end);
MODULE_ALIAS("platform:deferral-consumer");
MODULE_ALIAS("platform:deferral-provider");
MODULE_DESCRIPTION("a driver that waits for another one");
MODULE_LICENSE("Dual MIT/GPL");
