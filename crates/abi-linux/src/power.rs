//! Power management of devices. A machine never sleeps, and its devices are always awake.

use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::ram;

/// What the directory of a device is called that tells of its power.
pub(crate) const GROUP_NAME: &str = "power";
/// `const char power_group_name[]`: what the directory of a device is called that tells of its power.
static GROUP: Datum = Datum::new("power_group_name", 8, Begin::With(begin));

/// The variables of this file.
pub(crate) static VARIABLES: &[&Datum] = &[&GROUP];

fn begin(at: u64) {
    // SAFETY: `data::place` gives 8 writable bytes.
    unsafe { ram::put(at, *b"power\0\0\0") };
}

/// What was asked for is so already.
extern "C" fn done() -> i32 {
    0
}
extern "C" fn nothing() {}
/// A device in use is awake.
extern "C" fn awake() -> i32 {
    1
}

/// `PM_QOS_FLAGS_UNDEFINED`: nobody's wishes about a device's power are kept.
extern "C" fn undefined() -> i32 {
    -1
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    k pm_runtime_enable = nothing, k __pm_runtime_disable = nothing, k devm_pm_runtime_enable = done,
    k __pm_runtime_resume = done, k __pm_runtime_suspend = done, k __pm_runtime_idle = done, k __pm_runtime_set_status = done,
    k pm_runtime_allow = nothing, k pm_runtime_forbid = nothing, k pm_runtime_no_callbacks = nothing,
    k pm_runtime_set_autosuspend_delay = nothing, k __pm_runtime_use_autosuspend = nothing, k pm_runtime_barrier = done,
    k pm_runtime_get_if_active = awake, k pm_runtime_get_if_in_use = awake, k pm_schedule_suspend = done,
    k pm_runtime_irq_safe = nothing, k pm_runtime_force_suspend = done, k pm_runtime_force_resume = done,
    k pm_wakeup_dev_event = nothing, k pm_wakeup_ws_event = nothing, k cpu_latency_qos_add_request = nothing,
    k dev_pm_qos_add_request = done, k dev_pm_qos_remove_request = done, k dev_pm_qos_update_request = done,
    k dev_pm_qos_expose_flags = done, k dev_pm_qos_hide_flags = nothing, k dev_pm_qos_flags = undefined, k device_pm_wait_for_dev = done,
    k cpu_latency_qos_remove_request = nothing, k cpu_latency_qos_update_request = nothing,
];
