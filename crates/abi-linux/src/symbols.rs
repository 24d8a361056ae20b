//! From a symbol's name to the address a module gets.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bstr::{BStr, ByteSlice};
use ferrmod_image::facts::ExportKind;
use ferrmod_image::linux::ExportClass;
use ferrmod_kernel::lock::Lock;
use ferrmod_kernel::percpu::{CALLER_SLOT, CANARY};
use ferrmod_kernel::world::WorldSymbol;
use ferrmod_kernel::{Errno, Kernel, kernel};
use ferrmod_linker::bridge::{self, GUARD, SLOT};
use hashbrown::HashMap;

use crate::boot::facts;
use crate::data::Datum;
use crate::export::Export;
use crate::{EXPORTS, atomic, instructions, tasks};

/// Stubs are made a page at a time.
const STUB_PAGE: u64 = 4096;
/// Every absent datum gets a page of its own, so that the address names it.
const ABSENT_STEP: u64 = 4096;

/// The tables, made once at boot.
pub(crate) struct Symbols {
    /// By the number of the export in the facts: its address, 0 when nobody provides it.
    slots: Lock<Vec<u64>>,
    /// Every function and datum by name, exported by the target kernel or not.
    by_name: Lock<HashMap<&'static str, u64>>,
    bridges: u64,
    functions: Vec<&'static Export>,
    /// Where the guards of functions that may sleep begin, and their functions' numbers.
    guards: u64,
    guarded: Vec<usize>,
    absent: Lock<Absent>,
}

#[derive(Default)]
struct Absent {
    names: Vec<String>,
    addresses: Vec<u64>,
    by_name: HashMap<String, u64>,
    stubs: core::ops::Range<u64>,
    data: u64,
}

static SYMBOLS: spin::Once<Symbols> = spin::Once::new();

fn symbols() -> &'static Symbols {
    SYMBOLS.get().expect("the Linux world is up")
}

/// Makes a bridge for every function.
///
/// # Errors
/// `ENOMEM` when the text region is too small.
pub(crate) fn begin(kernel: &Kernel) -> Result<(), Errno> {
    let functions: Vec<&'static Export> = EXPORTS.iter().flat_map(|file| file.iter()).collect();
    let bridges = kernel.text.take((functions.len() * SLOT) as u64, 4096)?;
    let preempt = percpu_offset("__preempt_count").and_then(|offset| i32::try_from(offset).ok());
    let is_guarded = |number: &usize| preempt.is_some() && atomic::may_sleep(functions[*number].name);
    let guarded: Vec<usize> = (0..functions.len()).filter(is_guarded).collect();
    let guards = kernel.text.take((guarded.len() * GUARD) as u64, 4096)?;
    let mut guard_code = Vec::with_capacity(guarded.len() * GUARD);
    let mut next_guard = guarded.iter().copied().enumerate().peekable();
    let mut code = Vec::with_capacity(functions.len() * SLOT);
    let mut slots = alloc::vec![0; facts().exports_len() as usize];
    let mut by_name = HashMap::with_capacity(functions.len());
    for (number, export) in functions.iter().enumerate() {
        code.extend_from_slice(&bridge::emit(export.bridge(), export.address(), CALLER_SLOT as i32));
        let mut address = bridges + (number * SLOT) as u64;
        if let Some((guard, _)) = next_guard.next_if(|(_, of)| *of == number) {
            let at = guards + (guard * GUARD) as u64;
            let what = bridge::Guard {
                word: preempt.unwrap_or_default(),
                well: tasks::NO_RESCHEDULE,
                pair: instructions::STATE.as_ptr() as u64,
                pair_well: [instructions::INTERRUPTS_ON, 0],
                otherwise: atomic::guarded as *const () as u64,
                number: number as u32,
            };
            guard_code.extend_from_slice(&bridge::emit_guard(&what, at, address));
            address = at;
        }
        by_name.insert(export.name, address);
        if let Some(index) = facts().find_export(export.name.as_bytes()) {
            slots[index as usize] = address;
        }
    }
    kernel.platform.write(bridges, &code).map_err(|_| Errno::ENOMEM)?;
    kernel.platform.write(guards, &guard_code).map_err(|_| Errno::ENOMEM)?;
    let absent = Absent { data: kernel.platform.regions().absent.start, ..Absent::default() };
    SYMBOLS.call_once(|| Symbols {
        slots: Lock::new(slots),
        by_name: Lock::new(by_name),
        bridges,
        functions,
        guards,
        guarded,
        absent: Lock::new(absent),
    });
    Ok(())
}

/// Gives the exported per-CPU variables their first values.
///
/// # Errors
/// A fault when the area is too small for this kernel's variables.
pub(crate) fn begin_percpu(kernel: &Kernel) -> Result<(), ferrmod_kernel::platform::Fault> {
    let (start, image) = facts().percpu_image();
    let mut canary = [0; 8];
    kernel.platform.random(&mut canary);
    // A zero byte ends string overflows before they reach the rest.
    canary[0] = 0;
    // Pointers to masks of the CPUs that share something with this one: all of them.
    let online = address("__cpu_online_mask").unwrap_or(0).to_le_bytes();
    for (cpu, area) in kernel.platform.regions().percpu_areas().enumerate() {
        kernel.platform.write(area + start, image)?;
        let set = |name: &str, value: &[u8]| match percpu_offset(name) {
            Some(offset) => kernel.platform.write(area + offset, value),
            None => Ok(()),
        };
        // A task takes its canary along in its frames, so it is one for all CPUs.
        kernel.platform.write(area + CANARY, &canary)?;
        set("this_cpu_off", &area.to_le_bytes())?;
        set("cpu_number", &(cpu as u32).to_le_bytes())?;
        for mask in ["cpu_sibling_map", "cpu_core_map", "cpu_die_map"] {
            set(mask, &online)?;
        }
        set("__preempt_count", &tasks::NO_RESCHEDULE.to_le_bytes())?;
    }
    Ok(())
}

/// The address of the per-CPU variable `name` on the CPU that has its turn.
pub(crate) fn percpu(name: &str) -> Option<u64> {
    percpu_offset(name).map(percpu_address)
}

/// Where it lies in the area. Newer kernels keep some of them in one struct, `pcpu_hot`.
pub(crate) fn percpu_offset(name: &str) -> Option<u64> {
    let exported = |name: &str| {
        let export = facts().export(facts().find_export(name.as_bytes())?);
        (export.kind == ExportKind::PerCpu).then_some(export.address)
    };
    exported(name).or_else(|| {
        let hot = facts().btf().struct_named("pcpu_hot")?.offset_of(name.trim_start_matches('_'))?;
        Some(exported("pcpu_hot")? + hot)
    })
}

/// The address that module code calls the function or finds the datum `name` at.
pub(crate) fn address(name: &str) -> Option<u64> {
    symbols().by_name.lock().get(name).copied()
}

impl Symbols {
    /// Makes the data known by name.
    pub(crate) fn bind_data(all: &[&[&'static Datum]]) {
        for datum in all.iter().flat_map(|file| file.iter()) {
            symbols().by_name.lock().insert(datum.name, datum.address());
            if let Some(index) = facts().find_export(datum.name.as_bytes()) {
                symbols().slots.lock()[index as usize] = datum.address();
            }
        }
    }
}

/// What the target kernel exports as `name`, and where we have it.
pub(crate) fn find(name: &BStr) -> Option<WorldSymbol> {
    let index = facts().find_export(name)?;
    let export = facts().export(index);
    let address = match export.kind {
        ExportKind::PerCpu => Some(export.address),
        _ => Some(symbols().slots.lock()[index as usize]).filter(|&address| address != 0),
    };
    Some(WorldSymbol {
        address,
        crc: export.crc,
        gpl_only: export.class == ExportClass::GplOnly,
        namespace: export.namespace,
    })
}

/// A stub for a function nobody provides, or a page nobody may touch for a datum.
///
/// # Errors
/// `ENOMEM` when there is no room.
pub(crate) fn absent(name: &BStr) -> Result<u64, Errno> {
    let index = facts().find_export(name).ok_or(Errno::ENOENT)?;
    let is_function = facts().export(index).kind == ExportKind::Function;
    let name = name.to_str_lossy().into_owned();
    let mut absent = symbols().absent.lock();
    if let Some(&address) = absent.by_name.get(&name) {
        return Ok(address);
    }
    let address = if is_function {
        let kernel = kernel();
        if absent.stubs.is_empty() {
            let start = kernel.text.take(STUB_PAGE, STUB_PAGE)?;
            absent.stubs = start..start + STUB_PAGE;
        }
        let id = absent.names.len() as u32;
        let code = bridge::emit(bridge::Kind::Absent { id }, absent_called as *const () as u64, CALLER_SLOT as i32);
        let at = absent.stubs.start;
        kernel.platform.write(at, &code).map_err(|_| Errno::ENOMEM)?;
        absent.stubs.start += SLOT as u64;
        at
    } else {
        let at = absent.data;
        if at + ABSENT_STEP > kernel().platform.regions().absent.end {
            return Err(Errno::ENOMEM);
        }
        absent.data += ABSENT_STEP;
        at
    };
    absent.names.push(name.clone());
    absent.addresses.push(address);
    absent.by_name.insert(name, address);
    Ok(address)
}

extern "C" fn absent_called(id: u64, caller: u64) -> u64 {
    let name = symbols().absent.lock().names.get(id as usize).cloned().unwrap_or_default();
    let from = kernel().symbolise(caller);
    kernel().bug(&format!("unimplemented kernel symbol {name} called from {from}"), caller)
}

/// The absent datum whose page `address` lies in.
pub(crate) fn absent_at(address: u64) -> Option<Vec<u8>> {
    let absent = symbols().absent.lock();
    let page = address & !(ABSENT_STEP - 1);
    let index = absent.addresses.iter().position(|&other| other == page)?;
    Some(absent.names[index].clone().into_bytes())
}

/// The function whose bridge `address` lies in.
pub(crate) fn name_of(address: u64) -> Option<(&'static str, u64)> {
    let symbols = SYMBOLS.get()?;
    if let Some(distance) = address.checked_sub(symbols.guards)
        && let Some(export) = symbols.guarded.get((distance / GUARD as u64) as usize)
    {
        return Some((symbols.functions.get(*export)?.name, distance % GUARD as u64));
    }
    let distance = address.checked_sub(symbols.bridges)?;
    let export = symbols.functions.get((distance / SLOT as u64) as usize)?;
    Some((export.name, distance % SLOT as u64))
}

/// The name of a function by its number.
pub(crate) fn function_name(number: u32) -> Option<&'static str> {
    SYMBOLS.get()?.functions.get(number as usize).map(|export| export.name)
}

/// The address of what lies at `offset` in the per-CPU area of the one CPU.
pub(crate) fn percpu_address(offset: u64) -> u64 {
    let kernel = kernel();
    kernel.platform.regions().percpu_of(kernel.tasks.cpu()).wrapping_add(offset)
}
