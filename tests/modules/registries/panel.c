// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0-only
/* Two backlights without a panel, and control types of power capping: what they were told last are parameters. */
#include <linux/backlight.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/powercap.h>

static int told;
module_param(told, int, 0444);
MODULE_PARM_DESC(told, "the brightness that the first backlight was told last, -1 when its power is off");
static int again;
module_param(again, int, 0444);
MODULE_PARM_DESC(again, "what registering the first name once more answered");
static bool broken;
module_param(broken, bool, 0644);
MODULE_PARM_DESC(broken, "the second backlight and the control type answer with an error");
static int answers[6];
module_param_array(answers, int, NULL, 0444);
MODULE_PARM_DESC(answers,
		 "of control types: without a name, given without functions, given without a release function; unregistered with zones, one that never was registered, the same with zones");
static int capped;
module_param(capped, int, 0444);
MODULE_PARM_DESC(capped, "whether the control type was enabled last");

static int panel_update(struct backlight_device *panel)
{
	if (panel->props.brightness == 13)
		return -EIO;
	told = panel->props.power ? -1 : panel->props.brightness;
	return 0;
}

static int panel_read(struct backlight_device *panel)
{
	return broken ? -EIO : told + 100;
}

static const struct backlight_ops plain = { .update_status = panel_update };
static const struct backlight_ops reading = { .update_status = panel_update, .get_brightness = panel_read };

static int cap_set(struct powercap_control_type *type, bool enabled)
{
	capped = enabled;
	return broken ? -EIO : 0;
}

static int cap_get(struct powercap_control_type *type, bool *enabled)
{
	*enabled = capped;
	return broken ? -EIO : 0;
}

static int cap_release(struct powercap_control_type *type)
{
	return 0;
}

static const struct powercap_control_type_ops capping = { .set_enable = cap_set, .get_enable = cap_get };
static const struct powercap_control_type_ops releasing = { .release = cap_release };

static struct backlight_device *first, *second;
static struct powercap_control_type *control, *bare;
static struct powercap_control_type mine, never;

/* Writing to it has the kernel ask what the brightness is. */
static int refresh(const char *text, const struct kernel_param *parameter)
{
	if (!IS_ERR_OR_NULL(second))
		backlight_force_update(second, BACKLIGHT_UPDATE_SYSFS);
	return 0;
}

static const struct kernel_param_ops refreshing = { .set = refresh };
module_param_cb(refresh, &refreshing, NULL, 0200);
MODULE_PARM_DESC(refresh, "has the second backlight read again");

static int of(struct powercap_control_type *registered)
{
	if (IS_ERR(registered))
		return PTR_ERR(registered);
	powercap_unregister_control_type(registered);
	return 0;
}

static void ask(void)
{
	answers[0] = of(powercap_register_control_type(NULL, NULL, &capping));
	answers[1] = of(powercap_register_control_type(&mine, "ferrmod-mine", NULL));
	answers[2] = of(powercap_register_control_type(&mine, "ferrmod-mine", &capping));
	bare->nr_zones = 1;
	answers[3] = powercap_unregister_control_type(bare);
	bare->nr_zones = 0;
	answers[4] = powercap_unregister_control_type(&never);
	never.nr_zones = 1;
	answers[5] = powercap_unregister_control_type(&never);
}

static int __init panel_init(void)
{
	struct backlight_properties properties = {
		.type = BACKLIGHT_PLATFORM, .max_brightness = 20, .brightness = 5, .scale = BACKLIGHT_SCALE_LINEAR,
	};
	struct backlight_device *third;

	first = backlight_device_register("ferrmod-first", NULL, NULL, &plain, &properties);
	if (IS_ERR(first))
		return PTR_ERR(first);
	properties.type = BACKLIGHT_RAW;
	properties.scale = BACKLIGHT_SCALE_UNKNOWN;
	second = backlight_device_register("ferrmod-second", NULL, NULL, &reading, &properties);
	if (IS_ERR(second)) {
		backlight_device_unregister(first);
		return PTR_ERR(second);
	}
	third = backlight_device_register("ferrmod-first", NULL, NULL, &plain, &properties);
	again = IS_ERR(third) ? PTR_ERR(third) : 0;
	if (!IS_ERR(third))
		backlight_device_unregister(third);
	control = powercap_register_control_type(NULL, "ferrmod-cap", &capping);
	bare = powercap_register_control_type(NULL, "ferrmod-bare", NULL);
	if (!IS_ERR_OR_NULL(bare))
		ask();
	powercap_register_control_type(&mine, "ferrmod-mine", &releasing);
	return 0;
}

static void __exit panel_exit(void)
{
	powercap_unregister_control_type(&mine);
	if (!IS_ERR_OR_NULL(bare))
		powercap_unregister_control_type(bare);
	if (!IS_ERR_OR_NULL(control))
		powercap_unregister_control_type(control);
	backlight_device_unregister(second);
	backlight_device_unregister(first);
}

module_init(panel_init);
module_exit(panel_exit);
MODULE_DESCRIPTION("Backlights without a panel");
MODULE_AUTHOR("The Ferrmod authors");
MODULE_LICENSE("Dual MIT/GPL");
