// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* A LED with eleven levels and no light: what it was told last is a parameter. */
#include <linux/init.h>
#include <linux/leds.h>
#include <linux/module.h>

static int shines;
module_param(shines, int, 0444);
MODULE_PARM_DESC(shines, "the level that the LED was told last");

static void lamp_set(struct led_classdev *led, enum led_brightness level)
{
	shines = level;
}

static struct led_classdev lamp = {
	.name = "ferrmod:green:test",
	.max_brightness = 10,
	.brightness_set = lamp_set,
};

/* The same name once more. */
static struct led_classdev second = {
	.name = "ferrmod:green:test",
	.brightness_set = lamp_set,
};

static int __init lamp_init(void)
{
	int answer = led_classdev_register(NULL, &lamp);

	if (answer)
		return answer;
	answer = led_classdev_register(NULL, &second);
	if (answer)
		led_classdev_unregister(&lamp);
	return answer;
}

static void __exit lamp_exit(void)
{
	led_classdev_unregister(&second);
	led_classdev_unregister(&lamp);
}

module_init(lamp_init);
module_exit(lamp_exit);
MODULE_DESCRIPTION("LEDs without light");
MODULE_AUTHOR("The Ferrmod authors");
MODULE_LICENSE("Dual MIT/GPL");
