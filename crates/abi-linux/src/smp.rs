//! Calls on other CPUs, and the CPUs that a task may run on.
//!
//! Linux interrupts the other CPU. Here its turn has not come, so it is between two instructions already: the function runs at
//! once on its per-CPU memory, as an interrupt would, and whoever asked has nothing to wait for.

use ferrmod_kernel::{Errno, kernel};

use crate::export::{Export, exports};
use crate::field::layout;
use crate::{atomic, bitmaps, instructions, ram, tasks};

layout! {
    mod call_single_data = "__call_single_data" { func, info }
}

/// Calls `function(info)` on a CPU with interrupts off.
fn call_on(cpu: u32, function: u64, info: u64) {
    let call = || {
        let before = instructions::interrupts_enabled();
        if before {
            atomic::forget(atomic::Kind::Interrupts);
            ram::forget_interrupts_off();
        }
        instructions::set_interrupts(false);
        // SAFETY: the caller's function and what it gave for it.
        unsafe { ram::call(function, [info]) };
        instructions::set_interrupts(before);
    };
    if cpu == kernel().tasks.cpu() {
        return call();
    }
    kernel().tasks.as_cpu(cpu, || {
        tasks::add_preempt(tasks::HARDIRQ_OFFSET);
        call();
        tasks::add_preempt(-tasks::HARDIRQ_OFFSET);
    });
}

/// The CPUs of a mask that exist.
fn members(mask: u64) -> impl Iterator<Item = u32> {
    // SAFETY: the caller's mask; there are at most 64 CPUs, which are its first word.
    let set = unsafe { ram::get::<u64>(mask) };
    (0..bitmaps::cpus()).filter(move |cpu| set >> cpu & 1 != 0)
}

/// `int smp_call_function_single(int cpu, smp_call_func_t, void *info, int wait)`
extern "C" fn smp_call_function_single(cpu: u32, function: u64, info: u64) -> i32 {
    if cpu >= bitmaps::cpus() {
        return Errno::ENXIO.to_return();
    }
    call_on(cpu, function, info);
    0
}

/// `int smp_call_function_single_async(int cpu, call_single_data_t *)`
extern "C" fn smp_call_function_single_async(cpu: u32, data: u64) -> i32 {
    // SAFETY: the caller's data.
    let (function, info) = unsafe { (call_single_data::func.get(data), call_single_data::info.get(data)) };
    smp_call_function_single(cpu, function, info)
}

/// `int smp_call_function_any(const struct cpumask *, smp_call_func_t, void *info, int wait)`: this CPU if the mask has it.
extern "C" fn smp_call_function_any(mask: u64, function: u64, info: u64) -> i32 {
    let me = kernel().tasks.cpu();
    match members(mask).min_by_key(|&cpu| (cpu != me, cpu)) {
        Some(cpu) => smp_call_function_single(cpu, function, info),
        None => Errno::ENXIO.to_return(),
    }
}

/// `void smp_call_function_many(const struct cpumask *, smp_call_func_t, void *info, bool wait)`: all of the mask but this CPU.
extern "C" fn smp_call_function_many(mask: u64, function: u64, info: u64) {
    let me = kernel().tasks.cpu();
    members(mask).filter(|&cpu| cpu != me).for_each(|cpu| call_on(cpu, function, info));
}

/// `void smp_call_function(smp_call_func_t, void *info, int wait)`: all but this CPU.
extern "C" fn smp_call_function(function: u64, info: u64) {
    smp_call_function_many(bitmaps::online_mask(), function, info);
}

/// `void on_each_cpu_cond_mask(smp_cond_func_t, smp_call_func_t, void *info, bool wait, const struct cpumask *)`
extern "C" fn on_each_cpu_cond_mask(condition: u64, function: u64, info: u64, _wait: bool, mask: u64) {
    // SAFETY: the caller's condition, `bool (*)(int cpu, void *info)`.
    let wanted = |cpu: &u32| condition == 0 || unsafe { ram::call(condition, [u64::from(*cpu), info]) } as u8 != 0;
    members(mask).filter(wanted).for_each(|cpu| call_on(cpu, function, info));
}

/// `long work_on_cpu(int cpu, long (*)(void *), void *)`: in a task that runs there.
extern "C" fn work_on_cpu(cpu: u32, function: u64, argument: u64) -> u64 {
    tasks::might_block(ram::caller());
    // SAFETY: the caller's function.
    kernel().tasks.on_cpu(cpu, || unsafe { ram::call(function, [argument]) })
}

/// `int set_cpus_allowed_ptr(struct task_struct *, const struct cpumask *)`
extern "C" fn set_cpus_allowed_ptr(task: u64, mask: u64) -> i32 {
    let Some(id) = tasks::at(task) else { return Errno::ESRCH.to_return() };
    // SAFETY: the caller's mask.
    let set = unsafe { ram::get::<u64>(mask) };
    match kernel().tasks.allow(id, set) {
        Ok(()) if id == kernel().tasks.current() && set >> kernel().tasks.cpu() & 1 == 0 => {
            kernel().tasks.yield_now();
            0
        }
        Ok(()) => 0,
        Err(errno) => errno.to_return(),
    }
}

/// The functions of this file.
pub(crate) static EXPORTS: &[Export] = exports![
    c smp_call_function_single, c smp_call_function_single_async, c smp_call_function_any, c smp_call_function_many,
    c smp_call_function, c on_each_cpu_cond_mask, c work_on_cpu, c work_on_cpu_safe = work_on_cpu,
    c work_on_cpu_key = work_on_cpu, c work_on_cpu_safe_key = work_on_cpu, c set_cpus_allowed_ptr,
];
