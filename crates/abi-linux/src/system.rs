//! What there is to know of the machine as a whole: one CPU, one node, no firmware tables, everybody root.

use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::{Errno, kernel};
use hashbrown::HashMap;

use crate::boot::facts;
use crate::data::{Begin, Datum};
use crate::export::{Export, exports};
use crate::field::layout;
use crate::string::text;
use crate::{bitmaps, jump_labels, ram, tasks};

layout! {
    mod sysinfo = "sysinfo" { totalram, freeram, mem_unit }
}

/// A state of CPU hot-plug that somebody has functions for.
#[derive(Clone, Copy, Debug)]
struct HotPlug {
    startup: u64,
    teardown: u64,
    instances: bool,
}

static STATES: Lock<Option<HashMap<u32, HotPlug>>> = Lock::new(None);

/// A free state of the range that begins with the enumerator `first`, when `state` is that.
fn dynamic(state: u32) -> Result<Option<u32>, Errno> {
    for name in ["CPUHP_AP_ONLINE_DYN", "CPUHP_BP_PREPARE_DYN"] {
        let value = |name: &str| facts().btf().enum_value(name).map(|value| value as u32);
        if value(name) == Some(state) {
            let end = value(&alloc::format!("{name}_END")).unwrap_or(state + 20);
            let states = STATES.lock();
            let free = |state: &u32| states.as_ref().is_none_or(|states| !states.contains_key(state));
            return (state..end).find(free).map(Some).ok_or(Errno::ENOSPC);
        }
    }
    Ok(None)
}

/// `int __cpuhp_setup_state(enum cpuhp_state, const char *, bool invoke, int (*up)(unsigned), int (*down)(unsigned), bool multi)`:
/// the number of a dynamic state, else 0.
extern "C" fn __cpuhp_setup_state(
    state: u32,
    name: u64,
    invoke: bool,
    startup: u64,
    teardown: u64,
    instances: bool,
) -> i32 {
    let caller = ram::caller();
    let given = match dynamic(state) {
        Ok(given) => given,
        Err(errno) => return errno.to_return(),
    };
    let number = given.unwrap_or(state);
    if STATES.lock().get_or_insert_default().contains_key(&number) {
        return Errno::EBUSY.to_return();
    }
    if invoke && startup != 0 && !instances {
        for cpu in 0..bitmaps::cpus() {
            let result = on_cpu(cpu, startup, &[]);
            if result != 0 {
                // Those that went up come down again.
                (0..cpu).rev().filter(|_| teardown != 0).for_each(|cpu| _ = on_cpu(cpu, teardown, &[]));
                return result;
            }
        }
    }
    STATES.lock().get_or_insert_default().insert(number, HotPlug { startup, teardown, instances });
    // The state is free, so nothing is registered under it.
    let _ = kernel().registrations.add("cpuhp", number.into(), text(name).to_vec(), kernel().owner_of(caller));
    given.map_or(0, |given| given as i32)
}
/// Calls a function of a hot-plug state on a CPU: `int (*)(unsigned cpu, …)`.
fn on_cpu(cpu: u32, function: u64, more: &[u64]) -> i32 {
    let node = more.first().copied().unwrap_or(0);
    // SAFETY: the function that the state was set up with, for a CPU that is online; one without a node ignores the second.
    kernel().tasks.on_cpu(cpu, || unsafe { ram::call(function, [cpu.into(), node]) as i32 })
}
extern "C" fn __cpuhp_remove_state(state: u32, invoke: bool) {
    let known = STATES.lock().get_or_insert_default().remove(&state);
    kernel().registrations.remove("cpuhp", state.into());
    if let Some(known) = known.filter(|known| invoke && known.teardown != 0 && !known.instances) {
        (0..bitmaps::cpus()).for_each(|cpu| _ = on_cpu(cpu, known.teardown, &[]));
    }
}
/// `int __cpuhp_state_add_instance(enum cpuhp_state, struct hlist_node *, bool invoke)`
extern "C" fn __cpuhp_state_add_instance(state: u32, node: u64, invoke: bool) -> i32 {
    let known = STATES.lock().get_or_insert_default().get(&state).copied();
    match known {
        None => Errno::EINVAL.to_return(),
        Some(known) if invoke && known.startup != 0 => {
            for cpu in 0..bitmaps::cpus() {
                let result = on_cpu(cpu, known.startup, &[node]);
                if result != 0 {
                    let down = |cpu| on_cpu(cpu, known.teardown, &[node]);
                    (0..cpu).rev().filter(|_| known.teardown != 0).for_each(|cpu| _ = down(cpu));
                    return result;
                }
            }
            0
        }
        Some(_) => 0,
    }
}
extern "C" fn __cpuhp_state_remove_instance(state: u32, node: u64, invoke: bool) -> i32 {
    let known = STATES.lock().get_or_insert_default().get(&state).copied();
    if let Some(known) = known.filter(|known| invoke && known.teardown != 0) {
        (0..bitmaps::cpus()).for_each(|cpu| _ = on_cpu(cpu, known.teardown, &[node]));
    }
    0
}
/// No CPU comes or goes.
extern "C" fn nothing() {}

/// `bool __do_once_start(bool *done, unsigned long *flags)`: true holds a spin lock until `__do_once_done`.
extern "C" fn __do_once_start(done: u64, _flags: u64) -> bool {
    // SAFETY: the caller's variable.
    let first = unsafe { ram::get::<u8>(done) == 0 };
    if first {
        tasks::add_preempt(1);
    }
    first
}
/// `void __do_once_done(bool *, struct static_key_true *, unsigned long *flags, struct module *)`
extern "C" fn __do_once_done(done: u64, key: u64, _flags: u64, _module: u64) {
    let caller = ram::caller();
    once_done(done, key, caller);
    tasks::add_preempt(-1);
}
fn once_done(done: u64, key: u64, caller: u64) {
    // SAFETY: the caller's variable.
    unsafe { ram::put(done, 1u8) };
    jump_labels::disable(key, caller);
}
/// The same where the caller may sleep.
extern "C" fn __do_once_sleepable_start(done: u64) -> bool {
    // SAFETY: the caller's variable.
    unsafe { ram::get::<u8>(done) == 0 }
}
extern "C" fn __do_once_sleepable_done(done: u64, key: u64, _module: u64) {
    once_done(done, key, ram::caller());
}

/// Everybody may everything.
extern "C" fn capable() -> bool {
    true
}
/// There is one user namespace, in which every number is its own.
extern "C" fn same_number(_namespace: u64, number: u32) -> u32 {
    number
}
/// The machine has none of it: no ACPI, no DMI table, no hypervisor, no encryption of memory.
extern "C" fn none() -> u64 {
    0
}
/// `int dmi_walk(void (*)(const struct dmi_header *, void *), void *)`: there is no table.
extern "C" fn dmi_walk() -> i32 {
    Errno::ENXIO.to_return()
}
/// Linux's usual mask.
extern "C" fn current_umask() -> i32 {
    0o22
}

/// `void dump_stack(void)`
pub(crate) extern "C" fn dump_stack() {
    let caller = ram::caller();
    let kernel = kernel();
    let from = kernel.symbolise(caller);
    kernel.printk(alloc::format!("\x017Call Trace:\n\x017 {from}\n").as_bytes());
}
/// `void add_taint(unsigned flag, enum lockdep_ok)`
extern "C" fn add_taint(flag: u32) {
    kernel().modules.taint(1 << (flag & 63));
}
extern "C" fn test_taint(flag: u32) -> i32 {
    (kernel().modules.taints() >> (flag & 63) & 1) as i32
}

/// Pages of memory: all, and those not given out.
fn pages() -> (u64, u64) {
    let range = kernel().heap.range();
    let all = (range.end - range.start) / 4096;
    (all, all.saturating_sub(kernel().heap.bytes() / 4096))
}
/// `void si_meminfo(struct sysinfo *)`
extern "C" fn si_meminfo(at: u64) {
    let (all, free) = pages();
    // SAFETY: the caller's struct.
    unsafe {
        ram::fill(at, 0, sysinfo::SIZE.get());
        sysinfo::totalram.set(at, all);
        sysinfo::freeram.set(at, free);
        sysinfo::mem_unit.set(at, 4096u32);
    }
}
extern "C" fn free_pages_now() -> u64 {
    pages().1
}

/// `void getboottime64(struct timespec64 *)`: when the clock that counts from boot was 0.
extern "C" fn getboottime64(at: u64) {
    let platform = kernel().platform;
    let booted = platform.wall_clock().saturating_sub(platform.now());
    // SAFETY: the caller's struct, two 64-bit numbers in every ABI.
    unsafe { ram::put(at, [booted / 1_000_000_000, booted % 1_000_000_000]) };
}

/// Work that runs some time: `async_schedule` cookies count up, and those that have not run are kept.
static ASYNCHRONOUS: Lock<(u64, alloc::collections::BTreeMap<u64, u64>)> =
    Lock::new((0, alloc::collections::BTreeMap::new()));

/// What waits for asynchronous work waits on.
fn asynchronous_channel() -> u64 {
    &raw const ASYNCHRONOUS as u64
}
fn schedule_asynchronous(function: u64, data: u64, domain: u64) -> u64 {
    let cookie = {
        let mut state = ASYNCHRONOUS.lock();
        state.0 += 1;
        let cookie = state.0;
        state.1.insert(cookie, domain);
        cookie
    };
    let run = move || {
        // SAFETY: the caller's function, which takes its data and the cookie.
        unsafe { ram::call(function, [data, cookie]) };
        ASYNCHRONOUS.lock().1.remove(&cookie);
        kernel().tasks.wake_channel(asynchronous_channel(), usize::MAX);
    };
    if kernel().tasks.spawn("async", true, run).is_err() {
        // Without memory for a task it is done here, as Linux does.
        run();
    }
    cookie
}
/// `async_cookie_t async_schedule_node(async_func_t, void *, int node)`
extern "C" fn async_schedule_node(function: u64, data: u64) -> u64 {
    schedule_asynchronous(function, data, 0)
}
/// `async_cookie_t async_schedule_node_domain(async_func_t, void *, int node, struct async_domain *)`
extern "C" fn async_schedule_node_domain(function: u64, data: u64, _node: i32, domain: u64) -> u64 {
    schedule_asynchronous(function, data, domain)
}
fn wait_asynchronous(caller: u64, pending: impl Fn(u64, u64) -> bool) {
    while ASYNCHRONOUS.lock().1.iter().any(|(&cookie, &domain)| pending(cookie, domain)) {
        tasks::might_block(caller);
        kernel().tasks.block(None, Some(asynchronous_channel()));
    }
}
/// Waits for all work that runs some time.
pub(crate) fn wait_for_asynchronous() {
    wait_asynchronous(0, |_, _| true);
}
extern "C" fn async_synchronize_full() {
    wait_asynchronous(ram::caller(), |_, _| true);
}
extern "C" fn async_synchronize_full_domain(domain: u64) {
    wait_asynchronous(ram::caller(), |_, other| other == domain);
}
/// `void async_synchronize_cookie(async_cookie_t)`: everything that was scheduled before it.
extern "C" fn async_synchronize_cookie(cookie: u64) {
    wait_asynchronous(ram::caller(), |other, _| other < cookie);
}
extern "C" fn async_synchronize_cookie_domain(cookie: u64, domain: u64) {
    wait_asynchronous(ram::caller(), |other, of| other < cookie && of == domain);
}

/// `void memcpy_and_pad(void *, size_t, const void *, size_t, int)`
extern "C" fn memcpy_and_pad(to: u64, room: u64, from: u64, length: u64, pad: i32) {
    let kept = length.min(room);
    // SAFETY: two buffers of the caller's.
    unsafe {
        ram::copy(to, from, kept);
        ram::fill(to + kept, pad as u8, room - kept);
    }
}

macro_rules! numbers {
    ($($ident:ident $name:literal $kind:ty = $value:expr;)*) => {
        $(static $ident: Datum = Datum::new($name, size_of::<$kind>() as u64, Begin::With(|at| {
            // SAFETY: `data::place` gives room for the number.
            unsafe { ram::put::<$kind>(at, $value) };
        }));)*
        /// The variables of this file.
        pub(crate) static VARIABLES: &[&Datum] = &[&NODE_STATES, &NODE_CPUS, $(&$ident),*];
    };
}

numbers! {
    SYSTEM_STATE "system_state" u32 = facts().btf().enum_value("SYSTEM_RUNNING").map_or(3, |value| value as u32);
    TOTAL_PAGES "_totalram_pages" u64 = pages().0;
    TIME_ZONE "sys_tz" u64 = 0;
    // `ELFCORE_ADDR_MAX`: no crash dump is being taken.
    CORE_HEADER "elfcorehdr_addr" u64 = u64::MAX;
    // The end of what a program can have: `TASK_SIZE_MAX` of four levels of page tables.
    USER_END "USER_PTR_MAX" u64 = (1 << 47) - 4096;
    ENCRYPTION "sme_me_mask" u64 = 0;
    PTE_MASK "__default_kernel_pte_mask" u64 = u64::MAX;
    XEN "xen_domain_type" u32 = 0;
    XEN_PVH "xen_pvh" u8 = 0;
    HYPERVISOR "x86_hyper_type" u32 = 0;
    OOPS "oops_in_progress" u32 = 0;
    PANIC_TIMEOUT "panic_timeout" u32 = 0;
    PANIC_ON_WARN "panic_on_warn" u32 = 0;
    NODES "nr_node_ids" u32 = 1;
    NODES_ONLINE "nr_online_nodes" u32 = 1;
    // On, as on the machines that the modules were built for; its namespace is empty.
    ACPI "acpi_disabled" u32 = 0;
    DMI "dmi_available" u32 = 0;
    APPLE "x86_apple_machine" u8 = 0;
    TSC "tsc_khz" u32 = 0;
    CPU_CLOCK "cpu_khz" u32 = 0;
    LOOPS "loops_per_jiffy" u64 = 1 << 22;
    HIGH "high_memory" u64 = kernel().heap.range().end;
    FREEZING "system_freezing_cnt" u32 = 0;
}

/// Node 0 is in every state: six masks of 1024 bits.
static NODE_STATES: Datum = Datum::new(
    "node_states",
    1024,
    Begin::With(|at| {
        for state in 0..8 {
            // SAFETY: `data::place` gives eight masks.
            unsafe { ram::put(at + 128 * state, 1u64) };
        }
    }),
);
/// Which CPUs a node has: for each of 1024 nodes a pointer to a mask.
static NODE_CPUS: Datum = Datum::new(
    "node_to_cpumask_map",
    8192,
    Begin::With(|at| {
        // SAFETY: `data::place` gives room for the pointers.
        unsafe { ram::put(at, crate::bitmaps::online_mask()) };
    }),
);

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c __cpuhp_setup_state, c __cpuhp_setup_state_cpuslocked = __cpuhp_setup_state, c __cpuhp_remove_state,
    c __cpuhp_remove_state_cpuslocked = __cpuhp_remove_state, c __cpuhp_state_add_instance,
    c __cpuhp_state_remove_instance, k cpus_read_lock = nothing, k cpus_read_unlock = nothing, k cpus_read_trylock = capable,
    k migrate_disable = nothing, k migrate_enable = nothing,
    c __do_once_start, c __do_once_done, c __do_once_sleepable_start, c __do_once_sleepable_done,
    k capable, k ns_capable = capable, k ns_capable_noaudit = capable, k ns_capable_setid = capable, k file_ns_capable = capable,
    k capable_wrt_inode_uidgid = capable,
    c make_kuid = same_number, c make_kgid = same_number, c make_kprojid = same_number, c from_kuid = same_number,
    c from_kuid_munged = same_number, c from_kgid = same_number, c from_kgid_munged = same_number,
    c from_kprojid = same_number, c from_kprojid_munged = same_number, k current_umask,
    k is_acpi_device_node = none, k is_acpi_data_node = none, k cc_platform_has = none, k hv_is_hyperv_initialized = none,
    k hv_is_hibernation_supported = none, k hv_is_isolation_supported = none, k hv_isolation_type_snp = none,
    k dmi_check_system = none, k dmi_first_match = none, k dmi_get_system_info = none, k dmi_match = none,
    k dmi_name_in_vendors = none, k dmi_find_device = none, k dmi_get_date = none, k dmi_get_bios_year = none, k dmi_walk,
    k __put_devmap_managed_page_refs = none, k __put_devmap_managed_folio_refs = none,
    c dump_stack, c add_taint, c test_taint, c si_meminfo, c si_mem_available = free_pages_now,
    c nr_free_buffer_pages = free_pages_now, c memcpy_and_pad, c getboottime64,
    k set_freezable = none, k freezing_slow_path = none, k __refrigerator = none,
    c async_schedule_node, c async_schedule_node_domain, c async_synchronize_full, c async_synchronize_full_domain,
    c async_synchronize_cookie, c async_synchronize_cookie_domain,
];
