//! Sleeping where it is not allowed: with preemption or interrupts off, in an interrupt, or as a reader of RCU.
//!
//! Where a section begins that forbids it, a few words are kept: where the call returns to, and a piece of the stack. Functions that
//! may sleep have a guard in front of their bridge ([`ferrmod_linker::bridge::emit_guard`]) that compares three words; only when
//! they are not as they should be is anything looked at. The report says where the task sleeps and where the section began, as
//! Linux does with `CONFIG_DEBUG_ATOMIC_SLEEP`, and the task goes on.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use core::arch::naked_asm;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ferrmod_kernel::kernel;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::oops::{Call, Section};

use crate::boot::facts;
use crate::field::layout;
use crate::{instructions, ram, symbols, tasks};

layout! {
    mod task_struct = "task_struct" { pagefault_disabled }
}

/// What a section forbids sleeping with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `__preempt_count` is not 0.
    Preemption,
    /// Interrupts are off.
    Interrupts,
    /// `rcu_read_lock()`.
    Reader,
}

/// Words of the stack that are kept of the beginning of a section: enough for the frames of a function that takes a lock for its
/// caller. Those of functions that have not returned are still there when they are asked for.
const WORDS: usize = 32;
/// CPUs that are told apart.
const CPUS: usize = 8;

/// Where a section began.
struct Entry {
    /// Where the call returns to; 0 when the kernel itself has begun it, or nobody knows who.
    ip: AtomicU64,
    /// The stack pointer there; 0 when it is not known.
    sp: AtomicU64,
    bp: AtomicU64,
    count: AtomicU64,
    words: [AtomicU64; WORDS],
}

static ENTRIES: [[Entry; 3]; CPUS] = [const {
    [const {
        Entry {
            ip: AtomicU64::new(0),
            sp: AtomicU64::new(0),
            bp: AtomicU64::new(0),
            count: AtomicU64::new(0),
            words: [const { AtomicU64::new(0) }; WORDS],
        }
    }; 3]
}; CPUS];

/// The running stack.
static STACK: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Return addresses of calls that have been reported.
static REPORTED: Lock<BTreeSet<u64>> = Lock::new(BTreeSet::new());

/// A task runs on this stack from now on.
pub(crate) fn on_stack(stack: &Range<u64>) {
    STACK[0].store(stack.start, Ordering::Relaxed);
    STACK[1].store(stack.end, Ordering::Relaxed);
}

fn entry(kind: Kind) -> &'static Entry {
    &ENTRIES[kernel().tasks.cpu() as usize % CPUS][kind as usize]
}

/// The call from module code that is being served.
fn call_of(caller: u64) -> Call {
    let frame = ram::frame();
    let [start, end] = [0, 1].map(|which| STACK[which].load(Ordering::Relaxed));
    let inside = frame.is_multiple_of(8) && frame >= start && frame.checked_add(16).is_some_and(|top| top <= end);
    // SAFETY: two words of the running stack.
    if inside && unsafe { ram::get::<u64>(frame + 8) } == caller {
        // SAFETY: as above.
        return Call { ip: caller, sp: frame + 16, bp: unsafe { ram::get(frame) } };
    }
    Call { ip: caller, ..Call::default() }
}

/// A section begins with the call that is being served.
pub(crate) fn begins(kind: Kind) {
    let entry = entry(kind);
    let call = call_of(ram::caller());
    entry.ip.store(call.ip, Ordering::Relaxed);
    entry.sp.store(call.sp, Ordering::Relaxed);
    if call.sp == 0 {
        return;
    }
    let left = STACK[1].load(Ordering::Relaxed).saturating_sub(call.sp) / 8;
    let count = left.min(WORDS as u64);
    entry.bp.store(call.bp, Ordering::Relaxed);
    entry.count.store(count, Ordering::Relaxed);
    // SAFETY: words of the running stack, and as many atomics that nobody reads meanwhile.
    unsafe { ram::copy(entry.words.as_ptr() as u64, call.sp, 8 * count) };
}

/// A section is over, or one begins that no call of a module has begun.
pub(crate) fn forget(kind: Kind) {
    entry(kind).ip.store(0, Ordering::Relaxed);
}

/// Whether nobody may sleep here.
#[inline]
pub(crate) fn is_atomic() -> bool {
    tasks::preempt_count() != 0 || !instructions::interrupts_enabled() || readers() != 0
}

/// How deep the running task is in read-side sections of RCU.
pub(crate) fn readers() -> u32 {
    instructions::STATE[1].load(Ordering::Relaxed)
}

/// Sets that.
pub(crate) fn set_readers(depth: u32) {
    instructions::STATE[1].store(depth, Ordering::Relaxed);
}

/// `rcu_read_lock()`
pub(crate) fn begin_reader() {
    let depth = readers();
    if depth == 0 {
        begins(Kind::Reader);
    }
    set_readers(depth.saturating_add(1));
}

/// `rcu_read_unlock()`
pub(crate) fn end_reader() {
    set_readers(readers().saturating_sub(1));
}

fn section(kind: Kind, headline: &str, nobody: &str) -> Section {
    let entry = entry(kind);
    let [ip, sp, bp, count] =
        [&entry.ip, &entry.sp, &entry.bp, &entry.count].map(|value| value.load(Ordering::Relaxed));
    let words = entry.words.iter().take(if sp == 0 { 0 } else { count as usize });
    Section {
        headline: headline.into(),
        by: nobody.into(),
        counter: None,
        call: (ip != 0).then_some(Call { ip, sp, bp }),
        words: words.map(|word| word.load(Ordering::Relaxed)).collect(),
    }
}

/// What forbids sleeping now.
fn sections() -> Vec<Section> {
    let mut sections = Vec::new();
    let count = tasks::preempt_count();
    let (hard, soft) = (count & tasks::HARDIRQ_MASK != 0, tasks::in_serving_softirq());
    let by = match (hard, soft) {
        (true, _) => "a hard interrupt",
        (false, true) => "a soft interrupt",
        (false, false) => "instructions in the middle of a function",
    };
    if count != 0 {
        let mut found = section(Kind::Preemption, "Preemption disabled at:", by);
        if !hard && !soft {
            found.counter = tasks::preempt_counter();
        }
        sections.push(found);
    }
    if !instructions::interrupts_enabled() && !hard {
        let headline = "Interrupts disabled at:";
        let found = match ram::interrupts_off_at() {
            (0, _) => section(Kind::Interrupts, headline, "the kernel"),
            (ip, sp) => Section { headline: headline.into(), call: Some(Call { ip, sp, bp: 0 }), ..Section::default() },
        };
        // `spin_lock_irqsave` is one place.
        if sections.iter().all(|other| other.call != found.call) {
            sections.push(found);
        }
    }
    if readers() != 0 {
        sections.push(section(Kind::Reader, "RCU read-side critical section entered at:", "the kernel"));
    }
    sections
}

/// The running task calls `function`, which may sleep: reported once for each place, if it must not.
fn slept(function: &str, call: Call) {
    let task = kernel().tasks.current();
    // No module code runs on the scheduler.
    if task.0 == 0 || !is_atomic() || !REPORTED.lock().insert(call.ip) {
        return;
    }
    let count = tasks::preempt_count();
    let name = kernel().tasks.name(task).unwrap_or_default();
    let lines = [
        format!("BUG: sleeping function called from invalid context at {function}"),
        format!(
            "in_atomic(): {}, irqs_disabled(): {}, non_block: 0, pid: {}, name: {name}",
            u32::from(count != 0),
            u32::from(!instructions::interrupts_enabled()),
            task.0,
        ),
        format!("preempt_count: {count:x}, expected: 0"),
        format!("RCU nest depth: {}, expected: 0", readers()),
    ];
    kernel().report_atomic_sleep(&lines, false, &sections(), call);
}

#[cold]
fn might_sleep_here(caller: u64) {
    let call = call_of(caller);
    slept(kernel().called_from(caller).unwrap_or("a function of the kernel"), call);
}

/// Memory is asked for, by the call that returns to `caller`: that may sleep when the flags allow it to.
#[inline]
pub(crate) fn might_alloc(flags: u32, caller: u64) {
    if is_atomic() && flags & direct_reclaim() != 0 {
        might_sleep_here(caller);
    }
}

/// `__GFP_DIRECT_RECLAIM`: who asks for memory may wait for it.
pub(crate) fn direct_reclaim() -> u32 {
    static FLAG: AtomicU32 = AtomicU32::new(0);
    /// Its bit in kernels that have no names for the bits.
    const BIT: i64 = 10;
    match FLAG.load(Ordering::Relaxed) {
        0 => {
            let bit = facts().btf().enum_value("___GFP_DIRECT_RECLAIM_BIT").unwrap_or(BIT);
            let flag = 1_u32.checked_shl(bit as u32).unwrap_or(0);
            FLAG.store(flag, Ordering::Relaxed);
            flag
        }
        flag => flag,
    }
}

/// The running task gives up its CPU although it must not: `schedule()` says so, every time.
pub(crate) fn scheduling(caller: u64) {
    let count = tasks::preempt_count();
    let call = call_of(caller);
    if count == 0 {
        slept(kernel().called_from(caller).unwrap_or("schedule"), call);
        return;
    }
    let me = kernel().tasks.current();
    let name = kernel().tasks.name(me).unwrap_or_default();
    // `schedule()` itself counts as one.
    let text = format!("BUG: scheduling while atomic: {name}/{}/{:#010x}", me.0, count.wrapping_add(1));
    kernel().report_atomic_sleep(&[text], true, &sections(), call);
}

/// Code in these ranges goes: what comes there later is another place.
pub(crate) fn forget_places(ranges: &[Range<u64>]) {
    REPORTED.lock().retain(|place| !ranges.iter().any(|range| range.contains(place)));
}

/// What the guard in front of function `number` calls. On the stack lie the return address into the guard, the number, and the
/// return address of the module's call.
#[unsafe(naked)]
pub(crate) extern "C" fn guarded() {
    naked_asm!(
        "push rax", "push rdi", "push rsi", "push rdx", "push rcx", "push r8", "push r9", "push r10", "push rbp",
        "mov rdx, rbp",
        "mov rbp, rsp",
        "lea rdi, [rsp + 88]",
        "mov esi, [rsp + 80]",
        "and rsp, -16",
        "call {check}",
        "mov rsp, rbp",
        "pop rbp", "pop r10", "pop r9", "pop r8", "pop rcx", "pop rdx", "pop rsi", "pop rdi", "pop rax", "ret",
        check = sym check,
    )
}

extern "C" fn check(place: u64, number: u32, bp: u64) {
    let Some(name) = symbols::function_name(number) else { return };
    let excused = match name {
        // A copy that may not wait for its page fails instead.
        "_copy_from_user" | "_copy_to_user" => page_faults_are_off(),
        // What an interrupt frees is freed later.
        "vfree" => tasks::in_interrupt(),
        _ => false,
    };
    if !excused {
        // SAFETY: the return address of the call lies there.
        slept(name, Call { ip: unsafe { ram::get(place) }, sp: place + 8, bp });
    }
}

fn page_faults_are_off() -> bool {
    let current = tasks::current();
    // SAFETY: our own `task_struct`.
    current != 0
        && task_struct::pagefault_disabled.offset().is_some()
        && unsafe { task_struct::pagefault_disabled.get::<i32>(current) } != 0
}

/// Whether a function of this name may sleep whatever it is called with, so that it has a guard.
pub(crate) fn may_sleep(name: &str) -> bool {
    SLEEPERS.iter().any(|other| name.strip_suffix("_noprof").unwrap_or(name) == *other)
}

/// Functions that Linux marks with `might_sleep()`, or that take a mutex or blocking memory first of all.
#[rustfmt::skip]
static SLEEPERS: &[&str] = &[
    // Locks and waiting.
    "mutex_lock", "mutex_lock_interruptible", "mutex_lock_killable", "down", "down_interruptible", "down_killable",
    "down_timeout", "down_read", "down_read_interruptible", "down_read_killable", "down_write", "down_write_killable",
    "wait_for_completion", "wait_for_completion_interruptible", "wait_for_completion_killable",
    "wait_for_completion_timeout", "wait_for_completion_killable_timeout", "cpus_read_lock",
    "__SCT__might_resched", "__SCT__cond_resched", "__cond_resched", "dynamic_might_resched", "dynamic_cond_resched",
    "synchronize_rcu", "synchronize_rcu_expedited", "synchronize_rcu_tasks", "synchronize_net", "synchronize_srcu",
    "synchronize_srcu_expedited", "rcu_barrier", "srcu_barrier", "rtnl_lock", "rtnl_lock_killable", "genl_lock",
    "lock_sock_nested", "napi_disable",
    // Work, threads, interrupts.
    "alloc_workqueue", "destroy_workqueue", "flush_work", "flush_delayed_work", "__flush_workqueue", "drain_workqueue",
    "cancel_work_sync", "cancel_delayed_work_sync", "disable_work_sync", "disable_delayed_work_sync", "schedule_on_each_cpu", "work_on_cpu", "work_on_cpu_key",
    "kthread_create_on_node", "kthread_create_on_cpu", "kthread_stop", "kthread_create_worker",
    "async_synchronize_full", "request_threaded_irq", "free_irq", "disable_irq", "synchronize_irq",
    "static_key_slow_inc", "static_key_slow_dec", "static_key_enable", "static_key_disable",
    "__cpuhp_setup_state", "__cpuhp_remove_state",
    // Memory.
    "vmalloc", "vzalloc", "vmalloc_node", "vzalloc_node", "vmalloc_user", "vmalloc_32", "vfree", "vmap", "vunmap", "ioremap",
    "ioremap_wc", "ioremap_uc", "ioremap_cache", "iounmap", "__alloc_percpu", "kmem_cache_create",
    "kmem_cache_create_usercopy", "__kmem_cache_create_args", "kmem_cache_destroy", "dma_pool_create",
    "_copy_from_user", "_copy_to_user", "strndup_user", "memdup_user",
    // The driver model.
    "device_register", "device_unregister", "device_add", "device_del", "device_create", "device_create_with_groups",
    "device_destroy", "device_create_file", "device_remove_file", "device_attach", "device_release_driver",
    "driver_register", "driver_unregister", "bus_register", "bus_unregister", "__class_register", "__class_create",
    "class_register", "class_create", "class_unregister", "class_destroy", "kobject_add", "kobject_init_and_add",
    "kobject_create_and_add", "kobject_del", "kset_register", "kset_create_and_add",
    "platform_device_add", "platform_device_register", "platform_device_unregister", "__platform_driver_register",
    "platform_driver_unregister", "__pci_register_driver", "pci_unregister_driver", "pci_enable_device",
    "pci_disable_device", "misc_register", "misc_deregister", "cdev_add", "register_chrdev_region",
    "alloc_chrdev_region", "__register_chrdev", "input_allocate_device", "input_register_device",
    "input_unregister_device", "led_classdev_register_ext", "led_classdev_unregister", "hwmon_device_register_with_info",
    "hwmon_device_unregister", "request_firmware", "request_firmware_direct", "__request_module",
    // Files.
    "sysfs_create_file_ns", "sysfs_remove_file_ns", "sysfs_create_group", "sysfs_create_groups", "sysfs_remove_group",
    "sysfs_create_link", "sysfs_remove_link", "sysfs_create_bin_file", "sysfs_remove_bin_file",
    "debugfs_create_dir", "debugfs_create_file", "proc_create", "proc_create_data", "proc_create_seq_private",
    "proc_create_single_data", "proc_mkdir", "register_sysctl", "unregister_sysctl_table", "filp_open", "__register_blkdev",
    // Networks, ciphers, notifiers.
    "alloc_netdev_mqs", "free_netdev", "register_netdevice", "register_netdev", "unregister_netdev",
    "register_netdevice_notifier", "unregister_netdevice_notifier", "register_pernet_subsys",
    "unregister_pernet_subsys", "register_pernet_device", "unregister_pernet_device", "genl_register_family",
    "genl_unregister_family", "proto_register", "crypto_alloc_shash", "crypto_alloc_ahash", "crypto_alloc_skcipher",
    "crypto_alloc_aead", "crypto_register_alg", "crypto_unregister_alg", "crypto_register_shash",
    "crypto_unregister_shash", "crypto_register_skcipher", "crypto_unregister_skcipher",
    "blocking_notifier_chain_register", "blocking_notifier_chain_unregister",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sleeper_is_a_function() {
        let functions: Vec<&str> =
            crate::EXPORTS.iter().flat_map(|file| file.iter()).map(|export| export.name).collect();
        let missing: Vec<&str> = SLEEPERS.iter().copied().filter(|name| !functions.contains(name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn later_names_of_a_function_count() {
        assert!(may_sleep("vmalloc") && may_sleep("vmalloc_noprof"));
        assert!(!may_sleep("kfree") && !may_sleep("mutex_trylock"));
    }
}
