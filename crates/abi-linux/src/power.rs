//! Power management of devices. A machine never sleeps, and no device is put to sleep; what drivers and people say about it is seen in
//! the device's files.

use alloc::collections::BTreeMap;

use ferrmod_kernel::files::{self, Node};
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};

use crate::data::{Begin, Datum};
use crate::device::devres;
use crate::export::{Export, exports};
use crate::field::layout;
use crate::ram;

/// What the directory of a device is called that tells of its power.
const GROUP_NAME: &str = "power";
/// `const char power_group_name[]`: what the directory of a device is called that tells of its power.
static GROUP: Datum = Datum::new("power_group_name", 8, Begin::With(begin));

layout! {
    mod pm_qos_request = "pm_qos_request" { qos }
}

/// What a registered wish for CPUs that wake fast is called.
const LATENCY: &str = "cpu_latency_qos";
/// What registered requests point to.
static REQUESTS: [u8; 1] = [0];

/// What was said about a device.
#[derive(Clone, Copy, Debug)]
struct Said {
    /// How often its power management was switched off and not on again.
    disabled: u32,
    /// Somebody has said that it is awake, or woken it.
    is_active: bool,
    /// `control`: it may be put to sleep when nobody uses it.
    may_sleep: bool,
}

impl Default for Said {
    fn default() -> Self {
        Self { disabled: 1, is_active: false, may_sleep: true }
    }
}

/// The devices about which something was said.
static SAID: Lock<BTreeMap<u64, Said>> = Lock::new(BTreeMap::new());

fn change(dev: u64, how: impl FnOnce(&mut Said)) {
    how(SAID.lock().entry(dev).or_default());
}

fn said(dev: u64) -> Said {
    SAID.lock().get(&dev).copied().unwrap_or_default()
}

/// A device begins, or is gone.
pub(crate) fn forget(dev: u64) {
    SAID.lock().remove(&dev);
}

/// Adds the directory of a device that tells of its power. Modules add files of their own there.
///
/// # Errors
/// `EEXIST`, `ENOENT`.
pub(crate) fn show(dev: u64, path: &str) -> Result<(), Errno> {
    let directory = alloc::format!("{path}/{GROUP_NAME}");
    kernel().files.add(&directory, Node::Directory)?;
    let status = move || match said(dev) {
        Said { disabled: 1.., .. } => b"unsupported\n".to_vec(),
        Said { is_active: true, .. } => b"active\n".to_vec(),
        _ => b"suspended\n".to_vec(),
    };
    kernel().files.add(&alloc::format!("{directory}/runtime_status"), files::read_only(0o444, status))?;
    let control = files::read_write(
        0o644,
        move || Ok(if said(dev).may_sleep { b"auto\n".to_vec() } else { b"on\n".to_vec() }),
        move |bytes| {
            match bytes.strip_suffix(b"\n").unwrap_or(bytes) {
                b"auto" => pm_runtime_allow(dev),
                b"on" => pm_runtime_forbid(dev),
                _ => return Err(Errno::EINVAL),
            }
            Ok(bytes.len())
        },
    );
    kernel().files.add(&alloc::format!("{directory}/control"), control)
}

/// `void pm_runtime_enable(struct device *)`
pub(crate) extern "C" fn pm_runtime_enable(dev: u64) {
    change(dev, |said| said.disabled = said.disabled.saturating_sub(1));
}
/// `void __pm_runtime_disable(struct device *, bool check_resume)`
extern "C" fn __pm_runtime_disable(dev: u64) {
    change(dev, |said| said.disabled = said.disabled.saturating_add(1));
}
/// `int devm_pm_runtime_enable(struct device *)`: until the driver goes.
extern "C" fn devm_pm_runtime_enable(dev: u64) -> i32 {
    pm_runtime_enable(dev);
    devres::on_release(dev, move || __pm_runtime_disable(dev));
    0
}
/// `int __pm_runtime_set_status(struct device *, unsigned int)`: a driver says how it has found the device.
extern "C" fn __pm_runtime_set_status(dev: u64, status: u32) -> i32 {
    /// `RPM_ACTIVE`
    const ACTIVE: u32 = 0;
    change(dev, |said| said.is_active = status == ACTIVE);
    0
}
/// `int __pm_runtime_resume(struct device *, int rpmflags)`
extern "C" fn __pm_runtime_resume(dev: u64) -> i32 {
    change(dev, |said| said.is_active |= said.disabled == 0);
    0
}
/// `void pm_runtime_allow(struct device *)`
extern "C" fn pm_runtime_allow(dev: u64) {
    change(dev, |said| said.may_sleep = true);
}
/// `void pm_runtime_forbid(struct device *)`: it is woken, and stays awake.
pub(crate) extern "C" fn pm_runtime_forbid(dev: u64) {
    change(dev, |said| said.may_sleep = false);
    __pm_runtime_resume(dev);
}

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

/// Whether a request is among those that are registered, and says so of itself.
fn is_requested(request: u64) -> bool {
    // SAFETY: the caller's request, which is zeros before it is registered.
    let is_marked = unsafe { pm_qos_request::qos.get::<u64>(request) == REQUESTS.as_ptr() as u64 };
    is_marked && kernel().registrations.get(LATENCY, request).is_some()
}
fn mark(request: u64, with: u64) {
    // SAFETY: the caller's request.
    unsafe { pm_qos_request::qos.set(request, with) };
}
/// `bool cpu_latency_qos_request_active(struct pm_qos_request *)`
extern "C" fn cpu_latency_qos_request_active(request: u64) -> bool {
    is_requested(request)
}
/// `void cpu_latency_qos_add_request(struct pm_qos_request *, s32 microseconds)`: no CPU here ever takes longer to wake.
extern "C" fn cpu_latency_qos_add_request(request: u64, microseconds: i32) {
    let caller = ram::caller();
    if is_requested(request) {
        kernel().warn("cpu_latency_qos_add_request called for already added request", caller);
        return;
    }
    mark(request, REQUESTS.as_ptr() as u64);
    // One that was freed as it stood makes room for this.
    kernel().registrations.remove(LATENCY, request);
    let owner = kernel().owner_of(caller);
    let _ = kernel().registrations.add(LATENCY, request, alloc::format!("{microseconds}"), owner);
}
/// `void cpu_latency_qos_update_request(struct pm_qos_request *, s32 microseconds)`
extern "C" fn cpu_latency_qos_update_request(request: u64) {
    if !is_requested(request) {
        kernel().warn("cpu_latency_qos_update_request called for unknown object", ram::caller());
    }
}
/// `void cpu_latency_qos_remove_request(struct pm_qos_request *)`
extern "C" fn cpu_latency_qos_remove_request(request: u64) {
    if !is_requested(request) {
        kernel().warn("cpu_latency_qos_remove_request called for unknown object", ram::caller());
        return;
    }
    kernel().registrations.remove(LATENCY, request);
    mark(request, 0);
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c pm_runtime_enable, c __pm_runtime_disable, c devm_pm_runtime_enable, c __pm_runtime_resume, c __pm_runtime_set_status,
    c pm_runtime_allow, c pm_runtime_forbid, k __pm_runtime_suspend = done, k __pm_runtime_idle = done,
    k pm_runtime_no_callbacks = nothing,
    k pm_runtime_set_autosuspend_delay = nothing, k __pm_runtime_use_autosuspend = nothing, k pm_runtime_barrier = done,
    k pm_runtime_get_if_active = awake, k pm_runtime_get_if_in_use = awake, k pm_schedule_suspend = done,
    k pm_runtime_irq_safe = nothing, k pm_runtime_force_suspend = done, k pm_runtime_force_resume = done,
    k pm_wakeup_dev_event = nothing, k pm_wakeup_ws_event = nothing,
    k dev_pm_qos_add_request = done, k dev_pm_qos_remove_request = done, k dev_pm_qos_update_request = done,
    k dev_pm_qos_expose_flags = done, k dev_pm_qos_hide_flags = nothing, k dev_pm_qos_flags = undefined, k device_pm_wait_for_dev = done,
    c cpu_latency_qos_request_active, c cpu_latency_qos_add_request, c cpu_latency_qos_update_request,
    c cpu_latency_qos_remove_request,
];
